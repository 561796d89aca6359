//! `[[vrrp_group]]`: virtual routers that move together.

use super::node::short_name;
use super::notify::{self, Notify};
use super::section::{At, Notes, Raw, Section, Span};
use super::suggest::nearest;
use super::track::TrackRead;
use super::tracked::{self, Tracked, USES_MAX, UseRead};
use super::value::one_of;
use super::vrrp::InstanceRead;

/// A group of virtual routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, which no virtual router has.
    pub name: String,
    /// Its members' places in [`super::Config::vrrp`], at least one.
    pub members: Vec<usize>,
    /// Programs to run when it moves.
    pub notify: Option<Notify>,
}

pub(super) const KEYS: &[&str] = &["name", "members", "track", "notify"];

/// A group before its members are found.
#[derive(Debug)]
pub(super) struct GroupRead {
    name: At<String>,
    members: Vec<At<String>>,
    tracks: Vec<UseRead>,
    notify: Option<Notify>,
    span: Span,
}

impl GroupRead {
    fn read(raw: Raw<'_>, notes: &mut Notes) -> Option<Self> {
        let section = Section::of("[[vrrp_group]]", raw, KEYS, notes)?;
        for (key, example) in [
            ("name", "name = \"pair\""),
            ("members", "members = [\"NAME\", \"NAME\"] of [[vrrp]]"),
        ] {
            if !section.has(key) {
                section.missing(key, example, notes);
            }
        }
        let name = section.text("name", short_name, notes);
        let members = section.texts("members", short_name, notes);
        let tracks = tracked::uses(&section, notes);
        let notify = notify::read(&section, notes);
        if section.has("members") && members.len() < 2 {
            notes.warn(
                &section.span_of("members"),
                "a group of less than two moves like its member alone",
                "add another member, or remove the group",
            );
        }
        Some(Self {
            name: name?,
            members,
            tracks,
            notify,
            span: section.span,
        })
    }
}

/// The groups of the file. Gives each instance what it and its group track.
pub(super) fn read(
    root: &Section<'_>,
    tracks: &[TrackRead],
    instances: &mut [InstanceRead],
    notes: &mut Notes,
) -> Vec<Group> {
    let items = root.items("vrrp_group", "[[vrrp_group]]", notes);
    let read: Vec<_> = items
        .into_iter()
        .filter_map(|raw| GroupRead::read(raw, notes))
        .collect();
    for instance in instances.iter_mut() {
        instance.instance.tracks = tracked::resolve(&instance.tracks, tracks, notes);
    }
    let mut groups: Vec<Group> = Vec::with_capacity(read.len());
    for (at, group) in read.iter().enumerate() {
        names(group, &read[..at], instances, notes);
        let mut members = Vec::new();
        for member in &group.members {
            let found = member_of(member, &read[..at], instances, notes);
            if found.is_some_and(|found| members.contains(&found)) {
                let message = format!("{} is a member twice", member.value);
                notes.error(&member.span, message, "remove one");
                continue;
            }
            members.extend(found);
        }
        one_priority(group, &members, instances, notes);
        let shared = shared(group, &members, tracks, instances, notes);
        for &member in &members {
            let instance = &mut instances[member].instance;
            instance.group = Some(at);
            instance.tracks.clone_from(&shared);
        }
        let name = group.name.value.clone();
        let notify = group.notify.clone();
        groups.push(Group {
            name,
            members,
            notify,
        });
    }
    for instance in instances.iter() {
        limits(instance, notes);
    }
    tracked::unused(
        tracks,
        |at| {
            let uses = instances.iter().flat_map(|read| &read.instance.tracks);
            uses.into_iter().any(|of| of.track == at)
        },
        notes,
    );
    groups
}

