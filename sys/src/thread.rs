//! What a loop's thread asks of the kernel: priority, memory that stays, timers
//! without slack, a name, and enough descriptors.
//!
//! Every request may be refused; the refusal says what the operator can do
//! about it, and what happens without.

use crate::syscall::check;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;

/// The kernel refused something that makes the node better but that it can run
/// without.
#[derive(Debug)]
pub struct Refused {
    /// What was asked for.
    pub what: &'static str,
    /// The kernel's answer.
    pub error: io::Error,
    /// What to do about it, and what happens without.
    pub remedy: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            error,
            remedy,
        } = self;
        write!(f, "{what}: {error}; {remedy}")
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Runs the calling thread under `SCHED_FIFO` at `priority` (1 to 99, 99 is
/// most urgent; sched(7)). Threads and processes it starts do not inherit that.
///
/// # Errors
/// [`Refused`] with `EPERM` without `CAP_SYS_NICE` and below `RLIMIT_RTPRIO`,
/// or in a cgroup without realtime budget; `EINVAL` outside 1 to 99.
pub fn realtime(priority: u8) -> Result<(), Refused> {
    let param = libc::sched_param {
        sched_priority: priority.into(),
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: reads one sched_param; 0 is the calling thread.
    match check(unsafe { libc::sched_setscheduler(0, policy, &raw const param) }) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refused {
            what: "no realtime priority",
            error,
            remedy: "grant CAP_SYS_NICE or set LimitRTPRIO=; without it a busy machine can delay \
                     adverts and cause a needless failover",
        }),
    }
}

/// Locks the process's memory, present and future, into RAM (mlockall(2)), so
/// that no page of it has to be read back when it is needed.
///
/// # Errors
/// [`Refused`] without `CAP_IPC_LOCK` unless `RLIMIT_MEMLOCK` is unlimited:
/// under a limit the lock might succeed, and a later allocation fail for it.
pub fn lock_memory() -> Result<(), Refused> {
    lock(libc::MCL_CURRENT | libc::MCL_FUTURE)
}

/// Locks what the process has in memory, and what it touches from here on when
/// it touches it (`MCL_ONFAULT`): for a small process of a large program, most
/// of whose code it never runs. Touch beforehand what must not fault later.
///
/// # Errors
/// As [`lock_memory`].
pub fn lock_touched_memory() -> Result<(), Refused> {
    lock(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT)
}

/// Sets the calling thread's timer slack to 1 ns, the least there is, where
/// the default lets every wait end 50 us late (PR_SET_TIMERSLACK,
/// prctl(2)). Without meaning for realtime threads, which have none.
///
/// # Errors
/// None on Linux since 2.6.28.
pub fn no_timer_slack() -> io::Result<()> {
    const SLACK_NS: libc::c_ulong = 1;
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) })?;
    Ok(())
}

/// Names the calling thread for `top -H` and friends: at most 15 bytes, the
/// rest is cut off (PR_SET_NAME, prctl(2)).
///
/// # Errors
/// None on Linux.
pub fn set_name(name: &str) -> io::Result<()> {
    let mut text = [0_u8; 16];
    // The last byte stays NUL.
    for (to, from) in text.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: the kernel reads at most 16 bytes up to a NUL.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) })?;
    Ok(())
}

/// Raises the process's limit of open descriptors to `wanted`, or as far as it
/// may be raised, and returns what it is then. Never lowers it.
///
/// # Errors
/// None on Linux; a limit below `wanted` is not an error, but the caller's to
/// tell.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let mut limit = rlimit(libc::RLIMIT_NOFILE)?;
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    // Above the hard limit needs CAP_SYS_RESOURCE, and fs.nr_open allowing it.
    let above = libc::rlimit {
        rlim_cur: wanted,
        rlim_max: limit.rlim_max.max(wanted),
    };
    if set_rlimit(libc::RLIMIT_NOFILE, &above).is_ok() {
        return Ok(wanted);
    }
    limit.rlim_cur = limit.rlim_max.min(wanted);
    set_rlimit(libc::RLIMIT_NOFILE, &limit)?;
    Ok(limit.rlim_cur)
}

