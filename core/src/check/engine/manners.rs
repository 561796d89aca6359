//! How targets are checked: each manner once, however many checks have it. A
//! hundred thousand checks have a handful.

use crate::check::config::Fnv;
use crate::check::{CheckConfig, Manner};
use core::hash::{Hash, Hasher};
use core::net::SocketAddr;

const NIL: u32 = u32::MAX;
/// Lists that manners are looked for in, by their hashes.
const BUCKETS: usize = 1024;

/// Room for one manner of checking.
#[derive(Clone, Copy, Debug)]
pub struct MannerSlot {
    manner: Manner,
    /// Checks that have it.
    uses: u32,
    /// The next in its bucket, or the next free one.
    next: u32,
}

impl MannerSlot {
    /// Room without a manner, to fill storage with.
    pub const EMPTY: Self = Self {
        manner: Manner::DEFAULT,
        uses: 0,
        next: NIL,
    };
}

impl Default for MannerSlot {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The place of a manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MannerId(u32);

impl MannerId {
    /// Of no check.
    pub const NONE: Self = Self(NIL);
}

/// See the module's words.
pub(super) struct Manners<'s> {
    slots: &'s mut [MannerSlot],
    buckets: [u32; BUCKETS],
    /// Slots from here on were never in use; what is in them means nothing.
    fresh: u32,
    free: u32,
    /// The one that was taken last.
    last: u32,
}

impl<'s> Manners<'s> {
    pub const fn new(slots: &'s mut [MannerSlot]) -> Self {
        Self {
            slots,
            buckets: [NIL; BUCKETS],
            fresh: 0,
            free: NIL,
            last: NIL,
        }
    }

    /// How many fit.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    /// The check of `target` in this manner.
    pub fn check(&self, MannerId(id): MannerId, target: SocketAddr) -> CheckConfig {
        let slot = self.slots.get(id as usize);
        slot.map_or(&Manner::DEFAULT, |slot| &slot.manner)
            .check(target)
    }

    /// The place of a check's manner, for one more that has it. [`MannerId::NONE`]
    /// if there is no room.
    pub fn take(&mut self, config: &CheckConfig) -> MannerId {
        let manner = Manner::of(config);
        // Neighbours have mostly the same.
        if let Some(slot) = self.slots.get_mut(self.last as usize)
            && slot.uses > 0
            && slot.manner == manner
        {
            slot.uses = slot.uses.saturating_add(1);
            return MannerId(self.last);
        }
        let bucket = bucket(&manner);
        let head = self.buckets.get(bucket).copied().unwrap_or(NIL);
        let mut at = head;
        while let Some(slot) = self.slots.get_mut(at as usize) {
            if slot.manner == manner {
                slot.uses = slot.uses.saturating_add(1);
                self.last = at;
                return MannerId(at);
            }
            at = slot.next;
        }
        let Some((id, slot)) = self.take_slot() else {
            return MannerId::NONE;
        };
        *slot = MannerSlot {
            manner,
            uses: 1,
            next: head,
        };
        self.set_bucket(bucket, id);
        self.last = id;
        MannerId(id)
    }

    /// One check less has it; the last one frees its place.
    pub fn release(&mut self, MannerId(id): MannerId) {
        let Some(slot) = self.slots.get_mut(id as usize) else {
            return;
        };
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses > 0 {
            return;
        }
        let (bucket, next) = (bucket(&slot.manner), slot.next);
        slot.next = core::mem::replace(&mut self.free, id);
        let mut at = self.buckets.get(bucket).copied().unwrap_or(NIL);
        if at == id {
            return self.set_bucket(bucket, next);
        }
        while let Some(slot) = self.slots.get_mut(at as usize) {
            if slot.next == id {
                slot.next = next;
                return;
            }
            at = slot.next;
        }
    }

    /// A slot of no use, one that was in use before where there is one.
    fn take_slot(&mut self) -> Option<(u32, &mut MannerSlot)> {
        let id = match self.free {
            NIL => self.fresh,
            free => free,
        };
        let slot = self.slots.get_mut(id as usize)?;
        if self.free == NIL {
            self.fresh = id.saturating_add(1);
        } else {
            self.free = slot.next;
        }
        Some((id, slot))
    }

    fn set_bucket(&mut self, bucket: usize, id: u32) {
        if let Some(head) = self.buckets.get_mut(bucket) {
            *head = id;
        }
    }

    /// Checks that have a manner, all together.
    pub fn uses(&self) -> u64 {
        let used = self.slots.iter().take(self.fresh as usize);
        used.fold(0, |sum, slot| sum.saturating_add(slot.uses.into()))
    }
}

fn bucket(manner: &Manner) -> usize {
    let mut hasher = Fnv::new(0);
    manner.hash(&mut hasher);
    // So many low bits of it.
    let bits = hasher.finish() & (BUCKETS as u64).saturating_sub(1);
    usize::try_from(bits).unwrap_or(0)
}

const _: () = assert!(BUCKETS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Kind;
    use core::time::Duration;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn config(n: u64) -> CheckConfig {
        let target = SocketAddr::from(([10, 0, 0, 1], 80));
        CheckConfig {
            interval: Duration::from_secs(n),
            ..CheckConfig::new(Kind::Tcp { half_open: false }, target)
        }
    }

    proptest! {
        /// Whoever has a manner finds it until he lets it go; those that are equal
        /// have one place, and no place is lost.
        #[test]
        fn equal_manners_have_one_place(steps in prop::collection::vec((0..6_u64, any::<bool>()), 0..200)) {
            let mut slots = [MannerSlot::EMPTY; 6];
            let mut manners = Manners::new(&mut slots);
            let mut held: Vec<(u64, MannerId)> = vec![];
            for (n, take) in steps {
                if take {
                    let id = manners.take(&config(n));
                    prop_assert_ne!(id, MannerId::NONE);
                    held.push((n, id));
                } else if !held.is_empty() {
                    let at = usize::try_from(n).unwrap() % held.len();
                    manners.release(held.swap_remove(at).1);
                }
                prop_assert_eq!(manners.uses(), held.len() as u64);
                for (n, id) in &held {
                    prop_assert_eq!(manners.check(*id, config(*n).target), config(*n));
                    prop_assert!(held.iter().all(|(m, other)| (m == n) == (other == id)));
                }
            }
        }
    }

    #[test]
    fn without_room_there_is_none() {
        let mut slots = [MannerSlot::EMPTY; 1];
        let mut manners = Manners::new(&mut slots);
        let one = manners.take(&config(1));
        assert_eq!(manners.take(&config(2)), MannerId::NONE);
        manners.release(MannerId::NONE);
        assert_eq!(manners.take(&config(1)), one);
        manners.release(one);
        manners.release(one);
        assert_ne!(manners.take(&config(2)), MannerId::NONE);
    }
}
