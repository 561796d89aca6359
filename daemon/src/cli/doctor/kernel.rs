//! IPVS itself: the module, its schedulers and engines, its parameters.

use super::finding::{Finding, Level};
use super::host::{Host, Module, Table};
use crate::config::Config;
use std::collections::BTreeSet;
use trunnion_core::model::Family;

pub(super) fn ipvs(host: &Host, _: &Config) -> Vec<Finding> {
    const ABOUT: &str = "ipvs";
    vec![match &host.ipvs {
        Table::Holds(services) => Finding::ok(
            ABOUT,
            format!("the kernel answers; services in it: {}", services.len()),
        ),
        Table::NoIpvs => {
            let unsaid = || {
                Finding::problem(ABOUT, "the kernel has none, and loads none when asked")
                    .mend("modprobe ip_vs")
            };
            let mut finding = lacking(host, ABOUT, "ip_vs").unwrap_or_else(unsaid);
            // The kernel has said that there is none.
            finding.level = Level::Problem;
            finding
        }
        Table::Silent(why) => Finding::problem(ABOUT, format!("the kernel does not answer: {why}")),
    }]
}

/// Modules of what the config names; the kernel loads them when a service or a
/// macvlan comes.
pub(super) fn modules(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "modules";
    let mut names = BTreeSet::new();
    for service in &config.services {
        let service = &service.service;
        if service.scheduler != "none" {
            names.insert(format!("ip_vs_{}", service.scheduler));
        }
        if !service.engine.is_empty() {
            names.insert(format!("ip_vs_pe_{}", service.engine));
        }
    }
    if config.vrrp.iter().any(|router| router.macvlan.is_some()) {
        names.insert("macvlan".to_owned());
    }
    let lacks: Vec<Finding> = names
        .iter()
        .filter_map(|name| lacking(host, ABOUT, name))
        .collect();
    let names: Vec<String> = names.into_iter().collect();
    match (lacks.is_empty(), names.is_empty()) {
        (false, _) => lacks,
        (true, true) => Vec::new(),
        (true, false) => vec![Finding::ok(
            ABOUT,
            format!("{} can be had", names.join(", ")),
        )],
    }
}

/// What is wrong with a module that is needed.
fn lacking(host: &Host, about: &'static str, name: &str) -> Option<Finding> {
    match (host.module(name), host.loads_nothing()) {
        // In a container the modules lie outside, where they are loaded from.
        (Module::Loaded, _) | (Module::Loadable | Module::Unseen, None) => None,
        (Module::Loadable, Some("kernel.modules_disabled is 1")) => Some(
            Finding::problem(
                about,
                format!("{name} is not loaded, and kernel.modules_disabled is 1 until a restart"),
            )
            .mend(format!(
                "echo {name} >> /etc/modules-load.d/trunnion.conf && reboot"
            )),
        ),
        (Module::Loadable, Some(why)) => Some(
            Finding::problem(
                about,
                format!("{name} is not loaded, and the kernel loads nothing by itself: {why}"),
            )
            .mend(format!("modprobe {name}")),
        ),
        (Module::Absent, _) => Some(Finding::problem(
            about,
            format!(
                "this kernel has no {name}: install its modules, or one with CONFIG_{}",
                name.to_uppercase()
            ),
        )),
        (Module::Unseen, Some(why)) => Some(
            Finding::warning(
                about,
                format!("{name} is not loaded; {why}, and no modules of this kernel lie here"),
            )
            .mend(format!("modprobe {name}")),
        ),
    }
}

/// What `[ipvs.sysctl]` declares.
pub(super) fn parameters(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "parameters";
    let declared = &config.ipvs.sysctls;
    let mut findings = Vec::new();
    for sysctl in declared {
        let (name, value) = (sysctl.full_name(), sysctl.value());
        findings.extend(match host.sysctl.read(&name) {
            Ok(present) if sysctl.is_held_by(&present) => None,
            Ok(present) => Some(
                Finding::warning(
                    ABOUT,
                    format!("{name} is {present}, declared is {value}; trunnion run sets it"),
                )
                .mend(format!("sysctl -w {name}={}", quoted(value))),
            ),
            Err(_) => Some(Finding::warning(
                ABOUT,
                format!("there is no {name}: it needs {}", sysctl.needs()),
            )),
        });
    }
    if findings.is_empty() && !declared.is_empty() {
        findings.push(Finding::ok(ABOUT, "all declared ones are as declared"));
    }
    if config
        .services
        .iter()
        .any(|s| s.service.key.family() == Family::V6)
        && !host.root.join("proc/sys/net/ipv6").exists()
    {
        findings.push(Finding::problem(
            "ipv6",
            "the config has IPv6 services and this kernel has no IPv6: start it without ipv6.disable=1",
        ));
    }
    findings
}

/// For a shell.
fn quoted(value: &str) -> String {
    if value.contains(' ') {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}
