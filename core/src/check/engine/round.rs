//! The round of a check: idle, due, under way, concluded.

use super::errand::ERRAND_GRACE;
use super::list::{NIL, Spare};
use super::schedule::{first_start, next_start, spread};
use super::storage::{Phase, Slot, Socket, State, Use};
use super::{Action, CheckId, Engine, HealthState, Lane, Local, SocketId, TIMERS_MAX, Verdict};
use crate::check::probe::Probe;
use crate::check::{CheckConfig, Kind};
use crate::model::Family;
use crate::time::{Duration, Instant};

impl Engine<'_> {
    /// Serves timers that are due: checks whose time has come queue for a
    /// socket, probes that were not answered in time have failed. Call after
    /// all ready sockets were handled and read. At most [`TIMERS_MAX`] in one
    /// call; then [`poll_timeout`](Self::poll_timeout) is not after `now`.
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
                State::Paced { due, next, .. } => self.take_starts(now, id, due, next.into()),
                State::Probing {
                    deadline, socket, ..
                } => {
                    if self.waits_on(now, id, socket) {
                        continue;
                    }
                    let late = now.since(deadline) > self.settings.late_margin;
                    let lacks = self.talker(socket).and_then(|(_, phase)| phase.lacks());
                    let lost = self.sockets.get(socket.index()).is_some_and(|s| s.lost);
                    let verdict = match self.lane_of(socket) {
                        Lane::Errand => Verdict::Indeterminate(Local::Runner),
                        Lane::Datagram if lost => Verdict::Indeterminate(Local::Memory),
                        _ if late => Verdict::Indeterminate(Local::Late),
                        Lane::Stream(_) | Lane::Datagram => match lacks {
                            Some(local) => Verdict::Indeterminate(local),
                            None if self.owes(socket) => Verdict::Indeterminate(Local::Late),
                            None if self.is_unheard(socket) => Verdict::Indeterminate(Local::Kept),
                            None => Verdict::Failure(self.timed_out(socket)),
                        },
                    };
                    self.time_is_over(now, id, verdict);
                }
                State::Held | State::Waiting { .. } | State::Free => {}
            }
        }
    }

    /// What to do to a socket. Call until `None` after every `handle_*`; the
    /// probe's time runs from `now`.
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if let Some(action) = self.disconnect() {
            return Some(action);
        }
        self.give_desks(now);
        if let Some(action) = self.secure(now) {
            return Some(action);
        }
        if let Some(index) = self.outbox.pop(self.sockets, Socket::link) {
            let socket = SocketId(index);
            return Some(match self.again(socket) {
                Some(target) => Action::Connect {
                    socket,
                    target,
                    half_open: false,
                },
                None => Action::Send { socket },
            });
        }
        self.depart(now)
            .or_else(|| self.start(now, Lane::Stream(Family::V4)))
            .or_else(|| self.start(now, Lane::Stream(Family::V6)))
            .or_else(|| self.start(now, Lane::Datagram))
            .or_else(|| self.start(now, Lane::Errand))
    }

    /// Has the owner disconnect the oldest of the sockets that are done with.
    fn disconnect(&mut self) -> Option<Action> {
        let socket = SocketId(self.closing.pop(self.sockets, Socket::link)?);
        if self.talker(socket).is_some() {
            self.set_phase(socket, Phase::Connecting);
            self.outbox.push(self.sockets, socket.0, Socket::link);
        } else {
            self.release(socket);
        }
        Some(Action::Disconnect { socket })
    }

    /// Gives a socket that waits for it one of the TLS connections.
    fn secure(&mut self, now: Instant) -> Option<Action> {
        if self.secured >= self.settings.tls {
            return None;
        }
        let index = self.unsecured.pop(self.sockets, Socket::link)?;
        let socket = SocketId(index);
        if let Some((id, Phase::Unsecured { since })) = self.talker(socket) {
            self.excuse(id, now.since(since));
        }
        self.secured = self.secured.saturating_add(1);
        let held = self.sockets.get_mut(socket.index())?;
        (held.phase, held.secured) = (Phase::Securing, true);
        let tls = self.with_script(socket, |script| script.tls)?;
        let (id, _) = self.talker(socket)?;
        let target = self.running(id)?.target();
        // A target that has gone meanwhile is not waited for.
        self.look(socket);
        Some(Action::Secure {
            socket,
            target,
            tls,
        })
    }

    /// Takes from a probe's time what it spent waiting for something of this
    /// node's: that is not the target's.
    pub(super) fn excuse(&mut self, id: CheckId, waited: Duration) {
        if let Some(Slot {
            state:
                State::Probing {
                    started,
                    deadline,
                    timer,
                    ..
                },
            ..
        }) = self.slots.get_mut(id.index())
        {
            *started += waited;
            *deadline += waited;
            self.wheel.postpone(*timer, *deadline);
        }
    }

    /// An idle check's time has come.
    fn become_due(&mut self, now: Instant, id: CheckId, due: Instant) {
        let Some(slot) = self.running(id) else {
            return;
        };
        let config = slot.config(&self.manners);
        if now.since(due) > spread(&config) {
            // A stall: were all of them to start now, they would be late again.
            self.counters.respread = self.counters.respread.saturating_add(1);
            self.idle_until(id, first_start(&config, now, self.settings.seed));
            return;
        }
        if config.is_unresolved() {
            self.counters.started = self.counters.started.saturating_add(1);
            let verdict = Verdict::Indeterminate(Local::Name);
            return self.settle(now, id, now, None, verdict);
        }
        self.take_starts(now, id, due, 0);
    }

    /// A check that holds no timer queues for a socket.
    pub(super) fn queue(&mut self, id: CheckId, due: Instant) {
        let Some(lane) = self.config(id).map(|config| config.lane().index()) else {
            return;
        };
        if let Some(slot) = self.running_mut(id) {
            slot.state = State::Waiting { since: due };
        }
        if let (Some(waiting), Some(idle)) = (self.waiting.get_mut(lane), self.idle.get(lane)) {
            waiting.push(self.slots, id.0, Slot::link);
            if waiting.len() > idle.len() {
                self.counters.queued = self.counters.queued.saturating_add(1);
            }
        }
    }

    /// Gives the oldest waiting check the socket that stayed connected for it, or a
    /// free one of its lane. For want of one, another check's is taken that stayed
    /// connected.
    fn start(&mut self, now: Instant, lane: Lane) -> Option<Action> {
        let index = self.waiting.get(lane.index())?.first()?;
        let slot = self.slots.get(index as usize)?;
        let (config, kept) = (slot.config(&self.manners), slot.kept);
        let State::Waiting { since } = slot.state else {
            return None;
        };
        let lane = lane.index();
        if kept == NIL && self.idle.get(lane)?.len() == 0 {
            self.let_go_newest(lane)?;
            return self.disconnect();
        }
        let mut deadline = now + config.timeout.max(CheckConfig::INTERVAL_MIN);
        if config.lane() == Lane::Errand {
            deadline += ERRAND_GRACE;
        }
        // There is a timer for each check, and a waiting one holds none.
        let timer = self.wheel.insert(deadline, index).ok()?;
        let waiting = self.waiting.get_mut(lane)?;
        waiting.pop(self.slots, Slot::link)?;
        let socket = SocketId(if kept == NIL {
            let idle = self.idle.get_mut(lane)?;
            idle.pop(self.sockets, Socket::link, Socket::begin)?
        } else {
            let stays = self.kept.get_mut(lane)?;
            stays.remove(self.sockets, kept, Socket::link);
            kept
        });
        self.slots.get_mut(index as usize)?.kept = NIL;
        self.sockets.get_mut(socket.index())?.use_ = Use::Probe(CheckId(index));
        let slot = self.slots.get_mut(index as usize)?;
        slot.turn = slot.turn.wrapping_add(1);
        slot.state = State::Probing {
            socket,
            started: now,
            deadline,
            timer,
        };
        self.in_flight = self.in_flight.saturating_add(1);
        self.counters.started = self.counters.started.saturating_add(1);
        self.counters.lag_max = self.counters.lag_max.max(now.since(since));
        let target = config.target;
        if kept != NIL {
            let held = self.sockets.get_mut(socket.index())?;
            (held.phase, held.reused) = (Phase::Due, true);
            self.counters.reused = self.counters.reused.saturating_add(1);
            return Some(Action::Send { socket });
        }
        let half_open = match config.kind {
            Kind::Tcp { half_open } => half_open,
            Kind::Stream(_) => false,
            Kind::Errand(_) => {
                self.sockets.get_mut(socket.index())?.phase = Phase::Due;
                return Some(Action::Errand { socket, target });
            }
            Kind::Syn | Kind::Datagram(_) => {
                self.sockets.get_mut(socket.index())?.phase = Phase::Due;
                return Some(self.by_datagram(socket, &config));
            }
        };
        Some(Action::Connect {
            socket,
            target,
            half_open,
        })
    }

    /// A probe's time is over. Whatever lies unread in its socket was there in
    /// time, or the owner cannot tell: it is read first.
    fn time_is_over(&mut self, now: Instant, id: CheckId, verdict: Verdict) {
        let margin = now + self.settings.late_margin;
        let Some(Slot {
            state:
                State::Probing {
                    socket,
                    deadline,
                    timer,
                    ..
                },
            ..
        }) = self.slots.get_mut(id.index())
        else {
            return;
        };
        let held = self.sockets.get_mut(socket.index());
        let unread = held.filter(|s| s.inbox.is_linked());
        let verdict = match unread {
            Some(unread) if unread.overdue.is_none() => {
                if let Ok(again) = self.wheel.insert(margin, id.0) {
                    unread.overdue = Some(verdict);
                    (*deadline, *timer) = (margin, again);
                    return;
                }
                verdict
            }
            // It is not read in all this time: we are too slow.
            Some(_) => Verdict::Indeterminate(Local::Late),
            None => verdict,
        };
        self.conclude(now, id, verdict);
    }

    /// Ends a probe: frees its socket, takes the verdict, arms the next one.
    pub(super) fn conclude(&mut self, now: Instant, id: CheckId, verdict: Verdict) {
        let probe = self.probe_of(id);
        let verdict = probe.and_then(|probe| probe.decided()).unwrap_or(verdict);
        let keeps = self.is_to_keep(id, verdict);
        let Some(started) = self.stop_probe(id, keeps) else {
            return;
        };
        self.settle(now, id, started, probe, verdict);
    }

    /// Takes the verdict on a check that holds no timer, arms the next one.
    fn settle(
        &mut self,
        now: Instant,
        id: CheckId,
        started: Instant,
        probe: Option<Probe>,
        verdict: Verdict,
    ) {
        self.counters.verdict(verdict);
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return;
        };
        let config = slot.config(&self.manners);
        let before = slot.health.state();
        // Whether others must hear of it is for `told` to say.
        let held = slot.take_verdict(now, (id, &mut self.asides), &config, verdict);
        let after = slot.health.state();
        match verdict {
            Verdict::Success | Verdict::Failure(_) => {
                slot.last = Some(verdict);
                if let Verdict::Failure(reason) = verdict {
                    slot.reason = Some(reason);
                }
                let latency_us = now.since(started).as_micros();
                slot.latency_us = u32::try_from(latency_us).unwrap_or(u32::MAX);
                let http_status = probe.and_then(|p| p.http_status()).unwrap_or(0);
                let advice = probe.and_then(|p| p.advice());
                if (advice.is_some() || http_status != self.asides.of(id, slot).http_status)
                    && let Some(aside) = self.asides.of_mut(id, slot)
                {
                    aside.http_status = http_status;
                    let before = aside.advised;
                    aside.advised = advice.map_or(before, |advice| before.with(&advice));
                    slot.advice_told &= aside.advised == before;
                }
                slot.presumed = false;
            }
            Verdict::Indeterminate(local) => {
                if let Some(quiet) = self.trouble.get_mut(local.index()) {
                    quiet.checks = quiet.checks.saturating_add(1);
                }
            }
        }
        if held {
            self.counters.flaps_held = self.counters.flaps_held.saturating_add(1);
        }
        if before != after {
            slot.since = now;
            let count = match after {
                HealthState::Up => &mut self.counters.went_up,
                HealthState::Down | HealthState::Unknown => &mut self.counters.went_down,
            };
            *count = count.saturating_add(1);
        }
        let next = next_start(slot, &config, started, self.settings.seed).max(now);
        self.note_news(id);
        self.idle_until(id, next);
    }

    /// Takes the socket and the timer from a check in flight, or only the timer when
    /// it keeps its connection; when it started.
    pub(super) fn stop_probe(&mut self, id: CheckId, keeps: bool) -> Option<Instant> {
        let slot = self.running(id)?;
        let State::Probing {
            socket,
            started,
            timer,
            ..
        } = slot.state
        else {
            return None;
        };
        let lane = self.lane_of(socket);
        let connects = !self.is_yet_to_connect(socket);
        self.wheel.cancel(timer);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.leave(socket);
        match lane {
            Lane::Stream(_) if keeps => self.keep(id, socket),
            Lane::Stream(_) if connects => self.close(socket),
            // Nothing is to be disconnected.
            Lane::Stream(_) | Lane::Datagram | Lane::Errand => self.release(socket),
        }
        Some(started)
    }

    /// Arms a check that holds no timer.
    pub(super) fn idle_until(&mut self, id: CheckId, due: Instant) {
        // There is a timer for each check; see `capacity`.
        if let Ok(timer) = self.wheel.insert(due, id.0)
            && let Some(slot) = self.slots.get_mut(id.index())
        {
            slot.state = State::Idle { due, timer };
        }
    }

    /// Puts a socket among the free ones of its lane.
    pub(super) fn release(&mut self, socket: SocketId) {
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            s.use_ = Use::Free;
        }
        let lane = self.lane_of(socket);
        if lane == Lane::Datagram {
            self.free_port();
        }
        if let Some(idle) = self.idle.get_mut(lane.index()) {
            idle.push(self.sockets, socket.0, Socket::link);
        }
    }

    /// The sockets of each lane, none of them used yet.
    pub(super) fn lanes(&self) -> [Spare; Lane::COUNT] {
        let sockets = u32::try_from(self.sockets.len()).unwrap_or(NIL);
        let errands_from = sockets.saturating_sub(self.settings.errands);
        let seats_from = errands_from.saturating_sub(self.settings.seats);
        let v6_from = seats_from.min(self.settings.sockets_v4);
        let mut lanes = [Spare::new(0, 0); Lane::COUNT];
        for (lane, first, end) in [
            (Lane::Stream(Family::V4), 0, v6_from),
            (Lane::Stream(Family::V6), v6_from, seats_from),
            (Lane::Datagram, seats_from, errands_from),
            (Lane::Errand, errands_from, sockets),
        ] {
            if let Some(spare) = lanes.get_mut(lane.index()) {
                *spare = Spare::new(first, end);
            }
        }
        lanes
    }

    /// The lane a socket is of.
    pub(super) fn lane_of(&self, SocketId(socket): SocketId) -> Lane {
        let sockets = u32::try_from(self.sockets.len()).unwrap_or(NIL);
        let errands_from = sockets.saturating_sub(self.settings.errands);
        let seats_from = errands_from.saturating_sub(self.settings.seats);
        if socket >= errands_from {
            Lane::Errand
        } else if socket >= seats_from {
            Lane::Datagram
        } else if socket < self.settings.sockets_v4 {
            Lane::Stream(Family::V4)
        } else {
            Lane::Stream(Family::V6)
        }
    }
}
