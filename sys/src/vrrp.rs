//! Raw sockets of protocol 112, one for each interface and family: adverts out,
//! packets in. What they say is core's to read.
//!
//! Sources: raw(7), ip(7), ipv6(7), RFC 3542 (control messages of IPv6).

mod speaker;

pub use speaker::Speaker;

use crate::control::{self, Control, family, v4_address, v6_address};
use crate::packet::PRIORITY_CONTROL as PRIORITY;
use crate::syscall::{check, check_len, owned, socklen, uninterrupted};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use trunnion_core::model::Family;
use trunnion_core::vrrp::{GROUP_V4, GROUP_V6, Malformed, PROTOCOL, Received, TTL};

/// Bytes a receive buffer has. Longer than the longest advert (4,088 bytes of
/// IPv6 message), so what had to be cut off to fit was none.
pub const BUFFER_BYTES: usize = 4608;
const _: () = assert!(BUFFER_BYTES > trunnion_core::vrrp::advert::MESSAGE_BYTES_MAX + 60);

/// Bytes asked for as receive buffer: a stalled loop loses no advert of 255
/// virtual routers for some seconds.
const RECEIVE_BYTES: libc::c_int = 1024 * 1024;
/// DSCP CS6, network control (RFC 4594 3.2).
const TRAFFIC_CLASS: libc::c_int = 0xc0;
/// `IPV6_MULTICAST_ALL` (in6.h, since Linux 4.20).
const IPV6_MULTICAST_ALL: libc::c_int = 29;

