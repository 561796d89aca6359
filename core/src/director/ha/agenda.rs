//! Which instance has something to do, and when: a turn of the loop looks at
//! those and at no other, however many there are.
//!
//! A deadline lies in a timer wheel, exact to the nanosecond. What is due now
//! waits in a queue for each kind of work, in the order it became due. Not a
//! decision: whether work is still to be done is looked up when its turn comes,
//! so an entry too many costs one look and changes nothing.

use crate::time::{Instant, Slot, Timer, Wheel};

/// The end of a list: no instance has this place.
const NIL: u16 = u16::MAX;
/// Grain of the wheel, a power of two: about 1 ms.
const TICK_NS: u64 = 1 << 20;

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Its addresses changed: look whether that starts something.
    Look,
    /// It owes an advert.
    Speak,
    /// It owes announcements.
    Announce,
    /// What the next run should know of it changed.
    Remember,
    /// Its next advert is not built yet.
    Prepare,
}

const KINDS: usize = 5;

impl Work {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Room for what is known of one instance.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    timer: Option<Timer>,
    /// The next instance of each queue this one waits in.
    next: [u16; KINDS],
    /// The queues it waits in, as bits.
    queued: u8,
}

impl Entry {
    /// Of no instance, to fill the owner's slice with.
    pub const EMPTY: Self = Self {
        timer: None,
        next: [NIL; KINDS],
        queued: 0,
    };
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    head: u16,
    tail: u16,
}

impl Queue {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };
}

/// See the module's words. Instances are named by their places.
pub(super) struct Agenda<'s> {
    wheel: Wheel<'s>,
    entries: &'s mut [Entry],
    queues: [Queue; KINDS],
    /// When the oldest of what waits in a queue was put there.
    waiting_since: Option<Instant>,
}

impl<'s> Agenda<'s> {
    /// Nothing to do, for as many instances as there are of the shorter slice.
    pub(super) fn new(entries: &'s mut [Entry], timers: &'s mut [Slot]) -> Self {
        Self {
            wheel: Wheel::new(timers, TICK_NS),
            entries,
            queues: [Queue::EMPTY; KINDS],
            waiting_since: None,
        }
    }

    /// Forgets everything: the instances got other places.
    pub(super) fn clear(&mut self) {
        let Self {
            wheel,
            entries,
            queues,
            waiting_since,
        } = self;
        for entry in entries.iter_mut() {
            if let Some(timer) = entry.timer {
                let _ = wheel.cancel(timer);
            }
            *entry = Entry::EMPTY;
        }
        *queues = [Queue::EMPTY; KINDS];
        *waiting_since = None;
    }

    /// Has [`Self::expire`] name the instance at `at`, or not at all.
    ///
    /// A deadline that moves away is not moved in the wheel: an instance that
    /// hears an advert each interval would move its own each time, and wakes up
    /// once too often in three intervals instead.
    pub(super) fn schedule(&mut self, instance: usize, at: Option<Instant>) {
        let Self { wheel, entries, .. } = self;
        let Some(entry) = entries.get_mut(instance) else {
            return;
        };
        match (entry.timer, at) {
            (Some(timer), Some(at)) => {
                if wheel.deadline(timer).is_none_or(|set| at < set) && !wheel.postpone(timer, at) {
                    entry.timer = None;
                }
            }
            (None, Some(at)) => {
                let payload = u32::try_from(instance).unwrap_or(u32::MAX);
                entry.timer = wheel.insert(at, payload).ok();
            }
            (Some(timer), None) => {
                let _ = wheel.cancel(timer);
                entry.timer = None;
            }
            (None, None) => {}
        }
    }

