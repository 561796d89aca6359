//! The segments between the nodes: who hears whom, what is lost on the way, and
//! what a host beside each node believes about who has which address. No
//! switch learns here, and no packet of a client passes.

use super::options::Options;
use super::random::Random;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use trunnion_core::time::Duration;
use trunnion_core::vrrp::{Malformed, Received};
use trunnion_core::wire::arp::Arp;
use trunnion_core::wire::ethernet::{EtherType, Ethernet};
use trunnion_core::wire::icmpv6::NeighbourAdvertisement;
use trunnion_core::wire::ipv6::Ipv6Packet;

/// A VRRP packet on its way: a whole IPv4 packet, or the payload over IPv6.
#[derive(Clone, Debug)]
pub struct Packet {
    pub interface: usize,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub bytes: Vec<u8>,
}

impl Packet {
    /// As a socket hands it over.
    pub fn received(&self) -> Result<Received<'_>, Malformed> {
        match self.source {
            IpAddr::V4(_) => Received::from_ipv4(&self.bytes),
            IpAddr::V6(_) => Ok(Received {
                source: self.source,
                destination: self.destination,
                ttl: 255,
                payload: &self.bytes,
            }),
        }
    }
}

/// See the module's words.
#[derive(Debug)]
pub struct Links {
    /// Who is cut off from whom: `blocked[from][to]`.
    pub blocked: Vec<Vec<bool>>,
    /// What the host beside each node last heard of each address.
    pub neighbours: Vec<BTreeMap<(usize, IpAddr), [u8; 6]>>,
    flight: [Duration; 2],
    one_way: bool,
    pub loss: u32,
    pub duplicates: u32,
    random: Random,
}

impl Links {
    pub fn new(options: &Options) -> Self {
        let nodes = options.nodes;
        Self {
            blocked: vec![vec![false; nodes]; nodes],
            neighbours: vec![BTreeMap::new(); nodes],
            flight: options.flight,
            one_way: options.one_way,
            loss: options.loss,
            duplicates: options.duplicates,
            random: Random::stream(options.seed, "link"),
        }
    }

    pub fn is_whole(&self) -> bool {
        self.blocked.iter().flatten().all(|blocked| !blocked)
    }

    pub fn heal(&mut self) {
        for blocked in self.blocked.iter_mut().flatten() {
            *blocked = false;
        }
    }

    /// Cuts the cluster in two, or one node's way to another in one direction.
    pub fn cut(&mut self) {
        let nodes = self.blocked.len();
        self.heal();
        let (a, b) = (self.random.index(nodes), self.random.index(nodes));
        if a != b && self.one_way {
            self.blocked[a][b] = true;
            return;
        }
        for other in (0..nodes).filter(|other| *other != a) {
            self.blocked[a][other] = true;
            self.blocked[other][a] = true;
        }
    }

    /// When the copies of something sent now arrive: none, one or two. Their
    /// flights differ, so they overtake one another.
    pub fn flights(&mut self, from: usize, to: usize) -> Vec<Duration> {
        if self.blocked[from][to] || self.random.chance(self.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.random.chance(self.duplicates));
        let [least, most] = self.flight;
        (0..copies).map(|_| self.random.time(least, most)).collect()
    }

    /// The hosts on a segment hear who has which address. Whose, and which, or
    /// what is wrong with the frame.
    pub fn announce(
        &mut self,
        interface: usize,
        from: usize,
        frame: &[u8],
    ) -> Result<(IpAddr, [u8; 6]), String> {
        let (address, mac) = announced(frame)?;
        for (at, host) in self.neighbours.iter_mut().enumerate() {
            let hears = !self.blocked[from][at];
            // The node's own host is beside it on the same switch.
            if hears && (at == from || !self.random.chance(self.loss)) {
                host.insert((interface, address), mac);
            }
        }
        Ok((address, mac))
    }
}

/// The address that a gratuitous ARP or an unsolicited neighbour advertisement
/// speaks of, and the hardware address that has it.
fn announced(frame: &[u8]) -> Result<(IpAddr, [u8; 6]), String> {
    let told = |error: trunnion_core::wire::Malformed| format!("{error:?}");
    let (ethernet, payload) = Ethernet::parse(frame).map_err(told)?;
    match ethernet.ethertype {
        EtherType::ARP => {
            let arp = Arp::parse(payload).map_err(told)?;
            if !arp.is_gratuitous() || arp.sender_hardware != ethernet.source {
                return Err(format!("not gratuitous, or not of its sender: {arp:?}"));
            }
            Ok((IpAddr::V4(arp.sender_protocol), arp.sender_hardware.0))
        }
        EtherType::IPV6 => {
            let packet = Ipv6Packet::parse(payload).map_err(told)?;
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let told = NeighbourAdvertisement::parse(&packet).map_err(told)?;
            match told.link_layer {
                Some(mac) if told.overrides && packet.header.destination == all_nodes => {
                    Ok((IpAddr::V6(told.target), mac.0))
                }
                _ => Err(format!("convinces no neighbour: {told:?}")),
            }
        }
        other => Err(format!("a frame of {other:?}")),
    }
}
