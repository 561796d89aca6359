//! Requests that make, change and delete links, appended to a [`Batch`]: the
//! macvlans that carry the MAC addresses of virtual routers, and nothing else.
//! As in [`request`](super::request), none asks for an ack.
//!
//! Source: rtnetlink(7), linux/if_link.h, linux/ip.h (`IPV4_DEVCONF_*`),
//! ip-sysctl.rst of the kernel's documentation.

use super::attribute::{
    IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_GROUP, IFLA_INET_CONF, IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MACVLAN_MODE,
};
use super::decode::MACVLAN;
use super::request::{link_header, link_name};
use super::{Command, InterfaceIndex, Link, LinkFlags, LinkGroup, LinkName, MacvlanMode, Refused};
use crate::model::Family;
use crate::netlink::{AttributeKind, Batch, Flags, numbers};
use crate::wire::MacAddress;

/// A macvlan to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macvlan {
    /// Its name.
    pub name: LinkName,
    /// The interface it is on.
    pub lower: InterfaceIndex,
    /// Its address.
    pub mac: MacAddress,
    /// What it does with others of its interface.
    pub mode: MacvlanMode,
}

impl Macvlan {
    /// Whether the link is this one, whatever its name.
    #[must_use]
    pub fn is(&self, link: &Link) -> bool {
        let Self {
            name: _,
            lower,
            mac,
            mode,
        } = self;
        (link.lower, link.mac, link.mode) == (Some(*lower), Some(*mac), Some(*mode))
    }
}

numbers! {
    /// `IPV4_DEVCONF_*` (linux/ip.h): parameters of an interface, as below
    /// `net.ipv4.conf`. The greater of this and `conf.all` is what counts.
    Ipv4Parameter(u16) {
        /// `rp_filter`: drops what comes in by another way than answers go.
        RP_FILTER = 8;
        /// `arp_announce`: which address an ARP request is from.
        ARP_ANNOUNCE = 18;
        /// `arp_ignore`: for which addresses ARP requests are answered.
        ARP_IGNORE = 19;
        /// `promote_secondaries`: addresses outlive the first one of their
        /// subnet.
        PROMOTE_SECONDARIES = 20;
    }
}

/// Appends a request to make a macvlan, which is down then, and returns its
/// sequence number. A name that is taken is refused with `EEXIST`, a kernel
/// without macvlans says `EOPNOTSUPP`, an interface that belongs to a bridge or
/// bond `EBUSY`.
///
/// # Errors
/// [`Refused::Full`].
pub fn add_macvlan(batch: &mut Batch<'_>, it: &Macvlan) -> Result<u32, Refused> {
    let flags = Flags::REQUEST | Flags::CREATE | Flags::EXCL;
    let seq = batch.message(Command::NEWLINK.message_type(), flags, |body| {
        link_header(body, 0);
        link_name(body, &it.name);
        body.u32(IFLA_LINK, it.lower.get());
        body.bytes(IFLA_ADDRESS, &it.mac.0);
        body.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, MACVLAN);
            info.nest(IFLA_INFO_DATA, |data| {
                data.u32(IFLA_MACVLAN_MODE, it.mode.0);
            });
        });
    })?;
    Ok(seq)
}

/// Appends a request to take a link up or down, and returns its sequence
/// number. Down, a macvlan keeps the caller waiting for all processors
/// (`synchronize_rcu`), some 10 ms; up it does not. One that is so already is
/// left as it is.
///
/// # Errors
/// [`Refused::Full`].
pub fn set_up(batch: &mut Batch<'_>, index: InterfaceIndex, up: bool) -> Result<u32, Refused> {
    let change = LinkFlags::UP.bits();
    let flags = if up { change } else { 0 };
    let seq = batch.message(Command::SETLINK.message_type(), Flags::REQUEST, |body| {
        body.raw(&[0; 4]);
        body.raw(&index.get().to_ne_bytes());
        body.raw(&flags.to_ne_bytes());
        body.raw(&change.to_ne_bytes());
    })?;
    Ok(seq)
}

/// Appends a request to give a link a MAC address, and returns its sequence
/// number. All who listen are told, also when it has that address already: of a
/// link that is down hardly anything else is told.
///
/// # Errors
/// [`Refused::Full`].
pub fn set_mac(
    batch: &mut Batch<'_>,
    index: InterfaceIndex,
    mac: MacAddress,
) -> Result<u32, Refused> {
    let seq = batch.message(Command::SETLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, index.get());
        body.bytes(IFLA_ADDRESS, &mac.0);
    })?;
    Ok(seq)
}

/// Appends a request to put a link into a group, and returns its sequence
/// number. Nobody is told of it while the link is down.
///
/// # Errors
/// [`Refused::Full`].
pub fn set_group(
    batch: &mut Batch<'_>,
    index: InterfaceIndex,
    group: LinkGroup,
) -> Result<u32, Refused> {
    let seq = batch.message(Command::SETLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, index.get());
        body.u32(IFLA_GROUP, group.0);
    })?;
    Ok(seq)
}

/// Appends a request to set parameters of an interface, and returns its
/// sequence number. Of a kernel without IPv4, `EAFNOSUPPORT`.
///
/// # Errors
/// [`Refused::Full`].
pub fn set_ipv4_parameters(
    batch: &mut Batch<'_>,
    index: InterfaceIndex,
    parameters: &[(Ipv4Parameter, u32)],
) -> Result<u32, Refused> {
    let seq = batch.message(Command::SETLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, index.get());
        body.nest(IFLA_AF_SPEC, |families| {
            families.nest(family(Family::V4), |ipv4| {
                ipv4.nest(IFLA_INET_CONF, |conf| {
                    for (parameter, value) in parameters {
                        conf.u32(parameter.0, *value);
                    }
                });
            });
        });
    })?;
    Ok(seq)
}

/// Appends a request that an interface be given no link-local address by the
/// kernel (`IN6_ADDR_GEN_MODE_NONE`), and returns its sequence number. While it
/// is down: once up it has one. Without IPv6, `EAFNOSUPPORT`.
///
/// # Errors
/// [`Refused::Full`].
pub fn set_no_link_local(batch: &mut Batch<'_>, index: InterfaceIndex) -> Result<u32, Refused> {
    const NONE: u8 = 1;
    let seq = batch.message(Command::SETLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, index.get());
        body.nest(IFLA_AF_SPEC, |families| {
            families.nest(family(Family::V6), |ipv6| {
                ipv6.u8(IFLA_INET6_ADDR_GEN_MODE, NONE);
            });
        });
    })?;
    Ok(seq)
}

/// Appends a request to delete a link with all that is on it, and returns its
/// sequence number. Keeps the caller waiting for all processors, 10 ms and more.
///
/// # Errors
/// [`Refused::Full`].
pub fn delete(batch: &mut Batch<'_>, index: InterfaceIndex) -> Result<u32, Refused> {
    let seq = batch.message(Command::DELLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, index.get());
    })?;
    Ok(seq)
}

/// Appends a request to delete all links of a group, and returns its sequence
/// number: the kernel waits once for all of them. A group without any is
/// refused with `ENODEV`, group 0 with `EPERM`.
///
/// # Errors
/// [`Refused::Full`].
pub fn delete_group(batch: &mut Batch<'_>, group: LinkGroup) -> Result<u32, Refused> {
    let seq = batch.message(Command::DELLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, 0);
        body.u32(IFLA_GROUP, group.0);
    })?;
    Ok(seq)
}

/// A family as the kind of an attribute.
fn family(family: Family) -> AttributeKind {
    family.number().into()
}
