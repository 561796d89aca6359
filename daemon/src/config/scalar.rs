//! Texts that mean a value: durations, addresses, prefixes. Each reader
//! returns the value or what to write instead.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// Reads `100ms`, `1s`, `1.5s`, `1500us`, `5m`, `1h`, `14d`: a decimal number and a
/// unit, exact to a nanosecond.
///
/// # Errors
/// What to write instead.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXAMPLE: &str = "write a number and a unit, such as \"100ms\", \"1.5s\" or \"5m\"";
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || fraction.contains('.') {
        return Err(EXAMPLE.to_owned());
    }
    let unit_ns: u128 = match unit.trim_start() {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        "" => {
            return Err(format!(
                "a unit is missing: write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"
            ));
        }
        _ => {
            return Err(
                "the units are us, ms, s, m, h and d: write \"100ms\" or \"1s\"".to_owned(),
            );
        }
    };
    let too_long = || "too long: write less than a year".to_owned();
    let too_fine = || "finer than a nanosecond: write fewer digits".to_owned();
    let mut ns = whole
        .parse::<u64>()
        .ok()
        .and_then(|n| u128::from(n).checked_mul(unit_ns))
        .ok_or_else(too_long)?;
    let mut place = unit_ns;
    for digit in fraction.bytes() {
        if !place.is_multiple_of(10) {
            return Err(too_fine());
        }
        place /= 10;
        ns += u128::from(digit - b'0') * place;
    }
    match u64::try_from(ns) {
        Ok(ns) if ns < 365 * 86_400 * 1_000_000_000 => Ok(Duration::from_nanos(ns)),
        _ => Err(too_long()),
    }
}

/// Prints a duration as the config writes it, in the unit that needs the
/// fewest digits.
#[derive(Clone, Copy, Debug)]
pub struct Shown(
    /// What to print.
    pub Duration,
);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        let units: [(u128, &str); 4] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
        ];
        for (unit_ns, unit) in units {
            if ns >= unit_ns && ns.is_multiple_of(unit_ns) {
                return f.pad(&format!("{}{unit}", ns / unit_ns));
            }
        }
        if ns >= 1_000_000_000 {
            return f.pad(&format!("{}s", self.0.as_secs_f64()));
        }
        match ns {
            0 => f.pad("0s"),
            ns if ns.is_multiple_of(1_000) => f.pad(&format!("{}us", ns / 1_000)),
            ns => f.pad(&format!("{}.{:03}us", ns / 1_000, ns % 1_000)),
        }
    }
}

/// An address with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub address: IpAddr,
    pub port: Option<u16>,
}

/// Reads `192.0.2.10:80`, `192.0.2.10`, `[2001:db8::10]:80`, `2001:db8::10`.
///
/// # Errors
/// What to write instead.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Ok(socket) = SocketAddr::from_str(text) {
        return Ok(Endpoint {
            address: plain(socket.ip())?,
            port: Some(socket.port()),
        });
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .filter(|inner| inner.contains(':'))
        .unwrap_or(text);
    if let Ok(address) = IpAddr::from_str(bare) {
        return Ok(Endpoint {
            address: plain(address)?,
            port: None,
        });
    }
    if let Some((head, port)) = text.rsplit_once(':') {
        if Ipv6Addr::from_str(head).is_ok() {
            return Err(format!(
                "an IPv6 address with a port has brackets: write \"[{head}]:{port}\""
            ));
        }
        let host = head.trim_start_matches('[').trim_end_matches(']');
        if IpAddr::from_str(host).is_ok() && port.bytes().all(|b| b.is_ascii_digit()) {
            return Err("a port goes from 0 to 65535".to_owned());
        }
        if host.bytes().any(|b| b.is_ascii_alphabetic()) && !host.contains(':') {
            return Err(
                "names are not looked up: write an address, such as \"192.0.2.10:80\"".to_owned(),
            );
        }
    }
    Err(
        "write an address and a port, such as \"192.0.2.10:80\" or \"[2001:db8::10]:80\""
            .to_owned(),
    )
}

/// Reads an address without port or prefix.
///
/// # Errors
/// What to write instead.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    match IpAddr::from_str(text) {
        Ok(address) => plain(address),
        Err(_) => {
            Err("write an address alone, such as \"192.0.2.3\" or \"2001:db8::3\"".to_owned())
        }
    }
}

/// An address on an interface, with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefixed {
    /// The address.
    pub address: IpAddr,
    /// Prefix length: 1..=32 or 1..=128 bits.
    pub prefix: u8,
}

/// `192.0.2.10/24`.
impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Reads `192.0.2.10/24`. The prefix has no default: /32 and the network's
/// own are both in use for virtual addresses, and the difference shows.
///
/// # Errors
/// What to write instead.
pub(super) fn prefixed(text: &str) -> Result<Prefixed, String> {
    let Some((head, tail)) = text.split_once('/') else {
        return Err(match address(text) {
            Ok(address) => {
                let bits = bits(&address);
                format!(
                    "the prefix length is missing: write \"{address}/{bits}\", or the network's own length"
                )
            }
            Err(_) => "write an address and a prefix length, such as \"192.0.2.10/24\"".to_owned(),
        });
    };
    let address = address(head).map_err(|_| {
        "write an address and a prefix length, such as \"192.0.2.10/24\"".to_owned()
    })?;
    let bits = bits(&address);
    match tail.parse::<u8>() {
        Ok(prefix) if (1..=bits).contains(&prefix) && !tail.starts_with('+') => {
            Ok(Prefixed { address, prefix })
        }
        _ => Err(format!("a prefix length goes from 1 to {bits} here")),
    }
}

