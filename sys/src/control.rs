//! Control messages: what the kernel tells beside a packet, and is told.
//!
//! Sources: cmsg(3), RFC 3542 4 and 6, ip(7) `IP_PKTINFO`.

use crate::syscall::socklen;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Room for an `in6_pktinfo` and a hop limit, or an `in_pktinfo`, each behind
/// its header.
const BYTES: usize = 96;
const _: () = assert!(
    BYTES >= space(size_of::<libc::in6_pktinfo>()) + space(size_of::<libc::c_int>())
        && BYTES >= space(size_of::<libc::in_pktinfo>())
);

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
                _ => {}
            }
            at += message.cmsg_len.next_multiple_of(size_of::<usize>());
        }
        beside
    }
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
