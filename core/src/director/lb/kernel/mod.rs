//! The conversation with the kernel's IPVS table: ask what it holds, tell it
//! what differs, and ask again whenever an answer is missing.
//!
//! ```text
//!           +------------------ lost reply, error, overrun --------------------+
//!           v                                                                  |
//! Backoff -> Family -> Services (and those missing) -> Destinations (of each)
//!                                                           |
//!                                                           v
//!                                              Changes <- Settled
//!                                                 +- done -->^
//! ```
//!
//! A pass applies the difference of a frozen `target` and the `actual` table.
//! When every request of it was accepted the kernel holds the target: the two
//! change places. When any was not, what the kernel holds is unknown, and a dump
//! tells. Dumps are not atomic: what was known and is not shown is asked for
//! once more ([`dump`]); a row that is missed for all that is added again and
//! answered EEXIST, which changes nothing and leads to another dump. A dump that
//! differs from what the kernel was left with tells of another writer ([`drift`]).

mod ask;
mod daemons;
mod drift;
mod dump;
mod pass;
mod refused;

pub(super) use pass::Pass;

use super::counters::KernelCounters;
use crate::director::exchange::{Answers, Backoff, Exchange};
use crate::director::plan::AUDIT;
use crate::director::records;
use crate::model::{ServiceKey, Table, TableBuf};
use crate::netlink::genl::{self, FamilyId};
use crate::netlink::{Batch, Malformed, Messages, Reply};
use crate::reconcile::Cursor;
use crate::record::Ring;
use crate::time::{Duration, Instant, earliest};
use daemons::Daemons;
pub(in crate::director) use daemons::Pair;
use drift::Drift;
use refused::Refusals;

/// Requests in one datagram, the barrier not counted: beyond this a batch gains
/// nothing and holds the kernel's mutex too long.
pub const BATCH_MAX: usize = 128;

/// How long a change of weights waits at most when the last attempt failed.
const HURRY: Duration = Duration::from_millis(200);

/// What was asked for last, or is to be asked next.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Family,
    Services,
    /// The services that were known and that the dump did not show, by their
    /// places before.
    Missing {
        next: usize,
    },
    /// When known ones were not shown the first time: how many were.
    Destinations {
        service: usize,
        again: Option<usize>,
    },
    Changes {
        start: Cursor,
        next: Cursor,
        failed: bool,
    },
    /// Which synchronization daemons run.
    Daemons,
    /// Starts and stops of them.
    SetDaemons,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next request is due.
    Due(Ask),
    /// It was sent.
    Waiting(Ask, Exchange),
    /// `actual` is what the kernel holds, as far as the last dump and what was
    /// changed since can tell.
    Settled { audit_at: Instant },
    /// Something went wrong; wait, then ask everything again. Without a family
    /// there is no use in being asked to hurry.
    Backoff { until: Instant, hopeless: bool },
}

/// What a datagram from the kernel led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing the owner must know.
    None,
    /// A dump is complete: `actual` is fresh.
    Dumped,
    /// A pass is complete: `actual` is the target.
    Applied {
        /// Requests the pass took.
        requests: u64,
    },
}

/// How well a table is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Not at all, or in part.
    Not,
    /// But for requests of ours whose outcome is not known.
    Nearly,
    /// It is what the kernel held when it last answered.
    Well,
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Kernel<'s> {
    target: TableBuf<'s>,
    actual: TableBuf<'s>,
    state: State,
    family: Option<FamilyId>,
    next_seq: u32,
    backoff: Backoff,
    unknown_since: Instant,
    requests_before: u64,
    /// The pass is about some services. They have the same keys, at the same
    /// places, on both sides; of the target there is nothing else.
    partial: bool,
    dumped_at: Instant,
    /// How often the kernel is asked again when nothing gives cause.
    audit: Duration,
    /// How well `actual` is known; and, while a dump fills it anew, how well
    /// `target` is, which then holds what it was.
    known: Known,
    before: Known,
    drift: Drift,
    refusals: Refusals,
    /// Services of others that the last dump showed, left alone.
    strangers: u32,
    /// What is left alone is another now: look before the next pass.
    look: bool,
    daemons: Daemons,
    counters: KernelCounters,
}

impl<'s> Kernel<'s> {
    pub(super) fn new(target: TableBuf<'s>, actual: TableBuf<'s>) -> Self {
        Self {
            target,
            actual,
            state: State::Due(Ask::Family),
            family: None,
            next_seq: 1,
            backoff: Backoff::default(),
            unknown_since: Instant::ZERO,
            requests_before: 0,
            partial: false,
            dumped_at: Instant::ZERO,
            audit: AUDIT,
            known: Known::Not,
            before: Known::Not,
            drift: Drift::default(),
            refusals: Refusals::default(),
            strangers: 0,
            look: false,
            daemons: Daemons::default(),
            counters: KernelCounters::default(),
        }
    }

