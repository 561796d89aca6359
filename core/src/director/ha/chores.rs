//! What is to be done about macvlans that takes a while: what each router needs of
//! its own, and the deletion of those that no plan names.

use super::macvlan::{Asked, MODE, Need};
use super::state::InstanceSlot;
use super::{Ha, Interface};
use crate::director::plan::InterfaceName;
use crate::model::Family;
use crate::route::{InterfaceIndex, LinkGroup, LinkName, link};
use crate::time::{Duration, Instant, earliest};

/// When a chore is given again, if nothing came of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Macvlans of no plan that are remembered to be deleted; for more another dump is
/// asked for once these are gone.
const LEFTOVERS_MAX: usize = 16;

/// Something to do about macvlans that takes a while. Whoever does it answers
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Make it, unless it is there; give it its parameters; then put it into
    /// [`LinkGroup::TRUNNION`], which says that it is as it should be.
    Make(Wanted),
    /// Take it down.
    Lower(InterfaceIndex),
    /// Delete it.
    Delete(InterfaceIndex),
    /// Delete all of [`LinkGroup::TRUNNION`].
    Clear,
}

/// A macvlan as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What to make.
    pub link: link::Macvlan,
    /// Name of the interface beneath.
    pub lower: InterfaceName,
    /// Family of the addresses it will carry.
    pub family: Family,
}

/// What is to be done about macvlans, beside what each instance needs.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// Some instance may need something.
    dirty: bool,
    /// None before this place does that has not been given it.
    next: usize,
    /// When one that was given is given again.
    again_at: Option<Instant>,
    /// Macvlans of ours that no plan names.
    leftovers: heapless::Vec<Leftover, LEFTOVERS_MAX, u8>,
    /// There are more of them than there was room for.
    more_leftovers: bool,
    /// All were to be deleted at once; when that is asked again.
    clear_at: Option<Instant>,
}

/// A macvlan that is to be deleted.
#[derive(Clone, Copy, Debug)]
struct Leftover {
    index: InterfaceIndex,
    /// The dump at hand has shown it.
    seen: bool,
    /// It was given as a chore, and is given again then.
    again_at: Option<Instant>,
}

impl Chores {
    pub(super) const fn mark_dirty(&mut self) {
        (self.dirty, self.next) = (true, 0);
    }

    /// Another plan comes, which may name them.
    pub(super) fn handle_plan(&mut self) {
        self.leftovers.clear();
        self.more_leftovers = false;
        self.mark_dirty();
    }

    pub(super) fn begin_dump(&mut self) {
        self.more_leftovers = false;
        self.leftovers.iter_mut().for_each(|left| left.seen = false);
    }

    /// What was not shown is gone, though no event told.
    pub(super) fn end_dump(&mut self) {
        self.leftovers.retain(|left| left.seen);
        self.mark_dirty();
    }

    /// One that no plan names was found.
    pub(super) fn leave_over(&mut self, index: InterfaceIndex) {
        let mut all = self.leftovers.iter_mut();
        if let Some(known) = all.find(|left| left.index == index) {
            known.seen = true;
            return;
        }
        let left = Leftover {
            index,
            seen: true,
            again_at: None,
        };
        self.more_leftovers |= self.leftovers.push(left).is_err();
        self.mark_dirty();
    }

    /// Whether that is one of them.
    pub(super) fn is_left_over(&self, index: InterfaceIndex) -> bool {
        self.leftovers.iter().any(|left| left.index == index)
    }

    /// That link is none of them any more. Returns whether it was the last one
    /// known, and only a dump tells which others there are.
    pub(super) fn forget(&mut self, index: InterfaceIndex) -> bool {
        let before = self.leftovers.len();
        self.leftovers.retain(|left| left.index != index);
        let last = before > 0 && self.leftovers.is_empty();
        last && core::mem::take(&mut self.more_leftovers)
    }

    /// The next one to delete.
    fn poll_leftover(&mut self, now: Instant) -> Option<InterfaceIndex> {
        let Self {
            leftovers,
            again_at,
            ..
        } = self;
        for left in leftovers {
            if left.again_at.is_none_or(|at| at <= now) {
                left.again_at = Some(now + PATIENCE);
                *again_at = earliest(*again_at, left.again_at);
                return Some(left.index);
            }
            *again_at = earliest(*again_at, left.again_at);
        }
        None
    }

    /// Whether something that was asked is to be asked again.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.again_at.is_some_and(|at| at <= now);
        if due {
            self.again_at = None;
            self.mark_dirty();
        }
        due
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.again_at
    }
}

