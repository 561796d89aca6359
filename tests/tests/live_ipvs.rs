//! The blocking client against a real kernel, with ipvsadm as the witness. Runs
//! as root where ip_vs is: `cargo xtask test` runs it in the VM. Every test has
//! a network namespace, and so a table, of its own.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command as Process;
use trunnion_core::ipvs::{Command, Info, Refused, Timeouts};
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceFlags, ServiceKey,
    Tunnel, TunnelFlags, TunnelType,
};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::Change;
use trunnion_sys::ipvs::{Error, Ipvs, Outcome};
use trunnion_sys::netns;
use trunnion_tests::golden;
use trunnion_tests::ipvsadm::{self, Run};

/// A client in a namespace with an empty table.
fn fresh() -> Ipvs {
    netns::unshare_network().expect("these tests run as root, in the VM: cargo xtask test");
    Ipvs::open().expect("these tests need a kernel with ip_vs: cargo xtask test")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Process::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// `ipvsadm -Sn`, sorted.
fn saved() -> Vec<String> {
    let mut lines: Vec<_> = run("ipvsadm", &["-Sn"])
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.sort();
    lines
}

/// What we read of the table, in ipvsadm's words, sorted.
fn read(ipvs: &mut Ipvs) -> Vec<String> {
    let mut services = Vec::new();
    ipvs.services(|entry| services.push(entry)).unwrap();
    let mut lines = Vec::new();
    for entry in services {
        let service = &entry.service;
        lines.push(ipvsadm::service_line(service, entry.odd_mask));
        ipvs.destinations(&service.key, |entry| {
            lines.push(ipvsadm::destination_line(&service.key, &entry.destination));
        })
        .unwrap();
    }
    lines.sort();
    lines
}

fn key(last: u8) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::from([192, 0, 2, last]),
        port: 80,
    }
}

fn service(last: u8) -> Service {
    Service::new(key(last), "wrr".parse().unwrap())
}

fn at(number: u16) -> DestinationKey {
    let [high, low] = number.to_be_bytes();
    DestinationKey {
        address: IpAddr::from([10, 9, high, low]),
        port: 8080,
    }
}

fn destination(number: u16) -> Destination {
    Destination::new(at(number), Forward::MASQ, 1)
}

