//! What the operator wants of the cluster, and the plan of each node that
//! follows from it.

use super::backends::check;
use super::moves::Moves;
pub use super::plan::{Plan, key_of};
use super::random::Random;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use trunnion_core::check::CheckConfig;
use trunnion_core::director::plan::{
    Instance, InterfaceName, Member, OperatorState, Peers, ServicePolicy, SyncPlan, SyncRoles,
    VirtualAddress,
};
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceKey, ServiceRow,
    SyncDaemon, SyncState,
};
use trunnion_core::route::Scope;
use trunnion_core::time::Duration;
use trunnion_core::vrrp::{AdvertForm, AnnounceConfig, Centis, RouterConfig, TTL};

/// Names of the interfaces, each on a segment of its own.
pub const INTERFACES: [&str; 2] = ["eth0", "eth1"];
/// Backends there are, over IPv4 and over IPv6.
pub const BACKENDS: u8 = 6;

/// A virtual router as all nodes name it: interface, family, VRID.
pub type Key = (usize, Family, u8);

/// Limits a run is started with.
pub mod limits {
    /// Virtual routers.
    pub const ROUTERS: usize = 5;
    /// Virtual addresses.
    pub const ADDRESSES: usize = 24;
    /// Services, and there are so many.
    pub const SERVICES: usize = 8;
    /// Destinations of all services, each of which may have all backends.
    pub const DESTINATIONS: usize = SERVICES * super::BACKENDS as usize;
    /// Different checks.
    pub const CHECKS: usize = 40;
}

/// The address of a node's own on an interface.
pub fn own_v4(interface: usize, node: usize) -> IpAddr {
    IpAddr::from([10, 0, byte(interface), byte(node + 1)])
}

/// The link-local address of a node on an interface.
pub fn own_v6(interface: usize, node: usize) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        0,
        0,
        u16::from(byte(interface)),
        u16::from(byte(node + 1)),
    ))
}

/// A node's address of a family.
pub fn own(interface: usize, node: usize, family: Family) -> IpAddr {
    match family {
        Family::V4 => own_v4(interface, node),
        Family::V6 => own_v6(interface, node),
    }
}

/// The hardware address of a node on an interface.
pub fn mac(interface: usize, node: usize) -> [u8; 6] {
    [2, 0, 0, 0, byte(interface), byte(node + 1)]
}

/// The hardware address that hosts know an address of a virtual router by,
/// while a node is Active.
pub fn known_mac(group: &Group, node: usize) -> [u8; 6] {
    let (interface, family, vrid) = group.key;
    match group.virtual_mac {
        true => trunnion_core::vrrp::virtual_mac(family, vrid).0,
        false => mac(interface, node),
    }
}

/// Name of a virtual router's macvlan: the same vrid may be on each interface.
fn macvlan((interface, family, vrid): Key) -> InterfaceName {
    let six = if family == Family::V6 { "6" } else { "" };
    let name = format!("vrrp{six}.{vrid}.{interface}");
    name.as_str().try_into().expect("short")
}

