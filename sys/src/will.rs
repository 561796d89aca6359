//! What a process leaves to the one that acts for it after its death: shared
//! memory, and the moment.
//!
//! The testator writes its will whole into the one of two books that is not
//! current, then makes it current with one store: whoever reads after its death
//! reads a whole will, whenever that death came. Pulses, one word for each ward,
//! change in place between. What the words mean is the owners' to say.
//!
//! The moment is told by a robust futex (set_robust_list(2)): the kernel marks
//! it when the testator's thread begins to exit, before it takes the process's
//! memory and sockets apart. That takes tens of milliseconds, and only then is a
//! process id's descriptor readable or a socket's other end closed.
//!
//! Not a channel between the living: the executor reads when the testator is
//! dead.

mod shape;

pub use shape::Shape;

use crate::syscall::{check, owned};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

/// "guardian" in ASCII.
const MAGIC: u64 = u64::from_be_bytes(*b"guardian");
/// Header of the memory, words.
mod header {
    pub const MAGIC: usize = 0;
    pub const LAYOUT: usize = 1;
    /// Four words: a [`super::Shape`].
    pub const SHAPE: usize = 2;
    /// 0 for none, or 1 and the current book's number.
    pub const CURRENT: usize = 6;
    pub const DISMISSED: usize = 7;
    /// `struct robust_list_head` (futex.h): next, offset, pending.
    pub const ROBUST: usize = 8;
    /// `struct robust_list`, and the futex word behind it.
    pub const ENTRY: usize = 11;
    pub const FUTEX: usize = 12;
    /// For the owners.
    pub const NOTES: usize = 13;
    pub const WORDS: usize = 16;
}
/// Words of [`Will::note`].
pub const NOTES: usize = header::WORDS - header::NOTES;

/// The owner died (futex.h).
const OWNER_DIED: u32 = 0x4000_0000;
/// Somebody waits: the kernel wakes it.
const WAITERS: u32 = 0x8000_0000;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The testator's thread is gone.
    Died,
    /// It lives, as far as the futex tells: look again, by other means too.
    Alive,
}

/// See the module's words. Allocates nothing once made.
#[derive(Debug)]
pub struct Will {
    words: NonNull<AtomicU64>,
    len: usize,
    shape: Shape,
    fd: OwnedFd,
    /// The kernel has been told of places in it.
    bound: bool,
}

// SAFETY: the mapping belongs to no thread, and it is only touched through
// atomics.
unsafe impl Send for Will {}
// SAFETY: as above.
unsafe impl Sync for Will {}

impl Will {
    /// A will without a word, in memory that a child process may inherit by its
    /// descriptor. `layout` is the number of the words' meaning.
    ///
    /// # Errors
    /// `InvalidInput` for a shape of more than 2^24 words; those of
    /// memfd_create(2), ftruncate(2), mmap(2).
    pub fn create(shape: Shape, layout: u64) -> io::Result<Self> {
        let len = shape.len().ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: reads a name that ends in NUL; returns a descriptor that is
        // ours, or -1.
        let fd = unsafe {
            owned(libc::memfd_create(
                c"trunnion-will".as_ptr(),
                libc::MFD_CLOEXEC,
            ))
        }?;
        let bytes = libc::off_t::try_from(len * size_of::<u64>()).map_err(io::Error::other)?;
        // SAFETY: takes numbers; the descriptor is open.
        check(unsafe { libc::ftruncate(fd.as_raw_fd(), bytes) })?;
        let will = Self::map(fd, len, shape)?;
        will.set(header::LAYOUT, layout);
        for (at, part) in shape.parts().into_iter().enumerate() {
            will.set(header::SHAPE + at, part as u64);
        }
        will.set(header::MAGIC, MAGIC);
        Ok(will)
    }

    /// The will of the process that left this descriptor to ours.
    ///
    /// # Errors
    /// `InvalidData` when it is none of this layout; those of fstat(2), mmap(2).
    pub fn inherit(fd: OwnedFd, layout: u64) -> io::Result<Self> {
        let other = || io::Error::new(io::ErrorKind::InvalidData, "not a will of ours");
        let file = std::fs::File::from(fd);
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let len = bytes / size_of::<u64>();
        if len < header::WORDS {
            return Err(other());
        }
        let none = Shape::of([0; 4]);
        let mut will = Self::map(file.into(), len, none)?;
        let part = |at| usize::try_from(will.get(header::SHAPE + at)).unwrap_or(usize::MAX);
        let shape = Shape::of([part(0), part(1), part(2), part(3)]);
        let head = [will.get(header::MAGIC), will.get(header::LAYOUT)];
        if head != [MAGIC, layout] || shape.len() != Some(len) {
            return Err(other());
        }
        will.shape = shape;
        Ok(will)
    }

