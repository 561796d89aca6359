//! Connection synchronization between two nodes on real kernels: its daemons
//! follow the virtual router, and what was told survives the one who told it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::lab::config::Config;
use trunnion_tests::lab::download::Download;
use trunnion_tests::lab::node::{self, Node};
use trunnion_tests::lab::plan::{self, Family};
use trunnion_tests::lab::{Lab, topology, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// What `ipvsadm -L --daemon` shows in this namespace: `master`, `backup`.
fn daemons() -> Vec<String> {
    let shown = run("ipvsadm -L -n --daemon");
    let words = shown
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    words
        .filter(|word| ["master", "backup"].contains(word))
        .map(str::to_owned)
        .collect()
}

fn loopback() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run("ip link add sync0 type veth peer name sync1");
    run("ip address add 10.68.0.1/24 dev sync0");
    run("ip link set sync1 up");
    run("ip link set sync0 up");
}

const SERVICE: &str = r#"
[[service]]
address = "10.68.0.10:80"
forward = "masq"
backends = ["10.68.0.21"]
"#;

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_state_is_kept_whoever_changes_it() {
    loopback();
    let both = format!(
        "[ipvs]\naudit = \"1s\"\n[ipvs.sync]\ninterface = \"sync0\"\nid = 7\nrole = \"both\"\n{SERVICE}"
    );
    let mut daemon = Daemon::start(&both);
    daemon.until("both", |_| daemons() == ["master", "backup"]);
    assert!(run("ipvsadm -L -n --daemon").contains("syncid=7"));
    let state = daemon.show();
    let settings = state["settings"].as_array().unwrap();
    let shown = settings
        .iter()
        .find(|s| s["name"] == "sync daemons")
        .unwrap();
    assert_eq!(shown["declared"], shown["present"], "{shown}");
    assert_eq!(shown["trouble"], "", "{shown}");

    // Another hand stops one, and starts one that is wrong.
    run("ipvsadm --stop-daemon master"); // tidy: allow(master): ipvsadm's word
    run("ipvsadm --start-daemon master --mcast-interface sync0 --syncid 8"); // tidy: allow(master): ipvsadm's word
    daemon.until("both again", |_| {
        let shown = run("ipvsadm -L -n --daemon");
        daemons() == ["master", "backup"] && !shown.contains("syncid=8")
    });

    daemon.rewrite(&both.replace("both", "backup"));
    daemon.until("backup alone", |_| daemons() == ["backup"]);
    // What the file no longer names is stopped once, and then left to others.
    daemon.rewrite(&format!("[ipvs]\naudit = \"1s\"\n{SERVICE}"));
    daemon.until("none", |_| daemons().is_empty());
    std::thread::sleep(Duration::from_millis(200));
    run("ipvsadm --start-daemon backup --mcast-interface sync0");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(daemons(), ["backup"]);
    daemon.stop();
    run("ipvsadm --stop-daemon backup");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_daemon_that_is_refused_holds_up_no_row() {
    loopback();
    let mut daemon = Daemon::start(&format!(
        "[ipvs.sync]\ninterface = \"nowhere\"\nrole = \"master\"\n{SERVICE}" // tidy: allow(master): ip_vs.h's word
    ));
    daemon.says("errno 19: the synchronization daemon's interface is not there");
    daemon.until("the service", |_| {
        run("ipvsadm -S -n").contains("10.68.0.21")
    });
    let state = daemon.show();
    let shown = state["settings"][0].clone();
    assert_eq!(
        shown["trouble"], "the kernel has not said that they run: see the log",
        "{shown}"
    );
    // Its interface comes, and nobody has to say so.
    run("ip link set sync0 down");
    run("ip link set sync0 name nowhere");
    run("ip link set nowhere up");
    daemon.until("it sends", |_| daemons() == ["master"]);
    daemon.stop();
}

/// Whether each node's kernel runs this daemon and no other.
fn run_as(nodes: [&Node; 2], expected: [&str; 2]) {
    for (node, expected) in nodes.into_iter().zip(expected) {
        let shown = || node.netns.run(daemons).expect("its namespace");
        wait_for(LIMIT, || (shown() == [expected]).then_some(()))
            .unwrap_or_else(|| panic!("{}: {:?}, not {expected}", node.name(), shown()));
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn the_daemons_follow_the_role_and_a_connection_survives() {
    let mut lab = Lab::build().expect("root and ip_vs: run it by `cargo xtask test`");
    for index in 0..3 {
        lab.start_backend(index).expect("a backend");
    }
    let binary = topology::binary("trunnion").expect("it is built");
    let mut nodes = [0, 1].map(|index| {
        let config = Config {
            sync: true,
            ..Config::of_node(index)
        };
        let daemon = node::Daemon::Trunnion(binary.clone());
        Node::new(&lab.balancers[index], config, daemon, &lab.directory)
    });
    let [one, two] = &mut nodes;
    one.start().expect("it starts");
    one.wait_holds(true, LIMIT).expect("alone, it is Active");
    two.start().expect("it starts");
    two.wait_table(LIMIT)
        .expect("a Backup has its table as well");
    run_as([one, two], ["master", "backup"]);

    let address = plan::service(Family::V4);
    // Long enough for all that follows.
    let download = Download::start(&lab.client, address, 60_000_000, 1_000_000);
    download.established().expect("it begins");
    let known = || two.knows_connection(download.port()).expect("lb2");
    wait_for(LIMIT, || known().then_some(())).expect("lb2 has heard of the connection");

    // lb2 takes over from a living lb1: both change places.
    two.config.priority = 250;
    two.reload().expect("it runs");
    two.wait_holds(true, LIMIT).expect("lb2 is Active");
    one.wait_holds(false, LIMIT).expect("lb1 is Backup");
    run_as([one, two], ["backup", "master"]);
    let before = download.received();
    let more = || (download.received() > before + 2_000_000).then_some(());
    wait_for(LIMIT, more).expect("the download goes on through lb2");

    // lb2 dies: lb1, which has heard of it from lb2, goes on.
    lab.set_cable(&two.netns, false).expect("the cable is out");
    two.forget_everything().expect("no power");
    one.wait_holds(true, LIMIT).expect("lb1 is Active");
    wait_for(LIMIT, || {
        let shown = one.netns.run(daemons).expect("its namespace");
        (shown == ["master"]).then_some(())
    })
    .expect("lb1 tells again");
    let before = download.received();
    let more = || (download.received() > before + 2_000_000).then_some(());
    wait_for(LIMIT, more).expect("the download goes on through lb1");
    assert!(!download.ended());

    // A restart leaves the daemon as it is: the connection count goes on.
    one.kill();
    one.start().expect("it starts");
    one.wait_holds(true, LIMIT).expect("it goes on as Active");
    run_as([one, one], ["master", "master"]);
}
