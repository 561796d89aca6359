//! Two nodes and a host on a switch, and what switch and host learn of virtual
//! routers that have a MAC address of their own.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a test that cannot go on has failed"
)]

use crate::daemon::{Daemon, run};
use crate::side::Side;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;

/// What ip-link(8) calls the bridge of a port.
pub const BRIDGE: &str = "master";
/// Of vrid 51 over IPv4, RFC 9568 7.3.
pub const MAC: &str = "00:00:5e:00:01:33";
/// Of vrid 51 over IPv6.
pub const MAC6: &str = "00:00:5e:00:02:33";
/// Virtual addresses that the host tries.
pub const VIPS: [&str; 3] = ["10.66.0.10", "fd66::10", "fe80::66:10"];

/// A switch, two nodes and a host on it.
pub struct Field {
    /// The first node, on its `va`.
    pub a: Side,
    /// The second, on its `vb`.
    pub b: Side,
    /// A host, on its `vc`.
    pub host: Side,
}

impl Field {
    /// All three, with addresses, once those can be used.
    pub fn joined() -> Self {
        unshare_network().expect("a network namespace: run as root");
        run("ip link add br0 up type bridge mcast_snooping 0 forward_delay 0");
        let side = |name: &str, number: u8| {
            let side = Side::joined(&format!("p{name}"), name);
            run(&format!("ip link set p{name} up {BRIDGE} br0"));
            side.run(|| {
                for of in ["all", "default", name] {
                    let path = format!("/proc/sys/net/ipv6/conf/{of}/accept_dad");
                    fs::write(path, "0").unwrap();
                }
                // Backups forward as well: what a switch floods is not for them.
                fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
                run("ip link set lo up");
                run(&format!("ip addr add 10.66.0.{number}/24 dev {name}"));
                run(&format!("ip addr add fd66::{number}/64 dev {name} nodad"));
                run(&format!("ip link set {name} up"));
            });
            side
        };
        let field = Self {
            a: side("va", 1),
            b: side("vb", 2),
            host: side("vc", 9),
        };
        for (side, name) in [(&field.a, "va"), (&field.b, "vb"), (&field.host, "vc")] {
            let link_local = format!("ip -6 -o addr show dev {name} scope link -tentative");
            wait("link-local addresses", || {
                !side.run(|| run(&link_local)).is_empty()
            });
        }
        field
    }

    /// Which port the switch has learned an address behind.
    pub fn port_of(mac: &str) -> Option<String> {
        let shown = run("bridge fdb show br br0");
        let mut lines = shown.lines().filter(|line| line.starts_with(mac));
        let line = lines.next()?;
        line.split_whitespace().nth(2).map(str::to_owned)
    }

    /// The switch has learned both of the virtual router's addresses there.
    pub fn is_behind(port: &str) {
        for mac in [MAC, MAC6] {
            wait(&format!("{mac} is behind {port}"), || {
                Self::port_of(mac).as_deref() == Some(port)
            });
        }
    }

    /// What the host has all virtual addresses at; it asks if it does not know.
    pub fn host_reaches(&self) {
        self.host.run(|| {
            for vip in VIPS {
                wait(&format!("{vip} answers"), || is_reached(vip));
                let mac = if vip.contains(':') { MAC6 } else { MAC };
                wait(&format!("{vip} is at {mac}"), || {
                    run(&format!("ip neigh show to {vip} dev vc")).contains(mac)
                });
            }
        });
    }
}

/// Whether somebody answers for an address: nobody listens there, which is said.
pub fn is_reached(vip: &str) -> bool {
    const DISCARD: u16 = 9;
    let to = match vip.parse().unwrap() {
        IpAddr::V4(to) => SocketAddr::from((to, DISCARD)),
        IpAddr::V6(to) => {
            let line = run("ip -o link show vc");
            let scope = line.split(':').next().unwrap().trim().parse().unwrap();
            SocketAddrV6::new(to, DISCARD, 0, scope).into()
        }
    };
    let patience = Duration::from_millis(500);
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    TcpStream::connect_timeout(&to, patience).is_err_and(refused)
}