fn byte(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// A virtual router of the cluster.
#[derive(Clone, Debug)]
pub struct Group {
    pub key: Key,
    pub interval: u16,
    pub addresses: Vec<VirtualAddress>,
    pub unicast: bool,
    /// Its addresses have the virtual router's MAC address.
    pub virtual_mac: bool,
    pub form: Option<AdvertForm>,
    pub announce: AnnounceConfig,
    /// Priority, preemption and its delay on each node.
    pub members: Vec<(u8, bool, Duration)>,
}

/// A service of the cluster; its destinations with their checks.
#[derive(Clone, Debug)]
pub struct Balanced {
    pub service: Service,
    pub policy: ServicePolicy,
    pub destinations: Vec<(Destination, Option<CheckConfig>)>,
    /// What some of them are, besides.
    pub members: BTreeMap<DestinationKey, Member>,
}

/// See the module's words.
#[derive(Clone, Debug)]
pub struct Site {
    pub nodes: usize,
    pub groups: Vec<Group>,
    pub services: Vec<Balanced>,
    pub declared_only: bool,
    /// In which state the synchronization daemons run; those that follow
    /// follow the first group.
    pub sync: Option<SyncRoles>,
    /// How often a node looks for what others changed: 16 of these are less than
    /// the time there is to heal.
    pub audit: Duration,
    /// Groups and tracks.
    pub moves: Moves,
}

fn roles(r: &mut Random) -> Option<SyncRoles> {
    let (sends, hears) = (true, true);
    r.pick(&[
        None,
        Some(SyncRoles::Follow),
        Some(SyncRoles::Follow),
        Some(SyncRoles::Fixed { sends, hears }),
    ])
}

impl Site {
    pub fn draw(seed: u64, r: &mut Random, nodes: usize) -> Self {
        let mut site = Self {
            moves: Moves::draw(seed),
            nodes,
            groups: Vec::new(),
            services: Vec::new(),
            declared_only: r.chance(300),
            sync: roles(r),
            audit: r.time(Duration::from_secs(1), Duration::from_secs(4)),
        };
        for _ in 0..=r.index(3) {
            site.add_group(r);
        }
        for _ in 0..=r.index(4) {
            site.add_service(r);
        }
        site
    }

    fn add_group(&mut self, r: &mut Random) {
        let family = r.pick(&[Family::V4, Family::V4, Family::V6]);
        let key = (r.index(2), family, r.small(1, 4));
        if self.groups.len() >= limits::ROUTERS || self.groups.iter().any(|g| g.key == key) {
            return;
        }
        let interval = if r.chance(50) {
            u16::from(r.small(1, 9))
        } else {
            r.pick(&[10, 20, 50, 100, 100, 200])
        };
        let mut announce = AnnounceConfig {
            repeat: r.small(1, 5),
            ..AnnounceConfig::DEFAULT
        };
        announce.refresh = r.pick(&[Duration::ZERO, Duration::from_secs(20)]);
        let preempt = r.chance(800);
        let members = (0..self.nodes)
            .map(|_| {
                let delay = if r.chance(150) { r.between(1, 4) } else { 0 };
                (priority(r), preempt, Duration::from_secs(delay))
            })
            .collect();
        let mut group = Group {
            key,
            interval,
            addresses: Vec::new(),
            unicast: r.chance(200),
            virtual_mac: r.chance(400),
            form: r.pick(&[Some(AdvertForm::Rfc9568), Some(AdvertForm::Rfc5798), None]),
            announce,
            members,
        };
        // The first of IPv6 must be link-local.
        for n in 1..=r.small(1, 4) {
            group.add_address(n, r);
        }
        self.groups.push(group);
    }

    fn add_service(&mut self, r: &mut Random) {
        let family = r.pick(&[Family::V4, Family::V4, Family::V6]);
        let key = if r.chance(200) {
            let mark = u32::from(r.small(1, 5));
            ServiceKey::Fwmark { mark, family }
        } else {
            let last = r.small(1, 3);
            ServiceKey::Address {
                protocol: r.pick(&[Protocol::TCP, Protocol::UDP]),
                address: match family {
                    Family::V4 => IpAddr::from([10, 1, 1, last]),
                    Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)),
                },
                port: r.pick(&[80, 443]),
            }
        };
        if self.services.len() >= limits::SERVICES
            || self.services.iter().any(|s| s.service.key == key)
        {
            return;
        }
        let scheduler = r.pick(&["wrr", "wlc", "mh"]);
        let mut balanced = Balanced {
            service: Service::new(key, scheduler.try_into().expect("short")),
            policy: ServicePolicy {
                min_healthy: r.pick(&[0, 1, 1, 1, 2]),
                quorum: r.pick(&[0, 0, 1, 2, 4]),
                hysteresis: 0,
                slow_start: Duration::from_secs(r.pick(&[0, 0, 2, 10])),
                checks_per_second: 0,
            },
            destinations: Vec::new(),
            members: BTreeMap::new(),
        };
        balanced.policy.hysteresis = r.pick(&[0, 1]).min(balanced.policy.quorum);
        for _ in 0..=r.index(5) {
            balanced.add_destination(r);
        }
        let last = balanced.destinations.last_mut();
        if let Some((destination, _)) = last.filter(|_| r.chance(250)) {
            destination.weight = destination.weight.max(1);
            let member = Member {
                sorry: true,
                ..Member::default()
            };
            balanced.members.insert(destination.key, member);
        }
        self.services.push(balanced);
    }

    /// An operator has something to say of a backend.
    pub fn order(&mut self, r: &mut Random) -> Option<(ServiceKey, DestinationKey, OperatorState)> {
        let at = r.index(self.services.len());
        let balanced = &mut self.services[at];
        let state = r.pick(&OperatorState::ALL);
        if balanced.destinations.is_empty() {
            return None;
        }
        let at = r.index(balanced.destinations.len());
        let key = balanced.destinations[at].0.key;
        balanced.members.entry(key).or_default().operator = state;
        Some((balanced.service.key, key, state))
    }

    /// The operator edits the config.
    pub fn change(&mut self, r: &mut Random) {
        self.moves.change();
        for _ in 0..r.between(1, 3) {
            match r.below(14) {
                0 => self.add_group(r),
                1 if self.groups.len() > 1 => {
                    let at = r.index(self.groups.len());
                    self.groups.remove(at);
                }
                2 => {
                    let at = r.index(self.groups.len());
                    let n = r.small(5, 9);
                    self.groups[at].add_address(n, r);
                }
                3 => {
                    let at = r.index(self.groups.len());
                    let addresses = &mut self.groups[at].addresses;
                    if addresses.len() > 1 {
                        addresses.remove(r.index(addresses.len() - 1) + 1);
                    }
                }
                4 if r.chance(300) => {
                    let at = r.index(self.groups.len());
                    let addresses = &mut self.groups[at].addresses;
                    let at = r.index(addresses.len());
                    let whole = Family::of(&addresses[at].address).bits();
                    addresses[at].prefix = r.pick(&[whole, whole - 1]);
                }
                4 => {
                    let (at, node) = (r.index(self.groups.len()), r.index(self.nodes));
                    self.groups[at].members[node].0 = priority(r);
                }
                5 => {
                    let at = r.index(self.groups.len());
                    self.groups[at].interval = r.pick(&[10, 30, 100, 200]);
                }
                6 => self.add_service(r),
                7 if self.services.len() > 1 => {
                    let at = r.index(self.services.len());
                    self.services.remove(at);
                }
                8 => {
                    let at = r.index(self.services.len());
                    self.services[at].add_destination(r);
                }
                9 => {
                    let at = r.index(self.services.len());
                    let destinations = &mut self.services[at].destinations;
                    if !destinations.is_empty() {
                        destinations.remove(r.index(destinations.len()));
                    }
                }
                10 => {
                    // All others in their place.
                    let at = r.index(self.services.len());
                    let service = &mut self.services[at];
                    let old = std::mem::take(&mut service.destinations);
                    for _ in 0..=r.index(3) {
                        service.add_destination(r);
                    }
                    let keys: Vec<_> = old.iter().map(|(d, _)| d.key).collect();
                    service.destinations.retain(|(d, _)| !keys.contains(&d.key));
                }
                11 => self.sync = roles(r),
                12 => {
                    let at = r.index(self.groups.len());
                    self.groups[at].virtual_mac ^= true;
                }
                _ => {
                    let at = r.index(self.services.len());
                    for (destination, _) in &mut self.services[at].destinations {
                        destination.weight = r.pick(&[0, 1, 1, 5]);
                    }
                }
            }
        }
    }

    /// What follows for one node.
    pub fn plan(&self, node: usize) -> Plan {
        let mut plan = Plan {
            declared_only: self.declared_only,
            audit: self.audit,
            sync: self.sync.map(|roles| SyncPlan {
                daemon: SyncDaemon::new(
                    SyncState::MASTER,
                    INTERFACES[0].try_into().expect("short"),
                    51,
                ),
                roles,
            }),
            ..Plan::default()
        };
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|g| (INTERFACES[g.key.0], g.key.1, g.key.2));
        for group in groups {
            let (interface, family, vrid) = group.key;
            let (priority, preempt, preempt_delay) = group.members[node];
            let first = plan.addresses.len();
            plan.addresses.extend(&group.addresses);
            let peers: Peers = (0..self.nodes)
                .filter(|peer| group.unicast && *peer != node)
                .map(|peer| own(interface, peer, family))
                .collect();
            plan.instances.push(Instance {
                name: format!("{interface}-{family:?}-{vrid}")
                    .as_str()
                    .try_into()
                    .expect("short"),
                interface: INTERFACES[interface].try_into().expect("short"),
                router: RouterConfig {
                    priority,
                    interval: Centis::new(group.interval).expect("in range"),
                    preempt,
                    preempt_delay,
                    announce: group.announce,
                    ..RouterConfig::new(vrid, family)
                },
                form: group.form,
                ttl_min: TTL,
                scope: Scope::UNIVERSE,
                label: InterfaceName::new(),
                macvlan: group.virtual_mac.then(|| macvlan(group.key)),
                peers,
                addresses_first: u32::try_from(first).expect("few"),
                addresses_count: u32::try_from(group.addresses.len()).expect("few"),
                tracks: Default::default(),
                group: None,
                followed: self.sync == Some(SyncRoles::Follow) && group.key == self.groups[0].key,
            });
        }
        self.moves.plan(&mut plan);
        self.balance(&mut plan);
        plan
    }

    fn balance(&self, plan: &mut Plan) {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by_key(|s| s.service.key);
        let mut checks: Vec<_> = services
            .iter()
            .flat_map(|s| s.destinations.iter().filter_map(|(_, check)| *check))
            .collect();
        checks.sort_unstable();
        checks.dedup();
        for balanced in services {
            let mut destinations = balanced.destinations.clone();
            destinations.sort_by_key(|(d, _)| d.key);
            plan.services.push(ServiceRow {
                service: balanced.service.clone(),
                first: u32::try_from(plan.destinations.len()).expect("few"),
                count: u32::try_from(destinations.len()).expect("few"),
            });
            plan.policies.push(balanced.policy);
            for (destination, check) in destinations {
                let member = balanced.members.get(&destination.key);
                plan.members.push(member.copied().unwrap_or_default());
                plan.destinations.push(destination);
                let at = check.and_then(|check| checks.binary_search(&check).ok());
                plan.links
                    .push(at.map(|at| u32::try_from(at).expect("few")));
            }
        }
        plan.checks = checks;
    }
}

