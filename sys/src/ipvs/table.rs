//! The table as a whole: read so that no live service is taken for absent, made
//! what it should be, and found out about again when an answer was lost. Not a
//! loop: every call ends, by a bound on its waits and on its passes.
//!
//! A dump is not atomic: a service deleted while it runs hides one that is
//! there, and no kernel says so. Only an answer about the one service is proof.

use super::{Error, Ipvs, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use trunnion_core::ipvs::BATCH_REQUESTS_MAX;
use trunnion_core::model::{Destination, DestinationKey, Service, ServiceKey, Table, TableBuf};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::{Change, Cursor, Ownership};

/// Dumps of one list, until two in a row agree.
const DUMPS_MAX: u32 = 6;
/// Dumps and rounds of changes until the table is what it should be.
const PASSES_MAX: u32 = 8;
/// Passes in a row in which everything was refused: want of memory passes, what
/// else the kernel refuses does not.
const IDLE_MAX: u32 = 2;

/// How a table was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Dumps it took.
    pub dumps: u32,
    /// Rows that were there and that a dump had not shown.
    pub missed: u32,
    /// Whether the last two dumps of each list agreed. If not, someone changes
    /// the table all the time, and a row nobody asked for by name may be missing.
    pub agreed: bool,
}

/// What became of [`Ipvs::reconcile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Whether the last reading was what is desired. If not, what is left was
    /// refused, withheld, or undone by someone else.
    pub converged: bool,
    /// Readings.
    pub passes: u32,
    /// Passes that ended with answers missing.
    pub unknown: u32,
    /// Changes the kernel carried out.
    pub done: u32,
    /// Changes of the last pass that were refused.
    pub refused: u32,
    /// Whether the last pass took nothing away, because what should replace it
    /// could not be made.
    pub withheld: bool,
}

impl Ipvs {
    /// Reads services and destinations into `into`, sorted. A service of `known`
    /// that is there all the time this takes is in it, whatever others add and
    /// delete meanwhile: what a dump did not show is asked for by name. For other
    /// services, and for destinations, which cannot be asked for one by one, see
    /// [`Reading::agreed`].
    ///
    /// Takes memory for what it reads.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; see [`Error`] for the rest. After an error `into` is
    /// of no use.
    pub fn read(&mut self, known: Table<'_>, into: &mut TableBuf<'_>) -> Result<Reading, Error> {
        self.read_those(known, |_| true, into)
    }

