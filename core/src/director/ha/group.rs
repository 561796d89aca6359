//! Groups of virtual routers that move together: an inside and an outside
//! interface, IPv4 and IPv6 of one service. A client whose packets come in by
//! one node and whose answers leave by another is served by neither.
//!
//! One decision is made over all members: when one cannot take part none does,
//! when one follows a better router all step down, and they take over at the
//! moment the last of them would.
//!
//! ```text
//!          barred   idle     follows  waits    wants    active
//! barred   stop     stop     stop     stop     stop     stop
//! idle              start    start    start    start    start
//! follows                    wait     wait     wait     yield
//! waits                               wait     wait     wait
//! wants                                        take     take
//! active                                                stay
//! ```
//!
//! Two members that a tie sets apart, each node's address the greater on one
//! link, would step down on both nodes and take over at one moment, for ever:
//! the node that lost on its group's first link waits an interval longer.

use super::{Ha, InstanceSlot};
use crate::director::plan::GroupName;
use crate::time::Instant;
use crate::vrrp::{self, Reason, Resume, Role, State, active_down_interval};

/// The end of a list of members.
pub(super) const NONE: u16 = u16::MAX;

/// A group of virtual routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSlot {
    /// Its name.
    pub name: GroupName,
    /// Its first member, which leads to the others.
    first: u16,
    /// When all its members take over, if nothing happens before.
    takes_over_at: Option<Instant>,
    /// It lost a tie on its first link: not before this.
    not_before: Instant,
    /// A member may be another than before.
    dirty: bool,
    /// What was told of it last.
    pub(super) told: Option<super::Standing>,
}

impl GroupSlot {
    /// A slot of no group, to fill the owner's slice with.
    pub const BLANK: Self = Self {
        name: GroupName::new(),
        first: NONE,
        takes_over_at: None,
        not_before: Instant::ZERO,
        dirty: true,
        told: None,
    };
}

/// What a member can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// It cannot take part.
    Barred,
    /// It could take part, and has not begun.
    Idle,
    /// It is Backup until then; `follows` if it heard an Active it leaves be.
    Backup { until: Instant, follows: bool },
    /// The addresses are its own.
    Active,
}

/// What its members do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// None takes part.
    Stop,
    /// Those that have not begun do.
    Start,
    /// The Actives step down.
    Yield,
    /// Those that are not Active become it then; never, when all are.
    TakeOver(Option<Instant>),
}

fn decide(now: Instant, members: impl Iterator<Item = Member>) -> Decision {
    let (mut barred, mut idle, mut follows, mut active) = (false, false, false, false);
    let mut last: Option<Instant> = None;
    for member in members {
        match member {
            Member::Barred => barred = true,
            Member::Idle => idle = true,
            Member::Backup {
                until,
                follows: heeds,
            } => {
                follows |= heeds && now < until;
                last = last.max(Some(until));
            }
            Member::Active => active = true,
        }
    }
    if barred {
        Decision::Stop
    } else if idle {
        Decision::Start
    } else if follows && active {
        Decision::Yield
    } else {
        Decision::TakeOver(last)
    }
}

/// What a router is to its group.
fn member(slot: &InstanceSlot) -> Member {
    match slot.router.state() {
        _ if slot.barred.is_some() => Member::Barred,
        State::Initialize { .. } => Member::Idle,
        State::Backup {
            active_down_at,
            learned,
            ..
        } => Member::Backup {
            until: active_down_at,
            follows: learned.is_some(),
        },
        State::Active { .. } => Member::Active,
    }
}

