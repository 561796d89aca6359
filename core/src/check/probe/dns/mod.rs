//! DNS (RFC 1035) over UDP and TCP: one question, and what the answer has to be.
//! Not a resolver: the target is asked, nobody else.

mod answer;
mod name;

pub use name::NameError;

use super::keep::Kept;
use super::{NO_ROOM, Pattern, Reason, Room, Step, Token, Transport, failure};
use crate::bytes::{NetworkEndian, Writer};
use core::fmt;
use core::net::IpAddr;

/// Bytes of an answer over TCP that are read at most.
pub const ANSWER_BYTES_MAX: usize = 4096;
/// Bytes of the length before each message over TCP (RFC 1035 4.2.2).
const LENGTH_BYTES: usize = 2;
const CLASS_IN: u16 = 1;
const RECURSION_DESIRED: u16 = 0x0100;

/// The type of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// A name server.
    pub const NS: Self = Self(2);
    /// The name this one stands for.
    pub const CNAME: Self = Self(5);
    /// The start of a zone.
    pub const SOA: Self = Self(6);
    /// A mail server.
    pub const MX: Self = Self(15);
    /// Text.
    pub const TXT: Self = Self(16);
    /// An IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// A service (RFC 2782).
    pub const SRV: Self = Self(33);

    const NAMES: [(&'static str, Self); 8] = [
        ("A", Self::A),
        ("NS", Self::NS),
        ("CNAME", Self::CNAME),
        ("SOA", Self::SOA),
        ("MX", Self::MX),
        ("TXT", Self::TXT),
        ("AAAA", Self::AAAA),
        ("SRV", Self::SRV),
    ];

    /// The type of this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.iter();
        names
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, record)| *record)
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, record)| record == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// What a server says of a question (RFC 1035 4.1.1, RFC 6895 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rcode(pub u8);

impl Rcode {
    /// No error.
    pub const NO_ERROR: Self = Self(0);
    /// The server failed.
    pub const SERVER_FAILURE: Self = Self(2);
    /// There is no such name.
    pub const NAME_ERROR: Self = Self(3);
    /// The server refuses to answer.
    pub const REFUSED: Self = Self(5);
}

/// A question and what its answer has to be.
#[derive(Clone, Copy, Debug)]
pub struct Dns<'a> {
    /// The name asked for; its last dot may be left out.
    pub name: &'a str,
    /// The type asked for; the class is IN.
    pub record: RecordType,
    /// Ask a resolver rather than a server of the zone.
    pub recursion_desired: bool,
    /// Over UDP or TCP.
    pub transport: Transport,
    /// What the server has to say of it.
    pub rcode: Rcode,
    /// What must be among the answers.
    pub expected: Expected<'a>,
    /// Records of a name that the question's is an alias of count, too.
    pub aliases: bool,
}

/// What must be among the answers.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// Nothing: the response code decides.
    Nothing,
    /// A record of the type asked for.
    Record,
    /// An A or AAAA record with this address.
    Address(IpAddr),
    /// A CNAME, NS, MX, SRV or SOA record with this name (of an SOA, that of the
    /// primary server).
    Name(&'a str),
    /// A TXT record whose strings, joined, match.
    Text(Pattern<'a>),
}

/// What is wrong with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// A name that is none.
    Name(NameError),
    /// What is expected cannot be in a record of the type asked for.
    Expected,
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Expected => f.pad("no record of this type has what is expected"),
        }
    }
}

impl core::error::Error for DnsError {}

impl Dns<'_> {
    /// Bytes it keeps from call to call, over TCP.
    pub(super) const KEEP_BYTES: usize = LENGTH_BYTES + ANSWER_BYTES_MAX;
}

impl<'a> Dns<'a> {
    /// Asks a resolver over UDP, and expects a record without error.
    #[must_use]
    pub const fn new(name: &'a str, record: RecordType) -> Self {
        Self {
            name,
            record,
            recursion_desired: true,
            transport: Transport::Datagram,
            rcode: Rcode::NO_ERROR,
            expected: Expected::Record,
            aliases: true,
        }
    }

