//! Adverts as bytes: the one message of VRRP (RFC 9568 5).
//!
//! ```text
//!  0                   1                   2                   3
//! |Version| Type  |     VRID      |   Priority    |IPvX Addr Count|
//! | Reserve | Max Advertise Interval |          Checksum          |
//! |               addresses, 4 or 16 bytes each                   |
//! ```

mod encode;

pub use encode::{Outgoing, Unsendable, encode, encode_frame, encode_ipv4};

use super::{Centis, Malformed, PROTOCOL, TTL};
use crate::bytes::{ChecksumScope, NetworkEndian, Reader};
use crate::model::Family;
use crate::wire::Ipv4Packet;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes before the addresses.
pub const HEADER_BYTES: usize = 8;
/// Addresses one advert can list.
pub const ADDRESSES_MAX: usize = 255;
/// The longest message: 255 IPv6 addresses.
pub const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + 16 * ADDRESSES_MAX;
/// The longest IPv4 packet we send: no options, 255 addresses.
pub const PACKET_V4_BYTES_MAX: usize = 20 + HEADER_BYTES + 4 * ADDRESSES_MAX;

/// Version 3, type 1 (ADVERTISEMENT).
const VERSION_TYPE: u8 = 0x31;
/// Max Advertise Interval without the four reserved bits before it.
const INTERVAL_MASK: u16 = 0x0fff;

/// How an advert is written: two readings of what the checksum of an IPv4 advert
/// covers are in the field, and one of what a message is. Over IPv6 both readings
/// are the same, the RFC 8200 8.1 pseudo-header and the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdvertForm {
    /// The message alone (RFC 9568 5.2.8).
    #[default]
    Rfc9568,
    /// Pseudo-header and message, as RFC 5798 was read by keepalived before its
    /// `v3_checksum_as_v2`, by FRR and by Seesaw.
    Rfc5798,
    /// The 8 bytes of Google's `seesaw_ha`: an address count of 0 and no
    /// addresses, the checksum as in [`Self::Rfc5798`]. No other router takes it,
    /// and it takes no other's.
    Seesaw,
}

impl AdvertForm {
    /// The scope of this form between two addresses, or `None` when they are
    /// not of one family.
    #[must_use]
    pub const fn scope(self, source: IpAddr, destination: IpAddr) -> Option<ChecksumScope> {
        match (self, ChecksumScope::pseudo(source, destination, PROTOCOL)) {
            (Self::Rfc9568, Some(ChecksumScope::PseudoV4 { .. })) => Some(ChecksumScope::Message),
            (Self::Rfc9568 | Self::Rfc5798 | Self::Seesaw, scope) => scope,
        }
    }
}

/// A VRRP message as it came, with what its IP header said; nothing of it is
/// believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Source address: the sender's primary or link-local address.
    pub source: IpAddr,
    /// Destination address: the group's, or ours for unicast.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The VRRP message.
    pub payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// Takes an IPv4 packet apart, as a raw socket yields it. Options are
    /// passed over.
    ///
    /// # Errors
    /// [`Malformed::Header`], [`Malformed::Fragment`], [`Malformed::Protocol`].
    pub fn from_ipv4(packet: &'a [u8]) -> Result<Self, Malformed> {
        let packet = Ipv4Packet::parse(packet).map_err(Malformed::Header)?;
        if packet.fragment {
            return Err(Malformed::Fragment);
        }
        if packet.header.protocol.0 != PROTOCOL {
            return Err(Malformed::Protocol {
                found: packet.header.protocol.0,
            });
        }
        Ok(Self {
            source: IpAddr::V4(packet.header.source),
            destination: IpAddr::V4(packet.header.destination),
            ttl: packet.header.ttl,
            payload: packet.payload,
        })
    }

    /// The VRID, of whatever the message is: whose terms it is to be read by.
    #[must_use]
    pub fn vrid(&self) -> Option<u8> {
        self.payload.get(1).copied()
    }
}

/// What an advert must be to be heard, where that is another's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The least TTL or hop limit. The RFC's is 255: nobody beyond a router can
    /// speak then (RFC 5082). A unicast peer there needs less.
    pub ttl_min: u8,
    /// Whether adverts are those of `seesaw_ha` ([`AdvertForm::Seesaw`]).
    pub seesaw: bool,
}

impl Terms {
    /// Those of RFC 9568.
    pub const RFC: Self = Self {
        ttl_min: TTL,
        seesaw: false,
    };
}

/// A valid advert: it exists only if version, type, length, checksum, TTL,
/// address count, interval and first address held. Whether its VRID and its
/// source are known here is its owner's to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert<'a> {
    vrid: u8,
    priority: u8,
    interval: Centis,
    form: AdvertForm,
    addresses: Listed<'a>,
}

impl<'a> Advert<'a> {
    /// Makes an advert of a message, or says which check of RFC 9568 7.1 failed
    /// first: "If any one of the above checks fails, the receiver MUST discard the
    /// packet".
    ///
    /// # Errors
    /// [`Malformed`] names the field. Such a packet touches no timer.
    pub fn parse(packet: Received<'a>) -> Result<Self, Malformed> {
        Self::parse_by(Terms::RFC, packet)
    }

