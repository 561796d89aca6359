//! Checks that say something over TCP, by a real daemon against real servers and
//! hostile ones, in a network namespace. It has no ip_vs, and needs none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::hostile::{Manner, serve};

fn network() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
}

/// A service for each check, named by its place.
fn services(checks: &[(&str, SocketAddr)]) -> String {
    let mut config = String::new();
    for (at, (check, target)) in checks.iter().enumerate() {
        let (address, port) = (target.ip(), target.port());
        write!(
            config,
            "[[service]]\nname = \"s{at}\"\naddress = \"192.0.2.1:{}\"\nforward = \"masq\"\n\
             check = {{ {check}, interval = \"200ms\", timeout = \"150ms\", rise = 1, fall = 2 }}\n\
             backends = [\"{address}:{port}\"]\n",
            1000 + at
        )
        .unwrap();
    }
    config
}

/// What `trunnion show --json` says of the check of each service.
fn checks(daemon: &Daemon) -> Vec<serde_json::Value> {
    let state = daemon.show();
    let services = state["services"].as_array().unwrap();
    let check = |at: usize| {
        let name = format!("s{at}");
        let named = services.iter().find(|service| service["name"] == name);
        named.unwrap()["backends"][0]["check"].clone()
    };
    (0..services.len()).map(check).collect()
}

const HTTP: &str = "type = \"http\"";
const PING: &str = "type = \"tcp\", send = 'PING\\r\\n', expect = { starts_with = '+PONG' }";

/// Each badness has its own name, and is found although others go on without
/// end beside it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn each_way_to_be_bad_has_its_own_reason() {
    network();
    let http = |manner| (HTTP, serve(manner));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n";
    let body = "type = \"http\", expect = \"ready\"";
    let refused = "127.0.0.1:1".parse().unwrap();
    let cases = [
        ((HTTP, refused), "refused"),
        (http(Manner::Hangs), "no answer in time"),
        (
            http(Manner::Drips(
                b"HTTP/1.1 200 OK\r\nA: b\r\n",
                Duration::from_millis(40),
            )),
            "answer not whole in time",
        ),
        (
            http(Manner::Says(b"\x00\xffgarbage\r\n\r\n")),
            "not an http response",
        ),
        (
            http(Manner::Floods(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")),
            "http response head too long",
        ),
        (
            (body, serve(Manner::Floods(head, b"x"))),
            "http content too long to find what is expected",
        ),
        (http(Manner::ResetsAsked), "reset before the answer"),
        (
            http(Manner::ResetsWithin(b"HTTP/1.1 2")),
            "reset within the answer",
        ),
        (http(Manner::Closes), "closed before the answer was whole"),
        (
            http(Manner::Says(b"HTTP/1.1 503 Down\r\n\r\n")),
            "http status is not expected",
        ),
        (
            http(Manner::Says(b"HTTP/1.1 302 F\r\nLocation: /\r\n\r\n")),
            "http redirect",
        ),
        (
            (PING, serve(Manner::Says(b"-ERR\r\n"))),
            "answer is not what is expected",
        ),
        ((PING, serve(Manner::Hangs)), "no answer in time"),
        (
            (
                "type = \"agent\"",
                serve(Manner::Greets(b"down # for a walk\n")),
            ),
            "agent says down",
        ),
        (
            ("type = \"agent\"", serve(Manner::Greets(b"hello\n"))),
            "agent says nothing known",
        ),
        (
            (
                "type = \"grpc\"",
                serve(Manner::Says(b"HTTP/1.1 400 Bad\r\n\r\n")),
            ),
            "not an http/2 answer",
        ),
        (
            (
                "type = \"dns\", name = \"a\", transport = \"tcp\"",
                serve(Manner::Says(b"\xff\xff\x00")),
            ),
            "dns answer too long",
        ),
        // And between them all some that are well.
        (http(Manner::Says(b"HTTP/1.1 200 OK\r\n\r\nready")), "ok"),
        (
            (
                body,
                serve(Manner::Says(b"HTTP/1.0 200 OK\r\n\r\nall ready")),
            ),
            "ok",
        ),
        ((PING, serve(Manner::Says(b"+PONG\r\n"))), "ok"),
        (
            ("type = \"agent\"", serve(Manner::Greets(b"up 50%\n"))),
            "ok",
        ),
    ];
    let (declared, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let mut daemon = Daemon::start(&services(&declared));
    daemon.says("started with");
    daemon.until("a verdict on each", |daemon| {
        let settled =
            |check: &serde_json::Value| check["health"] == "up" || check["health"] == "down";
        checks(daemon).iter().all(settled)
    });
    for (check, expect) in checks(&daemon).iter().zip(&expected) {
        let health = if *expect == "ok" { "up" } else { "down" };
        assert_eq!(check["last"], *expect, "{check}");
        assert_eq!(check["health"], health, "{check}");
        assert!(check["latency_us"].as_u64().is_some(), "{check}");
    }
    let found = checks(&daemon);
    assert_eq!(found[9]["http_status"], 503);
    assert_eq!(found[10]["http_status"], 302);
    assert_eq!(found[11]["http_status"], serde_json::Value::Null);
    // A slow one takes its time and no more.
    let slow = found[2]["latency_us"].as_u64().unwrap();
    assert!((150_000..400_000).contains(&slow), "{slow}");
    // It is not said over and over.
    std::thread::sleep(Duration::from_millis(700));
    let downs = daemon.log().matches("is down").count();
    assert_eq!(downs, expected.iter().filter(|e| **e != "ok").count());
    daemon.stop();
}

/// A reload every 100 ms, which changes another check, while each answer takes
/// nearly as long: the check goes on to its verdict.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn reloads_leave_checks_in_flight_alone() {
    network();
    let slow = serve(Manner::Drips(b"+PONG\r\n", Duration::from_millis(20)));
    let other = serve(Manner::Greets(b"up\n"));
    let config = |round: usize| {
        // Another script each time, so that the first one's place changes.
        let agent = format!("type = \"agent\", send = \"{round}\"");
        services(&[(PING, slow), (&agent, other)])
    };
    let mut daemon = Daemon::start(&config(0));
    daemon.says("started with");
    for round in 1..30 {
        daemon.rewrite(&config(round));
        std::thread::sleep(Duration::from_millis(100));
    }
    daemon.until("a verdict", |daemon| checks(daemon)[0]["health"] == "up");
    assert!(!daemon.log().contains("is down"), "{}", daemon.log());
    daemon.stop();
}

/// Answers without end are searched for a regex that is never there, 64 of them at
/// once, a step for each of its states and each byte: however long that takes, checks
/// beside them begin in their time.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn work_without_end_makes_nobody_late() {
    network();
    let flood = serve(Manner::Floods(b"a", b"ab"));
    let hard = "type = \"tcp\", send = 'x', expect = { regex = '(a|b)*a(a|b){20}c' }, size_limit = 16777216";
    let mut cases = vec![(hard, flood); 64];
    cases.push((PING, serve(Manner::Says(b"+PONG\r\n"))));
    let config = services(&cases)
        .replace("200ms", "1s")
        .replace("150ms", "900ms");
    let mut daemon = Daemon::start(&config);
    daemon.says("started with");
    daemon.until("the one that answers is up", |daemon| {
        checks(daemon)[64]["health"] == "up"
    });
    std::thread::sleep(Duration::from_secs(8));
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let lag = counters.iter().find(|c| c["name"] == "check_lag_us_max");
    let lag_ms = lag.unwrap()["value"].as_u64().unwrap() / 1000;
    println!("lag of a check: {lag_ms} ms at most");
    assert!(lag_ms < 300, "{lag_ms} ms");
    assert_eq!(checks(&daemon)[64]["last"], "ok");
    daemon.stop();
}

