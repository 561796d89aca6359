//! Who else writes into a node's kernel: people, and other programs.

use super::ipvs_request::Op;
use super::site::{INTERFACES, backend, own_v4};
use super::world::World;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Service, ServiceKey, SyncState,
};

impl World<'_> {
    /// Someone takes one of the virtual addresses off.
    pub fn steal(&mut self, node: usize) {
        if self.random.chance(300) {
            // The system's own address goes and comes back, behind the others.
            let interface = self.random.index(INTERFACES.len());
            let route = &mut self.nodes[node].route;
            let address = own_v4(interface, node);
            if route.take(address) {
                route.put(INTERFACES[interface], address, 24, 0x80);
                self.note(|| format!("node {node}: someone puts {address} on again"));
                self.watch.disturbed(self.now);
                self.wake_ha_soon(node);
            }
            return;
        }
        if self.random.chance(300) {
            if let Some(name) = self.nodes[node].route.meddle() {
                self.note(|| format!("node {node}: someone meddles with {name}"));
                self.watch.disturbed(self.now);
                self.wake_ha_soon(node);
            }
            return;
        }
        let addresses = &self.nodes[node].plan.addresses;
        if addresses.is_empty() {
            return;
        }
        let address = addresses[self.random.index(addresses.len())].address;
        if self.nodes[node].route.take(address) {
            self.note(|| format!("node {node}: someone takes {address} off"));
            self.wake_ha_soon(node);
        }
    }

    /// On every node someone else gives the first service's first destination a
    /// weight of their own, wherever it has not got it.
    pub fn insist(&mut self) {
        for node in 0..self.nodes.len() {
            let row = self.nodes[node].plan.services.first();
            let Some(row) = row.and_then(|row| self.nodes[node].ipvs.row(&row.service.key)) else {
                continue;
            };
            let first = row.destinations.iter().min_by_key(|d| d.key);
            let Some(mut first) = first.copied().filter(|d| d.weight != 77) else {
                continue;
            };
            first.weight = 77;
            let op = Op::SetDestination(row.service.key, first);
            let answer = self.nodes[node].ipvs.apply(&op);
            self.note(|| format!("node {node}: a rival asks {op:?}: {answer}"));
            self.watch.written(self.now, node);
        }
    }

    /// Someone else writes into the IPVS table: a service of their own, or one
    /// of ours spoilt.
    pub fn write(&mut self, node: usize) {
        if self.random.chance(200) {
            let daemons = &mut self.nodes[node].ipvs.daemons;
            daemons.swap(0, 1);
            daemons[self.random.index(2)] = None;
            for (daemon, state) in daemons
                .iter_mut()
                .zip([SyncState::MASTER, SyncState::BACKUP])
            {
                if let Some(daemon) = daemon {
                    daemon.state = state;
                }
            }
            self.note(|| format!("node {node}: someone else stops and starts daemons"));
        }
        let plan = &self.nodes[node].plan;
        let r = &mut self.random;
        let ours =
            (!plan.services.is_empty()).then(|| &plan.services[r.index(plan.services.len())]);
        let stranger = DestinationKey {
            address: backend(Family::V4, 99),
            port: 80,
        };
        let op = match (r.below(5), ours) {
            (0, Some(row)) => Op::DeleteService(row.service.key),
            (1, Some(row)) if row.count > 0 => {
                let at = row.range().start + r.index(row.count as usize);
                Op::DeleteDestination(row.service.key, plan.destinations[at].key)
            }
            (2, Some(row)) if row.service.key.family() == Family::V4 => {
                let new = Destination::new(stranger, Forward::MASQ, 1);
                Op::NewDestination(row.service.key, new)
            }
            (3, Some(row)) if row.count > 0 => {
                let at = row.range().start + r.index(row.count as usize);
                let mut spoilt = plan.destinations[at];
                spoilt.weight = 77;
                Op::SetDestination(row.service.key, spoilt)
            }
            _ => {
                let mark = 1000 + u32::from(r.small(1, 3));
                let family = Family::V4;
                let key = ServiceKey::Fwmark { mark, family };
                Op::NewService(Service::new(key, "rr".try_into().expect("short")))
            }
        };
        let answer = self.nodes[node].ipvs.apply(&op);
        self.note(|| format!("node {node}: someone else asks {op:?}: {answer}"));
        self.watch.written(self.now, node);
    }
}
