//! Requests to rtnetlink, appended to a [`Batch`]. None asks for an ack: end
//! the batch with a barrier, except where it is a dump, which ends itself.

use super::attribute::{
    IFA_ADDRESS, IFA_CACHEINFO, IFA_FLAGS, IFA_LABEL, IFA_LOCAL, IFA_PROTO, IFLA_EXT_MASK,
    IFLA_IFNAME,
};
use super::name::NAME_BYTES_MAX;
use super::{AddressFlags, AddressProtocol, Command, InterfaceAddress, InterfaceIndex, LinkName};
use crate::model::Family;
use crate::netlink::{Batch, Body, Flags, Full};
use core::fmt;
use core::net::IpAddr;

/// The rule that a request breaks; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No rule of rtnetlink: the batch is full. Send it, then try again.
    Full,
    /// A prefix length above 32 (IPv4) or 128 (IPv6).
    Prefix {
        /// The prefix length.
        prefix: u8,
        /// The most there may be.
        most: u8,
    },
    /// An address no interface can have: unspecified or multicast.
    Address,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Full => Full.fmt(f),
            Self::Prefix { prefix, most } => write!(f, "prefix length {prefix} is above {most}"),
            Self::Address => f.write_str("an unspecified or multicast address is of no interface"),
        }
    }
}

impl core::error::Error for Refused {}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// Appends a request to add an address to its interface, and returns its
/// sequence number. An address that is there already is refused with `EEXIST`,
/// and stays as it is: see [`super::added`]. Kernels before 5.18 pass over the
/// protocol.
///
/// `label` is what ifconfig(8) calls an IPv4 address, at most 15 bytes; empty for
/// the interface's name. Longer ones are cut.
///
/// For a virtual address give its full length as prefix (`/32`, `/128`): it
/// then is the first of no subnet, and deleting it deletes no other.
///
/// # Errors
/// [`Refused`]; the batch is then as it was.
pub fn add_address(
    batch: &mut Batch<'_>,
    it: &InterfaceAddress,
    label: &str,
) -> Result<u32, Refused> {
    check(it.address, it.prefix)?;
    let flags = Flags::REQUEST | Flags::CREATE | Flags::EXCL;
    let seq = batch.message(Command::NEWADDR.message_type(), flags, |body| {
        let [low_flags, ..] = it.flags.bits().to_le_bytes();
        address_header(
            body,
            it.interface,
            it.address,
            it.prefix,
            low_flags,
            it.scope.0,
        );
        addresses(body, it.address);
        body.u32(IFA_FLAGS, it.flags.bits());
        if it.address.is_ipv4() && !label.is_empty() {
            let mut raw = [0; NAME_BYTES_MAX + 1];
            for (to, from) in raw.iter_mut().zip(label.bytes().take(NAME_BYTES_MAX)) {
                *to = from;
            }
            body.bytes(IFA_LABEL, &raw);
        }
        if it.flags.contains(AddressFlags::DEPRECATED) {
            body.bytes(IFA_CACHEINFO, &NEVER_PREFERRED);
        }
        if it.protocol != AddressProtocol::UNSPECIFIED {
            body.u8(IFA_PROTO, it.protocol.0);
        }
    })?;
    Ok(seq)
}

/// Appends a request to delete an address from its interface, and returns its
/// sequence number. The prefix must be the one it has. One that is not there is
/// refused with `EADDRNOTAVAIL`: see [`super::deleted`].
///
/// # Errors
/// [`Refused`]; the batch is then as it was.
pub fn delete_address(
    batch: &mut Batch<'_>,
    interface: InterfaceIndex,
    address: IpAddr,
    prefix: u8,
) -> Result<u32, Refused> {
    check(address, prefix)?;
    let seq = batch.message(Command::DELADDR.message_type(), Flags::REQUEST, |body| {
        address_header(body, interface, address, prefix, 0, 0);
        addresses(body, address);
    })?;
    Ok(seq)
}

/// Appends a request to dump the addresses of one family or of all families;
/// each row decodes to [`super::Event::Address`] or to nothing of ours.
///
/// # Errors
/// [`Refused::Full`].
pub fn dump_addresses(batch: &mut Batch<'_>, family: Option<Family>) -> Result<u32, Refused> {
    let flags = Flags::REQUEST | Flags::DUMP;
    let seq = batch.message(Command::GETADDR.message_type(), flags, |body| {
        body.raw(&[family.map_or(0, Family::number), 0, 0, 0, 0, 0, 0, 0]);
    })?;
    Ok(seq)
}

/// Appends a request to dump all links; each row decodes to
/// [`super::Event::Link`].
///
/// # Errors
/// [`Refused::Full`].
pub fn dump_links(batch: &mut Batch<'_>) -> Result<u32, Refused> {
    let flags = Flags::REQUEST | Flags::DUMP;
    let seq = batch.message(Command::GETLINK.message_type(), flags, |body| {
        link_header(body, 0);
        body.u32(IFLA_EXT_MASK, SKIP_STATISTICS);
    })?;
    Ok(seq)
}

/// Appends a request for the link of that name; it is answered by one message
/// that decodes to [`super::Event::Link`], or by `ENODEV`.
///
/// # Errors
/// [`Refused::Full`].
pub fn get_link(batch: &mut Batch<'_>, name: &LinkName) -> Result<u32, Refused> {
    let seq = batch.message(Command::GETLINK.message_type(), Flags::REQUEST, |body| {
        link_header(body, 0);
        body.u32(IFLA_EXT_MASK, SKIP_STATISTICS);
        link_name(body, name);
    })?;
    Ok(seq)
}

/// `IFLA_IFNAME`, with the zeros that the kernel's own array has.
pub(super) fn link_name(body: &mut Body<'_, '_>, name: &LinkName) {
    let mut raw = [0; NAME_BYTES_MAX + 1];
    for (to, from) in raw.iter_mut().zip(name.as_bytes()) {
        *to = *from;
    }
    body.bytes(IFLA_IFNAME, &raw);
}

/// `struct ifa_cacheinfo` (if_addr.h): preferred for 0 s, valid for ever
/// (`INFINITY_LIFE_TIME`); the two time stamps are the kernel's to write.
const NEVER_PREFERRED: [u8; 16] = [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0];

/// `RTEXT_FILTER_SKIP_STATS`.
const SKIP_STATISTICS: u32 = 1 << 3;

fn check(address: IpAddr, prefix: u8) -> Result<(), Refused> {
    let most = Family::of(&address).bits();
    if prefix > most {
        return Err(Refused::Prefix { prefix, most });
    }
    if address.is_unspecified() || address.is_multicast() {
        return Err(Refused::Address);
    }
    Ok(())
}

/// `struct ifaddrmsg`.
fn address_header(
    body: &mut Body<'_, '_>,
    interface: InterfaceIndex,
    address: IpAddr,
    prefix: u8,
    flags: u8,
    scope: u8,
) {
    body.raw(&[Family::of(&address).number(), prefix, flags, scope]);
    body.raw(&interface.get().to_ne_bytes());
}

/// Both, and the same: no other end. IPv4 needs the first, and compares the
/// prefix on deletion only with the second.
fn addresses(body: &mut Body<'_, '_>, address: IpAddr) {
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        match address {
            IpAddr::V4(address) => body.four(kind, address.octets()),
            IpAddr::V6(address) => body.bytes(kind, &address.octets()),
        }
    }
}

/// `struct ifinfomsg`.
pub(super) fn link_header(body: &mut Body<'_, '_>, index: u32) {
    body.raw(&[0; 4]);
    body.raw(&index.to_ne_bytes());
    body.raw(&[0; 8]);
}
