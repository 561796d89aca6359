//! Requests, written into a [`Batch`]. What the kernel would refuse, or worse,
//! accept and mean something else by, is refused here by name.

mod refused;
mod sync;

pub use refused::Refused;
pub(super) use refused::breaks_a_rule;
pub use sync::{dump_daemons, start_daemon, stop_daemon};

use super::{Command, FAMILY_VERSION, Timeouts, destination as d, service as s, top};
use crate::model::{
    Destination, DestinationKey, Family, Service, ServiceFlags, ServiceKey, Tunnel,
};
use crate::netlink::genl::{self, FamilyId};
use crate::netlink::{Batch, Body, Flags};
use crate::reconcile::Change;
use core::net::IpAddr;

/// Appends the request that carries out `change` and returns its sequence
/// number. It asks for no ack: end the batch with a barrier.
///
/// # Errors
/// [`Refused`] names the rule it breaks, or says that the batch is full; the
/// batch is then as it was.
pub fn change(
    batch: &mut Batch<'_>,
    family: FamilyId,
    change: &Change<'_>,
) -> Result<u32, Refused> {
    match change {
        Change::AddService(it) => service(batch, family, Command::NEW_SERVICE, it),
        Change::SetService(it) => service(batch, family, Command::SET_SERVICE, it),
        Change::DeleteService(key) => {
            of_service(batch, family, Command::DEL_SERVICE, NO_FLAGS, key)
        }
        Change::AddDestination(key, it) => destination(batch, family, Command::NEW_DEST, key, it),
        Change::SetDestination(key, it) => destination(batch, family, Command::SET_DEST, key, it),
        Change::DeleteDestination(key, it) => delete_destination(batch, family, key, it),
    }
}

/// Appends a request to dump all services; each row is a
/// [`super::ServiceEntry`]. A dump is not atomic: rows that others add or
/// delete meanwhile may hide rows that are there.
///
/// # Errors
/// [`Refused::Full`].
pub fn dump_services(batch: &mut Batch<'_>, family: FamilyId) -> Result<u32, Refused> {
    plain(batch, family, Command::GET_SERVICE, Flags::DUMP)
}

/// Appends a request to dump the destinations of a service; each row is a
/// [`super::DestinationEntry`]. Of a service that is not there the dump is
/// empty and no error: [`get_service`] tells the two apart.
///
/// # Errors
/// [`Refused`] when the key cannot be or the batch is full.
pub fn dump_destinations(
    batch: &mut Batch<'_>,
    family: FamilyId,
    key: &ServiceKey,
) -> Result<u32, Refused> {
    of_service(batch, family, Command::GET_DEST, Flags::DUMP, key)
}

/// Appends a request for one service: a [`super::ServiceEntry`] or `ESRCH`.
///
/// # Errors
/// [`Refused`] when the key cannot be or the batch is full.
pub fn get_service(
    batch: &mut Batch<'_>,
    family: FamilyId,
    key: &ServiceKey,
) -> Result<u32, Refused> {
    of_service(batch, family, Command::GET_SERVICE, NO_FLAGS, key)
}

/// Appends a request for version and table size: an [`super::Info`].
///
/// # Errors
/// [`Refused::Full`].
pub fn get_info(batch: &mut Batch<'_>, family: FamilyId) -> Result<u32, Refused> {
    plain(batch, family, Command::GET_INFO, NO_FLAGS)
}

/// Appends a request to delete every service. For tools and tests: the daemon
/// never flushes to get to a known state.
///
/// # Errors
/// [`Refused::Full`].
pub fn flush(batch: &mut Batch<'_>, family: FamilyId) -> Result<u32, Refused> {
    plain(batch, family, Command::FLUSH, NO_FLAGS)
}

/// Appends a request to zero the counters of one service and its destinations,
/// or of everything.
///
/// # Errors
/// [`Refused`] when the key cannot be or the batch is full.
pub fn zero(
    batch: &mut Batch<'_>,
    family: FamilyId,
    key: Option<&ServiceKey>,
) -> Result<u32, Refused> {
    match key {
        Some(key) => of_service(batch, family, Command::ZERO, NO_FLAGS, key),
        None => plain(batch, family, Command::ZERO, NO_FLAGS),
    }
}

/// Appends a request for the timeouts of connections: a [`Timeouts`].
///
/// # Errors
/// [`Refused::Full`].
pub fn get_timeouts(batch: &mut Batch<'_>, family: FamilyId) -> Result<u32, Refused> {
    plain(batch, family, Command::GET_CONFIG, NO_FLAGS)
}

/// Appends a request to set the timeouts of connections; 0 leaves one as it is.
///
/// # Errors
/// [`Refused`] when one is too long or the batch is full.
pub fn set_timeouts(
    batch: &mut Batch<'_>,
    family: FamilyId,
    timeouts: &Timeouts,
) -> Result<u32, Refused> {
    let Timeouts {
        tcp_s,
        tcp_fin_s,
        udp_s,
    } = *timeouts;
    let timeout_s = tcp_s.max(tcp_fin_s).max(udp_s);
    if timeout_s > refused::CONNECTION_TIMEOUT_S_MAX {
        return Err(Refused::ConnectionTimeout { timeout_s });
    }
    ask(batch, family, Command::SET_CONFIG, NO_FLAGS, |body| {
        body.u32(top::TIMEOUT_TCP, tcp_s);
        body.u32(top::TIMEOUT_TCP_FIN, tcp_fin_s);
        body.u32(top::TIMEOUT_UDP, udp_s);
    })
}

const NO_FLAGS: Flags = Flags::empty();

