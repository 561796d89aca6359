//! ICMP echo for both families, and the errors that quote one: RFC 792 and RFC
//! 4443. Not neighbour discovery, which is [`super::icmpv6`].
//!
//! An echo's identifier and sequence number are 16 bits each and anybody's to
//! use, so ours carry 64 bits more as their payload, which the reply repeats.

use super::{IpProtocol, Malformed, header};
use crate::bytes::{ChecksumScope, Reader};
use zerocopy::byteorder::network_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of our echo messages, token included.
pub const ECHO_BYTES: usize = 16;

const ECHO_REPLY_V4: u8 = 0;
const UNREACHABLE_V4: u8 = 3;
const ECHO_REQUEST_V4: u8 = 8;
const TIME_EXCEEDED_V4: u8 = 11;
const PARAMETER_PROBLEM_V4: u8 = 12;

const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;
const PARAMETER_PROBLEM_V6: u8 = 4;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

#[derive(Clone, Copy, FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    icmp_type: u8,
    code: u8,
    checksum: U16,
    /// Identifier and sequence number; unused, or a length, in an error.
    rest: [U16; 2],
}

#[derive(IntoBytes, Unaligned, Immutable)]
#[repr(C)]
struct Message {
    header: Raw,
    token: U64,
}

const _: () = assert!(size_of::<Message>() == ECHO_BYTES);

/// What identifies an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Of the sender's process, by custom.
    pub identifier: u16,
    /// Of the request among those of its sender.
    pub sequence: u16,
    /// The payload: who knows it has seen the request.
    pub token: u64,
}

/// An ICMP message, as far as it concerns who sends echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// A reply with a payload of a token's size.
    Reply(Echo),
    /// An error about an echo request.
    Error {
        /// What it says.
        error: IcmpError,
        /// The request it quotes. Routers need quote only as much as the
        /// sequence number, so the token may be missing.
        identifier: u16,
        /// Its sequence number.
        sequence: u16,
        /// Its token.
        token: Option<u64>,
    },
    /// Another message.
    Other,
}

/// What an error says of the way to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpError {
    /// No route to its network.
    NetUnreachable,
    /// It, or its neighbour discovery, does not answer.
    HostUnreachable,
    /// Nobody has this port or protocol.
    PortUnreachable,
    /// A policy forbids it.
    Prohibited,
    /// Too many hops, too big, or not understood.
    Other,
}

impl Echo {
    /// A request over IPv4, with its checksum.
    #[must_use]
    pub fn request_v4(&self) -> [u8; ECHO_BYTES] {
        let mut message = self.message(ECHO_REQUEST_V4);
        message.header.checksum = U16::new(ChecksumScope::Message.of(message.as_bytes()));
        zerocopy::transmute!(message)
    }

    /// A request over IPv6. Its checksum is 0: the kernel, which chooses the
    /// source address, fills it in (RFC 3542 3.1).
    #[must_use]
    pub fn request_v6(&self) -> [u8; ECHO_BYTES] {
        zerocopy::transmute!(self.message(ECHO_REQUEST_V6))
    }

    const fn message(&self, icmp_type: u8) -> Message {
        Message {
            header: Raw {
                icmp_type,
                code: 0,
                checksum: U16::ZERO,
                rest: [U16::new(self.identifier), U16::new(self.sequence)],
            },
            token: U64::new(self.token),
        }
    }
}

impl Icmp {
    /// Reads an ICMP message over IPv4: the payload of a packet.
    ///
    /// # Errors
    /// [`Malformed`]: short, wrong checksum. A raw socket gets messages before
    /// the kernel looks at their checksum.
    pub fn parse_v4(message: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(message);
        let raw: Raw = header(&mut r, "icmp header")?;
        check("icmp message", ChecksumScope::Message, message, &raw)?;
        let error = match (raw.icmp_type, raw.code) {
            (ECHO_REPLY_V4, _) => return Ok(reply(&raw, r)),
            (UNREACHABLE_V4, 0 | 6 | 11) => IcmpError::NetUnreachable,
            (UNREACHABLE_V4, 1 | 5 | 7 | 8 | 12) => IcmpError::HostUnreachable,
            (UNREACHABLE_V4, 2 | 3) => IcmpError::PortUnreachable,
            (UNREACHABLE_V4, 9 | 10 | 13) => IcmpError::Prohibited,
            (UNREACHABLE_V4 | TIME_EXCEEDED_V4 | PARAMETER_PROBLEM_V4, _) => IcmpError::Other,
            _ => return Ok(Self::Other),
        };
        // Of the quoted header only what leads to the request: routers change
        // its time to live and may leave its checksum wrong.
        let version_ihl = r.u8("quoted header")?;
        let header_bytes = usize::from(version_ihl & 0xf).saturating_mul(4);
        let Some(options) = header_bytes.checked_sub(20) else {
            return Ok(Self::Other);
        };
        r.bytes("quoted header", 8)?;
        let protocol = IpProtocol(r.u8("quoted protocol")?);
        r.bytes("quoted header", 10)?;
        r.bytes("quoted options", options)?;
        if version_ihl >> 4 != 4 || protocol != IpProtocol::ICMP {
            return Ok(Self::Other);
        }
        quoted(error, ECHO_REQUEST_V4, r)
    }

