//! What the two halves write into the log.

use crate::ipvs;
use crate::model::{DestinationKey, Family, ServiceKey};
use crate::netlink::{Errno, Malformed};
use crate::reconcile::Change;
use crate::record::{Field, Fields, Kind, Ring, records};
use crate::time::Instant;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use heapless::String;

/// A short name in a record.
pub type Name = String<31, u8>;

records! {
    /// A virtual router changed its state.
    0x0501 Info RouterChanged { name: Name, vrid: u8, ipv6: bool, from: &'static str, to: &'static str, why: &'static str }
        "vrrp {name}: {from} -> {to}: {why}";
    /// An advert was not one.
    0x0502 Warn AdvertRejected { source: IpAddr, interface: Name, why: &'static str }
        "vrrp on {interface}: packet from {source} ignored: {why}";
    /// A neighbour speaks for a VRID we do not have.
    0x0503 Debug AdvertOfStranger { source: IpAddr, interface: Name, vrid: u8 }
        "vrrp on {interface}: advert of vrid {vrid} from {source} is for nobody here";
    /// An address was put on its interface.
    0x0504 Info AddressAdded { address: IpAddr, interface: Name }
        "address {address} is on {interface}";
    /// An address was taken off its interface.
    0x0505 Info AddressRemoved { address: IpAddr, interface: Name }
        "address {address} is off {interface}";
    /// The kernel refused to add or remove an address.
    0x0506 Error AddressRefused { address: IpAddr, interface: Name, errno: i32 }
        "address {address} on {interface}: the kernel refused with errno {errno}";
    /// Someone else took an address of ours away.
    0x0507 Warn AddressLost { address: IpAddr, interface: Name }
        "address {address} was taken off {interface} by someone else; putting it back";
    /// An interface is ready for its virtual routers.
    0x0508 Info InterfaceReady { interface: Name, index: u32 }
        "interface {interface} (index {index}) is up";
    /// An interface is not ready.
    0x0509 Warn InterfaceNotReady { interface: Name, why: &'static str }
        "interface {interface} is not ready: {why}";
    /// An advert could not be sent.
    0x050a Error AdvertNotSent { name: Name, errno: i32 }
        "vrrp {name}: advert not sent, errno {errno}";
    /// What addresses the interfaces have is unknown.
    0x050b Warn AddressesUnknown { why: &'static str }
        "links and addresses: {why}; asking the kernel again";
    /// A previous run of this daemon was Active a moment ago.
    0x050c Info RouterResumed { name: Name, silent_us: u64 }
        "vrrp {name}: going on as Active where the last run stopped {silent_us} us ago";
    /// A netlink reply of the route family was not well formed.
    0x050d Error RouteMalformed { what: &'static str, offset: u32 }
        "rtnetlink reply: {what} at byte {offset} is malformed";
    /// A socket of an interface could not be opened.
    0x050e Error PortFailed { interface: Name, errno: i32 }
        "interface {interface}: raw sockets cannot be opened (errno {errno}): CAP_NET_RAW is needed";

    /// The kernel refused to take a macvlan up.
    0x050f Error MacvlanRefused { name: Name, macvlan: Name, errno: i32 }
        "vrrp {name}: the kernel does not take {macvlan} up (errno {errno}): another link of the interface may have its MAC address";

    /// Something tracked is another than it was.
    0x0540 Info TrackChanged { name: Name, state: &'static str, value: i32 }
        "track {name}: {state} ({value})";
    /// What is tracked weighs on a priority, or a failover does.
    0x0541 Info PriorityChanged { name: Name, priority: u8, base: u8 }
        "vrrp {name}: priority {priority} of {base}";
    /// A router cannot take part, and its interface is not the cause.
    0x0542 Warn RouterBarred { name: Name, why: &'static str, what: Name }
        "vrrp {name}: takes no part: {why}{what}";
    /// A router may preempt again after a failover.
    0x0543 Info HoldOver { name: Name }
        "vrrp {name}: the failover is over, it may preempt again";
    /// Two routers believe to be Active.
    0x0544 Error SplitBrain { name: Name, role: &'static str, source: IpAddr, priority: u8 }
        "vrrp {name}: split brain: {role} {source} with priority {priority}; one of them does not hear the other";
    /// No more than one does.
    0x0545 Info SplitBrainOver { name: Name }
        "vrrp {name}: split brain: no rival was heard for a while";

    /// What the kernel's IPVS table holds is unknown.
    0x0601 Warn TableUnknown { why: &'static str }
        "ipvs: {why}; asking the kernel what it holds";
    /// A netlink reply was not well formed.
    0x0602 Error KernelMalformed { what: &'static str, offset: u32 }
        "ipvs: netlink reply: {what} at byte {offset} is malformed";
    /// The kernel has no IPVS.
    0x0603 Error KernelNoIpvs { errno: i32 }
        "ipvs: the kernel has no generic netlink family IPVS (errno {errno}); load ip_vs, or check CAP_NET_ADMIN";
    /// More rows in the kernel than the limits allow for.
    0x0604 Error KernelTableTooLarge { what: &'static str, limit: u32 }
        "ipvs: the kernel's table has more than {limit} {what}, for which there is no room; raise limits.{what} and restart";
    /// The kernel refused a change of a service.
    0x0605 Error ServiceRefused { command: &'static str, address: IpAddr, port: u16, mark: u32, errno: i32, meaning: Meaning }
        "ipvs: {command} {address} port {port} mark {mark}: errno {errno}: {meaning}";
    /// The kernel refused a change of a destination.
    0x0606 Error DestinationRefused { command: &'static str, address: IpAddr, port: u16, errno: i32, meaning: Meaning }
        "ipvs: {command} {address} port {port}: errno {errno}: {meaning}";
    /// The kernel's table was read.
    0x0607 Info TableRead { services: u32, destinations: u32 }
        "ipvs: the kernel holds {services} services and {destinations} destinations";
    /// The kernel's table is what is desired.
    0x0608 Info TableApplied { services: u32, destinations: u32, requests: u64 }
        "ipvs: {requests} requests made it {services} services and {destinations} destinations";
    /// Too few healthy backends: all get traffic again.
    0x060a Error ServiceOpened { address: IpAddr, port: u16, mark: u32 }
        "service {address} port {port} mark {mark}: fewer healthy backends than min_healthy; every backend gets traffic";
    /// Enough healthy backends again.
    0x060b Info ServiceClosed { address: IpAddr, port: u16, mark: u32 }
        "service {address} port {port} mark {mark}: enough healthy backends again";
    /// Nobody else serves.
    0x0615 Error SorryServes { address: IpAddr, port: u16, mark: u32 }
        "service {address} port {port} mark {mark}: the sorry server gets the clients";
    /// Somebody else serves again.
    0x0616 Info SorryRests { address: IpAddr, port: u16, mark: u32 }
        "service {address} port {port} mark {mark}: its own backends get the clients again";
    /// Too little weight serves.
    0x0617 Error QuorumLost { address: IpAddr, port: u16, mark: u32 }
        "service {address} port {port} mark {mark}: quorum lost: less weight serves than quorum less hysteresis";
    /// Enough weight serves again.
    0x0618 Info QuorumGained { address: IpAddr, port: u16, mark: u32 }
        "service {address} port {port} mark {mark}: quorum regained";
    /// A plan does not fit the memory taken at start.
    0x060c Error PlanTooLarge { what: &'static str }
        "the new config needs more {what} than the limits the daemon was started with; restart it";
    /// Someone else changed a service.
    0x0610 Warn ServiceDrifted { address: IpAddr, port: u16, mark: u32, how: &'static str, times: u32 }
        "ipvs: service {address} port {port} mark {mark}: someone else {how} it; putting it right ({times} so far)";
    /// Someone else changed a destination.
    0x0611 Warn DestinationDrifted { address: IpAddr, port: u16, mark: u32, backend: IpAddr, backend_port: u16, how: &'static str, times: u32 }
        "ipvs: service {address} port {port} mark {mark} backend {backend} port {backend_port}: someone else {how} it; putting it right ({times} so far)";
    /// Someone else changed a weight.
    0x0612 Warn WeightDrifted { address: IpAddr, port: u16, mark: u32, backend: IpAddr, backend_port: u16, weight: u32, times: u32 }
        "ipvs: service {address} port {port} mark {mark} backend {backend} port {backend_port}: someone else set its weight to {weight}; putting it right ({times} so far)";
    /// Someone else changed more than the log should list.
    0x0613 Warn MoreDrifted { more: u32 }
        "ipvs: {more} more rows were changed by someone else; putting them right";
    /// Someone else changes the same row again and again.
    0x0614 Warn TableContested { times: u32, wait_s: u64 }
        "ipvs: someone else has undone what this node declares {times} times: end one of the two, or set own = \"declared\"; looking again in {wait_s} s";
    /// The kernel refused more than the log should list.
    0x0624 Error MoreRefused { more: u32 }
        "ipvs: {more} more changes were refused";

    /// A connection synchronization daemon was started.
    0x0620 Info DaemonStarted { state: &'static str, interface: Name, sync_id: u32 }
        "ipvs: the sync daemon {state} runs on {interface} with id {sync_id}";
    /// A connection synchronization daemon was stopped.
    0x0621 Info DaemonStopped { state: &'static str }
        "ipvs: the sync daemon {state} was stopped";
    /// The kernel refused to start or stop a synchronization daemon.
    0x0622 Error DaemonRefused { state: &'static str, errno: i32, meaning: Meaning }
        "ipvs: sync daemon {state}: errno {errno}: {meaning}";
}

/// What an error number of an IPVS command means; the words are looked up where
/// the text is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The command refused.
    pub command: ipvs::Command,
    /// Why.
    pub errno: Errno,
}

impl Field for Meaning {
    const KIND: Kind = Kind::Code(|code| {
        let [command, rest @ ..] = code.to_be_bytes();
        let [high, middle, low] = rest;
        let errno = i32::from_be_bytes([0, high, middle, low]);
        ipvs::meaning(ipvs::Command(command), Errno(errno))
    });
    fn encode(&self, fields: &mut Fields) {
        let [_, high, middle, low] = self.errno.0.to_be_bytes();
        fields.bytes(&u32::from_be_bytes([self.command.0, high, middle, low]).to_ne_bytes());
    }
}

/// Says which change the kernel refused.
pub(super) fn log_refused(log: &mut Ring<'_>, now: Instant, change: &Change<'_>, errno: Errno) {
    let command = match change {
        Change::AddService(_) => ipvs::Command::NEW_SERVICE,
        Change::SetService(_) => ipvs::Command::SET_SERVICE,
        Change::DeleteService(_) => ipvs::Command::DEL_SERVICE,
        Change::AddDestination(..) => ipvs::Command::NEW_DEST,
        Change::SetDestination(..) => ipvs::Command::SET_DEST,
        Change::DeleteDestination(..) => ipvs::Command::DEL_DEST,
    };
    let meaning = Meaning { command, errno };
    let name = command.name().unwrap_or("?");
    let service = |log: &mut Ring<'_>, key: &ServiceKey| {
        let (address, port, mark) = service_fields(key);
        let errno = errno.0;
        log.log(
            now,
            ServiceRefused {
                command: name,
                address,
                port,
                mark,
                errno,
                meaning,
            },
        );
    };
    let destination = |log: &mut Ring<'_>, key: &DestinationKey| {
        let DestinationKey { address, port } = *key;
        let errno = errno.0;
        log.log(
            now,
            DestinationRefused {
                command: name,
                address,
                port,
                errno,
                meaning,
            },
        );
    };
    match change {
        Change::AddService(new) | Change::SetService(new) => service(log, &new.key),
        Change::DeleteService(key) => service(log, key),
        Change::AddDestination(_, new) | Change::SetDestination(_, new) => {
            destination(log, &new.key);
        }
        Change::DeleteDestination(_, key) => destination(log, key),
    }
}

/// Says which row someone else changed: `change` undoes that. `weight` is what
/// a destination that differs has now.
pub(super) fn log_drifted(
    log: &mut Ring<'_>,
    now: Instant,
    change: &Change<'_>,
    weight: Option<u32>,
    times: u32,
) {
    let (address, port, mark) = service_fields(change.service());
    let (how, at) = match *change {
        Change::AddService(_) => ("deleted", None),
        Change::SetService(_) => ("changed", None),
        Change::DeleteService(_) => ("added", None),
        Change::AddDestination(_, it) => ("deleted", Some(it.key)),
        Change::SetDestination(_, it) => {
            let at = it.key;
            if let Some(weight) = weight.filter(|weight| *weight != it.weight) {
                log.log(
                    now,
                    WeightDrifted {
                        address,
                        port,
                        mark,
                        backend: at.address,
                        backend_port: at.port,
                        weight,
                        times,
                    },
                );
                return;
            }
            ("changed", Some(at))
        }
        Change::DeleteDestination(_, at) => ("added", Some(*at)),
    };
    match at {
        None => log.log(
            now,
            ServiceDrifted {
                address,
                port,
                mark,
                how,
                times,
            },
        ),
        Some(DestinationKey {
            address: backend,
            port: backend_port,
        }) => log.log(
            now,
            DestinationDrifted {
                address,
                port,
                mark,
                backend,
                backend_port,
                how,
                times,
            },
        ),
    }
}

impl From<Malformed> for KernelMalformed {
    fn from(Malformed { what, offset, .. }: Malformed) -> Self {
        Self {
            what,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        }
    }
}

impl From<Malformed> for RouteMalformed {
    fn from(Malformed { what, offset, .. }: Malformed) -> Self {
        Self {
            what,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
        }
    }
}

/// A name as records carry it.
#[must_use]
pub(super) fn name<const N: usize>(name: &String<N, u8>) -> Name {
    Name::try_from(name.as_str()).unwrap_or_default()
}

/// Address, port and mark of a service, as records show it: a fwmark service
/// has the unspecified address of its family.
#[must_use]
pub(super) const fn service_fields(key: &ServiceKey) -> (IpAddr, u16, u32) {
    match *key {
        ServiceKey::Address { address, port, .. } => (address, port, 0),
        ServiceKey::Fwmark {
            mark,
            family: Family::V4,
        } => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, mark),
        ServiceKey::Fwmark {
            mark,
            family: Family::V6,
        } => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0, mark),
    }
}
