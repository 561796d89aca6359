//! Keeps a guardian beside the daemon: a process of our own program that acts
//! when we die ([`super::guardian`]). Its own death is harmless: it is told,
//! counted, and another one is started. The control thread's work.

use super::records::{GuardianGone, GuardianNotStarted, OwnLog, text};
use super::respawn::{Respawn, Told};
use crate::config::{Config, OnCrash};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// See the module's words.
#[derive(Debug)]
pub(super) struct Keeper {
    program: Program,
    respawn: Respawn,
}

/// What it takes to start a guardian.
#[derive(Debug)]
struct Program {
    run_dir: PathBuf,
    will: OwnedFd,
    slate: File,
}

impl Keeper {
    /// A keeper without a guardian yet.
    pub(super) const fn new(run_dir: PathBuf, will: OwnedFd, slate: File) -> Self {
        Self {
            program: Program {
                run_dir,
                will,
                slate,
            },
            respawn: Respawn::new(),
        }
    }

    /// Starts a guardian where the config wants one and none is, and ends one
    /// that is not wanted any more. Without a virtual router there is nothing to
    /// guard.
    pub(super) fn take(&mut self, config: &Config, log: &OwnLog) {
        let wanted = match config.node.on_crash {
            OnCrash::Resign | OnCrash::Hold(_) => !config.vrrp.is_empty(),
            OnCrash::Nothing => false,
        };
        let told = self.respawn.want(wanted, || self.program.spawn());
        told.inspect(|told| tell(told, log));
    }

    /// The end begins: the guardian ends when we do, and is not missed.
    pub(super) const fn stop(&mut self) {
        self.respawn.stop();
    }

    /// Looks after the guardian. Returns when to look again, if by then.
    pub(super) fn look(&mut self, log: &OwnLog) -> Option<Duration> {
        loop {
            let (again, told) = self.respawn.look(|| self.program.spawn());
            match told {
                Some(told) => tell(&told, log),
                None => return again,
            }
        }
    }

    /// How many guardians have died.
    pub(super) const fn deaths(&self) -> u64 {
        self.respawn.deaths()
    }
}

fn tell(told: &Told, log: &OwnLog) {
    match told {
        Told::Gone(status) => log.log(&GuardianGone {
            status: text(&status.to_string()),
        }),
        Told::NotStarted(error) => log.log(&GuardianNotStarted {
            why: text(&error.to_string()),
        }),
    }
}

impl Program {
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
