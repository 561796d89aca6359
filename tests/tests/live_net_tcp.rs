//! The check engine on real sockets, in a network namespace of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{self, Duration};
use trunnion_core::check::probe::Scripts;
use trunnion_core::check::{
    Action, Aside, CheckConfig, Engine, HealthState, Kind, Local, MannerSlot, Reason, Settings,
    Slot, Socket, SocketId, Storage, Verdict,
};
use trunnion_core::time::{Instant, Slot as TimerSlot};
use trunnion_sys::netns::unshare_network;
use trunnion_sys::tcp::{Outcome, Pool, Readiness};

fn ip(args: &str) {
    let status = Command::new("ip")
        .args(args.split_whitespace())
        .status()
        .expect("iproute2 is installed");
    assert!(status.success(), "ip {args}");
}

fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value).expect("a sysctl of the namespace");
}

fn listener(address: impl Into<IpAddr>, port: u16) -> TcpListener {
    TcpListener::bind((address.into(), port)).expect("a port of the namespace")
}

/// An owner as the engine's module describes it.
struct Owner {
    engine: Engine<'static>,
    pool: Pool,
    poll: Poll,
    events: Events,
    start: time::Instant,
    states: BTreeMap<SocketAddr, (HealthState, Option<Reason>)>,
}

impl Owner {
    fn new(plan: &[CheckConfig], v4: u32, v6: u32) -> Self {
        let pool = Pool::open(v4, v6).unwrap();
        let poll = Poll::new().unwrap();
        for (id, fd) in pool.iter() {
            let fd = fd.as_raw_fd();
            let token = Token(id.index());
            poll.registry()
                .register(
                    &mut SourceFd(&fd),
                    token,
                    Interest::READABLE | Interest::WRITABLE,
                )
                .unwrap();
        }
        let storage = Storage {
            checks: Box::leak(vec![Slot::EMPTY; plan.len()].into()),
            asides: Box::leak(vec![Aside::EMPTY; plan.len()].into()),
            timers: Box::leak(vec![TimerSlot::EMPTY; plan.len()].into()),
            manners: Box::leak(vec![MannerSlot::EMPTY; plan.len()].into()),
            sockets: Box::leak(vec![Socket::EMPTY; pool.len()].into()),
            scripts: &mut [],
            request: &mut [],
            desks: &mut [],
            paces: &mut [],
        };
        let settings = Settings {
            tick_ns: 1 << 20,
            sockets_v4: v4,
            seats: 0,
            tls: 0,
            errands: 0,
            late_margin: Duration::from_secs(1),
            checks_per_second: 0,
            seed: 0,
            secret: [1, 2],
        };
        let mut owner = Self {
            engine: Engine::new(storage, settings),
            pool,
            poll,
            events: Events::with_capacity(256),
            start: time::Instant::now(),
            states: BTreeMap::new(),
        };
        let now = owner.now();
        owner.engine.handle_plan(now, plan, Scripts::EMPTY).unwrap();
        owner
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn turn(&mut self) {
        let wait = self.engine.poll_timeout().map_or(Duration::ZERO, |t| {
            t.since(self.now()).min(Duration::from_millis(50))
        });
        self.poll.poll(&mut self.events, Some(wait)).unwrap();
        let now = self.now();
        for event in &self.events {
            let id = SocketId(u32::try_from(event.token().0).unwrap());
            let readiness = Readiness {
                writable: event.is_writable(),
                error: event.is_error(),
                hup: event.is_write_closed(),
            };
            match self.pool.outcome(id, readiness) {
                Some(Outcome::Connected) => self.engine.handle_connected(now, id),
                Some(Outcome::Failed(errno)) => self.engine.handle_failed(now, id, errno),
                Some(Outcome::InProgress) | None => {}
            }
        }
        self.engine.handle_timeout(now);
        while let Some(action) = self.engine.poll_action(self.now()) {
            let now = self.now();
            match action {
                Action::Connect {
                    socket,
                    target,
                    half_open,
                } => match self.pool.connect(socket, target, half_open) {
                    Outcome::Connected => self.engine.handle_connected(now, socket),
                    Outcome::InProgress => {}
                    Outcome::Failed(errno) => self.engine.handle_failed(now, socket, errno),
                },
                Action::Send { .. }
                | Action::Secure { .. }
                | Action::Datagram { .. }
                | Action::Errand { .. } => {
                    panic!("nothing is said here")
                }
                Action::Disconnect { socket } => self.pool.disconnect(socket).unwrap(),
            }
        }
        while let Some(report) = self.engine.poll_change() {
            self.states
                .insert(report.target, (report.state, report.reason));
        }
        assert_eq!(
            trunnion_core::check::engine::laws::audit(&self.engine),
            Ok(())
        );
    }

    fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = time::Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(time::Instant::now() < limit, "{what}: {:?}", self.states);
            self.turn();
        }
    }
}

