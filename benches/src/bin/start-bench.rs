//! What `cargo xtask bench start` runs inside a kernel with ip_vs: how long it
//! takes from nothing to a whole table, to a changed row, and to an empty table
//! again; the daemon, ipvsadm and keepalived in turns. Prints samples; what they
//! amount to is said by xtask.
//!
//! `start-bench run TRUNNION ROUNDS SHAPE…`, with a shape like `10000x10`,
//! services by destinations of each, none of them checked. Each run has a
//! network namespace of its own. A sample is a line `SHAPE WHO PHASE VALUE`, in
//! milliseconds, but `rss` is the peak in KiB. The first line is the kernel's
//! release.
//!
//! The kernel's table is looked at from outside, in the last service's rows
//! every two milliseconds; when they are there the clock stops, and all are
//! counted.

use rustix::process::{Pid, Signal, kill_process};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trunnion_benches::Rows;
use trunnion_core::model::ServiceKey;
use trunnion_sys::ipvs::Ipvs;
use trunnion_sys::netns;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the kernel's table.
const LOOK: Duration = Duration::from_millis(2);
/// The weight that one destination gets by a reload.
const CHANGED: u32 = 7;

fn main() -> Result {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", trunnion, rounds, shapes @ ..] => run(trunnion, rounds.parse()?, shapes),
        ["one", who, trunnion, shape] => one(who, Path::new(trunnion), shape),
        _ => Err("usage: start-bench run TRUNNION ROUNDS SHAPE…".into()),
    }
}

fn run(trunnion: &str, rounds: u32, shapes: &[&str]) -> Result {
    print!("{}", fs::read_to_string("/proc/sys/kernel/osrelease")?);
    let own = std::env::current_exe()?;
    for _ in 0..rounds {
        for shape in shapes {
            for who in ["ours", "ipvsadm", "keepalived"] {
                let mut command = Command::new(&own);
                let status = command.args(["one", who, trunnion, shape]).status()?;
                if !status.success() {
                    return Err(format!("{who} {shape}: {status}").into());
                }
            }
        }
    }
    Ok(())
}

/// One run of one of them, in a namespace of its own.
fn one(who: &str, trunnion: &Path, shape: &str) -> Result {
    let (services, each) = shape.split_once('x').ok_or("a shape is like 100x20")?;
    let rows = Rows::new(services.parse()?, each.parse()?);
    netns::unshare_network()?;
    let table = Watched {
        last: rows.services.last().ok_or("no service")?.service.key,
        each: each.parse()?,
        all: rows.destinations.len(),
        ipvs: Ipvs::open()?,
    };
    let run = Run {
        words: format!("{shape} {who}"),
        directory: std::env::temp_dir().join(format!("start-bench-{}", std::process::id())),
        rows,
    };
    fs::create_dir_all(&run.directory)?;
    let result = match who {
        "ours" => run.ours(trunnion, table),
        "ipvsadm" => run.ipvsadm(table),
        _ => run.keepalived(table),
    };
    fs::remove_dir_all(&run.directory)?;
    result
}

struct Run {
    /// Shape and who, as a sample begins.
    words: String,
    directory: PathBuf,
    rows: Rows,
}

impl Run {
    fn print(&self, phase: &str, took: Duration) {
        println!("{} {phase} {:.3}", self.words, took.as_secs_f64() * 1e3);
    }

    fn ours(&self, trunnion: &Path, mut table: Watched) -> Result {
        let file = self.directory.join("node.toml");
        fs::write(&file, self.toml(1)?)?;
        let log = self.directory.join("log");
        let mut command = Command::new(trunnion);
        command.args(["run", "--config"]).arg(&file);
        let begin = Instant::now();
        let mut child = Running::start(&mut command, &log)?;
        self.print("programmed", table.until_whole(&mut child, begin)?);

        // The daemon may still have to say goodbye to its start.
        std::thread::sleep(Duration::from_millis(500));
        fs::write(&file, self.toml(CHANGED)?)?;
        let begin = Instant::now();
        child.signal(Signal::HUP)?;
        child.until("a changed row", LOOK, || table.has_weight(CHANGED))?;
        self.print("reloaded", begin.elapsed());
        println!("{} rss {}", self.words, child.peak_kib()?);

        let begin = Instant::now();
        child.signal(Signal::TERM)?;
        let status = child.child.wait()?;
        self.print("cleared", begin.elapsed());
        if !status.success() {
            return Err(format!("trunnion: {status}: {}", child.log()).into());
        }
        table.is_empty()
    }

