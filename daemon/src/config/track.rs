//! `[[track]]`: what virtual routers track besides their own interface.

use super::node::{interface, name, short_name};
use super::scalar::{self, Prefixed};
use super::section::{At, Notes, Raw, Section, Span};
use super::service::ServiceConfig;
use super::suggest::nearest;
use super::value::{list, quote};
use std::borrow::Borrow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Something tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: TrackSource,
}

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackSource {
    /// An interface: up while it has a carrier.
    Interface(String),
    /// A route to this prefix: up while the table has one.
    Route {
        /// The prefix, host bits zero.
        prefix: Prefixed,
        /// Number of the routing table. Default 254, `main`.
        table: u32,
    },
    /// A program: up while so many processes run it.
    Process {
        /// Its name, as `/proc/PID/comm` has it, or a part of its command line.
        program: String,
        /// The name is looked for in the whole command line.
        command_line: bool,
        /// At least so many. Default 1.
        count: u32,
    },
    /// A program that is run: up while it exits with 0.
    Script(Script),
    /// A file with a number in it, which multiplies the weight.
    File(PathBuf),
    /// One of our services: up while so many of its backends are healthy.
    Service {
        /// Its name.
        name: String,
        /// At least so many. Default 1.
        quorum: u32,
    },
}

/// A program that says whether something is well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Script {
    /// The program and its arguments; no shell is in between.
    pub command: Vec<String>,
    /// How often it is run. Default 1 s.
    pub interval: Duration,
    /// How long it may take, at most the interval. Default that.
    pub timeout: Duration,
    /// Successes in a row that make it up, failures that make it down.
    /// Default 1.
    pub rise: u32,
    /// As above.
    pub fall: u32,
}

pub(super) const KEYS: &[&str] = &[
    "name",
    "interface",
    "route",
    "table",
    "process",
    "command_line",
    "count",
    "script",
    "interval",
    "timeout",
    "rise",
    "fall",
    "file",
    "service",
    "quorum",
];

/// What says where to look, and what may stand beside each.
const SOURCES: &[(&str, &[&str])] = &[
    ("interface", &[]),
    ("route", &["table"]),
    ("process", &["command_line", "count"]),
    ("script", &["interval", "timeout", "rise", "fall"]),
    ("file", &[]),
    ("service", &["quorum"]),
];

/// Routing table `main` (rtnetlink.h, `RT_TABLE_MAIN`).
const TABLE_MAIN: u32 = 254;

/// Something tracked and where its parts stand.
#[derive(Debug)]
pub(super) struct TrackRead {
    pub track: Track,
    pub span: Span,
    pub named: Span,
    pub service: Option<Span>,
}

impl TrackRead {
    pub fn read(raw: Raw<'_>, notes: &mut Notes) -> Option<Self> {
        let section = Section::of("[[track]]", raw, KEYS, notes)?;
        if !section.has("name") {
            section.missing("name", "name = \"uplink\"", notes);
        }
        let named = section.text("name", short_name, notes);
        let source = source(&section, notes);
        let At { value, span } = named?;
        Some(Self {
            track: Track {
                name: value,
                source: source?,
            },
            named: span,
            service: section.raw("service").map(|(_, value)| value.span()),
            span: section.span,
        })
    }
}

