//! ICMP echo (RFC 792, RFC 4443): a request, and its reply or an error about it.
//! One raw socket serves all probes of a family, so the owner has to find the
//! probe first: [`Ping::token_of`].

use super::{NO_ROOM, Step, Token, failure, success};
use crate::bytes::Writer;
use crate::check::Reason;
use crate::model::Family;
use crate::wire::Ipv4Packet;
use crate::wire::icmp::{Echo, Icmp, IcmpError};
use core::net::IpAddr;

/// ICMPv6 type of an echo reply (RFC 4443 4.2).
const ECHO_REPLY_V6: u8 = 129;

/// Whom to ping.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// The target; only its replies count.
    pub target: IpAddr,
    /// The identifier of all our requests, by custom one for each process. The
    /// sequence number is the token's id.
    pub identifier: u16,
}

impl Ping {
    /// The first 8 bytes of [`Token::secret`] of the probe that a packet of a
    /// raw socket is about, if it is about one. They are echoed by whoever saw
    /// the request and nobody else, so they may hold a place in a table beside
    /// bytes that cannot be guessed.
    #[must_use]
    pub fn token_of(family: Family, packet: &[u8]) -> Option<[u8; 8]> {
        match parse(family, packet)?.1 {
            Icmp::Reply(Echo { token, .. })
            | Icmp::Error {
                token: Some(token), ..
            } => Some(token.to_be_bytes()),
            Icmp::Error { token: None, .. } | Icmp::Other => None,
        }
    }

    /// Whether a packet of a raw IPv6 socket is a reply: it has no header, so the
    /// owner compares who sent it.
    #[must_use]
    pub const fn is_reply_v6(packet: &[u8]) -> bool {
        matches!(packet.first(), Some(&ECHO_REPLY_V6))
    }

    pub(super) fn begin(&self, token: Token, out: &mut [u8]) -> Step {
        let echo = self.echo(token);
        let mut w = Writer::new(out);
        w.bytes(&match self.target {
            IpAddr::V4(_) => echo.request_v4(),
            IpAddr::V6(_) => echo.request_v6(),
        });
        w.finish().map_or(NO_ROOM, |sent| Step::Send(sent.len()))
    }

    /// Takes what a raw socket of the family got: over IPv4 with the header of
    /// the packet, over IPv6 without, and then the owner compares the source.
    pub(super) fn datagram(&self, token: Token, packet: &[u8], excuse: &mut Reason) -> Step {
        let echo = self.echo(token);
        match parse(self.family(), packet) {
            Some((source, Icmp::Reply(reply)))
                if reply == echo && source.is_none_or(|source| source == self.target) =>
            {
                success()
            }
            Some((
                _,
                Icmp::Error {
                    error,
                    identifier,
                    sequence,
                    token,
                },
            )) if (identifier, sequence) == (echo.identifier, echo.sequence) => match token {
                Some(token) if token == echo.token => failure(reason(error)),
                Some(_) => Step::More,
                // Anybody could have written this; it may explain a timeout.
                None => {
                    *excuse = reason(error);
                    Step::More
                }
            },
            Some(_) | None => Step::More,
        }
    }

