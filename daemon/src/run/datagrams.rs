//! The datagrams of checks: few sockets that all of them share. Moves bytes
//! between those and [`Lb`], which knows whose they are.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use trunnion_core::check::probe::Syn;
use trunnion_core::check::{Carrier, Flights, Local, SocketId, Verdict};
use trunnion_core::director::lb::Lb;
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;
use trunnion_core::wire::tcp::{self, Quoted, SYN_BYTES};
use trunnion_sys::clock::Clock;
use trunnion_sys::datagram::{BATCH, DATAGRAM_BYTES_MAX, Inbox, Outbox, Port, SYN_PORTS};
use trunnion_sys::memory::untouched;
use trunnion_sys::netlink;

/// UDP ports of each family. They take turns, and a probe that no port has free for it
/// waits: so many at once have one target, unless their protocol has ids.
const PORTS: u8 = 4;
/// TCP ports of each family that SYNs leave from. They take turns as well.
const SYN_TURNS: u8 = 4;
const _: () = assert!(SYN_TURNS as usize == SYN_PORTS);
/// Sockets: the UDP ports and the raw ones of each family, and one that is told
/// of routes.
pub const SOCKETS: usize = ROUTES + 1;
const LINES: usize = PORTS as usize + 2;
const ROUTES: usize = 2 * LINES;
/// Where in a family's lines ICMP is, and where SYNs are.
const ICMP: usize = PORTS as usize;
const SYN: usize = ICMP + 1;
const PORT_NUMBERS: [u8; LINES] = [0, 1, 2, 3, 4, 5];
/// What the source addresses of IPv4 follow from: `RTNLGRP_LINK`, `_IPV4_IFADDR`,
/// `_IPV4_ROUTE` and `_IPV4_RULE` (linux/rtnetlink.h).
const ROUTE_GROUPS: [u32; 4] = [1, 5, 7, 8];
/// Room for what is read of them at once. What does not fit is thrown away, as all
/// of it is.
const ROUTE_BYTES: usize = 32 << 10;
/// Batches read from a socket in one turn.
const READS_PER_TURN: u32 = 64;

/// A socket, and what waits to be sent by it.
struct Line {
    /// Or why there is none.
    port: Result<Port, Errno>,
    outbox: Outbox,
    readable: bool,
    refused: bool,
    /// What it had lost when it was looked at last.
    lost: u32,
}

/// Which families half-open checks may be made of by SYNs alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HalfOpens([bool; 2]);

impl HalfOpens {
    /// Whether this one.
    #[must_use]
    pub const fn of(self, family: Family) -> bool {
        let [v4, v6] = self.0;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }
}

