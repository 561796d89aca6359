//! Rows of dumps, built by hand as kernels old and new build them.

use super::*;
use crate::bytes::Reader;
use crate::netlink::Malformed;
use core::net::Ipv4Addr;
use std::string::ToString;
use std::vec;

/// Ten counters: 1000 + number, or so that 32 bits do not hold them.
fn counters(kind: u16, wide: bool, pad: bool) -> Vec<u8> {
    let mut all = Vec::new();
    for number in 1..=10_u16 {
        if pad && (wide || number == 4 || number == 5) {
            all.extend(attribute(11, &[]));
        }
        let value = 1000 + u64::from(number) + if wide { 1 << 33 } else { 0 };
        if wide || number == 4 || number == 5 {
            all.extend(attribute(number, &value.to_ne_bytes()));
        } else {
            let value = u32::try_from(value).unwrap();
            all.extend(attribute(number, &value.to_ne_bytes()));
        }
    }
    attribute(kind, &all)
}

fn expected_stats(wide: bool) -> Stats {
    let base = if wide { 1 << 33 } else { 0 };
    let n = |number: u64| base + 1000 + number;
    Stats {
        connections: n(1),
        packets_in: n(2),
        packets_out: n(3),
        bytes_in: n(4),
        bytes_out: n(5),
        connections_per_s: n(6),
        packets_in_per_s: n(7),
        packets_out_per_s: n(8),
        bytes_in_per_s: n(9),
        bytes_out_per_s: n(10),
    }
}

fn addr16(octets: &[u8]) -> Vec<u8> {
    let mut raw = octets.to_vec();
    raw.resize(16, 0);
    raw
}

/// (kind, attribute) in the kernel's order.
type Parts = Vec<(u16, Vec<u8>)>;

fn part(kind: u16, value: &[u8]) -> (u16, Vec<u8>) {
    (kind, attribute(kind, value))
}

