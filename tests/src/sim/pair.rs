//! One LB half and one kernel, both small: what rows that are hidden, refused or
//! strange make of the rest of the table.

use super::half::{Limits, half};
use super::ipvs_kernel::{IpvsKernel, Row};
use super::ipvs_request::Op;
use super::netlink::Received;
use super::plan::Plan;
use super::random::Random;
use std::net::{IpAddr, SocketAddr};
use trunnion_core::check::{Action, CheckConfig, Kind};
use trunnion_core::director::lb::Lb;
use trunnion_core::director::plan::{AUDIT, Member, ServicePolicy};
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Protocol, Service, ServiceKey, ServiceRow,
};
use trunnion_core::netlink::Errno;
use trunnion_core::time::{Duration, Instant};

mod refused;
mod reload;
mod rows;

/// As `[limits]` are.
const SERVICES: usize = 4;
const DESTINATIONS: usize = 8;

fn key(last: u8) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::from([10, 1, 0, last]),
        port: 80,
    }
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([10, 2, 0, last])
}

fn destination(last: u8, weight: u32) -> Destination {
    let key = DestinationKey {
        address: address(last),
        port: 80,
    };
    Destination::new(key, Forward::MASQ, weight)
}

/// A plan of services with these backends, of weight 5.
fn plan(services: &[(u8, &[u8])], checked: bool) -> Plan {
    let mut plan = Plan {
        audit: AUDIT,
        ..Plan::default()
    };
    let count = |n: usize| u32::try_from(n).unwrap();
    for (last, backends) in services {
        plan.services.push(ServiceRow {
            service: Service::new(key(*last), "wrr".try_into().unwrap()),
            first: count(plan.destinations.len()),
            count: count(backends.len()),
        });
        plan.policies.push(ServicePolicy {
            min_healthy: 1,
            ..ServicePolicy::default()
        });
        for backend in *backends {
            plan.destinations.push(destination(*backend, 5));
            plan.members.push(Member::default());
            plan.checks.extend(checked.then(|| CheckConfig {
                rise: 1,
                fall: 1,
                ..CheckConfig::new(
                    Kind::Tcp { half_open: false },
                    SocketAddr::new(address(*backend), 80),
                )
            }));
        }
    }
    plan.checks.sort_unstable();
    plan.checks.dedup();
    let check = |d: &Destination| {
        let of = |check: &CheckConfig| check.target.ip() == d.key.address;
        plan.checks.iter().position(of).map(count)
    };
    plan.links = plan.destinations.iter().map(check).collect();
    plan
}

/// Both, and a clock that goes where there is something to do.
struct Pair {
    lb: Lb<'static>,
    kernel: IpvsKernel,
    now: Instant,
    /// Backends that refuse.
    dead: Vec<IpAddr>,
    /// What was logged.
    said: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        Self {
            lb: half(Limits {
                services: SERVICES,
                backends: DESTINATIONS,
                sockets: u32::try_from(DESTINATIONS).unwrap(),
                errands: 0,
            }),
            kernel: IpvsKernel::new(Random::new(1)),
            now: Instant::ZERO + Duration::from_secs(1),
            dead: Vec::new(),
            said: Vec::new(),
        }
    }

    fn take(&mut self, plan: &Plan) {
        self.lb.handle_plan(self.now, &plan.lb()).unwrap();
        self.talk();
    }

    /// Lets both talk until neither has anything to say.
    fn talk(&mut self) {
        let mut buf = [0; trunnion_core::ipvs::BATCH_BYTES];
        while let Some(len) = self.lb.poll_ipvs(self.now, &mut buf) {
            if self.kernel.send(&buf[..len]).is_err() {
                self.lb.handle_ipvs_lost(self.now, "a send failed");
                break;
            }
            while let Some(received) = self.kernel.receive() {
                match received {
                    Received::Datagram(datagram) => self.lb.handle_ipvs(self.now, &datagram),
                    Received::Lost => self.lb.handle_ipvs_lost(self.now, "lost"),
                }
            }
        }
        while let Some(frame) = self.lb.poll_record() {
            self.said
                .push(frame.text(super::turns::CATALOGUES).to_string());
        }
    }

    /// Lets so much time go by.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.lb.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.lb.handle_timeout(self.now);
            while let Some(action) = self.lb.poll_probe(self.now) {
                let Action::Connect { socket, target, .. } = action else {
                    continue;
                };
                if self.dead.contains(&target.ip()) {
                    self.lb.handle_failed(self.now, socket, Errno(111));
                } else {
                    self.lb.handle_connected(self.now, socket);
                }
            }
            self.talk();
        }
        self.now = end;
    }

    /// What the kernel holds of a service: last numbers of addresses, and weights.
    fn held(&self, service: u8) -> Vec<(u8, u32)> {
        let Some(row) = self.kernel.row(&key(service)) else {
            return Vec::new();
        };
        let last = |d: &Destination| match d.key.address {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        };
        let mut held: Vec<_> = row
            .destinations
            .iter()
            .map(|d| (last(d), d.weight))
            .collect();
        held.sort_unstable();
        held
    }

    /// How often something like it was logged.
    fn told(&self, what: &str) -> usize {
        self.said.iter().filter(|line| line.contains(what)).count()
    }

    /// An earlier run, or someone else, has left a service.
    fn serve(&mut self, service: u8, destinations: &[(u8, u32)]) {
        let new = destinations
            .iter()
            .map(|(last, weight)| destination(*last, *weight));
        self.kernel.rows.push(Row {
            service: Service::new(key(service), "wrr".try_into().unwrap()),
            destinations: new.collect(),
        });
    }

    /// Someone else changes the table.
    fn meddle(&mut self, op: &Op) {
        assert_eq!(self.kernel.apply(op), 0, "{op:?}");
    }
}
