//! A real keepalived on the other side of a link, beside a daemon under test. As a
//! node of the lab it is [`crate::lab::keepalived`].

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use crate::daemon::run;
use crate::side::Side;
use crate::virtual_mac::{directory, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// See the module's words. It is stopped when it is dropped.
#[derive(Debug)]
pub struct Keepalived {
    child: Child,
    directory: PathBuf,
}

impl Keepalived {
    /// Starts it with this config.
    #[must_use]
    pub fn start(side: &Side, config: &str) -> Self {
        let directory = directory("keepalived");
        fs::write(directory.join("conf"), config).unwrap();
        Self {
            child: spawn(side, &directory),
            directory,
        }
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`]; its log goes on.
    pub fn start_again(&mut self, side: &Side) {
        self.child = spawn(side, &self.directory);
    }

    /// Waits until its log has these words so many times.
    pub fn says(&self, words: &str, times: usize) {
        let log = || fs::read_to_string(self.directory.join("log")).unwrap();
        wait(&format!("keepalived: {words}, {times}"), || {
            log().matches(words).count() >= times
        });
    }

    /// Waits until it has taken over so many times.
    pub fn took_over(&self, times: usize) {
        self.says("Entering MASTER STATE", times);
    }

    /// Ends it as an administrator does.
    pub fn stop(&mut self) {
        run(&format!("kill {}", self.child.id()));
        self.child.wait().unwrap();
    }

    /// Kills its child, which speaks VRRP, and then itself.
    pub fn kill(&mut self) {
        // Or it would notice, and start another.
        run(&format!("kill -STOP {}", self.child.id()));
        let child = fs::read_to_string(self.directory.join("vrrp.pid")).unwrap();
        run(&format!("kill -KILL {}", child.trim()));
        fs::remove_file(self.directory.join("vrrp.pid")).unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(side: &Side, directory: &Path) -> Child {
    let file = |name: &str| directory.join(name);
    let mut log = fs::OpenOptions::new();
    let log = log.create(true).append(true).open(file("log")).unwrap();
    let mut command = Command::new("keepalived");
    command
        .args(["--dont-fork", "--log-console", "--vrrp", "--use-file"])
        .arg(file("conf"))
        .arg("--pid")
        .arg(file("pid"))
        .arg("--vrrp_pid")
        .arg(file("vrrp.pid"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    side.run(move || command.spawn().unwrap())
}
