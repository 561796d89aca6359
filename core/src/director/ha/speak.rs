//! What the half says to the link: adverts, and announcements of addresses.

use super::agenda::Work;
use super::state::{LISTED_MAX_V4, LISTED_MAX_V6, encode_advert};
use super::{AdvertOut, FrameOut, Ha, Presence};
use crate::director::records;
use crate::netlink::Errno;
use crate::time::{Duration, Instant};
use crate::vrrp::advert::Outgoing;
use crate::vrrp::{self, RouterConfig, Transmit};
use crate::wire::{arp, icmpv6};
use core::net::IpAddr;

/// How long after a refused send the next attempt is made, and how many.
const RESEND_AFTER: Duration = Duration::from_millis(1);
const RESENDS_MAX: u8 = 3;

/// Bytes of the longest advert sent, a frame: over IPv4 the count of addresses is
/// the limit; over IPv6 the 1,500 bytes that a link takes.
const ADVERT_BYTES: usize = 1_504;
const _: () = assert!(ADVERT_BYTES >= 14 + 20 + 8 + 4 * LISTED_MAX_V4);
const _: () = assert!(ADVERT_BYTES >= 14 + 40 + 8 + 16 * LISTED_MAX_V6);

/// An advert that is ready to be sent, and what it was made from: at its
/// deadline it is sent as it is, if that still holds.
#[derive(Clone, Debug)]
pub struct Prepared {
    from: Option<Outgoing>,
    len: usize,
    bytes: [u8; ADVERT_BYTES],
}

impl Prepared {
    /// None, to fill the owner's slice with.
    pub const EMPTY: Self = Self {
        from: None,
        len: 0,
        bytes: [0; ADVERT_BYTES],
    };

    /// The addresses it lists may be others.
    pub(super) const fn forget(&mut self) {
        self.from = None;
    }
}

