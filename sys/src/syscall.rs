//! What every system call's result goes through.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The result of a call that says -1 and `errno` when it fails.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The result of a call that returns a length, or -1 and `errno`.
pub(crate) fn check_len(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// The descriptor a call returned, or its error.
///
/// # Safety
/// `result` is what a call that opens a descriptor has just returned, and
/// nothing else owns it.
pub(crate) unsafe fn owned(result: RawFd) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: not negative, so by the caller's promise open and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls again for as long as a signal interrupts.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The length of a `T` as socket calls take it.
pub(crate) const fn socklen<T>() -> libc::socklen_t {
    const { assert!(size_of::<T>() <= 4096, "no socket structure is longer") };
    #[allow(clippy::cast_possible_truncation, reason = "asserted above")]
    let len = size_of::<T>() as libc::socklen_t;
    len
}
