//! A table of services with their destinations, over the owner's slices.

use super::{Destination, DestinationKey, Family, Forward, SchedulerName, Service, ServiceKey};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;

/// A service and where its destinations lie in the table's second slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// The service.
    pub service: Service,
    /// Index of its first destination.
    pub first: u32,
    /// How many destinations it has.
    pub count: u32,
}

impl ServiceRow {
    /// A row of nothing, to fill the owner's slice with.
    #[must_use]
    pub fn blank() -> Self {
        let key = ServiceKey::Fwmark {
            mark: 0,
            family: Family::V4,
        };
        Self {
            service: Service::new(key, SchedulerName::new()),
            first: 0,
            count: 0,
        }
    }

    /// Indices of its destinations.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        let first = self.first as usize;
        first..first.saturating_add(self.count as usize)
    }
}

/// Services sorted by key, each with its destinations sorted by key. This is
/// the form in which a config and a kernel are compared.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Sorted by `service.key`, no key twice.
    pub services: &'a [ServiceRow],
    /// The destinations of all services; each row's range is sorted by `key`,
    /// no key twice in one range.
    pub destinations: &'a [Destination],
}

impl<'a> Table<'a> {
    /// A table with no service.
    pub const EMPTY: Self = Self {
        services: &[],
        destinations: &[],
    };

    /// The destinations of a row; empty for a range outside the table.
    #[must_use]
    pub fn destinations_of(&self, row: &ServiceRow) -> &'a [Destination] {
        self.destinations.get(row.range()).unwrap_or(&[])
    }

    /// Whether both orders hold, without duplicates, and every range lies
    /// inside.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.services
            .is_sorted_by(|a, b| a.service.key < b.service.key)
            && self.services.iter().all(|row| {
                self.destinations
                    .get(row.range())
                    .is_some_and(|d| d.is_sorted_by(|a, b| a.key < b.key))
            })
    }
}

/// The owner's slices have no room for another row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No room for another service; the limit.
    Services(usize),
    /// No room for another destination; the limit.
    Destinations(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services(limit) => write!(f, "more than limits.services = {limit} services"),
            Self::Destinations(limit) => {
                write!(f, "more than limits.backends = {limit} destinations")
            }
        }
    }
}

/// A destination of nothing, to fill the owner's slice with.
pub const BLANK_DESTINATION: Destination = Destination::new(
    DestinationKey {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
    },
    Forward::MASQ,
    0,
);

/// A table that is filled row by row: a service, then its destinations.
#[derive(Debug)]
pub struct TableBuf<'s> {
    services: &'s mut [ServiceRow],
    services_len: usize,
    destinations: &'s mut [Destination],
    destinations_len: usize,
}

impl<'s> TableBuf<'s> {
    /// An empty table with room for as many rows as the slices are long.
    #[must_use]
    pub const fn new(services: &'s mut [ServiceRow], destinations: &'s mut [Destination]) -> Self {
        Self {
            services,
            services_len: 0,
            destinations,
            destinations_len: 0,
        }
    }

