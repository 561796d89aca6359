//! Rows of `ipvsadm -L -n`, to the byte: title, service, destination, in each
//! of its six forms. Pure text.
//!
//! Source: the output of ipvsadm 1.31.

use super::words::{At, listed, mask, scheduler_flags};
use std::fmt::Write as _;
use trunnion_core::ipvs::{DestinationEntry, Info, ServiceEntry, Stats};
use trunnion_core::model::{Forward, ServiceFlags, Tunnel, TunnelFlags, TunnelType};

/// What a listing shows of each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Forwarding, weight and connections.
    #[default]
    Plain,
    /// Counters.
    Stats,
    /// Counters per second.
    Rate,
    /// Connection thresholds.
    Thresholds,
    /// Persistence templates.
    Persistent,
    /// Forwarding with the tunnel's details.
    Tunnel,
}

/// A form, and whether counters are written out or scaled to eight digits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listing {
    pub form: Form,
    pub exact: bool,
}

/// `IP Virtual Server version 1.2.1 (size=4096)`.
pub(super) fn header(info: Info) -> String {
    format!(
        "IP Virtual Server version {} (size={})\n",
        version(info.version),
        info.table_size
    )
}

/// `1.2.1` of 0x010201.
pub(super) fn version(version: u32) -> String {
    let [_, major, minor, patch] = version.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

impl Listing {
    /// The two lines above the rows.
    pub fn title(self) -> String {
        const SERVICE: &str = "Prot LocalAddress:Port";
        const DESTINATION: &str = "  -> RemoteAddress:Port";
        let counters = |names: [&str; 5]| {
            let [a, b, c, d, e] = names;
            format!("{SERVICE:<33} {a:>8} {b:>8} {c:>8} {d:>8} {e:>8}\n{DESTINATION}\n")
        };
        match self.form {
            Form::Plain => format!(
                "{SERVICE} Scheduler Flags\n\
                 {DESTINATION}           Forward Weight ActiveConn InActConn\n"
            ),
            Form::Tunnel => format!(
                "{SERVICE} Scheduler Flags\n\
                 {DESTINATION}           Forward TunnelInfo    Weight ActiveConn InActConn\n"
            ),
            Form::Stats => counters(["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]),
            Form::Rate => counters(["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
            Form::Thresholds => format!(
                "{SERVICE:<33} {:<10} {:<10} {:<10} {:<10}\n{DESTINATION}\n",
                "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
            ),
            Form::Persistent => format!(
                "{SERVICE:<33} {:<9} {:<11} {:<10} {:<10}\n{DESTINATION}\n",
                "Weight", "PersistConn", "ActiveConn", "InActConn"
            ),
        }
    }

    /// Appends a service's line.
    pub fn service(self, out: &mut String, entry: &ServiceEntry) {
        let name = listed(&entry.service.key);
        match self.form {
            Form::Stats => {
                out.push_str(&format!("{name:<33}"));
                self.numbers(out, &totals(&entry.stats));
            }
            Form::Rate => {
                out.push_str(&format!("{name:<33}"));
                self.numbers(out, &rates(&entry.stats));
            }
            Form::Plain | Form::Thresholds | Form::Persistent | Form::Tunnel => {
                plain_service(out, &name, entry);
            }
        }
        out.push('\n');
    }

    /// Appends a destination's line.
    pub fn destination(self, out: &mut String, entry: &DestinationEntry) {
        let DestinationEntry {
            destination,
            active,
            inactive,
            persistent,
            stats,
        } = entry;
        let weight = destination.weight;
        let forward = destination.forward.to_string();
        let name = At(destination.key.address, destination.key.port).to_string();
        out.push_str(&format!("  -> {name:<28}"));
        let rest = match self.form {
            Form::Plain => format!(" {forward:<7} {weight:<6} {active:<10} {inactive:<10}"),
            Form::Tunnel => {
                let tunnel = match destination.forward {
                    Forward::TUNNEL => tunnel(&destination.tunnel),
                    _ => None,
                };
                let tunnel = tunnel.as_deref().unwrap_or("n/a");
                format!(" {forward:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}")
            }
            Form::Stats => {
                self.numbers(out, &totals(stats));
                String::new()
            }
            Form::Rate => {
                let [cps, packets_in, packets_out, bytes @ ..] = rates(stats);
                out.push_str(&format!(" {cps:>8} {packets_in:>8} {packets_out:>8}"));
                self.numbers(out, &bytes);
                String::new()
            }
            Form::Thresholds => {
                let (upper, lower) = (destination.upper_threshold, destination.lower_threshold);
                format!(" {upper:<10} {lower:<10} {active:<10} {inactive:<10}")
            }
            Form::Persistent => {
                format!(" {weight:<9} {persistent:<11} {active:<10} {inactive:<10}")
            }
        };
        out.push_str(&rest);
        out.push('\n');
    }

    fn numbers(self, out: &mut String, numbers: &[u64]) {
        for number in numbers {
            out.push_str(&if self.exact {
                format!(" {number:>8}")
            } else {
                scaled(*number)
            });
        }
    }
}

fn totals(stats: &Stats) -> [u64; 5] {
    [
        stats.connections,
        stats.packets_in,
        stats.packets_out,
        stats.bytes_in,
        stats.bytes_out,
    ]
}

fn rates(stats: &Stats) -> [u64; 5] {
    [
        stats.connections_per_s,
        stats.packets_in_per_s,
        stats.packets_out_per_s,
        stats.bytes_in_per_s,
        stats.bytes_out_per_s,
    ]
}

/// Nine characters: digits up to 100 million, then thousands up to a billion,
/// millions up to 100 billion and so on, cut off and not rounded.
fn scaled(number: u64) -> String {
    match number {
        0..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / 1_000_000_000),
        100_000_000_000_000.. => format!("{:>8}T", number / 1_000_000_000_000),
    }
}

fn plain_service(out: &mut String, name: &str, entry: &ServiceEntry) {
    let service = &entry.service;
    let mut add = |text: std::fmt::Arguments<'_>| {
        // A String takes whatever is written.
        let _ = out.write_fmt(text);
    };
    add(format_args!("{name} {}", service.scheduler));
    let flags = scheduler_flags(service);
    if !flags.is_empty() {
        add(format_args!(" ({})", flags.join(",")));
    }
    if service.flags.contains(ServiceFlags::PERSISTENT) {
        add(format_args!(" persistent {}", service.timeout_s));
        if let Some(mask) = mask(service, entry.odd_mask) {
            add(format_args!(" mask {mask}"));
        }
        if !service.engine.is_empty() {
            add(format_args!(" pe {}", service.engine));
        }
    }
    if service.flags.contains(ServiceFlags::ONEPACKET) {
        add(format_args!(" ops"));
    }
}

/// `ipip`, `gue:6080:+c`, `gre:-c`; nothing of a type that has no name.
fn tunnel(tunnel: &Tunnel) -> Option<String> {
    let checksum = if tunnel.flags.is_empty() {
        "-c"
    } else if tunnel.flags == TunnelFlags::CSUM {
        "+c"
    } else if tunnel.flags == TunnelFlags::REMCSUM {
        "r+c"
    } else {
        "+c,r+c"
    };
    match tunnel.kind {
        TunnelType::IPIP => Some("ipip".to_owned()),
        TunnelType::GUE => Some(format!("gue:{}:{checksum}", tunnel.port)),
        TunnelType::GRE => Some(format!("gre:{checksum}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
