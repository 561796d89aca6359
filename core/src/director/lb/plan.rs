//! Taking a plan, and what an earlier run of this daemon left in the kernel.

use super::rise::Rise;
use super::settle::{Call, Stand};
use super::{Due, Lb, MemberState, ServiceState, find};
use crate::check::{HealthState, PlanError};
use crate::director::plan::{LbPlan, OperatorState, ServicePolicy};
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
        let new = self.merge_services(plan);
        // Others' services were left out of what is known of the kernel.
        if self.planned && self.declared_only && (new || !plan.declared_only) {
            self.kernel.look_again();
        }
        match self.desired.copy_from(plan.table) {
            Ok(()) => {}
            Err(Full::Services(_)) => return Err(LbTooLarge::Services),
            Err(Full::Destinations(_)) => return Err(LbTooLarge::Backends),
        }
        core::mem::swap(&mut self.services, &mut self.spare);
        core::mem::swap(&mut self.members, &mut self.spare_members);
        let checks = plan.links.iter().take(plan.table.destinations.len());
        let checks = checks.map(|check| check.and_then(|check| self.engine.check_id(check)));
        self.links.take(plan.table, self.engine.ids(), checks);
        self.set_paces(plan);
        self.hold_checks(now);
        self.known = 0;
        self.note_health();
        self.declared_only = plan.declared_only;
        self.kernel.forgive();
        self.kernel.set_audit(plan.audit);
        self.plan_sync(plan.sync);
        self.planned = true;
        self.owe(Due::All);
        Ok(())
    }

    /// Puts each check into the groups of the first service that has it, and of
    /// the address that it probes. The services' come first, by their places; then
    /// one for each check, of which that of an address's first check is used: as a
    /// reload leaves a check its id, it leaves an address its group. Where there is
    /// no limit nobody joins, for that takes memory.
    fn set_paces(&mut self, plan: &LbPlan<'_>) {
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        // By the room there is, which no reload changes.
        let services = self.services.len();
        for (at, policy) in (0..).zip(plan.policies.iter().take(services)) {
            self.engine.set_pace(at, policy.checks_per_second);
        }
        let slow = |at: &usize| {
            let policy = plan.policies.get(*at);
            policy.is_some_and(|policy| policy.checks_per_second > 0)
        };
        let (mut last, mut address) = (None, None);
        for (at, config) in (0..).zip(plan.checks) {
            let Some(check) = self.engine.check_id(at) else {
                continue;
            };
            let other = last.replace(config.target.ip()) != Some(config.target.ip());
            if other && plan.backend_checks_per_second > 0 {
                let group = number(services.saturating_add(check.index()));
                if !self.engine.is_in(check, group) {
                    // Whatever is in it is another address's.
                    self.engine.set_pace(group, 0);
                }
                self.engine.set_pace(group, plan.backend_checks_per_second);
                address = Some(group);
            }
            let service = self.links.services(check).min().filter(slow).map(number);
            self.engine.join(check, [service, address]);
        }
    }

    /// Whether [`Self::handle_plan`] would take it, now or later.
    ///
    /// # Errors
    /// [`LbTooLarge`].
    pub fn fits(&self, plan: &LbPlan<'_>) -> Result<(), LbTooLarge> {
        if plan.table.services.len() > self.services.len().min(self.spare.len()) {
            Err(LbTooLarge::Services)
        } else if plan.table.destinations.len() > self.links.capacity().min(self.members.len()) {
            Err(LbTooLarge::Backends)
        } else if plan.checks.len() > self.engine.capacity() as usize {
            Err(LbTooLarge::Checks)
        } else if plan.scripts.words().len() > self.engine.scripts_capacity() {
            Err(LbTooLarge::Scripts)
        } else {
            Ok(())
        }
    }

    /// A destination that an earlier run left in the kernel, or whoever had the
    /// service before, is presumed to be what its weight says, until its check has a
    /// verdict: neither a restart nor a takeover moves traffic.
    pub(super) fn adopt(&mut self, now: Instant) {
        let (desired, actual) = (self.desired.table(), self.kernel.actual());
        let mut adopted = false;
        for (place, row) in desired.services.iter().enumerate() {
            if self.services.get(place).is_none_or(|state| !state.fresh) {
                continue;
            }
            let Some(twin) = find(actual, &row.service.key) else {
                continue;
            };
            adopted = true;
            let held = actual.destinations_of(twin);
            let slow_start = self.services.get(place).map(|s| s.policy.slow_start);
            for (at, wanted) in row.range().zip(desired.destinations_of(row)) {
                let Ok(found) = held.binary_search_by_key(&wanted.key, |d| d.key) else {
                    continue;
                };
                let Some(held) = held.get(found).filter(|_| wanted.weight > 0) else {
                    continue;
                };
                let check = self.links.check(at);
                if let (Some(member), Some(slow_start)) = (self.members.get_mut(at), slow_start)
                    && held.weight > 0
                {
                    // What its check has not said yet may be less, or more.
                    let advised = check.is_some_and(|check| self.engine.presume_advice(check));
                    member.rise = if advised {
                        Rise::Held {
                            weight: held.weight,
                        }
                    } else {
                        Rise::resumed(now, slow_start, held.weight, wanted.weight)
                    };
                }
                // What an operator, or having others, made of a weight says nothing
                // of the target.
                let silent = held.weight == 0
                    && self.members.get(at).is_none_or(|m| {
                        m.member.sorry || m.member.operator != OperatorState::Ready
                    });
                let Some(check) = check.filter(|_| !silent) else {
                    continue;
                };
                // Of those that share a check, one that serves is enough.
                if held.weight > 0 {
                    self.engine.adopt(now, check, HealthState::Up);
                } else if self.engine.is_awaited(check) {
                    self.engine.adopt(now, check, HealthState::Down);
                }
            }
        }
        if adopted {
            // What it presumes no check has to say again.
            self.note_health();
        }
    }

    /// Carries over what is kept of services, and of their destinations, that
    /// are in both plans. Whether there are services that are new.
    fn merge_services(&mut self, plan: &LbPlan<'_>) -> bool {
        let mut new_services = false;
        let Self {
            desired,
            services,
            spare,
            members,
            spare_members,
            wheel,
            engine,
            ..
        } = self;
        let old = desired.table();
        let mut at = 0_usize;
        let default = ServicePolicy {
            min_healthy: 1,
            ..ServicePolicy::default()
        };
        let policies = plan.policies.iter().chain(core::iter::repeat(&default));
        for state in services.iter_mut().take(old.services.len()) {
            if let Some(timer) = state.timer.take() {
                wheel.cancel(timer);
            }
        }
        for ((row, policy), (group, place)) in plan
            .table
            .services
            .iter()
            .zip(policies)
            .zip((0_u32..).zip(spare.iter_mut()))
        {
            let (found, twin) = advance(old.services, &mut at, |o| {
                o.service.key.cmp(&row.service.key)
            });
            new_services |= twin.is_none();
            if twin.is_none() || found != group as usize {
                // The rate that was kept there is another service's.
                engine.set_pace(group, 0);
            }
            *place = ServiceState {
                policy: *policy,
                stand: match twin.and_then(|_| services.get(found)) {
                    Some(state) => state.stand,
                    None => Stand::default(),
                },
                changed: false,
                fresh: match twin.and_then(|_| services.get(found)) {
                    Some(state) => state.fresh,
                    None => true,
                },
                timer: None,
            };
            let held = twin.map_or(&[][..], |twin| old.destinations_of(twin));
            let first = twin.map_or(0, |twin| twin.range().start);
            let mut at = 0;
            let new = plan.table.destinations_of(row);
            for (destination, index) in new.iter().zip(row.range()) {
                let (found, twin_row) = advance(held, &mut at, |o| o.key.cmp(&destination.key));
                let known = twin_row.and_then(|_| members.get(first.saturating_add(found)));
                let Some(place) = spare_members.get_mut(index) else {
                    continue;
                };
                *place = MemberState {
                    member: plan.members.get(index).copied().unwrap_or_default(),
                    rise: match known {
                        Some(state) => state.rise,
                        // It joins others, who have their clients.
                        None if twin.is_some() => Rise::Out,
                        None => Rise::First,
                    },
                    call: Call::Away,
                };
            }
        }
        new_services
    }
}

/// Goes on in a sorted slice to the first row that is not less; where that is,
/// and the row if it is equal.
fn advance<'a, T>(
    rows: &'a [T],
    at: &mut usize,
    compare: impl Fn(&T) -> Ordering,
) -> (usize, Option<&'a T>) {
    while rows.get(*at).is_some_and(|row| compare(row).is_lt()) {
        *at = at.saturating_add(1);
    }
    let row = rows.get(*at).filter(|row| compare(row).is_eq());
    (*at, row)
}
