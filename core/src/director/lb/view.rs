//! What others may know of services and destinations, by their places in
//! [`Lb::desired`].

use super::rise::Rise;
use super::settle::Quorum;
use super::{Lb, PolicyCounters};
use crate::check::Status;
use crate::director::plan::Member;

impl Lb<'_> {
    /// What the check of the destination at this place of [`Self::desired`]
    /// found; nothing for one without a check.
    #[must_use]
    pub fn status(&self, destination: usize) -> Option<Status> {
        self.engine.status(self.links.check(destination)?)
    }

    /// Whether the service at this place of [`Self::desired`] has too few
    /// healthy destinations, so that all of them get traffic.
    #[must_use]
    pub fn is_open(&self, service: usize) -> bool {
        self.services.get(service).is_some_and(|s| s.stand.open)
    }

    /// Whether the sorry server of the service at this place gets its clients.
    #[must_use]
    pub fn is_sorry(&self, service: usize) -> bool {
        self.services.get(service).is_some_and(|s| s.stand.sorry)
    }

    /// Whether the service at this place has its quorum; nothing where it asks
    /// for none, or the first verdicts are still out.
    #[must_use]
    pub fn has_quorum(&self, service: usize) -> Option<bool> {
        match self.services.get(service)?.stand.quorum {
            Quorum::Unasked => None,
            Quorum::Held => Some(true),
            Quorum::Lost => Some(false),
        }
    }

    /// What the destination at this place is to its service.
    #[must_use]
    pub fn member(&self, destination: usize) -> Member {
        self.members
            .get(destination)
            .map_or_else(Member::default, |state| state.member)
    }

    /// Whether the weight of the destination at this place is on its way up.
    #[must_use]
    pub fn is_rising(&self, destination: usize) -> bool {
        let member = self.members.get(destination);
        member.is_some_and(|m| matches!(m.rise, Rise::Rising { .. }))
    }

    /// What verdicts and operators led to, counted.
    #[must_use]
    pub const fn policy_counters(&self) -> &PolicyCounters {
        &self.counters
    }
}
