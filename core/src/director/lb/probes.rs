//! The checks' sockets: what came of them goes to the engine, and what became of
//! a target's health to the weights.

use super::Lb;
use crate::check::probe::outside::{Errand, Outcome};
use crate::check::{Action, Certificate, Engine, SocketId, Verdict, said};
use crate::model::Family;
use crate::netlink::Errno;
use crate::time::Instant;
use core::net::IpAddr;

impl Lb<'_> {
    /// A check's socket is connected.
    pub fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        self.engine.handle_connected(now, socket);
        self.take_changes(now);
    }

    /// The TLS handshake of a check's socket is done.
    pub fn handle_secured(&mut self, socket: SocketId) {
        self.engine.handle_secured(socket);
    }

    /// The certificate that a check's target has shown.
    pub fn handle_certificate(&mut self, now: Instant, socket: SocketId, shown: Certificate) {
        self.engine.handle_certificate(socket, shown);
        self.take_changes(now);
    }

    /// A check's socket, or a datagram of it, failed.
    pub fn handle_failed(&mut self, now: Instant, socket: SocketId, errno: Errno) {
        self.engine.handle_failed(now, socket, errno);
        self.take_changes(now);
    }

    /// A check's socket may be readable or writable.
    pub fn handle_ready(&mut self, socket: SocketId, readable: bool, writable: bool) {
        self.engine.handle_ready(socket, readable, writable);
    }

    /// A socket that stayed connected has something to read, or is broken.
    pub fn handle_let_go(&mut self, socket: SocketId) {
        self.engine.handle_let_go(socket);
    }

    /// A socket to read from once.
    pub fn poll_read(&mut self) -> Option<SocketId> {
        self.engine.poll_read()
    }

    /// Bytes were read from a check's socket, or a datagram is its answer.
    pub fn handle_bytes(&mut self, now: Instant, socket: SocketId, bytes: &[u8]) {
        self.engine.handle_bytes(now, socket, bytes);
        self.take_changes(now);
    }

    /// A check's socket has nothing more to read.
    pub fn handle_drained(&mut self, now: Instant, socket: SocketId) {
        self.engine.handle_drained(now, socket);
        self.take_changes(now);
    }

    /// The target ended the stream.
    pub fn handle_end(&mut self, now: Instant, socket: SocketId) {
        self.engine.handle_end(now, socket);
        self.take_changes(now);
    }

    /// What the owner found out by itself about a check under way.
    pub fn handle_verdict(&mut self, now: Instant, socket: SocketId, verdict: Verdict) {
        self.engine.handle_verdict(now, socket, verdict);
        self.take_changes(now);
    }

    /// What to write to a check's socket, or to send by datagram; how much of it
    /// the kernel took is for [`Self::handle_sent`].
    pub fn transmit(&mut self, now: Instant, socket: SocketId) -> Option<&[u8]> {
        let given = self.engine.transmit(now, socket).is_some();
        // One that has nothing to send may be over.
        self.take_changes(now);
        given.then_some(())?;
        self.engine.transmit(now, socket)
    }

    /// The kernel took so many bytes.
    pub fn handle_sent(&mut self, now: Instant, socket: SocketId, bytes: usize) {
        self.engine.handle_sent(now, socket, bytes);
        self.take_changes(now);
    }

    /// A packet of a raw ICMP socket.
    pub fn handle_echo(&mut self, now: Instant, family: Family, from: IpAddr, packet: &[u8]) {
        self.engine.handle_echo(now, family, from, packet);
        self.take_changes(now);
    }

    /// A datagram that nobody waits for.
    pub const fn handle_stray(&mut self) {
        self.engine.handle_stray();
    }

    /// Datagrams were lost on this node, or lie unread, and one of them may be for
    /// this seat.
    pub fn handle_lost(&mut self, seat: SocketId) {
        self.engine.handle_lost(seat);
    }

    /// No port is free for the datagram of this seat: it is asked for again.
    pub fn handle_no_port(&mut self, now: Instant, seat: SocketId) {
        self.engine.handle_no_port(now, seat);
    }

    /// What an errand is, its name, and when its time is over.
    pub fn errand(
        &mut self,
        now: Instant,
        socket: SocketId,
    ) -> Option<([u8; 8], Instant, Errand<'_>)> {
        let given = self.engine.errand(now, socket).is_some();
        self.take_changes(now);
        given.then_some(())?;
        self.engine.errand(now, socket)
    }

    /// What came of an errand, and what a command printed: that is in the log when
    /// the target begins to fail, and when it goes down.
    pub fn handle_outcome(
        &mut self,
        now: Instant,
        socket: SocketId,
        outcome: &Outcome<'_>,
        output: &[u8],
    ) {
        let check = self.engine.probed_by(socket);
        let status = |engine: &Engine<'_>| check.and_then(|check| engine.status(check));
        let before = status(&self.engine);
        self.engine.handle_outcome(now, socket, outcome);
        if let (Some(before), Some(after)) = (before, status(&self.engine))
            && let Some(Verdict::Failure(_)) = after.last
            && (before.last, before.health.state()) != (after.last, after.health.state())
        {
            said::log(now, after.config.target, output, &mut self.log);
        }
        self.take_changes(now);
    }

    /// What a check wants done with its socket.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Action> {
        self.engine.poll_action(now)
    }
}
