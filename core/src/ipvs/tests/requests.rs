//! Every attribute of every request, by a walker of its own.

use super::*;
use crate::netlink::Batch;
use crate::netlink::genl::FamilyId;
use crate::reconcile::Change;
use std::collections::BTreeMap;
use std::string::ToString;

/// (nest, kind) -> value.
pub(super) type Walked = BTreeMap<(u16, u16), Vec<u8>>;

pub(super) const FAMILY: FamilyId = FamilyId(30);

fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(raw[at..at + 2].try_into().unwrap())
}

fn attributes(mut raw: &[u8], mut each: impl FnMut(u16, &[u8])) {
    while !raw.is_empty() {
        let len = usize::from(u16_at(raw, 0));
        each(u16_at(raw, 2), &raw[4..len]);
        let padded = len.next_multiple_of(4);
        assert!(raw[len..padded].iter().all(|b| *b == 0), "padding is zero");
        raw = &raw[padded..];
    }
}

/// Header checked, command returned, attributes walked; none comes twice.
pub(super) fn walk(raw: &[u8], seq: u32, flags: u16) -> (u8, Walked) {
    let total = u32::from_ne_bytes(raw[..4].try_into().unwrap());
    assert_eq!(usize::try_from(total).unwrap(), raw.len());
    assert_eq!((u16_at(raw, 4), u16_at(raw, 6)), (30, flags));
    assert_eq!(raw[8..12], seq.to_ne_bytes());
    assert_eq!(raw[12..16], [0; 4]);
    assert_eq!(raw[17..20], [1, 0, 0]);
    let mut found = Walked::new();
    attributes(&raw[20..], |kind, value| {
        if kind & 0x8000 == 0 {
            assert_eq!(found.insert((0, kind), value.to_vec()), None);
            return;
        }
        let nest = kind & 0x3fff;
        attributes(value, |kind, value| {
            assert_eq!(kind & 0xc000, 0);
            assert_eq!(found.insert((nest, kind), value.to_vec()), None);
        });
    });
    (raw[16], found)
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn af(address: &IpAddr) -> Vec<u8> {
    let number: u16 = if address.is_ipv4() { 2 } else { 10 };
    number.to_ne_bytes().to_vec()
}

fn expect_key(walked: &mut Walked, key: &ServiceKey) {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            walked.insert((1, 1), af(address));
            walked.insert((1, 2), u16::from(protocol.0).to_ne_bytes().to_vec());
            walked.insert((1, 3), octets(address));
            walked.insert((1, 4), port.to_be_bytes().to_vec());
        }
        ServiceKey::Fwmark { mark, family } => {
            walked.insert((1, 1), u16::from(family.number()).to_ne_bytes().to_vec());
            walked.insert((1, 5), mark.to_ne_bytes().to_vec());
        }
    }
}