    const fn family(&self) -> Family {
        match self.target {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    fn echo(&self, token: Token) -> Echo {
        let [a, b, c, d, e, f, g, h, ..] = token.secret;
        Echo {
            identifier: self.identifier,
            sequence: token.id,
            token: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        }
    }
}

fn parse(family: Family, packet: &[u8]) -> Option<(Option<IpAddr>, Icmp)> {
    match family {
        Family::V4 => {
            let packet = Ipv4Packet::parse(packet).ok()?;
            let whole = !packet.fragment;
            let message = whole.then(|| Icmp::parse_v4(packet.payload).ok()).flatten();
            message.map(|message| (Some(packet.header.source.into()), message))
        }
        Family::V6 => {
            let message = Icmp::parse_v6(packet, None).ok()?;
            Some((None, message))
        }
    }
}

const fn reason(error: IcmpError) -> Reason {
    match error {
        IcmpError::NetUnreachable => Reason::NetUnreachable,
        IcmpError::HostUnreachable => Reason::HostUnreachable,
        IcmpError::PortUnreachable => Reason::Refused,
        IcmpError::Prohibited => Reason::Prohibited,
        IcmpError::Other => Reason::Icmp,
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::TOKEN;
    use super::super::{Probe, Room, Spec};
    use super::*;
    use crate::bytes::ChecksumScope;
    use crate::check::Verdict;
    use crate::wire::{IpProtocol, Ipv4};
    use core::net::Ipv4Addr;
    use std::vec::Vec;

    const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    /// A packet to us with this ICMP message, its checksums made right.
    fn packet(source: Ipv4Addr, mut message: Vec<u8>) -> Vec<u8> {
        message[2..4].fill(0);
        let sum = ChecksumScope::Message.of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let header = Ipv4 {
            tos: 0,
            identification: 1,
            dont_fragment: false,
            ttl: 60,
            protocol: IpProtocol::ICMP,
            source,
            destination: Ipv4Addr::new(192, 0, 2, 1),
        };
        let mut packet = Vec::from(header.bytes(message.len()).unwrap());
        packet.extend(message);
        packet
    }

    fn began(target: IpAddr) -> (Spec<'static>, Probe, Vec<u8>) {
        let identifier = 99;
        let spec = Spec::Ping(Ping { target, identifier });
        let (out, keep) = (&mut [0xa5; 64], &mut []);
        let (probe, step) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
        assert_eq!(step, Step::Send(16));
        (spec, probe, out[..16].to_vec())
    }

    fn heard(spec: &Spec<'_>, probe: &mut Probe, packet: &[u8]) -> Step {
        let (out, keep) = (&mut [], &mut []);
        probe.handle_bytes(spec, packet, &mut Room { out, keep })
    }

    #[test]
    fn a_reply_is_the_targets_and_has_our_token() {
        let (spec, mut probe, mut message) = began(TARGET.into());
        let request = packet(TARGET, message.clone());
        assert_eq!(heard(&spec, &mut probe, &request), Step::More, "a request");
        message[0] = 0;
        let right = packet(TARGET, message.clone());
        let token = Ping::token_of(Family::V4, &right);
        assert_eq!(token, Some(*TOKEN.secret.first_chunk().unwrap()));
        let other = packet(Ipv4Addr::new(192, 0, 2, 8), message.clone());
        assert_eq!(heard(&spec, &mut probe, &other), Step::More, "another's");
        // Identifier and sequence alone are nothing; nor is the token alone.
        for byte in [5, 7, 8, 15] {
            let mut message = message.clone();
            message[byte] ^= 1;
            let stranger = packet(TARGET, message);
            assert_eq!(heard(&spec, &mut probe, &stranger), Step::More, "{byte}");
        }
        let mut broken = right.clone();
        broken[30] ^= 1;
        assert_eq!(heard(&spec, &mut probe, &broken), Step::More, "checksum");
        assert_eq!(probe.handle_timeout(), Reason::TimedOut);
        assert_eq!(heard(&spec, &mut probe, &right), success());
    }

    /// Seesaw refuses this check in DSR and TUN mode; nothing here depends on how
    /// traffic gets there.
    #[test]
    fn seesaw_defect_a_ping_knows_no_mode_and_ipv6_is_no_exception() {
        let target: IpAddr = "2001:db8::7".parse().unwrap();
        let (spec, mut probe, mut message) = began(target);
        message[0] = 129;
        assert_eq!(
            Ping::token_of(Family::V6, &message),
            Some(*TOKEN.secret.first_chunk().unwrap())
        );
        assert_eq!(heard(&spec, &mut probe, &message), success());
    }

    #[test]
    fn an_error_with_our_token_is_a_failure() {
        let (spec, mut probe, request) = began(TARGET.into());
        let quote = |request: &[u8]| {
            let mut message = Vec::from([3, 1, 0, 0, 0, 0, 0, 0]);
            message.extend(packet(Ipv4Addr::new(192, 0, 2, 1), request.to_vec()));
            packet(Ipv4Addr::new(198, 51, 100, 1), message)
        };
        let mut forged = request.clone();
        forged[9] ^= 1;
        assert_eq!(heard(&spec, &mut probe, &quote(&forged)), Step::More);
        assert_eq!(probe.handle_timeout(), Reason::TimedOut);
        // A router that quotes 8 bytes decides nothing, and explains a timeout.
        let short = quote(&request[..8]);
        assert_eq!(heard(&spec, &mut probe, &short), Step::More);
        assert_eq!(probe.handle_timeout(), Reason::HostUnreachable);
        assert_eq!(Ping::token_of(Family::V4, &short), None);
        let verdict = Verdict::Failure(Reason::HostUnreachable);
        assert_eq!(
            heard(&spec, &mut probe, &quote(&request)),
            Step::Verdict(verdict)
        );
    }
}
