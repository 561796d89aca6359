//! `[ipvs.sysctl]`: what of net.ipv4.vs a balancer sets, with the values the
//! kernel takes. Not how they are read and written: that is
//! `trunnion_sys::sysctl`.
//!
//! Source: ipvs-sysctl.rst and net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_lblc.c and
//! ip_vs_lblcr.c, kernels 6.1 to 7.3.

use super::section::{Notes, Raw, Section};
use super::value::{quote, string, whole, wrong_type};
use std::fmt;

/// Where they are, as sysctl(8) names it.
pub const GROUP: &str = "net.ipv4.vs";

/// A parameter and the value it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    known: &'static Known,
    value: String,
}

/// `net.ipv4.vs.conntrack = 1`, as sysctl.conf(5) writes it.
impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.full_name(), self.value)
    }
}

impl Sysctl {
    /// Its name below [`GROUP`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.known.name
    }

    /// Its name, as sysctl(8) takes it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{GROUP}.{}", self.known.name)
    }

    /// What is to be written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What a kernel needs to have it at all.
    #[must_use]
    pub const fn needs(&self) -> &'static str {
        self.known.needs
    }

    /// Whether the text the kernel shows says the same.
    #[must_use]
    pub fn is_held_by(&self, shown: &str) -> bool {
        let same = self.value.split_whitespace().eq(shown.split_whitespace());
        match self.known.kind {
            Kind::Number(..) | Kind::Switch | Kind::PowerOfTwo(_) | Kind::Pair => same,
            // The kernel itself goes from 1 to 2 while memory is short.
            Kind::Defence => same || (self.value == "1" && shown == "2"),
            Kind::Cpus => cpus(&self.value) == cpus(shown),
        }
    }
}

/// A parameter that the file may name.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    name: &'static str,
    kind: Kind,
    needs: &'static str,
}

/// What values one takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 0 or 1.
    Switch,
    /// From the first to the second.
    Number(i64, i64),
    /// 0 to 3: off, automatic, automatic and now at work, always.
    Defence,
    /// 1, 2, 4 to at most this.
    PowerOfTwo(u32),
    /// `sync_threshold`: packets before, and every so many, packets.
    Pair,
    /// A list of processors as in cpuset(7).
    Cpus,
}

const INT_MAX: i64 = i32::MAX as i64;
/// A number of seconds that is kept in jiffies, an `int`, with HZ at most 1000.
const SECONDS_MAX: i64 = INT_MAX / 1_000;
/// `IPVS_SYNC_PORTS_MAX`: the kernel takes more and uses so many.
const SYNC_PORTS_MAX: u32 = 64;

const fn known(name: &'static str, kind: Kind) -> Known {
    needing(name, kind, "the module ip_vs")
}

const fn needing(name: &'static str, kind: Kind, needs: &'static str) -> Known {
    Known { name, kind, needs }
}

const SINCE_6_2: &str = "Linux 6.2 or later";
const SINCE_7_1: &str = "Linux 7.1 or later";

const KNOWN: &[Known] = &[
    needing("conntrack", Kind::Switch, "a kernel with CONFIG_IP_VS_NFCT"),
    known("conn_reuse_mode", Kind::Number(0, 3)),
    known("expire_nodest_conn", Kind::Switch),
    known("expire_quiescent_template", Kind::Switch),
    known("sloppy_tcp", Kind::Switch),
    known("sloppy_sctp", Kind::Switch),
    known("schedule_icmp", Kind::Switch),
    known("ignore_tunneled", Kind::Switch),
    known("nat_icmp_send", Kind::Switch),
    known("pmtu_disc", Kind::Switch),
    known("snat_reroute", Kind::Switch),
    known("cache_bypass", Kind::Switch),
    known("backup_only", Kind::Switch),
    known("drop_entry", Kind::Defence),
    known("drop_packet", Kind::Defence),
    known("secure_tcp", Kind::Defence),
    known("am_droprate", Kind::Number(0, INT_MAX)),
    known("amemthresh", Kind::Number(0, INT_MAX)),
    known("sync_version", Kind::Switch),
    known("sync_ports", Kind::PowerOfTwo(SYNC_PORTS_MAX)),
    known("sync_threshold", Kind::Pair),
    known("sync_refresh_period", Kind::Number(0, SECONDS_MAX)),
    known("sync_retries", Kind::Number(0, 3)),
    known("sync_persist_mode", Kind::Switch),
    known("sync_qlen_max", Kind::Number(0, INT_MAX)),
    known("sync_sock_size", Kind::Number(0, INT_MAX)),
    needing("run_estimation", Kind::Switch, "Linux 5.16 or later"),
    needing("est_cpulist", Kind::Cpus, SINCE_6_2),
    needing("est_nice", Kind::Number(-20, 19), SINCE_6_2),
    needing("conn_max", Kind::Number(0, 1 << 30), "Linux 7.2 or later"),
    needing("conn_lfactor", Kind::Number(-8, 8), SINCE_7_1),
    needing("svc_lfactor", Kind::Number(-8, 8), SINCE_7_1),
    needing(
        "lblc_expiration",
        Kind::Number(0, SECONDS_MAX),
        "a service with the scheduler lblc",
    ),
    needing(
        "lblcr_expiration",
        Kind::Number(0, SECONDS_MAX),
        "a service with the scheduler lblcr",
    ),
];

pub(super) const KEYS: &[&str] = &names();