fn check(target: SocketAddr, half_open: bool) -> CheckConfig {
    CheckConfig {
        interval: Duration::from_millis(20),
        fast_interval: Duration::from_millis(10),
        down_interval: Duration::from_millis(20),
        timeout: Duration::from_millis(250),
        ..CheckConfig::new(Kind::Tcp { half_open }, target)
    }
}

const UP: (HealthState, Option<Reason>) = (HealthState::Up, None);

fn down(reason: Reason) -> (HealthState, Option<Reason>) {
    (HealthState::Down, Some(reason))
}

/// Every way a target can be, at once: each is found, with its reason.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_way_a_target_can_be() {
    unshare_network().expect("root");
    ip("address add 2001:db8::1/128 dev lo");
    ip("route add blackhole 192.0.2.1");
    ip("route add unreachable 192.0.2.2");
    ip("route add prohibit 192.0.2.3");
    let four = listener(Ipv4Addr::LOCALHOST, 80);
    let six = listener(Ipv6Addr::LOCALHOST, 80);
    for listener in [&four, &six] {
        listener.set_nonblocking(true).unwrap();
    }
    // What is sent there comes back in, is not ours, and is dropped.
    ip("route add 198.51.100.9 dev lo");

    let at = |address: [u8; 4], port| SocketAddr::from((address, port));
    let expected: BTreeMap<_, _> = [
        (at([127, 0, 0, 1], 80), UP),
        (at([127, 0, 0, 2], 80), down(Reason::Refused)),
        ((Ipv6Addr::LOCALHOST, 80).into(), UP),
        ((Ipv6Addr::LOCALHOST, 81).into(), down(Reason::Refused)),
        (at([192, 0, 2, 1], 80), down(Reason::Blackhole)),
        (at([192, 0, 2, 2], 80), down(Reason::HostUnreachable)),
        (at([192, 0, 2, 3], 80), down(Reason::Prohibited)),
        (at([203, 0, 113, 1], 80), down(Reason::NetUnreachable)),
        (at([198, 51, 100, 9], 80), down(Reason::TimedOut)),
    ]
    .into();
    for half_open in [true, false] {
        let plan: Vec<_> = expected.keys().map(|t| check(*t, half_open)).collect();
        let mut owner = Owner::new(&plan, 4, 2);
        owner.run_until("every target is known", |o| o.states == expected);
        let before = owner.engine.counters().succeeded;
        owner.run_until("a hundred more", |o| {
            o.engine.counters().succeeded >= before + 100
        });
        assert_eq!(owner.states, expected);
        assert_eq!(owner.engine.poll_trouble(owner.now()), None);

        // The IPv6 server goes, and comes back.
        let gone = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
        if !half_open {
            drop(six);
            owner.run_until("it is found down", |o| {
                o.states[&gone] == down(Reason::Refused)
            });
            let _six = listener(Ipv6Addr::LOCALHOST, 80);
            owner.run_until("it is found up", |o| o.states[&gone] == UP);
            break;
        }
        assert_eq!(
            four.accept().unwrap_err().kind(),
            std::io::ErrorKind::WouldBlock,
            "half-open probes wake nobody"
        );
    }
    let waiting = std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap();
    let tcp = waiting.lines().find(|l| l.starts_with("TCP:")).unwrap();
    assert!(tcp.contains(" tw 0 "), "sockets left in TIME_WAIT: {tcp}");
}

/// Out of local ports, nobody goes down.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn want_of_ports_is_no_verdict() {
    unshare_network().expect("root");
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let server = listener(Ipv4Addr::LOCALHOST, 80);
    let mut owner = Owner::new(&[check(target, false)], 1, 0);
    owner.run_until("it is up", |o| o.states.get(&target) == Some(&UP));

    sysctl("ipv4/ip_local_port_range", "40000 40001");
    let held: Vec<_> = (0..2)
        .map(|_| std::net::TcpStream::connect(target).expect("a port is left"))
        .collect();
    let ports = Local::Ports.index();
    owner.run_until("ten probes find no port", |o| {
        o.engine.counters().indeterminate[ports] >= 10
    });
    assert_eq!(owner.states[&target], UP);
    assert_eq!(owner.engine.counters().went_down, 0);
    let trouble = owner.engine.poll_trouble(owner.now()).unwrap();
    assert_eq!(trouble.local, Local::Ports);

    // Reset, or they would wait out their time.
    drop(held);
    sysctl("ipv4/ip_local_port_range", "50000 60000");
    let before = owner.engine.counters().succeeded;
    owner.run_until("ports are back", |o| o.engine.counters().succeeded > before);
    drop(server);
    owner.run_until("verdicts are back", |o| {
        o.states[&target] == down(Reason::Refused)
    });
    let refused = trunnion_core::check::Errno(111);
    assert_eq!(
        Verdict::of_connect(refused),
        Verdict::Failure(Reason::Refused)
    );
}
