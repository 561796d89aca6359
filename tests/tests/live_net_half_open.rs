//! Half-open checks, by the daemon itself, in a namespace of its own: SYNs from a
//! raw socket, against a kernel's listeners, closed ports and routes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::asked::{backend, service, until_found};
use trunnion_tests::daemon::{Daemon, run};

const TIMES: &str = r#"interval = "1s", timeout = "400ms", rise = 1, fall = 1"#;

/// A counter of `/proc/net/snmp`.
fn tcp(counter: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == counter).unwrap();
    value.parse().unwrap()
}

fn checks(addresses: &[&str]) -> Vec<String> {
    let each = addresses.iter();
    each.map(|address| format!(r#"address = "{address}""#))
        .collect()
}

fn config(base: &str, addresses: &[&str]) -> String {
    let checks = checks(addresses);
    let checks: Vec<_> = checks.iter().map(String::as_str).collect();
    service(base, &checks)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_syn_finds_out_and_leaves_nothing_behind() {
    unshare_network().expect("a network namespace: run as root");
    for (kind, n) in [("blackhole", 1), ("unreachable", 2), ("prohibit", 3)] {
        run(&format!("ip route add {kind} 10.67.0.{n}/32"));
    }
    // Neighbours who do not answer, behind a link whose other end is here.
    run("ip link add near type veth peer name far");
    run("ip addr add 10.68.0.1/24 dev near");
    run("ip addr add 2001:db8:68::1/64 dev near nodad");
    run("ip link set near up");
    run("ip link set far up");
    let listeners = ["127.0.0.1:8000", "[::1]:8000", "10.68.0.1:8001"]
        .map(|address| TcpListener::bind(address).unwrap());
    let table = [
        ("127.0.0.1:8000", "ok"),
        ("[::1]:8000", "ok"),
        ("10.68.0.1:8001", "ok"),
        ("127.0.0.1:8009", "refused"),
        ("[::1]:8009", "refused"),
        ("10.67.0.1:8000", "blackhole route"),
        ("10.67.0.2:8000", "host unreachable"),
        ("10.67.0.3:8000", "prohibited"),
        ("203.0.113.1:8000", "net unreachable"),
        ("[2001:db8:99::1]:8000", "net unreachable"),
        ("10.68.0.2:8000", "timed out"),
        ("[2001:db8:68::2]:8000", "timed out"),
    ];
    let addresses = table.map(|(address, _)| address);
    let found = table.map(|(_, found)| found);
    let base = format!("type = \"tcp\", {TIMES}");
    let mut daemon = Daemon::start(&config(&base, &addresses));
    until_found(&mut daemon, &found);
    assert_eq!(tcp("ActiveOpens"), 0, "somebody has connected");
    assert!(tcp("OutRsts") >= 5, "nobody has reset what it began");
    for listener in &listeners {
        listener.set_nonblocking(true).unwrap();
        let nobody = listener.accept().unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    }
    // Nor is any half-open connection left on either side.
    let left = run("ss -Htan state all");
    let left: Vec<_> = left.lines().filter(|l| l.contains("SYN")).collect();
    assert!(left.is_empty(), "{left:?}");
    // Whole connections by a reload, and back: what is known stays known.
    for half_open in [false, true] {
        let base = format!("{base}, half_open = {half_open}");
        daemon.rewrite(&config(&base, &addresses));
        daemon.says_times("reloaded", if half_open { 2 } else { 1 });
        let before = tcp("ActiveOpens");
        until_found(&mut daemon, &found);
        if !half_open {
            daemon.until("a connection", |_| tcp("ActiveOpens") > before);
        }
    }
    let log = daemon.log();
    for (address, _) in table.iter().filter(|(_, found)| *found == "ok") {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let fell = format!("target {} port {} is down", address.ip(), address.port());
        assert!(!log.contains(&fell), "{log}");
    }
    // It dies.
    drop(listeners);
    daemon.until("the deaths", |daemon| {
        let state = daemon.show();
        (0..3).all(|n| backend(&state, n)["check"]["last"] == "refused")
    });
    daemon.stop();
}

/// Every one lives, and the source address that the kernel chooses changes under
/// them: what was remembered of it misleads nobody.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_source_is_what_the_routes_say_now() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link add near type veth peer name far");
    run("ip link set near up");
    run("ip link set far up");
    run("ip addr add 10.69.0.1/32 dev near");
    run("ip addr add 10.69.0.2/32 dev near");
    // The targets are addresses of this host, in a table that says how to leave.
    let _listener = TcpListener::bind("0.0.0.0:8000").unwrap();
    run("ip addr add 10.69.1.1/32 dev lo");
    run("ip route replace local 10.69.1.1 dev lo table local src 10.69.0.1");
    let base = format!("type = \"tcp\", {TIMES}");
    let mut daemon = Daemon::start(&config(&base, &["10.69.1.1:8000"]));
    until_found(&mut daemon, &["ok"]);
    let succeeded = |daemon: &Daemon| {
        let state = daemon.show();
        let counters = state["counters"].as_array().unwrap();
        let found = counters.iter().find(|c| c["name"] == "check_succeeded");
        found.unwrap()["value"].as_u64()
    };
    for (add, from) in [("10.69.0.2", "10.69.0.1"), ("10.69.0.1", "10.69.0.2")] {
        run(&format!(
            "ip route replace local 10.69.1.1 dev lo table local src {add}"
        ));
        run(&format!("ip addr del {from}/32 dev near"));
        let before = succeeded(&daemon).unwrap();
        daemon.until("two more", |daemon| succeeded(daemon) >= Some(before + 2));
        run(&format!("ip addr add {from}/32 dev near"));
    }
    assert!(!daemon.log().contains("is down"), "{}", daemon.log());
    daemon.stop();
}

/// Eight ask one target, half of them in the same moment, and four ports there are:
/// each finds out how it is, while it is silent as well.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn many_checks_of_one_target_wait_for_a_port() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
    // Once it is not here, it is somebody's who says nothing.
    run("ip link add near type veth peer name far");
    run("ip addr add 10.68.0.1/24 dev near");
    run("ip link set near up");
    run("ip link set far up");
    run("ip neigh add 10.68.0.2 lladdr 02:00:00:00:00:99 dev near");
    run("ip addr add 10.68.0.2/32 dev lo");
    let listener = TcpListener::bind("0.0.0.0:8000").unwrap();
    let check = |n: usize| {
        // The policy alone sets the last four apart.
        let (fall, down) = (n.min(4) + 1, 1_000 + 100 * n);
        format!(r#"address = "10.68.0.2:8000", fall = {fall}, down_interval = "{down}ms""#)
    };
    let checks: Vec<_> = (0..8).map(check).collect();
    let checks: Vec<_> = checks.iter().map(String::as_str).collect();
    let base = r#"type = "tcp", interval = "1s", timeout = "400ms", rise = 1"#;
    let mut daemon = Daemon::start(&service(base, &checks));
    until_found(&mut daemon, &["ok"; 8]);
    run("ip addr del 10.68.0.2/32 dev lo");
    until_found(&mut daemon, &["timed out"; 8]);
    run("ip addr add 10.68.0.2/32 dev lo");
    until_found(&mut daemon, &["ok"; 8]);
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let ports = "out of local ports or addresses";
    let is = |c: &&serde_json::Value| c["name"] == "check_indeterminate" && c["of"] == ports;
    assert_eq!(counters.iter().find(is).unwrap()["value"], 0);
    drop(listener);
    daemon.stop();
}

/// What is sent to neighbours who do not answer lies in the kernel for three seconds
/// each, by the sockets that are everybody's: those of others are checked all the
/// same, and a death among them is found.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_dark_rack_blinds_nobody() {
    const DARK: usize = 60;
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
    run("ip link add near type veth peer name far");
    run("ip addr add 10.68.0.1/24 dev near");
    run("ip link set near up");
    run("ip link set far up");
    let lives = TcpListener::bind("127.0.0.1:8000").unwrap();
    let dies = TcpListener::bind("127.0.0.1:8001").unwrap();
    let mut checks = checks(&["127.0.0.1:8000", "127.0.0.1:8001"]);
    for n in 0..DARK {
        let address = format!("10.68.0.{}:8000", n + 2);
        let check = format!(r#"address = "{address}", timeout = "20ms""#);
        checks.push(check.clone());
        checks.push(format!(
            r#"type = "udp", send = "x", expect = "y", {check}"#
        ));
    }
    let checks: Vec<_> = checks.iter().map(String::as_str).collect();
    let times = r#"interval = "100ms", timeout = "100ms", rise = 1, fall = 2"#;
    let config = service(&format!("type = \"tcp\", {times}"), &checks);
    let mut daemon = Daemon::start(&config);
    daemon.says("Started: ");
    let counter = |daemon: &Daemon, name: &str, of: &str| {
        let state = daemon.show();
        let counters = state["counters"].as_array().unwrap();
        let found = counters.iter().find(|c| c["name"] == name && c["of"] == of);
        found.unwrap()["value"].as_u64().unwrap()
    };
    // Longer than the kernel waits for a neighbour.
    let began = Instant::now();
    daemon.until("checks of the dark", |_| {
        began.elapsed() > Duration::from_secs(7)
    });
    let state = daemon.show();
    assert_eq!(backend(&state, 0)["check"]["last"], "ok");
    assert_eq!(backend(&state, 2)["check"]["last"], "timed out");
    let unsent = counter(&daemon, "check_indeterminate", "out of memory");
    assert_eq!(unsent, 0, "checks that were not sent");
    drop(dies);
    daemon.until("the death", |daemon| {
        backend(&daemon.show(), 1)["check"]["health"] == "down"
    });
    assert_eq!(backend(&daemon.show(), 0)["check"]["health"], "up");
    drop(lives);
    daemon.stop();
}
