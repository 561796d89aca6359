//! Checks whose target is a name: a real daemon, the host's resolver, and a real
//! name server whose answer changes and that dies, in namespaces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;
use trunnion_sys::netns::{unshare_mounts, unshare_network};
use trunnion_tests::asked::{Server, unbound_of};
use trunnion_tests::daemon::{Daemon, run};

/// A network of its own, and a host whose resolver asks 127.0.0.1 and gives up
/// after a second.
fn network(directory: &Path) {
    unshare_network().expect("a network namespace: run as root");
    unshare_mounts().expect("a mount namespace");
    run("mount --make-rprivate /");
    for (name, text) in [
        (
            "resolv.conf",
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        ),
        ("nsswitch.conf", "hosts: files dns\n"),
    ] {
        let own = directory.join(name);
        std::fs::write(&own, text).unwrap();
        run(&format!("mount --bind {} /etc/{name}", own.display()));
    }
    run("ip link set lo up");
}

fn zone(directory: &Path, records: &[&str]) -> Server {
    let records: Vec<_> = records.iter().map(|record| (*record).to_owned()).collect();
    unbound_of(directory, &records)
}

const CONFIG: &str = "resolve_interval = \"1s\"\n[limits]\n\
    [[service]]\nname = \"named\"\naddress = \"192.0.2.1:80\"\nforward = \"masq\"\n\
    check = { type = \"tcp\", interval = \"200ms\", timeout = \"150ms\", rise = 1, fall = 2 }\n\
    [[service.backend]]\naddress = \"127.1.0.1:80\"\n\
    check = { address = \"db.example:7000\" }\n\
    [[service.backend]]\naddress = \"127.1.0.2:80\"\n\
    check = { address = \"six.example:7000\", family = \"ipv6\" }\n";

fn check(state: &Value, n: usize) -> Value {
    state["services"][0]["backends"][n]["check"].clone()
}

/// The name that begins so, as it is shown.
fn name(state: &Value, begins: &str) -> Value {
    let names = state["names"].as_array().unwrap();
    let has = |name: &&Value| name["name"].as_str().unwrap().starts_with(begins);
    names.iter().find(has).unwrap().clone()
}

fn counter(state: &Value, name: &str, of: &str) -> u64 {
    let counters = state["counters"].as_array().unwrap();
    let found = counters.iter().find(|c| c["name"] == name && c["of"] == of);
    found.map_or(0, |found| found["value"].as_u64().unwrap())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_name_moves_and_its_server_dies_and_nobody_is_down_for_that() {
    let directory = std::env::temp_dir().join(format!("trunnion-names-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    network(&directory);
    let _here = TcpListener::bind("127.9.0.1:7000").unwrap();
    let _six = TcpListener::bind("[::1]:7000").unwrap();

    // Nobody answers for names: nothing is known, and nothing is a verdict.
    let mut daemon = Daemon::start(CONFIG);
    daemon.says("name db.example is not resolved: no answer from a name server; until it is");
    let unresolved = "name of the target not resolved yet";
    daemon.until("checks that find out nothing", |daemon| {
        counter(&daemon.show(), "check_indeterminate", unresolved) > 10
    });
    let state = daemon.show();
    assert_eq!(check(&state, 0)["health"], "unknown");
    assert_eq!(name(&state, "db")["address"], Value::Null);
    assert_eq!(
        name(&state, "db")["trouble"],
        "no answer from a name server"
    );
    assert!(!daemon.log().contains("is down"));

    // One does.
    let six = "six.example. AAAA ::1";
    let server = zone(&directory, &["db.example. A 127.9.0.1", six]);
    daemon.says("name db.example is 127.9.0.1");
    daemon.says("name six.example is ::1");
    daemon.until("both up", |daemon| {
        let state = daemon.show();
        (0..2).all(|n| check(&state, n)["health"] == "up")
    });
    assert_eq!(check(&daemon.show(), 0)["target"], "127.9.0.1:7000");
    assert_eq!(check(&daemon.show(), 1)["target"], "[::1]:7000");

    // More addresses, lesser ones among them: the one in use stays.
    drop(server);
    let more = [
        "db.example. A 127.9.0.0",
        "db.example. A 127.9.0.1",
        "db.example. A 127.9.0.2",
        six,
    ];
    let server = zone(&directory, &more);
    daemon.until("the others", |daemon| {
        name(&daemon.show(), "db")["others"] == serde_json::json!(["127.9.0.0", "127.9.0.2"])
    });
    assert_eq!(name(&daemon.show(), "db")["address"], "127.9.0.1");

    // It moves to where nobody listens: believed up until two checks failed there.
    drop(server);
    let server = zone(&directory, &["db.example. A 127.9.0.2", six]);
    daemon.says("name db.example moved from 127.9.0.1 to 127.9.0.2");
    daemon.says("target 127.9.0.2 port 7000 is down: refused");
    let _there = TcpListener::bind("127.9.0.2:7000").unwrap();
    daemon.says("target 127.9.0.2 port 7000 is up");
    assert_eq!(daemon.log().matches("is down").count(), 1);

    // The server dies, hangs, and forgets the name: the last address goes on.
    drop(server);
    daemon.says("name db.example is not resolved: no answer from a name server; its checks go on");
    let mute = UdpSocket::bind("127.0.0.1:53").unwrap();
    let before = counter(
        &daemon.show(),
        "name_lookups_failed",
        "no answer from a name server",
    );
    daemon.until("lookups that hang", |daemon| {
        let why = "no answer from a name server";
        counter(&daemon.show(), "name_lookups_failed", why) > before + 3
    });
    // A reload meanwhile keeps what is known.
    daemon.rewrite(&CONFIG.replace("rise = 1", "rise = 2"));
    daemon.says("reloaded: ");
    drop(mute);
    let _server = zone(&directory, &[six]);
    daemon.says("name db.example is not resolved: no such name, or no address of its family");
    std::thread::sleep(Duration::from_millis(1_500));
    let state = daemon.show();
    assert_eq!(name(&state, "db")["address"], "127.9.0.2");
    assert!(
        (0..2).all(|n| check(&state, n)["health"] == "up"),
        "{state}"
    );
    assert_eq!(daemon.log().matches("is down").count(), 1);
    assert_eq!(counter(&state, "name_moves", ""), 1);
    daemon.stop();
    let _ = std::fs::remove_dir_all(&directory);
}