impl Ha<'_> {
    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &[GroupSlot] {
        self.groups.get(..self.groups_len).unwrap_or(&[])
    }

    /// The members of a group.
    pub fn members(&self, group: &GroupSlot) -> impl Iterator<Item = &InstanceSlot> {
        let mut at = group.first;
        core::iter::from_fn(move || {
            let slot = self.instances().get(usize::from(at))?;
            at = slot.next_in_group;
            Some(slot)
        })
    }

    /// Takes the plan's list; what was known of a group of the same name stays.
    pub(super) fn merge_groups(&mut self, names: &[GroupName]) {
        self.groups_len = names.len();
        for (slot, name) in self.groups.iter_mut().zip(names) {
            if slot.name != *name {
                *slot = GroupSlot {
                    name: name.clone(),
                    ..GroupSlot::BLANK
                };
            }
        }
    }

    /// Puts each instance into the list of its group.
    pub(super) fn index_groups(&mut self) {
        for group in self.groups.iter_mut() {
            group.first = NONE;
            group.dirty = true;
        }
        self.groups_dirty = true;
        // From the end, so that the lists begin with the first.
        for at in (0..self.instances_len).rev() {
            let Some(slot) = self.instances.get_mut(at) else {
                continue;
            };
            slot.next_in_group = NONE;
            let group = slot.config.group.filter(|_| !slot.retire);
            let groups = self.groups.get_mut(..self.groups_len).unwrap_or(&mut []);
            let Some(group) = group.and_then(|group| groups.get_mut(usize::from(group))) else {
                continue;
            };
            slot.next_in_group = core::mem::replace(&mut group.first, place(at));
        }
    }

    /// The group of an instance, as a place in [`Self::groups`].
    pub(super) fn group_of(&self, slot: &InstanceSlot) -> Option<usize> {
        let group = usize::from(slot.config.group.filter(|_| !slot.retire)?);
        (group < self.groups_len).then_some(group)
    }

    /// Makes the members of all groups move as one.
    pub(super) fn settle_groups(&mut self, now: Instant) {
        if !core::mem::take(&mut self.groups_dirty) {
            return;
        }
        for group in 0..self.groups_len {
            let slot = self.groups.get_mut(group);
            if slot.is_some_and(|slot| core::mem::take(&mut slot.dirty)) {
                self.settle_group(now, group);
            }
        }
    }

    /// A member of a group may be another than before.
    pub(super) fn mark_group(&mut self, at: usize) {
        let group = self.instances().get(at).and_then(|s| self.group_of(s));
        if let Some(group) = group.and_then(|group| self.groups.get_mut(group)) {
            group.dirty = true;
            self.groups_dirty = true;
        }
    }

    fn settle_group(&mut self, now: Instant, group: usize) {
        // Each step makes another impossible: none is taken twice.
        for _ in 0..3 {
            let decision = match self.groups.get(group) {
                // One that a reload brought is looked at before it counts.
                Some(group) => {
                    let looked_at = self.members(group).filter(|slot| slot.settled);
                    decide(now, looked_at.map(member))
                }
                None => return,
            };
            match decision {
                Decision::Stop => {
                    self.each(group, |ha, at| ha.stop_member(now, at));
                    return self.set_takeover(now, group, None);
                }
                Decision::Start => {
                    if self.owes(group) {
                        return self.set_takeover(now, group, None);
                    }
                    self.agree_on_resume(now, group);
                    self.each(group, |ha, at| ha.start(now, at));
                }
                Decision::Yield => self.each(group, |ha, at| {
                    ha.step_down(now, at, Reason::GroupBackup);
                }),
                Decision::TakeOver(at) => return self.set_takeover(now, group, at),
            }
        }
    }

    fn set_takeover(&mut self, now: Instant, group: usize, at: Option<Instant>) {
        let Some(slot) = self.groups.get_mut(group) else {
            return;
        };
        let at = at.map(|at| at.max(slot.not_before));
        if core::mem::replace(&mut slot.takes_over_at, at) != at {
            self.each(group, |ha, member| ha.schedule(now, member));
        }
    }

    /// Does something to each member.
    pub(super) fn each(&mut self, group: usize, mut act: impl FnMut(&mut Self, usize)) {
        let mut at = self.groups.get(group).map_or(NONE, |group| group.first);
        while let Some(slot) = self.instances().get(usize::from(at)) {
            let next = slot.next_in_group;
            act(self, usize::from(at));
            at = next;
        }
    }

    /// Whether a member still has to say goodbye: it begins anew after that.
    fn owes(&self, group: usize) -> bool {
        let group = self.groups.get(group);
        group.is_some_and(|group| self.members(group).any(InstanceSlot::owes_goodbye))
    }

    /// All go on as Active where the last run stopped, or none.
    fn agree_on_resume(&mut self, now: Instant, group: usize) {
        let Some(slot) = self.groups.get(group) else {
            return;
        };
        let holds = |resume: &Resume| resume.holds(now);
        let all = self
            .members(slot)
            .all(|member| member.resume.as_ref().is_some_and(holds));
        if !all {
            self.each(group, |ha, at| {
                if let Some(slot) = ha.instances.get_mut(at) {
                    slot.resume = None;
                }
            });
        }
    }

    fn stop_member(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        if slot.barred.is_none() && core::mem::take(&mut slot.started) {
            let actions = slot.router.handle_resign(now, Reason::GroupFault);
            self.apply(now, at, actions);
        } else {
            self.let_go(now, at);
        }
    }

    /// An Active becomes Backup and says priority 0. Where it follows its group
    /// somebody better may be there, who announces the addresses again when it
    /// hears a worse one first.
    pub(super) fn step_down(&mut self, now: Instant, at: usize, why: Reason) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        let actions = slot.router.handle_step_down(now, why);
        let moved = actions.transition.is_some();
        self.apply(now, at, actions);
        if let Some(slot) = self.instances.get_mut(at).filter(|_| moved) {
            if why == Reason::GroupBackup {
                slot.then_resign = true;
            } else {
                slot.parting = Some(vrrp::PRIORITY_RESIGN);
            }
            self.touch(now, at);
        }
    }

    /// Whether the router may become Active now: with its group or alone.
    pub(super) fn may_take_over(&self, now: Instant, at: usize) -> bool {
        let Some(slot) = self.instances().get(at) else {
            return false;
        };
        match (slot.router.state().role(), self.takeover_of(slot)) {
            (Role::Backup, Some(together)) => together.is_some_and(|at| at <= now),
            (Role::Initialize | Role::Active, _) | (_, None) => true,
        }
    }

    /// When the group of a router takes over; nothing for one without a group.
    pub(super) fn takeover_of(&self, slot: &InstanceSlot) -> Option<Option<Instant>> {
        let group = self.groups.get(self.group_of(slot)?)?;
        Some(group.takes_over_at)
    }

    /// A transition of a member: who lost a tie on the first link waits longer.
    pub(super) fn note_tie(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get(at) else {
            return;
        };
        let Some(group) = self.group_of(slot) else {
            return;
        };
        let interval = slot.router.active_interval();
        let wait = active_down_interval(slot.router.config().priority, interval);
        let longer = wait.saturating_add(interval.duration());
        if let Some(group) = self.groups.get_mut(group)
            && usize::from(group.first) == at
        {
            group.not_before = now + longer;
        }
    }
}

