//! What is asked of the kernel, as bytes, and which request a refusal is about.

use super::pass::sides;
use super::{Ask, BATCH_MAX, Kernel};
use crate::director::records;
use crate::ipvs::{self, Encoder, Refused, request};
use crate::netlink::genl::{self, FamilyId};
use crate::netlink::{Batch, Errno, HEADER_BYTES};
use crate::reconcile::{Change, Cursor};
use crate::record::Ring;
use crate::time::Instant;

impl Kernel<'_> {
    /// Encodes `ask`; what it is once its bytes are on their way.
    pub(super) fn write(&mut self, ask: Ask, batch: &mut Batch<'_>) -> Ask {
        // Without a family id there is nothing to ask but for the id.
        let (Some(family), false) = (self.family, matches!(ask, Ask::Family)) else {
            // A buffer too small for one lookup is the owner's bug; the
            // deadline reports it.
            let _ = genl::get_family(batch, ipvs::FAMILY_NAME);
            return Ask::Family;
        };
        match ask {
            Ask::Family => ask,
            Ask::Services => {
                let _ = request::dump_services(batch, family);
                ask
            }
            Ask::Daemons => {
                self.write_daemons(family, batch);
                ask
            }
            Ask::SetDaemons => {
                self.write_daemon_steps(family, batch);
                ask
            }
            Ask::Missing { next } => Ask::Missing {
                next: self.write_missing(family, next, batch),
            },
            Ask::Destinations { service, .. } => {
                if let Some(row) = self.actual.table().services.get(service) {
                    let _ = request::dump_destinations(batch, family, &row.service.key);
                }
                ask
            }
            Ask::Changes {
                next: start,
                failed,
                ..
            } => {
                let mut next = start;
                let mut refused = failed;
                let mut missed = false;
                let mut counters = self.counters;
                let (target, actual) = self.sides();
                let mut encoder = Encoder::new(family);
                for _ in 0..BATCH_MAX {
                    let before = next;
                    let Some(change) = next.next(target, actual) else {
                        break;
                    };
                    match encoder.change(batch, &change) {
                        Ok(_) => counters.count(&change),
                        Err(Refused::Full) => {
                            next = before;
                            break;
                        }
                        // The config refuses these with words of its own.
                        Err(_) => {
                            refused = true;
                            missed = true;
                        }
                    }
                }
                let _ = batch.barrier();
                self.counters = counters;
                if missed {
                    self.refusals.miss();
                }
                Ask::Changes {
                    start,
                    next,
                    failed: refused,
                }
            }
        }
    }

    /// Says which row was refused and what that means: the change at `index` of
    /// the datagram that began at `start`.
    pub(super) fn report(
        &mut self,
        now: Instant,
        start: Cursor,
        index: usize,
        errno: Errno,
        log: &mut Ring<'_>,
    ) {
        let mut cursor = start;
        let (target, actual) = sides(&self.target, &self.actual, self.partial);
        let mut refused = None;
        let mut left = index.saturating_add(1);
        while left > 0 {
            refused = cursor.next(target, actual);
            match refused {
                // What our own rules refused never got a sequence number.
                Some(change) if breaks_a_rule(&change) => {}
                Some(_) => left = left.saturating_sub(1),
                None => return,
            }
        }
        if let Some(change) = refused
            && self.refusals.note(&change, errno)
        {
            records::log_refused(log, now, &change, errno);
        }
    }
}

/// Whether our own rules refuse the change, so that it is never sent.
fn breaks_a_rule(change: &Change<'_>) -> bool {
    let mut scratch = [0; ipvs::REQUEST_BYTES_MAX + HEADER_BYTES];
    let mut batch = Batch::new(&mut scratch, 0);
    request::change(&mut batch, FamilyId(0), change).is_err()
}
