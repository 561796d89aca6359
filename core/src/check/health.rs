//! Rise and fall: what is believed of a target after each verdict.

use super::Verdict;
use core::fmt;

/// What is believed of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Nothing yet. The first verdict decides at once.
    #[default]
    Unknown,
    /// It serves.
    Up,
    /// It serves still, but the last checks failed.
    GoingDown {
        /// How many, less than `fall`.
        failures: u8,
    },
    /// It does not serve.
    Down,
    /// It does not serve yet, but the last checks succeeded.
    GoingUp {
        /// How many, less than `rise`.
        successes: u8,
    },
}

/// What others need to know of a [`Health`]: whether to send clients there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It serves ([`Health::Up`], [`Health::GoingDown`]).
    Up,
    /// It does not ([`Health::Down`], [`Health::GoingUp`]).
    Down,
}

/// How many verdicts in a row change a mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Successes that bring a target up; 0 is 1.
    pub rise: u8,
    /// Failures that take a target down; 0 is 1.
    pub fall: u8,
}

/// A change that others must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Send clients there.
    WentUp,
    /// Do not.
    WentDown,
}

impl Health {
    /// What a verdict makes of it, and the change if there is one.
    #[must_use]
    pub const fn on(self, verdict: Verdict, limits: Limits) -> (Self, Option<Change>) {
        match self {
            Self::Unknown => match verdict {
                Verdict::Success => (Self::Up, Some(Change::WentUp)),
                Verdict::Failure(_) => (Self::Down, Some(Change::WentDown)),
                Verdict::Indeterminate(_) => (self, None),
            },
            Self::Up => match verdict {
                Verdict::Success => (self, None),
                Verdict::Failure(_) => Self::failed(1, limits),
                Verdict::Indeterminate(_) => (self, None),
            },
            Self::GoingDown { failures } => match verdict {
                Verdict::Success => (Self::Up, None),
                Verdict::Failure(_) => Self::failed(failures.saturating_add(1), limits),
                Verdict::Indeterminate(_) => (self, None),
            },
            Self::Down => match verdict {
                Verdict::Success => Self::succeeded(1, limits),
                Verdict::Failure(_) => (self, None),
                Verdict::Indeterminate(_) => (self, None),
            },
            Self::GoingUp { successes } => match verdict {
                Verdict::Success => Self::succeeded(successes.saturating_add(1), limits),
                Verdict::Failure(_) => (Self::Down, None),
                Verdict::Indeterminate(_) => (self, None),
            },
        }
    }

    /// Whether to send clients there.
    #[must_use]
    pub const fn state(self) -> HealthState {
        match self {
            Self::Unknown => HealthState::Unknown,
            Self::Up | Self::GoingDown { .. } => HealthState::Up,
            Self::Down | Self::GoingUp { .. } => HealthState::Down,
        }
    }

    /// The settled health of a state.
    #[must_use]
    pub const fn settled(state: HealthState) -> Self {
        match state {
            HealthState::Unknown => Self::Unknown,
            HealthState::Up => Self::Up,
            HealthState::Down => Self::Down,
        }
    }

    const fn failed(failures: u8, limits: Limits) -> (Self, Option<Change>) {
        if failures >= limits.fall {
            (Self::Down, Some(Change::WentDown))
        } else {
            (Self::GoingDown { failures }, None)
        }
    }

    const fn succeeded(successes: u8, limits: Limits) -> (Self, Option<Change>) {
        if successes >= limits.rise {
            (Self::Up, Some(Change::WentUp))
        } else {
            (Self::GoingUp { successes }, None)
        }
    }
}

impl HealthState {
    /// `unknown`, `up`, `down`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Local, Reason};
    use proptest::prelude::*;
    use std::format;
    use std::string::String;

    const VERDICTS: [Verdict; 3] = [
        Verdict::Success,
        Verdict::Failure(Reason::Refused),
        Verdict::Indeterminate(Local::Late),
    ];

    #[test]
    fn every_state_meets_every_verdict() {
        let states = [
            Health::Unknown,
            Health::Up,
            Health::GoingDown { failures: 1 },
            Health::GoingDown { failures: 2 },
            Health::GoingDown { failures: 255 },
            Health::Down,
            Health::GoingUp { successes: 1 },
            Health::GoingUp { successes: 255 },
        ];
        let mut table = String::new();
        for (rise, fall) in [(2, 3), (0, 0)] {
            table += &format!("rise {rise}, fall {fall}\n");
            for state in states {
                for verdict in VERDICTS {
                    let (next, change) = state.on(verdict, Limits { rise, fall });
                    let change = change.map_or(String::new(), |c| format!(", {c:?}"));
                    table += &format!("  {state:?} + {verdict:?} -> {next:?}{change}\n");
                }
            }
        }
        assert_eq!(table, include_str!("health.snapshot"), "is now:\n{table}");
    }

    proptest! {
        /// A change is told if and only if the state others see changed; trouble
        /// of this node changes nothing; and it takes as many in a row as asked.
        #[test]
        fn laws(
            verdicts in prop::collection::vec(0..3_usize, 0..600),
            rise in any::<u8>(),
            fall in any::<u8>(),
        ) {
            let limits = Limits { rise, fall };
            let mut health = Health::Unknown;
            let mut run = (0_u32, 0_u32);
            for verdict in verdicts.into_iter().map(|n| VERDICTS[n]) {
                let (next, change) = health.on(verdict, limits);
                match verdict {
                    Verdict::Success => run = (run.0 + 1, 0),
                    Verdict::Failure(_) => run = (0, run.1 + 1),
                    Verdict::Indeterminate(_) => prop_assert_eq!(next, health),
                }
                match (health.state(), next.state()) {
                    (HealthState::Unknown, HealthState::Up) => {
                        prop_assert_eq!(change, Some(Change::WentUp));
                    }
                    (HealthState::Unknown, HealthState::Down) => {
                        prop_assert_eq!(change, Some(Change::WentDown));
                    }
                    (HealthState::Down, HealthState::Up) => {
                        prop_assert_eq!(change, Some(Change::WentUp));
                        prop_assert_eq!(run.0, u32::from(rise.max(1)));
                    }
                    (HealthState::Up, HealthState::Down) => {
                        prop_assert_eq!(change, Some(Change::WentDown));
                        prop_assert_eq!(run.1, u32::from(fall.max(1)));
                    }
                    (before, after) => {
                        prop_assert_eq!(before, after);
                        prop_assert_eq!(change, None);
                    }
                }
                health = next;
            }
        }
    }
}