    fn ipvsadm(&self, mut table: Watched) -> Result {
        let file = self.directory.join("rules");
        fs::write(&file, self.rules()?)?;
        let mut command = Command::new("ipvsadm");
        command.arg("--restore").stdin(fs::File::open(&file)?);
        let begin = Instant::now();
        let status = command.status()?;
        let took = begin.elapsed();
        if !status.success() || !table.whole()? {
            return Err("ipvsadm did not make the table".into());
        }
        self.print("programmed", took);
        let begin = Instant::now();
        let status = Command::new("ipvsadm").arg("--clear").status()?;
        self.print("cleared", begin.elapsed());
        if !status.success() {
            return Err(format!("ipvsadm --clear: {status}").into());
        }
        table.is_empty()
    }

    fn keepalived(&self, mut table: Watched) -> Result {
        let file = self.directory.join("keepalived.conf");
        fs::write(&file, self.keepalived_conf(1)?)?;
        let log = self.directory.join("log");
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--log-console", "--check"]);
        command.arg("--use-file").arg(&file);
        for (option, name) in [("--pid", "pid"), ("--checkers_pid", "checkers.pid")] {
            command.arg(option).arg(self.directory.join(name));
        }
        let begin = Instant::now();
        let mut child = Running::start(&mut command, &log)?;
        self.print("programmed", table.until_whole(&mut child, begin)?);

        std::thread::sleep(Duration::from_millis(500));
        fs::write(&file, self.keepalived_conf(CHANGED)?)?;
        let begin = Instant::now();
        child.signal(Signal::HUP)?;
        child.until("a changed row", LOOK, || table.has_weight(CHANGED))?;
        self.print("reloaded", begin.elapsed());
        let begin = Instant::now();
        child.signal(Signal::TERM)?;
        child.child.wait()?;
        self.print("cleared", begin.elapsed());
        Ok(())
    }

    /// The rows, service by service: what is written for a service, for each of
    /// its destinations, and behind them. The last destination has `weight`.
    fn text(
        &self,
        weight: u32,
        mut service: impl FnMut(&mut String, &ServiceKey) -> Result,
        mut destination: impl FnMut(&mut String, &ServiceKey, std::net::IpAddr, u32) -> Result,
        behind: &str,
    ) -> Result<String> {
        let mut text = String::new();
        let last = self.rows.destinations.len() - 1;
        for row in &self.rows.services {
            let key = &row.service.key;
            service(&mut text, key)?;
            for at in row.range() {
                let weight = if at == last { weight } else { 1 };
                destination(
                    &mut text,
                    key,
                    self.rows.destinations[at].key.address,
                    weight,
                )?;
            }
            text += behind;
        }
        Ok(text)
    }

    fn toml(&self, weight: u32) -> Result<String> {
        let (services, all) = (self.rows.services.len(), self.rows.destinations.len());
        let head = format!(
            "[node]\nname = \"bench\"\nrun_dir = \"{}\"\n[limits]\nservices = {services}\n\
             backends = {all}\nchecks_in_flight = 16\nrouters = 1\naddresses = 1\n\
             [ipvs]\non_exit = \"clear\"\n",
            self.directory.join("run").display()
        );
        let text = self.text(
            weight,
            |text, key| {
                let (address, port) = socket(key)?;
                Ok(write!(
                    text,
                    "[[service]]\naddress = \"{address}:{port}\"\nscheduler = \"wrr\"\nbackends = ["
                )?)
            },
            |text, _, address, weight| {
                match weight {
                    1 => write!(text, "\"{address}\",")?,
                    _ => write!(text, "{{ address = \"{address}\", weight = {weight} }},")?,
                }
                Ok(())
            },
            "]\n",
        );
        Ok(head + &text?)
    }

