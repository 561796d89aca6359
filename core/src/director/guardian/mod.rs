//! The guardian: what is still to be said and done for a daemon that died. It
//! runs in another process and knows what the dead wrote down ([`Ward`]s). Not
//! a second daemon: it never takes a role, it only gives one back.
//!
//! | the dead was | `Resign` | `Hold` |
//! |---|---|---|
//! | Active, and no peer can have noticed | priority 0, addresses off | adverts go on for the time; then, or when a better one speaks, as `Resign` |
//! | Active, silent for too long | addresses off | addresses off |
//! | anything else | addresses off | addresses off |
//!
//! "Addresses off" is, of a router with a macvlan of its own, the macvlan deleted:
//! all at once, where none is held any more, since the kernel takes its time for
//! each. All goodbyes go out before the first address is taken off: a peer should
//! take over before an address is gone, not after. Memory is written before a
//! goodbye, so that the next run of the daemon does not resume what was given
//! away.
//!
//! The owner calls [`Guardian::handle_ward`] for each ward and
//! [`Guardian::handle_address`] for each address, then, after every `handle_*`,
//! the polls in the order memory, advert, route, until each yields nothing.

mod ward;

pub use ward::{Charge, OnCrash};

use super::ha::{Memory, Pulse, Ward, WardAddress};
use crate::model::Family;
use crate::netlink::{Batch, Errno};
use crate::route::{InterfaceIndex, LinkGroup, link, request};
use crate::time::{Instant, earliest};
use crate::vrrp::{self, Advert, Received, Role};
use core::net::IpAddr;

/// Requests in one datagram.
const BATCH_MAX: u32 = 128;

/// The memory of the guardian, as long as a will can be.
#[derive(Debug)]
pub struct GuardianStorage<'s> {
    /// One for each ward.
    pub charges: &'s mut [Charge],
    /// Addresses of all wards.
    pub addresses: &'s mut [Option<WardAddress>],
}

/// An advert to send: a whole IPv4 packet, or the VRRP message for an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordOut {
    /// Which ward; to be handed back with the outcome.
    pub ward: usize,
    /// Index of the interface it leaves by.
    pub interface: InterfaceIndex,
    /// Where it is from.
    pub source: IpAddr,
    /// Where it goes: the group, or a peer.
    pub destination: IpAddr,
    /// Bytes of the buffer to send.
    pub len: usize,
    /// They are a whole Ethernet frame, to be sent as it is.
    pub framed: bool,
}

/// What the guardian did, for one line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Virtual routers it said goodbye for.
    pub resigned: u32,
    /// Adverts sent to hold a role.
    pub held: u32,
    /// Addresses it asked the kernel to remove, by themselves or with their
    /// macvlan.
    pub removed: u32,
    /// Adverts the kernel refused to the end.
    pub unsent: u32,
    /// The next run took over what was held.
    pub yielded: bool,
}

/// See the module's words.
#[derive(Debug)]
pub struct Guardian<'s> {
    charges: &'s mut [Charge],
    charges_len: usize,
    addresses: &'s mut [Option<WardAddress>],
    addresses_len: usize,
    policy: OnCrash,
    /// Until when roles are held.
    hold_until: Option<Instant>,
    next_seq: u32,
    done: Done,
}

impl<'s> Guardian<'s> {
    /// A guardian of nobody yet.
    #[must_use]
    pub const fn new(storage: GuardianStorage<'s>, policy: OnCrash) -> Self {
        let GuardianStorage { charges, addresses } = storage;
        Self {
            charges,
            charges_len: 0,
            addresses,
            addresses_len: 0,
            policy,
            hold_until: None,
            next_seq: 1,
            done: Done {
                resigned: 0,
                held: 0,
                removed: 0,
                unsent: 0,
                yielded: false,
            },
        }
    }

