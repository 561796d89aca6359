//! The two TCP segments that a half-open connection has (RFC 9293 3.1): the SYN
//! that is sent, and what comes back for it. Not TCP: no state, no data.

use super::{IpProtocol, Malformed, header};
use crate::bytes::{ChecksumScope, Reader};
use core::net::Ipv4Addr;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a [`Syn`], with its one option.
pub const SYN_BYTES: usize = 24;
/// Where the checksum is in a segment.
pub const CHECKSUM_OFFSET: u8 = 16;

#[derive(Clone, Copy, FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    source_port: U16,
    destination_port: U16,
    sequence: U32,
    acknowledgment: U32,
    /// Length of the header in words of four bytes, in the upper half.
    offset: u8,
    flags: u8,
    window: U16,
    checksum: U16,
    urgent: U16,
}

#[derive(IntoBytes, Unaligned, Immutable)]
#[repr(C)]
struct Message {
    header: Raw,
    option: [u8; 4],
}

const _: () = assert!(size_of::<Message>() == SYN_BYTES);

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Maximum segment size 536, what everybody takes (RFC 9293 3.7.1): without the
/// option some middleboxes are suspicious, and no segment will ever follow.
const MSS_OPTION: [u8; 4] = [2, 4, 2, 24];
const WINDOW: u16 = 1024;
/// Six words of header, option included.
const OFFSET: u8 = 6 << 4;
const _: () = assert!(SYN_BYTES == 6 * 4);

/// The first segment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// Port it leaves from.
    pub source_port: u16,
    /// Port it goes to.
    pub destination_port: u16,
    /// Initial sequence number: the answer acknowledges one more than it.
    pub sequence: u32,
}

impl Syn {
    /// Its bytes. The checksum is 0: over IPv6 the kernel, which chooses the
    /// source address, can fill it in (RFC 3542 3.1), over IPv4 [`leave_v4`] does.
    #[must_use]
    pub fn bytes(&self) -> [u8; SYN_BYTES] {
        zerocopy::transmute!(Message {
            header: Raw {
                source_port: U16::new(self.source_port),
                destination_port: U16::new(self.destination_port),
                sequence: U32::new(self.sequence),
                acknowledgment: U32::ZERO,
                offset: OFFSET,
                flags: SYN,
                window: U16::new(WINDOW),
                checksum: U16::ZERO,
                urgent: U16::ZERO,
            },
            option: MSS_OPTION,
        })
    }
}

/// Puts the port it leaves from into a segment.
pub fn leave_from(segment: &mut [u8; SYN_BYTES], port: u16) {
    let [a, b, ..] = segment;
    [*a, *b] = port.to_be_bytes();
}

/// Puts the checksum into a segment whose checksum is 0.
pub fn leave_v4(segment: &mut [u8; SYN_BYTES], source: Ipv4Addr, destination: Ipv4Addr) {
    let scope = ChecksumScope::PseudoV4 {
        source,
        destination,
        protocol: IpProtocol::TCP.0,
    };
    let sum = scope.of(segment).to_be_bytes();
    // At `CHECKSUM_OFFSET`, before the urgent pointer and the option.
    let [.., a, b, _, _, _, _, _, _] = segment;
    [*a, *b] = sum;
}

/// What came back for a SYN. Its checksum is not looked at: on a host whose
/// network device fills it in, or that sends to itself, it is not there yet; the
/// acknowledged number is what cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Port it comes from.
    pub source_port: u16,
    /// Port it is for.
    pub destination_port: u16,
    /// The number after the SYN that it answers.
    pub acknowledgment: u32,
    /// What it says.
    pub says: Says,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Says {
    /// SYN and ACK: somebody listens.
    Listens,
    /// RST and ACK: nobody does.
    Refused,
    /// Something else, such as an ACK of an older connection (RFC 5961).
    Other,
}