fn place(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(1_000_000_000);
    const LATER: Instant = Instant::from_nanos(1_500_000_000);

    const MEMBERS: [(&str, Member); 6] = [
        ("barred", Member::Barred),
        ("idle", Member::Idle),
        (
            "follows",
            Member::Backup {
                until: LATER,
                follows: true,
            },
        ),
        (
            "waits",
            Member::Backup {
                until: LATER,
                follows: false,
            },
        ),
        (
            "wants",
            Member::Backup {
                until: NOW,
                follows: true,
            },
        ),
        ("active", Member::Active),
    ];

    fn word(decision: Decision) -> &'static str {
        match decision {
            Decision::Stop => "stop",
            Decision::Start => "start",
            Decision::Yield => "yield",
            Decision::TakeOver(Some(at)) if at <= NOW => "take",
            Decision::TakeOver(Some(_)) => "wait",
            Decision::TakeOver(None) => "stay",
        }
    }

    #[test]
    fn the_table_above_is_what_two_members_do() {
        let mut table = std::format!("{:8}", "");
        for (name, _) in MEMBERS {
            table += &std::format!(" {name:8}");
        }
        for (row, (name, one)) in MEMBERS.iter().enumerate() {
            table += &std::format!("\n{name:8}");
            for (column, (_, other)) in MEMBERS.iter().enumerate() {
                let said = word(decide(NOW, [*one, *other].into_iter()));
                let turned = word(decide(NOW, [*other, *one].into_iter()));
                assert_eq!(said, turned, "the order of members decides nothing");
                let shown = if column < row { "" } else { said };
                table += &std::format!(" {shown:8}");
            }
        }
        let trimmed = |text: &str| -> std::string::String {
            let lines = text.lines().map(str::trim_end);
            lines.collect::<std::vec::Vec<_>>().join("\n")
        };
        let shown: std::vec::Vec<&str> = include_str!("group.rs")
            .lines()
            .skip_while(|line| *line != "//! ```text")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").get(1..).unwrap_or(""))
            .collect();
        assert_eq!(trimmed(&table), trimmed(&shown.join("\n")));
    }

    #[test]
    fn of_three_members_no_decision_leaves_two_apart() {
        for (_, a) in MEMBERS {
            for (_, b) in MEMBERS {
                for (_, c) in MEMBERS {
                    let all = [a, b, c];
                    let decision = decide(NOW, all.into_iter());
                    let any = |wanted: fn(&Member) -> bool| all.iter().any(wanted);
                    let barred = any(|m| matches!(m, Member::Barred));
                    let active = any(|m| matches!(m, Member::Active));
                    let follows = any(
                        |m| matches!(m, Member::Backup { until, follows: true } if NOW < *until),
                    );
                    assert_eq!(barred, decision == Decision::Stop, "{all:?}");
                    // None becomes Active while another has not wanted it.
                    if let Decision::TakeOver(Some(at)) = decision {
                        let due = |m: &Member| match *m {
                            Member::Backup { until, .. } => until <= at,
                            Member::Active => true,
                            Member::Barred | Member::Idle => false,
                        };
                        assert!(all.iter().all(due), "{all:?}");
                        assert!(!(follows && active), "{all:?}");
                    }
                }
            }
        }
    }
}