fn ask<'b>(
    batch: &mut Batch<'b>,
    family: FamilyId,
    command: Command,
    flags: Flags,
    fill: impl FnOnce(&mut Body<'_, 'b>),
) -> Result<u32, Refused> {
    Ok(genl::request(
        batch,
        family,
        command.0,
        FAMILY_VERSION,
        flags,
        fill,
    )?)
}

fn plain(
    batch: &mut Batch<'_>,
    family: FamilyId,
    command: Command,
    flags: Flags,
) -> Result<u32, Refused> {
    ask(batch, family, command, flags, |_| {})
}

fn of_service(
    batch: &mut Batch<'_>,
    family: FamilyId,
    command: Command,
    flags: Flags,
    key: &ServiceKey,
) -> Result<u32, Refused> {
    refused::key(key)?;
    ask(batch, family, command, flags, |body| {
        body.nest(top::SERVICE, |nest| service_key(nest, key));
    })
}

fn service(
    batch: &mut Batch<'_>,
    family: FamilyId,
    command: Command,
    service: &Service,
) -> Result<u32, Refused> {
    let Service {
        key,
        scheduler,
        flags,
        timeout_s,
        prefix,
        engine,
    } = service;
    refused::key(key)?;
    refused::names(scheduler, engine)?;
    if *timeout_s > refused::TIMEOUT_S_MAX {
        return Err(Refused::Timeout {
            timeout_s: *timeout_s,
        });
    }
    let netmask = netmask(key.family(), *prefix)?;
    let [f0, f1, f2, f3] = flags.difference(ServiceFlags::HASHED).bits().to_ne_bytes();
    ask(batch, family, command, NO_FLAGS, |body| {
        body.nest(top::SERVICE, |nest| {
            service_key(nest, key);
            nest.text(s::SCHEDULER, scheduler);
            if !engine.is_empty() {
                nest.text(s::ENGINE, engine);
            }
            // The mask says which flags to change: all. Without it the kernel
            // would keep the old ones in silence.
            nest.bytes(s::FLAGS, &[f0, f1, f2, f3, 0xff, 0xff, 0xff, 0xff]);
            nest.u32(s::TIMEOUT, *timeout_s);
            nest.four(s::NETMASK, netmask);
        });
    })
}

fn destination(
    batch: &mut Batch<'_>,
    family: FamilyId,
    command: Command,
    key: &ServiceKey,
    destination: &Destination,
) -> Result<u32, Refused> {
    refused::key(key)?;
    refused::destination(key.family(), destination)?;
    let Destination {
        key: at,
        forward,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
    } = *destination;
    ask(batch, family, command, NO_FLAGS, |body| {
        body.nest(top::SERVICE, |nest| service_key(nest, key));
        body.nest(top::DESTINATION, |nest| {
            destination_key(nest, key.family(), &at);
            nest.u32(d::FORWARD, forward.0.into());
            nest.u32(d::WEIGHT, weight);
            nest.u32(d::UPPER_THRESHOLD, upper_threshold);
            nest.u32(d::LOWER_THRESHOLD, lower_threshold);
            // Left out they are 0 in a NEW, and a SET makes them so: plain ipip.
            if tunnel != Tunnel::IPIP {
                nest.u8(d::TUNNEL_TYPE, tunnel.kind.0);
                nest.u16_be(d::TUNNEL_PORT, tunnel.port);
                nest.u16(d::TUNNEL_FLAGS, tunnel.flags.bits());
            }
        });
    })
}

fn delete_destination(
    batch: &mut Batch<'_>,
    family: FamilyId,
    key: &ServiceKey,
    at: &DestinationKey,
) -> Result<u32, Refused> {
    refused::key(key)?;
    ask(batch, family, Command::DEL_DEST, NO_FLAGS, |body| {
        body.nest(top::SERVICE, |nest| service_key(nest, key));
        body.nest(top::DESTINATION, |nest| {
            destination_key(nest, key.family(), at);
        });
    })
}

fn service_key(nest: &mut Body<'_, '_>, key: &ServiceKey) {
    nest.u16(s::FAMILY, key.family().number().into());
    match key {
        ServiceKey::Address {
            protocol,
            address: to,
            port,
        } => {
            nest.u16(s::PROTOCOL, protocol.0.into());
            address(nest, s::ADDRESS, to);
            nest.u16_be(s::PORT, *port);
        }
        ServiceKey::Fwmark { mark, .. } => nest.u32(s::FWMARK, *mark),
    }
}

fn destination_key(nest: &mut Body<'_, '_>, of: Family, key: &DestinationKey) {
    address(nest, d::ADDRESS, &key.address);
    nest.u16_be(d::PORT, key.port);
    let family = Family::of(&key.address);
    // Left out it is the service's, in every kernel: before 3.18 there was no
    // other. Left out where it is not, an IPv6 address is cut to 4 bytes.
    if family != of {
        nest.u16(d::FAMILY, family.number().into());
    }
}

fn address(nest: &mut Body<'_, '_>, kind: u16, address: &IpAddr) {
    match address {
        IpAddr::V4(v4) => nest.four(kind, v4.octets()),
        IpAddr::V6(v6) => nest.bytes(kind, &v6.octets()),
    }
}

/// IPv4: the mask in network order. IPv6: the prefix length in host order.
const fn netmask(family: Family, prefix: u8) -> Result<[u8; 4], Refused> {
    match (family, prefix) {
        (Family::V4, 0) => Ok([0; 4]),
        (Family::V4, 1..=32) => {
            let host_bits = 32_u32.saturating_sub(prefix as u32);
            Ok((u32::MAX << host_bits).to_be_bytes())
        }
        (Family::V6, 1..=128) => Ok((prefix as u32).to_ne_bytes()),
        (Family::V4 | Family::V6, _) => Err(Refused::Prefix { prefix }),
    }
}