fn lock(how: libc::c_int) -> Result<(), Refused> {
    let refused = |error| Refused {
        what: "memory is not locked",
        error,
        remedy: "grant CAP_IPC_LOCK or set LimitMEMLOCK=infinity; without it a machine that swaps \
                 can delay adverts and cause a needless failover",
    };
    if !unlimited_memlock().map_err(refused)? && !has_capability(CAP_IPC_LOCK).map_err(refused)? {
        return Err(refused(io::Error::from_raw_os_error(libc::EPERM)));
    }
    // SAFETY: takes a number, changes nothing a program can observe but time.
    match check(unsafe { libc::mlockall(how) }) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}

fn unlimited_memlock() -> io::Result<bool> {
    Ok(rlimit(libc::RLIMIT_MEMLOCK)?.rlim_cur == libc::RLIM_INFINITY)
}

fn rlimit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel writes one rlimit.
    check(unsafe { libc::getrlimit(resource, limit.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it was written.
    Ok(unsafe { limit.assume_init() })
}

fn set_rlimit(resource: libc::__rlimit_resource_t, limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: the kernel reads one rlimit.
    check(unsafe { libc::setrlimit(resource, &raw const *limit) })?;
    Ok(())
}

/// linux/capability.h.
const CAP_IPC_LOCK: u32 = 14;

/// Whether the process has a capability, by `CapEff` in /proc/self/status.
fn has_capability(capability: u32) -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    Ok(effective >> capability & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread of its own, so that a test changes no other.
    fn apart(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    fn status(field: &str) -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        String::from(line.unwrap().split_once(':').unwrap().1.trim())
    }

    #[test]
    fn realtime_is_what_the_kernel_says_it_is() {
        apart(|| {
            let result = realtime(5);
            // SAFETY: takes a number.
            let policy = unsafe { libc::sched_getscheduler(0) };
            match result {
                Ok(()) => assert_eq!(policy, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK),
                Err(refused) => {
                    assert_eq!(policy, libc::SCHED_OTHER);
                    assert!(refused.to_string().contains("LimitRTPRIO"), "{refused}");
                }
            }
        });
    }

    #[test]
    fn a_priority_that_is_none_is_refused() {
        for priority in [0, 100] {
            let refused = realtime(priority).unwrap_err();
            assert_eq!(refused.error.raw_os_error(), Some(libc::EINVAL));
            assert!(refused.to_string().starts_with("no realtime priority: "));
        }
    }

    #[test]
    fn memory_is_locked_or_the_refusal_says_what_to_do() {
        match lock_memory() {
            Ok(()) => {
                assert_ne!(status("VmLck"), "0 kB");
                // SAFETY: no arguments.
                assert_eq!(unsafe { libc::munlockall() }, 0);
            }
            Err(refused) => {
                assert_eq!(status("VmLck"), "0 kB");
                assert!(refused.to_string().contains("LimitMEMLOCK"), "{refused}");
            }
        }
    }

    #[test]
    fn timers_lose_their_slack_and_threads_get_their_name() {
        apart(|| {
            no_timer_slack().unwrap();
            // SAFETY: takes a number.
            assert_eq!(unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }, 1);
            set_name("ha").unwrap();
            assert_eq!(status("Name"), "ha");
            set_name("a-name-of-more-than-fifteen-bytes").unwrap();
            assert_eq!(status("Name"), "a-name-of-more-");
        });
    }

    #[test]
    fn open_files_are_raised_and_never_lowered() {
        let before = rlimit(libc::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_open_files(1).unwrap(), before.rlim_cur);
        let got = raise_open_files(before.rlim_cur + 1).unwrap();
        assert_eq!(got, rlimit(libc::RLIMIT_NOFILE).unwrap().rlim_cur);
        assert!(got >= before.rlim_cur);
        assert!(got > before.rlim_cur || before.rlim_cur == before.rlim_max);
    }
}
