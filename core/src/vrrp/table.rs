//! Every state crossed with every event, as text and as a diagram.
//!
//! `UPDATE_EXPECT=1 cargo test -p trunnion-core vrrp::table` rewrites both.

use super::announce::Announce;
use super::state::{Event, Heard, State, step};
use super::{Actions, AnnounceConfig, Centis, Reason, Remarks, Resume, Role, RouterConfig};
use crate::model::Family;
use crate::time::Instant;
use core::cmp::Ordering;
use core::fmt::Write;
use core::time::Duration;
use std::collections::BTreeSet;
use std::format;
use std::string::String;
use std::vec::Vec;

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
const CONFIG: RouterConfig = RouterConfig::new(1, Family::V4);

fn states() -> Vec<(&'static str, State)> {
    let ago = NOW - Duration::from_secs(1);
    let in_a_while = NOW + Duration::from_millis(500);
    let backup = |active_down_at, learned, then| State::Backup {
        active_down_at,
        learned,
        heard_at: ago,
        then,
        lower_since: None,
    };
    let said = Announce::begin(&CONFIG.announce, ago).announced(
        &AnnounceConfig {
            interval: Duration::from_secs(2),
            ..CONFIG.announce
        },
        ago,
    );
    let active = |advert_at| State::Active {
        advert_at,
        announce: said,
    };
    [
        ("initialize", State::NEW),
        (
            "initialize, owes priority 0",
            State::Initialize {
                resign_at: Some(NOW),
            },
        ),
        (
            "backup, heard nobody",
            backup(in_a_while, None, Reason::NobodyActive),
        ),
        (
            "backup, heard the active",
            backup(in_a_while, Some(Centis::SECOND), Reason::ActiveSilent),
        ),
        (
            "backup, timer fired",
            backup(NOW, Some(Centis::SECOND), Reason::ActiveSilent),
        ),
        ("active", active(in_a_while)),
        ("active, advert due", active(NOW)),
    ]
    .into()
}

fn events() -> Vec<(&'static str, RouterConfig, Event)> {
    let advert = |priority, address| {
        Event::Advert(Heard {
            priority,
            interval: Centis::SECOND,
            address,
        })
    };
    let resume = |seconds| {
        Event::Startup(Some(Resume {
            last_sent: NOW - Duration::from_secs(seconds),
            interval: Centis::SECOND,
        }))
    };
    let other = |priority, interval| RouterConfig {
        priority,
        interval,
        ..CONFIG
    };
    let owner = other(255, Centis::SECOND);
    let nopreempt = RouterConfig {
        preempt: false,
        ..CONFIG
    };
    let delayed = RouterConfig {
        preempt_delay: Duration::from_secs(60),
        ..CONFIG
    };
    let ten = Centis::new(10).unwrap();
    let slow = Event::Advert(Heard {
        priority: 200,
        interval: Centis::new(500).unwrap(),
        address: Ordering::Greater,
    });
    [
        ("startup", CONFIG, Event::Startup(None)),
        ("startup as owner", owner, Event::Startup(None)),
        ("startup, active 1 s ago", CONFIG, resume(1)),
        ("startup, active 4 s ago", CONFIG, resume(4)),
        ("advert, priority 0", CONFIG, advert(0, Ordering::Less)),
        ("advert, lower", CONFIG, advert(99, Ordering::Greater)),
        (
            "advert, lower, nopreempt",
            nopreempt,
            advert(99, Ordering::Greater),
        ),
        (
            "advert, lower, preempt delay",
            delayed,
            advert(99, Ordering::Greater),
        ),
        (
            "advert, equal, lesser address",
            CONFIG,
            advert(100, Ordering::Less),
        ),
        (
            "advert, equal, our address",
            CONFIG,
            advert(100, Ordering::Equal),
        ),
        (
            "advert, equal, greater address",
            CONFIG,
            advert(100, Ordering::Greater),
        ),
        ("advert, higher", CONFIG, advert(101, Ordering::Less)),
        ("advert, higher, every 5 s", CONFIG, slow),
        (
            "advert, lower, we cannot send",
            CONFIG,
            Event::Silenced(Heard {
                priority: 99,
                interval: Centis::SECOND,
                address: Ordering::Less,
            }),
        ),
        ("timeout", CONFIG, Event::Timeout),
        ("sent", CONFIG, Event::Sent),
        ("announced", CONFIG, Event::Announced),
        ("addresses added", CONFIG, Event::AddressesAdded),
        ("fault", CONFIG, Event::Fault),
        ("shutdown", CONFIG, Event::Shutdown(Reason::Shutdown)),
        ("step down", CONFIG, Event::StepDown(Reason::Failover)),
        (
            "config, priority 254",
            CONFIG,
            Event::Config(other(254, Centis::SECOND)),
        ),
        (
            "config, priority 255",
            CONFIG,
            Event::Config(other(255, Centis::SECOND)),
        ),
        (
            "config, every 100 ms",
            CONFIG,
            Event::Config(other(100, ten)),
        ),
    ]
    .into()
}

