//! What goes into an engine and comes out of it, besides reports.

use super::SocketId;
use crate::check::{CheckConfig, Health, Verdict};
use crate::time::{Duration, Instant};
use core::net::SocketAddr;

/// How an engine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Grain of the timer wheel, nanoseconds.
    pub tick_ns: u64,
    /// How many of the sockets are IPv4; the rest are IPv6.
    pub sockets_v4: u32,
    /// A timeout served so much after its deadline is no verdict: the answer
    /// may lie in a queue that this node was too late to read.
    pub late_margin: Duration,
    /// Moves all phases, so that two nodes do not probe in step.
    pub seed: u64,
}

/// What the owner should do to its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect a socket that is disconnected. Answer with
    /// [`handle_connected`](super::Engine::handle_connected) or
    /// [`handle_failed`](super::Engine::handle_failed), now or when it
    /// becomes ready.
    Connect {
        /// Which, of the target's family.
        socket: SocketId,
        /// Where to.
        target: SocketAddr,
        /// Leave the handshake half done where the kernel can.
        half_open: bool,
    },
    /// Disconnect a socket, whatever came of its connection. It must be
    /// connectable when the call is done.
    Disconnect {
        /// Which.
        socket: SocketId,
    },
}

/// A check as `show` and metrics see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub config: CheckConfig,
    /// Its index in the plan.
    pub plan: u32,
    /// What is believed of its target.
    pub health: Health,
    /// That belief was adopted, and no verdict has borne it out yet.
    pub presumed: bool,
    /// When the health's [`state`](Health::state) became what it is.
    pub since: Instant,
    /// The last verdict, other than indeterminate ones.
    pub last: Option<Verdict>,
    /// How long the probe of that verdict took.
    pub latency: Duration,
}
