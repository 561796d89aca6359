//! One Active for each virtual router, taken over for a reason and in time.

use super::groups::is_barred;
use super::{Peace, Violation};
use crate::sim::link::Packet;
use crate::sim::node::Node;
use crate::sim::site::{Key, Site, key_of};
use crate::sim::turns_ha::HEARING_MAX;
use std::collections::BTreeMap;
use std::net::IpAddr;
use trunnion_core::director::ha::{Ha, InstanceSlot};
use trunnion_core::model::Family;
use trunnion_core::time::{Duration, Instant};
use trunnion_core::vrrp::{Reason, Role, Router, RouterConfig, State};

/// Who could not speak preempts nobody for so long.
const SILENCE_HOLD: Duration = Duration::from_secs(30);

/// What a node should have learned of a virtual router while it is Backup.
#[derive(Clone, Copy, Debug)]
struct Learned {
    /// When it began to wait anew.
    at: Instant,
    /// The interval the Active told, centiseconds; none did yet.
    interval: Option<u16>,
    /// The Active said goodbye.
    resigned: bool,
    /// Since when the Active is of a lower priority.
    lower_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    role: Role,
    learned: Learned,
}

/// See the module's words.
#[derive(Debug)]
pub struct Election {
    nodes: Vec<BTreeMap<Key, Seen>>,
    /// Since when a virtual router has another number of Actives than one.
    odd_since: BTreeMap<Key, (usize, Instant)>,
    /// The last advert each node sent: when, its priority and interval.
    said: Vec<BTreeMap<Key, (Instant, u8, Duration)>>,
    /// The longest interval ever configured for one.
    longest: BTreeMap<Key, Duration>,
    pub takeovers: u64,
}

