//! A netlink socket: datagrams out, datagrams in, and nothing about what they
//! say. Source: netlink(7).

mod inbox;

pub use inbox::Inbox;

use crate::syscall::{check, check_len, owned, socklen, uninterrupted};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `NETLINK_ROUTE`: addresses, links, routes.
    Route,
    /// `NETLINK_GENERIC`: families by name, IPVS among them.
    Generic,
}

/// Bytes asked for as send buffer: one send may be this long, less 32.
const SEND_BYTES: libc::c_int = 512 * 1024;
/// Bytes asked for as receive buffer. An unread ack costs the kernel up to
/// 1 KiB of it, so this holds the answers to a batch many times over, and a
/// burst of route events.
const RECEIVE_BYTES: libc::c_int = 2 * 1024 * 1024;

/// What can go wrong with receiving.
#[derive(Debug)]
pub enum Error {
    /// Messages were lost for want of buffer (`ENOBUFS`): state is unknown until
    /// it is dumped. Told once; those that were kept follow.
    Overrun,
    /// A datagram was longer than the caller's buffer; it is lost.
    Truncated {
        /// Its length, bytes.
        len: usize,
    },
    /// The system call failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overrun => {
                f.write_str("netlink replies were lost: dump again to know what is there")
            }
            Self::Truncated { len } => write!(
                f,
                "netlink datagram of {len} bytes does not fit its buffer: use 32 KiB or more"
            ),
            Self::Io(error) => write!(f, "netlink: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Overrun | Self::Truncated { .. } => None,
        }
    }
}

