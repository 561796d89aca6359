//! Random tables as lines of `ipvsadm -S`, drawn from a seed: every protocol
//! and family, schedulers with their flags, persistence with masks and engine,
//! every forwarding method and tunnel, thresholds and weights to their limits.
//! Lines, not the model, so that nothing of ours stands between the drawn and
//! what ipvsadm reads.

use crate::sim::random::Random;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Services on this namespace's own addresses, so that packets sent from here
/// go through them.
pub const SERVED: &str = "\
-A -u 192.0.2.1:53 -s rr
-a -u 192.0.2.1:53 -r 127.0.0.1:5301 -m -w 1
-a -u 192.0.2.1:53 -r 127.0.0.1:5302 -m -w 1
-A -u 192.0.2.1:5000 -s wrr -p 300 -M 255.255.255.0
-a -u 192.0.2.1:5000 -r 127.0.0.1:5301 -m -w 3 -x 100 -y 50
-A -t 192.0.2.1:80 -s lc
-a -t 192.0.2.1:80 -r 127.0.0.1:8080 -m -w 1
-A -u [fd00::1]:53 -s rr -o
-a -u [fd00::1]:53 -r [::1]:5301 -m -w 1
";

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most services.
    pub services: usize,
    /// Most destinations of each.
    pub destinations: usize,
    /// Whether masks may be no prefix, which only ipvsadm can set.
    pub odd_masks: bool,
}

/// A drawn table.
#[derive(Clone, Debug, Default)]
pub struct Drawn {
    /// Services with their destinations, in the order in which they are added.
    pub services: Vec<DrawnService>,
}

/// A service and its destinations.
#[derive(Clone, Debug)]
pub struct DrawnService {
    /// Its name: `-t 192.0.2.1:80`.
    pub name: String,
    /// Its line without the `-A`, its name included.
    pub line: String,
    /// The lines of its destinations without the `-a`.
    pub destinations: Vec<DrawnDestination>,
}

/// A line in two parts, for the second of which ipvsadm has no words when it
/// saves.
#[derive(Clone, Debug)]
pub struct DrawnDestination {
    /// All but the thresholds.
    pub line: String,
    /// ` -x 10 -y 5`, or nothing.
    pub thresholds: String,
}

impl Drawn {
    /// The table of a seed.
    #[must_use]
    pub fn of(seed: u64, limits: Limits) -> Self {
        let mut random = Random::stream(seed, "table");
        let mut names = BTreeSet::new();
        let mut services = Vec::new();
        for _ in 0..random.index(limits.services + 1) {
            let service = service(&mut random, limits);
            if names.insert(service.name.clone()) {
                services.push(service);
            }
        }
        Self { services }
    }

    /// What makes the table.
    #[must_use]
    pub fn script(&self) -> String {
        self.lines(true).concat()
    }

    /// Its lines in any order, as they are saved, with the thresholds or without.
    #[must_use]
    pub fn lines(&self, thresholds: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for service in &self.services {
            lines.push(format!("-A {}\n", service.line));
            for it in &service.destinations {
                let rest = if thresholds { &it.thresholds } else { "" };
                lines.push(format!("-a {}{rest}\n", it.line));
            }
        }
        lines
    }
}

