//! Where names are: looked up, and told to the LB loop when they move.

use super::super::lb::LbCommand;
use super::super::plan::OwnedLbPlan;
use super::{Control, Loops};
use trunnion_sys::clock::boottime;

impl Control {
    /// Begins the lookups whose time has come, and tells of moves that were gathered.
    pub(super) fn look_up(&mut self) {
        self.loops.names.look(boottime(), &self.log);
        self.renew_names();
    }

    /// Takes what lookups have found, and gives the LB loop a plan with it. While a
    /// reload is under way it waits: the plan would be that of the config before. At
    /// the start it does not, or HA would be held back for checks that wait for it.
    pub(super) fn renew_names(&mut self) {
        let Loops {
            names,
            cells,
            board,
            lb,
            half_opens,
            ..
        } = &mut self.loops;
        let now = boottime();
        names.take_answers(now, &self.log);
        let reloads = self.offered.as_ref().is_some_and(|offer| !offer.first);
        if reloads || self.stopping_since.is_some() {
            return names.put_off(now);
        }
        if !names.take_news(now) {
            return;
        }
        let cells = cells.assign(&self.config, board);
        let mut plan = OwnedLbPlan::renewed(&self.config, &cells, names, *half_opens);
        self.operators.tell(&mut plan);
        if lb.send(LbCommand::Renew(Box::new(plan))).is_err() {
            names.keep_news();
        }
    }
}
