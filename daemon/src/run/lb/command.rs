//! What the control thread and the `lb` loop say to each other.

use crate::run::link::LoopEnd;
use crate::run::operator::Orders;
use crate::run::plan::OwnedLbPlan;
use crate::run::snapshot::LbSnapshot;
use trunnion_core::director::lb::LbTooLarge;

/// What the control thread asks of the loop.
#[derive(Debug)]
pub enum LbCommand {
    /// Take this plan.
    Plan(Box<OwnedLbPlan>),
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
