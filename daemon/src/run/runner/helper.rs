//! The helper: a small process that runs what a loop may not. It knows no check
//! and no config, only requests ([`super::message`]).

use super::message::{
    Done, Job, OUTPUT_BYTES_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Request, User, words,
};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use trunnion_core::bytes::Writer;
use trunnion_core::check::probe::outside::{FILE_BYTES_MAX, Outcome};
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;
use trunnion_sys::child::{self, Child, Pid};
use trunnion_sys::clock::boottime;
use trunnion_sys::pidfd::PidFd;
use trunnion_sys::signal::{Signal, Signals};
use trunnion_sys::thread as sys_thread;

/// A command that is found running so long after its deadline has perhaps not had
/// its time: this process was stopped, or the machine is too busy.
const LATE_MARGIN: Duration = Duration::from_secs(1);
/// Nor has one that was started when more than a quarter of it was gone: it waited
/// for us, while another was started, say, from a file system that hangs.
const LATE_PART: u32 = 4;
/// Files that may wait to be read, if there may not be more jobs: each check may wait
/// for one.
const FILES_MIN: usize = 64;
/// Bytes read at once of what a command prints, and times in one turn: one that
/// prints for ever waits for us, and we not for it.
const READ_BYTES: usize = 4096;
const READS_PER_TURN: u32 = 16;
/// `EAGAIN`: no room for another.
const BUSY: Errno = Errno(11);

const REQUESTS: Token = Token(0);
const SIGNALS: Token = Token(1);
const DAEMON: Token = Token(2);
/// The output of the job in slot `i` is `OUTPUTS + i`.
const OUTPUTS: usize = 3;

/// `trunnion runner`: for the daemon to start, with its end of the socket pair as
/// standard input. Runs `jobs` commands at once at most.
///
/// # Errors
/// What it needs could not be opened, or waiting failed.
pub fn run(jobs: usize) -> io::Result<()> {
    // A terminal's ^C, or a reload, is for the daemon to obey.
    let signals = Signals::new(&[
        Signal::CHLD,
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
    ])?;
    let Some(daemon) = PidFd::of_parent()? else {
        return Ok(());
    };
    // An old kernel cannot; all that we open ourselves closes itself.
    let _ = child::keep_descriptors();
    child::adopt_orphans()?;
    let _ = sys_thread::set_name("runner");
    let socket = UnixDatagram::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut helper = Helper::open(socket, signals, daemon, jobs)?;
    let ended = helper.serve();
    helper.kill_all();
    ended
}

/// A command that runs.
struct Running {
    id: u64,
    child: Child,
    started: Instant,
    deadline: Instant,
    /// It was started too late to be blamed for its time.
    late: bool,
    /// It was answered for: what is left of it is to be reaped.
    answered: bool,
    output: [u8; OUTPUT_BYTES_MAX],
    printed: usize,
    /// There may be more to read.
    readable: bool,
}

struct Helper {
    socket: UnixDatagram,
    signals: Signals,
    poll: Poll,
    jobs: Box<[Option<Running>]>,
    files: SyncSender<File>,
    more: bool,
}

/// A file to be read.
struct File {
    id: u64,
    deadline: Instant,
    path: Vec<u8>,
}

