//! Why a packet is no advert.

use crate::bytes::Short;
use crate::wire;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

/// The first check of RFC 9568 7.1 a packet failed. Such a packet touches no
/// timer; [`Rejects`](super::Rejects) has a counter for each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The packet ends before a fixed field.
    Short(Short),
    /// The IPv4 header is wrong in itself.
    Header(wire::Malformed),
    /// The packet is a fragment: the rest of its message is not there.
    Fragment,
    /// The IPv4 header's protocol is not 112.
    Protocol {
        /// The protocol.
        found: u8,
    },
    /// Source and destination are not of one family.
    Families {
        /// Source address.
        source: IpAddr,
        /// Destination address.
        destination: IpAddr,
    },
    /// VRRP version is not 3; 2 is a peer that speaks RFC 3768.
    Version {
        /// The version.
        found: u8,
    },
    /// VRRP type is not 1, ADVERTISEMENT.
    Type {
        /// The type.
        found: u8,
    },
    /// The message is not exactly as long as its address count says: a trailer
    /// of zeros folds into the checksum unseen, so a longer one is rejected too.
    Length {
        /// IPvX Addr Count.
        count: u8,
        /// Bytes that many addresses need.
        wanted: usize,
        /// Bytes there were.
        had: usize,
    },
    /// The checksum fits neither the message alone nor, over IPv4, the message
    /// with its pseudo-header.
    Checksum {
        /// The checksum in the message.
        found: u16,
    },
    /// TTL or hop limit is below 255, or below what was agreed for a unicast
    /// peer: the packet crossed a router, or one too many.
    Ttl {
        /// The TTL.
        found: u8,
    },
    /// IPvX Addr Count is 0 (erratum 8299).
    NoAddress,
    /// Max Advertise Interval is 0 (erratum 8301).
    NoInterval,
    /// The first IPv6 address is not link-local (erratum 8300).
    NotLinkLocal {
        /// The first address.
        found: Ipv6Addr,
    },
}

impl Malformed {
    /// Offset of the offending field in the VRRP message, or `None` when it is
    /// a field of the IP header.
    #[must_use]
    pub const fn offset(&self) -> Option<usize> {
        match self {
            Self::Header(_)
            | Self::Fragment
            | Self::Protocol { .. }
            | Self::Families { .. }
            | Self::Ttl { .. } => None,
            Self::Version { .. } | Self::Type { .. } => Some(0),
            Self::Length { .. } | Self::NoAddress => Some(3),
            Self::NoInterval => Some(4),
            Self::Checksum { .. } => Some(6),
            Self::NotLinkLocal { .. } => Some(8),
            Self::Short(short) => Some(short.had),
        }
    }

    /// The reason without its figures, for a log record.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Short(_) => "too short",
            Self::Header(_) => "bad ip header",
            Self::Fragment => "a fragment",
            Self::Protocol { .. } => "not protocol 112",
            Self::Families { .. } => "mixed address families",
            Self::Version { .. } => "not version 3",
            Self::Type { .. } => "not an advertisement",
            Self::Length { .. } => "wrong length for count",
            Self::Checksum { .. } => "wrong checksum",
            Self::Ttl { .. } => "ttl is too small",
            Self::NoAddress => "no addresses",
            Self::NoInterval => "interval is 0",
            Self::NotLinkLocal { .. } => "first not link-local",
        }
    }
}

impl From<Short> for Malformed {
    fn from(short: Short) -> Self {
        Self::Short(short)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(short) => short.fmt(f),
            Self::Header(why) => why.fmt(f),
            Self::Fragment => f.write_str("packet is a fragment"),
            Self::Protocol { found } => write!(f, "ip protocol is {found}, not 112"),
            Self::Families {
                source,
                destination,
            } => write!(
                f,
                "source {source} and destination {destination} differ in family"
            ),
            Self::Version { found } => write!(f, "vrrp version is {found}, not 3"),
            Self::Type { found } => write!(f, "vrrp type is {found}, not 1"),
            Self::Length { count, wanted, had } => {
                write!(f, "{count} addresses make {wanted} bytes, had {had}")
            }
            Self::Checksum { found } => write!(f, "checksum {found:#06x} is wrong"),
            Self::Ttl { found } => write!(f, "ttl {found} is too small: it crossed a router"),
            Self::NoAddress => f.write_str("address count is 0"),
            Self::NoInterval => f.write_str("max advertise interval is 0"),
            Self::NotLinkLocal { found } => {
                write!(f, "first ipv6 address {found} is not link-local")
            }
        }
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::vrrp::Rejects;
    use std::string::ToString;

    /// One value of each variant; `Rejects::count` fails to compile when a new
    /// one is forgotten there, and `each_reason_has_its_own_counter` here.
    pub fn one_of_each() -> [Malformed; 13] {
        let short = Short {
            what: "vrrp vrid",
            wanted: 1,
            had: 0,
        };
        [
            Malformed::Short(short),
            Malformed::Header(wire::Malformed::Short(short)),
            Malformed::Fragment,
            Malformed::Protocol { found: 6 },
            Malformed::Families {
                source: IpAddr::from([192, 0, 2, 1]),
                destination: "ff02::12".parse().unwrap(),
            },
            Malformed::Version { found: 2 },
            Malformed::Type { found: 2 },
            Malformed::Length {
                count: 1,
                wanted: 12,
                had: 20,
            },
            Malformed::Checksum { found: 7 },
            Malformed::Ttl { found: 254 },
            Malformed::NoAddress,
            Malformed::NoInterval,
            Malformed::NotLinkLocal {
                found: "2001:db8::1".parse().unwrap(),
            },
        ]
    }

    #[test]
    fn each_reason_has_its_own_counter() {
        let all = one_of_each();
        let mut rejects = Rejects::ZERO;
        for why in &all {
            let before = rejects;
            rejects.count(why);
            assert_ne!(rejects, before);
        }
        let Rejects {
            short,
            header,
            fragment,
            protocol,
            families,
            version,
            kind,
            length,
            checksum,
            ttl,
            no_address,
            no_interval,
            not_link_local,
            unknown_vrid,
            unknown_peer,
        } = rejects;
        assert_eq!((unknown_vrid, unknown_peer), (0, 0));
        assert_eq!(
            [
                short,
                header,
                fragment,
                protocol,
                families,
                version,
                kind,
                length,
                checksum,
                ttl,
                no_address,
                no_interval,
                not_link_local
            ],
            [1; 13]
        );
    }

    #[test]
    fn words_are_one_lower_case_line() {
        for why in one_of_each() {
            for words in [why.to_string(), why.text().to_string()] {
                assert!(!words.is_empty() && !words.contains('\n'), "{words}");
                assert!(!words.starts_with(char::is_uppercase), "{words}");
            }
            assert!(why.text().len() <= 47);
        }
    }
}
