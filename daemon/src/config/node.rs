//! `[node]`, `[limits]` and `[ipvs]`: what holds for the whole node.

use super::scalar::Shown;
use super::section::{At, Notes, Section, Span};
use super::sync::{self, SyncConfig};
use super::sysctl::{self, Sysctl};
use super::track;
use super::value::quote;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trunnion_core::director::plan::AUDIT;
use trunnion_core::record::Level;

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What the node calls itself; the host's name by default.
    pub name: String,
    /// Directory of the control socket and the slate; absolute. Default
    /// `/run/trunnion`.
    pub run_dir: PathBuf,
    /// The most talkative level written. Default info.
    pub log: Level,
    /// What becomes of our roles when the daemon dies. Default resign.
    pub on_crash: OnCrash,
    /// How long after its start the node's virtual routers begin, but for those
    /// that go on as Active. Default none.
    pub startup_delay: Duration,
    /// A named pipe that is told of each virtual router that moves.
    pub notify_fifo: Option<PathBuf>,
    /// How often the names that are targets of checks are looked up. Default
    /// half a minute.
    pub resolve_interval: Duration,
}

/// What is done for a daemon that died, by the process that guards it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCrash {
    /// Priority 0 at once, and the addresses off.
    #[default]
    Resign,
    /// Adverts go on for so long, for a daemon that is started again.
    Hold(Duration),
    /// Nothing: there is no such process.
    Nothing,
}

/// How long roles are held unless the file says so.
const HOLD_FOR: Duration = Duration::from_secs(3);

/// File name of the control socket in [`Node::run_dir`].
pub const SOCKET_NAME: &str = "control.sock";

impl Node {
    /// Where the control socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(SOCKET_NAME)
    }
}

/// `[limits]`: memory is taken by these at start, then never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Virtual services. Default 1024.
    pub services: u32,
    /// Backends over all services. Default 16,384.
    pub backends: u32,
    /// Health checks on their way at once. Default 1024.
    pub checks_in_flight: u32,
    /// Commands run and files read for checks at once. Default 64.
    pub commands: u32,
    /// Bytes of all that checks say and expect. Default 256 KiB.
    pub probe_bytes: u32,
    /// Health checks that begin in a second, over all; 0 is no limit. Default 0.
    pub checks_per_second: u32,
    /// The same for each address that is probed. Default 0.
    pub backend_checks_per_second: u32,
    /// TLS connections of checks at once. Default 64.
    pub tls: u32,
    /// VRRP instances. Default 64.
    pub routers: u32,
    /// Virtual addresses over all instances. Default 1024.
    pub addresses: u32,
    /// Things tracked. Default 64.
    pub tracks: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 1_024,
            backends: 16_384,
            checks_in_flight: 1_024,
            commands: 64,
            probe_bytes: 256 << 10,
            checks_per_second: 0,
            backend_checks_per_second: 0,
            tls: 64,
            routers: 64,
            addresses: 1_024,
            tracks: 64,
        }
    }
}

/// Which services of the kernel's table are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// All: a service that the config does not name is removed.
    #[default]
    All,
    /// Those the config names, and those it named before a reload.
    Declared,
}

/// What becomes of the kernel's table when the daemon ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExit {
    /// It stays: the kernel goes on balancing.
    #[default]
    Keep,
    /// Our services are removed.
    Clear,
}

/// How long IPVS keeps an idle connection; what is not set is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established; whole seconds, at least 1, as the others.
    pub tcp: Option<Duration>,
    /// TCP, after a FIN.
    pub tcp_fin: Option<Duration>,
    /// UDP.
    pub udp: Option<Duration>,
}

impl Timeouts {
    /// Each with the name of its key.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Option<Duration>); 3] {
        let Self { tcp, tcp_fin, udp } = *self;
        [
            ("tcp_timeout", tcp),
            ("tcp_fin_timeout", tcp_fin),
            ("udp_timeout", udp),
        ]
    }
}

/// `[ipvs]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipvs {
    /// Which services are ours. Default all.
    pub own: Own,
    /// How often the kernel's table is compared with what it should be. Default
    /// one minute.
    pub audit: Duration,
    /// What becomes of them at the end. Default keep.
    pub on_exit: OnExit,
    /// Timeouts of connections.
    pub timeouts: Timeouts,
    /// Kernel parameters of net.ipv4.vs that the file sets, in the order of
    /// docs/config.md, none twice.
    pub sysctls: Vec<Sysctl>,
    /// Connection synchronization; `None` leaves its daemons alone.
    pub sync: Option<SyncConfig>,
}

impl Default for Ipvs {
    fn default() -> Self {
        Self {
            own: Own::default(),
            audit: AUDIT,
            on_exit: OnExit::default(),
            timeouts: Timeouts::default(),
            sysctls: Vec::new(),
            sync: None,
        }
    }
}

