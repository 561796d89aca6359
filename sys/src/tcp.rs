//! Pooled non-blocking TCP sockets for health checks. Not a client: what is said
//! on them, and when a connection is over, is the engine's.
//!
//! A check by way of a fresh socket costs six system calls and may leave a
//! `TIME_WAIT`. Here sockets are opened and registered with the poller once;
//! connect(2) with `AF_UNSPEC` ends a connection by RST, frees its port, and
//! leaves descriptor, registration and options as they were: two system calls
//! and four packets for each check, three with `half_open` and nobody woken on
//! the other side.
//!
//! # Telling an event from an old one
//! Register each socket once, edge-triggered, for both directions (in mio:
//! `SourceFd`, `Interest::READABLE | Interest::WRITABLE`). A disconnected socket reports "hang-up",
//! and disconnecting leaves an edge and an `ECONNRESET` behind, so not every
//! event is an answer. [`Pool::outcome`] tells, provided that the owner handles
//! the events of a poll before it connects or disconnects anything:
//!
//! - connect(2) clears `SO_ERROR` (`tcp_connect_init`, net/ipv4/tcp_output.c):
//!   an error read on a socket in flight is of this connection;
//! - a socket in `SYN_SENT` reports nothing at all (`tcp_poll`, net/ipv4/tcp.c):
//!   an old edge that meets a new connection is swallowed by the kernel;
//! - writable without error and hang-up is connected.
//!
//! On a connection that stands an event is a hint, and read(2) and write(2) say
//! what there is: an old edge costs a read that finds nothing.
//!
//! An event of a socket that is not in flight means nothing; the engine in
//! `trunnion_core::check` counts it as stray.

use crate::syscall::{check, check_len, owned, socklen};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use trunnion_core::check::SocketId;
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;

/// What came of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands.
    Connected,
    /// It is being made; an event will tell.
    InProgress,
    /// It could not be made.
    Failed(Errno),
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes, at least 1.
    Bytes(usize),
    /// Nothing more for now; an event will tell.
    Nothing,
    /// The other side has ended its stream.
    End,
    /// The connection is broken.
    Failed(Errno),
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The kernel took so many bytes; none if it has no room, and an event will
    /// tell of some.
    Bytes(usize),
    /// The connection is broken.
    Failed(Errno),
}

/// What a poller says of a socket. In mio: `is_writable`, `is_error`,
/// `is_write_closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// `EPOLLOUT`.
    pub writable: bool,
    /// `EPOLLERR`.
    pub error: bool,
    /// `EPOLLHUP`.
    pub hup: bool,
}

/// A fixed number of sockets, first the IPv4 ones, then the IPv6 ones, in the
/// network namespace its thread was in. Allocates nothing after
/// [`open`](Self::open).
pub struct Pool {
    /// A kernel without IPv6 has only the IPv4 ones.
    sockets: Box<[Socket]>,
    v4: u32,
    v6: u32,
}

struct Socket {
    fd: OwnedFd,
    family: Family,
    /// `TCP_DEFER_ACCEPT` is set.
    half_open: bool,
}

impl Pool {
    /// Opens all sockets. A kernel without IPv6 (`ipv6.disable=1`) is no reason to
    /// have none of IPv4: the others stay closed, and connecting one says so.
    ///
    /// # Errors
    /// Those of socket(2): `EMFILE` when the limit of descriptors is less than
    /// their number.
    pub fn open(v4: u32, v6: u32) -> io::Result<Self> {
        Self::open_by(v4, v6, Socket::open)
    }

