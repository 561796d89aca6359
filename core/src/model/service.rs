//! A virtual service: what the kernel balances.

use super::Family;
use core::fmt;
use core::net::IpAddr;
use heapless::String;

/// Scheduler name, `IP_VS_SCHEDNAME_MAXLEN` 16 with its NUL (ip_vs.h).
pub type SchedulerName = String<15, u8>;
/// Persistence engine name, `IP_VS_PENAME_MAXLEN` 16: at most 15 bytes in
/// practice ("sip").
pub type EngineName = String<15, u8>;

/// Transport protocol, by its IP protocol number. Open: a number the kernel
/// knows and we do not survives a round trip.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// TCP, 6.
    pub const TCP: Self = Self(6);
    /// UDP, 17.
    pub const UDP: Self = Self(17);
    /// SCTP, 132.
    pub const SCTP: Self = Self(132);
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `TCP`, `UDP`, `SCTP` as ipvsadm prints them; anything else as its number.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.pad("TCP"),
            Self::UDP => f.pad("UDP"),
            Self::SCTP => f.pad("SCTP"),
            Self(other) => write!(f, "protocol {other}"),
        }
    }
}

/// What names a service in the kernel's table. The order is the order of our
/// tables: addressed services by protocol, address and port, then fwmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// Protocol, virtual address, port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address.
        address: IpAddr,
        /// Port, host order; 0 is all ports (persistent services only).
        port: u16,
    },
    /// Firewall mark and family: the same mark in two families is two services.
    Fwmark {
        /// The mark; never 0.
        mark: u32,
        /// Address family of the service.
        family: Family,
    },
}

impl ServiceKey {
    /// Address family of the service.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address),
            Self::Fwmark { family, .. } => *family,
        }
    }
}

/// `TCP 192.0.2.1:80`, `TCP [2001:db8::1]:80`, `FWM 5`, `FWM 5 IPv6`, as
/// ipvsadm names them.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address {
                protocol,
                address: IpAddr::V4(a),
                port,
            } => {
                write!(f, "{protocol} {a}:{port}")
            }
            Self::Address {
                protocol,
                address: IpAddr::V6(a),
                port,
            } => {
                write!(f, "{protocol} [{a}]:{port}")
            }
            Self::Fwmark {
                mark,
                family: Family::V4,
            } => write!(f, "FWM {mark}"),
            Self::Fwmark {
                mark,
                family: Family::V6,
            } => write!(f, "FWM {mark} IPv6"),
        }
    }
}

bitflags::bitflags! {
    /// `IP_VS_SVC_F_*` (ip_vs.h). Unknown bits survive a round trip.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct ServiceFlags: u32 {
        /// Persistent: clients stick to their destination.
        const PERSISTENT = 0x01;
        /// In the kernel's hash table. Owned by the kernel: masked off before
        /// services are compared.
        const HASHED = 0x02;
        /// One-packet scheduling (UDP).
        const ONEPACKET = 0x04;
        /// Scheduler's first flag: `sh-fallback`, `mh-fallback`.
        const SCHED1 = 0x08;
        /// Scheduler's second flag: `sh-port`, `mh-port`.
        const SCHED2 = 0x10;
        /// Scheduler's third flag.
        const SCHED3 = 0x20;
        const _ = !0;
    }
}

/// A virtual service as IPVS stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What names it.
    pub key: ServiceKey,
    /// Scheduler: `rr`, `wrr`, `lc`, `wlc`, `sh`, `mh`, ... or `none`.
    pub scheduler: SchedulerName,
    /// Flags, without [`ServiceFlags::HASHED`].
    pub flags: ServiceFlags,
    /// Persistence timeout, seconds; 0 when not persistent.
    pub timeout_s: u32,
    /// Persistence granularity as a prefix length: 0..=32 or 1..=128 bits, or
    /// [`Service::NO_PREFIX`] in what a kernel reported.
    pub prefix: u8,
    /// Persistence engine, empty for none.
    pub engine: EngineName,
}

impl Service {
    /// The `prefix` of a service whose IPv4 mask is not a prefix
    /// (`ipvsadm -M 255.0.255.0`). Equal to no prefix that can be desired, so
    /// such a service is set right; no encoder accepts it.
    pub const NO_PREFIX: u8 = u8::MAX;

    /// A service with the given key and scheduler and every other field at the
    /// kernel's default.
    #[must_use]
    pub fn new(key: ServiceKey, scheduler: SchedulerName) -> Self {
        Self {
            key,
            scheduler,
            flags: ServiceFlags::empty(),
            timeout_s: 0,
            prefix: key.family().bits(),
            engine: EngineName::new(),
        }
    }
}
