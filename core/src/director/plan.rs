//! What the config says, in the shape the two halves take it.

use crate::check::CheckConfig;
use crate::check::probe::Scripts;
use crate::model::{Family, SyncDaemon, Table};
use crate::route::Scope;
use crate::time::{Duration, Instant};
use crate::vrrp::{AdvertForm, RouterConfig, TTL, Terms};
use core::net::IpAddr;
use heapless::{String, Vec};

/// Name of a VRRP instance, for people.
pub type InstanceName = String<31, u8>;
/// Interface name, `IFNAMSIZ` 16 with its NUL (if.h).
pub type InterfaceName = String<15, u8>;
/// Unicast peers of an instance; empty means multicast.
pub type Peers = Vec<IpAddr, 8, u8>;

/// Name of a group of virtual routers, for people.
pub type GroupName = String<31, u8>;
/// Name of something tracked, for people.
pub type TrackName = String<31, u8>;
/// What an instance tracks.
pub type TrackUses = Vec<TrackUse, 16, u8>;

/// A virtual router as the config declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Name, for people. May change in a reload without touching the router.
    pub name: InstanceName,
    /// Interface the adverts and the addresses are on.
    pub interface: InterfaceName,
    /// VRID, family, priority, timers.
    pub router: RouterConfig,
    /// How our adverts are written; nothing for as the peer's are, once one was
    /// heard, and [`AdvertForm::Rfc5798`] before, which most peers send.
    pub form: Option<AdvertForm>,
    /// The least TTL of an advert of a unicast peer; 255 of all others.
    pub ttl_min: u8,
    /// Scope of its addresses; an IPv6 link-local one has its own.
    pub scope: Scope,
    /// Label of its IPv4 addresses; empty for the interface's name.
    pub label: InterfaceName,
    /// Name of the macvlan that its addresses are on, with the virtual router's
    /// MAC address; nothing for addresses on the interface itself, with its own.
    pub macvlan: Option<InterfaceName>,
    /// Peers to send to instead of the group; adverts of others are counted and
    /// ignored then.
    pub peers: Peers,
    /// Index of its first address in [`HaPlan::addresses`].
    pub addresses_first: u32,
    /// How many addresses it has.
    pub addresses_count: u32,
    /// Whether the synchronization daemons follow its role
    /// ([`SyncRoles::Follow`]); of at most one.
    pub followed: bool,
    /// What it tracks. The members of a group all track the same, and have one
    /// priority: otherwise one member is better here and another there.
    pub tracks: TrackUses,
    /// Its place in [`HaPlan::groups`], if it belongs to one.
    pub group: Option<u16>,
}

/// Something tracked, as an instance weighs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackUse {
    /// Its place in [`HaPlan::tracks`].
    pub track: u16,
    /// 0: a fault while it is down. More: added to the priority while it is up.
    /// Less: taken off while it is down. Of a value: multiplied with it.
    pub weight: i16,
    /// The opposite of that.
    pub reverse: bool,
}

/// Something that virtual routers track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its name.
    pub name: TrackName,
    /// Where to look.
    pub source: TrackSource,
}

/// Where to look for the state of something tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackSource {
    /// Whether this interface is up, with carrier.
    Interface(InterfaceName),
    /// Somebody else finds out, and writes it into this cell. A cell is one
    /// thing's for as long as any plan names that.
    Cell(u16),
}

impl Instance {
    /// What names the instance: a reload that keeps this keeps the router's
    /// state.
    #[must_use]
    pub fn key(&self) -> (&str, Family, u8) {
        (&self.interface, self.router.family, self.router.vrid)
    }

    /// Whether its adverts come from the virtual router's MAC address, as whole
    /// frames. What goes to a peer goes by whatever leads there, and comes from
    /// that interface's own: it teaches no switch of this link anything.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.macvlan.is_some() && self.peers.is_empty()
    }

    /// What an advert must be to be heard.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            ttl_min: if self.peers.is_empty() {
                TTL
            } else {
                self.ttl_min
            },
            seesaw: self.form == Some(AdvertForm::Seesaw),
        }
    }
}

/// A virtual address and the prefix it is put on the interface with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length, bits.
    pub prefix: u8,
}

