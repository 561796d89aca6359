//! The namespace, and who is checked in it: 127.16.0.1 and up, all of them one
//! listener on port 80; the last hundred each its own on port 81, to die. Those of
//! HTTP are an nginx on both ports.

use crate::subject::{Load, Subject};
use crate::{Result, failed};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use trunnion_tests::lab::process::{Process, feed};
use trunnion_tests::lab::{Context as _, Netns, wait_for};

/// How many can die.
pub const MORTAL: u32 = 100;
const BACKLOG: i32 = 65_535;
/// One process that answers each connection once, like the peers' checks ask.
const NGINX: &str = "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 16384; }
http {
  access_log off; keepalive_timeout 0;
  server {
    listen 80 backlog=65535; listen 81 backlog=65535;
    location / { return 200 'ok'; }
  }
}
";

/// The address of a target by its number.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7f10_0001 + number)
}

/// The port of a target by its number, out of so many.
pub const fn port(number: u32, of: u32) -> u16 {
    if number >= of - MORTAL { 81 } else { 80 }
}

/// The namespace with its listeners; dropping it removes them.
pub struct Targets {
    pub netns: Netns,
    /// Configs and logs.
    pub directory: PathBuf,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
    load: Load,
    mortal: Vec<OwnedFd>,
    web: Option<Process>,
}

impl Targets {
    pub fn new(load: Load) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunnion-health-{}-{number}", std::process::id());
        let netns = Netns::new(&name, "health");
        let directory = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&directory).context(|| format!("make {}", directory.display()))?;
        ip(&format!("netns add {name}\n"))?;
        let mut targets = Self {
            netns,
            directory,
            stop: Arc::new(AtomicBool::new(false)),
            accepting: None,
            load,
            mortal: Vec::new(),
            web: None,
        };
        targets.open()?;
        Ok(targets)
    }

    fn open(&mut self) -> Result {
        let up = || feed(Command::new("ip").args(["-batch", "-"]), "link set lo up\n");
        self.netns.run(up)??;
        self.netns.sysctls(&[("core/somaxconn", "65535")])?;
        if self.load.http {
            return self.serve();
        }
        self.revive()?;
        let all = self.netns.run(|| listener(Ipv4Addr::UNSPECIFIED, 80))?;
        let all = all.context(|| "listen".to_owned())?;
        let stop = Arc::clone(&self.stop);
        let all = TcpListener::from(all);
        self.accepting = Some(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // What is closed at once was answered all the same.
                drop(all.accept());
            }
        }));
        Ok(())
    }

    fn serve(&mut self) -> Result {
        let file = self.directory.join("nginx.conf");
        std::fs::write(&file, NGINX).context(|| format!("write {}", file.display()))?;
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(&self.directory).arg("-c").arg(&file);
        let log = self.directory.join("nginx.log");
        let nginx = Process::start(&self.netns, &mut nginx, &log)?;
        let answers = || std::net::TcpStream::connect(("127.0.0.1", 80)).is_ok();
        let up = wait_for(Duration::from_secs(10), || {
            matches!(self.netns.run(answers), Ok(true)).then_some(())
        });
        up.ok_or_else(|| failed(format!("nginx does not listen:\n{}", nginx.log_tail(5))))?;
        self.web = Some(nginx);
        Ok(())
    }

    /// The mortal ones refuse from now on.
    pub fn kill(&mut self) {
        self.mortal.clear();
    }

    /// The mortal ones answer, again.
    pub fn revive(&mut self) -> Result {
        let each = self.load.backends - MORTAL..self.load.backends;
        let open =
            || -> rustix::io::Result<_> { each.map(|at| listener(address(at), 81)).collect() };
        self.mortal = self.netns.run(open)?.context(|| "listen".to_owned())?;
        Ok(())
    }

    /// Checks made in the namespace so far, by the kernel's count: connections
    /// begun, or of who only sends SYNs those that were reset for it.
    pub fn begun(&self, subject: Subject) -> Result<f64> {
        let counter = match subject {
            Subject::Ours | Subject::FloorSyn if !self.load.http => "OutRsts",
            Subject::Ours
            | Subject::FloorSyn
            | Subject::OursFull
            | Subject::Keepalived
            | Subject::Haproxy
            | Subject::Go
            | Subject::Floor => "ActiveOpens",
        };
        let read = || std::fs::read_to_string("/proc/thread-self/net/snmp");
        let text = self.netns.run(read)?.context(|| "read snmp".to_owned())?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let mut pairs = names.split(' ').zip(values.split(' '));
        let found = pairs.find(|(name, _)| *name == counter);
        let value = found.and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| failed(format!("snmp has no {counter}")))
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            // One connection more, so that it looks.
            let wake = || std::net::TcpStream::connect(("127.0.0.1", 80)).is_ok();
            let _ = self.netns.run(wake);
            let _ = accepting.join();
        }
        self.web = None;
        let _ = ip(&format!("netns del {}\n", self.netns.name()));
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn listener(address: Ipv4Addr, port: u16) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(address, port))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn ip(batch: &str) -> Result {
    feed(Command::new("ip").args(["-batch", "-"]), batch)
}
