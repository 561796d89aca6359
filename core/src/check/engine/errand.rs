//! What goes on beside connections: errands that others run, datagrams that find
//! their probe, and questions that are asked again by TCP.

use super::storage::{Phase, Socket, Use};
use super::{CheckId, Engine, Lane, Local, SocketId, State, Verdict};
use crate::check::Kind;
use crate::check::flights::Sign;
use crate::check::probe::outside::{Errand, Outcome, Weighed};
use crate::check::probe::{Ping, Script, Scripts, Spec, Step};
use crate::model::Family;
use crate::time::{Duration, Instant};
use core::net::{IpAddr, SocketAddr};

/// How long after a command's time is over its end may be told.
pub const ERRAND_GRACE: Duration = Duration::from_millis(1_500);

impl Engine<'_> {
    /// What [`Action::Errand`](super::Action::Errand) asks for, its name for
    /// [`seat_of`](Self::seat_of), and when its time is over. Say
    /// [`handle_outcome`](Self::handle_outcome) if nobody takes it.
    pub fn errand(
        &mut self,
        now: Instant,
        socket: SocketId,
    ) -> Option<([u8; 8], Instant, Errand<'_>)> {
        let (id, phase) = self.talker(socket)?;
        if phase == Phase::Due {
            match self.compose(socket) {
                Step::More => self.set_phase(socket, Phase::Waiting),
                Step::Send(_) | Step::OverTcp => {
                    self.conclude(now, id, Verdict::Indeterminate(Local::Other));
                }
                Step::Verdict(verdict) => self.conclude(now, id, verdict),
            }
        }
        let (id, _) = self.talker(socket)?;
        let slot = self.running(id)?;
        let State::Probing { deadline, .. } = slot.state else {
            return None;
        };
        let token = self.sockets.get(socket.index())?.probe()?.token();
        let name = *token.secret.first_chunk()?;
        let scripts = Scripts::from_words(self.scripts.get(..self.scripts_len)?);
        let config = slot.config(&self.manners);
        let words = scripts.get(config.kind.script()?)?;
        let errand = Script::read(words, config.target)?.errand()?;
        Some((name, deadline - ERRAND_GRACE, errand))
    }

    /// What came of an errand. A weight that it says is the target's from then on;
    /// a success without one is the end of that.
    pub fn handle_outcome(&mut self, now: Instant, socket: SocketId, outcome: &Outcome<'_>) {
        let weighs = |script: &Script<'_>| script.errand().map(|errand| errand.weighs());
        let weighs = self.with_script(socket, weighs);
        let (Some((id, _)), Some(weighs)) = (self.talker(socket), weighs) else {
            return self.stray();
        };
        let Weighed { verdict, weight } = outcome.weigh(weighs);
        match verdict {
            Verdict::Success => self.handle_advice(id, |advised| advised.with_weight(weight)),
            Verdict::Failure(_) | Verdict::Indeterminate(_) => {}
        }
        self.conclude(now, id, verdict);
    }

    /// A packet of a raw ICMP socket: over IPv4 with its header, over IPv6 without.
    pub fn handle_echo(&mut self, now: Instant, family: Family, from: IpAddr, packet: &[u8]) {
        let seat = Ping::token_of(family, packet).and_then(|token| self.seat_of(token));
        let target = seat.and_then(|seat| self.talker(seat));
        let target = target.and_then(|(id, _)| self.running(id));
        let target = target.map(|slot| slot.target().ip());
        let own = match family {
            // The probe reads it in the header.
            Family::V4 => true,
            Family::V6 => !Ping::is_reply_v6(packet) || target == Some(from),
        };
        match seat.filter(|_| own) {
            Some(seat) => self.handle_bytes(now, seat, packet),
            None => self.stray(),
        }
    }

    /// A datagram that nobody waits for.
    pub const fn handle_stray(&mut self) {
        self.counters.stray = self.counters.stray.saturating_add(1);
    }

    /// Datagrams were lost on this node, or were not read in time, and one of them
    /// may have answered the probe of this seat: it is not blamed for having no
    /// answer. Nothing happens to one that is not on its way.
    pub fn handle_lost(&mut self, seat: SocketId) {
        if let Lane::Datagram = self.lane_of(seat)
            && let Some(s) = self.sockets.get_mut(seat.index())
        {
            s.lost |= matches!(s.use_, Use::Probe(_));
        }
    }

    /// Whether the probe of a seat is an echo request to this family.
    #[must_use]
    pub fn pings(&self, seat: SocketId, family: Family) -> bool {
        let pings = |script: &Script<'_>| Some(matches!(script.spec(), Spec::Ping(_)));
        let target = self.talker(seat).and_then(|(id, _)| self.running(id));
        target.is_some_and(|slot| slot.config(&self.manners).family() == family)
            && self.with_script(seat, pings) == Some(true)
    }

    /// What tells a datagram's answer from others, the port whose turn it is, and the
    /// name of its probe for [`seat_of`](Self::seat_of).
    #[must_use]
    pub fn departure(&self, socket: SocketId) -> Option<(Sign, u8, [u8; 8])> {
        let token = self.sockets.get(socket.index())?.probe()?.token();
        let sign = self.with_script(socket, |script| Some(Sign::of(&script.spec(), token)))?;
        let (id, _) = self.talker(socket)?;
        let turn = self.running(id)?.turn;
        Some((sign, turn, *token.secret.first_chunk()?))
    }

    /// Whom to connect to, to ask again what was asked by datagrams.
    pub(super) fn again(&self, socket: SocketId) -> Option<SocketAddr> {
        let (id, Phase::Connecting) = self.talker(socket)? else {
            return None;
        };
        Some(self.running(id)?.target())
    }

    /// Whether the owner has not yet been told to connect it.
    pub(super) fn is_yet_to_connect(&self, socket: SocketId) -> bool {
        let held = self.sockets.get(socket.index());
        self.again(socket).is_some() && held.is_some_and(|s| s.link.is_linked())
    }

    /// Goes on with a probe by TCP, for as long as its time lasts.
    pub(super) fn ask_again(&mut self, now: Instant, id: CheckId, seat: SocketId) {
        let config = self.config(id);
        let by_datagrams = config.filter(|config| matches!(config.kind, Kind::Datagram(_)));
        let lane = by_datagrams.map(|config| Lane::Stream(config.family()));
        if lane.is_some_and(|lane| self.go_on_by(id, lane)) {
            self.leave(seat);
            self.release(seat);
        } else {
            self.conclude(now, id, Verdict::Indeterminate(Local::Sockets));
        }
    }

    /// Goes on with a probe by a socket that is free and not in a list, and has the
    /// owner connect it.
    pub(super) fn move_to(&mut self, id: CheckId, free: u32) {
        if let Some(held) = self.sockets.get_mut(free as usize) {
            *held = Socket {
                use_: Use::Probe(id),
                link: held.link,
                ..Socket::EMPTY
            };
        }
        if let Some(State::Probing { socket, .. }) =
            self.slots.get_mut(id.index()).map(|slot| &mut slot.state)
        {
            *socket = SocketId(free);
        }
        self.outbox.push(self.sockets, free, Socket::link);
    }
}
