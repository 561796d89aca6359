//! When a check is due.

use super::Slot;
use crate::check::{CheckConfig, Health};
use crate::time::{Duration, Instant};

/// First checks, and checks after a stall, are spread over the interval but at
/// most over this: with half a second for the answer, the first verdict of every
/// target is there within two.
pub const SPREAD_MAX: Duration = Duration::from_millis(1_500);

fn interval(config: &CheckConfig) -> Duration {
    config.interval.max(CheckConfig::INTERVAL_MIN)
}

/// What first checks are spread over.
pub(super) fn spread(config: &CheckConfig) -> Duration {
    interval(config).min(SPREAD_MAX)
}

/// When a check that nothing is known of is due first.
pub(super) fn first_start(config: &CheckConfig, now: Instant, seed: u64) -> Instant {
    let span = nanos(spread(config));
    now + Duration::from_nanos(config.phase(seed).checked_rem(span).unwrap_or(0))
}

/// When a check is due again that started at `started`. While its target is up
/// it starts at its phase of the interval, however long each probe took, so a
/// population once spread stays spread.
pub(super) fn next_start(
    slot: &Slot,
    config: &CheckConfig,
    started: Instant,
    seed: u64,
) -> Instant {
    let least = CheckConfig::INTERVAL_MIN;
    let (next, span) = match slot.health {
        Health::Up => {
            let span = interval(config);
            (started + to_phase(config, started, seed), span)
        }
        // It needs no hurry: nothing but time lets it come up.
        Health::GoingUp { .. } if slot.held => (started + interval(config), interval(config)),
        Health::Unknown | Health::GoingDown { .. } | Health::GoingUp { .. } => {
            let span = config.fast_interval.max(least);
            (started + span, span)
        }
        Health::Down => {
            let span = down_interval(config, started.since(slot.since));
            (started + span, span)
        }
    };
    next + jitter(config, span, next, seed)
}

/// From an instant to the next point of the check's phase, more than zero.
fn to_phase(config: &CheckConfig, from: Instant, seed: u64) -> Duration {
    let span = nanos(interval(config));
    let rem = |n: u64| n.checked_rem(span).unwrap_or(0);
    let since_phase = rem(rem(from.as_nanos())
        .saturating_add(span)
        .saturating_sub(rem(config.phase(seed))));
    Duration::from_nanos(span.saturating_sub(since_phase))
}

/// The interval of a target that has been down for so long. With checks at 0, d,
/// d + df, d + df + dff, … each wait is d and f - 1 times the time gone by: what
/// is to be remembered is when it went down.
fn down_interval(config: &CheckConfig, down_for: Duration) -> Duration {
    let base = config.down_interval.max(CheckConfig::INTERVAL_MIN);
    let growth = config.policy.backoff_percent.saturating_sub(100);
    let most = config.policy.backoff_max().max(base);
    if growth == 0 {
        return base;
    }
    let grown = hundredths(down_for, growth.into());
    base.saturating_add(grown).min(most)
}

/// How much later than `at` a check starts whose interval is `span`: a number
/// that follows from the check and the instant, and looks like none that does.
fn jitter(config: &CheckConfig, span: Duration, at: Instant, seed: u64) -> Duration {
    let percent = config.policy.jitter_percent;
    if percent == 0 {
        return Duration::ZERO;
    }
    let most = nanos(hundredths(span, percent.into())).max(1);
    let draw = config.phase(seed ^ at.as_nanos().rotate_left(17));
    Duration::from_nanos(draw.checked_rem(most).unwrap_or(0))
}

