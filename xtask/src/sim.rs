//! `cargo xtask sim`: runs whole clusters in virtual time. What is checked is in
//! the `tests` crate; here is only how it is run.

use crate::failure::Result;
use crate::process;
use std::process::ExitCode;

pub const HELP: &str = "\
usage: cargo xtask sim [--seed N] [--runs N] [--minutes N] [--trace]

Runs the simulator, built with optimizations. Without options: 100 runs from a
seed drawn anew. Everything a run draws follows from its seed, and a run that
fails prints both, what happened before, and the line that repeats it.

  --seed N      the first seed; alone it means one run
  --runs N      how many seeds, one after the other
  --minutes N   for so long
  --trace       print everything that happens
";

/// `cargo xtask sim`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    let mut sim = process::cargo();
    sim.args(["run", "--release", "--quiet", "-p", "trunnion-tests"])
        .args(["--bin", "sim", "--"])
        .args(parser.raw_args()?);
    process::run(&mut sim)?;
    Ok(ExitCode::SUCCESS)
}
