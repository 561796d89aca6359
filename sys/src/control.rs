//! Control messages: what the kernel tells beside a packet, and is told.
//!
//! Sources: cmsg(3), RFC 3542 4 and 6, ip(7) `IP_PKTINFO`.

use crate::syscall::socklen;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Room for an `in6_pktinfo` and a hop limit, an `in_pktinfo`, or an error and
/// who sent it, each behind its header.
pub(crate) const BYTES: usize = 96;
const _: () = assert!(
    BYTES >= space(size_of::<libc::in6_pktinfo>()) + space(size_of::<libc::c_int>())
        && BYTES >= space(size_of::<libc::in_pktinfo>())
        && BYTES >= space(ERROR_BYTES + size_of::<libc::sockaddr_in6>())
);
const ERROR_BYTES: usize = size_of::<libc::sock_extended_err>();

/// `CMSG_SPACE`.
const fn space(bytes: usize) -> usize {
    size_of::<libc::cmsghdr>() + bytes.next_multiple_of(size_of::<usize>())
}

/// A buffer of control messages, aligned as their headers want it.
#[repr(C, align(8))]
pub(crate) struct Control {
    bytes: [u8; BYTES],
}

/// What came beside a packet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beside {
    /// Index of the interface it came in by.
    pub interface: Option<u32>,
    /// Destination of an IPv6 packet.
    pub destination: Option<Ipv6Addr>,
    /// Hop limit of an IPv6 packet.
    pub hop_limit: Option<u8>,
    /// Why a packet of ours came back.
    pub error: Option<Error>,
}

/// An error about a packet that was sent (`sock_extended_err`, ip(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    /// What it is as an errno.
    pub errno: i32,
    /// Who sent it; `None` if it was this node.
    pub by: Option<IpAddr>,
}

impl Control {
    pub(crate) const fn empty() -> Self {
        Self { bytes: [0; BYTES] }
    }

    /// Writes the interface to send by, and returns the bytes used.
    pub(crate) fn packet_info_v4(&mut self, info: libc::in_pktinfo) -> usize {
        self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, info)
    }

    /// Writes the source and interface to send by, and returns the bytes used.
    pub(crate) fn packet_info(&mut self, info: libc::in6_pktinfo) -> usize {
        self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
    }

    /// Writes the mark that the packet gets, and returns the bytes used.
    pub(crate) fn mark(&mut self, mark: u32) -> usize {
        self.put(libc::SOL_SOCKET, libc::SO_MARK, mark)
    }

    /// For a call that reads or writes at most [`BYTES`].
    pub(crate) const fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.bytes.as_mut_ptr().cast()
    }

    /// Writes the one message there is.
    fn put<T>(&mut self, level: libc::c_int, kind: libc::c_int, data: T) -> usize {
        const { assert!(space(size_of::<T>()) <= BYTES) };
        let bytes = size_of::<T>();
        let header = libc::cmsghdr {
            cmsg_len: size_of::<libc::cmsghdr>() + bytes,
            cmsg_level: level,
            cmsg_type: kind,
        };
        let start = self.bytes.as_mut_ptr();
        // SAFETY: the buffer is aligned for a cmsghdr and holds one with a `T`
        // behind it, as asserted above; the header's size is a multiple of its
        // alignment, so CMSG_DATA is right behind it.
        unsafe {
            start.cast::<libc::cmsghdr>().write(header);
            start
                .add(size_of::<libc::cmsghdr>())
                .cast::<T>()
                .write_unaligned(data);
        }
        space(bytes)
    }

    /// Reads what recvmsg(2) left, told by the header it filled in.
    pub(crate) fn read(&self, header: &libc::msghdr) -> Beside {
        let mut beside = Beside::default();
        let end = header.msg_controllen.min(BYTES);
        let mut at = 0;
        while let Some(raw) = self.bytes.get(at..end)
            && raw.len() >= size_of::<libc::cmsghdr>()
        {
            // SAFETY: `raw` holds at least a cmsghdr, which is plain numbers.
            let message = unsafe { raw.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
            let Some(data) = raw.get(size_of::<libc::cmsghdr>()..message.cmsg_len) else {
                break;
            };
            match (message.cmsg_level, message.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // ipi_ifindex is its first field.
                    beside.interface = data.first_chunk().copied().map(u32::from_ne_bytes);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let (address, index) = data.split_at_checked(16).unwrap_or((&[], &[]));
                    beside.destination = address.first_chunk::<16>().copied().map(Ipv6Addr::from);
                    beside.interface = index.first_chunk().copied().map(u32::from_ne_bytes);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let limit = data.first_chunk().copied().map(i32::from_ne_bytes);
                    beside.hop_limit = limit.and_then(|limit| u8::try_from(limit).ok());
                }
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                    beside.error = Error::read(data);
                }
                _ => {}
            }
            at += message.cmsg_len.next_multiple_of(size_of::<usize>());
        }
        beside
    }
}

