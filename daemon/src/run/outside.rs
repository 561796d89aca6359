//! The errands of checks: commands and files that a runner sees to. Moves them
//! between it and [`Lb`].

use super::runner::Runner;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use trunnion_core::check::SocketId;
use trunnion_core::check::probe::outside::{Errand, Outcome};
use trunnion_core::director::lb::Lb;
use trunnion_core::time::Instant;

/// Answers taken in one turn.
const ANSWERS_PER_TURN: u32 = 256;

/// See the module's words. Allocates nothing once it is made.
pub struct Outside {
    runner: Runner,
    ready: bool,
}

impl Outside {
    pub const fn new(runner: Runner) -> Self {
        Self {
            runner,
            ready: false,
        }
    }

    /// The runner may have answered.
    pub const fn handle_event(&mut self) {
        self.ready = true;
    }

    /// Takes its answers; returns whether some were left.
    pub fn read(&mut self, now: Instant, lb: &mut Lb<'_>) -> bool {
        for _ in 0..ANSWERS_PER_TURN {
            if !self.ready {
                return false;
            }
            let Some(done) = self.runner.poll_done() else {
                self.ready = false;
                return false;
            };
            match lb.engine().seat_of(done.id.to_be_bytes()) {
                Some(seat) => lb.handle_outcome(now, seat, &done.outcome, done.output),
                None => lb.handle_stray(),
            }
        }
        self.ready
    }

    /// Asks for what a check wants.
    pub fn begin(&mut self, now: Instant, (seat, target): (SocketId, SocketAddr), lb: &mut Lb<'_>) {
        let Some((name, deadline, errand)) = lb.errand(now, seat) else {
            return;
        };
        let id = u64::from_be_bytes(name);
        if let Err(errno) = self.runner.send((id, deadline), errand, target) {
            let outcome = match errand {
                Errand::Exec(_) => Outcome::NotRun(errno),
                Errand::File(_) => Outcome::NotRead(errno),
            };
            lb.handle_outcome(now, seat, &outcome, &[]);
        }
    }
}

impl AsRawFd for Outside {
    fn as_raw_fd(&self) -> RawFd {
        self.runner.as_raw_fd()
    }
}
