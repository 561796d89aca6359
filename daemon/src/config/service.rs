//! `[[service]]`: what the kernel balances.

use super::backend::{self, Backend, BackendRead, Inherited, protocol_word};
use super::check;
use super::forward;
use super::key::PROTOCOLS;
use super::node::{kernel_name, name};
use super::policy;
use super::probe::OwnedScript;
use super::scalar::{self, Shown, is_host};
use super::section::{At, Notes, Raw, Section, Span};
use super::suggest::nearest;
use super::target::TargetName;
use super::value::{choice, duration, one_of, quote};
use std::sync::Arc;
use std::time::Duration;
use trunnion_core::director::plan::ServicePolicy;
use trunnion_core::model::{
    DestinationKey, EngineName, Family, Protocol, SchedulerName, Service, ServiceFlags, ServiceKey,
};

/// A virtual service with its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// What logs and tables call it. Default its key: `tcp/192.0.2.10:80`,
    /// `fwmark/5`, `fwmark/5/ipv6`.
    pub name: String,
    /// What the kernel is told.
    pub service: Service,
    /// What becomes of it when backends fail, and when they are back.
    pub policy: ServicePolicy,
    /// Sorted by key, none twice.
    pub backends: Vec<Backend>,
    /// What their checks say and expect, each once.
    pub scripts: Vec<Arc<OwnedScript>>,
    /// Which of them have a check whose target is a name; sorted, few.
    pub names: Vec<(DestinationKey, Arc<TargetName>)>,
}

impl ServiceConfig {
    /// The name that is the target of a backend's check.
    #[must_use]
    pub fn name_of(&self, backend: &DestinationKey) -> Option<&Arc<TargetName>> {
        let found = self.names.binary_search_by_key(backend, |(key, _)| *key);
        found.ok().map(|at| &self.names[at].1)
    }
}

pub(super) const KEYS: &[&str] = &[
    "name",
    "address",
    "fwmark",
    "family",
    "protocol",
    "scheduler",
    "scheduler_flags",
    "forward",
    "tunnel",
    "persistence",
    "engine",
    "one_packet",
    "min_healthy",
    "quorum",
    "hysteresis",
    "slow_start",
    "checks_per_second",
    "check",
    "backend",
    "backends",
];
pub(super) const PERSISTENCE_KEYS: &[&str] = &["timeout", "prefix"];

/// The schedulers of Linux 7.3, and "none".
pub(crate) const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos",
    "none",
];
/// ipvsadm's default.
const DEFAULT_SCHEDULER: &str = "wlc";

/// ipvsadm(8): -b. The scheduler that reads each, where only one does.
pub(crate) const SCHEDULER_FLAGS: &[(&str, (ServiceFlags, Option<&str>))] = &[
    ("sh-fallback", (ServiceFlags::SCHED1, Some("sh"))),
    ("sh-port", (ServiceFlags::SCHED2, Some("sh"))),
    ("mh-fallback", (ServiceFlags::SCHED1, Some("mh"))),
    ("mh-port", (ServiceFlags::SCHED2, Some("mh"))),
    ("flag-1", (ServiceFlags::SCHED1, None)),
    ("flag-2", (ServiceFlags::SCHED2, None)),
    ("flag-3", (ServiceFlags::SCHED3, None)),
];

/// The kernel multiplies by its tick rate (at most 1000) in 32 bits and wraps
/// in silence.
const PERSISTENCE_MAX: Duration = Duration::from_secs(u32::MAX as u64 / 1_000);
/// The default of ipvsadm (`-p` alone; its manual says 300) and of keepalived.
const PERSISTENCE_DEFAULT: Duration = Duration::from_secs(360);

/// A service and where its parts stand, for the rules between services.
#[derive(Debug)]
pub(super) struct ServiceRead {
    pub config: ServiceConfig,
    pub span: Span,
    pub named: Option<Span>,
    /// The address or the mark; `None` where the key could not be read, and
    /// then `config` has none of its own.
    pub key: Option<Span>,
    /// Backends in the order of the file, those that could not be read
    /// included.
    pub backends_written: Vec<Span>,
}

