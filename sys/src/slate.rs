//! A page of memory shared with the next run of this daemon, and with its
//! guardian: what was true a moment before a crash.
//!
//! A slate is a small file in the run directory, mapped and shared, so a write
//! is a few stores and survives the process, though not the machine. It holds
//! cells of [`WORDS`] words; what they mean is the owner's to say, by a layout
//! number. A cell torn by a crash in the middle of a write reads as nothing. A
//! slate of another boot or another layout is wiped.
//!
//! Not a database, and not for what must not be lost.

use crate::syscall::check;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words of payload in a cell.
pub const WORDS: usize = 6;

/// The most cells a slate may have.
pub const CELLS_MAX: usize = 1 << 16;

/// Payload of a cell, in host order: never read by another machine.
pub type Words = [u64; WORDS];

/// One cell of 64 bytes: a version, the payload, a checksum of both. An odd
/// version is a write that has begun; 0 is a cell never written.
#[derive(Debug)]
#[repr(C, align(64))]
struct Cell {
    version: AtomicU64,
    words: [AtomicU64; WORDS],
    checksum: AtomicU64,
}

const _: () = assert!(size_of::<Cell>() == 64);

/// "trunnion" in ASCII. The first cell is the header: magic, layout, boot,
/// number of cells.
const MAGIC: u64 = u64::from_be_bytes(*b"trunnion");

/// What was found when a slate was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No slate, or an empty file.
    Nothing,
    /// The slate of another boot: wiped.
    OtherBoot,
    /// A file that is not a slate, or one of another layout or size: wiped.
    OtherLayout,
    /// The slate of an earlier run since this boot, as that run left it.
    Earlier,
}

/// A slate, open and ours alone to write.
#[derive(Debug)]
pub struct Slate {
    cells: NonNull<Cell>,
    len: usize,
    /// Holds the lock.
    file: File,
}

// SAFETY: the mapping belongs to no thread, and it is only touched through
// atomics.
unsafe impl Send for Slate {}
// SAFETY: as above; writes need `&mut`.
unsafe impl Sync for Slate {}

