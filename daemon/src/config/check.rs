//! `check`: how a backend is known to be well. A service's check holds for its
//! backends; a backend's own keys replace the service's one by one.
//!
//! Defaults: half open, each second, 500 ms for the answer or the shortest
//! interval where that is shorter, 2 to rise, 3 to fall; the fast and the down
//! interval are the interval.

use super::course::Course;
use super::probe::{OwnedScript, ProbeRead, TYPES, Type};
use super::scalar::Shown;
use super::section::{At, Notes, Section, Span};
use super::target::{Target, TargetName, target};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use trunnion_core::check::{CheckConfig, CheckPolicy, Kind, NameId};
use trunnion_core::model::Family;

pub(super) const KEYS: &[&str] = &[
    "type",
    "address",
    "family",
    "port",
    "interval",
    "fast_interval",
    "down_interval",
    "timeout",
    "rise",
    "fall",
    "half_open",
    "send",
    "expect",
    "size_limit",
    "method",
    "path",
    "host",
    "headers",
    "body",
    "version",
    "status",
    "expect_headers",
    "service",
    "name",
    "record",
    "rcode",
    "answer",
    "recursion",
    "transport",
    "initially",
    "backoff",
    "backoff_max",
    "jitter",
    "damping",
    "tls",
    "secret",
    "user",
    "password",
    "nas_identifier",
    "response",
    "signed",
    "command",
    "weigh",
    "reuse",
];

/// The keys of one `check`, as far as they are there.
#[derive(Clone, Debug)]
pub(super) struct CheckRead {
    span: Span,
    has_type: bool,
    kind: Option<At<Type>>,
    address: Option<At<Target>>,
    family: Option<At<Family>>,
    port: Option<At<u16>>,
    probe: ProbeRead,
    /// Of the keys above, once they are all there.
    script: Option<Arc<OwnedScript>>,
    interval: Option<At<Duration>>,
    fast_interval: Option<At<Duration>>,
    down_interval: Option<At<Duration>>,
    timeout: Option<At<Duration>>,
    rise: Option<At<u8>>,
    fall: Option<At<u8>>,
    course: Course,
}

const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

impl CheckRead {
    pub fn read(of: &Section<'_>, notes: &mut Notes) -> Option<Self> {
        let section = Section::of("check", of.raw("check")?, KEYS, notes)?;
        let interval = INTERVAL_MIN..=INTERVAL_MAX;
        let address = section.text("address", target, notes);
        let family = section.choice("family", FAMILIES, notes);
        let port = section.integer("port", 1..=65_535, notes);
        if let (Some(address), Some(port)) = (&address, &port)
            && address.value.port().is_some()
        {
            notes.error_also(
                &port.span,
                "`port` twice: the address has one as well",
                "remove one",
                (&address.span, "the address"),
            );
        }
        if let Some(family) = &family
            && address.as_ref().is_none_or(|at| at.value.host().is_none())
            && (address.is_some() || !section.has("address"))
        {
            notes.error(
                &family.span,
                "`family` has no effect: it says which addresses of a name are meant",
                "remove it, or write address = \"db.example.org\"",
            );
        }
        let kind = section.choice("type", TYPES, notes);
        if let (Some(kind), Some(port)) = (&kind, &port)
            && kind.value == Type::Icmp
        {
            notes.error(
                &port.span,
                "`port` has no effect: an echo request has none",
                "remove it",
            );
        }
        Some(Self {
            has_type: section.has("type"),
            kind,
            address,
            family,
            port,
            probe: ProbeRead::read(&section, notes),
            script: None,
            interval: section.duration("interval", interval.clone(), notes),
            fast_interval: section.duration("fast_interval", interval.clone(), notes),
            down_interval: section.duration("down_interval", interval, notes),
            timeout: section.duration("timeout", TIMEOUT_MIN..=INTERVAL_MAX, notes),
            rise: section.integer("rise", 1..=255, notes),
            fall: section.integer("fall", 1..=255, notes),
            course: Course::read(&section, notes),
            span: section.span,
        })
    }

