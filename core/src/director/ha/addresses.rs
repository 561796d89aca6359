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

/// What the kernel thinks of what is wanted of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing that is known.
    #[default]
    None,
    /// It refused: not to be asked again before all that was refused is.
    Stands,
    /// It refused, and is to be asked again.
    Pardoned,
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
    /// It is on its instance's macvlan, or was last, and not on the interface
    /// itself.
    pub(super) on_macvlan: bool,
    /// It is on the interface with another scope or label than the plan's: it is
    /// taken off and put back.
    pub(super) stale: bool,
    /// It was put on the interface and not announced since.
    pub(super) fresh: bool,
    /// The dump at hand has shown it.
    pub(super) seen: bool,
    /// Whether the kernel refused the last attempt; then neither announcements
    /// nor other addresses wait for it.
    pub(super) refusal: Refusal,
    /// No plan names it any more; it is forgotten once it is off.
    pub(super) retire: bool,
    /// The plan being merged names it.
    kept: bool,
    /// The next slot whose address has the same hash.
    next: u32,
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
        on_macvlan: false,
        stale: false,
        fresh: false,
        seen: false,
        refusal: Refusal::None,
        retire: false,
        kept: false,
        next: NIL,
    };

    /// Whether an announcement of all addresses waits for this one.
    const fn is_awaited(&self) -> bool {
        !self.retire && !self.is_settled()
    }

    /// Whether nothing more will happen to it while it is wanted.
    pub(super) const fn is_settled(&self) -> bool {
        match self.presence {
            Presence::Present => true,
            Presence::Absent | Presence::Adding => match self.refusal {
                Refusal::None => false,
                Refusal::Stands | Refusal::Pardoned => true,
            },
            Presence::Unknown | Presence::Removing => false,
        }
    }
}

/// The end of a chain of slots.
const NIL: u32 = u32::MAX;

/// All addresses, each instance's in one run, over two slices of the owner: a
/// plan is merged from one into the other.
#[derive(Debug)]
pub(super) struct Addresses<'s> {
    slots: &'s mut [AddressSlot],
    len: usize,
    /// The first slot of each hash.
    heads: &'s mut [u32],
    spare: &'s mut [AddressSlot],
    spare_len: usize,
}

