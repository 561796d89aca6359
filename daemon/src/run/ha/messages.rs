//! What the control thread and the loop say to each other, and what the loop
//! hears from others and tells them.

use super::Port;
use crate::run::board::BoardOut;
use crate::run::link::{ChoresIn, NoticesIn, SlotIn};
use crate::run::plan::OwnedHaPlan;
use crate::run::snapshot::HaSnapshot;
use std::time::Duration;
use trunnion_core::director::ha::{Ha, HaTooLarge, NoFailover, Whom};
use trunnion_core::time::Instant;

/// What the control thread asks of the loop.
#[derive(Debug)]
pub enum HaCommand {
    /// Take this plan.
    Plan(Box<OwnedHaPlan>),
    /// Say whether this plan would be taken.
    Fits(Box<OwnedHaPlan>),
    /// Fill this snapshot.
    Snapshot(Box<HaSnapshot>),
    /// Let peers take over from these, and preempt none of them for so long.
    FailOver(Whom, Duration),
    /// Let these preempt again.
    FailOverNoMore(Whom),
    /// Show that the loop goes round.
    Ping,
    /// Say goodbye and end.
    Shutdown,
}

/// What the loop answers.
#[derive(Debug)]
pub enum HaReply {
    /// The plan back, and whether it was taken.
    Plan(Box<OwnedHaPlan>, Result<(), HaTooLarge>),
    /// The plan back, and whether it would be taken.
    Fits(Box<OwnedHaPlan>, Result<(), HaTooLarge>),
    /// The snapshot, filled.
    Snapshot(Box<HaSnapshot>),
    /// Sockets of an interface that is gone, to be closed by someone who has the
    /// time: the kernel waits for all its processors before it lets go of one of
    /// AF_PACKET, 10 ms and more.
    Closed(Port),
    /// How many fail over, or do no more.
    FailedOver(Result<u16, NoFailover>),
    /// The answer to a ping.
    Pong,
    /// The loop has ended, and so many addresses may still be on.
    Finished {
        /// How many.
        left: usize,
    },
}

/// The loop's ends of what it shares with others; none of them is waited for.
pub struct Others {
    /// Where the LB loop reads the role it follows.
    pub role: SlotIn,
    /// What others found out about things tracked.
    pub board: BoardOut,
    /// Who is to be notified.
    pub notices: NoticesIn,
    /// What others do to macvlans.
    pub chores: ChoresIn,
}

impl Others {
    /// Hands the half what others found out.
    pub fn hear(&mut self, now: Instant, ha: &mut Ha<'_>) {
        self.board
            .take(|cell, state| ha.handle_track(now, cell, state));
    }

    /// Tells others what the half has to say.
    pub fn tell(&mut self, now: Instant, ha: &mut Ha<'_>) {
        self.role.put(ha.followed());
        self.notices.pass(|| ha.poll_notice());
        self.chores.pass(|| ha.poll_chore(now));
    }
}
