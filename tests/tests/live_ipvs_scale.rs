//! The daemon with a large table in a real kernel's IPVS: requests are counted
//! exactly, on our side and in the kernel's table. Nothing is timed here.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fmt::Write;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

const SERVICES: u64 = 1_000;
const EACH: u64 = 10;
const DESTINATIONS: u64 = SERVICES * EACH;

/// A file with the service at each number in `services`; `[limits]` and
/// `[ipvs]` have room for all.
fn config(services: impl Iterator<Item = u64>, check: &str) -> String {
    let mut text =
        format!("services = {SERVICES}\nbackends = {DESTINATIONS}\n[ipvs]\non_exit = \"clear\"\n");
    for service in services {
        let (high, low) = (service >> 8, service & 255);
        let _ = write!(
            text,
            "[[service]]\naddress = \"10.66.{high}.{low}:80\"\nforward = \"masq\"\n{check}\nbackends = ["
        );
        for backend in 1..=EACH {
            let _ = write!(
                text,
                "{{ address = \"10.67.{low}.{backend}\", weight = 3 }}, "
            );
        }
        text.push_str("]\n");
    }
    text
}

/// What was asked of the kernel since the start, but for what is 0.
fn requests(daemon: &Daemon) -> BTreeMap<String, u64> {
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let requests = counters.iter().filter(|c| c["name"] == "ipvs_requests");
    requests
        .map(|c| (c.to_string(), c["value"].as_u64().unwrap()))
        .filter(|(_, value)| *value > 0)
        .map(|(text, value)| {
            let kind = [
                "new_service",
                "set_service",
                "del_service",
                "new_dest",
                "set_dest",
            ]
            .into_iter()
            .find(|kind| text.contains(&format!("\"{kind}\"")));
            (kind.unwrap_or("del_dest").to_owned(), value)
        })
        .collect()
}

fn counts<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.map(|(kind, value)| (kind.to_owned(), value)).into()
}

/// Services and destinations, as the kernel prints them.
fn held() -> (usize, usize) {
    let table = std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
    let starts = |with: &str| table.lines().filter(|l| l.starts_with(with)).count();
    // The header has a line of arrows as well.
    (starts("TCP"), starts("  ->") - 1)
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_large_table_is_made_kept_adopted_and_cleared_with_no_request_too_many() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run("ip link set lo up");
    let all = config(0..SERVICES, "");
    let mut daemon = Daemon::start(&all);
    daemon.says("requests made it 1000 services and 10000 destinations");
    let made = counts([("new_dest", DESTINATIONS), ("new_service", SERVICES)]);
    assert_eq!(requests(&daemon), made);
    assert_eq!(held(), (1_000, 10_000));

    // Nothing differs, and then one row does.
    daemon.rewrite(&all);
    daemon.says_times("reloaded:", 1);
    assert_eq!(requests(&daemon), made);
    daemon.rewrite(&all.replacen("weight = 3", "weight = 4", 1));
    daemon.says(": 1 requests made it");
    let sent = counts([
        ("new_dest", DESTINATIONS),
        ("new_service", SERVICES),
        ("set_dest", 1),
    ]);
    assert_eq!(requests(&daemon), sent);

    // A service goes with its destinations, and they come back with it.
    daemon.rewrite(&config(1..SERVICES, ""));
    daemon.says_times(": 1 requests made it", 2);
    assert_eq!(held(), (999, 9_990));
    daemon.rewrite(&all);
    daemon.says(": 11 requests made it");

    // A crash leaves all in place, and the next run finds it.
    daemon.signal("KILL");
    drop(daemon);
    let mut daemon = Daemon::start(&all);
    daemon.says("the kernel holds 1000 services and 10000 destinations");
    daemon.says("started with");
    assert_eq!(requests(&daemon), counts([]));
    daemon.stop();
    assert_eq!(held(), (0, 0));
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn verdicts_of_a_large_table_change_their_own_rows() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run("ip link set lo up");
    // Every backend is this host, where nobody listens: each is refused.
    run("ip addr add 10.67.0.0/16 dev lo");
    let check = "min_healthy = 0\ncheck = { type = \"tcp\", interval = \"10s\", fast_interval = \"100ms\", fall = 1 }";
    let mut daemon = Daemon::start(&config(0..100, check));
    daemon.says("requests made it 100 services and 1000 destinations");
    daemon.until("a verdict about every target", |daemon| {
        let state = daemon.show();
        let services = state["services"].as_array().unwrap();
        let backends = services
            .iter()
            .flat_map(|s| s["backends"].as_array().unwrap());
        let mut states = backends.map(|b| b["check"]["health"].as_str().unwrap().to_owned());
        states.all(|state| state == "down")
    });
    // Their weight was 0 while nothing was known, and is 0 now.
    let made = counts([("new_dest", 1_000), ("new_service", 100)]);
    assert_eq!(requests(&daemon), made);
    let rows = std::fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap();
    let drained =
        |row: &&str| row.starts_with("  ->") && row.split_whitespace().nth(3) == Some("0");
    assert_eq!(rows.lines().filter(drained).count(), 1_000);
    daemon.stop();
}
