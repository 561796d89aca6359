//! Slow start: the weight of a backend that is back rises in steps, so that it
//! can warm up before it gets its share of the clients.
//!
//! Steps lie on a grid of time: backends of one service step together, in one
//! batch of requests. A weight is never less than 1 and never falls by it.

use crate::time::{Duration, Instant};

/// Steps from nothing to the whole weight, at most.
const STEPS: u32 = 16;

/// Where a backend is on its way to its whole weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rise {
    /// It was in the plan from the service's beginning and nothing has been
    /// said against it: the first clients do not come slowly.
    #[default]
    First,
    /// It gets no clients. When it does again, they come slowly.
    Out,
    /// They come slowly since then.
    Rising {
        /// When.
        since: Instant,
        /// Steps it had taken already, in an earlier run of the daemon.
        done: u32,
    },
    /// It has the weight that an earlier run of the daemon gave it, until its check
    /// says what the whole is.
    Held {
        /// Which.
        weight: u32,
    },
    /// It has its whole weight.
    Whole,
}

/// What is asked of a backend in this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It gets clients.
    Serves,
    /// It gets clients because everyone does: no time to be slow.
    Pressed,
    /// It gets none, and nothing is known of it.
    Waits,
    /// It gets none.
    Rests,
}

impl Rise {
    /// What a turn makes of it.
    #[must_use]
    pub(super) fn on(self, now: Instant, slow_start: Duration, turn: Turn) -> Self {
        match turn {
            Turn::Rests => Self::Out,
            Turn::Pressed => Self::Whole,
            Turn::Waits => match self {
                Self::First => Self::First,
                Self::Out | Self::Rising { .. } | Self::Held { .. } | Self::Whole => Self::Out,
            },
            Turn::Serves => match self {
                Self::First | Self::Whole => Self::Whole,
                Self::Out if slow_start.is_zero() => Self::Whole,
                Self::Out => Self::Rising {
                    since: now,
                    done: 0,
                },
                Self::Rising { since, done } if steps(now, since, slow_start, done) >= STEPS => {
                    Self::Whole
                }
                Self::Rising { .. } | Self::Held { .. } => self,
            },
        }
    }

    /// Its weight at `now`, of a `whole` one above 0.
    #[must_use]
    pub(super) fn weight(self, now: Instant, slow_start: Duration, whole: u32) -> u32 {
        match self {
            Self::First | Self::Out | Self::Whole => whole,
            Self::Held { weight } => weight,
            Self::Rising { since, done } => {
                let done = steps(now, since, slow_start, done);
                let part = u64::from(whole).saturating_mul(done.into());
                let part = part.checked_div(STEPS.into()).unwrap_or(part);
                u32::try_from(part).unwrap_or(whole).clamp(1, whole.max(1))
            }
        }
    }

    /// When its weight is another, if it is on its way.
    #[must_use]
    pub(super) fn next(self, now: Instant, slow_start: Duration) -> Option<Instant> {
        match self {
            Self::First | Self::Out | Self::Held { .. } | Self::Whole => None,
            Self::Rising { .. } => {
                let just_after = now + Duration::from_nanos(1);
                Some(just_after.round_up(step(slow_start)))
            }
        }
    }

    /// Going on where an earlier run of the daemon had brought it.
    #[must_use]
    pub(super) fn resumed(now: Instant, slow_start: Duration, held: u32, whole: u32) -> Self {
        if held >= whole || slow_start.is_zero() {
            return Self::Whole;
        }
        // A step further where it lay between two: a weight never falls.
        let done = u64::from(held)
            .saturating_mul(STEPS.into())
            .div_ceil(u64::from(whole.max(1)));
        Self::Rising {
            since: now,
            done: u32::try_from(done).unwrap_or(STEPS),
        }
    }
}

fn step(slow_start: Duration) -> Duration {
    let step = slow_start.checked_div(STEPS).unwrap_or_default();
    step.max(Duration::from_millis(1))
}