    pub(super) const fn counters(&self) -> &KernelCounters {
        &self.counters
    }

    /// Services of others that were seen, and left alone.
    pub(super) const fn strangers(&self) -> u32 {
        self.strangers
    }

    /// A plan has another say in what is left alone: if there is such, what is known of
    /// the kernel is too little for a pass.
    pub(super) fn look_again(&mut self) {
        self.look = self.strangers > 0 || !self.is_settled();
    }

    /// Whether something else goes before the next pass.
    pub(super) fn has_first(&mut self, now: Instant) -> bool {
        if self.look && self.is_settled() {
            self.state = State::Due(Ask::Family);
        }
        self.puts_daemons_first(now) || !self.is_settled()
    }

    /// How often to look whether someone else changed the table, of which IPVS
    /// tells nobody.
    pub(super) fn set_audit(&mut self, audit: Duration) {
        self.audit = audit;
        if self.is_settled() {
            self.settle();
        }
    }

    /// What the kernel is known to hold; right only while settled.
    pub(super) fn actual(&self) -> Table<'_> {
        self.actual.table()
    }

    /// Whether [`Self::actual`] is what the kernel held when it was read last, but
    /// for changes whose outcome is not known.
    pub(super) const fn is_read(&self) -> bool {
        !matches!(self.known, Known::Not)
    }

    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled { .. })
    }

    /// Whether rows are left out that the kernel refused.
    pub(super) fn is_short(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Another plan may be taken where the last one was not.
    pub(super) fn forgive(&mut self) {
        self.refusals.forgive();
    }

    /// Whether there is no IPVS to talk to.
    pub(super) const fn is_hopeless(&self) -> bool {
        matches!(self.state, State::Backoff { hopeless: true, .. })
    }

    /// Whether requests of a pass are on their way or due.
    pub(super) const fn is_applying(&self) -> bool {
        matches!(
            self.state,
            State::Due(Ask::Changes { .. }) | State::Waiting(Ask::Changes { .. }, _)
        )
    }

    /// Something wants to be applied: do not sit out a long wait.
    pub(super) fn hurry(&mut self) {
        if let State::Backoff {
            until,
            hopeless: false,
        } = self.state
        {
            let soon = self.unknown_since + HURRY;
            self.state = State::Backoff {
                until: until.min(soon),
                hopeless: false,
            };
        }
    }

    /// Writes the request that is due into `buf`; how many bytes to send.
    /// Once this returned bytes they count as sent: when sending fails, say
    /// [`Self::handle_lost`].
    pub(super) fn poll_request(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.turn_to_daemons(now);
        let State::Due(ask) = self.state else {
            return None;
        };
        let mut batch = Batch::new(buf, self.next_seq);
        let ask = self.write(ask, &mut batch);
        if let (Ask::Changes { .. }, Known::Well) = (ask, self.known) {
            self.known = Known::Nearly;
        }
        let (first, next) = (batch.first_seq(), batch.next_seq());
        let len = batch.finish().len();
        let exchange = Exchange::new(now, first, next.wrapping_sub(1));
        self.next_seq = exchange.next_seq();
        self.state = State::Waiting(ask, exchange);
        self.counters.datagrams = self.counters.datagrams.saturating_add(1);
        Some(len)
    }

    /// A reply was lost or never came: what the kernel holds is unknown.
    pub(super) fn handle_lost(&mut self, now: Instant, why: &'static str, log: &mut Ring<'_>) {
        let wait = self.backoff.fail();
        self.unknown_since = now;
        self.counters.resyncs = self.counters.resyncs.saturating_add(1);
        log.log(now, records::TableUnknown { why });
        self.daemons.forget();
        // One after the other: neither may keep the other from its turn.
        self.daemons.wait(self.is_applying());
        self.state = if wait.is_zero() {
            State::Due(Ask::Family)
        } else {
            State::Backoff {
                until: now + wait,
                hopeless: self.family.is_none(),
            }
        };
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, log: &mut Ring<'_>) {
        match self.state {
            State::Waiting(_, exchange) if exchange.deadline <= now => {
                self.handle_lost(now, "no reply in time", log);
            }
            State::Backoff { until, .. } | State::Settled { audit_at: until } if until <= now => {
                self.state = State::Due(Ask::Family);
            }
            State::Waiting(..) | State::Backoff { .. } | State::Due(_) | State::Settled { .. } => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(_, exchange) => Some(exchange.deadline),
            State::Backoff { until, .. } => Some(until),
            State::Settled { audit_at } => earliest(Some(audit_at), self.daemons.poll_timeout()),
            // Asked after the polls this is what a failed send has left.
            State::Due(_) => Some(self.unknown_since),
        }
    }

    /// Takes a datagram from the kernel. `wanted` says which services of a dump
    /// are ours to know about.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        wanted: impl Fn(&ServiceKey, Table<'_>) -> bool,
        log: &mut Ring<'_>,
    ) -> Progress {
        let mut progress = Progress::None;
        for message in Messages::new(datagram) {
            let reply = message.and_then(|message| Reply::parse(&message));
            let step = match reply {
                Ok(reply) => self.handle_reply(now, &reply, &wanted, log),
                Err(malformed) => Err(malformed),
            };
            match step {
                Ok(Progress::None) => {}
                Ok(done) => progress = done,
                Err(malformed) => {
                    self.counters.malformed = self.counters.malformed.saturating_add(1);
                    log.log(now, records::KernelMalformed::from(malformed));
                    self.handle_lost(now, "malformed reply", log);
                }
            }
        }
        progress
    }

    fn handle_reply(
        &mut self,
        now: Instant,
        reply: &Reply<'_>,
        wanted: &impl Fn(&ServiceKey, Table<'_>) -> bool,
        log: &mut Ring<'_>,
    ) -> Result<Progress, Malformed> {
        let seq = match *reply {
            Reply::Ack { seq, .. } | Reply::Done { seq, .. } | Reply::Data { seq, .. } => seq,
            Reply::Noop => return Ok(Progress::None),
            Reply::Overrun => {
                self.handle_lost(now, "netlink overrun", log);
                return Ok(Progress::None);
            }
        };
        let State::Waiting(ask, exchange) = self.state else {
            self.counters.strangers = self.counters.strangers.saturating_add(1);
            return Ok(Progress::None);
        };
        let answers = exchange.answers(seq);
        match (answers, ask) {
            (Answers::Stranger, _) => {
                self.counters.strangers = self.counters.strangers.saturating_add(1);
                Ok(Progress::None)
            }
            (_, Ask::Family) => self.handle_family(now, reply, log),
            (_, Ask::Services | Ask::Destinations { .. }) => {
                self.handle_row(now, ask, reply, wanted, log)
            }
            (_, Ask::Daemons) => self.handle_daemon(now, reply, log),
            (Answers::Request(index), Ask::SetDaemons) => {
                self.handle_daemon_step(now, index, reply, log);
                Ok(Progress::None)
            }
            (Answers::Last, Ask::SetDaemons) => {
                self.handle_daemon_barrier(now, log);
                Ok(Progress::None)
            }
            (Answers::Last, Ask::Missing { .. }) => Ok(self.dumped(now, ask, log)),
            (Answers::Request(_), Ask::Missing { .. }) => {
                self.handle_missing(now, reply, wanted, log)
            }
            (Answers::Request(index), Ask::Changes { start, next, .. }) => {
                if let Reply::Ack {
                    result: Err(errno), ..
                } = *reply
                {
                    self.counters.refused = self.counters.refused.saturating_add(1);
                    self.state = State::Waiting(
                        Ask::Changes {
                            start,
                            next,
                            failed: true,
                        },
                        exchange,
                    );
                    self.report(now, start, index, errno, log);
                }
                Ok(Progress::None)
            }
            (Answers::Last, Ask::Changes { next, failed, .. }) => {
                Ok(self.handle_barrier(now, next, failed, log))
            }
        }
    }

    fn handle_family(
        &mut self,
        now: Instant,
        reply: &Reply<'_>,
        log: &mut Ring<'_>,
    ) -> Result<Progress, Malformed> {
        match *reply {
            Reply::Data { body, offset, .. } => {
                self.family = Some(genl::Family::parse(body, offset)?.id);
                if self.known == Known::Nearly {
                    self.claim_target();
                }
                if self.known != Known::Not {
                    core::mem::swap(&mut self.target, &mut self.actual);
                    self.before = core::mem::replace(&mut self.known, Known::Not);
                }
                self.actual.clear();
                self.strangers = 0;
                self.look = false;
                self.daemons.forget();
                self.state = State::Due(Ask::Services);
            }
            Reply::Ack {
                result: Err(errno), ..
            } => {
                log.log(now, records::KernelNoIpvs { errno: errno.0 });
                // Waiting is all there is to do until the module is there.
                let _ = self.backoff.fail();
                self.family = None;
                self.handle_lost(now, "the kernel has no IPVS family", log);
            }
            Reply::Ack { .. } | Reply::Done { .. } | Reply::Noop | Reply::Overrun => {}
        }
        Ok(Progress::None)
    }

    fn settle(&mut self) {
        let audit_at = self.dumped_at + self.drift.interval(self.audit);
        // What was refused is tried again after another look.
        let audit_at = self
            .refusals
            .retry_at()
            .map_or(audit_at, |at| at.min(audit_at));
        self.state = State::Settled { audit_at };
    }
}
