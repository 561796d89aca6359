//! What a raw socket for SYNs needs: ports that nobody else gets, a filter so
//! that it hears nothing but the answers, and over IPv4 the address that a
//! segment will leave from, which its checksum covers.

use super::address::Name;
use super::bpf::*;
use super::scout::Scout;
use super::{open, set};
use crate::memory::{Mapped, Plain};
use crate::syscall::{check, socklen};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::wire::tcp::CHECKSUM_OFFSET;

/// Ports that SYNs of a family leave from, in turns.
pub const SYN_PORTS: usize = 4;

/// `IPV6_CHECKSUM` (RFC 3542 3.1): where the kernel puts it.
const IPV6_CHECKSUM: libc::c_int = 7;

/// See the module's words.
#[derive(Debug)]
pub(super) struct Syns {
    numbers: [u16; SYN_PORTS],
    /// TCP sockets that are bound and nothing else: the kernel gives their ports
    /// to nobody, and answers what comes for them with RST, since nobody listens
    /// there and nothing is connected.
    _reserved: [OwnedFd; SYN_PORTS],
    sources: Sources,
}

impl Syns {
    /// Reserves ports and sets up the raw socket. Remembers the source addresses
    /// of about so many targets.
    pub(super) fn new(raw: &OwnedFd, family: Family, targets: usize) -> io::Result<Self> {
        let mut numbers = [0; SYN_PORTS];
        let reserve = |number: &mut u16| {
            let fd = open(family, libc::SOCK_STREAM, libc::IPPROTO_TCP)?;
            *number = bound(&fd, family)?;
            Ok::<_, io::Error>(fd)
        };
        let [a, b, c, d] = &mut numbers;
        let reserved = [reserve(a)?, reserve(b)?, reserve(c)?, reserve(d)?];
        match family {
            Family::V4 => attach(raw, &mut program_v4(numbers))?,
            Family::V6 => {
                let offset = libc::c_int::from(CHECKSUM_OFFSET);
                set(raw, libc::IPPROTO_IPV6, IPV6_CHECKSUM, &offset)?;
                attach(raw, &mut program_v6(numbers))?;
            }
        }
        let targets = match family {
            Family::V4 => targets,
            // Those the kernel fills in.
            Family::V6 => 0,
        };
        Ok(Self {
            numbers,
            _reserved: reserved,
            sources: Sources::new(targets),
        })
    }

    pub(super) const fn numbers(&self) -> [u16; SYN_PORTS] {
        self.numbers
    }

    pub(super) fn source(&mut self, scout: &Scout, to: Ipv4Addr) -> Result<Ipv4Addr, Errno> {
        if let Some(source) = self.sources.get(to) {
            return Ok(source);
        }
        let source = scout.source(to)?;
        self.sources.put(to, source);
        Ok(source)
    }

    pub(super) const fn forget_sources(&mut self) {
        self.sources.forget();
    }

    pub(super) fn forget_source(&mut self, to: Ipv4Addr) {
        self.sources.forget_one(to);
    }
}

/// Which source address the kernel chose for which target, as far as there is
/// room: a target has one place, and whoever comes there next takes it.
struct Sources {
    /// A power of two, or none.
    entries: Mapped<Entry>,
    /// Entries of another are forgotten.
    era: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    era: u32,
    to: u32,
    source: u32,
}

// SAFETY: zero bytes are numbers, of an entry that is forgotten.
unsafe impl Plain for Entry {}

impl Sources {
    /// More would be more memory than it saves time.
    const TARGETS_MAX: usize = 1 << 17;

    fn new(targets: usize) -> Self {
        let room = match targets.min(Self::TARGETS_MAX) {
            0 => 0,
            targets => targets.next_power_of_two(),
        };
        Self {
            entries: Mapped::new(room),
            era: 1,
        }
    }

    fn get(&self, to: Ipv4Addr) -> Option<Ipv4Addr> {
        let to = u32::from(to);
        let entry = self.entries.get(self.place(to))?;
        let known = entry.era == self.era && entry.to == to;
        known.then(|| Ipv4Addr::from(entry.source))
    }

    fn put(&mut self, to: Ipv4Addr, source: Ipv4Addr) {
        let to = u32::from(to);
        let place = self.place(to);
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Entry {
                era: self.era,
                to,
                source: source.into(),
            };
        }
    }

    const fn forget(&mut self) {
        // 0 is that of an empty entry.
        self.era = if self.era == u32::MAX {
            1
        } else {
            self.era + 1
        };
    }

    fn forget_one(&mut self, to: Ipv4Addr) {
        let place = self.place(to.into());
        if let Some(entry) = self.entries.get_mut(place) {
            entry.era = 0;
        }
    }

    /// Neighbours have places of their own.
    fn place(&self, to: u32) -> usize {
        usize::try_from(to).unwrap_or(0) & self.entries.len().wrapping_sub(1)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("room", &self.entries.len())
            .field("era", &self.era)
            .finish_non_exhaustive()
    }
}

