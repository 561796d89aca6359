//! The thinking half of Trunnion: every format, every state machine, every
//! decision of a layer-4 load-balancer node, without a file descriptor, a
//! clock, a thread or an allocator.
//!
//! Rooms stand on floors; a room imports only from lower floors, and rooms on
//! one floor have no door between them (`cargo xtask tidy` holds the table):
//!
//! ```text
//! 3  director                        what this node should do next
//! 2  ipvs   route   vrrp   check     one folder for each protocol or engine
//! 1  netlink   wire   reconcile      framing; headers; the ordered diff
//! 0  bytes   time   model   record   readers/writers; timers; nouns; log records
//! ```
//!
//! Two one-way streets run through the house:
//!
//! ```text
//! config -> model::Table ------------------+
//! kernel dump -> netlink -> ipvs::decode --+-> reconcile -> Change -> ipvs::request -> bytes -> kernel
//! frame, fd event -> wire / vrrp / check -> Actions -> director -> Action -> the owner's loop
//! ```
//!
//! Every machine has one shape: `handle_*(now, input)` takes what came in,
//! `poll_*(now)` yields what should go out, `poll_timeout()` says when to call
//! again. `now` is always an argument. A spurious call is a no-op.
//!
//! Storage belongs to the owner: small fixed things are `heapless`, tables that
//! grow with a config are the caller's slices. Nothing here allocates, and
//! nothing that came from outside can make it panic.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]
#![cfg_attr(
    not(test),
    deny(
        // Bytes from outside are consumed through `bytes::Reader`, never indexed.
        clippy::indexing_slicing,
        // Wrapping, saturating or checked: say which.
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::unwrap_used,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )
)]

#[cfg(test)]
extern crate std;

pub mod bytes;
pub mod check;
pub mod director;
pub mod ipvs;
pub mod model;
pub mod netlink;
pub mod reconcile;
pub mod record;
pub mod route;
pub mod time;
pub mod vrrp;
pub mod wire;
