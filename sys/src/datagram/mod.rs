//! Datagram sockets for health checks: one for all targets of a family, UDP,
//! ICMP echo or the SYNs of TCP, and as few system calls as there are batches. Not a client: what
//! datagrams say, and whose an answer is, is for `trunnion_core::check`.
//!
//! # Errors that belong to others
//! An unconnected UDP socket with `IP_RECVERR` learns that a port is unreachable
//! (ip(7), udp(7)): the kernel queues the ICMP error with the destination and the
//! payload it is about, for [`Port::receive_errors`]. But it also hands the bare
//! errno to whatever call comes next, be it a send to somebody else. So
//! [`Port::send`] believes an errno only where it cannot be such an echo: one
//! that no ICMP error makes, or one that a socket which never sent anything is
//! told, too, when it connects to the same target. Else it sends again.
//!
//! # What waits for a neighbour
//! A packet to a neighbour that does not answer the kernel's own question lies in
//! the kernel until that gives up, for 3 s (`mcast_solicit` times `retrans_time_ms`,
//! arp(7)), and all the while in this socket's send buffer. One buffer for all
//! targets that a dark rack has filled would let nothing out to anybody else:
//! [`Port::make_room`].
//!
//! # Loss
//! A queue that overflows loses answers silently. [`Port::lost`] counts them, so
//! that a target is not blamed for it.

mod address;
mod bpf;
mod icmp;
mod inbox;
mod outbox;
mod scout;
mod syn;

pub use inbox::{Answer, Inbox, Refusal};
pub use outbox::Outbox;
pub use syn::SYN_PORTS;

use crate::syscall::{check, owned, socklen};
use address::Name;
use scout::Scout;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use syn::Syns;
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;

/// Datagrams that one system call sends or receives.
pub const BATCH: usize = 64;
/// Bytes of a datagram at most; of a longer one that comes in, the first so many.
/// The longest RADIUS packet (RFC 2865 3).
pub const DATAGRAM_BYTES_MAX: usize = 4096;

/// Bytes asked for as receive buffer. A small datagram takes 768 of them, so this
/// holds the answers to 5,000 probes that come while the loop is busy.
const RECEIVE_BYTES: libc::c_int = 4 * 1024 * 1024;
/// Bytes asked for as send buffer, for each probe at once: what those that are
/// given up after 100 ms leave behind in 3 s. A SYN takes 768, and of a raw socket
/// the kernel takes four times what was asked for (`__ip_append_data`,
/// net/ipv4/ip_output.c), of a UDP port, where there are several, twice.
const SEND_BYTES: usize = 8 * 1024;
/// The same of all together: so that few have enough, and that many do not take more
/// than 256 MiB.
const SEND_BYTES_MIN: usize = 4 * 1024 * 1024;
const SEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a datagram is sent again because the errno was perhaps another's.
const TRIES: u32 = 4;

/// A non-blocking socket of the network namespace its thread was in. Allocates
/// nothing after it was opened.
#[derive(Debug)]
pub struct Port {
    fd: OwnedFd,
    family: Family,
    /// Of a port that is told of ICMP errors: knows the way to a target.
    scout: Option<Scout>,
    syns: Option<Syns>,
}