impl Ha<'_> {
    /// The next advert that is due. The owner sends it and says how that went
    /// with [`Self::handle_advert_sent`]; until then this yields the same again.
    pub fn poll_advert(&mut self, now: Instant) -> Option<AdvertOut> {
        while let Some(at) = self.agenda.front(Work::Speak) {
            let slot = self.slot(at)?;
            let due = slot.owes_advert(now);
            if let Some(transmit) = slot.poll_transmit(now).filter(|_| due) {
                if let Some(out) = self.prepared(at, transmit) {
                    return Some(out);
                }
                // No address to send from: the advert is lost, not owed.
                self.sent(now, at);
                continue;
            }
            self.agenda.pop(Work::Speak);
            self.touch(now, at);
        }
        None
    }

    /// The bytes of the advert that [`Self::poll_advert`] yielded last for the
    /// instance: a whole IPv4 packet, or the VRRP message of an IPv6 one; or a
    /// frame, if it says so.
    #[must_use]
    pub fn advert(&self, instance: usize) -> &[u8] {
        let advert = self.adverts.get(instance);
        advert.map_or(&[], |a| a.bytes.get(..a.len).unwrap_or(&[]))
    }

    /// Builds the adverts that are sent next, so that each is ready when it is
    /// due. To be called at the end of a turn; nothing is lost without.
    pub fn prepare(&mut self) {
        while let Some(at) = self.agenda.pop(Work::Prepare) {
            if let Some(slot) = self.instances.get(at)
                && slot.router.state().role() == vrrp::Role::Active
            {
                let RouterConfig {
                    priority, interval, ..
                } = *slot.router.config();
                let _ = self.prepared(at, Transmit { priority, interval });
            }
        }
    }

    /// How sending the advert went. A refused one is tried again a few times
    /// within the interval; then the next deadline stands.
    pub fn handle_advert_sent(&mut self, now: Instant, instance: usize, result: Result<(), Errno>) {
        let Some(slot) = self.instances.get_mut(instance) else {
            return;
        };
        if slot.parting.is_some() {
            if result.is_err() && slot.resends < RESENDS_MAX {
                slot.resends = slot.resends.saturating_add(1);
                slot.retry_at = Some(now + RESEND_AFTER);
                self.touch(now, instance);
                return;
            }
            (slot.resends, slot.retry_at) = (0, None);
            slot.peer = slot.peer.saturating_add(1);
            if usize::from(slot.peer) >= slot.config.peers.len() {
                slot.peer = 0;
                let resigns = core::mem::take(&mut slot.then_resign);
                slot.parting = resigns.then_some(vrrp::PRIORITY_RESIGN);
            }
            self.touch(now, instance);
            return;
        }
        if let Err(errno) = result {
            self.counters.send_errors = self.counters.send_errors.saturating_add(1);
            slot.silent_since = slot.silent_since.or(Some(now));
            if slot.resends == 0 {
                let name = slot.config.name.clone();
                self.log.log(
                    now,
                    records::AdvertNotSent {
                        name,
                        errno: errno.0,
                    },
                );
            }
            if slot.resends < RESENDS_MAX {
                slot.resends = slot.resends.saturating_add(1);
                slot.retry_at = Some(now + RESEND_AFTER);
                self.touch(now, instance);
                return;
            }
        } else {
            slot.silent_since = None;
            slot.last_sent = now;
            slot.last_interval = slot.config.router.interval;
            self.counters.adverts_sent = self.counters.adverts_sent.saturating_add(1);
        }
        slot.resends = 0;
        slot.retry_at = None;
        slot.peer = slot.peer.saturating_add(1);
        if usize::from(slot.peer) >= slot.config.peers.len() {
            slot.peer = 0;
            self.sent(now, instance);
        } else {
            self.touch(now, instance);
        }
    }

    /// Writes the next announcement that is due into `buf`: a gratuitous ARP
    /// request or an unsolicited neighbour advertisement. Once yielded it counts
    /// as sent.
    pub fn poll_announcement(&mut self, now: Instant, buf: &mut [u8]) -> Option<FrameOut> {
        while let Some(at) = self.agenda.front(Work::Announce) {
            let slot = self.slot(at)?;
            if !slot.owes_announcement(now) {
                self.agenda.pop(Work::Announce);
                self.touch(now, at);
                continue;
            }
            let (interface, first) = (usize::from(slot.interface), slot.announced);
            let (run, virtual_mac) = (slot.addresses.clone(), slot.virtual_mac());
            let own = self.interfaces.get(interface).and_then(|i| i.found.mac);
            let mac = virtual_mac.or(own);
            let rest = self.addresses.of(run).get(first..).unwrap_or(&[]);
            let next = rest
                .iter()
                .enumerate()
                .find(|(_, a)| a.presence == Presence::Present && !a.retire);
            if let (Some((skipped, address)), Some(mac)) = (next, mac) {
                let len = announcement(mac, address.virtual_address.address, buf);
                self.counters.announcements = self.counters.announcements.saturating_add(1);
                if let Some(slot) = self.slot(at) {
                    slot.announced = first.saturating_add(skipped).saturating_add(1);
                }
                return Some(FrameOut { interface, len });
            }
            if let Some(slot) = self.slot(at) {
                slot.announced = 0;
                slot.router.handle_announced(now);
            }
        }
        None
    }

    /// The kernel took the advert, or there is none to send: the router's state
    /// may move.
    fn sent(&mut self, now: Instant, at: usize) {
        if let Some(slot) = self.slot(at) {
            slot.parting = None;
            slot.then_resign = false;
            slot.router.handle_sent(now);
            slot.memory_dirty = true;
            // What kept it from taking part may be over by now.
            if !slot.started && !slot.retire {
                self.unsettle(now);
            }
        }
        self.touch(now, at);
    }

    pub(super) fn owes_goodbye(&self, now: Instant) -> bool {
        self.instances()
            .iter()
            .any(|slot| slot.router.poll_transmit(now).is_some())
    }

    /// Makes the advert of an instance ready, unless it is. Nothing without an
    /// address to send from.
    fn prepared(&mut self, at: usize, transmit: Transmit) -> Option<AdvertOut> {
        let slot = self.instances.get(at)?;
        let family = slot.config.router.family;
        let interface = usize::from(slot.interface);
        // 7.2, "Set the source IPv4 address to the interface's primary IPv4 address",
        // or "the source IPv6 address to the interface's link-local IPv6 address".
        let source = self.interfaces.get(interface)?.primary(family)?;
        let peer = slot.config.peers.get(usize::from(slot.peer));
        let destination = peer.copied().unwrap_or(vrrp::group(family));
        let advert = slot.outgoing(transmit, source, destination);
        let from = slot.virtual_mac().filter(|_| slot.config.is_framed());
        let ready = self.adverts.get_mut(at)?;
        if ready.from != Some(advert) {
            ready.from = None;
            let addresses = self.addresses.of(slot.addresses.clone()).iter();
            let listed = addresses.filter(|a| !a.retire);
            let listed = listed.map(|a| a.virtual_address.address);
            ready.len = encode_advert(&advert, from, listed, &mut ready.bytes)?;
            ready.from = Some(advert);
        }
        Some(AdvertOut {
            instance: at,
            interface,
            source,
            destination,
            framed: from.is_some(),
        })
    }
}

/// Writes the frame that tells the link who has `address` now.
fn announcement(mac: crate::wire::MacAddress, address: IpAddr, buf: &mut [u8]) -> usize {
    let mut put = |frame: &[u8]| {
        buf.get_mut(..frame.len()).map_or(0, |place| {
            place.copy_from_slice(frame);
            frame.len()
        })
    };
    match address {
        IpAddr::V4(address) => put(&arp::gratuitous(arp::Gratuitous::Request, mac, address)),
        IpAddr::V6(address) => put(&icmpv6::unsolicited(mac, address)),
    }
}
