//! Split brains on a real switch, of two of ours and of ours and keepalived; a
//! failover to a peer that preempts nobody, and a group of ours beside a
//! `vrrp_sync_group`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::keepalived::Keepalived;
use trunnion_tests::side::Side;
use trunnion_tests::virtual_mac::{Field, router, wait};

/// One router; no MAC address of its own: what is on two nodes then is seen.
fn config(interface: &str, priority: u8, more: &str) -> String {
    format!(
        "[limits]\n[[vrrp]]\nname = \"public\"\ninterface = \"{interface}\"\nvrid = 51\n\
         priority = {priority}\ninterval = \"100ms\"\nchecksum = \"rfc5798\"\n\
         addresses = [\"10.66.0.10/32\"]\n{more}"
    )
}

fn holds() -> bool {
    run("ip -o addr show").contains(" 10.66.0.10/")
}

fn split_brains(daemon: &Daemon) -> u64 {
    let shown = daemon.show();
    let mut counters = shown["counters"].as_array().unwrap().iter();
    let counter = counters.find(|c| c["name"] == "vrrp_split_brains");
    counter.unwrap()["value"].as_u64().unwrap()
}

/// Nobody hears the other.
fn part(apart: bool) {
    let isolated = if apart { "on" } else { "off" };
    for port in ["pva", "pvb"] {
        run(&format!(
            "ip link set {port} type bridge_slave isolated {isolated}"
        ));
    }
}

/// The calling thread's namespace hears nothing of the first node, which hears it.
fn deafen() {
    run("nft add table ip deaf");
    run("nft add chain ip deaf in { type filter hook input priority 0 ; }");
    run("nft add rule ip deaf in ip saddr 10.66.0.1 ip protocol 112 drop");
}

fn heal() {
    run("nft delete table ip deaf");
}

fn instance(name: &str, interface: &str, vrid: u8, priority: u8, more: &str) -> String {
    let address = if vrid == 51 {
        "10.66.0.10/32"
    } else {
        "10.67.0.10/32"
    };
    format!(
        "vrrp_instance {name} {{\n state BACKUP\n interface {interface}\n virtual_router_id {vrid}\n \
         priority {priority}\n advert_int 0.1\n {more}\n virtual_ipaddress {{\n {address}\n }}\n}}\n"
    )
}

const VERSION: &str = "global_defs {\n vrrp_version 3\n}\n";

/// What the first node says of a second Active that does not hear it.
fn names_the_rival(a: &mut Daemon) {
    a.says("vrrp public: split brain: we are active, and so is 10.66.0.2 with priority 100");
    let shown = router(a, "public");
    assert_eq!(shown["split_brain"], true, "{shown}");
    assert_eq!(shown["heard"]["source"], "10.66.0.2");
    assert_eq!(shown["state"], "active", "the better one stays");
    assert_eq!(split_brains(a), 1);
}

