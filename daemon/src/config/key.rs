//! A service's key in words, for logs, the command line and files.

use super::ServiceConfig;
use super::backend::protocol_word;
use trunnion_core::model::{Family, Protocol, ServiceKey};

impl ServiceConfig {
    /// A key in words: `tcp/192.0.2.10:80`, `fwmark/5`, `fwmark/5/ipv6`.
    #[must_use]
    pub fn key_words(key: &ServiceKey) -> String {
        match *key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                let socket = std::net::SocketAddr::new(address, port);
                format!("{}/{socket}", protocol_word(protocol))
            }
            ServiceKey::Fwmark {
                mark,
                family: Family::V4,
            } => format!("fwmark/{mark}"),
            ServiceKey::Fwmark {
                mark,
                family: Family::V6,
            } => format!("fwmark/{mark}/ipv6"),
        }
    }

    /// The key of such words.
    #[must_use]
    pub fn parse_key(words: &str) -> Option<ServiceKey> {
        let (kind, rest) = words.split_once('/')?;
        if kind == "fwmark" {
            let (mark, family) = match rest.strip_suffix("/ipv6") {
                Some(mark) => (mark, Family::V6),
                None => (rest, Family::V4),
            };
            let mark = mark.parse().ok()?;
            return Some(ServiceKey::Fwmark { mark, family });
        }
        let (_, protocol) = PROTOCOLS.iter().find(|(word, _)| *word == kind)?;
        let endpoint: std::net::SocketAddr = rest.parse().ok()?;
        Some(ServiceKey::Address {
            protocol: *protocol,
            address: endpoint.ip(),
            port: endpoint.port(),
        })
    }
}

/// IP protocols of services, by their words.
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[
    ("tcp", Protocol::TCP),
    ("udp", Protocol::UDP),
    ("sctp", Protocol::SCTP),
];
