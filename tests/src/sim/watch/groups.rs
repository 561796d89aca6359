//! The members of a group are all on one node, or none is.

use super::{Peace, Violation};
use crate::sim::node::Node;
use std::collections::BTreeMap;
use trunnion_core::director::ha::{Ha, InstanceSlot};
use trunnion_core::time::{Duration, Instant};
use trunnion_core::vrrp::Role;

/// See the module's words.
#[derive(Debug, Default)]
pub struct Groups {
    /// Since when a group of a node is split.
    split_since: BTreeMap<(usize, String), Instant>,
}

fn is_active(slot: &InstanceSlot) -> bool {
    slot.router.state().role() == Role::Active
}

/// Whether a router is kept from taking part, by what it tracks or by another
/// of its group.
pub fn is_barred(ha: &Ha<'_>, slot: &InstanceSlot) -> bool {
    let group = slot
        .config
        .group
        .and_then(|at| ha.groups().get(usize::from(at)));
    let of_group = group.is_some_and(|group| ha.members(group).any(|m| m.barred().is_some()));
    slot.barred().is_some() || of_group
}

/// At the end of a turn: where one cannot take part none is Active.
pub fn turn(now: Instant, node: &Node<'_>) -> Result<(), Violation> {
    let Some(life) = node.life.as_ref().filter(|life| !life.leaving) else {
        return Ok(());
    };
    for group in life.ha.groups() {
        let barred = life.ha.members(group).find(|slot| slot.barred().is_some());
        let active = life.ha.members(group).find(|slot| is_active(slot));
        if let (Some(barred), Some(active)) = (barred, active) {
            let text = format!(
                "node {}: {} is Active, and {} of its {} is barred: {:?}",
                node.id,
                active.config.name,
                barred.config.name,
                group.name,
                barred.barred(),
            );
            return Err(Violation::new(now, "groups", text));
        }
    }
    Ok(())
}

impl Groups {
    /// Once peace has lasted no group is split.
    pub fn tick(
        &mut self,
        now: Instant,
        peace: &Peace,
        nodes: &[Node<'_>],
        longest: Duration,
    ) -> Result<(), Violation> {
        let before = std::mem::take(&mut self.split_since);
        for node in nodes {
            let Some(life) = node.life.as_ref().filter(|life| !life.leaving) else {
                continue;
            };
            for group in life.ha.groups() {
                let members = || life.ha.members(group);
                if !(members().any(is_active) && members().any(|slot| !is_active(slot))) {
                    continue;
                }
                let key = (node.id, group.name.to_string());
                let since = *before.get(&key).unwrap_or(&now);
                let name = key.1.clone();
                self.split_since.insert(key, since);
                let Some(peace_since) = peace.since(now) else {
                    continue;
                };
                // A new member waits until it knows that nobody is Active.
                let bound = longest * 4 + peace.slack;
                if now.since(since.max(peace_since)) > bound {
                    let states: Vec<_> = members().map(|slot| slot.router.state()).collect();
                    let text = format!("node {}: {name} is split: {states:?}", node.id);
                    return Err(Violation::new(now, "groups", text));
                }
            }
        }
        Ok(())
    }
}
