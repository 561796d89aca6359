//! What the config accepts, what it refuses, and in which words.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trunnion::config::{
    Config, Errors, Instance, Mistake, OnCrash, OnExit, Own, SECTIONS, Severity, TrackSource,
    Tracked,
};
use trunnion_core::check::Kind;
use trunnion_core::model::{
    Family, Forward, ServiceFlags, ServiceKey, Tunnel, TunnelFlags, TunnelType,
};
use trunnion_core::route::Scope;
use trunnion_core::vrrp::{AdvertForm, AnnounceConfig, Centis, RouterConfig};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares with a file, or rewrites it where `UPDATE_EXPECT` is set.
fn expect_file(path: &str, found: &str) {
    let whole = root().join(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&whole, found).unwrap();
    }
    assert_eq!(file(path), found, "{path}: UPDATE_EXPECT=1 rewrites it");
}

#[test]
fn ten_mistakes_are_ten_errors_each_in_its_place() {
    let errors = Config::parse(&file("daemon/tests/mistakes/ten.toml"), "ten.toml").unwrap_err();
    let places: Vec<_> = errors.mistakes.iter().map(|m| (m.line, m.column)).collect();
    assert_eq!(
        places,
        [
            (3, 7),
            (6, 12),
            (10, 8),
            (11, 14),
            (15, 1),
            (16, 11),
            (19, 11),
            (21, 19),
            (25, 10),
            (28, 11),
        ],
    );
    assert_eq!(errors.count(), (10, 0));
    expect_file("daemon/tests/mistakes/ten.txt", &format!("{errors}\n"));
}

/// The one mistake in `text`, as `LINE:COLUMN message -> help`.
fn only(text: &str) -> String {
    let mistakes = match Config::parse(text, "t") {
        Ok(config) => config.warnings,
        Err(Errors { mistakes, .. }) => mistakes,
    };
    let lines: Vec<String> = mistakes
        .iter()
        .map(|m| {
            let Mistake {
                severity,
                line,
                column,
                message,
                help,
                also,
                ..
            } = m;
            let also = match also {
                Some(also) => format!(" ({}:{} {})", also.line, also.column, also.message),
                None => String::new(),
            };
            let severity = match severity {
                Severity::Error => "",
                Severity::Warning => "warning: ",
            };
            format!("{line}:{column} {severity}{message}{also} -> {help}")
        })
        .collect();
    lines.join("\n")
}

/// Every rule: a text with one mistake, and the words for it. The texts stand
/// in a file so that the whole can be read as one page.
#[test]
fn every_rule_has_words() {
    let page = file("daemon/tests/mistakes/rules.txt");
    let (mut found, mut several) = (String::new(), Vec::new());
    for case in page.split("\n----\n") {
        let text = case.split("\n=>").next().unwrap();
        let words = only(text);
        if words.lines().count() != 1 {
            several.push(format!("{text}\n=> {words}"));
        }
        if !found.is_empty() {
            found.push_str("\n----\n");
        }
        found.push_str(&format!("{}\n=> {words}", text.trim_end()));
    }
    assert!(
        several.is_empty(),
        "not one mistake:\n{}",
        several.join("\n----\n")
    );
    expect_file("daemon/tests/mistakes/rules.txt", &found);
}

const EXAMPLES: [&str; 4] = ["minimal", "pair", "full", "sync"];

fn example(name: &str) -> String {
    file(&format!("docs/examples/{name}.toml"))
}

#[test]
fn examples_are_right_and_warn_of_nothing() {
    for name in EXAMPLES {
        match Config::parse(&example(name), name) {
            Ok(config) => assert_eq!(config.warnings, [], "{name}"),
            Err(errors) => panic!("{errors}"),
        }
    }
}