    fn open_by(
        v4: u32,
        v6: u32,
        mut open: impl FnMut(Family) -> io::Result<Socket>,
    ) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(v4 as usize + v6 as usize);
        for _ in 0..v4 {
            sockets.push(open(Family::V4)?);
        }
        for _ in 0..v6 {
            match open(Family::V6) {
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => break,
                opened => sockets.push(opened?),
            }
        }
        Ok(Self {
            sockets: sockets.into(),
            v4,
            v6,
        })
    }

    /// Sockets in the pool, with those that a kernel without IPv6 did not open.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.v4 as usize + self.v6 as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are IPv4.
    #[must_use]
    pub const fn v4(&self) -> u32 {
        self.v4
    }

    /// All that are open with their ids, to register them.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, BorrowedFd<'_>)> {
        (0..)
            .map(SocketId)
            .zip(self.sockets.iter().map(|s| s.fd.as_fd()))
    }

    /// Connects a disconnected socket. With `half_open` our side of the
    /// handshake's end is put off (`TCP_DEFER_ACCEPT`, tcp(7)), so that a
    /// disconnect in time spares the target an accept.
    ///
    /// `EBADF` for a socket that is not in the pool, `EAFNOSUPPORT` for one of
    /// the other family, or of a family the kernel has not; the rest is connect(2)'s. Of a socket that was not
    /// disconnected the kernel tells how its earlier connection goes
    /// (`EALREADY`, once success, `EISCONN`).
    pub fn connect(&mut self, id: SocketId, target: SocketAddr, half_open: bool) -> Outcome {
        let closed = self.closed(id);
        let Some(socket) = self.sockets.get_mut(id.index()) else {
            return Outcome::Failed(Errno(closed));
        };
        if socket.family != Family::of(&target.ip()) {
            // The kernel would say EINVAL, as it does of a blackhole route.
            return Outcome::Failed(Errno(libc::EAFNOSUPPORT));
        }
        let connected = socket
            .set_half_open(half_open)
            .and_then(|()| socket.connect(&target));
        match connected {
            Ok(()) => Outcome::Connected,
            Err(error) => match errno(&error) {
                // Interrupted, it goes on as if it had said the other.
                Errno(libc::EINPROGRESS | libc::EINTR) => Outcome::InProgress,
                errno => Outcome::Failed(errno),
            },
        }
    }

    /// Ends whatever a socket is doing; it can be connected again. An open
    /// connection is reset.
    ///
    /// # Errors
    /// `EBADF` for a socket that is not in the pool, `EAFNOSUPPORT` for one that was
    /// never opened; the kernel itself knows no reason to refuse.
    pub fn disconnect(&mut self, id: SocketId) -> io::Result<()> {
        match self.sockets.get(id.index()) {
            Some(socket) => socket.disconnect(),
            None => Err(io::Error::from_raw_os_error(self.closed(id))),
        }
    }

    /// What is wrong with a socket that is not open.
    const fn closed(&self, id: SocketId) -> libc::c_int {
        if id.index() < self.len() {
            libc::EAFNOSUPPORT
        } else {
            libc::EBADF
        }
    }

    /// Reads what is there, as much as `into` holds (recv(2)). `EBADF` for a
    /// socket that is not in the pool.
    pub fn read(&mut self, id: SocketId, into: &mut [u8]) -> Heard {
        let Some(socket) = self.sockets.get(id.index()) else {
            return Heard::Failed(Errno(libc::EBADF));
        };
        loop {
            // SAFETY: `into` is live and writable for its length; the kernel
            // writes no more than that.
            let got = unsafe {
                libc::recv(
                    socket.fd.as_raw_fd(),
                    into.as_mut_ptr().cast(),
                    into.len(),
                    0,
                )
            };
            match check_len(got).map_err(|error| errno(&error)) {
                Ok(0) => return Heard::End,
                Ok(bytes) => return Heard::Bytes(bytes),
                Err(Errno(libc::EINTR)) => {}
                Err(Errno(libc::EAGAIN)) => return Heard::Nothing,
                Err(errno) => return Heard::Failed(errno),
            }
        }
    }

    /// Writes as much as the kernel takes (send(2), without SIGPIPE). `EBADF`
    /// for a socket that is not in the pool.
    pub fn write(&mut self, id: SocketId, bytes: &[u8]) -> Said {
        let Some(socket) = self.sockets.get(id.index()) else {
            return Said::Failed(Errno(libc::EBADF));
        };
        loop {
            // SAFETY: `bytes` is live and readable for its length; the kernel
            // only reads it.
            let sent = unsafe {
                libc::send(
                    socket.fd.as_raw_fd(),
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    libc::MSG_NOSIGNAL,
                )
            };
            match check_len(sent).map_err(|error| errno(&error)) {
                Ok(bytes) => return Said::Bytes(bytes),
                Err(Errno(libc::EINTR)) => {}
                Err(Errno(libc::EAGAIN)) => return Said::Bytes(0),
                Err(errno) => return Said::Failed(errno),
            }
        }
    }

    /// What an event of a socket in flight says; `None` when it says nothing,
    /// as an edge from before its last disconnect. See the [module](self) for
    /// when it may be asked. Takes the socket's error.
    #[must_use]
    pub fn outcome(&self, id: SocketId, readiness: Readiness) -> Option<Outcome> {
        let Readiness {
            writable,
            error,
            hup,
        } = readiness;
        if !error && !hup {
            return writable.then_some(Outcome::Connected);
        }
        match self.sockets.get(id.index())?.take_error() {
            Ok(Errno(0)) => None,
            Ok(errno) => Some(Outcome::Failed(errno)),
            Err(error) => Some(Outcome::Failed(errno(&error))),
        }
    }
}

