//! The network around: interfaces, forwarding, and what direct routing and
//! tunnels want of the balancer and of its backends.

use super::capabilities::NET_ADMIN;
use super::finding::Finding;
use super::host::{Host, Nic, conf};
use crate::config::{Config, nearest};
use std::collections::BTreeSet;
use std::net::IpAddr;
use trunnion_core::model::{Destination, Family, Forward, Protocol, ServiceKey, TunnelType};

/// Interfaces that the config names.
pub(super) fn interfaces(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "interfaces";
    let Some(links) = &host.links else {
        return vec![Finding::warning(
            ABOUT,
            "the kernel does not tell which there are",
        )];
    };
    let mut findings = Vec::new();
    let mut named = named(config);
    let sync = config.ipvs.sync.as_ref();
    named.extend(sync.map(|sync| sync.plan.daemon.interface.as_str()));
    for name in &named {
        let Some(nic) = links.iter().find(|nic| nic.name == *name) else {
            let there: Vec<&str> = links.iter().map(|nic| nic.name.as_str()).collect();
            let meant = nearest(name, there.iter().copied());
            let meant = meant.map_or_else(String::new, |meant| format!(", did you mean {meant}"));
            let text = format!("there is no {name}{meant}: there are {}", there.join(", "));
            findings.push(Finding::problem(ABOUT, text));
            continue;
        };
        if !nic.up {
            let finding = Finding::problem(ABOUT, format!("{name} is down"));
            findings.push(finding.mend(format!("ip link set {name} up")));
        }
        for family in families(config, name) {
            let of = |(address, _): &&(IpAddr, u8)| Family::of(address) == family;
            if nic.up && !nic.addresses.iter().any(|address| of(&address)) {
                findings.push(Finding::problem(
                    ABOUT,
                    format!(
                        "{name} has no {} address of its own, which VRRP sends from",
                        word(family)
                    ),
                ));
            }
        }
    }
    if findings.is_empty() && !named.is_empty() {
        let names: Vec<&str> = named.iter().copied().collect();
        findings.push(Finding::ok(ABOUT, format!("{} are up", names.join(", "))));
    }
    findings
}

fn named(config: &Config) -> BTreeSet<&str> {
    config.vrrp.iter().map(|i| i.interface.as_str()).collect()
}

fn families(config: &Config, interface: &str) -> BTreeSet<Family> {
    let on = config.vrrp.iter().filter(|i| i.interface == interface);
    on.map(|i| i.router.family).collect()
}

const fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Answers of masqueraded backends pass through this host.
pub(super) fn forwarding(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "forwarding";
    let mut findings = Vec::new();
    for (family, parameter) in [
        (Family::V4, "net.ipv4.ip_forward"),
        (Family::V6, "net.ipv6.conf.all.forwarding"),
    ] {
        let masqueraded = |(key, to): (&ServiceKey, &Destination)| {
            to.forward == Forward::MASQ && key.family() == family
        };
        if !rows(config).any(masqueraded) {
            continue;
        }
        findings.push(match host.number(parameter) {
            Some(on) if on > 0 => Finding::ok(ABOUT, format!("{parameter} is {on}")),
            _ => Finding::problem(
                ABOUT,
                format!("{parameter} is 0: answers of backends with forward = \"masq\" go nowhere"),
            )
            .mend(format!("sysctl -w {parameter}=1")),
        });
    }
    findings
}

/// Strict filtering drops clients whose way back is by another interface.
pub(super) fn reverse_path(host: &Host, config: &Config) -> Vec<Finding> {
    let strict = |name: &&str| host.of_interface(name, "rp_filter") == Some(1);
    let names = named(config).into_iter().filter(strict);
    names
        .map(|name| {
            Finding::warning(
                "reverse path",
                format!(
                    "{name} filters strictly (rp_filter 1): clients that come by it and are \
                     routed by another interface are dropped"
                ),
            )
            .mend(format!("sysctl -w {}=2", conf(name, "rp_filter")))
        })
        .collect()
}