/// Applies changes that must all succeed.
fn apply(ipvs: &mut Ipvs, changes: &[Change<'_>]) {
    let mut outcomes = vec![Outcome::NotSent; changes.len()];
    ipvs.apply(changes, &mut outcomes).unwrap();
    for (change, outcome) in changes.iter().zip(&outcomes) {
        assert_eq!(*outcome, Outcome::Done, "{change:?}");
    }
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> (Command, Errno) {
    match result {
        Err(Error::Kernel { command, errno, .. }) => (command, errno),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_table_programmed_by_us_is_the_one_ipvsadm_made() {
    let mut ipvs = fresh();
    let runs: Vec<_> = ipvsadm::recorded_requests()
        .iter()
        .map(|(_, arguments, _)| ipvsadm::parse(arguments))
        .collect();
    // As they were recorded: what is made first, then edits, then deletes.
    let stage = |change: &Change<'_>| match change {
        Change::AddService(_) => 0,
        Change::AddDestination(..) => 1,
        Change::SetService(_) | Change::SetDestination(..) => 2,
        Change::DeleteDestination(..) | Change::DeleteService(_) => 3,
    };
    let mut changes: Vec<_> = runs.iter().filter_map(Run::change).collect();
    changes.sort_by_key(stage);
    assert!(changes.len() >= 45);
    apply(&mut ipvs, &changes);

    // Two services were recorded that no request of ours made.
    let recorded = golden::text(&golden::directory("ipvs").join("table.save"));
    let mut expect: Vec<_> = recorded
        .lines()
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.contains("192.0.2.4:80 ") && !line.contains("192.0.2.5:9 "))
        .collect();
    expect.sort();
    assert_eq!(saved(), expect);
    assert_eq!(read(&mut ipvs), expect);

    ipvs.flush().unwrap();
    assert_eq!(saved(), [""; 0]);
    assert_eq!(read(&mut ipvs), [""; 0]);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn every_field_comes_back_as_it_was_sent() {
    let mut ipvs = fresh();
    let mut service = service(1);
    service.flags = ServiceFlags::PERSISTENT | ServiceFlags::SCHED2;
    service.scheduler = "mh".parse().unwrap();
    service.timeout_s = 1234;
    service.prefix = 20;
    ipvs.add_service(&service).unwrap();
    let entry = ipvs.get_service(&service.key).unwrap().unwrap();
    assert_eq!((&entry.service, entry.odd_mask), (&service, None));

    // A flag that is not asked for any more goes away.
    service.flags = ServiceFlags::empty();
    service.timeout_s = 0;
    service.prefix = 32;
    ipvs.set_service(&service).unwrap();
    let entry = ipvs.get_service(&service.key).unwrap().unwrap();
    assert_eq!(entry.service, service);

    let tunnels = [
        (TunnelType::IPIP, 0, TunnelFlags::empty()),
        (TunnelType::GUE, 6080, TunnelFlags::REMCSUM),
        (TunnelType::GRE, 0, TunnelFlags::CSUM),
    ];
    let mut expect = Vec::new();
    for (number, (kind, port, flags)) in tunnels.into_iter().enumerate() {
        let mut it = destination(u16::try_from(number).unwrap() + 1);
        it.forward = Forward::TUNNEL;
        it.weight = 0x7fff_ffff;
        it.upper_threshold = 100_000;
        it.lower_threshold = 99_999;
        it.tunnel = Tunnel { kind, port, flags };
        ipvs.add_destination(&service.key, &it).unwrap();
        // The weight changes; the tunnel, sent again, stays.
        it.weight = 70_000;
        ipvs.set_destination(&service.key, &it).unwrap();
        expect.push(it);
    }
    let mut mixed = destination(9);
    mixed.key.address = "2001:db8::9".parse().unwrap();
    mixed.forward = Forward::TUNNEL;
    ipvs.add_destination(&service.key, &mixed).unwrap();
    expect.push(mixed);

    let mut found = Vec::new();
    ipvs.destinations(&service.key, |entry| found.push(entry.destination))
        .unwrap();
    // Newest first is how the kernel lists them.
    found.reverse();
    assert_eq!(found, expect);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn an_ipv4_mask_that_is_no_prefix_is_told_and_can_be_set_right() {
    let mut ipvs = fresh();
    run(
        "ipvsadm",
        &[
            "-A",
            "-t",
            "192.0.2.1:80",
            "-s",
            "rr",
            "-p",
            "60",
            "-M",
            "255.0.255.0",
        ],
    );
    let entry = ipvs.get_service(&key(1)).unwrap().unwrap();
    assert_eq!(entry.odd_mask.unwrap().to_string(), "255.0.255.0");
    assert_eq!(read(&mut ipvs), saved());
    let mut service = entry.service;
    assert!(matches!(
        ipvs.set_service(&service),
        Err(Error::Refused(Refused::Prefix { .. }))
    ));
    service.prefix = 24;
    ipvs.set_service(&service).unwrap();
    assert_eq!(saved(), ["-A -t 192.0.2.1:80 -s rr -p 60 -M 255.255.255.0"]);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_large_table_is_written_and_read_whole() {
    let mut ipvs = fresh();
    let services: Vec<_> = (1..=250).map(service).collect();
    let destinations: Vec<_> = (1..=3000).map(destination).collect();
    let mut changes: Vec<_> = services.iter().map(Change::AddService).collect();
    let into = &services[7].key;
    changes.extend(
        destinations
            .iter()
            .map(|it| Change::AddDestination(into, it)),
    );
    apply(&mut ipvs, &changes);

    let mut found = BTreeMap::new();
    ipvs.services(|entry| {
        assert_eq!(found.insert(entry.service.key, 0), None);
    })
    .unwrap();
    assert_eq!(found.len(), 250);
    let mut keys = Vec::new();
    ipvs.destinations(into, |entry| keys.push(entry.destination.key))
        .unwrap();
    keys.sort();
    let expect: Vec<_> = destinations.iter().map(|it| it.key).collect();
    assert_eq!(keys, expect);

    // What is asked next is answered next.
    assert!(ipvs.get_service(into).unwrap().is_some());
    let drained: Vec<_> = destinations
        .iter()
        .map(|it| Destination { weight: 0, ..*it })
        .collect();
    let changes: Vec<_> = drained
        .iter()
        .map(|it| Change::SetDestination(into, it))
        .collect();
    apply(&mut ipvs, &changes);
    let mut weights = 0;
    ipvs.destinations(into, |entry| weights += entry.destination.weight)
        .unwrap();
    assert_eq!(weights, 0);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn each_change_of_many_has_its_own_outcome() {
    let mut ipvs = fresh();
    ipvs.add_service(&service(1)).unwrap();
    let into = key(1);
    for number in (0..400).step_by(7) {
        ipvs.add_destination(&into, &destination(number + 1))
            .unwrap();
    }
    let gone = key(99);
    let heavy = Destination {
        weight: u32::MAX,
        ..destination(1000)
    };
    let all: Vec<_> = (0..400).map(|number| destination(number + 1)).collect();
    let mut changes = Vec::new();
    let mut expect = Vec::new();
    for (number, it) in all.iter().enumerate() {
        // Everything that can become of a change, spread over four datagrams.
        let (change, outcome) = match number {
            n if n % 7 == 0 => (
                Change::AddDestination(&into, it),
                Outcome::Failed(Errno::EEXIST),
            ),
            n if n % 11 == 0 => (
                Change::SetDestination(&into, it),
                Outcome::Failed(Errno::ENOENT),
            ),
            n if n % 13 == 0 => (
                Change::AddDestination(&gone, it),
                Outcome::Failed(Errno::ESRCH),
            ),
            n if n % 17 == 0 => (
                Change::AddDestination(&into, &heavy),
                Outcome::Refused(Refused::Weight { weight: u32::MAX }),
            ),
            _ => (Change::AddDestination(&into, it), Outcome::Done),
        };
        changes.push(change);
        expect.push(outcome);
    }
    let mut outcomes = vec![Outcome::NotSent; changes.len()];
    ipvs.apply(&changes, &mut outcomes).unwrap();
    assert_eq!(outcomes, expect);

    let done = expect.iter().filter(|o| **o == Outcome::Done).count();
    let there = expect
        .iter()
        .filter(|o| **o == Outcome::Failed(Errno::EEXIST))
        .count();
    assert_eq!(saved().len(), 1 + done + there);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_is_not_there_is_told_from_what_is_empty() {
    let mut ipvs = fresh();
    let never = |_| panic!("there is no row");
    assert_eq!(ipvs.get_service(&key(1)).unwrap(), None);
    assert_eq!(
        errno(ipvs.destinations(&key(1), never)),
        (Command::GET_DEST, Errno::ESRCH)
    );
    ipvs.add_service(&service(1)).unwrap();
    ipvs.destinations(&key(1), |_| panic!("there is no row"))
        .unwrap();
    assert!(ipvs.get_service(&key(1)).unwrap().is_some());

    let expect = |command, number| (command, number);
    assert_eq!(
        errno(ipvs.add_service(&service(1))),
        expect(Command::NEW_SERVICE, Errno::EEXIST)
    );
    assert_eq!(
        errno(ipvs.set_service(&service(2))),
        expect(Command::SET_SERVICE, Errno::ESRCH)
    );
    assert_eq!(
        errno(ipvs.delete_service(&key(2))),
        expect(Command::DEL_SERVICE, Errno::ESRCH)
    );
    assert_eq!(
        errno(ipvs.delete_destination(&key(1), &at(1))),
        expect(Command::DEL_DEST, Errno::ENOENT)
    );
    assert_eq!(
        errno(ipvs.zero(Some(&key(2)))),
        expect(Command::ZERO, Errno::ESRCH)
    );
    let mut unknown = service(3);
    unknown.scheduler = "nosuch".parse().unwrap();
    assert_eq!(
        errno(ipvs.add_service(&unknown)),
        expect(Command::NEW_SERVICE, Errno::ENOENT)
    );
    let mut far = destination(1);
    far.key.address = "fe80::1".parse().unwrap();
    far.forward = Forward::TUNNEL;
    assert_eq!(
        errno(ipvs.add_destination(&key(1), &far)),
        expect(Command::NEW_DEST, Errno::EINVAL)
    );
    ipvs.delete_service(&key(1)).unwrap();
    assert_eq!(saved(), [""; 0]);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn firewall_marks_of_two_families_are_two_services() {
    let mut ipvs = fresh();
    let mark = |family| ServiceKey::Fwmark { mark: 5, family };
    for family in [Family::V4, Family::V6] {
        ipvs.add_service(&Service::new(mark(family), "rr".parse().unwrap()))
            .unwrap();
    }
    assert_eq!(saved(), ["-A -f 5 -6 -s rr", "-A -f 5 -s rr"]);
    ipvs.delete_service(&mark(Family::V4)).unwrap();
    assert_eq!(saved(), ["-A -f 5 -6 -s rr"]);
    assert_eq!(read(&mut ipvs), saved());
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn timeouts_are_set_and_zero_leaves_one_alone() {
    let mut ipvs = fresh();
    let Info { version, .. } = ipvs.info().unwrap();
    assert_eq!(version, 0x01_0201);
    let set = Timeouts {
        tcp_s: 800,
        tcp_fin_s: 100,
        udp_s: 250,
    };
    ipvs.set_timeouts(&set).unwrap();
    assert_eq!(ipvs.timeouts().unwrap(), set);
    let one = Timeouts {
        udp_s: 30,
        ..Timeouts::default()
    };
    ipvs.set_timeouts(&one).unwrap();
    assert_eq!(ipvs.timeouts().unwrap(), Timeouts { udp_s: 30, ..set });
    assert!(run("ipvsadm", &["-L", "--timeout"]).contains("800 100 30"));
    ipvs.zero(None).unwrap();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_family_that_moved_is_found_again() {
    let mut ipvs = fresh();
    ipvs.add_service(&service(1)).unwrap();
    ipvs.flush().unwrap();
    // What depends on ip_vs first; the tables of earlier tests must go as well,
    // which the kernel does in its own time.
    let reload = "for _ in $(seq 100); do
            rmmod $(awk '/^ip_vs_/ { print $1 }' /proc/modules) 2>/dev/null
            rmmod ip_vs && exec modprobe ip_vs
            sleep 0.1
        done
        exit 1";
    run("sh", &["-c", reload]);
    let changes = [service(1), service(2)];
    apply(&mut ipvs, &changes.each_ref().map(Change::AddService));
    assert_eq!(
        saved(),
        ["-A -t 192.0.2.1:80 -s wrr", "-A -t 192.0.2.2:80 -s wrr"]
    );
    ipvs.flush().unwrap();
    run("sh", &["-c", reload]);
    assert_eq!(read(&mut ipvs), [""; 0]);
}
