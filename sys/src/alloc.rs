//! The global allocator that notices a sealed thread.
//!
//! Memory is taken at start; then a loop's thread calls [`seal`], and every
//! allocation it makes from there on is counted, or in tests ([`deny`]) ends
//! the process with the place it was made at. It hands out the system's memory
//! and nothing else: no arenas, no statistics of size.
//!
//! ```
//! use trunnion_sys::alloc::{self, SealedAlloc};
//!
//! #[global_allocator]
//! static ALLOC: SealedAlloc = SealedAlloc;
//!
//! let table = vec![0_u8; 4096];
//! let thread = alloc::seal();
//! assert_eq!(thread.allocations(), 0);
//! alloc::exempt(|| drop(String::from("tls")));
//! assert_eq!(alloc::allocations_after_seal(), 0);
//! # drop(table);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Sealed threads counted apart; those after them share the last count.
pub const THREADS_MAX: usize = 8;

/// The allocator: [`System`], with an eye on sealed threads. Install it with
/// `#[global_allocator]`; without that nothing is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct SealedAlloc;

static COUNTS: [Counts; THREADS_MAX] = [const { Counts::new() }; THREADS_MAX];
static SEALED: AtomicUsize = AtomicUsize::new(0);
static DENY: AtomicBool = AtomicBool::new(false);

/// What the sealed threads did; a cache line each, since each has one writer.
#[derive(Debug)]
#[repr(align(64))]
struct Counts {
    allocations: AtomicU64,
    frees: AtomicU64,
    exempted: AtomicU64,
}

impl Counts {
    const fn new() -> Self {
        Self {
            allocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            exempted: AtomicU64::new(0),
        }
    }
}

thread_local! {
    // Const and without a destructor: reading it never allocates, and it can be
    // read while the thread ends.
    static OWN: Cell<Option<&'static Counts>> = const { Cell::new(None) };
    // The same, while the thread is behind the door.
    static DOOR: Cell<Option<&'static Counts>> = const { Cell::new(None) };
}

