//! A reload: the file is read, both loops are asked whether they have room, and
//! only then given their part.

use super::super::ha::HaCommand;
use super::super::lb::LbCommand;
use super::super::plan::{OwnedHaPlan, OwnedLbPlan};
use super::super::records;
use super::{Control, Loops};
use crate::config::Config;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use trunnion_sys::clock::boottime;
use trunnion_sys::notify;

/// A reload under way. Both loops are asked whether they have room for their
/// part, and only then given it: a node must not balance by one config and hold
/// addresses by another.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) config: Arc<Config>,
    /// What each loop has room for.
    pub(super) ha: Option<Box<OwnedHaPlan>>,
    pub(super) lb: Option<Box<OwnedLbPlan>>,
    /// How many answers are still to come.
    pub(super) waiting: u32,
    /// Which loop refused, and why.
    pub(super) refused: Option<(&'static str, &'static str)>,
    pub(super) first: bool,
}

impl Control {
    /// Reads the file again and offers the loops what is in it.
    pub(super) fn reload(&mut self) {
        if self.stopping_since.is_some() {
            return;
        }
        if self.offered.is_some() {
            // What it read may be older than what is meant now.
            self.reload_again = true;
            self.log.log(&records::ReloadWaits {});
            return;
        }
        self.reload_again = false;
        self.memory.note_freed();
        let config = match self.reader.load(&self.path) {
            Ok(config) => config,
            Err(refused) => {
                self.refuse("the file has mistakes");
                self.complain(refused);
                return;
            }
        };
        for warning in &config.warnings {
            self.complain(warning);
        }
        if config.limits != self.config.limits || config.node.run_dir != self.config.node.run_dir {
            self.refuse("limits and run_dir need a restart");
            return;
        }
        if let Some(notify) = &self.notify {
            let _ = notify.reloading(notify::monotonic());
        }
        self.loops.names.assign(&config, boottime());
        let Loops { cells, board, .. } = &mut self.loops;
        let cells = cells.assign(&config, board);
        let ha = OwnedHaPlan::of(&config, &cells, self.started);
        let ha = HaCommand::Fits(Box::new(ha));
        let (names, half_opens) = (&self.loops.names, self.loops.half_opens);
        let lb = OwnedLbPlan::of(&config, &cells, names, half_opens);
        let lb = LbCommand::Fits(Box::new(lb));
        self.offered = Some(Offer {
            config: Arc::new(config),
            ha: None,
            lb: None,
            waiting: 2,
            refused: None,
            first: false,
        });
        self.offer(ha, lb);
    }

    /// Sends both loops their part, or none.
    fn offer(&mut self, ha: HaCommand, lb: LbCommand) {
        let Loops {
            ha: to_ha,
            lb: to_lb,
            ..
        } = &mut self.loops;
        for (thread, has_room) in [("ha", to_ha.has_room()), ("lb", to_lb.has_room())] {
            if !has_room {
                self.offered = None;
                let why = "it is far behind; try again";
                self.log.log(&records::PlanRefused { thread, why });
                return self.reload_over();
            }
        }
        let _ = to_ha.send(ha);
        let _ = to_lb.send(lb);
    }

    /// Says more than a record holds.
    fn complain(&mut self, text: impl Display) {
        if let Some(words) = &mut self.words {
            // A reader that is too slow loses it, as it does records.
            let _ = words.write_all(format!("{text}\n").as_bytes());
        }
    }

    fn refuse(&self, why: &'static str) {
        self.log.log(&records::ReloadRefused { why });
    }

    /// One loop has answered for the config offered.
    pub(super) fn take_answer(&mut self, refused: Option<(&'static str, &'static str)>) {
        let Some(offer) = &mut self.offered else {
            return;
        };
        offer.waiting = offer.waiting.saturating_sub(1);
        offer.refused = offer.refused.take().or(refused);
        if offer.waiting > 0 || self.stopping_since.is_some() {
            return;
        }
        if offer.refused.is_none()
            && let (Some(ha), Some(mut lb)) = (offer.ha.take(), offer.lb.take())
        {
            // Only now: an order may have come since the plan was made, and a name
            // may have moved.
            self.operators.tell(&mut lb);
            self.loops.names.tell(&mut lb);
            offer.waiting = 2;
            self.offer(HaCommand::Plan(ha), LbCommand::Plan(lb));
            return;
        }
        let Some(Offer {
            config,
            refused,
            first,
            ..
        }) = self.offered.take()
        else {
            return;
        };
        match refused {
            Some((thread, why)) => {
                self.log.log(&records::PlanRefused { thread, why });
            }
            None => {
                let services = u32::try_from(config.services.len()).unwrap_or(u32::MAX);
                let routers = u32::try_from(config.vrrp.len()).unwrap_or(u32::MAX);
                if first {
                    self.log.log(&records::Started { routers, services });
                } else {
                    self.log.log(&records::Reloaded { routers, services });
                }
                if let Some(level) = &self.level {
                    level.set(config.node.log);
                }
                self.config = config;
                if self.operators.forget_others(&self.config)
                    && let Err(error) = self.operators.save()
                {
                    let why = records::text(&error.to_string());
                    self.log.log(&records::OperatorNotSaved { why });
                }
                self.memory.take(&self.config, first, &self.log);
                if !first {
                    self.settings.take(&self.config.ipvs, &self.log);
                    let keeper = &mut self.loops.keeper;
                    keeper.take(&self.config, &self.log);
                    self.take_errands();
                    let wanted = self.config.has_errands();
                    self.loops.runner.take(wanted, &self.log);
                }
            }
        }
        self.reload_over();
    }

    /// A reload ended, one way or the other: what it was given and does not need
    /// is free again, and whoever waits for it is told.
    fn reload_over(&mut self) {
        let Loops { cells, board, .. } = &mut self.loops;
        cells.keep(&self.config, board);
        self.loops.names.keep(&self.config);
        if let Some(notify) = &self.notify {
            let _ = notify.ready();
        }
        if self.reload_again {
            self.reload();
        }
    }
}
