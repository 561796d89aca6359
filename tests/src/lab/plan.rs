//! The address plan: who is who in the lab. Constants only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
pub use trunnion_core::model::Family;

/// Both families, in the order the timeline shows them.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Name of the interface inside every namespace but the switch's.
pub const INTERFACE: &str = "eth0";

/// Port of the service, on the VIP and on the backends (DSR cannot change it).
pub const PORT: u16 = 80;

/// Backends there are; the configuration starts with the first three.
pub const BACKENDS: usize = 4;

/// Names of the backends.
pub const BACKEND_NAMES: [&str; BACKENDS] = ["b1", "b2", "b3", "b4"];

/// `IPv4`, `IPv6`.
#[must_use]
pub const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// Address with this last byte, in the lab's network of a family.
#[must_use]
pub const fn host(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 77, 0, last)),
        // The same digits as in IPv4, for the eye: fd77::21 is b1.
        Family::V6 => IpAddr::V6(Ipv6Addr::new(
            0xfd77,
            0,
            0,
            0,
            0,
            0,
            0,
            (last as u16 / 10) * 16 + last as u16 % 10,
        )),
    }
}

/// Prefix length of the lab's network.
#[must_use]
pub const fn prefix(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}

/// The virtual address.
#[must_use]
pub const fn vip(family: Family) -> IpAddr {
    host(family, 10)
}

/// The link-local address of the IPv6 virtual router, which its adverts must
/// name first (RFC 9568 section 5.2.9).
pub const VIRTUAL_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, 0x10);

/// The service's socket on the VIP.
#[must_use]
pub const fn service(family: Family) -> SocketAddr {
    SocketAddr::new(vip(family), PORT)
}

/// Address of the client.
#[must_use]
pub const fn client(family: Family) -> IpAddr {
    host(family, 2)
}

/// Address of balancer `index` (0 or 1).
#[must_use]
pub fn balancer(family: Family, index: usize) -> IpAddr {
    host(family, 11 + u8::try_from(index).expect("two balancers"))
}

/// Address of backend `index` (0 to 3).
#[must_use]
pub fn backend(family: Family, index: usize) -> IpAddr {
    host(family, 21 + u8::try_from(index).expect("four backends"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_families_look_alike() {
        assert_eq!(backend(Family::V4, 0).to_string(), "10.77.0.21");
        assert_eq!(backend(Family::V6, 0).to_string(), "fd77::21");
        assert_eq!(service(Family::V6).to_string(), "[fd77::10]:80");
        assert_eq!(VIRTUAL_LINK_LOCAL.to_string(), "fe80::77:10");
    }
}
