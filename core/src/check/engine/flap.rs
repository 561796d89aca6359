//! Flap damping: a target that falls again and again is held down until it has
//! been quiet for a while, as a router holds a route (RFC 2439, in its shape).
//!
//! Each fall counts 1, and while it is held each failure that follows successes
//! enough to come up. The sum is halved in each half-life, and grows to four
//! times the limit at most. When a fall brings it to the limit, the target is
//! held: it does not come up, however often its checks succeed, until the sum has
//! decayed below half the limit. So the longest hold after the last fall is three
//! half-lives.

use super::aside::Asides;
use super::{CheckId, Slot};
use crate::check::{Change, CheckConfig, Health, HealthState, Verdict};
use crate::time::{Duration, Instant};

/// One fall.
const FALL: u32 = 1 << 16;
/// How many times the limit is remembered.
const MEMORY: u32 = 4;

/// What is remembered of a target's falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flap {
    /// The sum, in `FALL`s, as it was at `at`.
    sum: u32,
    at: Instant,
}

impl Flap {
    pub const NONE: Self = Self {
        sum: 0,
        at: Instant::ZERO,
    };

    /// The sum at `now`: between halvings it falls in a straight line.
    fn sum(&self, now: Instant, half_life: Duration) -> u32 {
        let age = now.since(self.at).as_nanos();
        let half_life = half_life.as_nanos().max(1);
        let halvings = age.checked_div(half_life).unwrap_or(0);
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        let whole = self.sum.checked_shr(halvings).unwrap_or(0);
        let rest = age.checked_rem(half_life).unwrap_or(0);
        let gone = u128::from(whole).saturating_mul(rest);
        let gone = gone.checked_div(half_life.saturating_mul(2)).unwrap_or(0);
        whole.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    /// Another fall. Whether it reaches the limit.
    fn fell(&mut self, now: Instant, half_life: Duration, limit: u32) -> bool {
        let sum = self.sum(now, half_life).saturating_add(FALL);
        *self = Self {
            sum: sum.min(limit.saturating_mul(MEMORY)),
            at: now,
        };
        sum >= limit
    }
}

impl Slot {
    /// What a verdict of this check makes of its health. Whether a hold began.
    pub(super) fn take_verdict(
        &mut self,
        now: Instant,
        (id, asides): (CheckId, &mut Asides<'_>),
        config: &CheckConfig,
        verdict: Verdict,
    ) -> bool {
        let (waits, before) = (self.health, self.health.state());
        let (next, change) = self.health.on(verdict, config.limits());
        self.health = next;
        let policy = config.policy;
        let limit = u32::from(policy.flap_falls).saturating_mul(FALL);
        if limit == 0 {
            self.held = false;
            if asides.of(id, self).flap != Flap::NONE
                && let Some(aside) = asides.of_mut(id, self)
            {
                aside.flap = Flap::NONE;
            }
            return false;
        }
        let half_life = policy.flap_half_life();
        let rise = config.rise.max(1);
        match (before, change) {
            (HealthState::Up, Some(Change::WentDown)) => {
                let aside = asides.of_mut(id, self);
                let full = aside.is_some_and(|it| it.flap.fell(now, half_life, limit));
                let began = full && !self.held;
                self.held |= full;
                began
            }
            (HealthState::Down, Some(Change::WentUp)) if self.held => {
                if asides.of(id, self).flap.sum(now, half_life) >= limit / 2 {
                    // It waits with all the successes it needs.
                    self.health = Health::GoingUp { successes: rise };
                } else {
                    self.held = false;
                }
                false
            }
            (HealthState::Down, None) => {
                // It would have been up: a hold does not end by flapping on.
                if waits == (Health::GoingUp { successes: rise }) && self.health == Health::Down {
                    let aside = asides.of_mut(id, self);
                    self.held |= aside.is_some_and(|it| it.flap.fell(now, half_life, limit));
                }
                false
            }
            (HealthState::Unknown | HealthState::Up | HealthState::Down, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::{Behaviour, UP, World, config, engine, ms};
    use super::*;
    use crate::check::CheckPolicy;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn the_sum_is_halved_in_each_half_life() {
        let flap = Flap {
            sum: 8 * FALL,
            at: Instant::ZERO,
        };
        let at = |s| flap.sum(Instant::ZERO + Duration::from_millis(s), ms(1000));
        let quarters: Vec<_> = [0, 500, 1000, 1500, 2000, 3000, 40_000].map(at).into();
        assert_eq!(
            quarters,
            [8 * FALL, 6 * FALL, 4 * FALL, 3 * FALL, 2 * FALL, FALL, 0]
        );
        let mut last = u32::MAX;
        for n in 0..20_000 {
            assert!(at(n) <= last, "it only decays");
            last = at(n);
        }
    }

    fn flapping() -> CheckConfig {
        CheckConfig {
            rise: 1,
            fall: 1,
            policy: CheckPolicy {
                flap_falls: 3,
                flap_half_life_ms: 10_000,
                ..CheckPolicy::DEFAULT
            },
            ..config(0)
        }
    }

    /// Falls and rises every two seconds: soon it is held, and rises are
    /// refused until it has been quiet for long enough; three half-lives at most.
    #[test]
    fn a_flapping_target_is_held_down_and_let_go() {
        let mut world = World::new(engine(2, 2, 2), vec![UP; 2]);
        world.plan(&[flapping()]);
        world.run_for(ms(3_000));
        for _ in 0..20 {
            world.targets[0] = Behaviour::Refuses(ms(1));
            world.run_for(ms(2_000));
            world.targets[0] = UP;
            world.run_for(ms(2_000));
        }
        let downs = |world: &World| {
            let told = world.told.iter();
            told.filter(|r| r.state == HealthState::Down).count()
        };
        // 1, 1.8, 2.4, 2.9, 3.3: a fifth of each is forgotten in between.
        assert_eq!(downs(&world), 5, "{:?}", world.told);
        let id = world.engine.check_id(0).unwrap();
        let status = world.engine.status(id).unwrap();
        assert!(status.held);
        assert_eq!(status.health, Health::GoingUp { successes: 1 });
        assert_eq!(world.engine.counters().flaps_held, 1);
        let held = world.told.iter().filter(|r| r.held).count();
        assert_eq!(held, 1, "said once");

        // Quiet from here on.
        let start = world.now;
        while world.health_of(0) == HealthState::Down {
            world.run_for(ms(500));
        }
        let quiet = world.now.since(start);
        assert!(quiet <= ms(30_000), "{quiet:?}");
        assert!(!world.engine.status(id).unwrap().held);
    }

    #[test]
    fn without_a_limit_nobody_is_held() {
        let mut world = World::new(engine(1, 1, 1), vec![UP]);
        let mut config = flapping();
        config.policy.flap_falls = 0;
        world.plan(&[config]);
        for _ in 0..10 {
            world.targets[0] = Behaviour::Refuses(ms(1));
            world.run_for(ms(2_000));
            world.targets[0] = UP;
            world.run_for(ms(2_000));
        }
        assert_eq!(world.told.len(), 20);
        assert_eq!(world.engine.counters().flaps_held, 0);
    }
}
