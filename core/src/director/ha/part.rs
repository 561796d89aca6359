//! Who takes part: routers begin and end as their interfaces and what they
//! track come and go.

use super::track::Bar;
use super::{Ha, NoMacvlan};
use crate::director::records;
use crate::time::Instant;
use crate::vrrp::{self, Reason, Role};

impl Ha<'_> {
    /// Something has changed that routers begin or end for: the next
    /// [`Self::handle_timeout`] looks at them, once for all that changed.
    pub(super) fn unsettle(&mut self, now: Instant) {
        self.unsettled_since = self.unsettled_since.or(Some(now));
    }

    /// Starts and stops routers, and weighs their priorities.
    pub(super) fn settle(&mut self, now: Instant) {
        if !self.netdev.is_known() || self.give_up.is_some() {
            return;
        }
        self.look_at_tracks(now);
        self.delayed = false;
        for at in 0..self.instances_len {
            self.settle_one(now, at);
        }
        self.settle_groups(now);
    }

    fn settle_one(&mut self, now: Instant, at: usize) {
        let (weight, bar) = self.barred(now, at);
        let Some(slot) = self.instances.get(at) else {
            return;
        };
        let grouped = self.group_of(slot).is_some();
        if let Some(bar) = bar.filter(|_| slot.complaint != bar) {
            self.complain(now, at, bar);
        }
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        slot.settled = true;
        if core::mem::replace(&mut slot.barred, bar) != bar {
            self.notices.mark();
        }
        self.mark_group(at);
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        if core::mem::replace(&mut slot.weight, weight) != weight {
            self.reconfigure(now, at);
        }
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        match bar {
            Some(bar) if core::mem::take(&mut slot.started) => {
                let actions = match bar {
                    // Nothing can be said any more.
                    Bar::Interface(_) => slot.router.handle_fault(now),
                    Bar::Macvlan(_) => slot.router.handle_resign(now, Reason::Fault),
                    Bar::Down(_) | Bar::Unknown(_) | Bar::Delay => {
                        slot.router.handle_resign(now, Reason::Tracked)
                    }
                };
                self.apply(now, at, actions);
            }
            None if !slot.started && !slot.retire && !grouped && !slot.owes_goodbye() => {
                self.start(now, at);
            }
            Some(_) => self.let_go(now, at),
            None => {}
        }
    }

    /// What an earlier run left on the interface of a router that does not begin
    /// is given up, unless it may still go on from there: whoever is Active by
    /// now has it too.
    pub(super) fn let_go(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        let over = |resume: &mut vrrp::Resume| !resume.holds(now);
        if slot.started {
            return;
        }
        if slot.resume.take_if(over).is_some() {
            slot.memory_dirty = true;
        }
        // Before links are known nobody knows whether it begins.
        if slot.settled && slot.resume.is_none() && slot.wanted.is_none() {
            slot.wanted = Some(false);
            self.netdev.mark_dirty(slot.addresses.start);
            self.chores.mark_dirty();
        }
        self.touch(now, at);
    }

    /// What a router weighs, and what keeps it from taking part by itself.
    fn barred(&mut self, now: Instant, at: usize) -> (i32, Option<Bar>) {
        let Some(slot) = self.instances.get(at) else {
            return (0, None);
        };
        let resumes = slot.resume.is_some_and(|resume| resume.holds(now));
        let begins = !slot.started && !resumes;
        let (weight, tracked) = self.weigh(&slot.config.tracks, begins);
        let interface = self.interfaces.get(usize::from(slot.interface));
        let ready = interface.map(|i| i.ready(slot.config.router.family));
        let lacks = slot.lacks_macvlan(now, interface.and_then(|i| i.found.index));
        let delayed = begins && now < self.not_before;
        let bar = match ready {
            Some(Err(why)) => Some(Bar::Interface(why)),
            Some(Ok(_)) | None if lacks.is_some() => lacks.map(Bar::Macvlan),
            Some(Ok(_)) | None if tracked.is_some() => tracked,
            Some(Ok(_)) | None => delayed.then_some(Bar::Delay),
        };
        self.delayed |= delayed;
        (weight, bar)
    }

    fn complain(&mut self, now: Instant, at: usize, bar: Bar) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        slot.complaint = Some(bar);
        let name = slot.config.name.clone();
        match bar {
            Bar::Interface(why) => {
                let interface = self.interfaces.get(usize::from(slot.interface));
                let interface =
                    interface.map_or_else(records::Name::new, |i| records::name(&i.name));
                let why = why.words();
                self.log
                    .log(now, records::InterfaceNotReady { interface, why });
            }
            Bar::Macvlan(NoMacvlan::NotYet) => {}
            Bar::Macvlan(_) | Bar::Down(_) | Bar::Unknown(_) | Bar::Delay => {
                let (why, what) = self.bar_words(bar);
                let what = records::Name::try_from(what).unwrap_or_default();
                self.log.log(now, records::RouterBarred { name, why, what });
            }
        }
    }

    /// A router begins.
    pub(super) fn start(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at).filter(|slot| !slot.started) else {
            return;
        };
        if let Some(interface) = self.interfaces.get(usize::from(slot.interface))
            && let Some(index) = interface.found.index
        {
            let interface = records::name(&interface.name);
            let index = index.get();
            self.log
                .log(now, records::InterfaceReady { interface, index });
        }
        let actions = slot.start(now, &mut self.log);
        self.apply(now, at, actions);
    }

    /// What weighs on a router, or holds it back, has changed.
    pub(super) fn reconfigure(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        let config = slot.effective();
        if config.priority != slot.router.config().priority {
            let name = slot.config.name.clone();
            let (priority, base) = (config.priority, slot.config.router.priority);
            self.log.log(
                now,
                records::PriorityChanged {
                    name,
                    priority,
                    base,
                },
            );
            self.will_version = self.will_version.saturating_add(1);
        }
        let actions = slot.router.handle_config(now, config);
        self.apply(now, at, actions);
    }

    /// A router's actions become what is wanted of its addresses.
    pub(super) fn apply(&mut self, now: Instant, at: usize, actions: vrrp::Actions) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        if slot.apply(actions, &mut self.log, now) {
            self.netdev.mark_dirty(slot.addresses.start);
            self.chores.mark_dirty();
        }
        let held = slot.held_until.is_some();
        if let Some(moved) = actions.transition {
            self.notices.mark();
            // Nobody else was there.
            if held && moved.to == Role::Active {
                self.hold(now, at, None);
            }
        }
        self.touch(now, at);
        if actions
            .transition
            .is_some_and(|moved| moved.why == Reason::GreaterAddress)
        {
            self.note_tie(now, at);
        }
    }

    /// An instance says goodbye and gives its addresses back.
    pub(super) fn retire(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        slot.retire = true;
        slot.resume = None;
        let actions = slot.router.handle_shutdown(now);
        // What an earlier run left behind goes as well.
        slot.wanted = Some(false);
        self.netdev.mark_dirty(slot.addresses.start);
        self.chores.mark_dirty();
        self.apply(now, at, actions);
    }
}
