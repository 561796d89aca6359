//! The daemon in the lab, one thing at a time: its table against ipvsadm's, a
//! backend that dies, and keepalived as the other node of a pair. The demo
//! plays the whole scenario; here is what must hold when one part of it breaks.

use std::time::{Duration, Instant};
use trunnion_tests::lab::config::{Config, router_name};
use trunnion_tests::lab::node::{Daemon, Node};
use trunnion_tests::lab::pinger::Pinger;
use trunnion_tests::lab::plan::{self, FAMILIES};
use trunnion_tests::lab::{Lab, client, topology, wait_for};

const LIMIT: Duration = Duration::from_secs(15);

fn trunnion() -> Daemon {
    Daemon::Trunnion(topology::binary("trunnion").expect("it is built"))
}

fn lab() -> Lab {
    let mut lab = Lab::build().expect("root and ip_vs: run it by `cargo xtask test`");
    for index in 0..3 {
        lab.start_backend(index).expect("a backend");
    }
    lab
}

fn node(lab: &Lab, index: usize, config: Config, daemon: Daemon) -> Node {
    Node::new(&lab.balancers[index], config, daemon, &lab.directory)
}

/// 60 requests for each family are spread exactly as weighted round robin
/// would, over all backends but those in `without`.
fn is_served(lab: &Lab, config: &Config, without: &[&str]) {
    let shares: Vec<_> = config
        .shares()
        .into_iter()
        .filter(|(name, _)| !without.contains(name))
        .collect();
    for family in FAMILIES {
        let address = plan::service(family);
        let ask = || client::requests(address, 60, Duration::from_secs(1));
        let tally = lab.client.run(ask).expect("the client's namespace");
        assert_eq!(tally.failed(), 0, "{address}: {tally}");
        assert!(
            tally.deviation(&shares) < 0.1,
            "{address}: {tally}, not {shares:?}"
        );
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn the_table_follows_the_config_and_the_backends() {
    let mut lab = lab();
    let mut one = node(&lab, 0, Config::of_node(0), trunnion());
    one.start().expect("it starts");
    one.wait_holds(true, LIMIT).expect("alone, it is Active");
    one.wait_table(LIMIT).expect("a row for each backend");
    is_served(&lab, &one.config, &[]);

    lab.kill_backend(1);
    let drained = || {
        let table = one.table().expect("ipvsadm");
        let weight = |key| table.weight(key).unwrap_or(0);
        (weight("10.77.0.22:80") == 0 && weight("[fd77::22]:80") == 0).then_some(())
    };
    wait_for(LIMIT, drained).unwrap_or_else(|| panic!("b2 is drained: {:?}", one.table()));
    is_served(&lab, &one.config, &["b2"]);
    lab.start_backend(1).expect("it starts again");
    one.wait_table(LIMIT).expect("b2 is back with its weight");
    is_served(&lab, &one.config, &[]);

    lab.start_backend(3).expect("a fourth");
    one.config.weights = vec![1, 1, 1, 1];
    one.reload().expect("it runs");
    one.wait_table(LIMIT).expect("the reload's rows");
    is_served(&lab, &one.config, &[]);
    one.config.weights = vec![2, 1];
    one.reload().expect("it runs");
    one.wait_table(LIMIT).expect("two rows are gone");
    is_served(&lab, &one.config, &[]);

    let status = one.terminate(LIMIT).expect("it ends");
    assert!(status.success(), "{status}");
    one.wait_holds(false, Duration::ZERO)
        .expect("it left no address");
    let left = one
        .table()
        .expect("ipvsadm")
        .differences(&one.config.table());
    assert!(left.is_empty(), "the table stays: {left:?}");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn keepalived_and_trunnion_take_over_from_each_other() {
    let lab = lab();
    let ours = Config {
        checksum: Some("rfc5798"),
        ..Config::of_node(0)
    };
    let theirs = Config::of_node(1);
    let mut one = node(&lab, 0, ours, trunnion());
    let mut two = node(&lab, 1, theirs, Daemon::Keepalived);
    two.start().expect("keepalived starts");
    two.wait_holds(true, LIMIT)
        .expect("alone, keepalived is Active");

    // The higher priority takes over from a living keepalived.
    one.start().expect("it starts");
    handed_over(&mut one, &mut two);
    one.wait_table(LIMIT).expect("its rows");
    is_served(&lab, &one.config, &[]);
    for family in FAMILIES {
        let state = one
            .show()
            .and_then(|shown| shown.router_state(router_name(family)));
        assert_eq!(state.expect("it shows"), "active");
    }

    // It says goodbye, and keepalived hears it: long before its patience with a
    // silent router is over.
    let pingers = FAMILIES.map(|family| {
        let (period, timeout) = (Duration::from_millis(5), Duration::from_millis(400));
        Pinger::start(&lab.client, plan::service(family), period, timeout)
    });
    let start = Instant::now();
    for pinger in &pingers {
        pinger.answered(start, LIMIT).expect("lb1 serves");
    }
    let told = Instant::now();
    let status = one.terminate(LIMIT).expect("it ends");
    assert!(status.success(), "{status}");
    handed_over(&mut two, &mut one);
    for pinger in &pingers {
        pinger.answered(Instant::now(), LIMIT).expect("lb2 serves");
        let gap = pinger.gap(told, Instant::now());
        assert!(gap.longest < LIMIT, "a gap of {:?}", gap.longest);
    }
    drop(pingers);
    is_served(&lab, &two.config, &[]);

    // With the lower priority it stays behind keepalived, then takes over from
    // one that was killed, and gives way when it comes back.
    one.config.priority = 50;
    one.start().expect("it starts");
    one.wait_table(LIMIT)
        .expect("a Backup has its table as well");
    for family in FAMILIES {
        let backup = || {
            let state = one.show().ok()?.router_state(router_name(family)).ok()?;
            (state == "backup").then_some(())
        };
        wait_for(LIMIT, backup).expect("it is Backup");
    }
    assert!(
        FAMILIES.iter().all(|f| two.holds(*f).expect("lb2")),
        "nothing moved"
    );
    lab.set_cable(&two.netns, false).expect("the cable is out");
    two.forget_everything().expect("no power");
    one.wait_holds(true, LIMIT).expect("it takes over");
    is_served(&lab, &one.config, &[]);
    lab.set_cable(&two.netns, true).expect("the cable is in");
    two.start().expect("keepalived starts");
    handed_over(&mut two, &mut one);
    is_served(&lab, &two.config, &[]);
}

/// The addresses are on `to` and not on `from`.
fn handed_over(to: &mut Node, from: &mut Node) {
    to.wait_holds(true, LIMIT)
        .unwrap_or_else(|error| panic!("{error}"));
    from.wait_holds(false, LIMIT)
        .unwrap_or_else(|error| panic!("{error}"));
}
