//! The process's memory as a whole: what is kept for the next reload, what goes
//! back to the kernel, and when all is locked.

use super::super::records::{MemoryNotLocked, OwnLog, text};
use crate::config::Config;
use std::time::{Duration, Instant};
use trunnion_sys::alloc;
use trunnion_sys::program;
use trunnion_sys::thread;

/// How long what was freed is kept for another reload or another question.
const KEPT: Duration = Duration::from_secs(5);

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When much was freed that has not been given back.
    freed_at: Option<Instant>,
    /// When a config was taken, until what only that runs is let go.
    taken_at: Option<Instant>,
    locked: bool,
}

impl Memory {
    /// A config is in force, the `first` or another. What reading the first took
    /// is given back at once, before anything is locked.
    pub fn take(&mut self, config: &Config, first: bool, log: &OwnLog) {
        if first {
            alloc::give_back();
        }
        self.taken_at = Some(Instant::now());
        // Only virtual routers have no time to wait for a page.
        if !self.locked && !config.vrrp.is_empty() {
            self.locked = true;
            if let Err(refused) = thread::lock_memory() {
                let why = text(&refused.to_string());
                log.log(&MemoryNotLocked { why });
            }
        }
    }

    /// Much was freed, or is about to be.
    pub fn note_freed(&mut self) {
        self.freed_at = Some(Instant::now());
    }

    /// Gives back what nobody wanted for a while. To be called every second or so.
    pub fn look(&mut self) {
        let is_over = |at: &mut Instant| at.elapsed() >= KEPT;
        if self.freed_at.take_if(is_over).is_some() {
            alloc::give_back();
        }
        // With a virtual router all stays where it is.
        if self.taken_at.take_if(is_over).is_some() && !self.locked {
            program::let_go();
        }
    }
}
