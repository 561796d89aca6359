//! Who checks, and the configs that make them check the same.

use crate::targets::{Targets, address, port};
use crate::{Result, Setting};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use trunnion_benches::processes;
use trunnion_tests::lab::Context as _;
use trunnion_tests::lab::process::Process;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Half-open, by SYNs.
    Ours,
    /// With whole connections.
    OursFull,
    /// With its requests to IPVS acked by a stub.
    Keepalived,
    Haproxy,
    /// A goroutine for each check.
    Go,
    /// A loop in C that only connects.
    Floor,
    /// One that sends SYNs.
    FloorSyn,
}

impl Subject {
    /// All but the floors, which keep no time and no state.
    pub const CHECKERS: [Self; 5] = [
        Self::Ours,
        Self::OursFull,
        Self::Keepalived,
        Self::Haproxy,
        Self::Go,
    ];
    /// Those that keep none, and who does the same with it.
    pub const FLAT_OUT: [Self; 4] = [Self::FloorSyn, Self::Ours, Self::Floor, Self::OursFull];

    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursFull)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursFull => "ours-full",
            Self::Keepalived => "keepalived",
            Self::Haproxy => "haproxy",
            Self::Go => "go",
            Self::Floor => "floor",
            Self::FloorSyn => "floor-syn",
        }
    }

    /// What its log says of each backend that it gives up, in a line.
    pub const fn down(self) -> &'static str {
        match self {
            Self::Ours | Self::OursFull | Self::Go => "is down",
            Self::Keepalived => "Removing service",
            Self::Haproxy => "is DOWN",
            Self::Floor | Self::FloorSyn => "",
        }
    }
}

/// What is to be checked.
#[derive(Clone, Copy)]
pub struct Load {
    pub backends: u32,
    pub interval_ms: u32,
    /// A GET of `/` that is to be answered with 200; else a TCP connect.
    pub http: bool,
}

impl Load {
    pub const fn new(backends: u32, interval_ms: u32) -> Self {
        Self {
            backends,
            interval_ms,
            http: false,
        }
    }

    pub const fn http(self) -> Self {
        Self { http: true, ..self }
    }

    /// How long a target of ours may take to answer.
    pub const fn timeout_ms(self) -> u32 {
        if self.interval_ms < 500 {
            self.interval_ms
        } else {
            500
        }
    }
}

/// Failures in a row that make a backend dead, for all.
pub const FALL: u32 = 3;
/// Backends of a service.
const EACH: u32 = 100;
/// Connections of the floor at once; ours has as many sockets.
const WINDOW: u32 = 1024;

/// A subject that runs.
pub struct Running {
    process: Process,
    pub log: PathBuf,
}

impl Running {
    pub fn start(
        setting: &Setting,
        targets: &Targets,
        subject: Subject,
        load: Load,
    ) -> Result<Self> {
        let file = targets.directory.join("config");
        let log = targets.directory.join("log");
        let text = match subject {
            Subject::Ours => ours(targets, load, true),
            Subject::OursFull => ours(targets, load, false),
            Subject::Keepalived => keepalived(load),
            Subject::Haproxy => haproxy(load),
            Subject::Go | Subject::Floor | Subject::FloorSyn => String::new(),
        };
        std::fs::write(&file, text).context(|| format!("write {}", file.display()))?;
        let backends = load.backends.to_string();
        let mut command = match subject {
            Subject::Ours | Subject::OursFull => Command::new(&setting.trunnion),
            Subject::Keepalived => Command::new("keepalived"),
            Subject::Haproxy => Command::new("haproxy"),
            Subject::Go => Command::new(setting.peers.join("health-go")),
            Subject::Floor | Subject::FloorSyn => Command::new(setting.peers.join("health-floor")),
        };
        match subject {
            Subject::Ours | Subject::OursFull => command.args(["run", "--config"]).arg(&file),
            Subject::Keepalived => {
                command.env("LD_PRELOAD", setting.peers.join("ipvs-stub.so"));
                for (option, name) in [("--pid", "pid"), ("--checkers_pid", "checkers.pid")] {
                    command.arg(option).arg(targets.directory.join(name));
                }
                command.args(["--check", "--dont-fork", "--log-console", "--use-file"]);
                command.arg(&file)
            }
            Subject::Haproxy => command.args(["-db", "-f"]).arg(&file),
            Subject::Go => {
                command.arg(backends).arg(load.interval_ms.to_string());
                command.arg(if load.http { "http" } else { "tcp" })
            }
            Subject::Floor => command.args([&backends, &WINDOW.to_string(), "connect"]),
            Subject::FloorSyn => command.args([&backends, &WINDOW.to_string(), "syn"]),
        };
        let process = Process::start(&targets.netns, &mut command, &log)?;
        Ok(Self { process, log })
    }

