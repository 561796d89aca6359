//! The engine that runs checks: when each is due, which socket it gets, what
//! its verdict changes.
//!
//! It holds no socket. The owner has a pool of them, numbered as
//! [`Storage::sockets`] is, does what [`Engine::poll_action`] says and tells
//! what came of it. In each turn of its loop, in this order:
//!
//! 1. [`Engine::handle_connected`] or [`Engine::handle_failed`] for every socket
//!    that is ready, until the poller has no more: an answer that lies unread
//!    must not become a timeout;
//! 2. [`Engine::handle_timeout`];
//! 3. [`Engine::poll_action`] until `None`, and what each says;
//! 4. [`Engine::poll_change`] and [`Engine::poll_trouble`] until `None`.
//!
//! Because actions come after events, a ready event always speaks of the
//! connection the engine believes in; what is left over from an earlier one is
//! counted as stray.

mod interface;
#[doc(hidden)]
pub mod laws;
mod list;
mod plan;
mod schedule;
mod storage;

pub use interface::{Action, Settings, Status};
pub use plan::PlanError;
pub use schedule::SPREAD_MAX;
pub use storage::{CheckId, Slot, Socket, SocketId, Storage};

use super::report::{Counters, Report, Trouble};
use super::{CheckConfig, Health, HealthState, Kind, Local, Reason, Verdict};
use crate::model::Family;
use crate::netlink::Errno;
use crate::time::{Duration, Instant, Wheel};
use core::fmt;
use list::{List, NIL};
use schedule::{first_start, next_start, spread};
use storage::{State, Use};

/// Timers that one call of [`Engine::handle_timeout`] serves at most.
pub const TIMERS_MAX: u32 = 1024;
/// The same trouble is reported once in this time.
pub const TROUBLE_QUIET: Duration = Duration::from_secs(10);

