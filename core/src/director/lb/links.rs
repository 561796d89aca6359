//! Which check a destination has, and which destinations a check has: a verdict
//! costs as much as there are destinations that hear of it, however many others
//! there are.

use crate::check::CheckId;
use crate::model::Table;

const NIL: u32 = u32::MAX;

/// What is kept of the destination at this place of the plan, and of the check
/// with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The destination's service.
    service: u32,
    /// The destination's check.
    check: u32,
    /// The next destination with that check.
    next: u32,
    /// The first destination of the check with this number.
    first: u32,
}

impl Link {
    /// Of nothing, to fill the owner's slice with.
    pub const NONE: Self = Self {
        service: NIL,
        check: NIL,
        next: NIL,
        first: NIL,
    };
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Links<'s> {
    links: &'s mut [Link],
    /// What lies behind so many means nothing.
    len: usize,
}

impl<'s> Links<'s> {
    pub(super) const fn new(links: &'s mut [Link]) -> Self {
        Self { links, len: 0 }
    }

    /// Destinations, and numbers of checks, that fit.
    pub(super) const fn capacity(&self) -> usize {
        self.links.len()
    }

    /// Forgets all, and takes those of a plan. `checks` has one for each
    /// destination of the table, and their numbers are less than `ids`.
    pub(super) fn take(
        &mut self,
        table: Table<'_>,
        ids: u32,
        checks: impl IntoIterator<Item = Option<CheckId>>,
    ) {
        // More than the plan needs is not touched.
        let needed = table.destinations.len().max(ids as usize);
        let needed = needed.min(self.links.len());
        self.links
            .get_mut(..needed)
            .unwrap_or_default()
            .fill(Link::NONE);
        self.len = needed;
        for (service, row) in (0..).zip(table.services) {
            for link in self.links.get_mut(row.range()).unwrap_or_default() {
                link.service = service;
            }
        }
        for (at, check) in (0_u32..).zip(checks) {
            let Some(check) = check else { continue };
            let Some(head) = self.links.get_mut(check.index()) else {
                continue;
            };
            let next = core::mem::replace(&mut head.first, at);
            if let Some(link) = self.links.get_mut(at as usize) {
                link.check = check.0;
                link.next = next;
            }
        }
    }

    fn known(&self) -> &[Link] {
        self.links.get(..self.len).unwrap_or_default()
    }

    /// The check of a destination.
    pub(super) fn check(&self, destination: usize) -> Option<CheckId> {
        let link = self.known().get(destination)?;
        (link.check != NIL).then_some(CheckId(link.check))
    }

    /// The destinations with this check.
    pub(super) fn destinations(&self, check: CheckId) -> impl Iterator<Item = usize> {
        let known = |at: u32| (at != NIL).then_some(at);
        let link = |at: u32| self.known().get(at as usize);
        let first = self.known().get(check.index()).and_then(|l| known(l.first));
        let each = core::iter::successors(first, move |at| known(link(*at)?.next));
        each.map(|at| at as usize)
    }

    /// The services that have a destination with this check, once for each of
    /// those.
    pub(super) fn services(&self, check: CheckId) -> impl Iterator<Item = usize> {
        let link = |at: usize| self.known().get(at);
        let each = self.destinations(check).filter_map(link);
        each.map(|l| l.service as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BLANK_DESTINATION, ServiceRow};
    use std::vec::Vec;

    #[test]
    fn a_check_knows_its_services_and_no_others() {
        let row = |first, count| ServiceRow {
            first,
            count,
            ..ServiceRow::blank()
        };
        let table = Table {
            services: &[row(0, 2), row(2, 0), row(2, 3)],
            destinations: &[BLANK_DESTINATION; 5],
        };
        let mut links = [Link::NONE; 6];
        let mut links = Links::new(&mut links);
        let of = |links: &Links<'_>, check| {
            let mut services: Vec<_> = links.services(CheckId(check)).collect();
            services.sort_unstable();
            services
        };
        // Check 5 is shared within a service and between two.
        links.take(
            table,
            6,
            [5, 0, 5, 9, 5].map(|c| (c != 9).then_some(CheckId(c))),
        );
        assert_eq!(of(&links, 5), [0, 2, 2]);
        assert_eq!(of(&links, 0), [0]);
        assert_eq!(of(&links, 1), []);
        assert_eq!(of(&links, 77), []);
        assert_eq!(links.check(1), Some(CheckId(0)));
        assert_eq!(links.check(3), None);
        // Nothing is left of an earlier plan.
        links.take(Table::EMPTY, 0, []);
        assert_eq!(of(&links, 5), []);
        assert_eq!(links.check(1), None);
    }
}
