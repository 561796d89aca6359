//! `[[service.backend]]`: where a service's connections go.

use super::check::{self, CheckRead, Checked};
use super::forward;
use super::probe::OwnedScript;
use super::scalar::{self, Endpoint, is_host};
use super::section::{At, Notes, Raw, Section, Span};
use super::target::{TargetName, link_local};
use super::value::text;
use super::vrrp::of;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use trunnion_core::check::{CheckConfig, Manner};
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, ServiceKey, Tunnel,
};

/// One backend of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What the kernel is told while the backend is up.
    pub destination: Destination,
    /// It gets clients when no other can.
    pub sorry: bool,
    /// How it is known to be up; without one it always is. Kept once for all of a
    /// service that are checked so.
    manner: Option<Arc<Manner>>,
    /// The port the check asks, and the address where it is not the backend's own.
    port: u16,
    elsewhere: Option<Box<IpAddr>>,
}

// There are as many as there are backends, for as long as the config is in force.
const _: () = assert!(size_of::<Backend>() <= 64);

impl Backend {
    fn new(destination: Destination, sorry: bool, check: Option<&CheckConfig>) -> Self {
        let target = check.map(|check| check.target);
        let elsewhere = target.map(|target| target.ip());
        Self {
            destination,
            sorry,
            manner: check.map(|check| Arc::new(Manner::of(check))),
            port: target.map_or(0, |target| target.port()),
            elsewhere: elsewhere
                .filter(|address| *address != destination.key.address)
                .map(Box::new),
        }
    }

    /// How it is known to be up; without a check it always is.
    #[must_use]
    pub fn check(&self) -> Option<CheckConfig> {
        let own = self.destination.key.address;
        let address = self.elsewhere.as_deref().copied().unwrap_or(own);
        let manner = self.manner.as_deref()?;
        Some(manner.check(SocketAddr::new(address, self.port)))
    }

    /// Whether it has a check.
    #[must_use]
    pub const fn is_checked(&self) -> bool {
        self.manner.is_some()
    }
}

pub(super) const KEYS: &[&str] = &[
    "address",
    "weight",
    "forward",
    "tunnel",
    "upper_threshold",
    "lower_threshold",
    "sorry",
    "check",
];

/// What a backend inherits from its service.
#[derive(Debug)]
pub(super) struct Inherited<'s> {
    pub key: Option<ServiceKey>,
    pub forward: Option<At<Forward>>,
    pub tunnel: Option<At<Tunnel>>,
    pub check: Option<&'s CheckRead>,
}

/// A backend and where it stands.
#[derive(Debug)]
pub(super) struct BackendRead {
    pub backend: Backend,
    /// What its check says and expects.
    pub script: Option<Arc<OwnedScript>>,
    /// The name that its check's target is.
    pub name: Option<TargetName>,
    pub span: Span,
    /// Where it says that it is the sorry server.
    pub sorry: Option<Span>,
}

/// The kernel reads a weight and a threshold as a signed number.
const NUMBER_MAX: u32 = i32::MAX as u32;
/// Tools that read a weight as 16 bits are in wide use (moby/ipvs and all that
/// stands on it).
const WEIGHT_WARNED: u32 = 65_535;

impl BackendRead {
    /// A table, or an address alone.
    pub fn read(raw: Raw<'_>, inherited: &Inherited<'_>, notes: &mut Notes) -> Option<Self> {
        if raw.1.get_ref().is_str() {
            let address = text(raw, scalar::endpoint, notes)?;
            let span = address.span.clone();
            return Self::at(address, None, span, inherited, notes);
        }
        let section = Section::of("[[service.backend]]", raw, KEYS, notes)?;
        let address = section.text("address", scalar::endpoint, notes);
        if !section.has("address") {
            section.missing("address", "address = \"10.0.0.1:80\"", notes);
        }
        match address {
            Some(address) => {
                let span = section.span.clone();
                Self::at(address, Some(&section), span, inherited, notes)
            }
            None => {
                // Its other keys are looked at all the same.
                let _ = Keys::read(Some(&section), inherited, notes);
                None
            }
        }
    }

