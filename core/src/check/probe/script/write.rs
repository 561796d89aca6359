//! A spec, written as a script.

use super::TlsId;
use crate::bytes::{NativeEndian, Overflow, Writer};
use crate::check::probe::outside::{Command, Errand};
use crate::check::probe::{
    Expect, HeaderMatch, Http, Pattern, Regex, Spec, Transport, dns, radius,
};
use zerocopy::IntoBytes;

/// Kinds of scripts.
pub(super) mod kind {
    pub const STREAM: u8 = 1;
    pub const DATAGRAM: u8 = 2;
    pub const HTTP: u8 = 3;
    pub const DNS: u8 = 4;
    pub const PING: u8 = 5;
    pub const AGENT: u8 = 6;
    pub const RADIUS: u8 = 7;
    pub const GRPC: u8 = 8;
    pub const EXEC: u8 = 9;
    pub const FILE: u8 = 10;
    pub const SYN: u8 = 11;
}

/// Kinds of patterns, and of what a DNS answer must have.
pub(super) mod pattern {
    pub const ANY: u8 = 0;
    pub const EXACT: u8 = 1;
    pub const PREFIX: u8 = 2;
    pub const CONTAINS: u8 = 3;
    pub const REGEX: u8 = 4;
}

pub(super) mod expected {
    pub const NOTHING: u8 = 0;
    pub const RECORD: u8 = 1;
    pub const V4: u8 = 2;
    pub const V6: u8 = 3;
    pub const NAME: u8 = 4;
    pub const TEXT: u8 = 5;
}

/// Words before the regexes.
pub(super) const HEAD_WORDS: usize = 2;

pub(super) fn write(
    spec: &Spec<'_>,
    tls: Option<TlsId>,
    out: &mut [u64],
) -> Result<usize, Overflow> {
    let mut w = Writer::new(out.as_mut_bytes());
    let start = w.mark();
    let regexes = patterns(spec).into_iter().filter_map(regex);
    w.u8(kind_of(spec));
    w.u8(u8::try_from(regexes.clone().count()).unwrap_or(u8::MAX));
    w.u8(tls.is_some().into());
    w.pad(start, size_of::<u64>());
    w.u64::<NativeEndian>(tls.map_or(0, |TlsId(id)| id));
    for regex in regexes {
        w.bytes(regex.as_bytes());
    }
    let mut texts = Texts { w, regexes: 0 };
    texts.spec(spec);
    texts.w.pad(start, size_of::<u64>());
    let bytes = texts.w.finish()?.len();
    Ok(bytes.div_ceil(size_of::<u64>()))
}

const fn kind_of(spec: &Spec<'_>) -> u8 {
    match spec {
        Spec::Stream(_) => kind::STREAM,
        Spec::Datagram(_) => kind::DATAGRAM,
        Spec::Http(_) => kind::HTTP,
        Spec::Dns(_) => kind::DNS,
        Spec::Ping(_) => kind::PING,
        Spec::Syn(_) => kind::SYN,
        Spec::Agent(_) => kind::AGENT,
        Spec::Radius(_) => kind::RADIUS,
        Spec::Grpc(_) => kind::GRPC,
        Spec::Errand(Errand::Exec(_)) => kind::EXEC,
        Spec::Errand(Errand::File(_)) => kind::FILE,
    }
}

/// All patterns of a spec, in the order in which they are written.
fn patterns<'a>(spec: &Spec<'a>) -> [Pattern<'a>; 3] {
    let any = Pattern::Any;
    match spec {
        Spec::Stream(expect) | Spec::Datagram(expect) => [expect.receive, any, any],
        Spec::Http(http) => {
            let [first, second] = http.headers.map(|h| h.map_or(any, |h| h.value));
            [first, second, http.body]
        }
        Spec::Dns(dns) => match dns.expected {
            dns::Expected::Text(pattern) => [pattern, any, any],
            dns::Expected::Nothing
            | dns::Expected::Record
            | dns::Expected::Address(_)
            | dns::Expected::Name(_) => [any; 3],
        },
        Spec::Ping(_)
        | Spec::Syn(_)
        | Spec::Agent(_)
        | Spec::Radius(_)
        | Spec::Grpc(_)
        | Spec::Errand(_) => [any; 3],
    }
}

const fn regex(pattern: Pattern<'_>) -> Option<&Regex> {
    match pattern {
        Pattern::Regex(regex) => Some(regex),
        Pattern::Any | Pattern::Exact(_) | Pattern::Prefix(_) | Pattern::Contains(_) => None,
    }
}

struct Texts<'w> {
    w: Writer<'w>,
    /// Regexes named so far.
    regexes: u8,
}

