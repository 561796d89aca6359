//! The host as the checks see it: files below a root, and what three questions
//! to the kernel brought. Tests put another host in its place.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use trunnion_core::model::ServiceKey;
use trunnion_sys::ipvs::{self, Ipvs};
use trunnion_sys::route::Route;
use trunnion_sys::sysctl::Tree;

/// See the module's words.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// What stands for `/`.
    pub root: PathBuf,
    /// The parameters below it.
    pub sysctl: Tree,
    /// The kernel's IPVS.
    pub ipvs: Table,
    /// Interfaces and their addresses; nothing where the kernel did not say.
    pub links: Option<Vec<Nic>>,
}

/// What the kernel's IPVS holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// These services.
    Holds(Vec<ServiceKey>),
    /// There is none.
    NoIpvs,
    /// It did not tell, for this reason.
    Silent(String),
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nic {
    pub name: String,
    /// Whether the operator has it up.
    pub up: bool,
    /// Its addresses with the lengths of their networks' prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capability {
    pub bit: u32,
    /// As setcap(8) writes it.
    pub name: &'static str,
}

/// Whether a module can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// It is in the kernel.
    Loaded,
    /// It lies on the disk.
    Loadable,
    /// This kernel was built without it, or it is not installed.
    Absent,
    /// The modules of this kernel do not lie here: a container.
    Unseen,
}

impl Host {
    /// The one this runs on, in its network namespace.
    pub fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
            sysctl: Tree::default(),
            ipvs: table(),
            links: links(),
        }
    }

    /// A file's text; nothing for one that cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// A parameter as a number; of several, the first.
    pub fn number(&self, parameter: &str) -> Option<i64> {
        let text = self.sysctl.read(parameter).ok()?;
        text.split_whitespace().next()?.parse().ok()
    }

    /// The larger of a parameter of an interface and that of `all`, as the
    /// kernel takes arp_ignore, arp_announce and rp_filter.
    pub fn of_interface(&self, interface: &str, parameter: &str) -> Option<i64> {
        let of = |group: &str| self.number(&conf(group, parameter));
        Some(of("all")?.max(of(interface).unwrap_or(0)))
    }

    /// Whether this process has a capability in effect.
    pub fn has(&self, capability: Capability) -> bool {
        let bits = self
            .field("CapEff:")
            .and_then(|hex| u64::from_str_radix(&hex, 16).ok());
        bits.unwrap_or(0) >> capability.bit & 1 == 1
    }

    fn field(&self, name: &str) -> Option<String> {
        let status = self.text("proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().to_owned())
    }

    /// The hard limit of a resource as /proc/self/limits names it;
    /// `u64::MAX` for unlimited.
    pub fn hard_limit(&self, name: &str) -> Option<u64> {
        let limits = self.text("proc/self/limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().nth(1)? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// Where a module is.
    pub fn module(&self, name: &str) -> Module {
        if self.root.join("sys/module").join(name).exists() {
            return Module::Loaded;
        }
        let release = self.sysctl.read("kernel.osrelease").unwrap_or_default();
        let lists = Path::new("lib/modules").join(release);
        let list = |file: &str| fs::read_to_string(self.root.join(&lists).join(file)).ok();
        let has = |list: &Option<String>| {
            let paths = list.iter().flat_map(|list| list.lines());
            let mut files = paths.filter_map(|line| line.split(':').next()?.rsplit('/').next());
            files.any(|file| {
                file.split('.')
                    .next()
                    .is_some_and(|n| n.replace('-', "_") == name)
            })
        };
        let (builtin, on_disk) = (list("modules.builtin"), list("modules.dep"));
        match (has(&builtin), has(&on_disk)) {
            (true, _) => Module::Loaded,
            (false, true) => Module::Loadable,
            (false, false) if builtin.is_none() && on_disk.is_none() => Module::Unseen,
            (false, false) => Module::Absent,
        }
    }

    /// Why the kernel would not load a module by itself; nothing where it
    /// would.
    pub fn loads_nothing(&self) -> Option<&'static str> {
        if self.number("kernel.modules_disabled") == Some(1) {
            return Some("kernel.modules_disabled is 1");
        }
        match self.sysctl.read("kernel.modprobe") {
            Ok(path) if path.is_empty() => Some("kernel.modprobe is empty"),
            Ok(_) | Err(_) => None,
        }
    }

    /// Processes of one of these names in this network namespace.
    pub fn processes(&self, names: &[&str]) -> Vec<(u32, String)> {
        let namespace = |of: &Path| fs::read_link(of.join("ns/net")).ok();
        let proc = self.root.join("proc");
        let ours = namespace(&proc.join("self"));
        let entries = fs::read_dir(&proc).into_iter().flatten().flatten();
        let mut found: Vec<(u32, String)> = entries
            .filter_map(|entry| {
                let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
                let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
                let here = namespace(&entry.path()).is_none_or(|net| Some(net) == ours);
                let comm = comm.trim().to_owned();
                (here && names.contains(&comm.as_str())).then_some((pid, comm))
            })
            .collect();
        found.sort();
        found
    }
}

/// `net.ipv4.conf.eth0/100.rp_filter`, as sysctl(8) takes it.
pub(super) fn conf(interface: &str, parameter: &str) -> String {
    format!("net.ipv4.conf.{}.{parameter}", interface.replace('.', "/"))
}

fn table() -> Table {
    let ask = || {
        let mut keys = Vec::new();
        Ipvs::open()?.services(|entry| keys.push(entry.service.key))?;
        Ok::<_, ipvs::Error>(keys)
    };
    match ask() {
        Ok(keys) => Table::Holds(keys),
        Err(ipvs::Error::NoIpvs) => Table::NoIpvs,
        Err(error) => Table::Silent(error.to_string()),
    }
}

fn links() -> Option<Vec<Nic>> {
    let mut route = Route::open().ok()?;
    let (links, addresses) = (route.links().ok()?, route.addresses().ok()?);
    let nic = |link: &trunnion_core::route::Link| Nic {
        name: link.name.to_string(),
        up: link.is_up(),
        addresses: addresses
            .iter()
            .filter(|address| address.interface == link.index)
            .map(|address| (address.address, address.prefix))
            .collect(),
    };
    Some(links.iter().map(nic).collect())
}
