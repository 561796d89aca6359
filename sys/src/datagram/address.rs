//! Socket addresses as the kernel has them.

use crate::syscall::socklen;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use trunnion_core::model::Family;

/// The address of a socket of either family. Plain numbers: whatever is in it, it
/// is one of either.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    /// Room for an address; all zero.
    pub(super) const BLANK: Self = Self {
        v6: libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    /// Any address and port of a family, to be bound.
    pub(super) fn any(family: Family) -> Self {
        Self::from(&match family {
            Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        })
    }

    /// For a call that reads it.
    pub(super) const fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const *self).cast()
    }

    /// For a call that reads or writes at most a `Name`.
    pub(super) const fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        (&raw mut *self).cast()
    }

    fn family(&self) -> libc::sa_family_t {
        // SAFETY: both have the family first, and are plain numbers.
        unsafe { self.v4.sin_family }
    }

    /// Its length.
    pub(super) fn len(&self) -> libc::socklen_t {
        match self.family() {
            V4 => socklen::<libc::sockaddr_in>(),
            _ => socklen::<libc::sockaddr_in6>(),
        }
    }

    /// What it says; `None` if it is no address of the internet.
    pub(super) fn read(&self) -> Option<SocketAddr> {
        match self.family() {
            V4 => {
                // SAFETY: plain numbers, and written as that.
                let name = unsafe { self.v4 };
                let address = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
                Some((address, u16::from_be(name.sin_port)).into())
            }
            V6 => {
                // SAFETY: plain numbers, and written as that.
                let name = unsafe { self.v6 };
                let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
                let port = u16::from_be(name.sin6_port);
                Some(SocketAddrV6::new(address, port, 0, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

const V4: libc::sa_family_t = 2;
const V6: libc::sa_family_t = 10;
const _: () = assert!(V4 as libc::c_int == libc::AF_INET && V6 as libc::c_int == libc::AF_INET6);

impl From<&SocketAddr> for Name {
    fn from(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => {
                let mut name = Self::BLANK;
                name.v4 = libc::sockaddr_in {
                    sin_family: V4,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                name
            }
            SocketAddr::V6(address) => Self {
                v6: libc::sockaddr_in6 {
                    sin6_family: V6,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo().to_be(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                },
            },
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        for text in ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::from(&address).read(), Some(address));
        }
        assert_eq!(Name::BLANK.read(), None);
    }
}
