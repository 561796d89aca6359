//! Which destinations of a service get clients, and how many: pure, of what is
//! said of each.
//!
//! A destination that serves has its weight, one that does not has 0 (drain).
//! When too few are left to be believed, all have theirs again (fail-open); when
//! none is left, or the quorum is lost, the sorry server has its own, if there is
//! one that serves.

use crate::director::plan::ServicePolicy;
use crate::model::Destination;

/// What is said of a destination, with the weight that it would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It serves.
    Up(u32),
    /// It does not.
    Down(u32),
    /// There is no verdict yet.
    Unknown(u32),
    /// Nor yet of one that has clients now, or whose like is about to go with its own.
    Kept(u32),
    /// An operator says that it does not: it counts as failed, and gets nothing
    /// even when all do.
    Barred,
    /// It has no part: its weight is 0, by the config, an operator, or itself.
    Away,
}

/// Whether the weight of those that serve is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Quorum {
    /// None is asked for, or the first verdicts are still out.
    #[default]
    Unasked,
    /// It is.
    Held,
    /// It is not.
    Lost,
}

/// How a service stands, beside the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// Too few healthy ones, so that all get their weight.
    pub open: bool,
    /// The sorry server gets the clients.
    pub sorry: bool,
    /// See there.
    pub quorum: Quorum,
}

/// Whom the clients of a service are sent to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// They are not.
    Nobody,
    /// To the sorry server alone.
    Sorry,
    /// To another, at least.
    Others,
}

impl Quorum {
    fn on(self, policy: ServicePolicy, weight: u64, unknown: bool) -> Self {
        let (quorum, hysteresis) = (u64::from(policy.quorum), u64::from(policy.hysteresis));
        if quorum == 0 {
            return Self::Unasked;
        }
        match self {
            Self::Unasked if weight >= quorum => Self::Held,
            Self::Unasked if unknown => Self::Unasked,
            Self::Unasked => Self::Lost,
            Self::Held if weight < quorum.saturating_sub(hysteresis) && !unknown => Self::Lost,
            Self::Held => Self::Held,
            Self::Lost if weight >= quorum.saturating_add(hysteresis) => Self::Held,
            Self::Lost => Self::Lost,
        }
    }
}

/// Sets the weights of one service's rows. `was` is what the last call returned;
/// while a verdict is still out an open service stays open and a closed one stays
/// closed, and so with the sorry server, at the place `sorry`.
///
/// Clients that are `served` are not cut off for want of a verdict. Those that have
/// some keep them until their own: the first good verdict of many must not send all
/// to one. While none is known to be healthy or has clients to keep, those without a
/// verdict are presumed to be; where that leaves nobody, the sorry server is.
/// And whom only the sorry server has stays there, though he came to it when it
/// was none.
pub(super) fn settle(
    policy: ServicePolicy,
    was: Stand,
    served: Served,
    sorry: Option<usize>,
    rows: &mut [Destination],
    call: impl Fn(usize) -> Call,
) -> Stand {
    let (mut up, mut weighted, mut weight) = (0_usize, 0_usize, 0_u64);
    let (mut unknown, mut kept) = (false, false);
    let reals = || (0..rows.len()).filter(|at| Some(*at) != sorry);
    for at in reals() {
        match call(at) {
            Call::Up(own) => {
                up = up.saturating_add(1);
                weight = weight.saturating_add(own.into());
            }
            Call::Down(_) | Call::Barred => {}
            Call::Unknown(_) => unknown = true,
            Call::Kept(_) => (unknown, kept) = (true, true),
            Call::Away => continue,
        }
        weighted = weighted.saturating_add(1);
    }
    let sorry_call = sorry.map(&call);
    let ready = matches!(sorry_call, Some(Call::Up(_)));
    let floor = usize::from(policy.min_healthy).min(weighted);
    let open = up < floor && !ready && (was.open || !unknown);
    let presume = up == 0
        && !kept
        && match (served, sorry_call) {
            (Served::Nobody, _) | (Served::Sorry, Some(Call::Up(_) | Call::Unknown(_))) => false,
            (Served::Sorry | Served::Others, _) => true,
        };
    let given = |at: usize| match call(at) {
        Call::Up(weight) | Call::Kept(weight) => weight,
        Call::Down(weight) if open => weight,
        Call::Unknown(weight) if open || presume => weight,
        Call::Down(_) | Call::Unknown(_) | Call::Barred | Call::Away => 0,
    };
    let quorum = was.quorum.on(policy, weight, unknown);
    let none = !reals().any(|at| given(at) > 0);
    let begun = was.sorry || served == Served::Sorry;
    let takes = quorum == Quorum::Lost || none && (begun || !unknown);
    let takes = match sorry_call {
        Some(Call::Up(weight)) if takes => Some(weight),
        Some(Call::Unknown(weight)) if none && (begun || served == Served::Others) => Some(weight),
        Some(_) | None => None,
    };
    for (at, row) in rows.iter_mut().enumerate() {
        row.weight = match takes {
            _ if Some(at) == sorry => takes.unwrap_or(0),
            Some(_) => 0,
            None => given(at),
        };
    }
    Stand {
        open,
        sorry: takes.is_some(),
        quorum,
    }
}

#[cfg(test)]
mod tests;
