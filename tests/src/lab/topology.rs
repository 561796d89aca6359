//! The wires: namespaces, the switch, addresses, the settings a DSR balancer
//! and its backends need; and the way back to nothing.

use super::netns::Netns;
use super::plan::{self, BACKEND_NAMES, FAMILIES, INTERFACE};
use super::process::{self, Process};
use super::{Context, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "trunnion-";

/// Settings of every namespace, written before it has an interface. Duplicate
/// address detection would keep an IPv6 address silent for seconds; the plan
/// has no duplicates.
const EVERYWHERE: [(&str, &str); 4] = [
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
];

/// What ip-link(8) calls the bridge of a port.
const BRIDGE: &str = "master";

/// A balancer with direct routing sees only the client's side of a connection,
/// so FIN_WAIT is the last state it knows. Without bit 2 a client that uses a
/// port again within two minutes gets its old backend, whatever the weights say
/// now (ipvs-sysctl.rst in the kernel's documentation).
const BALANCER: [(&str, &str); 1] = [("ipv4/vs/conn_reuse_mode", "3")];

/// A DSR backend holds the VIP and must not say so.
const BACKEND: [(&str, &str); 2] = [
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/arp_announce", "2"),
];

/// The client opens hundreds of connections a second for most of a minute.
const CLIENT: [(&str, &str); 1] = [("ipv4/ip_local_port_range", "10000 65000")];

/// The running lab. Dropping it ends its processes and removes its namespaces.
#[derive(Debug)]
pub struct Lab {
    /// Scratch of this run: configs, logs, sockets.
    pub directory: PathBuf,
    /// The switch everything hangs on; its ports bear the parts' names.
    pub switch: Netns,
    /// The client.
    pub client: Netns,
    /// The balancers `lb1`, `lb2`.
    pub balancers: [Netns; 2],
    /// The backends `b1` to `b4`.
    pub backends: [Netns; plan::BACKENDS],
    servers: [Option<Process>; plan::BACKENDS],
}

impl Lab {
    /// Builds the network; no server and no daemon runs yet.
    ///
    /// # Errors
    /// What could not be made, with the words of `ip`.
    pub fn build() -> Result<Self> {
        sweep();
        static LABS: AtomicU32 = AtomicU32::new(1);
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let run = format!("{PREFIX}{}-{number}", std::process::id());
        let netns = |role: &str| Netns::new(&format!("{run}-{role}"), role);
        let directory = std::env::temp_dir().join(&run);
        std::fs::create_dir_all(&directory).context(|| format!("make {}", directory.display()))?;
        let lab = Self {
            directory,
            switch: netns("switch"),
            client: netns("client"),
            balancers: ["lb1", "lb2"].map(netns),
            backends: BACKEND_NAMES.map(netns),
            servers: [const { None }; plan::BACKENDS],
        };
        lab.make_namespaces()?;
        lab.make_links()?;
        lab.address_all()?;
        Ok(lab)
    }

    /// Every namespace, the switch first.
    pub fn namespaces(&self) -> impl Iterator<Item = &Netns> {
        std::iter::once(&self.switch).chain(self.hosts())
    }

    fn hosts(&self) -> impl Iterator<Item = &Netns> {
        std::iter::once(&self.client)
            .chain(&self.balancers)
            .chain(&self.backends)
    }

    fn make_namespaces(&self) -> Result<()> {
        // Absent in a fresh VM; `ip netns add` makes it, `ip -batch` too, but
        // only after a mount that needs it.
        std::fs::create_dir_all("/run/netns").context(|| "make /run/netns".to_owned())?;
        let mut batch = String::new();
        for netns in self.namespaces() {
            let _ = writeln!(batch, "netns add {}", netns.name());
        }
        ip(None, &batch)?;
        for netns in self.namespaces() {
            netns.sysctls(&EVERYWHERE)?;
        }
        for balancer in &self.balancers {
            // Loads ip_vs, without which it has no settings.
            super::rtnl::resolve_ipvs(balancer)?;
            balancer.sysctls(&BALANCER)?;
        }
        for backend in &self.backends {
            backend.sysctls(&BACKEND)?;
        }
        self.client.sysctls(&CLIENT)
    }

    /// One veth for each host, `eth0` in it and its own name on the switch.
    /// Snooping is off: it would hold back multicast until its first query.
    fn make_links(&self) -> Result<()> {
        let mut batch = "link add br0 up type bridge mcast_snooping 0 forward_delay 0\n".to_owned();
        for host in self.hosts() {
            let (port, peer) = (host.role(), host.name());
            let _ = writeln!(
                batch,
                "link add {port} up {BRIDGE} br0 type veth peer name {INTERFACE} netns {peer}"
            );
        }
        ip(Some(&self.switch), &batch)
    }

    fn address_all(&self) -> Result<()> {
        for (index, host) in self.hosts().enumerate() {
            let mut batch = format!("link set lo up\nlink set {INTERFACE} up\n");
            for family in FAMILIES {
                let own = match index {
                    0 => plan::client(family),
                    1 | 2 => plan::balancer(family, index - 1),
                    _ => plan::backend(family, index - 3),
                };
                let prefix = plan::prefix(family);
                let nodad = if own.is_ipv6() { " nodad" } else { "" };
                let _ = writeln!(batch, "address add {own}/{prefix} dev {INTERFACE}{nodad}");
                if index >= 3 {
                    let (vip, bits) = (plan::vip(family), family.bits());
                    let _ = writeln!(batch, "address add {vip}/{bits} dev lo{nodad}");
                }
            }
            ip(Some(host), &batch)?;
        }
        Ok(())
    }

    /// Starts backend `index` (0 to 3) and waits until it accepts connections.
    ///
    /// # Errors
    /// The helper program cannot be started, or does not listen in time.
    pub fn start_backend(&mut self, index: usize) -> Result<()> {
        let name = BACKEND_NAMES[index];
        let log = self.directory.join(format!("{name}.log"));
        let mut command = Command::new(helper()?);
        command.args(["backend", name, "--port", &plan::PORT.to_string()]);
        let process = Process::start(&self.backends[index], &mut command, &log)?;
        let address = (plan::backend(plan::Family::V4, index), plan::PORT).into();
        let up = super::wait_for(std::time::Duration::from_secs(10), || {
            let timeout = std::time::Duration::from_millis(500);
            let connect = || std::net::TcpStream::connect_timeout(&address, timeout).ok();
            self.client.run(connect).ok().flatten()
        });
        if up.is_none() {
            return Err(super::LabError::new(format!(
                "backend {name} does not listen; its log:\n{}",
                process.log_tail(10)
            )));
        }
        self.servers[index] = Some(process);
        Ok(())
    }

    /// Whether backend `index` runs.
    pub fn backend_runs(&mut self, index: usize) -> bool {
        let server = self.servers[index].as_mut();
        server.is_some_and(|process| process.ended().is_none())
    }

    /// SIGKILL to backend `index`. Nothing if it does not run.
    pub fn kill_backend(&mut self, index: usize) {
        self.servers[index] = None;
    }

    /// Pulls or plugs the cable of a host at the switch.
    ///
    /// # Errors
    /// The switch refuses.
    pub fn set_cable(&self, host: &Netns, plugged: bool) -> Result<()> {
        super::rtnl::set_link(&self.switch, host.role(), plugged)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.servers = [const { None }; plan::BACKENDS];
        let mut batch = String::new();
        for netns in self.namespaces() {
            let _ = writeln!(batch, "netns delete {}", netns.name());
        }
        // Half built or half gone: the rest is removed all the same.
        let _ = process::feed(Command::new("ip").args(["-force", "-batch", "-"]), &batch);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// `ip -batch` in a namespace, or outside of all of them.
fn ip(netns: Option<&Netns>, batch: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    match netns {
        None => process::feed(&mut command, batch),
        Some(netns) => netns
            .run(|| process::feed(&mut command, batch))?
            .context(|| format!("in {}", netns.role())),
    }
}

/// The helper program: this very program when it is the one, else the one that
/// cargo built beside it.
fn helper() -> Result<PathBuf> {
    binary("trunnion-lab")
}

/// A program of the workspace, built by cargo into the directory of the one
/// that runs, or the one above it (a test runs from `deps/`). `TRUNNION_BIN`
/// names another `trunnion`.
///
/// # Errors
/// It is not there; the error says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    if let ("trunnion", Some(path)) = (name, std::env::var_os("TRUNNION_BIN")) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context(|| "find this program".to_owned())?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .context_none(|| {
            format!(
                "no {name} beside {}: run `cargo build --workspace --bins` first",
                own.display()
            )
        })
}

