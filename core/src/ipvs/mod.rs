//! IPVS over generic netlink: its numbers, its requests ([`request`]), its
//! replies ([`decode`]) and what its errors mean ([`meaning`]). Not a socket,
//! and not a judgement of what the table should hold: that is
//! [`crate::reconcile`].
//!
//! Source: linux/ip_vs.h and net/netfilter/ipvs/ip_vs_ctl.c, kernels 6.1 to
//! 7.3, on which the numbers are the same. Host byte order, except addresses,
//! which are bytes, and the ports of services and destinations, which are in
//! network order.

pub mod decode;
mod encoder;
#[doc(hidden)]
pub mod laws;
mod meaning;
pub mod request;
#[cfg(test)]
mod tests;

pub use decode::{DestinationEntry, Info, ServiceEntry, Stats, Timeouts};
pub use encoder::Encoder;
pub use meaning::meaning;
pub use request::Refused;

use crate::netlink::numbers;

/// The family's name, `IPVS_GENL_NAME`.
pub const FAMILY_NAME: &str = "IPVS";
/// The family's version, `IPVS_GENL_VERSION`.
pub const FAMILY_VERSION: u8 = 1;

/// Requests that make a good batch: more bring nothing, and the kernel holds a
/// lock over a whole datagram.
pub const BATCH_REQUESTS_MAX: u32 = 128;
/// Bytes of the longest request: an IPv6 destination of an IPv6 service, in a
/// tunnel that is not plain.
pub const REQUEST_BYTES_MAX: usize = 156;
/// Bytes that hold a full batch and its barrier.
pub const BATCH_BYTES: usize =
    BATCH_REQUESTS_MAX as usize * REQUEST_BYTES_MAX + crate::netlink::HEADER_BYTES;
/// Bytes of the buffer to receive into: the kernel builds no larger part of a
/// dump (`NETLINK_RECVMSG` caps it at 32 KiB).
pub const RECEIVE_BYTES: usize = 32 * 1024;

numbers! {
    /// `IPVS_CMD_*`.
    Command(u8) {
        /// Adds a service; a row in a reply to `GET_SERVICE`.
        NEW_SERVICE = 1;
        /// Changes a service in place.
        SET_SERVICE = 2;
        /// Deletes a service with its destinations.
        DEL_SERVICE = 3;
        /// Asks for one service, or all of them with `Flags::DUMP`.
        GET_SERVICE = 4;
        /// Adds a destination; a row in a reply to `GET_DEST`.
        NEW_DEST = 5;
        /// Changes a destination in place.
        SET_DEST = 6;
        /// Deletes a destination; its connections are kept for a while.
        DEL_DEST = 7;
        /// Asks for the destinations of a service; a dump only.
        GET_DEST = 8;
        /// Starts a connection synchronization daemon; a row in a reply.
        NEW_DAEMON = 9;
        /// Stops a connection synchronization daemon.
        DEL_DAEMON = 10;
        /// Asks for the synchronization daemons; a dump only.
        GET_DAEMON = 11;
        /// Sets the timeouts of connections; the reply to `GET_CONFIG`.
        SET_CONFIG = 12;
        /// Asks for the timeouts of connections.
        GET_CONFIG = 13;
        /// The reply to `GET_INFO`.
        SET_INFO = 14;
        /// Asks for the version and the size of the connection table.
        GET_INFO = 15;
        /// Zeroes the counters of one service or of all.
        ZERO = 16;
        /// Deletes all services.
        FLUSH = 17;
    }
}

/// Top-level attributes, `IPVS_CMD_ATTR_*`; and the two of `GET_INFO`'s reply,
/// `IPVS_INFO_ATTR_*`, which has numbers of its own.
pub mod top {
    /// A service, nested.
    pub const SERVICE: u16 = 1;
    /// A destination, nested.
    pub const DESTINATION: u16 = 2;
    /// A synchronization daemon, nested.
    pub const DAEMON: u16 = 3;
    /// TCP timeout, u32 seconds.
    pub const TIMEOUT_TCP: u16 = 4;
    /// TCP timeout after a FIN, u32 seconds.
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    /// UDP timeout, u32 seconds.
    pub const TIMEOUT_UDP: u16 = 6;
    /// In `GET_INFO`'s reply: version of IPVS, u32 0x00MMmmpp.
    pub const INFO_VERSION: u16 = 1;
    /// In `GET_INFO`'s reply: buckets of the connection table, u32.
    pub const INFO_TABLE_SIZE: u16 = 2;
}

