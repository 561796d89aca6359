//! What a large table costs, counted: requests, datagrams, rows looked at. No
//! time is measured, so a cost that grows with the wrong thing shows anywhere.

use super::half::{Limits, half};
use super::ipvs_kernel::{IpvsKernel, Row};
use super::ipvs_request::Op;
use super::netlink::Received;
use super::random::Random;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use trunnion_core::check::probe::outside::Outcome;
use trunnion_core::check::{self, Action, CheckConfig, Kind, SocketId};
use trunnion_core::director::lb::{BATCH_MAX, KernelCounters, Lb};
use trunnion_core::director::plan::{AUDIT, LbPlan, Member, ServicePolicy};
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Protocol, Service, ServiceKey, ServiceRow, Table,
};
use trunnion_core::netlink::Errno;
use trunnion_core::time::{Duration, Instant};

mod verdicts;

const SERVICES: usize = 500;
/// Destinations of each.
const EACH: usize = 10;
const DESTINATIONS: usize = SERVICES * EACH;
const SOCKETS: u32 = 640;
const ERRANDS: u32 = 16;

fn service_of(at: usize) -> Service {
    let [.., high, low] = at.to_be_bytes();
    let key = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::from([10, 1, high, low]),
        port: 80,
    };
    Service::new(key, "wrr".try_into().unwrap())
}

fn address_of(at: usize) -> IpAddr {
    let [.., high, low] = at.to_be_bytes();
    IpAddr::from([10, 2, high, low])
}

/// A plan, owned.
struct Plan {
    services: Vec<ServiceRow>,
    destinations: Vec<Destination>,
    policies: Vec<ServicePolicy>,
    links: Vec<Option<u32>>,
    members: Vec<Member>,
    backend_checks_per_second: u32,
    checks: Vec<CheckConfig>,
    scripts: Vec<u64>,
}

impl Plan {
    fn new(checked: bool) -> Self {
        let count = |n: usize| u32::try_from(n).unwrap();
        let services = (0..SERVICES).map(|at| ServiceRow {
            service: service_of(at),
            first: count(at * EACH),
            count: count(EACH),
        });
        let destinations = (0..DESTINATIONS).map(|at| {
            let key = DestinationKey {
                address: address_of(at),
                port: 80,
            };
            Destination::new(key, Forward::MASQ, 5)
        });
        let checks = (0..DESTINATIONS).map(|at| CheckConfig {
            rise: 1,
            fall: 1,
            ..CheckConfig::new(
                Kind::Tcp { half_open: false },
                SocketAddr::new(address_of(at), 80),
            )
        });
        let links = (0..DESTINATIONS).map(|at| checked.then(|| count(at)));
        Self {
            services: services.collect(),
            destinations: destinations.collect(),
            policies: vec![
                ServicePolicy {
                    min_healthy: 1,
                    ..ServicePolicy::default()
                };
                SERVICES
            ],
            links: links.collect(),
            members: Vec::new(),
            backend_checks_per_second: 0,
            checks: if checked {
                checks.collect()
            } else {
                Vec::new()
            },
            scripts: Vec::new(),
        }
    }

    fn plan(&self) -> LbPlan<'_> {
        LbPlan {
            table: Table {
                services: &self.services,
                destinations: &self.destinations,
            },
            policies: &self.policies,
            links: &self.links,
            members: &self.members,
            checks: &self.checks,
            scripts: check::probe::Scripts::from_words(&self.scripts),
            backend_checks_per_second: self.backend_checks_per_second,
            declared_only: false,
            audit: AUDIT,
            sync: None,
        }
    }
}

/// A half, a kernel, and a clock that goes where there is something to do.
struct Stage {
    lb: Lb<'static>,
    kernel: IpvsKernel,
    now: Instant,
    /// Backends that refuse.
    dead: Vec<IpAddr>,
    /// Backends that say nothing, and the probes they leave unanswered.
    silent: Vec<IpAddr>,
    flying: Vec<SocketId>,
    /// How often each address was asked.
    asked: BTreeMap<IpAddr, u64>,
    /// What is in every file.
    content: &'static [u8],
}

impl Stage {
    fn new() -> Self {
        Self {
            lb: half(Limits {
                services: SERVICES,
                backends: DESTINATIONS,
                sockets: SOCKETS,
                errands: ERRANDS,
            }),
            kernel: IpvsKernel::new(Random::new(1)),
            now: Instant::ZERO + Duration::from_secs(1),
            dead: Vec::new(),
            silent: Vec::new(),
            flying: Vec::new(),
            asked: BTreeMap::new(),
            content: b"",
        }
    }

    /// An earlier run of the daemon has left what a plan says.
    fn serve(&mut self, plan: &Plan) {
        let rows = plan.services.iter().map(|row| Row {
            service: row.service.clone(),
            destinations: plan.destinations[row.range()].to_vec(),
        });
        self.kernel.rows.extend(rows);
    }

    fn take(&mut self, plan: &Plan) {
        self.lb.handle_plan(self.now, &plan.plan()).unwrap();
        self.settle();
        assert!(self.lb.is_settled());
    }

    /// Lets both talk until neither has anything to say.
    fn settle(&mut self) {
        let mut buf = [0; trunnion_core::ipvs::BATCH_BYTES];
        while let Some(len) = self.lb.poll_ipvs(self.now, &mut buf) {
            self.kernel.send(&buf[..len]).unwrap();
            while let Some(received) = self.kernel.receive() {
                let Received::Datagram(datagram) = received else {
                    panic!("nothing is lost here");
                };
                self.lb.handle_ipvs(self.now, &datagram);
            }
        }
        while self.lb.poll_record().is_some() {}
    }