fn source(section: &Section<'_>, notes: &mut Notes) -> Option<TrackSource> {
    let found: Vec<_> = SOURCES.iter().filter(|(key, _)| section.has(key)).collect();
    let keys: Vec<&str> = SOURCES.iter().map(|(key, _)| *key).collect();
    let &[&(kind, beside)] = found.as_slice() else {
        match found.get(1) {
            None => section.missing("interface", &format!("one of {}", list(&keys)), notes),
            Some((second, _)) => notes.error(
                &section.span_of(second),
                format!("one [[track]] is one of {}", list(&keys)),
                "write two [[track]], and name both where they are used",
            ),
        }
        return None;
    };
    for (other, keys) in SOURCES {
        for key in keys.iter().filter(|key| !beside.contains(key)) {
            if section.has(key) {
                notes.error(
                    &section.span_of(key),
                    format!("`{key}` belongs to a `{other}`, not to a `{kind}`"),
                    "remove it",
                );
            }
        }
    }
    match kind {
        "interface" => {
            let at = section.text("interface", interface, notes)?;
            Some(TrackSource::Interface(at.value))
        }
        "route" => {
            let table = section.integer("table", 1..=u32::MAX, notes);
            let prefix = section.text("route", network, notes)?.value;
            let table = table.map_or(TABLE_MAIN, |at| at.value);
            Some(TrackSource::Route { prefix, table })
        }
        "process" => {
            let command_line = section.boolean("command_line", notes);
            let command_line = command_line.is_some_and(|at| at.value);
            let count = section.integer("count", 1..=1_000_000, notes);
            let program = section.text("process", |text| program(text, command_line), notes)?;
            Some(TrackSource::Process {
                program: program.value,
                command_line,
                count: count.map_or(1, |at| at.value),
            })
        }
        "script" => script(section, notes).map(TrackSource::Script),
        "file" => {
            let at = section.text("file", absolute, notes)?;
            Some(TrackSource::File(at.value))
        }
        _ => {
            let quorum = section.integer("quorum", 1..=1 << 24, notes);
            let at = section.text("service", name, notes)?;
            Some(TrackSource::Service {
                name: at.value,
                quorum: quorum.map_or(1, |at| at.value),
            })
        }
    }
}

fn script(section: &Section<'_>, notes: &mut Notes) -> Option<Script> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let command = command(section, "script", notes);
    let least = Duration::from_millis(100);
    let interval = section.duration("interval", least..=HOUR, notes);
    let interval = interval.map_or(Duration::from_secs(1), |at| at.value);
    let timeout = section.duration("timeout", Duration::from_millis(10)..=HOUR, notes);
    if let Some(at) = timeout.as_ref().filter(|at| at.value > interval) {
        notes.error(
            &at.span,
            format!(
                "`timeout` {} is longer than the interval {}: the next run would come before the answer",
                scalar::Shown(at.value),
                scalar::Shown(interval)
            ),
            format!("write \"{}\" or less, or a longer interval", scalar::Shown(interval)),
        );
    }
    let mut times = |key| {
        section
            .integer(key, 1..=1_000, notes)
            .map_or(1, |at| at.value)
    };
    let (rise, fall) = (times("rise"), times("fall"));
    Some(Script {
        command: command?,
        interval,
        timeout: timeout.map_or(interval, |at| at.value),
        rise,
        fall,
    })
}

/// A program and its arguments: `"/bin/true"` or `["/bin/test", "-e", "/x"]`.
pub(super) fn command<'d>(
    section: &Section<'d>,
    key: &'d str,
    notes: &mut Notes,
) -> Option<Vec<String>> {
    const ARGUMENTS_MAX: usize = 64;
    let (_, value) = section.raw(key)?;
    let plain = |text: &str| match text.contains('\0') {
        true => Err("a program cannot be given a NUL".to_owned()),
        false => Ok(text.to_owned()),
    };
    let words = if value.get_ref().is_array() {
        section.texts(key, plain, notes)
    } else {
        section.text(key, plain, notes).into_iter().collect()
    };
    let first = words.first()?;
    if words.len() > ARGUMENTS_MAX {
        notes.error(
            &section.span_of(key),
            format!(
                "{} arguments, at most {ARGUMENTS_MAX} are possible",
                words.len()
            ),
            "write a script that has them",
        );
    }
    if !first.value.starts_with('/') {
        let help = match first.value.split_once(' ') {
            Some(_) => {
                "write the whole path, and each argument apart: [\"/usr/bin/test\", \"-e\", \"/x\"]"
            }
            None => "write the whole path, such as \"/usr/local/bin/check\"",
        };
        notes.error(
            &first.span,
            format!(
                "`{key}` begins with {}: which program that is depends on PATH",
                quote(&first.value)
            ),
            help,
        );
        return None;
    }
    if value.get_ref().is_str() && first.value.contains(' ') && !Path::new(&first.value).exists() {
        let apart: Vec<_> = first
            .value
            .split_whitespace()
            .map(|w| format!("\"{w}\""))
            .collect();
        notes.error(
            &first.span,
            format!("`{key}` is one word with blanks in it: there is no shell to part it"),
            format!("write [{}]", apart.join(", ")),
        );
        return None;
    }
    Some(words.into_iter().map(|at| at.value).collect())
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() || text.chars().any(char::is_control) {
        return Err("write the whole path, such as \"/etc/trunnion/weight\"".to_owned());
    }
    Ok(path.to_path_buf())
}

