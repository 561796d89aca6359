//! The datagrams of checks: few sockets that all of them share. Moves bytes
//! between those and [`Lb`], which knows whose they are.

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use trunnion_core::check::{Carrier, Flight, Flights, Local, SocketId, Verdict};
use trunnion_core::director::lb::Lb;
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;
use trunnion_sys::clock::Clock;
use trunnion_sys::datagram::{BATCH, DATAGRAM_BYTES_MAX, Inbox, Outbox, Port};

/// UDP ports of each family. They take turns, and a probe that no port has free is
/// not made: so many at once have one target, unless their protocol has ids.
const PORTS: u8 = 4;
/// Sockets: the UDP ports and the raw one of each family.
pub const SOCKETS: usize = 2 * LINES;
const LINES: usize = PORTS as usize + 1;
/// Where in a family's lines ICMP is.
const ICMP: usize = PORTS as usize;
const PORT_NUMBERS: [u8; LINES] = [0, 1, 2, 3, 4];
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

/// See the module's words. Allocates nothing once it is made.
pub struct Datagrams {
    lines: [Line; SOCKETS],
    inbox: Inbox,
    flights: [Flights<'static>; 2],
    clock: Clock,
}

impl Datagrams {
    /// Opens the sockets for probes of these seats. Those that cannot be opened fail what is sent by them.
    pub fn open(seats: Range<u32>, identifier: u16) -> Self {
        let flights = || {
            let flights: &'static mut [Flight] = vec![Flight::EMPTY; seats.len()].leak();
            let lists = vec![0; seats.len()].leak();
            Flights::new((flights, SocketId(seats.start)), lists, PORTS)
        };
        let line = |at: usize| {
            let family = [Family::V4, Family::V6][at / LINES];
            let port = if at % LINES == ICMP {
                Port::icmp(family, identifier)
            } else {
                Port::udp(family)
            };
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
            inbox: Inbox::new(),
            flights: [flights(), flights()],
            clock: Clock::new(),
        }
    }

    /// Registers the sockets with tokens from `first` on, [`SOCKETS`] of them.
    pub fn register(&self, registry: &Registry, first: usize) -> io::Result<()> {
        for (at, line) in self.lines.iter().enumerate() {
            if let Ok(port) = &line.port {
                let fd = port.as_raw_fd();
                registry.register(&mut SourceFd(&fd), Token(first + at), Interest::READABLE)?;
            }
        }
        Ok(())
    }

    /// An event of the socket registered with `first + at`.
    pub fn handle_event(&mut self, at: usize, readable: bool, error: bool) {
        if let Some(line) = self.lines.get_mut(at) {
            line.readable |= readable;
            line.refused |= error;
        }
    }

    /// Reads what has come; returns whether some was left.
    pub fn read(&mut self, lb: &mut Lb<'_>) -> bool {
        let mut left = false;
        for at in 0..SOCKETS {
            left |= self.read_refusals(at, lb);
            left |= self.read_answers(at, lb);
        }
        left
    }

    fn read_refusals(&mut self, at: usize, lb: &mut Lb<'_>) -> bool {
        let line = &mut self.lines[at];
        let Ok(udp) = &line.port else { return false };
        let flights = &self.flights[at / LINES];
        let number = PORT_NUMBERS[at % LINES];
        for _ in 0..READS_PER_TURN {
            if !line.refused {
                return false;
            }
            let count = udp.receive_errors(&mut self.inbox).unwrap_or(0);
            line.refused = count == BATCH;
            let now = self.clock.now();
            for refusal in self.inbox.refusals() {
                let flies = |seat, token| lb.engine().seat_of(token) == Some(seat);
                let seat = flights.refused(number, refusal.to, refusal.bytes, flies);
                if let Some(seat) = seat {
                    lb.handle_failed(now, seat, refusal.errno);
                }
            }
        }
        line.refused
    }

    fn read_answers(&mut self, at: usize, lb: &mut Lb<'_>) -> bool {
        let line = &mut self.lines[at];
        let Ok(port) = &line.port else { return false };
        let flights = &self.flights[at / LINES];
        let number = at % LINES;
        for _ in 0..READS_PER_TURN {
            if !line.readable {
                return false;
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
                match flights.arrive(PORT_NUMBERS[number], from, bytes, flies) {
                    Some(seat) => lb.handle_bytes(now, seat, bytes),
                    None => lb.handle_stray(),
                }
            }
            // Only a burst overflows the queue, and a burst fills a batch.
            if count == BATCH {
                let lost = port.lost().unwrap_or(line.lost);
                if lost != line.lost {
                    line.lost = lost;
                    lb.handle_lost(now);
                }
            }
        }
        line.readable
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
        let line = match carrier {
            Carrier::Icmp => Some(ICMP),
            Carrier::Udp => lb.engine().departure(seat).and_then(|(sign, token)| {
                let flies = |seat, token| lb.engine().seat_of(token) == Some(seat);
                let port = self.flights[family].depart((seat, token), target, sign, flies);
                port.map(usize::from)
            }),
        };
        let Some(line) = line else {
            let verdict = Verdict::Indeterminate(Local::Ports);
            return lb.handle_verdict(now, seat, verdict);
        };
        let line = &mut self.lines[family * LINES + line];
        if line.outbox.room().is_none() {
            flush(line, now, lb);
        }
        let bytes = lb.transmit(now, seat);
        if let (Some(bytes), Some(room)) = (bytes, line.outbox.room()) {
            room[..len].copy_from_slice(bytes);
            let to = match carrier {
                Carrier::Icmp => SocketAddr::new(target.ip(), 0),
                Carrier::Udp => target,
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
        for flights in &mut self.flights {
            flights.turn();
        }
    }
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
const ENOBUFS: Errno = Errno(105);

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(Errno::EIO.0))
}
