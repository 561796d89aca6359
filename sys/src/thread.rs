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

/// Locks the process's memory into RAM (mlock(2)), so that no page of it has to
/// be read back when it is needed: what it has touched, what it touches from here
/// on, and all that is mapped of files, its program and libraries, whose pages are
/// read in now. What is taken and never touched costs nothing.
///
/// # Errors
/// [`Refused`] without `CAP_IPC_LOCK` unless `RLIMIT_MEMLOCK` is unlimited:
/// under a limit the lock might succeed, and a later allocation fail for it.
pub fn lock_memory() -> Result<(), Refused> {
    lock_touched_memory()?;
    read_in_files().map_err(unlocked)
}

/// The same without what is mapped of files: for a small process of a large
/// program, most of whose code it never runs. Touch beforehand what must not
/// fault later.
///
/// # Errors
/// As [`lock_memory`].
pub fn lock_touched_memory() -> Result<(), Refused> {
    let may_lock = || Ok(unlimited_memlock()? || has_capability(CAP_IPC_LOCK)?);
    if !may_lock().map_err(unlocked)? {
        return Err(unlocked(io::Error::from_raw_os_error(libc::EPERM)));
    }
    let how = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: takes a number, changes nothing a program can observe but time.
    match check(unsafe { libc::mlockall(how) }) {
        Ok(_) => Ok(()),
        Err(error) => Err(unlocked(error)),
    }
}

/// Touches the next so many bytes of the calling thread's stack, as many as it has
/// to have: what it calls later finds its pages there.
#[inline(never)]
pub fn touch_stack<const BYTES: usize>() {
    let mut room = [0_u8; BYTES];
    std::hint::black_box(&mut room);
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

const fn unlocked(error: io::Error) -> Refused {
    Refused {
        what: "memory is not locked",
        error,
        remedy: "grant CAP_IPC_LOCK or set LimitMEMLOCK=infinity; without it a machine that swaps \
                 can delay adverts and cause a needless failover",
    }
}

/// Reads in and locks what is mapped of files, by /proc/self/maps (proc(5)).
fn read_in_files() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, len) in maps.lines().filter_map(mapped_file) {
        // SAFETY: locking changes nothing a program can observe but time,
        // whatever is at the address.
        check(unsafe { libc::mlock(std::ptr::without_provenance(start), len) })?;
    }
    Ok(())
}

/// Where a line of /proc/self/maps has a readable part of a file, and its length.
fn mapped_file(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let readable = words.next()?.starts_with('r');
    let is_file = words.nth(3)?.starts_with('/');
    let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).ok());
    let (start, end) = (start?, end?);
    (readable && is_file).then_some((start, end.checked_sub(start)?))
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
    fn files_are_found_in_the_map() {
        let line = |of: &str| mapped_file(of);
        let text = "7f10-7f30 r-xp 00001000 08:01 77   /usr/lib/a b.so";
        assert_eq!(line(text), Some((0x7f10, 0x20)));
        assert_eq!(line(&text.replace("r-xp", "---p")), None);
        assert_eq!(line("7f10-7f30 rw-p 00000000 00:00 0"), None);
        assert_eq!(line("7f10-7f30 rw-p 00000000 00:00 0   [heap]"), None);
    }

    /// KiB in memory of the mappings whose line of /proc/self/smaps has `of` in
    /// it, and KiB that they are long.
    fn resident_kib(of: &str) -> (u64, u64) {
        let (mut ours, mut sum) = (false, (0, 0));
        for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[0] {
                "Size:" if ours => sum.1 += words[1].parse::<u64>().unwrap(),
                "Rss:" if ours => sum.0 += words[1].parse::<u64>().unwrap(),
                name if !name.ends_with(':') => ours = line.contains(of),
                _ => {}
            }
        }
        sum
    }

    #[test]
    fn what_is_locked_is_the_program_and_what_was_touched() {
        const TAKEN_BYTES: usize = 256 << 20;
        let mut taken = vec![0_u8; TAKEN_BYTES];
        taken[TAKEN_BYTES / 2] = 1;
        let place = taken.as_ptr().addr();
        match lock_memory() {
            Ok(()) => {
                assert_ne!(status("VmLck"), "0 kB");
                let program = std::env::current_exe().unwrap();
                let (resident, size) = resident_kib(program.to_str().unwrap());
                assert!(size > 0 && resident == size, "{resident} of {size} KiB");
                let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
                let holds = |line: &&str| {
                    let (range, _) = line.split_once(' ').unwrap();
                    let (start, end) = range.split_once('-').unwrap();
                    let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16));
                    (start.unwrap()..end.unwrap()).contains(&place)
                };
                let line = maps.lines().find(holds).unwrap();
                let (resident, size) = resident_kib(line.split_once(' ').unwrap().0);
                assert!(size >= 256 << 10 && resident < 64 << 10, "{resident} KiB");
                // SAFETY: no arguments.
                assert_eq!(unsafe { libc::munlockall() }, 0);
            }
            Err(refused) => {
                assert_eq!(status("VmLck"), "0 kB");
                assert!(refused.to_string().contains("LimitMEMLOCK"), "{refused}");
            }
        }
        drop(taken);
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
