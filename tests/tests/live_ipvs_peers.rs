//! What goes wrong in other programs that speak to IPVS, and not in ours: a test
//! for each fault, named for what is right, with whose fault it was. A real
//! kernel judges, and ipvsadm; `cargo xtask test` runs it in the VM.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::process::Command as Process;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceFlags, ServiceKey,
    Tunnel, TunnelFlags, TunnelType,
};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::Change;
use trunnion_sys::ipvs::{Error, Ipvs, Outcome};
use trunnion_sys::netns;

/// A client in a namespace with an empty table.
fn fresh() -> Ipvs {
    netns::unshare_network().expect("these tests run as root, in the VM: cargo xtask test");
    Ipvs::open().expect("these tests need a kernel with ip_vs: cargo xtask test")
}

/// `ipvsadm -Sn`, sorted.
fn saved() -> Vec<String> {
    let output = Process::new("ipvsadm").arg("-Sn").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.sort();
    lines
}

/// Makes rows by ipvsadm, as another program would.
fn ipvsadm(lines: &[&str]) {
    for line in lines {
        let status = Process::new("ipvsadm").args(line.split(' ')).status();
        assert!(status.unwrap().success(), "{line}");
    }
}

fn of(address: &str, protocol: Protocol) -> ServiceKey {
    ServiceKey::Address {
        protocol,
        address: address.parse().unwrap(),
        port: 80,
    }
}

fn tcp(address: &str) -> ServiceKey {
    of(address, Protocol::TCP)
}

fn service(key: ServiceKey) -> Service {
    Service::new(key, "wrr".parse().unwrap())
}

fn destination(address: &str, forward: Forward, weight: u32) -> Destination {
    let address = address.parse().unwrap();
    Destination::new(DestinationKey { address, port: 80 }, forward, weight)
}

fn services(ipvs: &mut Ipvs) -> Vec<Service> {
    let mut found = Vec::new();
    ipvs.services(|entry| found.push(entry.service)).unwrap();
    found
}

fn destinations(ipvs: &mut Ipvs, key: &ServiceKey) -> Vec<Destination> {
    let mut found = Vec::new();
    ipvs.destinations(key, |entry| found.push(entry.destination))
        .unwrap();
    found
}

/// moby/ipvs reads weights as 16 bits (70000 is 4464) and loses the engine.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_weight_has_32_bits_and_an_engine_is_read() {
    let mut ipvs = fresh();
    ipvsadm(&[
        "-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip",
        "-A -t 192.0.2.1:80 -s wrr",
        "-a -t 192.0.2.1:80 -r 198.51.100.1:80 -g -w 70000",
    ]);
    assert_eq!(destinations(&mut ipvs, &tcp("192.0.2.1"))[0].weight, 70_000);
    let engines: Vec<_> = services(&mut ipvs)
        .into_iter()
        .filter(|it| it.engine == "sip")
        .collect();
    assert_eq!(engines.len(), 1);
    // Written again it is still there; without it the kernel would take it away.
    ipvs.set_service(&engines[0]).unwrap();
    assert!(saved().iter().any(|line| line.contains("--pe sip")));
}

/// moby/ipvs makes 32.1.13.184 of 2001:db8::1 in an IPv4 service, and says
/// nothing.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_destination_of_the_other_family_keeps_its_address() {
    let mut ipvs = fresh();
    let (four, six) = (tcp("192.0.2.1"), tcp("2001:db8::1"));
    let into_four = destination("2001:db8::7", Forward::TUNNEL, 1);
    let into_six = destination("198.51.100.7", Forward::TUNNEL, 1);
    for (key, it) in [(four, into_four), (six, into_six)] {
        ipvs.add_service(&service(key)).unwrap();
        ipvs.add_destination(&key, &it).unwrap();
        assert_eq!(destinations(&mut ipvs, &key), [it]);
        // Its request is not that of its neighbours: nor when in one batch.
        let own = if key == four {
            "198.51.100.8"
        } else {
            "2001:db8::8"
        };
        let own = destination(own, Forward::TUNNEL, 1);
        let changed = Destination { weight: 5, ..it };
        let mut outcomes = [Outcome::NotSent; 4];
        let batch = [
            Change::AddDestination(&key, &own),
            Change::SetDestination(&key, &own),
            Change::SetDestination(&key, &changed),
            Change::SetDestination(&key, &own),
        ];
        ipvs.apply(&batch, &mut outcomes).unwrap();
        assert_eq!(outcomes, [Outcome::Done; 4]);
        assert_eq!(destinations(&mut ipvs, &key), [own, changed]);
    }
    assert!(saved().iter().any(|line| line.contains("[2001:db8::7]:80")));
}

