//! The keys of a check, put together as the script that the engine plays.

use super::{OwnedTls, PatternRead, ProbeRead, Type};
use crate::config::section::{Notes, Span};
use crate::tls::Profile;
use std::net::SocketAddr;
use trunnion_core::check::probe::dns::{DnsError, Expected, Rcode, RecordType};
use trunnion_core::check::probe::http::{HEADERS_MAX, Request, RequestError, StatusSet};
use trunnion_core::check::probe::{
    Agent, Dns, Expect, Grpc, HeaderMatch, Http, Pattern, Probe, Room, SCRIPT_WORDS_MAX,
    SPEC_KEEP_BYTES_MAX, ScriptId, Spec, Step, Token, Transport,
};
use trunnion_core::check::{Kind, Local, REQUEST_BYTES_MAX, Verdict};

/// A script, and its name. Checks that say the same have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedScript {
    /// Its name.
    pub id: ScriptId,
    /// As [`Spec::write`] wrote it.
    pub words: Box<[u64]>,
    transport: Transport,
    /// How TLS is spoken below it, if it is.
    pub tls: Option<OwnedTls>,
}

impl OwnedScript {
    /// The kind of a check that plays it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.transport {
            Transport::Stream => Kind::Stream(self.id),
            Transport::Datagram => Kind::Datagram(self.id),
            Transport::Errand => Kind::Errand(self.id),
        }
    }

    /// Whether a runner makes such a check.
    #[must_use]
    pub const fn is_errand(&self) -> bool {
        matches!(self.transport, Transport::Errand)
    }
}

/// Stands in for a target, which is no part of a script; none is longer.
const ANYWHERE: SocketAddr = SocketAddr::V6(std::net::SocketAddrV6::new(
    std::net::Ipv6Addr::new(
        0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff,
    ),
    u16::MAX,
    0,
    0,
));

impl ProbeRead {
    /// The script of a check of this type; `None` for one that has none, or
    /// that is wrong. `span` is the check's.
    pub fn script(&self, kind: Type, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        match kind {
            Type::None => None,
            Type::Tcp => self.tcp(span, notes),
            Type::Http => self.http(span, notes),
            Type::Agent => {
                let send = self.send.as_ref().map_or(&[][..], |at| &at.value);
                self.finish(
                    &Spec::Agent(Agent { send }),
                    self.tls(None, None),
                    span,
                    notes,
                )
            }
            Type::Grpc => self.grpc(span, notes),
            Type::Dns => self.dns(span, notes),
            Type::Udp => self.udp(span, notes),
            Type::Icmp => self.icmp(span, notes),
            Type::Radius => self.radius(span, notes),
            Type::Exec => self.exec(span, notes),
            Type::File => self.file(span, notes),
        }
    }

    fn tcp(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let tls = self.tls(None, None);
        if self.send.is_none() && self.expect.is_none() && tls.is_none() {
            if let Some(at) = &self.size_limit {
                notes.error(
                    &at.span,
                    "`size_limit` has no effect without `expect`",
                    "add expect = \"…\", or remove it",
                );
            }
            return None;
        }
        if let Some(at) = self.half_open.as_ref().filter(|at| at.value) {
            notes.error(
                &at.span,
                "`half_open` with `send`, `expect` or `tls`: nothing is said in half a handshake",
                "remove it",
            );
        }
        let send = self.send.as_ref().map_or(&[][..], |at| &at.value);
        let receive = self.expected();
        let mut expect = Expect::new(send, receive);
        if let Some(at) = &self.size_limit {
            expect.limit_bytes = at.value;
        }
        self.finish(&Spec::Stream(expect), tls, span, notes)
    }