fn is_over(a: &mut Daemon) {
    a.says("vrrp public: split brain: no rival was heard for a while");
    assert_eq!(router(a, "public")["split_brain"], false);
    assert_eq!(split_brains(a), 1);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_of_ours_are_both_active_and_then_one_is() {
    let field = Field::joined();
    let mut a = field.a.run(|| Daemon::start(&config("va", 150, "")));
    a.says("Backup -> Active");
    let mut b = field.b.run(|| Daemon::start(&config("vb", 100, "")));
    b.says("Initialize -> Backup");
    part(true);
    // Silent, or not heard at all before that.
    b.says("Backup -> Active: ");
    let both = || field.a.run(holds) && field.b.run(holds);
    wait("both have the address", both);
    // Healed in both directions the worse one yields at once, and the better one
    // announces the addresses again.
    part(false);
    b.says("Active -> Backup: a router of higher priority advertises");
    wait("one has it", || field.a.run(holds) && !field.b.run(holds));

    part(true);
    b.says_times("Backup -> Active: ", 2);
    wait("both have the address", both);
    // Healed in one direction, it is said.
    field.b.run(deafen);
    part(false);
    names_the_rival(&mut a);
    assert!(both());
    field.b.run(heal);
    b.says_times(
        "Active -> Backup: a router of higher priority advertises",
        2,
    );
    wait("one has it", || field.a.run(holds) && !field.b.run(holds));
    is_over(&mut a);
    assert_eq!(a.log().matches("Active -> ").count(), 0, "{}", a.log());
    a.stop();
    b.stop();
}

#[test]
#[ignore = "needs root and keepalived: cargo xtask test"]
fn ours_and_keepalived_are_both_active_and_then_one_is() {
    let field = Field::joined();
    let mut a = field.a.run(|| Daemon::start(&config("va", 150, "")));
    a.says("Backup -> Active");
    let text = format!("{VERSION}{}", instance("public", "vb", 51, 100, ""));
    let peer = Keepalived::start(&field.b, &text);
    peer.says("Entering BACKUP STATE", 1);
    part(true);
    peer.says("Entering MASTER STATE", 1);
    wait("both have the address", || {
        field.a.run(holds) && field.b.run(holds)
    });
    part(false);
    peer.says("Entering BACKUP STATE", 2);
    wait("one has it", || field.a.run(holds) && !field.b.run(holds));
    field.b.run(deafen);
    peer.says("Entering MASTER STATE", 2);
    names_the_rival(&mut a);
    field.b.run(heal);
    peer.says("Entering BACKUP STATE", 3);
    wait("one has it", || field.a.run(holds) && !field.b.run(holds));
    is_over(&mut a);
    drop(peer);
    a.stop();
}

#[test]
#[ignore = "needs root and keepalived: cargo xtask test"]
fn a_peer_that_preempts_nobody_takes_over_by_failover_and_keeps_it() {
    let field = Field::joined();
    let mut a = field.a.run(|| Daemon::start(&config("va", 100, "")));
    a.says("Backup -> Active");
    let text = format!(
        "{VERSION}{}",
        instance("public", "vb", 51, 200, "nopreempt")
    );
    let peer = Keepalived::start(&field.b, &text);
    peer.says("Entering BACKUP STATE", 1);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(router(&a, "public")["state"], "active", "{}", a.log());
    let binary = std::env::var_os("TRUNNION_BIN").unwrap();
    let done = Command::new(binary)
        .args(["failover", "public", "--for", "1s", "--socket"])
        .arg(a.directory.join("run/control.sock"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{printed}");
    assert!(
        printed.contains("public: 10.66.0.2 has taken over"),
        "{printed}"
    );
    peer.says("Entering MASTER STATE", 1);
    a.says("the failover is over");
    std::thread::sleep(Duration::from_secs(1));
    let shown = router(&a, "public");
    assert_eq!(shown["state"], "backup", "{shown}");
    wait("it has the address", || {
        field.b.run(holds) && !field.a.run(holds)
    });
    drop(peer);
    a.says_times("Backup -> Active", 2);
    a.stop();
}

#[test]
#[ignore = "needs root and keepalived: cargo xtask test"]
fn a_group_moves_with_a_sync_group_of_keepalived() {
    unshare_network().expect("a network namespace: run as root");
    let side = Side::joined("va", "vb");
    run("ip link set lo up");
    run("ip addr add 10.66.0.1/24 dev va");
    run("ip link set va up");
    side.join("ia", "ib");
    run("ip addr add 10.67.0.1/24 dev ia");
    run("ip link set ia up");
    side.run(|| {
        run("ip addr add 10.66.0.2/24 dev vb");
        run("ip link set vb up");
        run("ip addr add 10.67.0.2/24 dev ib");
        run("ip link set ib up");
    });
    let inside = "[[vrrp]]\nname = \"inside\"\ninterface = \"ia\"\nvrid = 52\npriority = 150\n\
                  interval = \"100ms\"\nchecksum = \"rfc5798\"\naddresses = [\"10.67.0.10/32\"]\n\
                  [[vrrp_group]]\nname = \"pair\"\nmembers = [\"public\", \"inside\"]\n";
    let mut a = Daemon::start(&config("va", 150, inside));
    a.says_times("Backup -> Active", 2);
    let text = format!(
        "{VERSION}vrrp_sync_group pair {{\n group {{\n public\n inside\n }}\n}}\n{}{}",
        instance("public", "vb", 51, 100, ""),
        instance("inside", "ib", 52, 100, ""),
    );
    let peer = Keepalived::start(&side, &text);
    peer.says("Entering BACKUP STATE", 2);
    let all = |vips: [&str; 2]| {
        let shown = run("ip -o addr show");
        vips.iter()
            .filter(|vip| shown.contains(&format!(" {vip}/")))
            .count()
    };
    let vips = ["10.66.0.10", "10.67.0.10"];
    for round in 1..=3 {
        // One of ours cannot speak: both go, and its group takes both.
        run("ip addr del 10.67.0.1/24 dev ia");
        a.says_times(
            "vrrp public: Active -> Initialize: another router of its group",
            round,
        );
        peer.says("Entering MASTER STATE", 2 * round);
        wait("it has both", || {
            side.run(|| all(vips)) == 2 && all(vips) == 0
        });
        run("ip addr add 10.67.0.1/24 dev ia");
        a.says_times("Backup -> Active", 2 * round + 2);
        wait("we have both", || {
            side.run(|| all(vips)) == 0 && all(vips) == 2
        });
    }
    drop(peer);
    a.stop();
}
