//! The checkers: they watch and never touch. Each knows one kind of promise and
//! derives what must hold from what it saw, not from what the machines say they
//! did.

mod addresses;
mod election;
mod groups;
mod health;
mod policy;
mod table;

use super::backends::Backends;
use super::ipvs_kernel::Tried;
use super::link::{Links, Packet};
use super::node::Node;
use super::options::Options;
use super::site::Site;
use std::fmt;
use std::net::IpAddr;
use trunnion_core::time::{Duration, Instant};

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// Which checker saw it.
    pub checker: &'static str,
    /// What it saw.
    pub text: String,
}

impl Violation {
    pub(super) const fn new(at: Instant, checker: &'static str, text: String) -> Self {
        Self { at, checker, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, checker, text } = self;
        write!(f, "{at} VIOLATION ({checker}): {text}")
    }
}

/// What all checkers ask: since when nothing went wrong.
#[derive(Debug)]
pub struct Peace {
    /// When something last went wrong between nodes or in one of them.
    pub disturbed_at: Instant,
    /// Until when a node stands still.
    pub paused_until: Vec<Instant>,
    /// When faults ended for good.
    pub calm_at: Option<Instant>,
    pub slack: Duration,
    /// Some interfaces are down or gone, some nodes cut off.
    pub broken: bool,
}

impl Peace {
    /// Since when all was well; `None` while it is not.
    pub fn since(&self, now: Instant) -> Option<Instant> {
        let paused = self.paused_until.iter().max().copied();
        let at = self.disturbed_at.max(paused.unwrap_or(Instant::ZERO));
        (!self.broken && at <= now).then_some(at)
    }
}

/// All checkers.
#[derive(Debug)]
pub struct Watch {
    /// The first promise that was not kept.
    pub violation: Option<Violation>,
    peace: Peace,
    hides_rivals: bool,
    election: election::Election,
    groups: groups::Groups,
    addresses: addresses::Addresses,
    table: table::TableWatch,
    health: health::HealthWatch,
    policy: policy::PolicyWatch,
}

impl Watch {
    pub fn new(options: &Options) -> Self {
        Self {
            violation: None,
            peace: Peace {
                disturbed_at: Instant::ZERO,
                paused_until: vec![Instant::ZERO; options.nodes],
                calm_at: None,
                slack: options.slack(),
                broken: false,
            },
            hides_rivals: options.hides_rivals(),
            election: election::Election::new(options.nodes),
            groups: groups::Groups::default(),
            addresses: addresses::Addresses::new(options.nodes),
            table: table::TableWatch::new(options),
            health: health::HealthWatch::new(options),
            policy: policy::PolicyWatch::new(options),
        }
    }

    pub fn report(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn take(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.report(violation);
        }
    }

    /// Something went wrong.
    pub fn disturbed(&mut self, now: Instant) {
        self.peace.disturbed_at = self.peace.disturbed_at.max(now);
    }

    /// A node stands still until then.
    pub fn paused(&mut self, until: Instant, node: usize) {
        let known = &mut self.peace.paused_until[node];
        *known = until.max(*known);
        self.health.paused(until, node);
    }

    /// Nothing goes wrong any more.
    pub fn calm(&mut self, now: Instant) {
        for until in &mut self.peace.paused_until {
            *until = now.min(*until);
        }
        self.peace.calm_at = Some(now);
        self.table.calm(now);
    }

    pub fn started(&mut self, now: Instant, node: &Node<'_>) {
        self.election.started(node);
        self.table.started(now, node);
        self.health.started(now, node);
        self.policy.told(now, node.id);
    }

    pub fn died(&mut self, now: Instant, node: usize) {
        self.election.died(node);
        self.peace.paused_until[node] = now.min(self.peace.paused_until[node]);
    }

    pub fn leaving(&mut self, now: Instant, node: usize) {
        self.table.leaving(node);
        self.disturbed(now);
    }

