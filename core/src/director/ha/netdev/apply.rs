//! Making the virtual addresses what the routers want: a batch of requests, and
//! what the kernel said to each.

use super::{Ask, CLEAN, Netdev, State, View};
use crate::director::ha::addresses::{
    AddressSlot, Addresses, Presence, Refusal, scope_of, virtual_address,
};
use crate::director::ha::interfaces::Interface;
use crate::director::ha::state::InstanceSlot;
use crate::director::plan::VirtualAddress;
use crate::director::records;
use crate::netlink::{Batch, Errno};
use crate::record::Ring;
use crate::route::{InterfaceIndex, Refused, Scope, request};

/// In the place of an address's number: a request about none.
const NO_SLOT: u32 = u32::MAX;

impl Netdev {
    /// Fills a batch with at most `most` requests, of what differs between
    /// wanted and known. What it leaves is where the next one begins. What the
    /// kernel refused a moment ago keeps nobody waiting: it is passed over.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch<'_>,
        most: usize,
        addresses: &mut Addresses<'_>,
        instances: &mut [InstanceSlot],
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
        let first = core::mem::replace(&mut self.dirty_from, CLEAN);
        for at in first..addresses.len() {
            if self.batch.len() >= most {
                self.mark_dirty(at);
                return;
            }
            self.counters.compared = self.counters.compared.saturating_add(1);
            let Some(slot) = addresses.get(at).copied() else {
                return;
            };
            let Some((index, difference)) = difference(at, addresses, instances, interfaces) else {
                // Nothing is wanted that was refused.
                if slot.refusal != Refusal::None {
                    addresses.edit(at, instances, |slot| slot.refusal = Refusal::None);
                }
                continue;
            };
            if slot.refusal == Refusal::Stands {
                continue;
            }
            let address = slot.virtual_address.address;
            let asked = match difference {
                Difference::Add => {
                    self.counters.adds = self.counters.adds.saturating_add(1);
                    add(batch, index, &slot, instances)
                }
                Difference::Remove => {
                    self.counters.deletes = self.counters.deletes.saturating_add(1);
                    request::delete_address(batch, index, address, slot.held_prefix)
                }
                Difference::Disown => {
                    addresses.edit(at, instances, |slot| slot.presence = Presence::Absent);
                    continue;
                }
            };
            // A full batch leaves the rest for the next one.
            let place = u32::try_from(at).unwrap_or(NO_SLOT);
            if asked.is_err() || self.batch.push(place).is_err() {
                self.mark_dirty(at);
                return;
            }
            addresses.edit(at, instances, |slot| match difference {
                Difference::Add => {
                    slot.held_prefix = slot.virtual_address.prefix;
                    slot.stale = false;
                    slot.fresh = true;
                    slot.presence = Presence::Adding;
                }
                Difference::Remove | Difference::Disown => slot.presence = Presence::Removing,
            });
        }
    }

    /// The kernel refused a request of the batch. What it has is known all the
    /// same: what it had before.
    pub(super) fn refused(
        &mut self,
        at: usize,
        errno: Errno,
        view: &mut View<'_, '_>,
        log: &mut Ring<'_>,
    ) {
        let Some(place) = self.batch.get(at).copied() else {
            return;
        };
        if place == NO_SLOT {
            // One that cannot be taken off would be found again for ever.
            self.more_leftovers &= errno == Errno::EADDRNOTAVAIL;
            return;
        }
        let at = place as usize;
        let Some(slot) = view.known.addresses.get(at).copied() else {
            return;
        };
        let adding = slot.presence == Presence::Adding;
        let done = match errno {
            Errno::EEXIST => adding,
            Errno::EADDRNOTAVAIL | Errno::ENODEV => !adding,
            _ => false,
        };
        if done {
            return;
        }
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.retry.refused(view.now, slot.refusal == Refusal::None);
        view.known.edit(view.now, at, |slot| {
            slot.refusal = Refusal::Stands;
            slot.presence = if adding {
                Presence::Absent
            } else {
                Presence::Present
            };
        });
        log_refused(view, &slot, errno, log);
    }

    /// The batch is through.
    pub(super) fn applied(&mut self, view: &mut View<'_, '_>, log: &mut Ring<'_>) {
        self.pace.end(view.now, self.batch.len());
        for place in core::mem::take(&mut self.batch) {
            let at = place as usize;
            let became = view.known.edit(view.now, at, |slot| {
                let (presence, there) = match slot.presence {
                    Presence::Adding | Presence::Present => (Presence::Present, true),
                    Presence::Removing | Presence::Absent => (Presence::Absent, false),
                    Presence::Unknown => return None,
                };
                if slot.refusal == Refusal::Stands {
                    return None;
                }
                slot.presence = presence;
                slot.refusal = Refusal::None;
                Some((slot.virtual_address.address, slot.instance, there))
            });
            let Some((address, instance, there)) = became.flatten() else {
                continue;
            };
            let Some(instance) = view.known.instances.get(usize::from(instance)) else {
                continue;
            };
            let interface = records::name(&instance.config.interface);
            if there {
                log.log(view.now, records::AddressAdded { address, interface });
            } else {
                log.log(view.now, records::AddressRemoved { address, interface });
                // Taken off to be put back with another prefix, perhaps.
                self.mark_dirty(at);
            }
        }
        self.state = State::Settled;
        self.backoff.reset();
        let more = self.leftovers.is_empty() && core::mem::take(&mut self.more_leftovers);
        if core::mem::take(&mut self.unknown) || more {
            self.state = State::Due(Ask::Links);
        }
    }
}

