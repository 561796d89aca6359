//! What a check says and expects: the keys of `check` that belong to its type.
//! Not when it is made; that is `check`'s.
//!
//! All keys are read wherever they stand; whether they belong to the type is
//! known when a backend's own keys and its service's are together.

mod outside;
mod pattern;
mod script;
mod tls;

pub use outside::echo_identifier;
pub(super) use pattern::{HEADER_KEYS, KEYS as EXPECT_KEYS};
pub use script::OwnedScript;
pub(super) use tls::KEYS as TLS_KEYS;
pub use tls::OwnedTls;

use super::section::{At, Notes, Section, Span};
use super::value::whole;
use pattern::PatternRead;
use tls::TlsRead;
use trunnion_core::check::probe::dns::{Rcode, RecordType};
use trunnion_core::check::probe::http::{HEADERS_MAX, StatusSet};
use trunnion_core::check::probe::radius;

/// How a backend is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    None,
    Tcp,
    Http,
    Agent,
    Grpc,
    Dns,
    Udp,
    Icmp,
    Radius,
    Exec,
    File,
}

pub(super) const TYPES: &[(&str, Type)] = &[
    ("tcp", Type::Tcp),
    ("http", Type::Http),
    ("agent", Type::Agent),
    ("grpc", Type::Grpc),
    ("udp", Type::Udp),
    ("dns", Type::Dns),
    ("radius", Type::Radius),
    ("icmp", Type::Icmp),
    ("exec", Type::Exec),
    ("file", Type::File),
    ("none", Type::None),
];

impl Type {
    /// As the file writes it.
    fn word(self) -> &'static str {
        let mut types = TYPES.iter();
        types
            .find(|(_, own)| *own == self)
            .map_or("none", |(word, _)| word)
    }

    /// The keys that belong to it.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Tcp => &["half_open", "send", "expect", "size_limit", "tls"],
            Self::Http => &[
                "method",
                "path",
                "host",
                "headers",
                "body",
                "version",
                "status",
                "expect_headers",
                "expect",
                "size_limit",
                "reuse",
                "tls",
            ],
            Self::Agent => &["send", "tls"],
            Self::Grpc => &["host", "service", "tls"],
            Self::Dns => &[
                "name",
                "record",
                "rcode",
                "answer",
                "recursion",
                "transport",
                "tls",
            ],
            Self::Udp => &["send", "expect"],
            Self::Icmp => &[],
            Self::Radius => &[
                "secret",
                "user",
                "password",
                "nas_identifier",
                "response",
                "signed",
            ],
            Self::Exec => &["command", "user", "weigh"],
            Self::File => &["path"],
        }
    }

    /// Whether what it asks has a port.
    pub const fn has_port(self) -> bool {
        match self {
            Self::None | Self::Icmp => false,
            Self::Tcp
            | Self::Http
            | Self::Agent
            | Self::Grpc
            | Self::Dns
            | Self::Udp
            | Self::Radius
            | Self::Exec
            | Self::File => true,
        }
    }
}

/// All of them.
pub(super) const KEYS: &[&str] = &[
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
    "tls",
    "secret",
    "user",
    "password",
    "nas_identifier",
    "response",
    "signed",
    "command",
    "reuse",
    "weigh",
];

/// Bytes of content that a check may look at.
const SIZE_MAX: u32 = 16 << 20;

