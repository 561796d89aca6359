//! The blocking client against a kernel with which everything goes wrong, at
//! every step of its conversations: each ends in a known state or says that it
//! does not know, and none lasts.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::net::IpAddr;
use std::time::{Duration, Instant};
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Protocol, Service, ServiceKey, Table,
};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::{Change, Ownership};
use trunnion_sys::ipvs::{Error, Ipvs, Outcome, Reconciled};
use trunnion_tests::fake::{Fake, Rows, Trick};
use trunnion_tests::tables::{self, Store};

/// How long an answer may take: the fake's come at once or never.
const PATIENCE: Duration = Duration::from_millis(30);

fn open() -> (Fake, Ipvs) {
    let (fake, socket) = Fake::start();
    let mut ipvs = Ipvs::on(socket).unwrap();
    ipvs.set_patience(PATIENCE);
    (fake, ipvs)
}

fn key(port: u16) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::from([192, 0, 2, 1]),
        port,
    }
}

fn service(port: u16) -> Service {
    Service::new(key(port), "wrr".parse().unwrap())
}

fn destination(last: u8, weight: u32) -> Destination {
    let key = DestinationKey {
        address: IpAddr::from([10, 0, 0, last]),
        port: 80,
    };
    Destination::new(key, Forward::MASQ, weight)
}

fn store() -> Store {
    Store::new(16, 64)
}

/// Something of every phase: a service to add, to set, to delete and to keep,
/// and the same of destinations.
fn before() -> Rows {
    let old = Service {
        timeout_s: 300,
        ..service(2)
    };
    let many = (1..=9).map(|last| destination(last, 1)).collect();
    vec![
        (service(1), vec![destination(1, 1), destination(2, 5)]),
        (old, many),
        (service(3), vec![destination(1, 1)]),
    ]
}

fn wanted() -> Rows {
    let many = (3..=12).map(|last| destination(last, 2)).collect();
    vec![
        (service(1), vec![destination(1, 3), destination(3, 1)]),
        (service(2), many),
        (service(4), vec![destination(1, 1), destination(2, 0)]),
    ]
}

/// Makes the kernel's table what `rows` say, with nothing going wrong.
fn make(fake: &Fake, ipvs: &mut Ipvs, rows: &Rows) {
    fake.script(&[]);
    let report = reconcile(ipvs, rows).unwrap();
    assert!(report.0.converged, "{report:?}");
    assert_eq!(fake.rows(), *rows);
}

fn reconcile(ipvs: &mut Ipvs, rows: &Rows) -> Result<(Reconciled, Rows), Error> {
    let (mut desired, mut actual) = (store(), store());
    let desired = desired.filled(rows);
    let mut actual = actual.table();
    let report = ipvs.reconcile(desired.table(), Ownership::All, &mut actual, |_, _| {})?;
    Ok((report, tables::rows(&actual)))
}

#[test]
fn a_table_is_made_what_it_should_be_whatever_goes_wrong_once_at_any_step() {
    let (fake, mut ipvs) = open();
    make(&fake, &mut ipvs, &before());
    fake.script(&[]);
    reconcile(&mut ipvs, &wanted()).unwrap();
    let steps = fake.turns();
    assert!(steps > 10, "{steps}");
    for trick in Trick::PASSING {
        for step in 0..steps {
            make(&fake, &mut ipvs, &before());
            fake.script(&[(step, trick)]);
            let (report, actual) = reconcile(&mut ipvs, &wanted())
                .unwrap_or_else(|error| panic!("{trick:?} at {step}: {error}"));
            assert!(report.converged, "{trick:?} at {step}: {report:?}");
            assert_eq!(fake.rows(), wanted(), "{trick:?} at {step}");
            assert_eq!(actual, wanted(), "{trick:?} at {step}");
        }
    }
}

