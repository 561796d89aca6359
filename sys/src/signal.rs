//! Signals as a file descriptor: no handler, no half-done system call.

use crate::syscall::{check, check_len, owned, uninterrupted};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A signal's number (signal(7)). Open.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub libc::c_int);

impl Signal {
    /// Stop, and say goodbye first.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// The same, from a terminal.
    pub const INT: Self = Self(libc::SIGINT);
    /// Read the config again.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// For the daemon's own use.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// For the daemon's own use.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// A child ended.
    pub const CHLD: Self = Self(libc::SIGCHLD);
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TERM => f.pad("SIGTERM"),
            Self::INT => f.pad("SIGINT"),
            Self::HUP => f.pad("SIGHUP"),
            Self::USR1 => f.pad("SIGUSR1"),
            Self::USR2 => f.pad("SIGUSR2"),
            Self::CHLD => f.pad("SIGCHLD"),
            Self(other) => write!(f, "signal {other}"),
        }
    }
}

/// A signalfd (signalfd(2)): readable while one of its signals is pending.
/// Non-blocking; allocates nothing.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks `signals` in the calling thread and collects them here instead.
    /// Threads started later inherit the block, so call this before the first:
    /// a thread that does not block a signal may be killed by it. So do child
    /// processes: unblock in them, or see [`unblock_all`].
    ///
    /// # Errors
    /// `EINVAL` for a number that is no signal; `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initializes the whole set.
        check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
        // SAFETY: initialized by the line above.
        let mut set = unsafe { set.assume_init() };
        for Signal(number) in signals {
            // SAFETY: a valid set; a bad number is answered with EINVAL.
            check(unsafe { libc::sigaddset(&raw mut set, *number) })?;
        }
        mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: the kernel reads the set; returns a descriptor that is ours.
        let fd = unsafe {
            owned(libc::signalfd(
                -1,
                &raw const set,
                libc::SFD_NONBLOCK | libc::SFD_CLOEXEC,
            ))
        }?;
        Ok(Self { fd })
    }

    /// Takes the next pending signal; `None` when there is none. Signals of one
    /// number that came before it was taken are one.
    ///
    /// # Errors
    /// None that a valid descriptor can meet.
    pub fn read(&self) -> io::Result<Option<Signal>> {
        const BYTES: usize = size_of::<libc::signalfd_siginfo>();
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let read = uninterrupted(|| {
            // SAFETY: the kernel writes at most one signalfd_siginfo.
            check_len(unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), BYTES) })
        });
        match read {
            Ok(BYTES) => {
                // SAFETY: the kernel wrote all of it.
                let number = unsafe { info.assume_init() }.ssi_signo;
                Ok(libc::c_int::try_from(number).ok().map(Signal))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Unblocks every signal of the calling thread: for a child process between
/// fork and exec, which inherits the mask. Async-signal-safe.
///
/// # Errors
/// None.
pub fn unblock_all() -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initializes the whole set.
    check(unsafe { libc::sigfillset(set.as_mut_ptr()) })?;
    // SAFETY: initialized by the line above.
    mask(libc::SIG_UNBLOCK, unsafe { set.assume_init_ref() })
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: reads one set; a null old set is allowed.
    let result = unsafe { libc::pthread_sigmask(how, &raw const *set, std::ptr::null_mut()) };
    // Returns the error instead of setting errno.
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(signal: Signal) {
        // SAFETY: sends to the calling thread, which blocks it.
        assert_eq!(unsafe { libc::raise(signal.0) }, 0);
    }

    #[test]
    fn signals_come_out_in_order_of_number_and_once_each() {
        let signals =
            Signals::new(&[Signal::TERM, Signal::HUP, Signal::INT, Signal::USR1]).unwrap();
        assert_eq!(signals.read().unwrap(), None);
        raise(Signal::TERM);
        raise(Signal::HUP);
        raise(Signal::HUP);
        raise(Signal::INT);
        let mut seen = Vec::new();
        while let Some(signal) = signals.read().unwrap() {
            seen.push(signal);
        }
        assert_eq!(seen, [Signal::HUP, Signal::INT, Signal::TERM]);
        raise(Signal::USR1);
        assert_eq!(signals.read().unwrap(), Some(Signal::USR1));
        assert_eq!(signals.read().unwrap(), None);
    }

    #[test]
    fn threads_inherit_the_block() {
        let signals = Signals::new(&[Signal::USR2]).unwrap();
        std::thread::spawn(|| raise(Signal::USR2)).join().unwrap();
        // It was sent to that thread, which did not die of it.
        assert_eq!(signals.read().unwrap(), None);
    }

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        let error = Signals::new(&[Signal(4096)]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(
            format!("{:?} {:?}", Signal::TERM, Signal(40)),
            "SIGTERM signal 40"
        );
    }
}