/// Binds a socket to a port of the kernel's choice.
fn bound(fd: &OwnedFd, family: Family) -> io::Result<u16> {
    if family == Family::V6 {
        set(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &1)?;
    }
    let any = Name::any(family);
    // SAFETY: the name is live and of the length given; the kernel reads it.
    check(unsafe { libc::bind(fd.as_raw_fd(), any.as_ptr(), any.len()) })?;
    let mut name = Name::BLANK;
    let mut len = socklen::<Name>();
    // SAFETY: the kernel writes at most `len` bytes, which is a whole `Name`.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), name.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(name.read().map_or(0, |own| own.port()))
}

/// An IPv4 packet, with its header: what is for one of the ports.
fn program_v4([a, b, c, d]: [u16; SYN_PORTS]) -> [libc::sock_filter; 8] {
    [
        op(X_IS_HEADER, 0),
        op(A_IS_HALF_AT_X, 2),
        when(a.into(), 4),
        when(b.into(), 3),
        when(c.into(), 2),
        when(d.into(), 1),
        op(RETURN, NOTHING),
        op(RETURN, ALL),
    ]
}

/// The same of a TCP segment.
fn program_v6([a, b, c, d]: [u16; SYN_PORTS]) -> [libc::sock_filter; 7] {
    [
        op(A_IS_HALF, 2),
        when(a.into(), 4),
        when(b.into(), 3),
        when(c.into(), 2),
        when(d.into(), 1),
        op(RETURN, NOTHING),
        op(RETURN, ALL),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_remembered_until_they_are_forgotten() {
        let address = |n: u32| Ipv4Addr::from(0x0a00_0000 + n);
        let mut sources = Sources::new(5);
        assert_eq!(sources.entries.len(), 8);
        assert_eq!(sources.get(address(0)), None);
        for n in 0..8 {
            sources.put(address(n), address(100 + n));
        }
        for n in 0..8 {
            assert_eq!(sources.get(address(n)), Some(address(100 + n)));
        }
        // It takes the place of another.
        sources.put(address(8), address(200));
        assert_eq!(sources.get(address(8)), Some(address(200)));
        assert_eq!(sources.get(address(0)), None);
        sources.forget_one(address(3));
        assert_eq!(sources.get(address(3)), None);
        assert_eq!(sources.get(address(4)), Some(address(104)));
        sources.forget();
        assert!((0..9).all(|n| sources.get(address(n)).is_none()));
        // An address of zeros is not found in an empty place.
        assert_eq!(Sources::new(4).get(Ipv4Addr::UNSPECIFIED), None);
        let mut none = Sources::new(0);
        none.put(address(1), address(2));
        assert_eq!(none.get(address(1)), None);
    }

    /// By a port that asks for the addresses of two targets.
    #[test]
    fn a_refusal_that_says_nothing_of_sources_forgets_none() {
        let [here, there] = [1, 2].map(|n| Ipv4Addr::new(127, 0, 0, n));
        for (errno, left) in [
            (libc::ENOBUFS, [true, true]),
            (libc::EAGAIN, [true, true]),
            (libc::EPERM, [true, true]),
            (libc::EINVAL, [false, true]),
            (libc::EHOSTUNREACH, [false, true]),
            (libc::EADDRNOTAVAIL, [false, false]),
        ] {
            let mut syns = Syns {
                numbers: [0; SYN_PORTS],
                _reserved: std::array::from_fn(|_| {
                    open(Family::V4, libc::SOCK_DGRAM, libc::IPPROTO_UDP).unwrap()
                }),
                sources: Sources::new(8),
            };
            for to in [here, there] {
                syns.sources.put(to, here);
            }
            let mut port = super::super::Port::udp(Family::V4).unwrap();
            port.syns = Some(syns);
            port.doubt_source(here.into(), Errno(errno));
            let sources = &port.syns.unwrap().sources;
            assert_eq!([here, there].map(|to| sources.get(to).is_some()), left);
        }
    }

    #[test]
    fn an_era_that_wraps_is_not_that_of_empty_places() {
        let mut sources = Sources::new(1);
        sources.era = u32::MAX;
        sources.forget();
        assert_eq!(sources.get(Ipv4Addr::UNSPECIFIED), None);
        assert_eq!(sources.era, 1);
    }
}
