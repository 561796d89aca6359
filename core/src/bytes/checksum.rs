//! The internet checksum (RFC 1071), with the scope spelled out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a checksum covers. VRRPv3 over IPv4 has two readings in the field, so
/// the scope is always said, never implied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumScope {
    /// The message alone (RFC 9568 5.2.8 for IPv4; ICMPv4; IPv4 headers).
    Message,
    /// IPv4 pseudo-header (RFC 793 3.1) and message, as RFC 5798 was read by
    /// keepalived, FRR and Seesaw.
    PseudoV4 {
        /// Source address of the packet.
        source: Ipv4Addr,
        /// Destination address of the packet.
        destination: Ipv4Addr,
        /// Protocol number of the message.
        protocol: u8,
    },
    /// IPv6 pseudo-header (RFC 8200 8.1) and message.
    PseudoV6 {
        /// Source address of the packet.
        source: Ipv6Addr,
        /// Destination address of the packet.
        destination: Ipv6Addr,
        /// Next header value of the message.
        next_header: u8,
    },
}

impl ChecksumScope {
    /// The pseudo-header scope for a pair of addresses of one family, or
    /// `None` when the families differ.
    #[must_use]
    pub const fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8) -> Option<Self> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::PseudoV4 {
                source,
                destination,
                protocol,
            }),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::PseudoV6 {
                source,
                destination,
                next_header: protocol,
            }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The checksum of `message` in this scope, host order. The checksum field
    /// in `message` must be zero to compute one; to verify one, leave it in
    /// place and expect 0.
    #[must_use]
    pub fn of(self, message: &[u8]) -> u16 {
        let mut sum = Checksum::new();
        match self {
            Self::Message => {}
            Self::PseudoV4 {
                source,
                destination,
                protocol,
            } => {
                sum.add(&source.octets());
                sum.add(&destination.octets());
                sum.add(&[0, protocol]);
                // Messages longer than 65,535 bytes do not exist over IPv4.
                let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
                sum.add(&length.to_be_bytes());
            }
            Self::PseudoV6 {
                source,
                destination,
                next_header,
            } => {
                sum.add(&source.octets());
                sum.add(&destination.octets());
                let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
                sum.add(&length.to_be_bytes());
                sum.add(&[0, 0, 0, next_header]);
            }
        }
        sum.add(message);
        sum.finish()
    }
}

/// A running one's-complement sum. Every part but the last must have an even
/// length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    sum: u64,
}

impl Checksum {
    /// An empty sum.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: 0 }
    }

    /// Adds `part` as 16-bit words in network order; an odd last byte counts as
    /// the high byte of a word.
    pub fn add(&mut self, part: &[u8]) {
        let (words, odd) = part.as_chunks::<2>();
        for word in words {
            self.sum = self.sum.wrapping_add(u64::from(u16::from_be_bytes(*word)));
        }
        if let [last] = odd {
            self.sum = self
                .sum
                .wrapping_add(u64::from(u16::from_be_bytes([*last, 0])));
        }
    }

    /// The complement of the folded sum.
    #[must_use]
    pub const fn finish(self) -> u16 {
        let mut sum = self.sum;
        while sum > 0xffff {
            sum = (sum & 0xffff).wrapping_add(sum >> 16);
        }
        let [.., high, low] = sum.to_be_bytes();
        !u16::from_be_bytes([high, low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // facts: vectors A, B and C, which scapy and tshark agree on.
    const V4: [u8; 16] = [
        0x31, 0x0a, 0xc8, 0x02, 0x00, 0x64, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ];

    #[test]
    fn vrrp_over_ipv4_in_both_scopes() {
        assert_eq!(ChecksumScope::Message.of(&V4), 0x828a);
        let pseudo = ChecksumScope::PseudoV4 {
            source: Ipv4Addr::new(192, 0, 2, 251),
            destination: Ipv4Addr::new(224, 0, 0, 18),
            protocol: 112,
        };
        assert_eq!(pseudo.of(&V4), 0xdefb);
    }

    #[test]
    fn a_message_with_its_checksum_sums_to_zero() {
        let mut message = V4;
        message[6..8].copy_from_slice(&0x828a_u16.to_be_bytes());
        assert_eq!(ChecksumScope::Message.of(&message), 0);
    }

    #[test]
    fn vrrp_over_ipv6() {
        let mut message = std::vec::Vec::from([0x31, 0x0a, 0x64, 0x02, 0, 0x64, 0, 0]);
        message.extend_from_slice(&"fe80::1".parse::<Ipv6Addr>().unwrap().octets());
        message.extend_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        let scope = ChecksumScope::pseudo(
            "fe80::c8".parse().unwrap(),
            "ff02::12".parse().unwrap(),
            112,
        )
        .unwrap();
        assert_eq!(scope.of(&message), 0x3f5d);
    }

    #[test]
    fn an_odd_byte_is_the_high_byte() {
        assert_eq!(ChecksumScope::Message.of(&[0x12]), !0x1200);
        assert_eq!(ChecksumScope::Message.of(&[]), 0xffff);
    }
}
