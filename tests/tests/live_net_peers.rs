//! Virtual routers beside others' implementations, each as the Active and as the
//! Backup: keepalived and FRR as Debian has them, over IPv4 and IPv6, and what is
//! known of `seesaw_ha`. A peer is judged by what it does, and we by what it makes
//! of us.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::side::Side;
use trunnion_tests::virtual_mac::counted;

const VIPS: [&str; 3] = ["10.66.0.10", "fe80::66:10", "fd66::10"];

/// Ours, of either family; "auto" must find out how to speak.
fn config(priority: u8) -> String {
    format!(
        r#"
[[vrrp]]
name = "public"
interface = "va"
vrid = 51
priority = {priority}
interval = "100ms"
addresses = ["10.66.0.10/32"]
checksum = "auto"

[[vrrp]]
name = "public6"
interface = "va"
vrid = 51
priority = {priority}
interval = "100ms"
addresses = ["fe80::66:10/64", "fd66::10/128"]
"#
    )
}

fn joined() -> Side {
    unshare_network().expect("a network namespace: run as root");
    let side = Side::joined("va", "vb");
    at_once("va");
    side.run(|| at_once("vb"));
    run("ip link set lo up");
    run("ip addr add 10.66.0.1/24 dev va");
    run("ip link set va up");
    side.run(|| {
        run("ip link set lo up");
        run("ip addr add 10.66.0.2/24 dev vb");
        run("ip link set vb up");
    });
    // keepalived gives up on an interface that has none when it starts.
    let link_local = |link: &str| run(&format!("ip -6 -o addr show dev {link} scope link"));
    wait("both have link-local addresses", String::new, || {
        !link_local("va").is_empty() && side.run(|| !link_local("vb").is_empty())
    });
    side
}

/// No duplicate address detection: its second is not what is tested.
fn at_once(link: &str) {
    for of in ["all", "default", link] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{of}/accept_dad"), "0").unwrap();
    }
}

/// How many of the virtual addresses are in the calling thread's namespace, on
/// interfaces that work: FRR takes its own down.
fn held() -> usize {
    let shown = run("ip -br addr show");
    let up = |line: &&str| line.split_whitespace().nth(1) == Some("UP");
    let on = |vip: &&&str| {
        let mut lines = shown.lines().filter(up);
        lines.any(|line| line.contains(&format!(" {vip}/")))
    };
    VIPS.iter().filter(on).count()
}