fn service_parts() -> Parts {
    vec![
        part(1, &2_u16.to_ne_bytes()),
        part(2, &6_u16.to_ne_bytes()),
        part(3, &addr16(&[192, 0, 2, 1])),
        part(4, &80_u16.to_be_bytes()),
        part(6, b"wrr\0"),
        part(11, b"sip\0"),
        part(7, &[3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        part(8, &300_u32.to_ne_bytes()),
        part(9, &[255, 255, 255, 0]),
        (10, counters(10, false, false)),
        (12, counters(12, true, false)),
    ]
}

fn destination_parts() -> Parts {
    vec![
        part(
            1,
            &addr16(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
        ),
        part(2, &8080_u16.to_be_bytes()),
        part(3, &2_u32.to_ne_bytes()),
        part(4, &70_000_u32.to_ne_bytes()),
        part(13, &[1]),
        part(14, &6080_u16.to_be_bytes()),
        part(15, &2_u16.to_ne_bytes()),
        part(5, &9_u32.to_ne_bytes()),
        part(6, &8_u32.to_ne_bytes()),
        part(7, &11_u32.to_ne_bytes()),
        part(8, &12_u32.to_ne_bytes()),
        part(9, &13_u32.to_ne_bytes()),
        part(11, &10_u16.to_ne_bytes()),
        (10, counters(10, false, true)),
        (12, counters(12, true, true)),
    ]
}

fn without(parts: Parts, kinds: &[u16]) -> Parts {
    parts
        .into_iter()
        .filter(|(kind, _)| !kinds.contains(kind))
        .collect()
}

fn with(parts: Parts, kind: u16, value: &[u8]) -> Parts {
    parts
        .into_iter()
        .map(|old| {
            if old.0 == kind {
                part(kind, value)
            } else {
                old
            }
        })
        .collect()
}

/// A message body: generic header, nest, attributes.
fn body(command: u8, nest: u16, parts: &Parts) -> Vec<u8> {
    let inner: Vec<u8> = parts.iter().flat_map(|(_, raw)| raw.clone()).collect();
    [&[command, 1, 0, 0][..], &attribute(nest, &inner)].concat()
}

fn service(parts: Parts) -> Result<ServiceEntry, Malformed> {
    decode::service(Reader::new(&body(1, 1, &parts)), 16)
}

fn destination(parts: Parts, family: Family) -> Result<DestinationEntry, Malformed> {
    decode::destination(Reader::new(&body(5, 2, &parts)), 16, family)
}

#[test]
fn a_service_is_read_whole() {
    let entry = service(service_parts()).unwrap();
    assert_eq!(
        entry.service,
        Service {
            key: ServiceKey::Address {
                protocol: Protocol::TCP,
                address: IpAddr::from([192, 0, 2, 1]),
                port: 80
            },
            scheduler: "wrr".parse().unwrap(),
            flags: ServiceFlags::PERSISTENT,
            timeout_s: 300,
            prefix: 24,
            engine: "sip".parse().unwrap(),
        }
    );
    assert_eq!((entry.odd_mask, entry.stats), (None, expected_stats(true)));
}

#[test]
fn a_destination_is_read_whole_padding_and_all() {
    let entry = destination(destination_parts(), Family::V4).unwrap();
    assert_eq!(
        entry,
        DestinationEntry {
            destination: Destination {
                key: DestinationKey {
                    address: "2001:db8::7".parse().unwrap(),
                    port: 8080
                },
                forward: Forward::TUNNEL,
                weight: 70_000,
                upper_threshold: 9,
                lower_threshold: 8,
                tunnel: Tunnel {
                    kind: TunnelType::GUE,
                    port: 6080,
                    flags: TunnelFlags::REMCSUM
                },
            },
            active: 11,
            inactive: 12,
            persistent: 13,
            stats: expected_stats(true),
        }
    );
}

#[test]
fn what_old_kernels_leave_out_is_no_error() {
    let entry = service(without(service_parts(), &[12])).unwrap();
    assert_eq!(entry.stats, expected_stats(false));
    let entry = service(without(service_parts(), &[10, 12])).unwrap();
    assert_eq!(entry.stats, Stats::default());
    let old = without(destination_parts(), &[11, 12, 13, 14, 15]);
    let entry = destination(old.clone(), Family::V6).unwrap();
    assert_eq!(entry.destination.tunnel, Tunnel::IPIP);
    assert_eq!(entry.stats, expected_stats(false));
    assert_eq!(entry.destination.key.address.to_string(), "2001:db8::7");
    // In an IPv4 service the first four bytes are the address.
    let entry = destination(old, Family::V4).unwrap();
    assert_eq!(entry.destination.key.address.to_string(), "32.1.13.184");
}

#[test]
fn order_unknown_attributes_and_other_nests_do_not_matter() {
    let plain = service(service_parts()).unwrap();
    let mut parts = service_parts();
    parts.reverse();
    parts.insert(3, part(99, &[1, 2, 3]));
    assert_eq!(service(parts).as_ref(), Ok(&plain));
    let mut raw = body(1, 1, &service_parts());
    let unknown = attribute(77, &[1]);
    raw.splice(4..4, unknown);
    assert_eq!(decode::service(Reader::new(&raw), 16), Ok(plain));
}

#[test]
fn firewall_marks_have_a_family_and_masks_may_be_odd() {
    let mark = vec![
        part(1, &10_u16.to_ne_bytes()),
        part(5, &7_u32.to_ne_bytes()),
        part(6, b"none\0"),
        part(9, &64_u32.to_ne_bytes()),
    ];
    let entry = service(mark.clone()).unwrap();
    let key = ServiceKey::Fwmark {
        mark: 7,
        family: Family::V6,
    };
    assert_eq!((entry.service.key, entry.service.prefix), (key, 64));
    for bad in [0_u32, 129, 0x4000_0000] {
        assert!(service(with(mark.clone(), 9, &bad.to_ne_bytes())).is_err());
    }
    let odd = service(with(service_parts(), 9, &[255, 0, 255, 0])).unwrap();
    assert_eq!(odd.odd_mask, Some(Ipv4Addr::new(255, 0, 255, 0)));
    assert_eq!(odd.service.prefix, Service::NO_PREFIX);
    for (mask, prefix) in [([0; 4], 0), ([255; 4], 32), ([128, 0, 0, 0], 1)] {
        let entry = service(with(service_parts(), 9, &mask)).unwrap();
        assert_eq!(entry.service.prefix, prefix);
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let words = |parts| service(parts).unwrap_err().to_string();
    let missing = |kind| words(without(service_parts(), &[kind]));
    assert_eq!(missing(1), "service address family at byte 24: missing");
    assert_eq!(missing(2), "service protocol at byte 24: missing");
    assert_eq!(missing(3), "service address at byte 24: missing");
    assert_eq!(missing(4), "service port at byte 24: missing");
    let bad = |kind, value: &[u8]| words(with(service_parts(), kind, value));
    assert_eq!(
        bad(1, &1_u16.to_ne_bytes()),
        "address family at byte 24: 0x1 is not a value it can have"
    );
    assert_eq!(
        bad(2, &300_u16.to_ne_bytes()),
        "service protocol at byte 32: 0x12c is not a value it can have"
    );
    assert_eq!(
        bad(3, &[1; 8]),
        "address at byte 40: must be 16 bytes long, is 8"
    );
    assert_eq!(
        bad(6, b"abcdefghijklmnop\0"),
        "service scheduler at byte 68: not UTF-8 text of a length it can have"
    );
    assert_eq!(
        bad(7, &[0; 4]),
        "service flags at byte 84: must be 8 bytes long, is 4"
    );
    let words = |parts| destination(parts, Family::V4).unwrap_err().to_string();
    for (kind, what) in [
        (1, "destination address"),
        (2, "destination port"),
        (3, "destination forwarding method"),
        (4, "destination weight"),
    ] {
        assert_eq!(
            words(without(destination_parts(), &[kind])),
            std::format!("{what} at byte 24: missing")
        );
    }
    let parts = destination_parts();
    assert_eq!(
        decode::service(Reader::new(&body(5, 2, &parts)), 16)
            .unwrap_err()
            .to_string(),
        "ipvs command at byte 16: 0x5 is not a value it can have"
    );
    assert_eq!(
        decode::destination(Reader::new(&body(5, 1, &parts)), 16, Family::V4)
            .unwrap_err()
            .to_string(),
        "destination at byte 16: missing"
    );
}

#[test]
fn every_fixed_attribute_of_another_length_is_an_error() {
    for kind in [1, 2, 3, 4, 7, 8, 9] {
        for len in (0..24).filter(|len| ![2, 4, 8, 16].contains(len)) {
            assert!(service(with(service_parts(), kind, &vec![1; len])).is_err());
        }
    }
    for kind in [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15] {
        for len in (0..24).filter(|len| ![2, 4, 16].contains(len)) {
            let parts = with(destination_parts(), kind, &vec![1; len]);
            assert!(destination(parts, Family::V6).is_err(), "{kind} {len}");
        }
    }
    for wide in [false, true] {
        for number in 1..=10 {
            let inner = attribute(number, &[0; 5]);
            let kind = if wide { 12 } else { 10 };
            let parts = with(without(service_parts(), &[22 - kind]), kind, &inner);
            assert!(service(parts).is_err(), "{number}");
        }
    }
}

#[test]
fn info_and_timeouts_are_read() {
    let raw = [
        &[14, 1, 0, 0][..],
        &attribute(1, &0x01_0201_u32.to_ne_bytes()),
        &attribute(2, &4096_u32.to_ne_bytes()),
    ]
    .concat();
    let info = Info {
        version: 0x01_0201,
        table_size: 4096,
    };
    assert_eq!(decode::info(Reader::new(&raw), 16), Ok(info));
    assert!(decode::info(Reader::new(&raw[..12]), 16).is_err());
    assert!(decode::timeouts(Reader::new(&raw), 16).is_err());
    let raw = [
        &[12, 1, 0, 0][..],
        &attribute(4, &900_u32.to_ne_bytes()),
        &attribute(5, &120_u32.to_ne_bytes()),
        &attribute(6, &300_u32.to_ne_bytes()),
    ]
    .concat();
    let timeouts = Timeouts {
        tcp_s: 900,
        tcp_fin_s: 120,
        udp_s: 300,
    };
    assert_eq!(decode::timeouts(Reader::new(&raw), 16), Ok(timeouts));
}

/// A dump as it arrives: services, destinations, done.
fn dump() -> Vec<u8> {
    [
        message(30, 2, 5, &body(1, 1, &service_parts())),
        message(30, 2, 5, &body(1, 1, &without(service_parts(), &[12]))),
        message(30, 2, 6, &body(5, 2, &destination_parts())),
        message(3, 2, 6, &[0; 4]),
    ]
    .concat()
}

#[test]
fn every_truncation_of_a_dump_gives_fewer_rows() {
    let whole = dump();
    let all = laws::decode_any(&whole);
    // A destination is read once for each family.
    assert_eq!((all.messages, all.rows), (4, 4));
    let mut most = 0;
    for len in 0..whole.len() {
        let found = laws::decode_any(&whole[..len]);
        assert!(found.messages < all.messages && found.rows >= most);
        most = found.rows;
    }
}

#[test]
fn a_row_cut_short_is_an_error_whatever_its_header_says() {
    let (service, destination) = (
        body(1, 1, &service_parts()),
        body(5, 2, &destination_parts()),
    );
    for len in 0..service.len() {
        assert!(decode::service(Reader::new(&service[..len]), 16).is_err());
    }
    for len in 0..destination.len() {
        assert!(decode::destination(Reader::new(&destination[..len]), 16, Family::V4).is_err());
    }
}

#[test]
fn every_byte_of_a_dump_may_have_any_value() {
    let whole = dump();
    for at in 0..whole.len() {
        for value in [0, 1, 2, 3, 4, 7, 15, 16, 64, 127, 128, 254, 255] {
            let mut raw = whole.clone();
            raw[at] = value;
            laws::decode_any(&raw);
        }
    }
}

proptest! {
    #[test]
    fn corrupted_dumps_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)
    ) {
        let mut raw = dump();
        for (at, value) in edits {
            let at = at.index(raw.len());
            raw[at] = value;
        }
        laws::decode_any(&raw);
    }

    #[test]
    fn random_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        laws::decode_any(&raw);
    }
}
