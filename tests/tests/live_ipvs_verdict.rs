//! What verdicts and operators make of weights, in a real kernel's table.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

fn network() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run("ip link set lo up");
}

/// The kernel's weights, by the last byte of each backend's address.
fn weights() -> BTreeMap<u8, u32> {
    let saved = run("ipvsadm -S -n");
    let rows = saved.lines().filter_map(|line| {
        let (_, rest) = line.split_once("-r 127.0.0.")?;
        let (last, rest) = rest.split_once(':')?;
        let (_, weight) = rest.split_once("-w ")?;
        Some((last.parse().unwrap(), weight.trim().parse().unwrap()))
    });
    rows.collect()
}

fn has(daemon: &mut Daemon, expected: &[(u8, u32)]) {
    let expected: BTreeMap<u8, u32> = expected.iter().copied().collect();
    daemon.until(&format!("{expected:?}, and not {:?}", weights()), |_| {
        weights() == expected
    });
}

fn verb(daemon: &Daemon, words: &str) {
    let output = Command::new(std::env::var_os("TRUNNION_BIN").unwrap())
        .args(words.split(' '))
        .arg("--socket")
        .arg(daemon.directory.join("run/control.sock"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}: {errors}");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn operators_quorum_sorry_server_and_slow_start_are_in_the_kernels_weights() {
    network();
    let port = |port: u16| TcpListener::bind(("0.0.0.0", port)).unwrap();
    let (mut first, mut second) = (Some(port(7001)), Some(port(7002)));
    let sorry = port(7009);
    let mut daemon = Daemon::start(
        r#"
[[service]]
name = "web"
address = "192.0.2.10:80"
scheduler = "wrr"
forward = "masq"
quorum = 4
hysteresis = 1
check = { type = "tcp", interval = "100ms", timeout = "100ms", rise = 1, fall = 2 }
backends = [
  { address = "127.0.0.1:7001", weight = 3 },
  { address = "127.0.0.2:7002", weight = 2 },
  { address = "127.0.0.3:7002", weight = 1 },
  { address = "127.0.0.9:7009", weight = 1, sorry = true },
]
"#,
    );
    has(&mut daemon, &[(1, 3), (2, 2), (3, 1), (9, 0)]);
    // 5 and 4 are enough, 3 is not less than 4 - 1, 2 is.
    verb(&daemon, "drain web 127.0.0.3");
    has(&mut daemon, &[(1, 3), (2, 2), (3, 0), (9, 0)]);
    verb(&daemon, "force-down web 127.0.0.2");
    has(&mut daemon, &[(1, 3), (2, 0), (3, 0), (9, 0)]);
    verb(&daemon, "maint web 127.0.0.1");
    daemon.says("quorum lost");
    daemon.says("the sorry server gets the clients");
    has(&mut daemon, &[(1, 0), (2, 0), (3, 0), (9, 1)]);
    // 3 + 1 is less than 4 + 1, and 5 is not.
    verb(&daemon, "ready web 127.0.0.1");
    verb(&daemon, "ready web 127.0.0.3");
    daemon.says("target 127.0.0.1 port 7001 is up");
    has(&mut daemon, &[(1, 0), (2, 0), (3, 0), (9, 1)]);
    verb(&daemon, "ready web");
    daemon.says("quorum regained");
    has(&mut daemon, &[(1, 3), (2, 2), (3, 1), (9, 0)]);
    // The real thing: two of three die, and come back.
    second.take();
    has(&mut daemon, &[(1, 3), (2, 0), (3, 0), (9, 0)]);
    first.take();
    has(&mut daemon, &[(1, 0), (2, 0), (3, 0), (9, 1)]);
    // The sorry server dies as well: better doubtful ones than none.
    drop(sorry);
    has(&mut daemon, &[(1, 3), (2, 2), (3, 1), (9, 0)]);
    daemon.says("every backend gets traffic");
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_weight_rises_step_by_step_and_goes_on_after_a_crash() {
    network();
    let port = |port: u16| TcpListener::bind(("0.0.0.0", port)).unwrap();
    let _others = port(7001);
    let mut back = Some(port(7002));
    let mut daemon = Daemon::start(
        r#"
[[service]]
name = "web"
address = "192.0.2.10:80"
forward = "masq"
slow_start = "8s"
check = { type = "tcp", interval = "100ms", timeout = "100ms", rise = 1, fall = 1 }
backends = [
  { address = "127.0.0.1:7001", weight = 160 },
  { address = "127.0.0.2:7002", weight = 160 },
]
"#,
    );
    // The first clients do not come slowly.
    has(&mut daemon, &[(1, 160), (2, 160)]);
    back.take();
    has(&mut daemon, &[(1, 160), (2, 0)]);
    back = Some(port(7002));
    let mut seen = vec![0];
    daemon.until("the whole weight", |_| {
        let weight = weights()[&2];
        if seen.last() != Some(&weight) {
            seen.push(weight);
        }
        weight >= 80
    });
    daemon.kill();
    daemon.start_again();
    daemon.until("the whole weight", |_| {
        let weight = weights()[&2];
        if seen.last() != Some(&weight) {
            seen.push(weight);
        }
        weight == 160
    });
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.len() >= 10, "in steps: {seen:?}");
    assert!(seen.iter().all(|w| *w == 1 || w % 10 == 0), "{seen:?}");
    assert_eq!(weights()[&1], 160);
    drop(back);
    daemon.stop();
}