/// See the module's words. Allocates nothing once it is made.
pub struct Datagrams {
    lines: [Line; 2 * LINES],
    seats: Range<u32>,
    inbox: Inbox,
    flights: [Flights<'static>; 2],
    syns: [Flights<'static>; 2],
    routes: Option<Routes>,
    clock: Clock,
}

/// Tells when routes or addresses change.
struct Routes {
    socket: netlink::Socket,
    inbox: netlink::Inbox,
    changed: bool,
}

impl Datagrams {
    /// Opens the sockets for probes of these seats, and of about so many targets.
    /// Those that cannot be opened fail what is sent by them.
    pub fn open(seats: Range<u32>, targets: usize, identifier: u16) -> Self {
        let flights = |ports| {
            let flights = untouched(seats.len());
            let lists = vec![0; seats.len()].leak();
            Flights::new((flights, SocketId(seats.start)), lists, ports)
        };
        let routes = netlink::Socket::open(netlink::Protocol::Route, &ROUTE_GROUPS);
        let routes = routes.ok().map(|socket| Routes {
            socket,
            inbox: netlink::Inbox::new(ROUTE_BYTES),
            changed: false,
        });
        // Who is not told of changes remembers nothing.
        let targets = if routes.is_some() { targets } else { 0 };
        let line = |at: usize| {
            let family = [Family::V4, Family::V6][at / LINES];
            let port = match at % LINES {
                ICMP => Port::icmp(family, identifier),
                SYN => Port::syn(family, targets),
                _ => Port::udp(family),
            };
            let port = port.and_then(|port| port.make_room(seats.len()).map(|()| port));
            Line {
                port: port.map_err(|error| errno(&error)),
                outbox: Outbox::new(),
                readable: false,
                refused: false,
                lost: 0,
            }
        };
        Self {
            lines: std::array::from_fn(line),
            seats: seats.clone(),
            inbox: Inbox::new(),
            flights: [flights(PORTS), flights(PORTS)],
            syns: [flights(SYN_TURNS), flights(SYN_TURNS)],
            routes,
            clock: Clock::new(),
        }
    }

    /// Which families have a socket for SYNs.
    pub fn half_opens(&self) -> HalfOpens {
        HalfOpens([SYN, LINES + SYN].map(|at| self.lines[at].port.is_ok()))
    }

    /// Registers the sockets with tokens from `first` on, [`SOCKETS`] of them.
    pub fn register(&self, registry: &Registry, first: usize) -> io::Result<()> {
        for (at, line) in self.lines.iter().enumerate() {
            if let Ok(port) = &line.port {
                let fd = port.as_raw_fd();
                registry.register(&mut SourceFd(&fd), Token(first + at), Interest::READABLE)?;
            }
        }
        if let Some(routes) = &self.routes {
            let fd = routes.socket.as_raw_fd();
            let token = Token(first + ROUTES);
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// An event of the socket registered with `first + at`.
    pub fn handle_event(&mut self, at: usize, readable: bool, error: bool) {
        if let Some(line) = self.lines.get_mut(at) {
            line.readable |= readable;
            line.refused |= error;
        } else if let Some(routes) = &mut self.routes {
            routes.changed = true;
        }
    }

    /// Reads what has come; returns whether some was left.
    pub fn read(&mut self, lb: &mut Lb<'_>) -> bool {
        let mut left = self.read_routes();
        for at in 0..2 * LINES {
            left |= self.read_refusals(at, lb);
            let (unread, lost) = self.read_answers(at, lb);
            if unread || lost {
                self.excuse(at, lb);
            }
            left |= unread;
        }
        left
    }

    /// What is on its way by a line is not blamed for its silence: answers that came
    /// there were lost, or lie unread.
    fn excuse(&self, at: usize, lb: &mut Lb<'_>) {
        let family = at / LINES;
        let (flights, turns) = match at % LINES {
            ICMP => {
                let family = [Family::V4, Family::V6][family];
                for seat in self.seats.clone().map(SocketId) {
                    if lb.engine().pings(seat, family) {
                        lb.handle_lost(seat);
                    }
                }
                return;
            }
            SYN => (&self.syns[family], 0..SYN_TURNS),
            port => {
                let turn = PORT_NUMBERS[port];
                (&self.flights[family], turn..turn + 1)
            }
        };
        for (seat, token) in turns.flat_map(|turn| flights.from(turn)) {
            if lb.engine().seat_of(token) == Some(seat) {
                lb.handle_lost(seat);
            }
        }
    }

    /// What changed is not looked at: the kernel is asked again.
    fn read_routes(&mut self) -> bool {
        let Some(routes) = self.routes.as_mut().filter(|routes| routes.changed) else {
            return false;
        };
        for at in [SYN, LINES + SYN] {
            if let Ok(port) = &mut self.lines[at].port {
                port.forget_sources();
            }
        }
        for _ in 0..READS_PER_TURN {
            match routes.socket.receive_all(&mut routes.inbox) {
                Ok(()) if routes.inbox.has_room() => {
                    routes.changed = false;
                    return false;
                }
                Ok(()) | Err(netlink::Error::Overrun | netlink::Error::Truncated { .. }) => {}
                // There is nothing more to be had from it.
                Err(netlink::Error::Io(_)) => {
                    routes.changed = false;
                    return false;
                }
            }
        }
        true
    }

    fn read_refusals(&mut self, at: usize, lb: &mut Lb<'_>) -> bool {
        let line = &mut self.lines[at];
        let Ok(port) = &line.port else { return false };
        let number = at % LINES;
        let numbers = port.numbers();
        for _ in 0..READS_PER_TURN {
            if !line.refused {
                return false;
            }
            let count = port.receive_errors(&mut self.inbox).unwrap_or(0);
            line.refused = count == BATCH;
            let now = self.clock.now();
            for refusal in self.inbox.refusals() {
                let flies = |seat, token| lb.engine().seat_of(token) == Some(seat);
                let (to, bytes) = (refusal.to, refusal.bytes);
                let seat = if number == SYN {
                    quoted(bytes, &numbers).and_then(|(turn, port)| {
                        let to = SocketAddr::new(to.ip(), port);
                        self.syns[at / LINES].refused(turn, to, bytes, flies)
                    })
                } else {
                    self.flights[at / LINES].refused(PORT_NUMBERS[number], to, bytes, flies)
                };
                match seat {
                    // The kernel has learned how long packets to there may be, and the
                    // next one will not be too long.
                    Some(seat) if refusal.errno == EMSGSIZE => {
                        lb.handle_verdict(now, seat, Verdict::Indeterminate(Local::Other));
                    }
                    Some(seat) => lb.handle_failed(now, seat, refusal.errno),
                    None => {}
                }
            }
        }
        line.refused
    }

    /// Whether some are left, and whether some were lost.
    fn read_answers(&mut self, at: usize, lb: &mut Lb<'_>) -> (bool, bool) {
        let line = &mut self.lines[at];
        let Ok(port) = &line.port else {
            return (false, false);
        };
        let number = at % LINES;
        let numbers = port.numbers();
        let mut overflowed = false;
        for _ in 0..READS_PER_TURN {
            if !line.readable {
                break;
            }
            let count = port.receive(&mut self.inbox).unwrap_or(0);
            line.readable = count == BATCH;
            let now = self.clock.now();
            for answer in self.inbox.answers() {
                let (from, bytes) = (answer.from, answer.bytes);
                if number == ICMP {
                    lb.handle_echo(now, port.family(), from.ip(), bytes);
                    continue;
                }
                let flies = |seat, token| lb.engine().seat_of(token) == Some(seat);
                let arrived = if number == SYN {
                    Syn::came(port.family(), bytes).and_then(|(answer, segment)| {
                        let turn = turn_of(answer.destination_port, &numbers)?;
                        let from = SocketAddr::new(from.ip(), answer.source_port);
                        let seat = self.syns[at / LINES].arrive(turn, from, segment, flies);
                        seat.zip(Some(segment))
                    })
                } else {
                    let turn = PORT_NUMBERS[number];
                    let seat = self.flights[at / LINES].arrive(turn, from, bytes, flies);
                    seat.zip(Some(bytes))
                };
                match arrived {
                    Some((seat, bytes)) => lb.handle_bytes(now, seat, bytes),
                    None => lb.handle_stray(),
                }
            }
            // Only a burst overflows the queue, and a burst fills a batch.
            if count == BATCH {
                let lost = port.lost().unwrap_or(line.lost);
                overflowed |= lost != line.lost;
                line.lost = lost;
            }
        }
        (line.readable, overflowed)
    }

    /// Puts a probe's datagram among those to be sent.
    pub fn put(
        &mut self,
        (seat, target): (SocketId, SocketAddr),
        carrier: Carrier,
        lb: &mut Lb<'_>,
    ) {
        let now = self.clock.now();
        let Some(len) = lb.transmit(now, seat).map(<[u8]>::len) else {
            return;
        };
        if len > DATAGRAM_BYTES_MAX {
            let verdict = Verdict::Indeterminate(Local::Room);
            return lb.handle_verdict(now, seat, verdict);
        }
        let family = usize::from(target.is_ipv6());
        let flights = match carrier {
            Carrier::Icmp => None,
            Carrier::Udp => Some(&mut self.flights[family]),
            Carrier::Syn => Some(&mut self.syns[family]),
        };
        let turn = match (flights, lb.engine().departure(seat)) {
            (None, _) => Some(0),
            (Some(flights), Some((sign, turn, token))) => {
                let flies = |seat, token| lb.engine().seat_of(token) == Some(seat);
                flights.depart((seat, token), target, (sign, turn), flies)
            }
            (Some(_), None) => {
                let verdict = Verdict::Indeterminate(Local::Other);
                return lb.handle_verdict(now, seat, verdict);
            }
        };
        let Some(turn) = turn else {
            return lb.handle_no_port(now, seat);
        };
        let line = match carrier {
            Carrier::Udp => usize::from(turn),
            Carrier::Icmp => ICMP,
            Carrier::Syn => SYN,
        };
        let line = &mut self.lines[family * LINES + line];
        if line.outbox.room().is_none() {
            flush(line, now, lb);
        }
        if carrier == Carrier::Syn {
            return put_syn(line, (seat, target), turn, now, lb);
        }
        let bytes = lb.transmit(now, seat);
        if let (Some(bytes), Some(room)) = (bytes, line.outbox.room()) {
            room[..len].copy_from_slice(bytes);
            let to = match carrier {
                Carrier::Udp => target,
                Carrier::Icmp | Carrier::Syn => SocketAddr::new(target.ip(), 0),
            };
            line.outbox.push(len, to, 0, seat.0.into());
        }
    }

    /// Sends what was put. Must come before anything else may end a probe.
    pub fn flush(&mut self, lb: &mut Lb<'_>) {
        let now = self.clock.now();
        for line in &mut self.lines {
            flush(line, now, lb);
        }
    }
}

/// Puts a SYN among what is to be sent, with what the way out decides.
fn put_syn(
    line: &mut Line,
    (seat, target): (SocketId, SocketAddr),
    turn: u8,
    now: Instant,
    lb: &mut Lb<'_>,
) {
    // One that is not open says why when it is flushed.
    let number = line
        .port
        .as_ref()
        .map_or(0, |port| port.numbers()[usize::from(turn)]);
    let source = match (&mut line.port, target) {
        (Ok(port), SocketAddr::V4(to)) => match port.source(*to.ip()) {
            Ok(source) => Some((source, *to.ip())),
            Err(errno) => return lb.handle_failed(now, seat, errno),
        },
        (Ok(_), SocketAddr::V6(_)) | (Err(_), _) => None,
    };
    let segment = lb
        .transmit(now, seat)
        .and_then(<[u8]>::first_chunk::<SYN_BYTES>);
    let room = line
        .outbox
        .room()
        .and_then(<[u8]>::first_chunk_mut::<SYN_BYTES>);
    if let (Some(segment), Some(room)) = (segment, room) {
        *room = *segment;
        tcp::leave_from(room, number);
        if let Some((source, to)) = source {
            tcp::leave_v4(room, source, to);
        }
        let to = SocketAddr::new(target.ip(), 0);
        let source = source.map(|(source, _)| source);
        line.outbox.push_from(SYN_BYTES, to, source, seat.0.into());
    }
}

/// Which of our ports a number is.
fn turn_of(port: u16, numbers: &[u16; SYN_PORTS]) -> Option<u8> {
    let turns = numbers.iter().zip(0_u8..);
    turns
        .into_iter()
        .find_map(|(number, turn)| (*number == port).then_some(turn))
}

/// Which of our ports a SYN left from that an error quotes, and where it went.
fn quoted(segment: &[u8], numbers: &[u16; SYN_PORTS]) -> Option<(u8, u16)> {
    let quoted = Quoted::parse(segment).ok()?;
    Some((
        turn_of(quoted.source_port, numbers)?,
        quoted.destination_port,
    ))
}

fn flush(line: &mut Line, now: Instant, lb: &mut Lb<'_>) {
    if line.outbox.is_empty() {
        return;
    }
    let Line { port, outbox, .. } = line;
    let mut told = |tag: u64, result| {
        let Ok(seat) = u32::try_from(tag).map(SocketId) else {
            return;
        };
        match result {
            Ok(()) => lb.handle_sent(now, seat, usize::MAX),
            // The buffer for what is sent is full: there is no want of ports.
            Err(EAGAIN) => lb.handle_failed(now, seat, ENOBUFS),
            Err(errno) => lb.handle_failed(now, seat, errno),
        }
    };
    match port {
        Ok(port) => port.send(outbox, told),
        Err(errno) => outbox.drain(|tag| told(tag, Err(*errno))),
    }
}

// errno(3), asm-generic numbers.
const EAGAIN: Errno = Errno(11);
const EMSGSIZE: Errno = Errno(90);
const ENOBUFS: Errno = Errno(105);

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(Errno::EIO.0))
}
