use super::*;
use crate::bytes::Short;
use crate::bytes::Writer;
use std::string::ToString;
use std::vec::Vec;

const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 251));

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<std::string::String>(), 16).unwrap())
        .collect()
}

fn v4(payload: &[u8]) -> Received<'_> {
    Received {
        source: SOURCE_V4,
        destination: crate::vrrp::GROUP_V4.into(),
        ttl: 255,
        payload,
    }
}

fn v6(payload: &[u8]) -> Received<'_> {
    Received {
        source: "fe80::c8".parse().unwrap(),
        destination: crate::vrrp::GROUP_V6.into(),
        ttl: 255,
        payload,
    }
}

fn addresses(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|a| a.parse().unwrap()).collect()
}

// tests/tests/oracle_vrrp.rs asks scapy and tshark about these and many more.
const A: &str = "31 0a c8 02 0064 828a c0000201 c0000202";
const B: &str = "31 0a c8 02 0064 defb c0000201 c0000202";
const C: &str =
    "31 0a 64 02 0064 3f5d fe80000000000000 0000000000000001 20010db800000000 0000000000000001";

#[test]
fn both_forms_over_ipv4_are_told_apart() {
    for (vector, form) in [(A, AdvertForm::Rfc9568), (B, AdvertForm::Rfc5798)] {
        let bytes = hex(vector);
        let advert = Advert::parse(v4(&bytes)).unwrap();
        assert_eq!(advert.form(), form);
        assert_eq!((advert.vrid(), advert.priority()), (10, 200));
        assert_eq!(advert.interval(), Centis::SECOND);
        assert_eq!(advert.family(), Family::V4);
        assert_eq!(
            advert.addresses().collect::<Vec<_>>(),
            addresses(&["192.0.2.1", "192.0.2.2"])
        );
    }
}

#[test]
fn over_ipv6() {
    let bytes = hex(C);
    let advert = Advert::parse(v6(&bytes)).unwrap();
    assert_eq!(advert.form(), AdvertForm::Rfc9568);
    assert_eq!(advert.family(), Family::V6);
    assert_eq!(advert.addresses().len(), 2);
    assert_eq!(
        advert.addresses().collect::<Vec<_>>(),
        addresses(&["fe80::1", "2001:db8::1"])
    );
}

/// A vector with a change, and its message-only or IPv6 checksum made right.
fn changed(vector: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = hex(vector);
    change(&mut bytes);
    bytes[6..8].fill(0);
    let packet = if vector == C { v6(&bytes) } else { v4(&bytes) };
    let scope = AdvertForm::Rfc9568
        .scope(packet.source, packet.destination)
        .unwrap();
    let sum = scope.of(&bytes).to_be_bytes();
    bytes[6..8].copy_from_slice(&sum);
    bytes
}

fn why_v4(bytes: &[u8]) -> Malformed {
    Advert::parse(v4(bytes)).unwrap_err()
}

#[test]
fn truncated_at_every_byte() {
    for vector in [A, B, C] {
        let bytes = hex(vector);
        for cut in 0..bytes.len() {
            let bytes = &bytes[..cut];
            let packet = if vector == C { v6(bytes) } else { v4(bytes) };
            let why = Advert::parse(packet).unwrap_err();
            let short = matches!(why, Malformed::Short(Short { had, .. }) if cut < 8 && had <= cut);
            let length = matches!(why, Malformed::Length { count: 2, had, .. } if had == cut);
            assert!(short || length && cut >= 8, "{cut}: {why}");
        }
    }
}

#[test]
fn a_trailer_of_zeros_folds_into_the_checksum_and_fails_on_length() {
    let mut bytes = hex(A);
    bytes.extend([0; 8]);
    assert_eq!(
        why_v4(&bytes),
        Malformed::Length {
            count: 2,
            wanted: 16,
            had: 24
        }
    );
}

