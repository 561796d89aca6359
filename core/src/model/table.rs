//! A table of services with their destinations, over the owner's slices.

use super::{Destination, Service};
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