    /// How large it can be.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Makes the calling thread the testator: its end is what
    /// [`Self::wait`] waits for, however it comes.
    ///
    /// Takes the place of the C library's list of robust mutexes for this
    /// thread: it must hold none. The memory stays mapped from here on.
    ///
    /// # Errors
    /// `ENOSYS` on a kernel without futexes.
    pub fn bind(&mut self) -> io::Result<()> {
        self.bound = true;
        // SAFETY: returns a number.
        let tid = unsafe { libc::gettid() };
        let place = |at: usize| self.word(at).as_ptr() as u64;
        let distance = (header::FUTEX - header::ENTRY) * size_of::<u64>();
        self.set(header::ROBUST, place(header::ENTRY));
        self.set(header::ROBUST + 1, distance as u64);
        self.set(header::ROBUST + 2, 0);
        // The list is a ring of one.
        self.set(header::ENTRY, place(header::ROBUST));
        // SAFETY: a robust_list_head of three words, which lies in a mapping
        // that lives for ever, as does the entry it points to; the kernel reads
        // them when this thread exits, and writes the futex word.
        check_syscall(unsafe {
            libc::syscall(
                libc::SYS_set_robust_list,
                self.word(header::ROBUST).as_ptr(),
                3 * size_of::<u64>(),
            )
        })?;
        let owner = u32::try_from(tid).unwrap_or(0) | WAITERS;
        self.futex().store(owner, Ordering::Release);
        // SAFETY: wakes whoever waits for the word to change.
        check_syscall(unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.futex().as_ptr(),
                libc::FUTEX_WAKE,
                i32::MAX,
            )
        })
    }

    /// Says that the testator ends in peace, having done all by itself.
    pub fn dismiss(&self) {
        self.word(header::DISMISSED).store(1, Ordering::Release);
    }

    /// Whether it did.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        self.word(header::DISMISSED).load(Ordering::Acquire) == 1
    }

    /// Sets one of [`NOTES`] words that are the owners'; others are passed over.
    pub fn set_note(&self, at: usize, word: u64) {
        if at < NOTES {
            self.set(header::NOTES + at, word);
        }
    }

    /// One of those words; 0 until it is set.
    #[must_use]
    pub fn note(&self, at: usize) -> u64 {
        if at < NOTES {
            self.get(header::NOTES + at)
        } else {
            0
        }
    }

    /// Begins a new will; the one before is current until it is finished.
    pub fn draft(&mut self) -> Draft<'_> {
        let current = self.get(header::CURRENT);
        Draft {
            book: usize::from(current == 1),
            wards: 0,
            addresses: 0,
            will: self,
        }
    }

    /// Sets the pulse of a ward of the current will.
    pub fn set_pulse(&mut self, ward: usize, pulse: u64) {
        if let Some(book) = self.current()
            && ward < self.shape.wards
        {
            self.set(self.shape.pulse(book, ward), pulse);
        }
    }

    /// Waits until the testator's thread is gone, at most so long.
    ///
    /// # Errors
    /// `ENOSYS` on a kernel without futexes.
    pub fn wait(&self, limit: Duration) -> io::Result<Waited> {
        let found = self.futex().load(Ordering::Acquire);
        if found & OWNER_DIED != 0 {
            return Ok(Waited::Died);
        }
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(limit.subsec_nanos()),
        };
        // SAFETY: the kernel reads the futex word and one timespec.
        let waited = check_syscall(unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.futex().as_ptr(),
                libc::FUTEX_WAIT,
                found,
                &raw const limit,
            )
        });
        match waited.map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) | Err((Some(libc::EAGAIN | libc::EINTR | libc::ETIMEDOUT), _)) => {}
            Err((_, error)) => return Err(error),
        }
        let died = self.futex().load(Ordering::Acquire) & OWNER_DIED != 0;
        Ok(if died { Waited::Died } else { Waited::Alive })
    }

    /// Wards and addresses of the current will.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let Some(book) = self.current() else {
            return (0, 0);
        };
        let at = self.shape.book(book);
        let count = |at, most| usize::try_from(self.get(at)).unwrap_or(0).min(most);
        (
            count(at, self.shape.wards),
            count(at + 1, self.shape.addresses),
        )
    }

    /// Reads a ward of the current will, as many words as `words` has, and its
    /// pulse.
    pub fn read_ward(&self, at: usize, words: &mut [u64]) -> Option<u64> {
        let book = self.current().filter(|_| at < self.shape.wards)?;
        self.read(self.shape.ward(book, at), self.shape.ward_words, words);
        Some(self.get(self.shape.pulse(book, at)))
    }

    /// Reads an address of the current will. Returns whether there is one.
    pub fn read_address(&self, at: usize, words: &mut [u64]) -> bool {
        let book = self.current().filter(|_| at < self.shape.addresses);
        if let Some(book) = book {
            let first = self.shape.address(book, at);
            self.read(first, self.shape.address_words, words);
        }
        book.is_some()
    }

    fn read(&self, first: usize, len: usize, words: &mut [u64]) {
        for (at, word) in words.iter_mut().take(len).enumerate() {
            *word = self.get(first + at);
        }
    }

    fn map(fd: OwnedFd, len: usize, shape: Shape) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of a file of that many bytes; the
        // kernel chooses a page-aligned place for it, or says MAP_FAILED.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len * size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(at.cast::<AtomicU64>());
        let words = words.ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        Ok(Self {
            words,
            len,
            shape,
            fd,
            bound: false,
        })
    }

    fn current(&self) -> Option<usize> {
        match self.word(header::CURRENT).load(Ordering::Acquire) {
            1 => Some(0),
            2 => Some(1),
            _ => None,
        }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.len, "a place within the will");
        // SAFETY: the mapping holds `len` words, is aligned to a page, and lives
        // as long as `self`; any bytes are a valid atomic.
        unsafe { self.words.add(at).as_ref() }
    }

    /// The futex is the word's first half, whichever that is.
    fn futex(&self) -> &AtomicU32 {
        let word = std::ptr::from_ref(self.word(header::FUTEX));
        // SAFETY: four of the eight bytes of a live word, aligned; never touched
        // as a whole word.
        unsafe { &*word.cast::<AtomicU32>() }
    }

    fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    fn set(&self, at: usize, word: u64) {
        self.word(at).store(word, Ordering::Relaxed);
    }
}

