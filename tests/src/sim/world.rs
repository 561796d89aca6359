//! The world of one run: its time, its queue of events, and everything in it.

use super::backends::Backends;
use super::guardian::Charges;
use super::link::{Links, Packet};
use super::node::{Arena, Node};
use super::options::{Fault, Options};
use super::random::Random;
use super::site::Site;
use super::watch::{Violation, Watch};
use super::web::Came;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use trunnion_core::director::ha::Chore;
use trunnion_core::time::{Duration, Instant};

/// Lives of all nodes together: a run that used them up restarts nobody.
const LIVES: usize = 40;
/// How often the checkers look at what lasts too long.
const TICK: Duration = Duration::from_millis(25);
/// Lines of the trace that a failure shows.
const TRACE_LINES: usize = 120;

/// Something that will happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node's HA loop, LB loop, goes round.
    WakeHa(usize, u64),
    WakeLb(usize, u64),
    /// A packet arrives.
    Packet(usize, Packet),
    /// A socket of a check is ready.
    Ready(usize, u64, u32, u64, Came),
    /// A fault of this kind happens, and the next one is drawn.
    Fault(Fault),
    /// A node's guardian goes round.
    Guard(usize, u64),
    /// A node's `links` thread has done something.
    Chore(usize, u64, Chore),
    /// Ends of faults.
    Start(usize),
    Heal,
    LinkUp(usize, usize),
    Make(usize, usize),
    /// A node reads its config.
    Read(usize, u64, Site),
    /// A node has found out about what it tracks.
    Tell(usize),
    /// The checkers look.
    Tick,
    /// All faults end.
    Calm,
    /// All must be right.
    End,
}

/// What a run did, for those who doubt that it did anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Virtual time.
    pub time: Duration,
    /// Events served.
    pub events: u64,
    /// Adverts sent.
    pub adverts: u64,
    /// Times a router became Active.
    pub takeovers: u64,
    /// Changes made to IPVS tables.
    pub changes: u64,
    /// Probes started.
    pub probes: u64,
    /// Pages asked for on their connections.
    pub pages: u64,
    /// Processes started.
    pub lives: u64,
    /// Goodbyes and adverts of guardians.
    pub guarded: u64,
    /// Of everything that happened, in order: equal for equal runs.
    pub digest: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            events,
            adverts,
            takeovers,
            changes,
            probes,
            pages,
            lives,
            guarded,
            digest,
        } = self;
        write!(
            f,
            "{time:.0?} in {events} events: {adverts} adverts, {takeovers} takeovers, {changes} changes of tables, {probes} probes for {pages} pages, {lives} lives, {guarded} adverts of guardians; digest {digest:016x}"
        )
    }
}

/// A run in which something was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was drawn.
    pub options: Options,
    /// What was wrong.
    pub violation: Violation,
    /// What happened before.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            options,
            violation,
            trace,
        } = self;
        writeln!(f, "{options}")?;
        for line in trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{violation}")?;
        write!(f, "repeat: cargo xtask sim --seed {} --trace", options.seed)
    }
}

impl std::error::Error for Failure {}

/// See the module's words.
pub struct World<'m> {
    pub now: Instant,
    pub options: Options,
    pub site: Site,
    pub nodes: Vec<Node<'m>>,
    pub links: Links,
    pub backends: Backends,
    pub watch: Watch,
    pub random: Random,
    pub arenas: Vec<&'m mut Arena>,
    pub guardians: Vec<&'m mut Charges>,
    pub lives: u64,
    /// Edits of the config.
    pub edits: u64,
    /// Faults still happen.
    pub safety: bool,
    pub summary: Summary,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    lines: VecDeque<String>,
    aloud: bool,
}

