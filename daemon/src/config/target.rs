//! Where a check connects: an address, or the name of a host, which alone of all
//! in the file may be one that is looked up.

use super::scalar::{self, Endpoint};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use trunnion_core::model::Family;

/// A name that is looked up, and which of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName {
    /// As the file writes it.
    pub host: String,
    /// Addresses of this family are asked for.
    pub family: Family,
}

impl TargetName {
    /// What stands for its address while it has none.
    #[must_use]
    pub const fn nowhere(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.host)
    }
}

/// The `address` of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An address that was written.
    Address(Endpoint),
    /// A host name.
    Name { host: String, port: Option<u16> },
}

impl Target {
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address(endpoint) => endpoint.port,
            Self::Name { port, .. } => *port,
        }
    }

    /// The name, if it is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Name { host, .. } => Some(host),
        }
    }
}

/// Reads what [`scalar::endpoint`] does, and `db.example.org`,
/// `db.example.org:5432`.
///
/// # Errors
/// What to write instead.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let endpoint = match scalar::endpoint(text) {
        Ok(endpoint) => {
            // A check is not told which link.
            return if link_local(&endpoint.address) {
                Err("a link-local address: write one that is the same on every link".to_owned())
            } else {
                Ok(Target::Address(endpoint))
            };
        }
        Err(help) => help,
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if !scalar::is_name(host) {
        return Err(endpoint);
    }
    let port = match port.map(str::parse) {
        None => None,
        Some(Ok(port @ 1..)) => Some(port),
        Some(Ok(0) | Err(_)) => return Err("a port goes from 1 to 65535".to_owned()),
    };
    Ok(Target::Name {
        host: host.to_owned(),
        port,
    })
}

/// Whether it says nothing without the link it is on.
pub(super) const fn link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(own) => own.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_link_is_no_target() {
        for text in ["fe80::1", "[fe80::1]:80", "[fe80::1%3]:80"] {
            let help = target(text).unwrap_err();
            assert!(help.contains("link-local"), "{text}: {help}");
        }
    }

    #[test]
    fn targets() {
        let name = |host: &str, port| {
            Ok(Target::Name {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!(
            target("db.example.org:5432"),
            name("db.example.org", Some(5432))
        );
        assert_eq!(target("db.example.org"), name("db.example.org", None));
        assert_eq!(target("localhost"), name("localhost", None));
        assert_eq!(
            target("_x.1st-of.example.org."),
            name("_x.1st-of.example.org.", None)
        );
        for text in [
            "192.0.2.1:80",
            "192.0.2.1",
            "[2001:db8::1]:80",
            "2001:db8::1",
        ] {
            assert!(matches!(target(text), Ok(Target::Address(_))), "{text}");
        }
        for (text, word) in [
            ("db.example.org:0", "1 to 65535"),
            ("db.example.org:http", "1 to 65535"),
            ("192.0.2.256:80", "such as"),
            ("1.2.3", "such as"),
            ("db..example.org", "such as"),
            ("a b", "such as"),
            ("", "such as"),
            ("192.0.2.1:65536", "0 to 65535"),
        ] {
            let help = target(text).unwrap_err();
            assert!(help.contains(word), "{text}: {help}");
        }
    }
}
