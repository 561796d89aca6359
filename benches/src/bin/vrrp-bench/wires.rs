//! Two routers and a client on a switch: no wire between the routers alone, for
//! a veth whose one end loses its carrier takes it from the other end too.

use crate::Result;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use trunnion_tests::lab::process::feed;
use trunnion_tests::lab::{Context as _, Netns};

/// Where the routers and the client hang on the switch.
pub const INTERFACE: &str = "eth0";
/// The switch's own interface: it sees what is sent to all.
pub const SWITCH: &str = "br0";
/// What ip-link(8) calls the bridge of a port.
const BRIDGE: &str = "master";
/// IPv4 addresses of the two routers.
pub const ROUTERS: [&str; 2] = ["10.79.0.1", "10.79.0.2"];

/// Namespaces and links; dropping it removes them.
pub struct Wires {
    /// Configs and logs.
    pub directory: PathBuf,
    /// The switch; its ports are called `a`, `b` and `client`.
    pub switch: Netns,
    /// The router that shall be Active, and the one that stands by.
    pub routers: [Netns; 2],
    /// Whoever asks for the virtual address.
    pub client: Netns,
}

impl Wires {
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run = format!("trunnion-vrrp-{}-{number}", std::process::id());
        let netns = |role: &str| Netns::new(&format!("{run}-{role}"), role);
        let wires = Self {
            directory: std::env::temp_dir().join(&run),
            switch: netns("switch"),
            routers: ["a", "b"].map(netns),
            client: netns("client"),
        };
        std::fs::create_dir_all(&wires.directory)
            .context(|| format!("make {}", wires.directory.display()))?;
        wires.make()?;
        Ok(wires)
    }

    fn all(&self) -> impl Iterator<Item = &Netns> {
        [&self.switch, &self.client]
            .into_iter()
            .chain(&self.routers)
    }

    fn make(&self) -> Result {
        let mut batch = String::new();
        for netns in self.all() {
            let _ = writeln!(batch, "netns add {}", netns.name());
        }
        ip(None, &batch)?;
        let [a, b] = &self.routers;
        let mut batch = format!("link add {SWITCH} type bridge mcast_snooping 0 stp_state 0\n");
        for (host, port) in [(a, "a"), (b, "b"), (&self.client, "client")] {
            let _ = writeln!(
                batch,
                "link add name {port} type veth peer name {INTERFACE} netns {}\n\
                 link set dev {port} {BRIDGE} {SWITCH} up",
                host.name()
            );
        }
        let _ = writeln!(batch, "link set {SWITCH} up");
        ip(Some(&self.switch), &batch)?;
        let hosts = [
            (a, ROUTERS[0]),
            (b, ROUTERS[1]),
            (&self.client, "10.79.0.3"),
        ];
        for (host, address) in hosts {
            let batch = format!(
                "link set lo up\naddr add {address}/16 dev {INTERFACE}\nlink set {INTERFACE} up\n"
            );
            ip(Some(host), &batch)?;
        }
        Ok(())
    }

    /// Plugs the Active's cable out of the switch, or in again.
    pub fn plug(&self, in_it: bool) -> Result {
        let state = if in_it { "up" } else { "down" };
        ip(Some(&self.switch), &format!("link set dev a {state}\n"))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for netns in self.all() {
            let _ = ip(None, &format!("netns del {}\n", netns.name()));
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn ip(netns: Option<&Netns>, batch: &str) -> Result {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    match netns {
        Some(netns) => netns.run(|| feed(&mut command, batch))?,
        None => feed(&mut command, batch),
    }
}