/// A sealed thread's counts, to be read from any thread.
#[derive(Clone, Copy, Debug)]
pub struct SealedThread(&'static Counts);

impl SealedThread {
    /// Allocations since its seal: `alloc`, `alloc_zeroed` and `realloc`.
    #[must_use]
    pub fn allocations(self) -> u64 {
        self.0.allocations.load(Relaxed)
    }

    /// Allocations since its seal in work that is [exempt].
    #[must_use]
    pub fn exempted(self) -> u64 {
        self.0.exempted.load(Relaxed)
    }

    /// Frees since its seal. Not a fault by itself, but memory that was taken
    /// before the seal should still be needed.
    #[must_use]
    pub fn frees(self) -> u64 {
        self.0.frees.load(Relaxed)
    }
}

/// Seals the calling thread: from here on its allocations are counted, or
/// denied. Sealing twice is the same as once.
pub fn seal() -> SealedThread {
    if let Some(counts) = OWN.get() {
        return SealedThread(counts);
    }
    let index = SEALED.fetch_add(1, Relaxed).min(THREADS_MAX - 1);
    let counts = &COUNTS[index];
    OWN.set(Some(counts));
    SealedThread(counts)
}

/// Unseals the calling thread, to take down at the end what was built at the
/// start.
pub fn unseal() {
    OWN.set(None);
}

/// Whether the calling thread is sealed.
#[must_use]
pub fn is_sealed() -> bool {
    OWN.get().is_some()
}

/// Runs `work` as if the calling thread were not sealed: for the one named
/// exception, a TLS library on its side of a door. What it takes is counted
/// apart.
pub fn exempt<R>(work: impl FnOnce() -> R) -> R {
    struct Again(Option<&'static Counts>);
    impl Drop for Again {
        fn drop(&mut self) {
            DOOR.set(None);
            OWN.set(self.0);
        }
    }
    let own = OWN.replace(None);
    DOOR.set(own.or(DOOR.get()));
    let _again = Again(own);
    work()
}

/// Keeps what is freed for what is asked for next, instead of giving it back to
/// the kernel (mallopt(3)): what a reload needs was freed by the one before. No
/// page of it is faulted in anew, and no loop waits for the lock on the map of
/// the process's memory, which every mmap and munmap takes. Call it first, and
/// [`give_back`] when nothing is asked for for a while.
///
/// Without effect where malloc is not glibc's.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    {
        /// What versions of glibc that have a limit take at most.
        const THRESHOLD_BYTES: libc::c_int = 32 * 1024 * 1024;
        // SAFETY: sets a number of malloc's own, for which it takes its lock.
        let set = |option, value| unsafe { libc::mallopt(option, value) } == 1;
        if !set(libc::M_MMAP_THRESHOLD, libc::c_int::MAX) {
            set(libc::M_MMAP_THRESHOLD, THRESHOLD_BYTES);
        }
        set(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// Gives back to the kernel whatever whole pages are free (malloc_trim(3)), but
/// for those that are [locked](crate::thread::lock_memory). Takes a while; others
/// that allocate wait for it.
///
/// Without effect where malloc is not glibc's.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number; it frees nothing that is in use, and takes malloc's
    // locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// From here on an allocation of a sealed thread prints its size and a
/// backtrace and aborts the process, unless that thread is panicking already.
/// For tests. There is no way back.
pub fn deny() {
    DENY.store(true, Relaxed);
}

/// Allocations of all sealed threads since their seals.
#[must_use]
pub fn allocations_after_seal() -> u64 {
    COUNTS.iter().map(|c| c.allocations.load(Relaxed)).sum()
}

/// Frees of all sealed threads since their seals.
#[must_use]
pub fn frees_after_seal() -> u64 {
    COUNTS.iter().map(|c| c.frees.load(Relaxed)).sum()
}

// SAFETY: every call goes to `System` with the caller's own arguments, and its
// answer goes back unchanged; counting touches only atomics and a const
// thread-local, so it neither allocates nor unwinds.
unsafe impl GlobalAlloc for SealedAlloc {
    /// # Safety
    /// As [`GlobalAlloc::alloc`].
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: the caller's promises are System's conditions.
        unsafe { System.alloc(layout) }
    }

    /// # Safety
    /// As [`GlobalAlloc::alloc_zeroed`].
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: the caller's promises are System's conditions.
        unsafe { System.alloc_zeroed(layout) }
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        allocated(new_size);
        // SAFETY: the caller's promises are System's conditions, and `ptr` came
        // from System through us.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if let Some(counts) = OWN.get() {
            counts.frees.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller's promises are System's conditions, and `ptr` came
        // from System through us.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[inline]
fn allocated(bytes: usize) {
    if let Some(counts) = OWN.get() {
        counts.allocations.fetch_add(1, Relaxed);
        if DENY.load(Relaxed) {
            denied(bytes);
        }
    } else if let Some(counts) = DOOR.get() {
        counts.exempted.fetch_add(1, Relaxed);
    }
}

#[cold]
fn denied(bytes: usize) {
    // A panic allocates; it has something better to say than we do.
    if std::thread::panicking() {
        return;
    }
    // What follows may allocate.
    unseal();
    let mut text = Text {
        bytes: [0; 128],
        len: 0,
    };
    // The first words must come out even where a backtrace cannot be made.
    let _ = writeln!(
        text,
        "trunnion: a sealed thread allocated {bytes} bytes; take them before the seal, at:"
    );
    // SAFETY: reads `len` bytes of an array that holds as many.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, text.bytes.as_ptr().cast(), text.len) };
    eprintln!("{}", std::backtrace::Backtrace::force_capture());
    std::process::abort();
}

/// Formats into a fixed array, and cuts off the rest.
struct Text {
    bytes: [u8; 128],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for (to, from) in self.bytes[self.len..].iter_mut().zip(s.bytes()) {
            *to = from;
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::sync::Mutex;

    #[global_allocator]
    static ALLOC: SealedAlloc = SealedAlloc;

    /// The counts are the process's: one test at a time.
    static ONE: Mutex<()> = Mutex::new(());

    /// Runs on a thread of its own, so that no test leaves a seal behind.
    fn apart(test: impl FnOnce() + Send + 'static) {
        let _one = ONE.lock().unwrap_or_else(|poison| poison.into_inner());
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn every_way_to_allocate_is_counted_once() {
        apart(|| {
            let mut kept = Vec::<u64>::with_capacity(1);
            let given_up = Box::new(7_u64);
            let thread = seal();
            let (a, f) = (thread.allocations(), thread.frees());
            let all = allocations_after_seal();
            let boxed = black_box(Box::new(1_u64));
            assert_eq!(thread.allocations() - a, 1, "alloc");
            let zeroed = black_box(vec![0_u8; 100]);
            assert_eq!(thread.allocations() - a, 2, "alloc_zeroed");
            kept.push(1);
            assert_eq!(thread.allocations() - a, 2, "there was room");
            kept.push(2);
            assert_eq!(thread.allocations() - a, 3, "realloc");
            assert_eq!(thread.frees() - f, 0);
            drop((boxed, zeroed, given_up));
            assert_eq!(thread.frees() - f, 3);
            assert_eq!(allocations_after_seal() - all, 3);
            drop(kept);
            assert_eq!(thread.frees() - f, 4);
            unseal();
        });
    }

    #[test]
    fn other_threads_and_exempted_work_are_not() {
        apart(|| {
            let (ask, asked) = std::sync::mpsc::sync_channel::<()>(1);
            let other = std::thread::spawn(move || {
                asked.recv().unwrap();
                assert!(!is_sealed());
                black_box(vec![1; 1000]).len()
            });
            let thread = seal();
            let again = seal();
            let before = thread.allocations();
            ask.send(()).unwrap();
            let done = exempt(|| other.join().unwrap() + black_box(vec![1; 10]).len());
            assert_eq!(done, 1010);
            assert!(is_sealed());
            assert_eq!(again.allocations(), before);
            let caught = std::panic::catch_unwind(|| {
                exempt(|| std::panic::resume_unwind(Box::new(())));
            });
            assert!(caught.is_err() && is_sealed(), "sealed again after a panic");
            unseal();
            assert!(!is_sealed());
        });
    }

    #[test]
    fn what_a_loop_calls_allocates_nothing() {
        use crate::clock::{Clock, TimerFd};
        use crate::netlink::{Protocol, Socket};
        use crate::notify::Notify;
        use crate::signal::{Signal, Signals};
        use crate::slate::{Slate, WORDS};
        apart(|| {
            let path = std::env::temp_dir().join(format!("sealed-{}", std::process::id()));
            let (mut slate, _) = Slate::open(&path, 1, 1, 4).unwrap();
            let mut clock = Clock::new();
            let timer = TimerFd::new().unwrap();
            let signals = Signals::new(&[Signal::USR1]).unwrap();
            let notify = Notify::to(b"@nobody-listens-here").unwrap();
            let netlink = Socket::open(Protocol::Route, &[]).unwrap();
            let mut buf = [0; 64];

            let thread = seal();
            let before = (thread.allocations(), thread.frees());
            timer.arm(Some(clock.now())).unwrap();
            let _ = timer.ack().unwrap();
            timer.arm(None).unwrap();
            assert_eq!(signals.read().unwrap(), None);
            assert!(slate.write(3, [7; WORDS]) && slate.read(3).is_some());
            assert!(notify.watchdog().is_err());
            assert!(notify.status(format_args!("{}", 7)).is_err());
            assert!(netlink.receive(&mut buf).unwrap().is_none());
            let after = (thread.allocations(), thread.frees());
            unseal();
            std::fs::remove_file(&path).unwrap();
            assert_eq!(after, before);
        });
    }

    #[test]
    fn more_threads_than_counts_share_the_last() {
        for _ in 0..THREADS_MAX + 2 {
            apart(|| {
                let thread = seal();
                let before = thread.allocations();
                drop(black_box(Box::new(1)));
                assert_eq!(thread.allocations() - before, 1);
            });
        }
    }

    /// Not a test by itself: the process that
    /// `denial_ends_the_process_and_says_where` watches.
    #[test]
    fn denied_in_a_process_of_its_own() {
        let Ok(act) = std::env::var("TRUNNION_DENIED") else {
            return;
        };
        seal();
        deny();
        if act == "panic" {
            let caught = std::panic::catch_unwind(|| panic!("spoken panic"));
            unseal();
            assert!(caught.is_err());
        }
        if act == "allocate" {
            black_box(Box::new([0_u8; 4321]));
        }
        unseal();
    }

    #[test]
    fn denial_ends_the_process_and_says_where() {
        let run = |act: &str| {
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture", "--test-threads=1"])
                .arg("alloc::tests::denied_in_a_process_of_its_own")
                .env("TRUNNION_DENIED", act)
                .output()
                .unwrap();
            (
                output.status,
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        };
        let (status, text) = run("allocate");
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{text}");
        assert!(text.contains("allocated 4321 bytes"), "{text}");
        assert!(text.contains("denied_in_a_process_of_its_own"), "{text}");
        let (status, text) = run("nothing");
        assert!(status.success(), "{text}");
        let (status, text) = run("panic");
        assert!(status.success(), "{text}");
        assert!(text.contains("spoken panic"), "a panic may speak: {text}");
    }
}
