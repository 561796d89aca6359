//! Adverts as others make them: scapy's in `golden/vrrp/vectors.txt`, and what
//! keepalived really sends in `golden/vrrp/keepalived-*.hex`. The programs that
//! made these files are in `oracle/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod vectors;

use std::net::IpAddr;
use trunnion_core::bytes::Writer;
use trunnion_core::vrrp::advert::{self, MESSAGE_BYTES_MAX, Outgoing};
use trunnion_core::vrrp::{Advert, AdvertForm, Malformed, Received, Router, RouterConfig};
use trunnion_core::wire::Ipv6Packet;
use vectors::{Accept, Reject, bytes, vectors};

fn encoded(outgoing: &Outgoing, addresses: &[IpAddr]) -> Vec<u8> {
    let mut buffer = [0xa5; MESSAGE_BYTES_MAX];
    let mut w = Writer::new(&mut buffer);
    advert::encode(&mut w, outgoing, addresses.iter().copied()).unwrap();
    w.finish().unwrap().to_vec()
}

#[test]
fn we_write_what_scapy_writes() {
    let (accept, _) = vectors();
    assert!(accept.len() > 15);
    for vector in accept {
        let ours = encoded(&vector.outgoing, &vector.addresses);
        assert_eq!(ours, vector.message, "{}", vector.name);
    }
}

#[test]
fn we_read_what_scapy_writes() {
    let (accept, _) = vectors();
    for Accept {
        name,
        outgoing,
        addresses,
        message,
    } in accept
    {
        let packet = Received {
            source: outgoing.source,
            destination: outgoing.destination,
            ttl: 255,
            payload: &message,
        };
        let advert = Advert::parse(packet).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(advert.vrid(), outgoing.vrid, "{name}");
        assert_eq!(advert.priority(), outgoing.priority, "{name}");
        assert_eq!(advert.interval(), outgoing.interval, "{name}");
        assert_eq!(advert.form(), outgoing.form, "{name}");
        assert!(advert.addresses().eq(addresses.iter().copied()), "{name}");
    }
}

#[test]
fn we_reject_each_wrong_one_for_its_reason_and_no_timer_moves() {
    let (_, reject) = vectors();
    assert!(reject.len() > 70);
    for Reject {
        name,
        source,
        destination,
        ttl,
        message,
        reason,
    } in reject
    {
        let packet = Received {
            source,
            destination,
            ttl,
            payload: &message,
        };
        // There is no advert to hand to a router: that is the whole proof that
        // its timers stay as they are.
        let why: Malformed = Advert::parse(packet).expect_err(&name);
        assert_eq!(why.text(), reason, "{name}: {why}");
    }
}

/// What keepalived was configured with, by the name of its file.
struct Peer {
    file: &'static str,
    packet: &'static str,
    vrid: u8,
    priority: u8,
    interval_cs: u16,
    addresses: &'static [&'static str],
}

macro_rules! keepalived {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../golden/vrrp/keepalived-", $name, ".hex")),
        )
    };
}

fn peers() -> Vec<Peer> {
    const TWO: &[&str] = &["192.0.2.1", "192.0.2.2"];
    const SIX: &[&str] = &["fe80::1", "2001:db8::1"];
    let peer = |(file, packet), vrid, priority, interval_cs, addresses| Peer {
        file,
        packet,
        vrid,
        priority,
        interval_cs,
        addresses,
    };
    vec![
        peer(keepalived!("two"), 10, 200, 100, TWO),
        peer(keepalived!("two-resigns"), 10, 0, 100, TWO),
        peer(keepalived!("fast"), 11, 1, 1, &["198.51.100.1"]),
        peer(keepalived!("fast-resigns"), 11, 0, 1, &["198.51.100.1"]),
        peer(keepalived!("slow"), 12, 255, 4095, &["198.51.100.2"]),
        peer(keepalived!("slow-resigns"), 12, 0, 4095, &["198.51.100.2"]),
        peer(keepalived!("six"), 10, 100, 100, SIX),
        peer(keepalived!("six-resigns"), 10, 0, 100, SIX),
    ]
}

