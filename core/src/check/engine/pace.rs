//! Rate limits: of all checks together, and of groups of them.
//!
//! A check whose time has come takes a start of every bucket it is in, one after
//! the other: its service's, its target's, and that of all. Where none is free it
//! takes the next one that will be, and is put off until then before it asks the
//! bucket behind. So each holds one start at most of each bucket, in the order in
//! which they came to it, nothing is looked for in a queue, and who waits for a slow
//! bucket has taken nothing from those who do not. Being put off is no verdict; it
//! is counted, and part of the lag.
//!
//! The bucket is the "virtual scheduling" form of a token bucket (GCRA, ITU-T
//! I.371): one instant, which each start moves on.

use super::list::NIL;
use super::storage::State;
use super::{CheckId, Engine};
use crate::time::{Duration, Instant};

/// Starts that fall into so much time may come at once: the grain of the timers.
const DEPTH: Duration = Duration::from_millis(10);

/// Groups that a check can be in.
pub const GROUPS: usize = 2;

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Starts in a second; 0 is no limit.
    per_second: u32,
    /// When the next start is free.
    next: Instant,
}

impl Pace {
    /// Without a limit.
    pub const FREE: Self = Self {
        per_second: 0,
        next: Instant::ZERO,
    };

    pub(super) const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            next: Instant::ZERO,
        }
    }

    /// When the bucket has a start that is not before `at`.
    fn free_at(&self, at: Instant) -> Instant {
        match self.per_second {
            0 => at,
            _ => self.next.max(at),
        }
    }

    /// Takes a start at this instant.
    fn take(&mut self, at: Instant) {
        if let Some(gap) = 1_000_000_000_u64.checked_div(self.per_second.into()) {
            // What was not used is kept for the depth alone.
            let earliest = Duration::from_nanos(at.as_nanos()).saturating_sub(DEPTH);
            let from = self.next.max(Instant::ZERO + earliest);
            self.next = from + Duration::from_nanos(gap);
        }
    }
}