impl Group {
    fn add_address(&mut self, n: u8, r: &mut Random) {
        let (interface, family, vrid) = self.key;
        let (address, prefix) = match family {
            Family::V4 => (
                IpAddr::V4(Ipv4Addr::new(10, 2 + byte(interface), vrid, n)),
                // Those of one subnet depend on its first one.
                r.pick(&[32, 32, 24]),
            ),
            Family::V6 => {
                let (site, vrid) = (u16::from(byte(interface)), u16::from(vrid));
                let ip = if self.addresses.is_empty() {
                    Ipv6Addr::new(0xfe80, 0, 0, 0, 1, site, vrid, n.into())
                } else {
                    Ipv6Addr::new(0x2001, 0xdb8, 2, site, vrid, 0, 0, n.into())
                };
                (IpAddr::V6(ip), 128)
            }
        };
        if self.addresses.iter().all(|a| a.address != address) {
            self.addresses.push(VirtualAddress { address, prefix });
        }
    }
}

impl Balanced {
    fn add_destination(&mut self, r: &mut Random) {
        let family = self.service.key.family();
        let key = DestinationKey {
            address: backend(family, r.small(1, BACKENDS)),
            port: 80,
        };
        if self.destinations.iter().any(|(d, _)| d.key == key) {
            return;
        }
        let weight = r.pick(&[0, 1, 1, 2, 5]);
        let check = r.chance(850).then(|| check(key, r));
        let new = Destination::new(key, Forward::ROUTE, weight);
        self.destinations.push((new, check));
    }
}

/// The address of a backend.
pub fn backend(family: Family, n: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([10, 9, 0, n]),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, n.into())),
    }
}

fn priority(r: &mut Random) -> u8 {
    match r.below(10) {
        0 => 255,
        1..=3 => 100,
        _ => r.small(1, 254),
    }
}