    fn http(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let text = |at: &Option<super::At<String>>| at.as_ref().map(|at| at.value.clone());
        let (method, path) = (text(&self.method), text(&self.path));
        let lines = text(&self.headers);
        let url = path.as_ref().is_some_and(|path| path.contains("://"));
        let called = self.authority().filter(|_| !url);
        let host = text(&self.host).or(called);
        let request = Request {
            method: method.as_deref().unwrap_or("GET"),
            host: host.as_deref(),
            headers: lines.as_deref().unwrap_or_default(),
            body: self.body.as_ref().map_or(&[][..], |at| &at.value),
            http10: self.http10.as_ref().is_some_and(|at| at.value),
            keep_alive: self.reuse.as_ref().is_some_and(|at| at.value),
            ..Request::get(ANYWHERE, path.as_deref().unwrap_or("/"))
        };
        if let Err(error) = request.check() {
            let (key, at) = match error {
                RequestError::Method => ("method", &self.method),
                RequestError::Target | RequestError::Authority | RequestError::Proxied => {
                    ("path", &self.path)
                }
                RequestError::Host => ("host", &self.host),
                RequestError::Headers | RequestError::Made => ("headers", &self.headers),
            };
            let place = at.as_ref().map_or(span, |at| &at.span);
            notes.error(place, format!("`{key}` cannot be sent"), error.words());
            return None;
        }
        let mut headers = [None; HEADERS_MAX];
        let declared = self.expect_headers.as_ref().map_or(&[][..], |at| &at.value);
        for (header, (name, value)) in headers.iter_mut().zip(declared) {
            *header = Some(HeaderMatch {
                name,
                value: value.pattern(),
            });
        }
        let default = Http::new(request);
        let http = Http {
            status: self
                .status
                .as_ref()
                .map_or(StatusSet::SUCCESSFUL, |at| at.value),
            headers,
            body: self.expected(),
            body_bytes_max: self
                .size_limit
                .as_ref()
                .map_or(default.body_bytes_max, |at| at.value),
            ..default
        };
        let tls = self.tls(host.as_deref(), Some("http/1.1"));
        if let (Some(at), Some(_)) = (self.reuse.as_ref().filter(|at| at.value), &tls) {
            notes.error(
                &at.span,
                "`reuse` with `tls`: each check makes a handshake of its own",
                "remove one",
            );
        }
        self.finish(&Spec::Http(&http), tls, span, notes)
    }

    fn grpc(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let host = self.host.as_ref().map(|at| at.value.clone());
        let host = host.or_else(|| self.authority());
        let authority = host.as_deref().unwrap_or("");
        let tls = self.tls(host.as_deref(), Some("h2"));
        let grpc = Grpc {
            authority,
            service: self.service.as_ref().map_or("", |at| at.value.as_str()),
            tls: tls.is_some(),
        };
        // Without a host it is the target's address, which is one.
        let checked = Grpc {
            authority: if host.is_none() { "a" } else { authority },
            ..grpc
        };
        if let Err(error) = checked.check() {
            let at = self.host.as_ref().or(self.service.as_ref());
            let place = at.map_or(span, |at| &at.span);
            notes.error(place, "the call cannot be made", error);
            return None;
        }
        self.finish(&Spec::Grpc(grpc), tls, span, notes)
    }

