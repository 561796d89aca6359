//! Host names by way of the system's resolver.

use std::ffi::CString;
use std::fmt;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;
use trunnion_core::model::Family;

/// Why a name has no address, as getaddrinfo(3) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no such name, or it has no address of the family.
    NoSuch,
    /// No name server answered, or none could say at the moment.
    NoAnswer,
    /// The name servers failed for good.
    Failed,
    /// Out of memory.
    Memory,
    /// A system call failed with this errno.
    System(i32),
    /// Another of its errors.
    Other(i32),
}

impl Unresolved {
    /// In words that do not change from one time to the next.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoSuch => "no such name, or no address of its family",
            Self::NoAnswer => "no answer from a name server",
            Self::Failed => "the name servers failed",
            Self::Memory => "out of memory",
            Self::System(_) => "a system call failed",
            Self::Other(_) => "the resolver failed",
        }
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => write!(f, "{} (errno {errno})", self.words()),
            Self::Other(code) => write!(f, "{} ({code})", self.words()),
            Self::NoSuch | Self::NoAnswer | Self::Failed | Self::Memory => {
                f.write_str(self.words())
            }
        }
    }
}

impl std::error::Error for Unresolved {}

/// Of glibc's netdb.h, beside those of libc.
const EAI_NODATA: i32 = -5;
const EAI_ADDRFAMILY: i32 = -9;

/// The addresses of a family that a name has, sorted, none twice, at least one;
/// from wherever the host looks names up (hosts(5), DNS: nsswitch.conf(5)).
/// Allocates, and waits as long as the resolver does: by resolv.conf(5) that is 5 s
/// for each try with each server, unless the file says otherwise.
///
/// # Errors
/// [`Unresolved`].
pub fn addresses(name: &str, family: Family) -> Result<Vec<IpAddr>, Unresolved> {
    let name = CString::new(name).map_err(|_| Unresolved::NoSuch)?;
    // SAFETY: all zero is a value of each of its fields: numbers, and pointers
    // that may be null.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    hints.ai_family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    // One row for each address, not one for each type of socket.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut found = ptr::null_mut();
    // SAFETY: the name ends with a NUL, the hints are read, `found` is written to.
    let code =
        unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut found) };
    if code != 0 {
        return Err(match code {
            libc::EAI_NONAME | EAI_NODATA | EAI_ADDRFAMILY => Unresolved::NoSuch,
            libc::EAI_AGAIN => Unresolved::NoAnswer,
            libc::EAI_FAIL => Unresolved::Failed,
            libc::EAI_MEMORY => Unresolved::Memory,
            libc::EAI_SYSTEM => {
                let errno = std::io::Error::last_os_error().raw_os_error();
                Unresolved::System(errno.unwrap_or(0))
            }
            other => Unresolved::Other(other),
        });
    }
    let mut list = Vec::new();
    let mut row = found;
    // SAFETY: the call succeeded, so it is a list of rows that end with a null,
    // ours until it is freed.
    while let Some(entry) = unsafe { row.as_ref() } {
        // SAFETY: the row says what its address is, and that is there for as
        // long as the row is.
        list.extend(unsafe { address(entry) });
        row = entry.ai_next;
    }
    // SAFETY: it came from getaddrinfo, and nothing of it is used any more.
    unsafe { libc::freeaddrinfo(found) };
    list.sort_unstable();
    list.dedup();
    if list.is_empty() {
        return Err(Unresolved::NoSuch);
    }
    Ok(list)
}

/// The address of a row.
///
/// # Safety
/// It is a row of getaddrinfo(3): `ai_addr` points to `ai_addrlen` bytes, or is
/// null.
unsafe fn address(entry: &libc::addrinfo) -> Option<IpAddr> {
    if entry.ai_addr.is_null() {
        return None;
    }
    let len = entry.ai_addrlen as usize;
    if entry.ai_family == libc::AF_INET && len >= size_of::<libc::sockaddr_in>() {
        // SAFETY: of this family it is a `sockaddr_in`, and as long.
        let v4 = unsafe { entry.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
        let octets = v4.sin_addr.s_addr.to_ne_bytes();
        return Some(IpAddr::V4(Ipv4Addr::from(octets)));
    }
    if entry.ai_family == libc::AF_INET6 && len >= size_of::<libc::sockaddr_in6>() {
        // SAFETY: as above.
        let v6 = unsafe { entry.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
        return Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hosts(5) and by what is an address already: no test asks a name server.
    #[test]
    fn what_needs_no_server_is_found() {
        let localhost = addresses("localhost", Family::V4).unwrap();
        assert!(
            localhost.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)),
            "{localhost:?}"
        );
        assert!(localhost.is_sorted_by(|a, b| a < b));
        let v6 = addresses("2001:db8::1", Family::V6);
        assert_eq!(v6, Ok(vec!["2001:db8::1".parse().unwrap()]));
        assert_eq!(
            addresses("2001:db8::1", Family::V4),
            Err(Unresolved::NoSuch)
        );
        assert_eq!(addresses("a\0b", Family::V4), Err(Unresolved::NoSuch));
    }
}