/// Attributes of a service, `IPVS_SVC_ATTR_*`.
pub mod service {
    /// Address family, u16.
    pub const FAMILY: u16 = 1;
    /// IP protocol, u16.
    pub const PROTOCOL: u16 = 2;
    /// Virtual address: up to 16 bytes.
    pub const ADDRESS: u16 = 3;
    /// Port, u16 in network order.
    pub const PORT: u16 = 4;
    /// Firewall mark, u32.
    pub const FWMARK: u16 = 5;
    /// Scheduler, text of 1 to 15 bytes.
    pub const SCHEDULER: u16 = 6;
    /// Flags and mask, two u32.
    pub const FLAGS: u16 = 7;
    /// Persistence timeout, u32 seconds.
    pub const TIMEOUT: u16 = 8;
    /// Persistence granularity: the mask's bytes (IPv4), or a u32 prefix length
    /// in host order (IPv6).
    pub const NETMASK: u16 = 9;
    /// Counters of 32 bits, nested.
    pub const STATS: u16 = 10;
    /// Persistence engine, text.
    pub const ENGINE: u16 = 11;
    /// Counters of 64 bits, nested.
    pub const STATS64: u16 = 12;
}

/// Attributes of a destination, `IPVS_DEST_ATTR_*`.
pub mod destination {
    /// Address: up to 16 bytes.
    pub const ADDRESS: u16 = 1;
    /// Port, u16 in network order.
    pub const PORT: u16 = 2;
    /// Forwarding method, u32.
    pub const FORWARD: u16 = 3;
    /// Weight, u32, at most `i32::MAX`.
    pub const WEIGHT: u16 = 4;
    /// Upper connection threshold, u32.
    pub const UPPER_THRESHOLD: u16 = 5;
    /// Lower connection threshold, u32.
    pub const LOWER_THRESHOLD: u16 = 6;
    /// Active connections, u32.
    pub const ACTIVE: u16 = 7;
    /// Inactive connections, u32.
    pub const INACTIVE: u16 = 8;
    /// Persistence templates, u32.
    pub const PERSISTENT: u16 = 9;
    /// Counters of 32 bits, nested.
    pub const STATS: u16 = 10;
    /// Address family, u16 (since Linux 3.18).
    pub const FAMILY: u16 = 11;
    /// Counters of 64 bits, nested (since Linux 4.1).
    pub const STATS64: u16 = 12;
    /// Tunnel type, u8 (since Linux 5.2).
    pub const TUNNEL_TYPE: u16 = 13;
    /// Tunnel port, u16 in network order.
    pub const TUNNEL_PORT: u16 = 14;
    /// Tunnel flags, u16.
    pub const TUNNEL_FLAGS: u16 = 15;
}

/// Attributes of a synchronization daemon, `IPVS_DAEMON_ATTR_*`.
pub mod daemon {
    /// `IP_VS_STATE_MASTER` or `_BACKUP`, u32.
    pub const STATE: u16 = 1;
    /// Interface, text of 1 to 15 bytes.
    pub const INTERFACE: u16 = 2;
    /// Id of the group of balancers, u32.
    pub const SYNC_ID: u16 = 3;
    /// Longest message, u16 bytes (this and the rest since Linux 4.3).
    pub const MAXLEN: u16 = 4;
    /// IPv4 multicast group: 4 bytes.
    pub const GROUP: u16 = 5;
    /// IPv6 multicast group: 16 bytes.
    pub const GROUP6: u16 = 6;
    /// UDP port, u16 in host order.
    pub const PORT: u16 = 7;
    /// Multicast TTL, u8.
    pub const TTL: u16 = 8;
}

/// Attributes of either kind of counters, `IPVS_STATS_ATTR_*`. Those per second
/// are averages of the kernel's own estimator.
pub mod stats {
    /// Connections scheduled.
    pub const CONNECTIONS: u16 = 1;
    /// Packets in.
    pub const PACKETS_IN: u16 = 2;
    /// Packets out.
    pub const PACKETS_OUT: u16 = 3;
    /// Bytes in; 64 bits in both kinds.
    pub const BYTES_IN: u16 = 4;
    /// Bytes out; 64 bits in both kinds.
    pub const BYTES_OUT: u16 = 5;
    /// Connections per second.
    pub const CONNECTIONS_PER_S: u16 = 6;
    /// Packets in per second.
    pub const PACKETS_IN_PER_S: u16 = 7;
    /// Packets out per second.
    pub const PACKETS_OUT_PER_S: u16 = 8;
    /// Bytes in per second.
    pub const BYTES_IN_PER_S: u16 = 9;
    /// Bytes out per second.
    pub const BYTES_OUT_PER_S: u16 = 10;
    /// Nothing: aligns a counter of 64 bits on some kernels.
    pub const PAD: u16 = 11;
}