    fn rules(&self) -> Result<String> {
        self.text(
            1,
            |text, key| {
                let (address, port) = socket(key)?;
                Ok(writeln!(text, "-A -t {address}:{port} -s wrr")?)
            },
            |text, key, to, weight| {
                let (address, port) = socket(key)?;
                Ok(writeln!(
                    text,
                    "-a -t {address}:{port} -r {to}:{port} -g -w {weight}"
                )?)
            },
            "",
        )
    }

    fn keepalived_conf(&self, weight: u32) -> Result<String> {
        self.text(
            weight,
            |text, key| {
                let (address, port) = socket(key)?;
                Ok(writeln!(
                    text,
                    "virtual_server {address} {port} {{\nlvs_sched wrr\nlvs_method DR\nprotocol TCP"
                )?)
            },
            |text, key, to, weight| {
                let (_, port) = socket(key)?;
                Ok(writeln!(
                    text,
                    "real_server {to} {port} {{\nweight {weight}\n}}"
                )?)
            },
            "}\n",
        )
    }
}

fn socket(key: &ServiceKey) -> Result<(std::net::IpAddr, u16)> {
    match key {
        ServiceKey::Address { address, port, .. } => Ok((*address, *port)),
        ServiceKey::Fwmark { .. } => Err("the table has addresses only".into()),
    }
}

/// The kernel's table, looked at from outside.
struct Watched {
    ipvs: Ipvs,
    last: ServiceKey,
    each: usize,
    all: usize,
}

impl Watched {
    /// How long after `begin` the last service had its rows, in a table that
    /// was found to be whole then: to count it takes longer than a look.
    fn until_whole(&mut self, child: &mut Running, begin: Instant) -> Result<Duration> {
        let mut took = Duration::ZERO;
        child.until("the whole table", LOOK, || {
            let last = self.count_last()? == self.each;
            took = begin.elapsed();
            Ok(last && self.whole()?)
        })?;
        Ok(took)
    }

    /// Destinations of the last service; none while it is not there.
    fn count_last(&mut self) -> Result<usize> {
        let mut count = 0;
        if self.ipvs.get_service(&self.last)?.is_some() {
            self.ipvs.destinations(&self.last, |_| count += 1)?;
        }
        Ok(count)
    }

    fn whole(&mut self) -> Result<bool> {
        let mut keys = Vec::new();
        self.ipvs.services(|entry| keys.push(entry.service.key))?;
        let mut count = 0;
        for key in &keys {
            self.ipvs.destinations(key, |_| count += 1)?;
        }
        Ok(count == self.all)
    }

    fn has_weight(&mut self, weight: u32) -> Result<bool> {
        let mut found = false;
        self.ipvs.destinations(&self.last, |entry| {
            found |= entry.destination.weight == weight;
        })?;
        Ok(found)
    }

    fn is_empty(&mut self) -> Result {
        let mut count = 0;
        self.ipvs.services(|_| count += 1)?;
        if count == 0 {
            Ok(())
        } else {
            Err(format!("{count} services are left").into())
        }
    }
}

/// A process that is ended with us.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?);
        Ok(Self {
            child: command.stderr(file).spawn()?,
            log: log.to_owned(),
        })
    }

    fn until(
        &mut self,
        what: &str,
        look: Duration,
        mut done: impl FnMut() -> Result<bool>,
    ) -> Result {
        let begin = Instant::now();
        while !done()? {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended ({status}) before {what}:\n{}", self.log()).into());
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("waited in vain for {what}:\n{}", self.log()).into());
            }
            std::thread::sleep(look);
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result {
        let id = Pid::from_raw(self.child.id().try_into()?).ok_or("process 0")?;
        Ok(kill_process(id, signal)?)
    }

    fn peak_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let words = line.and_then(|line| line.split_whitespace().next());
        Ok(words.ok_or("/proc has no VmHWM")?.parse()?)
    }

    /// The end of what it wrote.
    fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
