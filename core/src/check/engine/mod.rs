//! The engine that runs checks: when each is due, which socket it gets, what
//! its verdict changes.
//!
//! It holds no socket. The owner has a pool of them, numbered as
//! [`Storage::sockets`] is, does what [`Engine::poll_action`] says and tells
//! what came of it. In each turn of its loop, in this order:
//!
//! 1. for every socket that is ready, until the poller has no more:
//!    [`Engine::handle_connected`] or [`Engine::handle_failed`] where it
//!    [awaits](Engine::awaits) a connection, [`Engine::handle_ready`] where it
//!    [talks](Engine::talks);
//! 2. [`Engine::poll_read`], and a read from each, for as long as a turn allows:
//!    an answer that lies unread must not become a timeout;
//! 3. [`Engine::handle_timeout`];
//! 4. [`Engine::poll_action`] until `None`, and what each says;
//! 5. [`Engine::poll_change`] and [`Engine::poll_trouble`] until `None`.
//!
//! Because actions come after events, a ready event always speaks of the
//! connection the engine believes in; what is left over from an earlier one is
//! counted as stray.
//!
//! # On a connection
//! ```text
//! Connecting --handle_connected--> Due --transmit--> Sending --handle_sent--> Waiting --handle_bytes--> Answering
//!     |                             |                   |                        |                          |
//!   Refused, Reset, TimedOut        +--- ResetSending, Unsent ---+   ResetWaiting, NoAnswer   ResetAnswering, Unfinished
//! ```
//!
//! With TLS, `Securing` comes before `Due`: [`Action::Secure`], then
//! [`Engine::handle_secured`]; it has reasons of its own, and there are only
//! [`Settings::tls`] at once. A check that only connects ends with the first arrow: two system calls. One
//! with a [script](crate::check::probe) plays it; each phase has its own reasons
//! to fail, beside those of the script. Sockets with bytes in them take turns, a
//! read each, so that a target that sends without end holds up nobody, and
//! after the verdict nothing is read any more: the connection is reset. A
//! request the kernel takes in parts is composed again for each part, the same
//! each time, so none is kept.
//!
//! A connection whose answer came whole stays for the next probe of its check, where
//! the script wants that and both sides agree; see `kept.rs`.
//!
//! # By datagrams
//! A probe by datagrams has a seat instead of a socket, at the end of
//! [`Storage::sockets`]. [`Action::Datagram`] says to send what
//! [`Engine::transmit`] gives through a socket that many share; after
//! [`Engine::handle_sent`] answers come in by [`Engine::handle_bytes`], each
//! whole, with the seat that [`Engine::seat_of`] or the owner's own table names.
//! What is nobody's answer is passed over, and explains a timeout. An error
//! about a datagram is [`Engine::handle_failed`]. Where none may leave for now without
//! being taken for another there is [`Engine::handle_no_port`]. No `Disconnect` follows, for a
//! seat is free at once: tokens tell its probes apart. Which seat an answer is
//! for is [`Flights`](crate::check::Flights)' to say, or [`Engine::handle_echo`]
//! finds it by itself. An answer over UDP that is too long has its question asked
//! again by TCP, within the same time.
//!
//! # By others
//! Commands are run and files are read by somebody else ([`Action::Errand`]), who
//! keeps the time as well: if he says nothing until a little later
//! ([`ERRAND_GRACE`]), he is in trouble and nobody else.

mod aside;
mod desk;
mod errand;
mod flap;
mod hold;
mod interface;
mod kept;
#[doc(hidden)]
pub mod laws;
mod list;
mod manners;
mod news;
mod pace;
mod plan;
mod ports;
mod round;
mod schedule;
mod storage;
mod talk;
mod token;

pub use aside::Aside;
pub use errand::ERRAND_GRACE;
pub use interface::{Action, Carrier, Load, Settings, Status};
pub use manners::MannerSlot;
pub use pace::Pace;
pub use plan::PlanError;
pub use schedule::SPREAD_MAX;
pub use storage::{CheckId, Desk, Slot, Socket, SocketId, Storage};
pub use talk::REQUEST_BYTES_MAX;

use super::report::{Counters, Trouble};
use super::{CheckConfig, Health, HealthState, Lane, Local, Reason, Verdict};
use crate::time::{Duration, Instant, Wheel};
use aside::Asides;
use core::fmt;
use list::{List, NIL, Spare};
use manners::Manners;
use storage::{State, Use};
use token::Tokens;

