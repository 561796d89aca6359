//! What one node is told, owned.

use super::site::{INTERFACES, Key};
use trunnion_core::check::CheckConfig;
use trunnion_core::director::plan::{
    GroupName, HaPlan, Instance, LbPlan, Member, OperatorState, ServicePolicy, SyncPlan, Track,
    VirtualAddress,
};
use trunnion_core::model::{Destination, DestinationKey, ServiceKey, ServiceRow, Table};
use trunnion_core::time::{Duration, Instant};

/// What one node is told.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub instances: Vec<Instance>,
    pub addresses: Vec<VirtualAddress>,
    pub services: Vec<ServiceRow>,
    pub destinations: Vec<Destination>,
    pub policies: Vec<ServicePolicy>,
    pub links: Vec<Option<u32>>,
    pub members: Vec<Member>,
    pub checks: Vec<CheckConfig>,
    pub declared_only: bool,
    pub audit: Duration,
    pub sync: Option<SyncPlan>,
    pub tracks: Vec<Track>,
    pub groups: Vec<GroupName>,
    /// When the node lets its routers begin, by its own clock.
    pub not_before: Instant,
}

impl Plan {
    pub fn ha(&self) -> HaPlan<'_> {
        HaPlan {
            instances: &self.instances,
            addresses: &self.addresses,
            tracks: &self.tracks,
            groups: &self.groups,
            not_before: self.not_before,
        }
    }

    pub fn lb(&self) -> LbPlan<'_> {
        LbPlan {
            table: self.table(),
            policies: &self.policies,
            links: &self.links,
            members: &self.members,
            checks: &self.checks,
            scripts: super::web::scripts(),
            backend_checks_per_second: 0,
            declared_only: self.declared_only,
            audit: self.audit,
            sync: self.sync.as_ref(),
        }
    }

    pub fn table(&self) -> Table<'_> {
        Table {
            services: &self.services,
            destinations: &self.destinations,
        }
    }

    /// An operator says something of a backend, which this plan may not have.
    pub fn order(
        &mut self,
        service: &ServiceKey,
        destination: &DestinationKey,
        state: OperatorState,
    ) {
        let found = self.services.iter().find(|r| r.service.key == *service);
        let Some(row) = found else { return };
        for at in row.range() {
            if self.destinations[at].key == *destination {
                self.members[at].operator = state;
            }
        }
    }

    /// The virtual router of a key.
    pub fn instance(&self, key: Key) -> Option<&Instance> {
        self.instances.iter().find(|i| key_of(i) == key)
    }

    /// The addresses of a virtual router; none where there is none.
    pub fn addresses_of(&self, key: Key) -> &[VirtualAddress] {
        let instance = self.instance(key);
        instance.map_or(&[], |i| self.ha().addresses_of(i))
    }
}

/// How the cluster names an instance.
pub fn key_of(instance: &Instance) -> Key {
    let name = instance.interface.as_str();
    let interface = INTERFACES.iter().position(|i| *i == name);
    let router = instance.router;
    (interface.unwrap_or(0), router.family, router.vrid)
}
