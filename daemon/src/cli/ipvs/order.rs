//! The order in which ipvsadm lists: firewall mark, family, protocol, address,
//! port; within a service address and port.
//!
//! ipvsadm takes the difference of two 32-bit numbers as a signed one, so that
//! of two addresses more than half the space apart the higher is first, and
//! hands that to qsort(3), a merge sort in glibc. Its order is no total one,
//! hence both are done here as it does them.

use std::cmp::Ordering;
use std::net::IpAddr;
use trunnion_core::ipvs::{DestinationEntry, ServiceEntry};
use trunnion_core::model::ServiceKey;

/// Services in ipvsadm's order.
pub(super) fn services(rows: Vec<ServiceEntry>) -> Vec<ServiceEntry> {
    merge_sort(rows, &|a, b| {
        let (a, b) = (ServiceOrder::of(a), ServiceOrder::of(b));
        difference(a.mark, b.mark)
            .then(a.family.cmp(&b.family))
            .then(a.protocol.cmp(&b.protocol))
            .then_with(|| words(a.address, b.address, a.is_v6))
            .then(a.port.cmp(&b.port))
    })
}

/// Destinations of one service in ipvsadm's order.
pub(super) fn destinations(rows: Vec<DestinationEntry>) -> Vec<DestinationEntry> {
    merge_sort(rows, &|a, b| {
        let (a, b) = (a.destination.key, b.destination.key);
        words(bits(a.address), bits(b.address), a.address.is_ipv6()).then(a.port.cmp(&b.port))
    })
}

/// What ipvsadm compares of a service, all zero where it is named otherwise.
struct ServiceOrder {
    mark: u32,
    family: u8,
    is_v6: bool,
    protocol: u8,
    address: [u32; 4],
    port: u16,
}

impl ServiceOrder {
    fn of(entry: &ServiceEntry) -> Self {
        let key = &entry.service.key;
        let family = key.family().number();
        match *key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => Self {
                mark: 0,
                family,
                is_v6: address.is_ipv6(),
                protocol: protocol.0,
                address: bits(address),
                port,
            },
            ServiceKey::Fwmark { mark, .. } => Self {
                mark,
                family,
                is_v6: false,
                protocol: 0,
                address: [0; 4],
                port: 0,
            },
        }
    }
}

/// An address as four words; of an IPv4 one the last three are zero.
fn bits(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.to_bits(), 0, 0, 0],
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [96, 64, 32, 0].map(|shift| {
                u32::try_from((bits >> shift) & u128::from(u32::MAX)).unwrap_or_default()
            })
        }
    }
}

/// By every word, or by the first alone when the left one is an IPv4 address.
fn words(a: [u32; 4], b: [u32; 4], all: bool) -> Ordering {
    let count = if all { 4 } else { 1 };
    a.iter()
        .zip(b)
        .take(count)
        .map(|(a, b)| difference(*a, b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// As C's `int r = a - b` has it.
fn difference(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

/// glibc's: the halves first, the smaller one in front; of equal rows the left
/// one. Any `order` gives an end, and the same one as there.
fn merge_sort<T>(mut rows: Vec<T>, order: &impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if rows.len() < 2 {
        return rows;
    }
    let length = rows.len();
    let right = rows.split_off(length / 2);
    let mut left = merge_sort(rows, order).into_iter().peekable();
    let mut right = merge_sort(right, order).into_iter().peekable();
    let mut sorted = Vec::with_capacity(length);
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if order(a, b).is_le() {
            left.next()
        } else {
            right.next()
        };
        sorted.extend(next);
    }
    sorted.extend(left);
    sorted.extend(right);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunnion_core::ipvs::Stats;
    use trunnion_core::model::{Destination, DestinationKey, Forward};

    fn sorted(addresses: &[&str]) -> Vec<String> {
        let rows = addresses.iter().map(|address| {
            let key = DestinationKey {
                address: address.parse().unwrap(),
                port: 80,
            };
            DestinationEntry {
                destination: Destination::new(key, Forward::TUNNEL, 1),
                active: 0,
                inactive: 0,
                persistent: 0,
                stats: Stats::default(),
            }
        });
        destinations(rows.collect())
            .iter()
            .map(|row| row.destination.key.address.to_string())
            .collect()
    }

    /// As ipvsadm 1.31 on glibc 2.36 sorts them.
    #[test]
    fn far_addresses_are_the_other_way_round() {
        assert_eq!(
            sorted(&["10.0.0.2", "10.0.0.1", "11.0.0.1"]),
            ["10.0.0.1", "10.0.0.2", "11.0.0.1"]
        );
        assert_eq!(
            sorted(&["10.0.0.1", "192.0.2.1"]),
            ["192.0.2.1", "10.0.0.1"]
        );
        // No order at all: a circle. What comes out depends on what goes in.
        assert_eq!(
            sorted(&["10.0.0.1", "100.0.0.1", "192.0.2.1"]),
            ["10.0.0.1", "100.0.0.1", "192.0.2.1"]
        );
        assert_eq!(
            sorted(&["192.0.2.1", "10.0.0.1", "100.0.0.1"]),
            ["192.0.2.1", "10.0.0.1", "100.0.0.1"]
        );
    }

    #[test]
    fn every_row_comes_out_once() {
        for length in 0..50 {
            let rows: Vec<u32> = (0..length).map(|n| n * 2_654_435 % 97).collect();
            let mut mine = merge_sort(rows.clone(), &Ord::cmp);
            let mut expect = rows;
            expect.sort_unstable();
            assert_eq!(mine, expect);
            // A comparison that lies.
            mine = merge_sort(mine, &|_, _| Ordering::Greater);
            mine.sort_unstable();
            assert_eq!(mine, expect);
        }
    }
}
