//! What one node is told, owned.

use super::site::{Key, key_of};
use trunnion_core::check::CheckConfig;
use trunnion_core::check::probe::Scripts;
use trunnion_core::director::plan::{
    HaPlan, Instance, LbPlan, Member, OperatorState, ServicePolicy, SyncPlan, VirtualAddress,
};
use trunnion_core::model::{Destination, DestinationKey, ServiceKey, ServiceRow, Table};
use trunnion_core::time::Duration;

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
}

impl Plan {
    pub fn ha(&self) -> HaPlan<'_> {
        HaPlan {
            instances: &self.instances,
            addresses: &self.addresses,
        }
    }

    pub fn lb(&self) -> LbPlan<'_> {
        LbPlan {
            table: self.table(),
            policies: &self.policies,
            links: &self.links,
            members: &self.members,
            checks: &self.checks,
            scripts: Scripts::EMPTY,
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
