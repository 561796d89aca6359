//! What few checks have: a rate of a group, falls that are remembered, advice, a
//! certificate, the status of HTTP. It has memory of its own, which is not touched
//! before a check has any of it.

use super::flap::Flap;
use super::list::NIL;
use super::pace::GROUPS;
use super::{CheckId, Slot};
use crate::check::{Advised, Certificate, Share};
use core::fmt;

/// Room for what few checks have.
#[derive(Clone, Copy, Debug)]
pub struct Aside {
    /// Which rates it keeps, or [`NIL`].
    pub(super) groups: [u32; GROUPS],
    /// Its falls, as far as they are remembered.
    pub(super) flap: Flap,
    /// What it says of its weight.
    pub(super) advised: Advised,
    /// The certificate it showed last.
    pub(super) certificate: Option<Certificate>,
    /// The status of its HTTP response; 0 for none.
    pub(super) http_status: u16,
}

impl Aside {
    /// Of a check that has nothing of this, to fill storage with.
    pub const EMPTY: Self = Self {
        groups: [NIL; GROUPS],
        flap: Flap::NONE,
        advised: Advised {
            away: false,
            share: Share::Whole,
        },
        certificate: None,
        http_status: 0,
    };
}

impl Default for Aside {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// One for each check. What is in that of a slot which [has](Slot::has_aside) none
/// means nothing.
pub(super) struct Asides<'s>(pub &'s mut [Aside]);

impl Asides<'_> {
    pub fn of(&self, id: CheckId, slot: &Slot) -> &Aside {
        let known = self.0.get(id.index()).filter(|_| slot.has_aside);
        known.unwrap_or(&Aside::EMPTY)
    }

    /// The same, to change it: the check has one from here on.
    pub fn of_mut(&mut self, id: CheckId, slot: &mut Slot) -> Option<&mut Aside> {
        let aside = self.0.get_mut(id.index())?;
        if !slot.has_aside {
            *aside = Aside::EMPTY;
            slot.has_aside = true;
        }
        Some(aside)
    }
}

impl fmt::Debug for Asides<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asides").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::{UP, World, engine, ms, plan};
    use std::vec;

    #[test]
    fn a_check_has_one_when_it_needs_one_and_leaves_nothing_to_the_next() {
        let mut world = World::new(engine(4, 4, 4), vec![UP; 4]);
        world.plan(&plan(4));
        world.run_for(ms(5_000));
        let has = |world: &World| world.engine.slots.iter().filter(|s| s.has_aside).count();
        assert_eq!(has(&world), 0, "TCP needs none");
        let id = world.engine.check_id(1).unwrap();
        world.engine.join(id, [None, None]);
        assert_eq!(has(&world), 0);
        world.engine.join(id, [Some(7), None]);
        assert!(world.engine.is_in(id, 7));
        assert_eq!(has(&world), 1);
        world.plan(&[]);
        world.plan(&plan(4));
        assert_eq!(has(&world), 0);
        let mut ids = (0..4).map(|at| world.engine.check_id(at).unwrap());
        assert!(ids.all(|id| !world.engine.is_in(id, 7)));
    }
}