fn text() -> String {
    let mut out = String::from(
        "priority 100, every 1 s; the active heard or we became it 1 s ago; times from now\n",
    );
    for (state_name, state) in states() {
        writeln!(out, "\n{state_name}").unwrap();
        for (event_name, config, event) in events() {
            let (to, actions) = step(&config, NOW, state, event);
            let line = if to == state && actions == Actions::NOOP {
                format!("  {event_name:<31} -")
            } else {
                format!("  {event_name:<31} {}", outcome(&state, &to, &actions))
            };
            writeln!(out, "{}", line.trim_end()).unwrap();
        }
    }
    out
}

fn outcome(from: &State, to: &State, actions: &Actions) -> String {
    let mut out = String::new();
    if to.role() != from.role() {
        write!(out, "-> {}; ", name(to.role())).unwrap();
    }
    if to != from {
        out.push_str(&deadlines(to));
    }
    if let Some(said) = actions.transition {
        write!(out, "{:?} addresses; ", actions.addresses).unwrap();
        write!(out, "because {}; ", said.why.text()).unwrap();
    }
    for (remark, _) in actions.remarks.iter_names() {
        write!(out, "remark {remark}; ").unwrap();
    }
    String::from(out.trim_end_matches("; "))
}

fn deadlines(state: &State) -> String {
    match state {
        State::Initialize { resign_at: None } => "owes nothing; ".into(),
        State::Initialize {
            resign_at: Some(at),
        } => format!("priority 0 {}; ", when(*at)),
        State::Backup {
            active_down_at,
            then,
            ..
        } => format!("down timer {}, {then:?}; ", when(*active_down_at)),
        State::Active {
            advert_at,
            announce,
        } => format!(
            "advert {}, announce {}; ",
            when(*advert_at),
            announce.at().map_or("never".into(), when)
        ),
    }
}

fn when(at: Instant) -> String {
    let (after, before) = (at.since(NOW), NOW.since(at));
    if before > Duration::ZERO {
        format!("{before:?} ago")
    } else if after > Duration::ZERO {
        format!("in {after:?}")
    } else {
        "now".into()
    }
}

fn diagram() -> String {
    let mut edges = BTreeSet::new();
    for (_, state) in states() {
        for (_, config, event) in events() {
            // Each reason a timer can fire for is an edge of its own.
            for state in with_each_reason(state) {
                let (to, actions) = step(&config, NOW, state, event);
                if let Some(said) = actions.transition {
                    edges.insert((said.from, said.to, said.why));
                }
                if actions.remarks.contains(Remarks::REASSERTED) {
                    assert_eq!(to.role(), Role::Active);
                }
            }
        }
    }
    let mut out = String::from("stateDiagram-v2\n    [*] --> Initialize\n");
    for (from, to, why) in edges {
        writeln!(out, "    {from:?} --> {to:?}: {}", why.text()).unwrap();
    }
    out
}

fn with_each_reason(state: State) -> Vec<State> {
    match state {
        State::Backup {
            active_down_at,
            learned,
            heard_at,
            lower_since,
            ..
        } => [
            Reason::NobodyActive,
            Reason::ActiveSilent,
            Reason::ActiveResigned,
            Reason::Preempted,
        ]
        .map(|then| State::Backup {
            active_down_at,
            learned,
            heard_at,
            then,
            lower_since,
        })
        .into(),
        State::Initialize { .. } | State::Active { .. } => [state].into(),
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Initialize => "initialize",
        Role::Backup => "backup",
        Role::Active => "active",
    }
}

fn check(file: &str, expected: &str, actual: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = format!("{}/src/vrrp/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, actual).unwrap();
    } else {
        assert!(
            expected == actual,
            "{file} differs; UPDATE_EXPECT=1 rewrites it. Now:\n{actual}"
        );
    }
}

#[test]
fn the_table_is_what_the_docs_show() {
    check("table.txt", include_str!("table.txt"), &text());
}

#[test]
fn the_diagram_is_what_the_docs_show() {
    check("table.mmd", include_str!("table.mmd"), &diagram());
}

#[test]
fn the_docs_show_them() {
    let page = include_str!("../../../docs/vrrp.md");
    for (file, text) in [
        ("table.txt", include_str!("table.txt")),
        ("table.mmd", include_str!("table.mmd")),
    ] {
        assert!(
            page.contains(text.trim_end()),
            "docs/vrrp.md: copy {file} into it"
        );
    }
}
