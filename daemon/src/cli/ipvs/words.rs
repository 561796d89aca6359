//! Addresses, keys and flags in ipvsadm's words. What ipvsadm has no word for
//! is told, not dropped.

use crate::config::SCHEDULER_FLAGS;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use trunnion_core::model::{Family, Protocol, Service, ServiceKey};

/// An address as inet_ntop(3) writes it, which is how every other tool here
/// does: `::10.0.0.1` where Rust has `::a00:1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host(pub IpAddr);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(v6) => match v6.segments() {
                [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                    let [a, b] = high.to_be_bytes();
                    let [c, d] = low.to_be_bytes();
                    write!(f, "::{}", Ipv4Addr::new(a, b, c, d))
                }
                _ => write!(f, "{v6}"),
            },
            IpAddr::V4(v4) => write!(f, "{v4}"),
        }
    }
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug)]
pub(super) struct At(pub IpAddr, pub u16);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, port) = *self;
        match address {
            IpAddr::V4(_) => write!(f, "{}:{port}", Host(address)),
            IpAddr::V6(_) => write!(f, "[{}]:{port}", Host(address)),
        }
    }
}

/// A service as a listing names it: `TCP  192.0.2.1:80`, `FWM  5 IPv6`.
pub(super) fn listed(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let at = At(*address, *port);
            match *protocol {
                Protocol(number) if !has_option(*protocol) => format!("{number:<4} {at}"),
                named => format!("{named:<4} {at}"),
            }
        }
        ServiceKey::Fwmark { mark, family } => match family {
            Family::V4 => format!("FWM  {mark}"),
            Family::V6 => format!("FWM  {mark} IPv6"),
        },
    }
}

/// A service as an option names it: `-t 192.0.2.1:80`, `-f 5 -6`. A protocol
/// that no option of ipvsadm names gets one that nobody reads.
pub(super) fn option(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let at = At(*address, *port);
            match *protocol {
                Protocol::TCP => format!("-t {at}"),
                Protocol::UDP => format!("-u {at}"),
                Protocol::SCTP => format!("--sctp-service {at}"),
                Protocol(number) => format!("--protocol-{number}-service {at}"),
            }
        }
        ServiceKey::Fwmark { mark, family } => match family {
            Family::V4 => format!("-f {mark}"),
            Family::V6 => format!("-f {mark} -6"),
        },
    }
}

/// Whether ipvsadm has an option for services of the protocol.
pub(super) const fn has_option(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP)
}

/// The scheduler's flags that are set, by the scheduler's own names first.
pub(super) fn scheduler_flags(service: &Service) -> Vec<&'static str> {
    let mut rest = service.flags;
    let mut names = Vec::new();
    for (name, (flag, of)) in SCHEDULER_FLAGS {
        let its = of.is_none_or(|scheduler| service.scheduler == scheduler);
        if its && rest.contains(*flag) {
            rest.remove(*flag);
            names.push(*name);
        }
    }
    names
}

/// The granularity of a persistent service as `-M` takes it, `None` when it is
/// a whole address. `odd` is an IPv4 mask that is no prefix.
pub(super) fn mask(service: &Service, odd: Option<Ipv4Addr>) -> Option<String> {
    let family = service.key.family();
    if service.prefix == family.bits() {
        return None;
    }
    Some(match family {
        Family::V4 => odd.unwrap_or(prefix_mask(service.prefix)).to_string(),
        Family::V6 => service.prefix.to_string(),
    })
}

/// The IPv4 mask of a prefix length, bits.
fn prefix_mask(prefix: u8) -> Ipv4Addr {
    let host_bits = 32 - u32::from(prefix.min(32));
    Ipv4Addr::from_bits(u32::MAX.checked_shl(host_bits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunnion_core::model::ServiceFlags;

    #[test]
    fn addresses_are_those_of_inet_ntop() {
        for (address, written) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::", "::"),
            ("::1", "::1"),
            ("::ffff", "::ffff"),
            ("::1:0", "::0.1.0.0"),
            ("::a00:1", "::10.0.0.1"),
            ("::ffff:a00:1", "::ffff:10.0.0.1"),
            ("::fffe:a00:1", "::fffe:a00:1"),
            ("1::a00:1", "1::a00:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Host(address).to_string(), written);
        }
        assert_eq!(At("::1".parse().unwrap(), 80).to_string(), "[::1]:80");
    }

    #[test]
    fn a_service_is_named_twice_over() {
        let address = "192.0.2.1".parse().unwrap();
        let key = |protocol| ServiceKey::Address {
            protocol,
            address,
            port: 80,
        };
        let mark = |family| ServiceKey::Fwmark {
            mark: u32::MAX,
            family,
        };
        for (key, in_list, as_option) in [
            (key(Protocol::TCP), "TCP  192.0.2.1:80", "-t 192.0.2.1:80"),
            (key(Protocol::UDP), "UDP  192.0.2.1:80", "-u 192.0.2.1:80"),
            (
                key(Protocol::SCTP),
                "SCTP 192.0.2.1:80",
                "--sctp-service 192.0.2.1:80",
            ),
            (
                key(Protocol(50)),
                "50   192.0.2.1:80",
                "--protocol-50-service 192.0.2.1:80",
            ),
            (mark(Family::V4), "FWM  4294967295", "-f 4294967295"),
            (mark(Family::V6), "FWM  4294967295 IPv6", "-f 4294967295 -6"),
        ] {
            assert_eq!((&*listed(&key), &*option(&key)), (in_list, as_option));
        }
    }

    #[test]
    fn a_flag_that_the_scheduler_does_not_name_has_a_name() {
        let key = ServiceKey::Fwmark {
            mark: 1,
            family: Family::V4,
        };
        let all = ServiceFlags::SCHED1 | ServiceFlags::SCHED2 | ServiceFlags::SCHED3;
        for (scheduler, flags, names) in [
            ("sh", all, &["sh-fallback", "sh-port", "flag-3"][..]),
            ("mh", ServiceFlags::SCHED2, &["mh-port"]),
            ("rr", all, &["flag-1", "flag-2", "flag-3"]),
            ("rr", ServiceFlags::ONEPACKET, &[]),
        ] {
            let mut service = Service::new(key, scheduler.parse().unwrap());
            service.flags = flags;
            assert_eq!(scheduler_flags(&service), names, "{scheduler}");
        }
    }

    #[test]
    fn masks_are_bytes_or_bits() {
        let of = |family, prefix, odd: Option<&str>| {
            let mut service = Service::new(
                ServiceKey::Fwmark { mark: 1, family },
                "rr".parse().unwrap(),
            );
            service.prefix = prefix;
            mask(&service, odd.map(|odd| odd.parse().unwrap())).unwrap_or_default()
        };
        assert_eq!(of(Family::V4, 32, None), "");
        assert_eq!(of(Family::V4, 20, None), "255.255.240.0");
        assert_eq!(of(Family::V4, 0, None), "0.0.0.0");
        assert_eq!(
            of(Family::V4, Service::NO_PREFIX, Some("255.0.255.0")),
            "255.0.255.0"
        );
        assert_eq!(of(Family::V6, 128, None), "");
        assert_eq!(of(Family::V6, 64, None), "64");
    }
}
