//! What the kernel shows in a dump, or tells because it happened.

use super::{Netdev, View};
use crate::director::ha::addresses::{Presence, Refusal, is_usable, scope_of};
use crate::director::ha::agenda::Work;
use crate::director::ha::interfaces::Found;
use crate::director::records;
use crate::record::Ring;
use crate::route::{AddressProtocol, Event, InterfaceAddress};

/// The link's hosts know what is on an interface by an address it has no more.
fn announce_anew(interface: usize, view: &mut View<'_, '_>) {
    let known = &mut view.known;
    for (at, slot) in known.instances.iter_mut().enumerate() {
        if usize::from(slot.interface) == interface {
            slot.added = true;
            known.agenda.push(view.now, Work::Look, at);
        }
    }
}

impl Netdev {
    /// A row of a dump, or something that happened. Returns whether an interface
    /// that a plan names is another than it was.
    pub(super) fn handle_event(
        &mut self,
        event: &Event,
        row: bool,
        view: &mut View<'_, '_>,
        log: &mut Ring<'_>,
    ) -> bool {
        match event {
            Event::Link(link) => {
                let (mac, running) = (link.mac, link.is_running());
                let mut changed = false;
                let mut remade = None;
                for (at, interface) in view.known.interfaces.iter_mut().enumerate() {
                    let before = interface.found;
                    if link.name.as_str() == Some(interface.name.as_str()) {
                        interface.noting(row, |found| found.handle_link(link.index, mac, running));
                    } else if interface.has_index(link.index, row) {
                        // Renamed away from a name of ours.
                        interface.noting(row, Found::handle_gone);
                    }
                    changed |= interface.found != before;
                    if before.mac.is_some() && interface.found.mac != before.mac {
                        remade = Some(at);
                    }
                }
                if let Some(at) = remade {
                    announce_anew(at, view);
                }
                changed
            }
            Event::LinkGone(link) => {
                let known = &mut view.known;
                let Some(at) = known
                    .interfaces
                    .iter()
                    .position(|i| i.has_index(link.index, row))
                else {
                    return false;
                };
                if let Some(interface) = known.interfaces.get_mut(at) {
                    interface.noting(row, Found::handle_gone);
                }
                for instance in 0..known.instances.len() {
                    let on_it = known.instances.get(instance);
                    let on_it = on_it.filter(|i| usize::from(i.interface) == at);
                    for address in on_it.map_or(0..0, |i| i.addresses.clone()) {
                        known.edit(view.now, address, |slot| {
                            slot.presence = Presence::Absent;
                            slot.refusal = Refusal::None;
                            slot.seen = false;
                        });
                    }
                }
                true
            }
            Event::Address(address) => {
                self.handle_address(address, true, row, view, log);
                false
            }
            Event::AddressGone(address) => {
                self.handle_address(address, false, row, view, log);
                false
            }
        }
    }

    fn handle_address(
        &mut self,
        found: &InterfaceAddress,
        there: bool,
        row: bool,
        view: &mut View<'_, '_>,
        log: &mut Ring<'_>,
    ) {
        let interfaces = view.known.interfaces.iter();
        let at = interfaces
            .clone()
            .position(|i| i.has_index(found.interface, row));
        let mut ours = false;
        let mut from = 0;
        // One place after the other, since each is changed before the next is
        // looked for.
        loop {
            let mut places = view.known.addresses.places(found.address);
            let Some(place) = places.find(|place| *place >= from) else {
                break;
            };
            drop(places);
            from = place.saturating_add(1);
            let known = &mut view.known;
            let instance = known.addresses.get(place).map(|slot| slot.instance);
            let Some(instance) = instance.and_then(|i| known.instances.get(usize::from(i))) else {
                continue;
            };
            if Some(usize::from(instance.interface)) != at {
                continue;
            }
            ours = true;
            let wanted = instance.wanted;
            let scope = scope_of(found.address, instance.config.scope);
            // Over IPv6 the kernel knows better.
            let stale = there && found.address.is_ipv4() && found.scope != scope;
            let interface = records::name(&instance.config.interface);
            let before = known.edit(view.now, place, |slot| {
                let before = *slot;
                slot.seen = there;
                slot.held_prefix = found.prefix;
                slot.stale |= stale;
                if !row {
                    slot.refusal = Refusal::None;
                    slot.presence = if there {
                        Presence::Present
                    } else {
                        Presence::Absent
                    };
                }
                before
            });
            let Some(before) = before else { continue };
            self.touched |= before.held_prefix != found.prefix;
            if row {
                continue;
            }
            let lost = !there && before.presence == Presence::Present;
            if lost && wanted == Some(true) && !before.retire {
                self.counters.lost = self.counters.lost.saturating_add(1);
                let address = found.address;
                log.log(view.now, records::AddressLost { address, interface });
            }
            if wanted == Some(!there) || stale {
                self.mark_dirty(place);
            }
        }
        if ours {
            return;
        }
        // Ours once: a config that lost it was read while we did not run. It is
        // on another node by now, perhaps, and nothing to send from.
        if found.protocol == AddressProtocol::TRUNNION {
            let leftover = (found.interface, found.address, found.prefix);
            if there {
                // What finds no room is found again by a dump.
                self.more_leftovers |= self.leftovers.push(leftover).is_err();
            }
            return;
        }
        if let Some(interface) = at.and_then(|at| view.known.interfaces.get_mut(at)) {
            self.touched = true;
            if there {
                interface.handle_own_address(found.address, is_usable(found), row);
            } else if interface.handle_address_gone(found.address) {
                // Another address may take its place: only a dump tells which.
                self.mark_unknown();
            }
        }
    }
}