    /// The rows.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        Table {
            services: self.services.get(..self.services_len).unwrap_or(&[]),
            destinations: self
                .destinations
                .get(..self.destinations_len)
                .unwrap_or(&[]),
        }
    }

    /// The destinations of a row, to change what is not their key.
    pub fn destinations_mut(&mut self, range: Range<usize>) -> &mut [Destination] {
        self.destinations.get_mut(range).unwrap_or(&mut [])
    }

    /// Forgets all rows.
    pub const fn clear(&mut self) {
        self.services_len = 0;
        self.destinations_len = 0;
    }

    /// Appends a service without destinations.
    ///
    /// # Errors
    /// [`Full::Services`].
    pub fn push_service(&mut self, service: &Service) -> Result<(), Full> {
        let full = Full::Services(self.services.len());
        let first = u32::try_from(self.destinations_len).map_err(|_| full)?;
        let row = self.services.get_mut(self.services_len).ok_or(full)?;
        row.service.clone_from(service);
        row.first = first;
        row.count = 0;
        self.services_len = self.services_len.saturating_add(1);
        Ok(())
    }

    /// Says that the destinations pushed from now on belong to the service at
    /// `index`, which must not have any yet.
    pub fn begin_destinations(&mut self, index: usize) {
        if let (Some(row), Ok(first)) = (
            self.services.get_mut(index),
            u32::try_from(self.destinations_len),
        ) {
            row.first = first;
            row.count = 0;
        }
    }

    /// Appends a destination to the service at `index`, whose destinations
    /// must be the last ones of the slice.
    ///
    /// # Errors
    /// [`Full::Destinations`].
    pub fn push_destination(&mut self, index: usize, new: &Destination) -> Result<(), Full> {
        let full = Full::Destinations(self.destinations.len());
        let place = self
            .destinations
            .get_mut(self.destinations_len)
            .ok_or(full)?;
        *place = *new;
        self.destinations_len = self.destinations_len.saturating_add(1);
        if let Some(row) = self.services.get_mut(index) {
            row.count = row.count.saturating_add(1);
        }
        Ok(())
    }

    /// Sorts services by key and drops repeated ones: a kernel's dump may show
    /// a row twice. To be called before destinations are pushed.
    pub fn sort_services(&mut self) {
        let rows = self
            .services
            .get_mut(..self.services_len)
            .unwrap_or_default();
        rows.sort_unstable_by_key(|row| row.service.key);
        self.services_len = dedup(rows, |row| row.service.key);
    }

    /// Sorts the destinations of the service at `index` by key and drops
    /// repeated ones. Its destinations must be the last ones of the slice.
    pub fn sort_destinations(&mut self, index: usize) {
        let Some(row) = self.services.get_mut(index) else {
            return;
        };
        let rows = self.destinations.get_mut(row.range()).unwrap_or_default();
        rows.sort_unstable_by_key(|row| row.key);
        let kept = dedup(rows, |row| row.key);
        row.count = u32::try_from(kept).unwrap_or(row.count);
        self.destinations_len = row.range().end;
    }

    /// Takes over all rows of `table`.
    ///
    /// # Errors
    /// [`Full`] when they do not fit; then this table is empty.
    pub fn copy_from(&mut self, table: Table<'_>) -> Result<(), Full> {
        self.clear();
        let services = self
            .services
            .get_mut(..table.services.len())
            .ok_or(Full::Services(0));
        let destinations = self
            .destinations
            .get_mut(..table.destinations.len())
            .ok_or(Full::Destinations(0));
        match (services, destinations) {
            (Ok(services), Ok(destinations)) => {
                services.clone_from_slice(table.services);
                destinations.copy_from_slice(table.destinations);
                self.services_len = table.services.len();
                self.destinations_len = table.destinations.len();
                Ok(())
            }
            (Err(_), _) => Err(Full::Services(self.services.len())),
            (Ok(_), Err(_)) => Err(Full::Destinations(self.destinations.len())),
        }
    }
}

impl TableBuf<'_> {
    /// Takes over the services of `table` at the indices that are `wanted`. Their
    /// destinations lie where they do in `table`; what lies between them belongs
    /// to nobody.
    ///
    /// # Errors
    /// [`Full`] when they do not fit; then this table is empty.
    pub fn copy_some(
        &mut self,
        table: Table<'_>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<(), Full> {
        self.clear();
        if table.destinations.len() > self.destinations.len() {
            return Err(Full::Destinations(self.destinations.len()));
        }
        for (at, row) in table.services.iter().enumerate() {
            if !wanted(at) {
                continue;
            }
            let Some(place) = self.services.get_mut(self.services_len) else {
                self.clear();
                return Err(Full::Services(self.services.len()));
            };
            place.clone_from(row);
            self.services_len = self.services_len.saturating_add(1);
            self.put(table, row);
        }
        self.destinations_len = table.destinations.len();
        Ok(())
    }

    /// Takes over the destinations of the services that `some` has, which lie
    /// there where they lie here.
    pub fn take_destinations(&mut self, some: Table<'_>) {
        for row in some.services {
            self.put(some, row);
        }
    }

    /// Takes a service out. What it had belongs to nobody, and all others stay where
    /// they are.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        let rows = self.services.get_mut(..self.services_len);
        let rows = rows.unwrap_or_default();
        if let Ok(at) = rows.binary_search_by_key(key, |row| row.service.key)
            && let Some(rest) = rows.get_mut(at..)
        {
            rest.rotate_left(1);
            self.services_len = self.services_len.saturating_sub(1);
        }
    }

    /// Makes the service with this key this one, if there is one.
    pub fn set_service(&mut self, service: &Service) {
        if let Some(row) = self.row_mut(&service.key) {
            row.service.clone_from(service);
        }
    }

    /// Takes a destination out of a service; all others' stay where they are.
    pub fn remove_destination(&mut self, service: &ServiceKey, key: &DestinationKey) {
        let Some(range) = self.row_mut(service).map(|row| row.range()) else {
            return;
        };
        let rows = self.destinations_mut(range);
        let found = rows.binary_search_by_key(key, |row| row.key);
        let Some(rest) = found.ok().and_then(|at| rows.get_mut(at..)) else {
            return;
        };
        rest.rotate_left(1);
        if let Some(row) = self.row_mut(service) {
            row.count = row.count.saturating_sub(1);
        }
    }

    /// Makes the destination of a service with this key this one, if there is one.
    pub fn set_destination(&mut self, service: &ServiceKey, new: &Destination) {
        let Some(range) = self.row_mut(service).map(|row| row.range()) else {
            return;
        };
        let rows = self.destinations_mut(range);
        let found = rows.binary_search_by_key(&new.key, |row| row.key);
        if let Some(row) = found.ok().and_then(|at| rows.get_mut(at)) {
            *row = *new;
        }
    }

    fn row_mut(&mut self, key: &ServiceKey) -> Option<&mut ServiceRow> {
        let rows = self.services.get_mut(..self.services_len)?;
        let at = rows.binary_search_by_key(key, |row| row.service.key).ok()?;
        rows.get_mut(at)
    }

    fn put(&mut self, table: Table<'_>, row: &ServiceRow) {
        let new = table.destinations_of(row);
        if let Some(old) = self.destinations.get_mut(row.range())
            && old.len() == new.len()
        {
            old.copy_from_slice(new);
        }
    }
}

