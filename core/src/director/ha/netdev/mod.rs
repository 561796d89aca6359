//! The conversation with the kernel's links and addresses: ask what there is,
//! keep up by events, and make the virtual addresses what the routers want.
//!
//! ```text
//!            +---------------------- lost reply, overrun ---------------------+
//!            v                                                                |
//! Backoff -> Links -> Addresses -> Settled -> Changes (batches of addresses) -+
//!                                     ^           |
//!                                     +--- done --+
//! ```
//!
//! An address that the kernel refuses makes nothing unknown, and no other
//! address wait: it is asked for again by a timer of its own kind ([`Retry`]).

mod apply;
mod events;
mod pace;
mod retry;

use super::addresses::{AddressSlot, Addresses, Presence, Refusal};
use super::agenda::{Agenda, Work};
use super::chores::Chores;
use super::interfaces::Interface;
use super::state::InstanceSlot;
use crate::director::exchange::{Answers, Backoff, Exchange};
use crate::director::records;
use crate::netlink::{Batch, Flags, Malformed, Messages, Reply};
use crate::record::Ring;
use crate::route::{InterfaceIndex, decode, request};
use crate::time::{Duration, Instant, earliest};
use core::net::IpAddr;
use pace::Pace;
use retry::Retry;

/// Requests in one datagram, the barrier not counted.
const BATCH_MAX: usize = 128;
/// `Netdev::dirty_from` when nothing is.
const CLEAN: usize = usize::MAX;
/// Addresses of no plan that are remembered to be removed; for more another
/// dump is asked for once these are off.
const LEFTOVERS_MAX: usize = 16;

/// How often in a row a dump is repeated because what it tells changed
/// meanwhile: on a host that never rests the events make up for the rest.
const REPEATS_MAX: u8 = 8;

/// What was known for so long was no vain attempt: the next loss is the first.
const LASTING: Duration = Duration::from_secs(1);

/// An address that an earlier run put there, and that no plan names.
type Leftover = (InterfaceIndex, IpAddr, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Links,
    Addresses,
    Changes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due(Ask),
    Waiting(Ask, Exchange),
    Settled,
    Backoff { until: Instant },
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The address at this place.
    Address(u32),
    /// The macvlan of the instance at this place.
    Macvlan(u16),
    /// An address of no plan.
    Leftover,
}

/// What was counted about rtnetlink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteCounters {
    /// Addresses asked to be added.
    pub adds: u64,
    /// Addresses asked to be removed.
    pub deletes: u64,
    /// Addresses compared with what is wanted of them.
    pub compared: u64,
    /// Requests the kernel refused.
    pub refused: u64,
    /// Times what the kernel has became unknown.
    pub resyncs: u64,
    /// Addresses someone else took away.
    pub lost: u64,
    /// Datagrams from the kernel that were not well formed.
    pub malformed: u64,
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Netdev {
    state: State,
    next_seq: u32,
    backoff: Backoff,
    retry: Retry,
    /// From this place on, what is wanted of the addresses may differ from what
    /// is known.
    dirty_from: usize,
    /// Ask everything again once the exchange at hand is over.
    unknown: bool,
    ever_dumped: bool,
    /// When a reply was lost, or a send failed, and nothing was asked since.
    lost_at: Option<Instant>,
    /// Since when all is known, but for the moments of asking again.
    known_since: Option<Instant>,
    /// The dump at hand was interrupted by changes; how many before it were.
    interrupted: bool,
    repeats: u8,
    /// An address to send from, or a prefix, may be another than it was.
    touched: bool,
    /// What each request of the batch at hand is about.
    batch: heapless::Vec<About, BATCH_MAX, u8>,
    pace: Pace,
    leftovers: heapless::Vec<Leftover, LEFTOVERS_MAX, u8>,
    /// There are more of them than there was room for.
    more_leftovers: bool,
    counters: RouteCounters,
}