/// What hangs while its answer is to be gathered holds room for that, which is
/// shown, and given back when its time is over: nobody else waits for ever.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn calls_that_hang_give_their_room_back() {
    network();
    let hung: Vec<_> = (0..8)
        .map(|_| ("type = \"grpc\"", serve(Manner::Hangs)))
        .collect();
    let well = (HTTP, serve(Manner::Says(b"HTTP/1.1 200 OK\r\n\r\nready")));
    let mut all = hung.clone();
    all.push(well);
    let mut daemon = Daemon::start(&services(&all));
    let gauge = |daemon: &Daemon, of: &str| {
        let counters = daemon.show()["counters"].clone();
        let mut counters = counters.as_array().unwrap().iter();
        let found = counters.find(|c| c["name"] == "check_desks" && c["of"] == of);
        found.unwrap()["value"].as_u64().unwrap()
    };
    daemon.says("started with");
    let mut most = 0;
    daemon.until("each hung one down", |daemon| {
        most = most.max(gauge(daemon, "in use"));
        let checks = checks(daemon);
        let down = |check: &serde_json::Value| check["last"] == "no answer in time";
        checks[..8].iter().all(down) && checks[8]["health"] == "up"
    });
    // An eighth of the 32 checks that may be in flight.
    assert_eq!(gauge(&daemon, "all"), 4);
    assert!((1..=4).contains(&most), "{most}");
    daemon.rewrite(&services(&[well]));
    daemon.says("reloaded");
    daemon.until("all room back", |daemon| gauge(daemon, "in use") == 0);
    daemon.stop();
}

/// A target that speaks first is heard at once, though nothing else goes on.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_greeting_is_read_without_waiting_for_anything_else() {
    network();
    let greets = serve(Manner::Greets(b"220 ready\r\n"));
    let check = "type = \"tcp\", send = 'HELO\\r\\n', expect = { starts_with = '220' }";
    let config = services(&[(check, greets)])
        .replace("150ms", "1s")
        .replace("200ms", "1s");
    let mut daemon = Daemon::start(&config);
    daemon.says("started with");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        let check = checks(&daemon)[0].clone();
        assert_eq!(check["last"], "ok", "{check}");
        assert!(check["latency_us"].as_u64().unwrap() < 500_000, "{check}");
    }
    daemon.stop();
}