/// Moves the first of each run of equal keys to the front; how many there are.
fn dedup<T, K: PartialEq>(rows: &mut [T], key: impl Fn(&T) -> K) -> usize {
    let mut kept: usize = 0;
    for at in 0..rows.len() {
        let repeated = match (kept.checked_sub(1).and_then(|k| rows.get(k)), rows.get(at)) {
            (Some(last), Some(this)) => key(last) == key(this),
            _ => false,
        };
        if !repeated {
            rows.swap(kept, at);
            kept = kept.saturating_add(1);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;
    use std::string::ToString;

    fn service(port: u16) -> Service {
        let key = ServiceKey::Address {
            protocol: Protocol::TCP,
            address: IpAddr::from([192, 0, 2, 1]),
            port,
        };
        Service::new(key, "wrr".try_into().unwrap())
    }

    fn destination(last: u8) -> Destination {
        let key = DestinationKey {
            address: IpAddr::from([10, 0, 0, last]),
            port: 80,
        };
        Destination::new(key, Forward::ROUTE, 1)
    }

    #[test]
    fn a_dump_with_repeats_becomes_a_sorted_table() {
        let mut services = [const { None::<ServiceRow> }; 4].map(|_| ServiceRow::blank());
        let mut destinations = [BLANK_DESTINATION; 8];
        let mut buf = TableBuf::new(&mut services, &mut destinations);
        for port in [443, 80, 443] {
            buf.push_service(&service(port)).unwrap();
        }
        buf.sort_services();
        for (index, hosts) in [[3, 1, 3].as_slice(), &[2]].into_iter().enumerate() {
            buf.begin_destinations(index);
            for host in hosts {
                buf.push_destination(index, &destination(*host)).unwrap();
            }
            buf.sort_destinations(index);
        }
        let table = buf.table();
        assert!(table.is_sorted());
        assert_eq!(table.services.len(), 2);
        assert_eq!(
            table.destinations,
            [destination(1), destination(3), destination(2)]
        );
        assert_eq!(table.destinations_of(&table.services[1]), [destination(2)]);
    }

    #[test]
    fn what_is_taken_out_moves_no_other_service() {
        let mut services = [const { None::<ServiceRow> }; 3].map(|_| ServiceRow::blank());
        let mut destinations = [BLANK_DESTINATION; 6];
        let mut buf = TableBuf::new(&mut services, &mut destinations);
        for (index, hosts) in [[1, 2], [3, 4], [5, 6]].into_iter().enumerate() {
            let port = u16::try_from(index).unwrap();
            buf.push_service(&service(port)).unwrap();
            for host in hosts {
                buf.push_destination(index, &destination(host)).unwrap();
            }
        }
        buf.remove_destination(&service(1).key, &destination(3).key);
        buf.remove_destination(&service(1).key, &destination(9).key);
        buf.remove_service(&service(0).key);
        buf.remove_service(&service(7).key);
        let mut other = destination(6);
        other.weight = 0;
        buf.set_destination(&service(2).key, &other);
        let table = buf.table();
        assert!(table.is_sorted());
        let rows: std::vec::Vec<_> = table.services.iter().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(table.destinations_of(rows[0]), [destination(4)]);
        assert_eq!(rows[1].first, 4);
        assert_eq!(table.destinations_of(rows[1]), [destination(5), other]);
    }

    #[test]
    fn a_full_table_names_the_limit() {
        let mut services = [ServiceRow::blank()];
        let mut destinations = [BLANK_DESTINATION; 1];
        let mut buf = TableBuf::new(&mut services, &mut destinations);
        buf.push_service(&service(1)).unwrap();
        assert_eq!(buf.push_service(&service(2)), Err(Full::Services(1)));
        buf.push_destination(0, &destination(1)).unwrap();
        let full = buf.push_destination(0, &destination(2)).unwrap_err();
        assert_eq!(
            full.to_string(),
            "more than limits.backends = 1 destinations"
        );
    }
}
