//! Requests for and rows of synchronization daemons.

use super::requests::{FAMILY, Walked, walk};
use super::*;
use crate::bytes::Reader;
use crate::netlink::{Batch, Malformed};
use std::string::{String, ToString};
use std::vec;

prop_compose! {
    fn any_daemon()(
        state in prop_oneof![4 => 1..3_u32, 1 => any::<u32>()],
        interface in name(),
        sync_id in prop_oneof![8 => 0..256_u32, 1 => Just(256), 1 => any::<u32>()],
        maxlen in prop_oneof![
            Just(0_u16), Just(1), Just(1023), Just(1024),
            Just(65_487), Just(65_488), Just(65_507), Just(65_508), any::<u16>(),
        ],
        group in prop::option::of(prop_oneof![
            2 => any::<[u8; 4]>().prop_map(|[a, b, c, d]| IpAddr::from([224 | a & 15, b, c, d])),
            2 => any::<[u8; 15]>().prop_map(|rest| {
                let mut raw = [0xff; 16];
                raw[1..].copy_from_slice(&rest);
                IpAddr::from(raw)
            }),
            1 => address(),
        ]),
        port in prop_oneof![Just(0), any::<u16>()],
        ttl in prop_oneof![Just(0), any::<u8>()],
    ) -> SyncDaemon {
        SyncDaemon { state: SyncState(state), interface, sync_id, maxlen, group, port, ttl }
    }
}

/// Whether the kernel takes it as it is, in the test's own words.
fn allowed(it: &SyncDaemon) -> bool {
    let backup = it.state.0 == 2;
    let headers = if it.group.is_some_and(|group| group.is_ipv6()) {
        48
    } else {
        28
    };
    let group_ok = match it.group {
        None => true,
        Some(IpAddr::V4(group)) => group.octets()[0] >> 4 == 14,
        Some(IpAddr::V6(group)) => group.octets()[0] == 255,
    };
    (it.state.0 == 1 || backup)
        && (1..=15).contains(&it.interface.len())
        && !it.interface.bytes().any(|byte| byte == 0)
        && it.sync_id < 256
        && (it.maxlen == 0
            || (u32::from(it.maxlen) + headers <= 65_535 && (!backup || it.maxlen > 1023)))
        && group_ok
}

fn expected(it: &SyncDaemon) -> Walked {
    let mut walked = Walked::new();
    let mut put = |kind, value: &[u8]| {
        walked.insert((3, kind), value.to_vec());
    };
    put(1, &it.state.0.to_ne_bytes());
    put(2, &[it.interface.as_bytes(), &[0]].concat());
    put(3, &it.sync_id.to_ne_bytes());
    if it.maxlen != 0 {
        put(4, &it.maxlen.to_ne_bytes());
    }
    match it.group {
        Some(IpAddr::V4(group)) => put(5, &group.octets()),
        Some(IpAddr::V6(group)) => put(6, &group.octets()),
        None => {}
    }
    if it.port != 0 {
        put(7, &it.port.to_ne_bytes());
    }
    if it.ttl != 0 {
        put(8, &[it.ttl]);
    }
    walked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_daemon_is_asked_for_as_a_stranger_reads_or_refused(it in any_daemon()) {
        let mut buf = [0xa5; REQUEST_BYTES_MAX];
        let mut batch = Batch::new(&mut buf, 77);
        let result = request::start_daemon(&mut batch, FAMILY, &it);
        if allowed(&it) {
            assert_eq!(result, Ok(77), "{it:?}");
            assert_eq!(walk(batch.finish(), 77, 1), (9, expected(&it)));
        } else {
            assert!(result.is_err() && result != Err(Refused::Full), "{it:?}");
            assert!(batch.is_empty());
        }
        laws::round_trip_daemon(&it);
    }
}

#[test]
fn stopping_needs_a_state_and_dumping_nothing() {
    let mut buf = [0xa5; 64];
    let mut batch = Batch::new(&mut buf, 9);
    assert_eq!(
        request::stop_daemon(&mut batch, FAMILY, SyncState::BACKUP),
        Ok(9)
    );
    let expect = Walked::from([((3, 1), 2_u32.to_ne_bytes().to_vec())]);
    assert_eq!(walk(batch.finish(), 9, 1), (10, expect));
    for state in [0, 3, u32::MAX] {
        let mut batch = Batch::new(&mut buf, 9);
        let state = SyncState(state);
        assert_eq!(
            request::stop_daemon(&mut batch, FAMILY, state),
            Err(Refused::SyncState { state })
        );
    }
    let mut batch = Batch::new(&mut buf, 9);
    assert_eq!(request::dump_daemons(&mut batch, FAMILY), Ok(9));
    assert_eq!(walk(batch.finish(), 9, 0x301), (11, Walked::new()));
}

