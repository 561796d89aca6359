//! `cargo xtask bench ipvs`: how long it takes to tell a kernel's IPVS a table,
//! ours beside others that tell it the same. What runs in the kernel is
//! `ipvs-bench` (benches/src/bin) and its peers in C (benches/peers).

use super::Effort;
use super::report::{Goal, Report};
use super::samples::{self, Samples};
use crate::failure::{Failure, Result};
use crate::process;
use crate::setup::{self, Group};
use crate::vm::{Kernel, Vm};
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// One line for the list of benchmarks.
pub const ABOUT: &str = "programming the kernel's IPVS: ours, ipvsadm, libnl, and the floor";

/// How much is measured.
struct Plan {
    needs: Group,
    kernels: &'static [Measured],
    rounds: u32,
    /// Services by destinations of each.
    shapes: &'static [&'static str],
    /// Those of which the system calls are counted.
    traced: &'static [&'static str],
    timeout: Duration,
}

impl Plan {
    /// A goal, where as much is measured as it takes to tell.
    fn held_to(&self, goal: Goal) -> Goal {
        if self.rounds > 1 { goal } else { Goal::None }
    }
}

const FULL: Plan = Plan {
    needs: Group::Bench,
    kernels: &[UML, QEMU],
    rounds: 6,
    shapes: &["100x20", "100x100", ONE],
    traced: &["100x20", "100x100"],
    timeout: Duration::from_secs(3000),
};

/// Enough to see that it works; its numbers say nothing.
const QUICK: Plan = Plan {
    needs: Group::Test,
    kernels: &[UML],
    rounds: 1,
    shapes: &["5x4"],
    traced: &["5x4"],
    timeout: Duration::from_secs(120),
};

/// What each phase is called in a table.
const PHASES: [(&str, &str); 5] = [
    ("new", "NEW_DEST"),
    ("set", "SET_DEST"),
    ("del", "DEL_DEST"),
    ("new-trash", "NEW_DEST after as many deletes"),
    ("dump", "dump"),
];

/// Measures, prints the table and writes the JSON.
///
/// # Errors
/// Something could not be built or run, or a strategy was refused by the kernel.
pub fn main(effort: Effort) -> Result {
    let quick = effort.is_quick();
    let mut plan = if quick { QUICK } else { FULL };
    plan.rounds = effort.rounds(plan.rounds);
    setup::ensure(plan.needs)?;
    let peer = peer()?;
    let driver = driver()?;
    let mut report = Report::new(if quick { "ipvs-quick" } else { "ipvs" });
    report.about("rounds", &plan.rounds.to_string());
    report.about(
        "method",
        "every strategy in turn in each round, each in a fresh network namespace; minima; \
         of 10,000 rows ipvsadm and those with a socket for each request in two rounds only",
    );
    let mut programs = vec![driver, peer];
    programs.extend(peer_in_go(&mut report)?);
    // What one kernel took is worth having when the other was never done.
    let mut failed = None;
    for kernel in plan.kernels {
        if let Err(failure) = measure(*kernel, &plan, &programs, &mut report) {
            report.about(kernel.name, &format!("not measured: {failure}"));
            failed = Some(failure);
        }
    }
    report.finish()?;
    failed.map_or(Ok(()), Err)
}

/// A kernel: what it is called in a table, and what its numbers are worth.
#[derive(Clone, Copy)]
struct Measured {
    name: &'static str,
    kernel: Kernel,
    words: &'static str,
}

const UML: Measured = Measured {
    name: "uml",
    kernel: Kernel::Uml,
    words: "user-mode Linux: a system call takes some 10 us, which flatters batches",
};
const QEMU: Measured = Measured {
    name: "qemu",
    kernel: Kernel::Qemu,
    words: "an emulated machine: everything is slow alike, kernel and programs",
};

fn measure(it: Measured, plan: &Plan, programs: &[PathBuf], report: &mut Report) -> Result {
    let Measured {
        name,
        kernel,
        words,
    } = it;
    let [driver, peer, ..] = programs else {
        return Ok(());
    };
    let vm = Vm {
        kernel,
        timeout: Some(plan.timeout),
        carry: programs.to_vec(),
        ..Vm::default()
    };
    let mut command: Vec<OsString> = vec![driver.into(), "run".into(), peer.into()];
    command.push(plan.rounds.to_string().into());
    command.extend(plan.shapes.iter().map(OsString::from));
    eprintln!("measuring on {name} …");
    let (release, samples) = samples::measure(&vm, &command)?;
    report.about(name, &format!("Linux {release}, {words}"));
    rows(name, plan, &samples, report);
    if kernel == Kernel::Uml {
        // Calls are the same everywhere, and strace is at hand here.
        let mut command: Vec<OsString> = vec![driver.into(), "calls".into(), peer.into()];
        command.extend(plan.traced.iter().map(OsString::from));
        let (_, samples) = samples::measure(&vm, &command)?;
        calls(plan, &samples, report);
    }
    Ok(())
}

