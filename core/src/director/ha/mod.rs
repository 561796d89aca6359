//! The HA half: virtual routers, the addresses they hold, and the
//! announcements that tell the link.
//!
//! The owner's loop, after each wake-up, in this order: `handle_*` for what
//! came in, then [`Ha::handle_timeout`] (or [`Ha::handle_timeout_unheard`],
//! where more came in than one turn reads), then each `poll_*` until it yields
//! nothing: memory before adverts, so that who says goodbye does not remember
//! being Active should it die right then, and memory again after them, and
//! chores last of all. Then [`Ha::prepare`], and [`Ha::poll_timeout`], which
//! says when to wake at the latest. None of it looks at more instances than have
//! something to do.

mod addresses;
mod agenda;
mod chores;
mod group;
mod hear;
mod hold;
mod interfaces;
mod macvlan;
mod merge;
mod netdev;
mod notice;
mod part;
mod rival;
mod settle;
mod speak;
mod state;
mod track;
mod will;

pub use addresses::{AddressSlot, Presence};
pub use agenda::Entry;
pub use chores::{Chore, Wanted as WantedMacvlan};
pub use group::GroupSlot;
pub use hold::{NoFailover, Whom};
pub use interfaces::{Found, Interface, NotReady};
pub use macvlan::{MODE as MACVLAN_MODE, Macvlan, NoMacvlan};
pub use merge::HaTooLarge;
pub use netdev::RouteCounters;
pub use notice::{Notice, Standing};
pub use rival::Heard;
pub use speak::Prepared;
pub(super) use state::encode_advert;
pub use state::{HaCounters, InstanceSlot, Memory};
pub use track::{Bar, TrackSlot, TrackState};
pub use will::{Pulse, WARD_ADDRESS_WORDS, WARD_WORDS, Ward, WardAddress};

use crate::record::{Frame, Ring};
use crate::time::{self, Duration, Instant, earliest};
use crate::vrrp;
use addresses::Addresses;
use agenda::{Agenda, Work};
use chores::Chores;
use core::net::IpAddr;
use netdev::Netdev;
use notice::Notices;

/// How long a shutdown waits for the kernel to take the addresses off.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How long a takeover is put off at a time while packets wait to be heard.
const PUT_OFF: Duration = Duration::from_millis(1);

