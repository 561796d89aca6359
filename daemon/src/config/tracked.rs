//! `track = [...]`: what a virtual router makes of things tracked.

use super::mistake::Severity;
use super::node::short_name;
use super::section::{At, Notes, Raw, Section};
use super::suggest::nearest;
use super::track::{TrackRead, TrackSource};
use super::value::{one_of, text, whole};

/// What a virtual router makes of something tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Its place in [`super::Config::tracks`].
    pub track: usize,
    /// -254 to 254; 0 is a fault while it is down.
    pub weight: i16,
    /// The opposite.
    pub reverse: bool,
}

pub(super) const KEYS: &[&str] = &["name", "weight", "reverse"];

/// What an instance may track, its group's included.
pub(super) const USES_MAX: usize = 16;
const WEIGHT_MAX: i64 = 254;

/// A use before it is known what is used.
#[derive(Clone, Debug)]
pub(super) struct UseRead {
    pub name: At<String>,
    weight: Option<i16>,
    reverse: bool,
}

/// The items of `track = [...]`.
pub(super) fn uses(section: &Section<'_>, notes: &mut Notes) -> Vec<UseRead> {
    let items = section.items("track", "track = [\"NAME\"]", notes);
    let mut found: Vec<UseRead> = Vec::new();
    for raw in items {
        let Some(new) = one_use(raw, notes) else {
            continue;
        };
        match found.iter().find(|old| old.name.value == new.name.value) {
            Some(old) => {
                let message = format!("{} is tracked twice", new.name.value);
                let also = (&old.name.span, "the first");
                notes.error_also(&new.name.span, message, "remove one", also);
            }
            None => found.push(new),
        }
    }
    found
}

fn one_use(raw: Raw<'_>, notes: &mut Notes) -> Option<UseRead> {
    if raw.1.get_ref().is_str() {
        let name = text(raw, short_name, notes)?;
        return Some(UseRead {
            name,
            weight: None,
            reverse: false,
        });
    }
    let section = Section::of("track", raw, KEYS, notes)?;
    if !section.has("name") {
        section.missing("name", "name = \"NAME\" of a [[track]]", notes);
    }
    let name = section.text("name", short_name, notes);
    let weight = section.raw("weight");
    let weight = weight.and_then(|raw| whole(raw, -WEIGHT_MAX..=WEIGHT_MAX, notes));
    let reverse = section.boolean("reverse", notes);
    Some(UseRead {
        name: name?,
        weight: weight.and_then(|at| i16::try_from(at.value).ok()),
        reverse: reverse.is_some_and(|at| at.value),
    })
}

/// What is used, found among what there is.
pub(super) fn resolve(uses: &[UseRead], tracks: &[TrackRead], notes: &mut Notes) -> Vec<Tracked> {
    let mut found = Vec::with_capacity(uses.len());
    for of in uses {
        let name = &of.name.value;
        let Some(track) = tracks.iter().position(|read| read.track.name == *name) else {
            let names: Vec<&str> = tracks.iter().map(|read| read.track.name.as_str()).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(meant) => format!("write \"{meant}\""),
                None if names.is_empty() => format!("add [[track]] with name = \"{name}\""),
                None => format!("write {}", one_of(&names)),
            };
            notes.error(
                &of.name.span,
                format!("there is no [[track]] with the name {name}"),
                help,
            );
            continue;
        };
        let file = matches!(tracks[track].track.source, TrackSource::File(_));
        found.push(Tracked {
            track,
            weight: of.weight.unwrap_or(i16::from(file)),
            reverse: of.reverse,
        });
    }
    found
}

/// The tracks that nobody uses; of a file with errors that is not known.
pub(super) fn unused(tracks: &[TrackRead], used: impl Fn(usize) -> bool, notes: &mut Notes) {
    if notes
        .list
        .iter()
        .any(|note| note.severity == Severity::Error)
    {
        return;
    }
    for (_, read) in tracks.iter().enumerate().filter(|(at, _)| !used(*at)) {
        notes.warn(
            &read.span,
            format!("nothing tracks {}", read.track.name),
            format!(
                "add track = [\"{}\"] to a [[vrrp]], or remove it",
                read.track.name
            ),
        );
    }
}
