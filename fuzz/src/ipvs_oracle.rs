//! Our IPVS decoder and encoder against another reader of the same bytes: the
//! frames and attributes of the crate netlink-packet-core, and ip_vs.h read once
//! more, field by field. It asserts; the tests include this file as well.

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use trunnion_core::ipvs::{DestinationEntry, ServiceEntry, Stats, decode, request};
use trunnion_core::model::{Destination, Family, Service, ServiceKey};
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::netlink::{Batch, Messages, Reply};
use trunnion_core::reconcile::Change;

/// Reads any bytes by both: the frames are the same, and every row that we
/// accept is what the other reads. A row that may be requested is, by the other
/// again, what the request says. Returns how many rows there were.
pub fn decode_both(bytes: &[u8]) -> usize {
    let (mut rows, mut rest) = (0, bytes);
    for message in Messages::new(bytes) {
        let other = NetlinkBuffer::new_checked(rest);
        let Ok(message) = message else {
            assert!(other.is_err(), "only the other frames {rest:?}");
            break;
        };
        let other = other.expect("both frame it");
        let header = message.header;
        assert_eq!(header.seq, other.sequence_number());
        assert_eq!(header.kind.0, other.message_type());
        assert_eq!(header.flags.bits(), other.flags());
        let payload = other.payload();
        let len = usize::try_from(other.length()).expect("it fits");
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);

        let Ok(Reply::Data { body, offset, .. }) = Reply::parse(&message) else {
            continue;
        };
        if let Ok(entry) = decode::service(body, offset) {
            rows += 1;
            assert_eq!(entry, service(payload));
            requested(&Change::AddService(&entry.service));
        }
        for family in [Family::V4, Family::V6] {
            if let Ok(entry) = decode::destination(body, offset, family) {
                rows += 1;
                assert_eq!(entry, destination(payload, family));
                let key = ServiceKey::Fwmark { mark: 1, family };
                requested(&Change::AddDestination(&key, &entry.destination));
            }
        }
    }
    rows
}

/// Encodes a change, unless it is refused; the other must read the same of it.
fn requested(change: &Change<'_>) {
    let mut buf = [0xa5; 512];
    let mut batch = Batch::new(&mut buf, 1);
    if request::change(&mut batch, FamilyId(30), change).is_err() {
        return;
    }
    let message = NetlinkBuffer::new_checked(batch.finish()).expect("we frame our requests");
    assert_eq!(message.message_type(), 30);
    let payload = message.payload();
    match change {
        Change::AddService(it) => {
            let mut expect: Service = (*it).clone();
            expect
                .flags
                .remove(trunnion_core::model::ServiceFlags::HASHED);
            assert_eq!(service(payload).service, expect);
        }
        Change::AddDestination(key, it) => {
            let read: Destination = destination(payload, key.family()).destination;
            assert_eq!(read, **it);
        }
        Change::SetService(_)
        | Change::SetDestination(..)
        | Change::DeleteService(_)
        | Change::DeleteDestination(..) => unreachable!("only adds are asked for"),
    }
}

type Nest<'a> = BTreeMap<u16, &'a [u8]>;

/// The attributes of a nest by their kinds; of one that comes twice the last.
fn nest(bytes: &[u8]) -> Nest<'_> {
    let mut found = BTreeMap::new();
    for attribute in NlasIterator::new(bytes).map_while(Result::ok) {
        let kind = attribute.kind();
        // Its value is borrowed from the iterator's item: taken by place.
        let start = attribute.inner_start(bytes);
        found.insert(kind, &bytes[start..start + attribute.value_length()]);
    }
    found
}

/// The first attribute of this kind behind a generic header.
fn top(payload: &[u8], kind: u16) -> Nest<'_> {
    let attributes = &payload[4..];
    let all = NlasIterator::new(attributes).map_while(Result::ok);
    for attribute in all {
        if attribute.kind() == kind {
            let start = attribute.inner_start(attributes);
            return nest(&attributes[start..start + attribute.value_length()]);
        }
    }
    panic!("the other sees no attribute {kind}")
}

/// Where in a slice the value of one of its attributes begins.
trait InnerStart {
    fn inner_start(&self, of: &[u8]) -> usize;
}

impl InnerStart for netlink_packet_core::NlaBuffer<&[u8]> {
    fn inner_start(&self, of: &[u8]) -> usize {
        self.value().as_ptr() as usize - of.as_ptr() as usize
    }
}

fn bytes<const N: usize>(nest: &Nest<'_>, kind: u16) -> [u8; N] {
    nest[&kind][..N].try_into().expect("so many bytes")
}

fn number16(nest: &Nest<'_>, kind: u16) -> u16 {
    u16::from_ne_bytes(bytes(nest, kind))
}

fn port(nest: &Nest<'_>, kind: u16) -> u16 {
    u16::from_be_bytes(bytes(nest, kind))
}

fn number32(nest: &Nest<'_>, kind: u16) -> u32 {
    u32::from_ne_bytes(bytes(nest, kind))
}

fn or_zero<T: Default>(nest: &Nest<'_>, kind: u16, read: impl Fn(&Nest<'_>, u16) -> T) -> T {
    if nest.contains_key(&kind) {
        read(nest, kind)
    } else {
        T::default()
    }
}

