//! The hierarchical timer wheel over the owner's slots. Not a clock: it is told
//! what time it is.
//!
//! Timers of later ticks lie in 64-way buckets, one level for each six bits in
//! which their tick differs from the wheel's; timers of the tick being served
//! lie in a binary heap threaded through the same slots. So insert and cancel
//! are O(1) for everything that is not due within the tick, deadlines are kept
//! to the nanosecond, and order is total: nothing fires early, nothing fires
//! before something with an earlier deadline.
//!
//! After "Hashed and Hierarchical Timing Wheels", Varghese and Lauck, 1987.

mod heap;

use super::Instant;
use core::fmt;

/// Bits of a tick that one level resolves.
const LEVEL_BITS: u32 = 6;
/// Buckets of a level.
const LEVEL_BUCKETS: usize = 1 << LEVEL_BITS;
/// Levels that cover 64 bits, so that no deadline overflows the wheel.
const LEVELS: usize = 11;
const _: () = assert!(LEVELS * LEVEL_BITS as usize >= u64::BITS as usize);
const BUCKETS: usize = LEVELS * LEVEL_BUCKETS;
/// The end of a list.
const NIL: u32 = u32::MAX;
/// `Slot::place` of a slot that holds no timer.
const FREE: u16 = u16::MAX;
/// `Slot::place` of a slot whose timer is in the heap; `Slot::prev` is where.
const HEAPED: u16 = u16::MAX - 1;
const _: () = assert!(BUCKETS < HEAPED as usize);

/// Timers that one call of [`Wheel::expire`] moves between buckets at most.
pub const MOVES_MAX: u32 = 256;

/// Room for one timer, and for one entry of the heap.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    deadline: Instant,
    next: u32,
    prev: u32,
    generation: u32,
    payload: u32,
    /// Entry of the heap that has this slot's index as its position. Not of
    /// this slot's timer.
    heap: u32,
    /// Bucket, [`HEAPED`] or [`FREE`].
    place: u16,
}

const _: () = assert!(size_of::<Slot>() == 32);

impl Slot {
    /// A slot without a timer, to fill storage with.
    pub const EMPTY: Self = Self {
        deadline: Instant::ZERO,
        next: NIL,
        prev: NIL,
        generation: 0,
        payload: 0,
        heap: NIL,
        place: FREE,
    };
}

impl Default for Slot {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A timer that was set. It is stale once the timer fired or was cancelled:
/// then it names nothing, even when its slot is in use again (until the slot
/// was used 2^32 times).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// Index of the slot.
    pub index: u32,
    /// Which use of the slot.
    pub generation: u32,
}

/// Every slot holds a timer: the owner has more timers than it gave slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the timer wheel has no free slot: size it for one slot per timer")
    }
}

impl core::error::Error for Full {}

/// A timer wheel with as many timers as `slots` has elements.
///
/// Call [`expire`](Self::expire) until it returns `None`, and again at
/// [`poll_timeout`](Self::poll_timeout).
pub struct Wheel<'s> {
    slots: &'s mut [Slot],
    /// First slot of each bucket's circular list.
    heads: [u32; BUCKETS],
    /// Not later than any deadline in the bucket; exact until the timer that
    /// gave it is cancelled.
    bounds: [Instant; BUCKETS],
    /// Which buckets of a level are not empty.
    occupied: [u64; LEVELS],
    /// Nanoseconds of a tick, as a power of two.
    shift: u32,
    /// The tick being served: buckets hold later ones, the heap this one and
    /// earlier ones.
    tick: u64,
    /// The bucket that `tick` has reached, while it still holds timers.
    draining: Option<u16>,
    heap_len: u32,
    /// Slots from here on have never held a timer; what is in them means nothing.
    fresh: u32,
    free: u32,
    len: u32,
}

impl<'s> Wheel<'s> {
    /// An empty wheel. `tick_ns` is the grain at which timers are sorted only
    /// when their time has come, not a rounding: take about the time between
    /// two wake-ups of the owner. It is rounded up to a power of two.
    /// Slots beyond 2^32 - 1 stay unused. None is written before it is needed.
    #[must_use]
    pub fn new(slots: &'s mut [Slot], tick_ns: u64) -> Self {
        let shift = tick_ns
            .checked_next_power_of_two()
            .map_or(u64::BITS - 1, u64::trailing_zeros);
        Self {
            slots,
            heads: [NIL; BUCKETS],
            bounds: [Instant::FAR; BUCKETS],
            occupied: [0; LEVELS],
            shift,
            tick: 0,
            draining: None,
            heap_len: 0,
            fresh: 0,
            free: NIL,
            len: 0,
        }
    }

