//! IPv4 headers (RFC 791). Options are passed over and told, not read;
//! fragments are told, not put together.

use super::{IpProtocol, Malformed, TooLong, header};
use crate::bytes::{ChecksumScope, Reader};
use core::net::Ipv4Addr;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// The most payload a header without options can announce.
pub const PAYLOAD_BYTES_MAX: usize = 0xffff - HEADER_BYTES;

#[derive(FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    version_ihl: u8,
    tos: u8,
    total_length: U16,
    identification: U16,
    flags_offset: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    source: [u8; 4],
    destination: [u8; 4],
}

const _: () = assert!(size_of::<Raw>() == HEADER_BYTES);

/// "Don't fragment" in the flags field.
const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments" and the offset.
const FRAGMENT: u16 = 0x3fff;

/// The fields of an IPv4 header that mean something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Type of service: DSCP and ECN. 0xc0 (CS6) is network control.
    pub tos: u8,
    /// Names the packet among its fragments.
    pub identification: u16,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// Hops it may still make.
    pub ttl: u8,
    /// What follows.
    pub protocol: IpProtocol,
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
}

/// An IPv4 packet whose version, lengths and header checksum held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Packet<'a> {
    /// The header.
    pub header: Ipv4,
    /// Options as they stood, 0 to 40 bytes, unread.
    pub options: &'a [u8],
    /// Whether it is a piece of a packet: its payload is not a message.
    pub fragment: bool,
    /// What follows the header, without padding of the link.
    pub payload: &'a [u8],
}

impl<'a> Ipv4Packet<'a> {
    /// Reads a packet; bytes after its total length are padding.
    ///
    /// # Errors
    /// [`Malformed`]: short, version not 4, header length below 20 bytes or
    /// beyond the buffer, total length below the header or beyond the buffer,
    /// wrong header checksum.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let raw: Raw = header(&mut r, "ipv4 header")?;
        let version = raw.version_ihl >> 4;
        if version != 4 {
            return Err(Malformed::Field {
                what: "ipv4 version",
                said: version.into(),
                expected: 4,
            });
        }
        // Four bits of 32-bit words: 0 to 60 bytes.
        let header_bytes = usize::from(raw.version_ihl & 0xf).saturating_mul(4);
        let Some(options_bytes) = header_bytes.checked_sub(HEADER_BYTES) else {
            return Err(Malformed::Length {
                what: "ipv4 header length",
                said: header_bytes,
                least: HEADER_BYTES,
            });
        };
        let options = r.bytes("ipv4 options", options_bytes)?;
        let total = usize::from(raw.total_length.get());
        let Some(payload_bytes) = total.checked_sub(header_bytes) else {
            return Err(Malformed::Length {
                what: "ipv4 total length",
                said: total,
                least: header_bytes,
            });
        };
        let payload = r.bytes("ipv4 payload", payload_bytes)?;
        let whole = Reader::new(bytes).bytes("ipv4 header", header_bytes)?;
        if ChecksumScope::Message.of(whole) != 0 {
            return Err(Malformed::Checksum {
                what: "ipv4 header",
                said: raw.checksum.get(),
            });
        }
        let flags_offset = raw.flags_offset.get();
        Ok(Self {
            header: Ipv4 {
                tos: raw.tos,
                identification: raw.identification.get(),
                dont_fragment: flags_offset & DONT_FRAGMENT != 0,
                ttl: raw.ttl,
                protocol: IpProtocol(raw.protocol),
                source: raw.source.into(),
                destination: raw.destination.into(),
            },
            options,
            fragment: flags_offset & FRAGMENT != 0,
            payload,
        })
    }
}

