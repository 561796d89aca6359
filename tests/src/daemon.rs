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
use std::process::{Child, Command, Stdio};
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
    /// Starts it with a config that lacks `[node]` and `[limits]`'s first line.
    pub fn start(config: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunnion-live-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("node.toml");
        fs::write(&file, complete(&directory, config)).unwrap();
        let binary = std::env::var_os("TRUNNION_BIN").expect("TRUNNION_BIN: cargo xtask test");
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(binary)
            .args(["run", "--config"])
            .arg(&file)
            .env("TRUNNION_DENY_ALLOCATIONS", "1")
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { directory, child }
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
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
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

fn complete(directory: &Path, config: &str) -> String {
    let run_dir = directory.join("run");
    format!(
        "[node]\nname = \"live\"\nrun_dir = {run_dir:?}\n[limits]\nchecks_in_flight = 32\n{config}"
    )
}
