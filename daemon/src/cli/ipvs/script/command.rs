//! One command of its options: what it says of the table, or every reason why
//! it says nothing.

use super::option::{self, Given, Head, Kind, Word};
use crate::cli::ipvs::select;
use crate::config::{Notes, SCHEDULER_FLAGS, SCHEDULERS, nearest};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Range, RangeInclusive};
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceFlags, ServiceKey,
    Tunnel, TunnelFlags, TunnelType,
};

mod server;

/// What one line says.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Where the command's own option stands.
    pub span: Range<usize>,
    pub verb: Verb,
}

/// See [`Command`]. Where a row lacks something, what is there is kept, so that
/// the lines that rely on it are not wrong as well.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    Clear,
    /// With the mask where it is no prefix.
    Add(Service, Option<Ipv4Addr>),
    Edit(Service, Option<Ipv4Addr>),
    Delete(ServiceKey),
    AddServer(ServiceKey, Destination),
    EditServer(ServiceKey, Destination),
    DeleteServer(ServiceKey, DestinationKey),
}

/// ipvsadm's, where `-s` is not said.
const DEFAULT_SCHEDULER: &str = "wlc";
/// What `-p` alone means, seconds: ipvsadm's, which is not its manual's 300.
const DEFAULT_TIMEOUT_S: u32 = 360;
/// The kernel multiplies by its tick rate in 32 bits and wraps in silence.
const TIMEOUT_S: RangeInclusive<u32> = 0..=u32::MAX / 1000;
/// The kernel keeps weights and thresholds in an `int`.
const INT: RangeInclusive<u32> = 0..=i32::MAX.cast_unsigned();

impl Command {
    /// Reads a line's words; `None` when there is none, or when nothing can be
    /// made of it.
    pub fn read(words: &[Word<'_>], notes: &mut Notes) -> Option<Self> {
        let first = words.first()?;
        let mistakes = notes.list.len();
        let given = option::read(words, notes);
        let understood = notes.list.len() == mistakes;
        let Some(head) = given.first() else {
            // Noted already.
            return None;
        };
        let span = head.span.clone();
        let options = Options {
            command: head,
            given: given.get(1..).unwrap_or(&[]),
            understood,
        };
        let Kind::Command(kind) = head.kind else {
            if understood {
                notes.error(
                    &first.span,
                    "the line does not begin with a command",
                    "write -A, -a or another command first",
                );
            }
            return None;
        };
        let verb = match kind {
            Head::Clear => {
                options.only(&[], notes);
                Some(Verb::Clear)
            }
            Head::Add => options.service(notes).map(|(it, mask)| Verb::Add(it, mask)),
            Head::Edit => options
                .service(notes)
                .map(|(it, mask)| Verb::Edit(it, mask)),
            Head::Delete => {
                options.only(&[], notes);
                options.key(notes).map(Verb::Delete)
            }
            Head::AddServer => options
                .server(notes)
                .map(|(key, it)| Verb::AddServer(key, it)),
            Head::EditServer => options
                .server(notes)
                .map(|(key, it)| Verb::EditServer(key, it)),
            Head::DeleteServer => options
                .server_key(notes)
                .map(|(key, at)| Verb::DeleteServer(key, at)),
            Head::Elsewhere(verb) => {
                // Nothing else in the line matters then.
                notes.list.truncate(mistakes);
                notes.error(
                    &span,
                    format!("`{}` is no row of a table", head.name),
                    format!("remove the line, and run `trunnion ipvs {verb}` instead"),
                );
                None
            }
        };
        Some(Self { span, verb: verb? })
    }
}

/// The options of a command.
struct Options<'a, 't> {
    command: &'a Given<'t>,
    given: &'a [Given<'t>],
    /// Every word is one of these: what is missing is missing, not mistyped.
    understood: bool,
}

/// What names a service: with every command but `-C`.
const KEY: &[Kind] = &[
    Kind::Service(Protocol::TCP),
    Kind::Service(Protocol::UDP),
    Kind::Service(Protocol::SCTP),
    Kind::Mark,
    Kind::V6,
];

impl<'a, 't> Options<'a, 't> {
    /// Notes what does not go with the command, what is said twice, and second
    /// commands.
    fn only(&self, kinds: &[Kind], notes: &mut Notes) {
        let key = if self.command.kind == Kind::Command(Head::Clear) {
            &[]
        } else {
            KEY
        };
        let command = &self.command.name;
        for (at, given) in self.given.iter().enumerate() {
            let name = &given.name;
            let before = self.given[..at].iter().find(|b| b.kind == given.kind);
            if matches!(given.kind, Kind::Command(_)) {
                notes.error_also(
                    &given.span,
                    format!("a second command, `{name}`"),
                    "write each command on a line of its own",
                    (&self.command.span, "the first"),
                );
            } else if !kinds.contains(&given.kind) && !key.contains(&given.kind) {
                notes.error(
                    &given.span,
                    format!("`{name}` does not go with {command}"),
                    fitting(given.kind),
                );
            } else if let Some(before) = before {
                notes.error_also(
                    &given.span,
                    format!("`{name}` is said twice"),
                    "remove one of them",
                    (&before.span, "the first"),
                );
            }
        }
    }