    /// Timers set now.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether no timer is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Timers that can be set at once.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    /// Sets a timer; a deadline in the past is due at once. `payload` comes
    /// back when it fires. O(1); O(log n) of the tick's timers when it is due
    /// within the tick being served.
    ///
    /// # Errors
    /// [`Full`] when every slot holds a timer.
    pub fn insert(&mut self, deadline: Instant, payload: u32) -> Result<Timer, Full> {
        let index = self.take_slot().ok_or(Full)?;
        let slot = self.slot(index);
        self.len = self.len.saturating_add(1);
        self.edit(index, |slot| {
            slot.deadline = deadline;
            slot.payload = payload;
        });
        self.place(index);
        Ok(Timer {
            index,
            generation: slot.generation,
        })
    }

    /// Takes a timer back and returns its payload; `None` when it had fired or
    /// been cancelled before, and then nothing changes. O(1), or O(log n) of
    /// the tick's timers as for [`insert`](Self::insert).
    pub fn cancel(&mut self, timer: Timer) -> Option<u32> {
        let slot = self.live(timer)?;
        self.unplace(timer.index);
        self.release(timer.index);
        Some(slot.payload)
    }

    /// Gives a timer another deadline and keeps its handle; `false` when it is
    /// stale, and then nothing changes.
    pub fn postpone(&mut self, timer: Timer, deadline: Instant) -> bool {
        if self.live(timer).is_none() {
            return false;
        }
        self.unplace(timer.index);
        self.edit(timer.index, |slot| slot.deadline = deadline);
        self.place(timer.index);
        true
    }

