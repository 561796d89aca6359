//! Taking a plan, and what an earlier run of this daemon left in the kernel.

use super::{Due, Lb, ServiceState, find};
use crate::check::{HealthState, PlanError};
use crate::director::plan::{LbPlan, ServicePolicy};
use crate::model::Full;
use crate::time::Instant;
use core::cmp::Ordering;
use core::fmt;

/// What of a plan has no room in the memory taken at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LbTooLarge {
    /// `limits.services`.
    Services,
    /// `limits.backends`.
    Backends,
    /// The checks, of which there may be as many as backends.
    Checks,
    /// `limits.probe_bytes`.
    Scripts,
}

impl LbTooLarge {
    /// What there is too much of, and what to do.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Services => "more services than limits.services: raise it and restart",
            Self::Backends => "more backends than limits.backends: raise it and restart",
            Self::Checks => "more different checks than limits.backends: raise it and restart",
            Self::Scripts => {
                "what the checks send and expect is more than limits.probe_bytes: raise it and restart"
            }
        }
    }
}

impl fmt::Display for LbTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Lb<'_> {
    /// Takes the first plan, or a reload's. Checks that are in both keep their
    /// state, their timer and their socket; the kernel is told what differs.
    ///
    /// # Errors
    /// [`LbTooLarge`]; then nothing has changed.
    pub fn handle_plan(&mut self, now: Instant, plan: &LbPlan<'_>) -> Result<(), LbTooLarge> {
        self.fits(plan)?;
        // Checks first: a plan they cannot take must change nothing.
        match self.engine.handle_plan(now, plan.checks, plan.scripts) {
            Ok(merged) => merged.log(now, &mut self.log),
            Err(PlanError::TooLong { .. }) => return Err(LbTooLarge::Scripts),
            Err(PlanError::TooMany { .. } | PlanError::Unsorted { .. }) => {
                return Err(LbTooLarge::Checks);
            }
        }
        self.merge_services(plan);
        match self.desired.copy_from(plan.table) {
            Ok(()) => {}
            Err(Full::Services(_)) => return Err(LbTooLarge::Services),
            Err(Full::Destinations(_)) => return Err(LbTooLarge::Backends),
        }
        core::mem::swap(&mut self.services, &mut self.spare);
        let checks = plan.links.iter().take(plan.table.destinations.len());
        let checks = checks.map(|check| check.and_then(|check| self.engine.check_id(check)));
        self.links.take(plan.table, checks);
        self.known = 0;
        self.declared_only = plan.declared_only;
        self.kernel.set_audit(plan.audit);
        self.plan_sync(plan.sync);
        self.planned = true;
        self.due = Due::All;
        Ok(())
    }

    /// Whether [`Self::handle_plan`] would take it, now or later.
    ///
    /// # Errors
    /// [`LbTooLarge`].
    pub fn fits(&self, plan: &LbPlan<'_>) -> Result<(), LbTooLarge> {
        if plan.table.services.len() > self.services.len().min(self.spare.len()) {
            Err(LbTooLarge::Services)
        } else if plan.table.destinations.len() > self.links.capacity() {
            Err(LbTooLarge::Backends)
        } else if plan.checks.len() > self.engine.capacity() as usize {
            Err(LbTooLarge::Checks)
        } else if plan.scripts.words().len() > self.engine.scripts_capacity() {
            Err(LbTooLarge::Scripts)
        } else {
            Ok(())
        }
    }

    /// A destination that an earlier run left in the kernel is presumed to be
    /// what its weight says, until its check has a verdict: a restart moves no traffic.
    pub(super) fn adopt(&mut self, now: Instant) {
        let (desired, actual) = (self.desired.table(), self.kernel.actual());
        for row in desired.services {
            let Some(twin) = find(actual, &row.service.key) else {
                continue;
            };
            let held = actual.destinations_of(twin);
            for (at, wanted) in row.range().zip(desired.destinations_of(row)) {
                let check = self.links.check(at);
                let found = held.binary_search_by_key(&wanted.key, |d| d.key);
                if let (Some(check), Ok(found)) = (check, found)
                    && let Some(held) = held.get(found)
                    && wanted.weight > 0
                    && self.engine.health(check) == HealthState::Unknown
                {
                    let state = if held.weight > 0 {
                        HealthState::Up
                    } else {
                        HealthState::Down
                    };
                    self.engine.adopt(now, check, state);
                }
            }
        }
    }

    /// Carries over what is kept of services that are in both plans.
    fn merge_services(&mut self, plan: &LbPlan<'_>) {
        let old = self.desired.table().services;
        let mut at = 0_usize;
        let policies = plan
            .policies
            .iter()
            .chain(core::iter::repeat(&ServicePolicy { min_healthy: 1 }));
        for ((row, policy), place) in plan
            .table
            .services
            .iter()
            .zip(policies)
            .zip(self.spare.iter_mut())
        {
            while old
                .get(at)
                .is_some_and(|o| o.service.key.cmp(&row.service.key) == Ordering::Less)
            {
                at = at.saturating_add(1);
            }
            let same = old
                .get(at)
                .is_some_and(|o| o.service.key == row.service.key);
            let open = same && self.services.get(at).is_some_and(|s| s.open);
            *place = ServiceState {
                policy: *policy,
                open,
                changed: false,
            };
        }
    }
}
