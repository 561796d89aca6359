//! Orders of operators: written down, told to the LB loop, answered when it has
//! done them.

use super::super::ha::HaCommand;
use super::super::lb::LbCommand;
use super::super::records::{self, text};
use super::Control;
use crate::control::Failover;
use crate::control::operate::{Changed, Order, Refusal, Speaker};
use tokio::sync::oneshot;
use trunnion_core::director::ha::{NoFailover, Whom};
use trunnion_core::director::plan::InstanceName;

/// An order that the LB loop has been told of.
#[derive(Debug)]
pub(super) struct Doing {
    changed: Changed,
    answer: oneshot::Sender<Result<Changed, Refusal>>,
}

impl Control {
    /// Takes an order.
    pub(super) fn operate(
        &mut self,
        order: &Order,
        by: Speaker,
        answer: oneshot::Sender<Result<Changed, Refusal>>,
    ) {
        if !self.loops.lb.has_room() {
            // Dropping the answer says so.
            return;
        }
        let (orders, mut changed) = match self.operators.take(&self.config, order, by) {
            Ok(taken) => taken,
            Err(refusal) => {
                // Whoever asked may have gone.
                let _ = answer.send(Err(refusal));
                return;
            }
        };
        if let Err(error) = self.operators.save() {
            let why = text(&error.to_string());
            self.log.log(&records::OperatorNotSaved { why });
            let words = format!("a restart will not know of it: {error}");
            changed.warnings.push(words);
        }
        for (service, backend, _) in &changed.backends {
            self.log.log(&records::OperatorSaid {
                service: text(service),
                backend: text(backend),
                state: order.state.words(),
                uid: by.uid,
                pid: by.pid,
            });
        }
        let _ = self.loops.lb.send(LbCommand::Operate(Box::new(orders)));
        self.doing.push_back(Doing { changed, answer });
    }

    /// The LB loop has done the oldest order.
    pub(super) fn answer_order(&mut self) {
        if let Some(Doing { changed, answer }) = self.doing.pop_front() {
            let _ = answer.send(Ok(changed));
        }
    }

    /// Lets peers take over, or ends that.
    pub(super) fn fail_over(
        &mut self,
        order: Failover,
        answer: oneshot::Sender<Result<u16, NoFailover>>,
    ) {
        let whom = match order.name.as_str() {
            "" => Whom::All,
            name => match InstanceName::try_from(name) {
                Ok(name) => Whom::Named(name),
                Err(_) => {
                    let _ = answer.send(Err(NoFailover::NoSuch));
                    return;
                }
            },
        };
        let command = match order.hold {
            Some(time) => HaCommand::FailOver(whom, time),
            None => HaCommand::FailOverNoMore(whom),
        };
        // Dropping the answer says that the loop is far behind.
        if self.loops.ha.send(command).is_ok() {
            self.orders.push_back(answer);
        }
    }

    /// What was said before a restart.
    pub(super) fn say_remembered(&self) {
        if !self.operators.is_empty() {
            let backends = u32::try_from(self.operators.len()).unwrap_or(u32::MAX);
            self.log.log(&records::OperatorsRemembered { backends });
        }
    }
}