/// The keys, as far as they are there.
#[derive(Clone, Debug, Default)]
pub(super) struct ProbeRead {
    /// Those written here, not inherited, and where.
    written: Vec<(&'static str, Span)>,
    half_open: Option<At<bool>>,
    send: Option<At<Vec<u8>>>,
    expect: Option<At<PatternRead>>,
    size_limit: Option<At<u32>>,
    method: Option<At<String>>,
    path: Option<At<String>>,
    host: Option<At<String>>,
    headers: Option<At<String>>,
    body: Option<At<Vec<u8>>>,
    /// HTTP/1.0.
    http10: Option<At<bool>>,
    status: Option<At<StatusSet>>,
    expect_headers: Option<At<Vec<(String, PatternRead)>>>,
    service: Option<At<String>>,
    name: Option<At<String>>,
    record: Option<At<RecordType>>,
    rcode: Option<At<Rcode>>,
    answer: Option<At<String>>,
    recursion: Option<At<bool>>,
    tls: Option<At<TlsRead>>,
    /// DNS over TCP from the start.
    by_tcp: Option<At<bool>>,
    secret: Option<At<Vec<u8>>>,
    user: Option<At<String>>,
    password: Option<At<Vec<u8>>>,
    nas_identifier: Option<At<String>>,
    response: Option<At<radius::Expected>>,
    signed: Option<At<bool>>,
    command: Option<At<Vec<String>>>,
    weigh: Option<At<bool>>,
    /// The connection stays from one check to the next.
    reuse: Option<At<bool>>,
    /// What the target is called where nothing here says so: its name and port.
    called: Option<(String, u16)>,
}

impl ProbeRead {
    pub fn read(section: &Section<'_>, notes: &mut Notes) -> Self {
        const VERSIONS: &[(&str, bool)] = &[("1.1", false), ("1.0", true)];
        const RECORDS: &[(&str, RecordType)] = &[
            ("A", RecordType::A),
            ("AAAA", RecordType::AAAA),
            ("CNAME", RecordType::CNAME),
            ("NS", RecordType::NS),
            ("SOA", RecordType::SOA),
            ("TXT", RecordType::TXT),
            ("MX", RecordType::MX),
            ("SRV", RecordType::SRV),
        ];
        const RCODES: &[(&str, Rcode)] = &[
            ("noerror", Rcode::NO_ERROR),
            ("servfail", Rcode::SERVER_FAILURE),
            ("nxdomain", Rcode::NAME_ERROR),
            ("refused", Rcode::REFUSED),
        ];
        const TRANSPORTS: &[(&str, bool)] = &[("udp", false), ("tcp", true)];
        const RESPONSES: &[(&str, radius::Expected)] = &[
            ("accept", radius::Expected::Accept),
            ("reject", radius::Expected::Reject),
            ("challenge", radius::Expected::Challenge),
            ("any", radius::Expected::Any),
        ];
        let written = KEYS.iter().filter(|key| section.has(key));
        let own = |text: &str| Ok(text.to_owned());
        Self {
            written: written.map(|key| (*key, section.span_of(key))).collect(),
            half_open: section.boolean("half_open", notes),
            send: section.text("send", pattern::bytes, notes),
            expect: section
                .raw("expect")
                .and_then(|raw| PatternRead::read(raw, notes)),
            size_limit: section.integer("size_limit", 1..=SIZE_MAX, notes),
            method: section.text("method", own, notes),
            path: section.text("path", own, notes),
            host: section.text("host", own, notes),
            headers: lines(section, notes),
            body: section.text("body", pattern::bytes, notes),
            http10: section.choice("version", VERSIONS, notes),
            status: status(section, notes),
            expect_headers: expect_headers(section, notes),
            service: section.text("service", own, notes),
            name: section.text("name", own, notes),
            record: section.choice("record", RECORDS, notes),
            rcode: section.choice("rcode", RCODES, notes),
            answer: section.text("answer", own, notes),
            recursion: section.boolean("recursion", notes),
            tls: TlsRead::read(section, notes),
            by_tcp: section.choice("transport", TRANSPORTS, notes),
            secret: section.text("secret", pattern::bytes, notes),
            user: section.text("user", own, notes),
            password: section.text("password", pattern::bytes, notes),
            nas_identifier: section.text("nas_identifier", own, notes),
            response: section.choice("response", RESPONSES, notes),
            signed: section.boolean("signed", notes),
            command: command(section, notes),
            weigh: section.boolean("weigh", notes),
            reuse: section.boolean("reuse", notes),
            called: None,
        }
    }

    /// Its target has a name.
    pub fn calls(&mut self, host: Option<&str>, port: u16) {
        let bare = |host: &str| host.strip_suffix('.').unwrap_or(host).to_owned();
        self.called = host.map(|host| (bare(host), port));
    }

    /// These keys, and where one is missing, the service's.
    pub fn over(self, service: &Self) -> Self {
        let Self {
            written,
            half_open,
            send,
            expect,
            size_limit,
            method,
            path,
            host,
            headers,
            body,
            http10,
            status,
            expect_headers,
            service: its_service,
            name,
            record,
            rcode,
            answer,
            recursion,
            tls,
            by_tcp,
            secret,
            user,
            password,
            nas_identifier,
            response,
            signed,
            command,
            weigh,
            reuse,
            called,
        } = self;
        Self {
            written,
            half_open: half_open.or_else(|| service.half_open.clone()),
            send: send.or_else(|| service.send.clone()),
            expect: expect.or_else(|| service.expect.clone()),
            size_limit: size_limit.or_else(|| service.size_limit.clone()),
            method: method.or_else(|| service.method.clone()),
            path: path.or_else(|| service.path.clone()),
            host: host.or_else(|| service.host.clone()),
            headers: headers.or_else(|| service.headers.clone()),
            body: body.or_else(|| service.body.clone()),
            http10: http10.or_else(|| service.http10.clone()),
            status: status.or_else(|| service.status.clone()),
            expect_headers: expect_headers.or_else(|| service.expect_headers.clone()),
            service: its_service.or_else(|| service.service.clone()),
            name: name.or_else(|| service.name.clone()),
            record: record.or_else(|| service.record.clone()),
            rcode: rcode.or_else(|| service.rcode.clone()),
            answer: answer.or_else(|| service.answer.clone()),
            recursion: recursion.or_else(|| service.recursion.clone()),
            tls: tls.or_else(|| service.tls.clone()),
            by_tcp: by_tcp.or_else(|| service.by_tcp.clone()),
            secret: secret.or_else(|| service.secret.clone()),
            user: user.or_else(|| service.user.clone()),
            password: password.or_else(|| service.password.clone()),
            nas_identifier: nas_identifier.or_else(|| service.nas_identifier.clone()),
            response: response.or_else(|| service.response.clone()),
            signed: signed.or_else(|| service.signed.clone()),
            command: command.or_else(|| service.command.clone()),
            weigh: weigh.or_else(|| service.weigh.clone()),
            reuse: reuse.or_else(|| service.reuse.clone()),
            called,
        }
    }

