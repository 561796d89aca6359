//! Ethernet II frames (RFC 894) and MAC addresses. No 802.1Q: the kernel takes
//! tags off before a packet socket sees them, and puts them on for a VLAN
//! interface.

use super::{Malformed, header};
use crate::bytes::Reader;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an Ethernet header.
pub const HEADER_BYTES: usize = 14;

/// An Ethernet address, in the order it is sent.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Unaligned,
    KnownLayout,
    Immutable,
)]
#[repr(transparent)]
pub struct MacAddress(pub [u8; 6]);

const _: () = assert!(size_of::<MacAddress>() == 6);

impl MacAddress {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`: no address.
    pub const ZERO: Self = Self([0; 6]);

    /// The group address of an IPv4 multicast address: `01:00:5e` and its low
    /// 23 bits (RFC 1112 6.4).
    #[must_use]
    pub const fn multicast_v4(group: Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The group address of an IPv6 multicast address: `33:33` and its last
    /// four octets (RFC 2464 7).
    #[must_use]
    pub const fn multicast_v6(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }

    /// Whether the group bit is set: multicast or broadcast.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }
}

/// `02:00:5e:10:00:00`.
impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hexadecimal digits with colons between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a mac address: write six pairs of hex digits, as in 02:00:5e:10:00:01")
    }
}

impl core::error::Error for NotAMac {}

impl FromStr for MacAddress {
    type Err = NotAMac;
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            let pair = pairs.next().ok_or(NotAMac)?;
            // `from_str_radix` would take a sign.
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *octet = u8::from_str_radix(pair, 16).map_err(|_| NotAMac)?;
        }
        match pairs.next() {
            None => Ok(Self(octets)),
            Some(_) => Err(NotAMac),
        }
    }
}

/// What an Ethernet frame carries (IANA "IEEE 802 Numbers"). Open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// An 802.1Q tag.
    pub const VLAN: Self = Self(0x8100);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPV4 => f.pad("ipv4"),
            Self::ARP => f.pad("arp"),
            Self::VLAN => f.pad("vlan"),
            Self::IPV6 => f.pad("ipv6"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

#[derive(FromBytes, IntoBytes, Unaligned, KnownLayout, Immutable)]
#[repr(C)]
struct Raw {
    destination: MacAddress,
    source: MacAddress,
    ethertype: U16,
}

const _: () = assert!(size_of::<Raw>() == HEADER_BYTES);

/// An Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Who shall hear it.
    pub destination: MacAddress,
    /// Who says it.
    pub source: MacAddress,
    /// What follows. Values up to 1500 are lengths of IEEE 802.3 frames, kept
    /// as they are.
    pub ethertype: EtherType,
}

impl Ethernet {
    /// Splits a frame (without its check sequence) into header and payload. The
    /// payload may end in padding.
    ///
    /// # Errors
    /// [`Malformed::Short`] below 14 bytes.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut r = Reader::new(frame);
        let Raw {
            destination,
            source,
            ethertype,
        } = header(&mut r, "ethernet header")?;
        let header = Self {
            destination,
            source,
            ethertype: EtherType(ethertype.get()),
        };
        Ok((header, r.peek()))
    }

    /// The header's bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        zerocopy::transmute!(Raw {
            destination: self.destination,
            source: self.source,
            ethertype: U16::new(self.ethertype.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn splits_header_and_payload() {
        let frame = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06, 0xaa, 0xbb,
        ];
        let (header, payload) = Ethernet::parse(&frame).unwrap();
        assert_eq!(header.destination, MacAddress::BROADCAST);
        assert_eq!(header.source.to_string(), "02:00:00:00:00:01");
        assert_eq!(header.ethertype, EtherType::ARP);
        assert_eq!(payload, [0xaa, 0xbb]);
        assert_eq!(header.bytes(), frame[..14]);
        for cut in 0..HEADER_BYTES {
            assert_eq!(
                Ethernet::parse(&frame[..cut]),
                Err(Malformed::Short(crate::bytes::Short {
                    what: "ethernet header",
                    wanted: 14,
                    had: cut
                }))
            );
        }
    }

    #[test]
    fn group_addresses() {
        let v4 = MacAddress::multicast_v4(Ipv4Addr::new(239, 129, 0, 18));
        assert_eq!(v4.to_string(), "01:00:5e:01:00:12");
        let v6 = MacAddress::multicast_v6("ff02::1:ff00:a1b2".parse().unwrap());
        assert_eq!(v6.to_string(), "33:33:ff:00:a1:b2");
        assert!(v4.is_multicast() && v6.is_multicast() && MacAddress::BROADCAST.is_multicast());
        assert!(!MacAddress([2, 0, 0, 0, 0, 1]).is_multicast());
    }

    #[test]
    fn text_of_addresses() {
        let mac: MacAddress = "00:00:5E:00:01:33".parse().unwrap();
        assert_eq!(mac, MacAddress([0, 0, 0x5e, 0, 1, 0x33]));
        for bad in [
            "",
            "00:00:5e:00:01",
            "00:00:5e:00:01:33:44",
            "+0:00:5e:00:01:33",
            "0:0:5e:0:1:33",
            "00-00-5e-00-01-33",
            "é:00:5e:00:01:33",
        ] {
            assert_eq!(bad.parse::<MacAddress>(), Err(NotAMac), "{bad}");
        }
    }
}