trait ContextNone<T> {
    fn context_none(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> ContextNone<T> for Option<T> {
    fn context_none(self, what: impl FnOnce() -> String) -> Result<T> {
        self.ok_or_else(|| super::LabError::new(what()))
    }
}

/// Removes what a lab that was ended by force left behind: namespaces and
/// directories whose process is gone.
fn sweep() {
    let leftovers = |directory: &Path| -> Vec<String> {
        std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| owner(name).is_some_and(|pid| !alive(pid)))
            .collect()
    };
    let mut batch = String::new();
    for name in leftovers(Path::new("/run/netns")) {
        let _ = writeln!(batch, "netns delete {name}");
    }
    if !batch.is_empty() {
        let _ = process::feed(Command::new("ip").args(["-force", "-batch", "-"]), &batch);
    }
    for name in leftovers(&std::env::temp_dir()) {
        let _ = std::fs::remove_dir_all(std::env::temp_dir().join(name));
    }
}

/// The process id in a name of ours.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.split('-').next()?.parse().ok()
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_swept() {
        assert_eq!(owner("trunnion-123-1-lb1"), Some(123));
        assert_eq!(owner("trunnion-123-1"), Some(123));
        assert_eq!(owner("trunnion-lab"), None);
        assert_eq!(owner("trunnion-x1-lb1"), None);
        assert_eq!(owner("other-123"), None);
    }
}
