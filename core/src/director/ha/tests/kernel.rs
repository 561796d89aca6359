//! A kernel that has one interface, and answers what it is asked.

use super::*;
use crate::netlink::{Batch, Flags, MessageType, Messages};
use crate::route::{self, Event};
use crate::time::Duration;

pub(super) const EINVAL: i32 = 22;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;

/// Bytes of a buffer for datagrams.
const ROOM: usize = 32 * 1024;

#[derive(Debug)]
pub(super) struct Kernel {
    /// What is on the interface besides its own address, as [`ours`].
    pub holds: Vec<Vec<u8>>,
    /// What it does not take.
    pub refuses: Vec<IpAddr>,
    /// What it was asked for: when, whether to add, and which address.
    pub asked: Vec<(Instant, bool, IpAddr)>,
    pub dumps: usize,
    pub running: bool,
    pub mac: crate::wire::MacAddress,
}

impl Kernel {
    pub fn new() -> Self {
        Self {
            holds: Vec::new(),
            refuses: Vec::new(),
            asked: Vec::new(),
            dumps: 0,
            running: true,
            mac: MAC,
        }
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        self.holds.iter().any(|body| address_in(body) == address)
    }

    /// How often it was asked to add an address.
    pub fn adds(&self, of: IpAddr) -> usize {
        let asked = self.asked.iter();
        asked.filter(|(_, add, ip)| *add && *ip == of).count()
    }

    /// Answers a datagram.
    pub fn serve(&mut self, ha: &mut Ha<'_>, now: Instant, datagram: &[u8]) {
        for message in Messages::new(datagram) {
            let message = message.unwrap();
            let (kind, seq) = (message.header.kind.0, message.header.seq);
            let body = message.body.peek().to_vec();
            match kind {
                GETLINK => {
                    self.dumps += 1;
                    ha.handle_route(now, &self.link(seq, true));
                    ha.handle_route(now, &reply(3, 2, seq, &[0; 4]));
                }
                GETADDR => {
                    let rows = core::iter::once(own()).chain(self.holds.iter().cloned());
                    for body in rows {
                        ha.handle_route(now, &reply(NEWADDR, 2, seq, &body));
                    }
                    ha.handle_route(now, &reply(3, 2, seq, &[0; 4]));
                }
                1 => ha.handle_route(now, &ack(seq, 0)),
                _ => {
                    let (add, address) = (kind == NEWADDR, address_in(&body));
                    self.asked.push((now, add, address));
                    if self.refuses.contains(&address) {
                        ha.handle_route(now, &ack(seq, EINVAL));
                        continue;
                    }
                    self.holds.retain(|held| address_in(held) != address);
                    if add {
                        self.holds.push(body.clone());
                    }
                    ha.handle_route(now, &reply(kind, 0, seq, &body));
                }
            }
        }
    }

    /// Sets the interface up or down, and tells.
    pub fn set_running(&mut self, ha: &mut Ha<'_>, now: Instant, running: bool) {
        self.running = running;
        let event = self.link(0, false);
        ha.handle_route(now, &event);
    }

    fn link(&self, seq: u32, row: bool) -> Vec<u8> {
        link("eth0", self.mac, self.running, seq, row)
    }
}

/// What the kernel says of a link.
pub(super) fn link(
    name: &str,
    mac: crate::wire::MacAddress,
    running: bool,
    seq: u32,
    row: bool,
) -> Vec<u8> {
    let index: u32 = if name == "eth0" { 2 } else { 7 };
    let mut buffer = vec![0; ROOM];
    let mut batch = Batch::new(&mut buffer, seq);
    let flags = if row { Flags::MULTI } else { Flags::empty() };
    let state: u32 = if running { 0x1_0043 } else { 0x1002 };
    batch
        .message(MessageType(16), flags, |body| {
            body.raw(&[0, 0, 1, 0]);
            body.raw(&index.to_ne_bytes());
            body.raw(&state.to_ne_bytes());
            body.raw(&[0xff; 4]);
            body.text(3, name);
            body.bytes(1, &mac.0);
            body.u8(16, if running { 6 } else { 2 });
        })
        .unwrap();
    batch.finish().to_vec()
}

/// The body of a message about an address.
fn body_of(address: IpAddr, prefix: u8, protocol: u8) -> Vec<u8> {
    let IpAddr::V4(address) = address else {
        panic!("IPv4 alone")
    };
    let mut body = vec![2, prefix, 0x80, 0];
    body.extend(2_u32.to_ne_bytes());
    for kind in [1_u16, 2] {
        body.extend(8_u16.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(address.octets());
    }
    body.extend(5_u16.to_ne_bytes());
    body.extend(11_u16.to_ne_bytes());
    body.extend([protocol, 0, 0, 0]);
    body
}

/// The interface's own address.
fn own() -> Vec<u8> {
    body_of(OWN.into(), 24, 0)
}

/// An address as an earlier run of ours has left it.
pub(super) fn ours(address: IpAddr) -> Vec<u8> {
    body_of(address, 32, route::AddressProtocol::TRUNNION.0)
}

fn address_in(body: &[u8]) -> IpAddr {
    let reader = crate::bytes::Reader::new(body);
    match route::decode(MessageType(NEWADDR), reader, 16) {
        Ok(Some(Event::Address(found))) => found.address,
        other => panic!("{other:?}"),
    }
}

fn reply(kind: u16, flags: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(16 + body.len()).unwrap();
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ack(seq: u32, errno: i32) -> Vec<u8> {
    let mut body = (-errno).to_ne_bytes().to_vec();
    body.resize(20, 0);
    reply(2, 0, seq, &body)
}

/// What the loop does in a turn, with a kernel that answers.
pub(super) fn turn_with(ha: &mut Ha<'_>, kernel: &mut Kernel, now: Instant) {
    turn(ha, now);
    let mut buffer = vec![0; ROOM];
    while let Some(len) = ha.poll_route(now, &mut buffer) {
        kernel.serve(ha, now, &buffer[..len]);
    }
    turn(ha, now);
}

/// Turns until then, each when it is due.
pub(super) fn run_with(ha: &mut Ha<'_>, kernel: &mut Kernel, from: Instant, until: Instant) {
    let mut now = from;
    loop {
        turn_with(ha, kernel, now);
        match ha.poll_timeout() {
            Some(next) if next < until => now = next.max(now + Duration::from_nanos(1)),
            Some(_) | None => return,
        }
    }
}

/// A plan of routers with these addresses, taken and known.
pub(super) fn planned<'r>(
    room: &'r mut Room,
    kernel: &mut Kernel,
    priority: u8,
    routers: &[&[IpAddr]],
) -> Ha<'r> {
    let mut addresses = Vec::new();
    let instances: Vec<_> = (1..)
        .zip(routers)
        .map(|(vrid, its)| {
            let mut planned = instance(vrid);
            planned.router.priority = priority;
            planned.addresses_first = u32::try_from(addresses.len()).unwrap();
            planned.addresses_count = u32::try_from(its.len()).unwrap();
            addresses.extend(its.iter().map(|address| VirtualAddress {
                address: *address,
                prefix: 32,
            }));
            planned
        })
        .collect();
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &instances,
        addresses: &addresses,
        ..HaPlan::default()
    };
    ha.handle_plan(Instant::ZERO, &plan, &[]).unwrap();
    turn_with(&mut ha, kernel, Instant::ZERO);
    ha
}
