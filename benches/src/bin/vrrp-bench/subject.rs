//! Who is measured, and the configs that make them the same.

use crate::wires::{INTERFACE, ROUTERS, Wires};
use crate::{Result, Setting};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use trunnion_benches::processes;
use trunnion_tests::lab::process::Process;
use trunnion_tests::lab::{Context as _, LabError, wait_for};

/// Who sends adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Ours,
    /// keepalived as it comes.
    Keepalived,
    /// keepalived with its real-time options.
    KeepalivedRealtime,
    /// A timer and a sendto, and no state.
    Control,
}

impl Subject {
    pub const ALL: [Self; 4] = [
        Self::Ours,
        Self::Keepalived,
        Self::KeepalivedRealtime,
        Self::Control,
    ];
    /// Those that are routers.
    pub const ROUTERS: [Self; 3] = [Self::Ours, Self::Keepalived, Self::KeepalivedRealtime];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Keepalived => "keepalived",
            Self::KeepalivedRealtime => "keepalived-rt",
            Self::Control => "control",
        }
    }
}

/// One virtual router; its address is 10.79.1.VRID.
#[derive(Clone, Copy)]
pub struct Router {
    pub vrid: u8,
    pub interval_ms: u32,
}

impl Router {
    pub const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 79, 1, self.vrid)
    }
}

/// Priorities of the two nodes.
pub const PRIORITIES: [u8; 2] = [150, 100];

/// What a node shall do.
pub struct Node<'a> {
    /// 0 is the one that shall be Active.
    pub place: usize,
    pub routers: &'a [Router],
    /// Backends it declares, in services of 100, without checks.
    pub backends: u32,
    /// Whether ours checks them, once a second.
    pub checked: bool,
    /// Addresses that the first router has beside its own.
    pub addresses: u32,
}

impl Node<'_> {
    pub const fn plain(place: usize, routers: &[Router]) -> Node<'_> {
        Node {
            place,
            routers,
            backends: 0,
            checked: false,
            addresses: 0,
        }
    }
}

/// A node that runs: one process, or several of the control.
pub struct Running {
    processes: Vec<Process>,
    /// Where keepalived writes who of it speaks VRRP.
    pid_file: Option<PathBuf>,
}

impl Running {
    /// The process that was started.
    pub fn main(&mut self) -> Result<&mut Process> {
        let first = self.processes.first_mut();
        first.ok_or_else(|| LabError::new("nothing runs"))
    }

    /// The process that speaks VRRP.
    pub fn speaker(&mut self) -> Result<u32> {
        match &self.pid_file {
            None => Ok(self.main()?.id()),
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.context(|| format!("read {}", file.display()))?;
                text.trim().parse().context(|| file.display().to_string())
            }
        }
    }

    /// All processes of it: those that were started, and their children.
    pub fn family(&self) -> Vec<u32> {
        let started: Vec<u32> = self.processes.iter().map(Process::id).collect();
        processes::family(&started)
    }
}

/// Nothing of it is left when it is started again.
impl Drop for Running {
    fn drop(&mut self) {
        let family = self.family();
        let kill = |pid: &u32| processes::signal(*pid, Signal::KILL);
        family.iter().for_each(kill);
        self.processes.iter_mut().for_each(Process::kill);
        processes::until_gone(&family);
        if let Some(file) = &self.pid_file {
            let _ = std::fs::remove_file(file);
            let _ = std::fs::remove_file(file.with_extension("").with_extension("pid"));
        }
    }
}

/// How long a node may take to be Active.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a node of `subject`.
pub fn start(
    setting: &Setting,
    wires: &Wires,
    subject: Subject,
    node: &Node<'_>,
) -> Result<Running> {
    let netns = wires
        .routers
        .get(node.place)
        .ok_or_else(|| LabError::new("there are two nodes"))?;
    let log = wires.directory.join(format!("{}.log", netns.role()));
    let mut processes = Vec::new();
    match subject {
        Subject::Ours => {
            write(wires, subject, node)?;
            let mut command = Command::new(&setting.trunnion);
            command.args(["run", "--config"]).arg(file(wires, node));
            processes.push(Process::start(netns, &mut command, &log)?);
        }
        Subject::Keepalived | Subject::KeepalivedRealtime => {
            write(wires, subject, node)?;
            let mut command = Command::new("keepalived");
            command.args(["--dont-fork", "--log-console", "--use-file"]);
            command.arg(file(wires, node));
            for (option, suffix) in [
                ("--pid", "pid"),
                ("--vrrp_pid", "vrrp.pid"),
                ("--checkers_pid", "checkers.pid"),
            ] {
                command
                    .arg(option)
                    .arg(file(wires, node).with_extension(suffix));
            }
            // Its checkers want an IPVS, and end the whole without one.
            command.arg("--vrrp");
            processes.push(Process::start(netns, &mut command, &log)?);
        }
        Subject::Control => {
            for router in node.routers {
                let mut command = Command::new(&setting.metronome);
                command.arg(router.vrid.to_string());
                command.arg((router.interval_ms * 1000).to_string());
                command.arg(ROUTERS[0]);
                processes.push(Process::start(netns, &mut command, &log)?);
            }
        }
    }
    let pid_file = match subject {
        Subject::Keepalived | Subject::KeepalivedRealtime => {
            Some(file(wires, node).with_extension("vrrp.pid"))
        }
        Subject::Ours | Subject::Control => None,
    };
    Ok(Running {
        processes,
        pid_file,
    })
}

