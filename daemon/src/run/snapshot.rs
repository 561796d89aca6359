//! What a loop knows, copied for readers: the control thread sends an empty
//! snapshot with room taken beforehand, the loop fills it and sends it back.

use crate::config::Limits;
use trunnion_core::check;
use trunnion_core::director::ha::{
    Ha, HaCounters, Heard, Presence, RouteCounters, Standing, TrackState,
};
use trunnion_core::director::lb::{KernelCounters, Lb, PolicyCounters};
use trunnion_core::director::plan::{
    GroupName, InstanceName, InterfaceName, Member, TrackName, VirtualAddress,
};
use trunnion_core::model::{Destination, Service, SyncDaemon};
use trunnion_core::time::Instant;
use trunnion_core::vrrp::{AdvertForm, Router};
use trunnion_core::wire::MacAddress;
use trunnion_sys::alloc::SealedThread;

/// A virtual router, as it was.
#[derive(Clone, Debug)]
pub struct RouterView {
    /// Its name.
    pub name: InstanceName,
    /// Its interface.
    pub interface: InterfaceName,
    /// The router.
    pub router: Router,
    /// How many of the addresses that follow in the snapshot are its own.
    pub addresses: usize,
    /// Its priority before anything weighs on it.
    pub base: u8,
    /// Its group's place in the snapshot.
    pub group: Option<u16>,
    /// What keeps it from taking part, in words, and of a track its name.
    pub barred: Option<(&'static str, TrackName)>,
    /// Until when it preempts nobody.
    pub held_until: Option<Instant>,
    /// The last Active it heard.
    pub heard: Option<Heard>,
    /// Two routers seem to be Active.
    pub split: bool,
    /// The MAC address of its virtual addresses, where that is the router's.
    pub virtual_mac: Option<MacAddress>,
    /// The macvlan that has it, and whether that is up, where it is there.
    pub macvlan: Option<(InterfaceName, Option<bool>)>,
    /// How its adverts are written, and whether that was learned.
    pub form: AdvertForm,
    /// See there.
    pub learned: bool,
    /// Since when the kernel has refused its adverts.
    pub silent_since: Option<Instant>,
}

/// What the HA loop knows.
#[derive(Debug)]
pub struct HaSnapshot {
    /// When it was taken.
    pub at: Instant,
    /// Virtual routers.
    pub routers: Vec<RouterView>,
    /// Their addresses, router by router.
    pub addresses: Vec<(VirtualAddress, Presence)>,
    /// Things tracked, and what is known of each.
    pub tracks: Vec<(TrackName, TrackState)>,
    /// Groups, and how each stands.
    pub groups: Vec<(GroupName, Option<Standing>)>,
    /// Counters of the half.
    pub counters: HaCounters,
    /// Counters of rtnetlink.
    pub route: RouteCounters,
    /// Log records lost because nobody took them in time.
    pub records_dropped: u64,
    /// Allocations of the loop's thread since its seal.
    pub allocations: u64,
    /// Wake-ups of the loop.
    pub turns: u64,
}

impl HaSnapshot {
    /// An empty snapshot with room for all the limits allow.
    #[must_use]
    pub fn with_room(limits: &Limits) -> Box<Self> {
        Box::new(Self {
            at: Instant::ZERO,
            routers: Vec::with_capacity(2 * limits.routers as usize),
            addresses: Vec::with_capacity(2 * limits.addresses as usize),
            tracks: Vec::with_capacity(limits.tracks as usize),
            groups: Vec::with_capacity(limits.routers as usize),
            counters: HaCounters::default(),
            route: RouteCounters::default(),
            records_dropped: 0,
            allocations: 0,
            turns: 0,
        })
    }

    /// Copies what the half knows. Allocates nothing.
    pub fn fill(&mut self, now: Instant, ha: &Ha<'_>, sealed: Option<SealedThread>, turns: u64) {
        self.at = now;
        self.routers.clear();
        self.addresses.clear();
        self.tracks.clear();
        self.groups.clear();
        let tracks = ha.tracks().iter().take(self.tracks.capacity());
        self.tracks
            .extend(tracks.map(|t| (t.name.clone(), t.state)));
        let groups = ha.groups().iter().take(self.groups.capacity());
        let groups = groups.map(|group| (group.name.clone(), ha.standing(group)));
        self.groups.extend(groups);
        for slot in ha.instances() {
            let addresses = ha.addresses(slot);
            if self.routers.len() == self.routers.capacity()
                || self.addresses.capacity() - self.addresses.len() < addresses.len()
            {
                break;
            }
            self.routers.push(RouterView {
                name: slot.config.name.clone(),
                interface: slot.config.interface.clone(),
                router: slot.router,
                addresses: addresses.len(),
                base: slot.config.router.priority,
                group: slot.config.group,
                barred: slot.barred().map(|bar| {
                    let (why, what) = ha.bar_words(bar);
                    (why, TrackName::try_from(what).unwrap_or_default())
                }),
                held_until: slot.held_until(),
                heard: slot.heard(),
                split: slot.is_split(),
                virtual_mac: slot.virtual_mac(),
                macvlan: slot.config.macvlan.as_ref().map(|name| {
                    let macvlan = slot.macvlan();
                    (name.clone(), macvlan.index().map(|_| macvlan.is_up()))
                }),
                form: slot.form(),
                learned: slot.has_learned_form(),
                silent_since: slot.silent_since(),
            });
            let all = addresses.iter().map(|a| (a.virtual_address, a.presence));
            self.addresses.extend(all);
        }
        self.counters = *ha.counters();
        self.route = *ha.route_counters();
        self.records_dropped = ha.records_dropped();
        self.allocations = sealed.map_or(0, SealedThread::allocations);
        self.turns = turns;
    }
}

/// The synchronization daemons, who sends and who hears.
pub type SyncPair = [Option<SyncDaemon>; 2];

/// A service, as it was.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// What is desired of it.
    pub service: Service,
    /// Whether the kernel is known to have it.
    pub in_kernel: Option<bool>,
    /// Too few healthy backends, so that all get traffic.
    pub open: bool,
    /// Whether it has its quorum, if it asks for one.
    pub has_quorum: Option<bool>,
    /// The sorry server gets the clients.
    pub sorry: bool,
    /// How many of the destinations that follow in the snapshot are its own.
    pub destinations: usize,
}