/// What the HA half should do.
#[derive(Clone, Copy, Debug, Default)]
pub struct HaPlan<'a> {
    /// Sorted by [`Instance::key`], no key twice.
    pub instances: &'a [Instance],
    /// Addresses of all instances, each instance's in one run.
    pub addresses: &'a [VirtualAddress],
    /// What instances track.
    pub tracks: &'a [Track],
    /// Names of the groups that instances belong to.
    pub groups: &'a [GroupName],
    /// No instance begins before this, unless it goes on from an earlier run.
    pub not_before: Instant,
}

impl<'a> HaPlan<'a> {
    /// The addresses of an instance; empty for a range outside the plan.
    #[must_use]
    pub fn addresses_of(&self, instance: &Instance) -> &'a [VirtualAddress] {
        let first = instance.addresses_first as usize;
        let end = first.saturating_add(instance.addresses_count as usize);
        self.addresses.get(first..end).unwrap_or(&[])
    }
}

/// What a service's backends are worth when they fail, and when they are back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServicePolicy {
    /// Below so many healthy backends all of them get their weight again: a
    /// wrong verdict about everyone must not take the service down. 0 turns
    /// this off. A sorry server that serves comes first.
    pub min_healthy: u16,
    /// Weight of those that serve, taken together, that the service should have;
    /// 0 asks for none. Without it the sorry server takes over.
    pub quorum: u32,
    /// How much less than `quorum` loses it, and how much more regains it.
    pub hysteresis: u32,
    /// In what time the weight of a backend that is back rises to what it should
    /// be; zero is at once.
    pub slow_start: Duration,
    /// Starts of its checks in a second; 0 is no limit. A check that several
    /// services share keeps the first one's.
    pub checks_per_second: u32,
}

/// What an operator said of a backend. It outweighs what its check says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorState {
    /// Nothing: its check decides.
    #[default]
    Ready,
    /// No new clients; it is checked on, and has no part in quorum or
    /// `min_healthy`.
    Drain,
    /// The same, and it is not checked.
    Maint,
    /// It serves, whatever its check says.
    ForcedUp,
    /// It does not, and not even when everybody else has failed.
    ForcedDown,
}

impl OperatorState {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Drain,
        Self::Maint,
        Self::ForcedUp,
        Self::ForcedDown,
    ];

    /// `ready`, `drain`, `maint`, `force-up`, `force-down`: the verb that asks
    /// for it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::ForcedUp => "force-up",
            Self::ForcedDown => "force-down",
        }
    }
}

/// What a destination is to its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// What an operator said of it.
    pub operator: OperatorState,
    /// It gets clients when no other can: at most one in a service.
    pub sorry: bool,
}

/// What the LB half should do.
#[derive(Clone, Copy, Debug)]
pub struct LbPlan<'a> {
    /// The services and destinations, with the weights of healthy ones.
    pub table: Table<'a>,
    /// For each service of the table, in its order.
    pub policies: &'a [ServicePolicy],
    /// For each destination of the table, in its order: an index into `checks`,
    /// or `None` for one that is always healthy.
    pub links: &'a [Option<u32>],
    /// For each destination, in the same order; those that are missing are
    /// [`Member::default`].
    pub members: &'a [Member],
    /// Sorted, no check twice: destinations share equal checks.
    pub checks: &'a [CheckConfig],
    /// What they say and expect, as far as they name it.
    pub scripts: Scripts<'a>,
    /// Starts of checks in a second for each address that is probed; 0 is no
    /// limit.
    pub backend_checks_per_second: u32,
    /// Whether services the config does not name are left alone.
    pub declared_only: bool,
    /// How often the kernel's table is looked at when nothing gives cause: IPVS
    /// tells nobody that another program changed it. [`AUDIT`] by default.
    pub audit: Duration,
    /// Which connection synchronization daemons run; without, those are left
    /// alone that do.
    pub sync: Option<&'a SyncPlan>,
}

/// Which connection synchronization daemons run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPlan {
    /// Each of them, but for its state.
    pub daemon: SyncDaemon,
    /// In which state.
    pub roles: SyncRoles,
}

/// In which state the synchronization daemons run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncRoles {
    /// In these, always.
    Fixed {
        /// As `master`, which tells others.
        sends: bool,
        /// As `backup`, which hears others.
        hears: bool,
    },
    /// As `master` while a virtual router is Active, as `backup` otherwise.
    Follow,
}

/// How often the kernel's table is looked at, unless the config says otherwise.
pub const AUDIT: Duration = Duration::from_secs(60);
