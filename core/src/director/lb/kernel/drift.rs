//! What someone else changed in the kernel's table since it was known, and how
//! long to wait before looking again when the same row is changed again and
//! again: two programs that both insist must not fight at full speed. Not the
//! correction, which is a pass like any other.

use super::super::counters::KernelCounters;
use super::super::find;
use crate::director::records;
use crate::model::{DestinationKey, ServiceKey, Table};
use crate::reconcile::{Change, Cursor, Ownership};
use crate::record::Ring;
use crate::time::{Duration, Instant};

/// Rows that are kept in mind.
const ROWS_MAX: usize = 16;
/// Rows named in the log after one look; those beyond are told as a number.
const NAMED_MAX: u32 = 8;
/// A row may be put right so often before the waits grow.
const TIMES_MAX: u32 = 2;
/// The wait doubles so often at most: 16 audits.
const DOUBLINGS_MAX: u32 = 4;
/// A row not changed by others for so many audits is forgotten.
const WINDOW_AUDITS: u32 = 64;

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Drift {
    rows: heapless::Vec<Row, ROWS_MAX>,
    /// When the table was last compared.
    compared_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    service: ServiceKey,
    destination: Option<DestinationKey>,
    /// How often someone else changed it.
    times: u32,
    last: Instant,
}

impl Drift {
    /// Compares what the kernel holds with what it was left with, and says what
    /// differs.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        audit: Duration,
        left: Table<'_>,
        found: Table<'_>,
        counters: &mut KernelCounters,
        log: &mut Ring<'_>,
    ) {
        let window = audit.saturating_mul(WINDOW_AUDITS);
        self.rows.retain(|row| now.since(row.last) < window);
        let mut cursor = Cursor::new(Ownership::All);
        let (mut named, mut more, mut worst) = (0_u32, 0_u32, 0_u32);
        while let Some(change) = cursor.next(left, found) {
            let with_its_service = match change {
                Change::AddDestination(key, _) => find(found, key).is_none(),
                Change::AddService(_)
                | Change::SetService(_)
                | Change::SetDestination(..)
                | Change::DeleteDestination(..)
                | Change::DeleteService(_) => false,
            };
            if with_its_service {
                continue;
            }
            counters.drifted = counters.drifted.saturating_add(1);
            let times = self.note(now, &change);
            worst = worst.max(times);
            if named < NAMED_MAX {
                named = named.saturating_add(1);
                records::log_drifted(log, now, &change, weight_of(found, &change), times);
            } else {
                more = more.saturating_add(1);
            }
        }
        self.compared_at = now;
        if more > 0 {
            log.log(now, records::MoreDrifted { more });
        }
        let wait = self.interval(audit);
        if worst > TIMES_MAX {
            counters.contests = counters.contests.saturating_add(1);
            log.log(
                now,
                records::TableContested {
                    times: worst,
                    wait_s: wait.as_secs(),
                },
            );
        }
    }

    /// How long after a look the next one is due, when nothing else gives cause.
    pub(super) fn interval(&self, audit: Duration) -> Duration {
        let worst = self.rows.iter().map(|row| row.times).max().unwrap_or(0);
        let doublings = worst.saturating_sub(TIMES_MAX).min(DOUBLINGS_MAX);
        audit.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(1))
    }

    /// How often the row of a change was changed by others, this time included.
    fn note(&mut self, now: Instant, change: &Change<'_>) -> u32 {
        let service = *change.service();
        let destination = match *change {
            Change::AddDestination(_, it) | Change::SetDestination(_, it) => Some(it.key),
            Change::DeleteDestination(_, key) => Some(*key),
            Change::AddService(_) | Change::SetService(_) | Change::DeleteService(_) => None,
        };
        let of = |row: &&mut Row| row.service == service && row.destination == destination;
        if let Some(row) = self.rows.iter_mut().find(of) {
            // Deleted and made anew is one change, not two.
            if row.last != now {
                row.times = row.times.saturating_add(1);
            }
            row.last = now;
            return row.times;
        }
        let new = Row {
            service,
            destination,
            times: 1,
            last: now,
        };
        if let Err(new) = self.rows.push(new) {
            // One that was left in peace at the last look makes room.
            let idle = |row: &&mut Row| row.last < self.compared_at;
            if let Some(row) = self.rows.iter_mut().filter(idle).min_by_key(|row| row.last) {
                *row = new;
            }
        }
        1
    }
}

