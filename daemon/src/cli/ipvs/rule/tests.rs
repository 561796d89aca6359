//! Golden lines: those of `ipvsadm -S -n` 1.31, and where ours say more.

use super::*;
use trunnion_core::model::{EngineName, Family, Protocol, Tunnel};

fn key(protocol: Protocol) -> ServiceKey {
    ServiceKey::Address {
        protocol,
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    }
}

fn at(address: &str) -> DestinationKey {
    DestinationKey {
        address: address.parse().unwrap(),
        port: 80,
    }
}

#[test]
fn a_service_is_its_options() {
    let mut it = Service::new(key(Protocol::TCP), "wlc".parse().unwrap());
    assert_eq!(service(&it, None), "-t 192.0.2.1:80 -s wlc");
    it.flags = ServiceFlags::PERSISTENT | ServiceFlags::ONEPACKET | ServiceFlags::SCHED3;
    it.timeout_s = 90;
    it.prefix = 24;
    it.engine = EngineName::try_from("sip").unwrap();
    assert_eq!(
        service(&it, None),
        "-t 192.0.2.1:80 -s wlc -p 90 -M 255.255.255.0 --pe sip -o -b flag-3"
    );
    it.prefix = Service::NO_PREFIX;
    it.flags = ServiceFlags::PERSISTENT;
    assert_eq!(
        service(&it, Some([255, 0, 255, 0].into())),
        "-t 192.0.2.1:80 -s wlc -p 90 -M 255.0.255.0 --pe sip"
    );
    let mark = ServiceKey::Fwmark {
        mark: u32::MAX,
        family: Family::V6,
    };
    let mut it = Service::new(mark, "sh".parse().unwrap());
    it.flags = ServiceFlags::SCHED1 | ServiceFlags::SCHED2;
    assert_eq!(
        service(&it, None),
        "-f 4294967295 -6 -s sh -b sh-fallback,sh-port"
    );
    assert_eq!(service_loses(&it), None);
    let esp = Service::new(key(Protocol(50)), "rr".parse().unwrap());
    assert!(service_loses(&esp).is_some());
}

#[test]
fn a_destination_is_its_options() {
    let udp = key(Protocol::UDP);
    for (forward, weight, line) in [
        (Forward::MASQ, 0, "-m -w 0"),
        (Forward::ROUTE, 70_000, "-g -w 70000"),
        (Forward::TUNNEL, 1, "-i -w 1 --tun-type ipip"),
    ] {
        let it = Destination::new(at("10.0.0.1"), forward, weight);
        let line = format!("-u 192.0.2.1:80 -r 10.0.0.1:80 {line}");
        assert_eq!(destination(&udp, &it), line);
        assert_eq!(destination_loses(&it), None);
    }
    for forward in [Forward::LOCAL, Forward::BYPASS, Forward(7)] {
        let it = Destination::new(at("10.0.0.1"), forward, 1);
        assert!(destination_loses(&it).is_some());
    }
}

#[test]
fn a_tunnel_and_thresholds_are_said_in_full() {
    let mut it = Destination::new(at("2001:db8::1"), Forward::TUNNEL, 1);
    let both = TunnelFlags::CSUM | TunnelFlags::REMCSUM;
    for (kind, port, flags, line) in [
        (
            1,
            6080,
            TunnelFlags::empty(),
            "gue --tun-port 6080 --tun-nocsum",
        ),
        (1, 1, TunnelFlags::REMCSUM, "gue --tun-port 1 --tun-remcsum"),
        (1, 1, both, "gue --tun-port 1 --tun-csum --tun-remcsum"),
        (2, 0, TunnelFlags::CSUM, "gre --tun-csum"),
    ] {
        let kind = TunnelType(kind);
        it.tunnel = Tunnel { kind, port, flags };
        let sctp = key(Protocol::SCTP);
        assert_eq!(
            destination(&sctp, &it),
            format!("--sctp-service 192.0.2.1:80 -r [2001:db8::1]:80 -i -w 1 --tun-type {line}")
        );
    }
    it.tunnel.kind = TunnelType(9);
    assert!(destination_loses(&it).is_some());
    it.forward = Forward::MASQ;
    it.upper_threshold = 100;
    it.lower_threshold = 50;
    assert_eq!(
        destination(&key(Protocol::TCP), &it),
        "-t 192.0.2.1:80 -r [2001:db8::1]:80 -m -w 1 -x 100 -y 50"
    );
}

#[test]
fn a_change_is_a_command() {
    let key = key(Protocol::TCP);
    let its = Service::new(key, "rr".parse().unwrap());
    let it = Destination::new(at("10.0.0.1"), Forward::ROUTE, 1);
    for (of, line) in [
        (Change::AddService(&its), "-A -t 192.0.2.1:80 -s rr"),
        (Change::SetService(&its), "-E -t 192.0.2.1:80 -s rr"),
        (Change::DeleteService(&key), "-D -t 192.0.2.1:80"),
        (
            Change::AddDestination(&key, &it),
            "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1",
        ),
        (
            Change::SetDestination(&key, &it),
            "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1",
        ),
        (
            Change::DeleteDestination(&key, &it.key),
            "-d -t 192.0.2.1:80 -r 10.0.0.1:80",
        ),
    ] {
        assert_eq!(change(&of), line);
    }
}
