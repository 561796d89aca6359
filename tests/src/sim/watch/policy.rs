//! What operators and policies ask for: an order is obeyed, a weight that rises
//! does not fall, a quorum changes only beyond its hysteresis.

use super::Violation;
use crate::sim::ipvs_kernel::Tried;
use crate::sim::ipvs_request::Op;
use crate::sim::node::{Life, Node};
use crate::sim::options::Options;
use crate::sim::site::Plan;
use std::collections::BTreeMap;
use trunnion_core::check::HealthState;
use trunnion_core::director::plan::{Member, OperatorState};
use trunnion_core::model::{DestinationKey, ServiceKey};
use trunnion_core::time::{Duration, Instant};

/// A pass that began before an order was given may end after it.
const PASS: Duration = Duration::from_millis(500);

/// See the module's words.
#[derive(Debug)]
pub struct PolicyWatch {
    told_at: Vec<Instant>,
    quorums: BTreeMap<(usize, ServiceKey), bool>,
    weights: BTreeMap<(usize, ServiceKey, DestinationKey), u32>,
    /// Replies get lost, requests are refused, or others write.
    faulty: bool,
}

impl PolicyWatch {
    pub fn new(options: &Options) -> Self {
        Self {
            told_at: vec![Instant::ZERO; options.nodes],
            quorums: BTreeMap::new(),
            weights: BTreeMap::new(),
            faulty: super::table::is_faulty(options),
        }
    }

    /// A node was told something, or knows nothing any more.
    pub fn told(&mut self, now: Instant, node: usize) {
        self.told_at[node] = now;
        self.quorums.retain(|(at, _), _| *at != node);
        self.weights.retain(|(at, ..), _| *at != node);
    }

    pub fn changed(
        &mut self,
        now: Instant,
        node: &Node<'_>,
        tried: &Tried,
    ) -> Result<(), Violation> {
        let settled = now.since(self.told_at[node.id]) > PASS;
        let (Op::NewDestination(service, row) | Op::SetDestination(service, row)) = &tried.op
        else {
            return Ok(());
        };
        let Some(member) = member(&node.plan, service, &row.key) else {
            return Ok(());
        };
        let fail = |text: &str| {
            let text = format!("node {}: {text}: {:?}", node.id, tried.op);
            Err(Violation::new(now, "policy", text))
        };
        let away = match member.operator {
            OperatorState::Drain | OperatorState::Maint | OperatorState::ForcedDown => true,
            OperatorState::Ready | OperatorState::ForcedUp => false,
        };
        if away && row.weight > 0 && settled {
            return fail("an operator is overruled");
        }
        let key = (node.id, *service, row.key);
        let last = self.weights.insert(key, row.weight);
        let falls = last.is_some_and(|last| row.weight > 0 && row.weight < last);
        if falls && settled && !self.faulty {
            return fail("a weight falls, and not to 0");
        }
        Ok(())
    }

    pub fn look(&mut self, now: Instant, node: &Node<'_>) -> Result<(), Violation> {
        let Some(life) = node.life.as_ref().filter(|l| !l.leaving) else {
            return Ok(());
        };
        for (at, row) in node.plan.services.iter().enumerate() {
            let key = row.service.key;
            let policy = node.plan.policies[at];
            let Some(is) = life.lb.has_quorum(at) else {
                continue;
            };
            let was = self.quorums.insert((node.id, key), is);
            let (quorum, hysteresis) = (policy.quorum, policy.hysteresis);
            let weight = believed(life, &node.plan, at);
            let right = match (was, is) {
                (Some(true), false) => weight < quorum.saturating_sub(hysteresis),
                (Some(false), true) => weight >= quorum + hysteresis,
                (Some(true), true) | (Some(false), false) | (None, _) => true,
            };
            if !right {
                let text = format!(
                    "node {}: {key}: quorum {quorum} with hysteresis {hysteresis} went from {was:?} to {is} at weight {weight}",
                    node.id
                );
                return Err(Violation::new(now, "policy", text));
            }
        }
        Ok(())
    }
}

/// What the plan says a destination is.
fn member(plan: &Plan, service: &ServiceKey, key: &DestinationKey) -> Option<Member> {
    let row = plan.services.iter().find(|r| r.service.key == *service)?;
    let mut all = row.range().zip(plan.table().destinations_of(row));
    let (at, _) = all.find(|(_, d)| d.key == *key)?;
    plan.members.get(at).copied()
}

/// The weight of those that the node believes to serve.
fn believed(life: &Life<'_>, plan: &Plan, service: usize) -> u32 {
    let row = &plan.services[service];
    let each = row.range().zip(plan.table().destinations_of(row));
    let serving = each.filter(|(at, _)| {
        let member = plan.members[*at];
        let up = || {
            let status = life.lb.status(*at);
            status.is_none_or(|status| status.health.state() == HealthState::Up)
        };
        !member.sorry
            && match member.operator {
                OperatorState::Ready => up(),
                OperatorState::ForcedUp => true,
                OperatorState::Drain | OperatorState::Maint | OperatorState::ForcedDown => false,
            }
    });
    serving.map(|(_, d)| d.weight).sum()
}