#[test]
fn version_comes_before_type_and_both_before_length() {
    let found = |first: u8| why_v4(&changed(A, |b| b[0] = first));
    assert_eq!(found(0x21), Malformed::Version { found: 2 });
    assert_eq!(found(0x22), Malformed::Version { found: 2 });
    assert_eq!(found(0x32), Malformed::Type { found: 2 });
    assert_eq!(found(0x30), Malformed::Type { found: 0 });
    // A VRRPv2 advert of keepalived carries 8 bytes of authentication data.
    let v2 = changed(A, |b| {
        b[0] = 0x21;
        b.extend([0; 8]);
    });
    assert_eq!(why_v4(&v2), Malformed::Version { found: 2 });
}

#[test]
fn count_and_length_agree_exactly() {
    assert_eq!(
        why_v4(&changed(A, |b| b[3] = 1)),
        Malformed::Length {
            count: 1,
            wanted: 12,
            had: 16
        }
    );
    let none = changed(A, |b| {
        b[3] = 0;
        b.truncate(8);
    });
    assert_eq!(why_v4(&none), Malformed::NoAddress);
    // Seesaw's advert: eight bytes, no address.
    let mut seesaw = none.clone();
    seesaw[6] ^= 1;
    assert!(matches!(why_v4(&seesaw), Malformed::Checksum { .. }));
}

#[test]
fn every_bit_counts_for_the_checksum() {
    for vector in [A, B, C] {
        let whole = hex(vector);
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[byte] ^= 1 << bit;
                let packet = if vector == C { v6(&bytes) } else { v4(&bytes) };
                assert!(Advert::parse(packet).is_err(), "byte {byte} bit {bit}");
            }
        }
    }
}

#[test]
fn a_ttl_of_254_crossed_a_router() {
    let bytes = hex(A);
    for ttl in 0..=254 {
        let packet = Received { ttl, ..v4(&bytes) };
        assert_eq!(Advert::parse(packet), Err(Malformed::Ttl { found: ttl }));
    }
}

#[test]
fn the_interval_is_twelve_bits_without_zero() {
    let of = |high, low| {
        let bytes = changed(A, |b| {
            b[4] = high;
            b[5] = low;
        });
        Advert::parse(v4(&bytes)).map(|a| a.interval().get())
    };
    assert_eq!(of(0, 0), Err(Malformed::NoInterval));
    assert_eq!(of(0, 1), Ok(1));
    assert_eq!(of(0x0f, 0xff), Ok(4095));
    // Reserved bits are not looked at.
    assert_eq!(of(0xf0, 0x64), Ok(100));
    assert_eq!(of(0xf0, 0), Err(Malformed::NoInterval));
}

#[test]
fn the_first_ipv6_address_is_link_local() {
    let bytes = changed(C, |b| b[8..10].copy_from_slice(&[0x20, 0x01]));
    assert_eq!(
        Advert::parse(v6(&bytes)),
        Err(Malformed::NotLinkLocal {
            found: "2001::1".parse().unwrap()
        })
    );
}

#[test]
fn two_hundred_and_fifty_five_ipv6_addresses() {
    let bytes = changed(C, |b| {
        b[3] = 255;
        b.resize(MESSAGE_BYTES_MAX, 0x20);
    });
    assert_eq!(bytes.len(), 4088);
    let advert = Advert::parse(v6(&bytes)).unwrap();
    assert_eq!(advert.addresses().count(), 255);
}

#[test]
fn families_do_not_mix() {
    let bytes = hex(A);
    let packet = Received {
        destination: crate::vrrp::GROUP_V6.into(),
        ..v4(&bytes)
    };
    assert!(matches!(
        Advert::parse(packet),
        Err(Malformed::Families { .. })
    ));
    assert_eq!(
        Advert::parse(packet).unwrap_err().to_string(),
        "source 192.0.2.251 and destination ff02::12 differ in family"
    );
}

