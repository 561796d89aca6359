//! Connections that stay from one probe of a check to the next, where its script
//! asks for that (HTTP's keep-alive) and the last answer came whole.
//!
//! The target may end such a connection whenever it likes: that is no failure, but
//! a connection is made at once in its place, in the same probe. One that says
//! nothing at all, in all the time there is, may be cut somewhere on the way: that is
//! no verdict, and the next probe has a connection of its own. Sockets are as few as
//! ever: one that stays connected is taken when another check has none, the newest,
//! for it is not needed before the others are.

use super::list::NIL;
use super::storage::{Phase, Socket, Use};
use super::{CheckId, Engine, Lane, SocketId, State, Verdict};
use crate::time::Instant;

impl Engine<'_> {
    /// Whether a socket stays connected for a probe to come. When there is something
    /// to read in it, say [`handle_let_go`](Self::handle_let_go): nobody waits for it.
    #[must_use]
    pub fn keeps(&self, socket: SocketId) -> bool {
        let held = self.sockets.get(socket.index());
        held.is_some_and(|s| matches!(s.use_, Use::Kept(_)))
    }

    /// A socket that stayed connected is of no use any more: the target has ended
    /// the connection, or says what nobody asked for.
    pub fn handle_let_go(&mut self, socket: SocketId) {
        match self.sockets.get(socket.index()).map(|s| s.use_) {
            Some(Use::Kept(id)) => self.let_go(id),
            Some(Use::Free | Use::Probe(_) | Use::Closing) | None => self.stray(),
        }
    }

    /// Whether a probe's connection is to stay: with this verdict, and nothing left
    /// to read.
    pub(super) fn is_to_keep(&self, id: CheckId, verdict: Verdict) -> bool {
        let Some(State::Probing { socket, .. }) = self.running(id).map(|slot| slot.state) else {
            return false;
        };
        let Some(held) = self.sockets.get(socket.index()) else {
            return false;
        };
        let quiet = !held.unread && !held.inbox.is_linked() && !held.secured;
        let Some(probe) = held.probe.filter(|_| quiet) else {
            return false;
        };
        let asks = self.with_script(socket, |script| Some(probe.is_reusable(&script.spec())));
        asks == Some(true) && !matches!(verdict, Verdict::Indeterminate(_))
    }

    /// A probe is over, and its connection stays.
    pub(super) fn keep(&mut self, id: CheckId, socket: SocketId) {
        let lane = self.lane_of(socket).index();
        if let (Some(held), Some(slot), Some(kept)) = (
            self.sockets.get_mut(socket.index()),
            self.slots.get_mut(id.index()),
            self.kept.get_mut(lane),
        ) {
            (held.use_, slot.kept) = (Use::Kept(id), socket.0);
            kept.push(self.sockets, socket.0, Socket::link);
        }
    }

    /// A check's connection does not stay, if there is one.
    pub(super) fn let_go(&mut self, id: CheckId) {
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return;
        };
        let socket = SocketId(core::mem::replace(&mut slot.kept, NIL));
        if socket.0 == NIL {
            return;
        }
        let lane = self.lane_of(socket).index();
        if let Some(kept) = self.kept.get_mut(lane) {
            kept.remove(self.sockets, socket.0, Socket::link);
        }
        self.close(socket);
    }

    /// The connection that stays since the shortest time does not; `None` where none
    /// does.
    pub(super) fn let_go_newest(&mut self, lane: usize) -> Option<()> {
        let newest = self.kept.get(lane)?.last()?;
        match self.sockets.get(newest as usize)?.use_ {
            Use::Kept(id) => self.let_go(id),
            Use::Free | Use::Probe(_) | Use::Closing => return None,
        }
        Some(())
    }

    /// Has the owner disconnect a socket that is in no list.
    pub(super) fn close(&mut self, socket: SocketId) {
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            s.use_ = Use::Closing;
        }
        self.closing.push(self.sockets, socket.0, Socket::link);
    }

    /// Whether a probe goes by a connection that stayed, and has heard nothing yet:
    /// what becomes of it says nothing of the target.
    pub(super) fn is_unheard(&self, socket: SocketId) -> bool {
        let Some(held) = self.sockets.get(socket.index()) else {
            return false;
        };
        let begins = match held.phase {
            Phase::Due | Phase::Sending { later: false, .. } | Phase::Waiting => true,
            Phase::Stale
            | Phase::Connecting
            | Phase::Unsecured { .. }
            | Phase::Deskless { .. }
            | Phase::Portless { .. }
            | Phase::Securing
            | Phase::Sending { later: true, .. }
            | Phase::Answering => false,
        };
        held.reused && begins
    }

    /// The connection that stayed is gone: the probe goes on with another one of the
    /// same socket, and its time begins anew, once: what was left of it may be too
    /// little for a connection.
    pub(super) fn connect_anew(&mut self, now: Instant, id: CheckId, socket: SocketId) {
        self.counters.reconnected = self.counters.reconnected.saturating_add(1);
        self.leave(socket);
        if let Some(State::Probing { started, .. }) = self.running(id).map(|slot| slot.state) {
            self.excuse(id, now.since(started));
        }
        self.go_on(id, socket);
    }

    /// Takes a socket of a lane for a probe, a free one or one that stays connected,
    /// and goes on by it. `false` where there is none.
    pub(super) fn go_on_by(&mut self, id: CheckId, lane: Lane) -> bool {
        let idle = self.idle.get_mut(lane.index());
        if let Some(free) =
            idle.and_then(|idle| idle.pop(self.sockets, Socket::link, Socket::begin))
        {
            self.move_to(id, free);
            return true;
        }
        if self.let_go_newest(lane.index()).is_none() {
            return false;
        }
        // It was let go just now.
        let Some(socket) = self.closing.last().map(SocketId) else {
            return false;
        };
        self.closing.remove(self.sockets, socket.0, Socket::link);
        self.go_on(id, socket);
        true
    }

    /// Goes on with a probe by a socket that is connected and in no list: the owner
    /// disconnects it first.
    fn go_on(&mut self, id: CheckId, socket: SocketId) {
        self.move_to(id, socket.0);
        self.outbox.remove(self.sockets, socket.0, Socket::link);
        self.set_phase(socket, Phase::Stale);
        self.closing.push(self.sockets, socket.0, Socket::link);
    }
}
