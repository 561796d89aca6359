//! Keeps a guardian beside the daemon: a process of our own program that acts
//! when we die ([`super::guardian`]). Its own death is harmless: it is told,
//! counted, and another one is started. The control thread's work.

use super::records::{GuardianGone, GuardianNotStarted, OwnLog, text};
use crate::config::OnCrash;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// From one guardian's death to the next one's start, at first and at most; one
/// that lived longer than the latter begins anew.
const WAIT: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// See the module's words.
#[derive(Debug)]
pub(super) struct Keeper {
    run_dir: PathBuf,
    will: OwnedFd,
    slate: File,
    wanted: bool,
    child: Option<Child>,
    started: Option<Instant>,
    wait: Duration,
    deaths: u64,
}

impl Keeper {
    /// A keeper without a guardian yet.
    pub(super) const fn new(run_dir: PathBuf, will: OwnedFd, slate: File) -> Self {
        Self {
            run_dir,
            will,
            slate,
            wanted: false,
            child: None,
            started: None,
            wait: WAIT,
            deaths: 0,
        }
    }

    /// Starts a guardian where the config wants one and none is, and ends one
    /// that is not wanted any more.
    pub(super) fn take(&mut self, on_crash: OnCrash, log: &OwnLog) {
        self.wanted = match on_crash {
            OnCrash::Resign | OnCrash::Hold(_) => true,
            OnCrash::Nothing => false,
        };
        match &mut self.child {
            Some(child) if !self.wanted => {
                let _ = child.kill();
                let _ = child.wait();
                self.child = None;
            }
            None if self.wanted => self.start(log),
            Some(_) | None => {}
        }
    }

    /// The end begins: the guardian ends when we do, and is not missed.
    pub(super) const fn stop(&mut self) {
        self.wanted = false;
    }

    /// Looks after the guardian. Returns when to look again, if by then.
    pub(super) fn look(&mut self, log: &OwnLog) -> Option<Duration> {
        if let Some(child) = &mut self.child {
            let status = child.try_wait().ok().flatten()?;
            self.child = None;
            if !self.wanted {
                return None;
            }
            self.deaths = self.deaths.saturating_add(1);
            log.log(&GuardianGone {
                status: text(&status.to_string()),
            });
            let lived = self.started.map_or(WAIT_MAX, |at| at.elapsed());
            self.wait = if lived >= WAIT_MAX {
                WAIT
            } else {
                (self.wait * 2).min(WAIT_MAX)
            };
        }
        if !self.wanted {
            return None;
        }
        let waited = self.started.map_or(WAIT_MAX, |at| at.elapsed());
        if waited < self.wait {
            return Some(self.wait - waited);
        }
        self.start(log);
        self.child.is_none().then_some(self.wait)
    }

    /// How many guardians have died.
    pub(super) const fn deaths(&self) -> u64 {
        self.deaths
    }

    fn start(&mut self, log: &OwnLog) {
        self.started = Some(Instant::now());
        match self.spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                let why = text(&error.to_string());
                log.log(&GuardianNotStarted { why });
            }
        }
    }

    /// Its standard input is the will and its standard output the slate: so
    /// nothing must be done between fork and exec, and a large process with
    /// locked memory is not copied.
    fn spawn(&self) -> io::Result<Child> {
        // The program that runs, whatever its file's name means by now.
        Command::new("/proc/self/exe")
            .arg0("trunnion")
            .args(["guardian", "--run-dir"])
            .arg(&self.run_dir)
            .stdin(Stdio::from(self.will.try_clone()?))
            .stdout(Stdio::from(self.slate.try_clone()?))
            .spawn()
    }
}
