//! From a virtual router's figures to bytes. What the parser would reject is
//! not written.

use super::{ADDRESSES_MAX, AdvertForm, INTERVAL_MASK, VERSION_TYPE};
use crate::bytes::{NetworkEndian, Writer};
use crate::model::Family;
use crate::vrrp::{Centis, PROTOCOL, TTL};
use crate::wire::ethernet::Ethernet;
use crate::wire::{EtherType, IpProtocol, Ipv4, Ipv6, MacAddress, TooLong, ipv4, ipv6};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

/// The type of service of an advert: DSCP CS6, network control (RFC 4594 3.2).
const TOS: u8 = 0xc0;

/// An advert about to be sent, all but its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority; 0 to resign.
    pub priority: u8,
    /// Our `Advertisement_Interval`.
    pub interval: Centis,
    /// Our primary IPv4 address, or our link-local IPv6 address.
    pub source: IpAddr,
    /// The group, or a unicast peer.
    pub destination: IpAddr,
    /// How it is written.
    pub form: AdvertForm,
}

/// Why an advert cannot be written. All are for a config to have caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// Source, destination and addresses are not of one family.
    Families,
    /// There is no address to advertise.
    NoAddress,
    /// There are more than 255.
    TooManyAddresses,
    /// The first IPv6 address is not link-local.
    NotLinkLocal,
    /// The packet is longer than an IPv4 header can say.
    TooLong(TooLong),
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Families => f.write_str("source, destination and addresses differ in family"),
            Self::NoAddress => f.write_str("no address: write at least one"),
            Self::TooManyAddresses => {
                f.write_str("more than 255 addresses: split them over several vrids")
            }
            Self::NotLinkLocal => {
                f.write_str("first ipv6 address is not link-local: write one of fe80::/10 first")
            }
            Self::TooLong(too_long) => too_long.fmt(f),
        }
    }
}

impl core::error::Error for Unsendable {}

