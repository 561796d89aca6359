//! What whoever wants to be notified is told: each virtual router's and each
//! group's standing, when it is another than was told last. Derived, so that a
//! reader that is slow misses what is over and never what is.

use super::state::InstanceSlot;
use super::track::Bar;
use super::{GroupSlot, Ha, NoMacvlan};
use crate::director::plan::InstanceName;
use crate::vrrp::State;

/// How a router or a group stands, in the words operators' scripts know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Active, keepalived's MASTER.
    Active,
    /// Backup.
    Backup,
    /// It cannot take part: FAULT.
    Fault,
    /// It was told to leave: STOP.
    Stop,
}

/// One thing to notify of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether the name is a group's.
    pub group: bool,
    /// Whose standing it is.
    pub name: InstanceName,
    /// How it stands now.
    pub standing: Standing,
    /// Its priority, as weighed; of a group its members'.
    pub priority: u8,
}

/// How a router stands; nothing before that is known.
fn standing(slot: &InstanceSlot) -> Option<Standing> {
    match slot.router.state() {
        State::Active { .. } => Some(Standing::Active),
        State::Backup { .. } => Some(Standing::Backup),
        State::Initialize { .. } if slot.retire => Some(Standing::Stop),
        State::Initialize { .. } => match slot.barred {
            Some(Bar::Unknown(_) | Bar::Delay | Bar::Macvlan(NoMacvlan::NotYet)) => None,
            Some(Bar::Interface(_) | Bar::Down(_) | Bar::Macvlan(_)) | None => {
                slot.settled.then_some(Standing::Fault)
            }
        },
    }
}

impl Ha<'_> {
    /// The next thing to notify of. Poll until it yields nothing; each `handle_*`
    /// may make more.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        if !self.notices_dirty {
            return None;
        }
        for slot in self.instances.get_mut(..self.instances_len)? {
            let now = standing(slot);
            if now.is_some() && now != slot.told {
                slot.told = now;
                return Some(Notice {
                    group: false,
                    name: slot.config.name.clone(),
                    standing: now?,
                    priority: slot.router.config().priority,
                });
            }
        }
        for at in 0..self.groups_len {
            let Some(now) = self.groups().get(at).and_then(|g| self.standing(g)) else {
                continue;
            };
            let priority = self.groups().get(at).and_then(|g| self.members(g).next());
            let priority = priority.map_or(0, |slot| slot.router.config().priority);
            let group = self.groups.get_mut(at)?;
            if group.told != Some(now) {
                group.told = Some(now);
                return Some(Notice {
                    group: true,
                    name: group.name.clone(),
                    standing: now,
                    priority,
                });
            }
        }
        self.notices_dirty = false;
        None
    }

    /// Whether there may be something to notify of.
    #[must_use]
    pub const fn owes_notices(&self) -> bool {
        self.notices_dirty
    }

    /// How a group stands: as all its members do. One that is about to move has
    /// none.
    #[must_use]
    pub fn standing(&self, group: &GroupSlot) -> Option<Standing> {
        let mut each = self.members(group).map(standing);
        let first = each.next()??;
        let same = each.all(|other| other == Some(first));
        let fault = || {
            let mut all = self.members(group);
            all.any(|slot| slot.barred.is_some())
                .then_some(Standing::Fault)
        };
        if same { Some(first) } else { fault() }
    }
}
