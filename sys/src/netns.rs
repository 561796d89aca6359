//! Network namespaces, for tests and labs. The daemon runs in the one it is
//! given.

use std::io;

/// Moves the calling thread into a new, empty network namespace
/// (`unshare(CLONE_NEWNET)`, unshare(2)). Sockets opened before stay where they
/// are; other threads stay where they are.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` when there are too many.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointer, and CLONE_NEWNET changes nothing that
    // Rust or libc rely on.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
