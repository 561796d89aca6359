//! A destination: a real server of a service.

use core::fmt;
use core::net::IpAddr;

/// What names a destination within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// Address of the real server.
    pub address: IpAddr,
    /// Port, host order.
    pub port: u16,
}

/// `192.0.2.7:80`, `[2001:db8::7]:80`.
impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

/// Forwarding method, `IP_VS_CONN_F_FWD_MASK` (ip_vs.h). Open: the kernel
/// stores 5 to 7 too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Forward(pub u8);

impl Forward {
    /// Masquerading (NAT), `ipvsadm -m`.
    pub const MASQ: Self = Self(0);
    /// The balancer itself.
    pub const LOCAL: Self = Self(1);
    /// Tunnelling, `ipvsadm -i`.
    pub const TUNNEL: Self = Self(2);
    /// Direct routing (DSR), `ipvsadm -g`.
    pub const ROUTE: Self = Self(3);
    /// Cache bypass.
    pub const BYPASS: Self = Self(4);
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `Masq`, `Local`, `Tunnel`, `Route`, `Bypass` as ipvsadm prints them.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MASQ => f.pad("Masq"),
            Self::LOCAL => f.pad("Local"),
            Self::TUNNEL => f.pad("Tunnel"),
            Self::ROUTE => f.pad("Route"),
            Self::BYPASS => f.pad("Bypass"),
            Self(other) => write!(f, "forward {other}"),
        }
    }
}

/// Encapsulation of a tunnel, `IP_VS_CONN_F_TUNNEL_TYPE_*` (ip_vs.h). Open.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TunnelType(pub u8);

impl TunnelType {
    /// IP in IP.
    pub const IPIP: Self = Self(0);
    /// Generic UDP encapsulation; needs a port.
    pub const GUE: Self = Self(1);
    /// GRE.
    pub const GRE: Self = Self(2);
}

impl fmt::Debug for TunnelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TunnelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IPIP => f.pad("ipip"),
            Self::GUE => f.pad("gue"),
            Self::GRE => f.pad("gre"),
            Self(other) => write!(f, "tunnel type {other}"),
        }
    }
}

bitflags::bitflags! {
    /// `IP_VS_TUNNEL_ENCAP_FLAG_*` (ip_vs.h). Unknown bits survive.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct TunnelFlags: u16 {
        /// Checksum the outer packet.
        const CSUM = 1;
        /// Remote checksum offload.
        const REMCSUM = 2;
        const _ = !0;
    }
}

/// How packets are wrapped when [`Forward::TUNNEL`] is the method. Always sent
/// with a destination: the kernel resets what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// Encapsulation.
    pub kind: TunnelType,
    /// Outer UDP port of GUE, host order; 0 otherwise.
    pub port: u16,
    /// Checksum flags.
    pub flags: TunnelFlags,
}

impl Tunnel {
    /// Plain IP in IP, the kernel's default.
    pub const IPIP: Self = Self {
        kind: TunnelType::IPIP,
        port: 0,
        flags: TunnelFlags::empty(),
    };
}

/// A destination as IPVS stores it, without its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What names it within its service.
    pub key: DestinationKey,
    /// Forwarding method.
    pub forward: Forward,
    /// Weight; 0 drains: connections live on, new ones go elsewhere. At most
    /// `i32::MAX`.
    pub weight: u32,
    /// Connections above which the kernel stops scheduling; 0 is no limit. At
    /// most `i32::MAX`.
    pub upper_threshold: u32,
    /// Connections below which it starts again; at most the upper one.
    pub lower_threshold: u32,
    /// Encapsulation, [`Tunnel::IPIP`] where the method is not tunnelling.
    pub tunnel: Tunnel,
}

impl Destination {
    /// A destination with no thresholds and the default tunnel.
    #[must_use]
    pub const fn new(key: DestinationKey, forward: Forward, weight: u32) -> Self {
        Self {
            key,
            forward,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: Tunnel::IPIP,
        }
    }
}
