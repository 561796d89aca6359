//! What the engine keeps of each check and each socket, in the owner's slices.

use super::list::{Link, NIL};
use crate::check::{CheckConfig, Health, HealthState, Kind, Reason, Verdict};
use crate::time::{self, Duration, Instant, Timer};
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

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
/// has room for.
#[derive(Debug)]
pub struct Storage<'s> {
    /// One for each check of the largest plan.
    pub checks: &'s mut [Slot],
    /// One for each check.
    pub timers: &'s mut [time::Slot],
    /// One for each socket of the pool: first the IPv4 ones, then the IPv6 ones.
    pub sockets: &'s mut [Socket],
}

/// Room for one check.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub(super) config: CheckConfig,
    pub(super) state: State,
    pub(super) health: Health,
    /// What the owner has heard of its health.
    pub(super) told: HealthState,
    /// The health was adopted and no verdict has borne it out.
    pub(super) presumed: bool,
    /// The last verdict that was one, and how long it took.
    pub(super) last: Option<Verdict>,
    /// Why the last failed check failed: a success on the way up does not make
    /// the target's fall a riddle.
    pub(super) reason: Option<Reason>,
    pub(super) latency: Duration,
    /// When the health's state became what it is.
    pub(super) since: Instant,
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

/// Where a check is in its round.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// No check is here.
    Free,
    /// Until its time comes.
    Idle { due: Instant, timer: Timer },
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
        config: CheckConfig::new(
            Kind::Tcp { half_open: false },
            SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
        ),
        state: State::Free,
        health: Health::Unknown,
        told: HealthState::Unknown,
        presumed: false,
        last: None,
        reason: None,
        latency: Duration::ZERO,
        since: Instant::ZERO,
        plan: NIL,
        order: [NIL; 2],
        link: Link::LOOSE,
        news: Link::LOOSE,
    };

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

/// Room for what the engine knows of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    pub(super) use_: Use,
    /// In the list of free sockets, or of those to disconnect.
    pub(super) link: Link,
}

/// What a socket is in use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing: it can be connected.
    Free,
    /// A check.
    Probe(CheckId),
    /// Nothing any more, but the owner has not been told to disconnect it.
    Closing,
}

impl Socket {
    /// A free socket, to fill storage with.
    pub const EMPTY: Self = Self {
        use_: Use::Free,
        link: Link::LOOSE,
    };

    pub(super) const fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Default for Socket {
    fn default() -> Self {
        Self::EMPTY
    }
}
