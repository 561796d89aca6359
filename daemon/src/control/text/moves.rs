//! What moves virtual routers, for a terminal.

use super::table;
use crate::control::state::{GroupState, HeardState, RouterState, TrackedState};
use std::fmt;
use trunnion_core::vrrp::Role;

/// The priority in force, and the config's where something weighs on it.
pub(super) fn priority(router: &RouterState) -> String {
    match router.moves.base_priority {
        base if base == router.priority => base.to_string(),
        base => format!("{} of {base}", router.priority),
    }
}

/// The interface, and the macvlan on it that has the addresses.
pub(super) fn place(router: &RouterState) -> String {
    let voice = &router.voice;
    match (voice.macvlan.as_str(), voice.macvlan_up) {
        ("", _) => router.interface.clone(),
        (macvlan, None) => format!("{} {macvlan} (missing)", router.interface),
        (macvlan, Some(_)) => format!("{} {macvlan}", router.interface),
    }
}

/// Why it is what it is, and what keeps it there.
pub(super) fn why(router: &RouterState) -> String {
    let moves = &router.moves;
    let mut why = router.reason.clone();
    let mut add = |words: String| {
        if !why.is_empty() {
            why.push_str("; ");
        }
        why.push_str(&words);
    };
    if !moves.barred.is_empty() && moves.barred != router.reason {
        add(moves.barred.clone());
    }
    if let Some(held) = moves.held {
        add(format!("preempts nobody for {} s", held.as_secs()));
    }
    if let Some(refused) = router.voice.refused {
        add(format!(
            "THE KERNEL REFUSES ITS ADVERTS for {} s",
            refused.as_secs()
        ));
    }
    if router.voice.learned {
        add(format!("checksum {} as heard", router.voice.checksum));
    }
    let heard = |HeardState { source, .. }| format!("{source} is active");
    if let Some(heard) = moves.heard.filter(|heard| heard.priority > 0).map(heard)
        && router.role == Role::Backup
    {
        add(heard);
    }
    why
}

/// Splits, groups and tracks, where there are any.
pub(super) fn show(
    f: &mut fmt::Formatter<'_>,
    routers: &[RouterState],
    groups: &[GroupState],
    tracks: &[TrackedState],
) -> fmt::Result {
    for router in routers.iter().filter(|router| router.moves.split_brain) {
        let whom = match router.moves.heard {
            Some(HeardState {
                source, priority, ..
            }) => format!("{source} with priority {priority}"),
            None => "another".to_owned(),
        };
        writeln!(
            f,
            "\nSPLIT BRAIN: {} hears {whom}, and two are active: one does not hear the other",
            router.name
        )?;
    }
    if !groups.is_empty() {
        writeln!(f)?;
        let rows = groups.iter().map(|group| {
            let state = match group.state.as_str() {
                "" => "moves",
                state => state,
            };
            [
                group.name.clone(),
                state.to_owned(),
                group.members.join(" "),
            ]
        });
        table(f, "", &["GROUP", "STATE", "MEMBERS"], rows)?;
    }
    if !tracks.is_empty() {
        writeln!(f)?;
        let rows = tracks.iter();
        let rows = rows.map(|t| [t.name.clone(), t.state.clone(), t.what.clone()]);
        table(f, "", &["TRACK", "STATE", "WHAT"], rows)?;
    }
    Ok(())
}
