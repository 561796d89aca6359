//! Merging a plan with the checks that run, so that a reload touches no timer
//! and no socket it does not change.

use super::list::NIL;
use super::schedule::first_start;
use super::storage::{Slot, State};
use super::{CheckId, Engine, Health, HealthState};
use crate::check::CheckConfig;
use crate::check::probe::Scripts;
use crate::check::report::Merged;
use crate::time::Instant;
use core::cmp::Ordering;
use core::fmt;

/// Why a plan was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The entry at this index is not greater than the one before it.
    Unsorted {
        /// Index in the plan.
        index: usize,
    },
    /// More checks than the engine has room for.
    TooMany {
        /// Checks of the plan.
        checks: usize,
        /// Checks that fit.
        capacity: u32,
    },
    /// Scripts longer than the engine has room for.
    TooLong {
        /// Words of the plan's scripts.
        words: usize,
        /// Words that fit.
        capacity: usize,
    },
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsorted { index } => {
                write!(
                    f,
                    "check {index} of the plan is out of order or there twice"
                )
            }
            Self::TooMany { checks, capacity } => write!(
                f,
                "the plan has {checks} different checks, {capacity} fit: raise the limit of checks"
            ),
            Self::TooLong { words, capacity } => write!(
                f,
                "what the checks say and expect has {words} words, {capacity} fit: raise the limit of it"
            ),
        }
    }
}

impl core::error::Error for PlanError {}

