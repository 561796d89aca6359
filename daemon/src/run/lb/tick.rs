//! How long checks that are due wait for others, to be begun with them by few system
//! calls.

use std::time::Duration;
use trunnion_core::check::CheckConfig;

const PER_INTERVAL: u32 = 250;
const MIN: Duration = Duration::from_millis(1);
const MAX: Duration = Duration::from_millis(4);

/// A part of the shortest interval: no check is late by more.
pub(super) fn tick(checks: &[CheckConfig]) -> Duration {
    let each = checks.iter();
    let least = each.map(|it| it.interval.min(it.fast_interval).min(it.down_interval));
    let part = least.min().map_or(MAX, |least| least / PER_INTERVAL);
    part.clamp(MIN, MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunnion_core::check::Kind;

    #[test]
    fn it_is_a_part_of_the_shortest_interval_within_bounds() {
        let ms = Duration::from_millis;
        let check = |interval, fast_interval| CheckConfig {
            interval,
            fast_interval,
            ..CheckConfig::new(Kind::Syn, ([10, 0, 0, 1], 80).into())
        };
        let (slow, fast) = (check(ms(5_000), ms(1_000)), check(ms(5_000), ms(500)));
        assert_eq!(tick(&[slow]), ms(4));
        assert_eq!(tick(&[slow, fast]), ms(2));
        assert_eq!(tick(&[slow, check(ms(10), ms(10)), fast]), ms(1));
        assert_eq!(tick(&[]), ms(4));
    }
}
