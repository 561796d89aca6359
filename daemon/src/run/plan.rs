//! From a config to the plans of the two halves, and the memory both are given
//! at start. Runs on the control thread, which may allocate; the loops borrow
//! what is made here, and hand it back to be freed.

use super::board::NO_CELL;
use super::datagrams::HalfOpens;
use super::names::Names;
use crate::config::{self, Config, Limits, Own};
use crate::tls::Profile;
use std::collections::BTreeMap;
use std::net::IpAddr;
use trunnion_core::check::probe::{Scripts, TlsId};
use trunnion_core::check::{self, CheckConfig, Kind, NameId, REQUEST_BYTES_MAX, Settings};
use trunnion_core::director::guardian::OnCrash;
use trunnion_core::director::ha::{
    Entry, GroupSlot, HaStorage, InstanceSlot, TrackSlot, TrackState,
};
use trunnion_core::director::lb::LbStorage;
use trunnion_core::director::plan::{
    GroupName, HaPlan, Instance, InstanceName, InterfaceName, LbPlan, Member, OperatorState, Peers,
    ServicePolicy, SyncPlan, Track, TrackSource, TrackUse, VirtualAddress,
};
use trunnion_core::model::{Destination, DestinationKey, ServiceKey, ServiceRow, Table, TableBuf};
use trunnion_core::time::{self, Instant};
use trunnion_sys::memory::untouched;

/// What the HA half is given, owned.
#[derive(Debug, Default)]
pub struct OwnedHaPlan {
    instances: Vec<Instance>,
    addresses: Vec<VirtualAddress>,
    tracks: Vec<Track>,
    groups: Vec<GroupName>,
    not_before: Instant,
    on_crash: OnCrash,
}

impl OwnedHaPlan {
    /// The plan of a config. `cells` are those of its tracks, and `started` is
    /// when the daemon was.
    #[must_use]
    pub fn of(config: &Config, cells: &[u16], started: Instant) -> Self {
        let mut instances = Vec::with_capacity(config.vrrp.len());
        let mut addresses = Vec::new();
        for declared in &config.vrrp {
            let first = addresses.len();
            addresses.extend(declared.addresses.iter().map(|prefixed| VirtualAddress {
                address: prefixed.address,
                prefix: prefixed.prefix,
            }));
            let sync = config.ipvs.sync.as_ref();
            let follow = sync.and_then(|sync| sync.follow.as_ref());
            instances.push(Instance {
                followed: follow == Some(&declared.name),
                ..planned(declared, first)
            });
        }
        instances.sort_by(|a: &Instance, b: &Instance| a.key().cmp(&b.key()));
        Self {
            instances,
            addresses,
            tracks: tracks(config, cells),
            groups: config.groups.iter().map(|g| short(&g.name)).collect(),
            not_before: started + config.node.startup_delay,
            on_crash: match config.node.on_crash {
                config::OnCrash::Hold(time) => OnCrash::Hold { time },
                // Where there is no guardian nobody reads it.
                config::OnCrash::Resign | config::OnCrash::Nothing => OnCrash::Resign,
            },
        }
    }

    /// What the guardian is to do.
    #[must_use]
    pub const fn on_crash(&self) -> OnCrash {
        self.on_crash
    }

    /// As the half takes it.
    #[must_use]
    pub fn plan(&self) -> HaPlan<'_> {
        HaPlan {
            instances: &self.instances,
            addresses: &self.addresses,
            tracks: &self.tracks,
            groups: &self.groups,
            not_before: self.not_before,
        }
    }
}

/// What is tracked, each with the cell its state is written into.
fn tracks(config: &Config, cells: &[u16]) -> Vec<Track> {
    let each = config.tracks.iter().enumerate();
    each.map(|(at, track)| Track {
        name: short(&track.name),
        source: match &track.source {
            config::TrackSource::Interface(name) => TrackSource::Interface(
                InterfaceName::try_from(name.as_str()).expect("the config bounds interface names"),
            ),
            config::TrackSource::Route { .. }
            | config::TrackSource::Process { .. }
            | config::TrackSource::Script(_)
            | config::TrackSource::File(_)
            | config::TrackSource::Service { .. } => {
                TrackSource::Cell(cells.get(at).copied().unwrap_or(NO_CELL))
            }
        },
    })
    .collect()
}