/// Waits until a node holds the addresses of all its routers.
pub fn until_active(wires: &Wires, node: &Node<'_>, running: &mut Running) -> Result {
    let netns = &wires.routers[node.place];
    let holds = |router: &Router| netns.holds(IpAddr::V4(router.address())).unwrap_or(false);
    let all = || node.routers.iter().all(holds).then_some(());
    let found = wait_for(PATIENCE, all);
    found.ok_or_else(|| {
        let tail = running.main().map(|it| it.log_tail(20));
        LabError::new(format!(
            "{} is not Active:\n{}",
            netns.role(),
            tail.unwrap_or_default()
        ))
    })
}

fn file(wires: &Wires, node: &Node<'_>) -> PathBuf {
    let name = wires.routers[node.place].role();
    wires.directory.join(format!("{name}.conf"))
}

/// Writes a node's config, for a start or a reload.
pub fn write(wires: &Wires, subject: Subject, node: &Node<'_>) -> Result {
    let text = match subject {
        Subject::Ours => ours(wires, node),
        Subject::Keepalived => keepalived(node, false),
        Subject::KeepalivedRealtime => keepalived(node, true),
        Subject::Control => return Ok(()),
    };
    let file = file(wires, node);
    std::fs::write(&file, text).context(|| format!("write {}", file.display()))
}

/// Backends of each service.
const EACH: u32 = 100;

fn services(backends: u32) -> u32 {
    backends.div_ceil(EACH)
}

/// 127.16.0.0 and up: each is there, on this machine, and nowhere else.
fn backend(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f10_0001 + number)
}

/// 10.82.0.0 and up.
pub fn further(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a52_0001 + number)
}

fn service(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a50_0001 + number)
}

fn ours(wires: &Wires, node: &Node<'_>) -> String {
    let Node {
        place,
        routers,
        backends,
        checked,
        addresses,
    } = *node;
    let name = wires.routers[place].role();
    let run_dir = wires.directory.join(name);
    // Room for the largest config of a reload.
    let mut text = format!(
        "[node]\nname = \"{name}\"\nrun_dir = \"{}\"\n\n\
         [limits]\nservices = {}\nbackends = {}\nrouters = 512\naddresses = {}\n",
        run_dir.display(),
        services(backends).max(1) + 1,
        backends.max(1) + EACH,
        addresses + 1024
    );
    for (at, router) in routers.iter().enumerate() {
        let Router { vrid, interval_ms } = router;
        let _ = write!(
            text,
            "\n[[vrrp]]\ninterface = \"{INTERFACE}\"\nvrid = {vrid}\npriority = {}\n\
             interval = \"{interval_ms}ms\"\naddresses = [\"{}/32\"",
            PRIORITIES[place],
            router.address()
        );
        for number in 0..if at == 0 { addresses } else { 0 } {
            let _ = write!(text, ", \"{}/32\"", further(number));
        }
        text += "]\n";
    }
    for number in 0..services(backends) {
        let _ = write!(
            text,
            "\n[[service]]\naddress = \"{}:80\"\nforward = \"route\"\n",
            service(number)
        );
        if checked {
            text += "check = { type = \"tcp\", interval = \"1s\" }\n";
        }
        text += "backends = [";
        for at in 0..EACH {
            let _ = write!(text, "\"{}\", ", backend(number * EACH + at));
        }
        text += "]\n";
    }
    text
}

fn keepalived(node: &Node<'_>, realtime: bool) -> String {
    let mut text = "global_defs {\n  vrrp_version 3\n".to_owned();
    if realtime {
        // Without the second one a busy process is killed after 10 ms on a CPU.
        text += "  vrrp_rt_priority 50\n  vrrp_rlimit_rttime 10000000\n  vrrp_no_swap\n";
    }
    text += "}\n";
    for (at, router) in node.routers.iter().enumerate() {
        let Router { vrid, interval_ms } = router;
        let _ = write!(
            text,
            "vrrp_instance R{vrid} {{\n  state BACKUP\n  interface {INTERFACE}\n  \
             virtual_router_id {vrid}\n  priority {}\n  advert_int {}\n  \
             virtual_ipaddress {{\n    {}/32\n  }}\n",
            PRIORITIES[node.place],
            f64::from(*interval_ms) / 1000.0,
            router.address()
        );
        if at == 0 && node.addresses > 0 {
            // An advert of it has room for a few.
            text += "  virtual_ipaddress_excluded {\n";
            for number in 0..node.addresses {
                let _ = writeln!(text, "    {}/32", further(number));
            }
            text += "  }\n";
        }
        text += "}\n";
    }
    for number in 0..services(node.backends) {
        let _ = write!(
            text,
            "virtual_server {} 80 {{\n  lb_algo wlc\n  lb_kind DR\n  protocol TCP\n",
            service(number)
        );
        for at in 0..EACH {
            let address = backend(number * EACH + at);
            let _ = write!(text, "  real_server {address} 80 {{\n    weight 1\n  }}\n");
        }
        text += "}\n";
    }
    text
}
