//! What else the machine has to do.

use crate::Result;
use crate::wires::Wires;
use trunnion_benches::processes;
use trunnion_tests::lab::process::Process;

/// A kind of load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Idle,
    /// Eight loops that only count.
    Spin,
    /// Eight loops that only fork.
    Fork,
}

const HOGS: usize = 8;

impl Load {
    pub const ALL: [Self; 3] = [Self::Idle, Self::Spin, Self::Fork];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Spin => "spin",
            Self::Fork => "fork",
        }
    }

    /// Begins; it ends when what is returned is dropped.
    pub fn start(self, wires: &Wires) -> Result<Vec<Process>> {
        let script = match self {
            Self::Idle => return Ok(Vec::new()),
            Self::Spin => processes::SPIN,
            Self::Fork => processes::FORK,
        };
        let log = wires.directory.join("load.log");
        processes::hogs(&wires.client, &log, script, HOGS)
    }
}
