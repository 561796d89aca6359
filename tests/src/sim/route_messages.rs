//! What rtnetlink's messages about links and addresses look like.
//!
//! Source: net/core/rtnetlink.c, net/ipv4/devinet.c, net/ipv6/addrconf.c.

use super::netlink::{self, Message};
use super::route_kernel::{Address, Interface};
use std::net::IpAddr;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_OPERSTATE: u16 = 16;

/// The interface and the address that a request is about.
pub fn address_of(body: &[u8]) -> (u32, Address) {
    let (family, prefix, index) = (body[0], body[1], netlink::u32_at(body, 4));
    let attributes = netlink::attributes(&body[8..]);
    let raw = netlink::attribute(&attributes, IFA_LOCAL)
        .or_else(|| netlink::attribute(&attributes, IFA_ADDRESS))
        .expect("a request about an address names one");
    let ip = match family {
        2 => IpAddr::from(<[u8; 4]>::try_from(raw).expect("four bytes")),
        10 => IpAddr::from(<[u8; 16]>::try_from(raw).expect("sixteen bytes")),
        other => panic!("address family {other}"),
    };
    let flags = netlink::attribute(&attributes, IFA_FLAGS).map_or(0, |raw| netlink::u32_at(raw, 0));
    let protocol = netlink::attribute(&attributes, IFA_PROTO).map_or(0, |raw| raw[0]);
    let address = Address {
        ip,
        prefix,
        flags,
        protocol,
    };
    (index, address)
}

pub fn address_message(index: u32, address: &Address, kind: u16, flags: u16, seq: u32) -> Message {
    let low_flags = address.flags.to_le_bytes()[0];
    let family = if address.ip.is_ipv4() { 2 } else { 10 };
    let message = Message::new(kind, flags, seq)
        .raw(&[family, address.prefix, low_flags, 0])
        .raw(&index.to_ne_bytes());
    let message = match address.ip {
        IpAddr::V4(ip) => message
            .attribute(IFA_ADDRESS, &ip.octets())
            .attribute(IFA_LOCAL, &ip.octets()),
        IpAddr::V6(ip) => message.attribute(IFA_ADDRESS, &ip.octets()),
    };
    let message = message.attribute(IFA_FLAGS, &address.flags.to_ne_bytes());
    match address.protocol {
        0 => message,
        protocol => message.attribute(IFA_PROTO, &[protocol]),
    }
}

pub fn link_message(
    interface: &Interface,
    running: bool,
    kind: u16,
    flags: u16,
    seq: u32,
) -> Message {
    let mut bits: u32 = 0x1002;
    bits |= u32::from(interface.up);
    bits |= if running { 0x1_0040 } else { 0 };
    let mut name = interface.name.as_bytes().to_vec();
    name.push(0);
    let message = Message::new(kind, flags, seq)
        .raw(&[0, 0, 1, 0])
        .raw(&interface.index.to_ne_bytes())
        .raw(&bits.to_ne_bytes())
        .raw(&[0xff; 4])
        .attribute(IFLA_IFNAME, &name)
        .attribute(IFLA_ADDRESS, &interface.mac)
        .attribute(IFLA_MTU, &1500_u32.to_ne_bytes())
        .attribute(IFLA_OPERSTATE, &[if running { 6 } else { 2 }]);
    match interface.above {
        Some(above) => above.told(message),
        None => message,
    }
}
