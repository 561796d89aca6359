//! VRRPv3 (RFC 9568): adverts as bytes, the election, one virtual router as a
//! machine. Not sockets, not addresses on interfaces, not gratuitous ARP: this
//! room says when those are due, its owner does them.
//!
//! ```text
//! packet -> Received -> Advert::parse -> Router::handle_advert -> Actions -> owner
//!                          |                  ^ handle_timeout, handle_config, handle_fault ..
//!                       Malformed -> Rejects  +-> poll_transmit -> advert::encode -> packet
//! ```
//!
//! # What a virtual router does
//!
//! Every state crossed with every event, as the machine has it (written by a
//! test, which fails when they differ):
//!
//! ```text
#![doc = include_str!("table.txt")]
//! ```
//!
//! ```mermaid
#![doc = include_str!("table.mmd")]
//! ```

mod actions;
pub mod advert;
mod announce;
mod centis;
mod config;
mod counters;
#[doc(hidden)]
pub mod laws;
mod malformed;
pub mod records;
mod resume;
mod router;
mod state;
mod timing;

#[cfg(test)]
mod table;

pub use actions::{Actions, Addresses, Reason, Remarks, Role, Transition};
pub use advert::{Advert, AdvertForm, Received, Terms};
pub use announce::Announce;
pub use centis::{Centis, NotCentis};
pub use config::{AnnounceConfig, RouterConfig};
pub use counters::{Counters, Rejects};
pub use malformed::Malformed;
pub use resume::Resume;
pub use router::{Router, Transmit};
pub use state::State;
pub use timing::{active_down_interval, skew_time};

use crate::model::Family;
use crate::wire::MacAddress;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IP protocol number of VRRP (RFC 9568 5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// The TTL or hop limit of every advert: one that crossed a router has less
/// (RFC 9568 5.1.1.3, 5.1.2.3).
pub const TTL: u8 = 255;
/// The priority of a router that owns its addresses.
pub const PRIORITY_OWNER: u8 = 255;
/// The priority in an advert that says "I resign".
pub const PRIORITY_RESIGN: u8 = 0;
/// Where adverts over IPv4 go (RFC 9568 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts over IPv6 go (RFC 9568 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The multicast group of a family's adverts.
#[must_use]
pub const fn group(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(GROUP_V4),
        Family::V6 => IpAddr::V6(GROUP_V6),
    }
}

/// The virtual router's MAC address (RFC 9568 7.3): `00:00:5e:00:01:VRID` for
/// IPv4, `00:00:5e:00:02:VRID` for IPv6.
#[must_use]
pub const fn virtual_mac(family: Family, vrid: u8) -> MacAddress {
    MacAddress(match family {
        Family::V4 => [0x00, 0x00, 0x5e, 0x00, 0x01, vrid],
        Family::V6 => [0x00, 0x00, 0x5e, 0x00, 0x02, vrid],
    })
}
