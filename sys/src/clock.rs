//! The boot clock, and a timer on it that a poller can wait for.
//!
//! Not wall time: nothing in the system asks what o'clock it is to decide.

use crate::syscall::{check, check_len, owned, uninterrupted};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use trunnion_core::time::Instant;

const NANOS: u64 = 1_000_000_000;

/// Now, by `CLOCK_BOOTTIME`: monotonic, and it counts through suspend
/// (clock_gettime(2)).
///
/// # Panics
/// On a kernel without that clock (before Linux 2.6.39).
#[must_use]
pub fn boottime() -> Instant {
    read(libc::CLOCK_BOOTTIME)
}

/// Now, by one of the kernel's clocks that start at boot.
pub(crate) fn read(clock: libc::clockid_t) -> Instant {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel writes one timespec where we say.
    let result = unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) };
    assert!(result == 0, "this kernel has no clock {clock}");
    // SAFETY: the call succeeded, so it was written.
    let now = unsafe { now.assume_init() };
    // Neither part is negative: the clock starts at boot.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(NANOS).saturating_add(nanos))
}

/// The boot clock of one loop, which never goes back, whatever a hypervisor's
/// counters do.
#[derive(Debug, Default)]
pub struct Clock {
    last: Instant,
    steps_back: u64,
}

impl Clock {
    /// A clock that has not been read.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last: Instant::ZERO,
            steps_back: 0,
        }
    }

    /// Now, and not before any instant it returned before.
    pub fn now(&mut self) -> Instant {
        self.read(boottime())
    }

    /// How often the kernel's clock was behind an earlier reading. More than 0
    /// means a broken machine.
    #[must_use]
    pub const fn steps_back(&self) -> u64 {
        self.steps_back
    }

    fn read(&mut self, now: Instant) -> Instant {
        if now < self.last {
            self.steps_back = self.steps_back.saturating_add(1);
        } else {
            self.last = now;
        }
        self.last
    }
}

/// A timerfd on `CLOCK_BOOTTIME` with absolute deadlines (timerfd_create(2)).
/// Readable from its deadline until [`TimerFd::ack`] or the next
/// [`TimerFd::arm`]. Non-blocking; allocates nothing.
#[derive(Debug)]
pub struct TimerFd {
    fd: OwnedFd,
}

impl TimerFd {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes two numbers; returns a descriptor that is ours, or -1.
        let fd = unsafe {
            owned(libc::timerfd_create(
                libc::CLOCK_BOOTTIME,
                libc::TFD_NONBLOCK | libc::TFD_CLOEXEC,
            ))
        }?;
        Ok(Self { fd })
    }

    /// Sets the one deadline, in place of any before; `None` disarms. A
    /// deadline in the past fires at once. The kernel never fires early.
    ///
    /// # Errors
    /// None that a valid timer can meet.
    pub fn arm(&self, deadline: Option<Instant>) -> io::Result<()> {
        // 0 would disarm: boot itself is long past, and so is 1 ns after it.
        let nanos = deadline.map_or(0, |deadline| deadline.as_nanos().max(1));
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(nanos / NANOS).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(nanos % NANOS).unwrap_or(0),
        };
        let spec = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        // SAFETY: the kernel reads one itimerspec; a null old value is allowed.
        check(unsafe {
            libc::timerfd_settime(
                self.fd.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &raw const spec,
                std::ptr::null_mut(),
            )
        })?;
        Ok(())
    }

    /// Takes the expiry, so that the timer is not readable any more. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// None that a valid timer can meet.
    pub fn ack(&self) -> io::Result<bool> {
        let mut count = 0_u64;
        let read = uninterrupted(|| {
            // SAFETY: the kernel writes at most the 8 bytes of `count`.
            check_len(unsafe {
                libc::read(
                    self.fd.as_raw_fd(),
                    (&raw mut count).cast(),
                    size_of::<u64>(),
                )
            })
        });
        match read {
            Ok(_) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunnion_core::time::Duration;

    /// Waits until the timer is readable, at most `limit`.
    fn readable(timer: &TimerFd, limit: Duration) -> bool {
        let mut poll = libc::pollfd {
            fd: timer.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let limit = libc::c_int::try_from(limit.as_millis()).unwrap();
        // SAFETY: one pollfd.
        unsafe { libc::poll(&raw mut poll, 1, limit) == 1 }
    }

    #[test]
    fn the_clock_runs() {
        let before = boottime();
        std::thread::sleep(Duration::from_millis(2));
        assert!(boottime().since(before) >= Duration::from_millis(2));
    }

    #[test]
    fn the_loops_clock_never_goes_back() {
        let mut clock = Clock::new();
        assert_eq!(clock.read(Instant::from_nanos(5)), Instant::from_nanos(5));
        assert_eq!(clock.read(Instant::from_nanos(3)), Instant::from_nanos(5));
        assert_eq!(clock.read(Instant::from_nanos(6)), Instant::from_nanos(6));
        assert_eq!(clock.steps_back(), 1);
        assert!(clock.now() > Instant::from_nanos(6));
    }

    #[test]
    fn fires_at_its_deadline_and_never_before() {
        let timer = TimerFd::new().unwrap();
        assert!(!timer.ack().unwrap(), "not armed");
        let deadline = boottime() + Duration::from_millis(20);
        timer.arm(Some(deadline)).unwrap();
        assert!(!timer.ack().unwrap() || boottime() >= deadline);
        assert!(readable(&timer, Duration::from_secs(10)));
        assert!(boottime() >= deadline);
        assert!(timer.ack().unwrap());
        assert!(!timer.ack().unwrap(), "one expiry, one ack");
        assert!(!readable(&timer, Duration::ZERO));
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once() {
        let timer = TimerFd::new().unwrap();
        for past in [Instant::ZERO, Instant::from_nanos(1), boottime()] {
            timer.arm(Some(past)).unwrap();
            assert!(readable(&timer, Duration::from_secs(10)), "{past}");
            assert!(timer.ack().unwrap());
        }
    }

    #[test]
    fn rearming_and_disarming_take_a_due_expiry_back() {
        let timer = TimerFd::new().unwrap();
        timer.arm(Some(Instant::ZERO)).unwrap();
        assert!(readable(&timer, Duration::from_secs(10)));
        timer.arm(Some(Instant::FAR)).unwrap();
        assert!(!readable(&timer, Duration::from_millis(5)));
        timer.arm(Some(Instant::ZERO)).unwrap();
        assert!(readable(&timer, Duration::from_secs(10)));
        timer.arm(None).unwrap();
        assert!(!readable(&timer, Duration::from_millis(5)));
        assert!(!timer.ack().unwrap());
    }
}
