//! The interfaces virtual routers live on, as far as a router cares: is it
//! there, is it up, and from which address does it speak.

use crate::director::plan::InterfaceName;
use crate::model::Family;
use crate::route::InterfaceIndex;
use crate::wire::MacAddress;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the kernel says of a link and its own addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its index while it exists.
    pub index: Option<InterfaceIndex>,
    /// Its hardware address, when it has one of six bytes.
    pub mac: Option<MacAddress>,
    /// Administratively up, with carrier.
    pub running: bool,
    /// The address IPv4 adverts come from: the first on the interface that is
    /// not a virtual one.
    pub primary_v4: Option<Ipv4Addr>,
    /// The link-local address IPv6 adverts come from.
    pub primary_v6: Option<Ipv6Addr>,
}

/// One interface a plan names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: InterfaceName,
    /// What is known of it.
    pub found: Found,
    /// What the dump at hand has found of it so far: adverts go on being sent
    /// by what is known until all is told.
    dump: Found,
    /// VRID to instance, one table for each family.
    routers: [[Option<u16>; 256]; 2],
    /// The socket of a family could not be opened.
    deaf: [bool; 2],
    /// Some of their adverts are whole frames.
    pub(super) frames: bool,
}

/// Why an interface cannot carry adverts of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// No interface of this name.
    Missing,
    /// Down, or without carrier.
    Down,
    /// No IPv4 address of its own.
    NoIpv4Address,
    /// No usable IPv6 link-local address of its own.
    NoLinkLocal,
    /// Its socket could not be opened: who hears nobody takes everything.
    NoSocket,
}

impl NotReady {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Missing => "no such interface",
            Self::Down => "down or without carrier",
            Self::NoIpv4Address => "no IPv4 address of its own",
            Self::NoLinkLocal => "no usable IPv6 link-local address",
            Self::NoSocket => "its socket cannot be opened",
        }
    }
}

const fn row(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl Interface {
    /// An interface nothing is known of, to fill the owner's slice with.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            name: InterfaceName::new(),
            found: Found::NONE,
            dump: Found::NONE,
            routers: [[None; 256]; 2],
            deaf: [false; 2],
            frames: false,
        }
    }

    /// Whether adverts of `family` can be sent and received; then its index.
    ///
    /// # Errors
    /// What is missing.
    pub const fn ready(&self, family: Family) -> Result<InterfaceIndex, NotReady> {
        let Some(index) = self.found.index else {
            return Err(NotReady::Missing);
        };
        if !self.found.running {
            return Err(NotReady::Down);
        }
        let [deaf_v4, deaf_v6] = self.deaf;
        match family {
            Family::V4 if self.found.primary_v4.is_none() => Err(NotReady::NoIpv4Address),
            Family::V6 if self.found.primary_v6.is_none() => Err(NotReady::NoLinkLocal),
            Family::V4 if deaf_v4 => Err(NotReady::NoSocket),
            Family::V6 if deaf_v6 => Err(NotReady::NoSocket),
            Family::V4 | Family::V6 => Ok(index),
        }
    }

    /// The address adverts of `family` come from.
    #[must_use]
    pub fn primary(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.found.primary_v4.map(IpAddr::V4),
            Family::V6 => self.found.primary_v6.map(IpAddr::V6),
        }
    }

    /// Whether the socket of a family is open. Returns whether that is news.
    pub(super) fn set_deaf(&mut self, family: Family, deaf: bool) -> bool {
        let known = self.deaf.get_mut(row(family));
        known.is_some_and(|known| core::mem::replace(known, deaf) != deaf)
    }

    /// The instance of a VRID.
    pub(super) fn router(&self, family: Family, vrid: u8) -> Option<usize> {
        let table = self.routers.get(row(family))?;
        table.get(usize::from(vrid))?.map(usize::from)
    }

    pub(super) fn set_router(&mut self, family: Family, vrid: u8, instance: usize) {
        if let Some(table) = self.routers.get_mut(row(family))
            && let Some(slot) = table.get_mut(usize::from(vrid))
        {
            *slot = u16::try_from(instance).ok();
        }
    }

    pub(super) const fn clear_routers(&mut self) {
        self.routers = [[None; 256]; 2];
        self.frames = false;
    }

    /// Whether any virtual router of `family` is on it.
    #[must_use]
    pub fn carries(&self, family: Family) -> bool {
        self.routers
            .get(row(family))
            .is_some_and(|table| table.iter().any(Option::is_some))
    }

    /// Whether any virtual router on it has adverts that are whole frames.
    #[must_use]
    pub const fn carries_frames(&self) -> bool {
        self.frames
    }

    /// A dump begins: nothing is found yet.
    pub(super) const fn begin_dump(&mut self) {
        self.dump = Found::NONE;
    }

    /// A dump is over: what it found is what there is.
    pub(super) const fn end_dump(&mut self) {
        self.found = self.dump;
    }

    /// What a row of a dump, or an event, is to be noted in.
    pub(super) fn noting(&mut self, row: bool, mut note: impl FnMut(&mut Found)) {
        note(&mut self.dump);
        if !row {
            note(&mut self.found);
        }
    }

    /// Whether it is known, or was just found, under this index. An event may
    /// be about one that only the dump at hand has found.
    pub(super) fn has_index(&self, index: InterfaceIndex, row: bool) -> bool {
        self.dump.index == Some(index) || (!row && self.found.index == Some(index))
    }

    /// An address that is not a virtual one is on the interface. `usable` is
    /// false for an IPv6 address whose duplicate detection is not through.
    pub(super) fn handle_own_address(&mut self, address: IpAddr, usable: bool, row: bool) {
        if !usable {
            return;
        }
        // Of several, the one in use stays in use.
        let (v4, v6) = (self.found.primary_v4, self.found.primary_v6);
        self.noting(row, |found| match address {
            IpAddr::V4(address) => {
                if found.primary_v4.is_none() || v4 == Some(address) {
                    found.primary_v4 = Some(address);
                }
            }
            IpAddr::V6(address) => {
                let first = found.primary_v6.is_none() || v6 == Some(address);
                if address.is_unicast_link_local() && first {
                    found.primary_v6 = Some(address);
                }
            }
        });
    }

    /// An address was taken off. Returns whether it was a primary one, so that
    /// another must be found by a dump.
    pub(super) fn handle_address_gone(&mut self, address: IpAddr) -> bool {
        let primary = self.primary(Family::of(&address)) == Some(address);
        self.noting(false, |found| match address {
            IpAddr::V4(address) if found.primary_v4 == Some(address) => found.primary_v4 = None,
            IpAddr::V6(address) if found.primary_v6 == Some(address) => found.primary_v6 = None,
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        });
        primary
    }
}

