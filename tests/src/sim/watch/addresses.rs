//! Virtual addresses are where the Active is, and the link knows it.

use super::{Peace, Violation};
use crate::sim::link::Links;
use crate::sim::node::Node;
use crate::sim::route_kernel::Interface;
use crate::sim::site::{INTERFACES, Site, key_of, known_mac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use trunnion_core::route::LinkGroup;
use trunnion_core::time::{Duration, Instant};
use trunnion_core::vrrp::{Role, virtual_mac};

/// After trouble with rtnetlink: the longest wait between attempts, and a lost
/// reply's timeout.
const BACKOFF: Duration = Duration::from_secs(34);
/// From a router's decision to the kernel's interface, when nothing is lost.
const APPLIED: Duration = Duration::from_millis(50);

/// So long after its last advert a router may go on as Active: the longest
/// interval there is in a site, three times and a skew.
const RESUMES: Duration = Duration::from_millis(6_100);

/// Whether a node knows its links and addresses.
#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    known_since: Option<Instant>,
    blind_since: Option<Instant>,
    /// Losses when it last knew all, and when the last one since was.
    losses: u64,
    lost_at: Instant,
    seen: u64,
    /// It had known for long when the first of them came.
    lasted: bool,
}

/// What a lost reply is waited for.
const REPLY: Duration = Duration::from_secs(3);
/// A dump, repeated where links change meanwhile.
const DUMP: Duration = Duration::from_secs(1);

impl Sight {
    /// Nobody stays blind for longer than what was lost explains.
    fn look(&mut self, now: Instant, peace: &Peace, node: &Node<'_>) -> Result<(), Violation> {
        let losses = node.route.losses;
        let Some(life) = node.life.as_ref().filter(|life| !life.leaving) else {
            *self = Self::default();
            return Ok(());
        };
        if losses != self.seen || peace.paused_until[node.id] > now {
            (self.seen, self.lost_at) = (losses, now);
        }
        if life.ha.is_known() {
            let since = *self.known_since.get_or_insert(now);
            self.lasted = now.since(since) >= 2 * DUMP;
            self.blind_since = None;
            // It may take that long to notice the last of them.
            if now.since(self.lost_at) > REPLY + peace.slack {
                self.losses = losses;
            }
            return Ok(());
        }
        let since = (*self.blind_since.get_or_insert(now)).max(self.lost_at);
        let most = match losses - self.losses {
            0 => DUMP,
            1 if self.lasted => DUMP + REPLY,
            _ => BACKOFF,
        };
        self.known_since = None;
        if now.since(since.max(peace.paused_until[node.id])) > most + peace.slack {
            let text = format!(
                "node {} knows nothing of its links for {:?}, and lost {} times something",
                node.id,
                now.since(since),
                losses - self.losses
            );
            return Err(Violation::new(now, "sight", text));
        }
        Ok(())
    }
}

/// See the module's words.
#[derive(Debug)]
pub struct Addresses {
    /// Every virtual address that ever was in a plan of the node.
    known: Vec<BTreeSet<IpAddr>>,
    /// Since when one is where it should not be, or not where it should.
    wrong_since: BTreeMap<(usize, IpAddr), Instant>,
    /// When its router was last seen not to have begun.
    idle_at: BTreeMap<(usize, IpAddr), Instant>,
    /// Losses of each node's rtnetlink so far, and when the last was.
    trouble: Vec<(u64, Instant)>,
    sight: Vec<Sight>,
    /// The same of the refusals of each address.
    refused: BTreeMap<(usize, IpAddr), (u64, Instant)>,
    /// And of each macvlan.
    begrudged: BTreeMap<(usize, String), (u64, Instant)>,
}

impl Addresses {
    pub fn new(nodes: usize) -> Self {
        Self {
            known: vec![BTreeSet::new(); nodes],
            wrong_since: BTreeMap::new(),
            idle_at: BTreeMap::new(),
            trouble: vec![(0, Instant::ZERO); nodes],
            sight: vec![Sight::default(); nodes],
            refused: BTreeMap::new(),
            begrudged: BTreeMap::new(),
        }
    }

    pub fn planned(&mut self, node: &Node<'_>) {
        self.known[node.id].extend(node.plan.addresses.iter().map(|a| a.address));
    }