impl Election {
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes: vec![BTreeMap::new(); nodes],
            odd_since: BTreeMap::new(),
            said: vec![BTreeMap::new(); nodes],
            longest: BTreeMap::new(),
            takeovers: 0,
        }
    }

    pub fn started(&mut self, node: &Node<'_>) {
        self.nodes[node.id].clear();
    }

    pub fn died(&mut self, node: usize) {
        self.nodes[node].clear();
    }

    pub fn planned(&mut self, node: &Node<'_>) {
        for instance in &node.plan.instances {
            let interval = instance.router.interval.duration();
            let longest = self.longest.entry(key_of(instance)).or_default();
            *longest = interval.max(*longest);
        }
    }

    /// A node sent an advert.
    pub fn said(
        &mut self,
        now: Instant,
        node: usize,
        interface: usize,
        from: IpAddr,
        bytes: &[u8],
    ) {
        let (key, priority, centis) = fields(interface, from, bytes);
        let interval = Duration::from_millis(u64::from(centis) * 10);
        self.said[node].insert(key, (now, priority, interval));
    }

    /// An advert that the node takes for one.
    pub fn heard(&mut self, now: Instant, node: &Node<'_>, packet: &Packet) {
        let (key, priority, interval) = fields(packet.interface, packet.source, &packet.bytes);
        let slots = node.life.iter().flat_map(|life| life.ha.instances());
        let Some(slot) = slots.into_iter().find(|slot| key_of(&slot.config) == key) else {
            return;
        };
        let Some(seen) = self.nodes[node.id].get_mut(&key) else {
            return;
        };
        let RouterConfig {
            priority: own,
            preempt,
            preempt_delay,
            ..
        } = *slot.router.config();
        let learned = &mut seen.learned;
        if seen.role == Role::Active {
            // To whom it yields, by that one's interval it waits.
            learned.interval = Some(interval);
        }
        if priority == 0 {
            learned.resigned = true;
            learned.at = now;
            return;
        }
        if priority < own {
            let since = *learned.lower_since.get_or_insert(now);
            // The owner has no delay, and still leaves alone whom it yielded to
            // because it could not speak.
            let (preempts, delay) = match own {
                255 => (true, Duration::ZERO),
                _ => (preempt, preempt_delay),
            };
            if preempts && now >= since + delay {
                return;
            }
        } else {
            learned.lower_since = None;
        }
        learned.at = now;
        learned.interval = Some(interval);
        learned.resigned = false;
    }

    /// Looks at the roles; a router that became Active had a reason.
    pub fn roles(&mut self, now: Instant, node: &Node<'_>) -> Result<(), Violation> {
        let Some(life) = &node.life else {
            return Ok(());
        };
        let seen = &mut self.nodes[node.id];
        for slot in life.ha.instances() {
            let key = key_of(&slot.config);
            let role = slot.router.state().role();
            let blank = Learned {
                at: now,
                interval: None,
                resigned: false,
                lower_since: None,
            };
            let entry = seen.entry(key).or_insert(Seen {
                role: Role::Initialize,
                learned: blank,
            });
            let (before, learned) = (entry.role, entry.learned);
            entry.role = role;
            match (before, role) {
                (Role::Initialize, Role::Backup) => entry.learned = blank,
                (Role::Active, Role::Backup) if was_told(&slot.router) => entry.learned = blank,
                (Role::Active, Role::Backup) => {
                    // What it heard in this moment made it step down.
                    entry.learned.lower_since = yielded_until(&slot.router, now);
                    entry.learned.resigned = false;
                    entry.learned.at = now;
                }
                (Role::Backup, Role::Active) => {
                    self.takeovers += 1;
                    early(now, node, key, slot.router.config(), learned)?;
                    deaf(now, node, key, slot.router.config())?;
                }
                (Role::Initialize, Role::Active) => {
                    self.takeovers += 1;
                    let said = self.said[node.id].get(&key).copied();
                    resumed(now, node, key, slot.router.config(), said)?;
                }
                (Role::Active | Role::Initialize, Role::Initialize)
                | (Role::Backup, Role::Backup | Role::Initialize)
                | (Role::Active, Role::Active) => {}
            }
        }
        seen.retain(|key, _| {
            life.ha
                .instances()
                .iter()
                .any(|i| key_of(&i.config) == *key)
        });
        Ok(())
    }

    /// One Active each, once peace has lasted.
    pub fn tick(
        &mut self,
        now: Instant,
        peace: &Peace,
        nodes: &[Node<'_>],
    ) -> Result<(), Violation> {
        let mut keys: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        for node in nodes {
            let Some(life) = node.life.as_ref().filter(|l| !l.leaving) else {
                continue;
            };
            for instance in &node.plan.instances {
                keys.entry(key_of(instance)).or_default();
            }
            for slot in life.ha.instances() {
                if slot.router.state().role() == Role::Active {
                    keys.entry(key_of(&slot.config)).or_default().push(node.id);
                }
            }
        }
        for node in nodes {
            let held = node
                .executor
                .iter()
                .flat_map(|executor| executor.held(node));
            held.for_each(|key| keys.entry(key).or_default().push(node.id));
        }
        self.answered(now, peace, nodes)?;
        self.odd_since.retain(|key, _| keys.contains_key(key));
        let longest_of_all = self.longest();
        for (key, actives) in keys {
            let count = actives.len();
            if count == 1 {
                self.odd_since.remove(&key);
                continue;
            }
            let odd = self.odd_since.entry(key).or_insert((count, now));
            if odd.0 != count {
                *odd = (count, now);
            }
            let Some(peace_since) = peace.since(now) else {
                continue;
            };
            let slots = slots_of(nodes, key);
            if count == 0 && slots.iter().all(|(ha, slot)| is_barred(ha, slot)) {
                self.odd_since.remove(&key);
                continue;
            }
            // A group waits for its last member, and after a tie for longer.
            let grouped = slots.iter().any(|(_, slot)| slot.config.group.is_some());
            let longest = match grouped {
                true => longest_of_all,
                false => self.longest.get(&key).copied().unwrap_or_default(),
            };
            let bound = match count {
                _ if grouped => longest * 10 + peace.slack,
                0 => longest * 4 + peace.slack,
                _ => longest * 2 + peace.slack,
            };
            let since = odd.1.max(peace_since);
            if now.since(since) > bound {
                let text = format!(
                    "{key:?} has {count} Actives ({actives:?}) for {:?}, {:?} of them in peace; bound {bound:?}",
                    now.since(odd.1),
                    now.since(since),
                );
                return Err(Violation::new(now, "election", text));
            }
        }
        Ok(())
    }
}