/// A destination, as it was.
#[derive(Clone, Copy, Debug)]
pub struct DestinationView {
    /// What is desired of it while it is healthy.
    pub destination: Destination,
    /// Its weight in the kernel, if the kernel is known to have it.
    pub kernel_weight: Option<u32>,
    /// What its check found; nothing for one without a check.
    pub check: Option<check::Status>,
    /// What it is to its service.
    pub member: Member,
    /// Its weight is on its way up.
    pub rising: bool,
}

/// What the LB loop knows.
#[derive(Debug)]
pub struct LbSnapshot {
    /// When it was taken.
    pub at: Instant,
    /// Services.
    pub services: Vec<ServiceView>,
    /// Their destinations, service by service.
    pub destinations: Vec<DestinationView>,
    /// Synchronization daemons that should run, if the config says so, and
    /// those that do, if that is known.
    pub sync: (Option<SyncPair>, Option<SyncPair>),
    /// Services in the kernel that the config does not name, left alone.
    pub strangers: u32,
    /// Whether the kernel holds what is desired, as far as is known.
    pub settled: bool,
    /// Counters of the kernel's table.
    pub kernel: KernelCounters,
    /// What verdicts and operators led to, counted.
    pub policies: PolicyCounters,
    /// Counters of the checks.
    pub checks: check::Counters,
    /// How much of what they need is in use.
    pub load: check::Load,
    /// Allocations of the TLS library on the loop's thread.
    pub tls_allocations: u64,
    /// Log records lost because nobody took them in time.
    pub records_dropped: u64,
    /// Allocations of the loop's thread since its seal.
    pub allocations: u64,
    /// Wake-ups of the loop.
    pub turns: u64,
}

impl LbSnapshot {
    /// An empty snapshot with room for all the limits allow.
    #[must_use]
    pub fn with_room(limits: &Limits) -> Box<Self> {
        Box::new(Self {
            at: Instant::ZERO,
            services: Vec::with_capacity(limits.services as usize),
            destinations: Vec::with_capacity(limits.backends as usize),
            sync: (None, None),
            strangers: 0,
            settled: false,
            kernel: KernelCounters::default(),
            policies: PolicyCounters::default(),
            checks: check::Counters::default(),
            load: check::Load::default(),
            tls_allocations: 0,
            records_dropped: 0,
            allocations: 0,
            turns: 0,
        })
    }

    /// Copies what the half knows. Allocates nothing.
    pub fn fill(&mut self, now: Instant, lb: &Lb<'_>, sealed: Option<SealedThread>, turns: u64) {
        self.at = now;
        self.services.clear();
        self.destinations.clear();
        let (desired, actual) = (lb.desired(), lb.actual());
        // While it is not, its rows are in the order in which they come.
        let read = lb.is_table_read();
        for (at, row) in desired.services.iter().enumerate() {
            let found = actual
                .services
                .binary_search_by_key(&row.service.key, |held| held.service.key);
            let held = found.ok().filter(|_| read);
            let held = held.and_then(|found| actual.services.get(found));
            let held_rows = held.map_or(&[][..], |held| actual.destinations_of(held));
            self.services.push(ServiceView {
                service: row.service.clone(),
                in_kernel: read.then_some(held.is_some()),
                open: lb.is_open(at),
                has_quorum: lb.has_quorum(at),
                sorry: lb.is_sorry(at),
                destinations: row.range().len(),
            });
            for (place, destination) in row.range().zip(desired.destinations_of(row)) {
                let found = held_rows.binary_search_by_key(&destination.key, |held| held.key);
                self.destinations.push(DestinationView {
                    destination: *destination,
                    kernel_weight: found.ok().map(|found| held_rows[found].weight),
                    check: lb.status(place),
                    member: lb.member(place),
                    rising: lb.is_rising(place),
                });
            }
        }
        let (wanted, running) = lb.sync_daemons();
        self.sync = (wanted.cloned(), running.cloned());
        self.strangers = lb.strangers();
        self.settled = lb.is_settled();
        self.kernel = *lb.kernel_counters();
        self.policies = *lb.policy_counters();
        self.checks = *lb.engine().counters();
        self.load = lb.engine().load();
        self.tls_allocations = sealed.map_or(0, SealedThread::exempted);
        self.records_dropped = lb.records_dropped();
        self.allocations = sealed.map_or(0, SealedThread::allocations);
        self.turns = turns;
    }
}
