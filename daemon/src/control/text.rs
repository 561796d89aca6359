//! The state as tables for a terminal.

mod moves;
mod names;

use super::state::{
    BackendState, CheckState, Counter, RouterState, ServiceState, SettingState, State, ThreadState,
};
use std::fmt;
use std::time::Duration;
use trunnion_core::check::Health;
use trunnion_core::director::plan::OperatorState;
use trunnion_core::model::Family;
use trunnion_core::vrrp::Role;

/// Node, routers, services with their backends, threads, and the counters that
/// are not 0.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            version,
            config,
            uptime,
            routers,
            groups,
            tracks,
            services,
            names,
            strangers,
            settings,
            threads,
            counters,
        } = self;
        writeln!(
            f,
            "node {name}: trunnion {version}, up {}, by {config}",
            Age(*uptime)
        )?;
        if !routers.is_empty() {
            writeln!(f)?;
            let heads = [
                "ROUTER",
                "INTERFACE",
                "VRID",
                "FAMILY",
                "STATE",
                "FOR",
                "PRIORITY",
                "ADDRESSES",
                "WHY",
            ];
            table(f, "", &heads, routers.iter().map(router))?;
        }
        moves::show(f, routers, groups, tracks)?;
        for service in services {
            writeln!(f)?;
            show_service(f, service)?;
        }
        if !names.is_empty() {
            writeln!(f)?;
            let heads = ["NAME", "FAMILY", "ADDRESS", "FOR", "OTHERS", "TROUBLE"];
            table(f, "", &heads, names.iter().map(names::row))?;
        }
        if *strangers > 0 {
            let s = if *strangers == 1 { "" } else { "s" };
            writeln!(
                f,
                "\nOTHERS: {strangers} service{s} in the kernel that the config does not name, left alone"
            )?;
        }
        if !settings.is_empty() {
            writeln!(f)?;
            let heads = ["SETTING", "DECLARED", "KERNEL", "TROUBLE"];
            table(f, "", &heads, settings.iter().map(setting))?;
        }
        if !threads.is_empty() {
            writeln!(f)?;
            let heads = ["THREAD", "ALLOCATIONS AFTER SEAL", "LOG RECORDS DROPPED"];
            table(f, "", &heads, threads.iter().map(thread))?;
        }
        let counted = counters.iter().filter(|counter| counter.value > 0);
        let rows: Vec<_> = counted.map(counter).collect();
        if !rows.is_empty() {
            writeln!(f)?;
            table(f, "", &["COUNTER", "VALUE"], rows.into_iter())?;
        }
        Ok(())
    }
}

fn router(router: &RouterState) -> [String; 9] {
    let addresses: Vec<_> = router
        .addresses
        .iter()
        .map(|held| {
            let mark = match (held.present, router.role) {
                (Some(false), Role::Active) => " (missing)",
                (Some(true), Role::Backup | Role::Initialize) => " (still there)",
                _ => "",
            };
            format!("{}/{}{mark}", held.address, held.prefix)
        })
        .collect();
    [
        router.name.clone(),
        moves::place(router),
        router.vrid.to_string(),
        family(router.family).to_owned(),
        role(router.role).to_owned(),
        age(router.since),
        moves::priority(router),
        addresses.join(" "),
        moves::why(router),
    ]
}

fn show_service(f: &mut fmt::Formatter<'_>, service: &ServiceState) -> fmt::Result {
    let ServiceState {
        name,
        key,
        scheduler,
        in_kernel,
        fail_open,
        min_healthy,
        quorum,
        has_quorum,
        sorry,
        backends,
    } = service;
    let up = service.healthy();
    write!(
        f,
        "SERVICE {name}: {key} {scheduler}, {up} of {} up",
        service.own()
    )?;
    if *has_quorum == Some(false) {
        write!(f, ", QUORUM LOST: of weight {quorum}")?;
    }
    if *sorry {
        f.write_str(", SORRY: its sorry server gets the clients")?;
    }
    if *fail_open {
        write!(
            f,
            ", FAIL-OPEN: fewer than {min_healthy}, so all get traffic"
        )?;
    }
    if *in_kernel == Some(false) {
        f.write_str(", NOT IN THE KERNEL")?;
    }
    writeln!(f)?;
    if backends.is_empty() {
        return Ok(());
    }
    let heads = [
        "BACKEND", "BY", "WEIGHT", "KERNEL", "HEALTH", "FOR", "LATENCY", "LAST",
    ];
    table(f, "  ", &heads, backends.iter().map(backend))
}

