//! Making the virtual addresses what the routers want: a batch of requests, and
//! what the kernel said to each.

use super::{Ask, Netdev, State, View};
use crate::director::ha::addresses::{AddressSlot, Addresses, Presence, virtual_address};
use crate::director::ha::interfaces::Interface;
use crate::director::ha::state::InstanceSlot;
use crate::director::records;
use crate::netlink::{Batch, Errno};
use crate::record::Ring;
use crate::route::request;
use crate::time::Instant;
use core::net::IpAddr;

/// In the place of an address's number: a request about none.
const NO_SLOT: u32 = u32::MAX;

impl Netdev {
    /// Fills a batch with what differs between wanted and known.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch<'_>,
        addresses: &mut Addresses<'_>,
        instances: &[InstanceSlot],
        interfaces: &[Interface],
    ) {
        self.batch.clear();
        while let Some((index, address, prefix)) = self.leftovers.pop() {
            let asked = request::delete_address(batch, index, address, prefix);
            // Whatever comes of it concerns no address of ours.
            if asked.is_err() || self.batch.push(NO_SLOT).is_err() {
                return;
            }
            self.counters.deletes = self.counters.deletes.saturating_add(1);
        }
        for at in 0..addresses.len() {
            let claimed = addresses.is_claimed_by_another(at, instances);
            let Some(slot) = addresses.all_mut().get_mut(at) else {
                return;
            };
            let Some(instance) = instances.get(usize::from(slot.instance)) else {
                continue;
            };
            let Some(interface) = interfaces.get(usize::from(instance.interface)) else {
                continue;
            };
            let (Some(index), Ok(at)) = (interface.found.index, u32::try_from(at)) else {
                continue;
            };
            let wanted = if slot.retire {
                Some(false)
            } else {
                instance.wanted
            };
            let (address, prefix) = (slot.virtual_address.address, slot.virtual_address.prefix);
            let (asked, becomes) = match (slot.presence, wanted) {
                (Presence::Absent, Some(true)) => {
                    let new = virtual_address(index, address, prefix);
                    self.counters.adds = self.counters.adds.saturating_add(1);
                    (request::add_address(batch, &new), Presence::Adding)
                }
                // A reload gave the address to another instance, which has it
                // now: two slots must not fight over it.
                (Presence::Present, Some(false)) if claimed => {
                    slot.presence = Presence::Absent;
                    continue;
                }
                // Taken off to be put back with the prefix that the plan has now.
                (Presence::Present, Some(wanted)) if !wanted || slot.held_prefix != prefix => {
                    self.counters.deletes = self.counters.deletes.saturating_add(1);
                    (
                        request::delete_address(batch, index, address, slot.held_prefix),
                        Presence::Removing,
                    )
                }
                (
                    Presence::Unknown
                    | Presence::Adding
                    | Presence::Removing
                    | Presence::Absent
                    | Presence::Present,
                    _,
                ) => continue,
            };
            // A full batch leaves the rest for the next one.
            if asked.is_err() || self.batch.push(at).is_err() {
                return;
            }
            if becomes == Presence::Adding {
                slot.held_prefix = prefix;
                slot.fresh = true;
            }
            slot.presence = becomes;
            if self.batch.is_full() {
                return;
            }
        }
    }

    /// The kernel refused a request of the batch. Returns whether that matters.
    pub(super) fn refused(
        &mut self,
        at: usize,
        errno: Errno,
        view: &mut View<'_, '_>,
        log: &mut Ring<'_>,
    ) -> bool {
        let Some(at) = self.batch.get(at).map(|at| *at as usize) else {
            return false;
        };
        let Some(slot) = view.addresses.all_mut().get_mut(at) else {
            return false;
        };
        let adding = slot.presence == Presence::Adding;
        let done = match errno {
            Errno::EEXIST => adding,
            Errno::EADDRNOTAVAIL | Errno::ENODEV => !adding,
            _ => false,
        };
        if done {
            return false;
        }
        self.counters.refused = self.counters.refused.saturating_add(1);
        slot.refused = true;
        let address = slot.virtual_address.address;
        // Neither there nor on its way; the dump that follows tells.
        slot.presence = if adding {
            Presence::Absent
        } else {
            Presence::Present
        };
        log_refused(view.now, address, slot, view.instances, errno, log);
        true
    }

    /// The batch is through.
    pub(super) fn applied(&mut self, failed: bool, view: &mut View<'_, '_>, log: &mut Ring<'_>) {
        for at in &self.batch {
            let Some(slot) = view.addresses.all_mut().get_mut(*at as usize) else {
                continue;
            };
            let instance = view.instances.get(usize::from(slot.instance));
            let Some(interface) = instance.map(|i| records::name(&i.config.interface)) else {
                continue;
            };
            let address = slot.virtual_address.address;
            match slot.presence {
                Presence::Adding | Presence::Present if !slot.refused || !failed => {
                    slot.presence = Presence::Present;
                    slot.refused = false;
                    log.log(view.now, records::AddressAdded { address, interface });
                }
                Presence::Removing | Presence::Absent if !slot.refused || !failed => {
                    slot.presence = Presence::Absent;
                    slot.refused = false;
                    log.log(view.now, records::AddressRemoved { address, interface });
                }
                Presence::Adding
                | Presence::Present
                | Presence::Removing
                | Presence::Absent
                | Presence::Unknown => {}
            }
        }
        self.batch.clear();
        self.state = State::Settled;
        if failed {
            // The first failure asks again at once, the next ones wait.
            let _ = self.backoff.fail();
            self.handle_lost(view.now, "the kernel refused an address", log);
        } else {
            self.backoff.reset();
            if core::mem::take(&mut self.unknown) {
                self.state = State::Due(Ask::Links);
            }
        }
    }
}

fn log_refused(
    now: Instant,
    address: IpAddr,
    slot: &AddressSlot,
    instances: &[InstanceSlot],
    errno: Errno,
    log: &mut Ring<'_>,
) {
    let instance = instances.get(usize::from(slot.instance));
    let interface =
        instance.map_or_else(records::Name::new, |i| records::name(&i.config.interface));
    log.log(
        now,
        records::AddressRefused {
            address,
            interface,
            errno: errno.0,
        },
    );
}