    /// Reads an ICMPv6 message. `scope` has the addresses of its packet; without
    /// them the checksum is not looked at, for a raw ICMPv6 socket gets only
    /// messages in which it holds.
    ///
    /// # Errors
    /// [`Malformed`]: short, wrong checksum.
    pub fn parse_v6(message: &[u8], scope: Option<ChecksumScope>) -> Result<Self, Malformed> {
        let mut r = Reader::new(message);
        let raw: Raw = header(&mut r, "icmpv6 header")?;
        if let Some(scope) = scope {
            check("icmpv6 message", scope, message, &raw)?;
        }
        let error = match (raw.icmp_type, raw.code) {
            (ECHO_REPLY_V6, _) => return Ok(reply(&raw, r)),
            (UNREACHABLE_V6, 0) => IcmpError::NetUnreachable,
            (UNREACHABLE_V6, 3) => IcmpError::HostUnreachable,
            (UNREACHABLE_V6, 4) => IcmpError::PortUnreachable,
            (UNREACHABLE_V6, 1 | 2 | 5 | 6) => IcmpError::Prohibited,
            (UNREACHABLE_V6 | TOO_BIG_V6 | TIME_EXCEEDED_V6 | PARAMETER_PROBLEM_V6, _) => {
                IcmpError::Other
            }
            _ => return Ok(Self::Other),
        };
        let version = r.u8("quoted header")? >> 4;
        r.bytes("quoted header", 5)?;
        let next = IpProtocol(r.u8("quoted next header")?);
        r.bytes("quoted header", 33)?;
        if version != 6 || next != IpProtocol::ICMPV6 {
            return Ok(Self::Other);
        }
        quoted(error, ECHO_REQUEST_V6, r)
    }
}

fn check(
    what: &'static str,
    scope: ChecksumScope,
    message: &[u8],
    raw: &Raw,
) -> Result<(), Malformed> {
    if scope.of(message) == 0 {
        return Ok(());
    }
    let said = raw.checksum.get();
    Err(Malformed::Checksum { what, said })
}

fn reply(raw: &Raw, mut r: Reader<'_>) -> Icmp {
    let token = r.take("token");
    match token {
        Ok(token) if r.is_empty() => Icmp::Reply(echo(raw, u64::from_be_bytes(token))),
        Ok(_) | Err(_) => Icmp::Other,
    }
}

/// What an error quotes of the request's own bytes.
fn quoted(error: IcmpError, request: u8, mut r: Reader<'_>) -> Result<Icmp, Malformed> {
    let raw: Raw = header(&mut r, "quoted echo request")?;
    if raw.icmp_type != request {
        return Ok(Icmp::Other);
    }
    let token = r.take("quoted token").ok().map(u64::from_be_bytes);
    let [identifier, sequence] = raw.rest.map(U16::get);
    Ok(Icmp::Error {
        error,
        identifier,
        sequence,
        token,
    })
}

