//! The `lb` loop: health checks, weights, and the kernel's IPVS table. It
//! decides nothing: it moves bytes and time between the kernel and [`Lb`].

mod command;
mod tick;

pub use command::{LbCommand, LbEnd, LbReply};

use super::board::BoardIn;
use super::datagrams::{self, Datagrams};
use super::link::SlotOut;
use super::outside::Outside;
use super::plan::Watched;
use crate::tls::{Came, Sessions};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use trunnion_core::check::{Action, SocketId};
use trunnion_core::director::ha::TrackState;
use trunnion_core::director::lb::Lb;
use trunnion_core::ipvs;
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;
use trunnion_sys::alloc::{self, SealedThread};
use trunnion_sys::clock::{Clock, TimerFd};
use trunnion_sys::memory::Mapped;
use trunnion_sys::netlink::{self, Inbox, Protocol};
use trunnion_sys::tcp::{Heard, Outcome, Pool, Readiness, Said};

/// Waker's token; the loop's [`mio::Waker`] is made with it.
pub const WAKER: Token = Token(0);
const TIMER: Token = Token(1);
const IPVS: Token = Token(2);
const RUNNER: Token = Token(3);
/// The sockets of datagrams are from here on.
const DATAGRAMS: usize = 4;
/// The check socket with id `i` is `SOCKETS + i`.
const SOCKETS: usize = DATAGRAMS + datagrams::SOCKETS;

/// Times the kernel's replies are read in one turn, a few datagrams each.
const READS_PER_TURN: u32 = 32;
/// Datagrams sent to the kernel in one turn. It works on them meanwhile: a
/// batch of changes takes it up to a millisecond, and the checks wait.
const REQUESTS_PER_TURN: u32 = 16;
/// How long checks' sockets are read in one turn, and the most that a read gives.
const CHECK_READS_SPAN: Duration = Duration::from_millis(5);
const CHECK_READ_BYTES: usize = 16 << 10;
/// Connections begun or ended in one turn.
const PROBES_PER_TURN: u32 = 512;
/// Events taken from the poller at once.
const EVENTS: usize = 1024;
/// Rounds of events read before deadlines are served: after a stall what waits
/// in the sockets is read first, or answers would become timeouts.
const ROUNDS_PER_TURN: u32 = 64;

/// See the module's words.
pub struct LbLoop {
    lb: Lb<'static>,
    end: LbEnd,
    /// The role of the virtual router that the sync daemons follow.
    roles: SlotOut,
    board: BoardIn,
    /// Services whose health is written there, and which health that was.
    watched: Vec<Watched>,
    health: u64,
    poll: Poll,
    timer: TimerFd,
    /// Deadlines wake it at multiples of this.
    tick: Duration,
    armed: Option<Instant>,
    clock: Clock,
    ipvs: netlink::Socket,
    ipvs_ready: bool,
    pool: Pool,
    datagrams: Datagrams,
    outside: Outside,
    request: Mapped<u8>,
    tls: Sessions,
    /// Where a check's socket is read to.
    heard: Mapped<u8>,
    inbox: Inbox,
    /// What was left for the next turn because of a budget.
    more: bool,
    /// Set once a plan was taken: from then on nothing is allocated.
    sealed: Option<SealedThread>,
    /// Whether [`LbReply::Ready`] was said.
    ready: bool,
    turns: u64,
}

