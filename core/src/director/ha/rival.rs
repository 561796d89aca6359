//! Two routers that believe to be Active. For a moment that happens at each
//! preemption: who hears the better one steps down. When it goes on, one of them
//! does not hear the other, and somebody must look at the network.

use super::Ha;
use crate::director::records;
use crate::time::{Duration, Instant};
use crate::vrrp::{Centis, Role};
use core::net::IpAddr;

/// So many adverts of another Active in a row are no moment any more.
const SUSPECT_AFTER: u8 = 3;
/// So many intervals without one and it is over.
const OVER_AFTER: u32 = 4;

/// The last Active that a router heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The address it spoke from.
    pub source: IpAddr,
    /// Its priority; 0 when it resigned.
    pub priority: u8,
    /// When it spoke last.
    pub at: Instant,
    /// The interval it told.
    pub interval: Centis,
}

impl Heard {
    /// Whether it can be taken for alive.
    fn is_fresh(&self, now: Instant, ours: Centis) -> bool {
        let interval = self.interval.duration().max(ours.duration());
        now < self.at + interval.saturating_mul(OVER_AFTER)
    }
}

/// A rivalry, as far as it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rivalry {
    /// Adverts in a row that should not have been.
    count: u8,
    /// It was said.
    suspected: bool,
}

impl Ha<'_> {
    /// An advert of another was taken by a router that was in the role `before`.
    pub(super) fn note_heard(&mut self, now: Instant, at: usize, before: Role, heard: Heard) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        let ours = slot.router.config().interval;
        let last = slot.last_heard.replace(heard);
        let after = slot.router.state().role();
        let odd = heard.priority > 0
            && match (before, after) {
                (Role::Active, Role::Active) => true,
                // Two others speak in turn.
                (Role::Backup, Role::Backup) => last.is_some_and(|last| {
                    last.source != heard.source && last.priority > 0 && last.is_fresh(now, ours)
                }),
                (_, _) => false,
            };
        let rivalry = &mut slot.rivalry;
        if !odd {
            // One that is heard alone says nothing while two are known to speak.
            if after != Role::Active && !rivalry.suspected {
                rivalry.count = rivalry.count.saturating_sub(1);
            }
            return;
        }
        if before == Role::Active && !last.is_some_and(|last| last.is_fresh(now, ours)) {
            rivalry.count = 0;
        }
        slot.odd_at = now;
        rivalry.count = rivalry.count.saturating_add(1);
        if rivalry.count >= SUSPECT_AFTER && !rivalry.suspected {
            rivalry.suspected = true;
            let name = slot.config.name.clone();
            let (source, priority) = (heard.source, heard.priority);
            let role = if after == Role::Active {
                "we are active, and so is"
            } else {
                "two others are active, one is"
            };
            self.counters.split_brains = self.counters.split_brains.saturating_add(1);
            self.log.log(
                now,
                records::SplitBrain {
                    name,
                    role,
                    source,
                    priority,
                },
            );
        }
        self.touch(now, at);
    }

    /// Ends what was not seen for a while.
    pub(super) fn end_rivalry(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        if slot.rivalry_over_at().is_some_and(|at| at <= now) {
            slot.rivalry = Rivalry::default();
            let name = slot.config.name.clone();
            self.log.log(now, records::SplitBrainOver { name });
        }
    }
}

impl super::InstanceSlot {
    /// The last Active it heard, if it heard one.
    #[must_use]
    pub const fn heard(&self) -> Option<Heard> {
        self.last_heard
    }

    /// Whether two routers seem to be Active.
    #[must_use]
    pub const fn is_split(&self) -> bool {
        self.rivalry.suspected
    }

    /// When a rivalry that was said is over, if nothing more is heard of it.
    pub(super) fn rivalry_over_at(&self) -> Option<Instant> {
        let theirs = self
            .last_heard
            .map_or(Duration::ZERO, |heard| heard.interval.duration());
        let interval = theirs.max(self.router.config().interval.duration());
        let over = self.odd_at + interval.saturating_mul(OVER_AFTER);
        self.rivalry.suspected.then_some(over)
    }
}
