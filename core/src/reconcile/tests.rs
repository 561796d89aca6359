use super::*;
use crate::model::{
    Family, Forward, Protocol, SchedulerName, ServiceFlags, ServiceRow, Table, Tunnel, TunnelFlags,
    TunnelType,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;
use std::{format, string::String};

/// A kernel's table as simple as can be. Deleting a service takes its
/// destinations along, as in IPVS.
type Naive = BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>;

/// A naive table in the form that is compared.
struct Flat {
    services: Vec<ServiceRow>,
    destinations: Vec<Destination>,
}

impl Flat {
    fn of(naive: &Naive) -> Self {
        let (mut services, mut destinations) = (Vec::new(), Vec::new());
        for (service, own) in naive.values() {
            services.push(ServiceRow {
                service: service.clone(),
                first: u32::try_from(destinations.len()).unwrap(),
                count: u32::try_from(own.len()).unwrap(),
            });
            destinations.extend(own.values().copied());
        }
        Self {
            services,
            destinations,
        }
    }

    fn table(&self) -> Table<'_> {
        Table {
            services: &self.services,
            destinations: &self.destinations,
        }
    }
}

fn changes<'a>(
    ownership: Ownership,
    desired: Table<'a>,
    actual: Table<'a>,
) -> Vec<(Phase, Change<'a>)> {
    let mut cursor = Cursor::new(ownership);
    let mut out = Vec::new();
    while let Some(change) = cursor.next(desired, actual) {
        out.push((cursor.phase(), change));
    }
    assert_eq!(cursor.next(desired, actual), None);
    assert_eq!(cursor.phase(), Phase::Done);
    out
}

/// Applies a change as the kernel would; what IPVS would refuse is a failure.
fn apply(naive: &mut Naive, change: Change<'_>) {
    match change {
        Change::AddService(s) => {
            let old = naive.insert(s.key, (s.clone(), BTreeMap::new()));
            assert!(old.is_none(), "EEXIST: {change:?}");
        }
        Change::SetService(s) => naive.get_mut(&s.key).expect("ESRCH").0 = s.clone(),
        Change::DeleteService(key) => assert!(naive.remove(key).is_some(), "ESRCH"),
        Change::AddDestination(key, d) => {
            let old = naive.get_mut(key).expect("ESRCH").1.insert(d.key, *d);
            assert!(old.is_none(), "EEXIST: {change:?}");
        }
        Change::SetDestination(key, d) => {
            let old = naive.get_mut(key).expect("ESRCH").1.insert(d.key, *d);
            assert!(old.is_some(), "ENOENT: {change:?}");
        }
        Change::DeleteDestination(key, d) => {
            assert!(
                naive.get_mut(key).expect("ESRCH").1.remove(d).is_some(),
                "ENOENT"
            );
        }
    }
}

/// The phase that makes a change, which `held` it is applied to.
fn phase_of(change: &Change<'_>, held: &Naive) -> Phase {
    match change {
        Change::AddService(_) => Phase::AddServices,
        Change::AddDestination(..) => Phase::AddDestinations,
        Change::SetService(_) => Phase::SetServices,
        Change::SetDestination(key, d) if d.weight < held[*key].1[&d.key].weight => {
            Phase::LowerDestinations
        }
        Change::SetDestination(..) => Phase::RaiseDestinations,
        Change::DeleteDestination(..) => Phase::DeleteDestinations,
        Change::DeleteService(_) => Phase::DeleteServices,
    }
}

fn serves(row: &(Service, BTreeMap<DestinationKey, Destination>)) -> bool {
    row.1.values().any(|d| d.weight > 0)
}

