//! Routes, as far as somebody cares who only asks whether there is one to a
//! prefix: what the kernel says of them, and the request for all of them.
//!
//! Source: rtnetlink(7), linux/rtnetlink.h.

use super::{Command, Event, LinkFlags};
use crate::bytes::{NativeEndian, Reader, Short};
use crate::model::Family;
use crate::netlink::{
    AttributeKind, Attributes, Batch, Fault, Flags, Full, Malformed, MessageType,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The multicast groups that tell of routes, `RTNLGRP_IPV4_ROUTE` and
/// `RTNLGRP_IPV6_ROUTE`, and of what takes routes along ([`takes_routes`]):
/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`.
pub const GROUPS: [u32; 4] = [1, 5, 7, 11];

const RTA_DST: AttributeKind = 1;
const RTA_TABLE: AttributeKind = 15;
/// `RTN_UNICAST`: leads somewhere.
const UNICAST: u8 = 1;
/// `RTM_F_CLONED`: a cached decision, and no route of its own.
const CLONED: u32 = 0x200;

/// What is told of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is there and leads somewhere.
    Leads,
    /// It is there and leads nowhere (local, broadcast, blackhole): perhaps it
    /// took the place of one that did.
    Nowhere,
    /// It was there, and is not any more.
    Gone,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The network it leads to; all zero for the default route.
    pub network: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
    /// Number of its routing table.
    pub table: u32,
    /// What is told of it.
    pub way: Way,
}

/// Whether routes go with what happened of which the kernel says nothing: those
/// of IPv4 (`fib_sync_down_dev` and `fib_sync_down_addr` in
/// net/ipv4/fib_semantics.c).
#[must_use]
pub fn takes_routes(event: &Event) -> bool {
    match event {
        Event::Link(link) => !link.flags.contains(LinkFlags::UP),
        Event::LinkGone(_) => true,
        Event::AddressGone(gone) => gone.address.is_ipv4(),
        Event::Address(_) => false,
    }
}

/// Reads the body of a message of rtnetlink, which starts at `offset` in its
/// datagram. `None` for what is no route of ours: other types, other families,
/// and decisions that are only remembered.
///
/// # Errors
/// [`Malformed`] names the field and where it is.
pub fn decode(
    kind: MessageType,
    mut body: Reader<'_>,
    offset: usize,
) -> Result<Option<Path>, Malformed> {
    let gone = match Command(kind.0) {
        Command::NEWROUTE => false,
        Command::DELROUTE => true,
        Command(_) => return Ok(None),
    };
    let start = body.len();
    let at = |short: Short| Malformed {
        what: short.what,
        offset,
        fault: Fault::Short {
            wanted: short.wanted,
            had: short.had,
        },
    };
    let family = body.u8("rtm_family").map_err(at)?;
    let prefix = body.u8("rtm_dst_len").map_err(at)?;
    let _source = body.u8("rtm_src_len").map_err(at)?;
    let _service = body.u8("rtm_tos").map_err(at)?;
    let low_table = body.u8("rtm_table").map_err(at)?;
    let _protocol = body.u8("rtm_protocol").map_err(at)?;
    let _scope = body.u8("rtm_scope").map_err(at)?;
    let leads = body.u8("rtm_type").map_err(at)?;
    let flags = body.u32::<NativeEndian>("rtm_flags").map_err(at)?;
    let Some(family) = Family::from_number(family.into()) else {
        return Ok(None);
    };
    if prefix > family.bits() {
        return Err(Malformed {
            what: "rtm_dst_len",
            offset,
            fault: Fault::Value(prefix.into()),
        });
    }
    // The default route has no destination.
    let mut network = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut table = u32::from(low_table);
    let consumed = start.saturating_sub(body.len());
    for attribute in Attributes::new(body, offset.saturating_add(consumed)) {
        let attribute = attribute?;
        match (attribute.kind, family) {
            (RTA_DST, Family::V4) => network = attribute.fixed::<4>("RTA_DST")?.into(),
            (RTA_DST, Family::V6) => network = attribute.fixed::<16>("RTA_DST")?.into(),
            (RTA_TABLE, _) => table = attribute.u32("RTA_TABLE")?,
            (_, _) => {}
        }
    }
    let way = match (gone, leads) {
        (true, _) => Way::Gone,
        (false, UNICAST) => Way::Leads,
        (false, _) => Way::Nowhere,
    };
    Ok((flags & CLONED == 0).then_some(Path {
        network,
        prefix,
        table,
        way,
    }))
}

/// Appends a request to dump all routes of a family; each row decodes to a
/// [`Path`].
///
/// # Errors
/// [`Full`].
pub fn dump(batch: &mut Batch<'_>, family: Family) -> Result<u32, Full> {
    let flags = Flags::REQUEST | Flags::DUMP;
    batch.message(Command::GETROUTE.message_type(), flags, |body| {
        // `struct rtmsg`.
        body.raw(&[family.number(), 0, 0, 0, 0, 0, 0, 0]);
        body.raw(&[0; 4]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(kind: Command, body: &[u8]) -> Result<Option<Path>, Malformed> {
        decode(kind.message_type(), Reader::new(body), 16)
    }

    fn message(head: [u8; 8], flags: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = head.to_vec();
        bytes.extend(flags.to_ne_bytes());
        for (kind, value) in attributes {
            let len = u16::try_from(value.len() + 4).unwrap();
            bytes.extend(len.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    #[test]
    fn routes_are_read_and_what_leads_nowhere_is_said_so() {
        let ten = message([2, 8, 0, 0, 254, 3, 0, 1], 0, &[(1, &[10, 0, 0, 0])]);
        let expect = Path {
            network: [10, 0, 0, 0].into(),
            prefix: 8,
            table: 254,
            way: Way::Leads,
        };
        assert_eq!(read(Command::NEWROUTE, &ten), Ok(Some(expect)));
        let gone = Path {
            way: Way::Gone,
            ..expect
        };
        assert_eq!(read(Command::DELROUTE, &ten), Ok(Some(gone)));
        assert_eq!(read(Command::NEWADDR, &ten), Ok(None));
        // The default route of a table with a large number.
        let table = 1_000_u32.to_ne_bytes();
        let default = message([10, 0, 0, 0, 252, 3, 0, 1], 0, &[(15, &table)]);
        let found = read(Command::NEWROUTE, &default).unwrap().unwrap();
        assert_eq!((found.prefix, found.table), (0, 1_000));
        assert!(found.network.is_unspecified() && found.network.is_ipv6());
        for leads in [2, 6] {
            let other = message([2, 8, 0, 0, 254, 3, 0, leads], 0, &[(1, &[10, 0, 0, 0])]);
            let nowhere = Path {
                way: Way::Nowhere,
                ..expect
            };
            assert_eq!(read(Command::NEWROUTE, &other), Ok(Some(nowhere)));
        }
        let cloned = message([2, 8, 0, 0, 254, 3, 0, 1], CLONED, &[]);
        assert_eq!(read(Command::NEWROUTE, &cloned), Ok(None));
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        let ten = message([2, 8, 0, 0, 254, 3, 0, 1], 0, &[(1, &[10, 0, 0, 0])]);
        for len in 0..12 {
            assert!(read(Command::NEWROUTE, ten.get(..len).unwrap()).is_err());
        }
        let long = message([2, 33, 0, 0, 254, 3, 0, 1], 0, &[]);
        assert!(read(Command::NEWROUTE, &long).is_err());
        let short = message([2, 8, 0, 0, 254, 3, 0, 1], 0, &[(1, &[10, 0])]);
        assert!(read(Command::NEWROUTE, &short).is_err());
    }
}
