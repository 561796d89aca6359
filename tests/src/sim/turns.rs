//! When a node's loops go round, and when they do so no more. What they do then
//! is in [`super::turns_ha`] and [`super::turns_lb`].

use super::watch::Violation;
use super::world::{Event, World};
use trunnion_core::check;
use trunnion_core::director::records;
use trunnion_core::record::Entry;
use trunnion_core::time::Duration;

/// Words for records.
pub const CATALOGUES: &[&[Entry]] = &[records::RECORDS, check::RECORDS];
/// Turns of a loop at one instant: more is a loop that spins.
const TURNS_MAX: u32 = 64;

/// Bytes of buffers; some runs have room for a few requests only.
pub const BUFFER: usize = 32 * 1024;

impl World<'_> {
    /// A wake-up of the HA loop, which takes a moment.
    pub fn wake_ha_soon(&mut self, node: usize) {
        let delay = self.random.time(Duration::ZERO, self.options.wake);
        self.arm_ha(node, delay);
    }

    /// The same of the LB loop.
    pub fn wake_lb_soon(&mut self, node: usize) {
        let delay = self.random.time(Duration::ZERO, self.options.wake);
        self.arm_lb(node, delay);
    }

    /// Wakes the HA loop after `delay`, unless it wakes before.
    pub fn arm_ha(&mut self, node: usize, delay: Duration) {
        let at = self.now + delay;
        let Some(life) = &mut self.nodes[node].life else {
            return;
        };
        if life.ha_armed.is_none_or(|armed| at < armed) {
            life.ha_armed = Some(at);
            let event = Event::WakeHa(node, life.number);
            self.after(delay, event);
        }
    }

    /// The same of the LB loop.
    pub fn arm_lb(&mut self, node: usize, delay: Duration) {
        let at = self.now + delay;
        let Some(life) = &mut self.nodes[node].life else {
            return;
        };
        if life.lb_armed.is_none_or(|armed| at < armed) {
            life.lb_armed = Some(at);
            let event = Event::WakeLb(node, life.number);
            self.after(delay, event);
        }
    }

    /// When a timer fires that was set for so long from now.
    pub fn late(&mut self, delay: Duration) -> Duration {
        if delay.is_zero() {
            delay
        } else {
            delay + self.random.time(Duration::ZERO, self.options.wake)
        }
    }

    /// Counts turns at one instant.
    pub fn may_turn(&mut self, node: usize) -> bool {
        let now = self.now;
        let Some(life) = &mut self.nodes[node].life else {
            return false;
        };
        let (at, turns) = &mut life.turns;
        *turns = if *at == now { *turns + 1 } else { 0 };
        *at = now;
        if *turns > TURNS_MAX {
            let text = format!("node {node} went round {TURNS_MAX} times and time stood still");
            self.watch.report(Violation::new(now, "spin", text));
            return false;
        }
        true
    }

    /// Whether this was the last thing the process did.
    pub fn dies(&mut self, node: usize) -> bool {
        let Some(life) = &mut self.nodes[node].life else {
            return true;
        };
        match &mut life.doom {
            Some(0) => {
                self.kill(node);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}