/// A name of its own: a failover is told by it.
fn names(group: &GroupRead, before: &[GroupRead], all: &[InstanceRead], notes: &mut Notes) {
    let name = &group.name;
    let twin = before.iter().find(|twin| twin.name.value == name.value);
    let router = all.iter().find(|read| read.instance.name == name.value);
    let twin = twin.map(|twin| (&twin.name.span, "the first"));
    let router = router.map(|read| (&read.span, "a [[vrrp]] of this name"));
    if let Some(also) = twin.or(router) {
        let message = format!("the name {} twice", name.value);
        notes.error_also(&name.span, message, "write another name", also);
    }
}

fn member_of(
    member: &At<String>,
    before: &[GroupRead],
    all: &[InstanceRead],
    notes: &mut Notes,
) -> Option<usize> {
    let name = &member.value;
    let Some(found) = all.iter().position(|read| read.instance.name == *name) else {
        let names: Vec<&str> = all.iter().map(|read| read.instance.name.as_str()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(meant) => format!("write \"{meant}\""),
            None if names.is_empty() => "add a [[vrrp]]".to_owned(),
            None => format!("write {}", one_of(&names)),
        };
        let message = format!("there is no [[vrrp]] with the name {name}");
        notes.error(&member.span, message, help);
        return None;
    };
    let mut others = before.iter().flat_map(|group| &group.members);
    if let Some(other) = others.find(|other| other.value == *name) {
        notes.error_also(
            &member.span,
            format!("{name} is in two groups"),
            "make one group of both",
            (&other.span, "the first"),
        );
        return None;
    }
    Some(found)
}

/// Members that differ here would be better on one node and worse on another.
fn one_priority(group: &GroupRead, members: &[usize], all: &[InstanceRead], notes: &mut Notes) {
    let mut each = members.iter().map(|at| &all[*at]);
    let Some(first) = each.next() else { return };
    let a = &first.instance.router;
    for other in each {
        let b = &other.instance.router;
        let differs = [
            ("priority", a.priority != b.priority),
            ("preempt", a.preempt != b.preempt),
            ("preempt_delay", a.preempt_delay != b.preempt_delay),
        ];
        for (key, _) in differs.into_iter().filter(|(_, differs)| *differs) {
            notes.error_also(
                &other.span,
                format!(
                    "`{key}` of {} differs from that of {}, and both move with {}",
                    other.instance.name, first.instance.name, group.name.value
                ),
                "write the same in both",
                (&first.span, "the first member"),
            );
        }
    }
}

/// What any member tracks, and the group.
fn shared(
    group: &GroupRead,
    members: &[usize],
    tracks: &[TrackRead],
    all: &[InstanceRead],
    notes: &mut Notes,
) -> Vec<Tracked> {
    let mut shared = tracked::resolve(&group.tracks, tracks, notes);
    for read in members.iter().map(|at| &all[*at]) {
        for of in &read.instance.tracks {
            match shared.iter().find(|known| known.track == of.track) {
                None => shared.push(of.clone()),
                Some(known) if known == of => {}
                Some(_) => {
                    let name = &tracks[of.track].track.name;
                    notes.error_also(
                        &read.span,
                        format!(
                            "{} tracks {name} with another weight than its group",
                            read.instance.name
                        ),
                        "write it once, in the group",
                        (&group.span, "the group"),
                    );
                }
            }
        }
    }
    shared
}

fn limits(read: &InstanceRead, notes: &mut Notes) {
    let name = &read.instance.name;
    let tracks = &read.instance.tracks;
    if tracks.len() > USES_MAX {
        notes.error(
            &read.span,
            format!(
                "{name} tracks {} things with its group, at most {USES_MAX} are possible",
                tracks.len()
            ),
            "let a script look at several",
        );
    }
    if read.instance.router.is_owner() && tracks.iter().any(|of| of.weight != 0) {
        notes.warn(
            &read.span,
            format!("nothing weighs on {name}: priority 255 is the owner's"),
            "write a priority below 255, or weight = 0",
        );
    }
}
