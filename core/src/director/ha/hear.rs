//! What the half hears from the link: packets of protocol 112.

use super::Ha;
use crate::director::records;
use crate::model::Family;
use crate::time::Instant;
use crate::vrrp::{self, Advert, Received};
use core::net::{IpAddr, Ipv4Addr};

impl Ha<'_> {
    /// A packet of protocol 112 came in on an interface, or something that its
    /// header says cannot be one.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        interface: usize,
        packet: Result<Received<'_>, vrrp::Malformed>,
    ) {
        let advert = packet.and_then(|packet| Advert::parse(packet).map(|a| (packet, a)));
        let (packet, advert) = match advert {
            Ok(both) => both,
            Err(why) => {
                let source = packet.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.source);
                self.reject(now, interface, source, &why);
                return;
            }
        };
        let Some(at) = self.interfaces.get(interface) else {
            return;
        };
        let family = Family::of(&packet.source);
        let (Some(primary), Some(router)) = (at.primary(family), at.router(family, advert.vrid()))
        else {
            self.counters.strange(false);
            return;
        };
        let Some(slot) = self.slot(router) else {
            return;
        };
        let expected = slot.config.peers.is_empty() || slot.config.peers.contains(&packet.source);
        if packet.source == primary || !expected {
            self.counters.strange(true);
            return;
        }
        let actions = slot
            .router
            .handle_advert(now, &advert, packet.source, primary);
        self.apply(now, router, actions);
    }

    /// Counts what was no advert, and says so at a bounded rate.
    fn reject(&mut self, now: Instant, interface: usize, source: IpAddr, why: &vrrp::Malformed) {
        self.counters.reject(why);
        if self.counters.is_worth_a_line() {
            let named = self.interfaces.get(interface);
            let interface = named.map_or_else(records::Name::new, |i| records::name(&i.name));
            let why = why.text();
            self.log.log(
                now,
                records::AdvertRejected {
                    source,
                    interface,
                    why,
                },
            );
        }
    }
}
