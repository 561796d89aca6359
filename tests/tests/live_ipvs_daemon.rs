//! The daemon against a real kernel's IPVS, row by row with ipvsadm's eyes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

/// Services of every kind, unchecked so that their weights are the config's.
const SERVICES: &str = r#"
[[service]]
name = "web"
address = "10.66.0.10:80"
scheduler = "wrr"
forward = "masq"
persistence = { timeout = "300s", prefix = 24 }
backends = [
  { address = "10.66.0.21:8080", weight = 3 },
  { address = "10.66.0.22:80", weight = 1, upper_threshold = 100, lower_threshold = 50 },
]

[[service]]
name = "web6"
address = "[fd66::10]:443"
scheduler = "mh"
scheduler_flags = ["mh-fallback", "mh-port"]
forward = "route"
backends = [{ address = "fd66::21", weight = 7 }]

[[service]]
name = "dns"
address = "10.66.0.10:53"
protocol = "udp"
one_packet = true
forward = "tunnel"
tunnel = { type = "gue", port = 6080 }
backends = [{ address = "10.66.0.23" }]

[[service]]
name = "marked"
fwmark = 7
family = "ipv4"
scheduler = "sh"
forward = "route"
backends = [{ address = "10.66.0.24:0" }]
"#;

const ROWS: &[&str] = &[
    "-A -t 10.66.0.10:80 -s wrr -p 300 -M 255.255.255.0",
    "-a -t 10.66.0.10:80 -r 10.66.0.21:8080 -m -w 3",
    "-a -t 10.66.0.10:80 -r 10.66.0.22:80 -m -w 1 -x 100 -y 50",
    "-A -t [fd66::10]:443 -s mh -b mh-fallback,mh-port",
    "-a -t [fd66::10]:443 -r [fd66::21]:443 -g -w 7",
    "-A -u 10.66.0.10:53 -s wlc -o",
    "-a -u 10.66.0.10:53 -r 10.66.0.23:53 -i --tun-type gue --tun-port 6080 --tun-nocsum -w 1",
    "-A -f 7 -s sh",
    "-a -f 7 -r 10.66.0.24:0 -g -w 1",
];

/// What ipvsadm would save, sorted, without the words for what is the default.
fn saved() -> Vec<String> {
    let mut rows: Vec<String> = run("ipvsadm -S -n")
        .lines()
        .map(|l| l.trim().to_owned())
        .collect();
    rows.sort();
    rows
}

fn network() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run("ip addr add 10.66.0.1/24 dev lo");
    run("ip addr add fd66::1/64 dev lo nodad");
}

/// Waits until the daemon says that the kernel holds what it wants.
fn settled(daemon: &mut Daemon, services: &str) {
    daemon.until(services, |_| {
        run("ipvsadm -S -n").matches("-A ").count().to_string() == services
    });
    std::thread::sleep(Duration::from_millis(200));
}

