//! Rows a kernel sent, requests byte by byte, and bytes nobody would send.

use super::*;
use crate::bytes::{NativeEndian, Reader};
use crate::model::Family;
use crate::netlink::{Batch, Errno, Fault, Header, Message, Messages, Reply};
use crate::wire::MacAddress;
use core::net::IpAddr;
use proptest::prelude::*;
use std::string::ToString;
use std::vec::Vec;

mod links;

/// `rows.hex` as one datagram.
fn rows() -> Vec<u8> {
    let digits: Vec<u8> = include_str!("rows.hex")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.bytes())
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty());
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn events(datagram: &[u8]) -> Result<Vec<Option<Event>>, crate::netlink::Malformed> {
    Messages::new(datagram)
        .map(|message| {
            let message = message?;
            decode(message.header.kind, message.body, message.offset)
        })
        .collect()
}

fn index(index: u32) -> InterfaceIndex {
    InterfaceIndex::new(index).unwrap()
}

fn an_address(text: &str, prefix: u8) -> InterfaceAddress {
    InterfaceAddress {
        interface: index(3),
        address: text.parse().unwrap(),
        prefix,
        flags: AddressFlags::NODAD | AddressFlags::NOPREFIXROUTE,
        scope: Scope::UNIVERSE,
        protocol: AddressProtocol::TRUNNION,
    }
}