#[test]
fn each_rule_has_its_words() {
    let words = |edit: fn(&mut SyncDaemon)| -> String {
        let mut it = SyncDaemon::new(SyncState::BACKUP, "eth0".parse().unwrap(), 1);
        edit(&mut it);
        let mut buf = [0; REQUEST_BYTES_MAX];
        let refused = request::start_daemon(&mut Batch::new(&mut buf, 1), FAMILY, &it);
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        words(|it| it.state = SyncState(3)),
        "synchronization daemon must be 'master' (1) or 'backup' (2), not 3"
    );
    assert_eq!(
        words(|it| it.interface.clear()),
        "synchronization daemon needs an interface of 1 to 15 bytes without NUL: use eth0"
    );
    assert_eq!(
        words(|it| it.sync_id = 256),
        "synchronization id 256 must be 0..=255"
    );
    assert_eq!(
        words(|it| it.maxlen = 1000),
        "synchronization messages of 1000 bytes must be 1024..=65507, or 0 for the kernel's \
         default"
    );
    assert_eq!(
        words(|it| it.group = Some("192.0.2.1".parse().unwrap())),
        "synchronization group 192.0.2.1 must be a multicast address: use 224.0.0.81"
    );
}

/// (kind, value) of a row as Linux 4.3 and later build it.
fn row() -> Vec<(u16, Vec<u8>)> {
    vec![
        (1, 1_u32.to_ne_bytes().to_vec()),
        (2, b"eth0\0".to_vec()),
        (3, 7_u32.to_ne_bytes().to_vec()),
        (4, 1472_u16.to_ne_bytes().to_vec()),
        (7, 8848_u16.to_ne_bytes().to_vec()),
        (8, vec![1]),
        (5, vec![224, 0, 0, 81]),
    ]
}

fn read(parts: &[(u16, Vec<u8>)]) -> Result<SyncDaemon, Malformed> {
    let inner: Vec<u8> = parts
        .iter()
        .flat_map(|(kind, value)| attribute(*kind, value))
        .collect();
    let raw = [&[9, 1, 0, 0][..], &attribute(3, &inner)].concat();
    decode::daemon(Reader::new(&raw), 16)
}

#[test]
fn a_row_is_read_whole_and_old_kernels_say_less() {
    let whole = SyncDaemon {
        state: SyncState::MASTER,
        interface: "eth0".parse().unwrap(),
        sync_id: 7,
        maxlen: 1472,
        group: Some("224.0.0.81".parse().unwrap()),
        port: 8848,
        ttl: 1,
    };
    assert_eq!(read(&row()).as_ref(), Ok(&whole));
    let old = SyncDaemon::new(whole.state, whole.interface.clone(), 7);
    assert_eq!(read(&row()[..3]), Ok(old));
    let mut six = row();
    six[6] = (6, [&[0xff, 2][..], &[0; 13], &[0x81]].concat());
    six.push((99, vec![1, 2, 3]));
    let group = Some("ff02::81".parse().unwrap());
    assert_eq!(read(&six), Ok(SyncDaemon { group, ..whole }));
}

#[test]
fn a_row_that_lacks_or_bends_a_field_is_an_error() {
    let words = |parts: &[(u16, Vec<u8>)]| read(parts).unwrap_err().to_string();
    for (at, what) in [(0, "state"), (1, "interface"), (2, "id")] {
        let mut parts = row();
        parts.remove(at);
        assert_eq!(
            words(&parts),
            std::format!("synchronization {what} at byte 24: missing")
        );
    }
    for (at, (kind, value)) in row().into_iter().enumerate() {
        if kind != 2 {
            for len in (0..20).filter(|len| *len != value.len()) {
                let mut parts = row();
                parts[at].1 = vec![1; len];
                assert!(read(&parts).is_err(), "{kind} {len}");
            }
        }
    }
    let mut long = row();
    long[1].1 = b"abcdefghijklmnop\0".to_vec();
    assert_eq!(
        words(&long),
        "synchronization interface at byte 32: not UTF-8 text of a length it can have"
    );
}