fn expect_service(walked: &mut Walked, service: &Service) {
    expect_key(walked, &service.key);
    let c_string = |name: &str| [name.as_bytes(), &[0]].concat();
    walked.insert((1, 6), c_string(&service.scheduler));
    if !service.engine.is_empty() {
        walked.insert((1, 11), c_string(&service.engine));
    }
    let flags = service.flags.bits() & !2;
    walked.insert(
        (1, 7),
        [flags.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat(),
    );
    walked.insert((1, 8), service.timeout_s.to_ne_bytes().to_vec());
    let netmask = match service.key.family() {
        Family::V4 => {
            let bits = u32::MAX.checked_shl(32 - u32::from(service.prefix));
            bits.unwrap_or(0).to_be_bytes()
        }
        Family::V6 => u32::from(service.prefix).to_ne_bytes(),
    };
    walked.insert((1, 9), netmask.to_vec());
}

fn expect_destination(walked: &mut Walked, of: Family, to: &Destination) {
    expect_destination_key(walked, of, &to.key);
    walked.insert((2, 3), u32::from(to.forward.0).to_ne_bytes().to_vec());
    walked.insert((2, 4), to.weight.to_ne_bytes().to_vec());
    walked.insert((2, 5), to.upper_threshold.to_ne_bytes().to_vec());
    walked.insert((2, 6), to.lower_threshold.to_ne_bytes().to_vec());
    let Tunnel { kind, port, flags } = to.tunnel;
    if (kind.0, port, flags.bits()) != (0, 0, 0) {
        walked.insert((2, 13), std::vec![kind.0]);
        walked.insert((2, 14), port.to_be_bytes().to_vec());
        walked.insert((2, 15), flags.bits().to_ne_bytes().to_vec());
    }
}

fn expect_destination_key(walked: &mut Walked, of: Family, key: &DestinationKey) {
    walked.insert((2, 1), octets(&key.address));
    walked.insert((2, 2), key.port.to_be_bytes().to_vec());
    if key.address.is_ipv4() != (of == Family::V4) {
        walked.insert((2, 11), af(&key.address));
    }
}

/// Whether the rules of this room allow it, in the test's own words.
fn allowed_service(service: &Service) -> bool {
    let prefix_ok = match service.key.family() {
        Family::V4 => service.prefix <= 32,
        Family::V6 => (1..=128).contains(&service.prefix),
    };
    prefix_ok
        && !matches!(service.key, ServiceKey::Fwmark { mark: 0, .. })
        && !service.scheduler.is_empty()
        && !service.scheduler.contains('\0')
        && !service.engine.contains('\0')
        && service.timeout_s <= 4_294_967
}

fn allowed_destination(key: &ServiceKey, to: &Destination) -> bool {
    let v4 = to.key.address.is_ipv4();
    let mixed = v4 != (key.family() == Family::V4);
    let raw = octets(&to.key.address);
    let host = if v4 {
        raw != [0; 4] && raw != [255; 4] && raw[0] & 0xf0 != 0xe0
    } else {
        raw != [0; 16] && raw[0] != 0xff
    };
    host && !matches!(key, ServiceKey::Fwmark { mark: 0, .. })
        && (!mixed || to.forward.0 == 2)
        && to.forward.0 <= 4
        && to.weight <= 0x7fff_ffff
        && to.upper_threshold <= 0x7fff_ffff
        && to.lower_threshold <= to.upper_threshold
        && to.tunnel.kind.0 <= 2
        && (to.tunnel.kind.0 != 1 || to.tunnel.port != 0)
}

/// Encodes one change and compares it with the test's own expectation.
fn check(change: &Change<'_>) {
    let key_ok = |key: &ServiceKey| !matches!(key, ServiceKey::Fwmark { mark: 0, .. });
    let mut expect = Walked::new();
    let (allowed, expect_command) = match change {
        Change::AddService(it) | Change::SetService(it) => {
            let allowed = allowed_service(it);
            if allowed {
                expect_service(&mut expect, it);
            }
            let set = matches!(change, Change::SetService(_));
            (allowed, if set { 2 } else { 1 })
        }
        Change::AddDestination(key, it) | Change::SetDestination(key, it) => {
            expect_key(&mut expect, key);
            expect_destination(&mut expect, key.family(), it);
            let set = matches!(change, Change::SetDestination(..));
            (allowed_destination(key, it), if set { 6 } else { 5 })
        }
        Change::DeleteDestination(key, it) => {
            expect_key(&mut expect, key);
            expect_destination_key(&mut expect, key.family(), it);
            (key_ok(key), 7)
        }
        Change::DeleteService(key) => {
            expect_key(&mut expect, key);
            (key_ok(key), 3)
        }
    };
    let mut buf = [0xa5; 512];
    let mut batch = Batch::new(&mut buf, 77);
    let result = request::change(&mut batch, FAMILY, change);
    if allowed {
        assert_eq!(result, Ok(77), "{change:?}");
        assert_eq!(walk(batch.finish(), 77, 1), (expect_command, expect));
    } else {
        assert!(
            result.is_err() && result != Err(Refused::Full),
            "{change:?}"
        );
        assert!(batch.is_empty());
        assert_eq!(batch.finish(), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_change_is_what_a_stranger_reads(
        key in service_key(), service in any_service(), destination in any_destination()
    ) {
        check(&Change::AddService(&service));
        check(&Change::SetService(&service));
        check(&Change::DeleteService(&key));
        check(&Change::AddDestination(&key, &destination));
        check(&Change::SetDestination(&key, &destination));
        check(&Change::DeleteDestination(&key, &destination.key));
    }
}

fn tcp(address: &str) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::TCP,
        address: address.parse().unwrap(),
        port: 80,
    }
}

fn plain_service(key: ServiceKey) -> Service {
    Service::new(key, SchedulerName::try_from("wrr").unwrap())
}

fn plain_destination(address: &str) -> Destination {
    let key = DestinationKey {
        address: address.parse().unwrap(),
        port: 80,
    };
    Destination::new(key, Forward::MASQ, 1)
}

#[test]
fn each_rule_has_its_words() {
    let mut buf = [0; 512];
    let mut words = |change: Change<'_>| {
        let mut batch = Batch::new(&mut buf, 1);
        request::change(&mut batch, FAMILY, &change)
            .unwrap_err()
            .to_string()
    };
    let mut of_service = |edit: fn(&mut Service)| {
        let mut it = plain_service(tcp("2001:db8::1"));
        edit(&mut it);
        words(Change::AddService(&it))
    };
    assert_eq!(
        of_service(|s| s.key = ServiceKey::Fwmark {
            mark: 0,
            family: Family::V4
        }),
        "firewall mark 0 names no service: use 1 or above"
    );
    assert_eq!(
        of_service(|s| s.prefix = 0),
        "persistence prefix of 0 bits must be 0..=32 (ipv4) or 1..=128 (ipv6)"
    );
    assert_eq!(
        of_service(|s| s.timeout_s = 4_294_968),
        "persistence timeout of 4294968 s is above 4294967 s"
    );
    assert_eq!(
        of_service(|s| s.scheduler.clear()),
        "scheduler needs a name of 1 to 15 bytes without NUL: use rr or wrr"
    );
    assert_eq!(
        of_service(|s| s.engine.push('\0').unwrap()),
        "persistence engine must not have a NUL in its name"
    );
    let key = tcp("192.0.2.1");
    let mut of_destination = |edit: fn(&mut Destination)| {
        let mut it = plain_destination("192.0.2.7");
        edit(&mut it);
        words(Change::SetDestination(&key, &it))
    };
    let v6: fn(&mut Destination) = |d| d.key.address = "2001:db8::1".parse().unwrap();
    assert_eq!(
        of_destination(v6),
        "destination of the other address family must use a tunnel"
    );
    assert_eq!(
        of_destination(|d| d.key.address = "224.0.0.1".parse().unwrap()),
        "destination must be the address of one host"
    );
    assert_eq!(
        of_destination(|d| d.forward = Forward(5)),
        "forwarding method 5 must be 0..=4: use masq, tunnel or route"
    );
    assert_eq!(
        of_destination(|d| d.weight = 0x8000_0000),
        "weight 2147483648 is above 2147483647"
    );
    assert_eq!(
        of_destination(|d| d.upper_threshold = 0x8000_0000),
        "upper threshold 2147483648 is above 2147483647"
    );
    assert_eq!(
        of_destination(|d| d.lower_threshold = 1),
        "lower threshold 1 is above the upper threshold 0"
    );
    assert_eq!(
        of_destination(|d| d.tunnel.kind = TunnelType(3)),
        "tunnel type 3 must be 0..=2: use ipip, gue or gre"
    );
    assert_eq!(
        of_destination(|d| d.tunnel.kind = TunnelType::GUE),
        "gue tunnel needs a port other than 0"
    );
}

