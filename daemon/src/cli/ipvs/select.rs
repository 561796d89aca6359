//! The options that name a service: ipvsadm's, long and short.

use super::Usage;
use lexopt::{Arg, Parser};
use std::net::IpAddr;
use trunnion_core::model::{Family, Protocol, ServiceKey};

/// Help on them.
pub(super) const OPTIONS: &str =
    "  -t, --tcp-service ADDRESS:PORT    a service on TCP; IPv6 as [ADDRESS]:PORT
  -u, --udp-service ADDRESS:PORT    a service on UDP
      --sctp-service ADDRESS:PORT   a service on SCTP
  -f, --fwmark-service MARK         a service of a firewall mark
  -6, --ipv6                        the mark's service for IPv6
";

/// What the options said so far.
#[derive(Debug, Default)]
pub(super) struct Selection {
    named: Option<Named>,
    v6: bool,
}

#[derive(Debug)]
enum Named {
    Address(Protocol, IpAddr, u16),
    Mark(u32),
}

impl Selection {
    /// Takes an option if it is one of these; says whether it was.
    pub fn take(&mut self, arg: &Arg<'_>) -> Option<Kind> {
        match arg {
            Arg::Short('t') | Arg::Long("tcp-service" | "tcp") => {
                Some(Kind::Address(Protocol::TCP))
            }
            Arg::Short('u') | Arg::Long("udp-service" | "udp") => {
                Some(Kind::Address(Protocol::UDP))
            }
            Arg::Long("sctp-service" | "sctp") => Some(Kind::Address(Protocol::SCTP)),
            Arg::Short('f') | Arg::Long("fwmark-service" | "fwmark") => Some(Kind::Mark),
            Arg::Short('6') | Arg::Long("ipv6") => {
                self.v6 = true;
                Some(Kind::Family)
            }
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => None,
        }
    }

    /// Reads the value of an option that has one.
    pub fn value(&mut self, kind: Kind, args: &mut Parser) -> Result<(), Usage> {
        let named = match kind {
            Kind::Family => return Ok(()),
            Kind::Address(protocol) => {
                let value = args.value()?;
                let value = value.to_string_lossy();
                let (address, port) = endpoint(&value).map_err(Usage)?;
                Named::Address(protocol, address, port.unwrap_or(0))
            }
            Kind::Mark => {
                let value = args.value()?;
                Named::Mark(mark(&value.to_string_lossy()).map_err(Usage)?)
            }
        };
        match self.named.replace(named) {
            None => Ok(()),
            Some(_) => Err(Usage("write one service, not two".to_owned())),
        }
    }

    /// The service, if one was named.
    pub fn finish(self) -> Result<Option<ServiceKey>, Usage> {
        match self {
            Self {
                named: Some(Named::Address(protocol, address, port)),
                v6: false,
            } => Ok(Some(ServiceKey::Address {
                protocol,
                address,
                port,
            })),
            Self {
                named: Some(Named::Mark(mark)),
                v6,
            } => Ok(Some(ServiceKey::Fwmark {
                mark,
                family: if v6 { Family::V6 } else { Family::V4 },
            })),
            Self {
                named: None,
                v6: false,
            } => Ok(None),
            Self { v6: true, .. } => Err(Usage("-6 goes with -f MARK only".to_owned())),
        }
    }
}

/// An option of these, whose value is still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Address(Protocol),
    Mark,
    Family,
}

/// Reads `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`; the error says what to
/// write instead.
pub(super) fn endpoint(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    const WRITE: &str = "write ADDRESS:PORT in numbers, 192.0.2.1:80 or [2001:db8::1]:80";
    let wrong = || format!("`{text}` is no address and port: {WRITE}");
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port_number(port)?),
            None if port.is_empty() => None,
            None => return Err(wrong()),
        };
        return Ok((IpAddr::V6(address), port));
    }
    if let Ok(v6) = text.parse() {
        return Ok((IpAddr::V6(v6), None));
    }
    let (address, port) = match text.split_once(':') {
        Some((address, port)) => (address, Some(port)),
        None => (text, None),
    };
    let address = address.parse().map_err(|_| wrong())?;
    let port = port.map(port_number).transpose()?;
    Ok((IpAddr::V4(address), port))
}

fn port_number(text: &str) -> Result<u16, String> {
    number(text).ok_or_else(|| format!("`{text}` is no port: write a number from 0 to 65535"))
}

/// Reads a firewall mark.
pub(super) fn mark(text: &str) -> Result<u32, String> {
    number(text)
        .filter(|mark| *mark != 0)
        .ok_or_else(|| format!("`{text}` is no firewall mark: write a number from 1 to 4294967295"))
}

/// Decimal digits only: no sign, no blanks.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        for (text, address, port) in [
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("192.0.2.1", "192.0.2.1", None),
            ("[2001:db8::1]:443", "2001:db8::1", Some(443)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("[::ffff:192.0.2.1]:0", "::ffff:192.0.2.1", Some(0)),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(endpoint(text), Ok((address, port)), "{text}");
        }
        for text in [
            "",
            "80",
            ":80",
            "www:80",
            "10.1:80",
            "192.0.2.1:",
            "192.0.2.1:http",
            "192.0.2.1:65536",
            "192.0.2.1:+80",
            "192.0.2.1:80:80",
            "[192.0.2.1]:80",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "2001:db8::1:80:80:80:80:80:80",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