/// A packet of either family, taken apart by core's readers.
fn received(packet: &[u8]) -> Received<'_> {
    if packet[0] >> 4 == 4 {
        return Received::from_ipv4(packet).unwrap();
    }
    let packet = Ipv6Packet::parse(packet).unwrap();
    Received {
        source: packet.header.source.into(),
        destination: packet.header.destination.into(),
        ttl: packet.header.hop_limit,
        payload: packet.payload,
    }
}

#[test]
fn we_understand_keepalived() {
    for peer in peers() {
        let packet = bytes(peer.packet);
        let received = received(&packet);
        let advert = Advert::parse(received).unwrap_or_else(|why| panic!("{}: {why}", peer.file));
        assert_eq!(advert.vrid(), peer.vrid, "{}", peer.file);
        assert_eq!(advert.priority(), peer.priority, "{}", peer.file);
        assert_eq!(advert.interval().get(), peer.interval_cs, "{}", peer.file);
        let addresses = peer.addresses.iter().map(|a| a.parse::<IpAddr>().unwrap());
        assert!(advert.lists(addresses.clone()), "{}", peer.file);
        // It sums IPv4 with a pseudo-header; over IPv6 there is one way.
        let form = match received.source {
            IpAddr::V4(_) => AdvertForm::Rfc5798,
            IpAddr::V6(_) => AdvertForm::Rfc9568,
        };
        assert_eq!(advert.form(), form, "{}", peer.file);
    }
}

#[test]
fn in_its_form_we_write_what_keepalived_writes() {
    for peer in peers() {
        let packet = bytes(peer.packet);
        let received = received(&packet);
        let advert = Advert::parse(received).unwrap();
        let outgoing = Outgoing {
            vrid: peer.vrid,
            priority: peer.priority,
            interval: advert.interval(),
            source: received.source,
            destination: received.destination,
            form: AdvertForm::Rfc5798,
        };
        let addresses: Vec<IpAddr> = peer.addresses.iter().map(|a| a.parse().unwrap()).collect();
        let ours = encoded(&outgoing, &addresses);
        assert_eq!(ours, received.payload, "{}", peer.file);
        if received.source.is_ipv6() {
            continue;
        }
        // The whole packet, but for what the kernel fills in: identification
        // and header checksum.
        let mut buffer = [0xa5; 64];
        let mut w = Writer::new(&mut buffer);
        advert::encode_ipv4(&mut w, &outgoing, addresses).unwrap();
        let ours = w.finish().unwrap();
        let blank = |packet: &[u8]| {
            let mut packet = packet.to_vec();
            packet[4..6].fill(0);
            packet[10..12].fill(0);
            packet
        };
        assert_eq!(blank(ours), blank(&packet), "{}", peer.file);
    }
}

#[test]
fn version_2_of_keepalived_is_told_as_such() {
    for (file, packet) in [keepalived!("version-2"), keepalived!("version-2-resigns")] {
        let packet = bytes(packet);
        let why = Advert::parse(received(&packet)).unwrap_err();
        assert_eq!(why, Malformed::Version { found: 2 }, "{file}");
    }
}

#[test]
fn a_router_of_ours_heeds_keepalived_and_takes_over_when_it_resigns() {
    use trunnion_core::time::Instant;
    use trunnion_core::vrrp::{Reason, Role};
    let peers = peers();
    let packets = [bytes(peers[0].packet), bytes(peers[1].packet)];
    let primary = "192.0.2.250".parse().unwrap();
    let mut router = Router::new(RouterConfig::new(10, trunnion_core::model::Family::V4));
    let _ = router.handle_startup(Instant::ZERO, None);
    let mut now = Instant::ZERO;
    for packet in &packets {
        now = router.poll_timeout().unwrap();
        let received = received(packet);
        let advert = Advert::parse(received).unwrap();
        let actions = router.handle_advert(now, &advert, received.source, primary);
        assert_eq!(actions.transition, None);
        assert_eq!(router.handle_timeout(now).transition, None);
    }
    assert_eq!(router.counters().received_rfc5798, 2);
    let at = router.poll_timeout().unwrap();
    // The skew of priority 100: 156/256 s.
    assert_eq!(at.since(now).as_nanos(), 609_375_000);
    let why = router.handle_timeout(at).transition.unwrap();
    assert_eq!((why.to, why.why), (Role::Active, Reason::ActiveResigned));
}
