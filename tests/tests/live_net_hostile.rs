//! A hostile network: adverts with every field wrong, a flood of forgeries, and a
//! rival whose priority is higher than its right. Counters rise; no timer, no role
//! and no memory moves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use trunnion_core::bytes::Writer;
use trunnion_core::vrrp::advert::{Outgoing, encode_ipv4};
use trunnion_core::vrrp::{AdvertForm, Centis, GROUP_V4};
use trunnion_sys::netns::unshare_network;
use trunnion_sys::packet::{BATCH_MAX, PacketSocket};
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::side::Side;

/// An attacker's address, which nobody's config names.
const RIVAL: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 99);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 10);
const ACTIVE: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
const BACKUP: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);

/// What ip-link(8) calls the bridge of a port.
const BRIDGE: &str = "master";

/// Three namespaces on a switch: an Active, a Backup, and an attacker.
struct Field {
    active: Side,
    backup: Side,
    attacker: Side,
}

impl Field {
    fn new() -> Self {
        unshare_network().expect("a network namespace: run as root");
        run("ip link add br0 up type bridge mcast_snooping 0 forward_delay 0");
        let side = |name: &str, own: Ipv4Addr| {
            let side = Side::joined(&format!("p{name}"), name);
            run(&format!("ip link set p{name} up {BRIDGE} br0"));
            side.run(|| {
                run(&format!("ip addr add {own}/24 dev {name}"));
                run(&format!("ip link set {name} up"));
            });
            side
        };
        Self {
            active: side("va", ACTIVE),
            backup: side("vb", BACKUP),
            attacker: side("vc", RIVAL),
        }
    }

    /// The two daemons, once it is settled who is Active.
    fn daemons(&self, keys: [&str; 2]) -> [Daemon; 2] {
        let config = |interface: &str, priority: u8, keys: &str| {
            format!(
                "[[vrrp]]\nname = \"public\"\ninterface = \"{interface}\"\nvrid = 51\n\
                 priority = {priority}\ninterval = \"50ms\"\naddresses = [\"{VIP}/32\"]\n{keys}"
            )
        };
        let mut active = self
            .active
            .run(|| Daemon::start(&config("va", 150, keys[0])));
        active.says("Backup -> Active");
        let mut backup = self
            .backup
            .run(|| Daemon::start(&config("vb", 100, keys[1])));
        backup.says("Initialize -> Backup");
        [active, backup]
    }

    /// Sends frames from the attacker's place, so many in a second, or as many as
    /// the machine can; how many that were in a second.
    fn attack(&self, frames: &[Vec<u8>], total: usize, per_second: u32) -> f64 {
        self.attacker.run(|| {
            let line = run("ip -o link show vc");
            let index: u32 = line.split(':').next().unwrap().trim().parse().unwrap();
            let socket = PacketSocket::open(NonZeroU32::new(index).unwrap()).unwrap();
            // A system call for 64, and no queue between them and the wire.
            socket.bypass_queue(true).unwrap();
            let begun = Instant::now();
            let mut sent = 0;
            while sent < total {
                let batch: Vec<&[u8]> = (sent..total.min(sent + BATCH_MAX))
                    .map(|at| &*frames[at % frames.len()])
                    .collect();
                sent += socket.send_batch(&batch).unwrap_or(0);
                let due = Duration::from_secs(1) * u32::try_from(sent).unwrap() / per_second;
                if let Some(early) = due.checked_sub(begun.elapsed()) {
                    std::thread::sleep(early);
                }
            }
            let took = begun.elapsed();
            let rate = f64::from(u32::try_from(sent).unwrap()) / took.as_secs_f64();
            println!("{sent} forgeries in {took:?}, {rate:.0} a second");
            rate
        })
    }
}

/// An advert as a router would send it, in its frame.
fn advert(source: Ipv4Addr, to: Ipv4Addr, mac: [u8; 6], priority: u8) -> Vec<u8> {
    let mut bytes = [0; 128];
    let mut w = Writer::new(&mut bytes);
    let advert = Outgoing {
        vrid: 51,
        priority,
        interval: Centis::new(5).unwrap(),
        source: source.into(),
        destination: to.into(),
        form: AdvertForm::Rfc9568,
    };
    encode_ipv4(&mut w, &advert, [IpAddr::V4(VIP)]).unwrap();
    let mut packet = w.finish().unwrap().to_vec();
    seal(&mut packet);
    let mut frame = mac.to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x99, 8, 0]);
    frame.extend(packet);
    frame
}

