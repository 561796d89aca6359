//! One node's links and addresses, and the rtnetlink socket to them: requests
//! are carried out inside the send, everyone's changes are told as they happen,
//! dumps are not atomic. Not a routing table.
//!
//! Source: net/core/rtnetlink.c, net/ipv4/devinet.c, net/ipv6/addrconf.c.

use super::netlink::{self, Inbox, Message, Received, Request, errno};
use super::random::Random;
use super::route_macvlan::Above;
use super::route_messages::{address_message, address_of, link_message};
use std::collections::BTreeMap;
use std::net::IpAddr;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;

/// `IFA_F_PERMANENT`.
const PERMANENT: u32 = 0x80;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix: u8,
    pub flags: u32,
    /// `IFA_PROTO`: who put it there; 0 says nothing.
    pub protocol: u8,
}

/// An interface while it exists.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    pub mac: [u8; 6],
    pub up: bool,
    pub carrier: bool,
    pub addresses: Vec<Address>,
    /// Of a macvlan.
    pub above: Option<Above>,
}

impl Interface {
    /// Whether what it has is the node's own: of a macvlan that is down nothing
    /// is.
    fn serves(&self) -> bool {
        self.up || self.above.is_none()
    }

    pub fn is_running(&self) -> bool {
        self.up && self.carrier
    }
}

/// How often things go wrong, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteFaults {
    /// A datagram to us does not fit our socket.
    pub lost: u32,
    /// An address is refused.
    pub refused: u32,
    /// An address is of those that are refused each time.
    pub stubborn: u32,
    /// A send fails.
    pub send: u32,
}

#[derive(Clone, Copy, Debug)]
struct Dump {
    kind: u16,
    seq: u32,
    at: usize,
    generation: u64,
}

/// See the module's words.
#[derive(Debug)]
pub struct RouteKernel {
    pub interfaces: Vec<Interface>,
    pub faults: RouteFaults,
    /// Secondaries outlive the first address of their subnet
    /// (`promote_secondaries`).
    promote: bool,
    rows_per_datagram: usize,
    next_index: u32,
    /// Changes of any kind so far.
    generation: u64,
    inbox: Inbox,
    dump: Option<Dump>,
    pub(super) random: Random,
    /// Datagrams lost, and sends that failed.
    pub losses: u64,
    /// How often each address was refused.
    pub refusals: BTreeMap<IpAddr, u64>,
    /// The same of each macvlan.
    pub grudges: BTreeMap<String, u64>,
}

impl RouteKernel {
    pub fn new(mut random: Random) -> Self {
        Self {
            interfaces: Vec::new(),
            faults: RouteFaults::default(),
            promote: random.chance(500),
            rows_per_datagram: random.index(6) + 1,
            next_index: 2,
            generation: 0,
            inbox: Inbox::default(),
            dump: None,
            random,
            losses: 0,
            refusals: BTreeMap::new(),
            grudges: BTreeMap::new(),
        }
    }

    /// A new process opens its socket.
    pub fn open(&mut self) {
        self.inbox = Inbox::default();
        self.dump = None;
    }

    /// Whether the address is there, whatever its prefix.
    pub fn holds(&self, ip: IpAddr) -> bool {
        let serving = self.interfaces.iter().filter(|i| i.serves());
        let mut all = serving.flat_map(|i| &i.addresses);
        all.any(|a| a.ip == ip)
    }

    /// The interface an address is on.
    pub fn beneath(&self, ip: IpAddr) -> Option<&str> {
        let on = |i: &&Interface| i.addresses.iter().any(|a| a.ip == ip);
        let on = self.interfaces.iter().find(on);
        on.map(|i| i.name.as_str())
    }

