//! What the daemon sets in the kernel's IPVS beside the table, read back with
//! others' eyes: /proc/sys itself, and ipvsadm.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

const SERVICE: &str = r#"
[[service]]
address = "10.66.0.10:80"
forward = "masq"
backends = ["10.66.0.21"]
"#;

fn path(name: &str) -> PathBuf {
    // The thread's own namespace, not the process's.
    Path::new("/proc/sys/net/ipv4/vs").join(name)
}

fn read(name: &str) -> String {
    let text = std::fs::read_to_string(path(name)).unwrap();
    text.trim().replace('\t', " ")
}

fn network() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run("ip addr add 10.66.0.1/24 dev lo");
    // Loads the module.
    run("ipvsadm -Ln");
}

/// Of `trunnion show`: what is declared, what is there, what is wrong.
fn setting(daemon: &Daemon, name: &str) -> Value {
    let state = daemon.show();
    let all = state["settings"].as_array().unwrap();
    let found = all.iter().find(|setting| setting["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {state:#}")).clone()
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_is_declared_is_set_and_the_rest_is_left_alone() {
    network();
    std::fs::write(path("conntrack"), "1").unwrap();
    std::fs::write(path("nat_icmp_send"), "1").unwrap();
    let declared = format!(
        r#"
[ipvs]
tcp_timeout = "20m"
udp_timeout = "30s"
[ipvs.sysctl]
conntrack = false
conn_reuse_mode = 3
expire_nodest_conn = true
sync_threshold = [5, 100]
sync_refresh_period = 10
drop_entry = 1
{SERVICE}"#
    );
    let fin = run("ipvsadm -Ln --timeout");
    let fin: Vec<&str> = fin.split_whitespace().collect();
    let fin = fin[fin.len() - 2].to_owned();
    let mut daemon = Daemon::start(&declared);
    daemon.says("is 1200s");
    daemon.says("conntrack was 1 and is 0");
    let timeouts = run("ipvsadm -Ln --timeout");
    assert!(timeouts.contains(&format!(": 1200 {fin} 30")), "{timeouts}");
    for (name, value) in [
        ("conntrack", "0"),
        ("conn_reuse_mode", "3"),
        ("expire_nodest_conn", "1"),
        ("sync_threshold", "5 100"),
        ("sync_refresh_period", "10"),
        ("drop_entry", "1"),
        // Not ours.
        ("nat_icmp_send", "1"),
    ] {
        daemon.until(name, |_| read(name) == value);
    }
    let shown = setting(&daemon, "net.ipv4.vs.sync_threshold");
    assert_eq!(
        (&shown["declared"], &shown["trouble"]),
        (&"5 100".into(), &"".into())
    );
    assert_eq!(setting(&daemon, "udp_timeout")["present"], "30s");

    // Another hand is seen, not fought.
    std::fs::write(path("conn_reuse_mode"), "0").unwrap();
    let shown = setting(&daemon, "net.ipv4.vs.conn_reuse_mode");
    assert_eq!(shown["present"], "0");
    assert_eq!(shown["trouble"], "someone changed it since");

    // A reload sets it again, and leaves what is no longer named as it is.
    daemon.rewrite(
        &declared
            .replace("conntrack = false\n", "")
            .replace("30s", "40s"),
    );
    daemon.says("reloaded:");
    daemon.until("conn_reuse_mode 3", |_| read("conn_reuse_mode") == "3");
    daemon.says("udp_timeout was 30s and is 40s");
    assert_eq!(read("conntrack"), "0");
    daemon.stop();
    assert_eq!(read("conn_reuse_mode"), "3");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_the_kernel_lacks_is_said_once_and_the_node_runs() {
    network();
    let missing = !path("conn_max").exists();
    assert!(
        missing,
        "this kernel is newer than the test: choose another parameter"
    );
    let mut daemon = Daemon::start(&format!(
        "[ipvs.sysctl]\nconn_max = 1000\nsloppy_tcp = true\n{SERVICE}"
    ));
    daemon.says("no net.ipv4.vs.conn_max: it needs Linux 7.2 or later");
    daemon.says("requests made it 1 services");
    assert_eq!(read("sloppy_tcp"), "1");
    let shown = setting(&daemon, "net.ipv4.vs.conn_max");
    assert_eq!(shown["present"], Value::Null);
    assert_eq!(shown["trouble"], "needs Linux 7.2 or later");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(
        daemon.log().matches("conn_max").count(),
        1,
        "{}",
        daemon.log()
    );
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_a_scheduler_brings_is_set_when_it_is_there() {
    network();
    let _ = std::process::Command::new("modprobe")
        .args(["-r", "ip_vs_lblc"])
        .output();
    assert!(!path("lblc_expiration").exists());
    let service = SERVICE.replace("forward", "scheduler = \"lblc\"\nforward");
    let mut daemon = Daemon::start(&format!("[ipvs.sysctl]\nlblc_expiration = 60\n{service}"));
    daemon.until("lblc_expiration 60", |_| {
        path("lblc_expiration").exists() && read("lblc_expiration") == "60"
    });
    daemon.stop();
}