#[test]
fn the_longest_request_is_as_long_as_said() {
    let key = tcp("2001:db8::1");
    let mut buf = [0; 512];
    let mut longest = |change: Change<'_>| {
        let mut batch = Batch::new(&mut buf, 1);
        request::change(&mut batch, FAMILY, &change).unwrap();
        batch.finish().len()
    };
    let mut service = plain_service(key);
    service.scheduler = "s".repeat(15).parse().unwrap();
    service.engine = "e".repeat(15).parse().unwrap();
    let plain = plain_destination("192.0.2.7");
    let (four, six) = (tcp("192.0.2.1"), key);
    assert_eq!(longest(Change::AddDestination(&four, &plain)), 108);
    let mut destination = plain_destination("2001:db8::7");
    assert_eq!(longest(Change::AddDestination(&six, &destination)), 132);
    destination.tunnel.kind = TunnelType::GRE;
    assert_eq!(longest(Change::AddService(&service)), 136);
    assert_eq!(
        longest(Change::AddDestination(&key, &destination)),
        REQUEST_BYTES_MAX
    );

    let mut buf = [0; BATCH_BYTES];
    let mut batch = Batch::new(&mut buf, 1);
    for _ in 0..BATCH_REQUESTS_MAX {
        request::change(
            &mut batch,
            FAMILY,
            &Change::SetDestination(&key, &destination),
        )
        .unwrap();
    }
    assert_eq!(
        request::change(&mut batch, FAMILY, &Change::DeleteService(&key)),
        Err(Refused::Full)
    );
    batch.barrier().unwrap();
    assert_eq!(batch.finish().len(), BATCH_BYTES);
}

