//! What a right file declares, in a few lines.

use super::backend::{protocol_word, word};
use super::mistake::plural;
use super::relate::script_bytes;
use super::scalar::Shown;
use super::{Backend, Config, Instance, Ipvs, OwnedScript, ServiceConfig, Tracked};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use trunnion_core::check::CheckConfig;
use trunnion_core::check::probe::outside::Errand;
use trunnion_core::check::probe::{Script, Spec};
use trunnion_core::director::plan::SyncRoles;
use trunnion_core::model::{Family, ServiceFlags, ServiceKey};
use trunnion_core::vrrp::{AdvertForm, TTL};

/// ```text
/// node lb1: socket /run/trunnion/control.sock, log info
/// vrrp public: eth0 vrid 51, priority 150, every 100ms, 192.0.2.10/24
/// service web: tcp 192.0.2.10:80 wrr, 3 backends by route, checked by tcp every 1s
/// limits: 1 of 1024 services, 3 of 16384 backends, 1 of 64 routers, 1 of 1024 addresses
/// ```
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            limits,
            ipvs,
            vrrp,
            groups,
            tracks,
            services,
            warnings: _,
        } = self;
        let log = format!("{:?}", node.log).to_lowercase();
        writeln!(
            f,
            "node {}: socket {}, log {log}",
            node.name,
            node.socket().display()
        )?;
        ipvs.fmt(f)?;
        for instance in vrrp {
            write!(f, "{instance}")?;
            if !instance.tracks.is_empty() {
                f.write_str(", tracks")?;
                let shown = |of: &Tracked| weighed(&tracks[of.track].name, of);
                few(f, &instance.tracks.iter().map(shown).collect::<Vec<_>>())?;
            }
            writeln!(f)?;
        }
        for group in groups {
            let members = group.members.iter().map(|at| &vrrp[*at].name);
            write!(f, "group {}: move together", group.name)?;
            few(f, &members.collect::<Vec<_>>())?;
            writeln!(f)?;
        }
        for service in services {
            writeln!(f, "{service}")?;
        }
        let backends: usize = services.iter().map(|service| service.backends.len()).sum();
        let addresses: usize = vrrp.iter().map(|instance| instance.addresses.len()).sum();
        write!(
            f,
            "limits: {} of {} services, {backends} of {} backends, {} of {} routers, {addresses} of {} addresses",
            services.len(),
            limits.services,
            limits.backends,
            vrrp.len(),
            limits.routers,
            limits.addresses,
        )?;
        if services.iter().any(|service| !service.scripts.is_empty()) {
            let bytes = script_bytes(services.iter().map(|service| &**service));
            write!(f, ", {bytes} of {} probe_bytes", limits.probe_bytes)?;
        }
        writeln!(f)
    }
}

/// Nothing where the kernel's own settings are left alone.
impl fmt::Display for Ipvs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            own: _,
            audit: _,
            on_exit: _,
            timeouts,
            sysctls,
            sync,
        } = self;
        let each = timeouts.named().into_iter();
        let mut set: Vec<String> = each
            .filter_map(|(name, timeout)| Some(format!("{name} {}", Shown(timeout?))))
            .collect();
        set.extend(
            sysctls
                .iter()
                .map(|s| format!("{} {}", s.name(), s.value())),
        );
        if let Some(sync) = sync {
            let daemon = &sync.plan.daemon;
            let role = match (&sync.follow, sync.plan.roles) {
                (Some(follow), _) => format!("follows {follow}"),
                (None, SyncRoles::Fixed { sends, hears }) => match (sends, hears) {
                    (true, true) => "both".to_owned(),
                    (true, false) => "master".to_owned(),
                    (false, _) => "backup".to_owned(),
                },
                (None, SyncRoles::Follow) => String::new(),
            };
            set.push(format!(
                "sync on {} id {} {role}",
                daemon.interface, daemon.sync_id
            ));
        }
        if set.is_empty() {
            return Ok(());
        }
        f.write_str("ipvs: sets")?;
        few(f, &set)?;
        writeln!(f)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            interface,
            router,
            addresses,
            unicast_peers,
            form,
            unicast_ttl_min,
            scope: _,
            label: _,
            macvlan,
            tracks: _,
            group: _,
            notify: _,
        } = self;
        let (vrid, priority) = (router.vrid, router.priority);
        let interval = Shown(router.interval.duration());
        write!(
            f,
            "vrrp {name}: {interface} vrid {vrid}, priority {priority}, every {interval},"
        )?;
        few(f, addresses)?;
        if !unicast_peers.is_empty() {
            f.write_str(", to")?;
            few(f, unicast_peers)?;
            if *unicast_ttl_min < TTL {
                write!(f, " with ttl {unicast_ttl_min} or more")?;
            }
        }
        if let Some(macvlan) = macvlan {
            write!(f, ", virtual mac on {macvlan}")?;
        }
        if *form == Some(AdvertForm::Seesaw) {
            f.write_str(", as seesaw_ha")?;
        }
        if !router.preempt {
            f.write_str(", does not preempt")?;
        }
        Ok(())
    }
}