impl Engine<'_> {
    /// Makes the engine run the checks of `plan`, which is sorted and has none
    /// twice, by `scripts`, which has all that they name.
    ///
    /// A check that runs already keeps its id, health, timer and socket in
    /// flight. One that asks the [same question](CheckConfig::same_question) at
    /// other times keeps id, health and a probe in flight, and is due anew; one
    /// whose name has moved keeps id and health, and a probe in flight begins anew.
    /// Others end ([`poll_action`](Self::poll_action) disconnects their sockets)
    /// or begin, spread over [`SPREAD_MAX`](super::SPREAD_MAX) at most. Ask
    /// [`check_id`](Self::check_id) for the ids afterwards: one that ended may
    /// have been given to one that began. A check keeps its script for as long as
    /// it has the same question, so a probe in flight goes on in the new
    /// scripts where it was in the old ones.
    ///
    /// # Errors
    /// [`PlanError`]; then nothing changed.
    pub fn handle_plan(
        &mut self,
        now: Instant,
        plan: &[CheckConfig],
        scripts: Scripts<'_>,
    ) -> Result<Merged, PlanError> {
        let capacity = self.capacity();
        let planned = u32::try_from(plan.len())
            .ok()
            .filter(|&n| n <= capacity)
            .ok_or(PlanError::TooMany {
                checks: plan.len(),
                capacity,
            })?;
        let pairs = plan.iter().zip(plan.iter().skip(1));
        if let Some(before) = pairs.into_iter().position(|(a, b)| a >= b) {
            let index = before.saturating_add(1);
            return Err(PlanError::Unsorted { index });
        }
        self.take_scripts(scripts)?;

        let next = 1_usize.saturating_sub(self.side);
        for p in 0..planned {
            self.set_order(next, p, NIL);
        }
        for o in 0..self.planned {
            self.set_plan(o, NIL);
        }
        let kept = self.pair(plan, |old, new| old.cmp(new));
        let edited = self.pair(plan, CheckConfig::cmp_question);
        let mut merged = Merged {
            kept,
            edited,
            ..Merged::default()
        };
        for o in 0..self.planned {
            match self.order(self.side, o).map(CheckId) {
                Some(id) if self.running(id).is_some_and(|slot| slot.plan == NIL) => {
                    self.end(id);
                    merged.removed = merged.removed.saturating_add(1);
                }
                Some(_) | None => {}
            }
        }
        for (p, config) in (0..planned).zip(plan) {
            match self.order(next, p).map(CheckId) {
                Some(id) => self.edit(now, id, config),
                None => {
                    self.begin(now, next, p, config);
                    merged.added = merged.added.saturating_add(1);
                }
            }
        }
        self.side = next;
        self.planned = planned;
        Ok(merged)
    }

    fn take_scripts(&mut self, scripts: Scripts<'_>) -> Result<(), PlanError> {
        let words = scripts.words();
        let capacity = self.scripts.len();
        let too_long = PlanError::TooLong {
            words: words.len(),
            capacity,
        };
        let place = self.scripts.get_mut(..words.len()).ok_or(too_long)?;
        place.copy_from_slice(words);
        self.scripts_len = words.len();
        // Compose a request anew that is half sent.
        self.composed = None;
        Ok(())
    }

    /// Gives entries of the plan that have no check yet to checks that have no
    /// entry yet and compare equal; how many.
    fn pair(
        &mut self,
        plan: &[CheckConfig],
        compare: impl Fn(&CheckConfig, &CheckConfig) -> Ordering,
    ) -> u32 {
        let next = 1_usize.saturating_sub(self.side);
        let (mut o, mut p, mut pairs) = (0, 0, 0_u32);
        while let Some(config) = plan.get(p as usize)
            && o < self.planned
        {
            let old = self.order(self.side, o);
            let slot = old.and_then(|index| self.slots.get(index as usize));
            let (Some(index), Some(slot)) = (old, slot.filter(|slot| slot.plan == NIL)) else {
                o = o.saturating_add(1);
                continue;
            };
            if self.order(next, p).is_some() {
                p = p.saturating_add(1);
                continue;
            }
            let order = compare(&slot.config(&self.manners), config);
            if order.is_eq() {
                self.set_order(next, p, index);
                self.set_plan(o, p);
                pairs = pairs.saturating_add(1);
            }
            o = o.saturating_add(u32::from(order.is_le()));
            p = p.saturating_add(u32::from(order.is_ge()));
        }
        pairs
    }

    /// Begins a check.
    fn begin(&mut self, now: Instant, side: usize, plan: u32, config: &CheckConfig) {
        // As many slots are free as the plan has entries without a check.
        let Some(index) = self.free.pop(self.slots, Slot::link, |_| ()) else {
            return;
        };
        let manner = self.manners.take(config);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = Slot {
                address: config.target.ip(),
                port: config.target.port(),
                manner,
                plan,
                since: now,
                order: slot.order,
                ..Slot::EMPTY
            };
            slot.believe(config.policy.initial);
        }
        self.set_order(side, plan, index);
        self.idle_until(CheckId(index), first_start(config, now, self.settings.seed));
    }

    /// Gives a check other times, if they are other ones.
    fn edit(&mut self, now: Instant, id: CheckId, config: &CheckConfig) {
        let seed = self.settings.seed;
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return;
        };
        let before = slot.config(&self.manners);
        if before == *config {
            return;
        }
        if slot.target() != config.target {
            return self.redirect(now, id, config);
        }
        // Half-open another way: what it has is of no use to it.
        let (moves, state) = (before.lane() != config.lane(), slot.state);
        if moves {
            self.stop(id, state);
        }
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return;
        };
        // In this order there is always room.
        self.manners.release(slot.manner);
        slot.manner = self.manners.take(config);
        if moves {
            if !matches!(state, State::Held) {
                self.idle_until(id, first_start(config, now, seed));
            }
            return;
        }
        match &mut slot.state {
            State::Idle { due, timer } => {
                *due = first_start(config, now, seed);
                self.wheel.postpone(*timer, *due);
            }
            State::Held
            | State::Paced { .. }
            | State::Waiting { .. }
            | State::Probing { .. }
            | State::Free => {}
        }
    }

    /// Points a check at where its name is now. What is believed of the target
    /// holds until verdicts say otherwise, and so does what was counted: the question
    /// is the name's, and one that moves again and again would never have an answer
    /// to it. A probe on its way says nothing of the new address and is made there, at
    /// once.
    fn redirect(&mut self, now: Instant, id: CheckId, config: &CheckConfig) {
        let Some(state) = self.running(id).map(|slot| slot.state) else {
            return;
        };
        // By the old config: it knows which queue it is in.
        self.stop(id, state);
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return;
        };
        (slot.address, slot.port) = (config.target.ip(), config.target.port());
        // In this order there is always room.
        self.manners.release(slot.manner);
        slot.manner = self.manners.take(config);
        if slot.health == Health::Down {
            // The new address was not seen failing, and is checked fast.
            slot.health = Health::GoingUp { successes: 0 };
        }
        slot.presumed = slot.health != Health::Unknown;
        match state {
            State::Idle { due, .. } => {
                let anew = first_start(config, now, self.settings.seed);
                self.idle_until(id, due.min(anew));
            }
            State::Paced { .. } | State::Waiting { .. } | State::Probing { .. } => {
                self.idle_until(id, now);
            }
            State::Held | State::Free => {}
        }
    }

    /// Ends a check, whatever it is doing.
    fn end(&mut self, id: CheckId) {
        let Some(slot) = self.running(id) else {
            return;
        };
        let state = slot.state;
        self.stop(id, state);
        self.news.remove(self.slots, id.0, Slot::news);
        if let Some(slot) = self.slots.get_mut(id.index()) {
            slot.state = State::Free;
            slot.told = HealthState::Unknown;
            self.manners.release(slot.manner);
        }
        self.free.push(self.slots, id.0, Slot::link);
    }

    fn set_order(&mut self, side: usize, plan: u32, index: u32) {
        if let Some(slot) = self.slots.get_mut(plan as usize)
            && let Some(entry) = slot.order.get_mut(side)
        {
            *entry = index;
        }
    }

    /// Notes the new entry of the check that ran the old plan's entry `old`.
    fn set_plan(&mut self, old: u32, plan: u32) {
        if let Some(index) = self.order(self.side, old)
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.plan = plan;
        }
    }
}
