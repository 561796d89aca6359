//! What this process may do. The daemon's own rights are those of whoever
//! starts it: ask as that user.

use super::finding::{Finding, Level};
use super::host::{Capability, Host};
use crate::config::Config;

pub(super) const NET_ADMIN: Capability = Capability {
    bit: 12,
    name: "cap_net_admin",
};
const NET_RAW: Capability = Capability {
    bit: 13,
    name: "cap_net_raw",
};
const IPC_LOCK: Capability = Capability {
    bit: 14,
    name: "cap_ipc_lock",
};
const SYS_NICE: Capability = Capability {
    bit: 23,
    name: "cap_sys_nice",
};
pub(super) const SYS_RESOURCE: Capability = Capability {
    bit: 24,
    name: "cap_sys_resource",
};

/// `SCHED_FIFO` needs at least this much of `RLIMIT_RTPRIO`.
const REALTIME_PRIORITY: u64 = 50;

pub(super) fn all(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "capabilities";
    let limit = |name: &str| host.hard_limit(name).unwrap_or(0);
    let needs = [
        (
            NET_ADMIN,
            Level::Problem,
            false,
            "the kernel's IPVS and its addresses are not ours to change",
        ),
        (
            NET_RAW,
            Level::Problem,
            config.vrrp.is_empty(),
            "no VRRP advert can be sent or heard",
        ),
        (
            SYS_NICE,
            Level::Warning,
            config.vrrp.is_empty() || limit("Max realtime priority") >= REALTIME_PRIORITY,
            "adverts have no realtime priority, and a busy machine can delay them",
        ),
        (
            IPC_LOCK,
            Level::Warning,
            config.vrrp.is_empty() || limit("Max locked memory") == u64::MAX,
            "memory is not locked, and a machine that swaps can delay adverts",
        ),
    ];
    let mut findings = Vec::new();
    let lacking: Vec<_> = needs
        .iter()
        .filter(|(capability, _, needless, _)| !needless && !host.has(*capability))
        .collect();
    let names: Vec<&str> = needs
        .iter()
        .map(|(capability, ..)| capability.name)
        .collect();
    for (capability, level, _, why) in lacking {
        let text = format!("{} is missing: {why}", capability.name.to_uppercase());
        let finding = match level {
            Level::Problem => Finding::problem(ABOUT, text),
            Level::Warning | Level::Ok => Finding::warning(ABOUT, text),
        };
        findings.push(finding);
    }
    // One line for all: setcap replaces what was there.
    if let Some(last) = findings.pop() {
        let line = format!("setcap {}+ep {}", names.join(","), executable());
        findings.push(last.mend(line));
    }
    if let Some(mapped) = user_namespace(host) {
        findings.push(mapped);
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ABOUT, "all that are needed"));
    }
    findings
}

/// IPVS asks for CAP_NET_ADMIN in the initial user namespace
/// (`GENL_ADMIN_PERM`), which root of another one has not.
fn user_namespace(host: &Host) -> Option<Finding> {
    let map = host.text("proc/self/uid_map")?;
    let whole: Vec<&str> = map.split_whitespace().collect();
    (whole != ["0", "0", "4294967295"]).then(|| {
        Finding::problem(
            "capabilities",
            "this is not the initial user namespace, whose CAP_NET_ADMIN IPVS asks for: \
             run outside of a rootless container",
        )
    })
}

fn executable() -> String {
    let path = std::env::current_exe().ok();
    path.map_or_else(
        || "/usr/bin/trunnion".to_owned(),
        |path| path.display().to_string(),
    )
}
