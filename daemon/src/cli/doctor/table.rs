//! Who else uses the kernel's table.

use super::finding::Finding;
use super::host::{Host, Table};
use crate::config::{Config, Own};
use trunnion_core::model::ServiceKey;

/// Services in the kernel that the config does not name.
pub(super) fn strangers(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "table";
    const SHOWN_MAX: usize = 4;
    let Table::Holds(keys) = &host.ipvs else {
        return Vec::new();
    };
    let ours = |key: &ServiceKey| config.services.iter().any(|s| s.service.key == *key);
    let mut strange: Vec<&ServiceKey> = keys.iter().filter(|key| !ours(key)).collect();
    strange.sort_unstable();
    if strange.is_empty() {
        return vec![Finding::ok(
            ABOUT,
            "no service in the kernel but the config's",
        )];
    }
    let count = strange.len();
    let shown = strange.iter().take(SHOWN_MAX).map(ToString::to_string);
    let mut names = shown.collect::<Vec<_>>().join(", ");
    if count > SHOWN_MAX {
        names.push_str(&format!(" and {} more", count - SHOWN_MAX));
    }
    vec![match config.ipvs.own {
        Own::Declared => Finding::ok(
            ABOUT,
            format!("services that the config does not name, left alone: {names}"),
        ),
        Own::All => Finding::warning(
            ABOUT,
            format!(
                "services that the config does not name, and that a start removes: {names}; \
                 write own = \"declared\" into [ipvs] to keep them"
            ),
        ),
    }]
}

/// Programs that write the table, or hold addresses by VRRP, as we do.
pub(super) fn others(host: &Host, _: &Config) -> Vec<Finding> {
    const NAMES: &[&str] = &[
        "keepalived",
        "ldirectord",
        "seesaw_engine",
        "kube-proxy",
        "kube-router",
    ];
    let mut found = host.processes(NAMES);
    found.dedup_by(|a, b| a.1 == b.1);
    found
        .iter()
        .map(|(pid, name)| {
            Finding::warning(
                "others",
                format!(
                    "{name} (pid {pid}) runs here too: two writers of one table undo each other"
                ),
            )
            .mend(format!("kill {pid}"))
        })
        .collect()
}
