//! What a check is: a target, a way to probe it, and its times.

use super::probe::ScriptId;
use super::{CheckPolicy, Limits};
use crate::model::Family;
use core::cmp::Ordering;
use core::hash::{Hash, Hasher};
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;

/// A host name whose address is a check's target, by a number that the owner
/// gives to each name, of one family, while anybody asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u16);

impl NameId {
    /// No name: the target is an address that does not change.
    pub const NONE: Self = Self(0);
}

/// How a target is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A TCP connection is made and reset at once.
    Tcp {
        /// The handshake stays half done where the kernel can
        /// (`TCP_DEFER_ACCEPT`, tcp(7)): a third less work and no accept on the
        /// target. Some hosts and firewalls log such probes.
        half_open: bool,
    },
    /// A SYN is sent by a raw socket, and what comes back decides. The kernel,
    /// which knows of no connection, resets it: three packets, a batch of them for
    /// each system call, no socket and no accept on the target. One SYN: what is
    /// lost is not sent again.
    Syn,
    /// A TCP connection is made, and a script played on it.
    Stream(ScriptId),
    /// A script is played in datagrams.
    Datagram(ScriptId),
    /// A script is given to somebody else, who tells what came of it.
    Errand(ScriptId),
}

/// What a check needs to be under way, each from a pool of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A TCP socket of the family.
    Stream(Family),
    /// A seat: datagrams of many checks go through one socket.
    Datagram,
    /// A seat among the few that commands and files have.
    Errand,
}

impl Lane {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// Its place in a table.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Stream(Family::V4) => 0,
            Self::Stream(Family::V6) => 1,
            Self::Datagram => 2,
            Self::Errand => 3,
        }
    }
}

/// What of a kind makes two checks of one target ask the same question: not
/// how the handshake goes.
#[derive(PartialEq, Eq, Hash)]
enum Question {
    Connects,
    Stream(ScriptId),
    Datagram(ScriptId),
    Errand(ScriptId),
}

impl Kind {
    const fn question(self) -> Question {
        match self {
            Self::Tcp { half_open: _ } | Self::Syn => Question::Connects,
            Self::Stream(script) => Question::Stream(script),
            Self::Datagram(script) => Question::Datagram(script),
            Self::Errand(script) => Question::Errand(script),
        }
    }

    /// Its script; one that only connects has none.
    #[must_use]
    pub const fn script(self) -> Option<ScriptId> {
        match self {
            Self::Tcp { half_open: _ } | Self::Syn => None,
            Self::Stream(script) | Self::Datagram(script) | Self::Errand(script) => Some(script),
        }
    }
}

/// A check. Two that are equal are one: it runs once, whoever asks for it.
///
/// The order is by target and kind first, so that what probes one thing lies
/// together. Where the target is a name's address, all checks of the name have
/// the same, and the order among them is the same whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckConfig {
    /// The name that `target` has its address from.
    pub name: NameId,
    /// Address and port that are probed. Of a name that is not known to have an
    /// address it is the unspecified one, and nothing is probed. An IPv6 one's scope
    /// and flow label are not kept.
    pub target: SocketAddr,
    /// How.
    pub kind: Kind,
    /// From one check to the next while the target is up.
    pub interval: Duration,
    /// The same in transition: after the first success or failure that counts
    /// towards a change, or before anything is known.
    pub fast_interval: Duration,
    /// The same while the target is down.
    pub down_interval: Duration,
    /// How long a target may take to answer.
    pub timeout: Duration,
    /// Successes in a row that bring a target up that was down; 0 is 1.
    pub rise: u8,
    /// Failures in a row that take a target down that was up; 0 is 1.
    pub fall: u8,
    /// What else verdicts lead to, and how the times stretch.
    pub policy: CheckPolicy,
}

/// All of a check but its target: whoever keeps many checks keeps few of these,
/// each for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Manner(
    /// With nobody as its target.
    CheckConfig,
);

impl Manner {
    const NOBODY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

    /// A TCP check at the default times.
    pub(super) const DEFAULT: Self = Self(CheckConfig::new(
        Kind::Tcp { half_open: false },
        Self::NOBODY,
    ));

    /// The manner of a check.
    #[must_use]
    pub const fn of(config: &CheckConfig) -> Self {
        Self(CheckConfig {
            target: Self::NOBODY,
            ..*config
        })
    }

    /// The check of a target in this manner.
    #[must_use]
    pub const fn check(&self, target: SocketAddr) -> CheckConfig {
        CheckConfig { target, ..self.0 }
    }
}

impl CheckConfig {
    /// The least interval and timeout; what is less (0 as well) becomes this.
    pub const INTERVAL_MIN: Duration = Duration::from_millis(1);