/// `comm` holds 15 bytes (`TASK_COMM_LEN` 16 with its NUL).
fn program(text: &str, command_line: bool) -> Result<String, String> {
    let most = if command_line { 255 } else { 15 };
    if text.is_empty() || text.len() > most || text.chars().any(char::is_control) {
        return Err(match command_line {
            true => format!("write 1 to {most} bytes of the command line"),
            false => format!(
                "write the program's name without its directory, at most {most} bytes as /proc/PID/comm has it, or command_line = true"
            ),
        });
    }
    if !command_line && text.contains('/') {
        return Err("write the program's name without its directory".to_owned());
    }
    Ok(text.to_owned())
}

/// `10.0.0.0/8`, or `0.0.0.0/0` for the default route.
fn network(text: &str) -> Result<Prefixed, String> {
    let example = || {
        "write a prefix, such as \"10.0.0.0/8\", or \"0.0.0.0/0\" for the default route".to_owned()
    };
    let (head, tail) = text.split_once('/').ok_or_else(example)?;
    let address = scalar::address(head).map_err(|_| example())?;
    let bits = scalar::bits(&address);
    let prefix: u8 = tail.parse().map_err(|_| example())?;
    if prefix > bits || tail.starts_with('+') {
        return Err(format!("a prefix length goes from 0 to {bits} here"));
    }
    let base = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
            IpAddr::from((u32::from(v4) & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
            IpAddr::from((u128::from(v6) & mask).to_be_bytes())
        }
    };
    if base != address {
        return Err(format!(
            "a network has no host bits: write \"{base}/{prefix}\""
        ));
    }
    Ok(Prefixed { address, prefix })
}

/// All that is tracked; none has the name of another.
pub(super) fn read(root: &Section<'_>, notes: &mut Notes) -> Vec<TrackRead> {
    let items = root.items("track", "[[track]]", notes);
    let mut found: Vec<TrackRead> = Vec::new();
    for raw in items {
        let Some(read) = TrackRead::read(raw, notes) else {
            continue;
        };
        if let Some(twin) = found.iter().find(|twin| twin.track.name == read.track.name) {
            let message = format!("the name {} twice in [[track]]", read.track.name);
            let also = (&twin.named, "the first");
            notes.error_also(&read.named, message, "write another name", also);
        }
        found.push(read);
    }
    found
}

/// The services that are tracked must be there.
pub(super) fn services<S: Borrow<ServiceConfig>>(
    tracks: &[TrackRead],
    services: &[S],
    notes: &mut Notes,
) {
    for read in tracks {
        let (TrackSource::Service { name, .. }, Some(span)) = (&read.track.source, &read.service)
        else {
            continue;
        };
        let names = || {
            services
                .iter()
                .map(|service| service.borrow().name.as_str())
        };
        if names().any(|known| known == name) {
            continue;
        }
        let help = match nearest(name, names()) {
            Some(meant) => format!("write \"{meant}\""),
            None => "write the name of a [[service]]".to_owned(),
        };
        let message = format!("there is no [[service]] with the name {name}");
        notes.error(span, message, help);
    }
}
