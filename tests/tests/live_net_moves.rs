//! What moves a virtual router besides its network: things tracked, groups,
//! failovers, against a real keepalived on the other side of a link.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::keepalived::Keepalived;
use trunnion_tests::side::Side;
use trunnion_tests::virtual_mac::{directory, router};

/// A namespace with `va`, whose other end `vb` is on the side, and with `up0`,
/// which leads to `up1` beside it.
fn world() -> Side {
    unshare_network().expect("a network namespace: run as root");
    let side = Side::joined("va", "vb");
    for command in [
        "ip addr add 10.66.0.1/24 dev va",
        "ip link set va up",
        "ip link set lo up",
        "ip link add up0 type veth peer name up1",
        "ip link set up1 up",
        "ip addr add 10.67.0.1/24 dev up0",
        "ip link set up0 up",
    ] {
        run(command);
    }
    side.run(|| {
        run("ip addr add 10.66.0.2/24 dev vb");
        run("ip link set vb up");
    });
    side
}

/// keepalived on the other side, with priority 100.
fn keepalived(side: &Side) -> Keepalived {
    let config = "global_defs {\n vrrp_version 3\n}\nvrrp_instance public {\n state BACKUP\n interface vb\n virtual_router_id 51\n priority 100\n advert_int 0.1\n virtual_ipaddress {\n 10.66.0.10/32\n }\n}\n";
    Keepalived::start(side, config)
}

const PUBLIC: &str = r#"
[[vrrp]]
name = "public"
interface = "va"
vrid = 51
priority = 150
interval = "100ms"
checksum = "rfc5798"
addresses = ["10.66.0.10/32"]
"#;

