//! A script, read where it lies.

use super::TlsId;
use super::write::{HEAD_WORDS, expected, kind, pattern};
use crate::bytes::{NativeEndian, Reader};
use crate::check::probe::http::{self, HEADERS_MAX, RANGES_MAX, StatusSet};
use crate::check::probe::outside::{Command, Errand};
use crate::check::probe::{
    Agent, Expect, Grpc, HeaderMatch, Http, Pattern, Ping, Regex, Spec, Syn, Transport, dns, radius,
};
use core::fmt::Write as _;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use zerocopy::{FromBytes, IntoBytes};

/// A script for one target, ready to be played.
#[derive(Debug)]
pub struct Script<'a> {
    /// How TLS is spoken below it, if it is.
    pub tls: Option<TlsId>,
    held: Held<'a>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for a call, on the stack")]
enum Held<'a> {
    Stream(Expect<'a>),
    Datagram(Expect<'a>),
    Http(Http<'a>),
    Dns(dns::Dns<'a>),
    Ping(Ping),
    Syn(Syn),
    Agent(Agent<'a>),
    Radius(radius::Radius<'a>),
    Grpc(Grpc<'a>, Address),
    Errand(Errand<'a>),
}

/// An address and port as text, at most 47 characters.
type Address = heapless::String<56, u8>;

impl<'a> Script<'a> {
    /// Reads a script; `None` for words that [`Spec::write`] did not write.
    #[must_use]
    pub fn read(words: &'a [u64], target: SocketAddr) -> Option<Self> {
        let (head, rest) = words.split_at_checked(HEAD_WORDS)?;
        let (head, tls) = head.split_first_chunk::<1>()?;
        let [kind, regexes, has_tls, ..] = head.first()?.to_ne_bytes();
        let tables = usize::from(regexes).checked_mul(Regex::WORDS)?;
        let (tables, texts) = rest.split_at_checked(tables)?;
        let mut texts = Texts {
            r: Reader::new(texts.as_bytes()),
            tables,
        };
        Some(Self {
            tls: (has_tls != 0).then_some(TlsId(*tls.first()?)),
            held: texts.held(kind, target)?,
        })
    }

    /// The script of a half-open check, which says no more than where it goes.
    #[must_use]
    pub const fn syn(target: SocketAddr) -> Self {
        let port = target.port();
        Self {
            tls: None,
            held: Held::Syn(Syn { port }),
        }
    }

    /// As a probe takes it.
    #[must_use]
    pub fn spec(&self) -> Spec<'_> {
        match &self.held {
            Held::Stream(expect) => Spec::Stream(*expect),
            Held::Datagram(expect) => Spec::Datagram(*expect),
            Held::Http(http) => Spec::Http(http),
            Held::Dns(dns) => Spec::Dns(dns),
            Held::Ping(ping) => Spec::Ping(*ping),
            Held::Syn(syn) => Spec::Syn(*syn),
            Held::Agent(agent) => Spec::Agent(*agent),
            Held::Radius(radius) => Spec::Radius(radius),
            Held::Grpc(grpc, address) if grpc.authority.is_empty() => Spec::Grpc(Grpc {
                authority: address,
                ..*grpc
            }),
            Held::Grpc(grpc, _) => Spec::Grpc(*grpc),
            Held::Errand(errand) => Spec::Errand(*errand),
        }
    }

    /// What somebody else is to do, if it is that.
    #[must_use]
    pub const fn errand(&self) -> Option<Errand<'a>> {
        match self.held {
            Held::Errand(errand) => Some(errand),
            Held::Stream(_)
            | Held::Datagram(_)
            | Held::Http(_)
            | Held::Dns(_)
            | Held::Ping(_)
            | Held::Syn(_)
            | Held::Agent(_)
            | Held::Radius(_)
            | Held::Grpc(..) => None,
        }
    }

    /// Whether what comes of it says what the target's weight is.
    #[must_use]
    pub const fn advises(&self) -> bool {
        match self.held {
            Held::Agent(_) | Held::Errand(Errand::File(_)) => true,
            Held::Errand(Errand::Exec(command)) => command.weighs,
            Held::Stream(_)
            | Held::Datagram(_)
            | Held::Http(_)
            | Held::Dns(_)
            | Held::Ping(_)
            | Held::Syn(_)
            | Held::Radius(_)
            | Held::Grpc(..) => false,
        }
    }

    /// The same question on a connection; only DNS has two ways to be asked.
    #[must_use]
    pub const fn over_tcp(mut self) -> Self {
        if let Held::Dns(dns) = &mut self.held {
            dns.transport = Transport::Stream;
        }
        self
    }
}

struct Texts<'a> {
    r: Reader<'a>,
    /// The regexes, one after the other.
    tables: &'a [u64],
}

impl<'a> Texts<'a> {
    fn held(&mut self, kind: u8, target: SocketAddr) -> Option<Held<'a>> {
        Some(match kind {
            kind::STREAM => Held::Stream(self.expect()?),
            kind::DATAGRAM => Held::Datagram(self.expect()?),
            kind::HTTP => Held::Http(self.http(target)?),
            kind::DNS => Held::Dns(self.dns()?),
            kind::PING => Held::Ping(Ping {
                target: target.ip(),
                identifier: self.u16()?,
            }),
            kind::SYN => Held::Syn(Syn {
                port: target.port(),
            }),
            kind::AGENT => Held::Agent(Agent { send: self.text()? }),
            kind::RADIUS => Held::Radius(self.radius()?),
            kind::GRPC => {
                let tls = self.flag()?;
                let grpc = Grpc {
                    authority: self.str()?,
                    service: self.str()?,
                    tls,
                };
                let mut address = Address::new();
                // Without the zone of a link-local address, which is ours.
                write!(address, "{}", SocketAddr::new(target.ip(), target.port())).ok()?;
                Held::Grpc(grpc, address)
            }
            kind::FILE => Held::Errand(Errand::File(self.text()?)),
            kind::EXEC => {
                let weighs = self.flag()?;
                let other = self.flag()?;
                let user = (self.u32()?, self.u32()?);
                Held::Errand(Errand::Exec(Command {
                    words: self.text()?,
                    user: other.then_some(user),
                    weighs,
                }))
            }
            _ => return None,
        })
    }

    fn expect(&mut self) -> Option<Expect<'a>> {
        let limit_bytes = self.u32()?;
        Some(Expect {
            send: self.text()?,
            receive: self.pattern()?,
            limit_bytes,
        })
    }

    fn http(&mut self, address: SocketAddr) -> Option<Http<'a>> {
        let (head_bytes_max, body_bytes_max) = (self.u32()?, self.u32()?);
        let mut ranges = [(0, 0); RANGES_MAX];
        for range in &mut ranges {
            *range = (self.u16()?, self.u16()?);
        }
        let (keep_alive, http10, proxied) = (self.flag()?, self.flag()?, self.flag()?);
        let (method, target) = (self.str()?, self.str()?);
        let host = self.flag()?;
        let host = Some(self.str()?).filter(|_| host);
        let (lines, content) = (self.str()?, self.text()?);
        let mut headers = [None; HEADERS_MAX];
        for header in &mut headers {
            if self.flag()? {
                *header = Some(HeaderMatch {
                    name: self.str()?,
                    value: self.pattern()?,
                });
            }
        }
        Some(Http {
            request: http::Request {
                method,
                target,
                host,
                address,
                headers: lines,
                body: content,
                keep_alive,
                http10,
                proxied,
            },
            status: StatusSet::of_ranges(ranges),
            headers,
            body: self.pattern()?,
            head_bytes_max,
            body_bytes_max,
        })
    }

    fn dns(&mut self) -> Option<dns::Dns<'a>> {
        let record = dns::RecordType(self.u16()?);
        let rcode = dns::Rcode(self.u8()?);
        let recursion_desired = self.flag()?;
        let transport = if self.flag()? {
            Transport::Stream
        } else {
            Transport::Datagram
        };
        let aliases = self.flag()?;
        let name = self.str()?;
        let expected = match self.u8()? {
            expected::NOTHING => dns::Expected::Nothing,
            expected::RECORD => dns::Expected::Record,
            expected::V4 => {
                let octets = self.r.take::<4>("address").ok()?;
                dns::Expected::Address(Ipv4Addr::from(octets).into())
            }
            expected::V6 => {
                let octets = self.r.take::<16>("address").ok()?;
                dns::Expected::Address(Ipv6Addr::from(octets).into())
            }
            expected::NAME => dns::Expected::Name(self.str()?),
            expected::TEXT => dns::Expected::Text(self.pattern()?),
            _ => return None,
        };
        Some(dns::Dns {
            name,
            record,
            recursion_desired,
            transport,
            rcode,
            expected,
            aliases,
        })
    }

    fn radius(&mut self) -> Option<radius::Radius<'a>> {
        let expected = match self.u8()? {
            0 => radius::Expected::Accept,
            1 => radius::Expected::Reject,
            2 => radius::Expected::Challenge,
            3 => radius::Expected::Any,
            _ => return None,
        };
        let require_signed = self.flag()?;
        let (secret, nas_identifier) = (self.text()?, self.str()?);
        let request = if self.flag()? {
            radius::Request::Access {
                user: self.str()?,
                password: self.text()?,
            }
        } else {
            radius::Request::Status
        };
        Some(radius::Radius {
            request,
            secret,
            nas_identifier,
            expected,
            require_signed,
        })
    }

    fn pattern(&mut self) -> Option<Pattern<'a>> {
        Some(match self.u8()? {
            pattern::ANY => Pattern::Any,
            pattern::EXACT => Pattern::Exact(self.text()?),
            pattern::PREFIX => Pattern::Prefix(self.text()?),
            pattern::CONTAINS => Pattern::Contains(self.text()?),
            pattern::REGEX => {
                let at = usize::from(self.u8()?).checked_mul(Regex::WORDS)?;
                let words = self.tables.get(at..)?.get(..Regex::WORDS)?;
                Pattern::Regex(Regex::ref_from_bytes(words.as_bytes()).ok()?)
            }
            _ => return None,
        })
    }

    fn flag(&mut self) -> Option<bool> {
        self.u8().map(|byte| byte != 0)
    }

    fn u8(&mut self) -> Option<u8> {
        self.r.u8("byte").ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.r.u16::<NativeEndian>("number").ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.r.u32::<NativeEndian>("number").ok()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.r.bytes("text", len).ok()
    }

    fn str(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.text()?).ok()
    }
}
