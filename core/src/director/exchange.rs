//! One datagram of netlink requests that waits for its replies.

use crate::time::{Duration, Instant};

/// How long the kernel may take to answer a datagram. It answers inside
/// sendmsg(2), so this is about lost replies, not slow ones.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// Requests with consecutive sequence numbers; the last one's answer ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    first: u32,
    last: u32,
    pub(super) deadline: Instant,
}

/// Which request of an exchange a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// The request at this index.
    Request(usize),
    /// The last one: a barrier or a lone request.
    Last,
    /// None of them: a reply that came too late.
    Stranger,
}

impl Exchange {
    pub(super) fn new(now: Instant, first: u32, last: u32) -> Self {
        Self {
            first,
            last,
            deadline: now + REPLY_TIMEOUT,
        }
    }

    /// The sequence number for the next exchange.
    pub(super) const fn next_seq(self) -> u32 {
        self.last.wrapping_add(1)
    }

    /// Sequence numbers wrap, so distance is what counts.
    pub(super) const fn answers(self, seq: u32) -> Answers {
        let index = seq.wrapping_sub(self.first);
        let last = self.last.wrapping_sub(self.first);
        if index == last {
            Answers::Last
        } else if index < last {
            Answers::Request(index as usize)
        } else {
            Answers::Stranger
        }
    }
}

/// Waits between attempts: at once, then 1 s, doubled up to 30 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const MAX: Duration = Duration::from_secs(30);

    pub(super) const fn new() -> Self {
        Self { failures: 0 }
    }

    /// Another failure: how long to wait before the next attempt.
    pub(super) fn fail(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => 1_u64
                .checked_shl(doublings)
                .map_or(Self::MAX, Duration::from_secs)
                .min(Self::MAX),
        }
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_may_wrap() {
        let exchange = Exchange::new(Instant::ZERO, u32::MAX, 1);
        assert_eq!(exchange.answers(u32::MAX), Answers::Request(0));
        assert_eq!(exchange.answers(0), Answers::Request(1));
        assert_eq!(exchange.answers(1), Answers::Last);
        assert_eq!(exchange.answers(2), Answers::Stranger);
        assert_eq!(exchange.answers(u32::MAX - 1), Answers::Stranger);
        assert_eq!(exchange.next_seq(), 2);
    }

    #[test]
    fn the_first_retry_is_at_once_and_the_wait_is_bounded() {
        let mut backoff = Backoff::default();
        let waits: std::vec::Vec<_> = (0..8).map(|_| backoff.fail().as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
        for _ in 0..100 {
            assert!(backoff.fail() <= Backoff::MAX);
        }
        backoff.reset();
        assert_eq!(backoff.fail(), Duration::ZERO);
    }
}