/// A non-blocking netlink socket of the network namespace its thread was in
/// when it was opened. Allocates nothing after that.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket and joins the multicast `groups` (`RTNLGRP_*` numbers).
    ///
    /// Its buffers are large where `CAP_NET_ADMIN` allows it and otherwise as
    /// large as the system's limit. Refusals explain themselves
    /// (`NETLINK_EXT_ACK`) and do not echo requests (`NETLINK_CAP_ACK`) where the
    /// kernel knows how.
    ///
    /// # Errors
    /// Those of socket(2), setsockopt(2) and bind(2).
    pub fn open(protocol: Protocol, groups: &[u32]) -> io::Result<Self> {
        let protocol = match protocol {
            Protocol::Route => libc::NETLINK_ROUTE,
            Protocol::Generic => libc::NETLINK_GENERIC,
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointer, and what it returns is ours alone.
        let fd = unsafe { owned(libc::socket(libc::AF_NETLINK, kind, protocol)) }?;
        let socket = Self { fd };

        socket.size(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BYTES)?;
        socket.size(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BYTES)?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            match socket.option(libc::SOL_NETLINK, option, 1) {
                // A kernel too old for it; replies are understood either way.
                Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
                other => other?,
            }
        }

        let any = address();
        // SAFETY: `any` is a whole sockaddr_nl of the length given, and the
        // kernel only reads it.
        check(unsafe {
            libc::bind(
                socket.fd.as_raw_fd(),
                (&raw const any).cast(),
                ADDRESS_BYTES,
            )
        })?;
        for group in groups {
            let group = libc::c_int::try_from(*group)
                .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
            socket.option(libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)?;
        }
        Ok(socket)
    }

    /// Sends one datagram to the kernel, which executes its requests before this
    /// returns.
    ///
    /// # Errors
    /// Those of send(2); `EMSGSIZE` when it is longer than the send buffer, and
    /// then nothing was executed.
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let sent = uninterrupted(|| {
            // SAFETY: the pointer and length are those of a live slice, which the
            // kernel only reads.
            check_len(unsafe {
                libc::send(
                    self.fd.as_raw_fd(),
                    datagram.as_ptr().cast(),
                    datagram.len(),
                    0,
                )
            })
        })?;
        debug_assert_eq!(sent, datagram.len(), "a datagram is sent whole");
        Ok(())
    }

    /// Receives one datagram of the kernel, or `None` when none is waiting. What
    /// other processes send here is passed over.
    ///
    /// # Errors
    /// [`Error::Overrun`] when some were lost, [`Error::Truncated`] when it is
    /// longer than `buf`, [`Error::Io`] for the rest of recvmsg(2).
    pub fn receive<'b>(&self, buf: &'b mut [u8]) -> Result<Option<&'b [u8]>, Error> {
        // A socket that was given to us may be one that blocks.
        const HOW: libc::c_int = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        loop {
            let mut from = address();
            let mut part = libc::iovec {
                iov_base: buf.as_mut_ptr().cast(),
                iov_len: buf.len(),
            };
            // SAFETY: msghdr is plain numbers and pointers, for all of which zero
            // is a value.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_name = (&raw mut from).cast();
            message.msg_namelen = ADDRESS_BYTES;
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            let received = uninterrupted(|| {
                // SAFETY: name and iovec point to a live sockaddr_nl and a live
                // slice that we own alone, with their true lengths; the kernel
                // writes no more than these. With MSG_TRUNC it returns the true
                // length of the datagram.
                check_len(unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, HOW) })
            });
            let len = match received {
                Ok(len) => len,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(None),
                    Some(libc::ENOBUFS) => return Err(Error::Overrun),
                    _ => return Err(Error::Io(error)),
                },
            };
            if from.nl_pid != 0 {
                continue;
            }
            // Not `buf.get(..len)` alone: the flag is the kernel's word for it.
            return if message.msg_flags & libc::MSG_TRUNC != 0 || len > buf.len() {
                Err(Error::Truncated { len })
            } else {
                Ok(Some(&buf[..len]))
            };
        }
    }

    /// Waits until something is waiting to be received (or an error to be told),
    /// or `deadline` has passed: then `false`.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so as not to spin through the last millisecond.
            let ms = left.as_nanos().div_ceil(1_000_000);
            let ms = libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX);
            let mut poll = libc::pollfd {
                fd: self.fd.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one live pollfd, and its count is 1.
            match check(unsafe { libc::poll(&raw mut poll, 1, ms) }) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) => {}
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the receive buffer the least the kernel allows: a few acks.
    #[cfg(test)]
    pub(crate) fn shrink(&self) -> io::Result<()> {
        self.option(libc::SOL_SOCKET, libc::SO_RCVBUF, 1)
    }

    /// Sets a buffer's size past the system's limit where we may.
    fn size(&self, force: libc::c_int, ask: libc::c_int, bytes: libc::c_int) -> io::Result<()> {
        match self.option(libc::SOL_SOCKET, force, bytes) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                self.option(libc::SOL_SOCKET, ask, bytes)
            }
            other => other,
        }
    }

    fn option(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: `value` is a live int of the length given; the kernel reads it.
        check(unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                socklen::<libc::c_int>(),
            )
        })?;
        Ok(())
    }
}

/// A socket that is open already, with the buffers and options it has: of
/// another namespace or from a privileged parent. Anything that keeps datagrams
/// apart and answers as the kernel does will do.
impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const ADDRESS_BYTES: libc::socklen_t = socklen::<libc::sockaddr_nl>();

