//! The machine: realtime budget, descriptors, the run directory.

use super::capabilities::SYS_RESOURCE;
use super::finding::Finding;
use super::host::Host;
use crate::config::Config;
use crate::run::descriptors;
use std::fs;
use std::io;

/// A machine may forbid realtime threads to run at all.
pub(super) fn realtime(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "realtime";
    const PARAMETER: &str = "kernel.sched_rt_runtime_us";
    if config.vrrp.is_empty() {
        return Vec::new();
    }
    match host.number(PARAMETER) {
        Some(0) => vec![
            Finding::problem(
                ABOUT,
                format!("{PARAMETER} is 0: a realtime thread, such as ha, never runs"),
            )
            .mend(format!("sysctl -w {PARAMETER}=950000")),
        ],
        Some(_) => vec![Finding::ok(ABOUT, "realtime threads have their share")],
        None => Vec::new(),
    }
}

/// Each check in flight is a socket of each family.
pub(super) fn open_files(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "open files";
    let wanted = descriptors(&config.limits);
    let most = host
        .number("fs.nr_open")
        .and_then(|most| u64::try_from(most).ok());
    let most = most.unwrap_or(u64::MAX);
    if most < wanted {
        return vec![
            Finding::problem(
                ABOUT,
                format!("fs.nr_open is {most}, limits.checks_in_flight needs {wanted}"),
            )
            .mend(format!("sysctl -w fs.nr_open={wanted}")),
        ];
    }
    let Some(hard) = host.hard_limit("Max open files") else {
        return Vec::new();
    };
    if hard < wanted && !host.has(SYS_RESOURCE) {
        return vec![
            Finding::problem(
                ABOUT,
                format!(
                    "at most {hard}, limits.checks_in_flight = {} needs {wanted}; \
                     under systemd LimitNOFILE={wanted}",
                    config.limits.checks_in_flight
                ),
            )
            .mend(format!("ulimit -n {wanted}")),
        ];
    }
    vec![Finding::ok(ABOUT, format!("{wanted} can be had"))]
}

/// The control socket and the slate are made there.
pub(super) fn run_dir(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "run_dir";
    let path = &config.node.run_dir;
    let shown = path.display();
    // Below the root of the view, as all else.
    let inside = host.root.join(path.strip_prefix("/").unwrap_or(path));
    let existed = inside.exists();
    let probe = inside.join(format!(".doctor-{}", std::process::id()));
    let made = fs::create_dir_all(&inside).and_then(|()| fs::write(&probe, []));
    let _ = fs::remove_file(&probe);
    if !existed {
        let _ = fs::remove_dir(&inside);
    }
    let Err(error) = made else {
        return vec![Finding::ok(ABOUT, format!("{shown} can be written"))];
    };
    let finding = Finding::problem(ABOUT, format!("{shown} cannot be written: {error}"));
    let lines: [(&[io::ErrorKind], String); 3] = [
        (
            &[io::ErrorKind::PermissionDenied],
            format!("install -d -o {} {shown}", user(host)),
        ),
        (
            &[io::ErrorKind::NotADirectory, io::ErrorKind::AlreadyExists],
            format!("mv {shown} {shown}.old"),
        ),
        (
            &[io::ErrorKind::ReadOnlyFilesystem],
            format!("mount -o remount,rw $(stat -c %m {shown})"),
        ),
    ];
    let known = lines
        .into_iter()
        .find(|(kinds, _)| kinds.contains(&error.kind()));
    vec![match known {
        Some((_, line)) => finding.mend(line),
        None => finding,
    }]
}

/// The number of the user in effect.
fn user(host: &Host) -> String {
    let status = host.text("proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = line.and_then(|line| line.split_whitespace().nth(1));
    effective.unwrap_or("0").to_owned()
}
