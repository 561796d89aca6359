//! What the next pass looks at, and why.

use super::Lb;
use crate::check::CheckId;
use crate::time::Instant;

/// What the next pass looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// There is none.
    Nothing,
    /// Services whose checks have changed. Every other row is in the kernel as
    /// it is desired.
    Changed,
    /// Everything: there is a new plan, or the table was read.
    All,
}

impl Lb<'_> {
    /// Health changes become weights with the next pass.
    pub(super) fn take_changes(&mut self, now: Instant) {
        while let Some(report) = self.engine.poll_change() {
            self.note_health();
            self.note_changed(report.id);
            report.log(now, &mut self.log);
        }
        while let Some(trouble) = self.engine.poll_trouble(now) {
            trouble.log(now, &mut self.log);
        }
    }

    /// The next pass looks at so much, or at more.
    pub(super) fn owe(&mut self, due: Due) {
        if !self.left {
            self.due = self.due.max(due);
        }
    }

    /// Whoever tracks a service is to look at it again.
    pub(super) const fn note_health(&mut self) {
        self.health_version = self.health_version.wrapping_add(1);
    }

    /// The services of a check are to be weighed anew.
    pub(super) fn note_changed(&mut self, check: CheckId) {
        let mut due = Due::Nothing;
        for service in self.links.services(check) {
            if let Some(state) = self.services.get_mut(service) {
                state.changed = true;
                due = Due::Changed;
            }
        }
        self.owe(due);
    }

    /// Services whose weights rise are to be weighed anew when it is time.
    pub(super) fn expire_weights(&mut self, now: Instant) {
        while let Some((_, service)) = self.wheel.expire(now) {
            if let Some(state) = self.services.get_mut(service as usize) {
                state.timer = None;
                state.changed = true;
                self.owe(Due::Changed);
            }
        }
    }
}