    /// The prefix length an address is there with.
    pub fn prefix(&self, ip: IpAddr) -> Option<u8> {
        let mut all = self.interfaces.iter().flat_map(|i| &i.addresses);
        all.find(|a| a.ip == ip).map(|a| a.prefix)
    }

    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }

    /// An interface appears, as one that was not there.
    pub fn create(&mut self, name: &str, mac: [u8; 6]) {
        self.add(name, mac, None);
    }

    pub(super) fn add(&mut self, name: &str, mac: [u8; 6], above: Option<Above>) {
        let index = self.next_index;
        self.next_index += 1;
        self.interfaces.push(Interface {
            name: name.to_owned(),
            index,
            mac,
            up: above.is_none(),
            carrier: true,
            addresses: Vec::new(),
            above,
        });
        self.tell_link(self.interfaces.len() - 1);
    }

    /// An interface goes, with its addresses.
    pub fn delete(&mut self, name: &str) {
        let Some(at) = self.interfaces.iter().position(|i| i.name == name) else {
            return;
        };
        // What is above goes first.
        let index = self.interfaces[at].index;
        self.delete_all(|i| i.above.is_some_and(|above| above.lower == index));
        let Some(at) = self.interfaces.iter().position(|i| i.name == name) else {
            return;
        };
        self.drop_addresses(at, |_| true);
        let gone = self.interfaces.remove(at);
        self.notify(link_message(&gone, false, DELLINK, 0, 0));
    }

    pub fn set_carrier(&mut self, name: &str, carrier: bool) {
        if let Some(at) = self.interfaces.iter().position(|i| i.name == name) {
            self.interfaces[at].carrier = carrier;
            self.tell_link(at);
            self.tell_above(at);
        }
    }

    /// `ip link set down` takes the IPv6 addresses with it.
    pub fn set_up(&mut self, name: &str, up: bool) {
        if let Some(found) = self.interface(name) {
            self.set_up_at(found.index, up);
        }
    }

    pub(super) fn set_up_at(&mut self, index: u32, up: bool) {
        let found = self.interfaces.iter().position(|i| i.index == index);
        if let Some(at) = found.filter(|at| self.interfaces[*at].up != up) {
            self.interfaces[at].up = up;
            if !up {
                self.drop_addresses(at, |a| a.ip.is_ipv6());
            }
            self.tell_link(at);
            self.tell_above(at);
        }
    }

    /// Someone other than us adds an address.
    pub fn put(&mut self, name: &str, ip: IpAddr, prefix: u8, flags: u32) {
        if let Some(at) = self.interfaces.iter().position(|i| i.name == name) {
            let new = Address {
                ip,
                prefix,
                flags,
                protocol: 0,
            };
            self.interfaces[at].addresses.retain(|a| a.ip != ip);
            self.interfaces[at].addresses.push(new);
            let (index, seq) = (self.interfaces[at].index, self.stranger());
            self.notify(address_message(index, &new, NEWADDR, 0, seq));
        }
    }

    /// Someone other than us removes an address. Whether it was there.
    pub fn take(&mut self, ip: IpAddr) -> bool {
        for at in 0..self.interfaces.len() {
            let found = self.interfaces[at].addresses.iter().find(|a| a.ip == ip);
            if let Some(prefix) = found.map(|a| a.prefix) {
                let seq = self.stranger();
                return self.remove(at, ip, prefix, seq) == 0;
            }
        }
        false
    }

    /// Carries out a datagram of requests.
    ///
    /// # Errors
    /// The errno of sendmsg(2).
    pub fn send(&mut self, datagram: &[u8]) -> Result<(), i32> {
        if self.random.chance(self.faults.send) {
            self.losses += 1;
            return Err(errno::ENOBUFS);
        }
        for request in netlink::requests(datagram) {
            let answer = self.execute(&request);
            if answer != 0 || request.flags & netlink::ACK != 0 {
                self.deliver(netlink::ack(&request, answer));
            }
        }
        Ok(())
    }

    /// Receives once; the kernel writes the next part of a dump after that.
    pub fn receive(&mut self) -> Option<Received> {
        let received = self.inbox.pop()?;
        self.go_on_dumping();
        Some(received)
    }

    pub fn is_dumping(&self) -> bool {
        self.dump.is_some()
    }

    pub fn is_quiet(&self) -> bool {
        self.inbox.is_empty()
    }

    fn execute(&mut self, request: &Request<'_>) -> i32 {
        if request.flags & netlink::REQUEST == 0 {
            return 0;
        }
        match request.kind {
            netlink::NOOP => 0,
            GETLINK | GETADDR if request.flags & netlink::DUMP == netlink::DUMP => {
                if self.dump.is_some() {
                    return errno::EBUSY;
                }
                self.dump = Some(Dump {
                    kind: request.kind,
                    seq: request.seq,
                    at: 0,
                    generation: self.generation,
                });
                self.go_on_dumping();
                0
            }
            SETLINK => self.set_link(request),
            DELLINK => self.delete_link(request),
            NEWADDR => self.new_address(request),
            DELADDR => {
                let (index, old) = address_of(request.body);
                match self.interfaces.iter().position(|i| i.index == index) {
                    Some(at) => self.remove(at, old.ip, old.prefix, request.seq),
                    None => errno::ENODEV,
                }
            }
            _ => errno::EOPNOTSUPP,
        }
    }

    fn new_address(&mut self, request: &Request<'_>) -> i32 {
        let (index, new) = address_of(request.body);
        let Some(at) = self.interfaces.iter().position(|i| i.index == index) else {
            return errno::ENODEV;
        };
        // IPv4 knows one address with two masks as two.
        let same = |a: &&Address| a.ip == new.ip && (a.ip.is_ipv6() || a.prefix == new.prefix);
        if self.interfaces[at].addresses.iter().any(|a| same(&a)) {
            return errno::EEXIST;
        }
        let stubborn = self.is_stubborn(new.ip);
        if stubborn || self.random.chance(self.faults.refused) {
            *self.refusals.entry(new.ip).or_default() += 1;
            return if stubborn {
                errno::EINVAL
            } else {
                errno::ENOMEM
            };
        }
        let new = Address {
            flags: new.flags | PERMANENT,
            ..new
        };
        self.interfaces[at].addresses.push(new);
        // The one who asked hears of it like all others, under its own number.
        self.notify(address_message(index, &new, NEWADDR, 0, request.seq));
        0
    }

    /// Whether an address is refused each time: by its bytes, so that it is for
    /// as long as there are faults.
    fn is_stubborn(&self, ip: IpAddr) -> bool {
        let text = ip.to_string();
        let mixed = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        (mixed >> 8) % 1000 < self.faults.stubborn
    }

    fn remove(&mut self, at: usize, ip: IpAddr, prefix: u8, seq: u32) -> i32 {
        let here = &mut self.interfaces[at];
        let found = here
            .addresses
            .iter()
            .position(|a| a.ip == ip && a.prefix == prefix);
        let Some(place) = found else {
            return errno::EADDRNOTAVAIL;
        };
        let gone = here.addresses.remove(place);
        let index = here.index;
        let first = !here.addresses[..place].iter().any(|a| shares(a, &gone));
        self.notify(address_message(index, &gone, DELADDR, 0, seq));
        if gone.ip.is_ipv4() && first && !self.promote {
            self.drop_addresses(at, |a| shares(a, &gone));
        }
        0
    }

    fn drop_addresses(&mut self, at: usize, which: impl Fn(&Address) -> bool) {
        let here = &mut self.interfaces[at];
        let (gone, kept): (Vec<_>, _) = here.addresses.drain(..).partition(|a| which(a));
        here.addresses = kept;
        let index = here.index;
        for address in gone {
            self.notify(address_message(index, &address, DELADDR, 0, 0));
        }
    }

    pub(super) fn tell_link(&mut self, at: usize) {
        let here = &self.interfaces[at];
        self.notify(link_message(here, self.runs(here), NEWLINK, 0, 0));
    }

    fn notify(&mut self, message: Message) {
        self.generation += 1;
        self.deliver(message.bytes());
    }

    fn deliver(&mut self, datagram: Vec<u8>) {
        if self.random.chance(self.faults.lost) {
            self.losses += 1;
            self.inbox.drop_one();
        } else {
            self.inbox.push(datagram);
        }
    }

    /// The sequence number of another program's request, which its
    /// notification carries: many begin with 1 as we do.
    fn stranger(&mut self) -> u32 {
        u32::try_from(self.random.below(40)).unwrap_or(0)
    }

    fn go_on_dumping(&mut self) {
        let Some(dump) = self.dump else { return };
        let mut flags = netlink::MULTI;
        if dump.generation != self.generation {
            flags |= netlink::DUMP_INTERRUPTED;
        }
        self.dump = Some(Dump {
            generation: self.generation,
            ..dump
        });
        let rows: Vec<Message> = match dump.kind {
            GETLINK => self
                .interfaces
                .iter()
                .map(|i| link_message(i, self.runs(i), NEWLINK, flags, dump.seq))
                .collect(),
            _ => self
                .interfaces
                .iter()
                .flat_map(|i| i.addresses.iter().map(|a| (i.index, a)))
                .map(|(index, a)| address_message(index, a, NEWADDR, flags, dump.seq))
                .collect(),
        };
        // Where it goes on is counted in rows, whichever they are by now.
        let part: Vec<u8> = rows
            .into_iter()
            .skip(dump.at)
            .take(self.rows_per_datagram)
            .flat_map(Message::bytes)
            .collect();
        if part.is_empty() {
            self.dump = None;
            self.deliver(netlink::done(dump.seq, flags));
        } else {
            self.dump = Some(Dump {
                at: dump.at + self.rows_per_datagram,
                generation: self.generation,
                ..dump
            });
            self.deliver(part);
        }
    }
}

/// Whether both are of one subnet, by the prefix of the second.
fn shares(a: &Address, first: &Address) -> bool {
    match (a.ip, first.ip) {
        (IpAddr::V4(x), IpAddr::V4(y)) if a.prefix == first.prefix => {
            let mask = u32::MAX.checked_shl(32 - u32::from(a.prefix)).unwrap_or(0);
            (x.to_bits() ^ y.to_bits()) & mask == 0
        }
        _ => false,
    }
}
