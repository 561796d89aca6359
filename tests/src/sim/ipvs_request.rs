//! The words of the IPVS family, read and written from ip_vs.h alone and apart
//! from the core's own decoder and encoder.

use super::netlink::{Message, attribute, attributes, u32_at};
use std::net::IpAddr;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceFlags, ServiceKey,
    SyncDaemon, SyncState, Tunnel, TunnelFlags, TunnelType,
};

/// A change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    NewService(Service),
    SetService(Service),
    DeleteService(ServiceKey),
    NewDestination(ServiceKey, Destination),
    SetDestination(ServiceKey, Destination),
    DeleteDestination(ServiceKey, DestinationKey),
}

impl Op {
    pub fn service(&self) -> &ServiceKey {
        match self {
            Self::NewService(service) | Self::SetService(service) => &service.key,
            Self::DeleteService(key)
            | Self::NewDestination(key, _)
            | Self::SetDestination(key, _)
            | Self::DeleteDestination(key, _) => key,
        }
    }
}

/// The change of a request past its netlink header: a generic header, then
/// `IPVS_CMD_ATTR_SERVICE` (1) and `IPVS_CMD_ATTR_DEST` (2).
pub fn decode(body: &[u8]) -> Op {
    let top = attributes(&body[4..]);
    let service_nest = attributes(attribute(&top, 1).expect("a change names a service"));
    let key = service_key(&service_nest);
    let of = key.family();
    let destination = || {
        let nest = attribute(&top, 2).expect("a change of a destination names it");
        attributes(nest)
    };
    match body[0] {
        1 => Op::NewService(service(key, &service_nest)),
        2 => Op::SetService(service(key, &service_nest)),
        3 => Op::DeleteService(key),
        5 => Op::NewDestination(key, whole_destination(of, &destination())),
        6 => Op::SetDestination(key, whole_destination(of, &destination())),
        7 => Op::DeleteDestination(key, destination_key(of, &destination())),
        other => panic!("command {other} changes nothing"),
    }
}

/// The service that a request names.
pub fn key(body: &[u8]) -> ServiceKey {
    let top = attributes(&body[4..]);
    service_key(&attributes(attribute(&top, 1).expect("it names a service")))
}

type Nest<'a> = [(u16, &'a [u8])];

fn number16(nest: &Nest<'_>, kind: u16) -> Option<u16> {
    let raw = attribute(nest, kind)?;
    Some(u16::from_ne_bytes(raw.try_into().expect("two bytes")))
}

fn port(nest: &Nest<'_>, kind: u16) -> u16 {
    number16(nest, kind).map_or(0, u16::from_be)
}

fn number32(nest: &Nest<'_>, kind: u16) -> u32 {
    u32_at(attribute(nest, kind).expect("mandatory"), 0)
}

fn family(number: Option<u16>) -> Family {
    Family::from_number(number.expect("mandatory")).expect("2 or 10")
}

fn ip(family: Family, raw: &[u8]) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from(<[u8; 4]>::try_from(&raw[..4]).expect("four bytes")),
        Family::V6 => IpAddr::from(<[u8; 16]>::try_from(raw).expect("sixteen bytes")),
    }
}

fn service_key(nest: &Nest<'_>) -> ServiceKey {
    let family = family(number16(nest, 1));
    if attribute(nest, 5).is_some() {
        let mark = number32(nest, 5);
        return ServiceKey::Fwmark { mark, family };
    }
    let protocol = number16(nest, 2).expect("mandatory");
    ServiceKey::Address {
        protocol: Protocol(u8::try_from(protocol).expect("a protocol")),
        address: ip(family, attribute(nest, 3).expect("mandatory")),
        port: port(nest, 4),
    }
}

fn service(key: ServiceKey, nest: &Nest<'_>) -> Service {
    let text = |kind| {
        let raw: &[u8] = attribute(nest, kind).unwrap_or(&[]);
        let text = raw.strip_suffix(b"\0").unwrap_or(raw);
        std::str::from_utf8(text).expect("text")
    };
    let flags = attribute(nest, 7).expect("mandatory");
    assert_eq!(u32_at(flags, 4), u32::MAX, "flags without their mask");
    let mut service = Service::new(key, text(6).try_into().expect("a scheduler"));
    service.flags = ServiceFlags::from_bits_retain(u32_at(flags, 0));
    service.timeout_s = number32(nest, 8);
    let mask = attribute(nest, 9).expect("mandatory");
    let bits = match key.family() {
        Family::V4 => u32::from_be_bytes(mask.try_into().expect("four bytes")).leading_ones(),
        Family::V6 => u32_at(mask, 0),
    };
    service.prefix = u8::try_from(bits).expect("a prefix");
    service.engine = text(11).try_into().expect("an engine");
    service
}

/// Without a family it has its service's.
fn destination_key(of: Family, nest: &Nest<'_>) -> DestinationKey {
    let family = number16(nest, 11).map_or(of, |number| family(Some(number)));
    DestinationKey {
        address: ip(family, attribute(nest, 1).expect("mandatory")),
        port: port(nest, 2),
    }
}

