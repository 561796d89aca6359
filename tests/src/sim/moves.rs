//! What moves roles besides the network: groups, things tracked, and operators
//! who fail over. Drawn apart from the rest, so that seeds keep their other
//! options.

use super::options::Fault;
use super::plan::Plan;
use super::random::Random;
use super::site::{INTERFACES, Key, key_of};
use super::world::{Event, World};
use std::collections::BTreeMap;
use trunnion_core::director::ha::{TrackState, Whom};
use trunnion_core::director::plan::{InstanceName, Track, TrackSource, TrackUse};
use trunnion_core::model::Family;
use trunnion_core::time::Duration;

/// Things tracked that others find out about.
pub const CELLS: u16 = 3;
/// Groups there may be.
const GROUPS: u16 = 2;

/// See the module's words.
#[derive(Clone, Debug)]
pub struct Moves {
    random: Random,
    /// Which group a virtual router belongs to.
    groups: BTreeMap<Key, u16>,
    /// What it tracks.
    tracks: BTreeMap<Key, Vec<TrackUse>>,
}

/// All virtual routers there may be.
fn keys() -> impl Iterator<Item = Key> {
    let families = [Family::V4, Family::V6];
    let vrids = move |i, f| (1..=4).map(move |vrid| (i, f, vrid));
    (0..INTERFACES.len()).flat_map(move |i| families.into_iter().flat_map(move |f| vrids(i, f)))
}

impl Moves {
    pub fn draw(seed: u64) -> Self {
        let mut moves = Self {
            random: Random::stream(seed, "moves"),
            groups: BTreeMap::new(),
            tracks: BTreeMap::new(),
        };
        moves.redraw();
        moves
    }

    fn redraw(&mut self) {
        let r = &mut self.random;
        self.groups.clear();
        self.tracks.clear();
        let (grouped, tracking) = (r.chance(500), r.chance(400));
        for key in keys() {
            if grouped && r.chance(600) {
                self.groups.insert(key, r.small(0, 1).into());
            }
            let uses = self.tracks.entry(key).or_default();
            for track in 0..CELLS + 2 {
                if tracking && r.chance(250) {
                    uses.push(used(track, r));
                }
            }
        }
    }

    /// The operator edits the config.
    pub fn change(&mut self) {
        if self.random.chance(200) {
            self.redraw();
        }
    }

    /// Adds to a plan what is drawn here. The members of a group have one
    /// priority, and track what any of them tracks.
    pub fn plan(&self, plan: &mut Plan) {
        let name = |n: u16| format!("group{n}").as_str().try_into().expect("short");
        plan.groups = (0..GROUPS).map(name).collect();
        let cells = (0..CELLS).map(TrackSource::Cell);
        let links = INTERFACES.map(|name| TrackSource::Interface(name.try_into().expect("short")));
        plan.tracks = cells
            .chain(links)
            .enumerate()
            .map(|(at, source)| Track {
                name: format!("track{at}").as_str().try_into().expect("short"),
                source,
            })
            .collect();
        for instance in &mut plan.instances {
            let key = key_of(instance);
            instance.group = self.groups.get(&key).copied();
            let own = self.tracks.get(&key).map_or(&[][..], Vec::as_slice);
            instance.tracks = own.iter().copied().collect();
        }
        for group in 0..GROUPS {
            let mut members = plan.instances.iter().filter(|i| i.group == Some(group));
            let Some(first) = members.next().map(|first| first.router) else {
                continue;
            };
            let mut uses: Vec<TrackUse> = Vec::new();
            for of in plan.instances.iter().filter(|i| i.group == Some(group)) {
                for of in &of.tracks {
                    if uses.iter().all(|known| known.track != of.track) {
                        uses.push(*of);
                    }
                }
            }
            for member in plan.instances.iter_mut().filter(|i| i.group == Some(group)) {
                member.router.priority = first.priority;
                member.router.preempt = first.preempt;
                member.router.preempt_delay = first.preempt_delay;
                member.tracks = uses.iter().copied().collect();
            }
        }
    }
}

fn used(track: u16, r: &mut Random) -> TrackUse {
    let weight: i16 = r.pick(&[0, 0, 10, 50, 100, -10, -50, -100]);
    TrackUse {
        track,
        weight,
        // A fault while it is up would never heal.
        reverse: weight != 0 && r.chance(200),
    }
}

/// What goes wrong with all this.
pub fn faults(seed: u64, calm: bool) -> Vec<(Fault, Duration)> {
    let mut r = Random::stream(seed, "moves' faults");
    let mut faults = Vec::new();
    for fault in [Fault::Track, Fault::Failover] {
        let mean = r.time(Duration::from_secs(2), Duration::from_secs(15));
        if r.chance(350) && !calm {
            faults.push((fault, mean));
        }
    }
    faults
}

/// How long routers wait after a start.
pub fn startup_delay(seed: u64) -> Duration {
    let mut r = Random::stream(seed, "startup delay");
    Duration::from_millis(r.pick(&[0, 0, 0, 100, 2000]))
}

impl World<'_> {
    /// Something that a node tracks changes.
    pub fn track(&mut self, node: usize) {
        let cell = self.random.index(CELLS.into());
        let state = self.random.pick(&[
            TrackState::Up,
            TrackState::Up,
            TrackState::Down,
            TrackState::Down,
            TrackState::Value(0),
            TrackState::Value(3),
            TrackState::Value(-2),
        ]);
        self.nodes[node].tracked[cell] = state;
        self.note(|| format!("node {node}: track{cell} is {state:?}"));
        self.wake_ha_soon(node);
    }

    /// All that is tracked is well.
    pub fn tracks_heal(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].tracked = [TrackState::Up; CELLS as usize];
        }
    }

    /// A process has just started, and finds out in a while.
    pub fn find_out_later(&mut self, node: usize) {
        let most = self.random.pick(&[0, 0, 20, 500]);
        let after = self
            .random
            .time(Duration::ZERO, Duration::from_millis(most));
        self.nodes[node].tracked_from = self.now + after;
        self.after(after, Event::Tell(node));
    }

    /// What was found out reaches the loop.
    pub fn tell_tracks(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(life) = &mut here.life else { return };
        if self.now < here.tracked_from {
            return;
        }
        for (cell, state) in (0..).zip(here.tracked) {
            life.ha.handle_track(local, cell, state);
        }
    }

    /// An operator wants a node's routers elsewhere, or changes their mind.
    pub fn fail_over(&mut self, node: usize) {
        let here = &self.nodes[node];
        let names = here.plan.instances.iter().map(|instance| &instance.name);
        let mut names: Vec<InstanceName> = names.chain(&here.plan.groups).cloned().collect();
        names.truncate(8);
        let whom = match self.random.index(names.len() + 1).checked_sub(1) {
            None => Whom::All,
            Some(at) => Whom::Named(names.swap_remove(at)),
        };
        let time = self
            .random
            .time(Duration::from_millis(100), Duration::from_secs(12));
        let over = self.random.chance(200);
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(life) = &mut here.life else { return };
        if life.ha_paused > self.now {
            return;
        }
        let answer = if over {
            life.ha.handle_failover_over(local, &whom)
        } else {
            life.ha.handle_failover(local, &whom, local + time)
        };
        self.note(|| format!("node {node}: {whom:?} fails over for {time:?} ({over}): {answer:?}"));
        self.watch.roles(self.now, &self.nodes[node]);
        self.wake_ha_soon(node);
    }
}