/// Steps taken at `now`: those `done` at `since`, and the points of the grid that
/// have passed from there. No more than [`STEPS`].
fn steps(now: Instant, since: Instant, slow_start: Duration, done: u32) -> u32 {
    let step = step(slow_start);
    let first = since.round_up(step);
    let passed = now.since(first).as_nanos().checked_div(step.as_nanos());
    let passed = passed.filter(|_| now >= first).unwrap_or(0);
    let passed = u32::try_from(passed).unwrap_or(STEPS);
    done.saturating_add(passed).min(STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLOW: Duration = Duration::from_secs(8);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    proptest! {
        /// It begins at 1 or above, never falls, takes as long as was asked and
        /// hardly longer, and says when it changes.
        #[test]
        fn a_weight_rises_in_time_and_never_falls(
            whole in 1..100_000_u32,
            start in 0..100_000_u64,
            span_ms in 1_u64..600_000,
        ) {
            let slow = Duration::from_millis(span_ms);
            let mut now = at(start);
            let mut rise = Rise::Out.on(now, slow, Turn::Serves);
            prop_assert_eq!(rise, Rise::Rising { since: now, done: 0 });
            let mut last = 0;
            let mut changes = 0;
            while let Some(next) = rise.next(now, slow) {
                let weight = rise.weight(now, slow, whole);
                prop_assert!(weight >= last.max(1) && weight <= whole);
                // Between the instants that it names nothing changes.
                let before = next.since(now).saturating_sub(Duration::from_nanos(1));
                prop_assert_eq!(rise.weight(now + before, slow, whole), weight);
                last = weight;
                now = next;
                rise = rise.on(now, slow, Turn::Serves);
                changes += 1;
            }
            prop_assert_eq!(rise, Rise::Whole);
            let took = now.since(at(start));
            prop_assert!(took + Duration::from_millis(17) >= slow, "{took:?} of {slow:?}");
            prop_assert!(took <= slow + step(slow) * 2, "{took:?} of {slow:?}");
            prop_assert!(changes <= STEPS + 1);
        }
    }

    proptest! {
        /// Whenever the daemon dies, and soon after the machine has started too.
        #[test]
        fn a_weight_does_not_fall_by_a_restart(
            whole in 1..100_000_u32,
            held in 1..100_000_u32,
            now_ms in 0..100_000_u64,
            later_ms in 0..20_000_u64,
        ) {
            let held = held.min(whole);
            let rise = Rise::resumed(at(now_ms), SLOW, held, whole);
            let weight = rise.weight(at(now_ms), SLOW, whole);
            prop_assert!((held..=whole).contains(&weight));
            prop_assert!(weight <= held + whole / STEPS + 1, "{weight} after {held}");
            prop_assert!(rise.weight(at(now_ms + later_ms), SLOW, whole) >= weight);
        }
    }

    #[test]
    fn the_first_clients_and_the_last_server_do_not_wait() {
        assert_eq!(Rise::First.on(at(5), SLOW, Turn::Serves), Rise::Whole);
        assert_eq!(Rise::First.on(at(5), SLOW, Turn::Waits), Rise::First);
        assert_eq!(Rise::First.on(at(5), SLOW, Turn::Rests), Rise::Out);
        assert_eq!(Rise::Out.on(at(5), SLOW, Turn::Pressed), Rise::Whole);
        assert_eq!(
            Rise::Out.on(at(5), Duration::ZERO, Turn::Serves),
            Rise::Whole
        );
    }

    #[test]
    fn what_is_held_is_held_for_as_long_as_it_serves() {
        let held = Rise::Held { weight: 3 };
        assert_eq!(held.on(at(5), SLOW, Turn::Serves), held);
        assert_eq!(held.weight(at(5), SLOW, 10), 3);
        assert_eq!(held.next(at(5), SLOW), None);
        assert_eq!(held.on(at(5), SLOW, Turn::Pressed), Rise::Whole);
        assert_eq!(held.on(at(5), SLOW, Turn::Rests), Rise::Out);
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let now = at(1_000_000);
        assert_eq!(Rise::resumed(now, SLOW, 10, 10), Rise::Whole);
        let half = Rise::resumed(now, SLOW, 5, 10);
        assert_eq!(half.weight(now, SLOW, 10), 5);
        assert_eq!(
            half.on(now + SLOW / 2, SLOW, Turn::Serves),
            Rise::Whole,
            "the other half of the time"
        );
    }
}