impl Engine<'_> {
    /// Limits a group to so many starts in a second; 0 ends the limit. It goes on
    /// where it was when that is what it is.
    pub fn set_pace(&mut self, group: u32, per_second: u32) {
        if let Some(pace) = self.paces.get_mut(group as usize)
            && pace.per_second != per_second
        {
            *pace = Pace::new(per_second);
        }
    }

    /// Whether a check is in a group.
    #[must_use]
    pub fn is_in(&self, id: CheckId, group: u32) -> bool {
        self.running(id)
            .is_some_and(|slot| self.asides.of(id, slot).groups.contains(&group))
    }

    /// Puts a check into these groups and no others.
    pub fn join(&mut self, id: CheckId, groups: [Option<u32>; GROUPS]) {
        let groups = groups.map(|group| group.unwrap_or(NIL));
        if let Some(slot) = self.running(id)
            && self.asides.of(id, slot).groups != groups
            && let Some(slot) = self.slots.get_mut(id.index())
            && let Some(aside) = self.asides.of_mut(id, slot)
        {
            aside.groups = groups;
        }
    }

    /// Takes a start of each bucket that a check is in, from this one on, and lets
    /// it queue for a socket; or puts it off until the first one that is not free
    /// now is. It holds no timer.
    pub(super) fn take_starts(&mut self, now: Instant, id: CheckId, due: Instant, from: usize) {
        let Some(groups) = self.running(id).map(|slot| self.asides.of(id, slot).groups) else {
            return;
        };
        let each = groups.map(Some).into_iter().chain([None]);
        for (bucket, group) in each.enumerate().skip(from) {
            let pace = match group {
                Some(group) => self.paces.get_mut(group as usize),
                None => Some(&mut self.pace),
            };
            let Some(pace) = pace else { continue };
            let at = pace.free_at(now);
            pace.take(at);
            if at > now {
                if from == 0 {
                    self.counters.paced = self.counters.paced.saturating_add(1);
                }
                return self.pace_until(id, (due, at), bucket.saturating_add(1));
            }
        }
        self.queue(id, due);
    }

    /// Puts a check off that holds no timer; which bucket it asks next.
    fn pace_until(&mut self, id: CheckId, (due, at): (Instant, Instant), next: usize) {
        // There is a timer for each check; see `capacity`.
        if let Ok(timer) = self.wheel.insert(at, id.0)
            && let Some(slot) = self.slots.get_mut(id.index())
        {
            let next = u8::try_from(next).unwrap_or(u8::MAX);
            slot.state = State::Paced {
                due,
                at,
                next,
                timer,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::{Behaviour, UP, World, engine, limited, ms, plan};
    use crate::check::HealthState;
    use std::vec;
    use std::vec::Vec;

    /// Starts in each tenth of a second.
    fn starts(world: &mut World, tenths: u64) -> Vec<u64> {
        (0..tenths)
            .map(|_| {
                let before = world.connects;
                world.run_for(ms(100));
                world.connects - before
            })
            .collect()
    }

    #[test]
    fn all_checks_together_keep_the_rate_and_nobody_is_taken_for_dead() {
        // 200 checks of a second each, and 50 starts in a second.
        let mut world = World::new(limited(engine(200, 200, 200), 50), vec![UP; 200]);
        world.plan(&plan(200));
        let each = starts(&mut world, 300);
        assert!(each.iter().all(|n| *n <= 6), "{each:?}");
        let sum: u64 = each.iter().sum();
        assert!((1_490..=1_501).contains(&sum), "{sum}: no start is wasted");
        let counters = world.engine.counters();
        assert!(counters.paced > 1_000);
        assert!(counters.lag_max > ms(2_000), "the lag is seen");
        assert_eq!((counters.went_down, counters.respread), (0, 0));
        assert!((0..200).all(|n| world.health_of(n) == HealthState::Up));
        // A death is found, if later: fall times the four seconds of a round.
        world.targets[7] = Behaviour::Refuses(ms(1));
        world.run_for(ms(13_000));
        assert_eq!(world.health_of(7), HealthState::Down);
    }

    #[test]
    fn a_group_keeps_its_own_rate_and_holds_up_no_other() {
        let mut world = World::new(engine(100, 100, 100), vec![UP; 100]);
        world.plan(&plan(100));
        world.engine.set_pace(0, 10);
        world.engine.set_pace(1, 40);
        let ids: Vec<_> = (0..100)
            .map(|p| world.engine.check_id(p).unwrap())
            .collect();
        let mut groups = vec![0; 100];
        for (n, id) in ids.iter().enumerate() {
            let target = world.engine.status(*id).unwrap().config.target;
            groups[usize::from(target.port() - 1000)] = n;
            // Half are in the slow group; all but a tenth in the other.
            let slow = (n % 2 == 0).then_some(0);
            let fast = (n % 10 != 1).then_some(1);
            world.engine.join(*id, [slow, fast]);
        }
        world.run_for(ms(5_000));
        let before = world.asked.clone();
        world.run_for(ms(20_000));
        let sum = |keep: &dyn Fn(usize) -> bool| -> u64 {
            let each = (0..100).filter(|n| keep(groups[*n]));
            each.map(|n| world.asked[n] - before[n]).sum()
        };
        let slow = sum(&|n| n % 2 == 0);
        let fast = sum(&|n| n % 10 != 1);
        let free = sum(&|n| n % 10 == 1);
        assert!((195..=203).contains(&slow), "{slow} in 20 s at 10 a second");
        assert!((795..=803).contains(&fast), "{fast} in 20 s at 40 a second");
        assert!(
            (199..=201).contains(&free),
            "{free}: nobody waits for others"
        );
        assert_eq!(world.engine.counters().went_down, 0);
        // The same limit again changes nothing, and none lets all go.
        world.engine.set_pace(0, 10);
        world.engine.set_pace(0, 0);
        world.engine.set_pace(1, 0);
        world.run_for(ms(10_000));
        let before = world.connects;
        world.run_for(ms(10_000));
        assert!((995..=1_005).contains(&(world.connects - before)));
    }

    /// A slow group has ten times what it may start; others of all have no more
    /// than all may.
    #[test]
    fn a_slow_group_takes_nothing_from_all() {
        let mut world = World::new(limited(engine(200, 200, 200), 200), vec![UP; 200]);
        world.plan(&plan(200));
        world.engine.set_pace(0, 10);
        for p in 0..200 {
            let id = world.engine.check_id(p).unwrap();
            let target = world.engine.status(id).unwrap().config.target;
            let slow = target.port().is_multiple_of(2).then_some(0);
            world.engine.join(id, [slow, None]);
        }
        world.run_for(ms(5_000));
        let before = world.asked.clone();
        world.run_for(ms(20_000));
        let sum = |rest: usize| -> u64 {
            let each = (0..200).filter(|n| n % 2 == rest);
            each.map(|n| world.asked[n] - before[n]).sum()
        };
        let (slow, free) = (sum(0), sum(1));
        assert!((195..=203).contains(&slow), "{slow} in 20 s at 10 a second");
        assert!((1_990..=2_010).contains(&free), "{free} without need");
        assert_eq!(world.engine.counters().went_down, 0);
    }

    #[test]
    fn a_reload_and_maintenance_find_checks_that_were_put_off() {
        let mut world = World::new(limited(engine(40, 40, 40), 2), vec![UP; 40]);
        world.plan(&plan(40));
        world.run_for(ms(4_000));
        assert!(world.engine.counters().paced > 10);
        let edited: Vec<_> = plan(30)
            .into_iter()
            .map(|mut c| {
                c.rise = 7;
                c
            })
            .collect();
        world.plan(&edited);
        for p in 0..30 {
            let id = world.engine.check_id(p).unwrap();
            world.engine.hold(world.now, id, true);
        }
        world.turn();
        let before = world.connects;
        world.run_for(ms(60_000));
        assert_eq!(world.connects, before);
    }
}