pub(super) const NODE_KEYS: &[&str] = &[
    "name",
    "run_dir",
    "log",
    "on_crash",
    "hold_for",
    "startup_delay",
    "notify_fifo",
    "resolve_interval",
];
pub(super) const LIMITS_KEYS: &[&str] = &[
    "services",
    "backends",
    "checks_in_flight",
    "commands",
    "probe_bytes",
    "checks_per_second",
    "backend_checks_per_second",
    "tls",
    "routers",
    "addresses",
    "tracks",
];
pub(super) const IPVS_KEYS: &[&str] = &[
    "own",
    "audit",
    "on_exit",
    "tcp_timeout",
    "tcp_fin_timeout",
    "udp_timeout",
    "sysctl",
    "sync",
];

/// A look costs a dump; 16 audits are the longest wait of a contested table.
const AUDIT_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The kernel counts jiffies in an `int`, with HZ at most 1000
/// (`ip_vs_genl_set_config`).
const TIMEOUT_MAX: Duration = Duration::from_secs(i32::MAX as u64 / 1_000);

const LEVELS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

/// Bytes of a Unix socket's path, without its NUL (`sun_path`, unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Node {
    pub(super) fn read(root: &Section<'_>, notes: &mut Notes) -> Self {
        let mut node = Self {
            name: String::new(),
            run_dir: PathBuf::from("/run/trunnion"),
            log: Level::Info,
            on_crash: OnCrash::default(),
            startup_delay: Duration::ZERO,
            notify_fifo: None,
            resolve_interval: Duration::from_secs(30),
        };
        let section = root
            .raw("node")
            .and_then(|raw| Section::of("[node]", raw, NODE_KEYS, notes));
        if let Some(section) = section {
            if let Some(found) = section.text("name", name, notes) {
                node.name = found.value;
            }
            if let Some(found) = section.text("run_dir", run_dir, notes) {
                node.run_dir = found.value;
            }
            if let Some(found) = section.choice("log", LEVELS, notes) {
                node.log = found.value;
            }
            node.on_crash = on_crash(&section, notes);
            let range = Duration::ZERO..=Duration::from_secs(3_600);
            if let Some(found) = section.duration("startup_delay", range, notes) {
                node.startup_delay = found.value;
            }
            let fifo = section.text("notify_fifo", track::absolute, notes);
            node.notify_fifo = fifo.map(|at| at.value);
            let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
            if let Some(found) = section.duration("resolve_interval", range, notes) {
                node.resolve_interval = found.value;
            }
        }
        if node.name.is_empty() {
            node.name = host_name();
        }
        node
    }
}

fn on_crash(section: &Section<'_>, notes: &mut Notes) -> OnCrash {
    const ON_CRASH: &[(&str, OnCrash)] = &[
        ("resign", OnCrash::Resign),
        ("hold", OnCrash::Hold(HOLD_FOR)),
        ("nothing", OnCrash::Nothing),
    ];
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(60));
    let hold_for = section.duration("hold_for", least..=most, notes);
    let chosen = section.choice("on_crash", ON_CRASH, notes);
    let chosen = chosen.map_or_else(OnCrash::default, |at| at.value);
    match (chosen, hold_for) {
        (OnCrash::Hold(_), Some(At { value, .. })) => OnCrash::Hold(value),
        (OnCrash::Resign | OnCrash::Nothing, Some(At { span, .. })) => {
            notes.error(
                &span,
                "`hold_for` without on_crash = \"hold\"".to_owned(),
                "add on_crash = \"hold\", or leave it out".to_owned(),
            );
            chosen
        }
        (_, None) => chosen,
    }
}

impl Ipvs {
    pub(super) fn read(root: &Section<'_>, notes: &mut Notes) -> Self {
        const OWN: &[(&str, Own)] = &[("all", Own::All), ("declared", Own::Declared)];
        const ON_EXIT: &[(&str, OnExit)] = &[("keep", OnExit::Keep), ("clear", OnExit::Clear)];
        let section = root
            .raw("ipvs")
            .and_then(|raw| Section::of("[ipvs]", raw, IPVS_KEYS, notes));
        let Some(section) = section else {
            return Self::default();
        };
        Self {
            own: section
                .choice("own", OWN, notes)
                .map_or_else(Own::default, |at| at.value),
            audit: section
                .duration("audit", AUDIT_RANGE, notes)
                .map_or(Self::default().audit, |at| at.value),
            on_exit: section
                .choice("on_exit", ON_EXIT, notes)
                .map_or_else(OnExit::default, |at| at.value),
            timeouts: Timeouts {
                tcp: timeout(&section, "tcp_timeout", notes),
                tcp_fin: timeout(&section, "tcp_fin_timeout", notes),
                udp: timeout(&section, "udp_timeout", notes),
            },
            sysctls: sysctl::read(&section, notes),
            sync: sync::read(&section, notes),
        }
    }
}

