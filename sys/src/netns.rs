//! Namespaces of the network and of mounts, for tests and labs. The daemon runs in the one it is
//! given.

use crate::syscall::{check, owned};
use std::io;
use std::os::fd::AsRawFd;

/// Moves the calling thread into a new network namespace (unshare(2)) and brings
/// its loopback up: in a namespace without any address the kernel takes every
/// address for a broadcast, and IPVS refuses every destination. Sockets opened
/// before, and other threads, stay where they are.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` when there are too many.
pub fn unshare_network() -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointer, and CLONE_NEWNET changes nothing that
    // Rust or libc rely on.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    loopback_up()
}

/// Gives the calling thread, and what it starts, mounts of its own (unshare(2)):
/// after `mount --make-rprivate /` nobody else sees what it mounts.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`; `ENOSPC` when there are too many.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: unshare(2) takes no pointer, and CLONE_NEWNS changes only what
    // paths mean to this thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    Ok(())
}

/// Sets `IFF_UP` on `lo` (netdevice(7)).
fn loopback_up() -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes no pointer, and what it returns is ours alone.
    let socket = unsafe { owned(libc::socket(libc::AF_INET, kind, 0)) }?;
    // SAFETY: ifreq is plain bytes and numbers, for all of which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *place = byte.cast_signed() as libc::c_char;
    }
    // SAFETY: `request` is a live ifreq with a name that ends in NUL; the kernel
    // writes its flags.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the call above filled the flags of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | UP;
    // SAFETY: as above; the kernel only reads it.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })?;
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "it is 1")]
const UP: libc::c_short = libc::IFF_UP as libc::c_short;
