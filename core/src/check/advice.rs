//! What a target says of itself beside serving: how much of its weight it should
//! have. An agent says it in words, a command by its status, a file by a number.

use super::probe::{Admin, Advice};

/// What is to be made of a target's configured weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Share {
    /// All of it.
    #[default]
    Whole,
    /// It will speak of it, and has not yet: whatever it had in an earlier run of
    /// the daemon, which the director knows.
    Presumed,
    /// So many hundredths of it.
    Percent(u16),
    /// This in its place.
    Weight(u32),
}

/// All that a target has said so far. What it does not speak of any more stays
/// as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Advised {
    /// It asked for drain or maintenance; both mean no new clients, and neither
    /// ends its checks, or it could never take that back.
    pub away: bool,
    /// Its share.
    pub share: Share,
}

/// The kernel reads a weight as a signed number.
const WEIGHT_MAX: u64 = i32::MAX as u64;

impl Advised {
    /// With what an agent's line adds.
    #[must_use]
    pub const fn with(self, advice: &Advice) -> Self {
        Self {
            away: match advice.admin {
                None => self.away,
                Some(Admin::Ready) => false,
                Some(Admin::Drain | Admin::Maint) => true,
            },
            share: match (advice.weight_percent, self.share) {
                (Some(percent), _) => Share::Percent(percent),
                (None, Share::Presumed) => Share::Whole,
                (None, share) => share,
            },
        }
    }

    /// With the weight that a command's status or a file means; without one the
    /// configured weight is the target's again.
    #[must_use]
    pub const fn with_weight(self, weight: Option<u32>) -> Self {
        let share = match weight {
            None => Share::Whole,
            Some(weight) => Share::Weight(weight),
        };
        Self { share, ..self }
    }

    /// What becomes of a configured weight. A share above 0 is never less than
    /// 1; 0 stays 0, whatever is said.
    #[must_use]
    pub fn weight(self, configured: u32) -> u32 {
        if self.away || configured == 0 {
            return 0;
        }
        let weight = match self.share {
            Share::Whole | Share::Presumed => u64::from(configured),
            Share::Percent(percent) => u64::from(configured)
                .saturating_mul(percent.into())
                .div_ceil(100),
            Share::Weight(weight) => weight.into(),
        };
        u32::try_from(weight.min(WEIGHT_MAX)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_bounded() {
        let share = |share| Advised {
            share,
            ..Advised::default()
        };
        let each = [
            (share(Share::Whole), 7, 7),
            (share(Share::Percent(50)), 7, 4),
            (share(Share::Percent(1)), 7, 1),
            (share(Share::Percent(0)), 7, 0),
            (share(Share::Percent(200)), 7, 14),
            (share(Share::Percent(u16::MAX)), u32::MAX, i32::MAX as u32),
            (share(Share::Weight(3)), 7, 3),
            (share(Share::Weight(0)), 7, 0),
            // The operator's 0 is the last word.
            (share(Share::Weight(3)), 0, 0),
        ];
        for (advised, configured, weight) in each {
            assert_eq!(advised.weight(configured), weight, "{advised:?}");
        }
    }

    #[test]
    fn what_an_agent_does_not_speak_of_stays() {
        let says = |admin, weight_percent| Advice {
            up: None,
            admin,
            weight_percent,
        };
        let mut advised = Advised::default();
        let lines = [
            (says(None, Some(50)), 5),
            (says(Some(Admin::Drain), None), 0),
            (says(Some(Admin::Maint), Some(20)), 0),
            (says(None, None), 0),
            (says(Some(Admin::Ready), None), 2),
        ];
        for (line, weight) in lines {
            advised = advised.with(&line);
            assert_eq!(advised.weight(10), weight, "{line:?}");
        }
        let presumed = Advised {
            away: false,
            share: Share::Presumed,
        };
        let said = presumed.with(&says(None, None)).share;
        assert_eq!(said, Share::Whole, "it has spoken");
        assert_eq!(advised.with_weight(Some(9)).weight(10), 9);
        assert_eq!(advised.with_weight(None).weight(10), 10);
    }
}
