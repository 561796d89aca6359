//! What a destination's weight is right now: who says what of it, put together.

use super::links::Links;
use super::rise::{Rise, Turn};
use super::settle::{Call, Quorum, Served, Stand, settle};
use super::{MemberState, PolicyCounters, ServiceState, find};
use crate::check::{Engine, HealthState, Share};
use crate::director::plan::OperatorState;
use crate::director::records;
use crate::model::{Destination, DestinationKey, ServiceKey, ServiceRow, Table};
use crate::record::Ring;
use crate::time::{Instant, earliest};

/// What the kernel holds of a service.
pub(super) fn held<'a>(actual: Table<'a>, key: &ServiceKey) -> &'a [Destination] {
    find(actual, key).map_or(&[][..], |row| actual.destinations_of(row))
}

/// Whom the clients of a service are sent to now, where the kernel has `held`.
fn served(held: &[Destination], sorry: Option<DestinationKey>) -> Served {
    let mut serving = held.iter().filter(|d| d.weight > 0).map(|d| Some(d.key));
    match serving.next() {
        None => Served::Nobody,
        // Of each there is one.
        Some(only) if only == sorry && serving.next().is_none() => Served::Sorry,
        Some(_) => Served::Others,
    }
}

/// What weights follow from.
pub(super) struct Scales<'a, 's> {
    pub now: Instant,
    pub links: &'a Links<'s>,
    pub engine: &'a Engine<'s>,
    pub counters: &'a mut PolicyCounters,
}

impl Scales<'_, '_> {
    /// Sets the weights of a service's `rows`, which hold the configured ones, where
    /// the kernel has `held`.
    /// Returns when they will be others with nothing else happening.
    pub fn weigh(
        &mut self,
        row: &ServiceRow,
        state: &mut ServiceState,
        held: &[Destination],
        members: &mut [MemberState],
        rows: &mut [Destination],
        log: &mut Ring<'_>,
    ) -> Option<Instant> {
        let now = self.now;
        let first = row.range().start;
        let sorry = members.iter().position(|m| m.member.sorry);
        for (at, (member, row)) in members.iter_mut().zip(rows.iter()).enumerate() {
            member.call = self.call(first.saturating_add(at), row.weight, member);
        }
        keep(members, rows, held);
        let served = served(held, sorry.and_then(|at| rows.get(at)).map(|row| row.key));
        let was = state.stand;
        let policy = state.policy;
        let mut rising: u64 = 0;
        let call = |at: usize| members.get(at).map_or(Call::Away, |member| member.call);
        let stand = settle(policy, was, served, sorry, rows, call);
        let mut next = None;
        for (at, (member, row)) in members.iter_mut().zip(rows.iter_mut()).enumerate() {
            if Some(at) == sorry {
                continue;
            }
            if let Rise::Held { weight } = member.rise
                && !self.is_presumed(first.saturating_add(at), member)
            {
                // Now it is known of how much that is.
                member.rise = Rise::resumed(now, policy.slow_start, weight, row.weight);
            }
            let turn = turn(row.weight, stand.open, member.call);
            let before = member.rise;
            member.rise = before.on(now, policy.slow_start, turn);
            if row.weight > 0 {
                row.weight = member.rise.weight(now, policy.slow_start, row.weight);
            }
            if let (Rise::Out, Rise::Rising { .. }) = (before, member.rise) {
                rising = rising.saturating_add(1);
            }
            next = earliest(next, member.rise.next(now, policy.slow_start));
        }
        self.counters.slow_starts = self.counters.slow_starts.saturating_add(rising);
        state.stand = stand;
        self.tell(&row.service.key, was, stand, log);
        next
    }

    /// Whether its check has still to say what its weight is.
    fn is_presumed(&self, at: usize, member: &MemberState) -> bool {
        let check = self.links.check(at);
        let share = check.map(|check| self.engine.advised(check).share);
        share == Some(Share::Presumed) && member.member.operator == OperatorState::Ready
    }