/// What is to be done about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    Add,
    Remove,
    /// Nothing is asked of the kernel: it is another instance's now.
    Disown,
}

/// What differs between wanted and known of the address at `at`, and the index
/// of its interface.
fn difference(
    at: usize,
    addresses: &Addresses<'_>,
    instances: &[InstanceSlot],
    interfaces: &[Interface],
) -> Option<(InterfaceIndex, Difference)> {
    let slot = addresses.get(at)?;
    let instance = instances.get(usize::from(slot.instance))?;
    let index = interfaces
        .get(usize::from(instance.interface))?
        .found
        .index?;
    let wanted = if slot.retire {
        Some(false)
    } else {
        instance.wanted
    };
    let difference = match (slot.presence, wanted) {
        (Presence::Absent, Some(true)) => Difference::Add,
        // A reload gave the address to another instance, which has it now: two
        // slots must not fight over it.
        (Presence::Present, Some(false)) if addresses.is_claimed_by_another(at, instances) => {
            Difference::Disown
        }
        // Taken off to be put back with the prefix that the plan has now.
        (Presence::Present, Some(wanted))
            if !wanted || slot.stale || slot.held_prefix != slot.virtual_address.prefix =>
        {
            Difference::Remove
        }
        (
            Presence::Unknown
            | Presence::Adding
            | Presence::Removing
            | Presence::Absent
            | Presence::Present,
            _,
        ) => return None,
    };
    Some((index, difference))
}

/// Asks for an address as its instance wants it.
fn add(
    batch: &mut Batch<'_>,
    index: InterfaceIndex,
    slot: &AddressSlot,
    instances: &[InstanceSlot],
) -> Result<u32, Refused> {
    let VirtualAddress { address, prefix } = slot.virtual_address;
    let config = instances.get(usize::from(slot.instance)).map(|i| &i.config);
    let scope = config.map_or(Scope::UNIVERSE, |config| config.scope);
    let label = config.map_or("", |config| config.label.as_str());
    let wanted = virtual_address(index, address, prefix, scope_of(address, scope));
    request::add_address(batch, &wanted, label)
}

fn log_refused(view: &View<'_, '_>, slot: &AddressSlot, errno: Errno, log: &mut Ring<'_>) {
    let instance = view.known.instances.get(usize::from(slot.instance));
    let interface =
        instance.map_or_else(records::Name::new, |i| records::name(&i.config.interface));
    log.log(
        view.now,
        records::AddressRefused {
            address: slot.virtual_address.address,
            interface,
            errno: errno.0,
        },
    );
}
