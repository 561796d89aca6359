//! The `ha` loop: VRRP, virtual addresses, gratuitous ARP and neighbour
//! advertisements. It decides nothing: it moves bytes and time between the
//! kernel and [`Ha`].

mod announce;
mod messages;
mod ports;

pub use messages::{HaCommand, HaReply, Others};

use super::NOTE_ON_CRASH;
use super::link::LoopEnd;
use announce::Frames;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
pub use ports::Port;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use trunnion_core::director::ha::{AdvertOut, Ha, Memory, WARD_WORDS};
use trunnion_core::netlink::Errno;
use trunnion_core::route;
use trunnion_core::time::{Instant, earliest};
use trunnion_sys::alloc::{self, SealedThread};
use trunnion_sys::clock::{Clock, TimerFd};
use trunnion_sys::netlink::{self, Protocol};
use trunnion_sys::slate::{Slate, WORDS};
use trunnion_sys::vrrp::BUFFER_BYTES;
use trunnion_sys::will::Will;

/// The loop's end of the link.
pub type HaEnd = LoopEnd<HaCommand, HaReply>;

/// Waker's token; the loop's [`mio::Waker`] is made with it.
pub const WAKER: Token = Token(0);
const TIMER: Token = Token(1);
const ROUTE: Token = Token(2);
/// Sockets of interface `i` are `PORTS + 2 i` (IPv4) and one more (IPv6).
const PORTS: usize = 3;

/// Packets read from one socket in one turn: deadlines are served between.
const PACKETS_PER_TURN: u32 = 64;
/// How long a takeover waits for packets that were not read yet: longer than it
/// takes to read all that a socket holds, so that what is left is a flood.
const HEARING_MAX: Duration = Duration::from_millis(100);
/// From one attempt to pass notices on to the next.
const RETELL: Duration = Duration::from_millis(10);
/// Datagrams read from rtnetlink, and sent to it, in one turn.
const DATAGRAMS_PER_TURN: u32 = 64;

/// See the module's words.
pub struct HaLoop {
    ha: Ha<'static>,
    end: HaEnd,
    others: Others,
    poll: Poll,
    timer: TimerFd,
    armed: Option<Instant>,
    clock: Clock,
    route: netlink::Socket,
    route_ready: bool,
    ports: Box<[Port]>,
    ports_version: u64,
    /// When to try once more what could not be opened.
    ports_again: Option<Instant>,
    slate: Slate,
    slate_used: usize,
    will: Will,
    will_version: u64,
    memory: Vec<Memory>,
    packet: Box<[u8; BUFFER_BYTES]>,
    datagram: Box<[u8]>,
    frames: Frames,
    /// What was left for the next turn because of a budget.
    more: bool,
    /// Since when there were always packets among that.
    unheard_since: Option<Instant>,
    /// A plan was taken.
    planned: bool,
    /// Set once links and addresses are known: from then on nothing is
    /// allocated.
    sealed: Option<SealedThread>,
    turns: u64,
}