/// Port 0 and no groups: the kernel's address, or "choose one for me".
fn address() -> libc::sockaddr_nl {
    // SAFETY: sockaddr_nl is plain numbers, for all of which zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = AF_NETLINK;
    address
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is 16"
)]
const AF_NETLINK: libc::sa_family_t = libc::AF_NETLINK as libc::sa_family_t;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use trunnion_core::netlink::{Batch, Errno, Messages, Reply, genl};

    fn seconds(s: u64) -> Instant {
        Instant::now() + Duration::from_secs(s)
    }

    fn answers(socket: &Socket, count: usize) -> Vec<(u32, Option<Result<(), Errno>>)> {
        let mut buf = vec![0; 32 * 1024];
        let mut found = Vec::new();
        while found.len() < count {
            assert!(socket.wait(seconds(5)).unwrap(), "{found:?}");
            while let Some(datagram) = socket.receive(&mut buf).unwrap() {
                for message in Messages::new(datagram) {
                    found.push(match Reply::parse(&message.unwrap()).unwrap() {
                        Reply::Ack { seq, result, .. } => (seq, Some(result)),
                        Reply::Data { seq, .. } => (seq, None),
                        other @ (Reply::Done { .. } | Reply::Noop | Reply::Overrun) => {
                            panic!("{other:?}")
                        }
                    });
                }
            }
        }
        found
    }

    #[test]
    fn a_batch_is_answered_in_order_and_its_barrier_last() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        let mut buf = [0; 256];
        let mut batch = Batch::new(&mut buf, 70);
        genl::get_family(&mut batch, "nlctrl").unwrap();
        genl::get_family(&mut batch, "no such family").unwrap();
        genl::get_family(&mut batch, "nlctrl").unwrap();
        batch.barrier().unwrap();
        socket.send(batch.finish()).unwrap();
        let found = answers(&socket, 4);
        assert_eq!(
            found,
            [
                (70, None),
                (71, Some(Err(Errno::ENOENT))),
                (72, None),
                (73, Some(Ok(())))
            ]
        );
    }

    #[test]
    fn nothing_waiting_is_none_and_a_deadline_ends_the_wait() {
        let socket = Socket::open(Protocol::Route, &[]).unwrap();
        assert!(socket.receive(&mut [0; 64]).unwrap().is_none());
        assert!(!socket.wait(Instant::now()).unwrap());
        assert!(
            !socket
                .wait(Instant::now() + Duration::from_millis(3))
                .unwrap()
        );
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_an_error_and_gone() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        let mut buf = [0; 64];
        let mut batch = Batch::new(&mut buf, 1);
        batch.barrier().unwrap();
        socket.send(batch.finish()).unwrap();
        let mut small = [0; 16];
        assert!(matches!(
            socket.receive(&mut small),
            Err(Error::Truncated { len: 36 })
        ));
        assert!(socket.receive(&mut small).unwrap().is_none());
    }

    #[test]
    fn what_another_process_sends_is_passed_over() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        let mut own = address();
        let mut len = ADDRESS_BYTES;
        // SAFETY: `own` is a live sockaddr_nl and `len` its length.
        check(unsafe {
            libc::getsockname(socket.as_raw_fd(), (&raw mut own).cast(), &raw mut len)
        })
        .unwrap();
        assert_ne!(own.nl_pid, 0);
        let other = Socket::open(Protocol::Generic, &[]).unwrap();
        // SAFETY: the slice and the address are live and their lengths true.
        let sent = check_len(unsafe {
            libc::sendto(
                other.as_raw_fd(),
                [0_u8; 16].as_ptr().cast(),
                16,
                0,
                (&raw const own).cast(),
                len,
            )
        });
        // Only root may; for others there is nothing to pass over.
        if sent.is_ok() {
            assert!(socket.wait(seconds(5)).unwrap());
        }
        assert!(socket.receive(&mut [0; 64]).unwrap().is_none());
    }

    #[test]
    fn lost_replies_are_told_once_and_the_kept_ones_follow() {
        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        socket.shrink().unwrap();
        let mut buf = [0; 1024];
        let mut batch = Batch::new(&mut buf, 1);
        for _ in 0..60 {
            batch.barrier().unwrap();
        }
        socket.send(batch.finish()).unwrap();
        let mut buf = [0; 4096];
        assert!(matches!(socket.receive(&mut buf), Err(Error::Overrun)));
        let mut kept = 0;
        while socket.receive(&mut buf).unwrap().is_some() {
            kept += 1;
        }
        assert!((1..60).contains(&kept), "{kept}");
    }
}
