//! What the kernel tells the half of links and addresses, and what the routers
//! make of it.

use super::Ha;
use super::agenda::Work;
use super::netdev::{Known, Netdev};
use crate::director::records;
use crate::model::Family;
use crate::netlink::Errno;
use crate::record::Ring;
use crate::time::Instant;

impl<'s> Ha<'s> {
    /// A datagram of the rtnetlink socket: a reply, or an event.
    pub fn handle_route(&mut self, now: Instant, datagram: &[u8]) {
        let (netdev, known, log) = self.known();
        let changed = netdev.handle_datagram(now, datagram, known, log);
        if changed {
            self.interfaces_version = self.interfaces_version.saturating_add(1);
        }
        let touched = self.netdev.take_touched();
        if touched || changed {
            self.will_version = self.will_version.saturating_add(1);
            self.unsettle(now);
        }
        self.look(now);
    }

    /// The conversation with the kernel, and what it is about.
    pub(super) fn known(&mut self) -> (&mut Netdev, Known<'_, 's>, &mut Ring<'s>) {
        let instances = self.instances.get_mut(..self.instances_len);
        let interfaces = self.interfaces.get_mut(..self.interfaces_len);
        let known = Known {
            addresses: &mut self.addresses,
            instances: instances.unwrap_or(&mut []),
            interfaces: interfaces.unwrap_or(&mut []),
            agenda: &mut self.agenda,
            chores: &mut self.chores,
        };
        (&mut self.netdev, known, &mut self.log)
    }

    /// Replies or events of the rtnetlink socket were lost.
    pub fn handle_route_lost(&mut self, now: Instant, why: &'static str) {
        self.netdev.handle_lost(now, why, &mut self.log);
    }

    /// A socket of an interface was opened, or could not be: then the routers of
    /// its family take no part until one is. To be told of each attempt.
    pub fn handle_port(
        &mut self,
        now: Instant,
        interface: usize,
        family: Family,
        opened: Result<(), Errno>,
    ) {
        let Some(slot) = self.interfaces.get_mut(interface) else {
            return;
        };
        if slot.set_deaf(family, opened.is_err()) {
            self.unsettle(now);
            if let Err(errno) = opened {
                self.handle_frames_failed(now, interface, errno);
            }
        }
    }

    /// The socket for announcements could not be opened: that is only told, for
    /// an Active that cannot announce may still be better than none.
    pub fn handle_frames_failed(&mut self, now: Instant, interface: usize, errno: Errno) {
        let named = self.interfaces.get(interface);
        let interface = named.map_or_else(records::Name::new, |i| records::name(&i.name));
        let errno = errno.0;
        self.log.log(now, records::PortFailed { interface, errno });
    }

    /// What was put on an interface is to be announced, and an announcement may
    /// have waited for it.
    fn look(&mut self, now: Instant) {
        while let Some(at) = self.agenda.pop(Work::Look) {
            if let Some(slot) = self.slot(at)
                && core::mem::take(&mut slot.added)
            {
                slot.router.handle_addresses_added(now);
            }
            self.touch(now, at);
        }
    }
}
