//! `cargo xtask bench vrrp`: how punctual an Active router is, and how long
//! nobody speaks when it goes; ours, keepalived, and a bare control program.
//! What runs in the namespaces is `vrrp-bench` (benches/src/bin) with
//! benches/peers/metronome.c. On the host's own kernel: needs root, not ip_vs.

use super::Effort;
use super::report::{Goal, Report};
use super::samples::Samples;
use crate::failure::{Failure, Result};
use crate::process;
use crate::setup::{self, Group};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One line for the list of benchmarks.
pub const ABOUT: &str = "VRRP adverts and fail-over: ours, keepalived, and a bare timer";

const KEEPALIVED: [&str; 2] = ["keepalived", "keepalived-rt"];

/// Measures, prints the table and writes the JSON.
///
/// # Errors
/// Not root, or something could not be built or run.
pub fn main(effort: Effort) -> Result {
    let quick = effort.is_quick();
    if !process::is_root() {
        return Err(Failure::new(
            "bench: vrrp makes network namespaces: run it as root",
        ));
    }
    setup::ensure(Group::Bench)?;
    let metronome = metronome()?;
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "trunnion"]);
    process::run(cargo.args(["-p", "trunnion-benches", "--bins"]))?;
    let mut report = Report::new(if quick { "vrrp-quick" } else { "vrrp" });
    report.about(
        "method",
        "in turns, in fresh namespaces on a bridge; times by the kernel, on the bridge; \
         the control is an absolute timer and a sendto, with the same priority",
    );
    report.about(
        "keepalived",
        "Debian's, --vrrp: its checkers end without an IPVS. -rt has vrrp_rt_priority 50, \
         vrrp_no_swap and an rlimit_rttime of 10 s",
    );
    let much = effort.word(3);
    let part = |name| measure(&metronome, name, &much);
    adverts(&part("adverts")?, &mut report);
    failover(&part("failover")?, &mut report);
    reload(&part("reload")?, &mut report);
    many(&part("many")?, &mut report);
    addresses(&part("addresses")?, &mut report);
    report.finish()
}

fn measure(metronome: &Path, part: &str, much: &str) -> Result<Samples> {
    eprintln!("measuring {part} …");
    let release = process::target_dir().join("release");
    let mut command = Command::new(release.join("vrrp-bench"));
    command.arg(release.join("trunnion")).arg(metronome);
    Samples::parse(&process::stdout(command.args([part, much]))?)
}

fn adverts(samples: &Samples, report: &mut Report) {
    let metrics = [
        ("mean-error-percent", "mean interval error, %"),
        ("p50", "|delta - interval| p50, us"),
        ("p99", "|delta - interval| p99, us"),
        ("p99.9", "|delta - interval| p99.9, us"),
        ("max", "|delta - interval| max, us"),
        ("takeovers", "false takeovers"),
    ];
    for case in samples.shapes() {
        for (metric, words) in metrics {
            let Some(ours) = samples.median(&case, "ours", metric) else {
                continue;
            };
            let words = format!("{case} {words}");
            let idle = case.replace("/checks", "/idle");
            let control = samples.median(&idle, "control", metric);
            let goal = match metric {
                "mean-error-percent" => Goal::AtMost(0.02),
                // The machine may be worse than that.
                "p50" if ours <= 15.0 => Goal::AtMost(15.0),
                "p50" => Goal::Within(1.0),
                "p99" | "p99.9" => Goal::Within(1.5),
                "takeovers" => Goal::AtMost(0.0),
                _ => Goal::None,
            };
            match control {
                Some(control) => report.row(&words, ours, "control", control, goal),
                None => report.alone(&words, ours, goal),
            }
            for peer in KEEPALIVED {
                let goal = match (peer, metric) {
                    ("keepalived-rt", "p50" | "p99" | "p99.9") => Goal::Within(1.0),
                    _ => Goal::None,
                };
                if let Some(value) = samples.median(&case, peer, metric) {
                    report.row(&words, ours, peer, value, goal);
                }
            }
        }
    }
}