    /// A process ended in peace.
    pub fn left(&mut self, now: Instant, node: &Node<'_>) {
        let result = self.addresses.left(now, node);
        self.take(result);
    }

    /// A guardian gave everything back.
    pub fn given_back(&mut self, now: Instant, node: &Node<'_>) {
        let result = self.addresses.given_back(now, node);
        self.take(result);
    }

    pub fn planned(&mut self, now: Instant, node: &Node<'_>) {
        self.election.planned(node);
        self.addresses.planned(node);
        self.table.planned(now, node);
        self.health.planned(now, node);
        self.policy.told(now, node.id);
    }

    /// Someone other than us wrote into a table.
    pub fn written(&mut self, now: Instant, node: usize) {
        self.table.written(now, node);
    }

    /// An operator gave a node an order.
    pub fn ordered(&mut self, now: Instant, node: &Node<'_>) {
        self.table.planned(now, node);
        self.health.planned(now, node);
        self.policy.told(now, node.id);
    }

    pub fn local_trouble(&mut self, now: Instant, node: usize) {
        self.health.local_trouble(now, node);
    }

    /// A valid advert was handed to a node.
    pub fn heard(&mut self, now: Instant, node: &Node<'_>, packet: &Packet) {
        self.election.heard(now, node, packet);
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
        self.election.said(now, node, interface, from, bytes);
    }

    /// The roles of a node's routers may have changed.
    pub fn roles(&mut self, now: Instant, node: &Node<'_>) {
        let result = self.election.roles(now, node);
        self.take(result);
    }

    /// A node's HA loop has gone round.
    pub fn turn(&mut self, now: Instant, node: &Node<'_>) {
        let result = groups::turn(now, node);
        self.take(result);
    }

    /// A node told its link who has an address.
    pub fn announced(
        &mut self,
        now: Instant,
        node: &Node<'_>,
        interface: usize,
        said: (IpAddr, [u8; 6]),
    ) {
        let result = addresses::announced(now, node, interface, said);
        self.take(result);
    }

    /// A node tried to change its table.
    pub fn changed(&mut self, now: Instant, node: &Node<'_>, tried: &Tried, backends: &Backends) {
        let result = self.table.changed(now, node, tried, backends);
        self.take(result);
        let result = self.policy.changed(now, node, tried);
        self.take(result);
    }

    /// The health a node believes in may have changed.
    pub fn health(&mut self, now: Instant, node: &Node<'_>, backends: &Backends) {
        let result = self.health.look(now, node, backends);
        self.take(result);
        let result = self.policy.look(now, node);
        self.take(result);
    }

    /// Looks at what lasts too long.
    pub fn tick(&mut self, now: Instant, nodes: &[Node<'_>], links: &Links, _: &Backends) {
        let whole = |node: &Node<'_>| {
            let up = super::site::INTERFACES
                .iter()
                .all(|name| node.route.interface(name).is_some_and(|i| i.is_running()));
            let knows = node.life.as_ref().is_none_or(|life| life.ha.is_known());
            up && knows
        };
        self.peace.broken = !links.is_whole() || !nodes.iter().all(whole);
        if self.peace.broken {
            self.disturbed(now);
        }
        let result = self.election.tick(now, &self.peace, nodes);
        self.take(result);
        let longest = self.election.longest();
        let result = self.groups.tick(now, &self.peace, nodes, longest);
        self.take(result);
        let result = self.addresses.tick(now, &self.peace, nodes);
        self.take(result);
    }

    /// All faults ended long ago: everything must be right.
    pub fn end(
        &mut self,
        now: Instant,
        nodes: &[Node<'_>],
        links: &Links,
        backends: &Backends,
        site: &Site,
    ) {
        for result in [
            election::end(now, nodes, site),
            self.addresses
                .end(now, nodes, links, site, self.hides_rivals),
            self.table.end(now, nodes, backends),
        ] {
            self.take(result);
        }
    }

    /// Times a router became Active.
    pub fn takeovers(&self) -> u64 {
        self.election.takeovers
    }
}
