//! `cargo xtask demo`: two Trunnion nodes under real traffic on a real kernel,
//! with everything that can happen to them. The scenario itself is
//! `trunnion-lab demo`; this command builds it and finds it a kernel.

use crate::failure::{Failure, Result};
use crate::process;
use crate::setup::{self, Group};
use crate::vm::{self, Kernel, Vm};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

pub const HELP: &str = "\
usage: cargo xtask demo [--json] [--keep] [--host | --vm] [--with keepalived]

Two balancer nodes, four backends and a client on one switch, IPv4 and IPv6:
a backend dies, a node dies, a reload, a crash; real HTTP all the while. Prints
a timeline with each figure beside its bound, and fails when one is missed.

  --json             one JSON document on stdout instead
  --keep             then a shell in the lab
  --host             on this machine's kernel: as root, where it has ip_vs
  --vm               in user-mode Linux; without either, the host if it can
  --with keepalived  the same with keepalived on both nodes, to compare
";

/// The boot, and a scenario of well under a minute on a slow day.
const TIMEOUT: Duration = Duration::from_secs(240);

/// `cargo xtask demo`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut words, mut keep, mut keepalived) = (Vec::new(), false, false);
    let mut kernel = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("json") => words.push("--json"),
            Long("keep") => {
                words.push("--keep");
                keep = true;
            }
            Long("host") => kernel = Some(Kernel::Host),
            Long("vm") => kernel = Some(Kernel::Uml),
            Long("with") => match parser.value()?.string()?.as_str() {
                "keepalived" => {
                    words.extend(["--with", "keepalived"]);
                    keepalived = true;
                }
                other => return Err(Failure::new(format!("demo: --with {other}: keepalived?"))),
            },
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    // keepalived is among the tools of the tests.
    setup::ensure(if keepalived { Group::Test } else { Group::Demo })?;
    if keep && !std::io::stdin().is_terminal() {
        return Err(Failure::new("demo: --keep needs a terminal"));
    }
    play(kernel.unwrap_or_else(default_kernel), keep, &words)
}

/// The host's own kernel where it can serve, for it is faster.
fn default_kernel() -> Kernel {
    if vm::ip_vs_on_host() {
        Kernel::Host
    } else {
        Kernel::Uml
    }
}

/// Builds the programs, plays the scenario, and exits as it exits.
pub fn play(kernel: Kernel, keep: bool, words: &[&str]) -> Result<ExitCode> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "trunnion"]);
    cargo.args(["-p", "trunnion-tests", "--bins"]);
    eprintln!("building trunnion and its lab …");
    process::run(&mut cargo)?;
    let lab = process::target_dir().join("release/trunnion-lab");
    let mut command = vec![lab.as_os_str(), "demo".as_ref()];
    command.extend(words.iter().map(|word| std::ffi::OsStr::new(*word)));
    let vm = Vm {
        kernel,
        timeout: (!keep).then_some(TIMEOUT),
        interactive: keep,
        ..Vm::default()
    };
    let status = vm::run(&vm, &command)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
