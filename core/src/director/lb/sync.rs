//! Which synchronization daemons should run: what the config says, or what the
//! role of the virtual router makes of it. How they are started and stopped is
//! the kernel's conversation.

use super::Lb;
use super::kernel::Pair;
use crate::director::plan::{SyncPlan, SyncRoles};
use crate::model::{SyncDaemon, SyncState};
use crate::time::Instant;
use crate::vrrp::Role;

/// What is kept of the config, and the role it follows.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    plan: Option<SyncPlan>,
    /// The daemons are ours: the config says which run, or said so before.
    ours: bool,
    role: Option<Role>,
}

impl Syncing {
    /// Which daemons should run; nothing where there is nothing to say about
    /// it, or not yet.
    fn wanted(&self) -> Option<Pair> {
        let Some(SyncPlan { daemon, roles }) = &self.plan else {
            return self.ours.then(Pair::default);
        };
        let (sends, hears) = match (*roles, self.role) {
            (SyncRoles::Fixed { sends, hears }, _) => (sends, hears),
            (SyncRoles::Follow, Some(Role::Active)) => (true, false),
            // Who can no longer be Active hears of those who are.
            (SyncRoles::Follow, Some(Role::Backup | Role::Initialize)) => (false, true),
            // What an earlier run left may be right.
            (SyncRoles::Follow, None) => return None,
        };
        let run = |state| SyncDaemon {
            state,
            ..daemon.clone()
        };
        Some([
            sends.then(|| run(SyncState::MASTER)),
            hears.then(|| run(SyncState::BACKUP)),
        ])
    }

    const fn follows(&self) -> bool {
        matches!(&self.plan, Some(plan) if matches!(plan.roles, SyncRoles::Follow))
    }
}

impl Lb<'_> {
    /// The role of the virtual router that the plan says to follow: at first,
    /// and when it changes. Meaningless without one.
    pub fn handle_role(&mut self, _now: Instant, role: Role) {
        // A node that leaves is Active no more, whatever is still on its way.
        if self.give_up.is_none() {
            self.sync.role = Some(role);
            self.kernel.want_daemons(self.sync.wanted());
        }
    }

    /// The synchronization daemons, who sends and who hears: those that should run,
    /// if the config says so, and those that do, if that is known.
    #[must_use]
    pub fn sync_daemons(&self) -> (Option<&Pair>, Option<&Pair>) {
        self.kernel.daemons()
    }

    /// Once none runs that the config said before, and it says no more, they are
    /// no longer ours: one that is started by hand lives.
    pub(super) fn release_sync(&mut self) {
        let gone = |pair: &Pair| pair.iter().all(Option::is_none);
        let Syncing { plan, ours, .. } = &self.sync;
        if *ours && plan.is_none() && self.kernel.daemons().1.is_some_and(gone) {
            self.sync.ours = false;
            self.kernel.want_daemons(None);
        }
    }

    pub(super) fn plan_sync(&mut self, plan: Option<&SyncPlan>) {
        self.sync.ours |= self.sync.plan.is_some();
        self.sync.plan = plan.cloned();
        self.kernel.want_daemons(self.sync.wanted());
    }

    /// With `clear` they are stopped; otherwise the kernel goes on by itself,
    /// as one that is not Active.
    pub(super) fn leave_sync(&mut self, clear: bool) {
        if clear && self.sync.plan.is_some() {
            self.sync.plan = None;
            self.sync.ours = true;
        } else if self.sync.follows() && self.sync.role.is_some() {
            self.sync.role = Some(Role::Initialize);
        }
        self.kernel.want_daemons(self.sync.wanted());
    }
}
