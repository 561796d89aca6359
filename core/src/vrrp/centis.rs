//! Centiseconds, the unit of every interval on the wire.

use core::fmt;
use core::time::Duration;

/// An advertisement interval: 1 to 4,095 centiseconds (10 ms to 40.95 s), the
/// 12 bits of Max Advertise Interval (RFC 9568 5.2.7) without the 0 that
/// erratum 8301 forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Centis(u16);

impl Centis {
    /// 10 ms.
    pub const MIN: Self = Self(1);
    /// 40.95 s.
    pub const MAX: Self = Self(4095);
    /// One second, the RFC's default (6.1).
    pub const SECOND: Self = Self(100);

    /// `centis` hundredths of a second, if in range.
    #[must_use]
    pub const fn new(centis: u16) -> Option<Self> {
        if centis >= Self::MIN.0 && centis <= Self::MAX.0 {
            Some(Self(centis))
        } else {
            None
        }
    }

    /// Hundredths of a second.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Nanoseconds, the unit of the machine's arithmetic.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        // At most 4.1e10.
        (self.0 as u64).wrapping_mul(NANOS)
    }

    /// The same as a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.as_nanos())
    }
}

/// Nanoseconds in a centisecond.
const NANOS: u64 = 10_000_000;

impl TryFrom<Duration> for Centis {
    type Error = NotCentis;

    /// # Errors
    /// [`NotCentis`] says which of the three ways it does not fit.
    fn try_from(interval: Duration) -> Result<Self, NotCentis> {
        let (whole, rest) = (
            interval.as_millis().checked_div(10),
            interval.as_nanos().checked_rem(u128::from(NANOS)),
        );
        match u16::try_from(whole.unwrap_or(u128::MAX)) {
            Ok(0) => Err(NotCentis::TooShort),
            Ok(centis) => match Self::new(centis) {
                Some(_) if rest != Some(0) => Err(NotCentis::Fraction),
                Some(interval) => Ok(interval),
                None => Err(NotCentis::TooLong),
            },
            Err(_) => Err(NotCentis::TooLong),
        }
    }
}

/// Why a duration is not an advertisement interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCentis {
    /// Less than 10 ms.
    TooShort,
    /// More than 40.95 s.
    TooLong,
    /// Not a multiple of 10 ms, which the wire cannot carry: peers would learn
    /// another interval than the one we keep.
    Fraction,
}

impl fmt::Display for NotCentis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "interval is too short: write 10ms or more",
            Self::TooLong => "interval is too long: write 40950ms or less",
            Self::Fraction => {
                "interval is not a multiple of 10ms: VRRP counts in hundredths of a second"
            }
        })
    }
}

impl core::error::Error for NotCentis {}

impl fmt::Display for Centis {
    /// As a config writes it: `100ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.duration().as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn only_what_the_wire_can_carry() {
        let of = |ms| Centis::try_from(Duration::from_millis(ms));
        assert_eq!(of(9), Err(NotCentis::TooShort));
        assert_eq!(of(10), Ok(Centis::MIN));
        assert_eq!(of(15), Err(NotCentis::Fraction));
        assert_eq!(of(1000), Ok(Centis::SECOND));
        assert_eq!(of(40_950), Ok(Centis::MAX));
        assert_eq!(of(40_960), Err(NotCentis::TooLong));
        assert_eq!(Centis::try_from(Duration::MAX), Err(NotCentis::TooLong));
        assert_eq!(
            Centis::try_from(Duration::from_nanos(10_000_001)),
            Err(NotCentis::Fraction)
        );
        assert_eq!((Centis::new(0), Centis::new(4096)), (None, None));
        assert_eq!(Centis::MAX.to_string(), "40950ms");
    }
}
