//! The simulator: whole clusters in virtual time, from one seed. Each node is
//! an HA half and an LB half, driven as the daemon's loops drive them; kernels,
//! links and backends are models; checkers watch. No socket, no thread, no
//! clock.
//!
//! ```text
//! Options (drawn) -> World { nodes, links, backends, queue of events }
//!                      |  turns: handle_*, handle_timeout, polls
//!                      v
//!                    Watch { election, addresses, table, health }  -> Violation
//! ```
//!
//! A run has two phases: in the first things go wrong as the options say, in the
//! second all faults heal and everything must come right in bounded time. The
//! same seed makes the same run, so a violation is repeated with
//! `cargo xtask sim --seed N --trace`.

mod backends;
mod faults;
mod guardian;
#[cfg(test)]
mod half;
pub(crate) mod ipvs_kernel;
pub(crate) mod ipvs_request;
mod link;
mod meddlers;
mod moves;
mod mute;
pub(crate) mod netlink;
mod node;
mod options;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod pair;
mod plan;
pub(crate) mod random;
mod route_kernel;
mod route_macvlan;
mod route_messages;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod scale;
mod site;
mod turns;
mod turns_ha;
mod turns_lb;
mod watch;
mod web;
mod world;

pub use options::{Fault, Options};
pub use random::Random;
pub use watch::Violation;
pub use world::{Failure, Summary, run};
