//! What is refused before it is sent, and why.

use crate::model::{
    Destination, DestinationKey, EngineName, Family, Forward, SchedulerName, ServiceKey,
    SyncDaemon, SyncState, Tunnel, TunnelType,
};
use crate::netlink::Full;
use core::fmt;
use core::net::IpAddr;

/// The rule that a request breaks; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No rule of IPVS: the batch is full. Send it, then try again.
    Full,
    /// Firewall mark 0, of which the kernel makes a service on TCP 0.0.0.0:0.
    Fwmark,
    /// A scheduler without a name, or with a NUL in it. None is called `none`.
    Scheduler,
    /// A persistence engine with a NUL in its name.
    Engine,
    /// A persistence timeout above 4,294,967 s, which kernels with a fast clock
    /// wrap in silence.
    Timeout {
        /// The timeout, seconds.
        timeout_s: u32,
    },
    /// A prefix length outside 0..=32 (IPv4) or 1..=128 (IPv6).
    Prefix {
        /// The prefix length.
        prefix: u8,
    },
    /// A destination that is no address of a host: unspecified, multicast or
    /// broadcast.
    Address,
    /// A destination of another family than its service's, which only a tunnel
    /// can reach.
    MixedFamily,
    /// A forwarding method above 4, which the kernel stores and cannot forward
    /// by.
    Forward {
        /// The method.
        forward: Forward,
    },
    /// A weight above `i32::MAX`, which the kernel takes for a negative one.
    Weight {
        /// The weight.
        weight: u32,
    },
    /// An upper threshold above `i32::MAX`.
    UpperThreshold {
        /// The threshold, connections.
        upper: u32,
    },
    /// A lower threshold above the upper one.
    LowerThreshold {
        /// The lower threshold, connections.
        lower: u32,
        /// The upper threshold, connections.
        upper: u32,
    },
    /// A tunnel type above 2, which the kernel stores unseen.
    TunnelType {
        /// The type.
        kind: TunnelType,
    },
    /// GUE without a port.
    TunnelPort,
    /// A connection timeout above 2,147,483 s.
    ConnectionTimeout {
        /// The timeout, seconds.
        timeout_s: u32,
    },
    /// A synchronization daemon that is neither `master` nor `backup`.
    SyncState {
        /// The state.
        state: SyncState,
    },
    /// A synchronization daemon without an interface, or with a NUL in its name.
    SyncInterface,
    /// A synchronization id above 255, of which messages carry the low byte only.
    SyncId {
        /// The id.
        sync_id: u32,
    },
    /// A length of messages that the kernel would change in silence.
    SyncMaxlen {
        /// The length, bytes.
        maxlen: u16,
        /// The shortest it may be.
        least: u16,
        /// The longest it may be.
        most: u16,
    },
    /// A synchronization group that is no multicast address.
    SyncGroup {
        /// The address.
        group: IpAddr,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => fmt::Display::fmt(&Full, f),
            Self::Fwmark => f.write_str("firewall mark 0 names no service: use 1 or above"),
            Self::Scheduler => {
                f.write_str("scheduler needs a name of 1 to 15 bytes without NUL: use rr or wrr")
            }
            Self::Engine => f.write_str("persistence engine must not have a NUL in its name"),
            Self::Timeout { timeout_s } => write!(
                f,
                "persistence timeout of {timeout_s} s is above {TIMEOUT_S_MAX} s"
            ),
            Self::Prefix { prefix } => write!(
                f,
                "persistence prefix of {prefix} bits must be 0..=32 (ipv4) or 1..=128 (ipv6)"
            ),
            Self::Address => f.write_str("destination must be the address of one host"),
            Self::MixedFamily => {
                f.write_str("destination of the other address family must use a tunnel")
            }
            Self::Forward { forward } => write!(
                f,
                "forwarding method {} must be 0..=4: use masq, tunnel or route",
                forward.0
            ),
            Self::Weight { weight } => write!(f, "weight {weight} is above {SIGNED_MAX}"),
            Self::UpperThreshold { upper } => {
                write!(f, "upper threshold {upper} is above {SIGNED_MAX}")
            }
            Self::LowerThreshold { lower, upper } => write!(
                f,
                "lower threshold {lower} is above the upper threshold {upper}"
            ),
            Self::TunnelType { kind } => write!(
                f,
                "tunnel type {} must be 0..=2: use ipip, gue or gre",
                kind.0
            ),
            Self::TunnelPort => f.write_str("gue tunnel needs a port other than 0"),
            Self::ConnectionTimeout { timeout_s } => write!(
                f,
                "connection timeout of {timeout_s} s is above {CONNECTION_TIMEOUT_S_MAX} s"
            ),
            Self::SyncState { state } => write!(
                f,
                "synchronization daemon must be 'master' (1) or 'backup' (2), not {}",
                state.0
            ),
            Self::SyncInterface => f.write_str(
                "synchronization daemon needs an interface of 1 to 15 bytes without NUL: use eth0",
            ),
            Self::SyncId { sync_id } => {
                write!(f, "synchronization id {sync_id} must be 0..=255")
            }
            Self::SyncMaxlen {
                maxlen,
                least,
                most,
            } => write!(
                f,
                "synchronization messages of {maxlen} bytes must be {least}..={most}, or 0 for \
                 the kernel's default"
            ),
            Self::SyncGroup { group } => write!(
                f,
                "synchronization group {group} must be a multicast address: use 224.0.0.81"
            ),
        }
    }
}

