//! What virtual routers track besides their own interface, and what it weighs.
//! The weights are keepalived's: 0 is a fault, more than 0 is added to the
//! priority while it is up, less than 0 is taken off while it is down.
//!
//! Links are seen here. All else is found out by others (the control thread,
//! the LB half) and told in [`Ha::handle_track`]: finding out may take a while,
//! and this half waits for nothing.

use super::{Ha, NoMacvlan, NotReady};
use crate::director::plan::{InterfaceName, TrackName, TrackSource, TrackUse};
use crate::director::records;
use crate::time::Instant;
use crate::vrrp::PRIORITY_OWNER;

/// What is known of something tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackState {
    /// Nothing yet. Nobody takes part before that is known, but for who goes on
    /// as Active from an earlier run.
    #[default]
    Unknown,
    /// It works, is there, or runs.
    Up,
    /// It does not.
    Down,
    /// A number somebody wrote, which multiplies the weight; a fault with a
    /// weight of 0 unless it is 0 as well.
    Value(i16),
}

impl TrackState {
    /// As a word that threads can share.
    #[must_use]
    pub const fn word(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Up => 1,
            Self::Down => 2,
            Self::Value(value) => 1 << 16 | value.cast_unsigned() as u32,
        }
    }

    /// From a word; unknown for one that none of ours is.
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        let [high, flag, a, b] = word.to_be_bytes();
        match (high, flag, word) {
            (0, 0, 1) => Self::Up,
            (0, 0, 2) => Self::Down,
            (0, 1, _) => Self::Value(i16::from_be_bytes([a, b])),
            _ => Self::Unknown,
        }
    }

    /// In words; a value is its own.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
            Self::Value(_) => "a value",
        }
    }
}

/// Something tracked, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSlot {
    /// Its name.
    pub name: TrackName,
    /// Where to look.
    pub source: TrackSource,
    /// What is known of it.
    pub state: TrackState,
}

impl TrackSlot {
    /// A slot of nothing, to fill the owner's slice with.
    pub const BLANK: Self = Self {
        name: TrackName::new(),
        source: TrackSource::Cell(u16::MAX),
        state: TrackState::Unknown,
    };
}

/// Why a router does not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Its interface cannot carry it.
    Interface(NotReady),
    /// It has no macvlan for its addresses.
    Macvlan(NoMacvlan),
    /// Something it tracks is down: its place in [`Ha::tracks`].
    Down(u16),
    /// Something it tracks is not known yet.
    Unknown(u16),
    /// The node has just started, and is told to wait.
    Delay,
}

/// What one thing does to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Unknown,
    Fault,
    Weight(i32),
}

/// The value of a file that makes a fault, multiplied, as keepalived has it.
const FAULT_BELOW: i32 = -253;

fn effect(of: TrackUse, state: TrackState) -> Effect {
    let weight = i32::from(of.weight);
    let turned = |value: i32| {
        if of.reverse {
            value.saturating_neg()
        } else {
            value
        }
    };
    match state {
        TrackState::Unknown => Effect::Unknown,
        TrackState::Value(value) if weight == 0 => {
            if (value != 0) == of.reverse {
                Effect::Weight(0)
            } else {
                Effect::Fault
            }
        }
        TrackState::Value(value) => match turned(weight.saturating_mul(value.into())) {
            product if product < FAULT_BELOW => Effect::Fault,
            product => Effect::Weight(product),
        },
        TrackState::Up | TrackState::Down => {
            let up = state == TrackState::Up;
            match weight.signum() {
                0 if up == of.reverse => Effect::Fault,
                1 if up => Effect::Weight(turned(weight)),
                -1 if !up => Effect::Weight(turned(weight)),
                _ => Effect::Weight(0),
            }
        }
    }
}

/// The priority that a weight leaves of another: 1 to 254, or the owner's,
/// whom nothing weighs on.
#[must_use]
pub(super) fn weighed(priority: u8, weight: i32) -> u8 {
    if priority == PRIORITY_OWNER {
        return priority;
    }
    let sum = i32::from(priority).saturating_add(weight);
    u8::try_from(sum.clamp(1, 254)).unwrap_or(priority)
}