/// moby/ipvs writes IPv4 masks in host order (0.255.255.255); pyroute2, nlrs and
/// netlink-packet-ipvs make no IPv6 service unless told a mask of their own
/// making; cloudflare/ipvs has EINVAL for none at all.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn masks_are_the_kernel_s_and_need_not_be_said() {
    let mut ipvs = fresh();
    ipvs.add_service(&service(tcp("2001:db8::1"))).unwrap();
    ipvs.add_service(&service(tcp("192.0.2.1"))).unwrap();
    let masked = |address, prefix| Service {
        flags: ServiceFlags::PERSISTENT,
        timeout_s: 60,
        prefix,
        ..service(tcp(address))
    };
    let all = [
        masked("192.0.2.2", 24),
        masked("192.0.2.3", 0),
        masked("2001:db8::2", 64),
        masked("2001:db8::3", 1),
    ];
    for it in &all {
        ipvs.add_service(it).unwrap();
        let entry = ipvs.get_service(&it.key).unwrap().unwrap();
        assert_eq!((&entry.service, entry.odd_mask), (it, None));
    }
    assert_eq!(
        saved(),
        [
            "-A -t 192.0.2.1:80 -s wrr",
            "-A -t 192.0.2.2:80 -s wrr -p 60 -M 255.255.255.0",
            "-A -t 192.0.2.3:80 -s wrr -p 60 -M 0.0.0.0",
            "-A -t [2001:db8::1]:80 -s wrr",
            "-A -t [2001:db8::2]:80 -s wrr -p 60 -M 64",
            "-A -t [2001:db8::3]:80 -s wrr -p 60 -M 1",
        ]
    );
}

/// cloudflare/ipvs has an error for an empty table and for an empty service.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn nothing_is_no_error() {
    let mut ipvs = fresh();
    assert_eq!(services(&mut ipvs), []);
    ipvs.daemons(|it| panic!("{it:?}")).unwrap();
    ipvs.flush().unwrap();
    ipvs.zero(None).unwrap();
    ipvs.add_service(&service(tcp("192.0.2.1"))).unwrap();
    assert_eq!(destinations(&mut ipvs, &tcp("192.0.2.1")), []);
    ipvs.apply(&[], &mut []).unwrap();
}

/// pyroute2 deletes what it is told to update, and writes tunnel ports in host
/// order (6080 is 49175); nlrs makes ipip of every tunnel; a SET without its
/// tunnel makes ipip of it in the kernel.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn an_update_keeps_the_destination_and_its_tunnel() {
    let mut ipvs = fresh();
    let key = tcp("192.0.2.1");
    ipvs.add_service(&service(key)).unwrap();
    let mut gue = destination("198.51.100.1", Forward::TUNNEL, 1);
    gue.tunnel = Tunnel {
        kind: TunnelType::GUE,
        port: 6080,
        flags: TunnelFlags::CSUM,
    };
    let plain = destination("198.51.100.2", Forward::TUNNEL, 1);
    ipvs.add_destination(&key, &gue).unwrap();
    ipvs.add_destination(&key, &plain).unwrap();
    for weight in [2, 3, 4] {
        for it in [&mut gue.clone(), &mut plain.clone()] {
            it.weight = weight;
            ipvs.set_destination(&key, it).unwrap();
        }
        assert_eq!(
            saved()[1..],
            [
                format!(
                    "-a -t 192.0.2.1:80 -r 198.51.100.1:80 -i -w {weight} --tun-type gue \
                     --tun-port 6080 --tun-csum"
                ),
                format!("-a -t 192.0.2.1:80 -r 198.51.100.2:80 -i -w {weight} --tun-type ipip"),
            ]
        );
    }
    // And back to a plain one, which is said by saying nothing of it.
    gue.tunnel = Tunnel::IPIP;
    ipvs.set_destination(&key, &gue).unwrap();
    assert!(destinations(&mut ipvs, &key).contains(&gue));
}

