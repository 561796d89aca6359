//! Virtual routers with a MAC address of their own: what a switch and a host on
//! it learn, beside another of ours, and what becomes of the macvlans.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::virtual_mac::{
    Field, Learning, MAC, VIPS, config, counted, has_none, held, is_active, is_backup, is_up, link,
    router, wait,
};

/// A pair, the first of them Active.
fn pair(field: &Field, node: &str) -> [Daemon; 2] {
    let mut a = field.a.run(|| Daemon::start(&config("va", 150, node)));
    a.says_times("Backup -> Active", 2);
    a.until("its addresses", |_| field.a.run(is_active));
    let mut b = field.b.run(|| Daemon::start(&config("vb", 100, node)));
    b.says_times("Initialize -> Backup", 2);
    b.until("its macvlans", |_| field.b.run(is_backup));
    b.until("both to hear the other node", |b| {
        let heard = |name| counted(&router(b, name), "received") > 0;
        heard("public") && heard("public6")
    });
    [a, b]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_address_moves_between_two_of_ours_and_no_host_notices() {
    let field = Field::joined();
    let [mut a, mut b] = pair(&field, "");
    field.host_reaches();
    Field::is_behind("pva");
    let shown = router(&a, "public");
    assert_eq!(
        (
            &shown["mac"],
            &shown["virtual_mac"],
            &shown["macvlan"],
            &shown["macvlan_up"]
        ),
        (
            &"virtual".into(),
            &MAC.into(),
            &"vrrp.51".into(),
            &true.into()
        )
    );
    assert_eq!(router(&b, "public6")["macvlan_up"], false);
    // A macvlan has the addresses of its virtual router and no other.
    let addresses = field.a.run(|| run("ip -o addr show dev vrrp6.51"));
    assert_eq!(addresses.lines().count(), 2, "{addresses}");
    let routes = field.a.run(|| run("ip route show dev vrrp.51"));
    assert_eq!(routes, "");

    // Adverts alone teach the switch: announcements are over.
    std::thread::sleep(Duration::from_secs(6));
    run("ip link set br0 type bridge fdb_flush");
    let learned = Learning::start(&field);
    Field::is_behind("pva");

    // By death: the guardian says goodbye from the same address.
    a.guarded();
    a.signal("KILL");
    b.says_times("Backup -> Active: the active router resigned", 2);
    Field::is_behind("pvb");
    b.until("its addresses", |_| field.b.run(is_active));
    field.host_reaches();
    wait("the guardian has taken the macvlans off", || {
        field.a.run(has_none)
    });
    a.ended();
    assert!(a.log().contains("took 4 addresses off"), "{}", a.log());

    // And back, by preemption.
    field.a.run(|| a.start_again());
    a.says_times("Backup -> Active", 4);
    Field::is_behind("pva");
    b.until("it is Backup", |_| field.b.run(is_backup));
    field.host_reaches();

    // By a graceful end.
    a.stop();
    assert!(field.a.run(has_none));
    b.says_times("Backup -> Active: the active router resigned", 4);
    Field::is_behind("pvb");
    field.host_reaches();
    learned.learned_nothing_else();
    b.stop();
    assert!(field.b.run(has_none));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_macvlan_is_adopted_and_comes_back_whatever_others_do() {
    let field = Field::joined();
    let mut a = field
        .a
        .run(|| Daemon::start(&config("va", 150, "on_crash = \"nothing\"\n")));
    a.says_times("Backup -> Active", 2);
    a.until("its addresses", |_| field.a.run(is_active));
    let index = |name: &str| {
        let shown = field.a.run(|| link(name));
        shown.split(':').next().unwrap().trim().to_owned()
    };
    let before = [index("vrrp.51"), index("vrrp6.51")];

    // A run that goes on where another was killed.
    field.a.run(|| {
        a.kill();
        a.start_again();
    });
    a.says_times("going on as Active", 2);
    a.says("started with");
    assert_eq!([index("vrrp.51"), index("vrrp6.51")], before);
    field.host_reaches();

    for command in [
        "ip link del vrrp.51",
        "ip link del vrrp6.51",
        "ip link set vrrp.51 down",
        "ip link set vrrp6.51 down",
        "ip link set vrrp6.51 group default",
        "ip addr del 10.66.0.10/24 dev vrrp.51",
        "ip addr del fd66::10/64 dev vrrp6.51",
        "ip link set vrrp.51 name other",
    ] {
        field.a.run(|| run(command));
        a.until(command, |_| field.a.run(is_active));
    }
    field.host_reaches();
    // Whoever renamed one has left one of ours over.
    a.until("the other one is gone", |_| {
        field.a.run(|| link("other").is_empty())
    });
    let roles = [router(&a, "public"), router(&a, "public6")];
    assert!(
        roles.iter().all(|router| router["state"] == "active"),
        "{roles:?}"
    );

    // The interface beneath.
    field.a.run(|| run("ip link set va down"));
    a.says_times("Active -> Initialize: interface down", 2);
    field.a.run(|| run("ip link set va up"));
    // It took its IPv6 addresses along, and with them the way back.
    field.a.run(|| run("ip addr add fd66::1/64 dev va nodad"));
    a.until("its addresses", |_| field.a.run(is_active));
    field.host_reaches();
    a.stop();
    assert!(field.a.run(has_none));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_reload_moves_addresses_to_a_macvlan_and_back() {
    let field = Field::joined();
    let virtual_mac = config("va", 150, "");
    let plain = virtual_mac.replace("mac = \"virtual\"\n", "");
    let on_interface = || {
        let shown = run("ip -o addr show dev va");
        let all = VIPS.iter().all(|vip| shown.contains(&format!(" {vip}/")));
        all && has_none()
    };
    let mut a = field.a.run(|| Daemon::start(&plain));
    a.says_times("Backup -> Active", 2);
    a.until("its addresses", |_| field.a.run(on_interface));
    for round in 1..=3 {
        a.rewrite(&virtual_mac);
        a.says_times("reloaded:", 2 * round - 1);
        a.until("macvlans", |_| field.a.run(is_active));
        let left = field.a.run(|| run("ip -o addr show dev va"));
        assert!(!left.contains("10.66.0.10/"), "{left}");
        field.host_reaches();
        a.rewrite(&plain);
        a.says_times("reloaded:", 2 * round);
        a.until("none", |_| field.a.run(on_interface));
    }
    // Nobody had to move for that.
    assert_eq!(a.log().matches(" -> ").count(), 4, "{}", a.log());
    // Another vrid is another MAC address, another name another macvlan.
    a.rewrite(&virtual_mac);
    a.until("macvlans", |_| field.a.run(is_active));
    let renamed = virtual_mac.replacen(
        "mac = \"virtual\"\n",
        "mac = \"virtual\"\nmac_interface = \"public\"\n",
        1,
    );
    a.rewrite(&renamed);
    a.until("the new name", |_| {
        field
            .a
            .run(|| is_up("public") && link("vrrp.51").is_empty())
    });
    a.rewrite(&virtual_mac.replace("vrid = 51", "vrid = 52"));
    a.until("the new vrid", |_| {
        field.a.run(|| {
            let gone = link("public").is_empty() && has_none();
            gone && is_up("vrrp.52") && is_up("vrrp6.52") && held() == 3
        })
    });
    assert!(
        field
            .a
            .run(|| link("vrrp.52"))
            .contains("00:00:5e:00:01:34")
    );
    // And a file without.
    a.rewrite("[limits]\n[[service]]\naddress = \"10.66.0.10:80\"\nbackends = [\"10.66.0.9\"]\n");
    a.until("nothing", |_| {
        field
            .a
            .run(|| link("vrrp.52").is_empty() && link("vrrp6.52").is_empty())
    });
    a.signal("TERM");
    a.ended();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_of_somebody_else_keeps_its_name() {
    let field = Field::joined();
    field.a.run(|| run("ip link add vrrp.51 type bridge"));
    let mut a = field.a.run(|| Daemon::start(&config("va", 150, "")));
    a.says("vrrp public: takes no part: an interface that is no virtual router's has the name");
    a.says("vrrp public6: Backup -> Active");
    assert!(field.a.run(|| link("vrrp.51")).contains("bridge"));
    let barred = router(&a, "public");
    assert!(
        barred["barred"].as_str().unwrap().contains("has the name"),
        "{barred}"
    );
    field.a.run(|| run("ip link del vrrp.51"));
    a.says("vrrp public: Backup -> Active");
    a.until("its addresses", |_| field.a.run(is_active));
    a.stop();
}

/// The nodes stop hearing each other; the host hears both.
fn part(apart: bool) {
    let isolated = if apart { "on" } else { "off" };
    for port in ["pva", "pvb"] {
        run(&format!(
            "ip link set {port} type bridge_slave isolated {isolated}"
        ));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_actives_with_one_mac_address_hear_each_other_when_they_can() {
    let field = Field::joined();
    let [mut a, mut b] = pair(&field, "");
    part(true);
    b.says_times("Backup -> Active: the active router fell silent", 2);
    b.until("its addresses", |_| field.b.run(is_active));
    part(false);
    b.says_times(
        "Active -> Backup: a router of higher priority advertises",
        2,
    );
    b.until("it is Backup", |_| field.b.run(is_backup));
    Field::is_behind("pva");
    field.host_reaches();
    assert_eq!(router(&a, "public")["state"], "active");
    a.until("it is Active", |_| field.a.run(is_active));
    a.stop();
    b.stop();
}
