//! `cargo xtask bench health`: what a check costs, ours beside keepalived's,
//! HAProxy's, a program in Go and the floor in C. What runs in the namespaces
//! is `health-bench` (benches/src/bin) with its peers (benches/peers). On the
//! host's own kernel: needs root, not ip_vs.

use super::Effort;
use super::plot::Plot;
use super::report::{Goal, Report};
use super::samples::Samples;
use crate::failure::{Failure, Result};
use crate::process;
use crate::setup::{self, Group};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One line for the list of benchmarks.
pub const ABOUT: &str = "health checks: ours, keepalived, HAProxy, Go, and the floor in C";

/// Checkers that keep time and state, and how much more than ours their checks
/// shall cost. The last is our own with whole connections.
const PEERS: [(&str, Goal); 4] = [
    ("keepalived", Goal::Times(4.0)),
    ("haproxy", Goal::Times(3.0)),
    ("go", Goal::Times(5.0)),
    ("ours-full", Goal::None),
];

/// Measures, prints the table and writes the JSON.
///
/// # Errors
/// Not root, or something could not be built or run.
pub fn main(effort: Effort) -> Result {
    let quick = effort.is_quick();
    if !process::is_root() {
        return Err(Failure::new(
            "bench: health makes network namespaces: run it as root",
        ));
    }
    setup::ensure(Group::Bench)?;
    let peers = peers()?;
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "trunnion"]);
    process::run(cargo.args(["-p", "trunnion-benches", "--bins"]))?;
    let mut report = Report::new(if quick { "health-quick" } else { "health" });
    report.about(
        "method",
        "TCP and HTTP checks on 127.0.0.0/8, each subject alone, HTTP answered by an \
         nginx; checks by the kernel's ActiveOpens, where no connection is begun by its OutRsts; CPU by schedstat, syscalls by strace -c",
    );
    report.about(
        "keepalived",
        "Debian's, --check; its requests to IPVS are acked by a stub (benches/peers/ipvs_stub.c)",
    );
    report.about(
        "go",
        "net.Dialer, or an http.Client, and a goroutine for each check, as Seesaw's engine, \
         without its start gate",
    );
    let release = process::target_dir().join("release");
    let mut command = Command::new(release.join("health-bench"));
    command.arg(release.join("trunnion")).arg(peers);
    command.arg(effort.word(3));
    eprintln!("measuring …");
    let samples = Samples::parse(&process::stdout(&mut command)?)?;
    for case in samples.shapes() {
        for (peer, _) in PEERS {
            if samples.max(&case, peer, "unmeasured").is_some() {
                let what = format!("{peer}, {case}");
                report.about(&what, "could not be measured: it did not check in time");
            }
        }
    }
    flat_out(&samples, &mut report);
    steady("steady", "tcp every 1 s", &samples, &mut report);
    steady("http", "http every 1 s", &samples, &mut report);
    growth(&samples, &mut report)?;
    report.finish()
}

/// As fast as one loop goes.
fn flat_out(samples: &Samples, report: &mut Report) {
    for (metric, words, goal) in [
        // 0.8 of its rate on the same CPU.
        (
            "cpu-us-per-check",
            "CPU for each check, us",
            Goal::Within(1.25),
        ),
        (
            "syscalls-per-check",
            "system calls for each check",
            Goal::None,
        ),
        ("resident-kib", "resident memory, KiB", Goal::None),
    ] {
        let of = |subject| samples.median("flat-out", subject, metric);
        for (ours, how, floor, goal) in [
            ("ours", "half-open", "floor", goal),
            ("ours", "half-open", "floor-syn", Goal::None),
            ("ours-full", "connecting", "floor", goal),
        ] {
            if let (Some(ours), Some(value)) = (of(ours), of(floor)) {
                let words = format!("flat out, {how}: {words}");
                report.row(&words, ours, floor, value, goal);
            }
        }
    }
    for subject in ["ours", "floor-syn", "ours-full", "floor"] {
        if let Some(rate) = samples.median("flat-out", subject, "checks-per-s") {
            let words = format!("flat out: checks a second, {subject}");
            report.alone(&words, rate, Goal::None);
        }
    }
}