    fn find(&self, kind: Kind) -> Option<&'a Given<'t>> {
        self.given.iter().find(|given| given.kind == kind)
    }

    fn value(&self, kind: Kind) -> Option<&'a Word<'t>> {
        self.find(kind)?.value.as_ref()
    }

    /// A number in `range`; `default` where it is not said or no such number.
    fn number(
        &self,
        kind: Kind,
        range: RangeInclusive<u32>,
        default: u32,
        notes: &mut Notes,
    ) -> u32 {
        let Some(word) = self.value(kind) else {
            return default;
        };
        let number = select::number(word.text).filter(|number| range.contains(number));
        number.unwrap_or_else(|| {
            let name = self.find(kind).map_or("", |given| &given.name);
            notes.error(
                &word.span,
                format!("`{}` is no value of {name}", word.text),
                format!("write a number from {} to {}", range.start(), range.end()),
            );
            default
        })
    }

    /// A name that the kernel has room for.
    fn name(&self, kind: Kind, notes: &mut Notes) -> Option<heapless::String<15, u8>> {
        let word = self.value(kind)?;
        let name = word.text.try_into().ok().filter(|_| !word.text.is_empty());
        if name.is_none() {
            notes.error(
                &word.span,
                format!("`{}` is no name the kernel knows", word.text),
                "write a name of 1 to 15 bytes",
            );
        }
        name
    }

    /// What names the service.
    fn key(&self, notes: &mut Notes) -> Option<ServiceKey> {
        let mut named = self
            .given
            .iter()
            .filter(|given| matches!(given.kind, Kind::Service(_) | Kind::Mark));
        let Some(given) = named.next() else {
            if self.understood {
                notes.error(
                    &self.command.span,
                    format!("{} without a service", self.command.name),
                    "write -t, -u or --sctp-service ADDRESS:PORT, or -f MARK",
                );
            }
            return None;
        };
        // The same option twice is noted where all options are.
        if let Some(second) = named.find(|second| second.kind != given.kind) {
            notes.error_also(
                &second.span,
                "a second service",
                "write one service on a line",
                (&given.span, "the first"),
            );
        }
        let v6 = self.find(Kind::V6);
        let word = given.value.as_ref()?;
        let key = if let Kind::Service(protocol) = given.kind {
            if let Some(v6) = v6 {
                notes.error(
                    &v6.span,
                    format!("`{}` goes with -f only", v6.name),
                    "remove it: the address tells its family",
                );
            }
            select::endpoint(word.text).map(|(address, port)| ServiceKey::Address {
                protocol,
                address,
                port: port.unwrap_or(0),
            })
        } else {
            select::mark(word.text).map(|mark| ServiceKey::Fwmark {
                mark,
                family: v6.map_or(Family::V4, |_| Family::V6),
            })
        };
        key.map_err(|why| said(&word.span, &why, notes)).ok()
    }

    fn service(&self, notes: &mut Notes) -> Option<(Service, Option<Ipv4Addr>)> {
        self.only(
            &[
                Kind::Scheduler,
                Kind::Persistent,
                Kind::Netmask,
                Kind::OnePacket,
                Kind::Engine,
                Kind::SchedulerFlags,
            ],
            notes,
        );
        let key = self.key(notes)?;
        let mut service = Service::new(key, self.scheduler(notes));
        if let Some(persistent) = self.find(Kind::Persistent) {
            service.flags |= ServiceFlags::PERSISTENT;
            service.timeout_s = self.number(Kind::Persistent, TIMEOUT_S, DEFAULT_TIMEOUT_S, notes);
            if service.timeout_s == 0 {
                notes.warn(
                    &persistent.span,
                    "a client is forgotten at once",
                    "write the seconds it sticks to its server",
                );
            }
        }
        if let Some(engine) = self.name(Kind::Engine, notes) {
            service.engine = engine;
        }
        if let Some(given) = self.find(Kind::OnePacket) {
            service.flags |= ServiceFlags::ONEPACKET;
            let fits = match key {
                ServiceKey::Address { protocol, .. } => protocol == Protocol::UDP,
                ServiceKey::Fwmark { .. } => true,
            };
            if !fits {
                notes.error(
                    &given.span,
                    "only udp is scheduled packet by packet",
                    format!("remove {}, or write -u for the service", given.name),
                );
            }
        }
        service.flags |= self.scheduler_flags(&service, notes);
        let odd = self.mask(&mut service, notes);
        self.all_ports(&service, notes);
        Some((service, odd))
    }

