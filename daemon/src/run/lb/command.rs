//! What the control thread and the `lb` loop say to each other.

use super::{LbLoop, tick};
use crate::run::link::LoopEnd;
use crate::run::operator::Orders;
use crate::run::plan::OwnedLbPlan;
use crate::run::snapshot::LbSnapshot;
use trunnion_core::director::lb::LbTooLarge;
use trunnion_sys::alloc;

/// What the control thread asks of the loop.
#[derive(Debug)]
pub enum LbCommand {
    /// Take this plan.
    Plan(Box<OwnedLbPlan>),
    /// Take this plan, which differs from the one in force by where names are.
    Renew(Box<OwnedLbPlan>),
    /// Say whether this plan would be taken.
    Fits(Box<OwnedLbPlan>),
    /// Do as operators say.
    Operate(Box<Orders>),
    /// Fill this snapshot.
    Snapshot(Box<LbSnapshot>),
    /// Show that the loop goes round.
    Ping,
    /// End; with `clear` after the services were removed from the kernel.
    Shutdown {
        /// Whether they are.
        clear: bool,
    },
}

/// What the loop answers.
#[derive(Debug)]
pub enum LbReply {
    /// The plan back, and whether it was taken.
    Plan(Box<OwnedLbPlan>, Result<(), LbTooLarge>),
    /// The plan back: names are where it says, if there was room for it.
    Renewed(Box<OwnedLbPlan>),
    /// The plan back, and whether it would be taken.
    Fits(Box<OwnedLbPlan>, Result<(), LbTooLarge>),
    /// The orders back, done.
    Operated(Box<Orders>),
    /// The snapshot, filled.
    Snapshot(Box<LbSnapshot>),
    /// Said once, unasked: the node can serve what it is sent.
    Ready,
    /// The answer to a ping.
    Pong,
    /// The loop has ended.
    Finished,
}

/// The loop's end of the link.
pub type LbEnd = LoopEnd<LbCommand, LbReply>;

impl LbLoop {
    /// Does what the control thread asks.
    pub(super) fn take_commands(&mut self) {
        while let Some(command) = self.end.command() {
            let now = self.clock.now();
            let reply = match command {
                LbCommand::Plan(mut plan) => {
                    let taken = self.lb.handle_plan(now, &plan.plan());
                    if taken.is_ok() {
                        self.tick = tick::tick(plan.plan().checks);
                        self.watched.clear();
                        let room = self.watched.capacity();
                        self.watched.extend(plan.watched().iter().take(room));
                        self.tls.swap_profiles(plan.tls());
                    }
                    if taken.is_ok() && self.sealed.is_none() {
                        self.sealed = Some(alloc::seal());
                    }
                    LbReply::Plan(plan, taken)
                }
                LbCommand::Renew(plan) => {
                    // It is as long as the one in force, which had room.
                    let _ = self.lb.handle_plan(now, &plan.plan());
                    LbReply::Renewed(plan)
                }
                LbCommand::Fits(plan) => {
                    let fits = self.lb.fits(&plan.plan());
                    LbReply::Fits(plan, fits)
                }
                LbCommand::Operate(orders) => {
                    for (service, destination, state) in &orders.list {
                        // One that a reload has just taken away is nobody's.
                        let _ = self.lb.handle_operator(now, service, destination, *state);
                    }
                    LbReply::Operated(orders)
                }
                LbCommand::Snapshot(mut snapshot) => {
                    snapshot.fill(now, &self.lb, self.sealed, self.turns);
                    LbReply::Snapshot(snapshot)
                }
                LbCommand::Ping => LbReply::Pong,
                LbCommand::Shutdown { clear } => {
                    self.lb.handle_shutdown(now, clear);
                    continue;
                }
            };
            self.end.reply(reply);
        }
    }
}
