//! Datagram sockets against a real kernel's routes, neighbours and ICMP, in a
//! network namespace of each test's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};
use trunnion_core::check::probe::{Ping, Probe, Room, Spec, Step, Token};
use trunnion_core::check::{Reason, Verdict};
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_sys::datagram::{BATCH, Inbox, Outbox, Port};
use trunnion_sys::netns::unshare_network;

fn ip(args: &str) {
    let status = Command::new("ip")
        .args(args.split_whitespace())
        .status()
        .expect("iproute2 is installed");
    assert!(status.success(), "ip {args}");
}

const EPERM: Errno = Errno(1);
const EACCES: Errno = Errno(13);
const EINVAL: Errno = Errno(22);
const ENETUNREACH: Errno = Errno(101);
const ECONNREFUSED: Errno = Errno(111);
const EHOSTUNREACH: Errno = Errno(113);
const IDENTIFIER: u16 = 0x7123;

/// A link of two ends in one namespace: what is sent to a neighbour there is
/// answered by nobody.
fn link() {
    unshare_network().unwrap();
    ip("link add near type veth peer name far");
    ip("addr add 10.1.0.1/24 dev near");
    ip("addr add 2001:db8:1::1/64 dev near nodad");
    ip("link set near up");
    ip("link set far up");
}

struct Pinger {
    port: Port,
    outbox: Outbox,
    inbox: Inbox,
    probes: Vec<(Ping, Probe)>,
    verdicts: Vec<Option<Verdict>>,
}