impl Found {
    const NONE: Self = Self {
        index: None,
        mac: None,
        running: false,
        primary_v4: None,
        primary_v6: None,
    };

    /// The link is there.
    pub(super) const fn handle_link(
        &mut self,
        index: InterfaceIndex,
        mac: Option<MacAddress>,
        running: bool,
    ) {
        self.index = Some(index);
        self.mac = mac;
        self.running = running;
    }

    /// The link is gone, with all its addresses.
    pub(super) const fn handle_gone(&mut self) {
        *self = Self::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: InterfaceIndex = InterfaceIndex::new(2).unwrap();

    #[test]
    fn says_what_is_missing_one_thing_after_the_other() {
        let mut eth0 = Interface::blank();
        assert_eq!(eth0.ready(Family::V4), Err(NotReady::Missing));
        eth0.noting(false, |found| found.handle_link(TWO, None, false));
        assert_eq!(eth0.ready(Family::V4), Err(NotReady::Down));
        eth0.noting(false, |found| found.handle_link(TWO, None, true));
        assert_eq!(eth0.ready(Family::V4), Err(NotReady::NoIpv4Address));
        assert_eq!(eth0.ready(Family::V6), Err(NotReady::NoLinkLocal));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        eth0.handle_own_address(a, true, false);
        eth0.handle_own_address(b, true, false);
        assert_eq!(eth0.primary(Family::V4), Some(a));
        eth0.handle_own_address("2001:db8::1".parse().unwrap(), true, false);
        eth0.handle_own_address("fe80::1".parse().unwrap(), false, false);
        assert_eq!(eth0.ready(Family::V6), Err(NotReady::NoLinkLocal));
        eth0.handle_own_address("fe80::1".parse().unwrap(), true, false);
        assert_eq!(eth0.ready(Family::V6), Ok(TWO));
        assert!(!eth0.handle_address_gone(b));
        assert!(eth0.handle_address_gone(a));
        assert_eq!(eth0.ready(Family::V4), Err(NotReady::NoIpv4Address));
        eth0.noting(false, Found::handle_gone);
        assert_eq!(eth0.ready(Family::V6), Err(NotReady::Missing));
    }

    #[test]
    fn a_dump_disturbs_nothing_before_it_is_over_and_keeps_the_address_in_use() {
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut eth0 = Interface::blank();
        eth0.noting(false, |found| found.handle_link(TWO, None, true));
        eth0.handle_own_address(b, true, false);
        eth0.begin_dump();
        assert_eq!(eth0.primary(Family::V4), Some(b));
        eth0.noting(true, |found| found.handle_link(TWO, None, true));
        eth0.handle_own_address(a, true, true);
        eth0.handle_own_address(b, true, true);
        eth0.end_dump();
        assert_eq!(
            (eth0.primary(Family::V4), eth0.ready(Family::V4)),
            (Some(b), Ok(TWO))
        );
        eth0.begin_dump();
        eth0.end_dump();
        assert_eq!(eth0.ready(Family::V4), Err(NotReady::Missing));
    }

    #[test]
    fn finds_routers_by_vrid_and_family() {
        let mut eth0 = Interface::blank();
        eth0.set_router(Family::V6, 255, 7);
        assert_eq!(eth0.router(Family::V6, 255), Some(7));
        assert_eq!(eth0.router(Family::V4, 255), None);
        assert!(eth0.carries(Family::V6) && !eth0.carries(Family::V4));
        eth0.clear_routers();
        assert_eq!(eth0.router(Family::V6, 255), None);
    }
}