impl<'s> Addresses<'s> {
    pub(super) const fn new(slots: [&'s mut [AddressSlot]; 2], heads: &'s mut [u32]) -> Self {
        let [slots, spare] = slots;
        Self {
            slots,
            len: 0,
            heads,
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

    pub(super) fn get(&self, at: usize) -> Option<&AddressSlot> {
        self.all().get(at)
    }

    /// Changes a slot, and what its instance knows of it.
    pub(super) fn edit<R>(
        &mut self,
        at: usize,
        instances: &mut [InstanceSlot],
        change: impl FnOnce(&mut AddressSlot) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(..self.len)?.get_mut(at)?;
        let awaited = slot.is_awaited();
        let result = change(slot);
        if let Some(instance) = instances.get_mut(usize::from(slot.instance)) {
            match (awaited, slot.is_awaited()) {
                (false, true) => instance.unsettled = instance.unsettled.saturating_add(1),
                (true, false) => instance.unsettled = instance.unsettled.saturating_sub(1),
                (false, false) | (true, true) => {}
            }
            if slot.fresh && slot.presence == Presence::Present {
                slot.fresh = false;
                instance.added = true;
            }
        }
        Some(result)
    }

    /// All that was refused may be asked for once more.
    pub(super) fn pardon(&mut self) {
        let slots = self.slots.get_mut(..self.len).unwrap_or(&mut []);
        let refused = slots.iter_mut().filter(|s| s.refusal == Refusal::Stands);
        refused.for_each(|slot| slot.refusal = Refusal::Pardoned);
    }

    /// Forgets what an earlier dump has shown.
    pub(super) fn begin_dump(&mut self) {
        let slots = self.slots.get_mut(..self.len).unwrap_or(&mut []);
        slots.iter_mut().for_each(|slot| slot.seen = false);
    }

    /// The places of an address, of all instances: of few, as a config names no
    /// address twice on an interface.
    pub(super) fn places(&self, address: IpAddr) -> impl Iterator<Item = usize> {
        let place = |at: u32| (at != NIL).then_some(at as usize);
        let head = self.heads.get(bucket(address, self.heads.len())).copied();
        let first = head.and_then(place);
        let next = move |at: &usize| self.get(*at).and_then(|slot| place(slot.next));
        core::iter::successors(first, next)
            .filter(move |at| self.get(*at).map(|s| s.virtual_address.address) == Some(address))
    }

    /// How many slots of an instance's run outlive it when `plan` takes its
    /// place: those it lacks and that may still be on the interface.
    pub(super) fn outliving(&self, run: Range<usize>, plan: &[VirtualAddress]) -> usize {
        let held = |slot: &&AddressSlot| slot.presence != Presence::Absent;
        let all = self.of(run.clone()).iter().filter(held).count();
        let kept = plan.iter().filter(|new| {
            let mut places = self.places(new.address).filter(|at| run.contains(at));
            places.any(|at| self.get(at).as_ref().is_some_and(held))
        });
        all.saturating_sub(kept.count())
    }

    pub(super) fn of(&self, range: Range<usize>) -> &[AddressSlot] {
        self.slots.get(range).unwrap_or(&[])
    }

    /// Whether the address at `at` is wanted at the same place by a slot of
    /// another instance, as after a reload that gave it to that one.
    pub(super) fn is_claimed_by_another(&self, at: usize, instances: &[InstanceSlot]) -> bool {
        let Some(slot) = self.all().get(at).filter(|slot| slot.retire) else {
            return false;
        };
        let interface = |slot: &AddressSlot| {
            let instance = instances.get(usize::from(slot.instance))?;
            // A macvlan is one instance's alone.
            let shared = instance.config.macvlan.is_none() && !slot.on_macvlan;
            shared.then_some((instance.interface, instance.wanted))
        };
        let Some((here, _)) = interface(slot) else {
            return false;
        };
        self.places(slot.virtual_address.address)
            .filter_map(|at| self.get(at))
            .any(|other| !other.retire && interface(other) == Some((here, Some(true))))
    }

    /// Begins a merge: what [`Self::merge`] adds is next, until
    /// [`Self::end_merge`].
    pub(super) const fn begin_merge(&mut self) {
        self.spare_len = 0;
    }

    /// Adds an instance's addresses to the merged table: those of the new plan,
    /// with what is known of them from the instance's old run, then those of
    /// the old run that the plan lacks, to be retired. `stale`: those that stay
    /// are to have another scope or label; `on_macvlan` is where new ones go.
    /// Returns the new run.
    pub(super) fn merge(
        &mut self,
        instance: u16,
        plan: &[VirtualAddress],
        old: Range<usize>,
        (stale, on_macvlan): (bool, bool),
    ) -> Range<usize> {
        let first = self.spare_len;
        for new in plan {
            let at = self.places(new.address).find(|at| old.contains(at));
            let known = at.and_then(|at| self.slots.get_mut(at));
            let blank = AddressSlot {
                held_prefix: new.prefix,
                on_macvlan,
                ..AddressSlot::BLANK
            };
            let known = known.map_or(blank, |slot| {
                slot.kept = true;
                *slot
            });
            self.push(AddressSlot {
                virtual_address: *new,
                instance,
                retire: false,
                stale: known.stale || stale,
                ..known
            });
        }
        for at in old {
            let Some(slot) = self.slots.get(at) else {
                break;
            };
            if !slot.kept && slot.presence != Presence::Absent {
                let retired = AddressSlot {
                    instance,
                    retire: true,
                    ..*slot
                };
                self.push(retired);
            }
        }
        first..self.spare_len
    }

    fn push(&mut self, slot: AddressSlot) {
        if let Some(place) = self.spare.get_mut(self.spare_len) {
            *place = slot;
            self.spare_len = self.spare_len.saturating_add(1);
        }
    }

    /// The merged table takes the place of the old one.
    pub(super) fn end_merge(&mut self, instances: &mut [InstanceSlot]) {
        core::mem::swap(&mut self.slots, &mut self.spare);
        self.len = self.spare_len;
        self.heads.fill(NIL);
        let buckets = self.heads.len();
        let slots = self.slots.get_mut(..self.len).unwrap_or(&mut []);
        instances.iter_mut().for_each(|i| i.unsettled = 0);
        // From the end, so that a chain has the order of the table.
        for (at, slot) in slots.iter_mut().enumerate().rev() {
            slot.kept = false;
            if let Some(head) = self
                .heads
                .get_mut(bucket(slot.virtual_address.address, buckets))
            {
                slot.next = core::mem::replace(head, u32::try_from(at).unwrap_or(NIL));
            }
            if let Some(instance) = instances.get_mut(usize::from(slot.instance))
                && slot.is_awaited()
            {
                instance.unsettled = instance.unsettled.saturating_add(1);
            }
        }
    }
}

/// Where an address is looked for: Fibonacci hashing of its words. The
/// addresses are a config's, and nobody else has a say in them.
fn bucket(address: IpAddr, buckets: usize) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let (high, low) = match address {
        IpAddr::V4(address) => (0, u64::from(address.to_bits())),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            let low = bits & u128::from(u64::MAX);
            let half = |half| u64::try_from(half).unwrap_or(0);
            (half(bits >> 64), half(low))
        }
    };
    let mixed = (low ^ high.wrapping_mul(GOLDEN).rotate_left(32)).wrapping_mul(GOLDEN);
    // The upper bits are the mixed ones: scaled, not divided.
    let scaled = u128::from(mixed).wrapping_mul(buckets as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

/// The scope an address is to have. IPv6 has no say: the kernel knows by the
/// address.
pub(super) const fn scope_of(address: IpAddr, wanted: Scope) -> Scope {
    match address {
        IpAddr::V4(_) => wanted,
        IpAddr::V6(a) if a.is_unicast_link_local() => Scope::LINK,
        IpAddr::V6(_) => Scope::UNIVERSE,
    }
}

/// A virtual address as the kernel is to have it: marked as ours, and for IPv6
/// without duplicate detection, which would keep it silent for a second, and
/// never chosen as a source. Or else the node's own health checks would come
/// from it, and a backend that has the address too (direct routing) would
/// answer itself; in IPv4 the first address of a subnet is chosen anyway.
/// `routed`: with a route to its prefix. Beside the one that the interface beneath
/// has, a macvlan's would be a second way to the same neighbours, and the first
/// after that interface was down for a moment.
pub(super) const fn virtual_address(
    interface: InterfaceIndex,
    address: IpAddr,
    prefix: u8,
    scope: Scope,
    routed: bool,
) -> InterfaceAddress {
    let silent = AddressFlags::NODAD.union(AddressFlags::DEPRECATED);
    let unrouted = if routed {
        AddressFlags::empty()
    } else {
        AddressFlags::NOPREFIXROUTE
    };
    let flags = match address {
        IpAddr::V4(_) => unrouted,
        // Each link has a route of its own to link-local neighbours.
        IpAddr::V6(a) if a.is_unicast_link_local() => silent,
        IpAddr::V6(_) => silent.union(unrouted),
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
        let mut heads = [0; 8];
        let mut addresses = Addresses::new([&mut a, &mut b], &mut heads);
        addresses.begin_merge();
        let run = addresses.merge(
            0,
            &[planned(1), planned(2), planned(3)],
            0..0,
            (false, false),
        );
        addresses.end_merge(&mut []);
        assert_eq!(run, 0..3);
        for (at, presence) in [Presence::Present, Presence::Present, Presence::Absent]
            .into_iter()
            .enumerate()
        {
            addresses.edit(at, &mut [], |slot| slot.presence = presence);
        }

        addresses.begin_merge();
        let run = addresses.merge(0, &[planned(4), planned(2)], run, (false, false));
        addresses.end_merge(&mut []);
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
