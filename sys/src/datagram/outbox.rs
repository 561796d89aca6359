//! Datagrams that wait to be sent, all by one system call.

use super::address::Name;
use super::{BATCH, DATAGRAM_BYTES_MAX, blank};
use crate::control::{Control, v4_address};
use crate::memory::Mapped;
use crate::syscall::{check, uninterrupted};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes of all datagrams together: room for a batch of usual ones, and for some
/// of the longest.
const BYTES: usize = 16 * DATAGRAM_BYTES_MAX;

/// Up to [`BATCH`] datagrams and their bytes. Allocates nothing once it is made.
pub struct Outbox {
    bytes: Mapped<u8>,
    used: usize,
    items: Box<[Item; BATCH]>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Item {
    to: Name,
    mark: u32,
    source: Option<Ipv4Addr>,
    start: usize,
    len: usize,
    tag: u64,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        const NONE: Item = Item {
            to: Name::BLANK,
            mark: 0,
            source: None,
            start: 0,
            len: 0,
            tag: 0,
        };
        Self {
            bytes: Mapped::new(BYTES),
            used: 0,
            items: Box::new([NONE; BATCH]),
            len: 0,
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where to write the next datagram: [`DATAGRAM_BYTES_MAX`] bytes. `None` when
    /// it is full: send first.
    #[must_use]
    pub fn room(&mut self) -> Option<&mut [u8]> {
        if self.len == BATCH {
            return None;
        }
        let end = self.used + DATAGRAM_BYTES_MAX;
        self.bytes.get_mut(self.used..end)
    }

    /// Adds the datagram of `len` bytes that was written to [`Self::room`].
    /// Packets with a mark other than 0 carry it (`SO_MARK`, socket(7)). The tag
    /// is the caller's.
    pub fn push(&mut self, len: usize, to: SocketAddr, mark: u32, tag: u64) {
        self.add(len, to, (mark, None), tag);
    }

    /// The same of a packet that leaves from this address of the host
    /// (`IP_PKTINFO`, ip(7)), or from one of the kernel's choice.
    pub fn push_from(&mut self, len: usize, to: SocketAddr, source: Option<Ipv4Addr>, tag: u64) {
        self.add(len, to, (0, source), tag);
    }

    fn add(
        &mut self,
        len: usize,
        to: SocketAddr,
        (mark, source): (u32, Option<Ipv4Addr>),
        tag: u64,
    ) {
        let len = len.min(DATAGRAM_BYTES_MAX);
        if let Some(item) = self.items.get_mut(self.len) {
            *item = Item {
                to: Name::from(&to),
                mark,
                source,
                start: self.used,
                len,
                tag,
            };
            self.len += 1;
            self.used += len;
        }
    }

    /// Tells of each that it is not sent: its tag. It is empty then.
    pub fn drain(&mut self, mut unsent: impl FnMut(u64)) {
        for item in self.waiting(0) {
            unsent(item.tag);
        }
        self.clear();
    }

    pub(super) fn tag(&self, at: usize) -> Option<u64> {
        self.waiting(at).first().map(|item| item.tag)
    }

    pub(super) fn target(&self, at: usize) -> Option<(SocketAddr, u32)> {
        let item = self.waiting(at).first()?;
        item.to.read().map(|to| (to, item.mark))
    }

    pub(super) fn has_source(&self, at: usize) -> bool {
        self.waiting(at)
            .first()
            .is_some_and(|item| item.source.is_some())
    }

    pub(super) const fn clear(&mut self) {
        self.len = 0;
        self.used = 0;
    }

    fn waiting(&self, at: usize) -> &[Item] {
        self.items.get(at..self.len).unwrap_or(&[])
    }

    /// Sends from the datagram at `at` on; returns how many the kernel took. What
    /// it says of the next one is lost, and said again when that is sent.
    pub(super) fn send(&self, fd: BorrowedFd<'_>, at: usize) -> io::Result<usize> {
        let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
        let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
        let mut count: libc::c_uint = 0;
        let rooms = vectors.iter_mut().zip(&mut controls).zip(&mut messages);
        for (item, ((vector, control), message)) in self.waiting(at).iter().zip(rooms) {
            let bytes = self.bytes.get(item.start..item.start + item.len);
            let bytes = bytes.unwrap_or(&[]);
            let vector = vector.write(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
            let message = message.write(blank());
            let header = &mut message.msg_hdr;
            // The kernel only reads it.
            header.msg_name = item.to.as_ptr().cast_mut().cast();
            header.msg_namelen = item.to.len();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            if item.mark != 0 {
                let control = control.write(Control::empty());
                header.msg_controllen = control.mark(item.mark);
                header.msg_control = control.as_mut_ptr();
            } else if let Some(source) = item.source {
                let control = control.write(Control::empty());
                header.msg_controllen = control.packet_info_v4(libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: v4_address(source),
                    ipi_addr: libc::in_addr { s_addr: 0 },
                });
                header.msg_control = control.as_mut_ptr();
            }
            count += 1;
        }
        let sent = uninterrupted(|| {
            // SAFETY: the first `count` messages were written above, and point at
            // names, vectors, control data and bytes that outlive the call; the
            // kernel reads those and writes only `msg_len`.
            check(unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr().cast(), count, 0) })
        })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("len", &self.len)
            .field("bytes", &self.used)
            .finish_non_exhaustive()
    }
}
