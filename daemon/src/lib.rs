//! The `trunnion` daemon and command line: config, loops, control plane. Not
//! the decisions (trunnion-core), not the system calls (trunnion-sys).

pub mod cli;
pub mod config;
pub mod control;
pub mod run;
pub mod tls;

/// Prints a line to standard error, in one piece: it has no buffer of its own.
/// Nobody may hear it, which is no reason to end.
fn complain(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
