//! What a check's verdicts lead to beyond rise and fall, and how its times
//! stretch. Not when it is due: that is the engine's `schedule`.

use super::HealthState;
use crate::time::Duration;

/// See the module's words. Small: every check carries one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckPolicy {
    /// What is believed before the first verdict. `Unknown`: the first verdict
    /// decides. `Up`: it takes `fall` failures to come down; `Down`: `rise`
    /// successes to come up.
    pub initial: HealthState,
    /// What the interval between checks of a target that is down is multiplied
    /// by after each, in hundredths; 100 or less leaves it.
    pub backoff_percent: u16,
    /// The interval that back-off ends at, milliseconds.
    pub backoff_max_ms: u32,
    /// How much later than its time a check may start, in hundredths of its
    /// interval, by a number that is another each time: at most 50.
    pub jitter_percent: u8,
    /// Falls, less those forgotten, from which on a target is held down; 0 never
    /// holds.
    pub flap_falls: u8,
    /// In what time half of the falls are forgotten, milliseconds.
    pub flap_half_life_ms: u32,
    /// A certificate that expires sooner is named, seconds; 0 names none.
    pub expiry_warning_s: u32,
}

impl CheckPolicy {
    /// The first verdict decides, intervals stay what they are, nobody is held
    /// down.
    pub const DEFAULT: Self = Self {
        initial: HealthState::Unknown,
        backoff_percent: 100,
        backoff_max_ms: 60_000,
        jitter_percent: 0,
        flap_falls: 0,
        flap_half_life_ms: 60_000,
        expiry_warning_s: 0,
    };

    /// The interval that back-off ends at.
    #[must_use]
    pub const fn backoff_max(&self) -> Duration {
        Duration::from_millis(self.backoff_max_ms as u64)
    }

    /// In what time half of the falls are forgotten.
    #[must_use]
    pub const fn flap_half_life(&self) -> Duration {
        Duration::from_millis(self.flap_half_life_ms as u64)
    }
}

impl Default for CheckPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}
