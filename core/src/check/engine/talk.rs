//! What is said and heard on a connection that stands: the engine's side of a
//! [`Probe`].

use super::list::NIL;
use super::storage::{Desk, Phase, Socket, Use};
use super::token::Tokens;
use super::{CheckId, Engine, Lane, Local, Reason, SocketId, State, Verdict};
use crate::check::probe::{Probe, Room, Script, Scripts, Spec, Step};
use crate::check::{CheckConfig, Kind};
use crate::netlink::Errno;
use crate::time::Instant;

/// Bytes of the longest request; a buffer of so many holds it.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;

impl Engine<'_> {
    /// A socket is connected.
    pub fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        let Some((id, Phase::Connecting)) = self.talker(socket) else {
            return self.stray();
        };
        match self.config(id).map(|config| config.kind) {
            // By datagrams it would not be connecting, had it not to ask again.
            Some(Kind::Stream(_) | Kind::Datagram(_)) => {
                if self.with_script(socket, |script| script.tls).is_some() {
                    self.set_phase(socket, Phase::Unsecured { since: now });
                    self.unsecured.push(self.sockets, socket.0, Socket::link);
                } else {
                    self.set_phase(socket, Phase::Due);
                    self.outbox.push(self.sockets, socket.0, Socket::link);
                }
            }
            Some(Kind::Tcp { .. } | Kind::Syn | Kind::Errand(_)) | None => {
                self.conclude(now, id, Verdict::Success);
            }
        }
    }

    /// The TLS handshake is done.
    pub fn handle_secured(&mut self, socket: SocketId) {
        let Some((_, Phase::Securing)) = self.talker(socket) else {
            return self.stray();
        };
        self.set_phase(socket, Phase::Due);
        self.inbox.remove(self.sockets, socket.0, Socket::inbox);
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            // What came with the handshake is read once the request is sent.
            s.unread = true;
        }
        self.outbox.push(self.sockets, socket.0, Socket::link);
    }

    /// A socket could not be connected, or failed later.
    pub fn handle_failed(&mut self, now: Instant, socket: SocketId, errno: Errno) {
        let Some((id, phase)) = self.talker(socket) else {
            return self.stray();
        };
        let stream = matches!(self.lane_of(socket), Lane::Stream(_));
        let verdict = match phase {
            _ if !stream => Verdict::of_connect(errno),
            Phase::Stale | Phase::Connecting => Verdict::of_connect(errno),
            Phase::Unsecured { .. } | Phase::Securing => Verdict::of_talk(errno, Reason::TlsReset),
            Phase::Deskless { .. }
            | Phase::Portless { .. }
            | Phase::Due
            | Phase::Sending { later: false, .. } => Verdict::of_talk(errno, Reason::ResetSending),
            Phase::Waiting => Verdict::of_talk(errno, Reason::ResetWaiting),
            Phase::Sending { later: true, .. } | Phase::Answering => {
                Verdict::of_talk(errno, Reason::ResetAnswering)
            }
        };
        if matches!(verdict, Verdict::Failure(_)) && self.is_unheard(socket) {
            return self.connect_anew(now, id, socket);
        }
        self.conclude(now, id, verdict);
    }

    /// What the owner found out about a probe by itself, whatever its phase: of
    /// a certificate, say.
    pub fn handle_verdict(&mut self, now: Instant, socket: SocketId, verdict: Verdict) {
        match self.talker(socket) {
            Some((id, _)) => self.conclude(now, id, verdict),
            None => self.stray(),
        }
    }

    /// A connected socket may be readable or writable. A false alarm costs the
    /// owner a read that finds nothing.
    pub fn handle_ready(&mut self, socket: SocketId, readable: bool, writable: bool) {
        let Some((_, phase)) = self.talker(socket) else {
            return self.stray();
        };
        match phase {
            Phase::Stale | Phase::Connecting => {}
            Phase::Unsecured { .. } | Phase::Deskless { .. } | Phase::Portless { .. } => {
                if let Some(s) = self.sockets.get_mut(socket.index()) {
                    s.unread |= readable;
                }
            }
            Phase::Due | Phase::Sending { .. } => {
                if let Some(s) = self.sockets.get_mut(socket.index()) {
                    s.unread |= readable;
                }
                if writable {
                    self.outbox.push(self.sockets, socket.0, Socket::link);
                }
            }
            Phase::Securing | Phase::Waiting | Phase::Answering if readable => {
                self.inbox.push(self.sockets, socket.0, Socket::inbox);
            }
            Phase::Securing | Phase::Waiting | Phase::Answering => {}
        }
    }

    /// A socket to read from, once, in turn: say
    /// [`handle_bytes`](Self::handle_bytes), [`handle_end`](Self::handle_end),
    /// [`handle_drained`](Self::handle_drained) or
    /// [`handle_failed`](Self::handle_failed). Call until `None`, or as often as
    /// a turn allows, before [`handle_timeout`](Self::handle_timeout).
    pub fn poll_read(&mut self) -> Option<SocketId> {
        self.inbox.pop(self.sockets, Socket::inbox).map(SocketId)
    }

    /// Whether [`poll_read`](Self::poll_read) has one: the owner does not sleep.
    #[must_use]
    pub const fn has_unread(&self) -> bool {
        self.inbox.len() > 0
    }

    /// Bytes were read; of a datagram, all of it. More may be there.
    pub fn handle_bytes(&mut self, now: Instant, socket: SocketId, bytes: &[u8]) {
        let Some((id, Phase::Waiting | Phase::Answering)) = self.talker(socket) else {
            return self.stray();
        };
        match self.play(socket, |probe, spec, room| {
            probe.handle_bytes(spec, bytes, room)
        }) {
            Step::More if self.lane_of(socket) == Lane::Datagram => {}
            Step::More => {
                self.set_phase(socket, Phase::Answering);
                self.inbox.push(self.sockets, socket.0, Socket::inbox);
                self.is_overdue(now, id, socket);
            }
            Step::Send(of) => {
                let of = u32::try_from(of).unwrap_or(NIL);
                let (sent, later) = (0, true);
                self.set_phase(socket, Phase::Sending { sent, of, later });
                if let Some(s) = self.sockets.get_mut(socket.index()) {
                    s.unread = true;
                }
                self.inbox.remove(self.sockets, socket.0, Socket::inbox);
                self.outbox.push(self.sockets, socket.0, Socket::link);
                self.is_overdue(now, id, socket);
            }
            Step::OverTcp => self.ask_again(now, id, socket),
            Step::Verdict(verdict) => self.conclude(now, id, verdict),
        }
    }

    /// There was nothing to read any more; an event will tell of more.
    pub fn handle_drained(&mut self, now: Instant, socket: SocketId) {
        if let Some((id, _)) = self.talker(socket) {
            self.is_overdue(now, id, socket);
        }
    }

    /// The target ended the stream.
    pub fn handle_end(&mut self, now: Instant, socket: SocketId) {
        let (id, step) = match self.talker(socket) {
            Some((id, Phase::Securing)) => (id, Step::More),
            Some((id, Phase::Waiting)) if self.is_unheard(socket) => {
                return self.connect_anew(now, id, socket);
            }
            Some((id, Phase::Waiting | Phase::Answering)) => {
                let end =
                    |probe: &mut Probe, spec: &Spec<'_>, _: &mut Room<'_>| probe.handle_end(spec);
                (id, self.play(socket, end))
            }
            Some(_) | None => return self.stray(),
        };
        let verdict = match step {
            Step::Verdict(verdict) => verdict,
            Step::More | Step::Send(_) | Step::OverTcp => Verdict::Failure(Reason::TlsClosed),
        };
        self.conclude(now, id, verdict);
    }

    /// The bytes to write, or the datagram to send, when
    /// [`poll_action`](Self::poll_action) said so; `None` when there is nothing.
    /// Say [`handle_sent`](Self::handle_sent) how many the kernel took, or
    /// [`handle_failed`](Self::handle_failed). It is composed anew for as long
    /// as some are left.
    pub fn transmit(&mut self, now: Instant, socket: SocketId) -> Option<&[u8]> {
        let (id, phase) = self.talker(socket)?;
        if let Phase::Due | Phase::Sending { .. } = phase {
            // An owner may ask before it is told to.
            self.outbox.remove(self.sockets, socket.0, Socket::link);
        }
        if phase == Phase::Due {
            self.begin_talk(now, id, socket);
        }
        let (_, Phase::Sending { sent, of, later }) = self.talker(socket)? else {
            return None;
        };
        if !later && self.composed != Some(socket) {
            // The same as before: it is deterministic.
            let _ = self.compose(socket);
        }
        let from: &[u8] = if later {
            let desk = self.sockets.get(socket.index())?.desk;
            &self.desks.get(desk as usize)?.out
        } else {
            self.request
        };
        from.get(sent as usize..of as usize)
    }

    /// The kernel took so many bytes of what [`transmit`](Self::transmit) gave.
    /// If some are left, say [`handle_ready`](Self::handle_ready) when the socket
    /// is writable.
    pub fn handle_sent(&mut self, now: Instant, socket: SocketId, bytes: usize) {
        let Some((id, Phase::Sending { sent, of, later })) = self.talker(socket) else {
            return self.stray();
        };
        let sent = sent.saturating_add(u32::try_from(bytes).unwrap_or(NIL));
        if sent < of {
            return self.set_phase(socket, Phase::Sending { sent, of, later });
        }
        let step = if later {
            self.set_phase(socket, Phase::Answering);
            Step::More
        } else {
            self.set_phase(socket, Phase::Waiting);
            self.play(socket, |probe, spec, _| probe.handle_sent(spec))
        };
        match step {
            Step::Verdict(verdict) => self.conclude(now, id, verdict),
            Step::More | Step::Send(_) | Step::OverTcp => self.look(socket),
        }
    }

    /// The seat whose token begins with these bytes, if its probe is under way:
    /// of an echo reply what [`Ping::token_of`](crate::check::probe::Ping::token_of)
    /// finds.
    #[must_use]
    pub fn seat_of(&self, token: [u8; 8]) -> Option<SocketId> {
        let socket = Tokens::socket(token);
        let probe = self.sockets.get(socket.index())?.probe()?;
        probe.token().secret.starts_with(&token).then_some(socket)
    }

    /// Whether the owner's connecting this socket is waited for.
    #[must_use]
    pub fn awaits(&self, socket: SocketId) -> bool {
        matches!(self.talker(socket), Some((_, Phase::Connecting)))
    }

    /// Whether a probe talks on this socket, so that its events matter.
    #[must_use]
    pub fn talks(&self, socket: SocketId) -> bool {
        self.talker(socket)
            .is_some_and(|(_, phase)| phase != Phase::Connecting)
    }

    /// Begins a probe whose socket is connected, or needs no connection.
    fn begin_talk(&mut self, now: Instant, id: CheckId, socket: SocketId) {
        let keeps = self.with_script(socket, |script| Some(script.spec().keep_bytes() > 0));
        let Some(keeps) = keeps else {
            return self.conclude(now, id, Verdict::Indeterminate(Local::Other));
        };
        let seated = self
            .sockets
            .get(socket.index())
            .is_some_and(|s| s.desk != NIL);
        if keeps && !seated && !self.take_desk(socket) {
            if let Lane::Datagram | Lane::Errand = self.lane_of(socket) {
                return self.conclude(now, id, Verdict::Indeterminate(Local::Desks));
            }
            self.set_phase(socket, Phase::Deskless { since: now });
            return self.deskless.push(self.sockets, socket.0, Socket::link);
        }
        match self.compose(socket) {
            Step::Send(of) => {
                let of = u32::try_from(of).unwrap_or(NIL);
                let (sent, later) = (0, false);
                self.set_phase(socket, Phase::Sending { sent, of, later });
            }
            Step::More => {
                self.set_phase(socket, Phase::Waiting);
                self.look(socket);
            }
            Step::OverTcp => self.conclude(now, id, Verdict::Indeterminate(Local::Other)),
            Step::Verdict(verdict) => self.conclude(now, id, verdict),
        }
    }

    /// Writes a probe's request, the same each time.
    pub(super) fn compose(&mut self, socket: SocketId) -> Step {
        let told = self.sockets.get(socket.index()).and_then(|s| s.probe);
        let token = told.map_or_else(|| self.tokens.next(socket), |probe| probe.token());
        self.composed = Some(socket);
        let begun = self.perform(socket, true, |_, spec, room| {
            Some(Probe::begin(spec, token, room))
        });
        let Some((probe, step)) = begun else {
            return Step::Verdict(Verdict::Indeterminate(Local::Other));
        };
        if let Some(s) = self.sockets.get_mut(socket.index())
            && s.probe.is_none()
        {
            s.probe = Some(probe);
        }
        step
    }

    /// Lets a probe do something by its script.
    fn play(
        &mut self,
        socket: SocketId,
        act: impl FnOnce(&mut Probe, &Spec<'_>, &mut Room<'_>) -> Step,
    ) -> Step {
        let step = self.perform(socket, false, |probe, spec, room| {
            probe.as_mut().map(|probe| act(probe, spec, room))
        });
        // A check under way without its script is a bug of ours.
        step.unwrap_or(Step::Verdict(Verdict::Indeterminate(Local::Other)))
    }

    /// Puts together what a probe needs: its script, and memory. What is sent
    /// first is written to the request's buffer, what comes later to the desk.
    fn perform<T>(
        &mut self,
        socket: SocketId,
        first: bool,
        act: impl FnOnce(&mut Option<Probe>, &Spec<'_>, &mut Room<'_>) -> Option<T>,
    ) -> Option<T> {
        let by_tcp = matches!(self.lane_of(socket), Lane::Stream(_));
        let held = self.sockets.get_mut(socket.index())?;
        let Use::Probe(id) = held.use_ else {
            return None;
        };
        let config = self.slots.get(id.index())?.config(&self.manners);
        let scripts = Scripts::from_words(self.scripts.get(..self.scripts_len)?);
        let mut script = script_of(scripts, &config)?;
        if by_tcp {
            script = script.over_tcp();
        }
        let spec = script.spec();
        let (later, keep): (&mut [u8], &mut [u8]) = match self.desks.get_mut(held.desk as usize) {
            Some(Desk { out, keep, .. }) => (out, keep.get_mut(..spec.keep_bytes())?),
            None => (&mut [], &mut []),
        };
        let out = if first { &mut *self.request } else { later };
        act(&mut held.probe, &spec, &mut Room { out, keep })
    }

    /// Reads the script of the probe that uses a socket.
    pub(super) fn with_script<T>(
        &self,
        socket: SocketId,
        look: impl FnOnce(&Script<'_>) -> Option<T>,
    ) -> Option<T> {
        let (id, _) = self.talker(socket)?;
        let config = self.config(id)?;
        let scripts = Scripts::from_words(self.scripts.get(..self.scripts_len)?);
        let script = script_of(scripts, &config)?;
        match self.lane_of(socket) {
            Lane::Stream(_) => look(&script.over_tcp()),
            Lane::Datagram | Lane::Errand => look(&script),
        }
    }

    /// What a probe whose time is over has failed for.
    pub(super) fn timed_out(&self, socket: SocketId) -> Reason {
        let Some(s) = self.sockets.get(socket.index()) else {
            return Reason::TimedOut;
        };
        // What came that was not the answer explains more than that it was late.
        let excuse = s.probe.map(|probe| probe.handle_timeout());
        let phase = match s.phase {
            Phase::Stale | Phase::Connecting => Reason::TimedOut,
            Phase::Unsecured { .. } | Phase::Securing => Reason::TlsTimedOut,
            Phase::Deskless { .. }
            | Phase::Portless { .. }
            | Phase::Due
            | Phase::Sending { later: false, .. } => Reason::Unsent,
            // There is no connection yet.
            Phase::Waiting if self.is_half_open(socket) => Reason::TimedOut,
            Phase::Waiting => Reason::NoAnswer,
            Phase::Sending { later: true, .. } | Phase::Answering => Reason::Unfinished,
        };
        excuse
            .filter(|excuse| *excuse != Reason::TimedOut)
            .unwrap_or(phase)
    }

    /// Whether the owner learned in this very turn that it may write: perhaps it
    /// could have long before, and was late.
    pub(super) fn owes(&self, socket: SocketId) -> bool {
        let held = self.sockets.get(socket.index());
        held.is_some_and(|s| s.link.is_linked())
    }

    fn is_half_open(&self, socket: SocketId) -> bool {
        let check = self.talker(socket).and_then(|(id, _)| self.running(id));
        check.is_some_and(|slot| slot.config(&self.manners).kind == Kind::Syn)
    }

    /// Concludes with what an overdue probe is to conclude with.
    fn is_overdue(&mut self, now: Instant, id: CheckId, socket: SocketId) {
        let overdue = self.sockets.get(socket.index()).and_then(|s| s.overdue);
        if let Some(verdict) = overdue {
            self.conclude(now, id, verdict);
        }
    }

    /// What came while something was sent is read now.
    pub(super) fn look(&mut self, socket: SocketId) {
        if let Some(s) = self.sockets.get_mut(socket.index())
            && core::mem::take(&mut s.unread)
        {
            self.inbox.push(self.sockets, socket.0, Socket::inbox);
        }
    }

    /// Takes from a socket all that it has of a probe.
    pub(super) fn leave(&mut self, socket: SocketId) {
        match self.talker(socket) {
            Some((_, Phase::Unsecured { .. })) => {
                self.unsecured.remove(self.sockets, socket.0, Socket::link);
            }
            Some((_, Phase::Deskless { .. })) => {
                self.deskless.remove(self.sockets, socket.0, Socket::link);
            }
            Some((_, Phase::Stale)) => {
                self.closing.remove(self.sockets, socket.0, Socket::link);
            }
            Some((_, Phase::Portless { .. })) => {
                self.portless.remove(self.sockets, socket.0, Socket::link);
            }
            Some(_) | None => self.outbox.remove(self.sockets, socket.0, Socket::link),
        }
        self.inbox.remove(self.sockets, socket.0, Socket::inbox);
        if self.composed == Some(socket) {
            self.composed = None;
        }
        let Some(s) = self.sockets.get_mut(socket.index()) else {
            return;
        };
        self.secured = self.secured.saturating_sub(s.secured.into());
        self.free_desks.push(self.desks, s.desk, Desk::link);
        *s = Socket {
            use_: s.use_,
            ..Socket::EMPTY
        };
    }

    /// The probe of a check that is under way.
    pub(super) fn probe_of(&self, id: CheckId) -> Option<Probe> {
        match self.running(id)?.state {
            State::Probing { socket, .. } => self.sockets.get(socket.index())?.probe,
            State::Free
            | State::Held
            | State::Idle { .. }
            | State::Paced { .. }
            | State::Waiting { .. } => None,
        }
    }

    pub(super) fn set_phase(&mut self, socket: SocketId, phase: Phase) {
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            s.phase = phase;
        }
    }

    /// Who uses a socket, and how far it is.
    pub(super) fn talker(&self, socket: SocketId) -> Option<(CheckId, Phase)> {
        let s = self.sockets.get(socket.index())?;
        match s.use_ {
            Use::Probe(id) => Some((id, s.phase)),
            Use::Free | Use::Kept(_) | Use::Closing => None,
        }
    }

    pub(super) fn stray(&mut self) {
        self.counters.stray = self.counters.stray.saturating_add(1);
    }
}

/// What a check says and expects; `None` for one that only connects.
fn script_of<'a>(scripts: Scripts<'a>, config: &CheckConfig) -> Option<Script<'a>> {
    match config.kind {
        Kind::Syn => Some(Script::syn(config.target)),
        Kind::Tcp { .. } | Kind::Stream(_) | Kind::Datagram(_) | Kind::Errand(_) => {
            Script::read(scripts.get(config.kind.script()?)?, config.target)
        }
    }
}