/// The weight that the destination of a change has in the table.
fn weight_of(found: Table<'_>, change: &Change<'_>) -> Option<u32> {
    let Change::SetDestination(key, it) = change else {
        return None;
    };
    let rows = found.destinations_of(find(found, key)?);
    let at = rows.binary_search_by_key(&it.key, |row| row.key).ok()?;
    Some(rows.get(at)?.weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        BLANK_DESTINATION, Destination, Family, Forward, Service, ServiceRow, TableBuf,
    };
    use crate::record::Frame;
    use std::string::String;
    use std::vec::Vec;

    const AUDIT: Duration = Duration::from_secs(60);

    /// Marks of services, each with destinations of these weights.
    type Rows<'a> = &'a [(u32, &'a [u32])];

    fn key(mark: u32) -> ServiceKey {
        let family = Family::V4;
        ServiceKey::Fwmark { mark, family }
    }

    fn look(
        drift: &mut Drift,
        counters: &mut KernelCounters,
        at_s: u64,
        left: Rows<'_>,
        found: Rows<'_>,
    ) -> Vec<String> {
        let mut store = [(); 2].map(|()| {
            let services = (0..40).map(|_| ServiceRow::blank()).collect::<Vec<_>>();
            (services, [BLANK_DESTINATION; 40])
        });
        let [left, found] = {
            let [a, b] = &mut store;
            [(a, left), (b, found)].map(|((services, destinations), rows)| {
                let mut table = TableBuf::new(services, destinations);
                for (at, (mark, weights)) in rows.iter().enumerate() {
                    table
                        .push_service(&Service::new(key(*mark), "rr".try_into().unwrap()))
                        .unwrap();
                    for (last, weight) in (1..).zip(*weights) {
                        let key = DestinationKey {
                            address: [10, 0, 0, last].into(),
                            port: 80,
                        };
                        table
                            .push_destination(at, &Destination::new(key, Forward::MASQ, *weight))
                            .unwrap();
                    }
                }
                table
            })
        };
        let mut frames = [Frame::EMPTY; 32];
        let mut log = Ring::new(&mut frames);
        let now = Instant::ZERO + Duration::from_secs(at_s);
        drift.compare(now, AUDIT, left.table(), found.table(), counters, &mut log);
        let mut lines = Vec::new();
        while let Some(frame) = log.pop() {
            let text = frame.text(&[crate::director::records::RECORDS]);
            lines.push(std::format!("{text}"));
        }
        lines
    }

    #[test]
    fn each_row_that_came_back_different_is_named() {
        let (mut drift, mut counters) = (Drift::default(), KernelCounters::default());
        let left: Rows<'_> = &[(1, &[1, 1]), (2, &[5]), (3, &[1])];
        let found: Rows<'_> = &[(1, &[1]), (2, &[7]), (9, &[1])];
        let lines = look(&mut drift, &mut counters, 60, left, found);
        assert_eq!(
            lines,
            [
                "ipvs: service 0.0.0.0 port 0 mark 3: someone else deleted it; putting it right (1 so far)",
                "ipvs: service 0.0.0.0 port 0 mark 1 backend 10.0.0.2 port 80: someone else deleted it; putting it right (1 so far)",
                "ipvs: service 0.0.0.0 port 0 mark 2 backend 10.0.0.1 port 80: someone else set its weight to 7; putting it right (1 so far)",
                "ipvs: service 0.0.0.0 port 0 mark 9: someone else added it; putting it right (1 so far)",
            ]
        );
        assert_eq!(counters.drifted, 4);
        assert_eq!(look(&mut drift, &mut counters, 120, left, left), [""; 0]);
        assert_eq!(drift.interval(AUDIT), AUDIT);
    }

    #[test]
    fn the_wait_doubles_while_a_row_is_contested_and_is_as_before_after_peace() {
        let (mut drift, mut counters) = (Drift::default(), KernelCounters::default());
        let left: Rows<'_> = &[(1, &[1]), (2, &[])];
        let (mut at_s, mut waits) = (0, Vec::new());
        for _ in 0..8 {
            at_s += drift.interval(AUDIT).as_secs();
            let lines = look(
                &mut drift,
                &mut counters,
                at_s,
                left,
                &[(1, &[7]), (2, &[])],
            );
            let wait = drift.interval(AUDIT).as_secs();
            let contested = lines
                .iter()
                .any(|l| l.contains(&std::format!("looking again in {wait} s")));
            assert_eq!(contested, wait > 60, "{lines:?}");
            waits.push(wait);
        }
        assert_eq!(waits, [60, 60, 120, 240, 480, 960, 960, 960]);
        assert_eq!(counters.contests, 6);
        // Another row's trouble is told at the same looks.
        let lines = look(&mut drift, &mut counters, at_s + 960, left, &[(1, &[1])]);
        assert!(lines[0].contains("mark 2"), "{lines:?}");
        assert_eq!(drift.interval(AUDIT).as_secs(), 960);
        look(&mut drift, &mut counters, at_s + 64 * 60, left, left);
        assert_eq!(drift.interval(AUDIT).as_secs(), 60);
    }

    #[test]
    fn a_table_that_is_emptied_again_and_again_is_contested_and_fills_no_log() {
        let (mut drift, mut counters) = (Drift::default(), KernelCounters::default());
        let rows: Vec<(u32, &[u32])> = (1..=30).map(|mark| (mark, &[1][..])).collect();
        for (times, wait) in [60, 60, 120, 240].into_iter().enumerate() {
            let at_s = 60 * (u64::try_from(times).unwrap() + 1);
            let lines = look(&mut drift, &mut counters, at_s, &rows, &[]);
            assert_eq!(drift.interval(AUDIT).as_secs(), wait);
            assert!(lines.len() <= 10, "{lines:?}");
            assert!(lines[8].starts_with("ipvs: 22 more rows"), "{lines:?}");
        }
        // Its destinations go with a service.
        assert_eq!(counters.drifted, 4 * 30);
    }
}