/// What a datagram is seen against.
#[derive(Debug)]
pub(super) struct Known<'v, 's> {
    pub addresses: &'v mut Addresses<'s>,
    pub instances: &'v mut [InstanceSlot],
    pub interfaces: &'v mut [Interface],
    /// Where an instance whose addresses changed is put, to be looked at.
    pub agenda: &'v mut Agenda<'s>,
    /// What is to be done about macvlans.
    pub chores: &'v mut Chores,
}

impl Known<'_, '_> {
    /// Changes an address.
    fn edit<R>(
        &mut self,
        now: Instant,
        at: usize,
        change: impl FnOnce(&mut AddressSlot) -> R,
    ) -> Option<R> {
        let instance = self.addresses.get(at)?.instance;
        let result = self.addresses.edit(at, self.instances, change);
        self.agenda.push(now, Work::Look, usize::from(instance));
        result
    }
}

impl Known<'_, '_> {
    /// A link is gone, or is none of ours any more: an instance's macvlan, or the
    /// interface it is on.
    fn lose_addresses(&mut self, now: Instant, instance: usize, macvlan: bool) {
        let run = self.instances.get(instance).map(|i| i.addresses.clone());
        for address in run.into_iter().flatten() {
            self.edit(now, address, |slot| {
                if slot.on_macvlan == macvlan {
                    slot.presence = Presence::Absent;
                    slot.refusal = Refusal::None;
                    slot.seen = false;
                }
            });
        }
    }
}

struct View<'v, 's> {
    now: Instant,
    known: Known<'v, 's>,
}

