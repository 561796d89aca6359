//! Keeps a process of our own program running: one that dies is started again,
//! later each time it does not live long.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// From one process's death to the next one's start, at first and at most; one
/// that lived longer than the latter begins anew.
const WAIT: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What there is to tell.
#[derive(Debug)]
pub(super) enum Told {
    /// It ended, though it was wanted.
    Gone(ExitStatus),
    /// It could not be started.
    NotStarted(io::Error),
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Respawn {
    wanted: bool,
    child: Option<Child>,
    started: Option<Instant>,
    wait: Duration,
    deaths: u64,
}

impl Respawn {
    /// Nothing runs, and nothing is wanted.
    pub(super) const fn new() -> Self {
        Self {
            wanted: false,
            child: None,
            started: None,
            wait: WAIT,
            deaths: 0,
        }
    }

    /// Starts the process if it is wanted and there is none, kills it if it is
    /// not wanted.
    pub(super) fn want(
        &mut self,
        wanted: bool,
        spawn: impl FnOnce() -> io::Result<Child>,
    ) -> Option<Told> {
        self.wanted = wanted;
        match &mut self.child {
            Some(child) if !wanted => {
                let _ = child.kill();
                let _ = child.wait();
                self.child = None;
                None
            }
            None if wanted => self.start(spawn),
            Some(_) | None => None,
        }
    }

    /// The end begins: the process ends when we do, and is not missed.
    pub(super) const fn stop(&mut self) {
        self.wanted = false;
    }

    /// Looks after the process. Returns when to look again, if by then, and what
    /// there is to tell: call again until there is nothing.
    pub(super) fn look(
        &mut self,
        spawn: impl FnOnce() -> io::Result<Child>,
    ) -> (Option<Duration>, Option<Told>) {
        if let Some(child) = &mut self.child {
            let Some(status) = child.try_wait().ok().flatten() else {
                return (None, None);
            };
            self.child = None;
            if !self.wanted {
                return (None, None);
            }
            self.deaths = self.deaths.saturating_add(1);
            let lived = self.started.map_or(WAIT_MAX, |at| at.elapsed());
            self.wait = if lived >= WAIT_MAX {
                WAIT
            } else {
                (self.wait * 2).min(WAIT_MAX)
            };
            return (None, Some(Told::Gone(status)));
        }
        if !self.wanted {
            return (None, None);
        }
        let waited = self.started.map_or(WAIT_MAX, |at| at.elapsed());
        if waited < self.wait {
            return (Some(self.wait - waited), None);
        }
        match self.start(spawn) {
            Some(told) => (Some(self.wait), Some(told)),
            None => (None, None),
        }
    }

    /// How many have died.
    pub(super) const fn deaths(&self) -> u64 {
        self.deaths
    }

    fn start(&mut self, spawn: impl FnOnce() -> io::Result<Child>) -> Option<Told> {
        self.started = Some(Instant::now());
        match spawn() {
            Ok(child) => {
                self.child = Some(child);
                None
            }
            Err(error) => Some(Told::NotStarted(error)),
        }
    }
}
