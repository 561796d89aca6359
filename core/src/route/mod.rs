//! Addresses and links over rtnetlink: its numbers, its requests ([`request`])
//! and what the kernel says ([`decode`]), in answer or unasked. Not a socket:
//! the node adds and deletes addresses, watches links, and makes macvlans
//! ([`link`]); of routes it only asks whether they are there ([`fib`]).
//!
//! Source: rtnetlink(7), linux/rtnetlink.h, if_addr.h, if_link.h, if.h; kernels
//! 4.14 and later. Host byte order; addresses are bytes.

mod decode;
pub mod fib;
#[doc(hidden)]
pub mod laws;
pub mod link;
mod meaning;
mod name;
pub mod request;
#[cfg(test)]
mod tests;

pub use decode::{Event, InterfaceAddress, Link, LinkKind, decode};
pub use meaning::{Effect, added, deleted, meaning};
pub use name::{BadName, LinkName};
pub use request::Refused;

use crate::netlink::{MessageType, numbers};
use core::num::NonZeroU32;

/// `ifindex`: names an interface of a namespace for as long as it lives. One
/// that is deleted and made again has another.
pub type InterfaceIndex = NonZeroU32;

/// Bytes of the buffer to receive into: no part of a dump is larger.
pub const RECEIVE_BYTES: usize = 32 * 1024;

/// Bytes of the longest requests here: adding an IPv6 address, making a macvlan.
pub const REQUEST_BYTES_MAX: usize = 100;

/// The multicast groups whose messages [`decode`] reads: `RTNLGRP_LINK`,
/// `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`.
pub const GROUPS: [u32; 3] = [1, 5, 9];

numbers! {
    /// `RTM_*`, the message types of rtnetlink used here.
    Command(u16) {
        /// A link is there or has changed.
        NEWLINK = 16;
        /// A link is gone.
        DELLINK = 17;
        /// Asks for one link, or all of them with `Flags::DUMP`.
        GETLINK = 18;
        /// Changes a link that is there.
        SETLINK = 19;
        /// Adds an address; an address is there or has changed.
        NEWADDR = 20;
        /// Deletes an address; an address is gone.
        DELADDR = 21;
        /// Asks for all addresses; a dump only.
        GETADDR = 22;
        /// A route is there.
        NEWROUTE = 24;
        /// A route is gone.
        DELROUTE = 25;
        /// Asks for all routes with `Flags::DUMP`.
        GETROUTE = 26;
    }
}

impl Command {
    /// As a netlink header has it.
    #[must_use]
    pub const fn message_type(self) -> MessageType {
        MessageType(self.0)
    }
}

numbers! {
    /// `RT_SCOPE_*`: how far an address is good for.
    Scope(u8) {
        /// Everywhere.
        UNIVERSE = 0;
        /// The site; IPv6 only, and out of use.
        SITE = 200;
        /// This link.
        LINK = 253;
        /// This host.
        HOST = 254;
        /// Nowhere.
        NOWHERE = 255;
    }
}

numbers! {
    /// `IFAPROT_*`: who added an address (`IFA_PROTO`, kernels 5.18 and later).
    AddressProtocol(u8) {
        /// Nobody said.
        UNSPECIFIED = 0;
        /// The kernel, for the loopback interface.
        KERNEL_LO = 1;
        /// The kernel, by a router advertisement.
        KERNEL_RA = 2;
        /// The kernel, as the link-local address of an interface.
        KERNEL_LL = 3;
        /// This project, for addresses VRRP gives it: VRRP's number among IP
        /// protocols, which no other program claims here.
        TRUNNION = 112;
    }
}

numbers! {
    /// `IF_OPER_*`: the operational state of a link (RFC 2863).
    OperationalState(u8) {
        /// Its driver does not say; count on [`LinkFlags::LOWER_UP`].
        UNKNOWN = 0;
        /// Some part of it is missing.
        NOT_PRESENT = 1;
        /// Nothing can be sent.
        DOWN = 2;
        /// A link beneath it is down.
        LOWER_LAYER_DOWN = 3;
        /// Under test.
        TESTING = 4;
        /// Waits for something, such as 802.1X.
        DORMANT = 5;
        /// Works.
        UP = 6;
    }
}

numbers! {
    /// `MACVLAN_MODE_*` (if_link.h): what a macvlan does with what comes from
    /// another one of its interface.
    MacvlanMode(u32) {
        /// Passes it over. What comes in from the macvlan's own address is its
        /// alone: the interface beneath does not hear it.
        PRIVATE = 1;
        /// Takes it if a switch sent it back. The interface beneath hears all.
        VEPA = 2;
        /// Takes it.
        BRIDGE = 4;
        /// There is no other.
        PASSTHRU = 8;
        /// Takes what comes from listed addresses.
        SOURCE = 16;
    }
}

