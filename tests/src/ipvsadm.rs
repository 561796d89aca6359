//! What ipvsadm(8) is told, as the model has it; and the model, as
//! `ipvsadm -Sn` prints it. Only as much of both as the tests use, by the manual
//! page and by what the program prints, not by our code.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use crate::golden;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use trunnion_core::ipvs::Timeouts;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceFlags, ServiceKey,
    SyncDaemon, SyncState, Tunnel, TunnelFlags, TunnelType,
};
use trunnion_core::reconcile::Change;

/// One run of ipvsadm that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// `-A`
    AddService(Service),
    /// `-E`
    SetService(Service),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-a`
    AddDestination(ServiceKey, Destination),
    /// `-e`
    SetDestination(ServiceKey, Destination),
    /// `-d`
    DeleteDestination(ServiceKey, DestinationKey),
    /// `-Z`
    Zero(Option<ServiceKey>),
    /// `--set`
    Timeouts(Timeouts),
    /// `--start-daemon`
    StartDaemon(SyncDaemon),
    /// `--stop-daemon`
    StopDaemon(SyncState),
}

impl Run {
    /// The change it makes to the table, if it makes one.
    #[must_use]
    pub fn change(&self) -> Option<Change<'_>> {
        Some(match self {
            Self::AddService(it) => Change::AddService(it),
            Self::SetService(it) => Change::SetService(it),
            Self::DeleteService(key) => Change::DeleteService(key),
            Self::AddDestination(key, it) => Change::AddDestination(key, it),
            Self::SetDestination(key, it) => Change::SetDestination(key, it),
            Self::DeleteDestination(key, it) => Change::DeleteDestination(key, it),
            Self::Zero(_) | Self::Timeouts(_) | Self::StartDaemon(_) | Self::StopDaemon(_) => {
                return None;
            }
        })
    }
}

/// What `cargo xtask capture` recorded of ipvsadm: name of the file, arguments,
/// payload of the request.
///
/// # Panics
/// When the golden files are not there.
#[must_use]
pub fn recorded_requests() -> Vec<(String, String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(golden::directory("ipvs"))
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let text = golden::text(&path);
            let arguments = text.lines().next()?.strip_prefix("# ipvsadm ")?.to_owned();
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, arguments, golden::bytes(&text)))
        })
        .collect();
    all.sort();
    all
}

/// Reads the arguments of one run.
///
/// # Panics
/// When it does not know an argument: it is for tests.
#[must_use]
pub fn parse(arguments: &str) -> Run {
    let mut words = arguments.split_whitespace();
    let action = words.next().expect("an action");
    if action == "--set" {
        let mut seconds = || words.next().expect("three timeouts").parse().unwrap();
        return Run::Timeouts(Timeouts {
            tcp_s: seconds(),
            tcp_fin_s: seconds(),
            udp_s: seconds(),
        });
    }
    if let "--start-daemon" | "--stop-daemon" = action {
        let daemon = daemon(words);
        return if action == "--start-daemon" {
            Run::StartDaemon(daemon)
        } else {
            Run::StopDaemon(daemon.state)
        };
    }
    let options = Options::read(words);
    if action == "-Z" && options.endpoint.is_none() && options.mark.is_none() {
        return Run::Zero(None);
    }
    let key = options.key();
    match action {
        "-A" => Run::AddService(options.service(key)),
        "-E" => Run::SetService(options.service(key)),
        "-D" => Run::DeleteService(key),
        "-a" => Run::AddDestination(key, options.destination()),
        "-e" => Run::SetDestination(key, options.destination()),
        "-d" => Run::DeleteDestination(key, options.destination().key),
        "-Z" => Run::Zero(Some(key)),
        other => panic!("ipvsadm {other}?"),
    }
}

fn daemon<'a>(mut words: impl Iterator<Item = &'a str>) -> SyncDaemon {
    let state = match words.next() {
        Some("master") => SyncState::MASTER,
        Some("backup") => SyncState::BACKUP,
        other => panic!("daemon {other:?}?"),
    };
    let mut it = SyncDaemon::new(state, String::new().parse().unwrap(), 0);
    while let Some(option) = words.next() {
        let value = words.next().expect("a value");
        match option {
            "--mcast-interface" => it.interface = value.parse().unwrap(),
            "--syncid" => it.sync_id = value.parse().unwrap(),
            "--sync-maxlen" => it.maxlen = value.parse().unwrap(),
            "--mcast-group" => it.group = Some(value.parse().unwrap()),
            "--mcast-port" => it.port = value.parse().unwrap(),
            "--mcast-ttl" => it.ttl = value.parse().unwrap(),
            other => panic!("ipvsadm option {other}?"),
        }
    }
    it
}

/// The options, with ipvsadm's defaults.
#[derive(Default)]
struct Options {
    endpoint: Option<(Protocol, IpAddr, u16)>,
    mark: Option<u32>,
    v6: bool,
    scheduler: String,
    persistent_s: Option<u32>,
    mask: Option<String>,
    one_packet: bool,
    scheduler_flags: ServiceFlags,
    engine: String,
    server: Option<(IpAddr, u16)>,
    forward: Option<Forward>,
    weight: Option<u32>,
    upper: u32,
    lower: u32,
    tunnel: Option<TunnelType>,
    tunnel_port: u16,
    tunnel_flags: TunnelFlags,
}

impl Options {
    fn read<'a>(mut words: impl Iterator<Item = &'a str>) -> Self {
        let mut options = Self::default();
        while let Some(option) = words.next() {
            let mut value = || words.next().expect("a value");
            match option {
                "-t" => options.endpoint = Some(with(Protocol::TCP, value())),
                "-u" => options.endpoint = Some(with(Protocol::UDP, value())),
                "--sctp-service" => options.endpoint = Some(with(Protocol::SCTP, value())),
                "-f" => options.mark = Some(value().parse().unwrap()),
                "-6" => options.v6 = true,
                "-s" => options.scheduler = value().to_owned(),
                "-p" => options.persistent_s = Some(value().parse().unwrap()),
                "-M" => options.mask = Some(value().to_owned()),
                "-o" => options.one_packet = true,
                "-b" => options.scheduler_flags = scheduler_flags(value()),
                "--pe" => options.engine = value().to_owned(),
                "-r" => options.server = Some(endpoint(value())),
                "-m" => options.forward = Some(Forward::MASQ),
                "-g" => options.forward = Some(Forward::ROUTE),
                "-i" => options.forward = Some(Forward::TUNNEL),
                "-w" => options.weight = Some(value().parse().unwrap()),
                "-x" => options.upper = value().parse().unwrap(),
                "-y" => options.lower = value().parse().unwrap(),
                "--tun-type" => {
                    options.tunnel = Some(match value() {
                        "ipip" => TunnelType::IPIP,
                        "gue" => TunnelType::GUE,
                        "gre" => TunnelType::GRE,
                        other => panic!("tunnel {other}?"),
                    });
                }
                "--tun-port" => options.tunnel_port = value().parse().unwrap(),
                "--tun-nocsum" => options.tunnel_flags = TunnelFlags::empty(),
                "--tun-csum" => options.tunnel_flags = TunnelFlags::CSUM,
                "--tun-remcsum" => options.tunnel_flags = TunnelFlags::REMCSUM,
                other => panic!("ipvsadm option {other}?"),
            }
        }
        options
    }

    fn key(&self) -> ServiceKey {
        match (self.endpoint, self.mark) {
            (Some((protocol, address, port)), None) => ServiceKey::Address {
                protocol,
                address,
                port,
            },
            (None, Some(mark)) => ServiceKey::Fwmark {
                mark,
                family: if self.v6 { Family::V6 } else { Family::V4 },
            },
            other => panic!("{other:?} is no service"),
        }
    }

    fn service(&self, key: ServiceKey) -> Service {
        let mut flags = self.scheduler_flags;
        flags.set(ServiceFlags::PERSISTENT, self.persistent_s.is_some());
        flags.set(ServiceFlags::ONEPACKET, self.one_packet);
        let prefix = match (&self.mask, key.family()) {
            (None, family) => family.bits(),
            (Some(mask), Family::V6) => mask.parse().unwrap(),
            (Some(mask), Family::V4) => {
                let mask = u32::from(mask.parse::<Ipv4Addr>().unwrap());
                if mask.leading_ones() == mask.count_ones() {
                    u8::try_from(mask.leading_ones()).unwrap()
                } else {
                    Service::NO_PREFIX
                }
            }
        };
        Service {
            key,
            scheduler: self.scheduler.parse().unwrap(),
            flags,
            timeout_s: self.persistent_s.unwrap_or(0),
            prefix,
            engine: self.engine.parse().unwrap(),
        }
    }

    fn destination(&self) -> Destination {
        let (address, port) = self.server.expect("-r");
        Destination {
            key: DestinationKey { address, port },
            forward: self.forward.unwrap_or(Forward::ROUTE),
            weight: self.weight.unwrap_or(1),
            upper_threshold: self.upper,
            lower_threshold: self.lower,
            tunnel: Tunnel {
                kind: self.tunnel.unwrap_or(TunnelType::IPIP),
                port: self.tunnel_port,
                flags: self.tunnel_flags,
            },
        }
    }
}

fn with(protocol: Protocol, text: &str) -> (Protocol, IpAddr, u16) {
    let (address, port) = endpoint(text);
    (protocol, address, port)
}

fn endpoint(text: &str) -> (IpAddr, u16) {
    let (address, port) = text.rsplit_once(':').expect("address:port");
    let address = match address.strip_prefix('[') {
        Some(v6) => IpAddr::V6(v6.trim_end_matches(']').parse::<Ipv6Addr>().unwrap()),
        None => IpAddr::V4(address.parse().unwrap()),
    };
    (address, port.parse().unwrap())
}

fn scheduler_flags(text: &str) -> ServiceFlags {
    text.split(',')
        .map(|name| match name {
            "flag-1" | "sh-fallback" | "mh-fallback" => ServiceFlags::SCHED1,
            "flag-2" | "sh-port" | "mh-port" => ServiceFlags::SCHED2,
            "flag-3" => ServiceFlags::SCHED3,
            other => panic!("scheduler flag {other}?"),
        })
        .collect()
}

/// The `-t ADDRESS:PORT` of a service.
#[must_use]
pub fn key_option(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let option = match *protocol {
                Protocol::TCP => "-t",
                Protocol::UDP => "-u",
                Protocol::SCTP => "--sctp-service",
                other => panic!("{other}?"),
            };
            let at = DestinationKey {
                address: *address,
                port: *port,
            };
            format!("{option} {at}")
        }
        ServiceKey::Fwmark { mark, family } => match family {
            Family::V4 => format!("-f {mark}"),
            Family::V6 => format!("-f {mark} -6"),
        },
    }
}

/// A service's line of `ipvsadm -Sn`; `odd_mask` is its mask where that is no
/// prefix.
#[must_use]
pub fn service_line(service: &Service, odd_mask: Option<Ipv4Addr>) -> String {
    let Service {
        key,
        scheduler,
        flags,
        timeout_s,
        prefix,
        engine,
    } = service;
    let mut line = format!("-A {} -s {scheduler}", key_option(key));
    let mut add = |text: std::fmt::Arguments<'_>| line.write_fmt(text).unwrap();
    if flags.contains(ServiceFlags::PERSISTENT) {
        add(format_args!(" -p {timeout_s}"));
        if *prefix != key.family().bits() {
            match key.family() {
                Family::V6 => add(format_args!(" -M {prefix}")),
                Family::V4 => {
                    let bits = 32 - u32::from(*prefix).min(32);
                    let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
                    add(format_args!(
                        " -M {}",
                        odd_mask.unwrap_or(Ipv4Addr::from(mask))
                    ));
                }
            }
        }
    }
    if !engine.is_empty() {
        add(format_args!(" --pe {engine}"));
    }
    if flags.contains(ServiceFlags::ONEPACKET) {
        add(format_args!(" -o"));
    }
    let names = match scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let all = [
        ServiceFlags::SCHED1,
        ServiceFlags::SCHED2,
        ServiceFlags::SCHED3,
    ];
    let set: Vec<_> = all
        .iter()
        .zip(names)
        .filter(|(flag, _)| flags.contains(**flag))
        .map(|(_, name)| name)
        .collect();
    if !set.is_empty() {
        add(format_args!(" -b {}", set.join(",")));
    }
    line
}

/// A daemon's line of `ipvsadm -L --daemon`.
#[must_use]
pub fn daemon_line(daemon: &SyncDaemon) -> String {
    let SyncDaemon {
        state,
        interface,
        sync_id,
        maxlen,
        group,
        port,
        ttl,
    } = daemon;
    let group = group.unwrap_or(IpAddr::from([0; 4]));
    format!(
        "{state} sync daemon (mcast={interface}, syncid={sync_id}, maxlen={maxlen}, \
         group={group}, port={port}, ttl={ttl})"
    )
}

/// A destination's line of `ipvsadm -Sn`, which leaves out the thresholds.
#[must_use]
pub fn destination_line(key: &ServiceKey, destination: &Destination) -> String {
    let Destination {
        key: at,
        forward,
        weight,
        tunnel,
        ..
    } = destination;
    let method = match *forward {
        Forward::MASQ => "-m",
        Forward::TUNNEL => "-i",
        Forward::ROUTE => "-g",
        other => panic!("{other}?"),
    };
    let mut line = format!("-a {} -r {at} {method} -w {weight}", key_option(key));
    if *forward == Forward::TUNNEL {
        write!(line, " --tun-type {}", tunnel.kind).unwrap();
        if tunnel.kind == TunnelType::GUE {
            write!(line, " --tun-port {}", tunnel.port).unwrap();
        }
        if tunnel.kind != TunnelType::IPIP {
            line.push_str(match tunnel.flags {
                TunnelFlags::CSUM => " --tun-csum",
                TunnelFlags::REMCSUM => " --tun-remcsum",
                _ => " --tun-nocsum",
            });
        }
    }
    line
}