impl LbLoop {
    /// Opens what the loop needs.
    ///
    /// # Errors
    /// Those of the sockets; each says which.
    pub fn open(
        lb: Lb<'static>,
        (end, roles): (LbEnd, SlotOut),
        (board, watched): (BoardIn, usize),
        poll: Poll,
        (pool, datagrams, outside): (Pool, Datagrams, Outside),
    ) -> io::Result<Self> {
        let timer = TimerFd::new()?;
        let ipvs = netlink::Socket::open(Protocol::Generic, &[])?;
        let registry = poll.registry();
        for (fd, token) in [
            (timer.as_raw_fd(), TIMER),
            (ipvs.as_raw_fd(), IPVS),
            (outside.as_raw_fd(), RUNNER),
        ] {
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        datagrams.register(registry, DATAGRAMS)?;
        for (SocketId(id), fd) in pool.iter() {
            let token = Token(SOCKETS + id as usize);
            let both = Interest::READABLE | Interest::WRITABLE;
            registry.register(&mut SourceFd(&fd.as_raw_fd()), token, both)?;
        }
        let sockets = pool.len();
        Ok(Self {
            lb,
            end,
            roles,
            board,
            watched: Vec::with_capacity(watched),
            health: 0,
            poll,
            timer,
            tick: Duration::ZERO,
            armed: None,
            clock: Clock::new(),
            ipvs,
            ipvs_ready: false,
            pool,
            datagrams,
            outside,
            request: Mapped::new(ipvs::BATCH_BYTES),
            tls: Sessions::new(sockets),
            heard: Mapped::new(CHECK_READ_BYTES),
            inbox: Inbox::new(ipvs::RECEIVE_BYTES),
            more: false,
            sealed: None,
            ready: false,
            turns: 0,
        })
    }

    /// Runs until told to shut down.
    ///
    /// # Errors
    /// Those of epoll_wait(2) and timerfd_settime(2), which only a broken
    /// process sees.
    pub fn run(mut self: Box<Self>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.wait(&mut events)?;
            // What came before this is read before deadlines are served; of what
            // came while a plan was taken, say, nothing is known yet.
            let looked = self.clock.now();
            self.turns = self.turns.wrapping_add(1);
            self.take_commands();
            if let Some(role) = self.roles.take() {
                self.lb.handle_role(self.clock.now(), role);
            }
            if self.ipvs_ready {
                self.read_ipvs();
            }
            self.read_checks();
            self.more |= self.datagrams.read(&mut self.lb);
            let now = self.clock.now();
            self.more |= self.outside.read(now, &mut self.lb);
            self.lb.handle_timeout(looked);
            self.probe();
            self.send_ipvs();
            self.tell_health();
            let dropped = self.lb.records_dropped();
            let lb = &mut self.lb;
            self.end.pass_records(dropped, || lb.poll_record());
            if !self.ready && self.sealed.is_some() && self.lb.is_ready() {
                self.ready = self.end.say(LbReply::Ready);
            }
            let now = self.clock.now();
            if self.lb.is_finished(now) {
                alloc::unseal();
                self.end.reply(LbReply::Finished);
                return Ok(());
            }
            self.arm()?;
        }
    }

