//! Two ends of a veth, each in a namespace of its own, exchange adverts through
//! real sockets; tcpdump listens and tshark judges every checksum.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::Duration;
use trunnion_core::bytes::Writer;
use trunnion_core::model::Family;
use trunnion_core::vrrp::advert::{self, Outgoing};
use trunnion_core::vrrp::{
    Advert, AdvertForm, Centis, Malformed, Role, Router, RouterConfig, group,
};
use trunnion_sys::clock::boottime;
use trunnion_sys::netns::unshare_network;
use trunnion_sys::vrrp::{BUFFER_BYTES, Socket};

const VRID: u8 = 51;
const FIRST_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECOND_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

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
        thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain: {what}");
}

/// A thread in a namespace of its own, to hold it open and run things in.
struct Node {
    tid: String,
    link: &'static str,
    orders: std::sync::mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Node {
    fn new(link: &'static str) -> Self {
        let (orders, todo) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            unshare_network().expect("a network namespace: run as root");
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(own.file_name().unwrap().to_str().unwrap().to_owned())
                .unwrap();
            for order in todo {
                order();
            }
        });
        let tid = told.recv().expect("a network namespace: run as root");
        Self { tid, link, orders }
    }

    /// Runs `work` in the namespace.
    fn at<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = std::sync::mpsc::channel();
        let order = move || tell.send(work()).unwrap();
        self.orders.send(Box::new(order)).unwrap();
        told.recv().expect("the work in the namespace has panicked")
    }

    fn run(&self, command: String) -> String {
        self.at(move || run(&command))
    }

    fn index(&self) -> NonZeroU32 {
        let line = self.run(format!("ip -o link show {}", self.link));
        line.split(':').next().unwrap().parse().unwrap()
    }

    fn up(&self, v4: Ipv4Addr) {
        let link = self.link;
        self.run(format!("ip address add {v4}/24 dev {link}"));
        self.run(format!("ip link set {link} up"));
    }

    /// The link-local address, once it is not tentative any more.
    fn link_local(&self) -> Ipv6Addr {
        let mut found = None;
        wait("a link-local address", || {
            let text = self.run(format!("ip -6 -o addr show dev {} scope link", self.link));
            found = text
                .lines()
                .filter(|line| !line.contains("tentative"))
                .find_map(|line| line.split_whitespace().nth(3))
                .map(|address| address.trim_end_matches("/64").parse().unwrap());
            found.is_some()
        });
        found.unwrap()
    }
}

/// Two nodes and a veth between them, down and without addresses.
fn pair() -> [Node; 2] {
    let nodes = [Node::new("first"), Node::new("second")];
    for node in &nodes {
        // No duplicate address detection: its second is not what is tested.
        node.at(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
    }
    let peer = &nodes[1].tid;
    nodes[0].run(format!(
        "ip link add first type veth peer name second netns {peer}"
    ));
    nodes
}

fn open(node: &Node, family: Family) -> Socket {
    let index = node.index();
    let open = move || match family {
        Family::V4 => Socket::open_v4(index),
        Family::V6 => Socket::open_v6(index),
    };
    node.at(open).unwrap()
}

fn vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => "192.0.2.10".parse().unwrap(),
        Family::V6 => "fe80::10".parse().unwrap(),
    }
}

fn send(socket: &Socket, outgoing: &Outgoing) -> std::io::Result<()> {
    let mut buffer = [0; 128];
    let mut w = Writer::new(&mut buffer);
    let vip = [vip(socket.family())];
    match (outgoing.source, outgoing.destination) {
        (IpAddr::V4(_), IpAddr::V4(destination)) => {
            advert::encode_ipv4(&mut w, outgoing, vip).unwrap();
            socket.send_v4(w.finish().unwrap(), destination)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            advert::encode(&mut w, outgoing, vip).unwrap();
            socket.send_v6(w.finish().unwrap(), source, destination)
        }
        (source, destination) => panic!("{source} to {destination}"),
    }
}

/// The next advert, and where it came from.
fn receive(socket: &Socket) -> (IpAddr, IpAddr, Result<(u8, AdvertForm), Malformed>) {
    let mut buffer = [0xa5; BUFFER_BYTES];
    let mut got = None;
    wait("an advert", || {
        got = socket.receive(&mut buffer).unwrap().map(|packet| {
            let packet = packet.unwrap();
            let advert = Advert::parse(packet).map(|a| (a.priority(), a.form()));
            (packet.source, packet.destination, advert)
        });
        got.is_some()
    });
    got.unwrap()
}

fn nothing_waits(socket: &Socket) {
    let mut buffer = [0xa5; BUFFER_BYTES];
    assert_eq!(socket.receive(&mut buffer).unwrap(), None);
}

fn outgoing(source: IpAddr, priority: u8, form: AdvertForm) -> Outgoing {
    Outgoing {
        vrid: VRID,
        priority,
        interval: Centis::SECOND,
        source,
        destination: group(Family::of(&source)),
        form,
    }
}

