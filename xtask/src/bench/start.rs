//! `cargo xtask bench start`: the daemon from nothing to a whole table, to a
//! changed row and to an empty table again, beside ipvsadm and keepalived with
//! the same rows. What runs in the kernel is `start-bench` (benches/src/bin).

use super::Effort;
use super::report::{Goal, Report};
use super::samples;
use crate::failure::Result;
use crate::process;
use crate::setup::{self, Group};
use crate::vm::Vm;
use std::time::Duration;

/// One line for the list of benchmarks.
pub const ABOUT: &str = "the daemon's start, reload and end: ours, ipvsadm, keepalived";

/// Metric, phase, and the most milliseconds for 10,000 services.
const PHASES: [(&str, &str, f64); 3] = [
    ("start to a whole table", "programmed", 1000.0),
    ("a reload that changes one row", "reloaded", 50.0),
    ("SIGTERM to an empty table", "cleared", 1000.0),
];

/// Measures, prints the table and writes the JSON.
///
/// # Errors
/// Something could not be built or run, or one of them did not get there.
pub fn main(effort: Effort) -> Result {
    let quick = effort.is_quick();
    setup::ensure(Group::Test)?;
    let rounds = effort.rounds(3);
    let shapes: &[&str] = if quick {
        &["20x5"]
    } else {
        &["1000x10", "10000x10"]
    };
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "trunnion"]);
    cargo.args(["-p", "trunnion-benches", "--bin", "trunnion"]);
    process::run(cargo.args(["--bin", "start-bench"]))?;
    let release = process::target_dir().join("release");

    let mut report = Report::new(if quick { "start-quick" } else { "start" });
    report.about("rounds", &rounds.to_string());
    report.about(
        "method",
        "in turns, each in a fresh network namespace; medians",
    );
    let vm = Vm {
        mem_mib: 2048,
        timeout: Some(Duration::from_secs(if quick { 120 } else { 1200 })),
        ..Vm::default()
    };
    let mut command = vec![release.join("start-bench").into(), "run".into()];
    command.push(release.join("trunnion").into());
    command.push(rounds.to_string().into());
    command.extend(shapes.iter().map(Into::into));
    let (kernel, samples) = samples::measure(&vm, &command)?;
    report.about(
        "uml",
        &format!("Linux {kernel}, user-mode Linux: system calls and page faults are slow in it"),
    );
    for shape in shapes {
        for (words, phase, most) in PHASES {
            let metric = format!("{shape} {words}, ms");
            let Some(ours) = samples.median(shape, "ours", phase) else {
                continue;
            };
            let goal = if *shape == "10000x10" {
                Goal::AtMost(most)
            } else {
                Goal::None
            };
            report.alone(&metric, ours, goal);
            for peer in ["ipvsadm", "keepalived"] {
                if let Some(value) = samples.median(shape, peer, phase) {
                    report.row(&metric, ours, peer, value, Goal::None);
                }
            }
        }
        if let Some(ours) = samples.median(shape, "ours", "rss") {
            report.alone(
                &format!("{shape} peak resident memory, KiB"),
                ours,
                Goal::None,
            );
        }
    }
    report.finish()
}