fn text(nest: &Nest<'_>, kind: u16) -> String {
    let raw = nest.get(&kind).copied().unwrap_or_default();
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8(raw[..end].to_vec()).expect("text")
}

fn family(nest: &Nest<'_>, kind: u16) -> Family {
    match number16(nest, kind) {
        2 => Family::V4,
        10 => Family::V6,
        other => panic!("family {other}"),
    }
}

fn address(nest: &Nest<'_>, kind: u16, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(bytes::<4>(nest, kind)).into(),
        Family::V6 => Ipv6Addr::from(bytes::<16>(nest, kind)).into(),
    }
}

/// `IPVS_STATS_ATTR_*` in 64 bits (`wide`) or 32, where bytes are 64 in both.
fn stats(all: &Nest<'_>, narrow: u16, wide: u16) -> Stats {
    let (nested, is_wide) = match (all.get(&wide), all.get(&narrow)) {
        (Some(raw), _) => (nest(raw), true),
        (None, Some(raw)) => (nest(raw), false),
        (None, None) => return Stats::default(),
    };
    let read = |kind: u16| {
        or_zero(&nested, kind, |nest, kind| {
            if is_wide || kind == 4 || kind == 5 {
                u64::from_ne_bytes(bytes(nest, kind))
            } else {
                number32(nest, kind).into()
            }
        })
    };
    Stats {
        connections: read(1),
        packets_in: read(2),
        packets_out: read(3),
        bytes_in: read(4),
        bytes_out: read(5),
        connections_per_s: read(6),
        packets_in_per_s: read(7),
        packets_out_per_s: read(8),
        bytes_in_per_s: read(9),
        bytes_out_per_s: read(10),
    }
}

/// `IPVS_SVC_ATTR_*`.
fn service(payload: &[u8]) -> ServiceEntry {
    assert_eq!(payload[0], 1, "IPVS_CMD_NEW_SERVICE");
    let nest = top(payload, 1);
    let family = family(&nest, 1);
    let key = if nest.contains_key(&5) {
        let mark = number32(&nest, 5);
        ServiceKey::Fwmark { mark, family }
    } else {
        let protocol = number16(&nest, 2);
        ServiceKey::Address {
            protocol: trunnion_core::model::Protocol(protocol.try_into().expect("a byte")),
            address: address(&nest, 3, family),
            port: port(&nest, 4),
        }
    };
    let flags = or_zero(&nest, 7, number32) & !2;
    let (prefix, odd_mask) = match (nest.contains_key(&9), family) {
        (false, Family::V4) => (32, None),
        (false, Family::V6) => (128, None),
        (true, Family::V6) => (number32(&nest, 9).try_into().expect("a prefix"), None),
        (true, Family::V4) => {
            let raw = bytes::<4>(&nest, 9);
            let mask = u32::from_be_bytes(raw);
            // A prefix of n bits is n ones from the top.
            match (0..=32_u8).find(|n| {
                u64::from(mask) == (u64::from(u32::MAX) << (32 - n)) & u64::from(u32::MAX)
            }) {
                Some(prefix) => (prefix, None),
                None => (Service::NO_PREFIX, Some(Ipv4Addr::from(raw))),
            }
        }
    };
    ServiceEntry {
        service: Service {
            key,
            scheduler: text(&nest, 6).as_str().try_into().expect("a name"),
            flags: trunnion_core::model::ServiceFlags::from_bits_retain(flags),
            timeout_s: or_zero(&nest, 8, number32),
            prefix,
            engine: text(&nest, 11).as_str().try_into().expect("a name"),
        },
        odd_mask,
        stats: stats(&nest, 10, 12),
    }
}

/// `IPVS_DEST_ATTR_*`.
fn destination(payload: &[u8], of: Family) -> DestinationEntry {
    use trunnion_core::model::{DestinationKey, Forward, Tunnel, TunnelFlags, TunnelType};
    assert_eq!(payload[0], 5, "IPVS_CMD_NEW_DEST");
    let nest = top(payload, 2);
    let family = if nest.contains_key(&11) {
        family(&nest, 11)
    } else {
        of
    };
    let key = DestinationKey {
        address: address(&nest, 1, family),
        port: port(&nest, 2),
    };
    let forward = Forward(number32(&nest, 3).try_into().expect("a byte"));
    let mut destination = Destination::new(key, forward, number32(&nest, 4));
    destination.upper_threshold = or_zero(&nest, 5, number32);
    destination.lower_threshold = or_zero(&nest, 6, number32);
    destination.tunnel = Tunnel {
        kind: TunnelType(or_zero(&nest, 13, |nest, kind| bytes::<1>(nest, kind)[0])),
        port: or_zero(&nest, 14, port),
        flags: TunnelFlags::from_bits_retain(or_zero(&nest, 15, number16)),
    };
    DestinationEntry {
        destination,
        active: or_zero(&nest, 7, number32),
        inactive: or_zero(&nest, 8, number32),
        persistent: or_zero(&nest, 9, number32),
        stats: stats(&nest, 10, 12),
    }
}