    fn at(
        address: At<Endpoint>,
        section: Option<&Section<'_>>,
        span: Span,
        inherited: &Inherited<'_>,
        notes: &mut Notes,
    ) -> Option<Self> {
        let keys = Keys::read(section, inherited, notes);
        let host = address.value.address;
        if !is_host(&host) || link_local(&address.value.address) {
            notes.error(
                &address.span,
                format!("{host} cannot be a backend: the kernel takes a host's unicast address"),
                "write the backend's own address",
            );
        }
        let port = keys.port(&address, inherited, notes);
        keys.family(&address, inherited, notes);
        let check = check::of_backend(keys.check.as_ref(), inherited.check, (host, port), notes);
        let key = DestinationKey {
            address: host,
            port,
        };
        let (check, script, name) = match check {
            Some(Checked {
                config,
                script,
                name,
            }) => (Some(config), script, name),
            None => (None, None, None),
        };
        let destination = Destination {
            upper_threshold: keys.upper,
            lower_threshold: keys.lower,
            tunnel: keys.tunnel,
            ..Destination::new(key, keys.forward.value, keys.weight)
        };
        Some(Self {
            backend: Backend::new(destination, keys.sorry.is_some(), check.as_ref()),
            script,
            name,
            sorry: keys.sorry,
            span: address.span.start..address.span.end.max(span.start),
        })
    }
}

/// A backend's keys beside its address, with what it inherits.
#[derive(Debug)]
struct Keys {
    weight: u32,
    forward: At<Forward>,
    tunnel: Tunnel,
    upper: u32,
    lower: u32,
    sorry: Option<Span>,
    check: Option<CheckRead>,
}

impl Keys {
    fn read(section: Option<&Section<'_>>, inherited: &Inherited<'_>, notes: &mut Notes) -> Self {
        let weight: Option<At<u32>> =
            section.and_then(|section| section.integer("weight", 0..=NUMBER_MAX, notes));
        if let Some(at) = weight.as_ref().filter(|at| at.value > WEIGHT_WARNED) {
            notes.warn(
                &at.span,
                format!(
                    "tools that read a weight as 16 bits will show {}",
                    at.value & 0xffff
                ),
                "write 65535 or less, the same ratio",
            );
        }
        let own_forward = section.and_then(|section| forward::forward(section, notes));
        let forward = own_forward
            .or_else(|| inherited.forward.clone())
            .unwrap_or(At {
                value: Forward::ROUTE,
                span: 0..0,
            });
        let own_tunnel = section.and_then(|section| forward::tunnel(section, notes));
        if let Some(at) = own_tunnel
            .as_ref()
            .filter(|_| forward.value != Forward::TUNNEL)
        {
            notes.error(
                &at.span,
                format!(
                    "`tunnel` has no effect: packets are forwarded by {}",
                    word(forward.value)
                ),
                "remove it, or write forward = \"tunnel\"",
            );
        }
        let tunnel = own_tunnel
            .or_else(|| inherited.tunnel.clone())
            .map(|at| at.value)
            .filter(|_| forward.value == Forward::TUNNEL)
            .unwrap_or(Tunnel::IPIP);
        let upper: Option<At<u32>> =
            section.and_then(|section| section.integer("upper_threshold", 0..=NUMBER_MAX, notes));
        let lower: Option<At<u32>> =
            section.and_then(|section| section.integer("lower_threshold", 0..=NUMBER_MAX, notes));
        thresholds(section, upper.as_ref(), lower.as_ref(), notes);
        Self {
            weight: weight.map_or(1, |at| at.value),
            forward,
            tunnel,
            upper: upper.map_or(0, |at| at.value),
            lower: lower.map_or(0, |at| at.value),
            sorry: section
                .and_then(|section| section.boolean("sorry", notes))
                .filter(|at| at.value)
                .map(|at| at.span),
            check: section.and_then(|section| CheckRead::read(section, notes)),
        }
    }

    /// The port, which only masquerading can change.
    fn port(&self, address: &At<Endpoint>, inherited: &Inherited<'_>, notes: &mut Notes) -> u16 {
        let Some(ServiceKey::Address {
            port: virtual_port, ..
        }) = inherited.key
        else {
            return address.value.port.unwrap_or(0);
        };
        let port = address.value.port.unwrap_or(virtual_port);
        if port == virtual_port {
            return port;
        }
        let host = Endpoint {
            port: None,
            ..address.value
        };
        let host = host.address;
        if virtual_port == 0 {
            notes.error(
                &address.span,
                "the service has all ports, so its backends keep the client's",
                format!("write \"{host}\", without a port"),
            );
        } else if self.forward.value != Forward::MASQ {
            notes.error(
                &address.span,
                format!(
                    "port {port} differs from the service's {virtual_port}: {} cannot translate ports",
                    word(self.forward.value)
                ),
                format!("write \"{host}\" without a port, or forward = \"masq\""),
            );
        } else if port == 0 {
            notes.error(
                &address.span,
                "a backend's port cannot be 0",
                "write its port, or none for the service's",
            );
        }
        port
    }

