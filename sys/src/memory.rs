//! Memory that is taken and costs nothing until it is touched.

use std::alloc::{Layout, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
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
    check::Slot,
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
}

/// So many values of zero bytes, for as long as the process lives, in pages that
/// the kernel gives when they are written first (mmap(2)). Not malloc's: it may
/// have something freed to clear instead.
///
/// # Panics
/// If so many are longer than memory can be; and as with every allocation, the
/// process ends if there is none.
#[must_use]
pub fn untouched<T: Plain>(len: usize) -> &'static mut [T] {
    const { assert!(align_of::<T>() <= 4096, "a page is aligned enough") };
    let layout = Layout::array::<T>(len).expect("limits bound what is asked for");
    if layout.size() == 0 {
        return &mut [];
    }
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, where the kernel likes.
    let place = unsafe { libc::mmap(null_mut(), layout.size(), access, kind, -1, 0) };
    if place == libc::MAP_FAILED {
        handle_alloc_error(layout);
    }
    // SAFETY: the kernel mapped so many zero bytes just now, at a page's begin, for
    // nobody else and for ever; and zero bytes are values of `T`, says `Plain`.
    unsafe { slice::from_raw_parts_mut(place.cast::<T>(), len) }
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
}