/// A name as the half carries it; the config bounds it to as much, but for a
/// default one.
fn short(name: &str) -> InstanceName {
    let end = name.floor_char_boundary(InstanceName::new().capacity());
    InstanceName::try_from(&name[..end]).unwrap_or_default()
}

/// An instance whose addresses begin at `first`.
fn planned(declared: &config::Instance, first: usize) -> Instance {
    let weighed = |of: &config::Tracked| TrackUse {
        track: u16::try_from(of.track).expect("limits bound the number of tracks"),
        weight: of.weight,
        reverse: of.reverse,
    };
    Instance {
        name: short(&declared.name),
        interface: InterfaceName::try_from(declared.interface.as_str())
            .expect("the config bounds interface names"),
        router: declared.router,
        form: declared.form,
        ttl_min: declared.unicast_ttl_min,
        scope: declared.scope,
        label: InterfaceName::try_from(declared.label.as_str()).expect("the config bounds labels"),
        macvlan: declared.macvlan.as_ref().map(|name| {
            InterfaceName::try_from(name.as_str()).expect("the config bounds interface names")
        }),
        peers: Peers::from_slice(&declared.unicast_peers)
            .expect("the config bounds the number of peers"),
        addresses_first: count(first),
        addresses_count: count(declared.addresses.len()),
        followed: false,
        tracks: declared.tracks.iter().map(weighed).collect(),
        group: declared.group.and_then(|at| u16::try_from(at).ok()),
    }
}

/// What the LB half is given, owned.
#[derive(Debug, Default)]
pub struct OwnedLbPlan {
    services: Vec<ServiceRow>,
    destinations: Vec<Destination>,
    policies: Vec<ServicePolicy>,
    links: Vec<Option<u32>>,
    members: Vec<Member>,
    checks: Vec<CheckConfig>,
    scripts: Vec<u64>,
    backend_checks_per_second: u32,
    tls: Vec<(TlsId, Profile)>,
    declared_only: bool,
    audit: time::Duration,
    sync: Option<SyncPlan>,
    watched: Vec<Watched>,
}

/// A service whose health virtual routers track.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Its place in the table.
    pub service: usize,
    /// So many healthy backends are enough.
    pub quorum: u32,
    /// Where its state is written.
    pub cell: u16,
}

impl OwnedLbPlan {
    /// The plan of a config, whose services and backends are sorted by key.
    /// `cells` are those of its tracks, and `names` know all names in it. Half-open
    /// checks of some families are made of SYNs.
    #[must_use]
    pub fn of(config: &Config, cells: &[u16], names: &Names, half_opens: HalfOpens) -> Self {
        Self {
            tls: profiles(config),
            ..Self::renewed(config, cells, names, half_opens)
        }
    }

    /// The same without ways of speaking TLS, for a loop that has this config's.
    #[must_use]
    pub fn renewed(config: &Config, cells: &[u16], names: &Names, half_opens: HalfOpens) -> Self {
        let mut plan = Self {
            backend_checks_per_second: config.limits.backend_checks_per_second,
            declared_only: config.ipvs.own == Own::Declared,
            audit: config.ipvs.audit,
            sync: config.ipvs.sync.as_ref().map(|sync| sync.plan.clone()),
            scripts: scripts(config),
            watched: watched(config, cells),
            ..Self::default()
        };
        let backends = || config.services.iter().flat_map(|s| &s.backends);
        // Taken once: what grows is copied, and needs twice as much meanwhile.
        plan.services.reserve_exact(config.services.len());
        plan.policies.reserve_exact(config.services.len());
        let rows = config.services.iter().map(|s| s.backends.len()).sum();
        plan.destinations.reserve_exact(rows);
        plan.links.reserve_exact(rows);
        plan.members.reserve_exact(rows);
        let checked = backends().filter(|b| b.is_checked()).count();
        plan.checks.reserve_exact(checked);
        let made = |check| made_of(check, half_opens);
        let each = config.services.iter();
        let each = each.flat_map(|s| s.backends.iter().filter_map(|b| names.check(s, b)));
        plan.checks.extend(each.map(made));
        plan.checks.sort_unstable();
        plan.checks.dedup();
        for service in &config.services {
            plan.services.push(ServiceRow {
                service: service.service.clone(),
                first: count(plan.destinations.len()),
                count: count(service.backends.len()),
            });
            plan.policies.push(service.policy);
            for backend in &service.backends {
                plan.destinations.push(backend.destination);
                let check = names.check(service, backend).map(made);
                let check = check.and_then(|check| plan.checks.binary_search(&check).ok());
                plan.links.push(check.map(count));
                plan.members.push(Member {
                    operator: OperatorState::Ready,
                    sorry: backend.sorry,
                });
            }
        }
        debug_assert!(plan.plan().table.is_sorted(), "the config sorts its rows");
        plan
    }

