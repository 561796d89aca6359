//! A pass over the table, or over some of its services: from a target to the
//! kernel holding it.

use super::{Ask, Kernel, Known, Progress, State};
use crate::director::records;
use crate::model::{Full, Table, TableBuf};
use crate::reconcile::{Cursor, Ownership};
use crate::record::Ring;
use crate::time::Instant;

/// What came of the wish to begin a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::director::lb) enum Pass {
    /// There is something to change.
    Begun,
    /// The kernel holds the target already.
    Nothing,
    /// The target did not fit, or the kernel's table is not known.
    Full,
}

impl<'s> Kernel<'s> {
    /// Starts a pass: `fill` writes the target, and is shown what the kernel
    /// holds. Unless it is about the `whole` table, `fill` writes some services
    /// of the last whole pass, with other weights.
    pub(in crate::director::lb) fn begin_pass(
        &mut self,
        whole: bool,
        fill: impl FnOnce(&mut TableBuf<'s>, Table<'_>) -> Result<(), Full>,
    ) -> Pass {
        if !self.is_settled() || fill(&mut self.target, self.actual.table()).is_err() {
            return Pass::Full;
        }
        self.partial = !whole;
        self.refusals.begin();
        self.refusals.leave(&mut self.target, self.actual.table());
        let (target, actual) = self.sides();
        if target.destinations.len() != actual.destinations.len() && !whole {
            return Pass::Full;
        }
        let rows = target.services.iter().map(|row| u64::from(row.count));
        let compared = rows.fold(0, u64::saturating_add);
        let start = Cursor::new(Ownership::All);
        let mut probe = start;
        let first = probe.next(target, actual);
        let nothing = first.is_none();
        self.counters.compared = self.counters.compared.saturating_add(compared);
        if nothing {
            self.backoff.reset();
            self.refusals.succeed();
            self.hold_target();
            return Pass::Nothing;
        }
        self.requests_before = self.counters.requests();
        self.state = State::Due(Ask::Changes {
            start,
            next: start,
            failed: false,
        });
        Pass::Begun
    }

    /// What a pass makes of what.
    pub(super) fn sides(&self) -> (Table<'_>, Table<'_>) {
        sides(&self.target, &self.actual, self.partial)
    }

    /// The kernel holds the target.
    fn hold_target(&mut self) {
        if self.partial {
            self.actual.take_destinations(self.target.table());
        } else {
            core::mem::swap(&mut self.target, &mut self.actual);
        }
    }

    /// The kernel has answered a batch.
    pub(super) fn handle_barrier(
        &mut self,
        now: Instant,
        next: Cursor,
        failed: bool,
        log: &mut Ring<'_>,
    ) -> Progress {
        let mut probe = next;
        let (target, actual) = self.sides();
        if probe.next(target, actual).is_some() {
            self.state = State::Due(Ask::Changes {
                start: next,
                next,
                failed,
            });
            return Progress::None;
        }
        if failed {
            let more = self.refusals.unnamed();
            if more > 0 {
                log.log(now, records::MoreRefused { more });
            }
            if !self.refusals.end(now) {
                self.handle_lost(now, "the kernel refused requests", log);
                return Progress::None;
            }
            // Whatever else was asked for is as it was asked for.
            self.refusals.leave(&mut self.target, self.actual.table());
        }
        self.backoff.reset();
        self.refusals.succeed();
        self.hold_target();
        self.known = Known::Well;
        self.settle();
        let requests = self
            .counters
            .requests()
            .saturating_sub(self.requests_before);
        Progress::Applied { requests }
    }
}

/// What a pass makes of what; a partial one of services at the same places.
pub(super) fn sides<'a>(
    target: &'a TableBuf<'_>,
    actual: &'a TableBuf<'_>,
    partial: bool,
) -> (Table<'a>, Table<'a>) {
    let (target, actual) = (target.table(), actual.table());
    let services = if partial {
        target.services
    } else {
        actual.services
    };
    (target, Table { services, ..actual })
}
