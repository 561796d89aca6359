//! Health: trouble of a node's own is no verdict about a backend, and a dead
//! backend is found in time.

use super::Violation;
use crate::sim::backends::{Asked, Backends};
use crate::sim::node::Node;
use crate::sim::options::Options;
use std::collections::BTreeMap;
use trunnion_core::check::{CheckConfig, HealthState};
use trunnion_core::director::plan::OperatorState;
use trunnion_core::time::{Duration, Instant};

/// First checks, and checks after a stall, are spread over this at most.
const SPREAD: Duration = Duration::from_secs(2);

/// See the module's words.
#[derive(Debug)]
pub struct HealthWatch {
    believed: Vec<BTreeMap<CheckConfig, HealthState>>,
    /// When a node's own trouble last began and ended.
    paused: Vec<(Instant, Duration)>,
    trouble_at: Vec<Instant>,
    planned_at: Vec<Instant>,
    slack: Duration,
}

impl HealthWatch {
    pub fn new(options: &Options) -> Self {
        let nodes = options.nodes;
        Self {
            believed: vec![BTreeMap::new(); nodes],
            paused: vec![(Instant::ZERO, Duration::ZERO); nodes],
            trouble_at: vec![Instant::ZERO; nodes],
            planned_at: vec![Instant::ZERO; nodes],
            slack: options.slack(),
        }
    }

    pub fn started(&mut self, now: Instant, node: &Node<'_>) {
        self.believed[node.id].clear();
        self.planned_at[node.id] = now;
    }

    /// A config was read, or an order given.
    pub fn planned(&mut self, now: Instant, node: &Node<'_>) {
        self.planned_at[node.id] = now;
    }

    pub fn paused(&mut self, until: Instant, node: usize) {
        let (at, length) = &mut self.paused[node];
        // Pauses may overlap; what counts is how far back a verdict may reach.
        *length = Duration::from_secs(10);
        *at = until.max(*at);
    }

    pub fn local_trouble(&mut self, now: Instant, node: usize) {
        self.trouble_at[node] = now;
    }

    pub fn look(
        &mut self,
        now: Instant,
        node: &Node<'_>,
        backends: &Backends,
    ) -> Result<(), Violation> {
        let Some(life) = node.life.as_ref().filter(|l| !l.leaving) else {
            return Ok(());
        };
        let (paused_at, pause) = self.paused[node.id];
        let believed = &mut self.believed[node.id];
        for (plan, config) in (0_u32..).zip(&node.plan.checks) {
            let Some(id) = life.lb.engine().check_id(plan) else {
                continue;
            };
            let Some(status) = life.lb.engine().status(id) else {
                continue;
            };
            if status.config != *config {
                let text = format!(
                    "node {}: check {plan} is {status:?}, not {config:?}",
                    node.id
                );
                return Err(Violation::new(now, "health", text));
            }
            let state = status.health.state();
            let before = believed.insert(*config, state);
            let fall = u32::from(config.fall.max(1));
            let between = config
                .interval
                .max(config.fast_interval)
                .max(config.timeout);
            let late = |interval: Duration| interval * config.policy.jitter_percent.into() / 100;
            let between = between + late(between);
            let span = (between + config.timeout) * fall + SPREAD + self.slack;
            // One that was edited goes on from what the one before had found.
            let falls = before.is_some_and(|before| before != HealthState::Down)
                && state == HealthState::Down;
            if falls && !status.presumed {
                let since = now - (span + pause);
                let bad_at = backends.bad_at(config.target.ip(), Asked::by(config), now);
                if bad_at.is_none_or(|bad| bad < since) {
                    let text = format!(
                        "node {} took {} for down, which was last other than quick to answer at {bad_at:?}",
                        node.id, config.target
                    );
                    return Err(Violation::new(now, "false verdict", text));
                }
            }
            // In maintenance nobody looks.
            let mut users = (0..).zip(&node.plan.links);
            if users.all(|(at, link): (usize, _)| {
                let operator = node.plan.members[at].operator;
                *link != Some(plan) || operator == OperatorState::Maint
            }) {
                continue;
            }
            let target = backends.get(config.target.ip());
            let since = [
                target.since,
                self.planned_at[node.id],
                self.trouble_at[node.id],
                paused_at,
            ];
            let since = since.into_iter().max().unwrap_or(now);
            let crowded = node.sockets < node.plan.checks.len();
            if crowded || status.presumed && status.last.is_none() && now.since(since) <= span {
                continue;
            }
            let right = match target.serves(config.timeout, Asked::by(config)) {
                Some(true) => HealthState::Up,
                Some(false) => HealthState::Down,
                None => continue,
            };
            let rise = u32::from(config.rise.max(1));
            let mut down = config.down_interval.max(config.fast_interval);
            if config.policy.backoff_percent > 100 {
                down = down.max(config.policy.backoff_max());
            }
            let up_span = (down + late(down) + config.timeout) * (rise + 1) + SPREAD + self.slack;
            let bound = match right {
                HealthState::Up => up_span,
                HealthState::Down | HealthState::Unknown => span + between,
            };
            if state != right && !status.held && paused_at <= now && now.since(since) > bound {
                let text = format!(
                    "node {} takes {} for {state}, which is {right} for {:?}; bound {bound:?}; {status:?}",
                    node.id,
                    config.target,
                    now.since(since)
                );
                return Err(Violation::new(now, "late verdict", text));
            }
        }
        believed.retain(|config, _| node.plan.checks.contains(config));
        Ok(())
    }
}