    /// When a timer is due; `None` when it is stale.
    #[must_use]
    pub fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.live(timer).map(|slot| slot.deadline)
    }

    /// Takes the timer with the earliest deadline, if that is at or before
    /// `now`. Timers with one deadline come in any order.
    ///
    /// `None` when none is due, or when [`MOVES_MAX`] timers were moved towards
    /// their tick and more have to be: then [`poll_timeout`](Self::poll_timeout)
    /// is not after `now`, and the owner comes back when it has served its
    /// sockets. The work does not depend on how far `now` jumped.
    pub fn expire(&mut self, now: Instant) -> Option<(Timer, u32)> {
        let mut moves = MOVES_MAX;
        loop {
            if let Some(bucket) = self.draining {
                moves = self.drain(bucket, moves)?;
                self.draining = None;
            }
            if let Some(index) = self.heap_at(0) {
                let slot = self.slot(index);
                if slot.deadline > now {
                    return None;
                }
                self.heap_remove(0);
                self.release(index);
                let timer = Timer {
                    index,
                    generation: slot.generation,
                };
                return Some((timer, slot.payload));
            }
            let now_tick = self.tick_of(now);
            match self.next_bucket() {
                Some((bucket, start)) if start <= now_tick => {
                    self.tick = start;
                    self.draining = Some(bucket);
                }
                Some(_) | None => {
                    self.tick = self.tick.max(now_tick);
                    return None;
                }
            }
        }
    }

    /// When to call [`expire`](Self::expire) again; `None` when no timer is
    /// set. Exact, except after the earliest timer of a bucket was cancelled:
    /// then it may be earlier, but each such call of `expire` sorts that bucket
    /// one level finer, so there are at most 11 of them before the deadline is
    /// exact. Ask again after every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if let Some(bucket) = self.draining {
            return Some(self.bound(bucket).min(self.start_of_tick()));
        }
        if let Some(index) = self.heap_at(0) {
            return Some(self.slot(index).deadline);
        }
        self.next_bucket().map(|(bucket, _)| self.bound(bucket))
    }

    /// Moves up to `moves` timers of a bucket the tick has reached to where
    /// they belong now; what is left of `moves`, or `None` if the bucket is not
    /// empty yet.
    fn drain(&mut self, bucket: u16, mut moves: u32) -> Option<u32> {
        loop {
            let index = self.heads.get(usize::from(bucket)).copied()?;
            if index == NIL {
                return Some(moves);
            }
            moves = moves.checked_sub(1)?;
            self.unplace(index);
            self.place(index);
        }
    }

    /// The bucket with the earliest timers, and its first tick.
    fn next_bucket(&self) -> Option<(u16, u64)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        // Buckets are later than the tick and share its higher digits, so the
        // lowest level comes first, and in it the lowest digit.
        let digit = self.occupied.get(level)?.trailing_zeros();
        let level_shift = LEVEL_BITS.checked_mul(u32::try_from(level).ok()?)?;
        let above = level_shift.checked_add(LEVEL_BITS)?;
        let high = self.tick.checked_shr(above).unwrap_or(0);
        let high = high.checked_shl(above).unwrap_or(0);
        let start = high | u64::from(digit).checked_shl(level_shift)?;
        Some((bucket_of(level_shift, digit.into()), start))
    }

    /// Puts a slot with its deadline into its bucket or the heap.
    fn place(&mut self, index: u32) {
        let deadline = self.slot(index).deadline;
        let tick = self.tick_of(deadline);
        if tick <= self.tick {
            self.heap_insert(index);
            return;
        }
        let differs = (tick ^ self.tick).ilog2();
        let level_shift = differs.saturating_sub(differs % LEVEL_BITS);
        let bucket = bucket_of(level_shift, tick >> level_shift);
        let head = self.head(bucket);
        if head == NIL {
            self.edit(index, |slot| (slot.next, slot.prev) = (index, index));
            self.set_head(bucket, index);
        } else {
            let tail = self.slot(head).prev;
            self.edit(index, |slot| (slot.next, slot.prev) = (head, tail));
            self.edit(tail, |slot| slot.next = index);
            self.edit(head, |slot| slot.prev = index);
        }
        self.edit(index, |slot| slot.place = bucket);
        if let Some(bound) = self.bounds.get_mut(usize::from(bucket)) {
            *bound = deadline.min(*bound);
        }
    }

    /// Takes a slot out of its bucket or the heap.
    fn unplace(&mut self, index: u32) {
        let slot = self.slot(index);
        if slot.place == HEAPED {
            self.heap_remove(slot.prev);
        } else if slot.next == index {
            self.set_head(slot.place, NIL);
            if let Some(bound) = self.bounds.get_mut(usize::from(slot.place)) {
                *bound = Instant::FAR;
            }
        } else {
            self.edit(slot.prev, |before| before.next = slot.next);
            self.edit(slot.next, |after| after.prev = slot.prev);
            if self.head(slot.place) == index {
                self.set_head(slot.place, slot.next);
            }
        }
    }

    /// A slot that holds no timer: one that has held one before where there is one,
    /// so that memory is touched as it is needed.
    fn take_slot(&mut self) -> Option<u32> {
        let index = self.free;
        if index != NIL {
            self.free = self.slot(index).next;
            return Some(index);
        }
        let index = Some(self.fresh).filter(|index| *index < self.capacity())?;
        *self.slots.get_mut(index as usize)? = Slot::EMPTY;
        self.fresh = index.saturating_add(1);
        Some(index)
    }

    /// Makes a slot free; handles of it are stale from here on.
    fn release(&mut self, index: u32) {
        let free = self.free;
        self.edit(index, |slot| {
            slot.place = FREE;
            slot.generation = slot.generation.wrapping_add(1);
            slot.next = free;
        });
        self.free = index;
        self.len = self.len.saturating_sub(1);
    }

    fn live(&self, timer: Timer) -> Option<Slot> {
        let slots = self.slots.get(..self.fresh as usize)?;
        let slot = *slots.get(timer.index as usize)?;
        (slot.place != FREE && slot.generation == timer.generation).then_some(slot)
    }

    fn slot(&self, index: u32) -> Slot {
        let slot = self.slots.get(index as usize).copied();
        slot.unwrap_or(Slot::EMPTY)
    }

    fn edit(&mut self, index: u32, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            change(slot);
        }
    }

    fn head(&self, bucket: u16) -> u32 {
        let head = self.heads.get(usize::from(bucket)).copied();
        head.unwrap_or(NIL)
    }

    fn set_head(&mut self, bucket: u16, index: u32) {
        let bucket = usize::from(bucket);
        let bit = 1 << (bucket % LEVEL_BUCKETS);
        if let Some(head) = self.heads.get_mut(bucket)
            && let Some(bits) = self.occupied.get_mut(bucket / LEVEL_BUCKETS)
        {
            *head = index;
            *bits = if index == NIL {
                *bits & !bit
            } else {
                *bits | bit
            };
        }
    }

    fn bound(&self, bucket: u16) -> Instant {
        let bound = self.bounds.get(usize::from(bucket)).copied();
        bound.unwrap_or(Instant::ZERO)
    }

    const fn tick_of(&self, at: Instant) -> u64 {
        at.as_nanos() >> self.shift
    }

    const fn start_of_tick(&self) -> Instant {
        Instant::from_nanos(self.tick << self.shift)
    }
}

impl fmt::Debug for Wheel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .field("tick_ns", &(1_u64 << self.shift))
            .field("next", &self.poll_timeout())
            .finish_non_exhaustive()
    }
}

/// The bucket of a digit at the level whose digits begin at `level_shift`.
fn bucket_of(level_shift: u32, digit: u64) -> u16 {
    let digit = digit & (LEVEL_BUCKETS as u64).saturating_sub(1);
    let level = u64::from(level_shift / LEVEL_BITS);
    let bucket = level.saturating_mul(LEVEL_BUCKETS as u64);
    u16::try_from(bucket.saturating_add(digit)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
