//! What the kernel shows in a dump, or tells because it happened.

use super::{CLEAN, Netdev, View};
use crate::director::ha::addresses::{Presence, Refusal, is_usable, scope_of};
use crate::director::ha::agenda::Work;
use crate::director::ha::interfaces::Found;
use crate::director::records;
use crate::record::Ring;
use crate::route::{AddressProtocol, Event, InterfaceAddress, Link, LinkGroup};

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
                    if interface.found.index != before.index {
                        // What is above it is to be made, perhaps.
                        view.known.chores.mark_dirty();
                    }
                    if before.mac.is_some() && interface.found.mac != before.mac {
                        remade = Some(at);
                    }
                }
                if let Some(at) = remade {
                    announce_anew(at, view);
                }
                self.handle_macvlan(link, row, view) || changed
            }
            Event::LinkGone(link) => {
                let known = &mut view.known;
                let mut interfaces = known.interfaces.iter();
                let at = interfaces.position(|i| i.has_index(link.index, row));
                if let Some(interface) = at.and_then(|at| known.interfaces.get_mut(at)) {
                    interface.noting(row, Found::handle_gone);
                    known.chores.mark_dirty();
                }
                if known.chores.forget(link.index) {
                    self.mark_unknown();
                }
                let mut found = at.is_some();
                for instance in 0..known.instances.len() {
                    let Some(on) = known.instances.get_mut(instance) else {
                        break;
                    };
                    let beneath = Some(usize::from(on.interface)) == at;
                    let above = on.macvlan.has_index(link.index, row);
                    if above {
                        found = true;
                        on.macvlan.noting(row, None);
                        known.chores.mark_dirty();
                    }
                    if !beneath && !above {
                        continue;
                    }
                    known.lose_addresses(view.now, instance, above);
                    let first = known.instances.get(instance).map(|i| i.addresses.start);
                    self.mark_dirty(first.unwrap_or(CLEAN));
                }
                found
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

    /// A link is there, which may be an instance's macvlan. Returns whether one is
    /// another than it was.
    fn handle_macvlan(&mut self, link: &Link, row: bool, view: &mut View<'_, '_>) -> bool {
        let known = &mut view.known;
        let (mut planned, mut changed) = (false, false);
        for at in 0..known.instances.len() {
            let Some(instance) = known.instances.get_mut(at) else {
                break;
            };
            let first = instance.addresses.start;
            let before = instance.macvlan.found();
            let named = instance.config.macvlan.as_ref();
            if named.is_some_and(|name| name.as_bytes() == link.name.as_bytes()) {
                planned = true;
                instance.macvlan.noting(row, Some(*link));
                changed |= instance.macvlan.found() != before;
            } else if named.is_none() && instance.macvlan.index() == Some(link.index) {
                // A reload wants it no more. By its index alone is it known: one
                // that was left half made is of no group that tells it is ours.
                planned = true;
                instance.macvlan.noting(row, Some(*link));
                changed |= instance.macvlan.found() != before;
            } else if instance.macvlan.has_index(link.index, row) {
                // Renamed.
                instance.macvlan.noting(row, None);
                changed |= instance.macvlan.found() != before;
                known.lose_addresses(view.now, at, true);
            } else {
                continue;
            }
            self.mark_dirty(first);
            known.chores.mark_dirty();
        }
        // One of the latter may be half made.
        let ours = link.group == LinkGroup::TRUNNION || known.chores.is_left_over(link.index);
        if planned {
            known.chores.forget(link.index);
        } else if ours {
            known.chores.leave_over(link.index);
        }
        changed
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
            let held = known.addresses.get(place).is_some_and(|a| a.on_macvlan);
            let here = if held {
                instance.macvlan.has_index(found.interface, row)
            } else {
                Some(usize::from(instance.interface)) == at
            };
            if !here {
                continue;
            }
            ours = true;
            let wanted = instance.wanted;
            let scope = scope_of(found.address, instance.config.scope);
            // Over IPv6 the kernel knows better.
            let stale = there && found.address.is_ipv4() && found.scope != scope;
            let macvlan = instance.config.macvlan.as_ref().filter(|_| held);
            let interface = records::name(macvlan.unwrap_or(&instance.config.interface));
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
