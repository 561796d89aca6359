//! The state as JSON, with the names of the proto.

use super::state::{
    AddressState, BackendState, CheckState, Counter, GroupState, NameState, RouterState,
    ServiceState, SettingState, State, ThreadState, TrackedState,
};
use super::text::{family, role};
use serde_json::{Value, json};
use std::time::Duration;
use trunnion_core::check::Health;
use trunnion_core::model::ServiceKey;

impl State {
    /// The state as a JSON object. Durations are whole numbers of the unit in
    /// their name; what is not known is null.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self {
            name,
            version,
            config,
            uptime,
            routers,
            groups,
            tracks,
            services,
            names,
            strangers,
            settings,
            threads,
            counters,
        } = self;
        json!({
            "name": name,
            "version": version,
            "config": config,
            "uptime_ms": ms(*uptime),
            "routers": all(routers, router),
            "groups": all(groups, group),
            "tracks": all(tracks, track),
            "services": all(services, service),
            "names": all(names, name_of),
            "strangers": strangers,
            "settings": all(settings, setting),
            "threads": all(threads, thread),
            "counters": all(counters, counter),
        })
    }
}

fn router(router: &RouterState) -> Value {
    let RouterState {
        name,
        interface,
        vrid,
        family: its_family,
        role: its_role,
        since,
        reason,
        priority,
        interval,
        addresses,
        counters,
        moves,
        voice,
    } = router;
    json!({
        "name": name,
        "interface": interface,
        "vrid": vrid,
        "family": family(*its_family),
        "state": role(*its_role),
        "since_ms": since.map(ms),
        "reason": reason,
        "priority": priority,
        "interval_ms": ms(*interval),
        "addresses": all(addresses, address),
        "counters": all(counters, counter),
        "base_priority": moves.base_priority,
        "group": moves.group,
        "barred": moves.barred,
        "held_ms": moves.held.map(ms),
        "heard": moves.heard.map(|heard| json!({
            "source": heard.source.to_string(),
            "priority": heard.priority,
            "ago_ms": ms(heard.ago),
        })),
        "split_brain": moves.split_brain,
        "mac": if voice.macvlan.is_empty() { "interface" } else { "virtual" },
        "virtual_mac": voice.virtual_mac,
        "macvlan": voice.macvlan,
        "macvlan_up": voice.macvlan_up,
        "checksum": voice.checksum,
        "checksum_learned": voice.learned,
        "refused_ms": voice.refused.map(ms),
    })
}

fn group(group: &GroupState) -> Value {
    let GroupState {
        name,
        state,
        members,
    } = group;
    json!({ "name": name, "state": state, "members": members })
}

fn track(track: &TrackedState) -> Value {
    let TrackedState { name, what, state } = track;
    json!({ "name": name, "what": what, "state": state })
}

fn address(held: &AddressState) -> Value {
    let AddressState {
        address,
        prefix,
        present,
    } = held;
    json!({ "address": address.to_string(), "prefix": prefix, "present": present })
}

fn service(service: &ServiceState) -> Value {
    let ServiceState {
        name,
        key,
        scheduler,
        in_kernel,
        fail_open,
        min_healthy,
        quorum,
        has_quorum,
        sorry,
        backends,
    } = service;
    let mut value = json!({
        "name": name,
        "scheduler": scheduler,
        "in_kernel": in_kernel,
        "fail_open": fail_open,
        "min_healthy": min_healthy,
        "healthy": service.healthy(),
        "quorum": quorum,
        "has_quorum": has_quorum,
        "sorry": sorry,
        "backends": all(backends, backend),
    });
    match *key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            value["protocol"] = protocol.to_string().to_lowercase().into();
            value["address"] = address.to_string().into();
            value["port"] = port.into();
        }
        ServiceKey::Fwmark {
            mark,
            family: its_family,
        } => {
            value["fwmark"] = mark.into();
            value["family"] = family(its_family).into();
        }
    }
    value
}

fn backend(backend: &BackendState) -> Value {
    let BackendState {
        key,
        forward,
        weight,
        kernel_weight,
        check: its_check,
        operator,
        sorry,
        rising,
    } = backend;
    json!({
        "address": key.address.to_string(),
        "port": key.port,
        "forward": forward.to_string().to_lowercase(),
        "weight": weight,
        "kernel_weight": kernel_weight,
        "operator": operator.words(),
        "sorry": sorry,
        "rising": rising,
        "check": its_check.as_ref().map(check),
    })
}

fn check(check: &CheckState) -> Value {
    let CheckState {
        target,
        health,
        last,
        latency,
        http_status,
        since,
        held,
        advised,
        certificate,
    } = check;
    let (health, streak) = match *health {
        Health::Unknown => ("unknown", 0),
        Health::Up => ("up", 0),
        Health::GoingDown { failures } => ("going_down", failures),
        Health::Down => ("down", 0),
        Health::GoingUp { successes } => ("going_up", successes),
    };
    json!({
        "target": target.to_string(),
        "health": health,
        "streak": streak,
        "last": last,
        "latency_us": latency.map(|latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        "http_status": http_status,
        "since_ms": since.map(ms),
        "held": held,
        "advised": advised,
        "certificate": certificate.map(|shown| json!({
            "expires_in_s": shown.left.as_secs(),
            "soon": shown.soon,
        })),
    })
}

fn name_of(name: &NameState) -> Value {
    let NameState {
        name,
        family: its_family,
        address,
        others,
        since,
        trouble,
    } = name;
    json!({
        "name": name,
        "family": family(*its_family),
        "address": address.map(|address| address.to_string()),
        "others": others.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "since_ms": since.map(ms),
        "trouble": trouble,
    })
}

fn setting(setting: &SettingState) -> Value {
    let SettingState {
        name,
        declared,
        present,
        trouble,
    } = setting;
    json!({ "name": name, "declared": declared, "present": present, "trouble": trouble })
}

fn thread(thread: &ThreadState) -> Value {
    let ThreadState {
        name,
        allocations_after_seal,
        records_dropped,
    } = thread;
    json!({
        "name": name,
        "allocations_after_seal": allocations_after_seal,
        "records_dropped": records_dropped,
    })
}

fn counter(counter: &Counter) -> Value {
    let Counter { name, of, value } = counter;
    json!({ "name": name, "of": of, "value": value })
}

fn all<T>(items: &[T], each: impl Fn(&T) -> Value) -> Vec<Value> {
    items.iter().map(each).collect()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