impl ServiceRead {
    pub fn read(raw: Raw<'_>, notes: &mut Notes) -> Option<Self> {
        let section = Section::of("[[service]]", raw, KEYS, notes)?;
        let named = section.text("name", name, notes);
        let key = key(&section, notes);
        let scheduler = scheduler(&section, notes);
        let mut service = Service::new(key.as_ref().map_or(NO_KEY, |at| at.value), scheduler);
        let protocol = key.as_ref().and_then(|at| match at.value {
            ServiceKey::Address { protocol, .. } => Some(protocol),
            ServiceKey::Fwmark { .. } => None,
        });
        service.flags |= scheduler_flags(&section, &service.scheduler, notes);
        persistence(&section, key.as_ref(), &mut service, notes);
        engine(&section, protocol, &mut service, notes);
        if let Some(at) = section.boolean("one_packet", notes).filter(|at| at.value) {
            service.flags |= ServiceFlags::ONEPACKET;
            if let Some(protocol) = protocol.filter(|protocol| *protocol != Protocol::UDP) {
                notes.error(
                    &at.span,
                    format!(
                        "`one_packet` is for udp, the service is {}",
                        protocol_word(protocol)
                    ),
                    "remove it, or write protocol = \"udp\"",
                );
            }
        }
        let check = check::of_service(&section, notes);
        let inherited = Inherited {
            key: key.as_ref().map(|at| at.value),
            forward: forward::forward(&section, notes),
            tunnel: forward::tunnel(&section, notes),
            check: check.as_ref(),
        };
        let (backends, backends_written) = backends(&section, &inherited, notes);
        backend::tunnel_is_used(&inherited, &backends, notes);
        let policy = policy::read(&section, backends_written.len(), &backends, notes);
        let scripts = backend::scripts(&backends);
        let names = backend::names(&backends);
        // Not in the room of what they were read into: that is more, and what were cut
        // off it would be a hole.
        let mut exact: Vec<Backend> = Vec::with_capacity(backends.len());
        exact.extend(backends.into_iter().map(|read| read.backend));
        let mut backends = exact;
        backends.sort_by_key(|backend| backend.destination.key);
        backend::share_manners(&mut backends);
        Some(Self {
            config: ServiceConfig {
                name: match &named {
                    Some(at) => at.value.clone(),
                    None => ServiceConfig::key_words(&service.key),
                },
                service,
                policy,
                backends,
                scripts,
                names,
            },
            span: section.span,
            named: named.map(|at| at.span),
            key: key.map(|at| at.span),
            backends_written,
        })
    }
}

/// Stands in where the key could not be read.
const NO_KEY: ServiceKey = ServiceKey::Fwmark {
    mark: 0,
    family: Family::V4,
};