fn whole_destination(of: Family, nest: &Nest<'_>) -> Destination {
    let forward = u8::try_from(number32(nest, 3)).expect("a method");
    let mut new = Destination::new(
        destination_key(of, nest),
        Forward(forward),
        number32(nest, 4),
    );
    new.upper_threshold = number32(nest, 5);
    new.lower_threshold = number32(nest, 6);
    new.tunnel = Tunnel {
        kind: TunnelType(attribute(nest, 13).map_or(0, |raw| raw[0])),
        port: port(nest, 14),
        flags: TunnelFlags::from_bits_retain(number16(nest, 15).unwrap_or(0)),
    };
    new
}

fn padded(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut raw = [0; 16];
            raw[..4].copy_from_slice(&ip.octets());
            raw
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The state and, of a start, the rest of `IPVS_CMD_ATTR_DAEMON` (3), with the
/// defaults that the kernel puts in.
pub fn daemon(body: &[u8]) -> (u32, Option<SyncDaemon>) {
    let top = attributes(&body[4..]);
    let nest = attributes(attribute(&top, 3).expect("it names a daemon"));
    let state = number32(&nest, 1);
    let daemon = attribute(&nest, 2).map(|raw| {
        let text = std::str::from_utf8(raw).expect("text");
        let interface = text.trim_end_matches('\0').try_into().expect("a name");
        SyncDaemon {
            maxlen: number16(&nest, 4).unwrap_or(1472),
            group: Some([224, 0, 0, 81].into()),
            port: number16(&nest, 7).unwrap_or(8848),
            ttl: attribute(&nest, 8).map_or(1, |raw| raw[0]),
            ..SyncDaemon::new(SyncState(state), interface, number32(&nest, 3))
        }
    });
    (state, daemon)
}

/// A row of a dump of synchronization daemons.
pub fn daemon_message(kind: u16, seq: u32, it: &SyncDaemon) -> Message {
    Message::new(kind, super::netlink::MULTI, seq)
        .raw(&[9, 1, 0, 0])
        .nest(3, |nest| {
            nest.attribute(1, &it.state.0.to_ne_bytes())
                .attribute(2, format!("{}\0", it.interface).as_bytes())
                .attribute(3, &it.sync_id.to_ne_bytes())
                .attribute(4, &it.maxlen.to_ne_bytes())
                .attribute(7, &it.port.to_ne_bytes())
                .attribute(8, &[it.ttl])
                .attribute(5, &[224, 0, 0, 81])
        })
}

/// A row of a dump of services.
pub fn service_message(kind: u16, seq: u32, service: &Service) -> Message {
    let family: u16 = service.key.family().number().into();
    Message::new(kind, super::netlink::MULTI, seq)
        .raw(&[1, 1, 0, 0])
        .nest(1, |nest| {
            let nest = nest.attribute(1, &family.to_ne_bytes());
            let nest = match service.key {
                ServiceKey::Fwmark { mark, .. } => nest.attribute(5, &mark.to_ne_bytes()),
                ServiceKey::Address {
                    protocol,
                    address,
                    port,
                } => nest
                    .attribute(2, &u16::from(protocol.0).to_ne_bytes())
                    .attribute(3, &padded(address))
                    .attribute(4, &port.to_be_bytes()),
            };
            let mut scheduler = service.scheduler.as_bytes().to_vec();
            scheduler.push(0);
            // HASHED is the kernel's own.
            let mut flags = (service.flags.bits() | 2).to_ne_bytes().to_vec();
            flags.extend([0xff; 4]);
            let bits = u32::from(service.prefix);
            let mask = match service.key.family() {
                Family::V4 => u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be_bytes(),
                Family::V6 => bits.to_ne_bytes(),
            };
            let nest = nest.attribute(6, &scheduler);
            let nest = match service.engine.as_str() {
                "" => nest,
                engine => nest.attribute(11, format!("{engine}\0").as_bytes()),
            };
            nest.attribute(7, &flags)
                .attribute(8, &service.timeout_s.to_ne_bytes())
                .attribute(9, &mask)
        })
}

/// A row of a dump of destinations.
pub fn destination_message(kind: u16, seq: u32, it: &Destination) -> Message {
    let family: u16 = Family::of(&it.key.address).number().into();
    Message::new(kind, super::netlink::MULTI, seq)
        .raw(&[5, 1, 0, 0])
        .nest(2, |nest| {
            let nest = nest
                .attribute(1, &padded(it.key.address))
                .attribute(2, &it.key.port.to_be_bytes())
                .attribute(3, &u32::from(it.forward.0).to_ne_bytes())
                .attribute(4, &it.weight.to_ne_bytes())
                .attribute(13, &[it.tunnel.kind.0])
                .attribute(14, &it.tunnel.port.to_be_bytes())
                .attribute(15, &it.tunnel.flags.bits().to_ne_bytes())
                .attribute(5, &it.upper_threshold.to_ne_bytes())
                .attribute(6, &it.lower_threshold.to_ne_bytes());
            let nest = [7, 8, 9]
                .into_iter()
                .fold(nest, |nest, kind| nest.attribute(kind, &[0; 4]));
            nest.attribute(11, &family.to_ne_bytes())
        })
}