/// Runs a cluster as `options` say; `aloud` prints what happens as it does.
///
/// # Errors
/// [`Failure`]: the first thing that was wrong, with what led to it.
pub fn run(options: &Options, aloud: bool) -> Result<Summary, Box<Failure>> {
    let mut memory: Vec<Arena> = (0..LIVES).map(|_| Arena::new()).collect();
    let mut charges: Vec<Charges> = (0..LIVES).map(|_| Charges::new()).collect();
    let mut world = World::new(options, memory.iter_mut().collect(), aloud);
    world.guardians = charges.iter_mut().collect();
    world.begin();
    while let Some(((now, _), event)) = world.queue.pop_first() {
        world.now = now;
        world.summary.events += 1;
        let last = matches!(event, Event::End);
        world.serve(event);
        if let Some(violation) = world.watch.violation.take() {
            return Err(Box::new(Failure {
                options: options.clone(),
                violation,
                trace: world.lines.into(),
            }));
        }
        if last {
            break;
        }
    }
    world.summary.time = world.now.since(Instant::ZERO);
    world.summary.lives = world.lives;
    world.summary.takeovers = world.watch.takeovers();
    Ok(world.summary)
}

impl<'m> World<'m> {
    fn new(options: &Options, arenas: Vec<&'m mut Arena>, aloud: bool) -> Self {
        let seed = options.seed;
        let mut random = Random::stream(seed, "world");
        let site = Site::draw(seed, &mut random, options.nodes);
        let nodes = (0..options.nodes)
            .map(|id| {
                let mut node = Node::new(id, seed, site.plan(id));
                node.route.faults = options.route;
                node.ipvs.faults = options.ipvs;
                node.ipvs.missing.clone_from(&options.missing);
                node.ipvs.odd = Random::stream(seed, "odd").chance(200);
                node
            })
            .collect();
        Self {
            now: Instant::ZERO,
            site,
            nodes,
            links: Links::new(options),
            backends: Backends::new(seed),
            watch: Watch::new(options),
            random,
            arenas,
            guardians: Vec::new(),
            lives: 0,
            edits: 0,
            safety: true,
            summary: Summary::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            lines: VecDeque::new(),
            aloud,
            options: options.clone(),
        }
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            let after = self.random.time(Duration::ZERO, Duration::from_secs(1));
            self.after(after, Event::Start(node));
        }
        for (fault, mean) in self.options.faults.clone() {
            let first = self.random.time(Duration::ZERO, mean * 2);
            self.after(first, Event::Fault(fault));
        }
        self.after(TICK, Event::Tick);
        self.after(self.options.safety, Event::Calm);
        let end = self.options.safety + self.options.liveness;
        self.after(end, Event::End);
    }

    /// Puts an event into the queue.
    pub fn after(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    /// Notes a line for whoever looks for a cause.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{} {}", self.now, line());
        if self.aloud {
            eprintln!("{line}");
        }
        for byte in line.bytes() {
            self.summary.digest =
                (self.summary.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.lines.len() == TRACE_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// What happens too often to be noted; printed when all is.
    pub fn whisper(&self, line: impl FnOnce() -> String) {
        if self.aloud {
            eprintln!("{} {}", self.now, line());
        }
    }

    fn serve(&mut self, event: Event) {
        match event {
            Event::WakeHa(node, number) => self.wake_ha(node, number),
            Event::WakeLb(node, number) => self.wake_lb(node, number),
            Event::Packet(node, packet) => self.arrive(node, packet),
            Event::Ready(node, number, socket, epoch, came) => {
                let Some(life) = &mut self.nodes[node].life else {
                    return;
                };
                if life.number == number {
                    life.ready.push_back((socket, epoch, came));
                    self.wake_lb_soon(node);
                }
            }
            Event::Guard(node, number) => self.guard(node, number),
            Event::Chore(node, number, chore) => self.do_chore(node, number, &chore),
            Event::Fault(fault) => self.fault(fault),
            Event::Start(node) => self.start(node),
            Event::Heal => self.heal_links(),
            Event::LinkUp(node, interface) => self.link_up(node, interface),
            Event::Make(node, interface) => self.make(node, interface),
            Event::Read(node, edit, site) => self.read(node, edit, &site),
            Event::Tell(node) => self.wake_ha_soon(node),
            Event::Tick => {
                self.watch
                    .tick(self.now, &self.nodes, &self.links, &self.backends);
                self.after(TICK, Event::Tick);
            }
            Event::Calm => self.calm(),
            Event::End => {
                self.watch.end(
                    self.now,
                    &self.nodes,
                    &self.links,
                    &self.backends,
                    &self.site,
                );
            }
        }
    }
}
