//! What goes into an engine and comes out of it, besides reports.

use super::SocketId;
use crate::check::probe::TlsId;
use crate::check::{Advised, Certificate, CheckConfig, Health, Verdict};
use crate::time::{Duration, Instant};
use core::net::SocketAddr;

/// How an engine is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Grain of the timer wheel, nanoseconds.
    pub tick_ns: u64,
    /// How many of the sockets are IPv4; what is between them and the seats is
    /// IPv6.
    pub sockets_v4: u32,
    /// How many at the end are no sockets, but seats: probes by datagrams that
    /// may be under way at once, by way of sockets that they share.
    pub seats: u32,
    /// How many behind those are seats of commands and files.
    pub errands: u32,
    /// TLS connections that may be open at once.
    pub tls: u32,
    /// A timeout served so much after its deadline is no verdict: the answer
    /// may lie in a queue that this node was too late to read.
    pub late_margin: Duration,
    /// Starts of checks in a second, taken together; 0 is no limit.
    pub checks_per_second: u32,
    /// Moves all phases, so that two nodes do not probe in step.
    pub seed: u64,
    /// Bytes that nobody can guess, from the system's generator: tokens are made
    /// of them.
    pub secret: [u64; 2],
}

/// What carries datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// UDP.
    Udp,
    /// ICMP or ICMPv6 echo, by a raw socket.
    Icmp,
    /// The SYN of a connection, by a raw socket of TCP. What leaves a port of its
    /// own still wants that ([`leave_from`](crate::wire::tcp::leave_from)), and
    /// over IPv4 a checksum.
    Syn,
}

/// What the owner should do to its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect a socket that is disconnected. Answer with
    /// [`handle_connected`](super::Engine::handle_connected) or
    /// [`handle_failed`](super::Engine::handle_failed), now or when it
    /// becomes ready.
    Connect {
        /// Which, of the target's family.
        socket: SocketId,
        /// Where to.
        target: SocketAddr,
        /// Leave the handshake half done where the kernel can.
        half_open: bool,
    },
    /// A connected socket is to speak TLS: make the handshake, and say
    /// [`handle_secured`](super::Engine::handle_secured), or
    /// [`handle_verdict`](super::Engine::handle_verdict) what was wrong with it.
    /// From then on the bytes told of are the plain ones.
    /// [`poll_read`](super::Engine::poll_read) gives it turns, at once if something
    /// has come while it waited.
    Secure {
        /// Which.
        socket: SocketId,
        /// Where to.
        target: SocketAddr,
        /// How.
        tls: TlsId,
    },
    /// A connected socket may have something to send: write what
    /// [`transmit`](super::Engine::transmit) gives.
    Send {
        /// Which.
        socket: SocketId,
    },
    /// Send the datagram that [`transmit`](super::Engine::transmit) gives, by a
    /// socket that many probes share. What comes back that is an answer to it
    /// goes to [`handle_bytes`](super::Engine::handle_bytes), an error about it
    /// to [`handle_failed`](super::Engine::handle_failed), both with this seat:
    /// [`seat_of`](super::Engine::seat_of) finds it by what an answer carries.
    Datagram {
        /// The probe's seat.
        socket: SocketId,
        /// Where to.
        target: SocketAddr,
        /// By what.
        carrier: Carrier,
    },
    /// Give what [`errand`](super::Engine::errand) says to whoever runs commands
    /// and reads files. What comes of it goes to
    /// [`handle_outcome`](super::Engine::handle_outcome).
    Errand {
        /// The check's seat.
        socket: SocketId,
        /// What `{address}` and `{port}` stand for.
        target: SocketAddr,
    },
    /// Disconnect a socket, whatever came of its connection. It must be
    /// connectable when the call is done.
    Disconnect {
        /// Which.
        socket: SocketId,
    },
}

/// A check as `show` and metrics see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub config: CheckConfig,
    /// Its index in the plan.
    pub plan: u32,
    /// What is believed of its target.
    pub health: Health,
    /// That belief was adopted, or is what the config begins with, and no verdict
    /// has borne it out yet.
    pub presumed: bool,
    /// It falls so often that it is held down; it comes up when it has been
    /// quiet for long enough.
    pub held: bool,
    /// What it says of its own weight.
    pub advised: Advised,
    /// The certificate it showed last.
    pub certificate: Option<Certificate>,
    /// When the health's [`state`](Health::state) became what it is.
    pub since: Instant,
    /// The last verdict, other than indeterminate ones.
    pub last: Option<Verdict>,
    /// How long the probe of that verdict took.
    pub latency: Duration,
    /// The status of its HTTP response, if one came so far.
    pub http_status: Option<u16>,
}

/// How much of what there is of each kind is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Probes in flight.
    pub in_flight: u32,
    /// Checks whose time has come and that wait for a socket.
    pub waiting: u32,
    /// Rooms to gather an answer in, used and all there are: for gRPC and DNS over
    /// TCP. A target that hangs keeps one until its time is over.
    pub desks: (u32, u32),
    /// TLS connections, open and all that may be.
    pub tls: (u32, u32),
    /// Sockets that stay connected from one probe to the next.
    pub kept: u32,
}
