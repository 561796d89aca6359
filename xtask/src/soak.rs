//! `cargo xtask soak`: a long run, of the IPVS client against a real kernel or
//! of the health checks on a machine with much else to do. What is checked is
//! in the programs it starts; here is only how they are run.

use crate::failure::{Failure, Result};
use crate::{process, vm};
use std::process::{Command, ExitCode};
use std::time::Duration;

pub const HELP: &str = "\
usage: cargo xtask soak ipvs [--operations N] [--seed N]
       cargo xtask soak health [--seconds N] [--seed N]

ipvs runs the IPVS client against the VM's kernel for N operations (1,000,000),
with answers lost, another client that changes rows, and the module loaded anew.
At every check point the kernel's table must be the model's, and resident memory
and open descriptors what they were.

health runs the daemon for N seconds (600) with 20,000 checks a second, as root
in a namespace of this kernel, with a busy loop on each CPU and the daemon
stopped and continued at random. No target may change its state but those that
are killed, a hundred at a time, and these must be seen to be dead in time.
";

/// Slower than this, it is stuck.
const OPERATIONS_PER_S_MIN: u64 = 500;

/// `cargo xtask soak`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut what, mut operations, mut seconds, mut seed) = (None, 1_000_000_u64, 600_u64, 1_u64);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("operations") => operations = parser.value()?.parse()?,
            Long("seconds") => seconds = parser.value()?.parse()?,
            Long("seed") => seed = parser.value()?.parse()?,
            Value(name) if what.is_none() => what = Some(name.string()?),
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    match what.as_deref() {
        Some("ipvs") => ipvs(operations, seed),
        Some("health") => health(seconds, seed),
        _ => Err(Failure::new("soak: say what: `ipvs` or `health`")),
    }
}

fn ipvs(operations: u64, seed: u64) -> Result<ExitCode> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "-p", "trunnion-tests"]);
    process::run(cargo.args(["--bin", "soak"]))?;
    let program = process::target_dir().join("release/soak");
    let vm = vm::Vm {
        timeout: Some(Duration::from_secs(120 + operations / OPERATIONS_PER_S_MIN)),
        ..vm::Vm::default()
    };
    let (operations, seed) = (operations.to_string(), seed.to_string());
    let status = vm::run(
        &vm,
        &[program.as_os_str(), operations.as_ref(), seed.as_ref()],
    )?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn health(seconds: u64, seed: u64) -> Result<ExitCode> {
    if !process::is_root() {
        return Err(Failure::new(
            "soak: health makes a network namespace: run it as root",
        ));
    }
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "-p", "trunnion"]);
    process::run(cargo.args(["-p", "trunnion-benches", "--bins"]))?;
    let release = process::target_dir().join("release");
    let mut command = Command::new(release.join("health-bench"));
    command.arg(release.join("trunnion")).arg("soak");
    process::run(command.args([seconds.to_string(), seed.to_string()]))?;
    Ok(ExitCode::SUCCESS)
}
