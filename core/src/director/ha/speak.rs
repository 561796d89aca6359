//! What the half says to the link: adverts, and announcements of addresses.

use super::{AdvertOut, FrameOut, Ha, InstanceSlot, Presence};
use crate::director::records;
use crate::netlink::Errno;
use crate::time::{Duration, Instant};
use crate::vrrp::{self, Transmit};
use crate::wire::{arp, icmpv6};
use core::net::IpAddr;

/// How long after a refused send the next attempt is made, and how many.
const RESEND_AFTER: Duration = Duration::from_millis(1);
const RESENDS_MAX: u8 = 3;

impl Ha<'_> {
    /// Writes the next advert that is due into `buf`. The owner sends it and
    /// says how that went with [`Self::handle_advert_sent`]; until then this
    /// yields the same again.
    pub fn poll_advert(&mut self, now: Instant, buf: &mut [u8]) -> Option<AdvertOut> {
        for at in 0..self.instances_len {
            let slot = self.instances.get(at)?;
            if slot.retry_at.is_some_and(|retry_at| now < retry_at) {
                continue;
            }
            let Some(transmit) = slot.poll_transmit(now) else {
                continue;
            };
            match self.encode(slot, transmit, buf) {
                Some(out) => {
                    return Some(AdvertOut {
                        instance: at,
                        ..out
                    });
                }
                // No address to send from: the advert is lost, not owed.
                None => self.sent(now, at),
            }
        }
        None
    }

    /// How sending the advert went. A refused one is tried again a few times
    /// within the interval; then the next deadline stands.
    pub fn handle_advert_sent(&mut self, now: Instant, instance: usize, result: Result<(), Errno>) {
        let Some(slot) = self.instances.get_mut(instance) else {
            return;
        };
        if slot.parting {
            slot.peer = slot.peer.saturating_add(1);
            if usize::from(slot.peer) >= slot.config.peers.len() {
                slot.peer = 0;
                slot.parting = false;
            }
            return;
        }
        if let Err(errno) = result {
            self.counters.send_errors = self.counters.send_errors.saturating_add(1);
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
                return;
            }
        } else {
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
        }
    }

    /// Writes the next announcement that is due into `buf`: a gratuitous ARP
    /// request or an unsolicited neighbour advertisement. Once yielded it counts
    /// as sent.
    pub fn poll_announcement(&mut self, now: Instant, buf: &mut [u8]) -> Option<FrameOut> {
        for at in 0..self.instances_len {
            let slot = self.instances.get_mut(at)?;
            if !slot.may_announce(self.addresses.of(slot.addresses.clone()))
                || !slot.router.poll_announce(now)
            {
                continue;
            }
            let interface = usize::from(slot.interface);
            let mac = self.interfaces.get(interface).and_then(|i| i.found.mac);
            let addresses = self.addresses.of(slot.addresses.clone());
            let rest = addresses.get(slot.announced..).unwrap_or(&[]);
            let next = rest
                .iter()
                .position(|a| a.presence == Presence::Present && !a.retire);
            if let (Some(skipped), Some(mac)) = (next, mac) {
                let at = slot.announced.saturating_add(skipped);
                slot.announced = at.saturating_add(1);
                if let Some(address) = addresses.get(at) {
                    let len = announcement(mac, address.virtual_address.address, buf);
                    self.counters.announcements = self.counters.announcements.saturating_add(1);
                    return Some(FrameOut { interface, len });
                }
            }
            slot.announced = 0;
            slot.router.handle_announced(now);
        }
        None
    }

    /// The kernel took the advert, or there is none to send: the router's state
    /// may move.
    fn sent(&mut self, now: Instant, at: usize) {
        if let Some(slot) = self.instances.get_mut(at) {
            slot.parting = false;
            slot.router.handle_sent(now);
            slot.memory_dirty = true;
        }
    }

    pub(super) fn owes_goodbye(&self, now: Instant) -> bool {
        self.instances()
            .iter()
            .any(|slot| slot.router.poll_transmit(now).is_some())
    }

    fn encode(&self, slot: &InstanceSlot, transmit: Transmit, buf: &mut [u8]) -> Option<AdvertOut> {
        let family = slot.config.router.family;
        let interface = usize::from(slot.interface);
        let source = self.interfaces.get(interface)?.primary(family)?;
        let peer = slot.config.peers.get(usize::from(slot.peer));
        let destination = peer.copied().unwrap_or(vrrp::group(family));
        let addresses = self
            .addresses
            .of(slot.addresses.clone())
            .iter()
            .filter(|a| !a.retire)
            .map(|a| a.virtual_address.address);
        let len = slot.encode(transmit, source, destination, addresses, buf)?;
        Some(AdvertOut {
            instance: 0,
            interface,
            source,
            destination,
            len,
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