#[test]
fn troubles_in_a_row_end_known_or_say_that_they_do_not() {
    let (fake, mut ipvs) = open();
    for trick in Trick::PASSING {
        make(&fake, &mut ipvs, &before());
        // Every third datagram, for ever.
        let script: Vec<_> = (0..500).map(|n| (n * 3 + 2, trick)).collect();
        fake.script(&script);
        match reconcile(&mut ipvs, &wanted()) {
            Ok((report, actual)) => {
                assert_eq!(
                    report.converged,
                    actual == wanted(),
                    "{trick:?}: {report:?}"
                );
                assert_eq!(fake.rows(), actual, "{trick:?}");
            }
            Err(Error::Unknown | Error::Kernel { .. } | Error::Malformed(_)) => {}
            Err(error) => panic!("{trick:?}: {error}"),
        }
        make(&fake, &mut ipvs, &wanted());
    }
}

/// Every call ends within its waits, whatever never comes.
#[test]
fn nothing_lasts() {
    type Call = fn(&mut Ipvs) -> bool;
    let calls: [(&str, Call); 5] = [
        ("add", |ipvs| ipvs.add_service(&service(9)).is_err()),
        ("get", |ipvs| ipvs.get_service(&key(1)).is_err()),
        ("services", |ipvs| ipvs.services(|_| {}).is_err()),
        ("destinations", |ipvs| {
            ipvs.destinations(&key(1), |_| {}).is_err()
        }),
        ("reconcile", |ipvs| reconcile(ipvs, &wanted()).is_err()),
    ];
    for trick in [Trick::Silence, Trick::Deaf, Trick::OtherSeq, Trick::Closed] {
        for (name, call) in calls {
            let (fake, mut ipvs) = open();
            let script: Vec<_> = (0..500).map(|n| (n, trick)).collect();
            fake.script(&script);
            let begin = Instant::now();
            assert!(call(&mut ipvs), "{name}, {trick:?}");
            // 8 passes of one wait each; far from the patience that a client
            // has by itself.
            let took = begin.elapsed();
            assert!(took < PATIENCE * 100, "{name}, {trick:?}: {took:?}");
        }
    }
}

#[test]
fn an_outcome_is_the_truth_or_unknown_and_unknown_is_settled() {
    let (fake, mut ipvs) = open();
    let rows: Vec<_> = [1, 3, 4, 5].map(|last| destination(last, 7)).to_vec();
    let (into, fresh, there) = (key(1), service(4), service(3));
    let (gone, extra) = (key(2), destination(2, 5).key);
    let mut changes = vec![
        Change::AddService(&fresh),
        Change::AddService(&there),
        Change::SetDestination(&into, &rows[0]),
        Change::DeleteDestination(&into, &extra),
        Change::DeleteService(&gone),
    ];
    changes.extend(rows[1..].iter().map(|it| Change::AddDestination(&into, it)));
    let mut settled = 0;
    for trick in Trick::PASSING {
        if trick == Trick::Reloaded {
            continue; // All that was there before is gone: see the other tests.
        }
        make(&fake, &mut ipvs, &before());
        let was = fake.rows();
        fake.script(&[(0, trick)]);
        let mut outcomes = vec![Outcome::NotSent; changes.len()];
        let applied = ipvs.apply(&changes, &mut outcomes);
        let unknown = outcomes.contains(&Outcome::Unknown);
        assert_eq!(applied.is_err(), unknown, "{trick:?}: {applied:?}");
        settled += usize::from(unknown);
        ipvs.settle(&changes, &mut outcomes).unwrap();
        for (change, outcome) in changes.iter().zip(&outcomes) {
            let (holds, held) = (holds(&fake.rows(), change), holds(&was, change));
            match outcome {
                Outcome::Done => assert!(holds, "{trick:?}: {change:?}"),
                Outcome::NotSent => assert!(!holds, "{trick:?}: {change:?}"),
                Outcome::Failed(Errno::EEXIST) => assert!(!held || holds, "{trick:?}: {change:?}"),
                Outcome::Failed(_) => assert_eq!(holds, held, "{trick:?}: {change:?}"),
                Outcome::Refused(_) | Outcome::Unknown => {
                    panic!("{trick:?}: {change:?}: {outcome:?}")
                }
            }
        }
    }
    assert!(settled >= 6, "{settled}");
}