fn failover(samples: &Samples, report: &mut Report) {
    let metrics = [
        ("wire-from-last-advert", "last advert to survivor's, ms"),
        ("wire-from-event", "event to survivor's advert, ms"),
        ("client-from-event", "event to survivor's answer, ms"),
    ];
    for case in samples.shapes() {
        let bound = samples.median(&case, "protocol", "bound");
        for (metric, words) in metrics {
            for (which, of) in [
                (
                    "median",
                    Samples::median as fn(&Samples, &str, &str, &str) -> _,
                ),
                ("max", Samples::max),
            ] {
                let Some(ours) = of(samples, &case, "ours", metric) else {
                    continue;
                };
                let words = format!("{case} {words}, {which}");
                if metric == "wire-from-last-advert"
                    && let Some(bound) = bound
                {
                    // The protocol's bound is a timer; who hears it go off
                    // needs a moment.
                    report.row(&words, ours / 1e3, "bound", bound / 1e3, Goal::Within(1.05));
                }
                if let Some(value) = of(samples, &case, "keepalived-rt", metric) {
                    report.row(&words, ours / 1e3, "keepalived-rt", value / 1e3, Goal::None);
                }
            }
        }
    }
}

fn reload(samples: &Samples, report: &mut Report) {
    for case in samples.shapes() {
        let backends = case.trim_start_matches("reload-");
        for (metric, words, scale, control, goal) in [
            // A tenth of an interval more than the machine alone.
            (
                "longest-gap",
                "longest gap at 10 ms, ms",
                1e3,
                Goal::Within(1.1),
                Goal::None,
            ),
            (
                "takeovers",
                "false takeovers",
                1.0,
                Goal::None,
                Goal::AtMost(0.0),
            ),
        ] {
            let words = format!("reload with {backends} backends: {words}");
            let Some(ours) = samples.max(&case, "ours", metric) else {
                continue;
            };
            if let Some(value) = samples.max(&case, "control", metric)
                && control != Goal::None
            {
                report.row(&words, ours / scale, "control", value / scale, control);
            }
            for peer in KEEPALIVED {
                if let Some(value) = samples.max(&case, peer, metric) {
                    report.row(&words, ours / scale, peer, value / scale, goal);
                }
            }
        }
    }
}

fn many(samples: &Samples, report: &mut Report) {
    for case in samples.shapes() {
        for (metric, words) in [
            ("adverts-per-s", "adverts a second"),
            ("cpu-percent", "CPU, % of one"),
            ("cpu-us-per-advert", "CPU for each advert, us"),
            ("resident-kib", "resident memory, KiB"),
        ] {
            let Some(ours) = samples.median(&case, "ours", metric) else {
                continue;
            };
            for peer in KEEPALIVED {
                if let Some(value) = samples.median(&case, peer, metric) {
                    report.row(&format!("{case}: {words}"), ours, peer, value, Goal::None);
                }
            }
        }
    }
}

fn addresses(samples: &Samples, report: &mut Report) {
    for case in samples.shapes() {
        for (metric, words, goal) in [
            (
                "take-over",
                "first advert to the last address announced, ms",
                Goal::Times(5.0),
            ),
            (
                "longest-gap",
                "longest gap at 100 ms, ms",
                Goal::Within(1.0),
            ),
        ] {
            let words = format!("{case}: {words}");
            let Some(ours) = samples.median(&case, "ours", metric) else {
                continue;
            };
            for peer in KEEPALIVED {
                if let Some(value) = samples.median(&case, peer, metric) {
                    report.row(&words, ours / 1e3, peer, value / 1e3, goal);
                }
            }
        }
    }
}

/// Builds the control.
fn metronome() -> Result<PathBuf> {
    let dir = process::target_dir().join("bench");
    fs::create_dir_all(&dir).map_err(Failure::io("cannot make", &dir))?;
    let program = dir.join("metronome");
    let mut cc = Command::new("cc");
    cc.current_dir(process::root());
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program);
    process::run(cc.arg("benches/peers/metronome.c"))?;
    Ok(program)
}