impl Ipv4 {
    /// The bytes of a header without options before `payload_bytes` of payload,
    /// checksum included.
    ///
    /// # Errors
    /// [`TooLong`] above [`PAYLOAD_BYTES_MAX`].
    pub fn bytes(&self, payload_bytes: usize) -> Result<[u8; HEADER_BYTES], TooLong> {
        let total = payload_bytes
            .checked_add(HEADER_BYTES)
            .and_then(|total| u16::try_from(total).ok())
            .ok_or(TooLong {
                bytes: payload_bytes,
                most: PAYLOAD_BYTES_MAX,
            })?;
        let mut raw = Raw {
            version_ihl: 0x45,
            tos: self.tos,
            total_length: U16::new(total),
            identification: U16::new(self.identification),
            flags_offset: U16::new(if self.dont_fragment { DONT_FRAGMENT } else { 0 }),
            ttl: self.ttl,
            protocol: self.protocol.0,
            checksum: U16::ZERO,
            source: self.source.octets(),
            destination: self.destination.octets(),
        };
        raw.checksum = U16::new(ChecksumScope::Message.of(raw.as_bytes()));
        Ok(zerocopy::transmute!(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Short;
    use std::vec::Vec;

    const HEADER: Ipv4 = Ipv4 {
        tos: 0xc0,
        identification: 1,
        dont_fragment: false,
        ttl: 255,
        protocol: IpProtocol::VRRP,
        source: Ipv4Addr::new(192, 0, 2, 251),
        destination: Ipv4Addr::new(224, 0, 0, 18),
    };

    // scapy: IP(tos=0xc0, id=1, ttl=255, proto=112, src="192.0.2.251",
    // dst="224.0.0.18")/Raw(b"\x31\x0a\xc8\x02"); tests/tests/oracle_wire.rs
    // asks it again.
    const BYTES: [u8; 24] = [
        0x45, 0xc0, 0x00, 0x18, 0x00, 0x01, 0x00, 0x00, 0xff, 0x70, 0x17, 0xa7, 192, 0, 2, 251,
        224, 0, 0, 18, 0x31, 0x0a, 0xc8, 0x02,
    ];

    /// `BYTES` with a change and its checksum made right again.
    fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::from(BYTES);
        change(&mut bytes);
        bytes[10..12].fill(0);
        let header = usize::from(bytes[0] & 0xf) * 4;
        let covered = &bytes[..header.min(bytes.len())];
        let sum = ChecksumScope::Message.of(covered);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[test]
    fn there_and_back() {
        assert_eq!(HEADER.bytes(4).unwrap(), BYTES[..20]);
        let packet = Ipv4Packet::parse(&BYTES).unwrap();
        assert_eq!(packet.header, HEADER);
        assert_eq!(packet.payload, &BYTES[20..]);
        assert_eq!((packet.options, packet.fragment), (&[][..], false));
    }

    #[test]
    fn every_truncation_is_short() {
        for cut in 0..BYTES.len() {
            match Ipv4Packet::parse(&BYTES[..cut]) {
                Err(Malformed::Short(Short { what, .. })) => {
                    let expected = if cut < 20 {
                        "ipv4 header"
                    } else {
                        "ipv4 payload"
                    };
                    assert_eq!(what, expected);
                }
                other => panic!("{cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn padding_of_the_link_is_not_payload() {
        let mut padded = [0xa5; 46];
        padded[..24].copy_from_slice(&BYTES);
        assert_eq!(Ipv4Packet::parse(&padded).unwrap().payload, &BYTES[20..]);
    }

    #[test]
    fn options_are_told_and_passed_over() {
        for words in 6..=15_u8 {
            let extra = usize::from(words - 5) * 4;
            let bytes = changed(|b| {
                b[0] = 0x40 | words;
                b[3] = 24 + u8::try_from(extra).unwrap();
                for _ in 0..extra {
                    b.insert(20, 1);
                }
            });
            let packet = Ipv4Packet::parse(&bytes).unwrap();
            assert_eq!(packet.options.len(), extra);
            assert_eq!(packet.payload, &BYTES[20..]);
            // The header promises options that are not there.
            let cut = Ipv4Packet::parse(&bytes[..20 + extra - 1]);
            assert!(
                matches!(cut, Err(Malformed::Short(s)) if s.what == "ipv4 options"),
                "{cut:?}"
            );
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let six = changed(|b| b[0] = 0x65);
        assert_eq!(
            Ipv4Packet::parse(&six),
            Err(Malformed::Field {
                what: "ipv4 version",
                said: 6,
                expected: 4
            })
        );
        for words in 0..5 {
            let bytes = changed(|b| b[0] = 0x40 | words);
            assert_eq!(
                Ipv4Packet::parse(&bytes),
                Err(Malformed::Length {
                    what: "ipv4 header length",
                    said: usize::from(words) * 4,
                    least: 20
                })
            );
        }
        let bytes = changed(|b| b[3] = 19);
        assert_eq!(
            Ipv4Packet::parse(&bytes),
            Err(Malformed::Length {
                what: "ipv4 total length",
                said: 19,
                least: 20
            })
        );
        let bytes = changed(|b| b[3] = 25);
        assert!(
            matches!(Ipv4Packet::parse(&bytes), Err(Malformed::Short(s)) if s.what == "ipv4 payload")
        );
        for byte in 0..20 {
            for bit in 0..8 {
                let mut bytes = BYTES;
                bytes[byte] ^= 1 << bit;
                assert!(Ipv4Packet::parse(&bytes).is_err(), "byte {byte} bit {bit}");
            }
        }
    }

    #[test]
    fn fragments_are_told() {
        for (flags, fragment) in [(0x2000_u16, true), (0x0001, true), (0x4000, false)] {
            let bytes = changed(|b| b[6..8].copy_from_slice(&flags.to_be_bytes()));
            let packet = Ipv4Packet::parse(&bytes).unwrap();
            assert_eq!(packet.fragment, fragment);
            assert_eq!(packet.header.dont_fragment, flags == 0x4000);
        }
    }

    #[test]
    fn a_payload_too_long_is_refused() {
        assert!(HEADER.bytes(PAYLOAD_BYTES_MAX).is_ok());
        for bytes in [PAYLOAD_BYTES_MAX + 1, usize::MAX] {
            assert_eq!(
                HEADER.bytes(bytes),
                Err(TooLong {
                    bytes,
                    most: PAYLOAD_BYTES_MAX
                })
            );
        }
    }
}
