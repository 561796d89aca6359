//! Making the virtual addresses what the routers want: a batch of requests, and
//! what the kernel said to each.

use super::{About, Ask, CLEAN, Netdev, State, View};
use crate::director::ha::addresses::{
    AddressSlot, Addresses, Presence, Refusal, scope_of, virtual_address,
};
use crate::director::ha::interfaces::Interface;
use crate::director::ha::macvlan::Need;
use crate::director::ha::state::InstanceSlot;
use crate::director::plan::VirtualAddress;
use crate::director::records;
use crate::model::Family;
use crate::netlink::{Batch, Errno};
use crate::record::Ring;
use crate::route::{InterfaceIndex, Refused, Scope, link, request};

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
            if asked.is_err() || self.batch.push(About::Leftover).is_err() {
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
            if let Some((instance, index)) = raise(at, addresses, instances, interfaces) {
                let asked = link::set_up(batch, index, true);
                let place = u16::try_from(instance).unwrap_or(u16::MAX);
                if asked.is_err() || self.batch.push(About::Macvlan(place)).is_err() {
                    self.mark_dirty(at);
                    return;
                }
                if let Some(instance) = instances.get_mut(instance) {
                    instance.macvlan.raising = true;
                }
            }
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
            let above = on_macvlan(&slot, instances);
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
            let place = About::Address(u32::try_from(at).unwrap_or(u32::MAX));
            if asked.is_err() || self.batch.push(place).is_err() {
                self.mark_dirty(at);
                return;
            }
            addresses.edit(at, instances, |slot| match difference {
                Difference::Add => {
                    slot.held_prefix = slot.virtual_address.prefix;
                    slot.on_macvlan = above;
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
        let at = match self.batch.get(at) {
            Some(About::Address(at)) => *at as usize,
            Some(About::Macvlan(at)) => {
                self.not_raised(*at, errno, view, log);
                return;
            }
            Some(About::Leftover) => {
                // One that cannot be taken off would be found again for ever.
                self.more_leftovers &= errno == Errno::EADDRNOTAVAIL;
                return;
            }
            None => return,
        };
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

    /// The kernel refused to take a macvlan up: it is asked again when it is for
    /// the addresses it refused.
    fn not_raised(&mut self, at: u16, errno: Errno, view: &mut View<'_, '_>, log: &mut Ring<'_>) {
        let Some(instance) = view.known.instances.get_mut(usize::from(at)) else {
            return;
        };
        let anew = instance.macvlan.not_raised();
        if errno == Errno::ENODEV {
            // Deleted meanwhile, as an event tells.
            return;
        }
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.retry.refused(view.now, anew);
        let macvlan = instance.config.macvlan.as_ref();
        let name = instance.config.name.clone();
        let macvlan = macvlan.map_or_else(records::Name::new, records::name);
        let errno = errno.0;
        log.log(
            view.now,
            records::MacvlanRefused {
                name,
                macvlan,
                errno,
            },
        );
    }

    /// The batch is through.
    pub(super) fn applied(&mut self, view: &mut View<'_, '_>, log: &mut Ring<'_>) {
        self.pace.end(view.now, self.batch.len());
        for about in core::mem::take(&mut self.batch) {
            let at = match about {
                About::Address(at) => at as usize,
                About::Macvlan(at) => {
                    let instance = view.known.instances.get_mut(usize::from(at));
                    // Refused, or an event has told of it.
                    if let Some(instance) = instance.filter(|i| i.macvlan.raising) {
                        instance.macvlan.raised();
                    }
                    continue;
                }
                About::Leftover => continue,
            };
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
            let interface = home(instance, view.known.addresses.get(at));
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
    let lower = interfaces.get(usize::from(instance.interface))?.found.index;
    let above = on_macvlan(slot, instances);
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
            if !wanted
                || slot.stale
                || slot.on_macvlan != above
                || slot.held_prefix != slot.virtual_address.prefix =>
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
    let index = match difference {
        Difference::Disown => lower,
        Difference::Add if above => {
            let ready = instance.ready_macvlan(lower);
            ready.filter(|_| instance.macvlan.carries())
        }
        Difference::Remove if slot.on_macvlan => {
            // Those of IPv6 go with the link. One by one, each would leave its
            // multicast group, from our MAC address, when a peer has it already.
            let sinks = matches!(instance.need(lower), Need::Lower(_) | Need::Delete(_));
            let waits = sinks && instance.config.router.family == Family::V6;
            instance.macvlan.index().filter(|_| !waits)
        }
        Difference::Add | Difference::Remove => lower,
    };
    Some((index?, difference))
}

/// The instance whose first address this is, and its macvlan, if that is to be
/// taken up.
fn raise(
    at: usize,
    addresses: &Addresses<'_>,
    instances: &[InstanceSlot],
    interfaces: &[Interface],
) -> Option<(usize, InterfaceIndex)> {
    let place = usize::from(addresses.get(at)?.instance);
    let instance = instances.get(place)?;
    if instance.addresses.start != at || !instance.macvlan.may_rise() {
        return None;
    }
    let lower = interfaces.get(usize::from(instance.interface))?.found.index;
    match instance.need(lower) {
        Need::Raise(index) => Some((place, index)),
        Need::Nothing | Need::Make | Need::Lower(_) | Need::Delete(_) => None,
    }
}

/// Whether an address is to be on its instance's macvlan.
fn on_macvlan(slot: &AddressSlot, instances: &[InstanceSlot]) -> bool {
    let instance = instances.get(usize::from(slot.instance));
    instance.is_some_and(|instance| instance.config.macvlan.is_some())
}

/// Name of the interface that an address is on, or was.
fn home(instance: &InstanceSlot, slot: Option<&AddressSlot>) -> records::Name {
    let macvlan = instance.config.macvlan.as_ref();
    let macvlan = macvlan.filter(|_| slot.is_some_and(|slot| slot.on_macvlan));
    records::name(macvlan.unwrap_or(&instance.config.interface))
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
    let routed = !on_macvlan(slot, instances);
    let wanted = virtual_address(index, address, prefix, scope_of(address, scope), routed);
    request::add_address(batch, &wanted, label)
}

fn log_refused(view: &View<'_, '_>, slot: &AddressSlot, errno: Errno, log: &mut Ring<'_>) {
    let instance = view.known.instances.get(usize::from(slot.instance));
    let interface = instance.map_or_else(records::Name::new, |i| home(i, Some(slot)));
    log.log(
        view.now,
        records::AddressRefused {
            address: slot.virtual_address.address,
            interface,
            errno: errno.0,
        },
    );
}