/// Bits of an address of this family.
pub(super) const fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Whether a text can be a host's name, as DNS bounds it (RFC 1035, 2.3.4). An
/// address with a mistake in it is none: the last label of a name is no number.
pub(super) fn is_name(text: &str) -> bool {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    bare.len() <= 253 && bare.split('.').all(label) && !bare.rsplit('.').next().is_none_or(number)
}

/// Whether an address can be one host's on the wire.
pub(super) fn is_host(address: &IpAddr) -> bool {
    !address.is_unspecified()
        && !address.is_multicast()
        && *address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Refuses an IPv4 address in IPv6 clothes: the kernel would take it for IPv6.
fn plain(address: IpAddr) -> Result<IpAddr, String> {
    let canonical = address.to_canonical();
    if canonical == address {
        Ok(address)
    } else {
        Err(format!(
            "an IPv4 address written as IPv6: write {canonical}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        let ms = Duration::from_millis;
        for (text, value) in [
            ("100ms", ms(100)),
            ("1s", ms(1_000)),
            ("1.5s", ms(1_500)),
            ("40.95s", ms(40_950)),
            ("1500us", Duration::from_micros(1_500)),
            ("1.5µs", Duration::from_nanos(1_500)),
            ("5m", ms(300_000)),
            ("0s", ms(0)),
            ("2 s", ms(2_000)),
            ("8759h", ms(8_759 * 3_600_000)),
            ("14d", ms(14 * 86_400_000)),
            ("1.5d", ms(36 * 3_600_000)),
        ] {
            assert_eq!(duration(text), Ok(value), "{text}");
        }
        for (text, word) in [
            ("", "such as"),
            ("s", "such as"),
            ("-1s", "such as"),
            ("1.s", "such as"),
            ("1.2.3s", "such as"),
            (".5s", "such as"),
            ("5", "\"5s\" for seconds"),
            ("1.5", "\"1.5s\""),
            ("5 sec", "units are"),
            ("5S", "units are"),
            ("1.5ns", "units are"),
            ("1.0001us", "finer"),
            ("99999999999999999999s", "too long"),
            ("8760h", "too long"),
            ("365d", "too long"),
            ("1s2", "units are"),
        ] {
            let help = duration(text).unwrap_err();
            assert!(help.contains(word), "{text}: {help}");
        }
    }

    #[test]
    fn endpoints() {
        let ok = |text: &str| endpoint(text).map(|e| (e.address.to_string(), e.port));
        let at = |address: &str, port| Ok((address.to_owned(), port));
        assert_eq!(ok("192.0.2.1:80"), at("192.0.2.1", Some(80)));
        assert_eq!(ok("192.0.2.1"), at("192.0.2.1", None));
        assert_eq!(ok("[2001:db8::1]:0"), at("2001:db8::1", Some(0)));
        assert_eq!(ok("[2001:db8::1]"), at("2001:db8::1", None));
        assert_eq!(ok("2001:db8::1"), at("2001:db8::1", None));
        // A whole address of eight groups followed by a port.
        assert_eq!(
            ok("1:2:3:4:5:6:7:8:80").unwrap_err(),
            "an IPv6 address with a port has brackets: write \"[1:2:3:4:5:6:7:8]:80\""
        );
        for (text, word) in [
            ("192.0.2.1:65536", "0 to 65535"),
            ("www.example.com:80", "names are not looked up"),
            ("::ffff:192.0.2.1", "write 192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "write 192.0.2.1"),
            ("", "such as"),
            (":80", "such as"),
            ("[192.0.2.1]", "such as"),
            ("192.0.2.256:80", "such as"),
        ] {
            let help = ok(text).unwrap_err();
            assert!(help.contains(word), "{text}: {help}");
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(
            prefixed("192.0.2.1/24").unwrap().to_string(),
            "192.0.2.1/24"
        );
        assert_eq!(prefixed("fe80::1/64").unwrap().to_string(), "fe80::1/64");
        for (text, word) in [
            ("192.0.2.1", "\"192.0.2.1/32\""),
            ("2001:db8::1", "\"2001:db8::1/128\""),
            ("192.0.2.1/33", "1 to 32"),
            ("192.0.2.1/0", "1 to 32"),
            ("192.0.2.1/+8", "1 to 32"),
            ("192.0.2.1/", "1 to 32"),
            ("2001:db8::1/129", "1 to 128"),
            ("192.0.2/24", "such as"),
            ("x", "such as"),
        ] {
            let help = prefixed(text).unwrap_err();
            assert!(help.contains(word), "{text}: {help}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(ns in 0_u64..365 * 86_400 * 1_000_000_000) {
            let value = Duration::from_nanos(ns / 1_000_000 * 1_000_000);
            prop_assert_eq!(duration(&Shown(value).to_string()), Ok(value));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (duration(&text), endpoint(&text), prefixed(&text), address(&text));
        }
    }
}
