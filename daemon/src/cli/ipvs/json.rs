//! Rows of the kernel's table as JSON objects. The names are part of our
//! interface: docs/ipvs.md lists them. Counters have 64 bits.

use super::words::{Host, mask, scheduler_flags};
use serde_json::{Value, json};
use trunnion_core::ipvs::{DestinationEntry, ServiceEntry, Stats, Timeouts};
use trunnion_core::model::{Family, Forward, ServiceFlags, ServiceKey, TunnelFlags};

/// A service with its counters; `destinations` are those of
/// [`destination`].
pub(super) fn service(entry: &ServiceEntry, destinations: Vec<Value>) -> Value {
    let service = &entry.service;
    let mut value = key(&service.key);
    value["scheduler"] = service.scheduler.as_str().into();
    value["scheduler_flags"] = scheduler_flags(service).into();
    value["one_packet"] = service.flags.contains(ServiceFlags::ONEPACKET).into();
    value["persistence"] = if service.flags.contains(ServiceFlags::PERSISTENT) {
        json!({
            "timeout_s": service.timeout_s,
            "mask": mask(service, entry.odd_mask),
        })
    } else {
        Value::Null
    };
    value["engine"] = match service.engine.as_str() {
        "" => Value::Null,
        engine => engine.into(),
    };
    value["stats"] = stats(&entry.stats);
    value["destinations"] = destinations.into();
    value
}

/// A destination with its counters and connections.
pub(super) fn destination(entry: &DestinationEntry) -> Value {
    let DestinationEntry {
        destination,
        active,
        inactive,
        persistent,
        stats: counters,
    } = entry;
    let tunnel = match destination.forward {
        Forward::TUNNEL => json!({
            "type": destination.tunnel.kind.to_string(),
            "port": destination.tunnel.port,
            "csum": destination.tunnel.flags.contains(TunnelFlags::CSUM),
            "remcsum": destination.tunnel.flags.contains(TunnelFlags::REMCSUM),
        }),
        _ => Value::Null,
    };
    json!({
        "address": Host(destination.key.address).to_string(),
        "port": destination.key.port,
        "forward": destination.forward.to_string().to_lowercase(),
        "weight": destination.weight,
        "upper_threshold": destination.upper_threshold,
        "lower_threshold": destination.lower_threshold,
        "tunnel": tunnel,
        "active": active,
        "inactive": inactive,
        "persistent": persistent,
        "stats": stats(counters),
    })
}

/// What names a service: `protocol`, `address` and `port`, or `fwmark`; and
/// `family`.
pub(super) fn key(key: &ServiceKey) -> Value {
    let family = match key.family() {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    match *key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => json!({
            "protocol": protocol.to_string().to_lowercase(),
            "address": Host(address).to_string(),
            "port": port,
            "family": family,
        }),
        ServiceKey::Fwmark { mark, .. } => json!({ "fwmark": mark, "family": family }),
    }
}

/// The timeouts of connections.
pub(super) fn timeouts(timeouts: &Timeouts) -> Value {
    let Timeouts {
        tcp_s,
        tcp_fin_s,
        udp_s,
    } = timeouts;
    json!({ "tcp_s": tcp_s, "tcp_fin_s": tcp_fin_s, "udp_s": udp_s })
}

fn stats(stats: &Stats) -> Value {
    let Stats {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        connections_per_s,
        packets_in_per_s,
        packets_out_per_s,
        bytes_in_per_s,
        bytes_out_per_s,
    } = stats;
    json!({
        "connections": connections,
        "packets_in": packets_in,
        "packets_out": packets_out,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "connections_per_s": connections_per_s,
        "packets_in_per_s": packets_in_per_s,
        "packets_out_per_s": packets_out_per_s,
        "bytes_in_per_s": bytes_in_per_s,
        "bytes_out_per_s": bytes_out_per_s,
    })
}
