//! Memory that is taken and costs nothing until it is touched.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};
use std::slice;
use trunnion_core::director::ha::{AddressSlot, Interface, Prepared};
use trunnion_core::director::lb::{Link, MemberState, ServiceState};
use trunnion_core::model::{Destination, ServiceRow};
use trunnion_core::record::Frame;
use trunnion_core::{check, time};

/// Of what zero bytes are a value, one that means nothing in particular.
///
/// # Safety
/// Zero bytes are a valid value, and whatever a valid value says can do no harm.
pub unsafe trait Plain: Sized {}

/// Declares types of core as [`Plain`]. That zero bytes are valid is for the
/// compiler to say: it refuses a constant that is not.
macro_rules! plain {
    ($($of:ty),* $(,)?) => {$(
        // SAFETY: the constant below is valid, or it would not compile; and it is
        // of core, which has no unsafe code that could rely on more than that.
        unsafe impl Plain for $of {}

        const _: $of = {
            let zeros = MaybeUninit::<$of>::zeroed();
            // SAFETY: evaluated by the compiler, which looks at every byte.
            unsafe { zeros.assume_init() }
        };
    )*};
}

plain! {
    u8,
    u64,
    usize,
    check::Slot,
    check::Aside,
    check::Socket,
    check::Desk,
    check::MannerSlot,
    check::Pace,
    time::Slot,
    Destination,
    ServiceRow,
    ServiceState,
    MemberState,
    Link,
    AddressSlot,
    Interface,
    Prepared,
    Frame,
    check::Flight,
}

// SAFETY: each element is valid, and can do no harm.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Values of zero bytes in pages of their own, which the kernel gives when they are
/// written first (mmap(2)). Not malloc's: it may have something freed to clear
/// instead. With the pages they end, and are not dropped.
pub struct Mapped<T> {
    place: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its values, as a `Box` does.
unsafe impl<T: Send> Send for Mapped<T> {}
// SAFETY: as a `Box`.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T: Plain> Mapped<T> {
    /// So many.
    ///
    /// # Panics
    /// If so many are longer than memory can be; and as with every allocation, the
    /// process ends if there is none.
    #[must_use]
    pub fn new(len: usize) -> Self {
        const { assert!(align_of::<T>() <= 4096, "a page is aligned enough") };
        let layout = Layout::array::<T>(len).expect("limits bound what is asked for");
        if layout.size() == 0 {
            let place = NonNull::dangling();
            return Self { place, len };
        }
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping, where the kernel likes.
        let place = unsafe { libc::mmap(null_mut(), layout.size(), access, kind, -1, 0) };
        match NonNull::new(place.cast::<T>()) {
            Some(mapped) if place != libc::MAP_FAILED => Self { place: mapped, len },
            Some(_) | None => handle_alloc_error(layout),
        }
    }
}

impl<T> Mapped<T> {
    const fn bytes(&self) -> usize {
        // As long as what was mapped.
        self.len * size_of::<T>()
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the kernel mapped so many zero bytes at a page's begin, for us
        // alone; and zero bytes are values of `T`, says `Plain`.
        unsafe { slice::from_raw_parts(self.place.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Mapped<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and we are borrowed for as long.
        unsafe { slice::from_raw_parts_mut(self.place.as_ptr(), self.len) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        if self.bytes() > 0 {
            // SAFETY: it was mapped in this length, and nobody borrows it.
            unsafe { libc::munmap(self.place.as_ptr().cast(), self.bytes()) };
        }
    }
}

impl<T> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// So many values of zero bytes, [`Mapped`] for as long as the process lives.
///
/// # Panics
/// As [`Mapped::new`].
#[must_use]
pub fn untouched<T: Plain>(len: usize) -> &'static mut [T] {
    let mut mapped = ManuallyDrop::new(Mapped::new(len));
    let all: *mut [T] = &raw mut **mapped;
    // SAFETY: it is never unmapped, and nobody else can have it.
    unsafe { &mut *all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse().unwrap()
    }

    #[test]
    fn what_is_not_touched_costs_nothing() {
        const LEN: usize = 4 << 20;
        let before = resident_kib();
        let all: &mut [Destination] = untouched(LEN);
        assert_eq!(all.len(), LEN);
        assert!(size_of_val(all) >= 128 << 20);
        all[LEN / 2].weight = 7;
        assert_eq!(all.iter().map(|row| row.weight).sum::<u32>(), 7);
        // Other tests run beside this one.
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB");
    }

    #[test]
    fn none_is_none() {
        assert!(untouched::<Link>(0).is_empty());
    }

    #[test]
    fn what_is_mapped_ends_with_its_owner() {
        let mut mapped = Mapped::<[u64; 3]>::new(1000);
        mapped[999][2] = 7;
        assert_eq!(mapped.iter().flatten().sum::<u64>(), 7);
        let place = mapped.as_ptr() as usize;
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let bounds = |line: &str| {
                let (start, end) = line.split(' ').next()?.split_once('-')?;
                let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16));
                Some(start.ok()?..end.ok()?)
            };
            maps.lines()
                .filter_map(bounds)
                .any(|it| it.contains(&place))
        };
        assert!(is_mapped());
        drop(mapped);
        assert!(!is_mapped());
    }
}
