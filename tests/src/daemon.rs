//! The daemon under test: a process in the namespace of the calling thread,
//! with a directory of its own, under an allocator that aborts when a loop
//! allocates. What it does not do in time, or not at all, panics with its log.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take; nothing is timed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a command; its failure is ours.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// See the module's words.
#[derive(Debug)]
pub struct Daemon {
    /// Its directory: config, log, run directory.
    pub directory: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts it with a config that lacks `[node]` and `[limits]`'s first line:
    /// what stands before a `[limits]` of its own belongs to `[node]`.
    pub fn start(config: &str) -> Self {
        let directory = prepared(config);
        let child = spawn(&directory, None);
        Self { directory, child }
    }

    /// As [`Self::start`], with the log going elsewhere than to its file.
    pub fn start_onto(config: &str, log: impl Into<Stdio>) -> Self {
        let directory = prepared(config);
        let child = spawn(&directory, Some(log.into()));
        Self { directory, child }
    }

    /// Starts it again, in the namespace of the calling thread; it must have
    /// ended.
    pub fn start_again(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        self.child = spawn(&self.directory, None);
    }

    /// SIGKILL to it, and to nothing else; waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its guardian's process, whoever started it, if one lives.
    #[must_use]
    pub fn guardian(&self) -> Option<u32> {
        let run_dir = self.directory.join("run");
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid: &u32| {
            // Empty once it has ended, reaped or not.
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            let words: Vec<_> = words.split('\0').collect();
            words.get(1) == Some(&"guardian") && words.get(3) == run_dir.to_str().as_ref()
        })
    }

    /// Its guardian's process, once one is at its post.
    pub fn guarded(&mut self) -> u32 {
        let socket = self.directory.join("run/guardian.sock");
        self.until("a guardian", |daemon| {
            daemon.guardian().is_some_and(|pid| {
                let sealed = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                socket.exists() && sealed.trim() == "guardian"
            })
        });
        self.guardian().unwrap()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// Waits until the log has a line with these words.
    pub fn says(&mut self, words: &str) {
        self.says_times(words, 1);
    }

    /// Waits until the log has these words so many times.
    pub fn says_times(&mut self, words: &str, times: usize) {
        self.until(&format!("{words:?} in the log, {times} times"), |daemon| {
            daemon.log().matches(words).count() >= times
        });
    }

    /// Waits until `done`; `what` is for the one who reads the failure.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}:\n{}",
                self.log()
            );
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "ended ({ended:?}) before {what}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `trunnion show --json` prints.
    #[must_use]
    pub fn show(&self) -> Value {
        let binary = std::env::var_os("TRUNNION_BIN").unwrap();
        let output = Command::new(binary)
            .args(["show", "--json", "--socket"])
            .arg(self.directory.join("run/control.sock"))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}\n{}", self.log());
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Writes another config and reloads.
    pub fn rewrite(&self, config: &str) {
        let text = complete(&self.directory, config);
        fs::write(self.directory.join("node.toml"), text).unwrap();
        self.signal("HUP");
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, signal: &str) {
        run(&format!("kill -{signal} {}", self.child.id()));
    }

    /// SIGTERM: goodbye and exit status 0, with nothing allocated by a loop.
    pub fn stop(mut self) {
        for thread in self.show()["threads"].as_array().unwrap() {
            let allocations = &thread["allocations_after_seal"];
            assert!(allocations.is_null() || *allocations == 0, "{thread}");
        }
        self.signal("TERM");
        let status = self.ended();
        assert!(status.success(), "{status}:\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A directory with a config.
fn prepared(config: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("trunnion-live-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("node.toml");
    fs::write(&file, complete(&directory, config)).unwrap();
    directory
}

fn spawn(directory: &Path, elsewhere: Option<Stdio>) -> Child {
    let binary = std::env::var_os("TRUNNION_BIN").expect("TRUNNION_BIN: cargo xtask test");
    let log = directory.join("log");
    let log = fs::OpenOptions::new().create(true).append(true).open(log);
    Command::new(binary)
        .args(["run", "--config"])
        .arg(directory.join("node.toml"))
        .env("TRUNNION_DENY_ALLOCATIONS", "1")
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stderr(elsewhere.unwrap_or_else(|| log.unwrap().into()))
        .spawn()
        .unwrap()
}

fn complete(directory: &Path, config: &str) -> String {
    let run_dir = directory.join("run");
    let (node, config) = config.split_once("[limits]").unwrap_or(("", config));
    format!(
        "[node]\nname = \"live\"\nrun_dir = {run_dir:?}\n{node}[limits]\nchecks_in_flight = 32\n{config}"
    )
}