/// The memory of the half; each pair is as long as the other, twice what the
/// config's limits say, since a reload keeps what it retires until it is gone.
#[derive(Debug)]
pub struct HaStorage<'s> {
    /// Instances, and room to merge a plan into.
    pub instances: [&'s mut [InstanceSlot]; 2],
    /// Virtual addresses, and room to merge a plan into.
    pub addresses: [&'s mut [AddressSlot]; 2],
    /// Where an address is found by its hash; best as long as `addresses`.
    pub address_index: &'s mut [u32],
    /// Interfaces the plans name.
    pub interfaces: &'s mut [Interface],
    /// When each instance has something to do: as long as `instances`, both.
    pub agenda: (&'s mut [Entry], &'s mut [time::Slot]),
    /// The next advert of each instance: as long as `instances`.
    pub adverts: &'s mut [Prepared],
    /// What is tracked, as many as the limits say.
    pub tracks: &'s mut [TrackSlot],
    /// What was found out elsewhere about that; as long.
    pub cells: &'s mut [TrackState],
    /// Groups, as many as there may be routers.
    pub groups: &'s mut [GroupSlot],
    /// Log records waiting for the owner.
    pub records: &'s mut [Frame],
}

/// An advert to send; [`Ha::advert`] has its bytes.
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
    /// The bytes are a whole Ethernet frame, to be sent as it is.
    pub framed: bool,
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
    agenda: Agenda<'s>,
    adverts: &'s mut [Prepared],
    interfaces: &'s mut [Interface],
    interfaces_len: usize,
    /// Counts up whenever an interface changed in a way a socket cares about.
    interfaces_version: u64,
    will_version: u64,
    tracks: &'s mut [TrackSlot],
    tracks_len: usize,
    cells: &'s mut [TrackState],
    groups: &'s mut [GroupSlot],
    groups_len: usize,
    /// No router begins before this; whether one waits for it.
    not_before: Instant,
    delayed: bool,
    /// Since when somebody may have a reason to begin or to end.
    unsettled_since: Option<Instant>,
    /// Some members of a group may be others than before.
    groups_dirty: bool,
    notices: Notices,
    netdev: Netdev,
    chores: Chores,
    /// The instance that the synchronization daemons follow.
    followed: Option<usize>,
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
            address_index,
            interfaces,
            agenda: (entries, timers),
            adverts,
            tracks,
            cells,
            groups,
            records,
        } = storage;
        Self {
            instances,
            instances_len: 0,
            spare,
            addresses: Addresses::new(addresses, address_index),
            agenda: Agenda::new(entries, timers),
            adverts,
            interfaces,
            interfaces_len: 0,
            interfaces_version: 0,
            will_version: 0,
            tracks,
            tracks_len: 0,
            cells,
            groups,
            groups_len: 0,
            not_before: Instant::ZERO,
            delayed: false,
            unsettled_since: None,
            groups_dirty: false,
            notices: Notices::From(0),
            netdev: Netdev::new(),
            chores: Chores::default(),
            followed: None,
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
        let slot = self.instances().get(self.followed?)?;
        Some(slot.router.state().role())
    }

    /// Whether links and addresses are known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.netdev.is_known()
    }

    /// Serves the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.serve(now, false);
    }

    /// As [`Self::handle_timeout`], where packets wait that were not heard yet:
    /// what an Active said while this loop stood still may be among them, so
    /// nobody takes over for its silence. For a while: a link that is flooded
    /// must not keep the addresses from everybody.
    pub fn handle_timeout_unheard(&mut self, now: Instant) {
        self.serve(now, true);
    }

    fn serve(&mut self, now: Instant, unheard: bool) {
        let instances = self.instances.get_mut(..self.instances_len);
        let instances = instances.unwrap_or(&mut []);
        self.netdev
            .handle_timeout(now, &mut self.addresses, instances, &mut self.log);
        if self.delayed && self.not_before <= now {
            // Where links are not known, whatever makes them so settles as well.
            self.delayed = false;
            self.unsettle(now);
        }
        if self.chores.handle_timeout(now) {
            // Whoever waits for a macvlan may have waited long enough.
            self.unsettle(now);
        }
        // Once in a turn, whatever happened in it.
        if self.unsettled_since.take().is_some() {
            self.settle(now);
        }
        // What was heard since may have moved a group.
        self.settle_groups(now);
        while let Some(at) = self.agenda.expire(now) {
            let role = self.slot(at).map(|slot| slot.router.state().role());
            if unheard && role == Some(vrrp::Role::Backup) {
                self.agenda.schedule(at, Some(now + PUT_OFF));
                continue;
            }
            self.expire(now, at);
            if !self.may_take_over(now, at) {
                self.touch(now, at);
                continue;
            }
            let Some(slot) = self.slot(at) else {
                continue;
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
        self.netdev.handle_shutdown(&mut self.addresses);
        self.chores.mark_dirty();
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
        let off = self.addresses_left() == 0 && !self.holds_macvlans() && !self.makes_macvlans(now);
        let told = !self.owes_notices();
        give_up <= now || (quiet && told && off)
    }

    /// How many addresses may still be on their interfaces. After a shutdown
    /// they are for somebody else to take off.
    #[must_use]
    pub fn addresses_left(&self) -> usize {
        let all = self.addresses.all().iter();
        all.filter(|slot| slot.presence != Presence::Absent).count()
    }

    /// Writes the next rtnetlink datagram into `buf`; how many bytes to send.
    /// Once yielded it counts as sent: when sending fails, say
    /// [`Self::handle_route_lost`].
    pub fn poll_route(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        // A peer should take over before the address is gone, not after.
        if self.give_up.is_some() && self.owes_goodbye(now) {
            return None;
        }
        let free_until = self.agenda.free_until();
        let (netdev, known, _) = self.known();
        netdev.poll_request(now, buf, free_until, known)
    }

    /// What the next run of this daemon should find: the cell's place and
    /// content. Yields each instance whose memory changed.
    pub fn poll_memory(&mut self) -> Option<(usize, Memory)> {
        let at = self.agenda.pop(Work::Remember)?;
        let slot = self.slot(at)?;
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

    /// When to call [`Self::handle_timeout`] and the polls at the latest. May be
    /// too early: then nothing is due, and it says better.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // At the end the kernel is asked for nothing before the goodbyes are out.
        let waits =
            self.give_up.is_some() && self.instances().iter().any(InstanceSlot::owes_goodbye);
        let netdev = self.netdev.poll_timeout().filter(|_| !waits);
        let kernel = earliest(netdev, self.give_up);
        let kernel = earliest(kernel, self.chores.poll_timeout());
        let delayed = self.delayed.then_some(self.not_before);
        let settles = earliest(delayed, self.unsettled_since);
        earliest(earliest(kernel, settles), self.agenda.poll_timeout())
    }

    /// When the next advert or transition is due, in the past when one is: what
    /// can wait is put off for it.
    #[must_use]
    pub fn free_until(&self) -> Option<Instant> {
        self.agenda.free_until()
    }

    /// The instance at a place, counted as looked at.
    fn slot(&mut self, at: usize) -> Option<&mut InstanceSlot> {
        self.counters.looks = self.counters.looks.saturating_add(1);
        self.instances
            .get_mut(..self.instances_len)
            .and_then(|instances| instances.get_mut(at))
    }

    /// Something about an instance may have changed: puts it where its next
    /// work is found. After every `handle_*` of its router.
    fn touch(&mut self, now: Instant, at: usize) {
        self.mark_group(at);
        self.schedule(now, at);
    }

    /// As [`Self::touch`], where its group knows.
    fn schedule(&mut self, now: Instant, at: usize) {
        let together = self.instances().get(at).and_then(|s| self.takeover_of(s));
        let Some(slot) = self.slot(at) else {
            return;
        };
        let speaks = slot.owes_advert(now);
        let announces = slot.owes_announcement(now);
        let remembers = slot.memory_dirty;
        let prepares = slot.router.state().role() == vrrp::Role::Active;
        // What is due waits in a queue, or it would be due again and again. A
        // Backup's deadline is its router's to serve; of a group that waits, no
        // timer counts but the last.
        let next = match (slot.router.state(), together) {
            (vrrp::State::Backup { .. }, Some(together)) => together,
            (vrrp::State::Backup { .. }, None) => slot.poll_timeout(),
            (vrrp::State::Initialize { .. } | vrrp::State::Active { .. }, _) => {
                slot.poll_timeout().filter(|next| now < *next)
            }
        };
        let beside = earliest(slot.held_until, slot.rivalry_over_at());
        let beside = earliest(beside, slot.resumes_until());
        let again = slot.parting.and(slot.retry_at).filter(|at| now < *at);
        let beside = earliest(beside, again);
        let next = earliest(next, beside.map(|at| at.max(now)));
        self.agenda.schedule(at, next);
        for (wanted, work) in [
            (speaks, Work::Speak),
            (announces, Work::Announce),
            (remembers, Work::Remember),
            (prepares, Work::Prepare),
        ] {
            if wanted {
                self.agenda.push(now, work, at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