impl Error {
    /// Reads a `sock_extended_err` with the address of its sender behind it.
    fn read(data: &[u8]) -> Option<Self> {
        let (error, sender) = data.split_at_checked(ERROR_BYTES)?;
        let errno = error.first_chunk().copied().map(i32::from_ne_bytes)?;
        let family = sender.first_chunk().copied().map(u16::from_ne_bytes);
        let by = match family.map(libc::c_int::from) {
            // Behind family and port, and in IPv6 flow label.
            Some(libc::AF_INET) => address::<4>(sender, 4).map(|bytes| bytes.into()),
            Some(libc::AF_INET6) => address::<16>(sender, 8).map(|bytes| bytes.into()),
            Some(_) | None => None,
        };
        Some(Self { errno, by })
    }
}

fn address<const N: usize>(name: &[u8], at: usize) -> Option<[u8; N]> {
    name.get(at..)?.first_chunk().copied()
}

/// A message header over a name, one vector and control data.
pub(crate) fn message<N>(
    name: &mut N,
    vector: &mut libc::iovec,
    control: &mut Control,
) -> libc::msghdr {
    let mut header = MaybeUninit::<libc::msghdr>::zeroed();
    // SAFETY: a msghdr is plain numbers and pointers, which may all be zero.
    let header = unsafe { header.assume_init_mut() };
    header.msg_name = std::ptr::from_mut(name).cast();
    header.msg_namelen = socklen::<N>();
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_control = control.bytes.as_mut_ptr().cast();
    header.msg_controllen = BYTES;
    *header
}

/// A family as addresses have it.
pub(crate) const fn family(domain: libc::c_int) -> libc::sa_family_t {
    const { assert!(libc::AF_INET == 2 && libc::AF_INET6 == 10) };
    if domain == libc::AF_INET { 2 } else { 10 }
}

pub(crate) const fn v4_address(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(address.octets()),
    }
}

pub(crate) const fn v6_address(address: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut control = Control::empty();
        let destination = "fe80::c8".parse().unwrap();
        let length = control.packet_info(libc::in6_pktinfo {
            ipi6_addr: v6_address(destination),
            ipi6_ifindex: 7,
        });
        let mut name = MaybeUninit::<libc::sockaddr_in6>::zeroed();
        // SAFETY: a sockaddr_in6 is plain numbers.
        let name = unsafe { name.assume_init_mut() };
        let mut vector = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        let mut header = message(name, &mut vector, &mut control);
        header.msg_controllen = length;
        let beside = control.read(&header);
        assert_eq!(beside.interface, Some(7));
        assert_eq!(beside.destination, Some(destination));
        assert_eq!(beside.hop_limit, None);
    }

    #[test]
    fn an_error_tells_who_sent_it() {
        let mut data = [0; ERROR_BYTES + 28];
        data[..4].copy_from_slice(&libc::EHOSTUNREACH.to_ne_bytes());
        let error = |data: &[u8]| Error::read(data).map(|error| (error.errno, error.by));
        assert_eq!(error(&data), Some((libc::EHOSTUNREACH, None)));
        data[ERROR_BYTES] = 2;
        data[ERROR_BYTES + 4..][..4].copy_from_slice(&[192, 0, 2, 1]);
        let by = Some("192.0.2.1".parse().unwrap());
        assert_eq!(error(&data), Some((libc::EHOSTUNREACH, by)));
        data[ERROR_BYTES] = 10;
        data[ERROR_BYTES + 8..][..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        let by = Some(Ipv6Addr::LOCALHOST.into());
        assert_eq!(error(&data), Some((libc::EHOSTUNREACH, by)));
        assert_eq!(error(&data[..ERROR_BYTES - 1]), None);
    }

    #[test]
    fn a_broken_chain_ends_the_reading() {
        for length in [0, 1, 15, 17, usize::MAX] {
            let mut control = Control::empty();
            control.bytes[..8].copy_from_slice(&length.to_ne_bytes());
            let mut name = MaybeUninit::<libc::sockaddr_in6>::zeroed();
            // SAFETY: a sockaddr_in6 is plain numbers.
            let name = unsafe { name.assume_init_mut() };
            let mut vector = libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            };
            let header = message(name, &mut vector, &mut control);
            assert_eq!(control.read(&header).interface, None);
        }
    }
}
