//! Reading the kernel's table: rows as they come, and once more what was known
//! and was not shown, because others' deletes hide what is there.

use super::{Ask, Kernel, Known, Progress, State};
use crate::bytes::Reader;
use crate::director::lb::find;
use crate::director::records;
use crate::ipvs::{Refused, decode, request};
use crate::model::{DestinationKey, Family, Full, ServiceKey, Table};
use crate::netlink::genl::FamilyId;
use crate::netlink::{Batch, Errno, Malformed, Reply};
use crate::record::Ring;
use crate::time::Instant;

impl Kernel<'_> {
    /// A row of a dump, or its end.
    pub(super) fn handle_row(
        &mut self,
        now: Instant,
        ask: Ask,
        reply: &Reply<'_>,
        wanted: &impl Fn(&ServiceKey, Table<'_>) -> bool,
        log: &mut Ring<'_>,
    ) -> Result<Progress, Malformed> {
        match *reply {
            Reply::Data { body, offset, .. } => {
                let pushed = match ask {
                    Ask::Destinations { service, again } => {
                        let row = decode::destination(body, offset, self.family_of(service))?;
                        let new = row.destination;
                        if again.is_some_and(|shown| self.shows(service, shown, &new.key)) {
                            Ok(())
                        } else {
                            self.actual.push_destination(service, &new)
                        }
                    }
                    Ask::Services
                    | Ask::Missing { .. }
                    | Ask::Family
                    | Ask::Changes { .. }
                    | Ask::Daemons
                    | Ask::SetDaemons => self.take_service(now, body, offset, wanted, log),
                };
                if let Err(full) = pushed {
                    self.too_large(now, full, log);
                }
            }
            Reply::Done { result: Ok(()), .. } => return Ok(self.dumped(now, ask, log)),
            Reply::Done { result: Err(_), .. } | Reply::Ack { result: Err(_), .. } => {
                self.handle_lost(now, "dump refused", log);
            }
            Reply::Ack { .. } | Reply::Noop | Reply::Overrun => {}
        }
        Ok(Progress::None)
    }

    /// Asks for the services that were known and were not shown, from a place
    /// of the table as it was; the place to go on from.
    pub(super) fn write_missing(
        &self,
        family: FamilyId,
        from: usize,
        batch: &mut Batch<'_>,
    ) -> usize {
        let mut next = from;
        let mut asked = 0_usize;
        let known = self.target.table().services;
        for row in known.iter().skip(from) {
            if find(self.actual.table(), &row.service.key).is_none() {
                if asked == super::BATCH_MAX {
                    break;
                }
                match request::get_service(batch, family, &row.service.key) {
                    Ok(_) => asked = asked.saturating_add(1),
                    Err(Refused::Full) if asked > 0 => break,
                    // What cannot be asked for is not waited for.
                    Err(_) => {}
                }
            }
            next = next.saturating_add(1);
        }
        let _ = batch.barrier();
        next
    }

    /// What became of a service that was asked for by name.
    pub(super) fn handle_missing(
        &mut self,
        now: Instant,
        reply: &Reply<'_>,
        wanted: &impl Fn(&ServiceKey, Table<'_>) -> bool,
        log: &mut Ring<'_>,
    ) -> Result<Progress, Malformed> {
        match *reply {
            Reply::Data { body, offset, .. } => {
                if let Err(full) = self.take_service(now, body, offset, wanted, log) {
                    self.too_large(now, full, log);
                }
            }
            // Gone indeed.
            Reply::Ack {
                result: Err(Errno::ESRCH),
                ..
            } => {}
            Reply::Ack { result: Err(_), .. } => self.handle_lost(now, "dump refused", log),
            Reply::Ack { result: Ok(()), .. }
            | Reply::Done { .. }
            | Reply::Noop
            | Reply::Overrun => {}
        }
        Ok(Progress::None)
    }

    /// One dump is over: on to the next one, or settled.
    pub(super) fn dumped(&mut self, now: Instant, ask: Ask, log: &mut Ring<'_>) -> Progress {
        let next = match ask {
            Ask::Destinations { service, again } => {
                self.actual.sort_destinations(service);
                if again.is_none() && self.hides_destinations(service) {
                    let rows = self.actual.table().services.get(service);
                    let shown = rows.map_or(0, |row| row.count as usize);
                    self.state = State::Due(Ask::Destinations {
                        service,
                        again: Some(shown),
                    });
                    return Progress::None;
                }
                service.saturating_add(1)
            }
            Ask::Services
            | Ask::Missing { .. }
            | Ask::Family
            | Ask::Changes { .. }
            | Ask::Daemons
            | Ask::SetDaemons => {
                self.actual.sort_services();
                if let Some(next) = self.first_missing(ask) {
                    self.state = State::Due(Ask::Missing { next });
                    return Progress::None;
                }
                0
            }
        };
        if next < self.actual.table().services.len() {
            self.actual.begin_destinations(next);
            self.state = State::Due(Ask::Destinations {
                service: next,
                again: None,
            });
            return Progress::None;
        }
        if core::mem::replace(&mut self.before, Known::Not) == Known::Well {
            let (left, found) = (self.target.table(), self.actual.table());
            let counters = &mut self.counters;
            self.drift
                .compare(now, self.audit, left, found, counters, log);
        }
        self.known = Known::Well;
        self.refusals.forget();
        self.dumped_at = now;
        self.settle();
        self.counters.dumps = self.counters.dumps.saturating_add(1);
        Progress::Dumped
    }

    /// A pass was broken off: services that it may have added are ours, though
    /// neither what was known before it nor a newer plan names them. Where they
    /// do not fit, those without room are taken for somebody else's.
    pub(super) fn claim_target(&mut self) {
        if self.partial {
            return;
        }
        let known = self.actual.table().services.len();
        for row in self.target.table().services {
            let before = self.actual.table().services.get(..known);
            let key = row.service.key;
            let held = before.is_some_and(|rows| {
                rows.binary_search_by_key(&key, |row| row.service.key)
                    .is_ok()
            });
            if !held && self.actual.push_service(&row.service).is_err() {
                break;
            }
        }
        self.actual.sort_services();
    }

    /// The place of the first service that was known, was not shown and was not
    /// yet asked for.
    fn first_missing(&self, ask: Ask) -> Option<usize> {
        if self.before == Known::Not {
            return None;
        }
        let from = match ask {
            Ask::Missing { next } => next,
            Ask::Services
            | Ask::Destinations { .. }
            | Ask::Family
            | Ask::Changes { .. }
            | Ask::Daemons
            | Ask::SetDaemons => 0,
        };
        let shown = self.actual.table();
        let known = self.target.table().services.iter().enumerate().skip(from);
        let mut missing = known.filter(|(_, row)| find(shown, &row.service.key).is_none());
        missing.next().map(|(at, _)| at)
    }

    /// Whether a service's destinations do not show one that was known.
    fn hides_destinations(&self, service: usize) -> bool {
        let (known, shown) = (self.target.table(), self.actual.table());
        let Some(row) = shown.services.get(service) else {
            return false;
        };
        let Some(before) = find(known, &row.service.key) else {
            return false;
        };
        let rows = shown.destinations_of(row);
        let hidden = |key| rows.binary_search_by_key(&key, |row| row.key).is_err();
        let mut known = known.destinations_of(before).iter();
        self.before != Known::Not && known.any(|row| hidden(row.key))
    }

    /// Whether the first time, when so many were, a destination was shown.
    fn shows(&self, service: usize, shown: usize, key: &DestinationKey) -> bool {
        let table = self.actual.table();
        let row = table.services.get(service);
        let rows = row.map_or(&[][..], |row| table.destinations_of(row));
        rows.get(..shown)
            .is_some_and(|rows| rows.binary_search_by_key(key, |row| row.key).is_ok())
    }

    /// A row with numbers that we have no place for, as of a protocol above 255,
    /// which the kernel takes, is none that we have made: it is left alone, and keeps
    /// nobody from the others.
    fn take_service(
        &mut self,
        now: Instant,
        body: Reader<'_>,
        offset: usize,
        wanted: &impl Fn(&ServiceKey, Table<'_>) -> bool,
        log: &mut Ring<'_>,
    ) -> Result<(), Full> {
        match decode::service(body, offset) {
            Ok(row) if wanted(&row.service.key, self.target.table()) => {
                return self.actual.push_service(&row.service);
            }
            Ok(_) => {}
            Err(malformed) => {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
                log.log(now, records::KernelMalformed::from(malformed));
            }
        }
        self.strangers = self.strangers.saturating_add(1);
        Ok(())
    }

    fn too_large(&mut self, now: Instant, full: Full, log: &mut Ring<'_>) {
        let (what, limit) = match full {
            Full::Services(limit) => ("services", limit),
            Full::Destinations(limit) => ("backends", limit),
        };
        log.log(
            now,
            records::KernelTableTooLarge {
                what,
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
            },
        );
        self.handle_lost(now, "the kernel's table is over the limits", log);
    }

    fn family_of(&self, service: usize) -> Family {
        let row = self.actual.table().services.get(service);
        row.map_or(Family::V4, |row| row.service.key.family())
    }
}
