//! One node: its kernels, which outlive the daemon, and the daemon while it
//! lives: an HA half and an LB half with their memory.

use super::guardian::{Executor, Will};
use super::ipvs_kernel::IpvsKernel;
use super::link::Packet;
use super::moves::CELLS;
use super::random::Random;
use super::route_kernel::RouteKernel;
use super::site::{INTERFACES, Key, Plan, limits, mac, own_v4, own_v6};
use super::web::Came;
use std::collections::{BTreeMap, VecDeque};
use trunnion_core::check::{self, Settings, Slot, Socket};
use trunnion_core::director::ha::{
    AddressSlot, Entry, GroupSlot, Ha, HaStorage, InstanceSlot, Interface, Memory, Prepared,
    Standing, TrackSlot, TrackState,
};
use trunnion_core::director::lb::{Lb, LbStorage, Link, MemberState, ServiceState};
use trunnion_core::director::plan::InstanceName;
use trunnion_core::model::{BLANK_DESTINATION, Destination, ServiceRow, TableBuf};
use trunnion_core::record::Frame;
use trunnion_core::time::{self, Duration, Instant};
use trunnion_core::vrrp::Role;

/// Check sockets of each family.
const SOCKETS_MAX: usize = limits::CHECKS;

/// The memory of one life of the daemon.
#[derive(Debug)]
pub struct Arena {
    instances: [Vec<InstanceSlot>; 2],
    addresses: [Vec<AddressSlot>; 2],
    address_index: Vec<u32>,
    agenda: Vec<Entry>,
    ha_timers: Vec<time::Slot>,
    adverts: Vec<Prepared>,
    interfaces: Vec<Interface>,
    tracks: Vec<TrackSlot>,
    cells: Vec<TrackState>,
    groups: Vec<GroupSlot>,
    ha_records: Vec<Frame>,
    rows: [Vec<ServiceRow>; 3],
    destinations: [Vec<Destination>; 3],
    states: [Vec<ServiceState>; 2],
    members: [Vec<MemberState>; 2],
    ramps: Vec<time::Slot>,
    links: Vec<Link>,
    checks: Vec<Slot>,
    asides: Vec<check::Aside>,
    timers: Vec<time::Slot>,
    manners: Vec<check::MannerSlot>,
    sockets: Vec<Socket>,
    paces: Vec<check::Pace>,
    scripts: Vec<u64>,
    request: Vec<u8>,
    lb_records: Vec<Frame>,
}

impl Arena {
    pub fn new() -> Self {
        let instances = || vec![InstanceSlot::blank(); 2 * limits::ROUTERS];
        let addresses = || vec![AddressSlot::BLANK; 2 * limits::ADDRESSES];
        // LB's is the daemon's `lb_storage` to the row.
        let rows = |times| vec![ServiceRow::blank(); times * limits::SERVICES];
        let destinations = |times| vec![BLANK_DESTINATION; times * limits::DESTINATIONS];
        let members = || vec![MemberState::NONE; limits::DESTINATIONS];
        let states = || vec![ServiceState::default(); limits::SERVICES];
        Self {
            instances: [instances(), instances()],
            addresses: [addresses(), addresses()],
            address_index: vec![0; 2 * limits::ADDRESSES],
            agenda: vec![Entry::EMPTY; 2 * limits::ROUTERS],
            ha_timers: vec![time::Slot::EMPTY; 2 * limits::ROUTERS],
            adverts: vec![Prepared::EMPTY; 2 * limits::ROUTERS],
            interfaces: vec![Interface::blank(); INTERFACES.len()],
            tracks: vec![TrackSlot::BLANK; 8],
            cells: vec![TrackState::Unknown; CELLS.into()],
            groups: vec![GroupSlot::BLANK; limits::ROUTERS],
            ha_records: vec![Frame::EMPTY; 256],
            rows: [1, 2, 2].map(rows),
            destinations: [1, 2, 2].map(destinations),
            states: [states(), states()],
            members: [members(), members()],
            ramps: vec![time::Slot::EMPTY; limits::SERVICES],
            links: vec![Link::NONE; limits::DESTINATIONS],
            checks: vec![Slot::EMPTY; limits::CHECKS],
            asides: vec![check::Aside::EMPTY; limits::CHECKS],
            timers: vec![time::Slot::EMPTY; limits::CHECKS],
            manners: vec![check::MannerSlot::EMPTY; limits::CHECKS],
            sockets: vec![Socket::EMPTY; 2 * SOCKETS_MAX],
            paces: vec![check::Pace::FREE; limits::SERVICES + limits::DESTINATIONS],
            scripts: vec![0; 256],
            request: vec![0; 1024],
            lb_records: vec![Frame::EMPTY; 512],
        }
    }

