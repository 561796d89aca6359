//! A SYN, and what comes back for it: a half-open check. Neither side keeps
//! anything of it, for the kernel resets a connection it knows nothing of
//! (RFC 9293 3.10.7.1).

use super::{NO_ROOM, Step, Token, failure, success};
use crate::bytes::Writer;
use crate::check::Reason;
use crate::model::Family;
use crate::wire::Ipv4Packet;
use crate::wire::tcp::{self, Answer, Says};

/// Whom to send a SYN.
#[derive(Clone, Copy, Debug)]
pub struct Syn {
    /// Its port.
    pub port: u16,
}

impl Syn {
    /// The sequence number of a probe's SYN: 32 bits that nobody can guess, which
    /// its answer repeats.
    #[must_use]
    pub const fn sequence(token: Token) -> u32 {
        // The first four are the seat's.
        let [_, _, _, _, a, b, c, d, ..] = token.secret;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The segment in a packet of a raw socket, over IPv4 with its header, and what
    /// it says; `None` for a fragment, and for what is no TCP.
    #[must_use]
    pub fn came(family: Family, packet: &[u8]) -> Option<(Answer, &[u8])> {
        let segment = match family {
            Family::V4 => {
                let packet = Ipv4Packet::parse(packet).ok()?;
                (!packet.fragment).then_some(packet.payload)?
            }
            Family::V6 => packet,
        };
        Some((Answer::parse(segment).ok()?, segment))
    }

    /// The segment, but for what the way out decides: the port it leaves from, and
    /// the checksum.
    pub(super) fn begin(&self, token: Token, out: &mut [u8]) -> Step {
        let segment = tcp::Syn {
            source_port: 0,
            destination_port: self.port,
            sequence: Self::sequence(token),
        };
        let mut w = Writer::new(out);
        w.bytes(&segment.bytes());
        w.finish().map_or(NO_ROOM, |sent| Step::Send(sent.len()))
    }

    /// Takes a segment that came back.
    pub(super) fn datagram(token: Token, segment: &[u8]) -> Step {
        let own = Self::sequence(token).wrapping_add(1);
        match Answer::parse(segment) {
            Ok(answer) if answer.acknowledgment == own => match answer.says {
                Says::Listens => success(),
                Says::Refused => failure(Reason::Refused),
                Says::Other => Step::More,
            },
            Ok(_) | Err(_) => Step::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::laws::TOKEN;
    use super::super::{Probe, Room, Spec};
    use super::*;
    use crate::check::Verdict;

    const SYN: Syn = Syn { port: 443 };

    fn begin() -> (Probe, [u8; tcp::SYN_BYTES]) {
        let mut out = [0; tcp::SYN_BYTES];
        let (out_all, keep): (&mut [u8], &mut [u8]) = (&mut out, &mut []);
        let mut room = Room { out: out_all, keep };
        let (probe, step) = Probe::begin(&Spec::Syn(SYN), TOKEN, &mut room);
        assert_eq!(step, Step::Send(tcp::SYN_BYTES));
        (probe, out)
    }

    fn answered(flags: u8, beyond: u32) -> Step {
        let (mut probe, mut segment) = begin();
        let ack = Syn::sequence(TOKEN).wrapping_add(beyond);
        segment[8..12].copy_from_slice(&ack.to_be_bytes());
        segment[13] = flags;
        let mut room = Room {
            out: &mut [],
            keep: &mut [],
        };
        probe.handle_bytes(&Spec::Syn(SYN), &segment, &mut room)
    }

    #[test]
    fn who_listens_is_up_and_who_refuses_is_not() {
        assert_eq!(answered(0x12, 1), success());
        assert_eq!(answered(0x14, 1), failure(Reason::Refused));
        // A stranger's, an older one's, a challenge.
        for (flags, beyond) in [(0x12, 0), (0x14, 2), (0x10, 1), (0x04, 1), (0x02, 1)] {
            assert_eq!(answered(flags, beyond), Step::More, "{flags:#x} {beyond}");
        }
    }

    #[test]
    fn without_an_answer_it_timed_out() {
        let (probe, segment) = begin();
        assert_eq!(probe.handle_timeout(), Reason::TimedOut);
        assert_eq!(segment[2..4], 443_u16.to_be_bytes());
        let (mut probe, _) = begin();
        let mut room = Room {
            out: &mut [],
            keep: &mut [],
        };
        let step = probe.handle_bytes(&Spec::Syn(SYN), b"short", &mut room);
        assert_eq!(step, Step::More);
        assert_ne!(step, Step::Verdict(Verdict::Success));
    }
}