#[test]
fn the_full_example_and_the_docs_name_every_key() {
    let (full, docs) = (example("full"), file("docs/config.md"));
    for (section, keys) in SECTIONS {
        for key in *keys {
            let written = [format!("{key} ="), format!("[{key}]"), format!(".{key}]")];
            assert!(
                written.iter().any(|w| full.contains(w)),
                "full.toml lacks {key} of {section}"
            );
            assert!(
                docs.contains(&format!("`{key}`")),
                "docs/config.md lacks {key} of {section}"
            );
        }
    }
}

#[test]
fn the_docs_show_what_is_really_printed() {
    let docs = file("docs/config.md");
    let blocks: Vec<_> = docs.split("```").skip(1).step_by(2).collect();
    let texts = blocks
        .iter()
        .filter_map(|block| block.strip_prefix("toml\n"));
    let mut wrong = Vec::new();
    for text in texts {
        match Config::parse(text, "lb.toml") {
            Ok(_) => {}
            Err(errors) => wrong.push(errors.to_string()),
        }
    }
    // One block shows mistakes; the one after it shows what is printed.
    let [printed] = wrong.as_slice() else {
        panic!(
            "{} wrong toml blocks in docs/config.md:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    };
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let (before, rest) = docs.split_once("prints\n\n```text\n").unwrap();
        let (_, after) = rest.split_once("\n```").unwrap();
        let docs = format!("{before}prints\n\n```text\n{printed}\n```{after}");
        std::fs::write(root().join("docs/config.md"), docs).unwrap();
    }
    let docs = file("docs/config.md");
    let pair = Config::parse(&example("pair"), "pair").unwrap().to_string();
    assert!(docs.contains(&pair), "docs/config.md does not show\n{pair}");
    assert!(
        docs.contains(printed.as_str()),
        "docs/config.md does not show\n{printed}"
    );
}

/// What of the full example moves virtual routers.
fn moves(config: &Config, public: &Instance, inside: &Instance) {
    let tracked = |track: usize, weight| Tracked {
        track,
        weight,
        reverse: false,
    };
    // The group's first, then what its member alone names: one for all.
    let all = [(2, 0), (3, 1), (4, 0), (5, 0), (0, 0), (1, -30)];
    let all = all.map(|(track, weight)| tracked(track, weight));
    assert_eq!(
        (&public.tracks[..], &inside.tracks[..]),
        (&all[..], &all[..])
    );
    assert_eq!((public.group, inside.group), (Some(0), Some(0)));
    let [pair] = config.groups.as_slice() else {
        panic!()
    };
    assert_eq!(
        (pair.name.as_str(), &pair.members[..]),
        ("pair", &[0, 1][..])
    );
    let stop = pair.notify.as_ref().and_then(|notify| notify.stop.as_ref());
    assert_eq!(stop.unwrap(), &["/usr/local/bin/say", "stop"]);
    let any = public
        .notify
        .as_ref()
        .and_then(|notify| notify.any.as_ref());
    assert_eq!(any.unwrap(), &["/usr/local/bin/moved"]);
    let TrackSource::Script(ping) = &config.tracks[1].source else {
        panic!()
    };
    assert_eq!((ping.command.len(), ping.rise, ping.fall), (6, 2, 3));
    assert_eq!(ping.timeout, Duration::from_millis(1500));
    assert_eq!(
        config.tracks[2].source,
        TrackSource::Service {
            name: "web".to_owned(),
            quorum: 2
        }
    );
    let fifo = config.node.notify_fifo.as_deref();
    assert_eq!(fifo, Some(Path::new("/run/trunnion/notify")));
}

#[test]
fn everything_in_the_full_example_arrives() {
    let config = Config::parse(&example("full"), "full.toml").unwrap();
    assert_eq!(config.node.name, "lb1");
    assert_eq!(
        config.node.socket(),
        Path::new("/run/trunnion/control.sock")
    );
    assert_eq!(config.node.on_crash, OnCrash::Hold(Duration::from_secs(3)));
    assert_eq!(
        (config.ipvs.own, config.ipvs.on_exit),
        (Own::All, OnExit::Keep)
    );
    assert_eq!(config.ipvs.timeouts.tcp_fin, Some(Duration::from_secs(120)));
    let sysctls: Vec<_> = config
        .ipvs
        .sysctls
        .iter()
        .map(ToString::to_string)
        .collect();
    for line in [
        "expire_nodest_conn = 1",
        "sync_threshold = 3 50",
        "est_nice = 0",
    ] {
        assert!(
            sysctls.contains(&format!("net.ipv4.vs.{line}")),
            "{sysctls:?}"
        );
    }
    assert_eq!(sysctls.len(), 34);
    let keys: Vec<_> = config.services.iter().map(|s| s.service.key).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(config.node.resolve_interval, Duration::from_secs(10));

    let [public, inside, old] = config.vrrp.as_slice() else {
        panic!()
    };
    moves(&config, public, inside);
    let announce = AnnounceConfig::DEFAULT;
    assert_eq!(
        public.router,
        RouterConfig {
            vrid: 51,
            family: Family::V4,
            priority: 150,
            interval: Centis::new(10).unwrap(),
            preempt: true,
            preempt_delay: Duration::from_secs(30),
            announce,
            owner_rules: true,
        }
    );
    assert_eq!(public.form, Some(AdvertForm::Rfc5798));
    assert_eq!((public.unicast_ttl_min, public.scope), (254, Scope::LINK));
    assert_eq!(public.label, "eth0:vip");
    assert_eq!(old.form, Some(AdvertForm::Seesaw));
    assert_eq!((old.router.priority, old.router.owner_rules), (255, false));
    assert!(!old.router.preempts());
    assert_eq!(public.unicast_peers, [IpAddr::from([192, 0, 2, 3])]);
    assert_eq!(public.addresses[1].to_string(), "192.0.2.11/24");

    let named = |name: &str| config.services.iter().find(|s| s.name == name).unwrap();
    let web = named("web");
    assert_eq!(
        web.service.flags,
        ServiceFlags::PERSISTENT | ServiceFlags::SCHED1 | ServiceFlags::SCHED2
    );
    assert_eq!((web.service.timeout_s, web.service.prefix), (300, 24));
    let target = |at: usize| {
        web.backends[at]
            .check()
            .map(|check| check.target.to_string())
    };
    assert_eq!(target(0).as_deref(), Some("10.0.0.1:8081"));
    assert_eq!(target(1).as_deref(), Some("10.1.0.2:9000"));
    assert_eq!(target(2), None);
    let check = web.backends[1].check().unwrap();
    assert_eq!(check.kind, Kind::Tcp { half_open: true });
    assert_eq!(check.interval, Duration::from_secs(2));
    assert_eq!(check.fast_interval, Duration::from_millis(250));
    let first = web.backends[0].destination;
    assert_eq!(
        (first.forward, first.key.port, first.weight),
        (Forward::MASQ, 8080, 3)
    );
    assert_eq!(
        (first.upper_threshold, first.lower_threshold),
        (10_000, 8_000)
    );

    let edge = named("edge");
    let gue = Tunnel {
        kind: TunnelType::GUE,
        port: 6080,
        flags: TunnelFlags::CSUM,
    };
    assert_eq!(edge.backends[0].destination.tunnel, gue);
    assert_eq!(edge.backends[1].destination.tunnel, Tunnel::IPIP);
    assert_eq!(named("sip").service.engine, "sip");
    assert!(named("dns").service.flags.contains(ServiceFlags::ONEPACKET));
    let shop = named("shop");
    let mark = ServiceKey::Fwmark {
        mark: 5,
        family: Family::V4,
    };
    assert_eq!(
        (shop.service.key, shop.service.scheduler.as_str()),
        (mark, "mine")
    );
    assert_eq!(shop.backends[0].destination.key.port, 0);
    let checked = shop.backends[0].check().unwrap().target;
    assert_eq!(checked, SocketAddr::from(([10, 0, 0, 8], 443)));
}

#[test]
fn bytes_that_are_no_text_have_a_place() {
    let errors = Config::parse_bytes(b"[node]\nname = \"a\xff\"\n", "t").unwrap_err();
    let mistake = &errors.mistakes[0];
    assert_eq!((mistake.line, mistake.column), (2, 10));
    assert_eq!(mistake.message, "byte 0xff is not UTF-8");
}

#[test]
fn a_files_text_cannot_command_a_terminal() {
    let text = "[node]\n\"na\u{1b}[2Jme\" = 1\nname = \"\\u001b[2J\"\nlog = \"\u{9b}31m\"\n";
    let errors = Config::parse(text, "t").unwrap_err().to_string();
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!errors.contains(control), "{errors:?}");
}

