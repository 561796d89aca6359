//! Failing over because an operator says so: the Actives resign, and for a
//! while no living Active is taken over from, whatever its priority. One that
//! falls silent is: the addresses are never left to nobody.

use super::Ha;
use super::state::InstanceSlot;
use super::track::weighed;
use crate::director::plan::InstanceName;
use crate::director::records;
use crate::time::Instant;
use crate::vrrp::{Reason, Role, RouterConfig};

/// Who is to fail over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All virtual routers.
    All,
    /// The router or the group of this name; a router takes its group along.
    Named(InstanceName),
}

/// Why nobody failed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFailover {
    /// There is no such router and no such group.
    NoSuch,
    /// None of them is Active here.
    NotActive,
    /// None of them was told to fail over.
    NotHeld,
    /// The node is on its way out.
    Leaving,
}

impl NoFailover {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoSuch => "there is no such virtual router and no such group here",
            Self::NotActive => "not active here: tell the node that is",
            Self::NotHeld => "no failover to cancel",
            Self::Leaving => "the node is stopping, and resigns anyway",
        }
    }
}

/// The highest priority that is not the owner's, who waits for nobody.
const PRIORITY_HELD_MAX: u8 = 254;

impl InstanceSlot {
    /// The config as tracks and a hold leave it.
    pub(super) fn effective(&self) -> RouterConfig {
        let config = self.config.router;
        let priority = weighed(config.priority, self.weight);
        if self.held_until.is_none() {
            return RouterConfig { priority, ..config };
        }
        RouterConfig {
            priority: priority.min(PRIORITY_HELD_MAX),
            preempt: false,
            ..config
        }
    }
}

impl Ha<'_> {
    /// The Actives among them resign, and none of them preempts until then, or
    /// until it is Active again because nobody else was. Returns how many
    /// resigned.
    ///
    /// # Errors
    /// [`NoFailover`]; then nothing has changed.
    pub fn handle_failover(
        &mut self,
        now: Instant,
        whom: &Whom,
        until: Instant,
    ) -> Result<u16, NoFailover> {
        if self.give_up.is_some() {
            return Err(NoFailover::Leaving);
        }
        let (mut named, mut active) = (0_u16, 0_u16);
        for slot in self.instances() {
            let meant = self.is_meant(slot, whom);
            named = named.saturating_add(meant.into());
            let counts = meant && slot.router.state().role() == Role::Active;
            active = active.saturating_add(counts.into());
        }
        match (named, active) {
            (0, _) if *whom != Whom::All => return Err(NoFailover::NoSuch),
            (_, 0) => return Err(NoFailover::NotActive),
            (_, _) => {}
        }
        for at in 0..self.instances_len {
            if self
                .instances()
                .get(at)
                .is_some_and(|s| self.is_meant(s, whom))
            {
                self.hold(now, at, Some(until));
                self.step_down(now, at, Reason::Failover);
            }
        }
        self.settle_groups(now);
        Ok(active)
    }

    /// What was told to fail over may preempt again. Returns how many may.
    ///
    /// # Errors
    /// [`NoFailover`]; then nothing has changed.
    pub fn handle_failover_over(&mut self, now: Instant, whom: &Whom) -> Result<u16, NoFailover> {
        let (mut named, mut held) = (0_u16, 0_u16);
        for at in 0..self.instances_len {
            let slot = self.instances().get(at);
            if slot.is_some_and(|slot| self.is_meant(slot, whom)) {
                named = named.saturating_add(1);
                held = held.saturating_add(self.hold(now, at, None).into());
            }
        }
        match (named, held) {
            (0, _) if *whom != Whom::All => Err(NoFailover::NoSuch),
            (_, 0) => Err(NoFailover::NotHeld),
            (_, held) => Ok(held),
        }
    }

    fn is_meant(&self, slot: &InstanceSlot, whom: &Whom) -> bool {
        let Whom::Named(name) = whom else {
            return !slot.retire;
        };
        let group = self.group_of(slot).and_then(|at| self.groups().get(at));
        let with_group = group.is_some_and(|group| {
            group.name == *name || self.members(group).any(|m| m.config.name == *name)
        });
        !slot.retire && (with_group || slot.config.name == *name)
    }

    /// Holds a router back until then, or lets it go; whether it was held.
    pub(super) fn hold(&mut self, now: Instant, at: usize, until: Option<Instant>) -> bool {
        let Some(slot) = self.instances.get_mut(at) else {
            return false;
        };
        let before = core::mem::replace(&mut slot.held_until, until);
        if before.is_some() && until.is_none() {
            let name = slot.config.name.clone();
            self.log.log(now, records::HoldOver { name });
        }
        self.reconfigure(now, at);
        before.is_some()
    }

    /// A deadline of an instance has come: perhaps that of its hold, of its
    /// rivalry, or of what it might have gone on from.
    pub(super) fn expire(&mut self, now: Instant, at: usize) {
        let held = self.instances().get(at).and_then(|slot| slot.held_until);
        if held.is_some_and(|until| until <= now) {
            self.hold(now, at, None);
        }
        self.end_rivalry(now, at);
        self.let_go(now, at);
    }
}