fn key(section: &Section<'_>, notes: &mut Notes) -> Option<At<ServiceKey>> {
    const FAMILIES: &[(&str, Family)] = &[("ipv4", Family::V4), ("ipv6", Family::V6)];
    let protocol = section.choice("protocol", PROTOCOLS, notes);
    let family = section.choice("family", FAMILIES, notes);
    let mark: Option<At<u32>> = section.integer("fwmark", 1..=u32::MAX, notes);
    let address = section.text("address", scalar::endpoint, notes);
    match (section.has("address"), section.has("fwmark")) {
        (true, true) => {
            notes.error_also(
                &section.span_of("fwmark"),
                "`address` and `fwmark`: a service is named by one of them",
                "remove one",
                (&section.span_of("address"), "the address"),
            );
            None
        }
        (false, false) => {
            section.missing(
                "address",
                "address = \"192.0.2.10:80\", or fwmark = 1",
                notes,
            );
            None
        }
        (false, true) => {
            if section.has("protocol") {
                let span = section.span_of("protocol");
                notes.error(
                    &span,
                    "a fwmark service has no protocol: the mark says which packets",
                    "remove it",
                );
            }
            let family = match family {
                Some(at) => at.value,
                None if section.has("family") => return None,
                None => Family::V4,
            };
            Some(mark?.map(|mark| ServiceKey::Fwmark { mark, family }))
        }
        (true, false) => {
            if section.has("family") {
                let span = section.span_of("family");
                notes.error(
                    &span,
                    "`family` goes with `fwmark`: an address has its own",
                    "remove it",
                );
            }
            let At { value, span } = address?;
            let host = value.address;
            if !is_host(&host) {
                notes.error(
                    &span,
                    format!("{host} cannot be a service"),
                    "write the virtual address",
                );
            }
            let Some(port) = value.port else {
                let example = std::net::SocketAddr::new(host, 80);
                notes.error(
                    &span,
                    "the port is missing",
                    format!("write \"{example}\", or port 0 for all ports of a persistent service"),
                );
                return None;
            };
            let protocol = match protocol {
                Some(at) => at.value,
                None if section.has("protocol") => return None,
                None => Protocol::TCP,
            };
            Some(At {
                value: ServiceKey::Address {
                    protocol,
                    address: host,
                    port,
                },
                span,
            })
        }
    }
}

fn scheduler(section: &Section<'_>, notes: &mut Notes) -> SchedulerName {
    let default = SchedulerName::try_from(DEFAULT_SCHEDULER).unwrap_or_default();
    let Some(At { value: word, span }) = section.string("scheduler", notes) else {
        return default;
    };
    if SCHEDULERS.contains(&word) {
        return SchedulerName::try_from(word).unwrap_or(default);
    }
    let help = match word.strip_prefix("custom:").map(kernel_name) {
        Some(Ok(name)) => return name,
        Some(Err(help)) => help,
        None => match nearest(word, SCHEDULERS.iter().copied()) {
            Some(meant) => format!("write \"{meant}\", or \"custom:{word}\" if it is yours"),
            None => format!(
                "write {}, or \"custom:NAME\" for one of your own",
                one_of(SCHEDULERS)
            ),
        },
    };
    notes.error(
        &span,
        format!("`scheduler` cannot be {}", quote(word)),
        help,
    );
    default
}

fn scheduler_flags(
    section: &Section<'_>,
    scheduler: &SchedulerName,
    notes: &mut Notes,
) -> ServiceFlags {
    let mut flags = ServiceFlags::empty();
    for At { value, span } in section.texts("scheduler_flags", |word| Ok(word.to_owned()), notes) {
        let word = At {
            value: value.as_str(),
            span,
        };
        let Some(found) = choice("scheduler_flags", &word, SCHEDULER_FLAGS, notes) else {
            continue;
        };
        let (flag, reader) = found.value;
        if let Some(reader) = reader.filter(|reader| *reader != scheduler.as_str()) {
            notes.error(
                &word.span,
                format!("{value} is a flag of the scheduler {reader}, the service has {scheduler}"),
                format!("remove it, or write scheduler = \"{reader}\""),
            );
        }
        flags |= flag;
    }
    flags
}

