//! What the engine keeps of each check and each socket, in the owner's slices.

use super::aside::Aside;
use super::list::{Link, NIL};
use super::manners::{MannerId, MannerSlot, Manners};
use super::pace::Pace;
use crate::check::probe::{Probe, Room, SPEC_KEEP_BYTES_MAX};
use crate::check::{CheckConfig, Health, HealthState, Local, Reason, Verdict};
use crate::time::{self, Duration, Instant, Timer};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A check that runs: its place in the engine's storage. It stays the same
/// across plans for as long as the check's question is asked, and may then name
/// another check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u32);

impl CheckId {
    /// The number as an index into the owner's own tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A socket of the owner's pool, by its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The number as an index into the pool.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The memory of an [`Engine`](super::Engine): how many checks and sockets it
/// has room for. What is in it means nothing, and next to nothing of it is touched
/// before it is needed.
#[derive(Debug)]
pub struct Storage<'s> {
    /// One for each check of the largest plan.
    pub checks: &'s mut [Slot],
    /// One for each check, should all have what few have.
    pub asides: &'s mut [Aside],
    /// One for each check.
    pub timers: &'s mut [time::Slot],
    /// One for each check, should no two be made in the same way.
    pub manners: &'s mut [MannerSlot],
    /// One for each socket of the pool: first the IPv4 ones, then the IPv6 ones,
    /// then the seats of datagrams.
    pub sockets: &'s mut [Socket],
    /// The scripts of the largest plan ([`Scripts`](crate::check::probe::Scripts)).
    pub scripts: &'s mut [u64],
    /// Where a request is written; [`REQUEST_BYTES_MAX`](crate::check::REQUEST_BYTES_MAX).
    pub request: &'s mut [u8],
    /// One for each probe at once that gathers its answer before it reads it.
    pub desks: &'s mut [Desk],
    /// One for each group of checks with a rate of its own.
    pub paces: &'s mut [Pace],
}

/// Room for one check.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) manner: MannerId,
    pub(super) state: State,
    pub(super) health: Health,
    /// What the owner has heard of its health.
    pub(super) told: HealthState,
    /// Whether the owner has heard what it says of its weight.
    pub(super) advice_told: bool,
    /// Whether the certificate it showed last expires soon, and what the owner has
    /// heard of that.
    pub(super) soon: bool,
    pub(super) told_soon: bool,
    /// It fell so often that it is held down.
    pub(super) held: bool,
    /// There is more of it in its [`Aside`].
    pub(super) has_aside: bool,
    /// The health was adopted and no verdict has borne it out.
    pub(super) presumed: bool,
    /// The last verdict that was one, and how long it took.
    pub(super) last: Option<Verdict>,
    /// Why the last failed check failed: a success on the way up does not make
    /// the target's fall a riddle.
    pub(super) reason: Option<Reason>,
    pub(super) latency_us: u32,
    /// Probes begun; the number wraps.
    pub(super) turn: u8,
    /// When the health's state became what it is.
    pub(super) since: Instant,
    /// The socket that stays connected for its next probe.
    pub(super) kept: u32,
    /// Its index in the plan.
    pub(super) plan: u32,
    /// For the plan's entry with this slot's index: the check that runs it. One
    /// for the plan in force, one for the plan being taken.
    pub(super) order: [u32; 2],
    /// In the list of free slots, or of checks that wait for a socket.
    pub(super) link: Link,
    /// In the list of changes the owner has not heard of.
    pub(super) news: Link,
}

// There are as many as there are checks.
const _: () = assert!(size_of::<Slot>() <= 112);

/// Where a check is in its round.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// No check is here.
    Free,
    /// It does not run until it is let go.
    Held,
    /// Until its time comes.
    Idle { due: Instant, timer: Timer },
    /// Its time has come; it was put off, for there are too many. Then it asks the
    /// `next` of its buckets.
    Paced {
        due: Instant,
        at: Instant,
        next: u8,
        timer: Timer,
    },
    /// Its time has come; it waits for a socket.
    Waiting { since: Instant },
    /// The owner was told to connect.
    Probing {
        socket: SocketId,
        started: Instant,
        deadline: Instant,
        timer: Timer,
    },
}

impl Slot {
    /// A slot without a check, to fill storage with.
    pub const EMPTY: Self = Self {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        port: 0,
        manner: MannerId::NONE,
        state: State::Free,
        health: Health::Unknown,
        told: HealthState::Unknown,
        advice_told: true,
        soon: false,
        told_soon: false,
        held: false,
        has_aside: false,
        presumed: false,
        last: None,
        reason: None,
        latency_us: 0,
        turn: 0,
        since: Instant::ZERO,
        kept: NIL,
        plan: NIL,
        order: [NIL; 2],
        link: Link::LOOSE,
        news: Link::LOOSE,
    };