impl Answer {
    /// Reads a segment.
    ///
    /// # Errors
    /// [`Malformed`]: shorter than its header.
    pub fn parse(segment: &[u8]) -> Result<Self, Malformed> {
        let raw: Raw = header(&mut Reader::new(segment), "tcp header")?;
        let says = match raw.flags & (SYN | RST | ACK) {
            flags if flags == SYN | ACK => Says::Listens,
            flags if flags == RST | ACK => Says::Refused,
            _ => Says::Other,
        };
        Ok(Self {
            source_port: raw.source_port.get(),
            destination_port: raw.destination_port.get(),
            acknowledgment: raw.acknowledgment.get(),
            says,
        })
    }
}

/// What an ICMP error quotes of a segment: its first 8 bytes at least (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Port it left from.
    pub source_port: u16,
    /// Port it went to.
    pub destination_port: u16,
    /// Its sequence number.
    pub sequence: u32,
}

impl Quoted {
    /// Reads the beginning of a segment that was sent.
    ///
    /// # Errors
    /// [`Malformed`]: fewer than 8 bytes.
    pub fn parse(segment: &[u8]) -> Result<Self, Malformed> {
        let [source_port, destination_port, high, low]: [U16; 4] =
            header(&mut Reader::new(segment), "quoted tcp header")?;
        Ok(Self {
            source_port: source_port.get(),
            destination_port: destination_port.get(),
            sequence: u32::from(high.get()) << 16 | u32::from(low.get()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Syn = Syn {
        source_port: 0x8001,
        destination_port: 80,
        sequence: 0x0102_0304,
    };

    /// As scapy has it: `IP(src="192.0.2.1", dst="192.0.2.2") / TCP(sport=32769,
    /// dport=80, seq=0x01020304, flags="S", window=1024, options=[("MSS", 536)])`.
    #[test]
    fn the_bytes_of_a_syn() {
        let mut bytes = Syn {
            source_port: 0,
            ..ONE
        }
        .bytes();
        leave_from(&mut bytes, 0x8001);
        assert_eq!(bytes, ONE.bytes());
        #[rustfmt::skip]
        assert_eq!(bytes, [
            0x80, 0x01, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0x60, 2, 4, 0, 0, 0, 0, 0, 2, 4, 2, 0x18,
        ]);
        let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        leave_v4(&mut bytes, source, destination);
        assert_eq!(bytes[16..18], [0x8f, 0x67]);
        let scope = ChecksumScope::PseudoV4 {
            source,
            destination,
            protocol: 6,
        };
        assert_eq!(scope.of(&bytes), 0);
    }

    #[test]
    fn an_answer_says_one_of_three_things() {
        let answer = |flags: u8| {
            let mut bytes = ONE.bytes();
            bytes[8..12].copy_from_slice(&0x0102_0305_u32.to_be_bytes());
            bytes[13] = flags;
            Answer::parse(&bytes).unwrap()
        };
        assert_eq!(
            answer(SYN | ACK),
            Answer {
                source_port: 0x8001,
                destination_port: 80,
                acknowledgment: 0x0102_0305,
                says: Says::Listens
            }
        );
        // ECE, as a host that speaks ECN sends it (RFC 3168).
        assert_eq!(answer(SYN | ACK | 0x40).says, Says::Listens);
        assert_eq!(answer(RST | ACK).says, Says::Refused);
        for flags in [0, SYN, ACK, RST, SYN | RST | ACK, SYN | RST] {
            assert_eq!(answer(flags).says, Says::Other, "{flags:#x}");
        }
        assert!(Answer::parse(&ONE.bytes()[..19]).is_err());
    }

    #[test]
    fn a_quote_needs_eight_bytes() {
        let quoted = Quoted {
            source_port: 0x8001,
            destination_port: 80,
            sequence: 0x0102_0304,
        };
        assert_eq!(Quoted::parse(&ONE.bytes()[..8]), Ok(quoted));
        assert!(Quoted::parse(&ONE.bytes()[..7]).is_err());
    }
}