    pub fn tick(
        &mut self,
        now: Instant,
        peace: &Peace,
        nodes: &[Node<'_>],
    ) -> Result<(), Violation> {
        for node in nodes {
            self.sight[node.id].look(now, peace, node)?;
            let trouble = &mut self.trouble[node.id];
            if trouble.0 != node.route.losses {
                *trouble = (node.route.losses, now);
            }
            let troubled = trouble.1 > Instant::ZERO && now.since(trouble.1) <= BACKOFF;
            for (address, count) in &node.route.refusals {
                let known = self.refused.entry((node.id, *address)).or_default();
                if known.0 != *count {
                    *known = (*count, now);
                }
            }
            for (macvlan, count) in &node.route.grudges {
                let known = self.begrudged.entry((node.id, macvlan.clone()));
                let known = known.or_default();
                if known.0 != *count {
                    *known = (*count, now);
                }
            }
            let lives = node.life.as_ref().is_some_and(|life| !life.leaving);
            let (wanted, idle) = wanted(node);
            for address in &self.known[node.id] {
                let at = (node.id, *address);
                let should = wanted.get(address).copied();
                if !lives || should == Some(node.route.holds(*address)) || should.is_none() {
                    self.wrong_since.remove(&at);
                    continue;
                }
                let since = *self.wrong_since.entry(at).or_insert(now);
                let since = match (idle.get(address), self.idle_at.get(&at)) {
                    (Some(_), _) => {
                        self.idle_at.insert(at, now);
                        since
                    }
                    // It began just now.
                    (None, Some(idle)) => since.max(*idle),
                    (None, None) => since,
                };
                // What is refused keeps nobody else waiting.
                let refused = self.refused.get(&at);
                let refused = refused.is_some_and(|(_, last)| now.since(*last) <= BACKOFF);
                // That of the plan, and one from before it that is to go.
                let beneath = node.route.beneath(*address).map(str::to_owned);
                let begrudged = above(node, *address)
                    .into_iter()
                    .chain(beneath)
                    .any(|name| {
                        let last = self.begrudged.get(&(node.id, name));
                        last.is_some_and(|(_, last)| now.since(*last) <= BACKOFF)
                    });
                let excused = troubled || begrudged || (refused && should == Some(true));
                let Some(peace_since) = peace.since(now).filter(|_| !excused) else {
                    continue;
                };
                let most = APPLIED + peace.slack + idle.get(address).copied().unwrap_or_default();
                if now.since(since.max(peace_since)) > most {
                    let text = format!(
                        "node {} has {address}: {}; its router wants: {should:?}; for {:?}",
                        node.id,
                        node.route.holds(*address),
                        now.since(since)
                    );
                    return Err(Violation::new(now, "addresses", text));
                }
            }
        }
        Ok(())
    }

    /// A process that left in peace took its addresses along.
    pub fn left(&mut self, now: Instant, node: &Node<'_>) -> Result<(), Violation> {
        let trouble = self.trouble[node.id];
        let begrudged = node.route.grudges.iter().any(|(macvlan, count)| {
            let known = self.begrudged.get(&(node.id, macvlan.clone()));
            known.is_none_or(|(seen, last)| seen != count || now.since(*last) <= BACKOFF)
        });
        let troubled = node.route.losses > 0 && now.since(trouble.1) <= BACKOFF;
        if troubled || begrudged {
            return Ok(());
        }
        self.given_back(now, node)
    }

    /// Whoever takes the addresses off in the end, a guardian perhaps, takes off
    /// all that the node could have.
    pub fn given_back(&self, now: Instant, node: &Node<'_>) -> Result<(), Violation> {
        let held = node
            .plan
            .addresses
            .iter()
            .find(|a| node.route.holds(a.address));
        // One that was left half made is down, and the next run's to delete.
        let made = |i: &&Interface| i.above.is_some_and(|a| a.group == LinkGroup::TRUNNION.0);
        if let Some(stayed) = node.route.macvlans().find(made) {
            let text = format!("node {} left, and {} stayed", node.id, stayed.name);
            return Err(Violation::new(now, "macvlans", text));
        }
        match held {
            Some(held) => {
                let text = format!("node {} left, and {} stayed", node.id, held.address);
                Err(Violation::new(now, "addresses", text))
            }
            None => Ok(()),
        }
    }

    /// The Active has the addresses, nobody else does, and every host knows.
    pub fn end(
        &self,
        now: Instant,
        nodes: &[Node<'_>],
        links: &Links,
        site: &Site,
        hides_rivals: bool,
    ) -> Result<(), Violation> {
        let fail = |checker, text| Err(Violation::new(now, checker, text));
        for node in nodes {
            let planned = |address| node.plan.addresses.iter().any(|a| a.address == address);
            let mut gone = self.known[node.id].iter().filter(|a| !planned(**a));
            if let Some(left) = gone.find(|a| node.route.holds(**a)) {
                let text = format!("node {} still has {left}, which no plan names", node.id);
                return fail("addresses", text);
            }
        }
        for node in nodes {
            macvlans(now, node)?;
        }
        for group in &site.groups {
            let (interface, ..) = group.key;
            let is_active = |node: &&Node<'_>| {
                let mut slots = node.life.iter().flat_map(|life| life.ha.instances());
                slots.any(|s| {
                    key_of(&s.config) == group.key && s.router.state().role() == Role::Active
                })
            };
            let Some(active) = nodes.iter().find(is_active) else {
                continue;
            };
            for virtual_address in &group.addresses {
                let address = virtual_address.address;
                for node in nodes {
                    if node.route.holds(address) != (node.id == active.id) {
                        return fail(
                            "addresses",
                            format!(
                                "node {} is Active for {address}; on node {} it is: {}",
                                active.id,
                                node.id,
                                node.route.holds(address)
                            ),
                        );
                    }
                }
                let prefix = active.route.prefix(address);
                if prefix.is_some_and(|prefix| prefix != virtual_address.prefix) {
                    let text = format!(
                        "node {} has {address} with prefix {prefix:?}, not {}",
                        active.id, virtual_address.prefix
                    );
                    return fail("addresses", text);
                }
                if hides_rivals && group.announce.refresh.is_zero() {
                    continue;
                }
                let right = known_mac(group, active.id);
                for (host, neighbours) in links.neighbours.iter().enumerate() {
                    match neighbours.get(&(interface, address)) {
                        Some(known) if *known == right => {}
                        known => {
                            return fail(
                                "announcement",
                                format!(
                                    "the host beside node {host} has {address} at {known:02x?}; node {} is Active at {right:02x?}",
                                    active.id
                                ),
                            );
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The macvlans of a node are those of its plan, and those of Actives are up.
fn macvlans(now: Instant, node: &Node<'_>) -> Result<(), Violation> {
    let Some(life) = &node.life else {
        return Ok(());
    };
    let mut wanted = BTreeMap::new();
    for slot in life.ha.instances() {
        let planned = node.plan.instance(key_of(&slot.config));
        if let Some(name) = planned.and_then(|planned| planned.macvlan.as_ref()) {
            let active = slot.router.state().role() == Role::Active;
            wanted.insert(name.to_string(), active);
        }
    }
    let found = node.route.macvlans();
    let found: BTreeMap<_, _> = found.map(|i| (i.name.clone(), i.up)).collect();
    if found == wanted {
        return Ok(());
    }
    let text = format!("node {} has {found:?} (up or not), not {wanted:?}", node.id);
    Err(Violation::new(now, "macvlans", text))
}

/// The macvlan an address is on, as the node's plan has it.
fn above(node: &Node<'_>, address: IpAddr) -> Option<String> {
    let plan = &node.plan;
    let of = plan.instances.iter().find(|i| {
        let mut addresses = plan.ha().addresses_of(i).iter();
        addresses.any(|a| a.address == address)
    });
    of?.macvlan.as_ref().map(ToString::to_string)
}

/// Which addresses a node's routers want on it, and how much longer it may take
/// of a router that has not begun: so long it might go on from an earlier run.
fn wanted(node: &Node<'_>) -> (BTreeMap<IpAddr, bool>, BTreeMap<IpAddr, Duration>) {
    let (mut wanted, mut idle) = (BTreeMap::new(), BTreeMap::new());
    let Some(life) = &node.life else {
        return (wanted, idle);
    };
    if !life.ha.is_known() {
        return (wanted, idle);
    }
    for slot in life.ha.instances() {
        let active = slot.router.state().role() == Role::Active;
        let key = key_of(&slot.config);
        for address in node.plan.addresses_of(key) {
            // A virtual router at fault keeps what it can no longer remove.
            let there = node.route.interface(INTERFACES[key.0]).is_some();
            if there {
                wanted.insert(address.address, active);
            }
            if slot.router.state().role() == Role::Initialize {
                idle.insert(address.address, RESUMES);
            }
        }
    }
    (wanted, idle)
}

/// Who announces an address has it, under its own hardware address.
pub fn announced(
    now: Instant,
    node: &Node<'_>,
    interface: usize,
    (address, said): (IpAddr, [u8; 6]),
) -> Result<(), Violation> {
    let found = node.route.interface(INTERFACES[interface]);
    let mut own = found.map(|i| i.mac);
    let plan = &node.plan;
    let of = plan.instances.iter().find(|i| {
        let mut addresses = plan.ha().addresses_of(i).iter();
        i.interface == INTERFACES[interface] && addresses.any(|a| a.address == address)
    });
    if let Some(of) = of.filter(|of| of.macvlan.is_some()) {
        own = Some(virtual_mac(of.router.family, of.router.vrid).0);
    }
    if own == Some(said) {
        return Ok(());
    }
    let text = format!(
        "node {} announced {address} at {said:02x?}; it should be at {own:02x?}",
        node.id
    );
    Err(Violation::new(now, "announcement", text))
}
