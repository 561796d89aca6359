//! AF_PACKET: whole frames out of one interface, such as gratuitous ARP and
//! neighbour advertisements. Nothing is received.

use crate::syscall::{check, check_len, owned, socklen, uninterrupted};
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// `AF_PACKET`, as wide as an address has it.
const FAMILY: libc::sa_family_t = 17;
const _: () = assert!(FAMILY as libc::c_int == libc::AF_PACKET);

/// Bytes asked for as send buffer: some thousand short frames that a slow
/// interface has not taken yet.
const SEND_BYTES: libc::c_int = 4 * 1024 * 1024;

/// Frames one system call takes (sendmmsg(2)).
pub const BATCH_MAX: usize = 64;

/// `TC_PRIO_CONTROL` (pkt_sched.h): the band of `pfifo_fast` that goes first.
pub const PRIORITY_CONTROL: libc::c_int = 7;

/// A packet socket bound to one interface (packet(7)). Non-blocking; allocates
/// nothing. Needs `CAP_NET_RAW` in the network namespace's user namespace.
///
/// An interface that is deleted and made again has another index: open a new
/// socket then.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// A socket that sends out of the interface of that index. Its protocol is
    /// 0, so the kernel never queues a received packet for it.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; `ENODEV` for an index that is not there;
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`.
    pub fn open(interface: NonZeroU32) -> io::Result<Self> {
        let fd = socket()?;
        let address = address(interface)?;
        // SAFETY: the kernel reads one sockaddr_ll of the length given.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                socklen::<libc::sockaddr_ll>(),
            )
        })?;
        // Above the system's limit where that is allowed; what it is otherwise
        // will do.
        let _ = set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BYTES);
        Ok(Self { fd })
    }

    /// Sets the priority of what is sent (`SO_PRIORITY`, socket(7)).
    ///
    /// # Errors
    /// `EPERM` above 6 without `CAP_NET_ADMIN`.
    pub fn set_priority(&self, priority: libc::c_int) -> io::Result<()> {
        set(&self.fd, libc::SOL_SOCKET, libc::SO_PRIORITY, priority)
    }

    /// Whether frames pass by the queueing discipline, and so cannot wait
    /// behind or be dropped with the traffic of a full queue
    /// (PACKET_QDISC_BYPASS, packet(7)). Local captures do not see them then.
    ///
    /// # Errors
    /// `ENOPROTOOPT` before Linux 3.14.
    pub fn bypass_queue(&self, bypass: bool) -> io::Result<()> {
        let value = libc::c_int::from(bypass);
        set(&self.fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, value)
    }

    /// Sends one frame, from its Ethernet header to its last byte of payload.
    ///
    /// # Errors
    /// `ENETDOWN` while the interface is down; `ENXIO` when it is gone;
    /// `EMSGSIZE` above its MTU; `EINVAL` below a header; `ENOBUFS` and
    /// `WouldBlock` when a queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        uninterrupted(|| {
            // SAFETY: the kernel reads `frame.len()` bytes of the frame.
            check_len(unsafe {
                libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0)
            })
        })?;
        Ok(())
    }

    /// Sends up to [`BATCH_MAX`] frames in one system call, and returns how
    /// many were taken: the error that stopped it comes back with the next
    /// call.
    ///
    /// # Errors
    /// As [`PacketSocket::send`], about the first frame.
    pub fn send_batch(&self, frames: &[&[u8]]) -> io::Result<usize> {
        let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH_MAX];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH_MAX];
        let mut count: libc::c_uint = 0;
        for ((frame, vector), message) in frames.iter().zip(&mut vectors).zip(&mut messages) {
            let vector = vector.write(libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            });
            let mut header = MaybeUninit::<libc::msghdr>::zeroed();
            // SAFETY: a msghdr is plain numbers and pointers, which may all be
            // zero: no address, no control data.
            let header = unsafe {
                let header = header.assume_init_mut();
                header.msg_iov = vector;
                header.msg_iovlen = 1;
                *header
            };
            message.write(libc::mmsghdr {
                msg_hdr: header,
                msg_len: 0,
            });
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let sent = uninterrupted(|| {
            // SAFETY: the first `count` messages were written above, and point
            // at vectors and frames that outlive the call; the kernel reads
            // the frames and writes only `msg_len`.
            check(unsafe {
                libc::sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr().cast(), count, 0)
            })
        })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A packet socket of no interface: each frame names its own. Non-blocking;
/// allocates nothing; receives nothing.
#[derive(Debug)]
pub struct AnyPacketSocket {
    fd: OwnedFd,
}

impl AnyPacketSocket {
    /// Opens the socket.
    ///
    /// # Errors
    /// As [`PacketSocket::open`].
    pub fn open() -> io::Result<Self> {
        Ok(Self { fd: socket()? })
    }

    /// As [`PacketSocket::set_priority`].
    ///
    /// # Errors
    /// The same.
    pub fn set_priority(&self, priority: libc::c_int) -> io::Result<()> {
        set(&self.fd, libc::SOL_SOCKET, libc::SO_PRIORITY, priority)
    }

    /// Sends one frame, from its Ethernet header on, out of an interface.
    ///
    /// # Errors
    /// As [`PacketSocket::send`].
    pub fn send(&self, interface: NonZeroU32, frame: &[u8]) -> io::Result<()> {
        let address = address(interface)?;
        uninterrupted(|| {
            // SAFETY: the kernel reads `frame.len()` bytes of the frame and one
            // sockaddr_ll of the length given.
            check_len(unsafe {
                libc::sendto(
                    self.fd.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const address).cast(),
                    socklen::<libc::sockaddr_ll>(),
                )
            })
        })?;
        Ok(())
    }
}

/// A packet socket that is bound to nothing. Its protocol is 0, so the kernel
/// never queues a received packet for it.
fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers; returns a descriptor that is ours, or -1.
    unsafe {
        owned(libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        ))
    }
}

fn address(interface: NonZeroU32) -> io::Result<libc::sockaddr_ll> {
    Ok(libc::sockaddr_ll {
        sll_family: FAMILY,
        sll_protocol: 0,
        sll_ifindex: libc::c_int::try_from(interface.get())
            .map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    })
}

fn set(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one int.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            socklen::<libc::c_int>(),
        )
    })?;
    Ok(())
}