fn check_laws(ownership: Ownership, desired: &Naive, actual: &Naive) {
    let (want, have) = (Flat::of(desired), Flat::of(actual));
    assert!(want.table().is_sorted() && have.table().is_sorted());
    let changes = changes(ownership, want.table(), have.table());

    let mut result = actual.clone();
    for (phase, change) in &changes {
        assert_eq!(*phase, phase_of(change, &result));
        apply(&mut result, *change);
        // Whoever serves before and after serves in between.
        for (key, row) in desired {
            let served = actual.get(key).is_some_and(serves);
            assert!(
                !(served && serves(row)) || serves(&result[key]),
                "{change:?}"
            );
        }
    }
    let mut expected = desired.clone();
    if ownership == Ownership::Declared {
        for (key, row) in actual {
            expected.entry(*key).or_insert_with(|| row.clone());
        }
    }
    assert_eq!(result, expected);

    assert!(changes.is_sorted_by_key(|(phase, _)| *phase), "order law");
    for (n, (_, change)) in changes.iter().enumerate() {
        assert!(changes[..n].iter().all(|(_, c)| c != change), "twice");
        if let Change::DeleteDestination(key, _) = change {
            assert!(desired.contains_key(key), "goes with its service");
        }
        if ownership == Ownership::Declared
            && let Change::DeleteService(_) | Change::SetService(_) = change
        {
            assert!(desired.contains_key(change.service()));
        }
    }

    // Done once, nothing is left; and a table never differs from itself.
    let result = Flat::of(&result);
    assert_eq!(self::changes(ownership, want.table(), result.table()), []);
    assert_eq!(self::changes(ownership, have.table(), have.table()), []);

    // A saved cursor gives the rest again, from any place.
    let mut cursor = Cursor::new(ownership);
    for n in 0..changes.len() {
        let mut again = cursor;
        for (_, change) in &changes[n..] {
            assert_eq!(again.next(want.table(), have.table()), Some(*change));
        }
        assert_eq!(again.next(want.table(), have.table()), None);
        cursor.next(want.table(), have.table());
    }
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    prop_oneof![
        (0..3_u8, 0..3_u16, any::<bool>(), any::<bool>()).prop_map(|(host, port, udp, v6)| {
            ServiceKey::Address {
                protocol: if udp { Protocol::UDP } else { Protocol::TCP },
                address: address(host, v6),
                port,
            }
        }),
        (1..3_u32, any::<bool>()).prop_map(|(mark, v6)| ServiceKey::Fwmark {
            mark,
            family: if v6 { Family::V6 } else { Family::V4 },
        }),
    ]
}

fn address(host: u8, v6: bool) -> core::net::IpAddr {
    if v6 {
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)].into()
    } else {
        [192, 0, 2, host].into()
    }
}

/// Services that differ from each other in one field at most, so that every
/// field is what decides now and then.
fn service() -> impl Strategy<Value = Service> {
    (service_key(), 0..7_u8).prop_map(|(key, field)| {
        let mut service = Service::new(key, name("wrr"));
        match field {
            1 => service.scheduler = name("mh"),
            2 => service.flags = ServiceFlags::PERSISTENT,
            3 => service.timeout_s = 300,
            4 => service.prefix = 24,
            5 => service.engine = name("sip"),
            _ => {}
        }
        service
    })
}

fn name(text: &str) -> SchedulerName {
    SchedulerName::try_from(text).unwrap()
}

fn destination() -> impl Strategy<Value = Destination> {
    (0..4_u8, 0..2_u16, 0..9_u8).prop_map(|(host, port, field)| {
        let key = DestinationKey {
            address: address(host, false),
            port,
        };
        let mut d = Destination::new(key, Forward::TUNNEL, 1);
        match field {
            1 => d.weight = 0,
            2 => d.forward = Forward::ROUTE,
            3 => d.upper_threshold = 9,
            4 => d.lower_threshold = 3,
            5 => d.tunnel.kind = TunnelType::GUE,
            6 => d.tunnel.port = 6080,
            7 => d.tunnel.flags = TunnelFlags::CSUM,
            _ => {}
        }
        d
    })
}

fn naive() -> impl Strategy<Value = Naive> {
    let row = (service(), prop::collection::vec(destination(), 0..6));
    prop::collection::vec(row, 0..8).prop_map(|rows| {
        rows.into_iter()
            .map(|(s, own)| (s.key, (s, own.into_iter().map(|d| (d.key, d)).collect())))
            .collect()
    })
}

