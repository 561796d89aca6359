//! What the half hears from the link: packets of protocol 112.

use super::{Ha, Heard};
use crate::director::records;
use crate::model::Family;
use crate::time::Instant;
use crate::vrrp::{self, Advert, Received, Terms};
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
        let Some(at) = self.interfaces.get(interface) else {
            return;
        };
        let found = packet.and_then(|packet| {
            let family = Family::of(&packet.source);
            let router = packet.vrid().and_then(|vrid| at.router(family, vrid));
            let terms = router.and_then(|router| self.instances.get(router));
            // What is for nobody here is counted by the RFC's terms.
            let terms = terms.map_or(Terms::RFC, |slot| slot.config.terms());
            let advert = Advert::parse_by(terms, packet)?;
            Ok((packet, advert, router.zip(at.primary(family))))
        });
        let (packet, advert, router) = match found {
            Ok(found) => found,
            Err(why) => {
                let source = packet.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.source);
                self.reject(now, interface, source, &why);
                return;
            }
        };
        // 7.1, "It MUST verify that the VRID is configured on the receiving interface."
        let Some((router, primary)) = router else {
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
        let silenced = slot.is_silenced(now);
        let before = slot.form();
        slot.heard = Some(advert.form());
        let learned = slot.form() != before;
        let (source, router_of) = (packet.source, &mut slot.router);
        let before = router_of.state().role();
        let actions = if silenced {
            router_of.handle_advert_silenced(now, &advert, source, primary)
        } else {
            router_of.handle_advert(now, &advert, source, primary)
        };
        if learned {
            // The guardian would write its own as we do.
            self.will_version = self.will_version.saturating_add(1);
        }
        self.apply(now, router, actions);
        let heard = Heard {
            source: packet.source,
            priority: advert.priority(),
            at: now,
            interval: advert.interval(),
        };
        self.note_heard(now, router, before, heard);
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
