//! Checks that do not run for a while because nobody wants to know: every backend
//! they are for is in maintenance.

use super::schedule::{nanos, spread};
use super::storage::{Slot, State};
use super::{CheckId, Engine, Health};
use crate::time::{Duration, Instant};

impl Engine<'_> {
    /// Stops a check, or lets it run again. One that was stopped knows nothing
    /// when it runs again, but for what its config begins with; its first check is
    /// within a fast interval.
    /// What it believed while it stood still is told nobody; ask
    /// [`health`](Self::health). Whether anything changed.
    pub fn hold(&mut self, now: Instant, id: CheckId, held: bool) -> bool {
        let Some(slot) = self.running(id) else {
            return false;
        };
        let state = slot.state;
        if held == matches!(state, State::Held) {
            return false;
        }
        if held {
            self.stop(id, state);
            if let Some(slot) = self.slots.get_mut(id.index()) {
                slot.state = State::Held;
            }
            return true;
        }
        let seed = self.settings.seed;
        let (Some(config), Some(slot)) = (self.config(id), self.running_mut(id)) else {
            return false;
        };
        slot.believe(config.policy.initial);
        slot.advice_told = true;
        slot.last = None;
        slot.reason = None;
        slot.since = now;
        let span = nanos(spread(&config).min(config.fast_interval)).max(1);
        let phase = config.phase(seed).checked_rem(span).unwrap_or(0);
        self.news.remove(self.slots, id.0, Slot::news);
        self.idle_until(id, now + Duration::from_nanos(phase));
        true
    }

    /// Whether waiting will tell of a target of which nothing is known yet.
    #[must_use]
    pub fn is_awaited(&self, id: CheckId) -> bool {
        self.running(id).is_some_and(|slot| {
            let unknown = match slot.health {
                Health::Unknown | Health::GoingUp { successes: 0 } => true,
                Health::Up | Health::GoingDown { .. } | Health::Down | Health::GoingUp { .. } => {
                    false
                }
            };
            unknown && !matches!(slot.state, State::Held)
        })
    }

    /// Takes a check out of whatever it is doing: it has no timer, no socket, not
    /// even one that stayed connected, and no place in a queue afterwards.
    pub(super) fn stop(&mut self, id: CheckId, state: State) {
        self.let_go(id);
        match state {
            State::Idle { timer, .. } | State::Paced { timer, .. } => {
                self.wheel.cancel(timer);
            }
            State::Waiting { .. } => {
                let lane = self.config(id).map(|config| config.lane().index());
                let waiting = lane.and_then(|lane| self.waiting.get_mut(lane));
                if let Some(waiting) = waiting {
                    waiting.remove(self.slots, id.0, Slot::link);
                }
            }
            State::Probing { .. } => {
                self.stop_probe(id, false);
                self.counters.cancelled = self.counters.cancelled.saturating_add(1);
            }
            State::Held | State::Free => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::{Behaviour, UP, World, engine, ms, plan};
    use crate::check::HealthState;
    use crate::check::engine::laws::audit;
    use std::vec;

    #[test]
    fn a_held_check_probes_nobody_and_begins_anew() {
        // One is idle, one waits for a socket, one is in flight.
        let mut world = World::new(engine(8, 1, 1), vec![Behaviour::Silent; 8]);
        world.plan(&plan(8));
        world.run_for(ms(4_000));
        let ids: vec::Vec<_> = (0..8).map(|p| world.engine.check_id(p).unwrap()).collect();
        for id in &ids {
            assert!(world.engine.hold(world.now, *id, true));
            assert!(!world.engine.hold(world.now, *id, true), "once is enough");
            assert_eq!(audit(&world.engine), Ok(()));
        }
        world.turn();
        let before = world.connects;
        world.run_for(ms(20_000));
        assert_eq!(world.connects, before, "nobody is probed");
        assert_eq!(world.engine.poll_timeout(), None);
        // A reload keeps them held, and takes them away.
        world.plan(&plan(8));
        world.plan(&plan(6));
        world.targets = vec![UP; 8];
        for p in 0..6 {
            let id = world.engine.check_id(p).unwrap();
            assert!(world.engine.hold(world.now, id, false));
            assert_eq!(world.engine.health(id), HealthState::Unknown);
        }
        world.told.clear();
        // The first verdict is there within a fast interval and an answer's time.
        world.run_for(ms(200 + 6 * 3));
        assert!((0..6).all(|n| world.health_of(n) == HealthState::Up));
        assert_eq!(world.told.len(), 6);
        assert!(
            world
                .told
                .iter()
                .all(|r| r.previous == HealthState::Unknown)
        );
    }
}