fn track(daemon: &Daemon, name: &str) -> String {
    let shown = daemon.show();
    let mut all = shown["tracks"].as_array().unwrap().iter();
    let found = all.find(|track| track["name"] == name).unwrap();
    found["state"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_link_that_is_tracked_lets_keepalived_take_over_and_gives_back() {
    let side = world();
    let config = format!(
        "[limits]\n{PUBLIC}track = [{{ name = \"uplink\", weight = -60 }}]\n[[track]]\nname = \"uplink\"\ninterface = \"up0\"\n"
    );
    let mut daemon = Daemon::start(&config);
    daemon.says("vrrp public: Backup -> Active");
    let keepalived = keepalived(&side);
    run("ip link set up0 down");
    daemon.says("track uplink: down");
    daemon.says("vrrp public: priority 90 of 150");
    daemon.says("vrrp public: Active -> Backup: a router of higher priority advertises");
    keepalived.took_over(1);
    let shown = router(&daemon, "public");
    assert_eq!(
        (&shown["priority"], &shown["base_priority"]),
        (&90.into(), &150.into())
    );
    assert_eq!(shown["heard"]["source"], "10.66.0.2");
    assert_eq!(track(&daemon, "uplink"), "down");
    run("ip link set up0 up");
    daemon.says_times("vrrp public: Backup -> Active", 2);
    assert_eq!(router(&daemon, "public")["priority"], 150);
    drop(keepalived);
    daemon.stop();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_script_that_fails_is_a_fault_and_says_goodbye_first() {
    let side = world();
    let directory = directory("script");
    let flag = directory.join("well");
    let config = format!(
        "[limits]\n{PUBLIC}track = [\"chk\"]\n[[track]]\nname = \"chk\"\nscript = [\"/usr/bin/test\", \"-e\", {flag:?}]\ninterval = \"100ms\"\nfall = 2\n"
    );
    let mut daemon = Daemon::start(&config);
    // It has failed before it ever was well: nobody takes part.
    daemon.says("vrrp public: takes no part: down: chk");
    fs::write(&flag, "").unwrap();
    daemon.says("vrrp public: Backup -> Active");
    let keepalived = keepalived(&side);
    let ear = side.ear("vb");
    let began = Instant::now();
    fs::remove_file(&flag).unwrap();
    daemon.says("vrrp public: Active -> Initialize: something it tracks is down");
    keepalived.took_over(1);
    let said = ear.said(51, began);
    assert_eq!(said.last(), Some(&0), "{said:?}");
    assert_eq!(router(&daemon, "public")["barred"], "down: chk");
    fs::write(&flag, "").unwrap();
    daemon.says_times("vrrp public: Backup -> Active", 2);
    drop(keepalived);
    daemon.stop();
    fs::remove_dir_all(directory).unwrap();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_file_and_the_processes_weigh_and_a_reload_keeps_what_is_known() {
    let _side = world();
    let directory = directory("weights");
    let file = directory.join("weight");
    // A name that no other process of this machine has.
    let program = directory.join(format!("p{}", std::process::id()));
    fs::copy("/usr/bin/sleep", &program).unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let config = |priority: u8| {
        format!(
            "[limits]\n{PUBLIC}track = [{{ name = \"drain\", weight = 2 }}, {{ name = \"helper\", weight = 20 }}]\n[[track]]\nname = \"drain\"\nfile = {file:?}\n[[track]]\nname = \"helper\"\nprocess = {name:?}\n"
        )
        .replace("priority = 150", &format!("priority = {priority}"))
    };
    let mut daemon = Daemon::start(&config(150));
    daemon.says("track drain: a value (0)");
    daemon.says("track helper: down (0)");
    fs::write(&file, "-40\n").unwrap();
    daemon.says("vrrp public: priority 70 of 150");
    let mut helper = Command::new(&program).arg("600").spawn().unwrap();
    daemon.says("vrrp public: priority 90 of 150");
    fs::write(&file, "rubbish\n").unwrap();
    daemon.says("track drain: nothing found out: has no number in it");
    daemon.rewrite(&config(140));
    daemon.says("reloaded:");
    daemon.until("the weights as they were", |daemon| {
        let shown = router(daemon, "public");
        (&shown["priority"], &shown["base_priority"]) == (&80.into(), &140.into())
    });
    helper.kill().unwrap();
    helper.wait().unwrap();
    daemon.says("vrrp public: priority 60 of 140");
    daemon.stop();
    fs::remove_dir_all(directory).unwrap();
}

fn failover(daemon: &Daemon, words: &[&str]) -> Output {
    let binary = std::env::var_os("TRUNNION_BIN").unwrap();
    Command::new(binary)
        .arg("failover")
        .args(words)
        .arg("--socket")
        .arg(daemon.directory.join("run/control.sock"))
        .output()
        .unwrap()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_operator_fails_over_to_keepalived_and_back() {
    let side = world();
    let mut daemon = Daemon::start(&format!("[limits]\n{PUBLIC}"));
    daemon.says("vrrp public: Backup -> Active");
    // Without a peer it is Active again: the addresses are never nobody's.
    let alone = failover(&daemon, &["public"]);
    let complaint = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(complaint.contains("nobody has taken over"), "{complaint}");
    daemon.says_times("vrrp public: Backup -> Active", 2);
    daemon.says("the failover is over");
    let keepalived = keepalived(&side);
    // It hears us before it is asked.
    std::thread::sleep(Duration::from_secs(1));
    let ear = side.ear("vb");
    let began = Instant::now();
    let done = failover(&daemon, &["--all", "--for", "10m"]);
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        printed.contains("public: 10.66.0.2 has taken over"),
        "{printed}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    keepalived.took_over(1);
    let said = ear.said(51, began);
    assert!(said.contains(&0), "{said:?}");
    // Ten intervals later it is still there, though of a lower priority.
    std::thread::sleep(Duration::from_secs(1));
    let shown = router(&daemon, "public");
    assert_eq!(shown["state"], "backup", "{shown}");
    assert!(shown["held_ms"].as_u64() > Some(500_000), "{shown}");
    for (words, expect) in [
        (&["public"][..], "not active here"),
        (&["nobody"], "there is no such virtual router"),
    ] {
        let refused = failover(&daemon, words);
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && complaint.contains(expect),
            "{complaint}"
        );
    }
    assert!(failover(&daemon, &["--all", "--cancel"]).status.success());
    daemon.says_times("vrrp public: Backup -> Active", 3);
    assert!(!failover(&daemon, &["--all", "--cancel"]).status.success());
    drop(keepalived);
    daemon.stop();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_group_moves_as_one_and_programs_and_the_pipe_are_told() {
    let side = world();
    let directory = directory("group");
    let told = directory.join("told");
    let pipe = directory.join("pipe");
    let script = directory.join("moved");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\necho \"$@\" $TRUNNION_STATE >> {}\n",
            told.display()
        ),
    )
    .unwrap();
    run(&format!("chmod +x {}", script.display()));
    let config = format!(
        "notify_fifo = {pipe:?}\n[limits]\n{PUBLIC}notify = {{ any = {script:?} }}\n[[vrrp]]\nname = \"inside\"\ninterface = \"up0\"\nvrid = 52\npriority = 150\ninterval = \"100ms\"\naddresses = [\"10.67.0.254/24\"]\n[[vrrp_group]]\nname = \"pair\"\nmembers = [\"public\", \"inside\"]\nnotify = {{ any = {script:?}, fault = [{script:?}, \"fault\"] }}\n"
    );
    let mut daemon = Daemon::start(&config);
    daemon.says("vrrp public: Backup -> Active");
    daemon.says("vrrp inside: Backup -> Active");
    let ear = side.ear("vb");
    daemon.until("the group", |daemon| {
        daemon.show()["groups"][0]["state"] == "active"
    });
    let began = Instant::now();
    run("ip link set up0 down");
    daemon.says("vrrp inside: Active -> Initialize: interface down");
    daemon.says("vrrp public: Active -> Initialize: another router of its group cannot take part");
    daemon.until("goodbye", |_| ear.said(51, began).last() == Some(&0));
    assert_eq!(daemon.show()["groups"][0]["state"], "fault");
    let before = daemon.log().matches("-> Active").count();
    run("ip link set up0 up");
    daemon.until("both back", |daemon| {
        daemon.log().matches("-> Active").count() == before + 2
    });
    daemon.until("the last word", |_| {
        let told = fs::read_to_string(&told).unwrap_or_default();
        told.matches("GROUP pair MASTER").count() == 2
    });
    // Whoever holds it open keeps what is in it.
    let mut read = trunnion_sys::fifo::open(&pipe).unwrap();
    daemon.stop();
    let lines = fs::read_to_string(&told).unwrap();
    let of = |what: &str| -> Vec<&str> { lines.lines().filter(|l| l.starts_with(what)).collect() };
    assert_eq!(
        of("INSTANCE public"),
        [
            "INSTANCE public BACKUP 150 BACKUP",
            "INSTANCE public MASTER 150 MASTER",
            "INSTANCE public FAULT 150 FAULT",
            "INSTANCE public BACKUP 150 BACKUP",
            "INSTANCE public MASTER 150 MASTER",
            "INSTANCE public STOP 150 STOP",
        ]
    );
    assert_eq!(of("fault"), ["fault FAULT"]);
    assert_eq!(of("GROUP").last(), Some(&"GROUP pair STOP 150 STOP"));
    let mut piped = vec![0; 4096];
    let len = std::io::Read::read(&mut read, &mut piped).unwrap();
    let piped = str::from_utf8(&piped[..len]).unwrap();
    assert!(
        piped.contains("INSTANCE \"inside\" MASTER 150\n"),
        "{piped}"
    );
    assert!(piped.contains("GROUP \"pair\" STOP 150\n"), "{piped}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_route_and_our_own_service_weigh() {
    let _side = world();
    let listener = std::net::TcpListener::bind("10.67.0.1:8080").unwrap();
    let config = format!(
        "[limits]\n{PUBLIC}track = [{{ name = \"way\", weight = 30 }}, {{ name = \"web\", weight = -100 }}]\n[[track]]\nname = \"way\"\nroute = \"198.51.100.0/24\"\n[[track]]\nname = \"web\"\nservice = \"web\"\n[ipvs]\nown = \"declared\"\n[[service]]\nname = \"web\"\naddress = \"10.66.0.10:8080\"\nbackends = [\"10.67.0.1\"]\ncheck = {{ type = \"tcp\", interval = \"100ms\", timeout = \"50ms\", fall = 1 }}\n"
    );
    let mut daemon = Daemon::start(&config);
    daemon.says("track way: down (0)");
    daemon.says("track web: up (0)");
    daemon.says("vrrp public: Backup -> Active");
    run("ip route add 198.51.100.0/24 via 10.67.0.2 metric 5");
    daemon.says("vrrp public: priority 180 of 150");
    // Another way there is left, and then none.
    run("ip route add 198.51.100.0/24 via 10.67.0.3 metric 6");
    run("ip route del 198.51.100.0/24 via 10.67.0.2 metric 5");
    run("ip route add 198.51.100.0/25 via 10.67.0.2");
    drop(listener);
    daemon.says("track web: down (0)");
    daemon.says("vrrp public: priority 80 of 150");
    assert_eq!(daemon.log().matches("track way: down").count(), 1);
    run("ip route del 198.51.100.0/24 via 10.67.0.3 metric 6");
    daemon.says_times("track way: down (0)", 2);
    daemon.says("vrrp public: priority 50 of 150");
    daemon.stop();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_route_that_goes_without_a_word_is_missed_all_the_same() {
    let _side = world();
    let config = format!(
        "[limits]\n{PUBLIC}track = [{{ name = \"way\", weight = 30 }}]\n[[track]]\nname = \"way\"\nroute = \"198.51.100.0/24\"\n"
    );
    run("ip link add uplink type veth peer name downlink");
    run("ip link set downlink up");
    run("ip link set uplink up");
    run("ip addr add 10.68.0.1/24 dev uplink");
    run("ip addr add 10.68.0.2/32 dev uplink");
    run("ip route add 198.51.100.0/24 via 10.68.0.9");
    let mut daemon = Daemon::start(&config);
    daemon.says("track way: up (0)");
    // The kernel tells of the link, and of no route of IPv4.
    run("ip link set uplink down");
    daemon.says("track way: down (0)");
    run("ip link set uplink up");
    run("ip route add 198.51.100.0/24 via 10.68.0.9 src 10.68.0.2");
    daemon.says_times("track way: up (0)", 2);
    run("ip addr del 10.68.0.2/32 dev uplink");
    daemon.says_times("track way: down (0)", 2);
    run("ip route add 198.51.100.0/24 via 10.68.0.9");
    daemon.says_times("track way: up (0)", 3);
    run("ip route replace blackhole 198.51.100.0/24");
    daemon.says_times("track way: down (0)", 3);
    run("ip route replace 198.51.100.0/24 via 10.68.0.9");
    daemon.says_times("track way: up (0)", 4);
    run("ip link del uplink");
    daemon.says_times("track way: down (0)", 4);
    daemon.stop();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_start_waits_for_its_delay_and_a_restart_of_an_active_does_not() {
    let _side = world();
    let config = format!("on_crash = \"nothing\"\nstartup_delay = \"2s\"\n[limits]\n{PUBLIC}");
    let mut daemon = Daemon::start(&config);
    daemon.says("vrrp public: takes no part: startup_delay");
    assert_eq!(router(&daemon, "public")["state"], "initialize");
    daemon.says("vrrp public: Backup -> Active");
    daemon.says("address 10.66.0.10 is on va");
    daemon.kill();
    daemon.start_again();
    daemon.says("vrrp public: Initialize -> Active: was active moments ago");
    assert_eq!(daemon.log().matches("startup_delay").count(), 1);
    daemon.stop();
}
