//! What a target's certificate says of how long it is good.

/// The certificate that a target showed last in a TLS handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Certificate {
    /// When it expires, seconds since 1970.
    pub expires_s: u32,
    /// Whole days until then, when it was shown; 0 when that is over.
    pub days_left: u16,
    /// That is sooner than its check leaves uncommented.
    pub soon: bool,
}

impl Certificate {
    /// One that expires at `expires_s`, shown at `now_s`; what is less than
    /// `warning_s` away is soon, and nothing is with 0.
    #[must_use]
    pub fn shown(expires_s: u64, now_s: u64, warning_s: u64) -> Self {
        let left_s = expires_s.saturating_sub(now_s);
        let days_left = left_s / 86_400;
        Self {
            expires_s: u32::try_from(expires_s).unwrap_or(u32::MAX),
            days_left: u16::try_from(days_left).unwrap_or(u16::MAX),
            soon: left_s < warning_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_soon_is_for_the_config_to_say() {
        const DAY: u64 = 86_400;
        const NOW: u64 = 1_800_000_000;
        let at = |left: u64, warning: u64| Certificate::shown(NOW + left, NOW, warning);
        assert!(!at(14 * DAY, 14 * DAY).soon);
        let soon = at(14 * DAY - 1, 14 * DAY);
        assert_eq!((soon.soon, soon.days_left), (true, 13));
        assert!(!at(5, 0).soon, "0 turns it off");
        let over = Certificate::shown(NOW - 1, NOW, DAY);
        assert_eq!((over.soon, over.days_left), (true, 0));
        let never = Certificate::shown(253_402_300_799, NOW, DAY);
        assert_eq!((never.expires_s, never.days_left), (u32::MAX, u16::MAX));
        assert_eq!(at(2 * DAY, DAY).expires_s, 1_800_172_800);
    }
}
