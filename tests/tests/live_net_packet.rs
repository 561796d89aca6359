//! The frames that claim an address, sent over a real veth: tcpdump hears them
//! at the other end, tshark judges them, and a real neighbour learns.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use trunnion_core::route::InterfaceIndex;
use trunnion_core::wire::arp::{self, Gratuitous};
use trunnion_core::wire::{MacAddress, icmpv6};
use trunnion_sys::netns::unshare_network;
use trunnion_sys::packet::{BATCH_MAX, PacketSocket};
use trunnion_sys::route::Route;

const ROUTER_V4: MacAddress = MacAddress([0x00, 0x00, 0x5e, 0x00, 0x01, 0x33]);
const ROUTER_V6: MacAddress = MacAddress([0x00, 0x00, 0x5e, 0x00, 0x02, 0x33]);
const VIP_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

/// Runs a command and returns its output; its failure is ours.
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Calls `done` until it is true; 20 s are far beyond any machine's bad day.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain: {what}");
}

/// A new namespace with a veth `va` - `vb`, both up.
fn namespace() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link add va address 02:00:00:00:00:0a type veth peer name vb");
    run("ip link set va up");
    run("ip link set vb up");
    let mut route = Route::open().unwrap();
    wait("a carrier", || {
        let link = route.link(&"va".parse().unwrap()).unwrap();
        link.unwrap().is_running()
    });
}

fn index(name: &str) -> InterfaceIndex {
    let mut route = Route::open().unwrap();
    route.link(&name.parse().unwrap()).unwrap().unwrap().index
}

/// tcpdump at the other end, which ends after so many frames of our routers.
struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