impl AsFd for Will {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Will {
    fn drop(&mut self) {
        if self.bound {
            return;
        }
        // SAFETY: the whole of our own mapping, and nobody borrows from it now.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.len * size_of::<u64>()) };
    }
}

/// A will being written. What has no room is passed over and told.
#[derive(Debug)]
pub struct Draft<'w> {
    will: &'w mut Will,
    book: usize,
    wards: usize,
    addresses: usize,
}

impl Draft<'_> {
    /// Adds a ward with its pulse. Returns whether there was room.
    pub fn ward(&mut self, words: &[u64], pulse: u64) -> bool {
        let Shape {
            wards, ward_words, ..
        } = self.will.shape;
        if self.wards >= wards {
            return false;
        }
        let first = self.will.shape.ward(self.book, self.wards);
        self.put(first, ward_words, words);
        let pulse_at = self.will.shape.pulse(self.book, self.wards);
        self.will.set(pulse_at, pulse);
        self.wards += 1;
        true
    }

    /// Adds an address. Returns whether there was room.
    pub fn address(&mut self, words: &[u64]) -> bool {
        let Shape {
            addresses,
            address_words,
            ..
        } = self.will.shape;
        if self.addresses >= addresses {
            return false;
        }
        let first = self.will.shape.address(self.book, self.addresses);
        self.put(first, address_words, words);
        self.addresses += 1;
        true
    }

    /// From here on this is the will.
    pub fn finish(self) {
        let at = self.will.shape.book(self.book);
        self.will.set(at, self.wards as u64);
        self.will.set(at + 1, self.addresses as u64);
        fence(Ordering::Release);
        let current = self.will.word(header::CURRENT);
        current.store(1 + self.book as u64, Ordering::Release);
    }

    fn put(&self, first: usize, len: usize, words: &[u64]) {
        let all = words.iter().copied().chain(std::iter::repeat(0));
        for (at, word) in all.take(len).enumerate() {
            self.will.set(first + at, word);
        }
    }
}

/// The result of syscall(2), whose value means nothing here.
fn check_syscall(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