    /// Whether any of them is written here.
    pub const fn is_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Leave the handshake half done, in a check that only connects.
    pub fn half_open(&self) -> bool {
        self.half_open.as_ref().is_none_or(|at| at.value)
    }

    /// What is written here and belongs to another type.
    pub fn foreign(&self, kind: Type, notes: &mut Notes) {
        if kind == Type::None {
            return;
        }
        for (key, span) in &self.written {
            if kind.keys().contains(key) {
                continue;
            }
            let owners = TYPES.iter().filter(|(_, other)| other.keys().contains(key));
            let owners: Vec<String> = owners.map(|(word, _)| format!("\"{word}\"")).collect();
            notes.error(
                span,
                format!(
                    "`{key}` has no effect in a check of type = \"{}\"",
                    kind.word()
                ),
                format!("remove it, or write type = {}", owners.join(" or ")),
            );
        }
    }
}

/// A command: its words, none if they are wrong.
fn command(section: &Section<'_>, notes: &mut Notes) -> Option<At<Vec<String>>> {
    let raw = section.raw("command")?.1;
    let span = raw.span();
    let word = |text: &str| {
        if text.contains('\0') {
            return Err("a word of a command has no NUL".to_owned());
        }
        Ok(text.to_owned())
    };
    let words = section.texts("command", word, notes);
    let mut value: Vec<_> = words.into_iter().map(|at| at.value).collect();
    let whole = value
        .first()
        .is_some_and(|program| program.starts_with('/'));
    if raw.get_ref().is_array() && !whole {
        notes.error(
            &span,
            "`command` does not begin with the path of a program",
            "write command = [\"/usr/lib/nagios/plugins/check_ssh\", \"{address}\"]",
        );
        value.clear();
    }
    Some(At { value, span })
}

/// Header lines, each of which must be one.
fn lines(section: &Section<'_>, notes: &mut Notes) -> Option<At<String>> {
    let span = section.raw("headers")?.1.span();
    let line = |text: &str| match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && !text.contains(['\r', '\n']) => {
            Ok(format!("{}: {}\r\n", name.trim_end(), value.trim()))
        }
        _ => Err("write \"Name: value\"".to_owned()),
    };
    let lines = section.texts("headers", line, notes);
    let value = lines.into_iter().map(|at| at.value).collect();
    Some(At { value, span })
}

/// A code, or ranges of them as text.
fn status(section: &Section<'_>, notes: &mut Notes) -> Option<At<StatusSet>> {
    let raw = section.raw("status")?;
    if raw.1.get_ref().as_integer().is_some() {
        let found = whole(raw, 200..=599, notes)?;
        let code = u16::try_from(found.value).ok()?;
        return Some(found.map(|_| StatusSet::only(code)));
    }
    let read = |text: &str| StatusSet::parse(text).map_err(|error| error.to_string());
    section.text("status", read, notes)
}

fn expect_headers(
    section: &Section<'_>,
    notes: &mut Notes,
) -> Option<At<Vec<(String, PatternRead)>>> {
    let span = section.raw("expect_headers")?.1.span();
    let items = section.items("expect_headers", "expect_headers = [{ … }]", notes);
    if items.len() > HEADERS_MAX {
        notes.error(
            &span,
            format!(
                "{} headers are expected: a check looks for {HEADERS_MAX}",
                items.len()
            ),
            "keep the two that matter",
        );
        return None;
    }
    let mut value = Vec::new();
    for raw in items {
        let Some(item) = Section::of("expect_headers", raw, pattern::HEADER_KEYS, notes) else {
            continue;
        };
        let Some(name) = item.string("name", notes) else {
            if !item.has("name") {
                item.missing("name", "name = \"Content-Type\"", notes);
            }
            continue;
        };
        let pattern = PatternRead::of_table(&item, notes);
        value.extend(pattern.map(|pattern| (name.value.to_owned(), pattern)));
    }
    Some(At { value, span })
}