    /// These keys, and where one is missing, the service's.
    fn over(&self, service: Option<&Self>) -> Self {
        let Some(service) = service else {
            return self.clone();
        };
        let Self {
            span,
            has_type,
            kind,
            address,
            family,
            port,
            probe,
            script: _,
            interval,
            fast_interval,
            down_interval,
            timeout,
            rise,
            fall,
            course,
        } = self.clone();
        // An address may bring its port.
        let own_port =
            port.is_some() || address.as_ref().is_some_and(|at| at.value.port().is_some());
        // Another type has other keys.
        let same = match (&kind, &service.kind) {
            (Some(own), Some(other)) => own.value == other.value,
            (None, _) | (_, None) => true,
        };
        Self {
            probe: if same {
                probe.over(&service.probe)
            } else {
                probe
            },
            script: None,
            span,
            has_type: has_type || service.has_type,
            kind: kind.or_else(|| service.kind.clone()),
            port: port.or_else(|| service.port.clone().filter(|_| !own_port)),
            address,
            family,
            interval: interval.or_else(|| service.interval.clone()),
            fast_interval: fast_interval.or_else(|| service.fast_interval.clone()),
            down_interval: down_interval.or_else(|| service.down_interval.clone()),
            timeout: timeout.or_else(|| service.timeout.clone()),
            rise: rise.or_else(|| service.rise.clone()),
            fall: fall.or_else(|| service.fall.clone()),
            course: course.over(&service.course),
        }
    }

    /// The rules between the keys of one check, once for each place they are
    /// written in.
    fn relations(&self, notes: &mut Notes) {
        if !self.has_type {
            notes.error(&self.span, "`check` has no `type`", "add type = \"tcp\"");
        }
        let down = self.down_interval.as_ref().or(self.interval.as_ref());
        let down = down.map_or(DEFAULT_INTERVAL, |at| at.value);
        self.course.relations(down, notes);
        let Some(timeout) = &self.timeout else {
            return;
        };
        let shortest = [&self.interval, &self.fast_interval, &self.down_interval]
            .into_iter()
            .flatten()
            .min_by_key(|at| at.value);
        let (least, also) = match shortest {
            Some(at) => (at.value, Some(&at.span)),
            None => (DEFAULT_INTERVAL, None),
        };
        if timeout.value > least {
            let message = format!(
                "`timeout` {} is longer than the {}interval {}: the next check would come before the answer",
                Shown(timeout.value),
                if also.is_some() { "" } else { "default " },
                Shown(least),
            );
            let help = format!("write \"{}\" or less, or a longer interval", Shown(least));
            match also {
                Some(also) => {
                    notes.error_also(&timeout.span, message, help, (also, "the interval"))
                }
                None => notes.error(&timeout.span, message, help),
            }
        }
    }

    /// The port that is probed of a backend that has `port` itself.
    fn target_port(&self, port: u16) -> u16 {
        let said = self.address.as_ref().and_then(|at| at.value.port());
        said.or_else(|| self.port.as_ref().map(|at| at.value))
            .unwrap_or(port)
    }