fn service(random: &mut Random, limits: Limits) -> DrawnService {
    let v6 = random.chance(400);
    let kind = random.below(4);
    let port = random.pick(&[80, 443, 53, 1, 65535, 8080]);
    let all_ports = kind < 3 && random.chance(100);
    let address = address(random, v6);
    let endpoint = at(address, if all_ports { 0 } else { port });
    let (name, udp) = match kind {
        0 => (format!("-t {endpoint}"), false),
        1 => (format!("-u {endpoint}"), true),
        2 => (format!("--sctp-service {endpoint}"), false),
        _ => {
            let mark = random.pick(&[1, 2, 5, 77, 0x7fff_ffff]);
            (format!("-f {mark}{}", if v6 { " -6" } else { "" }), true)
        }
    };
    let scheduler = random.pick(&[
        "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
    ]);
    let mut line = format!("{name} -s {scheduler}");
    let persistent = all_ports || random.chance(400);
    if persistent {
        line += &format!(" -p {}", random.pick(&[1, 60, 360, 86_400, 2_678_400]));
        if random.chance(500) {
            line += &mask(random, v6, limits.odd_masks);
        }
        if kind == 1 && random.chance(300) {
            line += " --pe sip";
        }
    }
    if udp && random.chance(200) {
        line += " -o";
    }
    let flags = match scheduler {
        "sh" => ["sh-fallback", "sh-port", ""],
        "mh" => ["mh-fallback", "mh-port", ""],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let chance = if flags[2].is_empty() { 500 } else { 60 };
    let flags: Vec<_> = flags
        .into_iter()
        .filter(|flag| !flag.is_empty() && random.chance(chance))
        .collect();
    if !flags.is_empty() {
        line += &format!(" -b {}", flags.join(","));
    }
    let port = match kind {
        3 => None,
        _ if all_ports => Some(0),
        _ => Some(port),
    };
    let mut destinations = Vec::new();
    let mut names = BTreeSet::new();
    for _ in 0..random.index(limits.destinations + 1) {
        let (endpoint, rest) = destination(random, v6, port);
        if names.insert(endpoint.clone()) {
            destinations.push(DrawnDestination {
                line: format!("{name} -r {endpoint}{rest}"),
                thresholds: thresholds(random),
            });
        }
    }
    DrawnService {
        name,
        line,
        destinations,
    }
}

/// A destination's endpoint and what follows. `port` is its service's, if that
/// has one: only masquerading changes it.
fn destination(random: &mut Random, v6: bool, port: Option<u16>) -> (String, String) {
    let weight = match random.below(8) {
        0 => 0,
        1 => 65_535,
        2 => 65_536,
        3 => 2_147_483_647,
        _ => random.between(1, 300),
    };
    let any = random.pick(&[0, 1, 80, 8080, 65535]);
    let (forward, port, tunnel) = match random.below(3) {
        0 => ("-m", any, String::new()),
        1 => ("-g", port.unwrap_or(any), String::new()),
        _ => ("-i", port.unwrap_or(any), tunnel(random)),
    };
    // Only a tunnel reaches the other family.
    let other = forward == "-i" && random.chance(300);
    let address = address(random, v6 != other);
    (at(address, port), format!(" {forward} -w {weight}{tunnel}"))
}

fn tunnel(random: &mut Random) -> String {
    let checksum = random.pick(&["nocsum", "csum", "remcsum"]);
    match random.below(3) {
        0 => " --tun-type ipip".to_owned(),
        1 => {
            let port = random.pick(&[1, 6080, 65_535]);
            format!(" --tun-type gue --tun-port {port} --tun-{checksum}")
        }
        _ => {
            let checksum = random.pick(&["nocsum", "csum"]);
            format!(" --tun-type gre --tun-{checksum}")
        }
    }
}

fn thresholds(random: &mut Random) -> String {
    let upper = match random.below(6) {
        0 => 2_147_483_647,
        1 | 2 => random.between(1, 10_000),
        _ => return String::new(),
    };
    match random.below(2) {
        0 => format!(" -x {upper}"),
        _ => format!(" -x {upper} -y {}", random.between(1, upper)),
    }
}

fn mask(random: &mut Random, v6: bool, odd: bool) -> String {
    if v6 {
        format!(" -M {}", random.between(1, 127))
    } else if odd && random.chance(300) {
        " -M 255.0.255.0".to_owned()
    } else {
        let bits = u32::MAX.checked_shl(u32::from(random.small(1, 32)));
        format!(" -M {}", Ipv4Addr::from_bits(bits.unwrap_or(0)))
    }
}

/// Near ones and ones far apart, so that the order of a listing is tried; and
/// those that inet_ntop(3) writes in its own ways.
fn address(random: &mut Random, v6: bool) -> IpAddr {
    let last = random.small(1, 5);
    if v6 {
        let address: Ipv6Addr = match random.below(6) {
            0 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into(),
            1 => [0xfd00, 0, 0, 1, 0, 0, 0, last.into()].into(),
            2 => [0x2001, 0xdb8, 1, 2, 3, 4, 5, last.into()].into(),
            3 => [0, 0, 0, 0, 0, 0, 0x0a00, last.into()].into(),
            4 => [
                0xdfff,
                0xffff,
                0xffff,
                0xffff,
                0xffff,
                0xffff,
                0xffff,
                last.into(),
            ]
            .into(),
            _ => [0x2001, 0xdb8, 0x8000, 0, 0xffff, 0, 0, last.into()].into(),
        };
        address.into()
    } else {
        let first = random.pick(&[1, 10, 100, 128, 172, 192, 198, 223]);
        let (second, third) = (random.pick(&[0, 2, 255]), random.pick(&[0, 2, 255]));
        IpAddr::from([first, second, third, last])
    }
}

/// As ipvsadm writes it: `::10.0.0.1` where Rust has `::a00:1`.
fn at(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => match v6.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] if (a, b) != (0, 0) => {
                format!("[::{a}.{b}.{c}.{d}]:{port}")
            }
            _ => format!("[{v6}]:{port}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_table_and_all_of_them_are_of_every_kind() {
        let limits = Limits {
            services: 6,
            destinations: 5,
            odd_masks: true,
        };
        let all: String = (0..300)
            .map(|seed| Drawn::of(seed, limits).script())
            .collect();
        assert_eq!(Drawn::of(7, limits).script(), Drawn::of(7, limits).script());
        for kind in [
            "-A -t ",
            "-A -u ",
            "-A --sctp-service ",
            " -6 ",
            "-A -f 5 -s",
            ":0 -s",
            "-M 255.0.255.0",
            "--pe sip",
            " -o",
            "sh-fallback,sh-port",
            "mh-port",
            "flag-3",
            "-m -w 0",
            "-w 65536",
            "-w 2147483647",
            "-g -w",
            "--tun-type ipip",
            "gue --tun-port 6080 --tun-remcsum",
            "gre --tun-csum",
            "-x 2147483647",
            " -y ",
            "[::10.0.0.",
            "r 223.255.255.",
        ] {
            assert!(all.contains(kind), "{kind}");
        }
    }
}