impl HaLoop {
    /// Opens what the loop needs; `memory` is what an earlier run left in
    /// `slate`, and `will` is what the guardian reads.
    ///
    /// # Errors
    /// Those of the sockets; each says which.
    pub fn open(
        ha: Ha<'static>,
        (end, others): (HaEnd, Others),
        poll: Poll,
        interfaces: usize,
        slate: Slate,
        will: Will,
        memory: Vec<Memory>,
    ) -> io::Result<Self> {
        let timer = TimerFd::new()?;
        let route = netlink::Socket::open(Protocol::Route, &route::GROUPS)?;
        let registry = poll.registry();
        for (fd, token) in [(timer.as_raw_fd(), TIMER), (route.as_raw_fd(), ROUTE)] {
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        let mut ports = Vec::new();
        ports.resize_with(interfaces, Port::default);
        Ok(Self {
            ha,
            end,
            others,
            poll,
            timer,
            armed: None,
            clock: Clock::new(),
            route,
            route_ready: true,
            ports: ports.into_boxed_slice(),
            ports_version: 0,
            ports_again: None,
            slate,
            slate_used: 0,
            will,
            will_version: 0,
            memory,
            packet: Box::new([0; BUFFER_BYTES]),
            datagram: vec![0; route::RECEIVE_BYTES].into_boxed_slice(),
            frames: announce::frames(),
            more: false,
            unheard_since: None,
            planned: false,
            sealed: None,
            turns: 0,
        })
    }

    /// Runs until told to shut down.
    ///
    /// # Errors
    /// Those of epoll_wait(2) and timerfd_settime(2), which only a broken
    /// process sees.
    pub fn run(mut self: Box<Self>) -> io::Result<()> {
        self.will.bind()?;
        let mut events = Events::with_capacity(256);
        loop {
            let wait = if self.more {
                Some(Duration::ZERO)
            } else {
                None
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.turns = self.turns.wrapping_add(1);
            self.more = false;
            for event in &events {
                match event.token() {
                    WAKER => {}
                    TIMER => drop(self.timer.ack()?),
                    ROUTE => self.route_ready = true,
                    Token(token) => {
                        let port = (token - PORTS) / 2;
                        self.ports[port].ready[(token - PORTS) % 2] = true;
                    }
                }
            }
            self.take_commands();
            self.others.hear(self.clock.now(), &mut self.ha);
            if self.route_ready {
                self.read_route();
            }
            let all = self.read_packets();
            let now = self.clock.now();
            self.unheard_since = self.unheard_since.filter(|_| !all);
            if !all && now.since(*self.unheard_since.get_or_insert(now)) < HEARING_MAX {
                self.ha.handle_timeout_unheard(now);
            } else {
                self.ha.handle_timeout(now);
            }
            // Before: who says goodbye must not remember being Active, should it
            // die right then.
            self.keep_memory();
            self.send_adverts();
            self.send_route();
            self.send_announcements();
            self.keep_memory();
            self.ha.prepare();
            self.others.tell(self.clock.now(), &mut self.ha);
            self.open_ports();
            let dropped = self.ha.records_dropped();
            let ha = &mut self.ha;
            self.end.pass_records(dropped, || ha.poll_record());
            let now = self.clock.now();
            if self.ha.is_finished(now) {
                alloc::unseal();
                // What is left on an interface is the guardian's to take off.
                let left = self.ha.addresses_left();
                if left == 0 {
                    self.will.dismiss();
                }
                self.end.reply(HaReply::Finished { left });
                return Ok(());
            }
            if self.sealed.is_none() && self.planned && self.ha.is_known() {
                self.sealed = Some(alloc::seal());
            }
            self.arm()?;
        }
    }

    fn take_commands(&mut self) {
        while let Some(command) = self.end.command() {
            let now = self.clock.now();
            let reply = match command {
                HaCommand::Plan(plan) => {
                    let taken = self.ha.handle_plan(now, &plan.plan(), &self.memory);
                    self.planned |= taken.is_ok();
                    if taken.is_ok() {
                        // An earlier run's is for the first plan alone.
                        self.memory.clear();
                        self.will.set_note(NOTE_ON_CRASH, plan.on_crash().word());
                    }
                    HaReply::Plan(plan, taken)
                }
                HaCommand::Fits(plan) => {
                    let fits = self.ha.fits(&plan.plan());
                    HaReply::Fits(plan, fits)
                }
                HaCommand::Snapshot(mut snapshot) => {
                    snapshot.fill(now, &self.ha, self.sealed, self.turns);
                    HaReply::Snapshot(snapshot)
                }
                HaCommand::FailOver(whom, time) => {
                    HaReply::FailedOver(self.ha.handle_failover(now, &whom, now + time))
                }
                HaCommand::FailOverNoMore(whom) => {
                    HaReply::FailedOver(self.ha.handle_failover_over(now, &whom))
                }
                HaCommand::Ping => HaReply::Pong,
                HaCommand::Shutdown => {
                    self.ha.handle_shutdown(now);
                    continue;
                }
            };
            self.end.reply(reply);
        }
    }

    fn read_route(&mut self) {
        // One at least, or a busy node would never come to it; then adverts that
        // are due go first.
        for read in 0..DATAGRAMS_PER_TURN {
            let now = self.clock.now();
            if read > 0 && self.is_pressed(now) {
                break;
            }
            match self.route.receive(&mut self.datagram) {
                Ok(Some(datagram)) => self.ha.handle_route(self.clock.now(), datagram),
                Ok(None) => {
                    self.route_ready = false;
                    return;
                }
                Err(netlink::Error::Overrun) => {
                    let now = self.clock.now();
                    self.ha
                        .handle_route_lost(now, "replies or events were lost");
                }
                Err(netlink::Error::Truncated { .. } | netlink::Error::Io(_)) => {
                    let now = self.clock.now();
                    self.ha.handle_route_lost(now, "the socket failed");
                    return;
                }
            }
        }
        self.more = true;
    }

    /// Hears what came; whether that was all.
    fn read_packets(&mut self) -> bool {
        let Self {
            ha,
            ports,
            packet,
            clock,
            more,
            ..
        } = self;
        let mut all = true;
        let used = ha.interfaces().len();
        for (interface, port) in ports.iter_mut().take(used).enumerate() {
            for (socket, ready) in [&port.v4, &port.v6].into_iter().zip(&mut port.ready) {
                let Some(socket) = socket.as_ref().filter(|_| *ready) else {
                    continue;
                };
                let mut left = PACKETS_PER_TURN;
                // An error such as ENETDOWN is told by a route event as well,
                // and what waits behind it is read in the next turn.
                *ready = loop {
                    match socket.receive(packet) {
                        Ok(Some(received)) => ha.handle_packet(clock.now(), interface, received),
                        Ok(None) => break false,
                        Err(_) => break true,
                    }
                    left -= 1;
                    if left == 0 {
                        break true;
                    }
                };
                all &= !*ready;
            }
        }
        *more |= !all;
        all
    }

    fn send_adverts(&mut self) {
        loop {
            let now = self.clock.now();
            let Some(out) = self.ha.poll_advert(now) else {
                return;
            };
            let result = self.send_advert(&out);
            let now = self.clock.now();
            self.ha.handle_advert_sent(now, out.instance, result);
        }
    }

    fn send_advert(&self, out: &AdvertOut) -> Result<(), Errno> {
        use std::net::IpAddr::{V4, V6};
        let port = &self.ports[out.interface];
        let bytes = self.ha.advert(out.instance);
        if out.framed {
            let speaker = port.speaker.as_ref().ok_or(Errno::ENODEV)?;
            return speaker.send(bytes).map_err(|error| errno(&error));
        }
        let sent = match (out.source, out.destination, &port.v4, &port.v6) {
            (V4(_), V4(to), Some(socket), _) => socket.send_v4(bytes, to),
            (V6(from), V6(to), _, Some(socket)) => socket.send_v6(bytes, from, to),
            (V4(_) | V6(_), ..) => return Err(Errno::ENODEV),
        };
        sent.map_err(|error| errno(&error))
    }

    fn send_route(&mut self) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let now = self.clock.now();
            // Adverts that are due go first.
            if self.is_pressed(now) {
                break;
            }
            let Some(len) = self.ha.poll_route(now, &mut self.datagram) else {
                return;
            };
            if self.route.send(&self.datagram[..len]).is_err() {
                self.ha
                    .handle_route_lost(now, "the kernel did not take a request");
                return;
            }
            // The kernel answers inside the send: the reply is there.
            self.read_route();
        }
        self.more = true;
    }

