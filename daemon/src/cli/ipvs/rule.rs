//! Lines of ipvsadm's save format, the arguments that make a row again. Pure
//! text.
//!
//! Source: the output of `ipvsadm -S -n` 1.31, to the byte but for what it
//! loses: thresholds (`-x`, `-y`), firewall marks above 2^31, both checksum
//! flags of a tunnel at once.

use super::words::{At, has_option, mask, option, scheduler_flags};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Service, ServiceFlags, ServiceKey, TunnelFlags,
    TunnelType,
};
use trunnion_core::reconcile::Change;

/// `-t 192.0.2.1:80 -s wrr -p 300`: a service after its `-A` or `-E`. `odd` is
/// its mask where that is no prefix.
pub(super) fn service(service: &Service, odd: Option<Ipv4Addr>) -> String {
    let mut line = format!("{} -s {}", option(&service.key), service.scheduler);
    let mut add = |text: std::fmt::Arguments<'_>| {
        // A String takes whatever is written.
        let _ = line.write_fmt(text);
    };
    if service.flags.contains(ServiceFlags::PERSISTENT) {
        add(format_args!(" -p {}", service.timeout_s));
        if let Some(mask) = mask(service, odd) {
            add(format_args!(" -M {mask}"));
        }
    }
    if !service.engine.is_empty() {
        add(format_args!(" --pe {}", service.engine));
    }
    if service.flags.contains(ServiceFlags::ONEPACKET) {
        add(format_args!(" -o"));
    }
    let flags = scheduler_flags(service);
    if !flags.is_empty() {
        add(format_args!(" -b {}", flags.join(",")));
    }
    line
}

/// `-t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1`: a destination after its `-a` or
/// `-e`.
pub(super) fn destination(key: &ServiceKey, destination: &Destination) -> String {
    let forward = match destination.forward {
        Forward::MASQ => "-m",
        Forward::TUNNEL => "-i",
        // ipvsadm writes so what it has no option for.
        _ => "-g",
    };
    let name = destination_name(key, &destination.key);
    let mut line = format!("{name} {forward} -w {}", destination.weight);
    if destination.forward == Forward::TUNNEL {
        let tunnel = &destination.tunnel;
        line.push_str(&match tunnel.kind {
            TunnelType::IPIP => " --tun-type ipip".to_owned(),
            TunnelType::GUE => format!(" --tun-type gue --tun-port {}", tunnel.port),
            TunnelType::GRE => " --tun-type gre".to_owned(),
            _ => String::new(),
        });
        if matches!(tunnel.kind, TunnelType::GUE | TunnelType::GRE) {
            let (csum, remcsum) = (TunnelFlags::CSUM, TunnelFlags::REMCSUM);
            if tunnel.flags.is_empty() {
                line.push_str(" --tun-nocsum");
            }
            if tunnel.flags.contains(csum) {
                line.push_str(" --tun-csum");
            }
            if tunnel.flags.contains(remcsum) {
                line.push_str(" --tun-remcsum");
            }
        }
    }
    if destination.upper_threshold != 0 {
        line.push_str(&format!(" -x {}", destination.upper_threshold));
    }
    if destination.lower_threshold != 0 {
        line.push_str(&format!(" -y {}", destination.lower_threshold));
    }
    line
}

/// `-t 192.0.2.1:80 -r 10.0.0.1:80`.
fn destination_name(key: &ServiceKey, at: &DestinationKey) -> String {
    format!("{} -r {}", option(key), At(at.address, at.port))
}

/// The command of ipvsadm that makes the change.
pub(super) fn change(change: &Change<'_>) -> String {
    match change {
        Change::AddService(it) => format!("-A {}", service(it, None)),
        Change::SetService(it) => format!("-E {}", service(it, None)),
        Change::DeleteService(key) => format!("-D {}", option(key)),
        Change::AddDestination(key, it) => format!("-a {}", destination(key, it)),
        Change::SetDestination(key, it) => format!("-e {}", destination(key, it)),
        Change::DeleteDestination(key, at) => format!("-d {}", destination_name(key, at)),
    }
}

/// What the format has no words for in a service, if there is something.
pub(super) fn service_loses(service: &Service) -> Option<&'static str> {
    match service.key {
        ServiceKey::Address { protocol, .. } if !has_option(protocol) => {
            Some("a protocol other than tcp, udp and sctp")
        }
        ServiceKey::Address { .. } | ServiceKey::Fwmark { .. } => None,
    }
}

/// What the format has no words for in a destination, if there is something.
pub(super) fn destination_loses(destination: &Destination) -> Option<&'static str> {
    let tunnel = destination.tunnel;
    match destination.forward {
        Forward::MASQ | Forward::ROUTE => None,
        Forward::TUNNEL if tunnel.kind > TunnelType::GRE => Some("its tunnel type"),
        Forward::TUNNEL => None,
        _ => Some("its forwarding method"),
    }
}

#[cfg(test)]
mod tests;