    /// Makes the table what `desired` says: reads it, sends what differs, reads
    /// again, and ends when nothing differs, when nothing more can be done, or
    /// after 8 readings. `actual` is then what the last one found. Lost answers
    /// lead to another.
    ///
    /// Everything is made before anything is taken away; and nothing is taken
    /// away in a pass in which something was refused. `each` is told of every
    /// change that the kernel or a rule refused, in each pass anew. With
    /// [`Ownership::Declared`] services that `desired` does not name are neither
    /// kept in `actual` nor touched.
    ///
    /// # Errors
    /// [`Error::Unknown`] when answers were missing to the end: what the kernel
    /// holds is then not known. See [`Error`] for the rest; what had been sent
    /// before stays.
    pub fn reconcile(
        &mut self,
        desired: Table<'_>,
        ownership: Ownership,
        actual: &mut TableBuf<'_>,
        mut each: impl FnMut(&Change<'_>, Outcome),
    ) -> Result<Reconciled, Error> {
        let mut report = Reconciled::default();
        let ours = |key: &ServiceKey| ownership == Ownership::All || names(desired, key);
        let mut idle = 0;
        loop {
            report.passes = report.passes.saturating_add(1);
            let last = report.passes >= PASSES_MAX;
            let before = report.done;
            let passed = self.read_those(desired, ours, actual).and_then(|_| {
                let actual = actual.table();
                let start = Cursor::new(ownership);
                report.converged = { start }.next(desired, actual).is_none();
                if report.converged || idle >= IDLE_MAX || last {
                    return Ok(true);
                }
                self.pass(start, desired, actual, &mut report, &mut each)?;
                Ok(false)
            });
            match passed {
                Ok(true) => return Ok(report),
                Ok(false) if report.done == before => idle += 1,
                Ok(false) => idle = 0,
                Err(error) if last || !may_pass(&error) => return Err(error),
                Err(_) => report.unknown = report.unknown.saturating_add(1),
            }
        }
    }

    /// Finds out what became of the changes whose outcome is
    /// [`Outcome::Unknown`]: [`Outcome::Done`] when the kernel's table is as if
    /// they had been carried out, [`Outcome::NotSent`] when it is not. Someone
    /// else may have made it so, and a later change of a row hides an earlier one.
    ///
    /// # Errors
    /// See [`Error`]; what was found out so far is kept.
    ///
    /// # Panics
    /// When `outcomes` is not as long as `changes`.
    pub fn settle(
        &mut self,
        changes: &[Change<'_>],
        outcomes: &mut [Outcome],
    ) -> Result<(), Error> {
        assert_eq!(changes.len(), outcomes.len(), "one outcome for each change");
        let unknown = changes.iter().zip(outcomes.iter_mut());
        for (change, outcome) in unknown.filter(|(_, o)| **o == Outcome::Unknown) {
            *outcome = if self.holds(change)? {
                Outcome::Done
            } else {
                Outcome::NotSent
            };
        }
        Ok(())
    }

    /// Whether the table is as `change` would leave it.
    fn holds(&mut self, change: &Change<'_>) -> Result<bool, Error> {
        let key = change.service();
        let found = self.get_service(key)?.map(|entry| entry.service);
        let mut rows = BTreeMap::new();
        match change {
            Change::AddService(it) | Change::SetService(it) => {
                return Ok(found.as_ref() == Some(*it));
            }
            Change::DeleteService(_) => return Ok(found.is_none()),
            Change::AddDestination(..)
            | Change::SetDestination(..)
            | Change::DeleteDestination(..) => {
                if found.is_some() {
                    let mut reading = Reading::default();
                    rows = self.read_destinations(key, &mut reading)?.unwrap_or(rows);
                }
            }
        }
        Ok(match change {
            Change::AddDestination(_, it) | Change::SetDestination(_, it) => {
                rows.get(&it.key) == Some(*it)
            }
            Change::DeleteDestination(_, at) => !rows.contains_key(*at),
            Change::AddService(_) | Change::SetService(_) | Change::DeleteService(_) => false,
        })
    }

    fn read_those(
        &mut self,
        known: Table<'_>,
        wanted: impl Fn(&ServiceKey) -> bool,
        into: &mut TableBuf<'_>,
    ) -> Result<Reading, Error> {
        let mut reading = Reading {
            agreed: true,
            ..Reading::default()
        };
        let services = self.read_services(known, wanted, &mut reading)?;
        into.clear();
        let mut at = 0_usize;
        for (key, service) in &services {
            // It may be gone by now, with its destinations.
            let Some(rows) = self.read_destinations(key, &mut reading)? else {
                continue;
            };
            into.push_service(service).map_err(Error::TooLarge)?;
            for row in rows.values() {
                into.push_destination(at, row).map_err(Error::TooLarge)?;
            }
            at = at.saturating_add(1);
        }
        Ok(reading)
    }

    fn read_services(
        &mut self,
        known: Table<'_>,
        wanted: impl Fn(&ServiceKey) -> bool,
        reading: &mut Reading,
    ) -> Result<BTreeMap<ServiceKey, Service>, Error> {
        let mut seen = BTreeSet::new();
        let mut shown = BTreeMap::new();
        for dumps in 1..=DUMPS_MAX {
            let before = std::mem::take(&mut shown);
            self.dump_services(|entry| {
                if wanted(&entry.service.key) {
                    shown.insert(entry.service.key, entry.service);
                }
            })?;
            reading.dumps = reading.dumps.saturating_add(1);
            seen.extend(shown.keys().copied());
            if dumps > 1 && before.keys().eq(shown.keys()) {
                break;
            }
            reading.agreed &= dumps < DUMPS_MAX;
        }
        seen.extend(known.services.iter().map(|row| row.service.key));
        for key in seen.into_iter().filter(|key| wanted(key)) {
            if !shown.contains_key(&key)
                && let Some(entry) = self.get_service(&key)?
            {
                reading.missed = reading.missed.saturating_add(1);
                shown.insert(key, entry.service);
            }
        }
        Ok(shown)
    }

    /// `None` when the service is not there.
    fn read_destinations(
        &mut self,
        key: &ServiceKey,
        reading: &mut Reading,
    ) -> Result<Option<BTreeMap<DestinationKey, Destination>>, Error> {
        let mut all = BTreeMap::new();
        for dumps in 1..=DUMPS_MAX {
            let mut shown = BTreeMap::new();
            let dumped = self.dump_destinations(key, |entry| {
                shown.insert(entry.destination.key, entry.destination);
            });
            let parts = match dumped {
                Ok(parts) => parts,
                Err(Error::Kernel {
                    errno: Errno::ESRCH,
                    ..
                }) => return Ok(None),
                Err(error) => return Err(error),
            };
            reading.dumps = reading.dumps.saturating_add(1);
            // What is written at one go is of one moment.
            if parts <= 1 || (dumps > 1 && all.keys().eq(shown.keys())) {
                return Ok(Some(shown));
            }
            all = if dumps < DUMPS_MAX {
                shown
            } else {
                all.into_iter().chain(shown).collect()
            };
        }
        reading.agreed = false;
        Ok(Some(all))
    }

    /// Sends what differs.
    fn pass(
        &mut self,
        mut cursor: Cursor,
        desired: Table<'_>,
        actual: Table<'_>,
        report: &mut Reconciled,
        each: &mut impl FnMut(&Change<'_>, Outcome),
    ) -> Result<(), Error> {
        report.refused = 0;
        report.withheld = false;
        let mut changes: Vec<Change<'_>> = Vec::with_capacity(BATCH_REQUESTS_MAX as usize);
        let mut instead = Vec::new();
        loop {
            let before = cursor;
            let next = cursor.next(desired, actual);
            // Nothing is taken away before what was made is known to be there.
            let joins = match (changes.first(), &next) {
                (None, Some(_)) => true,
                (Some(first), Some(next)) => {
                    changes.len() < BATCH_REQUESTS_MAX as usize
                        && first.is_destructive() == next.is_destructive()
                }
                (_, None) => false,
            };
            if let (true, Some(change)) = (joins, next) {
                if change.is_destructive() && report.refused > 0 {
                    report.withheld = true;
                    return Ok(());
                }
                changes.push(change);
                continue;
            }
            if changes.is_empty() {
                return Ok(());
            }
            cursor = before;
            self.send_all(&changes, &mut instead, report, each)?;
            changes.clear();
            if !instead.is_empty() {
                let sets = std::mem::take(&mut instead);
                self.send_all(&sets, &mut instead, report, each)?;
                instead.clear();
            }
        }
    }

    /// Carries out changes. What a dump had not shown and an add found there is
    /// to be set `instead`.
    fn send_all<'a>(
        &mut self,
        changes: &[Change<'a>],
        instead: &mut Vec<Change<'a>>,
        report: &mut Reconciled,
        each: &mut impl FnMut(&Change<'_>, Outcome),
    ) -> Result<(), Error> {
        let mut outcomes = vec![Outcome::NotSent; changes.len()];
        let applied = self.apply(changes, &mut outcomes);
        for (change, outcome) in changes.iter().zip(outcomes) {
            let gone = matches!(outcome, Outcome::Failed(Errno::ENOENT | Errno::ESRCH));
            match (change, outcome) {
                (_, Outcome::Done) => report.done = report.done.saturating_add(1),
                (_, Outcome::Unknown | Outcome::NotSent) => {}
                (Change::AddService(it), Outcome::Failed(Errno::EEXIST)) => {
                    instead.push(Change::SetService(it));
                }
                (Change::AddDestination(key, it), Outcome::Failed(Errno::EEXIST)) => {
                    instead.push(Change::SetDestination(key, it));
                }
                (Change::DeleteService(_) | Change::DeleteDestination(..), _) if gone => {}
                (_, Outcome::Failed(_) | Outcome::Refused(_)) => {
                    report.refused = report.refused.saturating_add(1);
                    each(change, outcome);
                }
            }
        }
        applied
    }
}

fn names(table: Table<'_>, key: &ServiceKey) -> bool {
    let found = table
        .services
        .binary_search_by_key(key, |row| row.service.key);
    found.is_ok()
}

/// Whether another attempt may end otherwise.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unknown | Error::Malformed(_) => true,
        Error::Kernel { errno, .. } => transient(*errno),
        Error::Io(error) => error
            .raw_os_error()
            .is_some_and(|number| transient(Errno(number))),
        Error::Refused(_) | Error::NoIpvs | Error::TooLarge(_) => false,
    }
}

const fn transient(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EBUSY | Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN | Errno::EINTR
    )
}