    /// Writes down what the next run should know, and the guardian before it.
    fn keep_memory(&mut self) {
        self.keep_will();
        while let Some((at, memory)) = self.ha.poll_memory() {
            if let Some(pulse) = self.ha.pulse(at) {
                self.will.set_pulse(at, pulse.word());
            }
            let mut words = [0; WORDS];
            words[..4].copy_from_slice(&memory.words());
            self.slate.write(at, words);
        }
        let used = self.ha.instances().len();
        for at in used..self.slate_used {
            self.slate.clear(at);
        }
        self.slate_used = used;
    }

    fn keep_will(&mut self) {
        let version = self.ha.will_version();
        if version == self.will_version {
            return;
        }
        self.will_version = version;
        let mut draft = self.will.draft();
        for (at, ward) in self.ha.wards().enumerate() {
            // One without an interface keeps its place.
            let words = ward.map_or([0; WARD_WORDS], |ward| ward.words());
            draft.ward(&words, self.ha.pulse(at).map_or(0, |pulse| pulse.word()));
        }
        for address in self.ha.ward_addresses() {
            draft.address(&address.words());
        }
        draft.finish();
    }

    fn arm(&mut self) -> io::Result<()> {
        // The ring was full, and nobody says when it is not any more.
        let tell = self.ha.owes_notices().then(|| self.clock.now() + RETELL);
        let next = earliest(self.ha.poll_timeout(), self.ports_again);
        let next = earliest(next, tell);
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

/// The error number of a failed system call.
fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(Errno::EIO.0))
}