impl Port {
    /// A UDP port with a number of the kernel's choice.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOBUFS`; `EAFNOSUPPORT` without IPv6;
    /// `EADDRINUSE` when every port is taken.
    pub fn udp(family: Family) -> io::Result<Self> {
        let port = Self {
            fd: open(family, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?,
            family,
            scout: Some(Scout::new(family)?),
            syns: None,
        };
        port.hear_errors()?;
        port.hear_all()?;
        let any = Name::any(family);
        // SAFETY: the name is live and of the length given; the kernel reads it.
        check(unsafe { libc::bind(port.fd.as_raw_fd(), any.as_ptr(), any.len()) })?;
        Ok(port)
    }

    /// A raw socket for echo requests with this identifier: it hears their
    /// replies, and errors about them. Targets have port 0. What it receives over
    /// IPv4 begins with the packet's header, over IPv6 with the message.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; else as [`Self::udp`].
    pub fn icmp(family: Family, identifier: u16) -> io::Result<Self> {
        let protocol = match family {
            Family::V4 => libc::IPPROTO_ICMP,
            Family::V6 => libc::IPPROTO_ICMPV6,
        };
        let fd = open(family, libc::SOCK_RAW, protocol)?;
        icmp::filter(&fd, family, identifier)?;
        let port = Self {
            fd,
            family,
            scout: None,
            syns: None,
        };
        port.hear_all()?;
        Ok(port)
    }

    /// A raw socket for SYNs: it hears what comes back for them, and errors about
    /// them. Targets have port 0; the segment has the real one. What it receives
    /// over IPv4 begins with the packet's header, over IPv6 with the segment.
    /// Which source address the kernel chooses is remembered of about so many
    /// `targets`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; else as [`Self::udp`].
    pub fn syn(family: Family, targets: usize) -> io::Result<Self> {
        let fd = open(family, libc::SOCK_RAW, libc::IPPROTO_TCP)?;
        let syns = Syns::new(&fd, family, targets)?;
        let port = Self {
            fd,
            family,
            scout: Some(Scout::new(family)?),
            syns: Some(syns),
        };
        port.hear_errors()?;
        port.hear_all()?;
        Ok(port)
    }

    /// Has room in its send buffer for what so many probes at once leave there that
    /// wait for neighbours who do not answer, as far as this process may have it
    /// (`CAP_NET_ADMIN`). Nothing is taken before it is needed.
    ///
    /// # Errors
    /// Those of setsockopt(2), of which none is known.
    pub fn make_room(&self, probes: usize) -> io::Result<()> {
        let bytes = probes
            .saturating_mul(SEND_BYTES)
            .clamp(SEND_BYTES_MIN, SEND_BYTES_MAX);
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        self.enlarge((libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), bytes)
    }

    /// The TCP ports that SYNs leave from, which nobody else has while this lives;
    /// of another port none.
    #[must_use]
    pub fn numbers(&self) -> [u16; SYN_PORTS] {
        self.syns.as_ref().map_or([0; SYN_PORTS], Syns::numbers)
    }

    /// The address that a SYN to a target leaves from: for its checksum, and for
    /// [`Outbox::push_from`].
    ///
    /// # Errors
    /// Those of connect(2): there is no route. `EOPNOTSUPP` for another port.
    pub fn source(&mut self, to: Ipv4Addr) -> Result<Ipv4Addr, Errno> {
        match (&mut self.syns, &self.scout) {
            (Some(syns), Some(scout)) => syns.source(scout, to),
            (None, _) | (_, None) => Err(Errno(libc::EOPNOTSUPP)),
        }
    }

    /// Call it when routes or addresses of this host may have changed: the kernel
    /// is asked again which source address it chooses.
    pub const fn forget_sources(&mut self) {
        if let Some(syns) = &mut self.syns {
            syns.forget_sources();
        }
    }

    /// Forgets of source addresses what the refusal of a packet makes doubtful: a full
    /// buffer or a firewall says nothing of them, and to ask the kernel for all of them
    /// again would be the more to do just then.
    fn doubt_source(&mut self, to: IpAddr, errno: Errno) {
        match (&mut self.syns, to, errno.0) {
            // The address has gone, and not for this target alone.
            (Some(syns), _, libc::EADDRNOTAVAIL) => syns.forget_sources(),
            (Some(syns), IpAddr::V4(to), libc::EINVAL | libc::ENETDOWN) => syns.forget_source(to),
            (Some(syns), IpAddr::V4(to), _) if may_be_anothers(errno) => syns.forget_source(to),
            (Some(_) | None, _, _) => {}
        }
    }

    /// Family of its targets.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Sends all that is in the outbox, which is empty then, and tells `sent` of
    /// each: its tag, and what the kernel said of it. A full buffer is said to be
    /// `EAGAIN` or `ENOBUFS`; a mark needs `CAP_NET_ADMIN`, or else `EPERM`; an
    /// errno that may be an echo to the last is `EBUSY`.
    pub fn send(&mut self, outbox: &mut Outbox, mut sent: impl FnMut(u64, Result<(), Errno>)) {
        let mut at = 0;
        let mut tries = 0;
        while let Some(tag) = outbox.tag(at) {
            let errno = match outbox.send(self.fd.as_fd(), at) {
                Ok(0) => Errno(libc::EIO),
                Ok(count) => {
                    for tag in (at..at + count).filter_map(|at| outbox.tag(at)) {
                        sent(tag, Ok(()));
                    }
                    at += count;
                    tries = 0;
                    continue;
                }
                Err(error) => errno(&error),
            };
            let errno = match &self.scout {
                Some(scout) if may_be_anothers(errno) => {
                    let to = outbox.target(at);
                    match to.and_then(|(to, mark)| scout.ask(&to, mark).err()) {
                        Some(own) => own,
                        None if tries < TRIES => {
                            tries += 1;
                            continue;
                        }
                        None => Errno(libc::EBUSY),
                    }
                }
                // The kernel says that of a route, and of a source that is no
                // address of this host any more.
                Some(scout) if errno.0 == libc::EINVAL && outbox.has_source(at) => {
                    let to = outbox.target(at);
                    match to.and_then(|(to, mark)| scout.ask(&to, mark).err()) {
                        Some(own) => own,
                        None => Errno(libc::EADDRNOTAVAIL),
                    }
                }
                Some(_) | None => errno,
            };
            if let (true, Some((to, _))) = (outbox.has_source(at), outbox.target(at)) {
                self.doubt_source(to.ip(), errno);
            }
            sent(tag, Err(errno));
            at += 1;
            tries = 0;
        }
        outbox.clear();
    }

    /// Receives up to [`BATCH`] answers; returns how many. Fewer than that is all
    /// there was.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOBUFS`.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let mut tries = 0;
        loop {
            match inbox.receive(self.fd.as_fd(), 0) {
                // Told again, and better, by the queue of errors.
                Err(error) if may_be_anothers(errno(&error)) && tries < BATCH => tries += 1,
                received => return received,
            }
        }
    }

