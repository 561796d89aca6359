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

/// How far telling has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notices {
    /// There is nothing to tell.
    None,
    /// From this one of the routers on; or of the groups, counted on.
    From(usize),
}

impl Notices {
    /// Any of them may stand otherwise now.
    pub(super) const fn mark(&mut self) {
        *self = Self::From(0);
    }
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
        let Notices::From(first) = self.notices else {
            return None;
        };
        let routers = self.instances_len;
        for at in first..routers.saturating_add(self.groups_len) {
            let notice = match at.checked_sub(routers) {
                None => self.notice_of_router(at),
                Some(group) => self.notice_of_group(group),
            };
            if notice.is_some() {
                self.notices = Notices::From(at.saturating_add(1));
                return notice;
            }
        }
        self.notices = Notices::None;
        None
    }

    fn notice_of_router(&mut self, at: usize) -> Option<Notice> {
        let slot = self.slot(at)?;
        let now = standing(slot)?;
        (slot.told.replace(now) != Some(now)).then(|| Notice {
            group: false,
            name: slot.config.name.clone(),
            standing: now,
            priority: slot.router.config().priority,
        })
    }

    fn notice_of_group(&mut self, at: usize) -> Option<Notice> {
        let group = self.groups().get(at)?;
        let now = self.standing(group)?;
        let first = self.members(group).next();
        let priority = first.map_or(0, |slot| slot.router.config().priority);
        let group = self.groups.get_mut(at)?;
        (group.told.replace(now) != Some(now)).then(|| Notice {
            group: true,
            name: group.name.clone(),
            standing: now,
            priority,
        })
    }

    /// Whether there may be something to notify of.
    #[must_use]
    pub const fn owes_notices(&self) -> bool {
        matches!(self.notices, Notices::From(_))
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