    /// The same by other terms.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_by(terms: Terms, packet: Received<'a>) -> Result<Self, Malformed> {
        let Received {
            source,
            destination,
            ttl,
            payload,
        } = packet;
        let family = match (source, destination) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Family::V4,
            (IpAddr::V6(_), IpAddr::V6(_)) => Family::V6,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                return Err(Malformed::Families {
                    source,
                    destination,
                });
            }
        };
        let mut r = Reader::new(payload);
        let version_type = r.u8("vrrp version")?;
        let vrid = r.u8("vrrp vrid")?;
        let priority = r.u8("vrrp priority")?;
        let count = r.u8("vrrp address count")?;
        let interval = r.u16::<NetworkEndian>("vrrp interval")?;
        let checksum = r.u16::<NetworkEndian>("vrrp checksum")?;

        // "It MUST verify that the VRRP version is 3."
        if version_type >> 4 != VERSION_TYPE >> 4 {
            return Err(Malformed::Version {
                found: version_type >> 4,
            });
        }
        // "It MUST verify that the VRRP packet type is 1 (ADVERTISEMENT)."
        if version_type & 0xf != VERSION_TYPE & 0xf {
            return Err(Malformed::Type {
                found: version_type & 0xf,
            });
        }
        let addresses = Listed {
            family,
            bytes: r.peek(),
        };
        let listed = if terms.seesaw { 0 } else { count };
        // "It MUST verify that the received packet contains the complete VRRP packet
        // (including fixed fields and the IPvX address)." And no more than that: a
        // trailer of zeros would not change the checksum.
        let wanted = usize::from(listed).saturating_mul(addresses.width());
        if addresses.bytes.len() != wanted {
            return Err(Malformed::Length {
                count,
                wanted: wanted.saturating_add(HEADER_BYTES),
                had: payload.len(),
            });
        }
        // "It MUST verify the VRRP checksum." Of IPv4 by either reading, since most
        // that send still have RFC 5798's.
        let holds = |form: AdvertForm| {
            form.scope(source, destination)
                .is_some_and(|scope| scope.of(payload) == 0)
        };
        let form = if terms.seesaw && holds(AdvertForm::Seesaw) {
            AdvertForm::Seesaw
        } else if terms.seesaw {
            return Err(Malformed::Checksum { found: checksum });
        } else if holds(AdvertForm::Rfc9568) {
            AdvertForm::Rfc9568
        } else if holds(AdvertForm::Rfc5798) {
            AdvertForm::Rfc5798
        } else {
            return Err(Malformed::Checksum { found: checksum });
        };
        // 5.1.1.3: 255, or it is discarded; of a unicast peer as the config has it.
        if ttl < terms.ttl_min {
            return Err(Malformed::Ttl { found: ttl });
        }
        let first = addresses.clone().next();
        // 5.2.5, "If the received count is 0, the VRRP advertisement MUST be ignored."
        if first.is_none() && !terms.seesaw {
            return Err(Malformed::NoAddress);
        }
        // The reserved bits are for the future: sent as zero, not looked at.
        // "It MUST verify that the Max Advertise Interval is non zero." (erratum 8301)
        let Some(interval) = Centis::new(interval & INTERVAL_MASK) else {
            return Err(Malformed::NoInterval);
        };
        // 5.2.9, "the first address MUST be the IPv6 link-local address associated with
        // the Virtual Router" (erratum 8300).
        match first {
            Some(IpAddr::V6(found)) if !found.is_unicast_link_local() => {
                return Err(Malformed::NotLinkLocal { found });
            }
            Some(IpAddr::V4(_) | IpAddr::V6(_)) | None => {}
        }
        Ok(Self {
            vrid,
            priority,
            interval,
            form,
            addresses,
        })
    }

    /// Virtual router identifier.
    #[must_use]
    pub const fn vrid(&self) -> u8 {
        self.vrid
    }

    /// Family of the packet and its addresses.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.addresses.family
    }

    /// The sender's priority; 0 when it resigns.
    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.priority
    }

    /// Max Advertise Interval: how often the sender advertises.
    #[must_use]
    pub const fn interval(&self) -> Centis {
        self.interval
    }

    /// How it was written: which reading of the checksum fit. Where both do, and over IPv6, it is
    /// [`AdvertForm::Rfc9568`].
    #[must_use]
    pub const fn form(&self) -> AdvertForm {
        self.form
    }

    /// The addresses, in the order they were listed; at least one, and none of
    /// [`AdvertForm::Seesaw`].
    #[must_use]
    pub fn addresses(&self) -> Listed<'a> {
        self.addresses.clone()
    }

    /// Whether the advert lists these addresses and no other, in any order.
    ///
    /// One pass when the order is the same, as it is between two routers of one
    /// config; else each of `ours` is looked for.
    #[must_use]
    pub fn lists<I>(&self, ours: I) -> bool
    where
        I: IntoIterator<Item = IpAddr>,
        I::IntoIter: Clone,
    {
        let ours = ours.into_iter();
        if self.addresses.clone().eq(ours.clone()) {
            return true;
        }
        self.addresses.len() == ours.clone().count()
            && ours
                .clone()
                .all(|ours| self.addresses.clone().any(|theirs| theirs == ours))
            && self
                .addresses
                .clone()
                .clone()
                .all(|theirs| ours.clone().any(|ours| ours == theirs))
    }
}

/// The addresses of an advert, read off its bytes as they are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl Listed<'_> {
    /// Bytes of one address.
    const fn width(&self) -> usize {
        match self.family {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }
}

impl Iterator for Listed<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        let mut r = Reader::new(self.bytes);
        let address = match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(r.take::<4>("address").ok()?)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(r.take::<16>("address").ok()?)),
        };
        self.bytes = r.peek();
        Some(address)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.bytes.len().checked_div(self.width()).unwrap_or(0);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Listed<'_> {}

#[cfg(test)]
mod tests;
