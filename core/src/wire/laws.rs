//! What must hold for any bytes: the laws the fuzz targets and property tests
//! run.

use super::arp::Arp;
use super::ethernet::Ethernet;
use super::icmp::Icmp;
use super::icmpv6::NeighbourAdvertisement;
use super::tcp::{Answer, Quoted, Syn};
use super::{EtherType, Ipv4Packet, Ipv6Packet};

/// Reads `frame` as an Ethernet frame, and its payload as whatever it may be.
/// Nothing panics, and what was accepted is written back as it stood.
///
/// # Panics
/// When a law is broken.
pub fn decode_any(frame: &[u8]) {
    if let Ok((ethernet, payload)) = Ethernet::parse(frame) {
        assert!(
            frame.starts_with(&ethernet.bytes()),
            "ethernet: back as it stood"
        );
        decode(ethernet.ethertype, payload);
    }
    // Most random frames have no known type: try the readers on all bytes.
    for ethertype in [EtherType::ARP, EtherType::IPV4, EtherType::IPV6] {
        decode(ethertype, frame);
    }
}

fn decode(ethertype: EtherType, bytes: &[u8]) {
    match ethertype {
        EtherType::ARP => {
            if let Ok(arp) = Arp::parse(bytes) {
                assert!(bytes.starts_with(&arp.bytes()), "arp: back as it stood");
            }
        }
        EtherType::IPV4 => {
            if let Ok(packet) = Ipv4Packet::parse(bytes) {
                assert!(packet.options.len() <= 40, "ipv4: options fit the header");
                let bytes = packet.header.bytes(packet.payload.len());
                assert!(bytes.is_ok(), "ipv4: a length that came in goes out");
                let again = bytes.as_ref().map(|bytes| Ipv4Packet::parse(bytes));
                assert!(
                    packet.payload.is_empty() == matches!(again, Ok(Ok(_))),
                    "ipv4: header holds without a payload only if it has none"
                );
                icmp(packet.payload);
                tcp(packet.payload);
            }
        }
        EtherType::IPV6 => {
            if let Ok(packet) = Ipv6Packet::parse(bytes) {
                let header = packet.header.bytes(packet.payload.len());
                assert!(
                    header.is_ok_and(|header| bytes.starts_with(&header)),
                    "ipv6: back as it stood"
                );
                let _ = NeighbourAdvertisement::parse(&packet);
                icmp(packet.payload);
                tcp(packet.payload);
            }
        }
        EtherType(_) => {}
    }
}

/// An echo that was read is the request that was sent.
fn icmp(message: &[u8]) {
    let parsed = [Icmp::parse_v4(message), Icmp::parse_v6(message, None)];
    for icmp in parsed.into_iter().flatten() {
        if let Icmp::Reply(echo) = icmp {
            let [a, b] = [echo.request_v4(), echo.request_v6()];
            let payload = message.get(4..);
            let back = payload == a.get(4..) && payload == b.get(4..);
            assert!(back, "icmp: back as it stood");
        }
    }
}

/// A quote of a SYN is of the SYN that was sent.
fn tcp(segment: &[u8]) {
    let _ = Answer::parse(segment);
    if let Ok(quoted) = Quoted::parse(segment) {
        let syn = Syn {
            source_port: quoted.source_port,
            destination_port: quoted.destination_port,
            sequence: quoted.sequence,
        };
        let back = segment.get(..8) == syn.bytes().get(..8);
        assert!(back, "tcp: back as it stood");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::ChecksumScope;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn any_bytes(frame in prop::collection::vec(any::<u8>(), 0..200)) {
            decode_any(&frame);
        }

        #[test]
        fn plausible_ipv4(
            first in 0x40..=0x4f_u8,
            mut rest in prop::collection::vec(any::<u8>(), 19..100),
            length in 0..120_u8,
        ) {
            rest.insert(0, first);
            rest[2] = 0;
            rest[3] = length;
            rest[10..12].fill(0);
            let header = usize::from(first & 0xf) * 4;
            if let Some(covered) = rest.get(..header).filter(|c| c.len() >= 20) {
                let sum = ChecksumScope::Message.of(covered);
                rest[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let fits = header >= 20 && usize::from(length) >= header && usize::from(length) <= rest.len();
            prop_assert_eq!(Ipv4Packet::parse(&rest).is_ok(), fits);
            decode_any(&rest);
        }

        #[test]
        fn plausible_echoes(
            kind in prop::sample::select(Vec::from([0_u8, 3, 8, 11, 128, 129, 1])), code in 0..4_u8,
            mut rest in prop::collection::vec(prop_oneof![Just(1_u8), Just(0x45), Just(8), any::<u8>()], 10..60),
            request in prop::sample::select(Vec::from([8_u8, 0])),
        ) {
            rest[..4].copy_from_slice(&[kind, code, 0, 0]);
            if rest.len() >= 36 {
                (rest[8], rest[17], rest[28]) = (0x45, 1, request);
            }
            let sum = ChecksumScope::Message.of(&rest);
            rest[2..4].copy_from_slice(&sum.to_be_bytes());
            let quotes = matches!(Icmp::parse_v4(&rest), Ok(Icmp::Error { .. }));
            prop_assert_eq!(quotes, rest.len() >= 36 && request == 8 && matches!(kind, 3 | 11));
            icmp(&rest);
        }

        #[test]
        fn plausible_advertisements(
            options in prop::collection::vec(any::<u8>(), 0..64),
            flags: u8, target: [u8; 16],
        ) {
            let mut message = Vec::from([136, 0, 0, 0, flags, 0, 0, 0]);
            message.extend(target);
            message.extend(options);
            let header = crate::wire::Ipv6 {
                traffic_class: 0,
                flow_label: 0,
                next_header: crate::wire::IpProtocol::ICMPV6,
                hop_limit: 255,
                source: target.into(),
                destination: target.into(),
            };
            let scope = ChecksumScope::PseudoV6 {
                source: header.source, destination: header.destination, next_header: 58,
            };
            let sum = scope.of(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            let mut packet = Vec::from(header.bytes(message.len()).unwrap());
            packet.extend(message);
            decode_any(&packet);
        }
    }
}
