//! How a node's HA loop goes round, in the order of daemon/src/run/ha.rs.

use super::link::Packet;
use super::netlink::{Received, errno};
use super::options::Fault;
use super::site::{INTERFACES, key_of};
use super::turns::{BUFFER, CATALOGUES};
use super::watch::Violation;
use super::world::{Event, World};
use std::net::IpAddr;
use trunnion_core::director::ha::{AdvertOut, Chore, FrameOut, Standing};
use trunnion_core::director::plan::Instance;
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::time::Duration;
use trunnion_core::vrrp;
use trunnion_core::wire::ethernet::Ethernet;
use trunnion_core::wire::{EtherType, Ipv6Packet, MacAddress};

/// As in daemon/src/run/ha.rs.
pub const HEARING_MAX: Duration = Duration::from_millis(100);

impl World<'_> {
    /// A packet reaches a node's interface.
    pub fn arrive(&mut self, node: usize, packet: Packet) {
        if self.nodes[node].executor.is_some() {
            self.arrive_at_guardian(node, &packet);
            return;
        }
        let here = &mut self.nodes[node];
        let name = INTERFACES[packet.interface];
        let index = here
            .route
            .interface(name)
            .filter(|i| i.is_running())
            .map(|i| i.index);
        let Some(life) = &mut here.life else { return };
        // Who has no socket on the interface hears nothing.
        if index.is_some() && life.ports[packet.interface] == index && life.packets.len() < 256 {
            life.packets.push_back(packet);
            self.wake_ha_soon(node);
        }
    }

    /// One turn of the HA loop.
    pub fn wake_ha(&mut self, node: usize, number: u64) {
        let now = self.now;
        let here = &mut self.nodes[node];
        let Some(life) = here.life.as_mut().filter(|l| l.number == number) else {
            return;
        };
        // A wake-up that was overtaken is one too many now and then.
        let stale = life.ha_armed != Some(now);
        if life.ha_done || (stale && !self.random.chance(100)) {
            return;
        }
        if !stale {
            life.ha_armed = None;
        }
        if now < life.ha_paused {
            let rest = life.ha_paused.since(now);
            self.arm_ha(node, rest);
            return;
        }
        if !self.may_turn(node) {
            return;
        }
        self.tell_tracks(node);
        self.read_route(node);
        self.read_packets(node);
        let local = self.nodes[node].local(now);
        if let Some(life) = &mut self.nodes[node].life {
            if life.packets.is_empty() {
                life.unheard_since = None;
                life.ha.handle_timeout(local);
            } else if now.since(*life.unheard_since.get_or_insert(now)) < HEARING_MAX {
                life.ha.handle_timeout_unheard(local);
            } else {
                life.ha.handle_timeout(local);
            }
        }
        self.forget_silence(node);
        self.watch.roles(now, &self.nodes[node]);
        self.watch.turn(now, &self.nodes[node]);
        // A process may die between any two things it does.
        let _ = self.keep_memory(node)
            && self.send_adverts(node)
            && self.send_route(node)
            && self.send_announcements(node)
            && self.keep_memory(node);
        let now = self.now;
        self.watch.roles(now, &self.nodes[node]);
        self.give_chores(node);
        // A loop that is short of time builds its adverts when they are due.
        if self.random.chance(500)
            && let Some(life) = &mut self.nodes[node].life
        {
            life.ha.prepare();
        }
        self.tell(node);
        self.open_ports(node);
        if let Some(life) = &mut self.nodes[node].life {
            let role = life.ha.followed();
            if role != life.role {
                life.role = role;
                self.wake_lb_soon(node);
            }
        }
        self.take_ha_records(node);
        let here = &mut self.nodes[node];
        let local = here.local(now);
        let quiet = here.route.is_quiet();
        let Some(life) = &mut here.life else { return };
        let more = std::mem::take(&mut life.more) || !quiet || !life.packets.is_empty();
        if life.ha.is_finished(local) {
            life.ha_done = true;
            self.bury(node);
            return;
        }
        let timeout = life.ha.poll_timeout().map(|at| at.since(local));
        let again = life.ports_again.map(|at| at.since(now));
        let delay = match timeout.into_iter().chain(again).min() {
            _ if more => self.random.time(Duration::ZERO, self.options.wake),
            Some(delay) => delay,
            None => return,
        };
        let delay = self.late(delay);
        self.arm_ha(node, delay);
    }

    fn read_route(&mut self, node: usize) {
        let now = self.now;
        for read in 0..self.options.datagrams {
            if read > 0 && self.is_pressed(node) {
                return;
            }
            // Others change addresses while they are being told.
            let dumping = self.nodes[node].route.is_dumping();
            if dumping && self.safety && self.options.has(Fault::Steal) && self.random.chance(100) {
                self.steal(node);
            }
            let here = &mut self.nodes[node];
            let local = here.local(now);
            let Some(life) = &mut here.life else { return };
            match here.route.receive() {
                Some(Received::Datagram(datagram)) => life.ha.handle_route(local, &datagram),
                Some(Received::Lost) => life
                    .ha
                    .handle_route_lost(local, "replies or events were lost"),
                None => return,
            }
            self.watch.roles(now, &self.nodes[node]);
        }
    }

    /// Whether an advert or a transition is due, for which all else is put off.
    fn is_pressed(&self, node: usize) -> bool {
        let here = &self.nodes[node];
        let until = here.life.as_ref().and_then(|life| life.ha.free_until());
        until.is_some_and(|until| until <= here.local(self.now))
    }

    fn read_packets(&mut self, node: usize) {
        let now = self.now;
        for _ in 0..self.options.packets {
            let here = &mut self.nodes[node];
            let local = here.local(now);
            let Some(life) = &mut here.life else { return };
            let Some(packet) = life.packets.pop_front() else {
                return;
            };
            let name = INTERFACES[packet.interface];
            let place = life.ha.interfaces().iter().position(|i| i.name == name);
            let Some(place) = place else { continue };
            let received = packet.received();
            let before = life.ha.counters().rejects;
            life.ha.handle_packet(local, place, received);
            if life.ha.counters().rejects == before {
                self.watch.heard(now, &self.nodes[node], &packet);
                self.has_yielded(node, &packet);
            }
            self.watch.roles(now, &self.nodes[node]);
        }
    }

    fn send_adverts(&mut self, node: usize) -> bool {
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else {
                return false;
            };
            let Some(out) = life.ha.poll_advert(local) else {
                return true;
            };
            let bytes = life.ha.advert(out.instance).to_vec();
            let result = self.send_advert(node, &out, &bytes);
            let Some(life) = &mut self.nodes[node].life else {
                return false;
            };
            life.ha.handle_advert_sent(local, out.instance, result);
            if self.dies(node) {
                return false;
            }
        }
    }

    fn send_advert(&mut self, node: usize, out: &AdvertOut, bytes: &[u8]) -> Result<(), Errno> {
        let here = &self.nodes[node];
        let life = here.life.as_ref().expect("it polls");
        let name = life.ha.interfaces()[out.interface].name.clone();
        let interface = INTERFACES.iter().position(|i| **i == *name).unwrap_or(0);
        let Some(port) = life.ports[interface] else {
            return Err(Errno::ENODEV);
        };
        let there = here.route.interface(&name).filter(|i| i.index == port);
        if !there.is_some_and(|i| i.is_running()) {
            return Err(Errno(errno::ENETDOWN));
        }
        let own = super::site::own(interface, node, Family::of(&out.source));
        if out.source != own {
            let text = format!("node {node} speaks from {}", out.source);
            self.watch.report(Violation::new(self.now, "source", text));
        }
        let key = key_of(&life.ha.instances()[out.instance].config);
        let refused = self.refuses(node);
        self.note_send(node, key, refused);
        if refused {
            return Err(Errno(errno::ENOBUFS));
        }
        self.summary.adverts += 1;
        let life = self.nodes[node].life.as_ref().expect("it polls");
        self.whisper(|| {
            let Instance { name, router, .. } = &life.ha.instances()[out.instance].config;
            let (vrid, state) = (
                router.vrid,
                life.ha.instances()[out.instance].router.state(),
            );
            format!(
                "node {node} says {name} vrid {vrid} from {} to {}: {state:?}",
                out.source, out.destination
            )
        });
        let of = &life.ha.instances()[out.instance].config;
        let packet = match out.framed {
            true => match unframed(of.router.family, of.router.vrid, bytes) {
                Some(packet) => packet,
                None => {
                    let text = format!("node {node} says {bytes:02x?}");
                    self.watch.report(Violation::new(self.now, "frames", text));
                    return Ok(());
                }
            },
            false => bytes,
        };
        self.fly(node, interface, (out.source, out.destination), packet);
        Ok(())
    }

    /// An advert leaves a node, for all who may hear it.
    pub fn fly(
        &mut self,
        node: usize,
        interface: usize,
        (source, destination): (IpAddr, IpAddr),
        bytes: &[u8],
    ) {
        self.watch.said(self.now, node, interface, source, bytes);
        let packet = Packet {
            interface,
            source,
            destination,
            bytes: bytes.to_vec(),
        };
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            let group = destination == vrrp::group(Family::of(&destination));
            let own = super::site::own(interface, to, Family::of(&destination));
            if !group && own != destination {
                continue;
            }
            let flights = self.links.flights(node, to);
            if flights.is_empty() {
                self.watch.disturbed(self.now);
            }
            for flight in flights {
                self.after(flight, Event::Packet(to, packet.clone()));
            }
        }
    }

    fn send_route(&mut self, node: usize) -> bool {
        let mut buffer = [0; BUFFER];
        let room = self.nodes[node].request_bytes;
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else {
                return false;
            };
            if life.ha.free_until().is_some_and(|until| until <= local) {
                life.more = true;
                return true;
            }
            let Some(len) = life.ha.poll_route(local, &mut buffer[..room]) else {
                return true;
            };
            if here.route.send(&buffer[..len]).is_err() {
                life.ha
                    .handle_route_lost(local, "the kernel did not take a request");
                return true;
            }
            // It answers inside the send; but the process may be gone by then.
            if self.dies(node) {
                return false;
            }
            self.read_route(node);
        }
    }

    fn send_announcements(&mut self, node: usize) -> bool {
        let mut buffer = [0; 128];
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else {
                return false;
            };
            let Some(FrameOut { interface, len }) = life.ha.poll_announcement(local, &mut buffer)
            else {
                return true;
            };
            let name = life.ha.interfaces()[interface].name.clone();
            let at = INTERFACES.iter().position(|i| **i == *name).unwrap_or(0);
            let running = here.route.interface(&name).is_some_and(|i| i.is_running());
            if running && life.ports[at].is_some() {
                match self.links.announce(at, node, &buffer[..len]) {
                    Ok(said) => self.watch.announced(self.now, &self.nodes[node], at, said),
                    Err(why) => self.watch.report(Violation::new(self.now, "frames", why)),
                }
            }
            if self.dies(node) {
                return false;
            }
        }
    }

    fn keep_memory(&mut self, node: usize) -> bool {
        let here = &mut self.nodes[node];
        let Some(life) = &mut here.life else {
            return false;
        };
        here.will.keep(&life.ha);
        while let Some((at, memory)) = life.ha.poll_memory() {
            here.will.set_pulse(at, life.ha.pulse(at));
            if here.cells.len() <= at {
                here.cells.resize(at + 1, Default::default());
            }
            here.cells[at] = memory;
        }
        let used = life.ha.instances().len();
        for cell in here.cells.iter_mut().take(life.cells_used).skip(used) {
            *cell = Default::default();
        }
        life.cells_used = used;
        true
    }

    /// Whoever wants to be notified hears what there is, when it is so.
    fn tell(&mut self, node: usize) {
        let Some(life) = &mut self.nodes[node].life else {
            return;
        };
        while let Some(notice) = life.ha.poll_notice() {
            if !notice.group {
                life.told.insert(notice.name, notice.standing);
            }
        }
        let untold = life.ha.instances().iter().find(|slot| {
            let standing = match slot.router.state().role() {
                vrrp::Role::Active => Standing::Active,
                vrrp::Role::Backup => Standing::Backup,
                vrrp::Role::Initialize => return false,
            };
            life.told.get(&slot.config.name) != Some(&standing)
        });
        if let Some(slot) = untold {
            let text = format!("node {node}: nobody was told of {}", slot.config.name);
            self.watch.report(Violation::new(self.now, "notices", text));
        }
    }

    fn open_ports(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(life) = &mut here.life else { return };
        let version = life.ha.interfaces_version();
        let again = life.ports_again.is_some_and(|at| at <= self.now);
        if version == life.ports_version && !again {
            return;
        }
        life.ports_version = version;
        life.ports_again = None;
        for place in 0..life.ha.interfaces().len() {
            let interface = &life.ha.interfaces()[place];
            let at = INTERFACES.iter().position(|i| **i == *interface.name);
            let found = interface.found.index.map(std::num::NonZero::get);
            // A socket can be opened on an interface that is there.
            let there = here.route.interface(&interface.name).map(|i| i.index);
            let (Some(at), Some(index)) = (at, found) else {
                if let Some(at) = at {
                    life.ports[at] = None;
                }
                continue;
            };
            if life.ports[at] == found {
                continue;
            }
            let rate = self.options.ports;
            let refused = self.safety && rate > 0 && self.random.chance(rate);
            let opened = match there == Some(index) && !refused {
                true => Ok(()),
                false => Err(Errno::ENODEV),
            };
            life.ports[at] = found.filter(|_| opened.is_ok());
            for family in [Family::V4, Family::V6] {
                life.ha.handle_port(local, place, family, opened);
            }
            if opened.is_err() {
                life.ports_again = Some(self.now + Duration::from_secs(1));
                self.watch.disturbed(self.now);
            }
        }
        self.wake_ha_soon(node);
    }

    /// The `links` thread takes its time, and what the kernel does meanwhile it
    /// tells as events.
    fn give_chores(&mut self, node: usize) {
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let Some(life) = &mut here.life else { return };
            let number = life.number;
            let Some(chore) = life.ha.poll_chore(local) else {
                return;
            };
            let delay = self.random.time(Duration::ZERO, Duration::from_millis(20));
            self.after(delay, Event::Chore(node, number, chore));
        }
    }

    /// Something was done, unless the process is dead by now.
    pub fn do_chore(&mut self, node: usize, number: u64, chore: &Chore) {
        let lives = self.nodes[node].life.as_ref();
        if lives.is_none_or(|life| life.number != number) {
            return;
        }
        let done = self.nodes[node].route.act(chore);
        self.note(|| format!("node {node}: {chore:?}: {done}"));
        self.wake_ha_soon(node);
    }

    fn take_ha_records(&mut self, node: usize) {
        while let Some(life) = &mut self.nodes[node].life {
            let Some(frame) = life.ha.poll_record() else {
                return;
            };
            self.note(|| format!("node {node}: {}", frame.text(CATALOGUES)));
        }
    }
}

/// What is in an advert's frame, as a socket of IPv4 or IPv6 would be given it.
/// Nothing for a frame that does not come from the virtual router.
pub fn unframed(family: Family, vrid: u8, frame: &[u8]) -> Option<&[u8]> {
    let (header, packet) = Ethernet::parse(frame).ok()?;
    let group = vrrp::group(family);
    let (to, kind) = match group {
        IpAddr::V4(group) => (MacAddress::multicast_v4(group), EtherType::IPV4),
        IpAddr::V6(group) => (MacAddress::multicast_v6(group), EtherType::IPV6),
    };
    let right = Ethernet {
        destination: to,
        source: vrrp::virtual_mac(family, vrid),
        ethertype: kind,
    };
    if header != right {
        return None;
    }
    match family {
        Family::V4 => Some(packet),
        Family::V6 => {
            let packet = Ipv6Packet::parse(packet).ok()?;
            let hops = packet.header.hop_limit;
            let right = hops == vrrp::TTL && packet.header.destination == group;
            right.then_some(packet.payload)
        }
    }
}
