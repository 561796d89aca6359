//! The merge-join of two sorted tables, as a place one can stop at.

use super::Change;
use crate::model::{Destination, Service, ServiceFlags, ServiceRow, Table};
use core::cmp::Ordering;

/// Which rows of the actual table are ours to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ownership {
    /// All: what is not desired goes.
    All,
    /// Those of desired services: a service nobody declared stays as it is,
    /// with its destinations; a destination nobody declared goes.
    Declared,
}

/// What a [`Cursor`] is producing. In this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Services that are missing.
    AddServices,
    /// Destinations that are missing, those of new services included.
    AddDestinations,
    /// Services that differ.
    SetServices,
    /// Destinations that differ, but for those whose weight falls.
    RaiseDestinations,
    /// Destinations whose weight falls: when clients are sent to others instead,
    /// those take them already.
    LowerDestinations,
    /// Destinations too many in services that stay.
    DeleteDestinations,
    /// Services too many. The kernel deletes their destinations with them.
    DeleteServices,
    /// Nothing more.
    Done,
}

/// A place in the difference of two tables.
///
/// It holds indices only, so it is `Copy`: to have a change again that did not
/// fit into a batch, keep the cursor from before it.
///
/// ```
/// use trunnion_core::model::Table;
/// use trunnion_core::reconcile::{Cursor, Ownership};
///
/// let (desired, actual) = (Table::EMPTY, Table::EMPTY);
/// let mut cursor = Cursor::new(Ownership::All);
/// loop {
///     let before = cursor;
///     let Some(change) = cursor.next(desired, actual) else { break };
///     let fits = true; // request.push(change)
///     if !fits {
///         cursor = before;
///         break;
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    ownership: Ownership,
    phase: Phase,
    /// Next service of each table, then next destination within the service.
    services: Pair,
    destinations: Pair,
}

/// Indices into the desired and the actual side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pair {
    desired: usize,
    actual: usize,
}

/// A step of the join: a row of one side, or of both.
struct Joined<'a, T> {
    desired: Option<&'a T>,
    actual: Option<&'a T>,
}

impl Cursor {
    /// The beginning.
    #[must_use]
    pub const fn new(ownership: Ownership) -> Self {
        let start = Pair {
            desired: 0,
            actual: 0,
        };
        Self {
            ownership,
            phase: Phase::AddServices,
            services: start,
            destinations: start,
        }
    }

    /// What comes next: every change before it is of this phase or an earlier
    /// one.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The next change, `None` at the end. Pass the same two tables every time;
    /// a run over tables of n rows is O(n) in all.
    ///
    /// Tables that are not sorted, or whose rows lie outside, give wrong
    /// changes but an end: see [`Table::is_sorted`].
    pub fn next<'a>(&mut self, desired: Table<'a>, actual: Table<'a>) -> Option<Change<'a>> {
        loop {
            let change = match self.phase {
                Phase::AddServices => self.service(desired, actual, |join| match join {
                    Joined {
                        desired: Some(d),
                        actual: None,
                    } => Some(Change::AddService(&d.service)),
                    Joined { .. } => None,
                }),
                Phase::SetServices => self.service(desired, actual, |join| match join {
                    Joined {
                        desired: Some(d),
                        actual: Some(a),
                    } if !same(&d.service, &a.service) => Some(Change::SetService(&d.service)),
                    Joined { .. } => None,
                }),
                Phase::DeleteServices => self.service(desired, actual, |join| match join {
                    Joined {
                        desired: None,
                        actual: Some(a),
                    } => Some(Change::DeleteService(&a.service.key)),
                    Joined { .. } => None,
                }),
                Phase::AddDestinations => {
                    self.destination(desired, actual, |row, join| match join {
                        Joined {
                            desired: Some(d),
                            actual: None,
                        } => Some(Change::AddDestination(&row.service.key, d)),
                        Joined { .. } => None,
                    })
                }
                Phase::RaiseDestinations | Phase::LowerDestinations => {
                    let lower = self.phase == Phase::LowerDestinations;
                    self.destination(desired, actual, |row, join| match join {
                        Joined {
                            desired: Some(d),
                            actual: Some(a),
                        } if d != a && (d.weight < a.weight) == lower => {
                            Some(Change::SetDestination(&row.service.key, d))
                        }
                        Joined { .. } => None,
                    })
                }
                Phase::DeleteDestinations => {
                    self.destination(desired, actual, |row, join| match join {
                        Joined {
                            desired: None,
                            actual: Some(a),
                        } => Some(Change::DeleteDestination(&row.service.key, &a.key)),
                        Joined { .. } => None,
                    })
                }
                Phase::Done => return None,
            };
            if change.is_some() {
                return change;
            }
            self.enter(match (self.phase, self.ownership) {
                (Phase::AddServices, _) => Phase::AddDestinations,
                (Phase::AddDestinations, _) => Phase::SetServices,
                (Phase::SetServices, _) => Phase::RaiseDestinations,
                (Phase::RaiseDestinations, _) => Phase::LowerDestinations,
                (Phase::LowerDestinations, _) => Phase::DeleteDestinations,
                (Phase::DeleteDestinations, Ownership::All) => Phase::DeleteServices,
                (Phase::DeleteDestinations, Ownership::Declared)
                | (Phase::DeleteServices | Phase::Done, _) => Phase::Done,
            });
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.services = Pair::default();
        self.destinations = Pair::default();
    }

    /// Joins services until `pick` makes a change of one.
    fn service<'a>(
        &mut self,
        desired: Table<'a>,
        actual: Table<'a>,
        pick: impl Fn(Joined<'a, ServiceRow>) -> Option<Change<'a>>,
    ) -> Option<Change<'a>> {
        loop {
            let join = self
                .services
                .join(desired.services, actual.services, order)?;
            self.services.pass(&join);
            if let Some(change) = pick(join) {
                return Some(change);
            }
        }
    }