/// A virtual router on the nodes that have it.
fn slots_of<'n, 'm>(nodes: &'n [Node<'m>], key: Key) -> Vec<(&'n Ha<'m>, &'n InstanceSlot)> {
    // One that no plan names any more only waits to say goodbye.
    let planned = nodes.iter().filter(|n| n.plan.instance(key).is_some());
    let lives = planned.filter_map(|node| node.life.as_ref());
    let each = lives.filter(|life| !life.leaving).flat_map(|life| {
        let slots = life.ha.instances().iter();
        slots.map(move |slot| (&life.ha, slot))
    });
    each.filter(|(_, slot)| key_of(&slot.config) == key)
        .collect()
}

/// Who could not speak leaves alone for a while whoever it yielded to.
fn yielded_until(router: &Router, now: Instant) -> Option<Instant> {
    let why = router.last_transition().map(|(_, moved)| moved.why);
    (why == Some(Reason::CannotSpeak)).then(|| now + SILENCE_HOLD)
}

/// Whether it is Backup because it was told to be, and heard nobody.
fn was_told(router: &Router) -> bool {
    let why = router.last_transition().map(|(_, moved)| moved.why);
    matches!(why, Some(Reason::GroupBackup | Reason::Failover))
}

impl Election {
    /// The longest interval ever configured.
    pub fn longest(&self) -> Duration {
        self.longest.values().max().copied().unwrap_or_default()
    }

