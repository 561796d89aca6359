//! The rules between one part of the file and another: names and keys that
//! must differ, and limits that must hold what the file declares.

use super::node::LimitsRead;
use super::section::{Notes, Section, Span};
use super::service::{ServiceConfig, ServiceRead};
use super::track::TrackRead;
use super::vrrp::{InstanceRead, of};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use trunnion_core::check::probe::Scripts;

/// Notes each later one of two things with the same key.
fn distinct<K: Hash + Eq>(
    things: impl IntoIterator<Item = (K, Span)>,
    notes: &mut Notes,
    mut words: impl FnMut(&K) -> (String, &'static str),
) {
    let mut first: HashMap<K, Span> = HashMap::new();
    for (key, span) in things {
        match first.get(&key) {
            Some(twin) => {
                let (message, help) = words(&key);
                notes.error_also(&span, message, help, (twin, "the first"));
            }
            None => {
                first.insert(key, span);
            }
        }
    }
}

pub(super) fn instances(instances: &[InstanceRead], notes: &mut Notes) {
    let keyed = instances.iter().filter_map(|read| {
        let instance = &read.instance;
        let key = (
            instance.interface.clone(),
            instance.router.vrid,
            instance.router.family,
        );
        (!instance.interface.is_empty()).then_some((key, read.vrid.clone()?))
    });
    distinct(keyed, notes, |(interface, vrid, family)| {
        (
            format!("vrid {vrid} twice on {interface} for {}", of(*family)),
            "write another vrid, or put the addresses into one instance",
        )
    });
    let addresses = instances.iter().flat_map(|read| {
        let each = read.addresses.iter();
        // A link-local address is one for each link.
        each.map(|at| {
            let address = at.value.address;
            let link = match address {
                IpAddr::V6(v6) if v6.is_unicast_link_local() => read.instance.interface.clone(),
                IpAddr::V4(_) | IpAddr::V6(_) => String::new(),
            };
            ((address, link), at.span.clone())
        })
    });
    distinct(addresses, notes, |(address, _)| {
        (
            format!("the virtual address {address} twice"),
            "remove one: an address belongs to one virtual router",
        )
    });
    super::mac::relate(instances, notes);
    names(
        instances
            .iter()
            .map(|read| (read.instance.name.clone(), read.named.clone())),
        "[[vrrp]]",
        notes,
    );
}

pub(super) fn services(services: &[ServiceRead], notes: &mut Notes) {
    let keyed = services
        .iter()
        .filter_map(|read| Some((read.config.service.key, read.key.clone()?)));
    distinct(keyed, notes, |key| {
        (
            format!("the service {key} twice"),
            "put the backends into one, or write another address",
        )
    });
    names(
        services
            .iter()
            .map(|read| (read.config.name.clone(), read.named.clone())),
        "[[service]]",
        notes,
    );
}

/// Names that were written; a default one is as distinct as its key.
fn names(
    named: impl Iterator<Item = (String, Option<Span>)>,
    section: &'static str,
    notes: &mut Notes,
) {
    let written = named.filter_map(|(name, span)| Some((name, span?)));
    distinct(written, notes, |name| {
        (
            format!("the name {name} twice in {section}"),
            "write another name",
        )
    });
}

pub(super) fn limits(
    read: &LimitsRead,
    instances: &[InstanceRead],
    services: &[ServiceRead],
    notes: &mut Notes,
) {
    let limits = &read.limits;
    let backends = services.iter().flat_map(|read| &read.backends_written);
    let addresses = instances
        .iter()
        .flat_map(|read| read.addresses.iter().map(|at| &at.span));
    fits(
        "services",
        (limits.services, read.services.as_ref()),
        services.iter().map(|read| &read.span),
        notes,
    );
    fits(
        "backends",
        (limits.backends, read.backends.as_ref()),
        backends,
        notes,
    );
    scripts(read, services, notes);
    fits(
        "routers",
        (limits.routers, read.routers.as_ref()),
        instances.iter().map(|read| &read.span),
        notes,
    );
    fits(
        "addresses",
        (limits.addresses, read.addresses.as_ref()),
        addresses,
        notes,
    );
}

/// What checks say and expect has room.
fn scripts(read: &LimitsRead, services: &[ServiceRead], notes: &mut Notes) {
    let limit = read.limits.probe_bytes;
    let wanted = script_bytes(services.iter().map(|read| &read.config));
    let talks = |read: &&ServiceRead| !read.config.scripts.is_empty();
    let Some(first) = services
        .iter()
        .find(talks)
        .filter(|_| wanted > limit as usize)
    else {
        return;
    };
    let help = format!("write probe_bytes = {wanted} in [limits], or more for a reload");
    let message =
        format!("what the checks say and expect takes {wanted} bytes, `probe_bytes` is {limit}");
    match &read.probe_bytes {
        Some(set) => notes.error_also(set, message, help, (&first.span, "the first of them")),
        None => notes.error(&first.span, message, help),
    }
}

/// Bytes that the scripts of all services take, each once.
pub(super) fn script_bytes<'s>(services: impl Iterator<Item = &'s ServiceConfig>) -> usize {
    let scripts: BTreeMap<_, _> = services
        .flat_map(|service| &service.scripts)
        .map(|script| (script.id, script.words.len()))
        .collect();
    let words = scripts.values().sum();
    8 * Scripts::words_for(scripts.len(), words)
}

/// Of what is tracked there is room for so much.
pub(super) fn tracks(read: &LimitsRead, tracks: &[TrackRead], notes: &mut Notes) {
    let limit = (read.limits.tracks, read.tracks.as_ref());
    fits("tracks", limit, tracks.iter().map(|read| &read.span), notes);
}

/// Points at the limit where the file sets it, otherwise at the first thing
/// past it.
fn fits<'s>(
    what: &str,
    (limit, set): (u32, Option<&Span>),
    declared: impl Iterator<Item = &'s Span>,
    notes: &mut Notes,
) {
    let mut count: u32 = 0;
    let mut past = None;
    for span in declared {
        if count == limit {
            past = Some(span);
        }
        count = count.saturating_add(1);
    }
    let Some(past) = past else {
        return;
    };
    let (message, help) = match set {
        Some(_) => (
            format!("`{what}` {limit} is too small: the file declares {count}"),
            format!("write {count}, or more to leave room for a reload"),
        ),
        None => (
            format!("the file declares {count} {what}, the default limit is {limit}"),
            format!("add {what} = {count} to [limits], or more to leave room for a reload"),
        ),
    };
    match set {
        Some(set) => notes.error_also(set, message, help, (past, "the first past it")),
        None => notes.error(past, message, help),
    }
}

/// A file that declares nothing is one that lost its content.
pub(super) fn declares_something(root: &Section<'_>, notes: &mut Notes) {
    if !root.has("vrrp") && !root.has("service") {
        notes.warn(
            &(0..0),
            "neither [[vrrp]] nor [[service]]: the node would do nothing, and with own = \"all\" remove every service of the kernel",
            "add [[service]]",
        );
    }
}
