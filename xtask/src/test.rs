//! `cargo xtask test`: everything that must hold, in order. All failures are
//! collected; nothing is skipped in silence.

mod binaries;

use crate::failure::{Failure, Result};
use crate::setup::Group;
use crate::vm::Kernel;
use crate::{bench, demo, fuzz, no_alloc, process, setup, tidy, vm};
use binaries::Place;
use std::process::ExitCode;
use std::time::{Duration, Instant};

pub const HELP: &str = "\
usage: cargo xtask test [--only STEP]... [--list]

Runs every step, or only those named, and ends with what ran and for how long.
A step that fails does not keep the later ones from running. Tests of the
network run in namespaces on this machine as root, otherwise in the VM; tests of
the kernel's IPVS run in the VM always.

  --only STEP   this step only; may be said more than once
  --list        the steps, and what each does
";

/// Seconds for each fuzz target.
const FUZZ_SECONDS: u32 = 10;

/// What a step that did not fail has to say.
enum Outcome {
    Passed,
    /// Nothing was tested, and why. Counted and printed, never hidden.
    NotRun(&'static str),
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Outcome>,
}

/// A step that passes or fails.
macro_rules! step {
    ($name:literal, $about:literal, $run:expr) => {
        Step {
            name: $name,
            about: $about,
            run: || {
                let run: fn() -> Result = $run;
                run().map(|()| Outcome::Passed)
            },
        }
    };
}

const STEPS: &[Step] = &[
    step!("setup", "the programs that the tests call are here", || {
        setup::ensure(Group::Test)
    }),
    step!("fmt", "rustfmt has nothing to change", fmt),
    step!("clippy", "no warning in any target of any member", clippy),
    step!("doc", "rustdoc has no warning", doc),
    step!("tidy", "the rules of the house hold", tidy::run),
    step!(
        "no-alloc",
        "core links and runs without an allocator",
        || { no_alloc::prove() }
    ),
    step!("unit", "unit, property, golden and simulator tests", unit),
    step!("doctest", "the examples in the documentation run", doctest),
    step!("bench", "each benchmark runs once", criterion),
    step!(
        "vm",
        "the VM starts, has ip_vs, and tells how a command ended",
        the_vm
    ),
    step!(
        "bench-vm",
        "each benchmark of IPVS runs once, small",
        bench::smoke
    ),
    step!(
        "live-net",
        "tests of the network: binaries live_net_*",
        || { binaries::run_live("live_net", Place::net()?) }
    ),
    step!(
        "live-ipvs",
        "tests of the kernel's IPVS: binaries live_ipvs*",
        || { binaries::run_live("live_ipvs", Place::Vm) }
    ),
    step!(
        "examples",
        "the library's examples do on a kernel what they say",
        examples
    ),
    step!(
        "demo",
        "the demo, on the VM's kernel, keeps every bound",
        demo
    ),
    Step {
        name: "fuzz",
        about: "each fuzz target for a few seconds",
        run: fuzz_smoke,
    },
];

/// `cargo xtask test`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut only = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("only") => only.push(parser.value()?.string()?),
            Long("list") => {
                for Step { name, about, .. } in STEPS {
                    println!("{name:<10}{about}");
                }
                return Ok(ExitCode::SUCCESS);
            }
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    if let Some(odd) = only
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        return Err(Failure::new(format!(
            "test: no step {odd:?}; `cargo xtask test --list` lists them"
        )));
    }
    let wanted = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let (mut lines, mut passed, mut failed) = (Vec::new(), 0, 0);
    for step in STEPS.iter().filter(wanted) {
        println!("step {} …", step.name);
        let begin = Instant::now();
        let result = (step.run)();
        let took = begin.elapsed().as_secs_f32();
        let line = match result {
            Ok(Outcome::Passed) => {
                passed += 1;
                format!("step {} … ok {took:.1}s", step.name)
            }
            Ok(Outcome::NotRun(why)) => format!("step {} … not run: {why}", step.name),
            Err(failure) => {
                failed += 1;
                eprintln!("{failure}");
                format!("step {} … FAILED {took:.1}s", step.name)
            }
        };
        println!("{line}\n");
        lines.push(line);
    }
    for line in lines {
        println!("{line}");
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Manifests outside the workspace that are ours all the same.
const OUTSIDE: [&str; 2] = ["tests/no-alloc/Cargo.toml", "fuzz/Cargo.toml"];

fn fmt() -> Result {
    let mut failures = Vec::new();
    let mut check = |words: &[&str]| {
        let mut cargo = process::cargo();
        cargo.args(["fmt", "--all", "--check"]).args(words);
        failures.extend(process::run(&mut cargo).err());
    };
    check(&[]);
    for manifest in OUTSIDE {
        check(&["--manifest-path", manifest]);
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

fn clippy() -> Result {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--"]);
    process::run(cargo.args(["-D", "warnings"]))?;
    // A main without std has no test harness, so no --all-targets.
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--manifest-path", OUTSIDE[0], "--target-dir"]);
    cargo.arg(process::target_dir().join("no-alloc"));
    process::run(cargo.args(["--", "-D", "warnings"]))
}

fn doc() -> Result {
    let mut cargo = process::cargo();
    cargo.args(["doc", "--workspace", "--no-deps"]);
    process::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

fn unit() -> Result {
    binaries::every_ignored_test_has_a_step()?;
    let mut cargo = process::cargo();
    let targets = [
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--no-fail-fast",
    ];
    if process::which("cargo-nextest").is_some() {
        cargo.args(["nextest", "run"]).args(targets);
        cargo.args(["--status-level", "fail", "--final-status-level", "slow"]);
    } else {
        cargo.arg("test").args(targets);
    }
    process::run(&mut cargo)
}

fn doctest() -> Result {
    process::run(process::cargo().args(["test", "--workspace", "--doc"]))
}

/// Without `--bench` criterion runs each benchmark once and measures nothing.
fn criterion() -> Result {
    process::run(process::cargo().args(["test", "-p", "trunnion-benches", "--benches"]))
}

/// The other steps rely on it, so it is looked at first and by itself.
fn the_vm() -> Result {
    let vm = vm::Vm {
        env: vec![("WORD".to_owned(), "it's one".to_owned())],
        ..vm::Vm::default()
    };
    let script = "ipvsadm -A -f 7 -s mh && ipvsadm -Ln && ip netns add a && pwd && \
                  echo \"$WORD\" && echo to-stderr >&2; exit 7";
    let output = vm::output(&vm, &["sh", "-c", script])?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let cwd = std::env::current_dir().unwrap_or_default();
    let expected = [
        "FWM  7 mh",
        "\nit's one\n",
        &format!("\n{}\n", cwd.display()),
    ];
    let good = output.status.code() == Some(7)
        && stderr == "to-stderr\n"
        && expected.iter().all(|words| stdout.contains(words));
    if !good {
        return Err(Failure::new(format!(
            "vm: expected exit status 7 and {expected:?}, found {} and\n{stdout}{stderr}",
            output.status
        )));
    }
    let short = vm::Vm {
        timeout: Some(Duration::from_secs(10)),
        ..vm::Vm::default()
    };
    match vm::output(&short, &["sleep", "1000"]) {
        Err(failure) if failure.to_string().contains("not done after 10 s") => Ok(()),
        Err(failure) => Err(failure),
        Ok(output) => Err(Failure::new(format!(
            "vm: a command that does not end was ended with {}",
            output.status
        ))),
    }
}

/// Both, beside a table that ipvsadm made.
fn examples() -> Result {
    process::run(process::cargo().args(["build", "--quiet", "-p", "trunnion-sys", "--examples"]))?;
    let path = |name| process::target_dir().join("debug/examples").join(name);
    let script = format!(
        "ip link set lo up && ipvsadm -A -t 192.0.2.9:80 -s wlc && \
         ipvsadm -a -t 192.0.2.9:80 -r 198.51.100.9:80 -m -w 3 && \
         ipvsadm --start-daemon backup --mcast-interface lo --syncid 9 && {} && {}",
        path("list").display(),
        path("program").display()
    );
    let output = vm::output(&vm::Vm::default(), &["sh", "-c", &script])?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let expected = [
        "TCP 192.0.2.9:80 wlc",
        "-> 198.51.100.9:80 Masq weight 3: 0 active, 0 inactive",
        "backup daemon on lo, id 9",
        "one datagram: [Done, Done, Done, Done]",
        "198.51.100.1:80 weight 0",
        "again: the service is there already (EEXIST to NEW_SERVICE)",
    ];
    match expected.iter().find(|words| !stdout.contains(**words)) {
        None if output.status.success() => Ok(()),
        missing => Err(Failure::new(format!(
            "examples: {}, missing {missing:?} in\n{stdout}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}

fn demo() -> Result {
    if demo::play(Kernel::Uml, false, &[])? == ExitCode::SUCCESS {
        Ok(())
    } else {
        Err(Failure::new("the demo missed a bound; see its timeline"))
    }
}

fn fuzz_smoke() -> Result<Outcome> {
    if !fuzz::nightly() {
        return Ok(Outcome::NotRun(fuzz::NO_NIGHTLY));
    }
    let mut failures = Vec::new();
    for target in fuzz::targets()? {
        failures.extend(fuzz::smoke(&target, FUZZ_SECONDS).err());
    }
    match failures.into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(Outcome::Passed),
    }
}