    fn dns(&self, span: &Span, notes: &mut Notes) -> Option<OwnedScript> {
        let Some(name) = &self.name else {
            notes.error(
                span,
                "`check` has no `name`",
                "add name = \"www.example.org\"",
            );
            return None;
        };
        let record = self.record.as_ref().map_or(RecordType::A, |at| at.value);
        let rcode = self.rcode.as_ref().map_or(Rcode::NO_ERROR, |at| at.value);
        let answer = self.answer.as_ref();
        if let Some(at) = answer.filter(|_| rcode != Rcode::NO_ERROR) {
            notes.error(
                &at.span,
                "`answer` has no effect: an answer with this `rcode` has none",
                "remove one",
            );
        }
        let expected = match answer.map(|at| at.value.as_str()) {
            _ if rcode != Rcode::NO_ERROR => Expected::Nothing,
            None => Expected::Record,
            Some(text) => match record {
                RecordType::A | RecordType::AAAA => match text.parse() {
                    Ok(address) => Expected::Address(address),
                    // Said below: no such record has it.
                    Err(_) => Expected::Name("."),
                },
                RecordType::TXT => Expected::Text(Pattern::Contains(text.as_bytes())),
                _ => Expected::Name(text),
            },
        };
        let tls = self.tls(None, Some("dot"));
        let dns = Dns {
            record,
            rcode,
            expected,
            recursion_desired: self.recursion.as_ref().is_none_or(|at| at.value),
            transport: if tls.is_some() || self.by_tcp.as_ref().is_some_and(|at| at.value) {
                Transport::Stream
            } else {
                Transport::Datagram
            },
            ..Dns::new(&name.value, record)
        };
        if let Err(error) = dns.check() {
            let about_name = Dns {
                expected: Expected::Record,
                ..dns
            };
            let (key, at) = match (error, about_name.check(), answer) {
                (_, Ok(()), Some(answer)) => ("answer", answer),
                _ => ("name", name),
            };
            let help = match error {
                DnsError::Expected => match record {
                    RecordType::A => "write an IPv4 address".to_owned(),
                    RecordType::AAAA => "write an IPv6 address".to_owned(),
                    _ => error.to_string(),
                },
                DnsError::Name(_) => error.to_string(),
            };
            notes.error(&at.span, format!("`{key}` cannot be `{}`", at.value), help);
            return None;
        }
        self.finish(&Spec::Dns(&dns), tls, span, notes)
    }

    /// How soon a certificate is named; 0 without TLS.
    pub fn expiry_warning_s(&self) -> u32 {
        let warning = self.tls.as_ref().and_then(|at| at.value.expiry_warning());
        let seconds = warning.map_or(0, |warning| warning.as_secs());
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn tls(&self, host: Option<&str>, alpn: Option<&str>) -> Option<OwnedTls> {
        let called = self.called.as_ref().map(|(host, _)| host.as_str());
        self.tls.as_ref()?.value.tls(host.or(called), alpn)
    }

    /// The target's name as a request has it, with its port where that is not
    /// the usual one.
    fn authority(&self) -> Option<String> {
        let (host, port) = self.called.as_ref()?;
        let usual = if self.tls(None, None).is_some() {
            443
        } else {
            80
        };
        Some(if *port == usual {
            host.clone()
        } else {
            format!("{host}:{port}")
        })
    }

    pub(super) fn expected(&self) -> Pattern<'_> {
        let expect = self.expect.as_ref();
        expect.map_or(Pattern::Any, |at| PatternRead::pattern(&at.value))
    }

    /// Writes a script whose request has been made once, to see whether it fits.
    pub(super) fn finish(
        &self,
        spec: &Spec<'_>,
        tls: Option<OwnedTls>,
        span: &Span,
        notes: &mut Notes,
    ) -> Option<OwnedScript> {
        if let Some(Err(why)) = tls.as_ref().map(Profile::check) {
            let place = self.tls.as_ref().map_or(span, |at| &at.span);
            notes.error(place, "`tls` cannot be spoken", why);
            return None;
        }
        let (mut out, mut keep) = (vec![0; REQUEST_BYTES_MAX], vec![0; SPEC_KEEP_BYTES_MAX]);
        let mut room = Room {
            out: &mut out,
            keep: &mut keep,
        };
        let token = Token {
            id: 0,
            secret: [0; 16],
        };
        let (_, step) = Probe::begin(spec, token, &mut room);
        let mut words = vec![0; SCRIPT_WORDS_MAX];
        let len = match (step, spec.write(tls.as_ref().map(OwnedTls::id), &mut words)) {
            (Step::Verdict(Verdict::Indeterminate(Local::Room)), _) | (_, Err(_)) => {
                notes.error(
                    span,
                    format!("the check says more than {REQUEST_BYTES_MAX} bytes"),
                    "write less",
                );
                return None;
            }
            (_, Ok(len)) => len,
        };
        words.truncate(len);
        Some(OwnedScript {
            id: ScriptId::of(&words),
            words: words.into(),
            transport: spec.transport(),
            tls,
        })
    }
}
