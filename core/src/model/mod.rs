//! The nouns: what a service, a destination, a table of them and a
//! synchronization daemon are, whoever says so (a config, a kernel, a test). No bytes, no behaviour.
//!
//! Names and meanings are those of ip_vs.h and ipvsadm(8).

mod destination;
mod service;
mod sync;
mod table;

pub use destination::{Destination, DestinationKey, Forward, Tunnel, TunnelFlags, TunnelType};
pub use service::{EngineName, Protocol, SchedulerName, Service, ServiceFlags, ServiceKey};
pub use sync::{InterfaceName, SyncDaemon, SyncState};
pub use table::{BLANK_DESTINATION, Full, ServiceRow, Table, TableBuf};

use core::net::IpAddr;

/// Address family, with the kernel's numbers (socket.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// `AF_INET`.
    V4 = 2,
    /// `AF_INET6`.
    V6 = 10,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The kernel's number: 2 or 10.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The family of a kernel number, if it is one of the two.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::V4),
            10 => Some(Self::V6),
            _ => None,
        }
    }

    /// Bits of an address: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}
