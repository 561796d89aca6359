//! Virtual routers with a MAC address of their own beside keepalived's
//! `use_vmac`, in both roles, over both families.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::time::Duration;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::keepalived::Keepalived;
use trunnion_tests::virtual_mac::{
    Field, Learning, config, has_none, is_active, is_backup, router, wait,
};

/// keepalived with `use_vmac` on the second node.
fn started(field: &Field, more: &str) -> Keepalived {
    let instance = |name: &str, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n state BACKUP\n interface vb\n virtual_router_id 51\n \
             priority 120\n advert_int 0.1\n use_vmac\n {more}\n virtual_ipaddress {{\n {addresses}\n }}\n}}\n"
        )
    };
    let config = format!(
        "global_defs {{\n vrrp_version 3\n}}\n{}{}",
        instance("public", "10.66.0.10/24\n10.66.0.11/24"),
        instance("public6", "fe80::66:10/64\n fd66::10/64"),
    );
    Keepalived::start(&field.b, &config)
}

/// Each as the Active and as the Backup of the other; the host never learns
/// another address.
fn beside_keepalived(more: &str) {
    let field = Field::joined();
    // keepalived leaves this to its administrator: without it its node asks for
    // the host in the virtual address's name, from its interface's MAC address.
    let announce = "/proc/sys/net/ipv4/conf/vb/arp_announce";
    field.b.run(|| fs::write(announce, "2").unwrap());
    let mut a = field.a.run(|| Daemon::start(&config("va", 100, "")));
    a.says_times("Backup -> Active", 2);
    a.until("its addresses", |_| field.a.run(is_active));
    field.host_reaches();
    Field::is_behind("pva");
    let learned = Learning::start(&field);

    // It preempts us.
    let mut keepalived = started(&field, more);
    keepalived.says("Entering MASTER STATE", 2);
    a.says_times("Active -> Backup", 2);
    a.until("it is Backup", |_| field.a.run(is_backup));
    Field::is_behind("pvb");
    field.host_reaches();

    // It leaves: we follow its goodbye.
    keepalived.stop();
    a.says_times("Backup -> Active: the active router resigned", 2);
    a.until("its addresses", |_| field.a.run(is_active));
    Field::is_behind("pva");
    field.host_reaches();

    // We are better: it hears us, and takes our place when we leave.
    a.rewrite(&config("va", 200, ""));
    a.says("reloaded:");
    keepalived.start_again(&field.b);
    keepalived.says("Entering BACKUP STATE", 4);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(router(&a, "public")["state"], "active");
    field.host_reaches();
    a.guarded();
    a.signal("KILL");
    keepalived.says("Entering MASTER STATE", 4);
    Field::is_behind("pvb");
    wait("the guardian has taken the macvlans off", || {
        field.a.run(has_none)
    });
    field.host_reaches();
    a.ended();

    // We come back, and it dies.
    field.a.run(|| a.start_again());
    a.says_times("Backup -> Active", 6);
    Field::is_behind("pva");
    a.rewrite(&config("va", 100, ""));
    keepalived.says("Entering MASTER STATE", 6);
    a.until("it is Backup", |_| field.a.run(is_backup));
    keepalived.kill();
    a.says_times("Backup -> Active: the active router fell silent", 2);
    a.until("its addresses", |_| field.a.run(is_active));
    // What it left behind answers as we do.
    field.b.run(|| {
        run("ip link del vrrp.51");
        let six = run("ip -o link show type macvlan");
        let name = six.split(": ").nth(1).unwrap().split('@').next().unwrap();
        run(&format!("ip link del {name}"));
    });
    Field::is_behind("pva");
    field.host_reaches();
    learned.learned_nothing_else();
    drop(keepalived);
    a.stop();
}

#[test]
#[ignore = "needs root and keepalived: cargo xtask test"]
fn the_address_moves_between_ours_and_keepaliveds() {
    beside_keepalived("");
}