    /// Who heard a goodbye takes over within its skew, which is less than an
    /// interval, unless another has.
    fn answered(&self, now: Instant, peace: &Peace, nodes: &[Node<'_>]) -> Result<(), Violation> {
        let Some(peace_since) = peace.since(now) else {
            return Ok(());
        };
        for node in nodes
            .iter()
            .filter(|n| n.life.as_ref().is_some_and(|l| !l.leaving))
        {
            for (key, seen) in &self.nodes[node.id] {
                let Learned { at, resigned, .. } = seen.learned;
                let bound = self.longest.get(key).copied().unwrap_or_default() + peace.slack;
                let ours = slots_of(std::slice::from_ref(node), *key);
                let alone = ours.iter().all(|(_, slot)| slot.config.group.is_none());
                let waits = seen.role == Role::Backup && resigned && peace_since <= at && alone;
                if waits && now.since(at) > bound {
                    let text = format!(
                        "node {} heard the goodbye of {key:?} {:?} ago and waits still",
                        node.id,
                        now.since(at)
                    );
                    return Err(Violation::new(now, "goodbye", text));
                }
            }
        }
        Ok(())
    }
}

/// A takeover from Backup comes after the silence it must wait for.
fn early(
    now: Instant,
    node: &Node<'_>,
    key: Key,
    router: &RouterConfig,
    learned: Learned,
) -> Result<(), Violation> {
    if router.priority == 255 {
        return Ok(());
    }
    let centis = learned.interval.unwrap_or(router.interval.get());
    let interval = Duration::from_millis(u64::from(centis) * 10);
    let skew = interval * (256 - u32::from(router.priority)) / 256;
    let wait = if learned.resigned {
        // Its own interval may be the one that counts; either will do.
        skew.min(router.interval.duration() * (256 - u32::from(router.priority)) / 256)
    } else {
        interval * 3 + skew
    };
    if now.since(learned.at) + Duration::from_nanos(300) < wait {
        let text = format!(
            "node {} took {key:?} over {:?} after it began to wait, and should wait {wait:?}: {learned:?}",
            node.id,
            now.since(learned.at)
        );
        return Err(Violation::new(now, "early takeover", text));
    }
    Ok(())
}

/// Nobody takes over while the word of a living Active waits to be read, unless
/// packets have waited for too long already.
fn deaf(now: Instant, node: &Node<'_>, key: Key, router: &RouterConfig) -> Result<(), Violation> {
    let Some(life) = &node.life else {
        return Ok(());
    };
    let since = life.unheard_since.unwrap_or(now);
    let heeds = |packet: &&Packet| {
        let (of, priority, _) = fields(packet.interface, packet.source, &packet.bytes);
        of == key && priority > 0 && (priority >= router.priority || !router.preempt)
    };
    let Some(packet) = life.packets.iter().find(heeds) else {
        return Ok(());
    };
    if router.priority == 255 || now.since(since) >= HEARING_MAX {
        return Ok(());
    }
    let text = format!(
        "node {} took {key:?} over before it read what {} said",
        node.id, packet.source
    );
    Err(Violation::new(now, "deaf takeover", text))
}

/// A router that starts as Active owns the addresses, or spoke as Active so
/// shortly before that nobody can have noticed its absence.
fn resumed(
    now: Instant,
    node: &Node<'_>,
    key: Key,
    router: &RouterConfig,
    said: Option<(Instant, u8, Duration)>,
) -> Result<(), Violation> {
    let recent = said.is_some_and(|(at, priority, interval)| {
        priority > 0 && now.since(at) < interval * 3 + interval * 2 / 256
    });
    if router.priority == 255 || recent {
        return Ok(());
    }
    let text = format!(
        "node {} started {key:?} as Active, and last spoke {said:?}",
        node.id
    );
    Err(Violation::new(now, "resume", text))
}

/// Virtual router, priority and interval (centiseconds) of an advert, which is a
/// whole packet over IPv4.
fn fields(interface: usize, source: IpAddr, bytes: &[u8]) -> (Key, u8, u16) {
    let family = Family::of(&source);
    let message = match family {
        Family::V4 => &bytes[20..],
        Family::V6 => bytes,
    };
    let interval = u16::from_be_bytes([message[4] & 0x0f, message[5]]);
    ((interface, family, message[1]), message[2], interval)
}

/// Everyone lives and hears everyone: one Active each, and of those who may
/// preempt the one with the highest priority.
pub fn end(now: Instant, nodes: &[Node<'_>], site: &Site) -> Result<(), Violation> {
    let fail = |text| Err(Violation::new(now, "election", text));
    for group in &site.groups {
        let mut actives = Vec::new();
        for node in nodes {
            let Some(life) = &node.life else {
                return fail(format!("node {} does not live", node.id));
            };
            let all = life.ha.instances();
            let Some(slot) = all.iter().find(|s| key_of(&s.config) == group.key) else {
                return fail(format!("node {} has no {:?}", node.id, group.key));
            };
            match slot.router.state() {
                State::Active { .. } => actives.push(node.id),
                State::Backup { .. } => {}
                State::Initialize { .. } => {
                    return fail(format!("node {} does not take part", node.id));
                }
            }
        }
        let [active] = actives[..] else {
            return fail(format!("{:?} has Actives {actives:?}", group.key));
        };
        let configs: Vec<_> = slots_of(nodes, group.key)
            .iter()
            .map(|(_, slot)| *slot.router.config())
            .collect();
        let best = configs.iter().map(|c| c.priority).max().unwrap_or(0);
        let all_preempt = configs.iter().all(|c| c.preempt);
        if (all_preempt || best == 255) && configs[active].priority < best {
            return fail(format!(
                "{:?}: node {active} is Active with less than priority {best}",
                group.key
            ));
        }
    }
    Ok(())
}
