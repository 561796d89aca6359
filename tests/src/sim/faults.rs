//! What goes wrong, and how it comes right again.

use super::node::{Life, Probe, put_own_addresses};
use super::options::Fault;
use super::site::{INTERFACES, Site, limits, mac};
use super::world::{Event, World};
use std::collections::{BTreeMap, VecDeque};
use trunnion_core::check::Settings;
use trunnion_core::time::{Duration, Instant};

impl World<'_> {
    /// A fault happens, if faults still do, and the next of its kind is drawn.
    pub fn fault(&mut self, fault: Fault) {
        if !self.safety {
            return;
        }
        let found = self.options.faults.iter().find(|(f, _)| *f == fault);
        let Some(mean) = found.map(|(_, mean)| *mean) else {
            return;
        };
        let next = self.random.time(mean / 4, mean * 7 / 4);
        self.after(next, Event::Fault(fault));
        let node = self.random.index(self.nodes.len());
        let ms = Duration::from_millis;
        match fault {
            Fault::Crash => {
                let doom = u32::try_from(self.random.below(6)).unwrap_or(0);
                let soon = self.random.chance(500);
                if let Some(life) = &mut self.nodes[node].life {
                    life.doom = Some(doom);
                }
                if !soon {
                    self.kill(node);
                }
            }
            Fault::Reboot => self.reboot(node),
            Fault::Shutdown => self.shut_down(node),
            Fault::Pause => self.pause(node),
            Fault::Partition => {
                self.links.cut();
                self.note(|| "the nodes are cut off from one another".to_owned());
                let after = self.random.time(ms(100), Duration::from_secs(8));
                self.after(after, Event::Heal);
            }
            Fault::Flap => {
                let interface = self.random.index(INTERFACES.len());
                let name = INTERFACES[interface];
                let admin = self.random.chance(400);
                self.note(|| format!("node {node}: {name} goes down (by hand: {admin})"));
                let route = &mut self.nodes[node].route;
                if admin {
                    route.set_up(name, false);
                } else {
                    route.set_carrier(name, false);
                }
                self.wake_ha_soon(node);
                let after = self.random.time(ms(1), Duration::from_secs(5));
                self.after(after, Event::LinkUp(node, interface));
            }
            Fault::Recreate => {
                let interface = self.random.index(INTERFACES.len());
                let name = INTERFACES[interface];
                self.note(|| format!("node {node}: {name} is deleted"));
                self.nodes[node].route.delete(name);
                self.wake_ha_soon(node);
                let after = self.random.time(ms(1), Duration::from_secs(3));
                self.after(after, Event::Make(node, interface));
            }
            Fault::Steal => self.steal(node),
            Fault::Writer => self.write(node),
            Fault::Rival => self.insist(),
            Fault::Module => {
                let absent = self.random.pick(&[0, 0, 1, 3]);
                self.note(|| format!("node {node}: ip_vs is loaded anew (in vain: {absent})"));
                self.nodes[node].ipvs.reload_module(absent);
                self.watch.written(self.now, node);
            }
            Fault::Reload => {
                self.site.change(&mut self.random);
                self.tell_all();
            }
            Fault::Track => self.track(node),
            Fault::Failover => self.fail_over(node),
            Fault::Mute => self.mute(node),
            Fault::Backend => {
                let (address, behaviour) = self.backends.change(self.now);
                self.note(|| format!("backend {address}: {behaviour:?}"));
            }
            Fault::Operator => self.order(),
        }
        self.watch.disturbed(self.now);
    }

    /// All faults end, and everyone is told the same config.
    pub fn calm(&mut self) {
        self.note(|| "all faults end".to_owned());
        self.safety = false;
        self.options.refused_sends = 0;
        self.options.local_trouble = 0;
        self.links.loss = 0;
        self.links.duplicates = 0;
        self.heal_links();
        self.tracks_heal();
        for node in 0..self.nodes.len() {
            self.nodes[node].route.faults = Default::default();
            self.nodes[node].mute_until = self.now;
            self.nodes[node].ipvs.calm();
            for interface in 0..INTERFACES.len() {
                self.make(node, interface);
                self.link_up(node, interface);
            }
            let here = &mut self.nodes[node];
            if let Some(life) = &mut here.life {
                life.doom = None;
                life.ha_paused = Instant::ZERO;
                life.lb_paused = Instant::ZERO;
                self.wake_ha_soon(node);
                self.wake_lb_soon(node);
            } else {
                self.start(node);
            }
        }
        self.tell_all();
        self.watch.disturbed(self.now);
        self.watch.calm(self.now);
    }

    /// An operator tells all nodes what becomes of a backend.
    fn order(&mut self) {
        let Some((service, destination, state)) = self.site.order(&mut self.random) else {
            return;
        };
        self.note(|| {
            format!(
                "an operator says {} of {destination} of {service}",
                state.words()
            )
        });
        for node in 0..self.nodes.len() {
            let here = &mut self.nodes[node];
            here.plan.order(&service, &destination, state);
            let local = here.local(self.now);
            if let Some(life) = here.life.as_mut().filter(|l| !l.leaving) {
                life.lb
                    .handle_operator(local, &service, &destination, state);
            }
            self.watch.ordered(self.now, &self.nodes[node]);
            self.wake_lb_soon(node);
        }
    }

    fn tell_all(&mut self) {
        self.edits += 1;
        for node in 0..self.nodes.len() {
            let after = self.random.time(Duration::ZERO, Duration::from_secs(1));
            let site = self.site.clone();
            self.after(after, Event::Read(node, self.edits, site));
        }
    }

    /// A node reads its config, now or when it starts.
    pub fn read(&mut self, node: usize, edit: u64, site: &Site) {
        let here = &mut self.nodes[node];
        // Nobody writes what he has replaced.
        if edit < here.edit {
            return;
        }
        // The loops take commands when they run.
        if let Some(life) = &here.life {
            let until = life.ha_paused.max(life.lb_paused);
            if until > self.now {
                let rest = until.since(self.now);
                self.after(rest, Event::Read(node, edit, site.clone()));
                return;
            }
        }
        let not_before = here.plan.not_before;
        (here.plan, here.edit) = (site.plan(node), edit);
        here.plan.not_before = not_before;
        let local = here.local(self.now);
        let Some(life) = here.life.as_mut().filter(|l| !l.leaving) else {
            return;
        };
        let ha = life.ha.handle_plan(local, &here.plan.ha(), &[]);
        let lb = life.lb.handle_plan(local, &here.plan.lb());
        self.note(|| format!("node {node} reads its config: {ha:?} {lb:?}"));
        self.watch.planned(self.now, &self.nodes[node]);
        self.watch.disturbed(self.now);
        self.wake_ha_soon(node);
        self.wake_lb_soon(node);
        if ha.is_err() || lb.is_err() {
            // What was retired a moment ago still takes its room.
            let again = Duration::from_secs(5);
            self.after(again, Event::Read(node, self.edits, self.site.clone()));
        }
    }

    /// A process starts, unless one runs.
    pub fn start(&mut self, node: usize) {
        if self.nodes[node].life.is_some() {
            return;
        }
        if self.must_wait(node) {
            self.after(Duration::from_millis(1), Event::Start(node));
            return;
        }
        let Some(arena) = self.arenas.pop() else {
            return;
        };
        self.lives += 1;
        let here = &mut self.nodes[node];
        let settings = Settings {
            tick_ns: 1_000_000,
            sockets_v4: u32::try_from(here.sockets).unwrap_or(u32::MAX),
            seats: 0,
            tls: 0,
            errands: 0,
            late_margin: Duration::from_millis(50),
            checks_per_second: 0,
            seed: self.options.seed ^ node as u64,
            secret: [self.options.seed, node as u64],
        };
        let (mut ha, mut lb) = arena.halves(settings, here.sockets);
        here.route.open();
        here.ipvs.open();
        let local = here.local(self.now);
        here.plan.not_before = local + self.options.startup_delay;
        here.will = Default::default();
        let resumes = here.cells.iter().any(|memory| memory.may_resume(local));
        here.will.resumed_at = resumes.then_some(local);
        ha.handle_plan(local, &here.plan.ha(), &here.cells)
            .expect("a first plan fits");
        lb.handle_plan(local, &here.plan.lb())
            .expect("a first plan fits");
        here.life = Some(Life {
            number: self.lives,
            ha,
            lb,
            packets: VecDeque::new(),
            more: false,
            unheard_since: None,
            ready: VecDeque::new(),
            probes: vec![Probe::default(); 2 * limits::CHECKS],
            ha_armed: None,
            lb_armed: None,
            ha_paused: Instant::ZERO,
            lb_paused: Instant::ZERO,
            ports: [None; INTERFACES.len()],
            ports_version: 0,
            ports_again: None,
            cells_used: here.cells.len(),
            told: BTreeMap::new(),
            leaving: false,
            ha_done: false,
            lb_done: false,
            doom: None,
            turns: (Instant::ZERO, 0),
            role: None,
            role_told: None,
        });
        self.note(|| format!("node {node} starts"));
        self.find_out_later(node);
        self.watch.started(self.now, &self.nodes[node]);
        self.watch.planned(self.now, &self.nodes[node]);
        self.watch.disturbed(self.now);
        self.wake_ha_soon(node);
        self.wake_lb_soon(node);
    }

    /// A process dies as it stands, and is started again by its supervisor, at
    /// once or later.
    pub fn kill(&mut self, node: usize) {
        if self.nodes[node].life.take().is_none() {
            return;
        }
        self.note(|| format!("node {node} dies"));
        self.watch.died(self.now, node);
        self.watch.disturbed(self.now);
        // Both die now and then.
        if !self.random.chance(100) {
            self.leave_to_guardian(node, false);
        }
        self.start_later(node);
    }

    /// A process whose loops both ended is gone.
    pub fn bury(&mut self, node: usize) {
        let Some(life) = &self.nodes[node].life else {
            return;
        };
        if life.ha_done && life.lb_done {
            let left = life.ha.addresses_left();
            self.nodes[node].life = None;
            self.note(|| format!("node {node} has left, and {left} addresses are on perhaps"));
            self.watch.died(self.now, node);
            // What a stop leaves behind is its guardian's.
            if left > 0 && self.options.guardian.is_some() {
                self.leave_to_guardian(node, true);
            } else {
                self.watch.left(self.now, &self.nodes[node]);
            }
            self.start_later(node);
        }
    }

    fn start_later(&mut self, node: usize) {
        let ms = Duration::from_millis;
        let after = match self.random.chance(500) {
            true => self.random.time(ms(1), ms(300)),
            false => self.random.time(ms(300), Duration::from_secs(10)),
        };
        self.after(after, Event::Start(node));
    }

    fn reboot(&mut self, node: usize) {
        self.kill(node);
        self.note(|| format!("node {node} loses power"));
        let here = &mut self.nodes[node];
        here.executor = None;
        here.cells.clear();
        here.ipvs.forget();
        for (at, name) in INTERFACES.into_iter().enumerate() {
            here.route.delete(name);
            here.route.create(name, mac(at, node));
            put_own_addresses(&mut here.route, at, node);
        }
        self.watch.written(self.now, node);
    }

    fn shut_down(&mut self, node: usize) {
        let clear = self.random.chance(300);
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(life) = &mut here.life else { return };
        if life.leaving || life.ha_paused.max(life.lb_paused) > self.now {
            return;
        }
        life.leaving = true;
        life.ha.handle_shutdown(local);
        life.lb.handle_shutdown(local, clear);
        self.note(|| format!("node {node} is told to leave (clear: {clear})"));
        self.watch.leaving(self.now, node);
        self.wake_ha_soon(node);
        self.wake_lb_soon(node);
    }

    fn pause(&mut self, node: usize) {
        let most = self.random.pick(&[200, 2000, 8000]);
        let time = self
            .random
            .time(Duration::from_millis(1), Duration::from_millis(most));
        let which = self.random.below(3);
        let until = self.now + time;
        if let Some(life) = &mut self.nodes[node].life {
            if which != 1 {
                life.ha_paused = until;
            }
            if which != 0 {
                life.lb_paused = until;
            }
            self.watch.paused(until, node);
            self.note(|| format!("node {node} stands still for {time:?} ({which})"));
        }
    }

    /// The segments are whole again.
    pub fn heal_links(&mut self) {
        self.links.heal();
        self.watch.disturbed(self.now);
        self.note(|| "all nodes hear one another".to_owned());
    }

    /// A link that was down comes up; the system puts its addresses back.
    pub fn link_up(&mut self, node: usize, interface: usize) {
        let name = INTERFACES[interface];
        let route = &mut self.nodes[node].route;
        let Some(found) = route.interface(name) else {
            return;
        };
        if found.is_running() && found.addresses.len() >= 2 {
            return;
        }
        if !found.up {
            route.set_up(name, true);
        }
        route.set_carrier(name, true);
        put_own_addresses(route, interface, node);
        self.note(|| format!("node {node}: {name} is up"));
        self.watch.disturbed(self.now);
        self.wake_ha_soon(node);
    }

    /// An interface that was deleted is there again.
    pub fn make(&mut self, node: usize, interface: usize) {
        let name = INTERFACES[interface];
        let route = &mut self.nodes[node].route;
        if route.interface(name).is_none() {
            route.create(name, mac(interface, node));
            put_own_addresses(route, interface, node);
            self.note(|| format!("node {node}: {name} is made again"));
            self.watch.disturbed(self.now);
            self.wake_ha_soon(node);
        }
    }
}