/// Why a socket could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// What was asked of the kernel.
    pub step: &'static str,
    /// The interface's index.
    pub interface: NonZeroU32,
    /// What the kernel said.
    pub error: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            step,
            interface,
            error,
        } = self;
        write!(f, "vrrp socket, {step}: {error}")?;
        match error.raw_os_error() {
            Some(libc::EPERM) => f.write_str("; give the process CAP_NET_RAW and CAP_NET_ADMIN"),
            Some(libc::ENODEV) => write!(f, "; no interface has index {interface}"),
            Some(_) | None => Ok(()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A non-blocking raw socket bound to one interface and a member of its
/// family's group, that hears nothing of itself. For multicast and unicast
/// alike. Allocates nothing once open.
///
/// It may be opened before the interface is up or has an address. An interface
/// that is deleted and made again has another index: open a new socket then.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    family: Family,
    interface: NonZeroU32,
}

impl Socket {
    /// Opens the IPv4 socket of the interface of that index. It sends packets
    /// with their header ([`send_v4`](Self::send_v4)).
    ///
    /// # Errors
    /// [`OpenError`] with `EPERM` without `CAP_NET_RAW`, `ENODEV` when there is
    /// no such interface, `ENOBUFS` above `net.ipv4.igmp_max_memberships`,
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open_v4(interface: NonZeroU32) -> Result<Self, OpenError> {
        let opening = Opening::new(Family::V4, interface)?;
        let index = opening.index()?;
        let none = libc::in_addr { s_addr: 0 };
        let on_interface = |group: Ipv4Addr| libc::ip_mreqn {
            imr_multiaddr: v4_address(group),
            imr_address: none,
            imr_ifindex: index,
        };
        let ip = |name, step, value| opening.set(libc::IPPROTO_IP, name, step, &value);

        ip(libc::IP_PKTINFO, "learn the interface of a packet", 1)?;
        ip(libc::IP_HDRINCL, "send whole packets", 1)?;
        ip(libc::IP_MULTICAST_ALL, "hear no other group", 0)?;
        ip(libc::IP_MULTICAST_LOOP, "hear nothing of ourselves", 0)?;
        ip(libc::IP_MULTICAST_TTL, "set the ttl", TTL.into())?;
        // Our header says the same; the kernel picks a queue by these.
        ip(libc::IP_TOS, "set the type of service", TRAFFIC_CLASS)?;
        opening.set(
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            "choose the interface to send on",
            &on_interface(Ipv4Addr::UNSPECIFIED),
        )?;
        opening.set(
            libc::IPPROTO_IP,
            libc::IP_ADD_MEMBERSHIP,
            "join 224.0.0.18",
            &on_interface(GROUP_V4),
        )?;
        opening.finish()
    }

    /// Opens the IPv6 socket of the interface of that index. The kernel makes
    /// the header of what it sends ([`send_v6`](Self::send_v6)).
    ///
    /// # Errors
    /// As [`open_v4`](Self::open_v4); `EAFNOSUPPORT` on a kernel without IPv6,
    /// `EINVAL` or `ENODEV` where `disable_ipv6` is set.
    pub fn open_v6(interface: NonZeroU32) -> Result<Self, OpenError> {
        let opening = Opening::new(Family::V6, interface)?;
        let ip = |name, step, value| opening.set(libc::IPPROTO_IPV6, name, step, &value);

        ip(
            libc::IPV6_RECVPKTINFO,
            "learn the destination of a packet",
            1,
        )?;
        ip(
            libc::IPV6_RECVHOPLIMIT,
            "learn the hop limit of a packet",
            1,
        )?;
        ip(IPV6_MULTICAST_ALL, "hear no other group", 0)?;
        ip(libc::IPV6_MULTICAST_LOOP, "hear nothing of ourselves", 0)?;
        ip(libc::IPV6_MULTICAST_HOPS, "set the hop limit", TTL.into())?;
        ip(libc::IPV6_UNICAST_HOPS, "set the hop limit", TTL.into())?;
        ip(libc::IPV6_TCLASS, "set the traffic class", TRAFFIC_CLASS)?;
        let index = opening.index()?;
        ip(
            libc::IPV6_MULTICAST_IF,
            "choose the interface to send on",
            index,
        )?;
        opening.set(
            libc::IPPROTO_IPV6,
            libc::IPV6_ADD_MEMBERSHIP,
            "join ff02::12",
            &libc::ipv6_mreq {
                ipv6mr_multiaddr: v6_address(GROUP_V6),
                ipv6mr_interface: interface.get(),
            },
        )?;
        opening.finish()
    }

    /// Family of its packets.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Index of its interface.
    #[must_use]
    pub const fn interface(&self) -> NonZeroU32 {
        self.interface
    }

    /// Sends a whole IPv4 packet to `destination`, the address in its header.
    /// The kernel fills in the identification and the header's checksum.
    ///
    /// # Errors
    /// `ENETUNREACH` or `ENETDOWN` while the interface is down; `ENODEV`,
    /// `ENXIO` when it is gone; `EHOSTUNREACH` without a route to a unicast peer;
    /// `EMSGSIZE` above the MTU; `ENOBUFS` and `WouldBlock` when a queue is full.
    pub fn send_v4(&self, packet: &[u8], destination: Ipv4Addr) -> io::Result<()> {
        let to = libc::sockaddr_in {
            sin_family: family(libc::AF_INET),
            sin_port: 0,
            sin_addr: v4_address(destination),
            sin_zero: [0; 8],
        };
        uninterrupted(|| {
            // SAFETY: the kernel reads `packet.len()` bytes of the packet and
            // one sockaddr_in of the length given.
            check_len(unsafe {
                libc::sendto(
                    self.fd.as_raw_fd(),
                    packet.as_ptr().cast(),
                    packet.len(),
                    0,
                    (&raw const to).cast(),
                    socklen::<libc::sockaddr_in>(),
                )
            })
        })?;
        Ok(())
    }

    /// Sends a VRRP message over IPv6 from `source`, one of the interface's
    /// addresses and the one its checksum was made with.
    ///
    /// # Errors
    /// As [`send_v4`](Self::send_v4); `EINVAL` or `EADDRNOTAVAIL` when `source`
    /// is not an address of the interface, or still tentative.
    pub fn send_v6(
        &self,
        message: &[u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> io::Result<()> {
        let mut to = self.v6_name(destination);
        let mut control = Control::empty();
        let length = control.packet_info(libc::in6_pktinfo {
            ipi6_addr: v6_address(source),
            ipi6_ifindex: self.interface.get(),
        });
        let mut vector = libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        };
        let mut header = control::message(&mut to, &mut vector, &mut control);
        header.msg_controllen = length;
        uninterrupted(|| {
            // SAFETY: the header points at a name, a vector and control data
            // that outlive the call, with their lengths; the kernel reads them
            // and the message.
            check_len(unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const header, 0) })
        })?;
        Ok(())
    }

    /// The next packet, `None` when none waits, or why it cannot be an advert.
    /// Call until `None`, within a budget.
    ///
    /// # Errors
    /// `ENETDOWN` once after the interface went down; `ENOMEM`.
    pub fn receive<'b>(
        &self,
        buffer: &'b mut [u8; BUFFER_BYTES],
    ) -> io::Result<Option<Result<Received<'b>, Malformed>>> {
        let (length, name, control) = loop {
            let mut name = self.v6_name(Ipv6Addr::UNSPECIFIED);
            let mut control = Control::empty();
            let mut vector = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let mut header = control::message(&mut name, &mut vector, &mut control);
            let received = uninterrupted(|| {
                // SAFETY: the header points at a name, a vector and room for
                // control data that outlive the call, with their lengths; the
                // kernel writes within those.
                check_len(unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, 0) })
            });
            let length = match received {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            let control = control.read(&header);
            // Between socket(2) and its binding, packets of any interface were
            // queued: they were not sent to us.
            if control.interface == Some(self.interface.get()) {
                break (length, name, control);
            }
        };
        let payload = buffer.get(..length).unwrap_or(&[]);
        Ok(Some(match self.family {
            Family::V4 => Received::from_ipv4(payload),
            Family::V6 => Ok(Received {
                source: IpAddr::V6(Ipv6Addr::from(name.sin6_addr.s6_addr)),
                destination: IpAddr::V6(control.destination.unwrap_or(Ipv6Addr::UNSPECIFIED)),
                // Told for each packet; were it not, 0 would be rejected.
                ttl: control.hop_limit.unwrap_or(0),
                payload,
            }),
        }))
    }

    fn v6_name(&self, address: Ipv6Addr) -> libc::sockaddr_in6 {
        libc::sockaddr_in6 {
            sin6_family: family(libc::AF_INET6),
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: v6_address(address),
            sin6_scope_id: if address.is_unicast_link_local() || address.is_multicast() {
                self.interface.get()
            } else {
                0
            },
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A socket whose options are being set.
struct Opening {
    fd: OwnedFd,
    family: Family,
    interface: NonZeroU32,
}

impl Opening {
    /// A socket bound to its interface, which cannot send or receive on another
    /// from here on.
    fn new(family: Family, interface: NonZeroU32) -> Result<Self, OpenError> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes numbers; returns a descriptor that is ours, or -1.
        let fd = unsafe { owned(libc::socket(domain, kind, PROTOCOL.into())) };
        let opening = Self {
            fd: fd.map_err(|error| OpenError {
                step: "open",
                interface,
                error,
            })?,
            family,
            interface,
        };
        // The bind takes any number, and joining a group there comes last: ask
        // first whether the interface exists.
        opening.exists()?;
        let socket = |name, step, value| opening.set(libc::SOL_SOCKET, name, step, &value);
        socket(
            libc::SO_BINDTOIFINDEX,
            "bind to the interface",
            opening.index()?,
        )?;
        // Above the system's limit where that is allowed, else up to it.
        socket(
            libc::SO_RCVBUFFORCE,
            "size the receive buffer",
            RECEIVE_BYTES,
        )
        .or_else(|_| socket(libc::SO_RCVBUF, "size the receive buffer", RECEIVE_BYTES))?;
        Ok(opening)
    }

    fn finish(self) -> Result<Socket, OpenError> {
        // Last, because IP_TOS sets a priority as well.
        self.set(
            libc::SOL_SOCKET,
            libc::SO_PRIORITY,
            "set the priority",
            &PRIORITY,
        )?;
        let Self {
            fd,
            family,
            interface,
        } = self;
        Ok(Socket {
            fd,
            family,
            interface,
        })
    }

    /// The index as the options take it.
    fn index(&self) -> Result<libc::c_int, OpenError> {
        libc::c_int::try_from(self.interface.get()).map_err(|_| OpenError {
            step: "bind to the interface",
            interface: self.interface,
            error: io::Error::from_raw_os_error(libc::ENODEV),
        })
    }

    fn exists(&self) -> Result<(), OpenError> {
        let mut name = [0; libc::IF_NAMESIZE];
        // SAFETY: if_indextoname(3) writes at most IF_NAMESIZE bytes.
        let found = unsafe { libc::if_indextoname(self.interface.get(), name.as_mut_ptr()) };
        if found.is_null() {
            return Err(OpenError {
                step: "bind to the interface",
                interface: self.interface,
                error: io::Error::from_raw_os_error(libc::ENODEV),
            });
        }
        Ok(())
    }

    fn set<T>(
        &self,
        level: libc::c_int,
        name: libc::c_int,
        step: &'static str,
        value: &T,
    ) -> Result<(), OpenError> {
        // SAFETY: the kernel reads one `T` of the length given.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                socklen::<T>(),
            )
        };
        check(result).map(|_| ()).map_err(|error| OpenError {
            step,
            interface: self.interface,
            error,
        })
    }
}