impl Ha<'_> {
    /// What is tracked, and what is known of it.
    #[must_use]
    pub fn tracks(&self) -> &[TrackSlot] {
        self.tracks.get(..self.tracks_len).unwrap_or(&[])
    }

    /// What was found out about whatever has this cell
    /// ([`TrackSource::Cell`]); a cell keeps what it was told over reloads.
    pub fn handle_track(&mut self, now: Instant, cell: u16, state: TrackState) {
        let Some(known) = self.cells.get_mut(usize::from(cell)) else {
            return;
        };
        if core::mem::replace(known, state) != state {
            self.unsettle(now);
        }
    }

    /// Takes the plan's list, with what is known of each.
    pub(super) fn merge_tracks(&mut self, tracks: &[crate::director::plan::Track]) {
        self.tracks_len = tracks.len();
        for (slot, track) in self.tracks.iter_mut().zip(tracks) {
            let same = slot.source == track.source;
            slot.name = track.name.clone();
            slot.source = track.source.clone();
            if !same {
                slot.state = TrackState::Unknown;
            }
        }
    }

    /// Looks at what is tracked; says what has changed.
    pub(super) fn look_at_tracks(&mut self, now: Instant) {
        for at in 0..self.tracks_len {
            let Some(slot) = self.tracks.get(at) else {
                return;
            };
            let state = match &slot.source {
                TrackSource::Interface(name) => self.link_state(name),
                TrackSource::Cell(cell) => {
                    let known = self.cells.get(usize::from(*cell));
                    known.copied().unwrap_or_default()
                }
            };
            let Some(slot) = self.tracks.get_mut(at) else {
                return;
            };
            if state == slot.state {
                continue;
            }
            slot.state = state;
            let (name, value) = (slot.name.clone(), value(state));
            let state = state.words();
            self.log
                .log(now, records::TrackChanged { name, state, value });
        }
    }

    fn link_state(&self, name: &InterfaceName) -> TrackState {
        let found = self.interfaces().iter().find(|i| i.name == *name);
        if found.is_some_and(|interface| interface.found.running) {
            TrackState::Up
        } else {
            TrackState::Down
        }
    }

    /// What its tracks make of a router: its weight, and what bars it.
    pub(super) fn weigh(&self, uses: &[TrackUse], may_wait: bool) -> (i32, Option<Bar>) {
        let (mut sum, mut bar) = (0_i32, None);
        for of in uses {
            let state = self.tracks().get(usize::from(of.track));
            let state = state.map_or(TrackState::Unknown, |slot| slot.state);
            match effect(*of, state) {
                Effect::Fault => bar = bar.or(Some(Bar::Down(of.track))),
                Effect::Unknown if may_wait => bar = bar.or(Some(Bar::Unknown(of.track))),
                Effect::Unknown => {}
                Effect::Weight(weight) => sum = sum.saturating_add(weight),
            }
        }
        (sum, bar)
    }

    /// In words, why a router does not take part; of a track its name.
    #[must_use]
    pub fn bar_words(&self, bar: Bar) -> (&'static str, &str) {
        let name = |track: u16| {
            let slot = self.tracks().get(usize::from(track));
            slot.map_or("", |slot| slot.name.as_str())
        };
        match bar {
            Bar::Interface(why) => (why.words(), ""),
            Bar::Macvlan(why) => (why.words(), ""),
            Bar::Down(track) => ("down: ", name(track)),
            Bar::Unknown(track) => ("not known yet: ", name(track)),
            Bar::Delay => ("startup_delay", ""),
        }
    }
}

/// The number in a state, for the log.
fn value(state: TrackState) -> i32 {
    match state {
        TrackState::Value(value) => value.into(),
        TrackState::Unknown | TrackState::Up | TrackState::Down => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(weight: i16, reverse: bool) -> TrackUse {
        TrackUse {
            track: 0,
            weight,
            reverse,
        }
    }

    #[test]
    fn weights_are_keepaliveds() {
        use Effect::{Fault, Weight};
        use TrackState::{Down, Up, Value};
        for (weight, reverse, state, expect) in [
            (0, false, Up, Weight(0)),
            (0, false, Down, Fault),
            (0, true, Up, Fault),
            (0, true, Down, Weight(0)),
            (20, false, Up, Weight(20)),
            (20, false, Down, Weight(0)),
            (20, true, Up, Weight(-20)),
            (20, true, Down, Weight(0)),
            (-20, false, Up, Weight(0)),
            (-20, false, Down, Weight(-20)),
            (-20, true, Up, Weight(0)),
            (-20, true, Down, Weight(20)),
            (0, false, Value(0), Weight(0)),
            (0, false, Value(-3), Fault),
            (0, true, Value(0), Fault),
            (0, true, Value(1), Weight(0)),
            (1, false, Value(-253), Weight(-253)),
            (1, false, Value(-254), Fault),
            (-2, false, Value(127), Fault),
            (-2, false, Value(-10), Weight(20)),
            (2, true, Value(10), Weight(-20)),
        ] {
            let found = effect(used(weight, reverse), state);
            assert_eq!(found, expect, "{weight} {reverse} {state:?}");
        }
        for weight in [-20, 0, 20] {
            assert_eq!(
                effect(used(weight, false), TrackState::Unknown),
                Effect::Unknown
            );
        }
    }

    #[test]
    fn a_priority_stays_one_that_a_router_may_have() {
        assert_eq!(weighed(100, 20), 120);
        assert_eq!(weighed(100, -100), 1);
        assert_eq!(weighed(100, i32::MIN), 1);
        assert_eq!(weighed(250, 20), 254);
        assert_eq!(weighed(1, i32::MAX), 254);
        assert_eq!(weighed(255, -200), 255, "nothing weighs on the owner");
    }

    #[test]
    fn states_survive_as_words() {
        for state in [
            TrackState::Unknown,
            TrackState::Up,
            TrackState::Down,
            TrackState::Value(0),
            TrackState::Value(i16::MIN),
            TrackState::Value(-1),
            TrackState::Value(i16::MAX),
        ] {
            assert_eq!(TrackState::from_word(state.word()), state);
        }
        for odd in [3, 0xffff, 0x0002_0000, u32::MAX] {
            assert_eq!(TrackState::from_word(odd), TrackState::Unknown);
        }
    }
}