/// Runs the checks of a plan over the owner's memory and sockets. See the
/// [module](self) for the order of calls.
pub struct Engine<'s> {
    settings: Settings,
    slots: &'s mut [Slot],
    sockets: &'s mut [Socket],
    wheel: Wheel<'s>,
    /// Checks of the plan in force, and which of `Slot::order` it is in.
    planned: u32,
    side: usize,
    free: List,
    /// Checks without a socket, sockets without a check; IPv4, then IPv6.
    waiting: [List; 2],
    idle: [List; 2],
    closing: List,
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
    /// An engine without a plan. It has room for as many checks as the shorter
    /// of `checks` and `timers`.
    #[must_use]
    pub fn new(storage: Storage<'s>, settings: Settings) -> Self {
        let Storage {
            checks,
            timers,
            sockets,
        } = storage;
        let mut engine = Self {
            settings,
            slots: checks,
            sockets,
            wheel: Wheel::new(timers, settings.tick_ns),
            planned: 0,
            side: 0,
            free: List::EMPTY,
            waiting: [List::EMPTY; 2],
            idle: [List::EMPTY; 2],
            closing: List::EMPTY,
            news: List::EMPTY,
            in_flight: 0,
            counters: Counters::default(),
            trouble: [Quiet {
                until: Instant::ZERO,
                checks: 0,
            }; Local::COUNT],
        };
        engine.slots.fill(Slot::EMPTY);
        engine.sockets.fill(Socket::EMPTY);
        for index in 0..engine.capacity() {
            engine.free.push(engine.slots, index, Slot::link);
        }
        for index in 0..u32::try_from(engine.sockets.len()).unwrap_or(NIL) {
            engine.release(SocketId(index));
        }
        engine
    }

    /// Checks that fit.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        let slots = u32::try_from(self.slots.len()).unwrap_or(NIL);
        slots.min(self.wheel.capacity())
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
        Some(Status {
            config: slot.config,
            plan: slot.plan,
            health: slot.health,
            presumed: slot.presumed,
            since: slot.since,
            last: slot.last,
            latency: slot.latency,
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

    /// Serves timers that are due: checks whose time has come queue for a
    /// socket, probes that were not answered in time have failed. Call after
    /// all ready sockets were handled. At most [`TIMERS_MAX`] in one call; then
    /// [`poll_timeout`](Self::poll_timeout) is not after `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..TIMERS_MAX {
            let Some((_, index)) = self.wheel.expire(now) else {
                return;
            };
            let id = CheckId(index);
            let Some(slot) = self.running(id) else {
                continue;
            };
            match slot.state {
                State::Idle { due, .. } => self.become_due(now, id, due),
                State::Probing { deadline, .. } => {
                    let late = now.since(deadline) > self.settings.late_margin;
                    let verdict = if late {
                        Verdict::Indeterminate(Local::Late)
                    } else {
                        Verdict::Failure(Reason::TimedOut)
                    };
                    self.conclude(now, id, verdict);
                }
                State::Waiting { .. } | State::Free => {}
            }
        }
    }

    /// A socket is connected.
    pub fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        self.handle_verdict(now, socket, Verdict::Success);
    }

    /// A socket could not be connected.
    pub fn handle_failed(&mut self, now: Instant, socket: SocketId, errno: Errno) {
        self.handle_verdict(now, socket, Verdict::of_connect(errno));
    }

    /// What to do to a socket. Call until `None` after every `handle_*`; the
    /// probe's time runs from `now`.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(index) = self.closing.pop(self.sockets, Socket::link) {
            let socket = SocketId(index);
            self.release(socket);
            return Some(Action::Disconnect { socket });
        }
        self.start(now, Family::V4)
            .or_else(|| self.start(now, Family::V6))
    }

    /// A target whose health is not what the owner heard last, oldest first.
    /// Changes that cancelled out before the owner asked are not told. Call
    /// after every `handle_*`, until `None`.
    pub fn poll_change(&mut self) -> Option<Report> {
        let index = self.news.pop(self.slots, Slot::news)?;
        let slot = self.slots.get_mut(index as usize)?;
        let previous = slot.told;
        slot.told = slot.health.state();
        Some(Report {
            id: CheckId(index),
            target: slot.config.target,
            state: slot.told,
            previous,
            reason: match slot.told {
                HealthState::Down => slot.reason,
                HealthState::Up | HealthState::Unknown => None,
            },
            latency: slot.latency,
        })
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

    /// Whether an event of the socket can be an answer: disconnecting leaves an
    /// edge behind, which is not worth a system call to look into.
    #[must_use]
    pub fn awaits(&self, socket: SocketId) -> bool {
        let socket = self.sockets.get(socket.index());
        socket.is_some_and(|s| matches!(s.use_, Use::Probe(_)))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) again, when nothing
    /// else happens before. Ask after every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.poll_timeout()
    }

    fn handle_verdict(&mut self, now: Instant, socket: SocketId, verdict: Verdict) {
        match self.sockets.get(socket.index()).map(|s| s.use_) {
            Some(Use::Probe(id)) => self.conclude(now, id, verdict),
            Some(Use::Free | Use::Closing) | None => {
                self.counters.stray = self.counters.stray.saturating_add(1);
            }
        }
    }

    /// An idle check's time has come.
    fn become_due(&mut self, now: Instant, id: CheckId, due: Instant) {
        let Some(slot) = self.running(id) else {
            return;
        };
        let config = slot.config;
        if now.since(due) > spread(&config) {
            // A stall: were all of them to start now, they would be late again.
            self.counters.respread = self.counters.respread.saturating_add(1);
            self.idle_until(id, first_start(&config, now, self.settings.seed));
            return;
        }
        let family = index_of(config.family());
        if let Some(slot) = self.running_mut(id) {
            slot.state = State::Waiting { since: due };
        }
        if let (Some(waiting), Some(idle)) = (self.waiting.get_mut(family), self.idle.get(family)) {
            waiting.push(self.slots, id.0, Slot::link);
            if waiting.len() > idle.len() {
                self.counters.queued = self.counters.queued.saturating_add(1);
            }
        }
    }

    /// Gives the oldest waiting check a free socket of its family.
    fn start(&mut self, now: Instant, family: Family) -> Option<Action> {
        let family = index_of(family);
        let (waiting, idle) = (self.waiting.get_mut(family)?, self.idle.get_mut(family)?);
        let (index, _) = waiting.first().zip(idle.first())?;
        let slot = self.slots.get(index as usize)?;
        let (config, State::Waiting { since }) = (slot.config, slot.state) else {
            return None;
        };
        let deadline = now + config.timeout.max(CheckConfig::INTERVAL_MIN);
        // There is a timer for each check, and a waiting one holds none.
        let timer = self.wheel.insert(deadline, index).ok()?;
        waiting.pop(self.slots, Slot::link)?;
        let socket = SocketId(idle.pop(self.sockets, Socket::link)?);
        self.sockets.get_mut(socket.index())?.use_ = Use::Probe(CheckId(index));
        self.slots.get_mut(index as usize)?.state = State::Probing {
            socket,
            started: now,
            deadline,
            timer,
        };
        self.in_flight = self.in_flight.saturating_add(1);
        self.counters.started = self.counters.started.saturating_add(1);
        self.counters.lag_max = self.counters.lag_max.max(now.since(since));
        let Kind::Tcp { half_open } = config.kind;
        Some(Action::Connect {
            socket,
            target: config.target,
            half_open,
        })
    }

    /// Ends a probe: frees its socket, takes the verdict, arms the next one.
    fn conclude(&mut self, now: Instant, id: CheckId, verdict: Verdict) {
        let Some(started) = self.stop_probe(id) else {
            return;
        };
        self.counters.verdict(verdict);
        let news = &mut self.news;
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return;
        };
        let before = slot.health.state();
        // Whether others must hear of it is for `told` to say.
        (slot.health, _) = slot.health.on(verdict, slot.config.limits());
        let (health, after) = (slot.health, slot.health.state());
        match verdict {
            Verdict::Success | Verdict::Failure(_) => {
                slot.last = Some(verdict);
                if let Verdict::Failure(reason) = verdict {
                    slot.reason = Some(reason);
                }
                slot.latency = now.since(started);
                slot.presumed = false;
            }
            Verdict::Indeterminate(local) => {
                if let Some(quiet) = self.trouble.get_mut(local.index()) {
                    quiet.checks = quiet.checks.saturating_add(1);
                }
            }
        }
        if before != after {
            slot.since = now;
            let count = match after {
                HealthState::Up => &mut self.counters.went_up,
                HealthState::Down | HealthState::Unknown => &mut self.counters.went_down,
            };
            *count = count.saturating_add(1);
        }
        let next = next_start(&slot.config, health, started, self.settings.seed).max(now);
        if slot.told == after {
            news.remove(self.slots, id.0, Slot::news);
        } else {
            news.push(self.slots, id.0, Slot::news);
        }
        self.idle_until(id, next);
    }

    /// Takes the socket and the timer from a check in flight; when it started.
    fn stop_probe(&mut self, id: CheckId) -> Option<Instant> {
        let State::Probing {
            socket,
            started,
            timer,
            ..
        } = self.running(id)?.state
        else {
            return None;
        };
        self.wheel.cancel(timer);
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            s.use_ = Use::Closing;
        }
        self.closing.push(self.sockets, socket.0, Socket::link);
        self.in_flight = self.in_flight.saturating_sub(1);
        Some(started)
    }

    /// Arms a check that holds no timer.
    fn idle_until(&mut self, id: CheckId, due: Instant) {
        // There is a timer for each check; see `capacity`.
        if let Ok(timer) = self.wheel.insert(due, id.0)
            && let Some(slot) = self.slots.get_mut(id.index())
        {
            slot.state = State::Idle { due, timer };
        }
    }

    /// Puts a socket among the free ones of its family.
    fn release(&mut self, socket: SocketId) {
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            s.use_ = Use::Free;
        }
        let family = if socket.0 < self.settings.sockets_v4 {
            Family::V4
        } else {
            Family::V6
        };
        if let Some(idle) = self.idle.get_mut(index_of(family)) {
            idle.push(self.sockets, socket.0, Socket::link);
        }
    }

    fn order(&self, side: usize, plan_index: u32) -> Option<u32> {
        let slot = self.slots.get(plan_index as usize)?;
        slot.order.get(side).copied().filter(|&index| index != NIL)
    }

    fn running(&self, id: CheckId) -> Option<&Slot> {
        let slot = self.slots.get(id.index())?;
        (!matches!(slot.state, State::Free)).then_some(slot)
    }

    fn running_mut(&mut self, id: CheckId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index())?;
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

const fn index_of(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

#[cfg(test)]
mod tests;