    /// Only a tunnel crosses families.
    fn family(&self, address: &At<Endpoint>, inherited: &Inherited<'_>, notes: &mut Notes) {
        let Some(key) = inherited.key else {
            return;
        };
        let (theirs, ours) = (key.family(), Family::of(&address.value.address));
        if theirs != ours && self.forward.value != Forward::TUNNEL {
            notes.error(
                &address.span,
                format!(
                    "an {} backend of an {} service: only a tunnel crosses families",
                    of(ours),
                    of(theirs)
                ),
                format!("write an {} address, or forward = \"tunnel\"", of(theirs)),
            );
        }
    }
}

fn thresholds(
    section: Option<&Section<'_>>,
    upper: Option<&At<u32>>,
    lower: Option<&At<u32>>,
    notes: &mut Notes,
) {
    let (Some(section), Some(lower)) = (section, lower) else {
        return;
    };
    match upper {
        Some(upper) if lower.value > upper.value => notes.error_also(
            &lower.span,
            format!("`lower_threshold` {} is above `upper_threshold` {}", lower.value, upper.value),
            format!("write {} or less", upper.value),
            (&upper.span, "the upper one"),
        ),
        Some(_) => {}
        None if lower.value > 0 && !section.has("upper_threshold") => notes.error(
            &lower.span,
            "`lower_threshold` without `upper_threshold`: nothing is ever closed, so nothing opens again",
            format!("add upper_threshold = {} or more", lower.value),
        ),
        None => {}
    }
}

/// Keeps equal manners of checking once.
pub(super) fn share_manners(backends: &mut [Backend]) {
    let mut known: HashSet<Arc<Manner>> = HashSet::new();
    for manner in backends.iter_mut().filter_map(|b| b.manner.as_mut()) {
        match known.get(manner) {
            Some(twin) => *manner = Arc::clone(twin),
            None => drop(known.insert(Arc::clone(manner))),
        }
    }
}

/// What the checks of backends say and expect, each once.
pub(super) fn scripts(backends: &[BackendRead]) -> Vec<Arc<OwnedScript>> {
    let each = backends.iter().filter_map(|read| read.script.as_ref());
    let mut scripts: Vec<_> = each.cloned().collect();
    scripts.sort_by_key(|script| script.id);
    scripts.dedup_by_key(|script| script.id);
    scripts.shrink_to_fit();
    scripts
}

/// The names that are targets of checks, by the backend whose check it is, sorted.
pub(super) fn names(backends: &[BackendRead]) -> Vec<(DestinationKey, Arc<TargetName>)> {
    let each = backends.iter().filter_map(|read| {
        let name = Arc::new(read.name.clone()?);
        Some((read.backend.destination.key, name))
    });
    let mut names: Vec<_> = each.collect();
    names.sort();
    names.shrink_to_fit();
    names
}

/// Whether what a service says of tunnels is for anyone.
pub(super) fn tunnel_is_used(
    inherited: &Inherited<'_>,
    backends: &[BackendRead],
    notes: &mut Notes,
) {
    let tunnelled = |forward| forward == Forward::TUNNEL;
    let own = inherited
        .forward
        .as_ref()
        .is_some_and(|at| tunnelled(at.value));
    let used = own
        || backends
            .iter()
            .any(|read| tunnelled(read.backend.destination.forward));
    if let Some(at) = inherited.tunnel.as_ref().filter(|_| !used) {
        notes.error(
            &at.span,
            "`tunnel` has no effect: nothing is forwarded by tunnel",
            "remove it, or write forward = \"tunnel\"",
        );
    }
}

/// What the config calls a method.
pub(super) fn word(forward: Forward) -> &'static str {
    match forward {
        Forward::MASQ => "masq",
        Forward::TUNNEL => "tunnel",
        Forward::ROUTE => "route",
        _ => "another method",
    }
}

/// What the config calls a protocol.
pub(super) fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::TCP => "tcp",
        Protocol::UDP => "udp",
        Protocol::SCTP => "sctp",
        _ => "another protocol",
    }
}