/// tcpdump on a node's link, listening when this returns.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    fn start(node: &Node, name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("{name}-{}.pcap", std::process::id()));
        let (link, path) = (node.link, file.clone());
        let child = node.at(move || {
            let mut child = Command::new("tcpdump")
                .args(["-Z", "root", "-U", "-i", link, "-w"])
                .arg(path)
                .arg("proto 112 or ip6 proto 112")
                .stderr(Stdio::piped())
                .spawn()
                .expect("tcpdump: apt-get install tcpdump");
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let listening = lines.any(|line| line.unwrap().contains("listening on"));
            assert!(listening, "tcpdump does not listen");
            child
        });
        Self { child, file }
    }

    /// Ends the capture once it has `count` packets, and has tshark read them:
    /// checksum status and expert remarks of each, with pseudo-headers or not.
    fn judge(self, count: usize) -> [Vec<String>; 2] {
        let read = |without_pseudo_header: &str| {
            let output = Command::new("tshark")
                .args(["-n", "-T", "fields", "-E", "separator=|"])
                .args(["-e", "vrrp.prio", "-e", "vrrp.checksum.status"])
                .args([
                    "-e",
                    "ip.dsfield",
                    "-e",
                    "ipv6.tclass",
                    "-e",
                    "_ws.malformed",
                ])
                .arg("-o")
                .arg(format!("vrrp.v3_checksum_as_in_v2:{without_pseudo_header}"))
                .arg("-r")
                .arg(&self.file)
                .output()
                .expect("tshark: apt-get install tshark");
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        wait("the capture", || read("TRUE").len() >= count);
        [read("TRUE"), read("FALSE")]
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn adverts_cross_a_link_and_hold_in_tsharks_eyes() {
    let nodes = pair();
    // Opened while the interfaces are down and have no address.
    let sockets = [Family::V4, Family::V6].map(|family| nodes.each_ref().map(|n| open(n, family)));
    let early = outgoing(FIRST_V4.into(), 1, AdvertForm::Rfc9568);
    let refused = send(&sockets[0][0], &early).unwrap_err();
    assert!(refused.raw_os_error().is_some(), "{refused}");

    nodes[0].up(FIRST_V4);
    nodes[1].up(SECOND_V4);
    let link_local = nodes.each_ref().map(Node::link_local);
    let capture = Capture::start(&nodes[1], "trunnion-adverts");

    let [v4, v6] = &sockets;
    let forms = [AdvertForm::Rfc9568, AdvertForm::Rfc5798];
    for (form, priority) in forms.into_iter().zip([101, 102]) {
        send(&v4[0], &outgoing(FIRST_V4.into(), priority, form)).unwrap();
        let heard = receive(&v4[1]);
        let to = group(Family::V4);
        assert_eq!(heard, (FIRST_V4.into(), to, Ok((priority, form))));
    }
    let from = link_local[0].into();
    send(&v6[0], &outgoing(from, 103, AdvertForm::Rfc9568)).unwrap();
    let heard = receive(&v6[1]);
    let expected = Ok((103, AdvertForm::Rfc9568));
    assert_eq!(heard, (from, group(Family::V6), expected));

    // Unicast goes by the same sockets.
    let unicast = Outgoing {
        destination: SECOND_V4.into(),
        ..outgoing(FIRST_V4.into(), 104, AdvertForm::Rfc9568)
    };
    send(&v4[0], &unicast).unwrap();
    let expected = Ok((104, AdvertForm::Rfc9568));
    assert_eq!(
        receive(&v4[1]),
        (FIRST_V4.into(), SECOND_V4.into(), expected)
    );
    let unicast = Outgoing {
        destination: link_local[1].into(),
        ..outgoing(from, 105, AdvertForm::Rfc9568)
    };
    send(&v6[0], &unicast).unwrap();
    let expected = Ok((105, AdvertForm::Rfc9568));
    assert_eq!(receive(&v6[1]), (from, link_local[1].into(), expected));

    // A source that is not ours is refused, not sent from another.
    let foreign = outgoing("fe80::bad".parse().unwrap(), 1, AdvertForm::Rfc9568);
    assert!(send(&v6[0], &foreign).is_err());

    // Nobody hears itself, nor the other family.
    for socket in v4.iter().chain(v6) {
        nothing_waits(socket);
    }

    let [message_only, pseudo] = capture.judge(5);
    // CS6 on each, in the width of its family.
    let cs6 = message_only.iter().filter(|line| line.contains("c0|"));
    assert_eq!(cs6.count(), 5, "{message_only:?}");
    let good = |lines: &[String]| -> Vec<u8> {
        let fields = lines.iter().map(|line| line.split('|').collect::<Vec<_>>());
        fields
            .filter(|fields| fields[1] == "1")
            .map(|fields| fields[0].parse().unwrap())
            .collect()
    };
    assert_eq!(good(&message_only), [101, 103, 104, 105]);
    assert_eq!(good(&pseudo), [102, 103, 105]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_ttl_of_254_arrives_as_such() {
    let nodes = pair();
    let v6 = nodes.each_ref().map(|n| open(n, Family::V6));
    let v4 = nodes.each_ref().map(|n| open(n, Family::V4));
    nodes[0].up(FIRST_V4);
    nodes[1].up(SECOND_V4);
    let from = nodes[0].link_local();

    let mut buffer = [0; 128];
    let mut w = Writer::new(&mut buffer);
    let sent = outgoing(FIRST_V4.into(), 100, AdvertForm::Rfc9568);
    advert::encode_ipv4(&mut w, &sent, [vip(Family::V4)]).unwrap();
    let packet = w.finish().unwrap();
    packet[8] = 254;
    v4[0]
        .send_v4(packet, "224.0.0.18".parse().unwrap())
        .unwrap();
    assert_eq!(receive(&v4[1]).2, Err(Malformed::Ttl { found: 254 }));

    // scapy may send any hop limit; our socket always says 255.
    // As a whole frame: which interface a packet of its leaves by is scapy's
    // guess. More than once: a link that has just come up may lose the first.
    let script = format!(
        "from scapy.all import *\nfrom scapy.layers.vrrp import VRRPv3\n\
         sendp(Ether(src=get_if_hwaddr('first'),dst='33:33:00:00:00:12')\
         /IPv6(src='{from}',dst='ff02::12',hlim=254)\
         /VRRPv3(vrid={VRID},addrlist=['fe80::10']),iface='first',count=10,inter=0.3,verbose=0)\n"
    );
    nodes[0].at(move || {
        let sent = Command::new("/usr/bin/python3")
            .args(["-I", "-c"])
            .arg(script)
            .output();
        let sent = sent.expect("scapy: apt-get install python3-scapy");
        let stderr = String::from_utf8_lossy(&sent.stderr);
        assert!(sent.status.success(), "{stderr}");
    });
    assert_eq!(receive(&v6[1]).2, Err(Malformed::Ttl { found: 254 }));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_missing_interface_is_a_clear_error() {
    let node = Node::new("first");
    let index = NonZeroU32::new(4711).unwrap();
    for error in [
        node.at(move || Socket::open_v4(index).unwrap_err()),
        node.at(move || Socket::open_v6(index).unwrap_err()),
    ] {
        let text = error.to_string();
        assert!(text.contains("no interface has index 4711"), "{text}");
    }
}

/// A virtual router with its socket and the real clock: the daemon's loop, with
/// nothing but the loop.
fn serve(socket: &Socket, source: IpAddr, config: RouterConfig, role: &AtomicU8, end: &AtomicBool) {
    let mut router = Router::new(config);
    let _ = router.handle_startup(boottime(), None);
    let mut buffer = [0; BUFFER_BYTES];
    let mut ending = false;
    loop {
        if end.load(Ordering::Relaxed) && !ending {
            let _ = router.handle_shutdown(boottime());
            ending = true;
        }
        while let Some(packet) = socket.receive(&mut buffer).unwrap() {
            let from = packet.unwrap().source;
            let advert = packet.and_then(Advert::parse).unwrap();
            let _ = router.handle_advert(boottime(), &advert, from, source);
        }
        let now = boottime();
        let _ = router.handle_timeout(now);
        if let Some(transmit) = router.poll_transmit(now) {
            let outgoing = Outgoing {
                interval: transmit.interval,
                ..outgoing(source, transmit.priority, AdvertForm::Rfc9568)
            };
            send(socket, &outgoing).unwrap();
            router.handle_sent(now);
        }
        role.store(router.state().role() as u8, Ordering::Relaxed);
        if ending && router.poll_timeout().is_none() {
            assert!(router.counters().sent_resign > 0 || router.counters().sent == 0);
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn election(family: Family) {
    let nodes = pair();
    let sockets = nodes.each_ref().map(|n| open(n, family));
    nodes[0].up(FIRST_V4);
    nodes[1].up(SECOND_V4);
    let sources = match family {
        Family::V4 => [FIRST_V4.into(), SECOND_V4.into()],
        Family::V6 => nodes.each_ref().map(|n| n.link_local().into()),
    };
    let roles = [const { AtomicU8::new(Role::Initialize as u8) }; 2];
    let ends = [const { AtomicBool::new(false) }; 2];
    let is = |node: usize, role: Role| roles[node].load(Ordering::Relaxed) == role as u8;
    let config = |priority| RouterConfig {
        priority,
        interval: Centis::new(5).unwrap(),
        ..RouterConfig::new(VRID, family)
    };
    thread::scope(|scope| {
        let serve = |node: usize, priority| {
            let (socket, role, end) = (&sockets[node], &roles[node], &ends[node]);
            let source = sources[node];
            scope.spawn(move || serve(socket, source, config(priority), role, end))
        };
        let lower = serve(1, 100);
        wait("the lower alone", || is(1, Role::Active));
        let higher = serve(0, 200);
        wait("the higher preempts", || {
            is(0, Role::Active) && is(1, Role::Backup)
        });
        ends[0].store(true, Ordering::Relaxed);
        higher.join().unwrap();
        wait("the lower takes over", || is(1, Role::Active));
        ends[1].store(true, Ordering::Relaxed);
        lower.join().unwrap();
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_routers_elect_over_ipv4() {
    election(Family::V4);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_routers_elect_over_ipv6() {
    election(Family::V6);
}
