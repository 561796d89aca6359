//! The two formulas of the election, in nanoseconds.
//!
//! In whole centiseconds the skew of a short interval is cut to 0 and all
//! backups wake at once, which is how peers come to tie.

use super::Centis;
use core::time::Duration;

/// `Skew_Time` of a router of this priority under an Active that advertises at
/// this interval: `((256 - priority) * Active_Adver_Interval) / 256`
/// (RFC 9568 6.1), cut to whole nanoseconds.
#[must_use]
pub const fn skew_time(priority: u8, active_interval: Centis) -> Duration {
    let share = 256_u64.saturating_sub(priority as u64);
    Duration::from_nanos(share.saturating_mul(active_interval.as_nanos()) >> 8)
}

/// `Active_Down_Interval`: `3 * Active_Adver_Interval + Skew_Time`
/// (RFC 9568 6.1), the silence after which the Active is taken for dead.
#[must_use]
pub const fn active_down_interval(priority: u8, active_interval: Centis) -> Duration {
    let three = Duration::from_nanos(active_interval.as_nanos().saturating_mul(3));
    three.saturating_add(skew_time(priority, active_interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skew_survives_short_intervals() {
        // At 10 ms and priority 100 a peer that counts in centiseconds has 0.
        let skew = skew_time(100, Centis::MIN);
        assert_eq!(skew, Duration::from_nanos(156 * 10_000_000 / 256));
        assert_eq!(
            active_down_interval(100, Centis::MIN),
            Duration::from_nanos(36_093_750)
        );
    }

    #[test]
    fn a_higher_priority_wakes_strictly_earlier() {
        for interval in [Centis::MIN, Centis::SECOND, Centis::MAX] {
            for priority in 1..=254 {
                assert!(skew_time(priority, interval) > skew_time(priority + 1, interval));
            }
            assert!(skew_time(255, interval) > Duration::ZERO);
            assert!(skew_time(1, interval) < interval.duration());
        }
    }
}
