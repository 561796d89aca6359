//! Child processes that run other people's programs: each leads a process group
//! of its own, so that all of it can be killed; what it prints comes by a pipe;
//! and none stays a zombie. For a process that does nothing else, because fork(2)
//! copies what it is called from.
//!
//! Ends are seen by SIGCHLD ([`crate::signal::Signals`]): then call
//! [`poll_ended`] until it has no more.

use crate::syscall::{check, check_len, uninterrupted};
use std::io::{self, PipeReader, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use trunnion_core::check::probe::outside::Exit;

/// Descriptors a program may open (its soft limit), whatever ours may: some close
/// every one they could have before they do anything.
const OPEN_FILES: libc::rlim_t = 1024;

/// The number of a process; another's, once it was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(libc::pid_t);

/// A program that was started. Dropping it neither kills nor reaps it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    output: PipeReader,
}

impl Child {
    /// Starts a program as the leader of a new process group, without input, and
    /// with what it prints and complains going to [`Self::read_output`]. It is
    /// killed when the calling thread ends, but not what it started.
    ///
    /// Waits until exec(2) is done: a program on a file system that hangs makes
    /// it hang.
    ///
    /// # Errors
    /// Those of pipe(2), fork(2) (`EAGAIN`, `ENOMEM`), setuid(2) (`EPERM`) and
    /// exec(2) (`ENOENT`, `EACCES`, `ENOEXEC`).
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let (output, printed) = io::pipe()?;
        set_nonblocking(output.as_fd())?;
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed);
        let parent = std::process::id();
        // SAFETY: between fork and exec only system calls are made, and nothing
        // is allocated.
        unsafe { command.pre_exec(move || prepare(parent)) };
        let pid = command.spawn()?.id();
        let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
        Ok(Self {
            pid: Pid(pid),
            output,
        })
    }

    /// Its number, and that of its group.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Reads what it printed; 0 once everyone who could print has ended or closed
    /// it.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing now.
    pub fn read_output(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }

    /// Kills it and all of its group. Not to be called after it was reaped: the
    /// number may be another's then.
    pub fn kill(&self) {
        // Fails only when the group is gone.
        // SAFETY: takes numbers.
        let _ = unsafe { libc::kill(-self.pid.0, libc::SIGKILL) };
    }
}

impl AsRawFd for Child {
    /// The descriptor to wait on for output, edge-triggered if one likes.
    fn as_raw_fd(&self) -> RawFd {
        self.output.as_raw_fd()
    }
}

/// Makes this process the one that those inherit who outlive a program it
/// started (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so that it can reap them.
///
/// # Errors
/// None since Linux 3.4.
pub fn adopt_orphans() -> io::Result<()> {
    let yes: libc::c_ulong = 1;
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, yes) })?;
    Ok(())
}

/// Keeps what this process was given beside its standard streams from whoever it
/// starts (close_range(2)).
///
/// # Errors
/// `ENOSYS` or `EINVAL` before Linux 5.11.
pub fn keep_descriptors() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: takes numbers; sets a flag of descriptors that stay open.
    let set = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check_len(set.try_into().map_err(io::Error::other)?)?;
    Ok(())
}

/// A child that has ended, and was not reaped: one that was started here or one
/// that was inherited. Its number is its own until [`reap`].
///
/// # Errors
/// None that a correct call can meet.
pub fn poll_ended() -> io::Result<Option<Pid>> {
    match wait(libc::P_ALL, 0, libc::WNOHANG | libc::WNOWAIT) {
        Ok((Pid(0), _)) => Ok(None),
        Ok((pid, _)) => Ok(Some(pid)),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reaps a child that has ended, and says how. Waits for one that has not.
///
/// # Errors
/// `ECHILD` when there is no such child.
pub fn reap(pid: Pid) -> io::Result<Exit> {
    let id = libc::id_t::try_from(pid.0).map_err(io::Error::other)?;
    wait(libc::P_PID, id, 0).map(|(_, exit)| exit)
}

/// waitid(2). The number is 0 when there is none yet.
fn wait(which: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> io::Result<(Pid, Exit)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    uninterrupted(|| {
        // SAFETY: the kernel writes at most one siginfo_t.
        check(unsafe { libc::waitid(which, id, info.as_mut_ptr(), libc::WEXITED | options) })
    })?;
    // SAFETY: plain numbers, all zero unless the kernel wrote them.
    let info = unsafe { info.assume_init() };
    // SAFETY: of a child, or of nothing at all, these are its fields.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let number = u8::try_from(status & 0xff).unwrap_or(0);
    let exit = if info.si_code == libc::CLD_EXITED {
        Exit::Status(number)
    } else {
        Exit::Signal(number)
    };
    Ok((Pid(pid), exit))
}

/// What a program is given between fork and exec, after its user.
fn prepare(parent: u32) -> io::Result<()> {
    let kill = libc::SIGKILL;
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, kill) })?;
    if std::os::unix::process::parent_id() != parent {
        // It died before it could be waited for.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) })?;
    // SAFETY: written by the call above.
    let mut limit = unsafe { limit.assume_init() };
    limit.rlim_cur = limit.rlim_cur.min(OPEN_FILES);
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(())
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes numbers.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: takes numbers.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}
