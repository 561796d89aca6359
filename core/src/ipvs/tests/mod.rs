//! Requests against a walker that shares no code with the encoder, and replies
//! against bytes built by hand.

mod encoder;
mod replies;
mod requests;
mod sync;

use super::*;
use crate::model::*;
use core::net::IpAddr;
use proptest::prelude::*;
use std::vec::Vec;

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        Just(IpAddr::from([0, 0, 0, 0])),
        Just(IpAddr::from([0; 16])),
    ]
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    prop_oneof![
        (any::<u8>(), address(), any::<u16>()).prop_map(|(protocol, address, port)| {
            ServiceKey::Address {
                protocol: Protocol(protocol),
                address,
                port,
            }
        }),
        (0..4_u32, any::<bool>()).prop_map(|(mark, v6)| ServiceKey::Fwmark {
            mark: if mark == 3 { u32::MAX } else { mark },
            family: if v6 { Family::V6 } else { Family::V4 },
        }),
    ]
}

fn name() -> impl Strategy<Value = heapless::String<15, u8>> {
    prop_oneof![
        9 => "[a-z]{0,15}",
        1 => "[a-z]{0,3}\0[a-z]{0,3}",
    ]
    .prop_map(|name| heapless::String::try_from(name.as_str()).unwrap())
}

prop_compose! {
    fn any_service()(
        key in service_key(),
        scheduler in name(),
        engine in name(),
        flags in any::<u32>(),
        timeout_s in prop_oneof![0..10_000_u32, 4_294_960..4_294_980_u32],
        prefix in prop_oneof![0..=40_u8, any::<u8>()],
    ) -> Service {
        Service { key, scheduler, flags: ServiceFlags::from_bits_retain(flags), timeout_s, prefix, engine }
    }
}

/// Often in range, sometimes just over the edge.
fn signed() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..100_u32, 1 => 0x7fff_fffe..0x8000_0002_u32, 1 => any::<u32>()]
}

prop_compose! {
    fn any_destination()(
        address in address(),
        port in any::<u16>(),
        forward in 0..6_u8,
        weight in signed(),
        upper_threshold in signed(),
        lower_threshold in prop_oneof![3 => Just(0), 1 => signed()],
        kind in 0..4_u8,
        tunnel_port in prop_oneof![Just(0), any::<u16>()],
        flags in any::<u16>(),
    ) -> Destination {
        Destination {
            key: DestinationKey { address, port },
            forward: Forward(forward),
            weight,
            upper_threshold,
            lower_threshold,
            tunnel: Tunnel {
                kind: TunnelType(kind),
                port: tunnel_port,
                flags: TunnelFlags::from_bits_retain(flags),
            },
        }
    }
}

/// An attribute as bytes, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut raw = u16::try_from(value.len() + 4)
        .unwrap()
        .to_ne_bytes()
        .to_vec();
    raw.extend(kind.to_ne_bytes());
    raw.extend(value);
    raw.resize(raw.len().next_multiple_of(4), 0);
    raw
}

/// A message as bytes.
fn message(kind: u16, flags: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let mut raw = u32::try_from(body.len() + 16)
        .unwrap()
        .to_ne_bytes()
        .to_vec();
    raw.extend(kind.to_ne_bytes());
    raw.extend(flags.to_ne_bytes());
    raw.extend(seq.to_ne_bytes());
    raw.extend([0; 4]);
    raw.extend(body);
    raw
}

proptest! {
    #[test]
    fn the_laws_hold_for_what_may_be_requested(
        key in service_key(), service in any_service(), destination in any_destination()
    ) {
        laws::round_trip_service(&service);
        laws::round_trip_destination(&key, &destination);
    }
}

#[test]
fn meanings_are_one_line_and_never_empty() {
    for command in 0..=20 {
        for errno in 0..140 {
            let text = meaning(Command(command), crate::netlink::Errno(errno));
            assert!(!text.is_empty() && !text.contains(['\n', '\t']) && !text.contains("  "));
            assert!(!text.ends_with('.'));
        }
    }
}
