//! Taking a plan: what stays the same is not touched.

use super::state::{InstanceSlot, Memory, memory_key};
use super::{Ha, Interface};
use crate::director::plan::{HaPlan, Instance, InterfaceName, TrackSource};
use crate::time::Instant;
use crate::vrrp;
use core::cmp::Ordering;
use core::fmt;

/// What of a plan has no room in the memory taken at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaTooLarge {
    /// `limits.routers`.
    Instances,
    /// `limits.addresses`.
    Addresses,
    /// Interfaces, of which a run remembers all it ever had.
    Interfaces,
    /// `limits.tracks`.
    Tracks,
}

impl HaTooLarge {
    /// What there is too much of, and what to do.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Instances => "more virtual routers than limits.routers: raise it and restart",
            Self::Addresses => "more virtual addresses than limits.addresses: raise it and restart",
            Self::Tracks => "more things tracked than limits.tracks: raise it and restart",
            Self::Interfaces => "more interfaces than this run has room for: restart",
        }
    }
}

impl fmt::Display for HaTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Ha<'_> {
    /// Takes the first plan, or a reload's. An instance that is in both goes on
    /// without missing a beat, as do its addresses; one that is gone says
    /// goodbye. `memory` is what an earlier run of this daemon left behind, and
    /// is looked at for new instances only.
    ///
    /// # Errors
    /// [`HaTooLarge`]; then nothing has changed.
    pub fn handle_plan(
        &mut self,
        now: Instant,
        plan: &HaPlan<'_>,
        memory: &[Memory],
    ) -> Result<(), HaTooLarge> {
        self.fits(plan)?;
        for instance in plan.instances {
            let _ = self.interface(&instance.interface);
        }
        for track in plan.tracks {
            if let TrackSource::Interface(name) = &track.source {
                let _ = self.interface(name);
            }
        }
        self.merge_tracks(plan.tracks);
        self.merge_groups(plan.groups);
        self.not_before = plan.not_before;
        self.chores.handle_plan();
        self.addresses.begin_merge();
        let (mut old, mut new, mut merged) = (0_usize, 0_usize, 0_usize);
        loop {
            let planned = plan.instances.get(new);
            let running = self
                .instances
                .get(..self.instances_len)
                .and_then(|i| i.get(old));
            let order = match (running, planned) {
                (Some(a), Some(b)) => a.config.key().cmp(&b.key()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match (order, planned) {
                (Ordering::Greater, Some(planned)) => {
                    self.merge_new(merged, plan, planned, memory);
                    new = new.saturating_add(1);
                }
                (Ordering::Equal, Some(planned)) => {
                    self.merge_kept(now, old, merged, plan, planned);
                    new = new.saturating_add(1);
                    old = old.saturating_add(1);
                }
                (Ordering::Less, _) | (_, None) => {
                    let gone = self.merge_gone(now, old, merged);
                    old = old.saturating_add(1);
                    if gone {
                        continue;
                    }
                }
            }
            merged = merged.saturating_add(1);
        }
        core::mem::swap(&mut self.instances, &mut self.spare);
        self.instances_len = merged;
        self.addresses.end_merge(
            self.instances
                .get_mut(..self.instances_len)
                .unwrap_or(&mut []),
        );
        // What was refused may be another thing now.
        self.addresses.pardon();
        self.index_routers();
        self.index_groups();
        self.index_agenda(now);
        self.will_version = self.will_version.saturating_add(1);
        self.notices.mark();
        // New interfaces and addresses are not known yet: a dump tells.
        self.netdev.handle_merge();
        Ok(())
    }

    /// Whether [`Self::handle_plan`] would take it now, or later: room only grows.
    ///
    /// # Errors
    /// [`HaTooLarge`].
    pub fn fits(&self, plan: &HaPlan<'_>) -> Result<(), HaTooLarge> {
        let (instances, addresses) = self.retiring(plan);
        let kept = instances.saturating_add(plan.instances.len());
        if kept > self.instances.len().min(self.spare.len()) {
            return Err(HaTooLarge::Instances);
        }
        let kept = addresses.saturating_add(plan.addresses.len());
        if kept > self.addresses.capacity() {
            return Err(HaTooLarge::Addresses);
        }
        if plan.tracks.len() > self.tracks.len() {
            return Err(HaTooLarge::Tracks);
        }
        if plan.groups.len() > self.groups.len() {
            return Err(HaTooLarge::Instances);
        }
        let mut names = self.interfaces_len;
        for (at, name) in interfaces(plan).enumerate() {
            let known = self.interfaces().iter().any(|i| i.name == *name);
            let seen = interfaces(plan).take(at).any(|before| before == name);
            if !known && !seen {
                names = names.saturating_add(1);
            }
        }
        if names > self.interfaces.len() {
            Err(HaTooLarge::Interfaces)
        } else {
            Ok(())
        }
    }

    /// How many instances and addresses a plan retires, or an earlier one did
    /// and they are not through with it.
    fn retiring(&self, plan: &HaPlan<'_>) -> (usize, usize) {
        let (mut instances, mut addresses) = (0_usize, 0_usize);
        for slot in self.instances() {
            let held = self.addresses.of(slot.addresses.clone());
            let twin = plan
                .instances
                .binary_search_by(|planned| planned.key().cmp(&slot.config.key()))
                .ok()
                .and_then(|at| plan.instances.get(at));
            let planned = match twin {
                Some(twin) => plan.addresses_of(twin),
                None if slot.is_gone(held) => continue,
                None => {
                    instances = instances.saturating_add(1);
                    &[]
                }
            };
            let kept = self.addresses.outliving(slot.addresses.clone(), planned);
            addresses = addresses.saturating_add(kept);
        }
        (instances, addresses)
    }

    /// The place of an interface, which is given one if it has none.
    fn interface(&mut self, name: &InterfaceName) -> u16 {
        let known = self.interfaces().iter().position(|i| i.name == *name);
        let at = known.unwrap_or_else(|| {
            let at = self.interfaces_len;
            if let Some(slot) = self.interfaces.get_mut(at) {
                *slot = Interface::blank();
                slot.name = name.clone();
                self.interfaces_len = at.saturating_add(1);
            }
            at
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn merge_new(
        &mut self,
        merged: usize,
        plan: &HaPlan<'_>,
        planned: &Instance,
        memory: &[Memory],
    ) {
        let interface = self.interface(&planned.interface);
        let at = u16::try_from(merged).unwrap_or(u16::MAX);
        let above = planned.macvlan.is_some();
        let addresses = self
            .addresses
            .merge(at, plan.addresses_of(planned), 0..0, (false, above));
        let key = memory_key(planned);
        let resume = memory
            .iter()
            .find(|m| m.key == key)
            .and_then(Memory::resume);
        if let Some(slot) = self.spare.get_mut(merged) {
            *slot = InstanceSlot {
                interface,
                addresses,
                resume,
                ..InstanceSlot::new(planned.clone())
            };
        }
    }

    fn merge_kept(
        &mut self,
        now: Instant,
        old: usize,
        merged: usize,
        plan: &HaPlan<'_>,
        planned: &Instance,
    ) {
        let at = u16::try_from(merged).unwrap_or(u16::MAX);
        let (Some(from), Some(to)) = (self.instances.get_mut(old), self.spare.get_mut(merged))
        else {
            return;
        };
        core::mem::swap(from, to);
        let range = to.addresses.clone();
        let Instance {
            scope, label, form, ..
        } = &to.config;
        let stale = (scope, label) != (&planned.scope, &planned.label);
        if *form != planned.form {
            to.heard = None;
        }
        if let (Some(before), Some(name)) = (&to.config.macvlan, &planned.macvlan)
            && before != name
        {
            // The old one goes, and what is on it.
            let old = core::mem::take(&mut to.macvlan).index();
            old.into_iter().for_each(|old| self.chores.leave_over(old));
        }
        let above = planned.macvlan.is_some();
        to.addresses = self
            .addresses
            .merge(at, plan.addresses_of(planned), range, (stale, above));
        if to.retire {
            // It came back before its goodbye was over: begin anew.
            to.retire = false;
            to.started = false;
            to.settled = false;
            // What kept it from taking part may be tracked no more.
            to.barred = None;
            to.complaint = None;
            to.wanted = None;
        }
        to.macvlan.pardon();
        to.config = planned.clone();
        to.memory_dirty = true;
        if usize::from(to.peer) >= to.config.peers.len() {
            to.peer = 0;
        }
        let actions = to.router.handle_config(now, to.effective());
        to.apply(actions, &mut self.log, now);
    }

    /// Keeps a retiring instance until it is done. Returns whether it is.
    fn merge_gone(&mut self, now: Instant, old: usize, merged: usize) -> bool {
        let at = u16::try_from(merged).unwrap_or(u16::MAX);
        let (Some(from), Some(to)) = (self.instances.get_mut(old), self.spare.get_mut(merged))
        else {
            return true;
        };
        if from.is_gone(self.addresses.of(from.addresses.clone())) {
            return true;
        }
        core::mem::swap(from, to);
        let range = to.addresses.clone();
        to.addresses = self.addresses.merge(at, &[], range, (false, false));
        self.chores.mark_dirty();
        if !to.retire {
            to.retire = true;
            to.resume = None;
            to.wanted = Some(false);
            let actions = to.router.handle_shutdown(now);
            let _ = to.apply(actions, &mut self.log, now);
        }
        false
    }

    /// The instances have other places than before.
    fn index_agenda(&mut self, now: Instant) {
        self.agenda.clear();
        for advert in self.adverts.iter_mut().take(self.instances_len) {
            advert.forget();
        }
        let mut instances = self.instances().iter();
        self.followed = instances.position(|slot| slot.config.followed);
        for at in 0..self.instances_len {
            self.touch(now, at);
        }
    }

    fn index_routers(&mut self) {
        let interfaces = self
            .interfaces
            .get_mut(..self.interfaces_len)
            .unwrap_or(&mut []);
        for interface in interfaces.iter_mut() {
            interface.clear_routers();
        }
        let instances = self.instances.get(..self.instances_len).unwrap_or(&[]);
        for (at, slot) in instances.iter().enumerate() {
            let vrrp::RouterConfig { family, vrid, .. } = slot.config.router;
            if let Some(interface) = interfaces.get_mut(usize::from(slot.interface)) {
                interface.set_router(family, vrid, at);
                interface.frames |= slot.config.is_framed();
            }
        }
        self.interfaces_version = self.interfaces_version.saturating_add(1);
    }
}

/// The interfaces a plan names, some of them more than once.
fn interfaces<'p>(plan: &HaPlan<'p>) -> impl Iterator<Item = &'p InterfaceName> {
    let tracked = plan.tracks.iter().filter_map(|track| match &track.source {
        TrackSource::Interface(name) => Some(name),
        TrackSource::Cell(_) => None,
    });
    let carrying = plan.instances.iter().map(|instance| &instance.interface);
    carrying.chain(tracked)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Room, instance};
    use super::super::{Bar, Standing};
    use super::*;

    #[test]
    fn who_is_told_of_a_router_is_told_of_its_end_by_a_reload() {
        let mut room = Room::new(2, 2);
        let mut ha = room.ha();
        let instances = [instance(1)];
        let plan = HaPlan {
            instances: &instances,
            ..HaPlan::default()
        };
        assert_eq!(ha.handle_plan(Instant::ZERO, &plan, &[]), Ok(()));
        let actions = ha.instances[0].start(Instant::ZERO, &mut ha.log);
        ha.apply(Instant::ZERO, 0, actions);
        let standings = |ha: &mut Ha<'_>| {
            let told = core::iter::from_fn(|| ha.poll_notice());
            told.map(|notice| notice.standing)
                .collect::<std::vec::Vec<_>>()
        };
        assert_eq!(standings(&mut ha), [Standing::Backup]);
        // Its addresses keep its place until they are off.
        ha.instances[0].router = vrrp::Router::new(vrrp::RouterConfig {
            priority: 255,
            ..instances[0].router
        });
        let actions = ha.instances[0].start(Instant::ZERO, &mut ha.log);
        ha.apply(Instant::ZERO, 0, actions);
        assert_eq!(standings(&mut ha), [Standing::Active]);
        let taken = ha.handle_plan(Instant::ZERO, &HaPlan::default(), &[]);
        assert_eq!(taken, Ok(()));
        assert_eq!(standings(&mut ha), [Standing::Stop]);
    }

    #[test]
    fn what_kept_a_router_back_before_it_was_retired_does_so_no_more() {
        let mut room = Room::new(2, 2);
        let mut ha = room.ha();
        let instances = [instance(1)];
        let plan = HaPlan {
            instances: &instances,
            ..HaPlan::default()
        };
        ha.handle_plan(Instant::ZERO, &plan, &[]).unwrap();
        ha.instances[0].settled = true;
        ha.instances[0].barred = Some(Bar::Down(1));
        // It has something to say still, and stays for that.
        ha.instances[0].router = vrrp::Router::new(vrrp::RouterConfig {
            priority: 255,
            ..instances[0].router
        });
        let _ = ha.instances[0].router.handle_startup(Instant::ZERO, None);
        let none = HaPlan::default();
        ha.handle_plan(Instant::ZERO, &none, &[]).unwrap();
        assert!(ha.instances()[0].retire);
        // The plan that brings it back tracks nothing.
        ha.handle_plan(Instant::ZERO, &plan, &[]).unwrap();
        assert!(!ha.instances()[0].retire);
        assert_eq!(ha.instances()[0].barred(), None);
    }

    #[test]
    fn what_was_retired_takes_room_until_it_is_gone_and_no_longer() {
        let mut room = Room::new(2, 2);
        let mut ha = room.ha();
        // The limit is one router: there is room for another that leaves.
        for vrid in 1..=9 {
            let instances = [instance(vrid)];
            let plan = HaPlan {
                instances: &instances,
                ..HaPlan::default()
            };
            assert_eq!(ha.handle_plan(Instant::ZERO, &plan, &[]), Ok(()));
        }
        let two = [instance(10), instance(11)];
        let plan = HaPlan {
            instances: &two,
            ..HaPlan::default()
        };
        let refused = ha.handle_plan(Instant::ZERO, &plan, &[]);
        assert_eq!(refused, Err(HaTooLarge::Instances));
    }
}