    /// The process that was started.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its processes.
    pub fn family(&self) -> Vec<u32> {
        processes::family(&[self.process.id()])
    }

    /// The last it said.
    pub fn words(&self) -> String {
        self.process.log_tail(10)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let family = self.family();
        let kill = |pid: &u32| processes::signal(*pid, Signal::KILL);
        family.iter().for_each(kill);
        self.process.kill();
        processes::until_gone(&family);
    }
}

fn ours(targets: &Targets, load: Load, half_open: bool) -> String {
    let Load {
        backends,
        interval_ms,
        http,
    } = load;
    let run_dir = targets.directory.join("run");
    let timeout_ms = load.timeout_ms();
    let services = backends.div_ceil(EACH);
    let kind = if http {
        "type = \"http\", path = \"/\"".to_owned()
    } else {
        format!("type = \"tcp\", half_open = {half_open}")
    };
    let mut text = format!(
        "[node]\nname = \"bench\"\nrun_dir = \"{}\"\n\n\
         [limits]\nservices = {services}\nbackends = {backends}\nchecks_in_flight = {WINDOW}\n",
        run_dir.display()
    );
    for service in 0..services {
        let _ = write!(
            text,
            "\n[[service]]\naddress = \"10.80.{}.{}:80\"\nforward = \"masq\"\n\
             check = {{ {kind}, interval = \"{interval_ms}ms\", \
             timeout = \"{timeout_ms}ms\", fall = {FALL} }}\nbackends = [",
            service / 250,
            service % 250 + 1
        );
        for number in service * EACH..((service + 1) * EACH).min(backends) {
            let _ = write!(text, "\"{}:{}\", ", address(number), port(number, backends));
        }
        text += "]\n";
    }
    text
}

fn keepalived(load: Load) -> String {
    let Load {
        backends,
        interval_ms,
        http,
    } = load;
    let delay_s = f64::from(interval_ms) / 1000.0;
    // A try and so many more, an interval apart.
    let retry = FALL - 1;
    let (kind, url) = if http {
        ("HTTP_GET", "url {\n path /\n status_code 200\n }\n      ")
    } else {
        ("TCP_CHECK", "")
    };
    let mut text = String::new();
    for service in 0..backends.div_ceil(EACH) {
        let _ = write!(
            text,
            "virtual_server 10.80.{}.{} 80 {{\n  delay_loop {delay_s}\n  lb_algo wlc\n  \
             lb_kind NAT\n  protocol TCP\n",
            service / 250,
            service % 250 + 1
        );
        for number in service * EACH..((service + 1) * EACH).min(backends) {
            let (address, port) = (address(number), port(number, backends));
            let _ = write!(
                text,
                "  real_server {address} {port} {{\n    {kind} {{\n      {url}\
                 connect_timeout 1\n      retry {retry}\n      \
                 delay_before_retry {delay_s}\n    }}\n  }}\n"
            );
        }
        text += "}\n";
    }
    text
}

/// It wants somebody to serve.
fn haproxy(load: Load) -> String {
    let Load {
        backends,
        interval_ms,
        http,
    } = load;
    let how = if http { "  option httpchk GET /\n" } else { "" };
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 1s\n  \
         timeout client 1s\n  timeout server 1s\n  timeout check 500ms\n  \
         default-server check inter {interval_ms} fall {FALL}\n\
         listen somebody\n  bind 127.0.0.1:9\n"
    );
    for service in 0..backends.div_ceil(EACH) {
        let _ = write!(text, "backend b{service}\n{how}");
        for number in service * EACH..((service + 1) * EACH).min(backends) {
            let (address, port) = (address(number), port(number, backends));
            let _ = writeln!(text, "  server s{number} {address}:{port}");
        }
    }
    text
}