fn hundredths(of: Duration, percent: u32) -> Duration {
    let product = of.saturating_mul(percent);
    product.checked_div(100).unwrap_or_default()
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::{Behaviour, UP, World, config, engine, ms};
    use super::*;
    use crate::check::probe::Scripts;
    use crate::check::{CheckPolicy, HealthState};
    use std::vec;
    use std::vec::Vec;

    fn starts(world: &mut World, span: Duration) -> Vec<u64> {
        let begin = world.now;
        let end = begin + span;
        let mut starts = Vec::new();
        while let Some(wake) = world.wake().filter(|wake| *wake <= end) {
            let before = world.connects;
            world.now = world.now.max(wake);
            world.turn();
            if world.connects > before {
                starts.push(u64::try_from(world.now.since(begin).as_millis()).unwrap());
            }
        }
        world.now = end;
        starts
    }

    /// d, df, dff, … up to the maximum, and fast again with the first success.
    #[test]
    fn a_target_that_stays_down_is_asked_less_and_less() {
        let mut world = World::new(engine(1, 1, 1), vec![Behaviour::Refuses(ms(1))]);
        let policy = CheckPolicy {
            backoff_percent: 200,
            backoff_max_ms: 4_000,
            ..CheckPolicy::DEFAULT
        };
        world.plan(&[CheckConfig {
            policy,
            ..config(0)
        }]);
        let all = starts(&mut world, ms(30_000));
        let waits: Vec<_> = all.windows(2).map(|w| w[1] - w[0]).collect();
        let near = |wait: u64, ms: u64| wait.abs_diff(ms) <= 8;
        for (wait, ms) in waits.iter().zip([500, 1_000, 2_000, 4_000, 4_000, 4_000]) {
            assert!(near(*wait, ms), "{waits:?}");
        }
        world.targets[0] = UP;
        world.run_for(ms(4_000 + 200 + 10));
        assert_eq!(world.health_of(0), HealthState::Up);
    }

    #[test]
    fn jitter_is_late_by_its_part_and_keeps_the_phase() {
        let percent = 20;
        let mut world = World::new(engine(1, 1, 1), vec![UP]);
        let policy = CheckPolicy {
            jitter_percent: percent,
            ..CheckPolicy::DEFAULT
        };
        let config = CheckConfig {
            policy,
            ..config(0)
        };
        world.plan(&[config]);
        world.run_for(ms(2_000));
        let begin = world.now;
        let all = starts(&mut world, ms(100_000));
        assert_eq!(all.len(), 100, "one in each interval");
        let phase = u64::try_from(to_phase(&config, begin, 1).as_millis()).unwrap();
        let late: Vec<_> = all.iter().map(|at| (at + 1_000 - phase) % 1_000).collect();
        assert!(late.iter().all(|late| *late <= 203), "{late:?}");
        let early = late.iter().filter(|late| **late < 100).count();
        assert!((25..75).contains(&early), "{late:?}");
    }

    /// 10,000 targets: everyone has a verdict within two seconds, and no
    /// millisecond has many more starts than any other, second checks included.
    #[test]
    fn ten_thousand_first_verdicts_come_in_two_seconds_without_a_burst() {
        let count = 10_000_u16;
        let answers = Behaviour::Answers(ms(100));
        let mut world = World::new(
            engine(10_000, 1_000, 400),
            vec![answers; usize::from(count)],
        );
        let slow = |n| CheckConfig {
            interval: ms(5_000),
            timeout: ms(500),
            ..config(n)
        };
        let mut plan: Vec<_> = (0..count).map(slow).collect();
        plan.sort_unstable();
        let begin = world.now;
        world
            .engine
            .handle_plan(world.now, &plan, Scripts::EMPTY)
            .unwrap();
        let mut each = vec![0_u64; 2_000];
        let end = begin + ms(2_000);
        while let Some(wake) = world.wake().filter(|wake| *wake < end) {
            let before = world.connects;
            world.now = world.now.max(wake);
            world.turn_unaudited();
            let at = usize::try_from(world.now.since(begin).as_millis()).unwrap();
            each[at] += world.connects - before;
        }
        assert_eq!(
            world.told.len(),
            usize::from(count),
            "everyone has a verdict"
        );
        // 6.7 are expected in each of 1,500, and 2 second ones; Poisson's tail
        // beyond 28 is 1e-7.
        let most = each.iter().max().unwrap();
        assert!(*most <= 28, "{most} starts in one millisecond");
        let hundreds: Vec<u64> = each[..1_500].chunks(100).map(|c| c.iter().sum()).collect();
        // 667 first ones are expected in each, and up to 200 second ones.
        let even = hundreds.iter().all(|n| (550..1_050).contains(n));
        assert!(even, "{hundreds:?}");
    }
}
