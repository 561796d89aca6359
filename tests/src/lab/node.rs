//! A balancer node: a daemon in its namespace, its config file, its log, and
//! what can be done to it.

use super::config::Config;
use super::ipvsadm::Table;
use super::plan::{self, FAMILIES, Family};
use super::process::Process;
use super::show::Shown;
use super::{Context, LabError, Netns, Result, keepalived, wait_slowly};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Which daemon runs on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// The `trunnion` at this path.
    Trunnion(PathBuf),
    /// The machine's keepalived.
    Keepalived,
}

/// A balancer node.
#[derive(Debug)]
pub struct Node {
    /// Its namespace.
    pub netns: Netns,
    /// What it is told at the next start or reload.
    pub config: Config,
    daemon: Daemon,
    directory: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// A node that does not run yet. Its files go to `directory`.
    #[must_use]
    pub fn new(netns: &Netns, config: Config, daemon: Daemon, directory: &Path) -> Self {
        Self {
            netns: netns.clone(),
            config,
            daemon,
            directory: directory.to_owned(),
            process: None,
        }
    }

    /// `lb1`, `lb2`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether its daemon is ours, with counters to show.
    #[must_use]
    pub fn is_trunnion(&self) -> bool {
        matches!(self.daemon, Daemon::Trunnion(_))
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("{}.{suffix}", self.name()))
    }

    fn write_config(&self) -> Result<()> {
        match &self.daemon {
            Daemon::Trunnion(_) => {
                let run_dir = self.file("run");
                std::fs::create_dir_all(&run_dir)
                    .context(|| format!("make {}", run_dir.display()))?;
                let path = self.file("toml");
                std::fs::write(&path, self.config.toml(&run_dir))
                    .context(|| format!("write {}", path.display()))
            }
            Daemon::Keepalived => keepalived::write(&self.config, &self.directory),
        }
    }

    /// Starts the daemon with its present config.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.runs() {
            return Err(LabError::new(format!("{} runs already", self.name())));
        }
        self.write_config()?;
        let log = self.file("log");
        let process = match &self.daemon {
            Daemon::Trunnion(binary) => {
                let mut command = Command::new(binary);
                command.args(["run", "--config"]).arg(self.file("toml"));
                Process::start(&self.netns, &mut command, &log)?
            }
            Daemon::Keepalived => {
                keepalived::start(&self.netns, &self.config, &self.directory, &log)?
            }
        };
        self.process = Some(process);
        Ok(())
    }

    /// Whether the daemon runs.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| p.ended().is_none())
    }

    /// SIGKILL; it can say nothing any more.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not run, or does not end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(limit)
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal_terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Waits for the end of a daemon that was told to.
    ///
    /// # Errors
    /// It does not end within `limit`.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let name = self.name().to_owned();
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| LabError::new(format!("{name} does not run")))?;
        let status = process.wait(limit).ok_or_else(|| {
            LabError::new(format!(
                "{name} still runs {} ms after SIGTERM; its log:\n{}",
                limit.as_millis(),
                process.log_tail(8)
            ))
        })?;
        self.process = None;
        Ok(status)
    }

    /// Writes the present config and sends SIGHUP.
    ///
    /// # Errors
    /// It does not run, or the file cannot be written.
    pub fn reload(&self) -> Result<()> {
        self.write_config()?;
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref();
        let process =
            process.ok_or_else(|| LabError::new(format!("{} does not run", self.name())))?;
        process.signal(signal)
    }

    /// Takes from the node what a loss of power takes: the daemon, the virtual
    /// addresses, the kernel's table.
    ///
    /// # Errors
    /// `ip` or `ipvsadm` fail.
    pub fn forget_everything(&mut self) -> Result<()> {
        self.kill();
        self.netns.output(Command::new("ipvsadm").arg("--clear"))?;
        for family in FAMILIES {
            let vip = plan::vip(family).to_string();
            let mut command = Command::new("ip");
            command.args(["address", "flush", "dev", plan::INTERFACE, "to", &vip]);
            self.netns.output(&mut command)?;
        }
        let _ = std::fs::remove_dir_all(self.file("run"));
        Ok(())
    }

    /// Whether its kernel knows an established connection through the VIP from
    /// this port of the client, made here or heard of by synchronisation.
    ///
    /// # Errors
    /// The namespace is gone, or its kernel has no ip_vs.
    pub fn knows_connection(&self, client_port: u16) -> Result<bool> {
        let read = || std::fs::read_to_string("/proc/thread-self/net/ip_vs_conn");
        let text = self
            .netns
            .run(read)?
            .context(|| "read ip_vs_conn".to_owned())?;
        let port = format!("{client_port:04X}");
        Ok(text.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(2) == Some(&port.as_str()) && words.get(7) == Some(&"ESTABLISHED")
        }))
    }

    /// Whether its kernel has the virtual address of a family.
    ///
    /// # Errors
    /// The namespace is gone.
    pub fn holds(&self, family: Family) -> Result<bool> {
        self.netns.holds(plan::vip(family))
    }

    /// Waits until its kernel has (or has not) the virtual addresses of both
    /// families.
    ///
    /// # Errors
    /// Not within `limit`: with the end of its log.
    pub fn wait_holds(&mut self, wanted: bool, limit: Duration) -> Result<()> {
        let all = |node: &Self| {
            let is = |family: &Family| node.holds(*family).is_ok_and(|holds| holds == wanted);
            FAMILIES.iter().all(is)
        };
        let seen = wait_slowly(limit, || match (all(self), wanted && !self.runs()) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        });
        if seen == Some(true) {
            return Ok(());
        }
        let after = match seen {
            Some(_) => "and has ended".to_owned(),
            None => format!("after {} ms", limit.as_millis()),
        };
        Err(LabError::new(format!(
            "{} {} the virtual addresses {after}; its log:\n{}",
            self.name(),
            if wanted { "has not" } else { "still has" },
            self.log_tail(8)
        )))
    }

    /// The kernel's table by ipvsadm.
    ///
    /// # Errors
    /// ipvsadm fails or is not understood.
    pub fn table(&self) -> Result<Table> {
        Table::of(&self.netns)
    }

    /// Waits until the kernel's table is what the config says.
    ///
    /// # Errors
    /// Not within `limit`: the rows that differ, and the end of its log.
    pub fn wait_table(&self, limit: Duration) -> Result<()> {
        let wanted = self.config.table();
        let mut last = Vec::new();
        wait_slowly(limit, || match self.table() {
            Ok(table) => {
                last = table.differences(&wanted);
                last.is_empty().then_some(())
            }
            Err(error) => {
                last = vec![error.to_string()];
                None
            }
        })
        .ok_or_else(|| {
            LabError::new(format!(
                "{}'s table is not what the config says after {} ms:\n        {}\n        its log:\n{}",
                self.name(),
                limit.as_millis(),
                last.join("\n        "),
                self.log_tail(8)
            ))
        })
    }

    /// What `trunnion show --json` says.
    ///
    /// # Errors
    /// The daemon does not answer, or not with JSON.
    pub fn show(&self) -> Result<Shown> {
        let Daemon::Trunnion(binary) = &self.daemon else {
            return Err(LabError::new("keepalived has nothing to show"));
        };
        let mut command = Command::new(binary);
        command
            .args(["show", "--json", "--config"])
            .arg(self.file("toml"));
        let text = self.netns.output(&mut command)?;
        Shown::read(&text).context(|| self.name().to_owned())
    }

    /// The end of the daemon's log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        super::process::tail(&self.file("log"), lines)
    }
}