const GROUP_MAC: [u8; 6] = [1, 0, 0x5e, 0, 0, 0x12];
const HEADER: usize = 14;
const MESSAGE: usize = HEADER + 20;

/// The sum of an IPv4 header; a raw socket's kernel would write it.
fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let total = !sum(&packet[..header]);
    packet[10..12].copy_from_slice(&total.to_be_bytes());
}

/// The sum of a VRRP message.
fn reseal(frame: &mut [u8]) {
    let message = &mut frame[MESSAGE..];
    message[6..8].fill(0);
    let total = !sum(message);
    message[6..8].copy_from_slice(&total.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap()
}

/// A rival of the highest priority, each time with one thing wrong, and the
/// counter that should rise.
fn forgeries() -> Vec<(&'static str, Vec<u8>)> {
    let good = advert(RIVAL, GROUP_V4, GROUP_MAC, 255);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        change(&mut frame);
        seal(&mut frame[HEADER..]);
        frame
    };
    let message = |at: usize, value: u8| {
        with(&|frame: &mut Vec<u8>| {
            frame[MESSAGE + at] = value;
            reseal(frame);
        })
    };
    let longer = |bytes: usize, length: u8| {
        with(&move |frame: &mut Vec<u8>| {
            frame.extend(vec![0; bytes]);
            frame[HEADER + 3] = length;
        })
    };
    let mut all = vec![
        ("version", message(0, 0x21)),
        ("type", message(0, 0x32)),
        ("unknown_vrid", message(1, 52)),
        ("length", message(3, 0)),
        ("length", message(3, 2)),
        ("length", message(3, 255)),
        (
            "no_interval",
            with(&|frame| {
                frame[MESSAGE + 4..MESSAGE + 6].fill(0);
                reseal(frame);
            }),
        ),
        ("checksum", with(&|frame| frame[MESSAGE + 6] ^= 0x55)),
        ("checksum", with(&|frame| frame[MESSAGE + 11] ^= 1)),
        ("ttl", with(&|frame| frame[HEADER + 8] = 254)),
        ("ttl", with(&|frame| frame[HEADER + 8] = 1)),
        // The sum of what follows does not see zeros: its length does.
        ("length", longer(8, 20 + 12 + 8)),
        (
            "no_address",
            with(&|frame| {
                frame.truncate(MESSAGE + 8);
                frame[MESSAGE + 3] = 0;
                frame[HEADER + 3] = 28;
                reseal(frame);
            }),
        ),
    ];
    for bytes in 0..8 {
        all.push((
            "short",
            with(&|frame: &mut Vec<u8>| {
                frame.truncate(MESSAGE + bytes);
                frame[HEADER + 3] = u8::try_from(20 + bytes).unwrap();
            }),
        ));
    }
    all
}

/// The sum of the counters of this name, and of this kind of it.
fn counted(daemon: &Daemon, name: &str, of: &str) -> u64 {
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let named = counters.iter().filter(|c| c["name"] == name);
    let named = named.filter(|c| of.is_empty() || c["of"] == of);
    named.map(|c| c["value"].as_u64().unwrap()).sum()
}

/// What no forgery may move: each router's state, since when, and what it heard.
fn roles(daemon: &Daemon) -> Vec<(String, u64)> {
    let state = daemon.show();
    let routers = state["routers"].as_array().unwrap();
    let mut found = Vec::new();
    for router in routers {
        let counters = router["counters"].as_array().unwrap();
        let moved = ["became_active", "became_backup", "became_initialize"];
        let moves = counters
            .iter()
            .filter(|c| moved.iter().any(|name| c["name"] == *name))
            .map(|c| c["value"].as_u64().unwrap());
        found.push((router["state"].to_string(), moves.sum()));
    }
    found
}