    /// Joins the destinations of desired services until `pick` makes a change
    /// of one.
    fn destination<'a>(
        &mut self,
        desired: Table<'a>,
        actual: Table<'a>,
        pick: impl Fn(&'a ServiceRow, Joined<'a, Destination>) -> Option<Change<'a>>,
    ) -> Option<Change<'a>> {
        loop {
            let rows = self
                .services
                .join(desired.services, actual.services, order)?;
            if let Some(row) = rows.desired {
                let want = desired.destinations_of(row);
                let have = rows
                    .actual
                    .map_or(&[][..], |row| actual.destinations_of(row));
                while let Some(join) = self.destinations.join(want, have, |d, a| d.key.cmp(&a.key))
                {
                    self.destinations.pass(&join);
                    if let Some(change) = pick(row, join) {
                        return Some(change);
                    }
                }
            }
            self.services.pass(&rows);
            self.destinations = Pair::default();
        }
    }
}

impl Pair {
    /// The rows here: both when they are of one key, the lesser one otherwise.
    fn join<'a, T>(
        self,
        desired: &'a [T],
        actual: &'a [T],
        order: impl Fn(&T, &T) -> Ordering,
    ) -> Option<Joined<'a, T>> {
        let (d, a) = (desired.get(self.desired), actual.get(self.actual));
        let order = match (d, a) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(d), Some(a)) => order(d, a),
        };
        Some(Joined {
            desired: d.filter(|_| order.is_le()),
            actual: a.filter(|_| order.is_ge()),
        })
    }

    /// Goes past the rows of a join: at least one, so a run ends.
    fn pass<T>(&mut self, join: &Joined<'_, T>) {
        let one = usize::from;
        self.desired = self.desired.saturating_add(one(join.desired.is_some()));
        self.actual = self.actual.saturating_add(one(join.actual.is_some()));
    }
}

fn order(desired: &ServiceRow, actual: &ServiceRow) -> Ordering {
    desired.service.key.cmp(&actual.service.key)
}

/// Whether the kernel's service needs no change. `HASHED` is the kernel's own.
fn same(desired: &Service, actual: &Service) -> bool {
    let Service {
        key,
        scheduler,
        flags,
        timeout_s,
        prefix,
        engine,
    } = desired;
    *key == actual.key
        && *scheduler == actual.scheduler
        && (*flags ^ actual.flags)
            .difference(ServiceFlags::HASHED)
            .is_empty()
        && *timeout_s == actual.timeout_s
        && *prefix == actual.prefix
        && *engine == actual.engine
}