fn requests(daemon: &Daemon) -> u64 {
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let all = counters.iter().filter(|c| c["name"] == "ipvs_requests");
    all.map(|c| c["value"].as_u64().unwrap()).sum()
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn every_kind_of_service_is_as_ipvsadm_would_have_made_it() {
    network();
    let mut daemon = Daemon::start(SERVICES);
    settled(&mut daemon, "4");
    let ours = saved();
    daemon.stop();
    // The table stays. Made anew by ipvsadm itself it is the same.
    assert_eq!(saved(), ours);
    run("ipvsadm -C");
    for row in ROWS {
        run(&format!("ipvsadm {row}"));
    }
    assert_eq!(ours, saved());
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_start_adopts_an_equal_table_without_a_request() {
    network();
    for row in ROWS {
        run(&format!("ipvsadm {row}"));
    }
    let before = saved();
    let mut daemon = Daemon::start(SERVICES);
    daemon.says("the kernel holds 4 services and 5 destinations");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(requests(&daemon), 0);
    daemon.stop();
    assert_eq!(saved(), before);
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_the_config_does_not_name_goes_or_stays_as_the_config_says() {
    network();
    run("ipvsadm -A -t 10.66.0.99:99 -s rr");
    run("ipvsadm -a -t 10.66.0.99:99 -r 10.66.0.21 -m");
    let declared = format!("[ipvs]\nown = \"declared\"\non_exit = \"clear\"\n{SERVICES}");
    let mut daemon = Daemon::start(&declared);
    settled(&mut daemon, "5");
    assert_eq!(daemon.show()["strangers"], 1);
    daemon.stop();
    // Ours were cleared, the stranger was left alone.
    assert_eq!(
        saved(),
        [
            "-A -t 10.66.0.99:99 -s rr",
            "-a -t 10.66.0.99:99 -r 10.66.0.21:99 -m -w 1"
        ]
    );
    let mut daemon = Daemon::start(SERVICES);
    settled(&mut daemon, "4");
    assert!(!run("ipvsadm -S -n").contains("10.66.0.99"));
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_reload_sends_what_differs_and_nothing_else() {
    network();
    let mut daemon = Daemon::start(SERVICES);
    settled(&mut daemon, "4");
    let before = requests(&daemon);
    daemon.rewrite(SERVICES);
    daemon.says("reloaded:");
    assert_eq!(requests(&daemon), before);
    let changed = SERVICES.replace("weight = 3", "weight = 5").replace(
        "backends = [{ address = \"10.66.0.23\" }]",
        "backends = [{ address = \"10.66.0.23\" }, { address = \"10.66.0.25\" }]",
    );
    daemon.rewrite(&changed);
    daemon.says("2 requests made it");
    assert_eq!(requests(&daemon), before + 2);
    assert!(run("ipvsadm -S -n").contains("-r 10.66.0.21:8080 -m -w 5"));
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_fresh_node_can_serve_before_it_asks_for_the_address() {
    network();
    run("ip link add va type veth peer name vb");
    run("ip link set vb up");
    run("ip addr add 10.66.1.1/24 dev va");
    run("ip link set va up");
    let backend = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = backend.local_addr().unwrap().port();
    let mut daemon = Daemon::start(&format!(
        r#"
[[vrrp]]
interface = "va"
vrid = 51
interval = "50ms"
addresses = ["10.66.1.10/32"]

[[service]]
address = "10.66.1.10:80"
forward = "masq"
check = {{ type = "tcp", interval = "1s", timeout = "500ms" }}
backends = [{{ address = "127.0.0.1:{port}", weight = 5 }}]
"#
    ));
    daemon.says("Initialize -> Backup");
    // Not a matter of timing: the first advert waits for this.
    let log = daemon.log();
    let begun = log.find("Initialize -> Backup").unwrap();
    assert!(log[..begun].contains("TableApplied"), "{log}");
    assert!(run("ipvsadm -S -n").contains("-w 5"), "{log}");
    daemon.says("Backup -> Active");
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_reload_that_is_asked_for_during_another_comes_after_it() {
    network();
    run("ip link add va type veth peer name vb");
    run("ip addr add 10.67.0.1/24 dev va");
    run("ip link set vb up");
    run("ip link set va up");
    // HA's first plan waits for the first verdict, of a target that is silent.
    let config = r#"[limits]
[[vrrp]]
name = "public"
interface = "va"
vrid = 51
priority = 150
addresses = ["10.67.0.10/32"]
[[service]]
address = "10.67.0.10:80"
forward = "masq"
check = { type = "tcp", interval = "3s", timeout = "3s", half_open = false }
backends = ["10.67.0.99"]
"#;
    let mut daemon = Daemon::start(config);
    daemon.says("PlanTaken");
    daemon.rewrite(&config.replace("priority = 150", "priority = 131"));
    daemon.says("reload: one is under way; this one comes after it");
    daemon.says("reloaded: 1 virtual routers");
    assert_eq!(daemon.show()["routers"][0]["priority"], 131);
    daemon.stop();
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_table_is_cleared_when_the_addresses_are_gone() {
    network();
    run("ip link add va type veth peer name vb");
    run("ip addr add 10.66.0.1/24 dev va");
    run("ip link set vb up");
    run("ip link set va up");
    // Many, so that it takes a while.
    let addresses: String = (0..1_000_u32)
        .map(|at| format!("\"10.66.{}.{}/32\", ", 1 + at / 250, 1 + at % 250))
        .collect();
    let config = format!(
        "[limits]\n[ipvs]\non_exit = \"clear\"\n[[vrrp]]\nname = \"public\"\ninterface = \"va\"\n\
         vrid = 51\npriority = 150\naddresses = [{addresses}]\n{SERVICES}"
    );
    let mut daemon = Daemon::start(&config);
    settled(&mut daemon, "4");
    let held = || run("ip -o addr show va").matches("/32").count();
    daemon.until("its addresses", |_| held() == 1_000);
    daemon.signal("TERM");
    assert!(daemon.ended().success(), "{}", daemon.log());
    // Lines stand in the order of time.
    let log = daemon.log();
    let removed = log.rfind("AddressRemoved").unwrap();
    let cleared = log.find("made it 0 services").unwrap();
    assert!(removed < cleared, "{log}");
    assert_eq!(saved(), Vec::<String>::new());
}