    /// The two halves over this memory, with so many check sockets of each
    /// family.
    pub fn halves(&mut self, settings: Settings, sockets: usize) -> (Ha<'_>, Lb<'_>) {
        let [instances, spare_instances] = &mut self.instances;
        let [addresses, spare_addresses] = &mut self.addresses;
        let ha = Ha::new(HaStorage {
            instances: [instances, spare_instances],
            addresses: [addresses, spare_addresses],
            address_index: &mut self.address_index,
            agenda: (&mut self.agenda, &mut self.ha_timers),
            adverts: &mut self.adverts,
            interfaces: &mut self.interfaces,
            tracks: &mut self.tracks,
            cells: &mut self.cells,
            groups: &mut self.groups,
            records: &mut self.ha_records,
        });
        let [desired, target, actual] = &mut self.rows;
        let [desired_rows, target_rows, actual_rows] = &mut self.destinations;
        let [states, spare_states] = &mut self.states;
        let [members, spare_members] = &mut self.members;
        let lb = Lb::new(LbStorage {
            desired: TableBuf::new(desired, desired_rows),
            target: TableBuf::new(target, target_rows),
            actual: TableBuf::new(actual, actual_rows),
            services: [states, spare_states],
            members: [members, spare_members],
            timers: &mut self.ramps,
            links: &mut self.links,
            checks: check::Storage {
                checks: &mut self.checks,
                asides: &mut self.asides,
                timers: &mut self.timers,
                manners: &mut self.manners,
                sockets: &mut self.sockets[..2 * sockets.min(SOCKETS_MAX)],
                scripts: &mut self.scripts,
                request: &mut self.request,
                desks: &mut [],
                paces: &mut self.paces,
            },
            settings,
            records: &mut self.lb_records,
        });
        (ha, lb)
    }
}

/// A socket of a check, as the kernel sees it.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// Counts connections: what came of an earlier one is not told any more.
    pub epoch: u64,
    /// What was said on it so far.
    pub said: Vec<u8>,
    /// What lies in it unread.
    pub mail: VecDeque<Came>,
}

impl Probe {
    /// A connection ends, and the next one may begin.
    pub fn renew(&mut self) {
        self.epoch += 1;
        self.said.clear();
        self.mail.clear();
    }
}

/// The daemon while it lives.
#[derive(Debug)]
pub struct Life<'m> {
    /// Which one: wake-ups of an earlier one mean nothing.
    pub number: u64,
    pub ha: Ha<'m>,
    pub lb: Lb<'m>,
    pub packets: VecDeque<Packet>,
    /// Something was left for the next turn.
    pub more: bool,
    /// Since when there were always packets left that no turn had read.
    pub unheard_since: Option<Instant>,
    /// Sockets that are ready: which, of which connection, and what came of it.
    pub ready: VecDeque<(u32, u64, Came)>,
    pub probes: Vec<Probe>,
    /// When each loop wakes next.
    pub ha_armed: Option<Instant>,
    pub lb_armed: Option<Instant>,
    /// Until when each loop does not run.
    pub ha_paused: Instant,
    pub lb_paused: Instant,
    /// Index of the interface each pair of raw sockets is bound to.
    pub ports: [Option<u32>; INTERFACES.len()],
    pub ports_version: u64,
    pub ports_again: Option<Instant>,
    /// Cells of the memory page in use.
    pub cells_used: usize,
    /// What was told last of each virtual router.
    pub told: BTreeMap<InstanceName, Standing>,
    /// Told to shut down.
    pub leaving: bool,
    pub ha_done: bool,
    pub lb_done: bool,
    /// The process dies after so many more things it did.
    pub doom: Option<u32>,
    /// Turns since time last went on.
    pub turns: (Instant, u32),
    /// The slot from HA to LB, and what LB took out of it last.
    pub role: Option<Role>,
    pub role_told: Option<Role>,
}

/// See the module's words.
#[derive(Debug)]
pub struct Node<'m> {
    pub id: usize,
    /// This node's clock began earlier than the world's.
    pub offset: Duration,
    pub route: RouteKernel,
    pub ipvs: IpvsKernel,
    /// The page of memory that outlives the process.
    pub cells: Vec<Memory>,
    /// The config file, and which edit of it that is.
    pub plan: Plan,
    pub edit: u64,
    pub life: Option<Life<'m>>,
    /// The page of memory for the guardian, and the guardian while it acts.
    pub will: Will,
    pub executor: Option<Executor<'m>>,
    /// What of the things tracked is so, and from when on it is found out.
    pub tracked: [TrackState; CELLS as usize],
    pub tracked_from: Instant,
    /// Until when its kernel takes no advert, and since when it has taken none of
    /// an Active.
    pub mute_until: Instant,
    pub silent: BTreeMap<Key, Instant>,
    /// Room for requests in one datagram, bytes.
    pub request_bytes: usize,
    /// Check sockets of each family.
    pub sockets: usize,
}

impl Node<'_> {
    pub fn new(id: usize, seed: u64, plan: Plan) -> Self {
        let mut random = Random::stream(seed, &format!("node {id}"));
        let mut route = RouteKernel::new(Random::new(random.next()));
        for (at, name) in INTERFACES.into_iter().enumerate() {
            route.create(name, mac(at, id));
            put_own_addresses(&mut route, at, id);
        }
        Self {
            id,
            offset: random.time(Duration::ZERO, Duration::from_secs(1_000_000)),
            route,
            ipvs: IpvsKernel::new(Random::new(random.next())),
            cells: Vec::new(),
            plan,
            edit: 0,
            life: None,
            will: Will::default(),
            executor: None,
            tracked: [TrackState::Up; CELLS as usize],
            tracked_from: Instant::ZERO,
            mute_until: Instant::ZERO,
            silent: BTreeMap::new(),
            request_bytes: random.pick(&[400, 32 * 1024]),
            sockets: random.pick(&[3, limits::CHECKS]),
        }
    }

    /// The world's time on this node's clock.
    pub fn local(&self, now: Instant) -> Instant {
        now + self.offset
    }
}

/// What the system's own network configuration gives an interface.
pub fn put_own_addresses(route: &mut RouteKernel, interface: usize, node: usize) {
    let name = INTERFACES[interface];
    route.put(name, own_v4(interface, node), 24, 0x80);
    route.put(name, own_v6(interface, node), 64, 0x80);
}