/// netlink-packet-ipvs sets the lower threshold to the upper one, and panics on
/// schedulers it does not know; nlrs's flags have no mask, so the kernel ignores
/// them.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn thresholds_schedulers_and_flags_are_what_was_said() {
    let mut ipvs = fresh();
    let names = "rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh none";
    let flags = ServiceFlags::PERSISTENT | ServiceFlags::SCHED1 | ServiceFlags::SCHED2;
    let mut expect = Vec::new();
    for (name, last) in names.split(' ').zip(1_u8..) {
        let it = Service {
            scheduler: name.parse().unwrap(),
            flags,
            timeout_s: 30,
            ..service(tcp(&format!("192.0.2.{last}")))
        };
        ipvs.add_service(&it).unwrap();
        expect.push(it);
    }
    let mut found = services(&mut ipvs);
    found.sort_by_key(|it| it.key);
    assert_eq!(found, expect);

    let one_packet = Service {
        flags: ServiceFlags::ONEPACKET | ServiceFlags::SCHED3,
        ..service(of("192.0.2.1", Protocol::UDP))
    };
    ipvs.add_service(&one_packet).unwrap();
    let entry = ipvs.get_service(&one_packet.key).unwrap().unwrap();
    assert_eq!(entry.service, one_packet);

    let key = tcp("192.0.2.1");
    let mut limited = destination("198.51.100.1", Forward::ROUTE, 1);
    limited.upper_threshold = 2000;
    limited.lower_threshold = 1500;
    ipvs.add_destination(&key, &limited).unwrap();
    assert_eq!(destinations(&mut ipvs, &key), [limited]);
}

/// nlrs fails on a dump above 32 KiB, then takes the answer to one request for
/// that to the next, so that a failed add is reported as done.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn after_a_long_dump_the_next_answer_is_of_the_next_request() {
    let mut ipvs = fresh();
    let all: Vec<_> = (0..400_u32)
        .map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            service(tcp(&format!("192.0.{high}.{low}")))
        })
        .collect();
    let changes: Vec<_> = all.iter().map(Change::AddService).collect();
    let mut outcomes = vec![Outcome::NotSent; all.len()];
    ipvs.apply(&changes, &mut outcomes).unwrap();
    for _ in 0..3 {
        // The kernel goes on with a dump at a count of all namespaces' services:
        // another one that ends meanwhile hides some of ours.
        let shown = services(&mut ipvs).len();
        assert!((300..=400).contains(&shown), "{shown}");
        let again = ipvs.add_service(&all[7]).unwrap_err();
        assert!(
            matches!(
                again,
                Error::Kernel {
                    errno: Errno::EEXIST,
                    ..
                }
            ),
            "{again}"
        );
        ipvs.set_service(&all[7]).unwrap();
    }
}

/// nlrs binds the process's number, so that there is one client in a process;
/// moby/ipvs mixes the answers of two threads.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn clients_of_one_process_do_not_mind_each_other() {
    let mut first = fresh();
    let mut second = Ipvs::open().unwrap();
    first.add_service(&service(tcp("192.0.2.1"))).unwrap();
    second.add_service(&service(tcp("192.0.2.2"))).unwrap();
    std::thread::scope(|scope| {
        for (ipvs, last) in [(&mut first, 1), (&mut second, 2)] {
            scope.spawn(move || {
                let key = tcp(&format!("192.0.2.{last}"));
                for weight in 0..200 {
                    let it = destination("198.51.100.1", Forward::ROUTE, weight);
                    let gone = destination("198.51.100.2", Forward::ROUTE, weight);
                    if weight == 0 {
                        ipvs.add_destination(&key, &it).unwrap();
                    }
                    ipvs.set_destination(&key, &it).unwrap();
                    assert!(ipvs.set_destination(&key, &gone).is_err());
                    assert_eq!(destinations(ipvs, &key), [it]);
                }
            });
        }
    });
}

/// nlrs's whole list breaks on one service by firewall mark or of SCTP, and
/// netlink-packet-ipvs reads none by firewall mark.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn every_kind_of_service_is_in_one_list() {
    let mut ipvs = fresh();
    let mark = |family| ServiceKey::Fwmark { mark: 7, family };
    let mut all = vec![
        tcp("192.0.2.1"),
        of("192.0.2.1", Protocol::UDP),
        of("192.0.2.1", Protocol::SCTP),
        tcp("2001:db8::1"),
        of("2001:db8::1", Protocol::SCTP),
        mark(Family::V4),
        mark(Family::V6),
    ];
    for key in &all {
        ipvs.add_service(&service(*key)).unwrap();
        let host = match key.family() {
            Family::V4 => "198.51.100.1",
            Family::V6 => "2001:db8::7",
        };
        let it = destination(host, Forward::ROUTE, 3);
        ipvs.add_destination(key, &it).unwrap();
        assert_eq!(destinations(&mut ipvs, key), [it]);
    }
    let mut found: Vec<_> = services(&mut ipvs).iter().map(|it| it.key).collect();
    found.sort();
    all.sort();
    assert_eq!(found, all);
}
