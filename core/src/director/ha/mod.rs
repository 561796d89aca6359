//! The HA half: virtual routers, the addresses they hold, and the
//! announcements that tell the link.
//!
//! The owner's loop, after each wake-up, in this order: `handle_*` for what
//! came in, then [`Ha::handle_timeout`], then each `poll_*` until it yields
//! nothing: memory before adverts, so that who says goodbye does not remember
//! being Active should it die right then, and memory again after them.
//! [`Ha::poll_timeout`] says when to wake at the latest.

mod addresses;
mod hear;
mod interfaces;
mod merge;
mod netdev;
mod settle;
mod speak;
mod state;
mod will;

pub use addresses::{AddressSlot, Presence};
pub use interfaces::{Found, Interface, NotReady};
pub use merge::HaTooLarge;
pub use netdev::RouteCounters;
pub(super) use state::encode_advert;
pub use state::{HaCounters, InstanceSlot, Memory};
pub use will::{Pulse, WARD_ADDRESS_WORDS, WARD_WORDS, Ward, WardAddress};

use crate::record::{Frame, Ring};
use crate::time::{Duration, Instant, earliest};
use crate::vrrp;
use addresses::Addresses;
use core::net::IpAddr;
use netdev::Netdev;

/// How long a shutdown waits for the kernel to take the addresses off.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// The memory of the half; each pair is as long as the other, twice what the
/// config's limits say, since a reload keeps what it retires until it is gone.
#[derive(Debug)]
pub struct HaStorage<'s> {
    /// Instances, and room to merge a plan into.
    pub instances: [&'s mut [InstanceSlot]; 2],
    /// Virtual addresses, and room to merge a plan into.
    pub addresses: [&'s mut [AddressSlot]; 2],
    /// Interfaces the plans name.
    pub interfaces: &'s mut [Interface],
    /// Log records waiting for the owner.
    pub records: &'s mut [Frame],
}

/// An advert to send: a whole IPv4 packet, or the VRRP message for an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertOut {
    /// Which instance; to be handed back with the outcome.
    pub instance: usize,
    /// The interface's place in [`Ha::interfaces`].
    pub interface: usize,
    /// Where it is from.
    pub source: IpAddr,
    /// Where it goes: the group, or a peer.
    pub destination: IpAddr,
    /// Bytes of the buffer to send.
    pub len: usize,
}

/// An Ethernet frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameOut {
    /// The interface's place in [`Ha::interfaces`].
    pub interface: usize,
    /// Bytes of the buffer to send.
    pub len: usize,
}

/// See the module's words.
#[derive(Debug)]
pub struct Ha<'s> {
    instances: &'s mut [InstanceSlot],
    instances_len: usize,
    spare: &'s mut [InstanceSlot],
    addresses: Addresses<'s>,
    interfaces: &'s mut [Interface],
    interfaces_len: usize,
    /// Counts up whenever an interface changed in a way a socket cares about.
    interfaces_version: u64,
    will_version: u64,
    netdev: Netdev,
    log: Ring<'s>,
    counters: HaCounters,
    /// Set by a shutdown: when to stop waiting.
    give_up: Option<Instant>,
}

impl<'s> Ha<'s> {
    /// A half without instances.
    #[must_use]
    pub fn new(storage: HaStorage<'s>) -> Self {
        let HaStorage {
            instances: [instances, spare],
            addresses,
            interfaces,
            records,
        } = storage;
        Self {
            instances,
            instances_len: 0,
            spare,
            addresses: Addresses::new(addresses),
            interfaces,
            interfaces_len: 0,
            interfaces_version: 0,
            will_version: 0,
            netdev: Netdev::new(),
            log: Ring::new(records),
            counters: HaCounters::default(),
            give_up: None,
        }
    }

    /// The instances, those being retired included.
    #[must_use]
    pub fn instances(&self) -> &[InstanceSlot] {
        self.instances.get(..self.instances_len).unwrap_or(&[])
    }

    /// The virtual addresses of an instance.
    #[must_use]
    pub fn addresses(&self, instance: &InstanceSlot) -> &[AddressSlot] {
        self.addresses.of(instance.addresses.clone())
    }

