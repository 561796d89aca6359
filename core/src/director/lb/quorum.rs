//! The health of one service as a whole, for virtual routers that track it.

use super::Lb;
use crate::check::HealthState;
use crate::director::ha::TrackState;
use crate::director::plan::OperatorState;

impl Lb<'_> {
    /// Changes whenever [`Self::quorum`] may say something else: with a plan, a
    /// check's report, an operator's word, and what is adopted at the start.
    #[must_use]
    pub const fn health_version(&self) -> u64 {
        self.health_version
    }

    /// Whether at least `quorum` of the destinations of the service at this
    /// place of [`Self::desired`] are healthy, those counted that the config
    /// gives a weight, and no sorry server; an operator's word outweighs a
    /// check's. Unknown while outstanding verdicts decide, and for a
    /// service that is not there.
    #[must_use]
    pub fn quorum(&self, service: usize, quorum: u32) -> TrackState {
        let table = self.desired.table();
        let Some(row) = table.services.get(service) else {
            return TrackState::Unknown;
        };
        let (mut up, mut unknown) = (0_u32, 0_u32);
        for (at, destination) in row.range().zip(table.destinations_of(row)) {
            let member = self.members.get(at).map(|member| member.member);
            if destination.weight == 0 || member.is_some_and(|member| member.sorry) {
                continue;
            }
            let check = self.links.check(at);
            let health = || check.map_or(HealthState::Up, |check| self.engine.health(check));
            // What an operator says outweighs the check.
            let health = match member.map_or(OperatorState::Ready, |member| member.operator) {
                OperatorState::Ready => health(),
                OperatorState::ForcedUp => HealthState::Up,
                OperatorState::Drain | OperatorState::Maint | OperatorState::ForcedDown => {
                    HealthState::Down
                }
            };
            match health {
                HealthState::Up => up = up.saturating_add(1),
                HealthState::Unknown => unknown = unknown.saturating_add(1),
                HealthState::Down => {}
            }
        }
        verdict(up, unknown, quorum)
    }
}

const fn verdict(up: u32, unknown: u32, quorum: u32) -> TrackState {
    if up >= quorum {
        TrackState::Up
    } else if up.saturating_add(unknown) >= quorum {
        TrackState::Unknown
    } else {
        TrackState::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outstanding_is_no_verdict_while_it_could_decide() {
        for (up, unknown, quorum, expect) in [
            (0, 0, 1, TrackState::Down),
            (0, 1, 1, TrackState::Unknown),
            (1, 0, 1, TrackState::Up),
            (1, 1, 3, TrackState::Down),
            (2, 1, 3, TrackState::Unknown),
            (3, 9, 3, TrackState::Up),
            (u32::MAX, u32::MAX, u32::MAX, TrackState::Up),
        ] {
            assert_eq!(verdict(up, unknown, quorum), expect);
        }
    }
}