#[test]
fn a_kernels_rows_say_what_ip_addr_says() {
    let found: Vec<Event> = events(&rows()).unwrap().into_iter().flatten().collect();
    let text: Vec<_> = found
        .iter()
        .map(|event| match event {
            Event::Address(a) => std::format!(
                "{} {a} {:?} {:?} {:?}",
                a.interface,
                a.flags,
                a.scope,
                a.protocol
            ),
            Event::Link(link) => std::format!(
                "{}: {} {:?} {:?} {:?} mtu {} upper {:?} kind {:?}",
                link.index,
                link.name,
                link.mac,
                link.flags,
                link.state,
                link.mtu,
                link.upper,
                link.kind.as_ref().map(LinkName::to_string),
            ),
            other @ (Event::AddressGone(_) | Event::LinkGone(_)) => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        text,
        [
            "1 127.0.0.1/8 AddressFlags(PERMANENT) HOST UNSPECIFIED",
            "3 192.0.2.10/24 AddressFlags(PERMANENT) UNIVERSE UNSPECIFIED",
            "3 192.0.2.20/32 AddressFlags(PERMANENT) UNIVERSE UNSPECIFIED",
            "1 ::1/128 AddressFlags(PERMANENT) HOST KERNEL_LO",
            "3 2001:db8::70/128 AddressFlags(NODAD | PERMANENT | NOPREFIXROUTE) UNIVERSE TRUNNION",
            "3 2001:db8::20/128 AddressFlags(NODAD | PERMANENT) UNIVERSE UNSPECIFIED",
            "3 2001:db8::10/128 AddressFlags(NODAD | PERMANENT | NOPREFIXROUTE) UNIVERSE UNSPECIFIED",
            "1: lo Some(00:00:00:00:00:00) LinkFlags(UP | LOOPBACK | RUNNING | LOWER_UP) UNKNOWN \
             mtu 65536 upper None kind None",
            "2: vb Some(2a:00:36:f0:5f:46) LinkFlags(BROADCAST | MULTICAST) DOWN \
             mtu 1500 upper Some(4) kind Some(\"veth\")",
            "3: va Some(02:00:00:00:00:0a) LinkFlags(UP | BROADCAST | MULTICAST) LOWER_LAYER_DOWN \
             mtu 1400 upper None kind Some(\"veth\")",
            "4: br0 Some(2a:00:36:f0:5f:46) LinkFlags(BROADCAST | MULTICAST) DOWN \
             mtu 1500 upper None kind Some(\"bridge\")",
        ]
    );
}

#[test]
fn requests_byte_by_byte() {
    let mut buf = [0xa5; 512];
    let mut batch = Batch::new(&mut buf, 7);
    request::add_address(&mut batch, &an_address("192.0.2.10", 32), "").unwrap();
    request::delete_address(&mut batch, index(3), "192.0.2.10".parse().unwrap(), 32).unwrap();
    request::dump_addresses(&mut batch, Some(Family::V6)).unwrap();
    request::dump_addresses(&mut batch, None).unwrap();
    request::dump_links(&mut batch).unwrap();
    let last = request::get_link(&mut batch, &"eth0".parse().unwrap()).unwrap();
    assert_eq!(last, 12);
    let bytes = batch.finish();
    let mut messages = Messages::new(bytes).map(|message| {
        let message = message.unwrap();
        let Header {
            kind, flags, seq, ..
        } = message.header;
        (kind.0, flags.bits(), seq, Vec::from(message.body.peek()))
    });
    // Fixed-width numbers in host order, so that the expectation reads on any
    // machine.
    let body = |parts: &[&[u8]]| parts.concat();
    let attribute = |len: u16, kind: u16| [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    let three = 3_u32.to_ne_bytes();
    let vip = [192, 0, 2, 10];
    assert_eq!(
        messages.next().unwrap(),
        (
            20,
            // REQUEST | EXCL | CREATE
            0x601,
            7,
            body(&[
                &[2, 32, 0x02, 0],
                &three,
                &attribute(8, 2),
                &vip,
                &attribute(8, 1),
                &vip,
                &attribute(8, 8),
                &0x202_u32.to_ne_bytes(),
                &attribute(5, 11),
                &[112, 0, 0, 0],
            ])
        )
    );
    assert_eq!(
        messages.next().unwrap(),
        (
            21,
            0x001,
            8,
            body(&[
                &[2, 32, 0, 0],
                &three,
                &attribute(8, 2),
                &vip,
                &attribute(8, 1),
                &vip
            ])
        )
    );
    let dump = |family| Vec::from([family, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(messages.next().unwrap(), (22, 0x301, 9, dump(10)));
    assert_eq!(messages.next().unwrap(), (22, 0x301, 10, dump(0)));
    let links = body(&[&[0; 16], &attribute(8, 29), &8_u32.to_ne_bytes()]);
    assert_eq!(messages.next().unwrap(), (18, 0x301, 11, links.clone()));
    let name = body(&[&attribute(20, 3), b"eth0\0\0\0\0\0\0\0\0\0\0\0\0"]);
    assert_eq!(
        messages.next().unwrap(),
        (18, 0x001, 12, body(&[&links, &name]))
    );
    assert_eq!(messages.next(), None);
}

/// The kernel passes over `IFA_F_DEPRECATED` in a request.
#[test]
fn an_address_never_preferred_says_so_by_its_lifetimes() {
    let mut address = an_address("2001:db8::1", 128);
    let mut write = |flags| {
        address.flags = flags;
        let mut buf = [0; 512];
        let mut batch = Batch::new(&mut buf, 0);
        request::add_address(&mut batch, &address, "").unwrap();
        Vec::from(batch.finish())
    };
    let plain = write(AddressFlags::NODAD);
    let deprecated = write(AddressFlags::NODAD | AddressFlags::DEPRECATED);
    let mut lifetimes = [20_u16.to_ne_bytes(), 6_u16.to_ne_bytes()].concat();
    lifetimes.extend(0_u32.to_ne_bytes());
    lifetimes.extend(u32::MAX.to_ne_bytes());
    lifetimes.extend([0; 8]);
    assert_eq!(deprecated.len(), plain.len() + lifetimes.len());
    let has = |bytes: &[u8]| bytes.windows(20).any(|window| window == lifetimes);
    assert!(has(&deprecated) && !has(&plain));
}

#[test]
fn a_label_is_of_ipv4_and_is_cut_to_what_the_kernel_takes() {
    let write = |address: &str, label: &str| {
        let mut buf = [0; 512];
        let mut batch = Batch::new(&mut buf, 0);
        request::add_address(&mut batch, &an_address(address, 32), label).unwrap();
        Vec::from(batch.finish())
    };
    let shows = |bytes: &[u8], label: &[u8]| bytes.windows(label.len()).any(|w| w == label);
    // Length 20, IFA_LABEL 3, 15 bytes and a NUL.
    let whole = b"\x14\0\x03\0eth0:vip\0\0\0\0\0\0\0\0";
    assert!(shows(&write("192.0.2.10", "eth0:vip"), whole));
    assert!(shows(
        &write("192.0.2.10", "a-label-too-long-by-9"),
        b"a-label-too-lon\0"
    ));
    let none = write("192.0.2.10", "");
    assert!(!shows(&none, b"\x14\0\x03\0"));
    assert_eq!(write("2001:db8::1", "eth0:vip"), write("2001:db8::1", ""));
}

#[test]
fn the_longest_request_is_as_long_as_said() {
    let mut buf = [0; 512];
    let mut batch = Batch::new(&mut buf, 0);
    let mut longest = an_address("2001:db8::1", 128);
    longest.flags |= AddressFlags::DEPRECATED;
    request::add_address(&mut batch, &longest, "").unwrap();
    assert_eq!(batch.finish().len(), REQUEST_BYTES_MAX);
    let mut batch = Batch::new(&mut buf, 0);
    let longest = "fifteen-bytes-x".parse().unwrap();
    request::get_link(&mut batch, &longest).unwrap();
    assert!(batch.finish().len() <= REQUEST_BYTES_MAX);
    let mut small = [0; 64];
    let mut batch = Batch::new(&mut small, 0);
    let full = request::add_address(&mut batch, &an_address("2001:db8::1", 128), "");
    assert_eq!(full, Err(Refused::Full));
    assert!(batch.is_empty());
}

#[test]
fn addresses_of_no_interface_are_refused() {
    let mut buf = [0; 512];
    let mut batch = Batch::new(&mut buf, 0);
    for (address, prefix, refused) in [
        (
            "192.0.2.1",
            33,
            Refused::Prefix {
                prefix: 33,
                most: 32,
            },
        ),
        (
            "2001:db8::1",
            129,
            Refused::Prefix {
                prefix: 129,
                most: 128,
            },
        ),
        ("0.0.0.0", 0, Refused::Address),
        ("::", 128, Refused::Address),
        ("224.0.0.18", 32, Refused::Address),
        ("ff02::12", 128, Refused::Address),
    ] {
        let it = an_address(address, prefix);
        assert_eq!(request::add_address(&mut batch, &it, ""), Err(refused));
        let deleted = request::delete_address(&mut batch, it.interface, it.address, prefix);
        assert_eq!(deleted, Err(refused));
    }
    assert!(batch.is_empty());
}

/// A message with this body as the kernel would send it.
fn message(kind: Command, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let len = u32::try_from(16 + body.len()).unwrap();
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.0.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes
}

#[test]
fn a_bridge_speaking_of_its_ports_says_nothing_of_links() {
    let all = rows();
    let link = Messages::new(&all).last().unwrap().unwrap();
    let mut body = Vec::from(link.body.peek());
    let gone = events(&message(Command::DELLINK, &body)).unwrap();
    assert!(matches!(gone[..], [Some(Event::LinkGone(_))]));
    const AF_BRIDGE: u8 = 7;
    body[0] = AF_BRIDGE;
    assert_eq!(
        events(&message(Command::DELLINK, &body)),
        Ok(std::vec![None])
    );
    assert_eq!(events(&message(Command(24), &body)), Ok(std::vec![None]));
    // An address of MPLS, say.
    let other = [28, 20, 0, 0, 1, 0, 0, 0];
    assert_eq!(
        events(&message(Command::NEWADDR, &other)),
        Ok(std::vec![None])
    );
}

#[test]
fn what_is_wrong_is_named() {
    let good = [2, 32, 0, 0, 3, 0, 0, 0, 8, 0, 2, 0, 192, 0, 2, 1];
    let what = |body: &[u8]| events(&message(Command::NEWADDR, body)).unwrap_err();
    assert!(events(&message(Command::NEWADDR, &good)).is_ok());
    let mut bad = good;
    bad[1] = 33;
    assert_eq!(
        (what(&bad).what, what(&bad).fault),
        ("ifa_prefixlen", Fault::Value(33))
    );
    let mut bad = good;
    bad[4] = 0;
    assert_eq!(what(&bad).what, "ifa_index");
    let mut bad = good;
    bad[0] = 10;
    assert_eq!(what(&bad).fault, Fault::Length { wanted: 16, had: 4 });
    assert_eq!(
        (what(&good[..8]).what, what(&good[..8]).fault),
        ("IFA_ADDRESS", Fault::Missing)
    );
    for cut in 0..good.len() {
        assert!(
            events(&message(Command::NEWADDR, &good[..cut])).is_err(),
            "{cut}"
        );
    }
    let nameless = events(&message(
        Command::NEWLINK,
        &[0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ));
    assert_eq!(nameless.unwrap_err().what, "IFLA_IFNAME");
}

#[test]
fn a_mac_of_another_length_is_none() {
    // InfiniBand has 20 bytes, a tunnel 4.
    let mut body = Vec::from([0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([6, 0, 3, 0, b'x', 0, 0, 0, 8, 0, 1, 0, 1, 2, 3, 4]);
    match events(&message(Command::NEWLINK, &body)).unwrap()[..] {
        [Some(Event::Link(ref link))] => assert_eq!((link.mac, link.mtu), (None, 0)),
        ref other => panic!("{other:?}"),
    }
    body[18 - 2 + 10] = 1;
    let mut six = body[..24].to_vec();
    six.extend([10, 0, 1, 0, 1, 2, 3, 4, 5, 6, 0, 0]);
    match events(&message(Command::NEWLINK, &six)).unwrap()[..] {
        [Some(Event::Link(ref link))] => {
            assert_eq!(link.mac, Some(MacAddress([1, 2, 3, 4, 5, 6])));
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn answers_mean_something() {
    assert_eq!(added(Ok(())), Ok(Effect::Changed));
    assert_eq!(added(Err(Errno::EEXIST)), Ok(Effect::AlreadySo));
    assert_eq!(added(Err(Errno::EADDRNOTAVAIL)), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(deleted(Ok(())), Ok(Effect::Changed));
    for errno in [Errno::EADDRNOTAVAIL, Errno::ENODEV, Errno::ENXIO] {
        assert_eq!(deleted(Err(errno)), Ok(Effect::AlreadySo));
    }
    assert_eq!(deleted(Err(Errno::EEXIST)), Err(Errno::EEXIST));
    assert!(meaning(Command::NEWADDR, Errno::EACCES).contains("disable_ipv6"));
    assert!(meaning(Command::DELADDR, Errno::EADDRNOTAVAIL).contains("no such address"));
}

#[test]
fn every_truncation_and_every_flipped_bit_of_real_rows() {
    let rows = rows();
    let all = laws::decode_any(&rows);
    assert_eq!(all, 11);
    let (first, _) = rows.split_at(rows.len() / 2);
    assert!(laws::decode_any(first) < all);
    for row in Messages::new(&rows) {
        let Message { header, body, .. } = row.unwrap();
        let row = message(Command(header.kind.0), body.peek());
        assert_eq!(laws::decode_any(&row), 1);
        for cut in 0..row.len() {
            assert_eq!(laws::decode_any(&row[..cut]), 0);
        }
        for at in 0..row.len() {
            // Of a link's row most is statistics and unknown to us.
            for bit in (0..8).filter(|bit| at < 128 || at % 8 == *bit) {
                let mut row = row.clone();
                row[at] ^= 1 << bit;
                laws::decode_any(&row);
            }
        }
    }
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

proptest! {
    #[test]
    fn any_address_survives_being_added(
        address in any_ip(), prefix: u8, interface in 1..=i32::MAX.cast_unsigned(),
        flags: u32, scope: u8, protocol: u8,
    ) {
        let most = Family::of(&address).bits();
        laws::round_trip(&InterfaceAddress {
            interface: index(interface),
            address,
            prefix: prefix % (most + 1),
            flags: AddressFlags::from_bits_retain(flags),
            scope: Scope(scope),
            protocol: AddressProtocol(protocol),
        });
    }

    #[test]
    fn any_body_of_any_command(
        kind in 15..24_u16, body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        laws::decode_any(&message(Command(kind), &body));
        laws::decode_any(&body);
    }

    #[test]
    fn any_attributes_after_a_good_header(
        head in prop::sample::select(std::vec![
            (Command::NEWADDR, Vec::from([2_u8, 24, 0, 0, 3, 0, 0, 0])),
            (Command::DELADDR, Vec::from([10_u8, 64, 0, 0, 3, 0, 0, 0])),
            (Command::NEWLINK, Vec::from([0_u8, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])),
        ]),
        attributes in prop::collection::vec(
            (0..32_u16, prop::collection::vec(any::<u8>(), 0..24)), 0..6),
    ) {
        let (kind, mut body) = head;
        for (number, value) in attributes {
            let len = u16::try_from(value.len() + 4).unwrap();
            body.extend(len.to_ne_bytes());
            body.extend(number.to_ne_bytes());
            body.extend(&value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        laws::decode_any(&message(kind, &body));
    }
}

#[test]
fn replies_are_framed_by_netlink() {
    // A notification is `Reply::Data` with sequence number 0.
    let bytes = message(
        Command::NEWADDR,
        &[2, 32, 0, 0, 3, 0, 0, 0, 8, 0, 2, 0, 192, 0, 2, 1],
    );
    let reply = Messages::new(&bytes).next().unwrap().unwrap();
    match Reply::parse(&reply).unwrap() {
        Reply::Data {
            seq,
            kind,
            body,
            offset,
            ..
        } => {
            assert_eq!((seq, kind), (0, Command::NEWADDR.message_type()));
            let event = decode(kind, body, offset).unwrap().unwrap();
            let Event::Address(address) = event else {
                panic!("{event:?}")
            };
            assert_eq!(address.to_string(), "192.0.2.1/32");
        }
        other @ (Reply::Ack { .. } | Reply::Done { .. } | Reply::Noop | Reply::Overrun) => {
            panic!("{other:?}")
        }
    }
    let mut r = Reader::new(&bytes);
    assert_eq!(r.u32::<NativeEndian>("nlmsg_len"), Ok(32));
}
