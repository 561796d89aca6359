//! Virtual addresses: which should be on their interface, and which are.

use super::state::InstanceSlot;
use crate::director::plan::VirtualAddress;
use crate::model::Family;
use crate::route::{AddressFlags, AddressProtocol, InterfaceAddress, InterfaceIndex, Scope};
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;

/// What is known of an address on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing; a dump will tell.
    Unknown,
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// Asked the kernel to add it.
    Adding,
    /// Asked the kernel to remove it.
    Removing,
}

/// One virtual address of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressSlot {
    /// The address and its prefix.
    pub virtual_address: VirtualAddress,
    /// The instance it belongs to.
    pub(super) instance: u16,
    /// What is known of it.
    pub presence: Presence,
    /// The prefix it is on the interface with, which may be another than the
    /// plan's: it must be said to take it off.
    pub(super) held_prefix: u8,
    /// It was put on the interface and not announced since.
    pub(super) fresh: bool,
    /// The dump at hand has shown it.
    pub(super) seen: bool,
    /// The kernel refused the last attempt; announcements do not wait for it.
    pub(super) refused: bool,
    /// No plan names it any more; it is forgotten once it is off.
    pub(super) retire: bool,
}

impl AddressSlot {
    /// A slot of no address, to fill the owner's slice with.
    pub const BLANK: Self = Self {
        virtual_address: VirtualAddress {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            prefix: 0,
        },
        instance: 0,
        presence: Presence::Unknown,
        held_prefix: 0,
        fresh: false,
        seen: false,
        refused: false,
        retire: false,
    };

    /// Whether a plan lacks it, and it may still be on the interface.
    pub(super) fn outlives(&self, plan: &[VirtualAddress]) -> bool {
        let planned = plan
            .iter()
            .any(|new| new.address == self.virtual_address.address);
        !planned && self.presence != Presence::Absent
    }

    /// Whether nothing more will happen to it while it is wanted.
    pub(super) const fn is_settled(&self) -> bool {
        match self.presence {
            Presence::Present => true,
            Presence::Absent => self.refused,
            Presence::Unknown | Presence::Adding | Presence::Removing => false,
        }
    }
}

/// All addresses, each instance's in one run, over two slices of the owner: a
/// plan is merged from one into the other.
#[derive(Debug)]
pub(super) struct Addresses<'s> {
    slots: &'s mut [AddressSlot],
    len: usize,
    spare: &'s mut [AddressSlot],
    spare_len: usize,
}

