//! IPv6 headers (RFC 8200 3). Extension headers are not walked: `next_header`
//! says what the payload starts with.

use super::{IpProtocol, Malformed, TooLong, header};
use crate::bytes::Reader;
use core::net::Ipv6Addr;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 40;

/// The most payload a header can announce (no jumbograms).
pub const PAYLOAD_BYTES_MAX: usize = 0xffff;

#[derive(FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    version_class_flow: U32,
    payload_length: U16,
    next_header: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

const _: () = assert!(size_of::<Raw>() == HEADER_BYTES);

/// The low 20 bits of the first word.
const FLOW_LABEL: u32 = 0x000f_ffff;

/// An IPv6 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Traffic class: DSCP and ECN. 0xc0 (CS6) is network control.
    pub traffic_class: u8,
    /// Flow label, 20 bits; the rest is cut off when sent.
    pub flow_label: u32,
    /// What the payload starts with.
    pub next_header: IpProtocol,
    /// Hops it may still make.
    pub hop_limit: u8,
    /// Sender.
    pub source: Ipv6Addr,
    /// Receiver.
    pub destination: Ipv6Addr,
}

/// An IPv6 packet whose version and length held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Packet<'a> {
    /// The header.
    pub header: Ipv6,
    /// What follows it, without padding of the link.
    pub payload: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Reads a packet; bytes after its payload length are padding.
    ///
    /// # Errors
    /// [`Malformed`]: short, version not 6, payload length beyond the buffer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let raw: Raw = header(&mut r, "ipv6 header")?;
        let word = raw.version_class_flow.get();
        let [first, second, ..] = word.to_be_bytes();
        let version = first >> 4;
        if version != 6 {
            return Err(Malformed::Field {
                what: "ipv6 version",
                said: version.into(),
                expected: 6,
            });
        }
        let payload = r.bytes("ipv6 payload", raw.payload_length.get().into())?;
        Ok(Self {
            header: Ipv6 {
                traffic_class: (first << 4) | (second >> 4),
                flow_label: word & FLOW_LABEL,
                next_header: IpProtocol(raw.next_header),
                hop_limit: raw.hop_limit,
                source: raw.source.into(),
                destination: raw.destination.into(),
            },
            payload,
        })
    }
}

impl Ipv6 {
    /// The bytes of a header before `payload_bytes` of payload.
    ///
    /// # Errors
    /// [`TooLong`] above [`PAYLOAD_BYTES_MAX`].
    pub fn bytes(&self, payload_bytes: usize) -> Result<[u8; HEADER_BYTES], TooLong> {
        let length = u16::try_from(payload_bytes).map_err(|_| TooLong {
            bytes: payload_bytes,
            most: PAYLOAD_BYTES_MAX,
        })?;
        Ok(self.with_length(length))
    }

    /// The bytes of a header that announces `length` bytes.
    pub(super) fn with_length(&self, length: u16) -> [u8; HEADER_BYTES] {
        let word =
            (6 << 28) | (u32::from(self.traffic_class) << 20) | (self.flow_label & FLOW_LABEL);
        zerocopy::transmute!(Raw {
            version_class_flow: U32::new(word),
            payload_length: U16::new(length),
            next_header: self.next_header.0,
            hop_limit: self.hop_limit,
            source: self.source.octets(),
            destination: self.destination.octets(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const HEADER: Ipv6 = Ipv6 {
        traffic_class: 0xc3,
        flow_label: 0x1_2345,
        next_header: IpProtocol::VRRP,
        hop_limit: 255,
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc8),
        destination: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
    };

    fn packet() -> Vec<u8> {
        let mut bytes = Vec::from(HEADER.bytes(3).unwrap());
        bytes.extend([7, 8, 9]);
        bytes
    }

    #[test]
    fn there_and_back() {
        let bytes = packet();
        assert_eq!(
            bytes[..8],
            [0x6c, 0x31, 0x23, 0x45, 0, 3, 112, 255],
            "version, class, flow, length"
        );
        let parsed = Ipv6Packet::parse(&bytes).unwrap();
        assert_eq!(parsed.header, HEADER);
        assert_eq!(parsed.payload, [7, 8, 9]);
        let mut padded = bytes.clone();
        padded.extend([0xa5; 9]);
        assert_eq!(Ipv6Packet::parse(&padded), Ok(parsed));
    }

    #[test]
    fn every_truncation_is_short() {
        let bytes = packet();
        for cut in 0..bytes.len() {
            match Ipv6Packet::parse(&bytes[..cut]) {
                Err(Malformed::Short(short)) => {
                    let expected = if cut < 40 {
                        "ipv6 header"
                    } else {
                        "ipv6 payload"
                    };
                    assert_eq!(short.what, expected);
                }
                other => panic!("{cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn wrong_version_and_length_are_named() {
        let mut bytes = packet();
        bytes[0] = 0x4c;
        assert_eq!(
            Ipv6Packet::parse(&bytes),
            Err(Malformed::Field {
                what: "ipv6 version",
                said: 4,
                expected: 6
            })
        );
        assert!(HEADER.bytes(0xffff).is_ok());
        assert!(HEADER.bytes(0x1_0000).is_err());
    }

    #[test]
    fn a_flow_label_keeps_to_its_bits() {
        let wild = Ipv6 {
            flow_label: u32::MAX,
            ..HEADER
        };
        let parsed = wild.bytes(0).unwrap();
        let parsed = Ipv6Packet::parse(&parsed).unwrap().header;
        assert_eq!(parsed.flow_label, 0xf_ffff);
        assert_eq!(parsed.traffic_class, HEADER.traffic_class);
    }
}
