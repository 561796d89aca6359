//! When a check is due.

use crate::check::{CheckConfig, Health};
use crate::time::{Duration, Instant};

/// First checks, and checks after a stall, are spread over the interval but at
/// most over this.
pub const SPREAD_MAX: Duration = Duration::from_secs(2);

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
    config: &CheckConfig,
    health: Health,
    started: Instant,
    seed: u64,
) -> Instant {
    let least = CheckConfig::INTERVAL_MIN;
    match health {
        Health::Up => {
            let span = nanos(interval(config));
            let rem = |n: u64| n.checked_rem(span).unwrap_or(0);
            let since_phase = rem(rem(started.as_nanos())
                .saturating_add(span)
                .saturating_sub(rem(config.phase(seed))));
            started + Duration::from_nanos(span.saturating_sub(since_phase))
        }
        Health::Unknown | Health::GoingDown { .. } | Health::GoingUp { .. } => {
            started + config.fast_interval.max(least)
        }
        Health::Down => started + config.down_interval.max(least),
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