    /// The next instance whose deadline has come. It has none then, until it is
    /// scheduled again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<usize> {
        let (_, instance) = self.wheel.expire(now)?;
        let instance = instance as usize;
        if let Some(entry) = self.entries.get_mut(instance) {
            entry.timer = None;
        }
        Some(instance)
    }

    /// Puts an instance at the end of a queue, unless it waits there.
    pub(super) fn push(&mut self, now: Instant, work: Work, instance: usize) {
        let Ok(place) = u16::try_from(instance) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(instance) else {
            return;
        };
        if entry.queued & work.bit() != 0 {
            return;
        }
        entry.queued |= work.bit();
        let Some(queue) = self.queues.get_mut(work as usize) else {
            return;
        };
        let tail = core::mem::replace(&mut queue.tail, place);
        match self.entries.get_mut(usize::from(tail)) {
            Some(last) => set(&mut last.next, work, place),
            None => queue.head = place,
        }
        if work != Work::Prepare {
            self.waiting_since = self.waiting_since.or(Some(now));
        }
    }

    /// The instance that waits longest in a queue.
    pub(super) fn front(&self, work: Work) -> Option<usize> {
        let head = self.queues.get(work as usize)?.head;
        (head != NIL).then_some(usize::from(head))
    }

    /// Takes the instance that waits longest out of a queue.
    pub(super) fn pop(&mut self, work: Work) -> Option<usize> {
        let instance = self.front(work)?;
        let entry = self.entries.get_mut(instance)?;
        entry.queued &= !work.bit();
        let next = core::mem::replace(entry.next.get_mut(work as usize)?, NIL);
        let queue = self.queues.get_mut(work as usize)?;
        queue.head = next;
        if next == NIL {
            queue.tail = NIL;
        }
        // What is built ahead of its time makes nobody wait.
        let busy = [Work::Look, Work::Speak, Work::Announce, Work::Remember];
        if busy.iter().all(|work| self.front(*work).is_none()) {
            self.waiting_since = None;
        }
        Some(instance)
    }

    /// When the next advert or transition is due; in the past when an advert is.
    pub(super) fn free_until(&self) -> Option<Instant> {
        let speaks = self.front(Work::Speak).and(self.waiting_since);
        crate::time::earliest(speaks, self.wheel.poll_timeout())
    }

    /// When [`Self::expire`] names an instance at the earliest; in the past
    /// while something waits in a queue.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        crate::time::earliest(self.waiting_since, self.wheel.poll_timeout())
    }
}

fn set(next: &mut [u16; KINDS], work: Work, place: u16) {
    if let Some(next) = next.get_mut(work as usize) {
        *next = place;
    }
}

impl core::fmt::Debug for Agenda<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Agenda")
            .field("timers", &self.wheel.len())
            .field("waiting_since", &self.waiting_since)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_queue_keeps_its_order_and_nobody_waits_in_it_twice() {
        let (mut entries, mut timers) = ([Entry::EMPTY; 4], [Slot::EMPTY; 4]);
        let mut agenda = Agenda::new(&mut entries, &mut timers);
        for instance in [2, 0, 2, 3, 0] {
            agenda.push(at(5), Work::Speak, instance);
        }
        agenda.push(at(6), Work::Remember, 0);
        assert_eq!(agenda.poll_timeout(), Some(at(5)));
        let order: Vec<_> = core::iter::from_fn(|| agenda.pop(Work::Speak)).collect();
        assert_eq!(order, [2, 0, 3]);
        agenda.push(at(7), Work::Speak, 2);
        assert_eq!(agenda.pop(Work::Speak), Some(2));
        assert!(agenda.poll_timeout().is_some());
        assert_eq!(agenda.pop(Work::Remember), Some(0));
        assert_eq!(agenda.poll_timeout(), None);
        agenda.push(at(8), Work::Look, 9);
        assert_eq!(agenda.pop(Work::Look), None);
    }

    #[test]
    fn a_deadline_comes_forward_at_once_and_moves_away_lazily() {
        let (mut entries, mut timers) = ([Entry::EMPTY; 2], [Slot::EMPTY; 2]);
        let mut agenda = Agenda::new(&mut entries, &mut timers);
        agenda.schedule(0, Some(at(30)));
        agenda.schedule(1, Some(at(20)));
        agenda.schedule(0, Some(at(10)));
        assert_eq!(agenda.poll_timeout(), Some(at(10)));
        agenda.schedule(0, Some(at(40)));
        assert_eq!(agenda.expire(at(10)), Some(0));
        agenda.schedule(0, Some(at(40)));
        assert_eq!(agenda.expire(at(39)), Some(1));
        assert_eq!(agenda.expire(at(39)), None);
        agenda.schedule(0, None);
        assert_eq!((agenda.expire(at(50)), agenda.poll_timeout()), (None, None));
        agenda.schedule(1, Some(at(60)));
        agenda.push(at(50), Work::Look, 1);
        agenda.clear();
        assert_eq!((agenda.expire(at(70)), agenda.poll_timeout()), (None, None));
    }
}