    fn scheduler(&self, notes: &mut Notes) -> heapless::String<15, u8> {
        let default = || DEFAULT_SCHEDULER.try_into().unwrap_or_default();
        let Some(name) = self.name(Kind::Scheduler, notes) else {
            return default();
        };
        if let Some(word) = self.value(Kind::Scheduler)
            && !SCHEDULERS.contains(&word.text)
        {
            let help = match nearest(word.text, SCHEDULERS.iter().copied()) {
                Some(meant) => format!("write {meant}, unless ip_vs_{name} is a module of yours"),
                None => format!("a module ip_vs_{name} of yours must be there"),
            };
            notes.warn(&word.span, format!("Linux has no scheduler `{name}`"), help);
        }
        name
    }

    fn scheduler_flags(&self, service: &Service, notes: &mut Notes) -> ServiceFlags {
        let mut flags = ServiceFlags::empty();
        let Some(word) = self.value(Kind::SchedulerFlags) else {
            return flags;
        };
        let mut start = word.span.start;
        for name in word.text.split(',') {
            let span = start..start + name.len();
            start = span.end + 1;
            if name.is_empty() {
                continue;
            }
            let found = SCHEDULER_FLAGS.iter().find(|(known, _)| *known == name);
            let Some((_, (flag, of))) = found else {
                let known = SCHEDULER_FLAGS.iter().map(|(known, _)| *known);
                let help = match nearest(name, known) {
                    Some(meant) => format!("write {meant}"),
                    None => "write sh-fallback, sh-port, mh-fallback, mh-port or flag-1 to flag-3"
                        .to_owned(),
                };
                notes.error(&span, format!("unknown scheduler flag `{name}`"), help);
                continue;
            };
            if let Some(of) = of.filter(|of| service.scheduler != *of) {
                notes.error(
                    &span,
                    format!(
                        "{name} is a flag of the scheduler {of}, the service has {}",
                        service.scheduler
                    ),
                    format!("remove it, or write -s {of}"),
                );
            }
            flags |= *flag;
        }
        flags
    }

    /// Sets the granularity; returns it where it is no prefix.
    fn mask(&self, service: &mut Service, notes: &mut Notes) -> Option<Ipv4Addr> {
        let word = self.value(Kind::Netmask)?;
        let help = match service.key.family() {
            Family::V6 => match select::number(word.text).filter(|bits| (1..=128).contains(bits)) {
                Some(bits) => {
                    service.prefix = bits;
                    return None;
                }
                None => "write the bits of an IPv6 prefix, 1 to 128",
            },
            Family::V4 => match word.text.parse::<Ipv4Addr>() {
                Ok(mask) => {
                    let bits = mask.to_bits();
                    if bits.leading_ones() == bits.count_ones() {
                        service.prefix = u8::try_from(bits.leading_ones()).unwrap_or(32);
                        return None;
                    }
                    service.prefix = Service::NO_PREFIX;
                    return Some(mask);
                }
                Err(_) => "write an IPv4 mask, 255.255.255.0",
            },
        };
        notes.error(&word.span, format!("`{}` is no mask", word.text), help);
        None
    }

    fn all_ports(&self, service: &Service, notes: &mut Notes) {
        let all = matches!(service.key, ServiceKey::Address { port: 0, .. });
        if all && !service.flags.contains(ServiceFlags::PERSISTENT) {
            let span = self
                .given
                .iter()
                .find(|given| matches!(given.kind, Kind::Service(_)))
                .and_then(|given| given.value.as_ref())
                .map_or(&self.command.span, |word| &word.span);
            notes.error(
                span,
                "port 0 is all ports, which a persistent service alone can have",
                "write a port, or -p",
            );
        }
    }
}

/// Notes what a reader of ours said of a word: what is wrong, what to write.
fn said(span: &Range<usize>, why: &str, notes: &mut Notes) {
    let (message, help) = why.split_once(": ").unwrap_or((why, ""));
    notes.error(span, message, help);
}

/// Where an option goes that was found where it does not.
const fn fitting(kind: Kind) -> &'static str {
    match kind {
        Kind::Scheduler
        | Kind::Persistent
        | Kind::Netmask
        | Kind::OnePacket
        | Kind::Engine
        | Kind::SchedulerFlags => "remove it: it goes with -A and -E",
        Kind::Server => "remove it: it goes with -a, -e and -d",
        Kind::Route
        | Kind::Tunnel
        | Kind::Masq
        | Kind::Weight
        | Kind::Upper
        | Kind::Lower
        | Kind::TunnelType
        | Kind::TunnelPort
        | Kind::NoCsum
        | Kind::Csum
        | Kind::RemCsum => "remove it: it goes with -a and -e",
        Kind::Command(_) | Kind::Service(_) | Kind::Mark | Kind::V6 => "remove it",
    }
}
