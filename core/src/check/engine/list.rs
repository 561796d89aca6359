//! A first-in-first-out list threaded through the owner's slots, so that it can
//! hold all of them and never overflows.

/// The end of a list.
pub const NIL: u32 = u32::MAX;
/// `Link::prev` of a slot that is in no list.
const LOOSE: u32 = NIL - 1;

/// The part of a slot that a list uses.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    next: u32,
    prev: u32,
}

impl Link {
    /// In no list.
    pub const LOOSE: Self = Self {
        next: NIL,
        prev: LOOSE,
    };

    /// Whether the slot is in the list of this link.
    pub const fn is_linked(&self) -> bool {
        self.prev != LOOSE
    }
}

/// A list. Every call names the slots it runs through and which of their links
/// is its own.
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        len: 0,
    };

    pub const fn len(&self) -> u32 {
        self.len
    }

    pub const fn first(&self) -> Option<u32> {
        match self.head {
            NIL => None,
            head => Some(head),
        }
    }

    pub const fn last(&self) -> Option<u32> {
        match self.tail {
            NIL => None,
            tail => Some(tail),
        }
    }

    /// Appends a slot; nothing if it is in the list.
    pub fn push<T>(&mut self, slots: &mut [T], index: u32, link: fn(&mut T) -> &mut Link) {
        let Some(own) = slots.get_mut(index as usize).map(link) else {
            return;
        };
        if own.is_linked() {
            return;
        }
        *own = Link {
            next: NIL,
            prev: self.tail,
        };
        match slots.get_mut(self.tail as usize).map(link) {
            Some(tail) => tail.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.len = self.len.saturating_add(1);
    }

    /// Takes a slot out; nothing if it is not in the list.
    pub fn remove<T>(&mut self, slots: &mut [T], index: u32, link: fn(&mut T) -> &mut Link) {
        let Some(own) = slots.get_mut(index as usize).map(link) else {
            return;
        };
        if !own.is_linked() {
            return;
        }
        let Link { next, prev } = *own;
        *own = Link::LOOSE;
        match slots.get_mut(prev as usize).map(link) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
        match slots.get_mut(next as usize).map(link) {
            Some(after) => after.prev = prev,
            None => self.tail = prev,
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Takes the oldest slot out.
    pub fn pop<T>(&mut self, slots: &mut [T], link: fn(&mut T) -> &mut Link) -> Option<u32> {
        let index = self.first()?;
        self.remove(slots, index, link);
        Some(index)
    }
}

/// Slots that nobody uses: those that were used before, and when there is none of
/// them the next that never was. What is in such a one means nothing, and it is not
/// touched before it is taken.
#[derive(Clone, Copy, Debug)]
pub struct Spare {
    used: List,
    fresh: u32,
    end: u32,
}

impl Spare {
    /// All slots from `first` to before `end`, none of them used yet.
    pub const fn new(first: u32, end: u32) -> Self {
        Self {
            used: List::EMPTY,
            fresh: first,
            end,
        }
    }

    pub const fn len(&self) -> u32 {
        let fresh = self.end.saturating_sub(self.fresh);
        self.used.len().saturating_add(fresh)
    }

    /// The first slot that was never used.
    pub const fn fresh(&self) -> u32 {
        self.fresh
    }

    /// Whether a slot was never used.
    pub const fn is_fresh(&self, index: u32) -> bool {
        self.fresh <= index && index < self.end
    }

    /// Gives a slot back.
    pub fn push<T>(&mut self, slots: &mut [T], index: u32, link: fn(&mut T) -> &mut Link) {
        self.used.push(slots, index, link);
    }

    /// Takes a slot; one that was never used is made ready by `begin`.
    pub fn pop<T>(
        &mut self,
        slots: &mut [T],
        link: fn(&mut T) -> &mut Link,
        begin: impl FnOnce(&mut T),
    ) -> Option<u32> {
        if let Some(index) = self.used.pop(slots, link) {
            return Some(index);
        }
        let index = Some(self.fresh).filter(|index| *index < self.end)?;
        begin(slots.get_mut(index as usize)?);
        self.fresh = index.saturating_add(1);
        Some(index)
    }
}