#[test]
fn a_large_file_is_read_in_one_piece() {
    use std::fmt::Write;
    let mut text = String::from("[limits]\nservices = 500\nbackends = 100_000\n");
    for service in 0..500 {
        let (high, low) = (service / 250, service % 250);
        let _ = write!(
            text,
            "[[service]]\naddress = \"10.{high}.{low}.1:80\"\ncheck = {{ type = \"tcp\" }}\nbackends = [\n"
        );
        for backend in 0..200 {
            let _ = writeln!(text, "\"172.{high}.{low}.{backend}\",");
        }
        text.push_str("]\n");
    }
    let config = Config::parse(&text, "large").unwrap();
    let backends: usize = config.services.iter().map(|s| s.backends.len()).sum();
    assert_eq!((config.services.len(), backends), (500, 100_000));
}

/// A right file with one to four random changes.
fn mutated() -> impl Strategy<Value = String> {
    let text = prop::sample::select(&EXAMPLES[..]).prop_map(example);
    let word = prop::sample::select(vec![
        "",
        "\"",
        "[",
        "]]",
        "[[",
        "{",
        "}",
        "=",
        ",",
        "\n",
        "\u{0}",
        "é",
        "'''",
        "\"\"\"",
        "0x",
        "-1",
        "99999999999999999999",
        "1e9",
        "inf",
        "2026-11-20",
        "true",
        "a.b",
        "\"1h\"",
        "::",
        "\"10.0.0.1\"",
        "[[service]]\n",
        "[[vrrp]]\n",
        "[service.check]\n",
        "port = 0\n",
        "\\",
        "#",
        "\r",
        "\u{feff}",
    ]);
    let change = (any::<prop::sample::Index>(), 0_usize..24, word);
    (text, prop::collection::vec(change, 1..4)).prop_map(|(mut text, changes)| {
        for (at, cut, word) in changes {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.floor_char_boundary((start + cut).min(text.len()));
            text.replace_range(start..end.max(start), word);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_changed_file_is_right_or_has_mistakes_inside_it(text in mutated()) {
        let mistakes = match Config::parse(&text, "t") {
            Ok(config) => {
                let _ = config.to_string();
                prop_assert!(config.warnings.iter().all(|m| m.severity == Severity::Warning));
                config.warnings
            }
            Err(errors) => {
                prop_assert!(errors.count().0 > 0);
                let _ = errors.to_string();
                errors.mistakes
            }
        };
        let lines = text.split('\n').count();
        for m in &mistakes {
            prop_assert!(m.bytes.start <= m.bytes.end && m.bytes.end <= text.len(), "{m:?}");
            prop_assert!((1..=lines).contains(&m.line), "{m:?}");
            let line = text.split('\n').nth(m.line - 1).unwrap();
            prop_assert!((1..=line.chars().count() + 1).contains(&m.column), "{m:?}");
            prop_assert!(!m.message.is_empty() && !m.message.contains('\n'), "{m:?}");
            let json = m.to_json();
            prop_assert_eq!(json["line"].as_u64(), u64::try_from(m.line).ok());
        }
        prop_assert!(mistakes.is_sorted_by_key(|m| m.bytes.start));
    }
}
