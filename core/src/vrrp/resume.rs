//! Going on as Active after a restart: a deliberate extension.

use super::{Centis, active_down_interval};
use crate::time::Instant;

/// That we were Active in a previous life of this daemon. The owner keeps it
/// where a crash leaves it, writes it when an advert was sent, and forgets it
/// when one of priority 0 was.
///
/// RFC 9568 6.4.1 starts every router but the owner as Backup, so a crashed and
/// restarted Active would stand by for an `Active_Down_Interval` while nobody
/// answers for the addresses. To go on instead is safe, because a router takes
/// over for one of three reasons. Silence: the shortest silence any peer waits
/// for is `3 * interval +` the skew of priority 254, counted from our last
/// advert at the earliest; before that no peer has noticed. Priority 0: we sent
/// none, or the owner forgot this. Its own higher priority: it would have taken
/// over from us just so had we never died, our first advert makes it assert
/// itself at once, and we step down. In the last case two routers are Active
/// for one flight of a packet, as in any preemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// When the last advert was sent, on the clock of this boot.
    pub last_sent: Instant,
    /// The interval it carried: what peers count by, whatever the config says
    /// now.
    pub interval: Centis,
}

impl Resume {
    /// Whether no peer can have noticed yet.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        self.last_sent <= now && now < self.until()
    }

    /// From when on some peer may have noticed.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.last_sent + active_down_interval(PRIORITY_MOST, self.interval)
    }
}

/// The highest priority a Backup waits with.
const PRIORITY_MOST: u8 = 254;

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn it_holds_while_the_most_eager_peer_still_waits() {
        let resume = Resume {
            last_sent: Instant::from_nanos(7_000_000_000),
            interval: Centis::SECOND,
        };
        // 3 s and a skew of 2/256 s.
        let end = resume.last_sent + Duration::from_nanos(3_007_812_500);
        assert!(resume.holds(resume.last_sent));
        assert!(resume.holds(end - Duration::from_nanos(1)));
        assert!(!resume.holds(end));
        // A later time is of another boot.
        assert!(!resume.holds(resume.last_sent - Duration::from_nanos(1)));
    }
}
