//! IPVS: make before break, nobody is cut off, nothing is done without need,
//! and in the end the kernel holds what is desired.

use super::Violation;
use crate::sim::backends::{Asked, Backends};
use crate::sim::ipvs_kernel::{Row, Tried, has};
use crate::sim::ipvs_request::Op;
use crate::sim::node::{Life, Node};
use crate::sim::options::{Fault, Options};
use crate::sim::site::Plan;
use trunnion_core::check::HealthState;
use trunnion_core::director::plan::{OperatorState, SyncRoles};
use trunnion_core::model::{Destination, SchedulerName, ServiceKey, SyncDaemon, SyncState};
use trunnion_core::time::{Duration, Instant};
use trunnion_core::vrrp::Role;

/// A pass that began before a config was read may end after it.
const PASS: Duration = Duration::from_millis(500);

/// See the module's words.
#[derive(Debug)]
pub struct TableWatch {
    planned_at: Vec<Instant>,
    /// When someone else last wrote, or something was lost.
    written_at: Vec<Option<Instant>>,
    leaving: Vec<bool>,
    /// How often each node has started: a process does not know what an earlier
    /// one declared.
    starts: Vec<u32>,
    /// Replies get lost and requests are refused.
    faulty: bool,
    /// What nobody can make.
    missing: Option<SchedulerName>,
    calm_at: Option<Instant>,
}

impl TableWatch {
    pub fn new(options: &Options) -> Self {
        Self {
            planned_at: vec![Instant::ZERO; options.nodes],
            written_at: vec![None; options.nodes],
            leaving: vec![false; options.nodes],
            starts: vec![0; options.nodes],
            faulty: is_faulty(options),
            missing: options.missing.clone(),
            calm_at: None,
        }
    }

    pub fn started(&mut self, now: Instant, node: &Node<'_>) {
        self.leaving[node.id] = false;
        self.starts[node.id] += 1;
        self.planned_at[node.id] = now;
    }

    pub fn planned(&mut self, now: Instant, node: &Node<'_>) {
        self.planned_at[node.id] = now;
    }

    pub fn leaving(&mut self, node: usize) {
        self.leaving[node] = true;
    }

    pub fn written(&mut self, now: Instant, node: usize) {
        self.written_at[node] = Some(now);
    }

    pub fn calm(&mut self, now: Instant) {
        self.calm_at = Some(now);
    }

    pub fn changed(
        &mut self,
        now: Instant,
        node: &Node<'_>,
        tried: &Tried,
        backends: &Backends,
    ) -> Result<(), Violation> {
        let Some(life) = &node.life else {
            return Ok(());
        };
        if self.leaving[node.id] {
            return Ok(());
        }
        let Tried { op, answer, before } = tried;
        let fail = |checker, text: String| {
            let text = format!("node {}: {text}: {op:?}", node.id);
            Err(Violation::new(now, checker, text))
        };
        let settled = now.since(self.planned_at[node.id]) > PASS;
        let plan = &node.plan;
        let declared = plan
            .services
            .iter()
            .find(|r| r.service.key == *op.service());
        let wanted = declared.map(|row| plan.table().destinations_of(row));
        match op {
            Op::DeleteDestination(_, key) => {
                let wanted = wanted.unwrap_or(&[]);
                if settled && wanted.iter().any(|d| d.key == *key) {
                    return fail("needless break", "deletes what is desired".to_owned());
                }
                let missing = wanted
                    .iter()
                    .find(|d| before.as_ref().is_some_and(|row| !has(row, &d.key)));
                if let (Some(missing), true) = (missing, settled && !self.faulty) {
                    let text = format!("deletes before {} is there", missing.key);
                    return fail("make before break", text);
                }
            }
            Op::DeleteService(key) => {
                if settled && declared.is_some() {
                    return fail("needless break", format!("deletes {key}, which is desired"));
                }
                if settled && plan.declared_only && !self.faulty {
                    return fail(
                        "needless break",
                        format!("deletes {key}, which is not ours"),
                    );
                }
            }
            Op::NewService(_)
            | Op::SetService(_)
            | Op::NewDestination(..)
            | Op::SetDestination(..) => {}
        }
        if !self.faulty && *answer != 0 {
            return fail("refused", format!("was answered {answer}"));
        }
        if *answer == 0 && !self.faulty && changes_nothing(op, before.as_ref()) {
            return fail("needless", "changes nothing".to_owned());
        }
        // Whether clients of a service had someone to go to, and have nobody.
        let after = node.ipvs.row(op.service());
        let (Some(before), Some(row)) = (before, declared) else {
            return Ok(());
        };
        let served = |row: &Row| row.destinations.iter().any(|d| lives(d, backends));
        let cut_off = served(before) && !after.is_some_and(served);
        let key = &row.service.key;
        let possible = believed(life, plan, key, |d| lives(d, backends));
        // It may be wrong about those that it sends clients to.
        // Of what the plan says a part, while it rises.
        let weighted = |d: &Destination| {
            let held = after.and_then(|row| row.destinations.iter().find(|held| held.key == d.key));
            held.is_some_and(|held| held.weight > 0)
        };
        let trusts = believed(life, plan, key, weighted);
        if cut_off && !trusts && *answer == 0 && possible && !self.faulty {
            return fail(
                "cut off",
                "leaves the service without one that lives".to_owned(),
            );
        }
        Ok(())
    }

