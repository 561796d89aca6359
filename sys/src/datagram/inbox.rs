//! Datagrams that came in, all by one system call.

use super::address::Name;
use super::{BATCH, DATAGRAM_BYTES_MAX, blank};
use crate::control::{self, Control};
use crate::memory::Mapped;
use crate::syscall::{check, socklen, uninterrupted};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use trunnion_core::netlink::Errno;

/// A datagram that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// What it says, [`DATAGRAM_BYTES_MAX`] bytes at most.
    pub bytes: &'a [u8],
}

/// What the network sent instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// Whom the datagram was for.
    pub to: SocketAddr,
    /// The beginning of its payload, as far as it was sent back; routers need send
    /// nothing of it.
    pub bytes: &'a [u8],
    /// What the error is as an errno.
    pub errno: Errno,
    /// Who said so, if it was not this node.
    pub by: Option<IpAddr>,
}

/// Up to [`BATCH`] datagrams. Allocates nothing once it is made.
pub struct Inbox {
    bytes: Mapped<[u8; DATAGRAM_BYTES_MAX]>,
    items: Box<[Item; BATCH]>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Item {
    name: Name,
    len: usize,
    error: Option<control::Error>,
}

impl Inbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        const NONE: Item = Item {
            name: Name::BLANK,
            len: 0,
            error: None,
        };
        Self {
            bytes: Mapped::new(BATCH),
            items: Box::new([NONE; BATCH]),
            len: 0,
        }
    }

    /// What [`super::Port::receive`] has left here.
    pub fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        self.filled().filter_map(|(item, bytes)| {
            let from = item.name.read()?;
            Some(Answer { from, bytes })
        })
    }

    /// What [`super::Port::receive_errors`] has left here.
    pub fn refusals(&self) -> impl Iterator<Item = Refusal<'_>> {
        self.filled().filter_map(|(item, bytes)| {
            let control::Error { errno, by } = item.error?;
            let to = item.name.read()?;
            let errno = Errno(errno);
            Some(Refusal {
                to,
                bytes,
                errno,
                by,
            })
        })
    }

    fn filled(&self) -> impl Iterator<Item = (&Item, &[u8])> {
        let items = self.items.iter().take(self.len);
        let bytes = self.bytes.iter();
        items
            .zip(bytes)
            .map(|(item, bytes)| (item, bytes.get(..item.len).unwrap_or(bytes)))
    }

    pub(super) fn receive(&mut self, fd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<usize> {
        self.len = 0;
        let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
        let mut controls = [const { Control::empty() }; BATCH];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
        let mut count: libc::c_uint = 0;
        let rooms = vectors.iter_mut().zip(&mut controls).zip(&mut messages);
        let own = self.items.iter_mut().zip(self.bytes.iter_mut());
        for ((item, bytes), ((vector, control), message)) in own.zip(rooms) {
            let vector = vector.write(libc::iovec {
                iov_base: bytes.as_mut_ptr().cast(),
                iov_len: bytes.len(),
            });
            let message = message.write(blank());
            let header = &mut message.msg_hdr;
            header.msg_name = item.name.as_mut_ptr();
            header.msg_namelen = socklen::<Name>();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            if flags & libc::MSG_ERRQUEUE != 0 {
                header.msg_control = control.as_mut_ptr();
                header.msg_controllen = control::BYTES;
            }
            count += 1;
        }
        let received = uninterrupted(|| {
            // SAFETY: `count` messages were written above, and point at names,
            // vectors, bytes and room for control data that outlive the call, with
            // their lengths; the kernel writes within those.
            check(unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    messages.as_mut_ptr().cast(),
                    count,
                    flags | libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            })
        });
        let received = match received {
            Ok(received) => usize::try_from(received).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        self.len = received;
        let told = messages.iter().zip(&controls).take(received);
        for (item, (message, control)) in self.items.iter_mut().zip(told) {
            // SAFETY: all of them were written above.
            let message = unsafe { message.assume_init_ref() };
            item.len = usize::try_from(message.msg_len).unwrap_or(0);
            item.error = control.read(&message.msg_hdr).error;
        }
        Ok(received)
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
