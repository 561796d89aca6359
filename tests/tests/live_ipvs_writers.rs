//! The daemon and ipvsadm, which insists on something else: the table converges,
//! nobody fights, and the log says who differs. In the VM.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::process::{Child, Command};
use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

const SERVICE: &str = r#"
[[service]]
name = "web"
address = "10.66.0.10:80"
scheduler = "wrr"
forward = "masq"
backends = [{ address = "10.66.0.21", weight = 3 }, { address = "10.66.0.22", weight = 4 }]
"#;

/// ipvsadm, ten times a second.
struct Rival(Child);

impl Rival {
    fn start(command: &str) -> Self {
        let script = format!("while :; do {command}; sleep 0.1; done");
        let child = Command::new("sh").args(["-c", &script]).spawn();
        Self(child.unwrap())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(ipvs: &str) -> Daemon {
    unshare_network().unwrap();
    run("ip addr add 10.66.0.1/24 dev lo");
    let mut daemon = Daemon::start(&format!("[ipvs]\naudit = \"1s\"\n{ipvs}\n{SERVICE}"));
    daemon.says("3 requests made it 1 services and 2 destinations");
    daemon
}

fn count(daemon: &Daemon, name: &str) -> u64 {
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let all = counters.iter().filter(|c| c["name"] == name);
    all.map(|c| c["value"].as_u64().unwrap()).sum()
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_weight_that_someone_else_insists_on_is_put_right_ever_less_often() {
    let mut daemon = start("");
    let rival = Rival::start("ipvsadm -e -t 10.66.0.10:80 -r 10.66.0.22 -m -w 9");
    // Twice after 1 s each, then after 2, 4 and 8 s.
    daemon.says(
        "backend 10.66.0.22 port 80: someone else set its weight to 9; putting it right (1 so far)",
    );
    daemon.says("3 times: end one of the two, or set own = \"declared\"; looking again in 2 s");
    daemon.says("4 times: end one of the two, or set own = \"declared\"; looking again in 4 s");
    daemon.says("5 times: end one of the two, or set own = \"declared\"; looking again in 8 s");
    assert_eq!(count(&daemon, "ipvs_requests"), 3 + 5, "{}", daemon.log());
    assert_eq!(count(&daemon, "ipvs_drifted"), 5);
    assert_eq!(count(&daemon, "ipvs_contests"), 3);
    drop(rival);
    daemon.until("our weight", |_| {
        run("ipvsadm -S -n").contains("-r 10.66.0.22:80 -m -w 4")
    });
    // The other one was never touched, nor named.
    let log = daemon.log();
    assert!(!log.contains("backend 10.66.0.21"), "{log}");
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_table_that_was_emptied_is_made_again_and_each_row_is_named() {
    let mut daemon = start("");
    run("ipvsadm -C");
    daemon.says(
        "service 10.66.0.10 port 80 mark 0: someone else deleted it; putting it right (1 so far)",
    );
    daemon.until("the table", |_| run("ipvsadm -S -n").lines().count() == 3);
    run("ipvsadm -A -f 99 -s rr");
    run("ipvsadm -a -t 10.66.0.10:80 -r 10.66.0.30 -m -w 1");
    daemon.says("mark 99: someone else added it; putting it right (1 so far)");
    daemon.says("backend 10.66.0.30 port 80: someone else added it; putting it right (1 so far)");
    daemon.until("the table", |_| run("ipvsadm -S -n").lines().count() == 3);
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn rows_that_are_not_ours_are_left_to_their_owner() {
    let mut daemon = start("own = \"declared\"");
    let rival = Rival::start(
        "ipvsadm -A -f 99 -s rr; ipvsadm -a -f 99 -r 10.66.0.30 -m -w 1; ipvsadm -D -f 99",
    );
    daemon.says_times("the kernel holds 1 services and 2 destinations", 6);
    drop(rival);
    std::thread::sleep(Duration::from_millis(300));
    run("ipvsadm -C");
    run("ipvsadm -A -f 98 -s rr");
    daemon.says("service 10.66.0.10 port 80 mark 0: someone else deleted it");
    daemon.until("both", |_| run("ipvsadm -S -n").lines().count() == 4);
    let log = daemon.log();
    assert!(
        !log.contains("mark 99") && !log.contains("mark 98"),
        "{log}"
    );
    assert_eq!(count(&daemon, "ipvs_requests"), 3 + 3, "{log}");
    daemon.stop();
}