    /// Receives up to [`BATCH`] errors that the network sent about datagrams of
    /// this port; returns how many. Fewer than that is all there was. To an ICMP
    /// port they come as answers do instead. A SYN port is told of errors about
    /// any TCP of this host.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_errors(&self, inbox: &mut Inbox) -> io::Result<usize> {
        inbox.receive(self.fd.as_fd(), libc::MSG_ERRQUEUE)
    }

    /// Datagrams that were lost because nobody read them in time; the number
    /// wraps. A UDP port counts those with a wrong checksum, too.
    ///
    /// # Errors
    /// None since Linux 4.12.
    pub fn lost(&self) -> io::Result<u32> {
        // SK_MEMINFO_DROPS of SO_MEMINFO (linux/sock_diag.h).
        const DROPS: usize = 8;
        let mut info = [0_u32; 16];
        let mut len = socklen::<[u32; 16]>();
        // SAFETY: the kernel writes at most `len` bytes.
        check(unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        })?;
        Ok(info[DROPS])
    }

    /// Asks for the queue of ICMP errors.
    fn hear_errors(&self) -> io::Result<()> {
        let (level, name) = match self.family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_RECVERR),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        };
        set(&self.fd, level, name, &1)
    }

    /// Asks for a receive buffer that a burst fits in.
    fn hear_all(&self) -> io::Result<()> {
        self.enlarge((libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), RECEIVE_BYTES)
    }

    /// Asks for a buffer of so many bytes, or for as many as this process may have.
    fn enlarge(
        &self,
        (force, ask): (libc::c_int, libc::c_int),
        bytes: libc::c_int,
    ) -> io::Result<()> {
        let forced = set(&self.fd, libc::SOL_SOCKET, force, &bytes);
        forced.or_else(|_| set(&self.fd, libc::SOL_SOCKET, ask, &bytes))
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The errnos that ICMP errors become (`icmp_err_convert`, net/ipv4/icmp.c;
/// `tab_unreach` and `icmpv6_err_convert`, net/ipv6/icmp.c).
const fn may_be_anothers(errno: Errno) -> bool {
    matches!(
        errno.0,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT
            | libc::ECONNREFUSED
            | libc::EMSGSIZE
            | libc::EOPNOTSUPP
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EACCES
            | libc::EPROTO
    )
}

fn open(family: Family, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let domain = libc::c_int::from(family.number());
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes no pointer, and what it returns is ours alone.
    let fd = unsafe { owned(libc::socket(domain, kind, protocol)) }?;
    if family == Family::V6 && protocol == libc::IPPROTO_UDP {
        // An IPv4-mapped target is a mistake, not another route to IPv4.
        set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1)?;
    }
    Ok(fd)
}

/// Sets an option to a value of plain numbers that the kernel takes.
fn set<T: Copy>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads one `T` of the length given, and what it points
    // to: a filter that lives until the call is over.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            socklen::<T>(),
        )
    })?;
    Ok(())
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// A message header that points at nothing yet.
fn blank() -> libc::mmsghdr {
    // SAFETY: plain numbers and pointers, which may all be zero.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

#[cfg(test)]
mod tests;
