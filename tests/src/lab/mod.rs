//! A small load-balanced network in namespaces: one switch, two balancer
//! nodes, four backends, one client, IPv4 and IPv6, direct routing (DSR). It
//! is what the demo and the live tests stand on. It is not a simulator: every
//! packet crosses a real kernel, and nothing here thinks for the daemon.
//!
//! ```text
//!            client        b1   b2   b3   b4      (VIP on lo, no ARP for it)
//!              |            |    |    |    |
//!   ===========+=====switch=+====+====+====+===   10.77.0.0/24  fd77::/64
//!              |            |
//!             lb1          lb2                    VRRP moves the VIP
//! ```
//!
//! Needs root and ip_vs: a machine that has both, or the VM
//! (`cargo xtask vm`). Everything it makes bears its process id and is gone
//! when the [`Lab`] is dropped.

pub mod backend;
pub mod client;
pub mod config;
pub mod download;
pub mod ipvsadm;
pub mod keepalived;
pub mod netns;
pub mod nlmon;
pub mod node;
pub mod pinger;
pub mod plan;
pub mod process;
pub mod rtnl;
pub mod show;
pub mod topology;

pub use netns::Netns;
pub use topology::Lab;

use std::time::{Duration, Instant};

/// What went wrong in the lab itself, as opposed to in the thing under test:
/// one line, with what was tried.
#[derive(Debug)]
pub struct LabError(String);

impl LabError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for LabError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LabError {}

/// The lab's result.
pub type Result<T> = std::result::Result<T, LabError>;

/// Puts what was being done before an error's text.
pub trait Context<T> {
    /// `what: error`.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| LabError(format!("{}: {error}", what())))
    }
}

/// Asks until the answer is `Some`, every few milliseconds; `None` when
/// `limit` has passed. A condition with a deadline, where a sleep would be a
/// guess. For what costs little to ask.
pub fn wait_for<T>(limit: Duration, ask: impl FnMut() -> Option<T>) -> Option<T> {
    wait_every(Duration::from_millis(5), limit, ask)
}

/// The same for what costs much to ask, such as the start of a program: the
/// whole lab may have one CPU, and what is measured in it should get most.
pub fn wait_slowly<T>(limit: Duration, ask: impl FnMut() -> Option<T>) -> Option<T> {
    wait_every(Duration::from_millis(50), limit, ask)
}

fn wait_every<T>(
    pause: Duration,
    limit: Duration,
    mut ask: impl FnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
    }
}