/// Resident memory, kilobytes.
fn resident(daemon: &Daemon) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_field_wrong_is_counted_by_its_name_and_moves_nothing() {
    let field = Field::new();
    let [active, backup] = field.daemons(["", ""]);
    let before = [roles(&active), roles(&backup)];
    for (name, frame) in forgeries() {
        let count = || [&active, &backup].map(|d| counted(d, "vrrp_rejected", name));
        let was = count();
        field.attack(&[frame], 5, 1_000);
        let deadline = Instant::now() + Duration::from_secs(10);
        while count().iter().zip(was).any(|(now, was)| *now < was + 5) {
            assert!(
                Instant::now() < deadline,
                "{name}: {was:?} to {:?}",
                count()
            );
        }
        assert_eq!(count(), was.map(|was| was + 5), "{name}");
    }
    assert_eq!([roles(&active), roles(&backup)], before);
    // One with nothing wrong shows that the others could have been heard.
    field.attack(&[advert(RIVAL, GROUP_V4, GROUP_MAC, 255)], 1, 1_000);
    let mut active = active;
    active.says("Active -> Backup: a router of higher priority advertises");
    active.stop();
    backup.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flood_moves_no_timer_no_role_and_no_memory() {
    let field = Field::new();
    let [active, backup] = field.daemons(["", ""]);
    let frames: Vec<_> = forgeries().into_iter().map(|(_, frame)| frame).collect();
    // Once through everything, so that what is touched for the first time is.
    field.attack(&frames, 10_000, 100_000);
    let before = [roles(&active), roles(&backup)];
    let resident_before = [&active, &backup].map(resident);
    let ear = field.attacker.ear("vc");
    let quiet = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let gap_quiet = ear.longest_gap(51, quiet);
    let flood = Instant::now();
    let rejected = || [&active, &backup].map(|d| counted(d, "vrrp_rejected", ""));
    let was = rejected();
    field.attack(&frames, 200_000, 100_000);
    let gap_flood = ear.longest_gap(51, flood);
    let more: Vec<_> = rejected()
        .iter()
        .zip(was)
        .map(|(now, was)| now - was)
        .collect();
    println!("longest gap {gap_quiet:?} before, {gap_flood:?} in it; rejected {more:?}");
    assert_eq!([roles(&active), roles(&backup)], before, "{}", backup.log());
    // What finds the receive buffer full is dropped by the kernel.
    assert!(more.iter().all(|more| *more > 1_000), "{more:?}");
    for (daemon, was) in [&active, &backup].into_iter().zip(resident_before) {
        let now = resident(daemon);
        assert!(now <= was + 256, "{was} kB before, {now} kB after");
    }
    // The log says it now and then.
    let lines = active.log().matches("AdvertRejected").count();
    assert!(lines < 1_000, "{lines} lines");
    active.stop();
    backup.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_rival_that_is_no_peer_has_no_say_whatever_its_priority() {
    let field = Field::new();
    let peers = [BACKUP, ACTIVE].map(|peer| format!("unicast_peers = [\"{peer}\"]\n"));
    let [active, backup] = field.daemons([&peers[0], &peers[1]]);
    let before = [roles(&active), roles(&backup)];
    let mac = field.active.run(|| run("ip -br link show va"));
    let mac: Vec<u8> = mac
        .split_whitespace()
        .nth(2)
        .unwrap()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let mac: [u8; 6] = mac.try_into().unwrap();
    let mut far = advert(BACKUP, ACTIVE, mac, 255);
    far[HEADER + 8] = 254;
    seal(&mut far[HEADER..]);
    let cases = [
        ("unknown_peer", advert(RIVAL, ACTIVE, mac, 255)),
        ("unknown_peer", advert(RIVAL, GROUP_V4, GROUP_MAC, 255)),
        // A goodbye in another's name.
        ("unknown_peer", advert(RIVAL, ACTIVE, mac, 0)),
        // From behind a router, in the peer's name.
        ("ttl", far),
    ];
    for (name, frame) in cases {
        let was = counted(&active, "vrrp_rejected", name);
        field.attack(&[frame], 100, 1_000);
        let deadline = Instant::now() + Duration::from_secs(10);
        while counted(&active, "vrrp_rejected", name) < was + 100 {
            assert!(Instant::now() < deadline, "{name}");
        }
    }
    assert_eq!([roles(&active), roles(&backup)], before);
    active.stop();
    backup.stop();
}
