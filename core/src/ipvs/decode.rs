//! Replies, read strictly: a field of a wrong length or an impossible value is
//! an error that names it, and what a kernel does not know of (older ones have
//! no 64-bit counters, no tunnels) or knows beyond us is no error.

mod sync;

pub use sync::daemon;

use super::{Command, destination as d, service as s, stats, top};
use crate::bytes::Reader;
use crate::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceFlags, ServiceKey,
    Tunnel, TunnelFlags, TunnelType,
};
use crate::netlink::genl::Message;
use crate::netlink::{Attribute, Attributes, Fault, Malformed};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A service as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The service.
    pub service: Service,
    /// Its IPv4 persistence mask where that is not a prefix; `service.prefix`
    /// is then [`Service::NO_PREFIX`].
    pub odd_mask: Option<Ipv4Addr>,
    /// Its counters.
    pub stats: Stats,
}

/// A destination as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationEntry {
    /// The destination.
    pub destination: Destination,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates that point to it.
    pub persistent: u32,
    /// Its counters.
    pub stats: Stats,
}

/// Counters of a service or a destination, since they were zeroed. From a
/// kernel without 64-bit counters (before 4.1) all but the bytes wrap at 32
/// bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets in.
    pub packets_in: u64,
    /// Packets out; only masquerading sees them.
    pub packets_out: u64,
    /// Bytes in.
    pub bytes_in: u64,
    /// Bytes out; only masquerading sees them.
    pub bytes_out: u64,
    /// Connections per second, as the kernel estimates it.
    pub connections_per_s: u64,
    /// Packets in per second.
    pub packets_in_per_s: u64,
    /// Packets out per second.
    pub packets_out_per_s: u64,
    /// Bytes in per second.
    pub bytes_in_per_s: u64,
    /// Bytes out per second.
    pub bytes_out_per_s: u64,
}

/// The reply to `GET_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version of IPVS: 0x010201 is 1.2.1.
    pub version: u32,
    /// Buckets of the connection table.
    pub table_size: u32,
}

/// Timeouts of connections, whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp_s: u32,
    /// TCP, after a FIN.
    pub tcp_fin_s: u32,
    /// UDP.
    pub udp_s: u32,
}

/// Reads a row of a dump of services, or the answer to a request for one.
/// `body` and `offset` are those of `netlink::Reply::Data`.
///
/// # Errors
/// [`Malformed`] when it breaks the format or lacks what names a service.
pub fn service(body: Reader<'_>, offset: usize) -> Result<ServiceEntry, Malformed> {
    let nest = nest(body, offset, Command::NEW_SERVICE, top::SERVICE, "service")?;
    let at = nest.offset();
    let mut family = None;
    let mut protocol = None;
    let mut address = None;
    let mut port = None;
    let mut fwmark = None;
    let mut netmask = None;
    let mut counters = Counters::default();
    // Only the key is still to be found out.
    let mut service = Service::new(
        ServiceKey::Fwmark {
            mark: 0,
            family: Family::V4,
        },
        heapless::String::new(),
    );
    for attribute in nest {
        let attribute = attribute?;
        match attribute.kind {
            s::FAMILY => family = Some(family_of(&attribute)?),
            s::PROTOCOL => protocol = Some(byte_of(&attribute, "service protocol")?),
            s::ADDRESS => address = Some(attribute),
            s::PORT => port = Some(attribute.u16_be("service port")?),
            s::FWMARK => fwmark = Some(attribute.u32("service firewall mark")?),
            s::SCHEDULER => service.scheduler = name_of(&attribute, "service scheduler")?,
            s::ENGINE => service.engine = name_of(&attribute, "service persistence engine")?,
            s::FLAGS => {
                // Flags, then a mask that says all of them are meant.
                let [f0, f1, f2, f3, ..] = attribute.fixed::<8>("service flags")?;
                service.flags =
                    ServiceFlags::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3]))
                        .difference(ServiceFlags::HASHED);
            }
            s::TIMEOUT => service.timeout_s = attribute.u32("service timeout")?,
            s::NETMASK => netmask = Some(attribute),
            s::STATS => counters.narrow = Some(attribute),
            s::STATS64 => counters.wide = Some(attribute),
            _ => {}
        }
    }
    let family = need(family, "service address family", at)?;
    service.key = match fwmark {
        Some(mark) => ServiceKey::Fwmark { mark, family },
        None => ServiceKey::Address {
            protocol: Protocol(need(protocol, "service protocol", at)?),
            address: address_of(&need(address, "service address", at)?, family)?,
            port: need(port, "service port", at)?,
        },
    };
    service.prefix = family.bits();
    let mut odd_mask = None;
    if let Some(attribute) = netmask {
        match prefix_of(&attribute, family)? {
            Ok(prefix) => service.prefix = prefix,
            Err(mask) => {
                service.prefix = Service::NO_PREFIX;
                odd_mask = Some(mask);
            }
        }
    }
    Ok(ServiceEntry {
        service,
        odd_mask,
        stats: counters.read()?,
    })
}

