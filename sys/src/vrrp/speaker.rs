//! Sockets that only speak, one for each family and one for whole frames, for all
//! interfaces: for whoever must send at once and may open nothing first.

use super::{PRIORITY, TRAFFIC_CLASS};
use crate::control::{self, Control, family, v4_address, v6_address};
use crate::packet::AnyPacketSocket;
use crate::syscall::{check, check_len, owned, socklen, uninterrupted};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};
use trunnion_core::vrrp::{PROTOCOL, TTL};

/// See the module's words. Non-blocking; allocates nothing once open. What
/// arrives for it is dropped before it is queued.
#[derive(Debug)]
pub struct Speaker {
    v4: OwnedFd,
    /// None on a kernel without IPv6.
    v6: Option<OwnedFd>,
    frames: AnyPacketSocket,
}

impl Speaker {
    /// Opens the sockets.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open() -> io::Result<Self> {
        let v4 = open(libc::AF_INET)?;
        set(&v4, libc::IPPROTO_IP, libc::IP_HDRINCL, 1)?;
        set(&v4, libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0)?;
        set(&v4, libc::IPPROTO_IP, libc::IP_TOS, TRAFFIC_CLASS)?;
        // Last, because IP_TOS sets a priority as well.
        set(&v4, libc::SOL_SOCKET, libc::SO_PRIORITY, PRIORITY)?;
        let v6 = match open(libc::AF_INET6) {
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            opened => Some(opened?),
        };
        if let Some(v6) = &v6 {
            for (name, value) in [
                (libc::IPV6_MULTICAST_LOOP, 0),
                (libc::IPV6_MULTICAST_HOPS, TTL.into()),
                (libc::IPV6_UNICAST_HOPS, TTL.into()),
                (libc::IPV6_TCLASS, TRAFFIC_CLASS),
            ] {
                set(v6, libc::IPPROTO_IPV6, name, value)?;
            }
            set(v6, libc::SOL_SOCKET, libc::SO_PRIORITY, PRIORITY)?;
        }
        let frames = AnyPacketSocket::open()?;
        frames.set_priority(PRIORITY)?;
        Ok(Self { v4, v6, frames })
    }

    /// Sends a whole frame by an interface.
    ///
    /// # Errors
    /// Those of [`crate::packet::PacketSocket::send`].
    pub fn send_frame(&self, interface: NonZeroU32, frame: &[u8]) -> io::Result<()> {
        self.frames.send(interface, frame)
    }

    /// Sends a whole IPv4 packet by an interface to `destination`, the address
    /// in its header.
    ///
    /// # Errors
    /// Those of [`super::Socket::send_v4`].
    pub fn send_v4(
        &self,
        interface: NonZeroU32,
        packet: &[u8],
        destination: Ipv4Addr,
    ) -> io::Result<()> {
        let mut to = libc::sockaddr_in {
            sin_family: family(libc::AF_INET),
            sin_port: 0,
            sin_addr: v4_address(destination),
            sin_zero: [0; 8],
        };
        let mut control = Control::empty();
        let none = libc::in_addr { s_addr: 0 };
        let length = control.packet_info_v4(libc::in_pktinfo {
            ipi_ifindex: libc::c_int::try_from(interface.get())
                .map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?,
            ipi_spec_dst: none,
            ipi_addr: none,
        });
        let mut vector = vector(packet);
        let mut header = control::message(&mut to, &mut vector, &mut control);
        header.msg_controllen = length;
        send(&self.v4, &header)
    }

    /// Sends a VRRP message over IPv6 from `source`, an address of the
    /// interface and the one its checksum was made with.
    ///
    /// # Errors
    /// Those of [`super::Socket::send_v6`]; `EAFNOSUPPORT` without IPv6.
    pub fn send_v6(
        &self,
        interface: NonZeroU32,
        message: &[u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> io::Result<()> {
        let socket = self.v6.as_ref();
        let socket = socket.ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let mut to = libc::sockaddr_in6 {
            sin6_family: family(libc::AF_INET6),
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: v6_address(destination),
            sin6_scope_id: if destination.is_unicast_link_local() || destination.is_multicast() {
                interface.get()
            } else {
                0
            },
        };
        let mut control = Control::empty();
        let length = control.packet_info(libc::in6_pktinfo {
            ipi6_addr: v6_address(source),
            ipi6_ifindex: interface.get(),
        });
        let mut vector = vector(message);
        let mut header = control::message(&mut to, &mut vector, &mut control);
        header.msg_controllen = length;
        send(socket, &header)
    }
}

fn open(domain: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers; returns a descriptor that is ours, or -1.
    let fd = unsafe { owned(libc::socket(domain, kind, PROTOCOL.into())) }?;
    let mut nothing = [libc::sock_filter {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let filter = libc::sock_fprog {
        len: 1,
        filter: nothing.as_mut_ptr(),
    };
    set(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, filter)?;
    Ok(fd)
}

/// `BPF_RET | BPF_K` (linux/filter.h): keep as many bytes as `k` says, none.
const RETURN: u16 = 0x06;

fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

fn send(socket: &OwnedFd, header: &libc::msghdr) -> io::Result<()> {
    uninterrupted(|| {
        // SAFETY: the header points at a name, a vector and control data that
        // outlive the call, with their lengths; the kernel reads them and the
        // bytes of the vector.
        check_len(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const *header, 0) })
    })?;
    Ok(())
}

fn set<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: T) -> io::Result<()> {
    // SAFETY: the kernel reads one `T` of the length given, and what it points
    // to: a filter that lives until the call is over.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            socklen::<T>(),
        )
    })?;
    Ok(())
}