/// Whether the rows are as the change would leave them.
fn holds(rows: &Rows, change: &Change<'_>) -> bool {
    let found = rows.iter().find(|(s, _)| s.key == *change.service());
    let row = |key: &DestinationKey| found.and_then(|(_, all)| all.iter().find(|d| d.key == *key));
    match change {
        Change::AddService(it) | Change::SetService(it) => found.is_some_and(|(s, _)| s == *it),
        Change::DeleteService(_) => found.is_none(),
        Change::AddDestination(_, it) | Change::SetDestination(_, it) => row(&it.key) == Some(*it),
        Change::DeleteDestination(_, key) => row(key).is_none(),
    }
}

#[test]
fn a_kernel_without_ipvs_is_named_and_one_that_gets_it_is_used() {
    let (fake, mut ipvs) = open();
    make(&fake, &mut ipvs, &before());
    fake.script(&[(0, Trick::Gone(1))]);
    let error = ipvs.add_service(&service(9)).unwrap_err();
    assert!(matches!(error, Error::NoIpvs), "{error}");
    assert_eq!(
        error.to_string(),
        "the kernel has no ipvs: load it with modprobe ip_vs"
    );
    ipvs.add_service(&service(9)).unwrap();
    assert_eq!(fake.rows(), [(service(9), vec![])]);
    make(&fake, &mut ipvs, &wanted());
}

#[test]
fn a_closed_socket_is_an_error_at_once() {
    let (fake, mut ipvs) = open();
    fake.script(&[(0, Trick::Closed)]);
    let error = ipvs.get_service(&key(1)).unwrap_err();
    assert!(matches!(error, Error::Unknown | Error::Io(_)), "{error}");
    let error = ipvs.get_service(&key(1)).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
}

#[test]
fn what_is_refused_is_told_and_nothing_is_taken_away_for_it() {
    let (fake, mut ipvs) = open();
    make(&fake, &mut ipvs, &before());
    let mut rows = wanted();
    rows[2].0.scheduler = "a\0b".parse().unwrap();
    let (mut desired, mut actual) = (store(), store());
    let desired = desired.filled(&rows);
    let mut actual = actual.table();
    let mut told = Vec::new();
    let report = ipvs
        .reconcile(
            desired.table(),
            Ownership::All,
            &mut actual,
            |change, it| {
                told.push((*change.service(), it));
            },
        )
        .unwrap();
    assert!(!report.converged && report.withheld, "{report:?}");
    // The service, and each of its two destinations.
    assert_eq!(report.refused, 3);
    assert!(told.iter().all(|(at, _)| *at == key(4)), "{told:?}");
    // What was to go is still there: the old service, and destinations.
    let held = fake.rows();
    assert_eq!(held[2].0.key, key(3));
    assert!(held[0].1.contains(&destination(3, 1)), "{held:?}");
    assert!(held[0].1.contains(&destination(2, 5)), "{held:?}");
    assert_eq!(tables::rows(&actual), held);
}

#[test]
fn a_table_that_does_not_fit_is_named() {
    let (fake, mut ipvs) = open();
    make(&fake, &mut ipvs, &before());
    let mut small = Store::new(2, 64);
    let error = ipvs.read(Table::EMPTY, &mut small.table()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kernel has more services than the 2 there is room for: give more"
    );
}

#[test]
fn services_of_others_are_left_alone() {
    let (fake, mut ipvs) = open();
    make(&fake, &mut ipvs, &before());
    let (mut desired, mut actual) = (store(), store());
    let mine = vec![(service(1), vec![destination(9, 9)])];
    let desired = desired.filled(&mine);
    let mut actual = actual.table();
    let report = ipvs
        .reconcile(desired.table(), Ownership::Declared, &mut actual, |_, _| {})
        .unwrap();
    assert!(report.converged, "{report:?}");
    assert_eq!(tables::rows(&actual), mine);
    let held = fake.rows();
    assert_eq!(held[0], mine[0]);
    assert_eq!(held[1..], before()[1..]);
}