/// `persistence = "300s"`, `persistence = { timeout = "300s", prefix = 24 }`.
fn persistence(
    section: &Section<'_>,
    key: Option<&At<ServiceKey>>,
    service: &mut Service,
    notes: &mut Notes,
) {
    let all_ports = matches!(service.key, ServiceKey::Address { port: 0, .. });
    let Some(raw) = section.raw("persistence") else {
        if let Some(key) = key.filter(|_| all_ports) {
            notes.error(
                &key.span,
                "port 0 is all ports, which the kernel offers to persistent services only",
                "write a port, or add persistence = \"300s\"",
            );
        }
        return;
    };
    service.flags |= ServiceFlags::PERSISTENT;
    let seconds = Duration::from_secs(1)..=PERSISTENCE_MAX;
    let mut timeout = None;
    if raw.1.get_ref().is_table() {
        let Some(inner) = Section::of("persistence", raw, PERSISTENCE_KEYS, notes) else {
            return;
        };
        timeout = inner.duration("timeout", seconds, notes);
        let bits = service.key.family().bits();
        let least = u32::from(service.key.family() == Family::V6);
        let prefix: Option<At<u8>> = inner.integer("prefix", least..=bits.into(), notes);
        service.prefix = prefix.map_or(bits, |at| at.value);
    } else if let Some(at) = duration(raw, seconds, notes) {
        timeout = Some(at);
    }
    let timeout = timeout.unwrap_or(At {
        value: PERSISTENCE_DEFAULT,
        span: section.span.clone(),
    });
    if timeout.value.subsec_nanos() != 0 {
        let whole = Duration::from_secs(timeout.value.as_secs() + 1);
        notes.error(
            &timeout.span,
            "the kernel counts persistence in whole seconds",
            format!("write \"{}\"", Shown(whole)),
        );
    }
    service.timeout_s = u32::try_from(timeout.value.as_secs()).unwrap_or(u32::MAX);
}

fn engine(
    section: &Section<'_>,
    protocol: Option<Protocol>,
    service: &mut Service,
    notes: &mut Notes,
) {
    let Some(At { value: word, span }) = section.string("engine", notes) else {
        return;
    };
    let name = match (word, word.strip_prefix("custom:")) {
        ("sip", _) => kernel_name(word),
        (_, Some(own)) => kernel_name(own),
        _ => Err("write \"sip\", or \"custom:NAME\" for one of your own".to_owned()),
    };
    match name {
        Ok(name) => service.engine = name,
        Err(help) => {
            notes.error(&span, format!("`engine` cannot be {}", quote(word)), help);
            return;
        }
    }
    if !section.has("persistence") {
        notes.error(
            &span,
            "an engine is for persistent services",
            "add persistence = \"300s\"",
        );
    }
    if let Some(protocol) = protocol.filter(|protocol| word == "sip" && *protocol != Protocol::UDP)
    {
        notes.error(
            &span,
            format!(
                "the sip engine reads udp only, the service is {}",
                protocol_word(protocol)
            ),
            "remove it, or write protocol = \"udp\"",
        );
        service.engine = EngineName::new();
    }
}

fn backends(
    section: &Section<'_>,
    inherited: &Inherited<'_>,
    notes: &mut Notes,
) -> (Vec<BackendRead>, Vec<Span>) {
    let mut raws = section.items("backend", "[[service.backend]]", notes);
    raws.extend(section.items("backends", "[[service.backend]]", notes));
    if raws.is_empty() && !section.has("backend") && !section.has("backends") {
        notes.warn(
            &section.span,
            "a service without backends refuses every connection",
            "add backends = [\"10.0.0.1\"]",
        );
    }
    let written = raws.iter().map(|(_, value)| value.span()).collect();
    let mut first = std::collections::HashMap::new();
    let mut found: Vec<BackendRead> = Vec::new();
    for raw in raws {
        let Some(read) = BackendRead::read(raw, inherited, notes) else {
            continue;
        };
        let key = read.backend.destination.key;
        if let Some(twin) = first.insert(key, read.span.clone()) {
            notes.error_also(
                &read.span,
                format!("the backend {key} twice in one service"),
                "remove one, or add their weights up",
                (&twin, "the first"),
            );
            first.insert(key, twin);
            continue;
        }
        found.push(read);
    }
    if !found.is_empty()
        && found
            .iter()
            .all(|read| read.backend.destination.weight == 0)
    {
        notes.warn(
            &section.span,
            "every backend has weight 0: the service refuses every new connection",
            "write a weight above 0 for one of them",
        );
    }
    (found, written)
}