impl Helper {
    fn open(
        socket: UnixDatagram,
        signals: Signals,
        daemon: PidFd,
        jobs: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        for (fd, token) in [
            (socket.as_raw_fd(), REQUESTS),
            (signals.as_raw_fd(), SIGNALS),
            (daemon.as_raw_fd(), DAEMON),
        ] {
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        // It is watched to our end.
        std::mem::forget(daemon);
        let (files, to_read) = sync_channel(jobs.max(FILES_MIN));
        let answers = socket.try_clone()?;
        // A file system that hangs must keep no command waiting.
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || read_files(&answers, &to_read))?;
        Ok(Self {
            socket,
            signals,
            poll,
            jobs: (0..jobs.max(1)).map(|_| None).collect(),
            files,
            more: true,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            let wait = if self.more {
                Some(Duration::ZERO)
            } else {
                self.next_deadline().map(|at| at.since(boottime()))
            };
            self.more = false;
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                match event.token() {
                    REQUESTS => {}
                    DAEMON => return Ok(()),
                    SIGNALS => {
                        // A supervisor's TERM comes to all of us at once, and the
                        // daemon still has programs to tell of its end.
                        while self.signals.read()?.is_some() {}
                    }
                    Token(token) => {
                        let job = self.jobs.get_mut(token - OUTPUTS);
                        if let Some(Some(job)) = job {
                            job.readable = true;
                        }
                    }
                }
            }
            // Those that have ended first: after a stall their answer counts.
            self.read_outputs();
            self.reap()?;
            self.end_overdue();
            self.take_requests();
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let running = self.jobs.iter().flatten().filter(|job| !job.answered);
        running.map(|job| job.deadline).min()
    }

    fn read_outputs(&mut self) {
        for job in self.jobs.iter_mut().flatten() {
            self.more |= job.read_output();
        }
    }

    /// Reaps whoever has ended: commands, and what they left behind.
    fn reap(&mut self) -> io::Result<()> {
        while let Some(pid) = child::poll_ended()? {
            let slot = self.jobs.iter_mut().find(|slot| is(slot, pid));
            let job = slot.and_then(Option::take);
            if let Some(job) = &job {
                // Not reaped yet, so that its group's number is still its own.
                job.child.kill();
            }
            let exit = child::reap(pid)?;
            if let Some(mut job) = job
                && !job.answered
            {
                job.read_output();
                self.answer(&job.done(Outcome::Ended(exit)));
            }
        }
        Ok(())
    }

    fn end_overdue(&mut self) {
        let now = boottime();
        for at in 0..self.jobs.len() {
            let Some(Some(job)) = self.jobs.get_mut(at) else {
                continue;
            };
            if job.answered || job.deadline > now {
                continue;
            }
            job.answered = true;
            job.child.kill();
            let late = job.late || now.since(job.deadline) > LATE_MARGIN;
            let outcome = if late {
                Outcome::Late
            } else {
                Outcome::TimedOut
            };
            if let Some(Some(job)) = self.jobs.get(at) {
                self.answer(&job.done(outcome));
            }
        }
    }

    fn take_requests(&mut self) {
        let mut buffer = [0; REQUEST_BYTES_MAX];
        while let Ok(received) = self.socket.recv(&mut buffer) {
            let bytes = buffer.get(..received).unwrap_or(&[]);
            if let Ok(request) = Request::parse(bytes) {
                self.take_request(&request);
            }
        }
    }

    fn take_request(&mut self, request: &Request<'_>) {
        let Request {
            id,
            asked,
            deadline,
            job,
        } = *request;
        let now = boottime();
        let outcome = match job {
            Job::Run { .. } | Job::Read(_) if deadline <= now => Outcome::Late,
            Job::Run {
                user,
                words,
                environment,
            } => match self.start((id, asked, deadline), user, words, environment) {
                Ok(()) => return,
                Err(error) => Outcome::NotRun(error),
            },
            Job::Read(path) => {
                let path = path.to_vec();
                match self.files.try_send(File { id, deadline, path }) {
                    Ok(()) => return,
                    Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                        Outcome::NotRead(BUSY)
                    }
                }
            }
        };
        self.answer(&Done {
            id,
            took: Duration::ZERO,
            outcome,
            output: &[],
        });
    }

