//! What moves virtual routers, from a snapshot to what is shown.

use crate::config::{Config, Prefixed, TrackSource};
use crate::control::state::{GroupState, HeardState, Moves, TrackedState};
use crate::run::snapshot::{HaSnapshot, RouterView};
use trunnion_core::director::ha::{Standing, TrackState};

/// What moves one router.
pub(super) fn of(ha: &HaSnapshot, view: &RouterView) -> Moves {
    let group = view.group.and_then(|at| ha.groups.get(usize::from(at)));
    Moves {
        base_priority: view.base,
        group: group.map_or_else(String::new, |(name, _)| name.to_string()),
        barred: match &view.barred {
            Some((why, what)) => format!("{why}{what}"),
            None => String::new(),
        },
        held: view.held_until.map(|until| until.since(ha.at)),
        heard: view.heard.map(|heard| HeardState {
            source: heard.source,
            priority: heard.priority,
            ago: ha.at.since(heard.at),
        }),
        split_brain: view.split,
    }
}

pub(super) fn groups(ha: &HaSnapshot) -> Vec<GroupState> {
    let each = (0..).zip(&ha.groups);
    each.map(|(at, (name, standing))| {
        let members = ha.routers.iter().filter(|view| view.group == Some(at));
        GroupState {
            name: name.to_string(),
            state: standing.map_or("", word).to_owned(),
            members: members.map(|view| view.name.to_string()).collect(),
        }
    })
    .collect()
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Backup => "backup",
        Standing::Fault => "fault",
        Standing::Stop => "stop",
    }
}

pub(super) fn tracks(config: &Config, ha: &HaSnapshot) -> Vec<TrackedState> {
    let each = ha.tracks.iter();
    each.map(|(name, state)| {
        let declared = config.tracks.iter().find(|track| track.name == **name);
        TrackedState {
            name: name.to_string(),
            what: declared.map_or_else(String::new, |track| what(&track.source)),
            state: match state {
                TrackState::Value(value) => value.to_string(),
                TrackState::Up | TrackState::Down | TrackState::Unknown => state.words().to_owned(),
            },
        }
    })
    .collect()
}

fn what(source: &TrackSource) -> String {
    match source {
        TrackSource::Interface(name) => format!("interface {name}"),
        TrackSource::Route {
            prefix: Prefixed { address, prefix },
            table,
        } => format!("route {address}/{prefix} in table {table}"),
        TrackSource::Process { program, count, .. } => {
            format!("process {program}, {count} or more")
        }
        TrackSource::Script(script) => format!("script {}", script.command.join(" ")),
        TrackSource::File(path) => format!("file {}", path.display()),
        TrackSource::Service { name, quorum } => {
            format!("service {name}, {quorum} healthy or more")
        }
    }
}
