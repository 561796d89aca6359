//! `[ipvs.sync]`: the kernel's connection synchronization daemons.

use super::node::{Ipvs, interface, short_name};
use super::scalar;
use super::section::{At, Notes, Section, Span};
use super::service::{ServiceConfig, ServiceRead};
use super::suggest::nearest;
use super::value::one_of;
use super::vrrp::InstanceRead;
use std::net::IpAddr;
use toml::Spanned;
use trunnion_core::director::plan::{SyncPlan, SyncRoles};
use trunnion_core::model::{Family, SyncDaemon, SyncState};

/// Connection synchronization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// The daemons, but for their state, and in which they run.
    pub plan: SyncPlan,
    /// The name of the virtual router whose role they follow, if they do.
    pub follow: Option<String>,
}

pub(super) const KEYS: &[&str] = &[
    "interface",
    "id",
    "follow",
    "role",
    "group",
    "port",
    "ttl",
    "maxlen",
];

/// What the kernel takes for a message of a backup, and UDP over IPv6 can carry
/// (`ip_vs_sync.c`).
const MAXLEN: [u32; 2] = [1_024, 65_487];

pub(super) fn read(ipvs: &Section<'_>, notes: &mut Notes) -> Option<SyncConfig> {
    const ROLES: &[(&str, SyncRoles)] = &[
        ("master", fixed(true, false)),
        ("backup", fixed(false, true)),
        ("both", fixed(true, true)),
    ];
    let raw = ipvs.raw("sync")?;
    let section = Section::of("[ipvs.sync]", raw, KEYS, notes)?;
    if !section.has("interface") {
        section.missing("interface", "interface = \"eth1\"", notes);
    }
    let on = section.text("interface", interface, notes);
    let id: Option<At<u8>> = section.integer("id", 0..=255, notes);
    let follow = section.text("follow", short_name, notes);
    let role = section.choice("role", ROLES, notes);
    match (section.has("follow"), section.has("role")) {
        (false, false) => section.missing(
            "follow",
            "follow = \"NAME\" of a [[vrrp]], or role = \"both\"",
            notes,
        ),
        (true, true) => notes.error(
            &section.span_of("role"),
            "`follow` and `role` say both in which state the daemons run",
            "remove one",
        ),
        (true, false) | (false, true) => {}
    }
    let group = section.text("group", multicast, notes);
    let port: Option<At<u16>> = section.integer("port", 1..=65_535, notes);
    let ttl: Option<At<u8>> = section.integer("ttl", 1..=255, notes);
    let maxlen: Option<At<u16>> = section.integer("maxlen", MAXLEN[0]..=MAXLEN[1], notes);
    let name = on?.value;
    let interface = name.as_str().try_into().ok()?;
    let id = id.map_or(0, |at| u32::from(at.value));
    let daemon = SyncDaemon {
        maxlen: maxlen.map_or(0, |at| at.value),
        group: group.map(|at| at.value),
        port: port.map_or(0, |at| at.value),
        ttl: ttl.map_or(0, |at| at.value),
        ..SyncDaemon::new(SyncState::MASTER, interface, id)
    };
    Some(SyncConfig {
        plan: SyncPlan {
            daemon,
            roles: role.map_or(SyncRoles::Follow, |at| at.value),
        },
        follow: follow.map(|at| at.value),
    })
}

const fn fixed(sends: bool, hears: bool) -> SyncRoles {
    SyncRoles::Fixed { sends, hears }
}

fn multicast(text: &str) -> Result<IpAddr, String> {
    let address = scalar::address(text)?;
    if address.is_multicast() {
        return Ok(address);
    }
    Err("write a multicast address, such as \"224.0.0.81\" or \"ff02::81\"".to_owned())
}

/// Whom the daemons follow must be there.
pub(super) fn followed(
    root: &Section<'_>,
    ipvs: &Ipvs,
    instances: &[InstanceRead],
    notes: &mut Notes,
) {
    let follow = ipvs.sync.as_ref().and_then(|sync| sync.follow.as_ref());
    let names: Vec<&str> = instances
        .iter()
        .map(|read| read.instance.name.as_str())
        .collect();
    let Some(follow) = follow.filter(|name| !names.contains(&name.as_str())) else {
        return;
    };
    let help = match nearest(follow, names.iter().copied()) {
        Some(meant) => format!("write \"{meant}\""),
        None if names.is_empty() => "add a [[vrrp]], or write role instead".to_owned(),
        None => format!("write {}", one_of(&names)),
    };
    notes.error(
        &place(root, "follow"),
        format!("there is no [[vrrp]] with the name {follow}"),
        help,
    );
}

/// Whether the kernel refuses a daemon beside this service
/// (`ip_vs_genl_new_daemon`).
pub(super) fn excludes(service: &ServiceConfig) -> bool {
    let family = service.service.key.family();
    let mut backends = service.backends.iter();
    backends.any(|backend| Family::of(&backend.destination.key.address) != family)
}

/// No service may exclude the daemons.
pub(super) fn services(
    root: &Section<'_>,
    ipvs: &Ipvs,
    services: &[ServiceRead],
    notes: &mut Notes,
) {
    let mixed = services.iter().find(|read| excludes(&read.config));
    if let (Some(_), Some(mixed)) = (&ipvs.sync, mixed) {
        notes.error_also(
            &place(root, "interface"),
            "no synchronization daemon runs beside a tunnel from one family into the other (ip_vs)",
            "remove [ipvs.sync], or reach the backends by their service's family",
            (&mixed.span, "a service with such a backend"),
        );
    }
}

/// Where a key's value stands.
fn place(root: &Section<'_>, key: &str) -> Span {
    let mut at = root.raw("ipvs").map(|(_, value)| value);
    for key in ["sync", key] {
        at = at.and_then(|value| value.get_ref().as_table()?.get(key));
    }
    at.map_or(0..0, Spanned::span)
}
