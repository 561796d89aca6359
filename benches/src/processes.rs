//! What processes under measurement spend and hold, by /proc.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use trunnion_tests::lab::process::Process;
use trunnion_tests::lab::{Context as _, LabError, Netns, Result, wait_for};

/// Processes and all their children: the work of a peer may be done by one.
#[must_use]
pub fn family(pids: &[u32]) -> Vec<u32> {
    let mut found = pids.to_vec();
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace();
        found.extend(children.filter_map(|it| it.parse::<u32>().ok()));
        at += 1;
    }
    found
}

/// Sends a signal; a process that has ended hears none.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits until none of them is left; they were told to end.
pub fn until_gone(pids: &[u32]) {
    let left = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    let gone = || (!pids.iter().any(left)).then_some(());
    let _ = wait_for(Duration::from_secs(10), gone);
}

/// Loops that take what CPU they get, until they are dropped: as many shells
/// that run `script`.
///
/// # Errors
/// One cannot be started.
pub fn hogs(netns: &Netns, log: &Path, script: &str, count: usize) -> Result<Vec<Process>> {
    let start = |_| Process::start(netns, Command::new("sh").args(["-c", script]), log);
    (0..count).map(start).collect()
}

/// What a hog does that only counts.
pub const SPIN: &str = "while :; do :; done";
/// What a hog does that only forks.
pub const FORK: &str = "while :; do /bin/true; done";

/// CPU time spent so far, milliseconds, by schedstat: clock ticks are too coarse.
///
/// # Errors
/// One of them has ended.
pub fn cpu_ms(pids: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let tasks = format!("/proc/{pid}/task");
        let tasks = std::fs::read_dir(&tasks).context(|| format!("list {tasks}"))?;
        for task in tasks.flatten() {
            let path = task.path().join("schedstat");
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|it| it.parse::<f64>().ok());
            let nanos = nanos.ok_or_else(|| LabError::new(format!("read {}", path.display())))?;
            sum += nanos / 1e6;
        }
    }
    Ok(sum)
}

/// Resident memory, KiB.
///
/// # Errors
/// One of them has ended.
pub fn resident_kib(pids: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    for pid in pids {
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<f64>().ok());
        sum += kib.ok_or_else(|| LabError::new(format!("{path} has no VmRSS")))?;
    }
    Ok(sum)
}