/// What the host learns from here on.
pub struct Learning {
    child: Child,
    file: PathBuf,
}

impl Learning {
    /// Begins to listen.
    pub fn start(field: &Field) -> Self {
        let file = directory("learned").join("log");
        let log = fs::File::create(&file).unwrap();
        let mut command = Command::new("ip");
        command
            .args(["-o", "monitor", "neigh", "dev", "vc"])
            .stdout(log);
        let child = field.host.run(move || command.spawn().unwrap());
        Self { child, file }
    }

    /// Of no virtual address anything but the virtual router's MAC address.
    pub fn learned_nothing_else(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let log = fs::read_to_string(&self.file).unwrap();
        for line in log.lines().filter(|line| line.contains("lladdr")) {
            let vip = VIPS.iter().find(|vip| line.contains(&format!("{vip} ")));
            if let Some(vip) = vip {
                let mac = if vip.contains(':') { MAC6 } else { MAC };
                assert!(line.contains(mac), "{line}");
            }
        }
    }
}

impl Drop for Learning {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of a test's own.
pub fn directory(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("trunnion-{name}-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Waits until `done`.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ours, of both families.
pub fn config(interface: &str, priority: u8, node: &str) -> String {
    let router = |name: &str, addresses: &str| {
        format!(
            "[[vrrp]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvrid = 51\n\
             priority = {priority}\ninterval = \"100ms\"\nmac = \"virtual\"\n\
             addresses = [{addresses}]\n"
        )
    };
    let v4 = router("public", "\"10.66.0.10/24\", \"10.66.0.11/24\"");
    let v6 = router("public6", "\"fe80::66:10/64\", \"fd66::10/64\"");
    format!("{node}[limits]\n{v4}checksum = \"auto\"\n{v6}")
}

/// What the calling thread's namespace says of a link; empty without one.
pub fn link(name: &str) -> String {
    let shown = Command::new("ip")
        .args(["-o", "-d", "link", "show", name])
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

/// Whether somebody wants a link of the calling thread's namespace up.
pub fn is_up(name: &str) -> bool {
    let shown = link(name);
    let flags = shown.split(['<', '>']).nth(1).unwrap_or_default();
    flags.split(',').any(|flag| flag == "UP")
}

/// How many virtual addresses are in the calling thread's namespace, on the
/// macvlans.
pub fn held() -> usize {
    let shown = run("ip -o addr show");
    let on = |vip: &&&str| {
        let mut lines = shown.lines().filter(|line| line.contains("vrrp"));
        lines.any(|line| line.contains(&format!(" {vip}/")))
    };
    VIPS.iter().filter(on).count()
}

/// An Active in the calling thread's namespace: macvlans that are up, with their
/// addresses, and nothing the kernel made of itself.
pub fn is_active() -> bool {
    is_up("vrrp.51") && is_up("vrrp6.51") && held() == 3
}

/// A Backup: macvlans that are there and down, with nothing on them.
pub fn is_backup() -> bool {
    let down = |name: &str| !link(name).is_empty() && !is_up(name);
    down("vrrp.51") && down("vrrp6.51") && held() == 0
}

/// Whether there is no macvlan.
pub fn has_none() -> bool {
    link("vrrp.51").is_empty() && link("vrrp6.51").is_empty()
}

/// What `trunnion show` says of a router.
pub fn router(daemon: &Daemon, name: &str) -> serde_json::Value {
    let shown = daemon.show();
    let mut all = shown["routers"].as_array().unwrap().iter();
    all.find(|router| router["name"] == name).unwrap().clone()
}

/// A counter of a router, as [`router`] shows it.
#[must_use]
pub fn counted(router: &serde_json::Value, name: &str) -> u64 {
    let counters = router["counters"].as_array().unwrap();
    let named = counters.iter().find(|c| c["name"] == name);
    named.unwrap()["value"].as_u64().unwrap()
}
