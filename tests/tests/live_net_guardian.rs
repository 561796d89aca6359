//! The guardian against real deaths: a daemon that is Active on one side of a
//! link, a peer or an ear on the other. What is measured is the order of
//! packets, and that it took less than the three intervals of a silence.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::side::{Ear, Side};

/// Long, so that on a busy machine too an act of the guardian is told from a
/// silence of three of them.
const INTERVAL: Duration = Duration::from_secs(1);
const ROUTERS: &str = r#"
[[vrrp]]
name = "public"
interface = "va"
vrid = 51
priority = 150
interval = "1s"
addresses = ["10.66.0.10/32", "10.66.0.11/24"]

[[vrrp]]
name = "public6"
interface = "va"
vrid = 52
priority = 150
interval = "1s"
addresses = ["fe80::66:10/64", "fd66::10/64"]
"#;

/// A daemon that is Active for both, with its guardian at its post.
fn active(node: &str) -> (Side, Daemon) {
    unshare_network().expect("a network namespace: run as root");
    let side = Side::joined("va", "vb");
    run("ip addr add 10.66.0.1/24 dev va");
    run("ip link set va up");
    side.run(|| {
        run("ip addr add 10.66.0.2/24 dev vb");
        run("ip link set vb up");
    });
    // Quickly Active, then at its interval.
    let config = format!("{node}[limits]{ROUTERS}");
    let mut daemon = Daemon::start(&config.replace("\"1s\"", "\"50ms\""));
    daemon.says_times("Backup -> Active", 2);
    daemon.until("the addresses", |_| held() == 4);
    daemon.rewrite(&config);
    daemon.says("reloaded:");
    daemon.guarded();
    (side, daemon)
}

/// SIGKILL to the daemon and its guardian, as if at one moment: a stopped
/// daemon starts no other guardian.
fn kill_both(daemon: &mut Daemon) {
    let guardian = daemon.guarded();
    daemon.signal("STOP");
    run(&format!("kill -KILL {guardian}"));
    daemon.kill();
}

/// How many of the virtual addresses the calling thread's namespace has.
fn held() -> usize {
    let shown = run("ip -o addr show");
    ["10.66.0.10/", "10.66.0.11/", "fe80::66:10/", "fd66::10/"]
        .iter()
        .filter(|address| shown.contains(*address))
        .count()
}