/// Reads a row of a dump of the destinations of a service of `family`, which is
/// that of a destination that has none of its own (Linux before 3.18).
///
/// # Errors
/// [`Malformed`] when it breaks the format or lacks what names a destination.
pub fn destination(
    body: Reader<'_>,
    offset: usize,
    family: Family,
) -> Result<DestinationEntry, Malformed> {
    let nest = nest(
        body,
        offset,
        Command::NEW_DEST,
        top::DESTINATION,
        "destination",
    )?;
    let at = nest.offset();
    let mut family = family;
    let mut address = None;
    let mut port = None;
    let mut forward = None;
    let mut weight = None;
    let mut tunnel = Tunnel::IPIP;
    let mut counters = Counters::default();
    let [
        mut upper,
        mut lower,
        mut active,
        mut inactive,
        mut persistent,
    ] = [0; 5];
    for attribute in nest {
        let attribute = attribute?;
        match attribute.kind {
            d::FAMILY => family = family_of(&attribute)?,
            d::ADDRESS => address = Some(attribute),
            d::PORT => port = Some(attribute.u16_be("destination port")?),
            d::FORWARD => forward = Some(forward_of(&attribute)?),
            d::WEIGHT => weight = Some(attribute.u32("destination weight")?),
            d::UPPER_THRESHOLD => upper = attribute.u32("destination upper threshold")?,
            d::LOWER_THRESHOLD => lower = attribute.u32("destination lower threshold")?,
            d::ACTIVE => active = attribute.u32("destination active connections")?,
            d::INACTIVE => inactive = attribute.u32("destination inactive connections")?,
            d::PERSISTENT => persistent = attribute.u32("destination persistent connections")?,
            d::TUNNEL_TYPE => tunnel.kind = TunnelType(attribute.u8("destination tunnel type")?),
            d::TUNNEL_PORT => tunnel.port = attribute.u16_be("destination tunnel port")?,
            d::TUNNEL_FLAGS => {
                tunnel.flags =
                    TunnelFlags::from_bits_retain(attribute.u16("destination tunnel flags")?);
            }
            d::STATS => counters.narrow = Some(attribute),
            d::STATS64 => counters.wide = Some(attribute),
            _ => {}
        }
    }
    Ok(DestinationEntry {
        destination: Destination {
            key: DestinationKey {
                address: address_of(&need(address, "destination address", at)?, family)?,
                port: need(port, "destination port", at)?,
            },
            forward: need(forward, "destination forwarding method", at)?,
            weight: need(weight, "destination weight", at)?,
            upper_threshold: upper,
            lower_threshold: lower,
            tunnel,
        },
        active,
        inactive,
        persistent,
        stats: counters.read()?,
    })
}

/// Reads the answer to `GET_INFO`.
///
/// # Errors
/// [`Malformed`] when it breaks the format or lacks one of the two.
pub fn info(body: Reader<'_>, offset: usize) -> Result<Info, Malformed> {
    let (mut version, mut table_size) = (None, None);
    for attribute in attributes(body, offset, Command::SET_INFO)? {
        let attribute = attribute?;
        match attribute.kind {
            top::INFO_VERSION => version = Some(attribute.u32("ipvs version")?),
            top::INFO_TABLE_SIZE => table_size = Some(attribute.u32("connection table size")?),
            _ => {}
        }
    }
    Ok(Info {
        version: need(version, "ipvs version", offset)?,
        table_size: need(table_size, "connection table size", offset)?,
    })
}

/// Reads the answer to `GET_CONFIG`. A protocol the kernel was built without is
/// 0.
///
/// # Errors
/// [`Malformed`] when it breaks the format.
pub fn timeouts(body: Reader<'_>, offset: usize) -> Result<Timeouts, Malformed> {
    let mut found = Timeouts::default();
    for attribute in attributes(body, offset, Command::SET_CONFIG)? {
        let attribute = attribute?;
        match attribute.kind {
            top::TIMEOUT_TCP => found.tcp_s = attribute.u32("tcp timeout")?,
            top::TIMEOUT_TCP_FIN => found.tcp_fin_s = attribute.u32("tcp fin timeout")?,
            top::TIMEOUT_UDP => found.udp_s = attribute.u32("udp timeout")?,
            _ => {}
        }
    }
    Ok(found)
}

/// The attributes of a message that must be `command`.
fn attributes(
    body: Reader<'_>,
    offset: usize,
    command: Command,
) -> Result<Attributes<'_>, Malformed> {
    let message = Message::parse(body, offset)?;
    if Command(message.command) == command {
        Ok(message.attributes)
    } else {
        Err(Malformed {
            what: "ipvs command",
            offset,
            fault: Fault::Value(message.command.into()),
        })
    }
}

/// The attributes of the nest `kind` of a message that must be `command`.
fn nest<'a>(
    body: Reader<'a>,
    offset: usize,
    command: Command,
    kind: u16,
    what: &'static str,
) -> Result<Attributes<'a>, Malformed> {
    for attribute in attributes(body, offset, command)? {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(attribute.nest());
        }
    }
    need(None, what, offset)
}