    pub(super) const fn target(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// What it is.
    pub(super) fn config(&self, manners: &Manners<'_>) -> CheckConfig {
        manners.check(self.manner, self.target())
    }

    /// How long the last verdict took.
    pub(super) const fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us as u64)
    }

    /// Begins with what the config says, which the owner knows.
    pub(super) const fn believe(&mut self, initial: HealthState) {
        self.health = match initial {
            HealthState::Unknown => Health::Unknown,
            HealthState::Up => Health::Up,
            // Not down: it was not seen failing, and is checked fast.
            HealthState::Down => Health::GoingUp { successes: 0 },
        };
        self.told = initial;
        self.presumed = !matches!(initial, HealthState::Unknown);
    }

    /// Whether the owner knows what is believed of it.
    pub(super) fn is_told(&self) -> bool {
        self.told == self.health.state() && self.advice_told && self.told_soon == self.soon
    }

    pub(super) const fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(super) const fn news(&mut self) -> &mut Link {
        &mut self.news
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Room for what the engine knows of one socket, or of one seat of datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    pub(super) use_: Use,
    /// In the list of free sockets, of those to disconnect (of which some have a probe), of those that stay
    /// connected, or of those that have something to send.
    pub(super) link: Link,
    /// In the list of those that have something to read.
    pub(super) inbox: Link,
    /// How far the probe is that uses it.
    pub(super) phase: Phase,
    /// What it concludes with, its time being over, if what lies in the socket
    /// unread does not change it.
    pub(super) overdue: Option<Verdict>,
    /// Something came while the request was not sent.
    pub(super) unread: bool,
    /// It has one of the TLS connections.
    pub(super) secured: bool,
    /// Answers to its datagram may be lost on this node.
    pub(super) lost: bool,
    /// An earlier probe left it connected.
    pub(super) reused: bool,
    /// The desk it has, or none.
    pub(super) desk: u32,
    pub(super) probe: Option<Probe>,
}

/// What a socket is in use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing: it can be connected.
    Free,
    /// A check.
    Probe(CheckId),
    /// Nothing, but it stays connected for the next probe of a check.
    Kept(CheckId),
    /// Nothing any more, but the owner has not been told to disconnect it.
    Closing,
}

/// How far a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The owner is to end what it was connected to before, and to connect it then.
    Stale,
    /// The owner connects.
    Connecting,
    /// Connected, it waits for one of the few TLS connections since then.
    Unsecured { since: Instant },
    /// The owner makes the TLS handshake.
    Securing,
    /// It may begin, but for a desk: it waits for one since then.
    Deskless { since: Instant },
    /// It may begin, but for a port: it waits for one since then.
    Portless { since: Instant },
    /// It may begin.
    Due,
    /// The first `sent` of `of` bytes are with the kernel.
    Sending { sent: u32, of: u32, later: bool },
    /// All is sent, and nothing has come.
    Waiting,
    /// Something has come.
    Answering,
}

impl Phase {
    /// What of this node's it waits for, if it does.
    pub const fn lacks(self) -> Option<Local> {
        match self {
            Self::Unsecured { .. } => Some(Local::Tls),
            Self::Deskless { .. } => Some(Local::Desks),
            Self::Portless { .. } => Some(Local::Ports),
            // Without a turn it could not even begin.
            Self::Stale => Some(Local::Sockets),
            Self::Connecting
            | Self::Securing
            | Self::Due
            | Self::Sending { .. }
            | Self::Waiting
            | Self::Answering => None,
        }
    }
}

impl Socket {
    /// A free socket, to fill storage with.
    pub const EMPTY: Self = Self {
        use_: Use::Free,
        link: Link::LOOSE,
        inbox: Link::LOOSE,
        phase: Phase::Connecting,
        overdue: None,
        unread: false,
        secured: false,
        lost: false,
        reused: false,
        desk: NIL,
        probe: None,
    };

    /// Makes a fresh one ready.
    pub(super) const fn begin(&mut self) {
        *self = Self::EMPTY;
    }

    /// The probe that uses it. What a free one has here means nothing.
    pub(super) const fn probe(&self) -> Option<Probe> {
        match self.use_ {
            Use::Probe(_) => self.probe,
            Use::Free | Use::Kept(_) | Use::Closing => None,
        }
    }

    pub(super) const fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(super) const fn inbox(&mut self) -> &mut Link {
        &mut self.inbox
    }
}

impl Default for Socket {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Room for a probe that gathers its answer before it reads it, and that may
/// have more to send than its request. Few need one: gRPC, and DNS over TCP.
#[derive(Clone, Copy, Debug)]
pub struct Desk {
    /// In the list of free desks.
    pub(super) link: Link,
    pub(super) out: [u8; Room::OUT_BYTES],
    pub(super) keep: [u8; SPEC_KEEP_BYTES_MAX],
}

impl Desk {
    /// A free desk, to fill storage with.
    pub const EMPTY: Self = Self {
        link: Link::LOOSE,
        out: [0; Room::OUT_BYTES],
        keep: [0; SPEC_KEEP_BYTES_MAX],
    };

    /// Makes a fresh one ready: what is in it means nothing then either.
    pub(super) const fn begin(&mut self) {
        self.link = Link::LOOSE;
    }

    pub(super) const fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::EMPTY
    }
}