/// Waits until both routers have been heard to say `said` since `since`, and
/// nothing else; returns when the last of them was.
fn both_say(ear: &Ear, since: Instant, said: &[u8]) -> Instant {
    let heard = |vrid| ear.said(vrid, since);
    wait("both routers are heard", || {
        [51, 52].iter().all(|vrid| heard(*vrid).ends_with(said))
    });
    for vrid in [51, 52] {
        assert_eq!(heard(vrid), said, "vrid {vrid}");
    }
    let last = |vrid| ear.heard(vrid).last().unwrap().at;
    last(51).max(last(52))
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn peer(side: &Side, node: &str) -> Daemon {
    let config = format!("{node}[limits]{ROUTERS}");
    let config = config.replace("\"va\"", "\"vb\"").replace("150", "100");
    let mut daemon = side.run(|| Daemon::start(&config));
    daemon.says_times("Initialize -> Backup", 2);
    daemon
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_is_killed_says_goodbye_and_leaves_no_address() {
    let (side, mut daemon) = active("");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    let killed = Instant::now();
    daemon.signal("KILL");
    let last = both_say(&ear, killed, &[0]);
    println!("goodbye heard {:?} after the SIGKILL", last - killed);
    assert!(last - killed < 3 * INTERVAL);
    wait("the addresses are off", || held() == 0);
    println!("addresses off {:?} after the SIGKILL", killed.elapsed());
    daemon.ended();
    wait("the guardian is gone", || daemon.guardian().is_none());
    assert!(
        daemon
            .log()
            .contains("resigned 2 virtual routers, took 4 addresses off")
    );
    // Who gave its role back does not resume it.
    daemon.start_again();
    daemon.says_times("Initialize -> Backup", 4);
    assert!(!daemon.log().contains("going on as Active"));
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_peer_takes_over_because_it_heard_a_goodbye() {
    let (side, mut daemon) = active("");
    let mut other = peer(&side, "");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    let killed = Instant::now();
    daemon.kill();
    other.says_times("Backup -> Active: the active router resigned", 2);
    println!(
        "the peer is Active {:?} after the SIGKILL",
        killed.elapsed()
    );
    assert!(killed.elapsed() < 3 * INTERVAL);
    assert_eq!(held(), 0);
    other.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_held_role_is_adopted_and_no_peer_notices() {
    let (side, mut daemon) = active("on_crash = \"hold\"\nhold_for = \"20s\"\n");
    let mut other = peer(&side, "");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    let began = Instant::now();
    daemon.kill();
    // Longer than a peer would wait in silence.
    std::thread::sleep(4 * INTERVAL);
    assert_eq!(held(), 4);
    daemon.start_again();
    daemon.says_times("going on as Active where the last run stopped", 2);
    daemon.guarded();
    let count = ear.heard(51).len();
    wait("it speaks again", || ear.heard(51).len() > count + 1);
    both_say(&ear, began, &[150]);
    for vrid in [51, 52] {
        let gap = ear.longest_gap(vrid, began);
        println!("vrid {vrid}: longest silence {gap:?}");
        assert!(gap < 2 * INTERVAL, "{gap:?}");
    }
    assert!(!other.log().contains("-> Active"), "{}", other.log());
    assert!(
        daemon.log().contains("held its roles until the next one"),
        "{}",
        daemon.log()
    );
    // Who dies again so soon is not held again.
    let killed = Instant::now();
    daemon.kill();
    both_say(&ear, killed, &[0]);
    other.says_times("Backup -> Active: the active router resigned", 2);
    other.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_hold_ends_with_a_goodbye_when_nobody_comes_or_someone_ends_it() {
    let (side, mut daemon) = active("on_crash = \"hold\"\nhold_for = \"1500ms\"\n");
    let ear = side.ear("vb");
    let killed = Instant::now();
    daemon.kill();
    both_say(&ear, killed, &[150, 0]);
    wait("the addresses are off", || held() == 0);

    daemon.start_again();
    daemon.says_times("Backup -> Active", 4);
    let guardian = daemon.guarded();
    wait("it is heard", || {
        ear.said(51, killed).ends_with(&[150]) && ear.said(52, killed).ends_with(&[150])
    });
    let killed = Instant::now();
    daemon.kill();
    run(&format!("kill -TERM {guardian}"));
    wait("both resign", || {
        [51, 52]
            .iter()
            .all(|vrid| ear.said(*vrid, killed).ends_with(&[0]))
    });
    wait("the addresses are off", || held() == 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_guardian_that_dies_is_replaced_and_the_next_one_does_its_work() {
    let (side, mut daemon) = active("");
    let ear = side.ear("vb");
    let first = daemon.guarded();
    // Signals that a terminal or a service manager sends to all are not for it.
    run(&format!("kill -TERM {first}"));
    run(&format!("kill -INT {first}"));
    run(&format!("kill -KILL {first}"));
    daemon.says("the guardian ended");
    daemon.until("another guardian", |daemon| {
        daemon.guardian().is_some_and(|pid| pid != first)
    });
    assert_ne!(daemon.guarded(), first);
    assert_eq!(
        daemon.log().matches("the guardian ended").count(),
        1,
        "the other signals did not"
    );
    assert!(daemon.log().contains("signal: 9"), "{}", daemon.log());
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let deaths = counters.iter().find(|c| c["name"] == "guardian_deaths");
    assert_eq!(deaths.unwrap()["value"], 1);
    assert_eq!(state["routers"][0]["state"], "active");
    let killed = Instant::now();
    daemon.kill();
    both_say(&ear, killed, &[0]);
    wait("the addresses are off", || held() == 0);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_stop_is_no_death() {
    let (side, daemon) = active("");
    let mut other = peer(&side, "");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    let stopped = Instant::now();
    daemon.signal("STOP");
    other.says_times("Backup -> Active: the active router fell silent", 2);
    assert!(!ear.said(51, stopped).contains(&0) && !ear.said(52, stopped).contains(&0));
    assert_eq!(held(), 4, "nobody took them off");
    daemon.signal("CONT");
    other.says_times("Active -> Backup", 2);
    daemon.stop();
    other.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_clean_end_is_the_daemons_own() {
    let (side, mut daemon) = active("");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    let guardian = daemon.guarded();
    let told = Instant::now();
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    wait("the guardian is gone", || {
        daemon.guardian() != Some(guardian)
    });
    both_say(&ear, told, &[0]);
    let goodbyes = |vrid| ear.heard(vrid).iter().filter(|h| h.priority == 0).count();
    assert_eq!((goodbyes(51), goodbyes(52)), (1, 1));
    assert!(!daemon.log().contains("guardian"), "{}", daemon.log());
    daemon.start_again();
    daemon.says_times("Backup -> Active", 4);
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_dead_is_an_ordinary_failover() {
    let (side, mut daemon) = active("");
    let mut other = peer(&side, "");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    kill_both(&mut daemon);
    other.says_times("Backup -> Active: the active router fell silent", 2);
    assert_eq!(held(), 4, "what they leave, the next run takes off");
    daemon.start_again();
    daemon.says_times("Initialize -> Backup", 4);
    daemon.says_times(
        "Backup -> Active: the active router has a lower priority",
        2,
    );
    daemon.stop();
    other.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn both_dead_and_back_at_once_goes_on_as_active() {
    let (side, mut daemon) = active("");
    let other = peer(&side, "");
    let ear = side.ear("vb");
    wait("it is heard", || {
        ear.heard(51).len() > 1 && ear.heard(52).len() > 1
    });
    let killed = Instant::now();
    kill_both(&mut daemon);
    daemon.start_again();
    daemon.says_times("going on as Active where the last run stopped", 2);
    both_say(&ear, killed, &[150]);
    std::thread::sleep(2 * INTERVAL);
    assert!(!other.log().contains("-> Active"), "{}", other.log());
    assert_eq!(held(), 4);
    println!(
        "longest silence {:?}",
        ear.longest_gap(51, ear.heard(51)[0].at)
    );
    daemon.stop();
    other.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_daemon_starts_beside_a_guardian_at_work() {
    let (side, mut daemon) = active("");
    let ear = side.ear("vb");
    let guardian = daemon.guarded();
    run(&format!("kill -STOP {guardian}"));
    let killed = Instant::now();
    daemon.kill();
    daemon.start_again();
    assert!(!daemon.ended().success());
    assert!(
        daemon
            .log()
            .contains("another trunnion runs with this run_dir"),
        "{}",
        daemon.log()
    );
    assert!(ear.said(51, killed).is_empty(), "nobody speaks");
    run(&format!("kill -CONT {guardian}"));
    wait("the guardian has finished", || daemon.guardian().is_none());
    assert_eq!(held(), 0);
    daemon.start_again();
    daemon.says_times("Backup -> Active", 4);
    daemon.stop();
}
