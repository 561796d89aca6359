//! Asks the kernel for the way to a target, by a socket that never sends.

use super::address::Name;
use super::{errno, open, set};
use crate::syscall::{check, socklen};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;

#[derive(Debug)]
pub(super) struct Scout {
    fd: OwnedFd,
}

impl Scout {
    pub(super) fn new(family: Family) -> io::Result<Self> {
        let fd = open(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?;
        Ok(Self { fd })
    }

    /// Whether there is a route to a target: connecting finds it as sending does,
    /// and sends nothing.
    pub(super) fn ask(&self, to: &SocketAddr, mark: u32) -> Result<(), Errno> {
        let asked = set(&self.fd, libc::SOL_SOCKET, libc::SO_MARK, &mark).or_else(|error| {
            // Without the right to marks there is none.
            if mark == 0 { Ok(()) } else { Err(error) }
        });
        asked
            .and_then(|()| self.connect(to))
            .map_err(|error| errno(&error))
    }

    /// The address that a packet to a target leaves from.
    pub(super) fn source(&self, to: Ipv4Addr) -> Result<Ipv4Addr, Errno> {
        /// Any will do, but 0.
        const DISCARD: u16 = 9;
        let asked = self.connect(&(to, DISCARD).into()).and_then(|()| {
            let mut name = Name::BLANK;
            let mut len = socklen::<Name>();
            // SAFETY: the kernel writes at most `len` bytes, which is a whole
            // `Name`.
            check(unsafe {
                libc::getsockname(self.fd.as_raw_fd(), name.as_mut_ptr().cast(), &raw mut len)
            })?;
            match name.read().map(|own| own.ip()) {
                Some(IpAddr::V4(own)) => Ok(own),
                Some(IpAddr::V6(_)) | None => Err(io::Error::from_raw_os_error(libc::EIO)),
            }
        });
        asked.map_err(|error| errno(&error))
    }

    /// Connects anew: a connected socket would keep the address it has, and be
    /// refused every way that does not begin there.
    fn connect(&self, to: &SocketAddr) -> io::Result<()> {
        // The name of nobody disconnects (`AF_UNSPEC`, connect(2)).
        for name in [Name::BLANK, Name::from(to)] {
            // SAFETY: the name is live and of the length given; the kernel reads
            // it.
            check(unsafe { libc::connect(self.fd.as_raw_fd(), name.as_ptr(), name.len()) })?;
        }
        Ok(())
    }
}