    /// One ward of the dead; `cell` is its place in the memory that the next
    /// run reads. Returns whether there was room for it and its addresses.
    pub fn handle_ward(&mut self, now: Instant, cell: usize, ward: Ward, pulse: Pulse) -> bool {
        let Some(charge) = self.charges.get_mut(self.charges_len) else {
            return false;
        };
        let new = Charge::new(now, cell, ward, pulse);
        if new.addresses().end > self.addresses.len() {
            return false;
        }
        *charge = new;
        self.charges_len = self.charges_len.saturating_add(1);
        match self.policy {
            OnCrash::Hold { time } if charge.speaks() => {
                self.hold_until = self.hold_until.or(Some(now + time));
            }
            OnCrash::Hold { .. } | OnCrash::Resign => charge.resign(now),
        }
        true
    }

    /// The next address of the will, in the order the wards number them; what
    /// could not be read is `None`. Returns whether there was room.
    pub fn handle_address(&mut self, address: Option<WardAddress>) -> bool {
        let Some(place) = self.addresses.get_mut(self.addresses_len) else {
            return false;
        };
        *place = address;
        self.addresses_len = self.addresses_len.saturating_add(1);
        true
    }

    /// The wards, while roles are held: where to listen for a better router.
    pub fn held(&self) -> impl Iterator<Item = &Ward> {
        let held = self.charges().iter().filter(|charge| charge.speaks());
        held.filter_map(|charge| charge.ward.as_ref())
    }

