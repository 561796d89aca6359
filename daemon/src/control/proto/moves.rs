//! Virtual routers and what moves them, as messages.

use super::v1::{Group, Heard, Router, Track, router};
use super::{Odd, all, ip, ms, of_family, small, to_family, try_all};
use crate::control::state::{GroupState, HeardState, Moves, RouterState, TrackedState, Voice};
use std::time::Duration;
use trunnion_core::vrrp::Role;

impl From<RouterState> for Router {
    fn from(router: RouterState) -> Self {
        let RouterState {
            name,
            interface,
            vrid,
            family,
            role,
            since,
            reason,
            priority,
            interval,
            addresses,
            counters,
            moves,
            voice,
        } = router;
        let state = match role {
            Role::Initialize => router::State::Initialize,
            Role::Backup => router::State::Backup,
            Role::Active => router::State::Active,
        };
        Self {
            name,
            interface,
            vrid: vrid.into(),
            family: of_family(family).into(),
            state: state.into(),
            since_ms: since.map(ms),
            reason,
            priority: priority.into(),
            interval_ms: u32::try_from(ms(interval)).unwrap_or(u32::MAX),
            addresses: all(addresses),
            counters: all(counters),
            base_priority: moves.base_priority.into(),
            group: moves.group,
            barred: moves.barred,
            held_ms: moves.held.map(ms),
            heard: moves.heard.map(Into::into),
            split_brain: moves.split_brain,
            virtual_mac: voice.virtual_mac,
            macvlan: voice.macvlan,
            macvlan_up: voice.macvlan_up,
            checksum: voice.checksum,
            checksum_learned: voice.learned,
            refused_ms: voice.refused.map(ms),
        }
    }
}

impl TryFrom<Router> for RouterState {
    type Error = Odd;

    fn try_from(message: Router) -> Result<Self, Odd> {
        let (family, state) = (message.family(), message.state());
        Ok(Self {
            name: message.name,
            interface: message.interface,
            vrid: small(message.vrid, "vrid")?,
            family: to_family(family)?,
            role: match state {
                router::State::Initialize => Role::Initialize,
                router::State::Backup => Role::Backup,
                router::State::Active => Role::Active,
                router::State::Unspecified => return Err(Odd("state")),
            },
            since: message.since_ms.map(Duration::from_millis),
            reason: message.reason,
            priority: small(message.priority, "priority")?,
            interval: Duration::from_millis(message.interval_ms.into()),
            addresses: try_all(message.addresses)?,
            counters: all(message.counters),
            moves: Moves {
                base_priority: small(message.base_priority, "base_priority")?,
                group: message.group,
                barred: message.barred,
                held: message.held_ms.map(Duration::from_millis),
                heard: message.heard.map(HeardState::try_from).transpose()?,
                split_brain: message.split_brain,
            },
            voice: Voice {
                virtual_mac: message.virtual_mac,
                macvlan: message.macvlan,
                macvlan_up: message.macvlan_up,
                checksum: message.checksum,
                learned: message.checksum_learned,
                refused: message.refused_ms.map(Duration::from_millis),
            },
        })
    }
}

impl From<HeardState> for Heard {
    fn from(heard: HeardState) -> Self {
        let HeardState {
            source,
            priority,
            ago,
        } = heard;
        Self {
            source: source.to_string(),
            priority: priority.into(),
            ago_ms: ms(ago),
        }
    }
}

impl TryFrom<Heard> for HeardState {
    type Error = Odd;

    fn try_from(message: Heard) -> Result<Self, Odd> {
        Ok(Self {
            source: ip(&message.source)?,
            priority: small(message.priority, "priority")?,
            ago: Duration::from_millis(message.ago_ms),
        })
    }
}

impl From<TrackedState> for Track {
    fn from(track: TrackedState) -> Self {
        let TrackedState { name, what, state } = track;
        Self { name, what, state }
    }
}

impl From<Track> for TrackedState {
    fn from(message: Track) -> Self {
        let Track { name, what, state } = message;
        Self { name, what, state }
    }
}

impl From<GroupState> for Group {
    fn from(group: GroupState) -> Self {
        let GroupState {
            name,
            state,
            members,
        } = group;
        Self {
            name,
            state,
            members,
        }
    }
}

impl From<Group> for GroupState {
    fn from(message: Group) -> Self {
        let Group {
            name,
            state,
            members,
        } = message;
        Self {
            name,
            state,
            members,
        }
    }
}