    /// Puts in what operators say of each destination.
    pub fn operate(&mut self, said: impl Fn(&ServiceKey, &DestinationKey) -> OperatorState) {
        for row in &self.services {
            let rows = self.destinations[row.range()].iter();
            for (destination, member) in rows.zip(&mut self.members[row.range()]) {
                member.operator = said(&row.service.key, &destination.key);
            }
        }
    }

    /// Moves the checks of names to where these are. All checks of a name have one
    /// address, so their order stays.
    pub fn place(&mut self, at: impl Fn(NameId) -> Option<IpAddr>) {
        let named = self.checks.iter_mut().filter(|c| c.name != NameId::NONE);
        for check in named {
            if let Some(address) = at(check.name) {
                check.target.set_ip(address);
            }
        }
    }

    /// The ways of speaking TLS, for the loop to keep; what it had before comes
    /// back in their place, to be freed.
    pub const fn tls(&mut self) -> &mut Vec<(TlsId, Profile)> {
        &mut self.tls
    }

    /// As the half takes it.
    #[must_use]
    pub fn plan(&self) -> LbPlan<'_> {
        LbPlan {
            table: Table {
                services: &self.services,
                destinations: &self.destinations,
            },
            policies: &self.policies,
            links: &self.links,
            members: &self.members,
            checks: &self.checks,
            scripts: Scripts::from_words(&self.scripts),
            backend_checks_per_second: self.backend_checks_per_second,
            declared_only: self.declared_only,
            audit: self.audit,
            sync: self.sync.as_ref(),
        }
    }
}

/// The check as this host can make it.
fn made_of(check: CheckConfig, half_opens: HalfOpens) -> CheckConfig {
    match check.kind {
        Kind::Tcp { half_open: true } if half_opens.of(check.family()) => CheckConfig {
            kind: Kind::Syn,
            ..check
        },
        Kind::Tcp { .. } | Kind::Syn | Kind::Stream(_) | Kind::Datagram(_) | Kind::Errand(_) => {
            check
        }
    }
}

/// All that the checks say and expect, each once.
fn scripts(config: &Config) -> Vec<u64> {
    let each = config.services.iter().flat_map(|s| &s.scripts);
    let each: BTreeMap<_, _> = each.map(|s| (s.id, &*s.words)).collect();
    if each.is_empty() {
        return Vec::new();
    }
    let words = each.values().map(|words| words.len()).sum();
    let mut all = vec![0; Scripts::words_for(each.len(), words)];
    let sorted: Vec<_> = each.into_iter().collect();
    Scripts::write(&sorted, &mut all).expect("it is as long as they are");
    all
}

impl OwnedLbPlan {
    /// Services whose health virtual routers track.
    #[must_use]
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }
}

fn watched(config: &Config, cells: &[u16]) -> Vec<Watched> {
    let each = config.tracks.iter().zip(cells);
    each.filter_map(|(track, &cell)| {
        let config::TrackSource::Service { name, quorum } = &track.source else {
            return None;
        };
        Some(Watched {
            service: config.services.iter().position(|s| s.name == *name)?,
            quorum: *quorum,
            cell,
        })
    })
    .collect()
}