/// A usual load.
fn steady(case: &str, load: &str, samples: &Samples, report: &mut Report) {
    for (metric, words) in [
        ("checks-per-s", "checks a second"),
        ("cpu-us-per-check", "CPU for each check, us"),
        ("syscalls-per-check", "system calls for each check"),
        ("lag-p50-ms", "|delta - interval| p50, ms"),
        ("lag-p99-ms", "|delta - interval| p99, ms"),
        ("all-deaths-seen-ms", "100 deaths seen, ms"),
    ] {
        let Some(ours) = samples.median(case, "ours", metric) else {
            continue;
        };
        let words = format!("{load}: {words}");
        if metric == "lag-p99-ms" {
            report.alone(&words, ours, Goal::AtMost(10.0));
        }
        if (case, metric) == ("http", "cpu-us-per-check") {
            report.alone(&words, ours, Goal::AtMost(30.0));
        }
        for (peer, goal) in PEERS {
            let goal = match (case, metric) {
                ("steady", "cpu-us-per-check") => goal,
                _ => Goal::None,
            };
            if let Some(value) = samples.median(case, peer, metric) {
                report.row(&words, ours, peer, value, goal);
            }
        }
    }
}

/// What grows with the number of backends.
fn growth(samples: &Samples, report: &mut Report) -> Result {
    let mut sizes: Vec<u32> = samples
        .shapes()
        .iter()
        .filter_map(|it| it.parse().ok())
        .collect();
    sizes.sort_unstable();
    for (metric, name, words) in [
        ("resident-kib", "memory", "resident memory, KiB"),
        ("cpu-percent", "cpu", "CPU, % of one"),
    ] {
        for size in &sizes {
            let of = |subject| samples.median(&size.to_string(), subject, metric);
            let Some(ours) = of("ours") else {
                continue;
            };
            let words = format!("{size} every 5 s: {words}");
            let goal = match (size, metric) {
                (10_000, "resident-kib") => Goal::AtMost(10_240.0),
                (100_000, "resident-kib") => Goal::AtMost(40_960.0),
                (100_000, "cpu-percent") => Goal::AtMost(35.0),
                _ => Goal::None,
            };
            report.alone(&words, ours, goal);
            for (peer, _) in PEERS {
                if let Some(value) = of(peer) {
                    report.row(&words, ours, peer, value, Goal::None);
                }
            }
        }
        let series = |subject: &str| -> Vec<(f64, f64)> {
            let at = |size: &u32| samples.median(&size.to_string(), subject, metric);
            let point = |size: &u32| Some((f64::from(*size), at(size)?));
            sizes.iter().filter_map(point).collect()
        };
        let ours = series("ours");
        // In a straight line each backend more takes what those before it took.
        if let [(x0, y0), (x1, y1), (x2, y2)] = ours[..] {
            let words = format!("each backend from {x1} to {x2} (its: to {x1}): {words}");
            let (before, after) = ((y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1));
            report.row(&words, after, "ours", before, Goal::Within(1.15));
        }
        let peers = PEERS.map(|(peer, _)| (peer.to_owned(), series(peer)));
        let all = std::iter::once(("ours".to_owned(), ours)).chain(peers);
        let plot = Plot {
            title: &format!("checks every 5 s: {words}"),
            x: "backends",
            y: words,
            series: all.collect(),
        };
        report.plot(name, &plot)?;
    }
    Ok(())
}

/// Builds the peers.
fn peers() -> Result<PathBuf> {
    let dir = process::target_dir().join("bench");
    fs::create_dir_all(&dir).map_err(Failure::io("cannot make", &dir))?;
    let cc = |words: &[&str], from: &str, to: &Path| {
        let mut cc = Command::new("cc");
        cc.current_dir(process::root());
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror"]).args(words);
        process::run(cc.arg("-o").arg(to).arg(from))
    };
    cc(&[], "benches/peers/health.c", &dir.join("health-floor"))?;
    cc(
        &["-shared", "-fPIC"],
        "benches/peers/ipvs_stub.c",
        &dir.join("ipvs-stub.so"),
    )?;
    let mut go = Command::new("go");
    go.current_dir(process::root());
    go.args(["build", "-o"]).arg(dir.join("health-go"));
    process::run(go.arg("benches/peers/health.go"))?;
    Ok(dir)
}