fn wait(what: &str, log: impl Fn() -> String, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(
            Instant::now() < deadline,
            "waited in vain until {what}:\n{}",
            log()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A peer of priority 150, in the namespace of the thread that starts it.
struct Peer {
    children: Vec<Child>,
    directory: PathBuf,
    start: fn(&Path) -> Vec<Child>,
}

impl Peer {
    fn start(name: &str, start: fn(&Path) -> Vec<Child>) -> Self {
        let directory =
            std::env::temp_dir().join(format!("trunnion-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        Self {
            children: start(&directory),
            directory,
            start,
        }
    }

    fn again(&mut self) {
        self.children = (self.start)(&self.directory);
    }

    /// A signal to all its processes, the last started first; waits for their
    /// ends.
    fn end(&mut self, signal: &str) {
        // A child of keepalived resigns when its parent is gone: it goes first,
        // while the parent cannot start another.
        let child = fs::read_to_string(self.directory.join("vrrp.pid"));
        if let (Ok(pid), "KILL") = (child, signal) {
            for process in &self.children {
                run(&format!("kill -STOP {}", process.id()));
            }
            run(&format!("kill -KILL {}", pid.trim()));
            fs::remove_file(self.directory.join("vrrp.pid")).unwrap();
        }
        for mut child in self.children.drain(..).rev() {
            run(&format!("kill -{signal} {}", child.id()));
            child.wait().unwrap();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end("KILL");
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(command: &mut Command, directory: &Path) -> Child {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: cargo xtask setup"))
}

fn keepalived_with(directory: &Path, mac: &str) -> Vec<Child> {
    let instance = |name: &str, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  interface vb\n  virtual_router_id 51\n  \
             priority 150\n  advert_int 0.1\n  {mac}\n  virtual_ipaddress {{\n    {addresses}\n  }}\n}}\n"
        )
    };
    let text = format!(
        "global_defs {{\n  vrrp_version 3\n}}\n{}{}",
        instance("public", "10.66.0.10/32"),
        instance("public6", "fe80::66:10/64\n    fd66::10/128"),
    );
    let file = |name: &str| directory.join(name);
    fs::write(file("conf"), text).unwrap();
    let mut command = Command::new("keepalived");
    command
        .args(["--dont-fork", "--log-console", "--vrrp", "--use-file"])
        .arg(file("conf"))
        .arg("--pid")
        .arg(file("pid"))
        .arg("--vrrp_pid")
        .arg(file("vrrp.pid"));
    vec![spawn(&mut command, directory)]
}

fn keepalived(directory: &Path) -> Vec<Child> {
    keepalived_with(directory, "")
}

fn keepalived_of_virtual_mac(directory: &Path) -> Vec<Child> {
    keepalived_with(directory, "use_vmac\n  vmac_xmit_base")
}

/// FRR wants the virtual router's macvlan to be there, with its addresses.
fn frr(directory: &Path) -> Vec<Child> {
    let has = |link: &str| run("ip -o link show").contains(&format!(" {link}@"));
    for (link, mac, addresses) in [
        ("vrrp4", "00:00:5e:00:01:33", &["10.66.0.10/32"][..]),
        (
            "vrrp6",
            "00:00:5e:00:02:33",
            &["fe80::66:10/64", "fd66::10/128"][..],
        ),
    ] {
        if has(link) {
            continue;
        }
        run(&format!(
            "ip link add {link} link vb type macvlan mode bridge"
        ));
        run(&format!("ip link set dev {link} address {mac}"));
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            run(&format!("ip addr add {address} dev {link}{nodad}"));
        }
        run(&format!("ip link set dev {link} up"));
    }
    // They become a user of their own.
    run(&format!("chmod 777 {}", directory.display()));
    let _ = fs::remove_file(directory.join("zserv"));
    fs::write(directory.join("zebra.conf"), "").unwrap();
    let vrrp = "interface vb\n vrrp 51 version 3\n vrrp 51 priority 150\n \
                vrrp 51 advertisement-interval 100\n vrrp 51 ip 10.66.0.10\n \
                vrrp 51 ipv6 fe80::66:10\n vrrp 51 ipv6 fd66::10\n";
    fs::write(directory.join("vrrpd.conf"), vrrp).unwrap();
    let daemon = |name: &str| {
        let mut command = Command::new(format!("/usr/lib/frr/{name}"));
        command
            .args(["-A", "127.0.0.1", "--log", "stdout"])
            .arg("-z")
            .arg(directory.join("zserv"))
            .arg("-f")
            .arg(directory.join(format!("{name}.conf")))
            .arg("-i")
            .arg(directory.join(format!("{name}.pid")))
            .arg("--vty_socket")
            .arg(directory);
        spawn(&mut command, directory)
    };
    let zebra = daemon("zebra");
    let up = Instant::now() + Duration::from_secs(10);
    while !directory.join("zserv").exists() && Instant::now() < up {
        std::thread::sleep(Duration::from_millis(10));
    }
    vec![zebra, daemon("vrrpd")]
}

/// The whole life of a pair: the peer first, ours beside it.
fn lives_beside(name: &str, start: fn(&Path) -> Vec<Child>) {
    let side = joined();
    let mut peer = side.run(|| Peer::start(name, start));
    // Ours is heard by the peer only if it speaks as the peer does, and the peer
    // becomes Backup of ours only if it believes what it hears.
    let mut ours = Daemon::start(&config(100));
    ours.says_times("Initialize -> Backup", 2);
    let log = |peer: &Peer| peer.log();
    wait(
        "the peer has the addresses",
        || log(&peer),
        || held() == 0 && side.run(held) == VIPS.len(),
    );
    ours.until("both to hear it", |ours| {
        let state = ours.show();
        let mut routers = state["routers"].as_array().unwrap().iter();
        routers.all(|r| r["state"] == "backup" && counted(r, "received") > 2)
    });
    let before = ours.log().matches("Backup -> Active").count();

    // Killed: silence.
    peer.end("KILL");
    ours.says_times("Backup -> Active", before + 2);
    assert!(ours.log().contains("fell silent"), "{}", ours.log());
    wait(
        "ours has the addresses",
        || ours.log(),
        || held() == VIPS.len(),
    );

    // Back, and better.
    side.run(|| peer.again());
    ours.says_times("Active -> Backup", 2);
    assert!(ours.log().contains("higher priority"), "{}", ours.log());
    wait("ours gave them up", || ours.log(), || held() == 0);

    // A higher priority by reload: ours preempts, the peer yields.
    let before = ours.log().matches("Backup -> Active").count();
    ours.rewrite(&config(200));
    ours.says_times("Backup -> Active", before + 2);
    wait(
        "ours has them again",
        || ours.log(),
        || held() == VIPS.len(),
    );
    settled(&mut ours);

    // And a lower one: the peer takes them back.
    let before = ours.log().matches("Active -> Backup").count();
    ours.rewrite(&config(100));
    ours.says_times("Active -> Backup", before + 2);
    wait("ours gave them up again", || ours.log(), || held() == 0);

    // A graceful end says so.
    let before = ours.log().matches("router resigned").count();
    let active = ours.log().matches("Backup -> Active").count();
    peer.end("TERM");
    ours.says_times("Backup -> Active", active + 2);
    assert!(
        ours.log().matches("router resigned").count() > before,
        "{}",
        ours.log()
    );

    // And so does ours: the peer has them without having waited for silence.
    side.run(|| peer.again());
    ours.says_times("Active -> Backup", before + 4);
    ours.rewrite(&config(200));
    wait(
        "ours has them a last time",
        || ours.log(),
        || held() == VIPS.len(),
    );
    settled(&mut ours);
    ours.stop();
    assert_eq!(held(), 0);
    wait(
        "the peer has them in the end",
        || log(&peer),
        || side.run(held) == VIPS.len(),
    );
}

/// Two Actives at once would go on asserting themselves: a peer that has heard
/// us stays silent.
fn settled(ours: &mut Daemon) {
    let reasserted = |ours: &Daemon| -> u64 {
        let state = ours.show();
        let routers = state["routers"].as_array().unwrap();
        let each = routers.iter().map(|r| counted(r, "received"));
        each.sum()
    };
    let mut before = reasserted(ours);
    ours.until("the peer to be silent", |ours| {
        std::thread::sleep(Duration::from_millis(500));
        let now = reasserted(ours);
        std::mem::replace(&mut before, now) == now
    });
}

/// A counter of a router, as `show --json` has it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn keepalived_is_a_peer_of_both_families() {
    lives_beside("keepalived", keepalived);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn keepalived_with_a_virtual_mac_is_one_too() {
    lives_beside("keepalived-vmac", keepalived_of_virtual_mac);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn frr_is_a_peer_of_both_families() {
    lives_beside("frr", frr);
}

/// A `seesaw_ha` of the other side.
struct Seesaw {
    child: Child,
    log: PathBuf,
}

impl Seesaw {
    fn start(side: &Side, remote: &str, priority: u8) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = format!("trunnion-seesaw-{}-{number}", std::process::id());
        let log = std::env::temp_dir().join(log);
        let out = fs::File::create(&log).unwrap();
        let child = side.run(|| {
            Command::new("python3")
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/seesaw/ha.py"))
                .args(["10.66.0.2", remote, "60", &priority.to_string(), "100"])
                .stdout(out)
                .spawn()
                .unwrap()
        });
        Self { child, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn says(&self, ours: Option<&Daemon>, state: &str) {
        let log = || {
            format!(
                "{}\n{}",
                self.said(),
                ours.map_or_else(String::new, Daemon::log)
            )
        };
        wait(state, log, || self.said().ends_with(&format!("{state}\n")));
    }

    fn end(&mut self, signal: &str) {
        run(&format!("kill -{signal} {}", self.child.id()));
        self.child.wait().unwrap();
    }
}

impl Drop for Seesaw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

fn beside_seesaw(remote: &str, peers: &str) {
    let side = joined();
    let config = |priority: u8| {
        format!(
            "[[vrrp]]\nname = \"old\"\ninterface = \"va\"\nvrid = 60\npriority = {priority}\n\
             interval = \"100ms\"\naddresses = [\"10.66.0.10/32\"]\npreempt = false\n\
             compat = \"seesaw\"\n{peers}"
        )
    };
    let mut seesaw = Seesaw::start(&side, remote, 255);
    seesaw.says(None, "LEADER");
    let mut ours = Daemon::start(&config(1));
    ours.says("Initialize -> Backup");
    // It leads, we follow, however long.
    std::thread::sleep(Duration::from_secs(1));
    assert!(!ours.log().contains("Active"), "{}", ours.log());
    seesaw.end("TERM");
    ours.says("Backup -> Active: the active router resigned");
    // One that comes back with the highest priority lets us lead.
    let mut seesaw = Seesaw::start(&side, remote, 255);
    seesaw.says(Some(&ours), "BACKUP");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(seesaw.said(), "BACKUP\n");
    // Our goodbye makes it lead at once, and ours is 255 without leading at once.
    ours.rewrite(&config(1).replace("vrid = 60", "vrid = 61"));
    seesaw.says(Some(&ours), "LEADER");
    ours.rewrite(&config(255));
    ours.says_times("Initialize -> Backup", 3);
    std::thread::sleep(Duration::from_secs(1));
    assert!(seesaw.said().ends_with("LEADER\n"), "{}", seesaw.said());
    let active = ours.log().matches("Backup -> Active").count();
    // It dies: silence.
    seesaw.end("KILL");
    ours.says_times("Backup -> Active", active + 1);
    assert!(ours.log().contains("fell silent"), "{}", ours.log());
    // Of two that lead the lower one yields.
    let seesaw = Seesaw::start(&side, remote, 1);
    seesaw.says(Some(&ours), "BACKUP");
    ours.stop();
    seesaw.says(None, "LEADER");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn seesaw_is_a_peer_by_multicast() {
    beside_seesaw("224.0.0.18", "");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn seesaw_is_a_peer_by_unicast() {
    beside_seesaw("10.66.0.1", "unicast_peers = [\"10.66.0.2\"]\n");
}