    /// Lets so much time go by.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.lb.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.lb.handle_timeout(self.now);
            while let Some(action) = self.lb.poll_probe(self.now) {
                match action {
                    Action::Connect { socket, target, .. } => self.answer(socket, target),
                    Action::Errand { socket, .. } => {
                        let _ = self.lb.errand(self.now, socket).unwrap();
                        let content = Outcome::Content(self.content);
                        self.lb.handle_outcome(self.now, socket, &content, &[]);
                    }
                    Action::Disconnect { .. } => {}
                    other @ (Action::Secure { .. }
                    | Action::Send { .. }
                    | Action::Datagram { .. }) => panic!("{other:?}"),
                }
            }
            self.settle();
        }
        self.now = end;
    }

    fn answer(&mut self, socket: SocketId, target: SocketAddr) {
        *self.asked.entry(target.ip()).or_default() += 1;
        if self.silent.contains(&target.ip()) {
            self.flying.push(socket);
        } else if self.dead.contains(&target.ip()) {
            self.lb.handle_failed(self.now, socket, Errno(111));
        } else {
            self.lb.handle_connected(self.now, socket);
        }
    }

    fn counters(&self) -> KernelCounters {
        *self.lb.kernel_counters()
    }
}

const fn batches(changes: usize) -> u64 {
    changes.div_ceil(BATCH_MAX) as u64
}

#[test]
fn a_table_is_made_with_a_request_for_each_row() {
    let mut stage = Stage::new();
    stage.take(&Plan::new(false));
    let made = KernelCounters {
        new_service: SERVICES as u64,
        new_dest: DESTINATIONS as u64,
        compared: DESTINATIONS as u64,
        dumps: 1,
        // The family, the services of an empty table, and the changes.
        datagrams: 2 + batches(SERVICES + DESTINATIONS),
        ..KernelCounters::default()
    };
    assert_eq!(stage.counters(), made);
    // A reload that changes nothing looks once, and one that changes a row
    // sends it.
    stage.take(&Plan::new(false));
    let looked = KernelCounters {
        compared: made.compared + DESTINATIONS as u64,
        ..made
    };
    assert_eq!(stage.counters(), looked);
    let mut changed = Plan::new(false);
    changed.destinations[DESTINATIONS / 2].weight = 7;
    stage.take(&changed);
    let sent = KernelCounters {
        compared: looked.compared + DESTINATIONS as u64,
        set_dest: 1,
        datagrams: looked.datagrams + 1,
        ..looked
    };
    assert_eq!(stage.counters(), sent);
}

#[test]
fn an_equal_table_is_adopted_without_a_write() {
    let plan = Plan::new(false);
    let mut stage = Stage::new();
    stage.serve(&plan);
    stage.take(&plan);
    let read = KernelCounters {
        compared: DESTINATIONS as u64,
        dumps: 1,
        // One for each service: the kernel has no dump of everything.
        datagrams: 2 + SERVICES as u64,
        ..KernelCounters::default()
    };
    assert_eq!(stage.counters(), read);
    assert!(stage.kernel.tried.is_empty());
}

#[test]
fn a_service_goes_with_its_destinations_in_one_request() {
    let mut stage = Stage::new();
    stage.take(&Plan::new(false));
    let before = stage.counters();
    stage.lb.handle_shutdown(stage.now, true);
    stage.settle();
    assert!(stage.lb.is_finished(stage.now));
    let cleared = KernelCounters {
        del_service: SERVICES as u64,
        datagrams: before.datagrams + batches(SERVICES),
        ..before
    };
    assert_eq!(stage.counters(), cleared);
    assert!(stage.kernel.rows.is_empty());
}

#[test]
fn a_verdict_costs_what_its_service_has_and_not_what_there_is() {
    let mut stage = Stage::new();
    stage.take(&Plan::new(true));
    stage.run(Duration::from_secs(6));
    assert!(stage.lb.is_ready());
    let weighted = |stage: &Stage| {
        let rows = stage.kernel.rows.iter().flat_map(|row| &row.destinations);
        rows.filter(|d| d.weight == 5).count()
    };
    assert_eq!(weighted(&stage), DESTINATIONS);
    // Each verdict of the start was one row of its own service at most.
    let started = stage.counters();
    let most = DESTINATIONS + DESTINATIONS * EACH;
    assert!(started.compared <= most as u64, "{started:?}");

    stage.kernel.tried.clear();
    let dead = address_of(EACH * 100 + 3);
    stage.dead = vec![dead];
    stage.run(Duration::from_secs(6));
    let fallen = KernelCounters {
        set_dest: started.set_dest + 1,
        compared: started.compared + EACH as u64,
        datagrams: started.datagrams + 1,
        ..started
    };
    assert_eq!(stage.counters(), fallen);
    let ops: Vec<&Op> = stage.kernel.tried.iter().map(|tried| &tried.op).collect();
    let [Op::SetDestination(key, row)] = ops.as_slice() else {
        panic!("{ops:?}");
    };
    assert_eq!(*key, service_of(100).key);
    assert_eq!((row.key.address, row.weight), (dead, 0));

    // It comes back, and a whole look finds everything as it should be.
    stage.dead.clear();
    stage.run(Duration::from_secs(6));
    assert_eq!(weighted(&stage), DESTINATIONS);
    stage.kernel.tried.clear();
    stage.take(&Plan::new(true));
    stage.run(Duration::from_secs(70));
    assert!(stage.counters().dumps >= 2);
    assert!(stage.kernel.tried.is_empty());
}
