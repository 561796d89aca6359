//! A connection synchronization daemon: the kernel's own thread that tells
//! another balancer of its connections by multicast, or hears of the other's.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use heapless::String;

/// Interface name, `IP_VS_IFNAME_MAXLEN` 16 with its NUL (ip_vs.h).
pub type InterfaceName = String<15, u8>;

/// Which of the two a daemon is, `IP_VS_STATE_*` (ip_vs.h). One of each may run
/// in a network namespace, both at once as well. Open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncState(pub u32);

impl SyncState {
    /// Sends what it knows of connections.
    pub const MASTER: Self = Self(1);
    /// Makes the connections that it hears of.
    pub const BACKUP: Self = Self(2);
}

impl fmt::Debug for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `master`, `backup` as ipvsadm names them.
impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MASTER => f.pad("master"),
            Self::BACKUP => f.pad("backup"),
            Self(other) => write!(f, "sync state {other}"),
        }
    }
}

/// A connection synchronization daemon (`ipvsadm --start-daemon`). Where a field
/// is 0 or `None` the kernel puts in its default; what it reports has none of
/// these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Which of the two it is.
    pub state: SyncState,
    /// Interface it sends or listens on.
    pub interface: InterfaceName,
    /// 0..=255, the byte that is in every message. A backup with an id other
    /// than 0 hears only senders of the same id.
    pub sync_id: u32,
    /// Longest message, bytes without IP and UDP headers. Default: what fits
    /// 1500 bytes, 1472 over IPv4 and 1452 over IPv6; for a backup what fits
    /// the interface's MTU where that is more. A backup has 1024 at least, and
    /// needs as much as the sender has.
    pub maxlen: u16,
    /// Multicast group; default 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port, host order; default 8848. The kernel takes `sync_ports` of them
    /// from this one up (sysctl net.ipv4.vs.sync_ports).
    pub port: u16,
    /// Multicast TTL or hop limit of what is sent; default 1.
    pub ttl: u8,
}

impl SyncDaemon {
    /// The group where none is said, `IP_VS_SYNC_GROUP`.
    pub const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    /// The UDP port where none is said, `IP_VS_SYNC_PORT`.
    pub const DEFAULT_PORT: u16 = 8848;
    /// The TTL where none is said.
    pub const DEFAULT_TTL: u8 = 1;

    /// A daemon with every other field at the kernel's default.
    #[must_use]
    pub const fn new(state: SyncState, interface: InterfaceName, sync_id: u32) -> Self {
        Self {
            state,
            interface,
            sync_id,
            maxlen: 0,
            group: None,
            port: 0,
            ttl: 0,
        }
    }

    /// Whether `running`, as a kernel reports it, is what this asks for. The
    /// defaults count as said, but for the length: a default follows an MTU that
    /// may have changed since, so any length will do.
    #[must_use]
    pub fn is_met_by(&self, running: &Self) -> bool {
        let Self {
            state,
            interface,
            sync_id,
            maxlen,
            group: _,
            port: _,
            ttl: _,
        } = self;
        *state == running.state
            && *interface == running.interface
            && *sync_id == running.sync_id
            && (*maxlen == 0 || *maxlen == running.maxlen)
            && self.endpoint() == running.endpoint()
    }

    /// Group, port and TTL, defaults put in.
    fn endpoint(&self) -> (IpAddr, u16, u8) {
        let or = |value: u16, default| if value == 0 { default } else { value };
        (
            self.group.unwrap_or(Self::DEFAULT_GROUP),
            or(self.port, Self::DEFAULT_PORT),
            self.ttl.max(Self::DEFAULT_TTL),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn defaults_are_met_by_what_the_kernel_puts_in() {
        let wanted = SyncDaemon::new(SyncState::MASTER, "eth0".parse().unwrap(), 5);
        let running = SyncDaemon {
            maxlen: 1472,
            group: Some("224.0.0.81".parse().unwrap()),
            port: 8848,
            ttl: 1,
            ..wanted.clone()
        };
        assert!(wanted.is_met_by(&running));
        let edits: [fn(&mut SyncDaemon); 6] = [
            |it| it.state = SyncState::BACKUP,
            |it| it.interface = "eth1".parse().unwrap(),
            |it| it.sync_id = 0,
            |it| it.group = Some("ff02::81".parse().unwrap()),
            |it| it.port = 8849,
            |it| it.ttl = 2,
        ];
        for edit in edits {
            let mut other = running.clone();
            edit(&mut other);
            assert!(!wanted.is_met_by(&other), "{other:?}");
        }
        let exact = SyncDaemon {
            maxlen: 1400,
            ..wanted
        };
        assert!(!exact.is_met_by(&running));
    }

    #[test]
    fn states_have_ipvsadm_s_names() {
        assert_eq!(SyncState::MASTER.to_string(), "master");
        assert_eq!(SyncState::BACKUP.to_string(), "backup");
        assert_eq!(SyncState(3).to_string(), "sync state 3");
    }
}