impl Slate {
    /// Opens or makes the slate at `path` with `cells` cells of the meaning
    /// `layout`, for the boot `boot` (see [`boot_id`]), and locks it for as
    /// long as it is open. Its blocks are reserved here, so that a full disk
    /// is an error now and not a fault later.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it open: another run of the
    /// daemon. `InvalidInput` for 0 or more than [`CELLS_MAX`] cells. Those of
    /// open(2), posix_fallocate(3), mmap(2).
    pub fn open(path: &Path, layout: u64, boot: u64, cells: usize) -> io::Result<(Self, Found)> {
        if cells == 0 || cells > CELLS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a slate has 1 to 65536 cells",
            ));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        // SAFETY: takes numbers; the descriptor is open.
        check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })?;
        let bytes = (cells + 1) * size_of::<Cell>();
        let had = file.metadata()?.len();
        let fits = usize::try_from(had) == Ok(bytes);
        if !fits {
            // Down to nothing first, so that what is there afterwards is zero.
            file.set_len(0)?;
            file.set_len(bytes as u64)?;
        }
        reserve(&file, bytes)?;
        let mut slate = Self::map(file, bytes, cells)?;
        let found = match slate.load(0) {
            Some(header) if fits => slate.judge(header, layout, boot),
            Some(_) | None if had == 0 => Found::Nothing,
            Some(_) | None => Found::OtherLayout,
        };
        if found != Found::Earlier {
            slate.wipe();
            slate.store(0, header(layout, boot, cells));
        }
        Ok((slate, found))
    }

    /// Opens the slate that another process holds, as its heir: `file` is a
    /// duplicate of the other's descriptor ([`Self::share`]), and keeps the lock
    /// for as long as either lives. Only one of the two may write at a time;
    /// that is the owners' to see to.
    ///
    /// # Errors
    /// `InvalidData` for a file that is no slate of this layout; those of
    /// fstat(2) and mmap(2).
    pub fn inherit(file: File, layout: u64) -> io::Result<Self> {
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let cells = (bytes / size_of::<Cell>()).saturating_sub(1);
        let other = || io::Error::new(io::ErrorKind::InvalidData, "not a slate of ours");
        if cells == 0 || cells > CELLS_MAX {
            return Err(other());
        }
        let slate = Self::map(file, (cells + 1) * size_of::<Cell>(), cells)?;
        match slate.load(0) {
            Some([magic, found, ..]) if [magic, found] == [MAGIC, layout] => Ok(slate),
            Some(_) | None => Err(other()),
        }
    }

    /// A duplicate of its descriptor, for a child process.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Cells it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no cell, which cannot be.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What cell `index` holds; `None` when it was never written, was cleared,
    /// is torn, or is not one of the slate's.
    #[must_use]
    pub fn read(&self, index: usize) -> Option<Words> {
        (index < self.len).then(|| self.load(index + 1)).flatten()
    }

    /// Writes cell `index`. Returns whether the slate has such a cell. A few
    /// stores: no system call, no allocation.
    pub fn write(&mut self, index: usize, words: Words) -> bool {
        let known = index < self.len;
        if known {
            self.store(index + 1, words);
        }
        known
    }

    /// Makes cell `index` one that was never written.
    pub fn clear(&mut self, index: usize) {
        if index < self.len {
            self.erase(index + 1);
        }
    }

    fn map(file: File, bytes: usize, cells: usize) -> io::Result<Self> {
        // SAFETY: a fresh shared mapping of a file of `bytes` bytes; the kernel
        // chooses a page-aligned place for it, or says MAP_FAILED.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let cells_at = NonNull::new(at.cast::<Cell>())
            .ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        Ok(Self {
            cells: cells_at,
            len: cells,
            file,
        })
    }

    fn judge(&self, found: Words, layout: u64, boot: u64) -> Found {
        let expected = header(layout, boot, self.len);
        let [magic, said_layout, said_boot, said_cells, ..] = found;
        if found == expected {
            Found::Earlier
        } else if [magic, said_layout, said_cells] == [expected[0], expected[1], expected[3]]
            && said_boot != boot
        {
            Found::OtherBoot
        } else {
            Found::OtherLayout
        }
    }

    fn wipe(&mut self) {
        for at in 0..=self.len {
            self.erase(at);
        }
    }

    fn cell(&self, at: usize) -> &Cell {
        debug_assert!(at <= self.len, "checked by the callers");
        // SAFETY: the mapping holds `len + 1` cells, is aligned to a page, and
        // lives as long as `self`; any bytes are valid atomics.
        unsafe { self.cells.add(at).as_ref() }
    }

    fn load(&self, at: usize) -> Option<Words> {
        let cell = self.cell(at);
        // A live writer may be at it (the guardian reads while we write), and
        // is done in a moment; a dead one never is.
        for _ in 0..64 {
            let version = cell.version.load(Ordering::Acquire);
            let words: Words = std::array::from_fn(|i| cell.words[i].load(Ordering::Relaxed));
            let checksum = cell.checksum.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let same = cell.version.load(Ordering::Relaxed) == version;
            if same && version & 1 == 0 {
                let whole = version != 0 && checksum == sum(version, &words);
                return whole.then_some(words);
            }
            std::hint::spin_loop();
        }
        None
    }

    fn store(&mut self, at: usize, words: Words) {
        let cell = self.cell(at);
        // After a torn write the version is odd; go on from the next even one.
        let version = cell.version.load(Ordering::Relaxed).wrapping_add(1) & !1;
        let next = match version.wrapping_add(2) {
            0 => 2,
            next => next,
        };
        cell.version.store(next.wrapping_sub(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, word) in cell.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        cell.checksum.store(sum(next, &words), Ordering::Relaxed);
        cell.version.store(next, Ordering::Release);
    }

    fn erase(&mut self, at: usize) {
        let cell = self.cell(at);
        // The version first: half an erased cell is no cell.
        cell.version.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        for word in &cell.words {
            word.store(0, Ordering::Relaxed);
        }
        cell.checksum.store(0, Ordering::Relaxed);
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        let bytes = (self.len + 1) * size_of::<Cell>();
        // SAFETY: the whole of our own mapping, and nobody borrows from it now.
        unsafe { libc::munmap(self.cells.as_ptr().cast(), bytes) };
    }
}

/// A number for this boot of the kernel (/proc/sys/kernel/random/boot_id).
///
/// # Errors
/// Those of reading the file; `InvalidData` if it is not a UUID.
pub fn boot_id() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let hex: String = text.trim().chars().filter(|c| *c != '-').collect();
    let id = u128::from_str_radix(&hex, 16)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = id.to_be_bytes();
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ u64::from_be_bytes(rest))
}

fn header(layout: u64, boot: u64, cells: usize) -> Words {
    [MAGIC, layout, boot, cells as u64, WORDS as u64, 0]
}

/// FNV-1a over words: notices a torn write, not a forger.
fn sum(version: u64, words: &Words) -> u64 {
    let mix = |hash: u64, word: &u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    words
        .iter()
        .fold(mix(0xcbf2_9ce4_8422_2325, &version), |hash, word| {
            mix(hash.rotate_left(29), word)
        })
}

/// Reserves the blocks of a file: a hole in a full file system would be a
/// SIGBUS when it is written.
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    let len = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: takes numbers; the descriptor is open.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
        0 => Ok(()),
        // Returns the error instead of setting errno.
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests;