impl Ha<'_> {
    /// The next thing to do about macvlans. Once yielded it counts as done; if
    /// nothing comes of it, it is yielded again in a second. Poll until it yields
    /// nothing, after adverts and requests.
    pub fn poll_chore(&mut self, now: Instant) -> Option<Chore> {
        // Before the first plan nobody knows which are wanted.
        if !self.chores.dirty || self.will_version == 0 {
            return None;
        }
        if self.give_up.is_some() {
            return self.poll_clearing(now);
        }
        if !self.netdev.is_known() {
            return None;
        }
        if let Some(index) = self.chores.poll_leftover(now) {
            return Some(Chore::Delete(index));
        }
        self.next_chore(now, |_| true)
    }

    /// The next thing that one of those instances needs.
    fn next_chore(&mut self, now: Instant, of: impl Fn(&InstanceSlot) -> bool) -> Option<Chore> {
        while self.chores.next < self.instances_len {
            let at = self.chores.next;
            self.chores.next = at.saturating_add(1);
            let meant = self.slot(at).is_some_and(|slot| of(slot));
            if let Some(chore) = meant.then(|| self.chore_of(now, at)).flatten() {
                return Some(chore);
            }
        }
        self.chores.dirty = false;
        None
    }

    /// The node leaves: all go at once, when peers know.
    fn poll_clearing(&mut self, now: Instant) -> Option<Chore> {
        if self.owes_goodbye(now) {
            return None;
        }
        let waits = self.chores.clear_at.is_some_and(|at| now < at);
        // Where that is not known there may be any.
        let any = || {
            !self.netdev.is_known()
                || self.holds_macvlans()
                || self.makes_macvlans(now)
                || !self.chores.leftovers.is_empty()
        };
        if !waits && any() {
            let again_at = Some(now + PATIENCE);
            (self.chores.clear_at, self.chores.again_at) = (again_at, again_at);
            return Some(Chore::Clear);
        }
        // One that was left half made is none of the group, and goes by itself.
        self.next_chore(now, |slot| {
            let macvlan = slot.macvlan.found();
            macvlan.is_some_and(|link| link.group != LinkGroup::TRUNNION)
        })
    }

    fn chore_of(&mut self, now: Instant, at: usize) -> Option<Chore> {
        let slot = self.instances.get(at)?;
        let interface = self.interfaces.get(usize::from(slot.interface))?;
        let (asked, chore) = match slot.need(interface.found.index) {
            Need::Nothing | Need::Raise(_) => {
                let macvlan = &mut self.instances.get_mut(at)?.macvlan;
                (macvlan.asked, macvlan.lacks_since) = (None, None);
                return None;
            }
            Need::Lower(index) => (Asked::Lower(index), Chore::Lower(index)),
            Need::Delete(index) => (Asked::Delete(index), Chore::Delete(index)),
            Need::Make => {
                let wanted = wanted(slot, interface)?;
                (Asked::Make(wanted.link.lower), Chore::Make(wanted))
            }
        };
        let macvlan = &mut self.instances.get_mut(at)?.macvlan;
        let before = macvlan.asked.filter(|(what, _)| *what == asked);
        if let Some((_, again_at)) = before.filter(|(_, again_at)| now < *again_at) {
            self.chores.again_at = earliest(self.chores.again_at, Some(again_at));
            return None;
        }
        let again_at = now + PATIENCE;
        macvlan.asked = Some((asked, again_at));
        if matches!(asked, Asked::Make(_)) {
            macvlan.lacks_since = macvlan.lacks_since.or(Some(now));
        }
        self.chores.again_at = earliest(self.chores.again_at, Some(again_at));
        Some(chore)
    }

    /// Whether the kernel still has a macvlan that a shutdown takes away.
    pub(super) fn holds_macvlans(&self) -> bool {
        self.instances().iter().any(InstanceSlot::keeps_macvlan)
    }

    /// Whether one may be about to be made: that was asked for just now, and what
    /// is asked for later comes after it.
    pub(super) fn makes_macvlans(&self, now: Instant) -> bool {
        let mut all = self.instances().iter();
        all.any(|slot| matches!(slot.macvlan.asked, Some((Asked::Make(_), at)) if now < at))
    }
}

/// The macvlan of an instance, as it should be.
fn wanted(slot: &InstanceSlot, interface: &Interface) -> Option<Wanted> {
    let name = slot.config.macvlan.as_ref()?;
    Some(Wanted {
        link: link::Macvlan {
            name: LinkName::new(name.as_bytes()).ok()?,
            lower: interface.found.index?,
            mac: slot.virtual_mac()?,
            mode: MODE,
        },
        lower: interface.name.clone(),
        family: slot.config.router.family,
    })
}