    /// The kernel holds what is desired, by weights that follow from how the
    /// backends are.
    pub fn end(
        &self,
        now: Instant,
        nodes: &[Node<'_>],
        backends: &Backends,
    ) -> Result<(), Violation> {
        for node in nodes {
            daemons(now, node)?;
            let plan = &node.plan;
            let fail = |text: String| {
                let text = format!("node {}: {text}", node.id);
                Err(Violation::new(now, "table", text))
            };
            for (at, row) in plan.services.iter().enumerate() {
                if self.missing.as_ref() == Some(&row.service.scheduler) {
                    continue;
                }
                let Some(held) = node.ipvs.row(&row.service.key) else {
                    return fail(format!("{} is missing", row.service.key));
                };
                if held.service != row.service {
                    return fail(format!("{:?} is {:?}", row.service, held.service));
                }
                let Some(wanted) = effective(plan, at, backends) else {
                    continue;
                };
                let mut found = held.destinations.clone();
                found.sort_by_key(|d| d.key);
                if found != wanted {
                    return fail(format!(
                        "{} holds {found:?}, and should {wanted:?}",
                        row.service.key
                    ));
                }
            }
            let declared = |key: &ServiceKey| plan.services.iter().any(|r| r.service.key == *key);
            let stranger = node.ipvs.rows.iter().find(|r| !declared(&r.service.key));
            if let (Some(stranger), false) = (stranger, plan.declared_only) {
                return fail(format!("{} is still there", stranger.service.key));
            }
            let ours = |key: &ServiceKey| !matches!(key, ServiceKey::Fwmark { mark: 1000.., .. });
            let left = node
                .ipvs
                .rows
                .iter()
                .find(|r| !declared(&r.service.key) && ours(&r.service.key));
            if let (Some(left), 1) = (left, self.starts[node.id]) {
                return fail(format!("{} was ours and is left", left.service.key));
            }
        }
        Ok(())
    }
}

/// Whether replies get lost, requests are refused, or others write.
pub fn is_faulty(options: &Options) -> bool {
    let ipvs = options.ipvs;
    // Strange answers must change nothing.
    ipvs.lost + ipvs.refused + ipvs.send > 0
        || ipvs.silent + ipvs.malformed + ipvs.busy > 0
        || options.missing.is_some()
        || options.has(Fault::Writer)
        || options.has(Fault::Rival)
        || options.has(Fault::Module)
}

/// The synchronization daemons are those of the role that is followed.
fn daemons(now: Instant, node: &Node<'_>) -> Result<(), Violation> {
    let (Some(sync), Some(life)) = (&node.plan.sync, &node.life) else {
        return Ok(());
    };
    let active = life.ha.followed() == Some(Role::Active);
    let wanted = match sync.roles {
        SyncRoles::Fixed { sends, hears } => [sends, hears],
        SyncRoles::Follow => [active, !active],
    };
    let states = [SyncState::MASTER, SyncState::BACKUP];
    for ((wanted, held), state) in wanted.iter().zip(&node.ipvs.daemons).zip(states) {
        let daemon = SyncDaemon {
            state,
            ..sync.daemon.clone()
        };
        let right = match held {
            Some(held) => *wanted && daemon.is_met_by(held),
            None => !wanted,
        };
        if !right {
            let text = format!(
                "node {}: {state}: {held:?} by {:?} of {:?}",
                node.id,
                sync.roles,
                life.ha.followed()
            );
            return Err(Violation::new(now, "daemons", text));
        }
    }
    Ok(())
}

/// What a service's destinations should be, by how their backends are; nothing
/// when one is a close call.
fn effective(plan: &Plan, service: usize, backends: &Backends) -> Option<Vec<Destination>> {
    let row = &plan.services[service];
    let mut rows = plan.table().destinations_of(row).to_vec();
    let policy = plan.policies[service];
    let (mut weighted, mut healthy, mut sum) = (0, 0, 0);
    let mut sorry = None;
    // Of each: whether it may serve at all, whether it does.
    let mut calls = Vec::new();
    for (at, d) in row.range().zip(&rows) {
        let good = match plan.links[at] {
            None => true,
            Some(check) => {
                let check = plan.checks[check as usize];
                let target = backends.get(d.key.address);
                target.serves(check.timeout, Asked::by(&check))?
            }
        };
        let member = plan.members[at];
        let call = match member.operator {
            _ if d.weight == 0 => (false, false),
            OperatorState::Ready => (true, good),
            OperatorState::ForcedUp => (true, true),
            OperatorState::ForcedDown | OperatorState::Drain | OperatorState::Maint => {
                (false, false)
            }
        };
        if member.sorry {
            sorry = Some((calls.len(), call.1));
        } else if call.0 || d.weight > 0 && member.operator == OperatorState::ForcedDown {
            weighted += 1;
            healthy += usize::from(call.1);
            sum += if call.1 { d.weight } else { 0 };
        }
        calls.push(call);
    }
    let ready = sorry.is_some_and(|(_, ready)| ready);
    let lost = match policy.quorum {
        0 => false,
        quorum if sum >= quorum + policy.hysteresis => false,
        quorum if sum < quorum - policy.hysteresis => true,
        // It depends on what was before.
        _ if ready => return None,
        _ => false,
    };
    let floor = usize::from(policy.min_healthy).min(weighted);
    let open = healthy < floor && !ready;
    let takes = ready && (lost || healthy == 0);
    for (at, (d, (may, good))) in rows.iter_mut().zip(calls).enumerate() {
        let gets = match sorry {
            Some((place, _)) if place == at => takes,
            _ => !takes && (good || open && may),
        };
        if !gets {
            d.weight = 0;
        }
    }
    Some(rows)
}

fn lives(destination: &Destination, backends: &Backends) -> bool {
    // Someone else's destination may be of no backend of ours.
    let last = match destination.key.address {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(ip) => ip.octets()[15],
    };
    let known = (1..=crate::sim::site::BACKENDS).contains(&last);
    let timeout = Duration::from_millis(100);
    destination.weight > 0
        && known
        && backends
            .get(destination.key.address)
            .serves(timeout, Asked::Connects)
            == Some(true)
}

/// Whether the plan has a destination that serves and that the node does not
/// take for dead.
fn believed(
    life: &Life<'_>,
    plan: &Plan,
    service: &ServiceKey,
    serves: impl Fn(&Destination) -> bool,
) -> bool {
    let Some(row) = plan.services.iter().find(|r| r.service.key == *service) else {
        return false;
    };
    row.range()
        .zip(plan.table().destinations_of(row))
        .any(|(at, d)| {
            let state = life.lb.status(at).map(|status| status.health.state());
            let trusted = match plan.members[at].operator {
                OperatorState::Ready => state != Some(HealthState::Down),
                OperatorState::ForcedUp => true,
                OperatorState::Drain | OperatorState::Maint | OperatorState::ForcedDown => false,
            };
            d.weight > 0 && serves(d) && trusted
        })
}

fn changes_nothing(op: &Op, before: Option<&Row>) -> bool {
    let Some(before) = before else { return false };
    match op {
        Op::SetService(service) => before.service == *service,
        Op::SetDestination(_, new) => before.destinations.contains(new),
        Op::NewService(_)
        | Op::NewDestination(..)
        | Op::DeleteService(_)
        | Op::DeleteDestination(..) => false,
    }
}