fn ownership() -> impl Strategy<Value = Ownership> {
    prop_oneof![Just(Ownership::All), Just(Ownership::Declared)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_changes_make_the_desired_table(
        desired in naive(),
        actual in naive(),
        ownership in ownership(),
    ) {
        check_laws(ownership, &desired, &actual);
    }

    /// Rows in any order, keys twice, ranges that overlap or lie outside: an
    /// end is reached, without a panic.
    #[test]
    fn disorder_comes_to_an_end(
        services in prop::collection::vec((service(), 0..9_u32, any::<u32>()), 0..12),
        destinations in prop::collection::vec(destination(), 0..12),
        ownership in ownership(),
    ) {
        let rows: Vec<_> = services
            .into_iter()
            .map(|(service, first, count)| ServiceRow {
                service,
                first: if count % 7 == 0 { count } else { first },
                count: if count % 5 == 0 { count } else { count % 5 },
            })
            .collect();
        let (one, other) = rows.split_at(rows.len() / 2);
        let desired = Table { services: one, destinations: &destinations };
        let actual = Table { services: other, destinations: &destinations };
        let limit = (rows.len() + 1) * (destinations.len() + 1) * 6;
        prop_assert!(changes(ownership, desired, actual).len() <= limit);
    }
}

#[test]
fn the_kernels_own_flag_is_no_difference() {
    let key = ServiceKey::Fwmark {
        mark: 1,
        family: Family::V4,
    };
    let row = |flags| {
        let mut service = Service::new(key, name("rr"));
        service.flags = flags;
        [ServiceRow {
            service,
            first: 0,
            count: 0,
        }]
    };
    let plain = row(ServiceFlags::empty());
    let hashed = row(ServiceFlags::HASHED);
    let table = |services| Table {
        services,
        destinations: &[],
    };
    assert_eq!(changes(Ownership::All, table(&plain), table(&hashed)), []);
}

/// What a reload looks like, in words.
#[test]
fn make_before_break() {
    let key = |port| ServiceKey::Address {
        protocol: Protocol::TCP,
        address: address(1, false),
        port,
    };
    let dest = |host, weight| {
        let key = DestinationKey {
            address: address(host, false),
            port: 80,
        };
        let d = Destination {
            tunnel: Tunnel::IPIP,
            ..Destination::new(key, Forward::MASQ, weight)
        };
        (d.key, d)
    };
    let svc = |port, scheduler, own: &[_]| {
        let service = Service::new(key(port), name(scheduler));
        (key(port), (service, own.iter().copied().collect()))
    };
    let actual = Naive::from([
        svc(80, "rr", &[dest(1, 1), dest(2, 1), dest(3, 1)]),
        svc(81, "rr", &[dest(1, 1)]),
        svc(99, "rr", &[dest(1, 1)]),
    ]);
    let desired = Naive::from([
        svc(79, "rr", &[dest(7, 1), dest(8, 1)]),
        svc(80, "rr", &[dest(2, 5), dest(3, 1), dest(4, 1)]),
        svc(81, "wrr", &[dest(1, 1)]),
    ]);
    let words = |ownership| {
        let (want, have) = (Flat::of(&desired), Flat::of(&actual));
        let mut words = String::new();
        for (_, change) in changes(ownership, want.table(), have.table()) {
            words += &match change {
                Change::AddService(s) => format!("+ {}\n", s.key),
                Change::AddDestination(k, d) => format!("+ {k} -> {}\n", d.key),
                Change::SetService(s) => format!("= {} {}\n", s.key, s.scheduler),
                Change::SetDestination(k, d) => format!("= {k} -> {} {}\n", d.key, d.weight),
                Change::DeleteDestination(k, d) => format!("- {k} -> {d}\n"),
                Change::DeleteService(k) => format!("- {k}\n"),
            };
        }
        words
    };
    let declared = "\
        + TCP 192.0.2.1:79\n\
        + TCP 192.0.2.1:79 -> 192.0.2.7:80\n\
        + TCP 192.0.2.1:79 -> 192.0.2.8:80\n\
        + TCP 192.0.2.1:80 -> 192.0.2.4:80\n\
        = TCP 192.0.2.1:81 wrr\n\
        = TCP 192.0.2.1:80 -> 192.0.2.2:80 5\n\
        - TCP 192.0.2.1:80 -> 192.0.2.1:80\n";
    assert_eq!(words(Ownership::Declared), declared);
    let all = format!("{declared}- TCP 192.0.2.1:99\n");
    assert_eq!(words(Ownership::All), all);
}
