//! The daemon itself against a real network in namespaces made here: bad
//! input, missing things, and the promise that its loops allocate nothing. It
//! runs under an allocator that aborts when one does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

const ROUTER: &str = r#"
[[vrrp]]
name = "public"
interface = "va"
vrid = 51
priority = 150
interval = "50ms"
addresses = ["10.66.0.10/32"]
"#;

fn veth() {
    run("ip link add va address 02:00:00:00:00:0a type veth peer name vb");
    run("ip link set vb up");
    run("ip addr add 10.66.0.1/24 dev va");
    run("ip link set va up");
}

fn holds(address: &str) -> bool {
    run("ip -o addr show").contains(address)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_missing_interface_is_named_and_waited_for() {
    unshare_network().expect("a network namespace: run as root");
    let mut daemon = Daemon::start(ROUTER);
    daemon.says("interface va is not ready: no such interface");
    veth();
    daemon.says("Backup -> Active");
    daemon.until("the address", |_| holds("10.66.0.10/32"));
    // Someone else takes the address away: it comes back.
    run("ip addr del 10.66.0.10/32 dev va");
    daemon.says("10.66.0.10 was taken off va by someone else");
    daemon.until("the address again", |_| holds("10.66.0.10/32"));
    // The link goes, with everything on it, and comes back as another one.
    run("ip link del va");
    daemon.says_times("interface va is not ready: no such interface", 2);
    veth();
    daemon.says_times("Backup -> Active", 2);
    daemon.until("the address a third time", |_| holds("10.66.0.10/32"));
    daemon.stop();
    assert!(!holds("10.66.0.10/32"), "{}", run("ip -o addr show"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_an_earlier_run_left_is_taken_off_by_a_backup() {
    unshare_network().expect("a network namespace: run as root");
    veth();
    run("ip addr add 10.66.0.10/32 dev va");
    let mut daemon = Daemon::start(ROUTER);
    daemon.says("address 10.66.0.10 is off va");
    daemon.says("Backup -> Active");
    daemon.until("the address", |_| holds("10.66.0.10/32"));
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn backends_that_cannot_be_reached_have_their_own_reasons() {
    unshare_network().expect("a network namespace: run as root");
    veth();
    run("ip route add blackhole 10.67.0.1/32");
    run("ip route add unreachable 10.67.0.2/32");
    // Accepts and never answers, and one whose queue is full: the kernel
    // completes the first one's handshake and drops the second one's.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let config = format!(
        r#"
[[service]]
name = "web"
address = "10.66.0.10:80"
forward = "masq"
check = {{ type = "tcp", interval = "100ms", timeout = "100ms", rise = 1, fall = 1 }}
backends = [
  {{ address = "10.67.0.1:80" }},
  {{ address = "10.67.0.2:80" }},
  {{ address = "203.0.113.1:80" }},
  {{ address = "127.0.0.1:1" }},
  {{ address = "127.0.0.1:{port}" }},
]
"#
    );
    let mut daemon = Daemon::start(&config);
    daemon.says("started with");
    daemon.until("a verdict on each", |daemon| {
        let text = daemon.show()["services"].to_string();
        text.matches(r#""health":"down""#).count() == 4
            && text.matches(r#""health":"up""#).count() == 1
    });
    let state = daemon.show();
    let backends = state["services"][0]["backends"].as_array().unwrap();
    let found = |address: &str, port: u16| {
        let found = backends
            .iter()
            .find(|b| b["address"] == address && b["port"] == port);
        found.unwrap()["check"]["last"].as_str().unwrap().to_owned()
    };
    assert_eq!(found("10.67.0.1", 80), "blackhole route");
    assert_eq!(found("10.67.0.2", 80), "host unreachable");
    assert_eq!(found("203.0.113.1", 80), "net unreachable");
    assert_eq!(found("127.0.0.1", 1), "refused");
    assert_eq!(found("127.0.0.1", port), "ok");
    // Said once each, not once for each check.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        daemon.log().matches("is down").count(),
        4,
        "{}",
        daemon.log()
    );
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bad_reload_changes_nothing_and_says_why() {
    unshare_network().expect("a network namespace: run as root");
    veth();
    let mut daemon = Daemon::start(ROUTER);
    daemon.says("Backup -> Active");
    let before = daemon.show()["routers"][0]["since_ms"].as_u64().unwrap();
    daemon.rewrite(&ROUTER.replace("priority = 150", "priorty = 150"));
    daemon.says("nothing was changed");
    daemon.says("write `priority`");
    // A good one applies what differs, without leaving the state.
    daemon.rewrite(&ROUTER.replace("150", "160"));
    daemon.says("reloaded: 1 virtual routers");
    let state = daemon.show();
    let router = &state["routers"][0];
    assert_eq!(
        (router["priority"].as_u64(), router["state"].as_str()),
        (Some(160), Some("active"))
    );
    assert!(router["since_ms"].as_u64().unwrap() >= before);
    // Of an address, the prefix alone may change.
    daemon.rewrite(&ROUTER.replace("10.66.0.10/32", "10.66.0.10/24"));
    daemon.until("the other prefix", |_| {
        holds("10.66.0.10/24") && !holds("10.66.0.10/32")
    });
    // Limits are taken at start.
    let limits = ROUTER.replace("[[vrrp]]", "routers = 9\n[[vrrp]]");
    daemon.rewrite(&limits);
    daemon.says("limits and run_dir need a restart");
    // An instance that is gone says goodbye.
    daemon.rewrite(&ROUTER.replace("vrid = 51", "vrid = 52"));
    daemon.says("Active -> Initialize: shut down");
    daemon.says_times("Backup -> Active", 2);
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nobody_who_reads_the_log_holds_the_daemon_up_or_ends_it() {
    unshare_network().expect("a network namespace: run as root");
    veth();
    // One that never reads, and one that is gone.
    for gone in [false, true] {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4_096).unwrap();
        let mut reader = Some(reader);
        let mut daemon = Daemon::start_onto(ROUTER, writer);
        daemon.until("its addresses", |_| holds("10.66.0.10"));
        if gone {
            drop(reader.take());
        }
        // Each of these has a line of its own for every mistake.
        for _ in 0..40 {
            daemon.rewrite(&ROUTER.replace("priority", "priorty"));
            assert_eq!(daemon.show()["routers"][0]["state"], "active");
        }
        daemon.rewrite(&ROUTER.replace("150", "140"));
        daemon.until("the reload", |daemon| {
            daemon.show()["routers"][0]["priority"] == 140
        });
        daemon.stop();
        assert!(!holds("10.66.0.10"));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_plan_that_one_half_has_no_room_for_is_taken_by_neither() {
    unshare_network().expect("a network namespace: run as root");
    let config = |interface: &str, weight: u32| {
        let router = ROUTER.replace("\"va\"", &format!("\"{interface}\""));
        format!(
            "routers = 1\ntracks = 1\n{router}\n[[service]]\naddress = \"10.66.0.10:80\"\n\
             backends = [{{ address = \"10.66.0.21\", weight = {weight} }}]\n"
        )
    };
    let mut daemon = Daemon::start(&config("v1", 1));
    daemon.says("interface v1 is not ready");
    daemon.rewrite(&config("v2", 2));
    daemon.says("interface v2 is not ready");
    daemon.says("reloaded:");
    daemon.rewrite(&config("v3", 2));
    daemon.says("interface v3 is not ready");
    daemon.says_times("reloaded:", 2);
    // HA remembers every interface it ever had, as many as a reload of routers
    // and tracks may name; LB would take this.
    daemon.rewrite(&config("v4", 3));
    daemon.says("nothing was changed: ha: more interfaces than this run has room for: restart");
    let service = daemon.show()["services"][0].clone();
    assert_eq!(service["backends"][0]["weight"], 2, "{service}");
    daemon.rewrite(&config("v1", 4));
    daemon.says_times("reloaded:", 3);
    let service = daemon.show()["services"][0].clone();
    assert_eq!(service["backends"][0]["weight"], 4, "{service}");
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_daemon_of_the_same_run_dir_is_refused() {
    unshare_network().expect("a network namespace: run as root");
    veth();
    let mut daemon = Daemon::start(ROUTER);
    daemon.says("Backup -> Active");
    let binary = std::env::var_os("TRUNNION_BIN").unwrap();
    let second = Command::new(binary)
        .args(["run", "--config"])
        .arg(daemon.directory.join("node.toml"))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{words}");
    assert!(words.contains("a daemon answers on"), "{words}");
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_is_put_as_the_config_says_and_put_anew_when_that_changes() {
    unshare_network().expect("a network namespace: run as root");
    veth();
    let six = "[[vrrp]]\nname = \"public6\"\ninterface = \"va\"\nvrid = 51\ninterval = \"50ms\"\n\
               addresses = [\"fe80::66:10/64\", \"fd66::10/64\"]\n";
    let config = |keys: &str| format!("{ROUTER}{keys}\n{six}");
    let mut daemon = Daemon::start(&config("scope = \"link\"\nlabel = \"va:vip\""));
    let shown = |words: &str| run("ip -o -4 addr show dev va").contains(words);
    daemon.until("scope and label", |_| {
        shown("10.66.0.10/32 scope link va:vip")
    });
    daemon.rewrite(&config("label = \"va:other\""));
    daemon.until("others", |_| shown("10.66.0.10/32 scope global va:other"));
    daemon.rewrite(&config(""));
    daemon.until("none", |_| shown("10.66.0.10/32 scope global va\\"));
    // Someone puts it there in another way: it is put right.
    run("ip addr del 10.66.0.10/32 dev va");
    daemon.says("10.66.0.10 was taken off va by someone else");
    daemon.until("the address again", |_| holds("10.66.0.10/32"));
    // Duplicate detection is on in this namespace, for all but ours.
    daemon.until("the IPv6 addresses", |_| holds("fd66::10/64"));
    let six = run("ip -o -6 addr show dev va");
    let ours = six.lines().filter(|line| line.contains("66:"));
    for line in ours {
        assert!(!line.contains("tentative"), "{line}");
        assert!(
            line.contains("nodad") || line.contains("deprecated"),
            "{line}"
        );
    }
    daemon.stop();
}
