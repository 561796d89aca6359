//! What a subject spends, how punctual it is, and when it sees a death.

use crate::subject::{Load, Running, Subject};
use crate::targets::{MORTAL, Targets};
use crate::{PATIENCE, Result, Setting, failed, sample};
use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};
use trunnion_benches::capture::Capture;
use trunnion_benches::processes::{cpu_ms, resident_kib};
use trunnion_tests::lab::process::output;
use trunnion_tests::lab::wait_for;

/// Seconds of strace, which makes everything slow.
const TRACED_S: &str = "2";

/// Runs `subject` alone and prints what it took for each check.
pub fn measure(setting: &Setting, subject: Subject, case: &str, load: Load) -> Result {
    let targets = Targets::new(load)?;
    let running = started(setting, &targets, subject, load)?;
    let family = running.family();
    let (cpu, begun, at) = (cpu_ms(&family)?, targets.begun(subject)?, Instant::now());
    std::thread::sleep(setting.window);
    let (cpu, begun) = (cpu_ms(&family)? - cpu, targets.begun(subject)? - begun);
    let took_s = at.elapsed().as_secs_f64();
    if case == "steady" || case == "http" {
        // By itself: whoever sends pays for the copies.
        let capture = Capture::start(&targets.netns, "lo", SYN, &targets.directory)?;
        std::thread::sleep(setting.window);
        report_lag(subject, case, load, capture)?;
    }
    sample(case, subject, "checks-per-s", begun / took_s);
    sample(case, subject, "cpu-us-per-check", cpu * 1e3 / begun);
    sample(case, subject, "cpu-percent", cpu / took_s / 10.0);
    sample(case, subject, "resident-kib", resident_kib(&family)?);
    if load.interval_ms <= 1000 {
        report_syscalls(subject, case, &targets, &family)?;
    }
    Ok(())
}

/// Prints how much memory ours has.
pub fn memory(setting: &Setting, load: Load) -> Result {
    let targets = Targets::new(load)?;
    let running = started(setting, &targets, Subject::Ours, load)?;
    let resident = resident_kib(&running.family())?;
    let case = load.backends.to_string();
    sample(&case, Subject::Ours, "resident-kib", resident);
    Ok(())
}

/// Runs `subject`, lets some die, and prints how long it took to see them all.
pub fn detect(setting: &Setting, subject: Subject, case: &str, load: Load) -> Result {
    let mut targets = Targets::new(load)?;
    let running = started(setting, &targets, subject, load)?;
    let dead = || {
        let text = std::fs::read_to_string(&running.log).unwrap_or_default();
        u32::try_from(text.matches(subject.down()).count()).unwrap_or(u32::MAX)
    };
    let before = dead();
    targets.kill();
    let at = Instant::now();
    wait_for(PATIENCE, || (dead() >= before + MORTAL).then_some(())).ok_or_else(|| {
        failed(format!(
            "{}: {} of {MORTAL} deaths seen:\n{}",
            subject.name(),
            dead() - before,
            running.words()
        ))
    })?;
    sample(
        case,
        subject,
        "all-deaths-seen-ms",
        at.elapsed().as_secs_f64() * 1e3,
    );
    Ok(())
}

/// Starts it, and waits until it checks at its steady rate.
fn started(setting: &Setting, targets: &Targets, subject: Subject, load: Load) -> Result<Running> {
    let running = Running::start(setting, targets, subject, load)?;
    let wanted = f64::from(load.backends);
    wait_for(PATIENCE, || {
        targets.begun(subject).ok().filter(|begun| *begun >= wanted)
    })
    .ok_or_else(|| {
        failed(format!(
            "{} does not check:\n{}",
            subject.name(),
            running.words()
        ))
    })?;
    std::thread::sleep(Duration::from_millis(load.interval_ms.max(1000).into()));
    Ok(running)
}

/// Connections begun, and none answered.
const SYN: &str = "tcp[tcpflags] == tcp-syn";

/// How far the checks of each target are from one interval apart.
fn report_lag(subject: Subject, case: &str, load: Load, capture: Capture) -> Result {
    let mut last: HashMap<[u8; 6], Duration> = HashMap::new();
    let mut off_ms = Vec::new();
    capture.finish(|at, frame| {
        // Ethernet, then IPv4 without options, then the ports.
        let Some(ip) = frame.get(14..) else { return };
        let (Some(to), Some(port)) = (ip.get(16..20), ip.get(22..24)) else {
            return;
        };
        let mut key = [0; 6];
        key[..4].copy_from_slice(to);
        key[4..].copy_from_slice(port);
        if let Some(before) = last.insert(key, at) {
            let delta_ms = at.saturating_sub(before).as_secs_f64() * 1e3;
            off_ms.push((delta_ms - f64::from(load.interval_ms)).abs());
        }
    })?;
    off_ms.sort_by(f64::total_cmp);
    for (metric, percent) in [("lag-p50-ms", 50), ("lag-p99-ms", 99)] {
        let at = (off_ms.len() * percent / 100).min(off_ms.len().saturating_sub(1));
        let value = off_ms.get(at).copied();
        sample(case, subject, metric, value.unwrap_or(f64::NAN));
    }
    Ok(())
}

/// System calls for each check, by strace: it slows the subject down, not what
/// one check needs.
fn report_syscalls(subject: Subject, case: &str, targets: &Targets, family: &[u32]) -> Result {
    let file = targets.directory.join("strace");
    let mut strace = Command::new("timeout");
    strace.args(["--preserve-status", "-s", "INT", TRACED_S]);
    strace.args(["strace", "-f", "-qq", "-c", "-o"]).arg(&file);
    for pid in family {
        strace.args(["-p", &pid.to_string()]);
    }
    let before = targets.begun(subject)?;
    // Ended by a signal, as meant.
    let _ = output(&mut strace);
    let begun = targets.begun(subject)? - before;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let total = text.lines().find(|line| line.ends_with(" total"));
    // % time, seconds, usecs/call, calls.
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse::<f64>().ok());
    let calls = calls.ok_or_else(|| failed(format!("strace counted nothing: {text:?}")))?;
    sample(case, subject, "syscalls-per-check", calls / begun);
    Ok(())
}