/// Timers that one call of [`Engine::handle_timeout`] serves at most.
pub const TIMERS_MAX: u32 = 1024;
/// The same trouble is reported once in this time.
pub const TROUBLE_QUIET: Duration = Duration::from_secs(10);

/// Runs the checks of a plan over the owner's memory and sockets. See the
/// [module](self) for the order of calls.
pub struct Engine<'s> {
    settings: Settings,
    slots: &'s mut [Slot],
    asides: Asides<'s>,
    manners: Manners<'s>,
    sockets: &'s mut [Socket],
    wheel: Wheel<'s>,
    /// Of all checks together, and of each group.
    pace: Pace,
    paces: &'s mut [Pace],
    /// Checks of the plan in force, and which of `Slot::order` it is in.
    planned: u32,
    side: usize,
    /// What is in a fresh one means nothing but for its `order`.
    free: Spare,
    /// Checks without a socket, sockets without a check, by [`Lane::index`].
    waiting: [List; Lane::COUNT],
    idle: [Spare; Lane::COUNT],
    closing: List,
    /// Sockets that stay connected, by the lane, the oldest first.
    kept: [List; Lane::COUNT],
    /// Sockets with something to send, and with something to read.
    outbox: List,
    inbox: List,
    /// Sockets that wait for a TLS connection, and how many have one.
    unsecured: List,
    secured: u32,
    /// Sockets that wait for a desk.
    deskless: List,
    /// Seats that wait for a port, and how many of them may try again now.
    portless: List,
    departures: u32,
    scripts: &'s mut [u64],
    scripts_len: usize,
    request: &'s mut [u8],
    /// Whose request is in `request`.
    composed: Option<SocketId>,
    desks: &'s mut [Desk],
    free_desks: Spare,
    tokens: Tokens,
    news: List,
    in_flight: u32,
    counters: Counters,
    trouble: [Quiet; Local::COUNT],
}

/// When a trouble may be reported again, and how often it came since.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    until: Instant,
    checks: u64,
}

impl<'s> Engine<'s> {
    /// An engine without a plan. It has room for as many checks as the shortest
    /// of `checks`, `asides`, `timers` and `manners`.
    #[must_use]
    pub fn new(storage: Storage<'s>, settings: Settings) -> Self {
        let Storage {
            checks,
            asides,
            timers,
            manners,
            sockets,
            scripts,
            request,
            desks,
            paces,
        } = storage;
        let desks_len = u32::try_from(desks.len()).unwrap_or(NIL);
        let mut engine = Self {
            settings,
            slots: checks,
            asides: Asides(asides),
            manners: Manners::new(manners),
            sockets,
            wheel: Wheel::new(timers, settings.tick_ns),
            pace: Pace::new(settings.checks_per_second),
            paces,
            planned: 0,
            side: 0,
            free: Spare::new(0, 0),
            waiting: [List::EMPTY; Lane::COUNT],
            idle: [Spare::new(0, 0); Lane::COUNT],
            closing: List::EMPTY,
            kept: [List::EMPTY; Lane::COUNT],
            outbox: List::EMPTY,
            inbox: List::EMPTY,
            unsecured: List::EMPTY,
            deskless: List::EMPTY,
            portless: List::EMPTY,
            departures: 0,
            secured: 0,
            scripts,
            scripts_len: 0,
            request,
            composed: None,
            desks,
            free_desks: Spare::new(0, desks_len),
            tokens: Tokens::new(settings.secret),
            news: List::EMPTY,
            in_flight: 0,
            counters: Counters::default(),
            trouble: [Quiet {
                until: Instant::ZERO,
                checks: 0,
            }; Local::COUNT],
        };
        engine.free = Spare::new(0, engine.capacity());
        // Those that nobody uses are looked at and not touched.
        for socket in engine.sockets.iter_mut().filter(|s| s.use_ != Use::Free) {
            socket.use_ = Use::Free;
        }
        engine.idle = engine.lanes();
        engine
    }

