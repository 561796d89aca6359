//! The `trunnion` daemon and command line: config, loops, control plane. Not
//! the decisions (trunnion-core), not the system calls (trunnion-sys).

pub mod cli;
pub mod config;
pub mod control;
pub mod run;
pub mod tls;