fn timeout<'d>(section: &Section<'d>, key: &'d str, notes: &mut Notes) -> Option<Duration> {
    let range = Duration::from_secs(1)..=TIMEOUT_MAX;
    let At { value, span } = section.duration(key, range, notes)?;
    if value.subsec_nanos() != 0 {
        notes.error(
            &span,
            format!(
                "`{key}` cannot be {}: the kernel counts whole seconds",
                Shown(value)
            ),
            format!(
                "write \"{}\"",
                Shown(Duration::from_secs(value.as_secs() + 1))
            ),
        );
    }
    Some(value)
}

/// More in a second is no limit.
pub(super) const RATE_MAX: u32 = 1_000_000;

/// The limits, and where each that the file sets stands.
#[derive(Debug)]
pub(super) struct LimitsRead {
    pub limits: Limits,
    pub services: Option<Span>,
    pub backends: Option<Span>,
    pub probe_bytes: Option<Span>,
    pub routers: Option<Span>,
    pub addresses: Option<Span>,
    pub tracks: Option<Span>,
}

impl LimitsRead {
    pub fn read(root: &Section<'_>, notes: &mut Notes) -> Self {
        let mut read = Self {
            limits: Limits::default(),
            services: None,
            backends: None,
            probe_bytes: None,
            routers: None,
            addresses: None,
            tracks: None,
        };
        let section = root
            .raw("limits")
            .and_then(|raw| Section::of("[limits]", raw, LIMITS_KEYS, notes));
        let Some(section) = section else {
            return read;
        };
        let limits = &mut read.limits;
        let rates = [
            ("checks_per_second", &mut limits.checks_per_second),
            (
                "backend_checks_per_second",
                &mut limits.backend_checks_per_second,
            ),
        ];
        for (key, place) in rates {
            if let Some(at) = section.integer(key, 0..=RATE_MAX, notes) {
                *place = at.value;
            }
        }
        let mut set = |key, most, place: &mut u32| {
            let found: Option<At<u32>> = section.integer(key, 1..=most, notes);
            found.map(|At { value, span }| {
                *place = value;
                span
            })
        };
        read.services = set("services", 1 << 20, &mut limits.services);
        read.backends = set("backends", 1 << 24, &mut limits.backends);
        // Each is a socket; fs.nr_open is 2^20 by default.
        set("checks_in_flight", 1 << 18, &mut limits.checks_in_flight);
        set("tls", 1 << 16, &mut limits.tls);
        set("commands", 1 << 12, &mut limits.commands);
        read.probe_bytes = set("probe_bytes", 1 << 30, &mut limits.probe_bytes);
        read.routers = set("routers", 4_096, &mut limits.routers);
        read.addresses = set("addresses", 1 << 20, &mut limits.addresses);
        read.tracks = set("tracks", 4_096, &mut limits.tracks);
        read
    }
}

/// A name of a node or a service: it appears in logs, metrics and tables.
pub(super) fn name(text: &str) -> Result<String, String> {
    name_of(text, 63)
}

/// A name of an instance, which log records carry as a whole.
pub(super) fn short_name(text: &str) -> Result<String, String> {
    name_of(text, 31)
}

fn name_of(text: &str, bytes_max: usize) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@".contains(&b);
    if text.is_empty() || text.len() > bytes_max || !text.bytes().all(allowed) {
        return Err(format!(
            "write 1 to {bytes_max} letters, digits or any of - _ . : / @"
        ));
    }
    Ok(text.to_owned())
}

fn run_dir(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() || text.chars().any(char::is_control) {
        return Err("write the whole path, such as \"/run/trunnion\"".to_owned());
    }
    if path.join(SOCKET_NAME).as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        let most = SOCKET_PATH_BYTES_MAX - SOCKET_NAME.len() - 1;
        return Err(format!(
            "too long for a Unix socket's path: write at most {most} bytes"
        ));
    }
    Ok(path.to_path_buf())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .and_then(|text| name(text.trim()).ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

/// An interface's name: `IFNAMSIZ` 16 with its NUL, and what
/// `dev_valid_name` (net/core/dev.c) takes.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(bad) {
        return Err(format!(
            "write an interface's name of at most 15 bytes, such as \"eth0\"{}",
            if text.contains(':') {
                "; an alias is no interface"
            } else {
                ""
            }
        ));
    }
    Ok(text.to_owned())
}

/// A name of the kernel's own registry, such as a scheduler's: 1 to 15 bytes.
pub(super) fn kernel_name(text: &str) -> Result<heapless::String<15, u8>, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.is_empty() || !text.bytes().all(allowed) {
        return Err(format!(
            "{} is no name: write 1 to 15 letters, digits, - or _",
            quote(text)
        ));
    }
    heapless::String::try_from(text)
        .map_err(|_| format!("{} is longer than the kernel's 15 bytes", quote(text)))
}
