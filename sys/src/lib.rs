//! The thin half of Trunnion that touches Linux: sockets, clocks, signals and
//! the only `unsafe` of the project, and two small blocking clients
//! ([`ipvs`], [`route`]) that marry a socket to `trunnion-core`.
//!
//! It knows no config and no policy: what to send and what a reply means is
//! core's to say.

pub mod alloc;
pub mod child;
pub mod clock;
mod control;
pub mod datagram;
pub mod fifo;
pub mod ipvs;
pub mod memory;
pub mod names;
pub mod netlink;
pub mod netns;
pub mod notify;
pub mod packet;
pub mod pidfd;
pub mod program;
pub mod random;
pub mod route;
pub mod signal;
pub mod slate;
mod syscall;
pub mod sysctl;
pub mod tcp;
pub mod thread;
pub mod user;
pub mod vrrp;
pub mod will;
