//! When what the kernel refused is asked for again: at once, then later and
//! later. One clock for all addresses: of those that are refused for good a few
//! more attempts do no harm, and one that is new must not wait for them.

use crate::director::exchange::Backoff;
use crate::time::Instant;

/// See the module's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    at: Option<Instant>,
}

impl Retry {
    pub(super) const fn new() -> Self {
        Self {
            backoff: Backoff::new(),
            at: None,
        }
    }

    /// An address was refused; `anew` when it was not the last time.
    pub(super) fn refused(&mut self, now: Instant, anew: bool) {
        if anew {
            self.backoff.reset();
            self.at = None;
        }
        if self.at.is_none() {
            self.at = Some(now + self.backoff.fail());
        }
    }

    /// Whether it is time to ask again; true once.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }
}