    /// What is said of a destination.
    fn call(&self, at: usize, configured: u32, member: &MemberState) -> Call {
        let check = self.links.check(at);
        let advised = check.map_or_else(Default::default, |check| self.engine.advised(check));
        let weight = advised.weight(configured);
        match member.member.operator {
            OperatorState::Drain | OperatorState::Maint => Call::Away,
            _ if configured == 0 => Call::Away,
            OperatorState::ForcedUp => Call::Up(configured),
            OperatorState::ForcedDown => Call::Barred,
            OperatorState::Ready if weight == 0 => Call::Away,
            OperatorState::Ready => match check.map(|check| self.engine.health(check)) {
                None | Some(HealthState::Up) => Call::Up(weight),
                Some(HealthState::Down) => Call::Down(weight),
                Some(HealthState::Unknown) => Call::Unknown(weight),
            },
        }
    }

    /// Says and counts how a service stands now, where that is news.
    fn tell(&mut self, key: &ServiceKey, was: Stand, is: Stand, log: &mut Ring<'_>) {
        let now = self.now;
        let (address, port, mark) = records::service_fields(key);
        macro_rules! say {
            ($counter:ident, $record:ident) => {{
                let counter = &mut self.counters.$counter;
                *counter = counter.saturating_add(1);
                let record = records::$record {
                    address,
                    port,
                    mark,
                };
                log.log(now, record);
            }};
        }
        match (was.open, is.open) {
            (false, true) => say!(opened, ServiceOpened),
            (true, false) => say!(closed, ServiceClosed),
            (false, false) | (true, true) => {}
        }
        match (was.sorry, is.sorry) {
            (false, true) => say!(sorry_began, SorryServes),
            (true, false) => say!(sorry_ended, SorryRests),
            (false, false) | (true, true) => {}
        }
        match (was.quorum, is.quorum) {
            (Quorum::Unasked | Quorum::Held, Quorum::Lost) => say!(quorum_lost, QuorumLost),
            (Quorum::Lost, Quorum::Held) => say!(quorum_gained, QuorumGained),
            (Quorum::Unasked, Quorum::Held)
            | (_, Quorum::Unasked)
            | (Quorum::Held, Quorum::Held)
            | (Quorum::Lost, Quorum::Lost) => {}
        }
    }
}

/// Those without a verdict that have clients keep them. While others that have
/// some are about to be deleted, by a reload, the rest has to be trusted as well.
fn keep(members: &mut [MemberState], rows: &[Destination], held: &[Destination]) {
    let unknown = |member: &MemberState| matches!(member.call, Call::Unknown(_));
    if !members.iter().any(unknown) {
        return;
    }
    let stays = |key: &DestinationKey| rows.binary_search_by_key(key, |row| row.key).is_ok();
    let leaves = |row: &Destination| row.weight > 0 && !stays(&row.key);
    let replaced = held.iter().any(leaves);
    let has_clients = |key: &DestinationKey| {
        let found = held.binary_search_by_key(key, |row| row.key);
        found.is_ok_and(|at| held.get(at).is_some_and(|row| row.weight > 0))
    };
    for (member, row) in members.iter_mut().zip(rows) {
        if let Call::Unknown(weight) = member.call
            && !member.member.sorry
            && (replaced || has_clients(&row.key))
        {
            member.call = Call::Kept(weight);
        }
    }
}

/// What came of a destination that was given this weight.
const fn turn(weight: u32, open: bool, call: Call) -> Turn {
    match call {
        Call::Up(_) if weight > 0 => Turn::Serves,
        Call::Down(_) | Call::Unknown(_) | Call::Kept(_) if weight > 0 && open => Turn::Pressed,
        Call::Unknown(_) | Call::Kept(_) if weight > 0 => Turn::Serves,
        Call::Unknown(_) | Call::Kept(_) => Turn::Waits,
        Call::Up(_) | Call::Down(_) | Call::Barred | Call::Away => Turn::Rests,
    }
}
