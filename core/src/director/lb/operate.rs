//! What operators say of backends, and which checks run because of it.

use super::{Due, Lb};
use crate::check::CheckId;
use crate::director::plan::OperatorState;
use crate::model::{DestinationKey, ServiceKey};
use crate::time::Instant;

impl Lb<'_> {
    /// An operator says what becomes of a backend. `false`, and nothing happens,
    /// where the plan has none such. The next plan must say the same of it
    /// ([`LbPlan::members`](crate::director::plan::LbPlan::members)).
    pub fn handle_operator(
        &mut self,
        now: Instant,
        service: &ServiceKey,
        destination: &DestinationKey,
        state: OperatorState,
    ) -> bool {
        let desired = self.desired.table();
        let Ok(at) = desired
            .services
            .binary_search_by_key(service, |row| row.service.key)
        else {
            return false;
        };
        let Some(row) = desired.services.get(at) else {
            return false;
        };
        let rows = desired.destinations_of(row);
        let Ok(found) = rows.binary_search_by_key(destination, |d| d.key) else {
            return false;
        };
        let place = row.range().start.saturating_add(found);
        let Some(member) = self.members.get_mut(place) else {
            return false;
        };
        if member.member.operator == state {
            return true;
        }
        member.member.operator = state;
        self.counters.operator = self.counters.operator.saturating_add(1);
        self.note_health();
        if let Some(state) = self.services.get_mut(at) {
            state.changed = true;
            self.owe(Due::Changed);
        }
        if let Some(check) = self.links.check(place) {
            let held = self.is_unwanted(check);
            if self.engine.hold(now, check, held) {
                self.note_changed(check);
            }
        }
        true
    }

    /// Lets those checks stand still that nobody wants to know of, and no others.
    pub(super) fn hold_checks(&mut self, now: Instant) {
        for plan in 0..self.engine.planned() {
            if let Some(check) = self.engine.check_id(plan) {
                let held = self.is_unwanted(check);
                self.engine.hold(now, check, held);
            }
        }
    }

    /// Whether all destinations of a check are in maintenance.
    fn is_unwanted(&self, check: CheckId) -> bool {
        let mut all = self.links.destinations(check);
        all.all(|at| {
            let member = self.members.get(at);
            member.is_some_and(|m| m.member.operator == OperatorState::Maint)
        })
    }
}