impl Capture {
    fn start(name: &str, frames: usize) -> Self {
        let file = format!("trunnion-{name}-{}.pcap", std::process::id());
        let file = std::env::temp_dir().join(file);
        let mut tcpdump = Command::new("tcpdump")
            .args([
                "-i",
                "vb",
                "-n",
                "-U",
                "-Z",
                "root",
                "-c",
                &frames.to_string(),
            ])
            .arg("-w")
            .arg(&file)
            .arg(format!("ether src {ROUTER_V4} or ether src {ROUTER_V6}"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump: apt-get install tcpdump");
        let stderr = BufReader::new(tcpdump.stderr.take().unwrap());
        let listening = stderr
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("listening on"));
        assert!(listening, "tcpdump does not listen");
        Self { tcpdump, file }
    }

    /// The named fields of every frame, as tshark reads them.
    fn frames(mut self, fields: &[&str]) -> Vec<Vec<String>> {
        wait("tcpdump to have heard all frames", || {
            self.tcpdump.try_wait().unwrap().is_some()
        });
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(&self.file);
        tshark.args(["-n", "-T", "fields", "-E", "separator=|"]);
        for field in fields {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().expect("tshark: apt-get install tshark");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.split('|').map(String::from).collect())
            .collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

const FIELDS: [&str; 8] = [
    "eth.dst",
    "eth.src",
    "arp.opcode",
    "arp.isgratuitous",
    "arp.src.proto_ipv4",
    "icmpv6.nd.na.target_address",
    "icmpv6.checksum.status",
    "_ws.malformed",
];

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_other_end_hears_what_was_meant() {
    namespace();
    for bypass in [false, true] {
        let capture = Capture::start("meant", 3);
        let socket = PacketSocket::open(index("va")).unwrap();
        socket.bypass_queue(bypass).unwrap();
        let request = arp::gratuitous(Gratuitous::Request, ROUTER_V4, VIP_V4);
        let reply = arp::gratuitous(Gratuitous::Reply, ROUTER_V4, VIP_V4);
        let advertisement = icmpv6::unsolicited(ROUTER_V6, VIP_V6);
        socket.send(&request).unwrap();
        socket.send(&reply).unwrap();
        socket.send(&advertisement).unwrap();
        let arp = |opcode| {
            let [broadcast, router, vip] = ["ff:ff:ff:ff:ff:ff", "00:00:5e:00:01:33", "192.0.2.10"];
            [broadcast, router, opcode, "1", vip, "", "", ""]
        };
        let [all, router, vip] = ["33:33:00:00:00:01", "00:00:5e:00:02:33", "2001:db8::10"];
        assert_eq!(
            capture.frames(&FIELDS),
            [arp("1"), arp("2"), [all, router, "", "", "", vip, "1", ""]],
            "bypass {bypass}"
        );
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_batch_leaves_in_order() {
    namespace();
    const FRAMES: u8 = 70;
    let capture = Capture::start("batch", FRAMES.into());
    let frames: Vec<_> = (0..FRAMES)
        .map(|n| arp::gratuitous(Gratuitous::Request, ROUTER_V4, [192, 0, 2, n].into()))
        .collect();
    let slices: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
    let socket = PacketSocket::open(index("va")).unwrap();
    assert_eq!(socket.send_batch(&[]).unwrap(), 0);
    assert_eq!(socket.send_batch(&slices).unwrap(), BATCH_MAX);
    let rest = usize::from(FRAMES) - BATCH_MAX;
    assert_eq!(socket.send_batch(&slices[BATCH_MAX..]).unwrap(), rest);
    let heard: Vec<_> = capture.frames(&["arp.src.proto_ipv4"]).concat();
    let sent: Vec<_> = (0..FRAMES).map(|n| format!("192.0.2.{n}")).collect();
    assert_eq!(heard, sent);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_batch_stops_at_the_frame_that_cannot_be_sent() {
    namespace();
    let frame = arp::gratuitous(Gratuitous::Request, ROUTER_V4, VIP_V4);
    let long = [0; 4000];
    let socket = PacketSocket::open(index("va")).unwrap();
    let sent = socket.send_batch(&[&frame, &frame, &long, &frame]).unwrap();
    assert_eq!(sent, 2);
    let error = socket.send_batch(&[&long, &frame]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_neighbour_learns_who_has_the_address_now() {
    // The neighbour has a namespace of its own, or it would know better.
    namespace();
    let (tell, told) = std::sync::mpsc::channel();
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let neighbour = std::thread::spawn(move || {
        unshare_network().unwrap();
        let own = std::fs::read_link("/proc/thread-self").unwrap();
        let tid = own.file_name().unwrap().to_str().unwrap().to_owned();
        tell.send(tid).unwrap();
        asked.recv().unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/vb/accept_dad", "0").unwrap();
        run("ip addr add 192.0.2.1/24 dev vb");
        run("ip link set vb up");
        run("ip addr add 2001:db8::1/64 dev vb nodad");
        // Who had it before.
        for vip in ["192.0.2.10", "2001:db8::10"] {
            run(&format!(
                "ip neigh replace {vip} lladdr 02:00:00:00:00:99 dev vb nud stale"
            ));
            assert!(run(&format!("ip neigh show {vip}")).contains("02:00:00:00:00:99"));
        }
        tell.send(String::new()).unwrap();
        for (vip, mac) in [("192.0.2.10", ROUTER_V4), ("2001:db8::10", ROUTER_V6)] {
            wait("the neighbour to learn", || {
                run(&format!("ip neigh show {vip}")).contains(&mac.to_string())
            });
        }
        asked.recv().unwrap();
        run("ip neigh replace 192.0.2.10 lladdr 02:00:00:00:00:99 dev vb nud stale");
        tell.send(String::new()).unwrap();
        wait("the neighbour to learn from a reply", || {
            run("ip neigh show 192.0.2.10").contains(&ROUTER_V4.to_string())
        });
        run("ip -6 neigh show 2001:db8::10")
    });
    let tid = told.recv().unwrap();
    run(&format!("ip link set vb netns {tid}"));
    ask.send(()).unwrap();
    told.recv().expect("the neighbour is ready");
    let mut route = Route::open().unwrap();
    wait("a carrier", || {
        let link = route.link(&"va".parse().unwrap()).unwrap();
        link.unwrap().is_running()
    });
    let socket = PacketSocket::open(index("va")).unwrap();
    socket
        .send(&arp::gratuitous(Gratuitous::Request, ROUTER_V4, VIP_V4))
        .unwrap();
    socket
        .send(&icmpv6::unsolicited(ROUTER_V6, VIP_V6))
        .unwrap();
    ask.send(()).unwrap();
    told.recv().expect("the neighbour has learnt");
    socket
        .send(&arp::gratuitous(Gratuitous::Reply, ROUTER_V4, VIP_V4))
        .unwrap();
    let entry = neighbour.join().expect("the neighbour has learnt");
    assert!(entry.contains(" router "), "R=1: {entry}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_cannot_send_says_why() {
    namespace();
    let nowhere = NonZeroU32::new(4711).unwrap();
    let error = PacketSocket::open(nowhere).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    let socket = PacketSocket::open(index("va")).unwrap();
    let frame = arp::gratuitous(Gratuitous::Request, ROUTER_V4, VIP_V4);
    socket.send(&frame).unwrap();
    assert_eq!(
        socket.send(&frame[..10]).unwrap_err().raw_os_error(),
        Some(libc::EINVAL)
    );
    run("ip link set va down");
    for _ in 0..2 {
        let error = socket.send(&frame).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETDOWN));
    }
    run("ip link set va up");
    socket
        .send(&frame)
        .expect("up again, the same socket sends");
    run("ip link set va down");
    run("ip link set va up");
    // A socket that receives would tell of the flap here, and lose the frame.
    socket
        .send(&frame)
        .expect("a flap between two frames costs none");
    run("ip link del va");
    let error = socket.send(&frame).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
}
