//! Checks of plain HTTP, of agents and of TCP, by a real daemon against Debian's
//! nginx, haproxy and socat, in a network namespace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::asked::{Server, backend, service, until_found};
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::hostile::{Manner, serve};
use trunnion_tests::web::{haproxy, haproxy_asks, nginx};

const TIMES: &str = r#"interval = "300ms", timeout = "250ms", rise = 1, fall = 1"#;

fn network(name: &str) -> PathBuf {
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
    let directory = std::env::temp_dir().join(format!("trunnion-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Starts a daemon with a check for each row, and waits until each has found what
/// its row says.
fn found(base: &str, rows: &[(String, &str)]) -> Daemon {
    let checks: Vec<_> = rows.iter().map(|(check, _)| check.as_str()).collect();
    let found: Vec<_> = rows.iter().map(|(_, found)| *found).collect();
    let mut daemon = Daemon::start(&service(&format!("{base}, {TIMES}"), &checks));
    until_found(&mut daemon, &found);
    daemon
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn plain_http_of_nginx_and_of_haproxy() {
    let directory = network("web");
    // Without a length: what is passed on has none either.
    let upstream = serve(Manner::Says(b"HTTP/1.0 200 OK\r\n\r\nall in chunks"));
    let _nginx = nginx(&directory, upstream);
    let _haproxy = haproxy(&directory, &[]);
    let nginx = |keys: &str| format!(r#"address = "127.0.0.1:8080", {keys}"#);
    let haproxy = |keys: &str| format!(r#"address = "127.0.0.1:8081", {keys}"#);
    let ready = r#"path = "/health", expect = { equals = '"#;
    let both = |end: &str| {
        format!(
            r#"{ready}all ready{end}' }}, expect_headers = [{{ name = "X-Version", equals = "42" }}]"#
        )
    };
    let whole = r#"path = "/chunked", expect = { equals = "all in chunks" }"#;
    let asked = |words: &str, more: &str| {
        format!(r#"path = "/asked", expect = {{ equals = '{words}.\n' }}, {more}"#)
    };
    let rows = [
        (nginx(&both(r"\n")), "ok"),
        (nginx(&format!(r#"{}, version = "1.0""#, both(r"\n"))), "ok"),
        (haproxy(&both("")), "ok"),
        (haproxy(&format!(r#"{}, version = "1.0""#, both(""))), "ok"),
        (haproxy(r#"path = "/health", method = "HEAD""#), "ok"),
        // In chunks, and until the end of the stream.
        (nginx(whole), "ok"),
        (nginx(&format!(r#"{whole}, version = "1.0""#)), "ok"),
        (
            nginx(r#"path = "/chunked", expect = { starts_with = "in" }"#),
            "http content is not as expected",
        ),
        // What was asked is what arrived.
        (
            nginx(&asked(
                "POST HTTP/1.1 www.example.org yes 4 close",
                r#"method = "POST", body = "ping", host = "www.example.org", headers = ["X-Probe: yes"]"#,
            )),
            "ok",
        ),
        (
            nginx(&asked(
                "GET HTTP/1.0 127.0.0.1:8080   close",
                r#"version = "1.0""#,
            )),
            "ok",
        ),
        (nginx(r#"path = "/empty""#), "ok"),
        (nginx(r#"path = "/moved""#), "http redirect"),
        (haproxy(r#"path = "/moved""#), "http redirect"),
        (haproxy(r#"path = "/moved", status = 302"#), "ok"),
        (nginx(r#"path = "/""#), "http status is not expected"),
        (haproxy(r#"path = "/down""#), "http status is not expected"),
        (
            haproxy(r#"path = "/down", status = 503, expect = "draining""#),
            "ok",
        ),
        // haproxy: silent-drop tells nobody; reject and nginx's 444 close.
        (haproxy(r#"path = "/mute""#), "no answer in time"),
        (
            haproxy(r#"path = "/reject""#),
            "closed before the answer was whole",
        ),
        (
            nginx(r#"path = "/mute""#),
            "closed before the answer was whole",
        ),
    ];
    let daemon = found("type = \"http\"", &rows);
    assert_eq!(backend(&daemon.show(), 13)["check"]["http_status"], 302);
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

/// nginx keeps the connection, and each check goes by it; haproxy ends it between
/// two checks, which is no failure.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_connection_is_used_again_and_missed_by_nobody() {
    let directory = network("reuse");
    let upstream = serve(Manner::Says(b"HTTP/1.0 200 OK\r\n\r\nx"));
    let server = nginx(&directory, upstream);
    let _haproxy = haproxy(&directory, &[]);
    let counter = |daemon: &Daemon, name: &str| {
        let counters = daemon.show()["counters"].clone();
        let mut counters = counters.as_array().unwrap().iter();
        let found = counters.find(|c| c["name"] == name && c["of"] == "");
        found.unwrap()["value"].as_u64().unwrap()
    };
    let base = r#"type = "http", path = "/health", expect = "ready", reuse = true"#;
    // Alone with nginx: two system calls and no connection for each check.
    let rows = [(r#"address = "127.0.0.1:8080""#.to_owned(), "ok")];
    let mut daemon = found(base, &rows);
    let before = (
        counter(&daemon, "check_reused"),
        counter(&daemon, "check_started"),
    );
    daemon.until("ten checks", |daemon| {
        counter(daemon, "check_started") >= before.1 + 10
    });
    let after = (
        counter(&daemon, "check_reused"),
        counter(&daemon, "check_started"),
    );
    assert!(
        after.0 + 1 >= before.0 + (after.1 - before.1),
        "{before:?} {after:?}"
    );
    assert_eq!(counter(&daemon, "check_connections_kept"), 1);
    assert_eq!(counter(&daemon, "check_reconnected"), 0);
    // Its death is found by the connection that stayed.
    drop(server);
    until_found(&mut daemon, &["refused"]);
    let server = nginx(&directory, upstream);
    until_found(&mut daemon, &["ok"]);
    daemon.rewrite(&service(
        &format!("{base}, {TIMES}"),
        &[
            r#"address = "127.0.0.1:8080""#,
            r#"address = "127.0.0.1:8081""#,
        ],
    ));
    daemon.says("reloaded");
    until_found(&mut daemon, &["ok", "ok"]);
    let downs = daemon.log().matches("is down").count();
    let before = counter(&daemon, "check_started");
    daemon.until("twenty more", |daemon| {
        counter(daemon, "check_started") > before + 20
    });
    assert_eq!(daemon.log().matches("is down").count(), downs);
    drop(server);
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn agents_served_by_haproxy() {
    let directory = network("agents");
    let words = [
        r"up\n",
        r"75%\n",
        r"up 20%\n",
        r"down # at lunch\n",
        r"drain\n",
        r"maint\n",
        r"stopped\n",
        r"hello\n",
    ];
    let _haproxy = haproxy(&directory, &words);
    let at = |n: usize| format!(r#"address = "127.0.0.1:{}""#, 9701 + n);
    let results = [
        "ok",
        "ok",
        "ok",
        "agent says down",
        "ok",
        "ok",
        "agent says down",
        "agent says nothing known",
    ];
    let rows: Vec<_> = results
        .iter()
        .enumerate()
        .map(|(n, of)| (at(n), *of))
        .collect();
    let daemon = found("type = \"agent\"", &rows);
    let state = daemon.show();
    let advised = |n| backend(&state, n)["check"]["advised"].clone();
    assert_eq!(
        [0, 1, 2, 4, 5].map(advised),
        ["", "75%", "20%", "drain", "drain"]
    );
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

/// One column of haproxy's `show stat`, of each server.
fn stat(directory: &Path, column: &str) -> Option<Vec<String>> {
    let mut stream = UnixStream::connect(directory.join("stats")).ok()?;
    stream.write_all(b"show stat\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let at = lines.next()?.split(',').position(|head| head == column)?;
    let servers = lines.filter(|line| line.starts_with("agents,s"));
    let of = |line: &str| line.split(',').nth(at).unwrap().to_owned();
    Some(servers.map(of).collect())
}

/// What haproxy makes of the words of an agent, we make of them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn words_of_agents_mean_what_they_mean_to_haproxy() {
    let directory = network("words");
    let words: [&[u8]; 14] = [
        b"up\n",
        b"75%\n",
        b"0%\n",
        b"150%\n",
        b"up 20%\n",
        b"ready 30%\n",
        b"drain\n",
        b"drain 40%\n",
        b"maint\n",
        b"ready up 50%\n",
        b"down\n",
        b"fail # broken\n",
        b"stopped\r\n",
        b"up,10% # with a comma\n",
    ];
    let agents: Vec<SocketAddr> = words
        .iter()
        .map(|said| serve(Manner::Greets(said)))
        .collect();
    let _asks = haproxy_asks(&directory, &agents);
    let rows: Vec<_> = agents
        .iter()
        .map(|at| format!("address = \"{at}\""))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut daemon = Daemon::start(&service(&format!("type = \"agent\", {TIMES}"), &rows));
    daemon.says("started with");
    let ours = |daemon: &Daemon| -> Vec<(bool, bool, u32)> {
        let state = daemon.show();
        let each = (0..words.len()).map(|n| {
            let check = backend(&state, n)["check"].clone();
            let advised = check["advised"].as_str().unwrap().to_owned();
            let percent = advised.split(' ').next_back().unwrap().strip_suffix('%');
            let weight = percent.map_or(100, |percent| percent.parse().unwrap());
            (
                check["health"] == "up",
                advised.starts_with("drain"),
                weight,
            )
        });
        each.collect()
    };
    daemon.until("a verdict on each", |daemon| {
        let state = daemon.show();
        (0..words.len()).all(|n| backend(&state, n)["check"]["health"] != "unknown")
    });
    let theirs = || -> Option<Vec<(bool, bool, u32)>> {
        let (status, weight) = (stat(&directory, "status")?, stat(&directory, "weight")?);
        let each = status.iter().zip(weight).map(|(status, weight)| {
            let away = status.starts_with("DRAIN") || status.starts_with("MAINT");
            (!status.starts_with("DOWN"), away, weight.parse().unwrap())
        });
        Some(each.collect())
    };
    // A weight of 0 is what it calls draining.
    let same = |(ours, theirs): (&(bool, bool, u32), &(bool, bool, u32))| {
        let away = |it: &(bool, bool, u32)| it.1 || it.2 == 0;
        ours.0 == theirs.0
            && (!ours.0 || away(ours) == away(theirs) && (away(ours) || ours.2 == theirs.2))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (ours, theirs) = (ours(&daemon), theirs().unwrap_or_default());
        if ours.len() == theirs.len() && ours.iter().zip(&theirs).all(same) {
            break;
        }
        assert!(Instant::now() < deadline, "we {ours:?}\nhaproxy {theirs:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn tcp_asked_of_socat() {
    let directory = network("socat");
    let bytes = directory.join("bytes");
    fs::write(&bytes, b"\x01\xff\x00").unwrap();
    let answers = |port: u16, command: &str| {
        let listen = format!("TCP4-LISTEN:{port},fork,reuseaddr");
        Server::start("socat", &[&listen, &format!("SYSTEM:{command}")])
    };
    let _servers = [
        answers(7100, "read -r line; echo \"+PONG $line\""),
        answers(7101, "echo 220 ready; cat >/dev/null"),
        answers(7102, "sleep 5"),
        answers(7103, &format!("cat {}", bytes.display())),
    ];
    let _echo = Server::start(
        "socat",
        &["TCP6-LISTEN:7104,ipv6only,fork,reuseaddr", "PIPE"],
    );
    let at = |port: u16, keys: &str| format!(r#"address = "127.0.0.1:{port}", {keys}"#);
    let rows = [
        (
            at(
                7100,
                r"send = 'PING\r\n', expect = { starts_with = '+PONG PING' }",
            ),
            "ok",
        ),
        (
            at(
                7100,
                r"send = 'PING\n', expect = { regex = '^\+PONG [A-Z]{4}' }",
            ),
            "ok",
        ),
        (
            at(7100, r"send = 'PING\n', expect = 'ECHO'"),
            "answer is not what is expected",
        ),
        // It speaks first.
        (at(7101, r#"expect = { starts_with = "220 " }"#), "ok"),
        (at(7101, r#"expect = "ready", half_open = false"#), "ok"),
        (at(7102, r#"send = "x", expect = "y""#), "no answer in time"),
        (at(7103, r"expect = { equals = '\x01\xff\x00' }"), "ok"),
        (
            r#"address = "[::1]:7104", send = "six", expect = "six""#.to_owned(),
            "ok",
        ),
        (at(7105, r#"send = "x", expect = "y""#), "refused"),
        (at(7100, "half_open = true"), "ok"),
        (at(7100, "half_open = false"), "ok"),
    ];
    let daemon = found("type = \"tcp\"", &rows);
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}