impl<'s> Addresses<'s> {
    pub(super) const fn new(slots: [&'s mut [AddressSlot]; 2]) -> Self {
        let [slots, spare] = slots;
        Self {
            slots,
            len: 0,
            spare,
            spare_len: 0,
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        if self.slots.len() < self.spare.len() {
            self.slots.len()
        } else {
            self.spare.len()
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn all(&self) -> &[AddressSlot] {
        self.slots.get(..self.len).unwrap_or(&[])
    }

    pub(super) fn all_mut(&mut self) -> &mut [AddressSlot] {
        self.slots.get_mut(..self.len).unwrap_or(&mut [])
    }

    pub(super) fn of(&self, range: Range<usize>) -> &[AddressSlot] {
        self.slots.get(range).unwrap_or(&[])
    }

    /// Whether the address at `at` is wanted on the same interface by a slot of
    /// another instance, as after a reload that gave it to that one.
    pub(super) fn is_claimed_by_another(&self, at: usize, instances: &[InstanceSlot]) -> bool {
        let Some(slot) = self.all().get(at).filter(|slot| slot.retire) else {
            return false;
        };
        let interface = |slot: &AddressSlot| {
            let instance = instances.get(usize::from(slot.instance))?;
            Some((instance.interface, instance.wanted))
        };
        let Some((here, _)) = interface(slot) else {
            return false;
        };
        let address = slot.virtual_address.address;
        self.all().iter().any(|other| {
            !other.retire
                && other.virtual_address.address == address
                && interface(other) == Some((here, Some(true)))
        })
    }

    /// Begins a merge: what [`Self::merge`] adds is next, until
    /// [`Self::end_merge`].
    pub(super) const fn begin_merge(&mut self) {
        self.spare_len = 0;
    }

    /// Adds an instance's addresses to the merged table: those of the new plan,
    /// with what is known of them from the instance's old run, then those of
    /// the old run that the plan lacks, to be retired. Returns the new run.
    pub(super) fn merge(
        &mut self,
        instance: u16,
        plan: &[VirtualAddress],
        old: Range<usize>,
    ) -> Range<usize> {
        let old = self.slots.get(old).unwrap_or(&[]);
        let first = self.spare_len;
        let mut push = |slot: AddressSlot| {
            if let Some(place) = self.spare.get_mut(self.spare_len) {
                *place = slot;
                self.spare_len = self.spare_len.saturating_add(1);
            }
        };
        for new in plan {
            let known = old
                .iter()
                .find(|slot| slot.virtual_address.address == new.address);
            push(AddressSlot {
                virtual_address: *new,
                instance,
                presence: known.map_or(Presence::Unknown, |slot| slot.presence),
                held_prefix: known.map_or(new.prefix, |slot| slot.held_prefix),
                fresh: known.is_some_and(|slot| slot.fresh),
                seen: known.is_some_and(|slot| slot.seen),
                refused: known.is_some_and(|slot| slot.refused),
                retire: false,
            });
        }
        for slot in old {
            if slot.outlives(plan) {
                push(AddressSlot {
                    instance,
                    retire: true,
                    ..*slot
                });
            }
        }
        first..self.spare_len
    }

    /// The merged table takes the place of the old one.
    pub(super) const fn end_merge(&mut self) {
        core::mem::swap(&mut self.slots, &mut self.spare);
        self.len = self.spare_len;
    }
}

/// A virtual address as the kernel is to have it: marked as ours, and for IPv6
/// without duplicate detection, which would keep it silent for a second, and
/// never chosen as a source. Or else the node's own health checks would come
/// from it, and a backend that has the address too (direct routing) would
/// answer itself; in IPv4 the first address of a subnet is chosen anyway.
pub(super) fn virtual_address(
    interface: InterfaceIndex,
    address: IpAddr,
    prefix: u8,
) -> InterfaceAddress {
    let silent = AddressFlags::NODAD.union(AddressFlags::DEPRECATED);
    let (flags, scope) = match address {
        IpAddr::V4(_) => (AddressFlags::empty(), Scope::UNIVERSE),
        IpAddr::V6(a) if a.is_unicast_link_local() => (silent, Scope::LINK),
        IpAddr::V6(_) => (silent, Scope::UNIVERSE),
    };
    InterfaceAddress {
        interface,
        address,
        prefix,
        flags,
        scope,
        protocol: AddressProtocol::TRUNNION,
    }
}

/// Whether adverts can come from the address.
pub(super) fn is_usable(address: &InterfaceAddress) -> bool {
    let waits = AddressFlags::TENTATIVE.union(AddressFlags::DADFAILED);
    match Family::of(&address.address) {
        Family::V4 => true,
        Family::V6 => !address.flags.intersects(waits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn planned(last: u8) -> VirtualAddress {
        VirtualAddress {
            address: IpAddr::from([192, 0, 2, last]),
            prefix: 24,
        }
    }

    fn shown(addresses: &Addresses<'_>) -> Vec<(IpAddr, Presence, bool)> {
        let show = |slot: &AddressSlot| (slot.virtual_address.address, slot.presence, slot.retire);
        addresses.all().iter().map(show).collect()
    }

    #[test]
    fn a_reload_keeps_what_is_known_and_retires_what_is_gone() {
        let (mut a, mut b) = ([AddressSlot::BLANK; 8], [AddressSlot::BLANK; 8]);
        let mut addresses = Addresses::new([&mut a, &mut b]);
        addresses.begin_merge();
        let run = addresses.merge(0, &[planned(1), planned(2), planned(3)], 0..0);
        addresses.end_merge();
        assert_eq!(run, 0..3);
        for (slot, presence) in addresses.all_mut().iter_mut().zip([
            Presence::Present,
            Presence::Present,
            Presence::Absent,
        ]) {
            slot.presence = presence;
        }

        addresses.begin_merge();
        let run = addresses.merge(0, &[planned(4), planned(2)], run);
        addresses.end_merge();
        assert_eq!(run, 0..3);
        let address = |last| planned(last).address;
        assert_eq!(
            shown(&addresses),
            [
                (address(4), Presence::Unknown, false),
                (address(2), Presence::Present, false),
                (address(1), Presence::Present, true),
            ]
        );
    }
}