#[test]
fn lists_compare_as_sets() {
    let bytes = hex(A);
    let advert = Advert::parse(v4(&bytes)).unwrap();
    for (ours, same) in [
        (&["192.0.2.1", "192.0.2.2"][..], true),
        (&["192.0.2.2", "192.0.2.1"], true),
        (&["192.0.2.1"], false),
        (&["192.0.2.1", "192.0.2.1"], false),
        (&["192.0.2.1", "192.0.2.2", "192.0.2.2"], false),
        (&["192.0.2.1", "192.0.2.3"], false),
        (&["192.0.2.1", "192.0.2.2", "192.0.2.3"], false),
        (&[], false),
    ] {
        assert_eq!(advert.lists(addresses(ours)), same, "{ours:?}");
    }
}

fn outgoing(form: AdvertForm) -> Outgoing {
    Outgoing {
        vrid: 10,
        priority: 200,
        interval: Centis::SECOND,
        source: SOURCE_V4,
        destination: crate::vrrp::GROUP_V4.into(),
        form,
    }
}

fn encoded(outgoing: &Outgoing, list: &[&str]) -> Result<Vec<u8>, Unsendable> {
    let mut buf = [0xa5; MESSAGE_BYTES_MAX];
    let mut w = Writer::new(&mut buf);
    encode(&mut w, outgoing, addresses(list))?;
    Ok(w.finish().unwrap().to_vec())
}

#[test]
fn encoding_yields_the_vectors() {
    let list = ["192.0.2.1", "192.0.2.2"];
    assert_eq!(encoded(&outgoing(AdvertForm::Rfc9568), &list), Ok(hex(A)));
    assert_eq!(encoded(&outgoing(AdvertForm::Rfc5798), &list), Ok(hex(B)));
    for form in [AdvertForm::Rfc9568, AdvertForm::Rfc5798] {
        let outgoing = Outgoing {
            priority: 100,
            source: "fe80::c8".parse().unwrap(),
            destination: crate::vrrp::GROUP_V6.into(),
            ..outgoing(form)
        };
        assert_eq!(encoded(&outgoing, &["fe80::1", "2001:db8::1"]), Ok(hex(C)));
    }
}

#[test]
fn what_the_parser_rejects_is_not_written() {
    let v4 = outgoing(AdvertForm::Rfc9568);
    let v6 = Outgoing {
        source: "fe80::c8".parse().unwrap(),
        destination: crate::vrrp::GROUP_V6.into(),
        ..v4
    };
    let mixed = Outgoing {
        destination: crate::vrrp::GROUP_V6.into(),
        ..v4
    };
    let many: Vec<&str> = std::vec!["192.0.2.1"; 256];
    assert_eq!(encoded(&v4, &[]), Err(Unsendable::NoAddress));
    assert_eq!(encoded(&v4, &many), Err(Unsendable::TooManyAddresses));
    assert!(encoded(&v4, &many[1..]).is_ok());
    assert_eq!(encoded(&v4, &["fe80::1"]), Err(Unsendable::Families));
    assert_eq!(encoded(&mixed, &["192.0.2.1"]), Err(Unsendable::Families));
    assert_eq!(
        encoded(&v6, &["2001:db8::1"]),
        Err(Unsendable::NotLinkLocal)
    );
    // And nothing of it stays behind.
    let mut buf = [0xa5; 64];
    let mut w = Writer::new(&mut buf);
    assert!(encode(&mut w, &v4, addresses(&["192.0.2.1", "fe80::1"])).is_err());
    assert!(encode_ipv4(&mut w, &v4, []).is_err());
    assert!(encode_ipv4(&mut w, &v6, addresses(&["fe80::1"])).is_err());
    assert!(w.is_empty());
}

fn packet(list: &[&str]) -> Vec<u8> {
    let mut buf = [0xa5; PACKET_V4_BYTES_MAX];
    let mut w = Writer::new(&mut buf);
    encode_ipv4(&mut w, &outgoing(AdvertForm::Rfc9568), addresses(list)).unwrap();
    w.finish().unwrap().to_vec()
}

