//! A kernel that takes no advert: a packet filter, a queue that stays full. An
//! Active that peers have waited for in vain yields to whoever it hears.

use super::link::Packet;
use super::site::{Key, key_of};
use super::watch::Violation;
use super::world::World;
use trunnion_core::model::Family;
use trunnion_core::time::Duration;
use trunnion_core::vrrp::Role;

impl World<'_> {
    /// From now on a node's adverts are refused.
    pub fn mute(&mut self, node: usize) {
        let ms = Duration::from_millis;
        let time = self.random.time(ms(200), Duration::from_secs(12));
        self.note(|| format!("node {node}: its kernel takes no advert for {time:.1?}"));
        self.nodes[node].mute_until = self.now + time;
    }

    /// Whether the kernel refuses what a node wants to say.
    pub fn refuses(&mut self, node: usize) -> bool {
        let mute = self.now < self.nodes[node].mute_until;
        if mute || self.random.chance(self.options.refused_sends) {
            self.watch.disturbed(self.now);
            return true;
        }
        false
    }

    /// An advert was refused, or taken.
    pub fn note_send(&mut self, node: usize, key: Key, refused: bool) {
        let now = self.now;
        let silent = &mut self.nodes[node].silent;
        if refused {
            silent.entry(key).or_insert(now);
            // Not that of a goodbye: it was Active.
            self.forget_silence(node);
        } else {
            silent.remove(&key);
        }
    }

    /// Whoever is not Active has nothing to say.
    pub fn forget_silence(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let Some(life) = &here.life else {
            here.silent.clear();
            return;
        };
        let active = |key: &Key| {
            let mut slots = life.ha.instances().iter();
            slots.any(|slot| {
                key_of(&slot.config) == *key && slot.router.state().role() == Role::Active
            })
        };
        here.silent.retain(|key, _| active(key));
    }

    /// A node has taken an advert of another into account: who was Active and
    /// could say nothing for three intervals is so no more.
    pub fn has_yielded(&mut self, node: usize, packet: &Packet) {
        self.forget_silence(node);
        let Ok(received) = packet.received() else {
            return;
        };
        let family = Family::of(&packet.source);
        let (Some(vrid), Some(priority)) = (received.vrid(), received.payload.get(2)) else {
            return;
        };
        let key = (packet.interface, family, vrid);
        let here = &self.nodes[node];
        let (Some(life), Some(since)) = (&here.life, here.silent.get(&key)) else {
            return;
        };
        let mut slots = life.ha.instances().iter();
        let Some(slot) = slots.find(|slot| key_of(&slot.config) == key) else {
            return;
        };
        let patience = slot.config.router.interval.duration() * 3;
        if *priority > 0 && self.now.since(*since) >= patience {
            let text = format!(
                "node {node} is Active for {key:?}, heard priority {priority}, and could say nothing for {:?}",
                self.now.since(*since)
            );
            self.watch.report(Violation::new(self.now, "silence", text));
        }
    }
}