/// The ways of speaking TLS, sorted. One whose files have gone since the config
/// was read is left out, and its checks find out nothing.
fn profiles(config: &Config) -> Vec<(TlsId, Profile)> {
    let scripts = config.services.iter().flat_map(|s| &s.scripts);
    let each = scripts.filter_map(|script| script.tls.as_ref());
    Profile::load_all(&each.map(|tls| (tls.id(), tls)).collect())
}

/// A number of rows as the tables count them: limits keep it far below 2^32.
fn count(rows: usize) -> u32 {
    u32::try_from(rows).expect("limits bound the number of rows")
}

/// Log records that wait in each half for its loop.
const RECORDS: usize = 1024;
/// Grain of the checks' timer wheel, a power of two: about 1 ms.
const TICK_NS: u64 = 1 << 20;

/// Memory that lives as long as the process: the loops end when it does. What grows
/// with services and backends is [`untouched`] instead: of it only so much is in
/// memory as was needed once, and what else the limits allow costs nothing.
fn forever<T: Clone>(value: &T, len: usize) -> &'static mut [T] {
    Box::leak(vec![value.clone(); len].into_boxed_slice())
}

/// The HA half's memory: twice the limits, since a reload keeps what it retires
/// until it is gone.
#[must_use]
pub fn ha_storage(limits: &Limits) -> HaStorage<'static> {
    let instances = 2 * limits.routers as usize;
    let addresses = 2 * limits.addresses as usize;
    let tracks = limits.tracks as usize;
    let slot = InstanceSlot::blank();
    HaStorage {
        // A router of zero bytes would have no family.
        instances: [forever(&slot, instances), forever(&slot, instances)],
        addresses: [untouched(addresses), untouched(addresses)],
        address_index: forever(&0, addresses),
        agenda: (forever(&Entry::EMPTY, instances), untouched(instances)),
        adverts: untouched(instances),
        interfaces: untouched(instances + tracks),
        tracks: forever(&TrackSlot::BLANK, tracks),
        cells: forever(&TrackState::Unknown, 2 * tracks),
        groups: forever(&GroupSlot::BLANK, limits.routers as usize),
        records: untouched(RECORDS),
    }
}

/// Of so many checks in flight one may gather its answer before it reads it.
const CHECKS_PER_DESK: usize = 8;

/// The LB half's memory. `seed` sets this node's phase apart from others';
/// nobody may guess `secret`.
#[must_use]
pub fn lb_storage(limits: &Limits, seed: u64, secret: [u64; 2]) -> LbStorage<'static> {
    let services = limits.services as usize;
    let backends = limits.backends as usize;
    let table = |times: usize| {
        let (services, backends) = (times * services, times * backends);
        TableBuf::new(untouched(services), untouched(backends))
    };
    // Without a limit for them nobody asks for an address's pace.
    let addresses = match limits.backend_checks_per_second {
        0 => 0,
        _ => backends,
    };
    let sockets = limits.checks_in_flight as usize;
    LbStorage {
        desired: table(1),
        target: table(2),
        actual: table(2),
        services: [untouched(services), untouched(services)],
        members: [untouched(backends), untouched(backends)],
        timers: untouched(services),
        links: untouched(backends),
        checks: check::Storage {
            checks: untouched(backends),
            asides: untouched(backends),
            timers: untouched(backends),
            manners: untouched(backends),
            sockets: untouched(3 * sockets + limits.commands as usize),
            scripts: untouched(limits.probe_bytes as usize / size_of::<u64>()),
            request: untouched(REQUEST_BYTES_MAX),
            desks: untouched(sockets.div_ceil(CHECKS_PER_DESK)),
            paces: untouched(services + addresses),
        },
        settings: Settings {
            tick_ns: TICK_NS,
            sockets_v4: limits.checks_in_flight,
            seats: limits.checks_in_flight,
            errands: limits.commands,
            tls: limits.tls,
            late_margin: std::time::Duration::from_millis(100),
            checks_per_second: limits.checks_per_second,
            seed,
            secret,
        },
        records: untouched(RECORDS),
    }
}

#[cfg(test)]
mod tests;