    /// A check every 5 s with a timeout of 3 s, 2 to rise and 3 to fall.
    #[must_use]
    pub const fn new(kind: Kind, target: SocketAddr) -> Self {
        Self {
            name: NameId::NONE,
            target,
            kind,
            interval: Duration::from_secs(5),
            fast_interval: Duration::from_secs(1),
            down_interval: Duration::from_secs(5),
            timeout: Duration::from_secs(3),
            rise: 2,
            fall: 3,
            policy: CheckPolicy::DEFAULT,
        }
    }

    /// Family of the target.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self.target {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) => Family::V6,
        }
    }

    /// What it needs to be under way.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self.kind {
            Kind::Tcp { half_open: _ } | Kind::Stream(_) => Lane::Stream(self.family()),
            Kind::Syn | Kind::Datagram(_) => Lane::Datagram,
            Kind::Errand(_) => Lane::Errand,
        }
    }

    /// Rise and fall.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            rise: self.rise,
            fall: self.fall,
        }
    }

    /// Whether both ask the same question: one may take the other's place in a
    /// reload and keep what is known. The question of a name is the same when it
    /// has moved to another address.
    #[must_use]
    pub fn same_question(&self, other: &Self) -> bool {
        let (name, target) = (self.name, self.moved_with(other).target);
        name == other.name
            && target == other.target
            && self.kind.question() == other.kind.question()
    }

    /// Whether its target is a name that has no address yet.
    #[must_use]
    pub fn is_unresolved(&self) -> bool {
        self.name != NameId::NONE && self.target.ip().is_unspecified()
    }

    /// The order of checks, by what they ask: where a name has its address does
    /// not matter.
    pub(super) fn cmp_question(&self, other: &Self) -> Ordering {
        if self.same_question(other) {
            Ordering::Equal
        } else {
            self.moved_with(other).cmp(other)
        }
    }

    /// The same check where the other's name is now, if it is its name as well.
    fn moved_with(&self, other: &Self) -> Self {
        let mut moved = *self;
        if self.name != NameId::NONE && self.name == other.name {
            moved.target.set_ip(other.target.ip());
        }
        moved
    }

    /// Where in its interval a check lies: the same number for the same
    /// check on every run with one seed, and far apart for neighbours, and for those
    /// that ask the same of one target in other ways.
    #[must_use]
    pub fn phase(&self, seed: u64) -> u64 {
        let mut hasher = Fnv::new(seed);
        self.target.hash(&mut hasher);
        self.kind.question().hash(&mut hasher);
        (self.name, self.timeout, self.rise, self.fall).hash(&mut hasher);
        hasher.finish()
    }
}

/// FNV-1a with the finalizer of splitmix64, for want of a hasher in core.
pub(super) struct Fnv(u64);

impl Fnv {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed ^ 0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_of_neighbours_are_spread() {
        let mut buckets = [0_u32; 16];
        for n in 0..4096_u32 {
            let address = Ipv4Addr::from(0x0a00_0000 + n);
            let kind = Kind::Tcp { half_open: false };
            let config = CheckConfig::new(kind, (address, 80).into());
            buckets[usize::try_from(config.phase(7) % 16).unwrap()] += 1;
        }
        // 256 are expected in each; 5 standard deviations are 77.
        assert!(buckets.iter().all(|n| n.abs_diff(256) < 77), "{buckets:?}");
    }

    /// A sorted plan stays sorted when a name moves, and each check of it finds
    /// its twin.
    #[test]
    fn checks_of_a_name_keep_their_order_wherever_it_is() {
        let kind = Kind::Tcp { half_open: false };
        let at = |name: u16, address: [u8; 4], port: u16| CheckConfig {
            name: NameId(name),
            ..CheckConfig::new(kind, (address, port).into())
        };
        let addresses = [[0, 0, 0, 0], [10, 0, 0, 9], [192, 0, 2, 1]];
        for a in addresses {
            for b in addresses {
                for (p, q) in [(80, 443), (443, 80), (80, 80)] {
                    let (old, new) = (at(1, a, p), at(1, b, q));
                    assert_eq!(old.cmp_question(&new), p.cmp(&q));
                    assert_eq!(old.same_question(&new), p == q);
                    // Another name, or none, is another question at any address.
                    assert!(!old.same_question(&at(2, b, q)));
                    assert!(!at(0, a, p).same_question(&at(1, a, p)));
                }
            }
        }
        assert!(at(1, [0, 0, 0, 0], 80).is_unresolved());
        assert!(!at(1, [10, 0, 0, 1], 80).is_unresolved());
        // An address that was written means what it says.
        assert!(!at(0, [0, 0, 0, 0], 80).is_unresolved());
    }
}
