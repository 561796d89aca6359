//! The schedule by which an Active tells the link where its addresses are.

use super::AnnounceConfig;
use crate::time::Instant;
use core::time::Duration;

/// Where in its schedule an Active is. One announcement is a gratuitous ARP or
/// unsolicited neighbour advertisement of every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// When the addresses were last announced by this Active.
    said_at: Option<Instant>,
    /// What is still to say.
    next: Option<Burst>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burst {
    /// When the next announcement is due.
    at: Instant,
    /// How many are left in this burst, at least 1.
    left: u8,
    /// When a second burst begins, if one does.
    again_at: Option<Instant>,
}

impl Announce {
    /// The schedule of a router that becomes Active now.
    pub(super) fn begin(config: &AnnounceConfig, now: Instant) -> Self {
        Self {
            said_at: None,
            next: Some(Burst {
                at: now,
                left: config.repeat.max(1),
                again_at: after(now, config.again_after),
            }),
        }
    }

    /// Somebody else spoke for our addresses, or there are more of them: say
    /// again whose they are. A peer that keeps claiming cannot make us announce faster than the config's
    /// interval.
    pub(super) fn reassert(self, config: &AnnounceConfig, now: Instant) -> Self {
        let Self { said_at, next } = self;
        let soonest = said_at.map_or(now, |said_at| now.max(said_at + config.interval));
        match next {
            Some(Burst { at, .. }) if at <= soonest => self,
            Some(_) | None => Self {
                said_at,
                ..Self::begin(config, soonest)
            },
        }
    }

    /// All addresses were announced.
    pub(super) fn announced(self, config: &AnnounceConfig, now: Instant) -> Self {
        match self.next {
            Some(burst) if burst.at <= now => Self {
                said_at: Some(now),
                next: burst.next(config, now),
            },
            Some(_) | None => self,
        }
    }

    /// When the next announcement is due.
    #[must_use]
    pub fn at(self) -> Option<Instant> {
        self.next.map(|burst| burst.at)
    }

    /// Whether an announcement is due.
    #[must_use]
    pub fn is_due(self, now: Instant) -> bool {
        self.at().is_some_and(|at| at <= now)
    }
}

impl Burst {
    /// What is to say after one announcement of this burst was made.
    fn next(self, config: &AnnounceConfig, now: Instant) -> Option<Self> {
        let Self {
            at: _,
            left,
            again_at,
        } = self;
        if let Some(left) = left.checked_sub(1).filter(|left| *left > 0) {
            return Some(Self {
                at: now + config.interval,
                left,
                again_at,
            });
        }
        if let Some(again_at) = again_at {
            return Some(Self {
                at: again_at.max(now + config.interval),
                left: config.repeat.max(1),
                again_at: None,
            });
        }
        let at = after(now, config.refresh)?;
        Some(Self {
            at,
            left: 1,
            again_at: None,
        })
    }
}

fn after(now: Instant, delay: Duration) -> Option<Instant> {
    (delay > Duration::ZERO).then(|| now + delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const CONFIG: AnnounceConfig = AnnounceConfig {
        repeat: 3,
        interval: Duration::from_millis(100),
        again_after: Duration::from_secs(5),
        refresh: Duration::from_secs(60),
    };

    fn ms(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn run(config: &AnnounceConfig, mut announce: Announce, count: usize) -> Vec<u64> {
        let mut seen = Vec::new();
        while let Some(at) = announce.at()
            && seen.len() < count
        {
            seen.push(at.as_nanos() / 1_000_000);
            announce = announce.announced(config, at);
        }
        seen
    }

    #[test]
    fn a_burst_another_and_a_refresh() {
        let seen = run(&CONFIG, Announce::begin(&CONFIG, ms(0)), 8);
        assert_eq!(seen, [0, 100, 200, 5000, 5100, 5200, 65_200, 125_200]);
    }

    #[test]
    fn no_second_burst_and_no_refresh() {
        let config = AnnounceConfig {
            again_after: Duration::ZERO,
            refresh: Duration::ZERO,
            ..CONFIG
        };
        let seen = run(&config, Announce::begin(&config, ms(0)), 99);
        assert_eq!(seen, [0, 100, 200]);
    }

    #[test]
    fn a_second_burst_does_not_run_into_the_first() {
        let config = AnnounceConfig {
            again_after: Duration::from_millis(150),
            refresh: Duration::ZERO,
            ..CONFIG
        };
        let seen = run(&config, Announce::begin(&config, ms(0)), 99);
        assert_eq!(seen, [0, 100, 200, 300, 400, 500]);
    }

    #[test]
    fn a_repeat_of_zero_still_announces_once() {
        let config = AnnounceConfig {
            repeat: 0,
            again_after: Duration::ZERO,
            refresh: Duration::ZERO,
            ..CONFIG
        };
        assert_eq!(run(&config, Announce::begin(&config, ms(0)), 99), [0]);
    }

    #[test]
    fn a_peer_that_keeps_claiming_cannot_speed_us_up() {
        let mut announce = Announce::begin(&CONFIG, ms(0));
        let mut sent = 0;
        for at in 0..1000 {
            announce = announce.reassert(&CONFIG, ms(at));
            if announce.is_due(ms(at)) {
                announce = announce.announced(&CONFIG, ms(at));
                sent += 1;
            }
        }
        assert_eq!(sent, 10);
    }

    #[test]
    fn a_claim_while_waiting_for_the_second_burst_is_answered_at_once() {
        let mut announce = Announce::begin(&CONFIG, ms(0));
        for at in [0, 100, 200] {
            announce = announce.announced(&CONFIG, ms(at));
        }
        assert_eq!(announce.at(), Some(ms(5000)));
        assert!(announce.reassert(&CONFIG, ms(1000)).is_due(ms(1000)));
        // Just after the last of the burst it waits its turn.
        assert_eq!(announce.reassert(&CONFIG, ms(201)).at(), Some(ms(300)));
    }

    #[test]
    fn a_spurious_announced_changes_nothing() {
        let burst = Announce::begin(&CONFIG, ms(10));
        assert_eq!(burst.announced(&CONFIG, ms(9)), burst);
        let quiet = Announce {
            said_at: None,
            next: None,
        };
        assert_eq!(quiet.announced(&CONFIG, ms(9)), quiet);
    }
}
