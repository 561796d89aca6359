//! What the control thread itself writes into the log.

use std::sync::mpsc::{self, Receiver, Sender};
use trunnion_core::record::{Frame, Record, records};
use trunnion_sys::clock::boottime;

use crate::control::Records;

records! {
    /// The first config was taken by both loops.
    0x0701 Info Started { routers: u32, services: u32 }
        "started with {routers} virtual routers and {services} services";
    /// A reload was taken by both loops.
    0x0702 Info Reloaded { routers: u32, services: u32 }
        "reloaded: {routers} virtual routers and {services} services";
    /// A reload was refused; the mistakes follow on standard error.
    0x0703 Error ReloadRefused { why: &'static str }
        "reload: nothing was changed: {why}";
    /// A loop did not take its part of a config.
    0x0704 Error PlanRefused { thread: &'static str }
        "{thread}: the config was not taken: it needs more memory than was taken at start; restart";
    /// Another reload is under way.
    0x0705 Warn ReloadTooSoon {}
        "reload: one is under way; send SIGHUP again when it is done";
    /// The end begins.
    0x0706 Info Stopping {}
        "stopping: priority 0 first, then the addresses";
    /// A loop ended by itself.
    0x0707 Error LoopGone { thread: &'static str, why: &'static str }
        "the {thread} loop is gone: {why}; ending, so that a supervisor starts anew";
}

/// Where the control thread writes its records.
#[derive(Clone, Debug)]
pub struct OwnLog(Sender<Frame>);

/// Where they are read.
#[derive(Debug)]
pub struct OwnLogEnd(Receiver<Frame>);

impl OwnLog {
    /// A log and its reading end.
    #[must_use]
    pub fn new() -> (Self, OwnLogEnd) {
        let (sender, receiver) = mpsc::channel();
        (Self(sender), OwnLogEnd(receiver))
    }

    /// Writes a record.
    pub fn log(&self, record: &impl Record) {
        // The writer ends last.
        let _ = self.0.send(Frame::of(boottime(), record));
    }
}

impl Records for OwnLogEnd {
    fn thread(&self) -> &'static str {
        "control"
    }

    fn poll_record(&mut self) -> Option<Frame> {
        self.0.try_recv().ok()
    }

    fn dropped(&self) -> u64 {
        0
    }
}
