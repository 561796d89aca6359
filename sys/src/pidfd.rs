//! A process by a descriptor, which means that one process for ever: a number
//! is given to another once its process is gone (pidfd_open(2)).

use crate::syscall::{check, owned, uninterrupted};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// See the module's words. Readable once the process has ended, though perhaps
/// not reaped; allocates nothing.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// The process that has this number now: one's own child that was not
    /// waited for, or else a guess.
    ///
    /// # Errors
    /// `ESRCH` when there is none; `ENOSYS` before Linux 5.3; `EMFILE`,
    /// `ENFILE`, `ENOMEM`.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid =
            libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        // SAFETY: takes two numbers; returns a descriptor that is ours, or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: what the call has just returned, and nothing else has it.
        let fd = unsafe { owned(fd) }?;
        Ok(Self { fd })
    }

    /// The process that started this one; `None` when it has ended already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_parent() -> io::Result<Option<Self>> {
        let parent = std::os::unix::process::parent_id();
        let opened = match Self::open(parent) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            opened => opened?,
        };
        // It was still ours when its number was looked up, or it was not it.
        let same = std::os::unix::process::parent_id() == parent;
        Ok(same.then_some(opened))
    }

    /// Whether the process has ended.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn has_ended(&self) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, which the kernel writes to.
        let ready = uninterrupted(|| check(unsafe { libc::poll(&raw mut poll, 1, 0) }))?;
        Ok(ready > 0)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_that_ends_is_seen_before_it_is_reaped() {
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let process = PidFd::open(child.id()).unwrap();
        assert!(!process.has_ended().unwrap());
        drop(child.stdin.take());
        while !process.has_ended().unwrap() {
            std::thread::yield_now();
        }
        assert!(child.wait().unwrap().success());
        assert!(process.has_ended().unwrap());
        let gone = PidFd::open(child.id()).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn the_parent_lives() {
        let parent = PidFd::of_parent().unwrap().unwrap();
        assert!(!parent.has_ended().unwrap());
    }

    #[test]
    fn a_number_that_is_no_process_is_refused() {
        for pid in [u32::MAX, 1 << 30] {
            let error = PidFd::open(pid).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        }
    }
}
