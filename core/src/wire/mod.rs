//! Headers that leave the box: Ethernet, ARP, IPv4, IPv6, ICMP echo, ICMPv6
//! neighbour advertisements, and the SYN of TCP. Not sockets, and not the protocols above (VRRP is a room of
//! its own).
//!
//! A parsed type exists only if its lengths, version and checksum held; what
//! is emitted is a fixed array, in network byte order.

pub mod arp;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod laws;
pub mod tcp;

pub use ethernet::{EtherType, MacAddress};
pub use ipv4::{Ipv4, Ipv4Packet};
pub use ipv6::{Ipv6, Ipv6Packet};

use crate::bytes::{Reader, Short};
use core::fmt;
use zerocopy::FromBytes;

/// Why bytes are not the header they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than the header, or than a length in it promised.
    Short(Short),
    /// A length field smaller than the least its header needs.
    Length {
        /// The field.
        what: &'static str,
        /// What it said, in bytes.
        said: usize,
        /// The least it could have said, in bytes.
        least: usize,
    },
    /// A field whose value this header cannot have.
    Field {
        /// The field.
        what: &'static str,
        /// What it said.
        said: u32,
        /// What it has to be.
        expected: u32,
    },
    /// The checksum does not match what it covers.
    Checksum {
        /// Whose checksum.
        what: &'static str,
        /// What was found, host order.
        said: u16,
    },
    /// An address of a kind that may not stand in this field.
    Address {
        /// The field.
        what: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short(short) => short.fmt(f),
            Self::Length { what, said, least } => {
                write!(f, "{what}: {said} bytes, at least {least} needed")
            }
            Self::Field {
                what,
                said,
                expected,
            } => write!(f, "{what}: {said:#x}, expected {expected:#x}"),
            Self::Checksum { what, said } => write!(f, "{what}: checksum {said:#06x} is wrong"),
            Self::Address { what } => write!(f, "{what}: not an address it may have"),
        }
    }
}

impl core::error::Error for Malformed {}

impl From<Short> for Malformed {
    fn from(short: Short) -> Self {
        Self::Short(short)
    }
}

/// A message longer than its header can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes of payload asked for.
    pub bytes: usize,
    /// The most there may be.
    pub most: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, most } = self;
        write!(f, "payload of {bytes} bytes, at most {most} fit the header")
    }
}

impl core::error::Error for TooLong {}

/// Protocol numbers of the IPv4 protocol and IPv6 next header fields (IANA
/// "Assigned Internet Protocol Numbers"). Open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// VRRP.
    pub const VRRP: Self = Self(112);
    /// SCTP.
    pub const SCTP: Self = Self(132);
}

impl fmt::Debug for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.pad("icmp"),
            Self::TCP => f.pad("tcp"),
            Self::UDP => f.pad("udp"),
            Self::ICMPV6 => f.pad("icmpv6"),
            Self::VRRP => f.pad("vrrp"),
            Self::SCTP => f.pad("sctp"),
            Self(other) => write!(f, "{other:#04x}"),
        }
    }
}

/// Takes a fixed header off the front of `r`.
fn header<T: FromBytes>(r: &mut Reader<'_>, what: &'static str) -> Result<T, Malformed> {
    let had = r.len();
    let wanted = size_of::<T>();
    let bytes = r.bytes(what, wanted)?;
    T::read_from_bytes(bytes).map_err(|_| Malformed::Short(Short { what, wanted, had }))
}