/// Writes the message: what follows an IPv6 header, which the kernel makes.
///
/// A writer that ran over says so in its own `finish`.
///
/// # Errors
/// [`Unsendable`]; nothing is written then.
pub fn encode<I>(w: &mut Writer<'_>, advert: &Outgoing, addresses: I) -> Result<(), Unsendable>
where
    I: IntoIterator<Item = IpAddr>,
{
    let start = w.mark();
    let result = message(w, advert, addresses);
    if result.is_err() {
        w.truncate(start);
    }
    result
}

/// Writes the whole IPv4 packet, for a socket that wants headers
/// (`IP_HDRINCL`): CS6, TTL 255, identification 0 (the kernel fills it in).
///
/// # Errors
/// [`Unsendable`]; nothing is written then.
pub fn encode_ipv4<I>(w: &mut Writer<'_>, advert: &Outgoing, addresses: I) -> Result<(), Unsendable>
where
    I: IntoIterator<Item = IpAddr>,
{
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (advert.source, advert.destination) else {
        return Err(Unsendable::Families);
    };
    let start = w.mark();
    w.zeros(ipv4::HEADER_BYTES);
    let body = w.mark();
    let header = encode(w, advert, addresses)
        .and_then(|()| header(source, destination, w.since(body)).map_err(Unsendable::TooLong));
    match header {
        Ok(header) => w.patch(start, &header),
        Err(why) => {
            w.truncate(start);
            return Err(why);
        }
    }
    Ok(())
}

/// Writes the whole Ethernet frame to the group, from a virtual router's MAC
/// address, for a packet socket: nobody fills in what is missing here.
///
/// # Errors
/// [`Unsendable`]; nothing is written then. [`Unsendable::Families`] too for a
/// destination that is not multicast, whose MAC address nobody knows.
pub fn encode_frame<I>(
    w: &mut Writer<'_>,
    advert: &Outgoing,
    from: MacAddress,
    addresses: I,
) -> Result<(), Unsendable>
where
    I: IntoIterator<Item = IpAddr>,
{
    let start = w.mark();
    let result = frame(w, advert, from, addresses);
    if result.is_err() {
        w.truncate(start);
    }
    result
}

fn frame<I>(
    w: &mut Writer<'_>,
    advert: &Outgoing,
    from: MacAddress,
    addresses: I,
) -> Result<(), Unsendable>
where
    I: IntoIterator<Item = IpAddr>,
{
    if !advert.destination.is_multicast() {
        return Err(Unsendable::Families);
    }
    let (to, ethertype) = match advert.destination {
        IpAddr::V4(group) => (MacAddress::multicast_v4(group), EtherType::IPV4),
        IpAddr::V6(group) => (MacAddress::multicast_v6(group), EtherType::IPV6),
    };
    // 7.2, "Set the source MAC address to the Virtual Router MAC address".
    let ethernet = Ethernet {
        destination: to,
        source: from,
        ethertype,
    };
    w.bytes(&ethernet.bytes());
    let (source, destination) = match (advert.source, advert.destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => return encode_ipv4(w, advert, addresses),
        (IpAddr::V6(source), IpAddr::V6(destination)) => (source, destination),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(Unsendable::Families);
        }
    };
    let header = w.mark();
    w.zeros(ipv6::HEADER_BYTES);
    let body = w.mark();
    encode(w, advert, addresses)?;
    let ip = Ipv6 {
        traffic_class: TOS,
        flow_label: 0,
        next_header: IpProtocol(PROTOCOL),
        hop_limit: TTL,
        source,
        destination,
    };
    let bytes = ip.bytes(w.since(body)).map_err(Unsendable::TooLong)?;
    w.patch(header, &bytes);
    Ok(())
}

fn header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    payload_bytes: usize,
) -> Result<[u8; ipv4::HEADER_BYTES], TooLong> {
    let header = Ipv4 {
        tos: TOS,
        identification: 0,
        dont_fragment: false,
        ttl: TTL,
        protocol: IpProtocol(PROTOCOL),
        source,
        destination,
    };
    header.bytes(payload_bytes)
}

fn message<I>(w: &mut Writer<'_>, advert: &Outgoing, addresses: I) -> Result<(), Unsendable>
where
    I: IntoIterator<Item = IpAddr>,
{
    let Outgoing {
        vrid,
        priority,
        interval,
        source,
        destination,
        form,
    } = *advert;
    let scope = form
        .scope(source, destination)
        .ok_or(Unsendable::Families)?;
    let family = Family::of(&source);

    let start = w.mark();
    w.bytes(&[VERSION_TYPE, vrid, priority]);
    let count_at = w.mark();
    w.u8(0);
    // The reserved bits are sent as zero.
    w.u16::<NetworkEndian>(interval.get() & INTERVAL_MASK);
    let checksum_at = w.mark();
    w.u16::<NetworkEndian>(0);

    let mut count: u8 = 0;
    let seesaw = form == AdvertForm::Seesaw;
    for address in addresses.into_iter().filter(|_| !seesaw) {
        if Family::of(&address) != family {
            return Err(Unsendable::Families);
        }
        match address {
            IpAddr::V4(address) => w.bytes(&address.octets()),
            IpAddr::V6(address) => {
                if count == 0 && !address.is_unicast_link_local() {
                    return Err(Unsendable::NotLinkLocal);
                }
                w.bytes(&address.octets());
            }
        }
        count = count.checked_add(1).ok_or(Unsendable::TooManyAddresses)?;
    }
    if count == 0 && !seesaw {
        return Err(Unsendable::NoAddress);
    }
    w.patch(count_at, &[count]);
    let checksum = scope.of(w.written(start));
    w.patch(checksum_at, &checksum.to_be_bytes());
    Ok(())
}

const _: () = assert!(ADDRESSES_MAX == u8::MAX as usize);
