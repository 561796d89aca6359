//! Rows that the kernel refused when it was told last. What it said of them is
//! known, so the table rests without them, and they are tried again after a while:
//! one service whose scheduler is missing must not make a dump of each verdict, nor
//! a page of the log.

use super::super::find;
use crate::director::exchange::Backoff;
use crate::model::{DestinationKey, ServiceKey, Table, TableBuf};
use crate::netlink::Errno;
use crate::reconcile::Change;
use crate::time::{Duration, Instant};

/// Rows that are kept in mind.
const ROWS_MAX: usize = 32;
/// Rows named in the log in one pass; those beyond are told as a number.
const NAMED_MAX: u32 = 8;

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    rows: heapless::Vec<Row, ROWS_MAX>,
    /// There are more, or one that tells of a table other than was known.
    more: bool,
    named: u32,
    unnamed: u32,
    backoff: Backoff,
    retry_at: Option<Instant>,
}

/// A service, which has its destinations with it where it is not there, or one
/// destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    service: ServiceKey,
    destination: Option<DestinationKey>,
}

impl Refusals {
    /// Everything may be tried again.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.retry_at = None;
    }

    /// And at once: what is asked for is another thing.
    pub(super) fn forgive(&mut self) {
        self.forget();
        self.backoff.reset();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A pass begins.
    pub(super) const fn begin(&mut self) {
        self.more = false;
        self.named = 0;
        self.unnamed = 0;
    }

    /// A request was refused that is not to be put down as a row.
    pub(super) const fn miss(&mut self) {
        self.more = true;
    }

    /// The kernel refused a change. Whether to say so.
    pub(super) fn note(&mut self, change: &Change<'_>, errno: Errno) -> bool {
        let service = *change.service();
        let whole = Row {
            service,
            destination: None,
        };
        let row = match *change {
            // It follows from what was said of the service.
            Change::AddDestination(..) if errno == Errno::ESRCH && self.rows.contains(&whole) => {
                return false;
            }
            // A missing module is ENOENT too.
            Change::AddService(_) | Change::SetService(_) if !tells_of_a_row(errno) => whole,
            Change::AddDestination(_, it) | Change::SetDestination(_, it)
                if !tells_of_a_row(errno) && errno != Errno::ENOENT =>
            {
                Row {
                    destination: Some(it.key),
                    ..whole
                }
            }
            Change::AddService(_)
            | Change::SetService(_)
            | Change::AddDestination(..)
            | Change::SetDestination(..)
            | Change::DeleteDestination(..)
            | Change::DeleteService(_) => {
                self.more = true;
                return self.name();
            }
        };
        if !self.rows.contains(&row) && self.rows.push(row).is_err() {
            self.more = true;
        }
        self.name()
    }

    /// Whether one more is to be named.
    fn name(&mut self) -> bool {
        if self.named < NAMED_MAX {
            self.named = self.named.saturating_add(1);
            return true;
        }
        self.unnamed = self.unnamed.saturating_add(1);
        false
    }

    /// How many were not named.
    pub(super) const fn unnamed(&self) -> u32 {
        self.unnamed
    }

    /// A pass is over. Whether what the kernel holds is known, for all that it
    /// refused: not the first time, when a look may show why.
    pub(super) fn end(&mut self, now: Instant) -> bool {
        let wait = self.backoff.fail();
        if self.more || wait == Duration::ZERO {
            self.forget();
            return false;
        }
        let at = now + wait;
        self.retry_at = Some(self.retry_at.map_or(at, |before| before.min(at)));
        true
    }

    /// A pass was carried out to the last request.
    pub(super) fn succeed(&mut self) {
        if self.rows.is_empty() {
            self.backoff.reset();
        }
    }

    /// Makes of the rows of a target that are refused what they are now.
    pub(super) fn leave(&self, target: &mut TableBuf<'_>, actual: Table<'_>) {
        for row in &self.rows {
            let held = find(actual, &row.service);
            match (held, row.destination) {
                (None, _) => target.remove_service(&row.service),
                (Some(held), None) => target.set_service(&held.service),
                (Some(held), Some(key)) => {
                    let rows = actual.destinations_of(held);
                    let at = rows.binary_search_by_key(&key, |row| row.key).ok();
                    match at.and_then(|at| rows.get(at)) {
                        Some(held) => target.set_destination(&row.service, held),
                        None => target.remove_destination(&row.service, &key),
                    }
                }
            }
        }
    }
}

/// Whether a refusal says that a row is there, or is not, other than was known.
fn tells_of_a_row(errno: Errno) -> bool {
    errno == Errno::EEXIST || errno == Errno::ESRCH
}