/// `uplink`, `chk (-20)`.
fn weighed(name: &str, of: &Tracked) -> String {
    match (of.weight, of.reverse) {
        (0, false) => name.to_owned(),
        (0, true) => format!("{name} (reverse)"),
        (weight, false) => format!("{name} ({weight:+})"),
        (weight, true) => format!("{name} ({weight:+}, reverse)"),
    }
}

impl fmt::Display for ServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            service,
            policy,
            backends,
            scripts,
            names,
        } = self;
        write!(f, "service {name}: ")?;
        match service.key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                let socket = std::net::SocketAddr::new(address, port);
                write!(f, "{} {socket}", protocol_word(protocol))?;
            }
            ServiceKey::Fwmark { mark, family } => {
                let family = match family {
                    Family::V4 => "ipv4",
                    Family::V6 => "ipv6",
                };
                write!(f, "fwmark {mark} {family}")?;
            }
        }
        write!(f, " {}", service.scheduler)?;
        if service.flags.contains(ServiceFlags::PERSISTENT) {
            write!(f, ", persistent {}s", service.timeout_s)?;
        }
        let sorry = backends.iter().any(|backend| backend.sorry);
        let own = backends.len() - usize::from(sorry);
        write!(f, ", {}", plural(own, "backend"))?;
        if sorry {
            f.write_str(" and a sorry server")?;
        }
        let mut methods: Vec<_> = backends.iter().map(|b| b.destination.forward).collect();
        methods.sort_unstable();
        methods.dedup();
        let methods: Vec<_> = methods.into_iter().map(word).collect();
        if !methods.is_empty() {
            write!(f, " by {}", methods.join(" and "))?;
        }
        if policy.quorum > 0 {
            write!(f, ", quorum {}", policy.quorum)?;
        }
        if !policy.slow_start.is_zero() {
            write!(f, ", slow start {}", Shown(policy.slow_start))?;
        }
        if !names.is_empty() {
            write!(f, ", {} checked by name", names.len())?;
        }
        let mut checks: Vec<_> = backends.iter().filter_map(Backend::check).collect();
        let checked = checks.len();
        let by: BTreeSet<_> = checks.iter().map(|c| type_of(c, scripts)).collect();
        let by: Vec<_> = by.into_iter().collect();
        let by = by.join(" and ");
        checks.sort_by_key(|check| check.interval);
        checks.dedup_by_key(|check| check.interval);
        match (checks.as_slice(), backends.len() - checked) {
            ([], 0) => Ok(()),
            ([], _) => f.write_str(", not checked"),
            ([one], 0) => write!(f, ", checked by {by} every {}", Shown(one.interval)),
            ([first, ..], unchecked) => {
                let last = checks.last().unwrap_or(first);
                write!(f, ", checked by {by} every {}", Shown(first.interval))?;
                if last.interval != first.interval {
                    write!(f, " to {}", Shown(last.interval))?;
                }
                match unchecked {
                    0 => Ok(()),
                    unchecked => write!(f, ", {unchecked} not checked"),
                }
            }
        }
    }
}

/// What the config calls the way a check asks.
fn type_of(check: &CheckConfig, scripts: &[Arc<OwnedScript>]) -> &'static str {
    let script = scripts.iter().find(|s| Some(s.id) == check.kind.script());
    let script = script.and_then(|script| Script::read(&script.words, check.target));
    match script.as_ref().map(Script::spec) {
        None => "tcp",
        Some(spec) => match spec {
            Spec::Stream(_) | Spec::Syn(_) => "tcp",
            Spec::Datagram(_) => "udp",
            Spec::Http(_) => "http",
            Spec::Agent(_) => "agent",
            Spec::Grpc(_) => "grpc",
            Spec::Dns(_) => "dns",
            Spec::Ping(_) => "icmp",
            Spec::Radius(_) => "radius",
            Spec::Errand(Errand::Exec(_)) => "exec",
            Spec::Errand(Errand::File(_)) => "file",
        },
    }
}

fn few(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    const SHOWN_MAX: usize = 4;
    for (index, item) in items.iter().take(SHOWN_MAX).enumerate() {
        write!(f, "{}{item}", if index == 0 { " " } else { ", " })?;
    }
    match items.len().saturating_sub(SHOWN_MAX) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