    fn start(
        &mut self,
        (id, asked, deadline): (u64, Instant, Instant),
        user: Option<User>,
        line: &[u8],
        environment: &[u8],
    ) -> Result<(), Errno> {
        let Some(at) = self.jobs.iter().position(Option::is_none) else {
            return Err(BUSY);
        };
        let mut words = words(line).map(OsStr::from_bytes);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir("/").env_clear();
        for variable in super::message::words(environment) {
            let mut halves = variable.splitn(2, |byte| *byte == b'=');
            if let (Some(name), Some(value)) = (halves.next(), halves.next()) {
                command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
            }
        }
        if let Some(User { uid, gid }) = user {
            // As root, this takes all other groups away, too.
            command.uid(uid).gid(gid);
        }
        let child = Child::spawn(command).map_err(|error| errno(&error))?;
        // It runs from here on: to start it may take a while as well.
        let started = boottime();
        let fd = child.as_raw_fd();
        let token = Token(OUTPUTS + at);
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
            child.kill();
            // SIGCHLD has it reaped as one nobody asked for.
            return Err(errno(&error));
        }
        if let Some(slot) = self.jobs.get_mut(at) {
            *slot = Some(Running {
                id,
                child,
                started,
                deadline,
                late: started.since(asked) * LATE_PART > deadline.since(asked),
                answered: false,
                output: [0; OUTPUT_BYTES_MAX],
                printed: 0,
                readable: true,
            });
        }
        Ok(())
    }

    fn answer(&self, done: &Done<'_>) {
        answer(&self.socket, done);
    }

    fn kill_all(&mut self) {
        for job in self.jobs.iter().flatten() {
            job.child.kill();
        }
    }
}

fn is(slot: &Option<Running>, pid: Pid) -> bool {
    slot.as_ref().is_some_and(|job| job.child.pid() == pid)
}

impl Running {
    /// Reads what it printed, keeps the beginning, and returns whether there may
    /// be more.
    fn read_output(&mut self) -> bool {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS_PER_TURN {
            if !self.readable {
                return false;
            }
            match self.child.read_output(&mut buffer) {
                Ok(0) => self.readable = false,
                Ok(read) => {
                    let room = self.output.get_mut(self.printed..).unwrap_or(&mut []);
                    let kept = room.len().min(read);
                    room[..kept].copy_from_slice(&buffer[..kept]);
                    self.printed += kept;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.readable = false,
            }
        }
        self.readable
    }

    fn done<'a>(&'a self, outcome: Outcome<'a>) -> Done<'a> {
        Done {
            id: self.id,
            took: boottime().since(self.started),
            outcome,
            output: self.output.get(..self.printed).unwrap_or(&[]),
        }
    }
}

/// Answers. A loop that is too far behind to be told is not: to it the command
/// was late, and so it is.
fn answer(socket: &UnixDatagram, done: &Done<'_>) {
    let mut buffer = [0; REPLY_BYTES_MAX];
    let mut to = Writer::new(&mut buffer);
    done.write(&mut to);
    if let Ok(bytes) = to.finish() {
        let _ = socket.send(bytes);
    }
}

/// The thread that reads files, one after the other.
fn read_files(socket: &UnixDatagram, files: &Receiver<File>) {
    while let Ok(File { id, deadline, path }) = files.recv() {
        let started = boottime();
        let mut content = Vec::with_capacity(FILE_BYTES_MAX + 1);
        let read = if deadline <= started {
            Ok(Outcome::Late)
        } else {
            read_file(&path, &mut content).map(|()| Outcome::Content(&content))
        };
        let now = boottime();
        answer(
            socket,
            &Done {
                id,
                took: now.since(started),
                outcome: read.unwrap_or_else(|error| Outcome::NotRead(errno(&error))),
                output: &[],
            },
        );
    }
}

/// Reads the beginning of a file. A pipe without a writer is an empty one.
fn read_file(path: &[u8], content: &mut Vec<u8>) -> io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NONBLOCK | NO_TERMINAL)
        .open(OsStr::from_bytes(path))?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(content)?;
    Ok(())
}

// open(2), asm-generic numbers: a file check may name a pipe or a terminal.
const NONBLOCK: i32 = 0o4000;
const NO_TERMINAL: i32 = 0o400;

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(Errno::EIO.0))
}