const fn names() -> [&'static str; KNOWN.len()] {
    let mut names = [""; KNOWN.len()];
    let mut at = 0;
    while at < KNOWN.len() {
        names[at] = KNOWN[at].name;
        at += 1;
    }
    names
}

/// The parameters the section sets, in the order of docs/config.md.
pub(super) fn read(ipvs: &Section<'_>, notes: &mut Notes) -> Vec<Sysctl> {
    let section = ipvs
        .raw("sysctl")
        .and_then(|raw| Section::of("[ipvs.sysctl]", raw, KEYS, notes));
    let Some(section) = section else {
        return Vec::new();
    };
    let each = KNOWN.iter().filter_map(|known| {
        let value = known.kind.read(section.raw(known.name)?, notes)?;
        Some(Sysctl { known, value })
    });
    each.collect()
}

impl Kind {
    /// The value as the kernel takes it.
    fn read(self, raw: Raw<'_>, notes: &mut Notes) -> Option<String> {
        let (key, value) = raw;
        let number = |low, high, notes: &mut Notes| {
            whole(raw, low..=high, notes).map(|at| at.value.to_string())
        };
        match self {
            Self::Switch => match value.get_ref().as_bool() {
                Some(on) => Some(i32::from(on).to_string()),
                None => number(0, 1, notes),
            },
            Self::Number(low, high) => number(low, high, notes),
            Self::Defence => number(0, 3, notes),
            Self::PowerOfTwo(most) => {
                let found = whole(raw, 1..=i64::from(most), notes)?;
                let ports = u32::try_from(found.value).unwrap_or(most);
                if ports.is_power_of_two() {
                    return Some(ports.to_string());
                }
                let (above, below) = (ports.next_power_of_two(), ports.next_power_of_two() / 2);
                notes.error(
                    &found.span,
                    format!("`{key}` cannot be {ports}: it is a power of two"),
                    format!("write {below} or {above}"),
                );
                None
            }
            Self::Pair => pair(raw, notes),
            Self::Cpus => {
                let found = string(raw, notes)?;
                if cpus(found.value).is_none_or(|cpus| cpus.is_empty()) {
                    notes.error(
                        &found.span,
                        format!("`{key}` cannot be {}", quote(found.value)),
                        "write processors and ranges of them, such as \"0-3,8\"",
                    );
                    return None;
                }
                Some(found.value.trim().to_owned())
            }
        }
    }
}

fn pair((key, value): Raw<'_>, notes: &mut Notes) -> Option<String> {
    let Some([first, second]) = value
        .get_ref()
        .as_array()
        .and_then(|list| <&[_; 2]>::try_from(list.as_ref()).ok())
    else {
        let help = format!("write {key} = [3, 50]: the first packet told of, then each so many");
        wrong_type(key, value, "a list of two numbers", help, notes);
        return None;
    };
    let first = whole((key, first), 0..=INT_MAX, notes);
    let second = whole((key, second), 0..=INT_MAX, notes);
    let (first, second) = (first?, second?);
    if second.value != 0 && first.value >= second.value {
        notes.error(
            &value.span(),
            format!(
                "`{key}` cannot be {} {}: the second is the period, and larger, or 0",
                first.value, second.value
            ),
            format!(
                "write [{}, {}]",
                first.value,
                first.value.saturating_add(47)
            ),
        );
        return None;
    }
    Some(format!("{} {}", first.value, second.value))
}

/// Ranges of processors, sorted and joined; `None` for what is no such list.
fn cpus(text: &str) -> Option<Vec<(u32, u32)>> {
    /// More than any kernel is built for.
    const CPU_MAX: u32 = 1 << 16;
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return None;
        }
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > CPU_MAX {
            return None;
        }
        ranges.push((first, last));
    }
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let touches = next.0 <= before.1.saturating_add(1);
        if touches {
            before.1 = before.1.max(next.1);
        }
        touches
    });
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl(name: &str, value: &str) -> Sysctl {
        Sysctl {
            known: KNOWN.iter().find(|known| known.name == name).unwrap(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn what_the_kernel_shows_is_compared_by_its_meaning() {
        for (name, value, shown, same) in [
            ("conntrack", "1", "1", true),
            ("conntrack", "1", "0", false),
            ("sync_threshold", "3 50", "3\t50", true),
            ("sync_threshold", "3 50", "3\t60", false),
            ("drop_entry", "1", "2", true),
            ("drop_entry", "2", "1", false),
            ("drop_entry", "3", "2", false),
            ("conn_reuse_mode", "1", "2", false),
            ("est_cpulist", "0,1,2,8", "0-2,8", true),
            ("est_cpulist", "0-3", "0-2", false),
        ] {
            let held = sysctl(name, value).is_held_by(shown);
            assert_eq!(held, same, "{name} {value} {shown}");
        }
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!(cpus("0-3,8"), Some(vec![(0, 3), (8, 8)]));
        assert_eq!(cpus("8,2-3,0-1"), Some(vec![(0, 3), (8, 8)]));
        assert_eq!(cpus(""), Some(vec![]));
        for text in [
            "a",
            "3-1",
            "-1",
            "1-",
            "1,,2",
            "+1",
            "1 2",
            "65537",
            "9999999999",
        ] {
            assert_eq!(cpus(text), None, "{text}");
        }
    }

    #[test]
    fn it_is_written_as_sysctl_would() {
        let shown = sysctl("sync_threshold", "3 50").to_string();
        assert_eq!(shown, "net.ipv4.vs.sync_threshold = 3 50");
    }
}
