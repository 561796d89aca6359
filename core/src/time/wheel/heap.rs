//! The timers of the tick being served: a binary heap of slots' indices, threaded
//! through the same slots.

use super::{HEAPED, Wheel};
use crate::time::Instant;

impl Wheel<'_> {
    pub(super) fn heap_insert(&mut self, index: u32) {
        let at = self.heap_len;
        self.heap_len = at.saturating_add(1);
        self.edit(index, |slot| slot.place = HEAPED);
        self.heap_set(at, index);
        self.heap_up(at);
    }

    pub(super) fn heap_remove(&mut self, at: u32) {
        let last = self.heap_len.saturating_sub(1);
        let moved = self.heap_at(last);
        self.heap_len = last;
        if let Some(moved) = moved
            && at < last
        {
            self.heap_set(at, moved);
            self.heap_down(at);
            self.heap_up(at);
        }
    }

    fn heap_up(&mut self, mut at: u32) {
        while at > 0 {
            let parent = at.saturating_sub(1) / 2;
            if !self.heap_swap_unordered(parent, at) {
                return;
            }
            at = parent;
        }
    }

    fn heap_down(&mut self, mut at: u32) {
        loop {
            let left = at.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let child = match (self.heap_deadline(left), self.heap_deadline(right)) {
                (Some(l), Some(r)) if r < l => right,
                (Some(_), _) => left,
                (None, _) => return,
            };
            if !self.heap_swap_unordered(at, child) {
                return;
            }
            at = child;
        }
    }

    /// Swaps a parent and its child if the child is due earlier.
    fn heap_swap_unordered(&mut self, parent: u32, child: u32) -> bool {
        let (Some(p), Some(c)) = (self.heap_at(parent), self.heap_at(child)) else {
            return false;
        };
        let unordered = self.slot(c).deadline < self.slot(p).deadline;
        if unordered {
            self.heap_set(parent, c);
            self.heap_set(child, p);
        }
        unordered
    }

    fn heap_deadline(&self, at: u32) -> Option<Instant> {
        self.heap_at(at).map(|index| self.slot(index).deadline)
    }

    /// The slot at a position of the heap.
    pub(super) fn heap_at(&self, at: u32) -> Option<u32> {
        (at < self.heap_len).then(|| self.slot(at).heap)
    }

    fn heap_set(&mut self, at: u32, index: u32) {
        self.edit(at, |slot| slot.heap = index);
        self.edit(index, |slot| slot.prev = at);
    }
}
