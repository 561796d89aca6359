//! Keeps a runner's helper beside the daemon, while the config has work for it.
//! The control thread's work.

use crate::run::records::{OwnLog, RunnerGone, RunnerNotStarted, text};
use crate::run::respawn::{Respawn, Told};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// See the module's words.
#[derive(Debug)]
pub struct Keeper {
    /// The loop whose runner it is.
    of: &'static str,
    program: Program,
    respawn: Respawn,
}

/// What it takes to start a helper.
#[derive(Debug)]
struct Program {
    socket: OwnedFd,
    jobs: u32,
}

impl Keeper {
    /// A keeper without a helper yet. `socket` is the helper's end of
    /// [`super::pair`]; it runs `jobs` commands at once at most.
    pub const fn new(of: &'static str, socket: OwnedFd, jobs: u32) -> Self {
        Self {
            of,
            program: Program { socket, jobs },
            respawn: Respawn::new(),
        }
    }

    /// Starts a helper if there is work for one, and ends one that has none.
    pub fn take(&mut self, wanted: bool, log: &OwnLog) {
        let told = self.respawn.want(wanted, || self.program.spawn());
        told.inspect(|told| tell(self.of, told, log));
    }

    /// The end begins: the helper ends when we do, and is not missed.
    pub const fn stop(&mut self) {
        self.respawn.stop();
    }

    /// Looks after the helper. Returns when to look again, if by then.
    pub fn look(&mut self, log: &OwnLog) -> Option<Duration> {
        loop {
            let (again, told) = self.respawn.look(|| self.program.spawn());
            match told {
                Some(told) => tell(self.of, &told, log),
                None => return again,
            }
        }
    }

    /// How many helpers have died.
    pub const fn deaths(&self) -> u64 {
        self.respawn.deaths()
    }
}

fn tell(of: &'static str, told: &Told, log: &OwnLog) {
    match told {
        Told::Gone(status) => log.log(&RunnerGone {
            of,
            status: text(&status.to_string()),
        }),
        Told::NotStarted(error) => log.log(&RunnerNotStarted {
            of,
            why: text(&error.to_string()),
        }),
    }
}

impl Program {
    /// Its standard input is the socket: so nothing must be done between fork and
    /// exec, and a large process with locked memory is not copied.
    fn spawn(&self) -> io::Result<Child> {
        // The program that runs, whatever its file's name means by now.
        Command::new("/proc/self/exe")
            .arg0("trunnion")
            .args(["runner", "--jobs", &self.jobs.to_string()])
            .stdin(Stdio::from(self.socket.try_clone()?))
            .stdout(Stdio::null())
            .spawn()
    }
}