    /// Waits for events and takes all there are.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let mut wait = if self.more {
            Some(Duration::ZERO)
        } else {
            None
        };
        self.more = false;
        for _ in 0..ROUNDS_PER_TURN {
            match self.poll.poll(events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &*events {
                match event.token() {
                    WAKER => {}
                    // Its edge is enough: arming it takes the expiry back.
                    TIMER => {}
                    IPVS => self.ipvs_ready = true,
                    RUNNER => self.outside.handle_event(),
                    Token(token) if token < SOCKETS => {
                        let (readable, error) = (event.is_readable(), event.is_error());
                        self.datagrams
                            .handle_event(token - DATAGRAMS, readable, error);
                    }
                    Token(token) => {
                        let readiness = Readiness {
                            writable: event.is_writable(),
                            error: event.is_error(),
                            hup: event.is_write_closed(),
                        };
                        let readable = event.is_readable() || event.is_read_closed();
                        self.take_event(token - SOCKETS, readiness, readable);
                    }
                }
            }
            // A full harvest may have left some behind.
            if events.iter().count() < EVENTS {
                return Ok(());
            }
            wait = Some(Duration::ZERO);
        }
        self.more = true;
        Ok(())
    }

    fn take_event(&mut self, socket: usize, readiness: Readiness, readable: bool) {
        let Ok(id) = u32::try_from(socket).map(SocketId) else {
            return;
        };
        if self.lb.engine().awaits(id)
            && let Some(outcome) = self.pool.outcome(id, readiness)
        {
            self.tell(id, outcome);
        }
        if self.lb.engine().talks(id) {
            let broken = readiness.error || readiness.hup;
            if readiness.writable && self.tls.is_open(id) {
                // What is broken says so when it is read.
                let _ = self.tls.flush(&mut self.pool, id);
            }
            self.lb
                .handle_ready(id, readable || broken, readiness.writable || broken);
        } else if self.lb.engine().keeps(id) && (readable || readiness.error || readiness.hup) {
            // An edge may be left over from what was read already.
            match self.pool.read(id, &mut self.heard) {
                Heard::Nothing => {}
                Heard::Bytes(_) | Heard::End | Heard::Failed(_) => self.lb.handle_let_go(id),
            }
        }
    }

    /// Reads what came for the checks, a socket after the other.
    fn read_checks(&mut self) {
        let end = self.clock.now() + CHECK_READS_SPAN;
        while self.clock.now() < end {
            let Some(id) = self.lb.poll_read() else {
                return;
            };
            if self.tls.is_open(id) {
                self.read_tls(id);
                continue;
            }
            let heard = self.pool.read(id, &mut self.heard);
            let now = self.clock.now();
            match heard {
                Heard::Bytes(len) => self.lb.handle_bytes(now, id, &self.heard[..len]),
                Heard::Nothing => self.lb.handle_drained(now, id),
                Heard::End => self.lb.handle_end(now, id),
                Heard::Failed(errno) => self.lb.handle_failed(now, id, errno),
            }
        }
        self.more = true;
    }

    /// The same, of a socket that speaks TLS.
    fn read_tls(&mut self, id: SocketId) {
        let came = self.tls.read(&mut self.pool, id);
        let now = self.clock.now();
        match came {
            Came::Plain(len) => self.lb.handle_bytes(now, id, self.tls.plain(len)),
            Came::Secured => {
                let warning_s = self.lb.engine().expiry_warning_s(id);
                if let Some(shown) = self.tls.certificate(id, warning_s.into()) {
                    self.lb.handle_certificate(now, id, shown);
                }
                self.lb.handle_secured(id);
            }
            Came::More => self.lb.handle_ready(id, true, false),
            Came::Nothing => self.lb.handle_drained(now, id),
            Came::End => self.lb.handle_end(now, id),
            Came::Broken(errno) => self.lb.handle_failed(now, id, errno),
            Came::Bad(verdict) => self.lb.handle_verdict(now, id, verdict),
        }
    }

    /// Writes what a check has to say.
    fn say(&mut self, id: SocketId) {
        let now = self.clock.now();
        let Some(bytes) = self.lb.transmit(now, id) else {
            return;
        };
        let said = if self.tls.is_open(id) {
            match self.tls.say(&mut self.pool, id, bytes) {
                Ok(said) => Said::Bytes(said),
                Err(errno) => Said::Failed(errno),
            }
        } else {
            self.pool.write(id, bytes)
        };
        match said {
            Said::Bytes(bytes) => self.lb.handle_sent(now, id, bytes),
            Said::Failed(errno) => self.lb.handle_failed(now, id, errno),
        }
    }

    fn tell(&mut self, id: SocketId, outcome: Outcome) {
        let now = self.clock.now();
        match outcome {
            Outcome::Connected => self.lb.handle_connected(now, id),
            Outcome::Failed(errno) => self.lb.handle_failed(now, id, errno),
            Outcome::InProgress => {}
        }
    }

    /// Tells the HA loop how the services are that it tracks.
    fn tell_health(&mut self) {
        let version = self.lb.health_version();
        if std::mem::replace(&mut self.health, version) == version {
            return;
        }
        for of in &self.watched {
            // What is outstanding changes nothing that is known.
            let state = self.lb.quorum(of.service, of.quorum);
            if state != TrackState::Unknown {
                self.board.put(of.cell, state);
            }
        }
    }

    fn read_ipvs(&mut self) {
        for _ in 0..READS_PER_TURN {
            let received = self.ipvs.receive_all(&mut self.inbox);
            let now = self.clock.now();
            match received {
                Ok(()) => {
                    for datagram in self.inbox.iter() {
                        self.lb.handle_ipvs(now, datagram);
                    }
                    if self.inbox.has_room() {
                        self.ipvs_ready = false;
                        return;
                    }
                }
                Err(netlink::Error::Overrun) => {
                    self.lb.handle_ipvs_lost(now, "replies were lost");
                }
                Err(netlink::Error::Truncated { .. } | netlink::Error::Io(_)) => {
                    self.lb.handle_ipvs_lost(now, "the socket failed");
                    return;
                }
            }
        }
        self.more = true;
    }

    fn probe(&mut self) {
        self.act();
        // Before anything else can end a probe whose datagram waits.
        self.datagrams.flush(&mut self.lb);
        // What came before the request was out makes no event any more.
        self.more |= self.lb.engine().has_unread();
    }

    fn act(&mut self) {
        for _ in 0..PROBES_PER_TURN {
            match self.lb.poll_probe(self.clock.now()) {
                None => return,
                Some(Action::Connect {
                    socket,
                    target,
                    half_open,
                }) => {
                    let outcome = self.pool.connect(socket, target, half_open);
                    self.tell(socket, outcome);
                }
                Some(Action::Secure {
                    socket,
                    target,
                    tls,
                }) => {
                    let begun = self.tls.begin(&mut self.pool, socket, target, tls);
                    if let Err(verdict) = begun {
                        self.lb.handle_verdict(self.clock.now(), socket, verdict);
                    }
                }
                Some(Action::Send { socket }) => self.say(socket),
                Some(Action::Datagram {
                    socket,
                    target,
                    carrier,
                }) => self.datagrams.put((socket, target), carrier, &mut self.lb),
                Some(Action::Errand { socket, target }) => {
                    let now = self.clock.now();
                    self.outside.begin(now, (socket, target), &mut self.lb);
                }
                Some(Action::Disconnect { socket }) => {
                    self.tls.end(socket);
                    // The kernel knows no reason to refuse; a socket that it
                    // refused for all that fails its next connect by name.
                    let _ = self.pool.disconnect(socket);
                }
            }
        }
        self.more = true;
    }

    fn send_ipvs(&mut self) {
        let now = self.clock.now();
        for _ in 0..REQUESTS_PER_TURN {
            let Some(len) = self.lb.poll_ipvs(now, &mut self.request) else {
                return;
            };
            if let Err(error) = self.ipvs.send(&self.request[..len]) {
                let errno = error.raw_os_error().map_or(Errno::EIO, Errno);
                self.lb.handle_ipvs_lost(now, unsent(errno));
                return;
            }
            // The kernel answers inside the send: the reply is there.
            self.ipvs_ready = true;
            self.read_ipvs();
            if self.ipvs_ready {
                return;
            }
        }
        self.more = true;
    }

    fn arm(&mut self) -> io::Result<()> {
        let next = self.lb.poll_timeout().map(|at| at.round_up(self.tick));
        if next != self.armed {
            self.timer.arm(next)?;
            self.armed = next;
        } else if next.is_some_and(|at| at <= self.clock.now()) {
            // The timer has fired and something is still due.
            self.more = true;
        }
        Ok(())
    }
}

const fn unsent(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "a request was refused: CAP_NET_ADMIN is needed",
        Errno::EMSGSIZE => "a request was too long",
        _ => "the kernel did not take a request",
    }
}
