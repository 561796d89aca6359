//! `cargo xtask soak`: a long run against a real kernel. What is checked is in
//! the `tests` crate; here is only how it is run.

use crate::failure::{Failure, Result};
use crate::{process, vm};
use std::process::ExitCode;
use std::time::Duration;

pub const HELP: &str = "\
usage: cargo xtask soak ipvs [--operations N] [--seed N]

Runs the IPVS client against the VM's kernel for N operations (1,000,000), with
answers lost, another client that changes rows, and the module loaded anew. At
every check point the kernel's table must be the model's, and resident memory
and open descriptors what they were.
";

/// Slower than this, it is stuck.
const OPERATIONS_PER_S_MIN: u64 = 500;

/// `cargo xtask soak`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut what, mut operations, mut seed) = (None, 1_000_000_u64, 1_u64);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("operations") => operations = parser.value()?.parse()?,
            Long("seed") => seed = parser.value()?.parse()?,
            Value(name) if what.is_none() => what = Some(name.string()?),
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    if what.as_deref() != Some("ipvs") {
        return Err(Failure::new(
            "soak: say what: `cargo xtask soak ipvs` is all there is",
        ));
    }
    process::run(process::cargo().args([
        "build",
        "--release",
        "-p",
        "trunnion-tests",
        "--bin",
        "soak",
    ]))?;
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