    /// The check of a backend at `address` with `port`, or `None` for none.
    fn of_backend(&self, address: IpAddr, port: u16, notes: &mut Notes) -> Option<Checked> {
        let kind = self.kind.as_ref()?.value;
        if kind == Type::None {
            return None;
        }
        let port = self.target_port(port);
        // An echo request has none, and a command need not know it.
        let port = if kind.has_port() { port } else { 0 };
        let needed = kind.has_port() && !self.script.as_ref().is_some_and(|s| s.is_errand());
        if port == 0 && needed {
            notes.error(
                &self.span,
                "no port to check: neither the check nor every backend has one",
                "add port = 80 to the check",
            );
        }
        let interval = self
            .interval
            .as_ref()
            .map_or(DEFAULT_INTERVAL, |at| at.value);
        let or_interval = |at: &Option<At<Duration>>| at.as_ref().map_or(interval, |at| at.value);
        let fast_interval = or_interval(&self.fast_interval);
        let down_interval = or_interval(&self.down_interval);
        let shortest = interval.min(fast_interval).min(down_interval);
        let connects = Kind::Tcp {
            half_open: self.probe.half_open(),
        };
        let mut name = None;
        let address = match self.address.as_ref().map(|at| &at.value) {
            None => address,
            Some(Target::Address(endpoint)) => endpoint.address,
            Some(Target::Name { host, .. }) => {
                let family = self.family.as_ref().map(|at| at.value);
                let named = TargetName {
                    host: host.clone(),
                    family: family.unwrap_or(Family::of(&address)),
                };
                name.insert(named).nowhere()
            }
        };
        let config = CheckConfig {
            // Who looks names up numbers them.
            name: NameId::NONE,
            target: SocketAddr::new(address, port),
            kind: self
                .script
                .as_ref()
                .map_or(connects, |script| script.kind()),
            interval,
            fast_interval,
            down_interval,
            timeout: match &self.timeout {
                Some(at) => at.value,
                None => Duration::from_millis(500).min(shortest),
            },
            rise: self.rise.as_ref().map_or(2, |at| at.value),
            fall: self.fall.as_ref().map_or(3, |at| at.value),
            policy: CheckPolicy {
                expiry_warning_s: self.probe.expiry_warning_s(),
                ..self.course.policy()
            },
        };
        Some(Checked {
            config,
            script: self.script.clone(),
            name,
        })
    }

    /// Puts what is said and expected together, for a target with this port.
    fn compose(&mut self, port: u16, notes: &mut Notes) {
        if let Some(kind) = self.kind.as_ref().map(|at| at.value) {
            self.probe.foreign(kind, notes);
            let host = self.address.as_ref().and_then(|at| at.value.host());
            self.probe.calls(host, port);
            let script = self.probe.script(kind, &self.span, notes);
            self.script = script.map(Arc::new);
        }
    }
}

/// A backend's check.
pub(super) struct Checked {
    /// Without the address of its target, where that is a name.
    pub config: CheckConfig,
    /// What it says and expects, if anything.
    pub script: Option<Arc<OwnedScript>>,
    /// The name that is its target.
    pub name: Option<TargetName>,
}

const FAMILIES: &[(&str, Family)] = &[("ipv4", Family::V4), ("ipv6", Family::V6)];

const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// A service's check, its rules looked at.
pub(super) fn of_service(section: &Section<'_>, notes: &mut Notes) -> Option<CheckRead> {
    let mut read = CheckRead::read(section, notes)?;
    if let Some(at) = read.address.take() {
        notes.error(
            &at.span,
            "one address for the checks of all backends",
            "write it in the backend's own check, or `port` here",
        );
    }
    read.relations(notes);
    read.compose(0, notes);
    Some(read)
}

/// The check of one backend from its own keys and its service's.
pub(super) fn of_backend(
    own: Option<&CheckRead>,
    service: Option<&CheckRead>,
    (address, port): (IpAddr, u16),
    notes: &mut Notes,
) -> Option<Checked> {
    match (own, service) {
        (Some(own), service) => {
            let mut merged = own.over(service);
            merged.relations_of(own, notes);
            let named = own
                .address
                .as_ref()
                .is_some_and(|at| at.value.host().is_some());
            match service {
                // Its keys are those of the service, and so is what it says.
                Some(service) if own.kind.is_none() && !own.probe.is_written() && !named => {
                    merged.script.clone_from(&service.script);
                }
                Some(_) | None => merged.compose(merged.target_port(port), notes),
            }
            merged.of_backend(address, port, notes)
        }
        (None, Some(service)) => service.of_backend(address, port, notes),
        (None, None) => None,
    }
}

impl CheckRead {
    /// The rules between a backend's keys and those it inherits, unless it
    /// changes none of the ones that matter.
    fn relations_of(&self, own: &Self, notes: &mut Notes) {
        let touches = own.timeout.is_some()
            || own.interval.is_some()
            || own.fast_interval.is_some()
            || own.down_interval.is_some()
            || own.course.stretches()
            || !self.has_type;
        if touches {
            self.relations(notes);
        }
    }
}