numbers! {
    /// `IFLA_GROUP`: a number an administrator may give links, to name many at
    /// once.
    LinkGroup(u32) {
        /// Of all links that were given none.
        DEFAULT = 0;
        /// This project's macvlans, once they are as they should be: `trun`.
        TRUNNION = 0x7472_756e;
    }
}

bitflags::bitflags! {
    /// `IFA_F_*` (if_addr.h). Unknown bits survive.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AddressFlags: u32 {
        /// IPv4: not the first of its subnet, and deleted with it unless
        /// `promote_secondaries` is set. IPv6: temporary (RFC 8981).
        const SECONDARY = 0x01;
        /// IPv6: used at once, without duplicate address detection, which would
        /// keep a virtual address silent for a second or more.
        const NODAD = 0x02;
        /// IPv6: used while it is being checked.
        const OPTIMISTIC = 0x04;
        /// IPv6: someone else has it.
        const DADFAILED = 0x08;
        /// IPv6: home address of a mobile node.
        const HOMEADDRESS = 0x10;
        /// IPv6: not to be chosen as a source. The kernel takes it from the
        /// preferred lifetime; [`request::add_address`] says it so.
        const DEPRECATED = 0x20;
        /// IPv6: being checked, not usable yet.
        const TENTATIVE = 0x40;
        /// Without a lifetime.
        const PERMANENT = 0x80;
        /// IPv6: template for temporary addresses.
        const MANAGETEMPADDR = 0x100;
        /// No route to the prefix comes with the address.
        const NOPREFIXROUTE = 0x200;
        /// Joins the multicast group that the address is.
        const MCAUTOJOIN = 0x400;
        /// IPv6: made by the rules of RFC 7217.
        const STABLE_PRIVACY = 0x800;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// `IFF_*` (if.h, netdevice(7)). Unknown bits survive.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LinkFlags: u32 {
        /// The operator wants it up.
        const UP = 0x1;
        /// Its link knows broadcast.
        const BROADCAST = 0x2;
        /// A loopback interface.
        const LOOPBACK = 0x8;
        /// Has one other end only.
        const POINT_TO_POINT = 0x10;
        /// Up, and operational.
        const RUNNING = 0x40;
        /// Does no ARP.
        const NOARP = 0x80;
        /// Hears everything.
        const PROMISCUOUS = 0x100;
        /// Has others beneath it, as a bond has.
        const MASTER = 0x400;
        /// Belongs to such a one.
        const SLAVE = 0x800;
        /// Its link knows multicast.
        const MULTICAST = 0x1000;
        /// Its driver sees a carrier.
        const LOWER_UP = 0x1_0000;
        /// Waits for something, such as 802.1X.
        const DORMANT = 0x2_0000;
        const _ = !0;
    }
}

/// Numbers of attributes, `IFA_*` and `IFLA_*`.
mod attribute {
    use crate::netlink::AttributeKind;

    pub(super) const IFA_ADDRESS: AttributeKind = 1;
    pub(super) const IFA_LOCAL: AttributeKind = 2;
    pub(super) const IFA_LABEL: AttributeKind = 3;
    pub(super) const IFA_CACHEINFO: AttributeKind = 6;
    pub(super) const IFA_FLAGS: AttributeKind = 8;
    pub(super) const IFA_PROTO: AttributeKind = 11;

    pub(super) const IFLA_ADDRESS: AttributeKind = 1;
    pub(super) const IFLA_IFNAME: AttributeKind = 3;
    pub(super) const IFLA_MTU: AttributeKind = 4;
    pub(super) const IFLA_LINK: AttributeKind = 5;
    pub(super) const IFLA_MASTER: AttributeKind = 10;
    pub(super) const IFLA_OPERSTATE: AttributeKind = 16;
    pub(super) const IFLA_LINKINFO: AttributeKind = 18;
    pub(super) const IFLA_AF_SPEC: AttributeKind = 26;
    pub(super) const IFLA_GROUP: AttributeKind = 27;
    pub(super) const IFLA_EXT_MASK: AttributeKind = 29;
    /// Inside `IFLA_LINKINFO`.
    pub(super) const IFLA_INFO_KIND: AttributeKind = 1;
    pub(super) const IFLA_INFO_DATA: AttributeKind = 2;
    /// Inside `IFLA_INFO_DATA` of a macvlan.
    pub(super) const IFLA_MACVLAN_MODE: AttributeKind = 1;
    /// Inside `IFLA_AF_SPEC`, below the number of a family.
    pub(super) const IFLA_INET_CONF: AttributeKind = 1;
    pub(super) const IFLA_INET6_ADDR_GEN_MODE: AttributeKind = 8;
}