/// The Active node answers ARP for the virtual addresses; its backends do not.
pub(super) fn arp(host: &Host, config: &Config) -> Vec<Finding> {
    let silent = |name: &&str| {
        families(config, name).contains(&Family::V4)
            && host
                .of_interface(name, "arp_ignore")
                .is_some_and(|mode| mode >= 8)
    };
    let names = named(config).into_iter().filter(silent);
    names
        .map(|name| {
            let group = ["all", name].into_iter().find(|group| {
                host.number(&conf(group, "arp_ignore"))
                    .is_some_and(|mode| mode >= 8)
            });
            Finding::problem(
                "arp",
                format!("{name} answers no ARP (arp_ignore 8): nobody finds the virtual addresses"),
            )
            .mend(format!(
                "sysctl -w {}=1",
                conf(group.unwrap_or(name), "arp_ignore")
            ))
        })
        .collect()
}

/// With direct routing the balancer sees one side of a connection, FIN_WAIT is
/// the last state it knows, and only bit 2 looks at that (ipvs-sysctl.rst).
pub(super) fn port_reuse(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "port reuse";
    const PARAMETER: &str = "conn_reuse_mode";
    let one_sided = |(key, to): (&ServiceKey, &Destination)| {
        let tcp = match key {
            ServiceKey::Address { protocol, .. } => *protocol == Protocol::TCP,
            ServiceKey::Fwmark { .. } => true,
        };
        tcp && to.forward != Forward::MASQ
    };
    if !rows(config).any(one_sided) {
        return Vec::new();
    }
    let declared = config.ipvs.sysctls.iter().find(|s| s.name() == PARAMETER);
    let name = format!("net.ipv4.vs.{PARAMETER}");
    let mode = match declared {
        Some(declared) => declared.value().parse().ok(),
        None => host.number(&name),
    };
    match mode {
        Some(mode) if mode & 2 == 0 => vec![
            Finding::warning(
                ABOUT,
                format!(
                    "{name} is {mode}: a client that uses a port again within two minutes gets its \
                     old backend, even one of weight 0; also write {PARAMETER} = 3 into [ipvs.sysctl]"
                ),
            )
            .mend(format!("sysctl -w {name}=3")),
        ],
        Some(mode) => vec![Finding::ok(ABOUT, format!("{name} is {mode}"))],
        None => Vec::new(),
    }
}

/// Backends on link each take a place in the neighbour table, and a full one
/// drops packets.
pub(super) fn neighbours(host: &Host, config: &Config) -> Vec<Finding> {
    let Some(links) = &host.links else {
        return Vec::new();
    };
    let backends: BTreeSet<IpAddr> = rows(config).map(|(_, to)| to.key.address).collect();
    let mut findings = Vec::new();
    for (family, group) in [(Family::V4, "net.ipv4"), (Family::V6, "net.ipv6")] {
        let here = backends.iter().filter(|b| Family::of(b) == family);
        let here = here.filter(|b| links.iter().any(|nic| is_on_link(b, nic)));
        let count = i64::try_from(here.count()).unwrap_or(i64::MAX);
        let of = |which: &str| format!("{group}.neigh.default.{which}");
        let Some(most) = host.number(&of("gc_thresh3")) else {
            continue;
        };
        // Gateways, clients on the link and the peer want places as well.
        if count.saturating_add(count / 4) <= most {
            continue;
        }
        let room = count.saturating_mul(2);
        findings.push(
            Finding::problem(
                "neighbours",
                format!(
                    "{} is {most}, and {count} backends are on the link",
                    of("gc_thresh3")
                ),
            )
            .mend(format!(
                "sysctl -w {}={} {}={room}",
                of("gc_thresh2"),
                room / 2,
                of("gc_thresh3")
            )),
        );
    }
    findings
}

fn is_on_link(address: &IpAddr, nic: &Nic) -> bool {
    let same = |(own, prefix): &(IpAddr, u8)| match (own, address) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            let shift = 32_u32.saturating_sub((*prefix).into());
            (own.to_bits() ^ other.to_bits())
                .checked_shr(shift)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(own), IpAddr::V6(other)) => {
            let shift = 128_u32.saturating_sub((*prefix).into());
            (own.to_bits() ^ other.to_bits())
                .checked_shr(shift)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    nic.addresses.iter().any(same)
}

