//! Desks: memory for the few probes that need some. Who finds none waits for one,
//! in a queue as for TLS, so that targets that hang starve nobody.

use super::list::NIL;
use super::storage::{Desk, Phase, Socket};
use super::{Engine, SocketId};
use crate::time::Instant;

impl Engine<'_> {
    /// Gives a desk to a socket; whether there was one, and nobody before it.
    pub(super) fn take_desk(&mut self, socket: SocketId) -> bool {
        if self.deskless.len() > 0 {
            return false;
        }
        let Some(desk) = self.free_desks.pop(self.desks, Desk::link, Desk::begin) else {
            return false;
        };
        if let Some(s) = self.sockets.get_mut(socket.index()) {
            s.desk = desk;
        }
        true
    }

    /// Gives desks to those that wait for one.
    pub(super) fn give_desks(&mut self, now: Instant) {
        while self.free_desks.len() > 0
            && let Some(index) = self.deskless.pop(self.sockets, Socket::link)
        {
            let socket = SocketId(index);
            if let Some((id, Phase::Deskless { since })) = self.talker(socket) {
                self.excuse(id, now.since(since));
            }
            let desk = self
                .free_desks
                .pop(self.desks, Desk::link, Desk::begin)
                .unwrap_or(NIL);
            if let Some(s) = self.sockets.get_mut(socket.index()) {
                s.desk = desk;
            }
            self.set_phase(socket, Phase::Due);
            self.outbox.push(self.sockets, socket.0, Socket::link);
        }
    }
}