impl Pinger {
    fn new(family: Family, identifier: u16) -> Self {
        Self {
            port: Port::icmp(family, identifier).unwrap(),
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            probes: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Pings; returns what the kernel said.
    fn ping(&mut self, target: &str, mark: u32) -> Result<(), Errno> {
        let target: IpAddr = target.parse().unwrap();
        let ping = Ping {
            target,
            identifier: IDENTIFIER,
        };
        let number = self.probes.len();
        let mut secret = [9; 16];
        secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let id = u16::try_from(number).unwrap();
        let mut room = Room {
            out: self.outbox.room().unwrap(),
            keep: &mut [],
        };
        let token = Token { id, secret };
        let (probe, Step::Send(len)) = Probe::begin(&Spec::Ping(ping), token, &mut room) else {
            panic!("nothing to send");
        };
        self.outbox.push(len, (target, 0).into(), mark, 0);
        self.probes.push((ping, probe));
        self.verdicts.push(None);
        let mut result = Ok(());
        self.port.send(&mut self.outbox, |_, told| result = told);
        result
    }

    fn receive(&mut self) -> usize {
        let mut packets = 0;
        while self.port.receive(&mut self.inbox).unwrap() > 0 {
            for answer in self.inbox.answers() {
                packets += 1;
                let token = Ping::token_of(self.port.family(), answer.bytes).expect("one of ours");
                let number = usize::try_from(u64::from_be_bytes(token)).unwrap();
                let (ping, probe) = &mut self.probes[number];
                let mut room = Room {
                    out: &mut [],
                    keep: &mut [],
                };
                if let Step::Verdict(verdict) =
                    probe.handle_bytes(&Spec::Ping(*ping), answer.bytes, &mut room)
                {
                    self.verdicts[number] = Some(verdict);
                }
            }
        }
        packets
    }

    fn verdict(&mut self) -> Verdict {
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            self.receive();
            if let Some(Some(verdict)) = self.verdicts.last() {
                return *verdict;
            }
            assert!(Instant::now() < limit, "nothing came back");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
#[ignore = "needs root and a network namespace"]
fn a_ping_has_its_reply_or_its_reason() {
    link();
    for (family, up, silent) in [
        (Family::V4, "127.0.0.1", "10.1.0.2"),
        (Family::V6, "::1", "2001:db8:1::2"),
    ] {
        let mut pinger = Pinger::new(family, IDENTIFIER);
        assert_eq!(pinger.ping(up, 0), Ok(()));
        assert_eq!(pinger.verdict(), Verdict::Success);
        // Neighbour discovery gives up, and the kernel sends itself an error.
        assert_eq!(pinger.ping(silent, 0), Ok(()));
        let unreachable = Verdict::Failure(Reason::HostUnreachable);
        assert_eq!(pinger.verdict(), unreachable);
    }
}

#[test]
#[ignore = "needs root and a network namespace"]
fn a_route_that_refuses_is_told_at_once() {
    link();
    for (n, kind) in ["blackhole", "unreachable", "prohibit"].iter().enumerate() {
        ip(&format!("route add {kind} 10.9.{n}.0/24"));
        ip(&format!("route add {kind} 2001:db8:9:{n}::/64"));
    }
    let table = [
        ("10.9.0.1", EINVAL),
        ("10.9.1.1", EHOSTUNREACH),
        ("10.9.2.1", EACCES),
        ("192.0.2.1", ENETUNREACH),
        ("2001:db8:9:0::1", EINVAL),
        ("2001:db8:9:1::1", EHOSTUNREACH),
        ("2001:db8:9:2::1", EACCES),
        ("2001:db8:ffff::1", ENETUNREACH),
    ];
    for (target, errno) in table {
        let family = Family::of(&target.parse().unwrap());
        let mut pinger = Pinger::new(family, IDENTIFIER);
        assert_eq!(pinger.ping(target, 0), Err(errno), "icmp {target}");
        let mut port = Port::udp(family).unwrap();
        let mut outbox = Outbox::new();
        // Among others, so that it must be told apart.
        let closed: SocketAddr = match family {
            Family::V4 => "127.0.0.1:9".parse().unwrap(),
            Family::V6 => "[::1]:9".parse().unwrap(),
        };
        let target = SocketAddr::new(target.parse().unwrap(), 9);
        let mut expected = Vec::new();
        for n in 0..BATCH as u64 {
            let to = if n % 2 == 0 { closed } else { target };
            outbox.push(0, to, 0, n);
            expected.push((n, if n % 2 == 0 { Ok(()) } else { Err(errno) }));
        }
        let mut sent = Vec::new();
        port.send(&mut outbox, |tag, result| sent.push((tag, result)));
        assert_eq!(sent, expected, "udp {target}");
        let mut inbox = Inbox::new();
        let mut refused = 0;
        while port.receive_errors(&mut inbox).unwrap() > 0 {
            for refusal in inbox.refusals() {
                assert_eq!((refusal.to, refusal.errno), (closed, ECONNREFUSED));
                refused += 1;
            }
        }
        assert_eq!(refused, BATCH / 2);
    }
}

#[test]
#[ignore = "needs root and a network namespace"]
fn a_firewall_here_is_no_echo_of_another() {
    unshare_network().unwrap();
    let rules = "add table inet t; add chain inet t out { type filter hook output priority 0; }; \
                 add rule inet t out udp dport 7 drop";
    let status = Command::new("nft").args(rules.split(' ')).status();
    assert!(status.expect("nftables is installed").success());
    let mut port = Port::udp(Family::V4).unwrap();
    let mut outbox = Outbox::new();
    outbox.push(0, "127.0.0.1:9".parse().unwrap(), 0, 0);
    outbox.push(0, "127.0.0.1:7".parse().unwrap(), 0, 1);
    let mut sent = Vec::new();
    port.send(&mut outbox, |tag, result| sent.push((tag, result)));
    assert_eq!(sent, [(0, Ok(())), (1, Err(EPERM))]);
}

#[test]
#[ignore = "needs root and a network namespace"]
fn a_neighbour_that_is_silent_is_told_of_by_its_own_address() {
    link();
    let silent: SocketAddr = "10.1.0.2:53".parse().unwrap();
    let mut port = Port::udp(Family::V4).unwrap();
    let mut outbox = Outbox::new();
    let mut inbox = Inbox::new();
    outbox.room().unwrap()[..5].copy_from_slice(b"hello");
    outbox.push(5, silent, 0, 7);
    port.send(&mut outbox, |tag, result| {
        assert_eq!((tag, result), (7, Ok(())))
    });
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let limit = Instant::now() + Duration::from_secs(30);
    while port.receive_errors(&mut inbox).unwrap() == 0 {
        assert!(Instant::now() < limit, "no error came");
        // Whoever is asked meanwhile is not blamed.
        outbox.push(0, server.local_addr().unwrap(), 0, 1);
        port.send(&mut outbox, |_, result| assert_eq!(result, Ok(())));
        std::thread::sleep(Duration::from_millis(5));
    }
    let refusal = inbox.refusals().next().unwrap();
    assert_eq!((refusal.to, refusal.bytes), (silent, &b"hello"[..]));
    assert_eq!(refusal.errno, EHOSTUNREACH);
    assert_eq!(refusal.by, Some("10.1.0.1".parse().unwrap()));
}

#[test]
#[ignore = "needs root and a network namespace"]
fn a_packet_carries_its_mark() {
    unshare_network().unwrap();
    for family in ["-4", "-6"] {
        ip(&format!("{family} rule add fwmark 7 lookup 100 priority 1"));
        ip(&format!("{family} rule del lookup local"));
        ip(&format!("{family} rule add lookup local priority 10"));
        ip(&format!("{family} route add blackhole default table 100"));
    }
    for (family, target) in [(Family::V4, "127.0.0.1"), (Family::V6, "::1")] {
        let mut pinger = Pinger::new(family, IDENTIFIER);
        assert_eq!(pinger.ping(target, 7), Err(EINVAL));
        assert_eq!(pinger.ping(target, 0), Ok(()));
        assert_eq!(pinger.verdict(), Verdict::Success);
        let server = UdpSocket::bind((target, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let mut port = Port::udp(family).unwrap();
        let mut outbox = Outbox::new();
        let mut sent = Vec::new();
        for (tag, mark) in [(0, 0), (1, 7), (2, 8), (3, 7), (4, 0)] {
            outbox.push(0, address, mark, tag);
        }
        port.send(&mut outbox, |tag, result| sent.push((tag, result.is_ok())));
        assert_eq!(
            sent,
            [(0, true), (1, false), (2, true), (3, false), (4, true)]
        );
    }
}

/// Others' echoes do not reach us, however many there are.
#[test]
#[ignore = "needs root and a network namespace"]
fn only_what_concerns_us_is_heard() {
    link();
    for (family, target) in [(Family::V4, "127.0.0.1"), (Family::V6, "::1")] {
        let mut ours = Pinger::new(family, IDENTIFIER);
        let mut others = Pinger::new(family, IDENTIFIER + 1);
        // Each hears by its own filter; what they send has one identifier.
        for _ in 0..BATCH {
            assert_eq!(others.ping(target, 0), Ok(()));
        }
        let limit = Instant::now() + Duration::from_secs(30);
        while ours.port.receive(&mut ours.inbox).unwrap() == 0 {
            assert!(Instant::now() < limit, "the replies are heard");
        }
        assert_eq!(others.receive(), 0, "{family:?}");
        // Nor are requests, which loop back as well, nor destinations that are
        // unreachable to others.
        for answer in ours.inbox.answers() {
            assert!(Ping::token_of(family, answer.bytes).is_some());
        }
    }
}