/// What strace has counted.
fn calls(plan: &Plan, samples: &Samples, report: &mut Report) {
    for shape in plan.traced {
        let metric = format!("{shape} system calls for a SET_DEST");
        let ours = samples.min(shape, "ours", "calls-set");
        for peer in PEERS {
            if let (Some(ours), Some(value)) = (ours, samples.min(shape, peer, "calls-set")) {
                report.row(&metric, ours, peer, value, Goal::None);
            }
        }
        if let Some(writes) = samples.min(shape, "ours", "sync-writes") {
            let metric = format!("{shape} full sync without a change, write requests");
            report.alone(&metric, writes, Goal::AtMost(0.0));
        }
    }
}

const PEERS: [&str; 8] = [
    "floor",
    "one-send",
    "raw",
    "libnl",
    "libnl-socket",
    "libnl-each",
    "go",
    "ipvsadm",
];

/// The rows of one kernel.
fn rows(kernel: &str, plan: &Plan, samples: &Samples, report: &mut Report) {
    for shape in plan.shapes {
        for (phase, words) in PHASES {
            let metric = format!("{kernel} {shape} {words}, us");
            let Some(ours) = samples.min(shape, "ours", phase) else {
                continue;
            };
            for peer in PEERS {
                if let Some(value) = samples.min(shape, peer, phase) {
                    report.row(
                        &metric,
                        ours,
                        peer,
                        value,
                        plan.held_to(goal((kernel, shape), peer, phase)),
                    );
                }
            }
        }
        if let Some(ours) = samples.min(shape, "ours", "sync") {
            let metric = format!("{kernel} {shape} full sync without a change, us a row");
            report.alone(&metric, ours, Goal::None);
        }
        if let Some(ours) = samples.median(shape, "ours", "alone") {
            let metric = format!("{kernel} {shape} one SET_DEST by itself, us");
            report.alone(&metric, ours, plan.held_to(Goal::AtMost(1000.0)));
        }
        // An emulated machine's files are in its memory already, and not counted.
        if let Some(ours) = samples
            .median(shape, "ours", "rss")
            .filter(|_| kernel == "uml")
        {
            // Half of what Seesaw's bindings take.
            for (peer, goal) in [
                ("libnl-socket", Goal::None),
                ("go", Goal::Times(2.0)),
                ("ipvsadm", Goal::None),
            ] {
                let metric = format!("{kernel} {shape} peak resident memory, KiB");
                if let Some(value) = samples.median(shape, peer, "rss") {
                    report.row(&metric, ours, peer, value, plan.held_to(goal));
                }
            }
        }
    }
}

/// All in one service.
const ONE: &str = "1x10000";

/// Of writes into one service of 10,000 only the floor tells something: for each of
/// them the kernel walks a list of all destinations, whoever asks.
fn goal((kernel, shape): (&str, &str), peer: &str, phase: &str) -> Goal {
    let writes = ["new", "set", "del"].contains(&phase) && (shape != ONE || peer == "floor");
    match (writes, kernel, peer) {
        (true, _, "floor") => Goal::Within(1.15),
        (true, "uml", "ipvsadm") => Goal::Times(60.0),
        (true, "uml", "libnl-socket" | "libnl-each") => Goal::Times(50.0),
        (true, _, "go") => Goal::Times(5.0),
        (true, "qemu", "libnl") => Goal::Times(8.0),
        _ => Goal::None,
    }
}

/// Builds the peers in C.
fn peer() -> Result<PathBuf> {
    let dir = process::target_dir().join("bench");
    fs::create_dir_all(&dir).map_err(Failure::io("cannot make", &dir))?;
    let program = dir.join("ipvs-peer");
    let mut flags = Command::new("pkg-config");
    let flags = process::stdout(flags.args(["--cflags", "--libs", "libnl-genl-3.0"]))?;
    let mut cc = Command::new("cc");
    cc.current_dir(process::root());
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program);
    process::run(
        cc.arg("benches/peers/ipvs.c")
            .args(flags.split_whitespace()),
    )?;
    Ok(program)
}

/// Builds the peer in Go, where there is one: it is large, so nobody has to
/// install it.
fn peer_in_go(report: &mut Report) -> Result<Option<PathBuf>> {
    let program = process::target_dir().join("bench/ipvs-peer-go");
    let Some(go) = process::which("go") else {
        let _ = fs::remove_file(&program);
        report.about(
            "go",
            "none here: libnl-socket stands for its callers, and takes less than they",
        );
        return Ok(None);
    };
    let version = process::stdout(Command::new(&go).arg("version"))?;
    report.about("go", version.trim());
    let mut build = Command::new(go);
    build.current_dir(process::root()).arg("build").arg("-o");
    process::run(build.arg(&program).arg("benches/peers/ipvs.go"))?;
    Ok(Some(program))
}

/// Builds ours.
fn driver() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "trunnion-benches"]);
    process::run(cargo.args(["--bin", "ipvs-bench"]))?;
    Ok(process::target_dir().join("release/ipvs-bench"))
}