fn backend(backend: &BackendState) -> [String; 8] {
    let none = || "-".to_owned();
    let check = backend.check.as_ref();
    [
        backend.key.to_string(),
        backend.forward.to_string(),
        backend.weight.to_string(),
        backend
            .kernel_weight
            .map_or_else(none, |weight| weight.to_string()),
        standing(backend),
        check.map_or_else(none, |check| age(check.since)),
        check
            .and_then(|check| check.latency)
            .map_or_else(none, |latency| format!("{}us", latency.as_micros())),
        check.map_or_else(none, last),
    ]
}

/// What the last check found, and the status of an HTTP response.
fn last(check: &CheckState) -> String {
    match (check.last.as_str(), check.http_status) {
        ("", _) => "-".to_owned(),
        (last, Some(status)) => format!("{last} ({status})"),
        (last, None) => last.to_owned(),
    }
}

/// What is believed of a backend, and what was said of it.
fn standing(backend: &BackendState) -> String {
    let check = backend.check.as_ref();
    let mut words = match check {
        None => "not checked".to_owned(),
        Some(_) if backend.operator == OperatorState::Maint => "not checked now".to_owned(),
        Some(check) => health(check.health),
    };
    if check.is_some_and(|check| check.held) {
        words.push_str(", held: flaps");
    }
    if let Some(shown) = check.and_then(|check| check.certificate).filter(|c| c.soon) {
        words = format!("{words}, CERTIFICATE EXPIRES in {}", Age(shown.left));
    }
    if backend.rising {
        words.push_str(", slow start");
    }
    if let Some(check) = check.filter(|check| !check.advised.is_empty()) {
        words = format!("{words}, says {}", check.advised);
    }
    if backend.operator != OperatorState::Ready {
        words = format!("{words}, OPERATOR {}", backend.operator.words());
    }
    if backend.sorry {
        words.push_str(", sorry server");
    }
    words
}

fn setting(setting: &SettingState) -> [String; 4] {
    let none = || "-".to_owned();
    [
        setting.name.clone(),
        setting.declared.clone(),
        setting.present.clone().unwrap_or_else(none),
        setting.trouble.clone(),
    ]
}

fn thread(thread: &ThreadState) -> [String; 3] {
    [
        thread.name.clone(),
        thread
            .allocations_after_seal
            .map_or_else(|| "-".to_owned(), |count| count.to_string()),
        thread.records_dropped.to_string(),
    ]
}

fn counter(counter: &Counter) -> [String; 2] {
    let Counter { name, of, value } = counter;
    let name = match of.as_str() {
        "" => name.clone(),
        of => format!("{name} ({of})"),
    };
    [name, value.to_string()]
}

pub(super) const fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Initialize => "initialize",
        Role::Backup => "backup",
        Role::Active => "active",
    }
}

fn health(health: Health) -> String {
    match health {
        Health::Unknown => "unknown".to_owned(),
        Health::Up => "up".to_owned(),
        Health::GoingDown { failures } => format!("up, {failures} failed"),
        Health::Down => "down".to_owned(),
        Health::GoingUp { successes } => format!("down, {successes} succeeded"),
    }
}

fn age(since: Option<Duration>) -> String {
    since.map_or_else(|| "-".to_owned(), |since| Age(since).to_string())
}

/// A time span in its two largest units: `3h12m`, `12s`, `250ms`.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.as_secs();
        match s {
            0 => write!(f, "{}ms", self.0.as_millis()),
            1..60 => write!(f, "{s}s"),
            60..3_600 => write!(f, "{}m{}s", s / 60, s % 60),
            3_600..86_400 => write!(f, "{}h{}m", s / 3_600, s / 60 % 60),
            _ => write!(f, "{}d{}h", s / 86_400, s / 3_600 % 24),
        }
    }
}

/// Columns as wide as their widest cell; the last one as it is.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    indent: &str,
    heads: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    for row in &rows {
        let mut line = indent.to_owned();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}