/// Makes closing a connection reset it (`SO_LINGER` with a time of 0,
/// socket(7)).
///
/// # Errors
/// Those of setsockopt(2).
pub fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: `linger` is a live struct of the length given; the kernel reads it.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            socklen::<libc::linger>(),
        )
    })?;
    Ok(())
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("v4", &self.v4)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Socket {
    fn open(family: Family) -> io::Result<Self> {
        let domain = libc::c_int::from(family.number());
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointer, and what it returns is ours alone.
        let fd = unsafe { owned(libc::socket(domain, kind, libc::IPPROTO_TCP)) }?;
        let socket = Self {
            fd,
            family,
            half_open: false,
        };
        if family == Family::V6 {
            // An IPv4-mapped target is a mistake, not another route to IPv4.
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        Ok(socket)
    }

    fn set_half_open(&mut self, half_open: bool) -> io::Result<()> {
        if self.half_open != half_open {
            // Seconds; that it is not 0 is what counts on a client's side
            // (tcp_rcv_synsent_state_process, net/ipv4/tcp_input.c).
            let seconds = libc::c_int::from(half_open);
            self.set(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
            self.half_open = half_open;
        }
        Ok(())
    }

    fn connect(&self, target: &SocketAddr) -> io::Result<()> {
        match target {
            SocketAddr::V4(target) => self.connect_to(&libc::sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: target.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(target.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(target) => self.connect_to(&libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: target.port().to_be(),
                sin6_flowinfo: target.flowinfo().to_be(),
                sin6_addr: libc::in6_addr {
                    s6_addr: target.ip().octets(),
                },
                sin6_scope_id: target.scope_id(),
            }),
        }
    }

    /// connect(2), "dissolve the association by connecting to an address with
    /// the `sa_family` member set to `AF_UNSPEC`".
    fn disconnect(&self) -> io::Result<()> {
        self.connect_to(&libc::sockaddr {
            sa_family: family(libc::AF_UNSPEC),
            sa_data: [0; 14],
        })
    }

    /// `A` is one of the socket addresses: those call it.
    fn connect_to<A>(&self, address: &A) -> io::Result<()> {
        // SAFETY: `address` is live, of the length given, and begins with its
        // family; the kernel only reads it.
        check(unsafe {
            libc::connect(
                self.fd.as_raw_fd(),
                (&raw const *address).cast(),
                socklen::<A>(),
            )
        })?;
        Ok(())
    }

    /// `SO_ERROR` (socket(7)), which reading clears.
    fn take_error(&self) -> io::Result<Errno> {
        let mut error: libc::c_int = 0;
        let mut len = socklen::<libc::c_int>();
        // SAFETY: `error` is a live int and `len` its length; the kernel writes
        // no more than that.
        check(unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut error).cast(),
                &raw mut len,
            )
        })?;
        Ok(Errno(error))
    }

    fn set(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
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

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The address families used here are 0, 2 and 10.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "see above"
)]
const fn family(number: libc::c_int) -> libc::sa_family_t {
    number as libc::sa_family_t
}

#[cfg(test)]
mod tests;