impl Texts<'_> {
    fn spec(&mut self, spec: &Spec<'_>) {
        match spec {
            Spec::Stream(expect) | Spec::Datagram(expect) => self.expect(expect),
            Spec::Http(http) => self.http(http),
            Spec::Dns(dns) => self.dns(dns),
            Spec::Ping(ping) => self.w.u16::<NativeEndian>(ping.identifier),
            Spec::Syn(_) => {}
            Spec::Agent(agent) => self.text(agent.send),
            Spec::Radius(radius) => self.radius(radius),
            Spec::Grpc(grpc) => {
                self.w.u8(grpc.tls.into());
                self.text(grpc.authority.as_bytes());
                self.text(grpc.service.as_bytes());
            }
            Spec::Errand(Errand::File(path)) => self.text(path),
            Spec::Errand(Errand::Exec(command)) => {
                let Command {
                    words,
                    user,
                    weighs,
                } = *command;
                self.w.u8(weighs.into());
                self.w.u8(user.is_some().into());
                let (user, group) = user.unwrap_or_default();
                self.w.u32::<NativeEndian>(user);
                self.w.u32::<NativeEndian>(group);
                self.text(words);
            }
        }
    }

    fn expect(&mut self, expect: &Expect<'_>) {
        self.w.u32::<NativeEndian>(expect.limit_bytes);
        self.text(expect.send);
        self.pattern(expect.receive);
    }

    fn http(&mut self, http: &Http<'_>) {
        let Http {
            request,
            status,
            headers,
            body,
            head_bytes_max,
            body_bytes_max,
        } = http;
        self.w.u32::<NativeEndian>(*head_bytes_max);
        self.w.u32::<NativeEndian>(*body_bytes_max);
        for (first, last) in status.ranges() {
            self.w.u16::<NativeEndian>(*first);
            self.w.u16::<NativeEndian>(*last);
        }
        for flag in [request.keep_alive, request.http10, request.proxied] {
            self.w.u8(flag.into());
        }
        self.text(request.method.as_bytes());
        self.text(request.target.as_bytes());
        self.w.u8(request.host.is_some().into());
        self.text(request.host.unwrap_or_default().as_bytes());
        self.text(request.headers.as_bytes());
        self.text(request.body);
        for header in headers {
            self.w.u8(header.is_some().into());
            if let Some(HeaderMatch { name, value }) = header {
                self.text(name.as_bytes());
                self.pattern(*value);
            }
        }
        self.pattern(*body);
    }

    fn dns(&mut self, dns: &dns::Dns<'_>) {
        self.w.u16::<NativeEndian>(dns.record.0);
        self.w.u8(dns.rcode.0);
        self.w.u8(dns.recursion_desired.into());
        self.w.u8((dns.transport == Transport::Stream).into());
        self.w.u8(dns.aliases.into());
        self.text(dns.name.as_bytes());
        match dns.expected {
            dns::Expected::Nothing => self.w.u8(expected::NOTHING),
            dns::Expected::Record => self.w.u8(expected::RECORD),
            dns::Expected::Address(core::net::IpAddr::V4(address)) => {
                self.w.u8(expected::V4);
                self.w.bytes(&address.octets());
            }
            dns::Expected::Address(core::net::IpAddr::V6(address)) => {
                self.w.u8(expected::V6);
                self.w.bytes(&address.octets());
            }
            dns::Expected::Name(name) => {
                self.w.u8(expected::NAME);
                self.text(name.as_bytes());
            }
            dns::Expected::Text(pattern) => {
                self.w.u8(expected::TEXT);
                self.pattern(pattern);
            }
        }
    }

    fn radius(&mut self, radius: &radius::Radius<'_>) {
        self.w.u8(match radius.expected {
            radius::Expected::Accept => 0,
            radius::Expected::Reject => 1,
            radius::Expected::Challenge => 2,
            radius::Expected::Any => 3,
        });
        self.w.u8(radius.require_signed.into());
        self.text(radius.secret);
        self.text(radius.nas_identifier.as_bytes());
        match radius.request {
            radius::Request::Status => self.w.u8(0),
            radius::Request::Access { user, password } => {
                self.w.u8(1);
                self.text(user.as_bytes());
                self.text(password);
            }
        }
    }

    fn pattern(&mut self, pattern: Pattern<'_>) {
        let (kind, text) = match pattern {
            Pattern::Any => (pattern::ANY, None),
            Pattern::Exact(text) => (pattern::EXACT, Some(text)),
            Pattern::Prefix(text) => (pattern::PREFIX, Some(text)),
            Pattern::Contains(text) => (pattern::CONTAINS, Some(text)),
            Pattern::Regex(_) => (pattern::REGEX, None),
        };
        self.w.u8(kind);
        if let Some(text) = text {
            self.text(text);
        }
        if kind == pattern::REGEX {
            self.w.u8(self.regexes);
            self.regexes = self.regexes.saturating_add(1);
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.w
            .u32::<NativeEndian>(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.w.bytes(text);
    }
}
