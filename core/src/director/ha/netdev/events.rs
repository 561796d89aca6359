//! What the kernel shows in a dump, or tells because it happened.

use super::{Netdev, View};
use crate::director::ha::addresses::{Presence, is_usable};
use crate::director::ha::interfaces::Found;
use crate::director::records;
use crate::record::Ring;
use crate::route::{AddressProtocol, Event, InterfaceAddress};

impl Netdev {
    /// A row of a dump, or something that happened. Returns whether a link
    /// changed.
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
                for interface in view.interfaces.iter_mut() {
                    if link.name.as_str() == Some(interface.name.as_str()) {
                        interface.noting(row, |found| found.handle_link(link.index, mac, running));
                    } else if interface.has_index(link.index, row) {
                        // Renamed away from a name of ours.
                        interface.noting(row, Found::handle_gone);
                    }
                }
                !row
            }
            Event::LinkGone(link) => {
                let Some(at) = view
                    .interfaces
                    .iter()
                    .position(|i| i.has_index(link.index, row))
                else {
                    return false;
                };
                if let Some(interface) = view.interfaces.get_mut(at) {
                    interface.noting(row, Found::handle_gone);
                }
                for slot in view.addresses.all_mut() {
                    let instance = view.instances.get(usize::from(slot.instance));
                    if instance.is_some_and(|i| usize::from(i.interface) == at) {
                        slot.presence = Presence::Absent;
                        slot.seen = false;
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
        let at = view
            .interfaces
            .iter()
            .position(|i| i.has_index(found.interface, row));
        let mut ours = false;
        for slot in view.addresses.all_mut() {
            let Some(instance) = view.instances.get(usize::from(slot.instance)) else {
                continue;
            };
            if Some(usize::from(instance.interface)) != at
                || slot.virtual_address.address != found.address
            {
                continue;
            }
            ours = true;
            slot.seen = there;
            self.touched |= slot.held_prefix != found.prefix;
            slot.held_prefix = found.prefix;
            if row {
                continue;
            }
            let lost = !there && slot.presence == Presence::Present;
            slot.presence = if there {
                Presence::Present
            } else {
                Presence::Absent
            };
            let wanted = instance.wanted;
            if lost && wanted == Some(true) && !slot.retire {
                self.counters.lost = self.counters.lost.saturating_add(1);
                let interface = records::name(&instance.config.interface);
                let address = found.address;
                log.log(view.now, records::AddressLost { address, interface });
            }
            self.dirty |= wanted == Some(!there);
        }
        if ours {
            return;
        }
        // Ours once: a config that lost it was read while we did not run. It is
        // on another node by now, perhaps, and nothing to send from.
        if found.protocol == AddressProtocol::TRUNNION {
            let leftover = (found.interface, found.address, found.prefix);
            if there && self.leftovers.push(leftover).is_ok() {
                self.dirty = true;
            }
            return;
        }
        if let Some(interface) = at.and_then(|at| view.interfaces.get_mut(at)) {
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