impl Netdev {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Due(Ask::Links),
            next_seq: 1,
            backoff: Backoff::new(),
            retry: Retry::new(),
            dirty_from: CLEAN,
            unknown: false,
            ever_dumped: false,
            lost_at: None,
            known_since: None,
            interrupted: false,
            repeats: 0,
            touched: false,
            batch: heapless::Vec::new(),
            pace: Pace::new(),
            leftovers: heapless::Vec::new(),
            more_leftovers: false,
            counters: RouteCounters {
                adds: 0,
                deletes: 0,
                compared: 0,
                refused: 0,
                resyncs: 0,
                lost: 0,
                malformed: 0,
            },
        }
    }

    pub(super) const fn counters(&self) -> &RouteCounters {
        &self.counters
    }

    /// Whether links and primary addresses can be believed.
    pub(super) const fn is_known(&self) -> bool {
        self.ever_dumped
            && !matches!(
                self.state,
                State::Due(Ask::Links | Ask::Addresses)
                    | State::Waiting(Ask::Links | Ask::Addresses, _)
                    | State::Backoff { .. }
            )
    }

    /// Whether what the guardian knows may have changed, since this was last
    /// asked.
    pub(super) const fn take_touched(&mut self) -> bool {
        core::mem::replace(&mut self.touched, false)
    }

    /// What is wanted of the addresses from place `from` on may have changed.
    pub(super) fn mark_dirty(&mut self, from: usize) {
        self.dirty_from = self.dirty_from.min(from);
    }

    /// The addresses changed their places: what the batch at hand was about is
    /// lost, and a dump tells what became of it.
    pub(super) fn handle_merge(&mut self) {
        self.batch.clear();
        self.mark_dirty(0);
        self.mark_unknown();
    }

    /// What is known is not enough any more: ask again when there is time.
    pub(super) const fn mark_unknown(&mut self) {
        match self.state {
            State::Settled => self.state = State::Due(Ask::Links),
            State::Waiting(..) => self.unknown = true,
            State::Due(_) | State::Backoff { .. } => {}
        }
    }

    /// The end has begun: whatever would be waited for is tried now.
    pub(super) fn handle_shutdown(&mut self, addresses: &mut Addresses<'_>) {
        addresses.pardon();
        if let State::Backoff { .. } = self.state {
            self.state = State::Due(Ask::Links);
        }
    }

    /// A reply or an event was lost.
    pub(super) fn handle_lost(&mut self, now: Instant, why: &'static str, log: &mut Ring<'_>) {
        match self.state {
            // Nothing is known, and everything will be asked: a burst of events
            // makes that no later.
            State::Due(Ask::Links) | State::Backoff { .. } => return,
            State::Due(_) | State::Waiting(..) | State::Settled => {}
        }
        self.lost_at = Some(now);
        let known_since = self.known_since.take();
        if known_since.is_some_and(|since| now.since(since) >= LASTING) {
            self.backoff.reset();
        }
        self.counters.resyncs = self.counters.resyncs.saturating_add(1);
        log.log(now, records::AddressesUnknown { why });
        let wait = self.backoff.fail();
        self.unknown = false;
        self.mark_dirty(0);
        self.state = if wait.is_zero() {
            State::Due(Ask::Links)
        } else {
            State::Backoff { until: now + wait }
        };
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        addresses: &mut Addresses<'_>,
        instances: &mut [InstanceSlot],
        log: &mut Ring<'_>,
    ) {
        if self.retry.is_due(now) {
            addresses.pardon();
            instances.iter_mut().for_each(|i| i.macvlan.pardon());
            self.mark_dirty(0);
        }
        match self.state {
            State::Waiting(_, exchange) if exchange.deadline <= now => {
                self.handle_lost(now, "no reply in time", log);
            }
            State::Backoff { until } if until <= now => self.state = State::Due(Ask::Links),
            State::Waiting(..) | State::Backoff { .. } | State::Due(_) | State::Settled => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = match self.state {
            State::Waiting(_, exchange) => Some(exchange.deadline),
            State::Backoff { until } => Some(until),
            // Asked after the polls this is what a failed send has left.
            State::Due(_) => self.lost_at,
            State::Settled => None,
        };
        earliest(next, self.retry.poll_timeout())
    }

    /// Writes the request that is due, in time for what else is due at
    /// `free_until`.
    pub(super) fn poll_request(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        free_until: Option<Instant>,
        known: Known<'_, '_>,
    ) -> Option<usize> {
        let Known {
            addresses,
            instances,
            interfaces,
            chores,
            ..
        } = known;
        let mut batch = Batch::new(buf, self.next_seq);
        let ask = match self.state {
            State::Waiting(..) | State::Backoff { .. } => return None,
            State::Due(Ask::Links) => {
                self.interrupted = false;
                interfaces.iter_mut().for_each(Interface::begin_dump);
                instances.iter_mut().for_each(|i| i.macvlan.begin_dump());
                chores.begin_dump();
                let _ = request::dump_links(&mut batch);
                Ask::Links
            }
            State::Due(Ask::Addresses) => {
                self.leftovers.clear();
                self.more_leftovers = false;
                addresses.begin_dump();
                let _ = request::dump_addresses(&mut batch, None);
                Ask::Addresses
            }
            State::Due(Ask::Changes) | State::Settled => {
                if self.dirty_from == CLEAN && self.leftovers.is_empty() {
                    return None;
                }
                let most = self.pace.requests(now, free_until);
                self.fill(&mut batch, most, addresses, instances, interfaces);
                if batch.is_empty() {
                    return None;
                }
                self.pace.begin(now);
                let _ = batch.barrier();
                Ask::Changes
            }
        };
        let (first, next) = (batch.first_seq(), batch.next_seq());
        let len = batch.finish().len();
        let exchange = Exchange::new(now, first, next.wrapping_sub(1));
        self.next_seq = exchange.next_seq();
        self.lost_at = None;
        self.state = State::Waiting(ask, exchange);
        Some(len)
    }

    /// Takes a datagram of replies or events. Returns whether a link changed.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        known: Known<'_, '_>,
        log: &mut Ring<'_>,
    ) -> bool {
        let mut view = View { now, known };
        let mut changed = false;
        for message in Messages::new(datagram) {
            let reply = message.and_then(|message| Reply::parse(&message));
            match reply.and_then(|reply| self.handle_reply(&reply, &mut view, log)) {
                Ok(link) => changed |= link,
                Err(malformed) => {
                    self.counters.malformed = self.counters.malformed.saturating_add(1);
                    log.log(now, records::RouteMalformed::from(malformed));
                    self.handle_lost(now, "malformed message", log);
                }
            }
        }
        changed
    }

    fn handle_reply(
        &mut self,
        reply: &Reply<'_>,
        view: &mut View<'_, '_>,
        log: &mut Ring<'_>,
    ) -> Result<bool, Malformed> {
        let (ask, exchange) = match self.state {
            State::Waiting(ask, exchange) => (Some(ask), Some(exchange)),
            State::Due(_) | State::Settled | State::Backoff { .. } => (None, None),
        };
        let answers = |seq| exchange.map_or(Answers::Stranger, |e| e.answers(seq));
        match *reply {
            Reply::Data {
                seq,
                kind,
                flags,
                body,
                offset,
            } => {
                let dumping = matches!(ask, Some(Ask::Links | Ask::Addresses));
                // A notification carries the number of the request that caused
                // it, which may be another program's: rows are parts of many.
                let many = flags.contains(Flags::MULTI);
                let row = dumping && many && answers(seq) != Answers::Stranger;
                self.interrupted |= row && flags.contains(Flags::DUMP_INTR);
                match decode(kind, body, offset)? {
                    Some(event) => Ok(self.handle_event(&event, row, view, log)),
                    None => Ok(false),
                }
            }
            Reply::Done {
                seq,
                result,
                interrupted,
            } => {
                self.interrupted |= interrupted && answers(seq) != Answers::Stranger;
                match (answers(seq), ask, result) {
                    (Answers::Stranger, _, _) | (_, None, _) => {}
                    (_, Some(Ask::Links), Ok(())) => self.state = State::Due(Ask::Addresses),
                    (_, Some(Ask::Addresses), Ok(())) => self.dumped(view),
                    (_, Some(_), _) => self.handle_lost(view.now, "dump refused", log),
                }
                Ok(true)
            }
            Reply::Ack { seq, result, .. } => {
                match (answers(seq), ask, result) {
                    (Answers::Stranger, _, _) | (_, None, _) => {}
                    (Answers::Request(at), Some(Ask::Changes), Err(errno)) => {
                        self.refused(at, errno, view, log);
                    }
                    (Answers::Request(_), Some(Ask::Changes), Ok(())) => {}
                    (Answers::Last, Some(Ask::Changes), _) => self.applied(view, log),
                    (_, Some(Ask::Links | Ask::Addresses), Err(_)) => {
                        self.handle_lost(view.now, "dump refused", log);
                    }
                    (_, Some(Ask::Links | Ask::Addresses), Ok(())) => {}
                }
                Ok(false)
            }
            Reply::Noop => Ok(false),
            Reply::Overrun => {
                self.handle_lost(view.now, "netlink overrun", log);
                Ok(false)
            }
        }
    }

    /// Both dumps are over: what was not seen is not there.
    fn dumped(&mut self, view: &mut View<'_, '_>) {
        for at in 0..view.known.addresses.len() {
            view.known.edit(view.now, at, |slot| {
                slot.presence = if slot.seen {
                    Presence::Present
                } else {
                    Presence::Absent
                };
            });
        }
        let interfaces = view.known.interfaces.iter_mut();
        interfaces.for_each(Interface::end_dump);
        let instances = view.known.instances.iter_mut();
        instances.for_each(|instance| instance.macvlan.end_dump());
        view.known.chores.end_dump();
        self.ever_dumped = true;
        self.known_since = self.known_since.or(Some(view.now));
        self.mark_dirty(0);
        self.touched = true;
        self.state = State::Settled;
        // A row that was passed over may be the address to send from.
        let again = self.interrupted && self.repeats < REPEATS_MAX;
        self.repeats = if again {
            self.repeats.saturating_add(1)
        } else {
            0
        };
        if core::mem::take(&mut self.unknown) || again {
            self.state = State::Due(Ask::Links);
        }
    }
}