#[test]
fn a_whole_ipv4_packet_there_and_back() {
    let bytes = packet(&["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        bytes[..20],
        hex("45 c0 0024 0000 0000 ff 70 179c c00002fb e0000012")
    );
    assert_eq!(Received::from_ipv4(&bytes), Ok(v4(&hex(A))));
    let many: Vec<&str> = std::vec!["192.0.2.1"; 255];
    assert_eq!(packet(&many).len(), PACKET_V4_BYTES_MAX);
}

/// A packet whose IPv4 header was changed, its header checksum made right.
fn header_changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = packet(&["192.0.2.1", "192.0.2.2"]);
    change(&mut bytes);
    bytes[10..12].fill(0);
    let end = (usize::from(bytes[0] & 0xf) * 4).min(bytes.len());
    let sum = ChecksumScope::Message.of(&bytes[..end]).to_be_bytes();
    bytes[10..12].copy_from_slice(&sum);
    bytes
}

#[test]
fn options_are_passed_over_wherever_the_header_ends() {
    for words in [6_u8, 15] {
        let extra = usize::from(words - 5) * 4;
        let bytes = header_changed(|b| {
            b[0] = 0x40 | words;
            b[3] += u8::try_from(extra).unwrap();
            b.splice(20..20, core::iter::repeat_n(1, extra));
        });
        let received = Received::from_ipv4(&bytes).unwrap();
        assert!(Advert::parse(received).is_ok());
        // A header that claims options the packet does not have eats the
        // message: IHL 6 leaves it headless, IHL 15 reaches beyond its end.
        let lying = header_changed(|b| b[0] = 0x40 | words);
        match Received::from_ipv4(&lying) {
            Ok(received) => assert!(Advert::parse(received).is_err()),
            Err(why) => assert!(matches!(why, Malformed::Header(_))),
        }
    }
}

#[test]
fn other_packets_are_not_ours() {
    let fragment = header_changed(|b| b[6] = 0x20);
    assert_eq!(Received::from_ipv4(&fragment), Err(Malformed::Fragment));
    let udp = header_changed(|b| b[9] = 17);
    assert_eq!(
        Received::from_ipv4(&udp),
        Err(Malformed::Protocol { found: 17 })
    );
    let whole = packet(&["192.0.2.1"]);
    for cut in 0..whole.len() {
        assert!(matches!(
            Received::from_ipv4(&whole[..cut]),
            Err(Malformed::Header(_))
        ));
    }
}

#[test]
fn seesaws_eight_bytes_are_its_own() {
    let terms = Terms {
        seesaw: true,
        ..Terms::RFC
    };
    // 192.0.2.251 -> 224.0.0.18, vrid 60, priority 255, every 500 ms; the sum by
    // scapy, with the pseudo-header.
    let bytes = hex("31 3c ff 00 0032 2c0a");
    let advert = Advert::parse_by(terms, v4(&bytes)).unwrap();
    assert_eq!((advert.vrid(), advert.priority()), (60, 255));
    assert_eq!(
        (advert.form(), advert.addresses().len()),
        (AdvertForm::Seesaw, 0)
    );
    assert_eq!(Advert::parse(v4(&bytes)), Err(Malformed::NoAddress));
    let mut again = [0xa5; 64];
    let mut w = Writer::new(&mut again);
    let outgoing = Outgoing {
        vrid: 60,
        priority: 255,
        interval: Centis::new(50).unwrap(),
        source: SOURCE_V4,
        destination: crate::vrrp::GROUP_V4.into(),
        form: AdvertForm::Seesaw,
    };
    encode(&mut w, &outgoing, addresses(&["192.0.2.1", "192.0.2.2"])).unwrap();
    assert_eq!(w.finish().unwrap(), &bytes[..]);
    // It hears no other, whatever its checksum covers.
    for other in [A, B] {
        let why = Advert::parse_by(terms, v4(&hex(other))).unwrap_err();
        assert!(matches!(why, Malformed::Length { wanted: 8, .. }), "{why}");
    }
    let message_only = hex("31 3c ff 00 0032 cf90");
    let why = Advert::parse_by(terms, v4(&message_only)).unwrap_err();
    assert!(matches!(why, Malformed::Checksum { .. }), "{why}");
}