#[test]
fn the_other_requests_have_their_command_flags_and_key() {
    let key = tcp("192.0.2.1");
    let mut of_key = Walked::new();
    expect_key(&mut of_key, &key);
    let none = Walked::new();
    let mut timeouts = Walked::new();
    for (kind, seconds) in [(4, 900_u32), (5, 0), (6, 300)] {
        timeouts.insert((0, kind), seconds.to_ne_bytes().to_vec());
    }
    let set = Timeouts {
        tcp_s: 900,
        tcp_fin_s: 0,
        udp_s: 300,
    };
    type Ask<'a> = &'a dyn Fn(&mut Batch<'_>) -> Result<u32, Refused>;
    let cases: [(Ask<'_>, u8, u16, &Walked); 9] = [
        (&|b| request::dump_services(b, FAMILY), 4, 0x301, &none),
        (
            &|b| request::dump_destinations(b, FAMILY, &key),
            8,
            0x301,
            &of_key,
        ),
        (&|b| request::get_service(b, FAMILY, &key), 4, 1, &of_key),
        (&|b| request::get_info(b, FAMILY), 15, 1, &none),
        (&|b| request::flush(b, FAMILY), 17, 1, &none),
        (&|b| request::zero(b, FAMILY, None), 16, 1, &none),
        (&|b| request::zero(b, FAMILY, Some(&key)), 16, 1, &of_key),
        (&|b| request::get_timeouts(b, FAMILY), 13, 1, &none),
        (
            &|b| request::set_timeouts(b, FAMILY, &set),
            12,
            1,
            &timeouts,
        ),
    ];
    for (ask, command, flags, expect) in cases {
        let mut buf = [0xa5; 128];
        let mut batch = Batch::new(&mut buf, 9);
        assert_eq!(ask(&mut batch), Ok(9));
        assert_eq!(walk(batch.finish(), 9, flags), (command, expect.clone()));
    }
    let mut buf = [0; 128];
    let long = Timeouts {
        udp_s: 2_147_484,
        ..Timeouts::default()
    };
    assert_eq!(
        request::set_timeouts(&mut Batch::new(&mut buf, 1), FAMILY, &long)
            .unwrap_err()
            .to_string(),
        "connection timeout of 2147484 s is above 2147483 s"
    );
}