impl core::error::Error for Refused {}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// The kernel multiplies seconds by HZ, at most 1000, in 32 bits unsigned.
pub(super) const TIMEOUT_S_MAX: u32 = u32::MAX / 1000;
/// The kernel refuses seconds above `INT_MAX / HZ`.
pub(super) const CONNECTION_TIMEOUT_S_MAX: u32 = SIGNED_MAX / 1000;
/// The highest value of what the kernel keeps in an `int`.
const SIGNED_MAX: u32 = i32::MAX.cast_unsigned();

pub(super) const fn key(key: &ServiceKey) -> Result<(), Refused> {
    match key {
        ServiceKey::Fwmark { mark: 0, .. } => Err(Refused::Fwmark),
        ServiceKey::Fwmark { .. } | ServiceKey::Address { .. } => Ok(()),
    }
}

pub(super) fn names(scheduler: &SchedulerName, engine: &EngineName) -> Result<(), Refused> {
    if scheduler.is_empty() || scheduler.contains('\0') {
        Err(Refused::Scheduler)
    } else if engine.contains('\0') {
        Err(Refused::Engine)
    } else {
        Ok(())
    }
}

/// Whether [`destination`] refuses it.
#[inline]
pub(in crate::ipvs) fn breaks_a_rule(of: Family, it: &Destination) -> bool {
    destination(of, it).is_err()
}

#[inline]
pub(super) fn destination(of: Family, destination: &Destination) -> Result<(), Refused> {
    let Destination {
        key: DestinationKey { address, port: _ },
        forward,
        weight,
        upper_threshold: upper,
        lower_threshold: lower,
        tunnel: Tunnel { kind, port, .. },
    } = *destination;
    let no_host = match address {
        // 0.0.0.0, 255.255.255.255, 224.0.0.0/4.
        IpAddr::V4(v4) => matches!(v4.to_bits(), 0 | u32::MAX | 0xe000_0000..=0xefff_ffff),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    };
    if no_host {
        Err(Refused::Address)
    } else if Family::of(&address) != of && forward != Forward::TUNNEL {
        Err(Refused::MixedFamily)
    } else if forward > Forward::BYPASS {
        Err(Refused::Forward { forward })
    } else if weight > SIGNED_MAX {
        Err(Refused::Weight { weight })
    } else if upper > SIGNED_MAX {
        Err(Refused::UpperThreshold { upper })
    } else if lower > upper {
        Err(Refused::LowerThreshold { lower, upper })
    } else if kind > TunnelType::GRE {
        Err(Refused::TunnelType { kind })
    } else if kind == TunnelType::GUE && port == 0 {
        Err(Refused::TunnelPort)
    } else {
        Ok(())
    }
}

/// The length is what `start_sync_thread` (ip_vs_sync.c) leaves as it is.
pub(super) fn daemon(daemon: &SyncDaemon) -> Result<(), Refused> {
    let SyncDaemon {
        state,
        interface,
        sync_id,
        maxlen,
        group,
        port: _,
        ttl: _,
    } = daemon;
    sync_state(*state)?;
    let least = if *state == SyncState::BACKUP { 1024 } else { 1 };
    let most = match group {
        Some(IpAddr::V6(_)) => u16::MAX - 48,
        Some(IpAddr::V4(_)) | None => u16::MAX - 28,
    };
    if interface.is_empty() || interface.contains('\0') {
        Err(Refused::SyncInterface)
    } else if *sync_id > u8::MAX.into() {
        Err(Refused::SyncId { sync_id: *sync_id })
    } else if *maxlen != 0 && !(least..=most).contains(maxlen) {
        Err(Refused::SyncMaxlen {
            maxlen: *maxlen,
            least,
            most,
        })
    } else if let Some(group) = group
        && !group.is_multicast()
    {
        Err(Refused::SyncGroup { group: *group })
    } else {
        Ok(())
    }
}

pub(super) const fn sync_state(state: SyncState) -> Result<(), Refused> {
    match state {
        SyncState::MASTER | SyncState::BACKUP => Ok(()),
        SyncState(_) => Err(Refused::SyncState { state }),
    }
}