    /// Checks that fit.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        let slots = u32::try_from(self.slots.len()).unwrap_or(NIL);
        slots
            .min(self.wheel.capacity())
            .min(u32::try_from(self.asides.0.len()).unwrap_or(NIL))
            .min(self.manners.capacity())
    }

    /// Every check's number is less than this.
    #[must_use]
    pub const fn ids(&self) -> u32 {
        self.free.fresh()
    }

    /// Words of scripts that fit.
    #[must_use]
    pub const fn scripts_capacity(&self) -> usize {
        self.scripts.len()
    }

    /// Checks of the plan.
    #[must_use]
    pub const fn planned(&self) -> u32 {
        self.planned
    }

    /// Probes in flight.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Checks whose time has come and that wait for a socket.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting
            .iter()
            .fold(0, |sum, list| sum.saturating_add(list.len()))
    }

    /// How much is in use.
    #[must_use]
    pub fn load(&self) -> Load {
        let desks = u32::try_from(self.desks.len()).unwrap_or(NIL);
        Load {
            in_flight: self.in_flight,
            waiting: self.waiting(),
            desks: (desks.saturating_sub(self.free_desks.len()), desks),
            tls: (self.secured, self.settings.tls),
            kept: self
                .kept
                .iter()
                .fold(0, |n, list| n.saturating_add(list.len())),
        }
    }

    /// What happened since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The check that runs an entry of the plan.
    #[must_use]
    pub fn check_id(&self, plan_index: u32) -> Option<CheckId> {
        if plan_index >= self.planned {
            return None;
        }
        self.order(self.side, plan_index).map(CheckId)
    }

    /// What is believed of a check's target; `Unknown` for one that does not
    /// run.
    #[must_use]
    pub fn health(&self, id: CheckId) -> HealthState {
        self.running(id)
            .map_or(HealthState::Unknown, |slot| slot.health.state())
    }

    /// All about a check that runs.
    #[must_use]
    pub fn status(&self, id: CheckId) -> Option<Status> {
        let slot = self.running(id)?;
        let aside = self.asides.of(id, slot);
        Some(Status {
            config: slot.config(&self.manners),
            plan: slot.plan,
            health: slot.health,
            presumed: slot.presumed,
            held: slot.held,
            advised: aside.advised,
            certificate: aside.certificate,
            since: slot.since,
            last: slot.last,
            latency: slot.latency(),
            http_status: (aside.http_status != 0).then_some(aside.http_status),
        })
    }

    /// Presumes a health, as read from a kernel's table at the start. It holds
    /// until verdicts say otherwise, by rise and fall as ever: what serves
    /// clients now is not taken down by one failure because we restarted. No
    /// change is reported for it. `false`, and nothing happens, once a verdict
    /// is there.
    pub fn adopt(&mut self, now: Instant, id: CheckId, state: HealthState) -> bool {
        let Some(slot) = self.running_mut(id) else {
            return false;
        };
        if slot.last.is_some() {
            return false;
        }
        slot.health = Health::settled(state);
        slot.told = state;
        slot.presumed = state != HealthState::Unknown;
        slot.since = now;
        true
    }

    /// What kept this node from checking: each trouble at most once in
    /// [`TROUBLE_QUIET`], with the number of checks it touched since. Call after
    /// every `handle_*`, until `None`.
    pub fn poll_trouble(&mut self, now: Instant) -> Option<Trouble> {
        for (quiet, local) in self.trouble.iter_mut().zip(Local::ALL) {
            if quiet.checks > 0 && quiet.until <= now {
                let trouble = Trouble {
                    local: *local,
                    checks: quiet.checks,
                };
                *quiet = Quiet {
                    until: now + TROUBLE_QUIET,
                    checks: 0,
                };
                return Some(trouble);
            }
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) again, when nothing
    /// else happens before. Ask after every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.poll_timeout()
    }

    fn order(&self, side: usize, plan_index: u32) -> Option<u32> {
        let slot = self.slots.get(plan_index as usize)?;
        slot.order.get(side).copied().filter(|&index| index != NIL)
    }

    fn running(&self, id: CheckId) -> Option<&Slot> {
        let used = self.slots.get(..self.free.fresh() as usize)?;
        let slot = used.get(id.index())?;
        (!matches!(slot.state, State::Free)).then_some(slot)
    }

    fn config(&self, id: CheckId) -> Option<CheckConfig> {
        Some(self.running(id)?.config(&self.manners))
    }

    fn running_mut(&mut self, id: CheckId) -> Option<&mut Slot> {
        let used = self.slots.get_mut(..self.free.fresh() as usize)?;
        let slot = used.get_mut(id.index())?;
        (!matches!(slot.state, State::Free)).then_some(slot)
    }
}

impl fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("planned", &self.planned)
            .field("waiting", &self.waiting())
            .field("in_flight", &self.in_flight)
            .field("next", &self.poll_timeout())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