    /// The interfaces the plans named. An interface keeps its place for ever.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        self.interfaces.get(..self.interfaces_len).unwrap_or(&[])
    }

    /// Changes whenever the owner should look at [`Self::interfaces`] again: an
    /// index changed, or a family is carried that was not.
    #[must_use]
    pub const fn interfaces_version(&self) -> u64 {
        self.interfaces_version
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &HaCounters {
        &self.counters
    }

    /// What was counted about rtnetlink.
    #[must_use]
    pub const fn route_counters(&self) -> &RouteCounters {
        self.netdev.counters()
    }

    /// Log records dropped because nobody took them.
    #[must_use]
    pub const fn records_dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// The next log record.
    pub fn poll_record(&mut self) -> Option<Frame> {
        self.log.pop()
    }

    /// The role of the virtual router that the synchronization daemons follow;
    /// nothing without one. To be asked at the end of each turn.
    #[must_use]
    pub fn followed(&self) -> Option<vrrp::Role> {
        let mut instances = self.instances().iter();
        let slot = instances.find(|slot| slot.config.followed)?;
        Some(slot.router.state().role())
    }

    /// Whether links and addresses are known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.netdev.is_known()
    }

    /// Serves the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.netdev.handle_timeout(now, &mut self.log);
        for at in 0..self.instances_len {
            let Some(slot) = self.instances.get_mut(at) else {
                return;
            };
            let actions = slot.router.handle_timeout(now);
            self.apply(now, at, actions);
        }
    }

    /// Says goodbye: priority 0 first, then the addresses go. Over when
    /// [`Self::is_finished`].
    pub fn handle_shutdown(&mut self, now: Instant) {
        if self.give_up.is_some() {
            return;
        }
        self.give_up = Some(now + SHUTDOWN_PATIENCE);
        for at in 0..self.instances_len {
            self.retire(now, at);
        }
    }

    /// Whether a shutdown has nothing more to wait for.
    #[must_use]
    pub fn is_finished(&self, now: Instant) -> bool {
        let Some(give_up) = self.give_up else {
            return false;
        };
        let quiet = !self.owes_goodbye(now);
        let off = self
            .addresses
            .all()
            .iter()
            .all(|slot| slot.presence == Presence::Absent);
        give_up <= now || (quiet && (off || !self.netdev.has_dumped()))
    }

    /// Writes the next rtnetlink datagram into `buf`; how many bytes to send.
    /// Once yielded it counts as sent: when sending fails, say
    /// [`Self::handle_route_lost`].
    pub fn poll_route(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        // A peer should take over before the address is gone, not after.
        if self.give_up.is_some() && self.owes_goodbye(now) {
            return None;
        }
        self.netdev.poll_request(
            now,
            buf,
            &mut self.addresses,
            self.instances.get(..self.instances_len).unwrap_or(&[]),
            self.interfaces
                .get_mut(..self.interfaces_len)
                .unwrap_or(&mut []),
        )
    }

    /// What the next run of this daemon should find: the cell's place and
    /// content. Yields each instance whose memory changed.
    pub fn poll_memory(&mut self) -> Option<(usize, Memory)> {
        let slots = self
            .instances
            .get_mut(..self.instances_len)
            .unwrap_or(&mut []);
        let (at, slot) = slots
            .iter_mut()
            .enumerate()
            .find(|(_, slot)| slot.memory_dirty)?;
        slot.memory_dirty = false;
        Some((at, slot.memory()))
    }

    /// Changes whenever [`Self::wards`] or [`Self::ward_addresses`] may have.
    #[must_use]
    pub const fn will_version(&self) -> u64 {
        self.will_version
    }

    /// What the guardian should know of each of [`Self::instances`], in their
    /// order; nothing of one whose interface is not there.
    pub fn wards(&self) -> impl Iterator<Item = Option<Ward>> {
        self.instances().iter().map(|slot| {
            let interface = self.interfaces.get(usize::from(slot.interface));
            interface.and_then(|interface| Ward::of(slot, interface))
        })
    }

    /// The addresses that the wards number.
    pub fn ward_addresses(&self) -> impl Iterator<Item = WardAddress> {
        self.addresses.all().iter().map(WardAddress::of)
    }

    /// The pulse of an instance; it changes when [`Self::poll_memory`] yields
    /// the instance, and is to be written down before that memory is.
    #[must_use]
    pub fn pulse(&self, instance: usize) -> Option<Pulse> {
        self.instances().get(instance).map(Pulse::of)
    }

    /// When to call [`Self::handle_timeout`] and the polls at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut next = earliest(self.netdev.poll_timeout(), self.give_up);
        for slot in self.instances() {
            let announces = slot.may_announce(self.addresses(slot));
            next = earliest(next, slot.poll_timeout(announces));
        }
        next
    }

    /// A router's actions become what is wanted of its addresses.
    fn apply(&mut self, now: Instant, at: usize, actions: vrrp::Actions) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        if slot.apply(actions, &mut self.log, now) {
            self.netdev.mark_dirty();
        }
    }

    /// An instance says goodbye and gives its addresses back.
    fn retire(&mut self, now: Instant, at: usize) {
        let Some(slot) = self.instances.get_mut(at) else {
            return;
        };
        slot.retire = true;
        slot.resume = None;
        let actions = slot.router.handle_shutdown(now);
        // What an earlier run left behind goes as well.
        slot.wanted = Some(false);
        self.netdev.mark_dirty();
        self.apply(now, at, actions);
    }
}