    /// Seesaw's rules: an A or AAAA record of the very name has this address.
    #[must_use]
    pub const fn seesaw(name: &'a str, address: IpAddr) -> Self {
        let record = match address {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::AAAA,
        };
        Self {
            expected: Expected::Address(address),
            aliases: false,
            ..Self::new(name, record)
        }
    }

    /// Whether it can be asked, for the config.
    ///
    /// # Errors
    /// [`DnsError`]: why not.
    pub fn check(&self) -> Result<(), DnsError> {
        name::check(self.name).map_err(DnsError::Name)?;
        if let Expected::Name(name) = self.expected {
            name::check(name).map_err(DnsError::Name)?;
        }
        let record = self.record;
        let possible = match self.expected {
            Expected::Nothing | Expected::Record => true,
            Expected::Address(IpAddr::V4(_)) => record == RecordType::A,
            Expected::Address(IpAddr::V6(_)) => record == RecordType::AAAA,
            Expected::Name(_) => answer::name_offset(record).is_some(),
            Expected::Text(_) => record == RecordType::TXT,
        };
        if possible {
            Ok(())
        } else {
            Err(DnsError::Expected)
        }
    }

    pub(super) const fn keep_bytes(&self) -> usize {
        match self.transport {
            Transport::Stream => Self::KEEP_BYTES,
            Transport::Datagram | Transport::Errand => 0,
        }
    }

    pub(super) fn begin(&self, token: Token, out: &mut [u8]) -> Step {
        let mut w = Writer::new(out);
        let length = w.mark();
        if self.transport == Transport::Stream {
            w.u16::<NetworkEndian>(0);
        }
        let message = w.mark();
        w.u16::<NetworkEndian>(token.id);
        let flags = if self.recursion_desired {
            RECURSION_DESIRED
        } else {
            0
        };
        w.u16::<NetworkEndian>(flags);
        for count in [1, 0, 0, 0] {
            w.u16::<NetworkEndian>(count);
        }
        name::write(self.name, &mut w);
        w.u16::<NetworkEndian>(self.record.0);
        w.u16::<NetworkEndian>(CLASS_IN);
        if self.transport == Transport::Stream {
            // A name has 255 bytes at most.
            let bytes = u16::try_from(w.since(message)).unwrap_or(u16::MAX);
            w.patch(length, &bytes.to_be_bytes());
        }
        w.finish().map_or(NO_ROOM, |sent| Step::Send(sent.len()))
    }

    /// Takes a datagram. `excuse` says what a timeout will mean when it was not
    /// the answer: someone else's answer is passed over, for it must not decide.
    pub(super) fn datagram(&self, token: Token, bytes: &[u8], excuse: &mut Reason) -> Step {
        let step = self.answer(token, bytes);
        if step == failure(Reason::DnsStranger) {
            *excuse = Reason::DnsStranger;
            return Step::More;
        }
        step
    }

    /// Takes bytes of a stream.
    pub(super) fn stream(
        &self,
        token: Token,
        kept: &mut Kept,
        mut bytes: &[u8],
        room: &mut Room<'_>,
    ) -> Step {
        kept.fill(room.keep, LENGTH_BYTES, &mut bytes);
        let Some((length, _)) = kept.bytes(room.keep).split_first_chunk() else {
            return Step::More;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let whole = length.saturating_add(LENGTH_BYTES);
        if whole > self.keep_bytes().min(room.keep.len()) {
            return failure(Reason::DnsTooLong);
        }
        kept.fill(room.keep, whole, &mut bytes);
        match kept.bytes(room.keep).split_at_checked(LENGTH_BYTES) {
            Some((_, message)) if message.len() == length => self.answer(token, message),
            Some(_) | None => Step::More,
        }
    }
}

#[cfg(test)]
mod tests;