fn echo(raw: &Raw, token: u64) -> Echo {
    let [identifier, sequence] = raw.rest.map(U16::get);
    Echo {
        identifier,
        sequence,
        token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use std::vec::Vec;

    const ECHO: Echo = Echo {
        identifier: 0x1234,
        sequence: 7,
        token: 0x0102_0304_0506_0708,
    };

    fn with_checksum(mut message: Vec<u8>, scope: ChecksumScope) -> Vec<u8> {
        message[2..4].fill(0);
        let sum = scope.of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    }

    fn v4(message: Vec<u8>) -> Result<Icmp, Malformed> {
        Icmp::parse_v4(&with_checksum(message, ChecksumScope::Message))
    }

    /// The request as ping(8) would send it with such a payload; its checksum
    /// by hand: 0x0800 + 0x1234 + 7 + 0x0102 + 0x0304 + 0x0506 + 0x0708 = 0x2a4f.
    #[test]
    fn the_bytes_of_a_request() {
        #[rustfmt::skip]
        assert_eq!(ECHO.request_v4(), [
            8, 0, 0xd5, 0xb0, 0x12, 0x34, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8,
        ]);
        assert_eq!(ECHO.request_v6()[..8], [128, 0, 0, 0, 0x12, 0x34, 0, 7]);
        assert_eq!(ECHO.request_v6()[8..], ECHO.request_v4()[8..]);
    }

    #[test]
    fn a_reply_tells_its_token() {
        let mut message = Vec::from(ECHO.request_v4());
        assert_eq!(Icmp::parse_v4(&message), Ok(Icmp::Other), "a request");
        message[0] = 0;
        assert_eq!(v4(message.clone()), Ok(Icmp::Reply(ECHO)));
        let wrong = Icmp::parse_v4(&message);
        assert!(
            matches!(wrong, Err(Malformed::Checksum { .. })),
            "{wrong:?}"
        );
        assert_eq!(v4(message[..15].to_vec()), Ok(Icmp::Other), "no token");
        message.push(9);
        assert_eq!(v4(message), Ok(Icmp::Other), "not our payload");
        assert!(v4([0; 7].to_vec()).is_err());
    }

    #[test]
    fn a_reply_over_ipv6() {
        let scope = ChecksumScope::PseudoV6 {
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
            next_header: 58,
        };
        let mut message = Vec::from(ECHO.request_v6());
        message[0] = 129;
        assert_eq!(Icmp::parse_v6(&message, None), Ok(Icmp::Reply(ECHO)));
        assert!(Icmp::parse_v6(&message, Some(scope)).is_err());
        let message = with_checksum(message, scope);
        assert_eq!(Icmp::parse_v6(&message, Some(scope)), Ok(Icmp::Reply(ECHO)));
    }

    #[test]
    fn errors_quote_the_request() {
        let error_v4 = |kind: [u8; 2], quote: &[u8]| {
            let mut message = Vec::from([kind[0], kind[1], 0, 0, 0, 0, 0, 0]);
            message.extend(quote);
            v4(message)
        };
        let mut packet = Vec::from([0x46, 0, 0, 40, 0, 0, 0, 0, 1, 1, 0xba, 0xad]);
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 1, 1]);
        packet.extend(ECHO.request_v4());
        let expect = |error, token| Icmp::Error {
            error,
            identifier: 0x1234,
            sequence: 7,
            token,
        };
        for (kind, error) in [
            ([3, 0], IcmpError::NetUnreachable),
            ([3, 1], IcmpError::HostUnreachable),
            ([3, 3], IcmpError::PortUnreachable),
            ([3, 4], IcmpError::Other),
            ([3, 13], IcmpError::Prohibited),
            ([11, 0], IcmpError::Other),
        ] {
            let got = error_v4(kind, &packet);
            assert_eq!(got, Ok(expect(error, Some(ECHO.token))), "{kind:?}");
        }
        // RFC 792 asks for 8 bytes only: all but the token.
        let got = error_v4([3, 1], &packet[..32]);
        assert_eq!(got, Ok(expect(IcmpError::HostUnreachable, None)));
        for cut in 0..32 {
            assert!(error_v4([3, 1], &packet[..cut]).is_err(), "{cut}");
        }
        // Others' packets.
        for (byte, value) in [(0, 0x66), (9, 17), (24, 0), (0, 0x44)] {
            let mut packet = packet.clone();
            packet[byte] = value;
            assert_eq!(error_v4([3, 1], &packet), Ok(Icmp::Other), "{byte}");
        }
        assert_eq!(error_v4([5, 1], &packet), Ok(Icmp::Other), "a redirect");
    }

    #[test]
    fn errors_over_ipv6_quote_the_request() {
        let mut packet = Vec::from([0x60, 0, 0, 0, 0, 16, 58, 64]);
        packet.extend([0; 32]);
        packet.extend(ECHO.request_v6());
        for (kind, error) in [
            ([1, 0], IcmpError::NetUnreachable),
            ([1, 1], IcmpError::Prohibited),
            ([1, 3], IcmpError::HostUnreachable),
            ([1, 4], IcmpError::PortUnreachable),
            ([2, 0], IcmpError::Other),
            ([3, 0], IcmpError::Other),
        ] {
            let mut message = Vec::from([kind[0], kind[1], 0, 0, 0, 0, 0, 0]);
            message.extend(&packet);
            let token = Some(ECHO.token);
            let (identifier, sequence) = (0x1234, 7);
            assert_eq!(
                Icmp::parse_v6(&message, None),
                Ok(Icmp::Error {
                    error,
                    identifier,
                    sequence,
                    token,
                }),
                "{kind:?}"
            );
            message[8 + 6] = 17;
            assert_eq!(Icmp::parse_v6(&message, None), Ok(Icmp::Other));
        }
    }
}