    /// A packet of protocol 112 came in on an interface while roles are held. A
    /// better router ends ours; whatever else it is, it is passed over.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        interface: InterfaceIndex,
        packet: Result<Received<'_>, vrrp::Malformed>,
    ) {
        let Ok(packet) = packet else { return };
        let Some(vrid) = packet.vrid() else { return };
        let family = Family::of(&packet.source);
        let charges = self.charges.get_mut(..self.charges_len).unwrap_or(&mut []);
        let mut charges = charges.iter_mut();
        let found = charges.find(|charge| charge.answers_for(interface, family, vrid));
        if let Some(charge) = found
            && let Ok(advert) = Advert::parse_by(charge.terms(), packet)
        {
            let spoke = charge.speaks();
            charge.handle_advert(now, &advert, packet.source);
            if spoke && !charge.speaks() {
                let group = charge.group();
                self.lose(now, group);
            }
        }
    }

    /// A member of a group is Active no more: the others give back what they hold,
    /// with priority 0, as the daemon would have it.
    fn lose(&mut self, now: Instant, group: Option<u16>) {
        let charges = self.charges.get_mut(..self.charges_len).unwrap_or(&mut []);
        let members = charges.iter_mut().filter(|charge| charge.speaks());
        for member in members.filter(|member| group.is_some() && member.group() == group) {
            member.resign(now);
        }
    }

    /// The daemon starts anew and goes on from here: not another word.
    pub const fn handle_yield(&mut self) {
        if self.hold_until.is_some() {
            self.done.yielded = true;
        }
    }

    /// Someone wants this process gone: what is held is given back now.
    pub fn handle_terminate(&mut self, now: Instant) {
        if self.done.yielded || self.hold_until.is_none() {
            return;
        }
        self.hold_until = None;
        let charges = self.charges.get_mut(..self.charges_len).unwrap_or(&mut []);
        for charge in charges.iter_mut().filter(|charge| charge.speaks()) {
            charge.resign(now);
        }
    }

    /// Serves the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.hold_until.is_some_and(|until| until <= now) {
            self.handle_terminate(now);
        }
    }

    /// What the next run of the daemon should find: the cell's place and
    /// content. Yields each ward whose memory changed.
    pub fn poll_memory(&mut self) -> Option<(usize, Memory)> {
        let charges = self.charges.get_mut(..self.charges_len)?;
        charges.iter_mut().find_map(Charge::poll_memory)
    }

    /// Writes the next advert that is due into `buf`. The owner sends it and
    /// says how that went with [`Self::handle_sent`]; until then this yields the
    /// same again.
    pub fn poll_advert(&mut self, now: Instant, buf: &mut [u8]) -> Option<WordOut> {
        if self.done.yielded {
            return None;
        }
        for at in 0..self.charges_len {
            let charge = self.charges.get_mut(at)?;
            if !charge.is_due(now) {
                continue;
            }
            let addresses = self.addresses.get(charge.addresses()).unwrap_or(&[]);
            let listed = addresses.iter().flatten().filter(|a| a.listed);
            match charge.encode(now, listed.map(|a| a.address), buf) {
                Some(out) => return Some(WordOut { ward: at, ..out }),
                // Nothing to send it from, or nothing to say.
                None => charge.give_up(now),
            }
        }
        None
    }

    /// How sending the advert went. A refused one is tried again a few times.
    pub fn handle_sent(&mut self, now: Instant, ward: usize, result: Result<(), Errno>) {
        let Self { charges, done, .. } = self;
        if let Some(charge) = charges.get_mut(ward) {
            let spoke = charge.speaks();
            charge.handle_sent(now, result.is_ok(), done);
            if spoke && !charge.speaks() {
                let group = charge.group();
                self.lose(now, group);
            }
        }
    }

    /// Writes the next rtnetlink datagram into `buf`; how many bytes to send.
    /// It asks for no reply, and none is waited for: an address that is not
    /// there is off.
    pub fn poll_route(&mut self, buf: &mut [u8]) -> Option<usize> {
        let owes = self.charges().iter().any(Charge::owes_goodbye);
        if owes || self.done.yielded {
            return None;
        }
        let mut batch = Batch::new(buf, self.next_seq);
        self.remove_macvlans(&mut batch);
        let charges = self.charges.get_mut(..self.charges_len).unwrap_or(&mut []);
        'wards: for charge in charges {
            while let Some((at, interface)) = charge.next_address() {
                let address = self.addresses.get(at).copied().flatten();
                let asked = address.map(
                    |WardAddress {
                         address, prefix, ..
                     }| {
                        request::delete_address(&mut batch, interface, address, prefix)
                    },
                );
                match asked {
                    Some(Err(request::Refused::Full)) => break 'wards,
                    Some(Ok(_)) => self.done.removed = self.done.removed.saturating_add(1),
                    // An address that can be on no interface.
                    Some(Err(_)) | None => {}
                }
                charge.address_done();
                if batch.len() >= BATCH_MAX {
                    break 'wards;
                }
            }
        }
        if batch.is_empty() {
            return None;
        }
        self.next_seq = batch.next_seq();
        Some(batch.finish().len())
    }

    /// Asks for macvlans to be deleted, behind all addresses that go by
    /// themselves: all at once if no ward keeps its role, else one.
    fn remove_macvlans(&mut self, batch: &mut Batch<'_>) {
        let charges = self.charges.get_mut(..self.charges_len).unwrap_or(&mut []);
        if charges.iter().any(|charge| charge.next_address().is_some()) {
            return;
        }
        let together = charges.iter().all(|charge| !charge.speaks());
        let left = charges.iter_mut();
        let mut left = left.filter_map(|charge| charge.next_macvlan(!together));
        let Some((first, charge)) = left.next() else {
            return;
        };
        let asked = if together {
            link::delete_group(batch, LinkGroup::TRUNNION)
        } else {
            link::delete(batch, first)
        };
        if asked.is_err() {
            return;
        }
        let done = &mut self.done.removed;
        *done = done.saturating_add(charge.macvlan_done());
        for (_, charge) in left.filter(|_| together) {
            *done = done.saturating_add(charge.macvlan_done());
        }
    }

    /// When to call [`Self::handle_timeout`] and the polls at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.done.yielded {
            return None;
        }
        let next = self.charges().iter().map(Charge::poll_timeout);
        next.fold(self.hold_until, earliest)
    }

    /// Whether there is nothing more to say, to hold or to take off.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done.yielded || self.charges().iter().all(Charge::is_over)
    }

    /// What was done.
    #[must_use]
    pub const fn done(&self) -> &Done {
        &self.done
    }

    /// Roles of the wards, for whoever watches: which cell, and whether it is
    /// still Active through us.
    pub fn roles(&self) -> impl Iterator<Item = (usize, Role)> {
        let charges = self.charges().iter();
        charges.map(|charge| (charge.cell(), charge.role()))
    }

    fn charges(&self) -> &[Charge] {
        self.charges.get(..self.charges_len).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests;
