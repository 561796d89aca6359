//! Time as an argument: an [`Instant`] that nobody here can read off a clock.

mod wheel;

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
pub use core::time::Duration;
pub use wheel::{Full, MOVES_MAX, Slot, Timer, Wheel};

/// Nanoseconds on the node's monotonic clock that counts through suspend
/// (`CLOCK_BOOTTIME`, clock_gettime(2)). 2^64 ns are 584 years, so arithmetic
/// saturates instead of wrapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The clock's zero, at boot.
    pub const ZERO: Self = Self(0);
    /// Later than everything: a deadline that never comes.
    pub const FAR: Self = Self(u64::MAX);

    /// `ns` nanoseconds after the clock's zero.
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How much later this is than `earlier`; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The first multiple of `step` since the clock's zero that is not before
    /// this instant; with a step of 0, the instant itself.
    #[must_use]
    pub fn round_up(self, step: Duration) -> Self {
        let step = nanos(step).max(1);
        match self.0.checked_next_multiple_of(step) {
            Some(ns) => Self(ns),
            None => Self::FAR,
        }
    }
}

/// The nanoseconds of a duration, at most `u64::MAX`.
const fn nanos(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos() as u64)
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(nanos(rhs)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        self.0 = self.0.saturating_add(nanos(rhs));
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(rhs)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ns) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        write!(f, "{s}.{ns:09}")
    }
}

/// The earlier of two deadlines, where `None` is never.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let second = Duration::from_secs(1);
        assert_eq!(Instant::FAR + second, Instant::FAR);
        assert_eq!(Instant::ZERO - second, Instant::ZERO);
        assert_eq!(Instant::ZERO.since(Instant::FAR), Duration::ZERO);
        assert_eq!(Instant::ZERO + Duration::MAX, Instant::FAR);
        let at = Instant::from_nanos(2_000_001);
        let step = Duration::from_millis(1);
        assert_eq!(at.round_up(step), Instant::from_nanos(3_000_000));
        assert_eq!(at.round_up(step).round_up(step), at.round_up(step));
        assert_eq!(at.round_up(Duration::ZERO), at);
        assert_eq!(Instant::FAR.round_up(second), Instant::FAR);
        assert_eq!((Instant::ZERO + second).as_nanos(), 1_000_000_000);
    }
}