fn need<T>(found: Option<T>, what: &'static str, offset: usize) -> Result<T, Malformed> {
    found.ok_or(Malformed {
        what,
        offset,
        fault: Fault::Missing,
    })
}

fn family_of(attribute: &Attribute<'_>) -> Result<Family, Malformed> {
    const WHAT: &str = "address family";
    let number = attribute.u16(WHAT)?;
    Family::from_number(number).ok_or(attribute.fault(WHAT, Fault::Value(number.into())))
}

/// A number that the kernel keeps in a byte and sends as two.
fn byte_of(attribute: &Attribute<'_>, what: &'static str) -> Result<u8, Malformed> {
    let number = attribute.u16(what)?;
    u8::try_from(number).map_err(|_| attribute.fault(what, Fault::Value(number.into())))
}

fn forward_of(attribute: &Attribute<'_>) -> Result<Forward, Malformed> {
    const WHAT: &str = "destination forwarding method";
    let number = attribute.u32(WHAT)?;
    match u8::try_from(number) {
        Ok(method) => Ok(Forward(method)),
        Err(_) => Err(attribute.fault(WHAT, Fault::Value(number))),
    }
}

fn name_of(
    attribute: &Attribute<'_>,
    what: &'static str,
) -> Result<heapless::String<15, u8>, Malformed> {
    heapless::String::try_from(attribute.text(what)?)
        .map_err(|_| attribute.fault(what, Fault::Text))
}

/// The kernel sends 16 bytes for either family, and takes 4 for IPv4.
fn address_of(attribute: &Attribute<'_>, family: Family) -> Result<IpAddr, Malformed> {
    const WHAT: &str = "address";
    match (family, attribute.value.len()) {
        (Family::V4, 4) => Ok(Ipv4Addr::from(attribute.fixed::<4>(WHAT)?).into()),
        (Family::V4, _) => {
            let [a, b, c, d, ..] = attribute.fixed::<16>(WHAT)?;
            Ok(Ipv4Addr::new(a, b, c, d).into())
        }
        (Family::V6, _) => Ok(Ipv6Addr::from(attribute.fixed::<16>(WHAT)?).into()),
    }
}

/// The prefix length, or an IPv4 mask that has none.
fn prefix_of(attribute: &Attribute<'_>, family: Family) -> Result<Result<u8, Ipv4Addr>, Malformed> {
    const WHAT: &str = "persistence netmask";
    match family {
        Family::V4 => {
            let raw = attribute.fixed::<4>(WHAT)?;
            let mask = u32::from_be_bytes(raw);
            let ones = mask.leading_ones();
            if ones == mask.count_ones() {
                Ok(Ok(u8::try_from(ones).unwrap_or(Service::NO_PREFIX)))
            } else {
                Ok(Err(Ipv4Addr::from(raw)))
            }
        }
        Family::V6 => match attribute.u32(WHAT)? {
            prefix @ 1..=128 => Ok(Ok(u8::try_from(prefix).unwrap_or(Service::NO_PREFIX))),
            other => Err(attribute.fault(WHAT, Fault::Value(other))),
        },
    }
}

/// The two kinds of counters, of which the wide one is read where it is there.
#[derive(Clone, Copy, Debug, Default)]
struct Counters<'a> {
    narrow: Option<Attribute<'a>>,
    wide: Option<Attribute<'a>>,
}

impl Counters<'_> {
    fn read(self) -> Result<Stats, Malformed> {
        let (nest, wide) = match self {
            Self {
                wide: Some(wide), ..
            } => (wide, true),
            Self {
                narrow: Some(narrow),
                wide: None,
            } => (narrow, false),
            Self {
                narrow: None,
                wide: None,
            } => return Ok(Stats::default()),
        };
        let mut found = Stats::default();
        for attribute in nest.nest() {
            let attribute = attribute?;
            let (counter, what) = match attribute.kind {
                stats::CONNECTIONS => (&mut found.connections, "connections"),
                stats::PACKETS_IN => (&mut found.packets_in, "packets in"),
                stats::PACKETS_OUT => (&mut found.packets_out, "packets out"),
                stats::BYTES_IN => {
                    found.bytes_in = attribute.u64("bytes in")?;
                    continue;
                }
                stats::BYTES_OUT => {
                    found.bytes_out = attribute.u64("bytes out")?;
                    continue;
                }
                stats::CONNECTIONS_PER_S => (&mut found.connections_per_s, "connections/s"),
                stats::PACKETS_IN_PER_S => (&mut found.packets_in_per_s, "packets in/s"),
                stats::PACKETS_OUT_PER_S => (&mut found.packets_out_per_s, "packets out/s"),
                stats::BYTES_IN_PER_S => (&mut found.bytes_in_per_s, "bytes in/s"),
                stats::BYTES_OUT_PER_S => (&mut found.bytes_out_per_s, "bytes out/s"),
                _ => continue,
            };
            *counter = if wide {
                attribute.u64(what)?
            } else {
                attribute.u32(what)?.into()
            };
        }
        Ok(found)
    }
}