/// Buffers of sockets: ours are forced, those of the kernel's sync daemons are
/// not.
pub(super) fn buffers(host: &Host, config: &Config) -> Vec<Finding> {
    const ABOUT: &str = "buffers";
    const NETLINK_BYTES: i64 = 1 << 20;
    let declared = config.ipvs.sysctls.iter();
    let sync = declared.filter(|s| s.name() == "sync_sock_size");
    let sync = sync.filter_map(|s| s.value().parse::<i64>().ok()).max();
    let forced = host.has(NET_ADMIN);
    let mut findings = Vec::new();
    for parameter in ["net.core.rmem_max", "net.core.wmem_max"] {
        // They belong to the initial namespace, and are not seen in others.
        let Some(most) = host.number(parameter) else {
            continue;
        };
        if let Some(wanted) = sync.filter(|wanted| *wanted > most) {
            findings.push(
                Finding::warning(
                    ABOUT,
                    format!("{parameter} is {most}, sync_sock_size {wanted}"),
                )
                .mend(format!("sysctl -w {parameter}={wanted}")),
            );
        } else if !forced && most < NETLINK_BYTES {
            findings.push(
                Finding::warning(
                    ABOUT,
                    format!("{parameter} is {most}, and without CAP_NET_ADMIN a limit for netlink"),
                )
                .mend(format!("sysctl -w {parameter}={NETLINK_BYTES}")),
            );
        }
    }
    findings
}

/// What belongs on the backends and not here, so that nobody looks for it here.
pub(super) fn backends(_: &Host, config: &Config) -> Vec<Finding> {
    let mut direct = BTreeSet::new();
    let mut tunnelled = BTreeSet::new();
    for (key, to) in rows(config) {
        let address = match key {
            ServiceKey::Address { address, .. } => Some(*address),
            ServiceKey::Fwmark { .. } => None,
        };
        match to.forward {
            Forward::ROUTE => direct.extend(address),
            Forward::TUNNEL => {
                tunnelled.extend(address.map(|a| (a, to.tunnel.kind, to.tunnel.port)))
            }
            _ => {}
        }
    }
    let mut findings = Vec::new();
    if !direct.is_empty() {
        let mut lines: Vec<String> = direct.iter().map(|address| hold(address, "lo")).collect();
        if direct.iter().any(IpAddr::is_ipv4) {
            lines.insert(
                0,
                "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
                    .to_owned(),
            );
        }
        let text = "direct routing: the backends hold the virtual addresses and say so to nobody; \
                    neither belongs on the balancer";
        findings.push(Finding::ok("backends", text).on_backends(lines));
    }
    if !tunnelled.is_empty() {
        let mut lines = BTreeSet::new();
        for (address, kind, port) in &tunnelled {
            let (modules, device) = match *kind {
                TunnelType::GRE => ("ip_gre", "gre0"),
                _ => ("ipip", "tunl0"),
            };
            lines.insert(format!("1 modprobe {modules} && ip link set {device} up"));
            if *kind == TunnelType::GUE {
                lines.insert(format!("2 modprobe fou && ip fou add port {port} gue"));
            }
            lines.insert(format!("3 {}", hold(address, device)));
            lines.insert(format!(
                "4 sysctl -w net.ipv4.conf.all.rp_filter=0 {}=0",
                conf(device, "rp_filter")
            ));
        }
        let lines = lines.iter().map(|line| line[2..].to_owned());
        let text = "tunnels: the backends unwrap, and take what comes out of the tunnel although \
                    the way back is another";
        findings.push(Finding::ok("backends", text).on_backends(lines));
    }
    findings
}

fn hold(address: &IpAddr, device: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("ip address add {address}/32 dev {device}"),
        IpAddr::V6(address) => format!("ip address add {address}/128 dev {device} nodad"),
    }
}

/// Every destination with its service's key.
fn rows(config: &Config) -> impl Iterator<Item = (&ServiceKey, &Destination)> {
    config.services.iter().flat_map(|service| {
        let each = service.backends.iter();
        each.map(|backend| (&service.service.key, &backend.destination))
    })
}
