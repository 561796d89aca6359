//! How many requests one datagram may hold, so that the kernel, which answers
//! inside the send, gives the thread back in time for the next advert.

use super::BATCH_MAX;
use crate::time::{Duration, Instant};

/// How long one datagram may keep the thread. An advert that becomes due
/// meanwhile without having been foreseen is late by this at most.
const TURN: Duration = Duration::from_micros(500);
/// What an address costs before one was measured: an interface with many makes
/// the kernel walk all of them for each.
const FIRST_GUESS: Duration = Duration::from_micros(20);

/// See the module's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// What a request took lately.
    cost: Duration,
    begun: Instant,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self {
            cost: FIRST_GUESS,
            begun: Instant::ZERO,
        }
    }

    /// How many requests are through before something else is due, and within a
    /// turn; one at least, or a busy node would never come to it.
    pub(super) fn requests(&self, now: Instant, free_until: Option<Instant>) -> usize {
        let free = free_until.map_or(TURN, |until| until.since(now).min(TURN));
        let requests = free.as_nanos().checked_div(self.cost.as_nanos());
        let requests = requests.and_then(|requests| usize::try_from(requests).ok());
        requests.unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX)
    }

    /// A datagram is sent now.
    pub(super) const fn begin(&mut self, now: Instant) {
        self.begun = now;
    }

    /// All its requests are through. Half of what is known comes from this one:
    /// a host that took the processor away is forgotten in a few.
    pub(super) fn end(&mut self, now: Instant, requests: usize) {
        let took = now.since(self.begun);
        let each = took.checked_div(u32::try_from(requests).unwrap_or(u32::MAX));
        if let Some(each) = each {
            let half = self.cost.saturating_add(each).checked_div(2);
            self.cost = half.unwrap_or(TURN).min(TURN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(us: u64) -> Instant {
        Instant::from_nanos(us * 1_000)
    }

    #[test]
    fn a_datagram_fits_before_what_is_due_and_is_never_empty() {
        let mut pace = Pace::new();
        assert_eq!(pace.requests(us(0), None), 25);
        assert_eq!(pace.requests(us(0), Some(us(100))), 5);
        assert_eq!(pace.requests(us(0), Some(us(0))), 1);
        assert_eq!(pace.requests(us(9), Some(us(0))), 1);
        for _ in 0..16 {
            pace.begin(us(0));
            pace.end(us(100), 100);
        }
        assert_eq!(pace.requests(us(0), None), BATCH_MAX);
        pace.begin(us(0));
        pace.end(us(1_000_000), 1);
        assert_eq!(pace.requests(us(0), None), 1);
        // A clock that stands still divides by nothing.
        for _ in 0..64 {
            pace.begin(us(0));
            pace.end(us(0), 0);
            pace.end(us(0), 1);
        }
        assert_eq!(pace.requests(us(0), Some(us(1))), BATCH_MAX);
    }
}
