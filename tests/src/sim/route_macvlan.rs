//! The macvlans of one node's kernel: made, changed and deleted by the daemon's
//! `links` thread, by its loop, by its guardian, and by people.
//!
//! Source: net/core/rtnetlink.c, drivers/net/macvlan.c.

use super::netlink::{self, Message, Request, errno};
use super::route_kernel::{Interface, RouteKernel};
use trunnion_core::director::ha::{Chore, WantedMacvlan};
use trunnion_core::route::LinkGroup;

const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_GROUP: u16 = 27;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;

/// What a macvlan has that others have not.
#[derive(Clone, Copy, Debug)]
pub struct Above {
    /// Index of the interface beneath.
    pub lower: u32,
    pub mode: u32,
    pub group: u32,
}

impl Above {
    /// What a message about the link says of that.
    pub fn told(self, message: Message) -> Message {
        let Self { lower, mode, group } = self;
        message
            .attribute(IFLA_LINK, &lower.to_ne_bytes())
            .attribute(IFLA_GROUP, &group.to_ne_bytes())
            .nest(IFLA_LINKINFO, |info| {
                info.attribute(IFLA_INFO_KIND, b"macvlan")
                    .nest(IFLA_INFO_DATA, |data| {
                        data.attribute(IFLA_MACVLAN_MODE, &mode.to_ne_bytes())
                    })
            })
    }
}

impl RouteKernel {
    /// The macvlans there are.
    pub fn macvlans(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|i| i.above.is_some())
    }

    /// Does what the daemon's `links` thread does. Whether all of it worked.
    pub fn act(&mut self, chore: &Chore) -> bool {
        let ours = |i: &Interface| i.above.is_some_and(|a| a.group == LinkGroup::TRUNNION.0);
        let about: Vec<_> = match chore {
            Chore::Make(wanted) => vec![wanted.link.name.to_string()],
            Chore::Lower(index) | Chore::Delete(index) => {
                let named = self.macvlans().filter(|i| i.index == index.get());
                named.map(|i| i.name.clone()).collect()
            }
            Chore::Clear => self.macvlans().map(|i| i.name.clone()).collect(),
        };
        if self.refuses(&about) {
            return false;
        }
        match chore {
            Chore::Make(wanted) => return self.make(wanted),
            Chore::Lower(index) => self.set_up_at(index.get(), false),
            Chore::Delete(index) => self.delete_all(|i| i.index == index.get()),
            Chore::Clear => self.delete_all(ours),
        }
        true
    }

    /// Whether what is asked about macvlans fails this time.
    fn refuses(&mut self, names: &[String]) -> bool {
        let refused = self.random.chance(self.faults.refused);
        for name in names.iter().filter(|_| refused) {
            *self.grudges.entry(name.clone()).or_default() += 1;
        }
        refused
    }

    fn make(&mut self, wanted: &WantedMacvlan) -> bool {
        let name = wanted.link.name.to_string();
        let lower = wanted.link.lower.get();
        if self.interface(&name).is_none() {
            if !self.interfaces.iter().any(|i| i.index == lower) {
                return true;
            }
            let above = Above {
                lower,
                mode: wanted.link.mode.0,
                group: 0,
            };
            self.add(&name, wanted.link.mac.0, Some(above));
            // Another of its requests fails, or it dies.
            if self.refuses(std::slice::from_ref(&name)) {
                return false;
            }
        }
        if let Some(at) = self.interfaces.iter().position(|i| i.name == name)
            && let Some(above) = &mut self.interfaces[at].above
        {
            above.group = LinkGroup::TRUNNION.0;
            // Of one that is down nobody is told that, before its MAC address is
            // set once more.
            if self.refuses(std::slice::from_ref(&name)) {
                return false;
            }
            self.tell_link(at);
        }
        true
    }

    pub(super) fn delete_all(&mut self, which: impl Fn(&Interface) -> bool) {
        let gone = self.interfaces.iter().filter(|i| which(i));
        let gone: Vec<_> = gone.map(|i| i.name.clone()).collect();
        gone.iter().for_each(|name| self.delete(name));
    }

    /// Someone else takes a macvlan down or up, renames or deletes it.
    pub fn meddle(&mut self) -> Option<String> {
        let ours = |i: &&Interface| i.above.is_some_and(|a| a.group == LinkGroup::TRUNNION.0);
        let names: Vec<_> = self
            .macvlans()
            .filter(ours)
            .map(|i| i.name.clone())
            .collect();
        if names.is_empty() {
            return None;
        }
        let name = names[self.random.index(names.len())].clone();
        match self.random.below(3) {
            0 => self.delete(&name),
            1 => {
                let up = self.interface(&name).is_some_and(|i| i.up);
                self.set_up(&name, !up);
            }
            _ => {
                let at = self.interfaces.iter().position(|i| i.name == name);
                let at = at.unwrap_or_default();
                let renamed = format!("was{}", self.interfaces[at].index);
                self.interfaces[at].name = renamed;
                self.tell_link(at);
            }
        }
        Some(name)
    }

    pub(super) fn set_link(&mut self, request: &Request<'_>) -> i32 {
        let index = netlink::u32_at(request.body, 4);
        let (flags, change) = (
            netlink::u32_at(request.body, 8),
            netlink::u32_at(request.body, 12),
        );
        assert_eq!(change, 1, "the loop takes links up and no more");
        let Some(found) = self.interfaces.iter().find(|i| i.index == index) else {
            return errno::ENODEV;
        };
        let name = found.name.clone();
        if self.refuses(std::slice::from_ref(&name)) {
            return errno::ENOMEM;
        }
        self.set_up_at(index, flags & 1 == 1);
        0
    }

    pub(super) fn delete_link(&mut self, request: &Request<'_>) -> i32 {
        let index = netlink::u32_at(request.body, 4);
        let attributes = netlink::attributes(&request.body[16..]);
        let group = netlink::attribute(&attributes, IFLA_GROUP);
        let group = group.map(|raw| netlink::u32_at(raw, 0));
        let goes = move |i: &Interface| match group {
            Some(group) => i.above.is_some_and(|above| above.group == group),
            None => i.index == index && i.above.is_some(),
        };
        if !self.interfaces.iter().any(goes) {
            return errno::ENODEV;
        }
        self.delete_all(goes);
        0
    }

    /// What is above a link that came up or went down does as well.
    pub(super) fn tell_above(&mut self, at: usize) {
        let lower = self.interfaces[at].index;
        for at in 0..self.interfaces.len() {
            if self.interfaces[at].above.is_some_and(|a| a.lower == lower) {
                self.tell_link(at);
            }
        }
    }

    /// Whether what is sent by it can arrive.
    pub(super) fn runs(&self, interface: &Interface) -> bool {
        let lower = interface.above.map(|above| above.lower);
        let lower = lower.and_then(|lower| self.interfaces.iter().find(|i| i.index == lower));
        interface.is_running() && lower.is_none_or(Interface::is_running)
    }
}
