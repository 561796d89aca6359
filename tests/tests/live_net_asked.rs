//! Checks by datagrams, commands and files, by the daemon itself, against real
//! servers and a real kernel's routes: each finds what it should, by its name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::asked::{Server, backend, freeradius, script, service, unbound, until_found};
use trunnion_tests::daemon::{Daemon, run};

const TIMES: &str = r#"interval = "1s", timeout = "1s", rise = 1, fall = 1"#;

fn directory(name: &str) -> PathBuf {
    let name = format!("trunnion-asked-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Answers each datagram with what `answer` makes of it.
fn udp_server(address: &str, answer: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + 'static) {
    let socket = UdpSocket::bind(address).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(buffer[..len].to_vec()) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn dns_by_udp_and_by_tcp_where_the_answer_is_long() {
    unshare_network().expect("a network namespace: run as root");
    let directory = directory("dns");
    let server = unbound(&directory);
    udp_server("127.0.0.1:5301", Some);
    udp_server("127.0.0.1:5302", |mut question| {
        question[2] |= 0x82;
        Some(question)
    });
    udp_server("127.0.0.1:5303", |mut question| {
        question[2] |= 0x80;
        question.truncate(20);
        Some(question)
    });
    udp_server("127.0.0.1:5304", |_| None);
    let at = |address: &str, keys: &str| format!(r#"address = "{address}", {keys}"#);
    let table = [
        (at("127.0.0.1:53", r#"name = "www.example""#), "ok"),
        (
            at("[::1]:53", r#"name = "www.example", answer = "192.0.2.1""#),
            "ok",
        ),
        (
            at("127.0.0.1:53", r#"name = "www.example", transport = "tcp""#),
            "ok",
        ),
        (
            at(
                "127.0.0.1:53",
                r#"name = "long.example", answer = "192.0.2.40""#,
            ),
            "ok",
        ),
        (
            at(
                "[::1]:53",
                r#"name = "long.example", answer = "192.0.2.40""#,
            ),
            "ok",
        ),
        (
            at(
                "127.0.0.1:53",
                r#"name = "long.example", answer = "192.0.2.41""#,
            ),
            "dns record is not as expected",
        ),
        (
            at("127.0.0.1:53", r#"name = "no.example""#),
            "dns response code is not expected",
        ),
        (
            at("127.0.0.1:53", r#"name = "no.example", rcode = "nxdomain""#),
            "ok",
        ),
        (
            at("127.0.0.1:53", r#"name = "www.example", record = "AAAA""#),
            "no such dns record",
        ),
        (
            at(
                "127.0.0.1:53",
                r#"name = "www.example", record = "TXT", answer = "read""#,
            ),
            "ok",
        ),
        (
            at(
                "127.0.0.1:53",
                r#"name = "example", record = "MX", answer = "mail.example""#,
            ),
            "ok",
        ),
        (at("127.0.0.1:5300", r#"name = "www.example""#), "refused"),
        (
            at("127.0.0.1:5301", r#"name = "www.example""#),
            "dns answer to another question",
        ),
        // Truncated, and nobody there by TCP.
        (at("127.0.0.1:5302", r#"name = "www.example""#), "refused"),
        (
            at("127.0.0.1:5303", r#"name = "www.example""#),
            "not a dns answer",
        ),
        (
            at("127.0.0.1:5304", r#"name = "www.example""#),
            "no answer in time",
        ),
    ];
    let checks: Vec<_> = table.iter().map(|(check, _)| check.as_str()).collect();
    let found: Vec<_> = table.iter().map(|(_, found)| *found).collect();
    let config = service(&format!("type = \"dns\", name = \"x\", {TIMES}"), &checks);
    let mut daemon = Daemon::start(&config);
    until_found(&mut daemon, &found);
    // Its death is found; those that it does not concern stay as they are.
    drop(server);
    daemon.until("the server's death", |daemon| {
        let state = daemon.show();
        let last = |n| backend(&state, n)["check"]["last"].clone();
        (0..5).all(|n| last(n) == "refused") && last(14) == found[14]
    });
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn radius_by_every_answer_it_may_give() {
    unshare_network().expect("a network namespace: run as root");
    let directory = directory("radius");
    let _server = freeradius(&directory);
    udp_server("127.0.0.1:1813", Some);
    udp_server("127.0.0.1:1814", |request| {
        Some(vec![2, request[1], 255, 255])
    });
    let user = r#"user = "health", password = "hello""#;
    let wrong = r#"user = "health", password = "wrong""#;
    let more = r#"user = "more", password = "x""#;
    let at = |port: u16, keys: &str| format!(r#"address = "127.0.0.1:{port}"{keys}"#);
    let table = [
        (at(1812, ""), "ok"),
        (at(1812, &format!(", {user}")), "ok"),
        (at(1812, &format!(", {user}, response = \"any\"")), "ok"),
        (
            at(1812, &format!(", {user}, response = \"reject\"")),
            "radius answer is not expected",
        ),
        (
            at(1812, &format!(", {wrong}")),
            "radius answer is not expected",
        ),
        (at(1812, &format!(", {wrong}, response = \"reject\"")), "ok"),
        (
            at(1812, &format!(", {more}, response = \"challenge\"")),
            "ok",
        ),
        // This server leaves its answers unsigned.
        (
            at(1812, &format!(", {user}, signed = true")),
            "radius answer without message-authenticator",
        ),
        // And says nothing to whom it does not believe.
        (
            at(1812, &format!(", {user}, secret = \"x\"")),
            "no answer in time",
        ),
        (at(1813, ""), "radius secret differs"),
        (at(1814, ""), "not a radius answer"),
        (at(1815, ""), "refused"),
    ];
    let checks: Vec<_> = table.iter().map(|(check, _)| check.as_str()).collect();
    let found: Vec<_> = table.iter().map(|(_, found)| *found).collect();
    let base = format!("type = \"radius\", secret = \"testing123\", {TIMES}");
    let mut daemon = Daemon::start(&service(&base, &checks));
    until_found(&mut daemon, &found);
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn udp_by_what_comes_back_or_does_not() {
    unshare_network().expect("a network namespace: run as root");
    run("ip route add blackhole 10.67.0.1/32");
    run("ip route add unreachable 10.67.0.2/32");
    run("ip route add prohibit 10.67.0.3/32");
    let _echo = Server::start("socat", &["UDP4-RECVFROM:7000,fork", "PIPE"]);
    let _six = Server::start("socat", &["UDP6-RECVFROM:7000,ipv6only,fork", "PIPE"]);
    udp_server("127.0.0.1:7001", |_| Some(b"pong\n".to_vec()));
    let _silent = UdpSocket::bind("127.0.0.1:7002").unwrap();
    let at = |address: &str, keys: &str| format!(r#"address = "{address}", {keys}"#);
    let table = [
        (
            at(
                "127.0.0.1:7000",
                r"send = 'a\x00b', expect = { equals = 'a\x00b' }",
            ),
            "ok",
        ),
        (at("[::1]:7000", r#"send = "six", expect = "six""#), "ok"),
        (
            at(
                "127.0.0.1:7001",
                r#"send = "ping", expect = { starts_with = "pong" }"#,
            ),
            "ok",
        ),
        (
            at(
                "127.0.0.1:7001",
                r#"send = "ping", expect = { regex = "^po[a-z]+" }"#,
            ),
            "ok",
        ),
        (at("127.0.0.1:7001", r#"send = "ping""#), "ok"),
        (
            at("127.0.0.1:7001", r#"send = "ping", expect = "ping""#),
            "answer is not what is expected",
        ),
        (
            at("127.0.0.1:7002", r#"send = "ping""#),
            "no answer in time",
        ),
        (at("127.0.0.1:7003", r#"send = "ping""#), "refused"),
        (at("[::1]:7003", r#"send = "ping""#), "refused"),
        (at("10.67.0.1:7000", r#"send = "ping""#), "blackhole route"),
        (at("10.67.0.2:7000", r#"send = "ping""#), "host unreachable"),
        (at("10.67.0.3:7000", r#"send = "ping""#), "prohibited"),
        (
            at("203.0.113.1:7000", r#"send = "ping""#),
            "net unreachable",
        ),
    ];
    let checks: Vec<_> = table.iter().map(|(check, _)| check.as_str()).collect();
    let found: Vec<_> = table.iter().map(|(_, found)| *found).collect();
    let base = format!("type = \"udp\", {TIMES}");
    let config = service(&base, &checks);
    let mut daemon = Daemon::start(&config);
    until_found(&mut daemon, &found);
    // A reload that adds one touches no other.
    let before = daemon.show();
    let more = at("127.0.0.1:7000", r#"send = "later", expect = "later""#);
    let checks: Vec<_> = checks.into_iter().chain([more.as_str()]).collect();
    daemon.rewrite(&service(&base, &checks));
    daemon.says("reloaded");
    let all: Vec<_> = found.iter().copied().chain(["ok"]).collect();
    until_found(&mut daemon, &all);
    let after = daemon.show();
    let health = |state: &Value, n| backend(state, n)["check"]["health"].clone();
    for n in 0..found.len() {
        assert_eq!(health(&before, n), health(&after, n), "{n}");
    }
    assert_eq!(
        daemon.log().matches("is down").count(),
        8,
        "{}",
        daemon.log()
    );
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn icmp_by_reply_route_and_silence() {
    unshare_network().expect("a network namespace: run as root");
    run("ip route add blackhole 10.67.0.1/32");
    run("ip route add unreachable 10.67.0.2/32");
    // A neighbour who does not answer, behind a link whose other end is here.
    run("ip link add near type veth peer name far");
    run("ip addr add 10.68.0.1/24 dev near");
    run("ip addr add 2001:db8:68::1/64 dev near nodad");
    run("ip link set near up");
    run("ip link set far up");
    let at = |address: &str| format!(r#"address = "{address}""#);
    // Neighbour discovery takes three seconds to give up.
    let slow = |address: &str| format!(r#"{}, interval = "6s", timeout = "6s""#, at(address));
    let table = [
        (at("127.0.0.1"), "ok"),
        (at("::1"), "ok"),
        (at("10.68.0.1"), "ok"),
        (at("10.67.0.1"), "blackhole route"),
        (at("10.67.0.2"), "host unreachable"),
        (at("203.0.113.1"), "net unreachable"),
        (at("10.68.0.2"), "no answer in time"),
        (slow("10.68.0.3"), "host unreachable"),
        (slow("2001:db8:68::3"), "host unreachable"),
    ];
    let checks: Vec<_> = table.iter().map(|(check, _)| check.as_str()).collect();
    let found: Vec<_> = table.iter().map(|(_, found)| *found).collect();
    let config = service(&format!("type = \"icmp\", {TIMES}"), &checks);
    let mut daemon = Daemon::start(&config);
    until_found(&mut daemon, &found);
    // The neighbour comes up, and goes.
    run("ip addr add 10.68.0.2/24 dev near");
    daemon.until("the neighbour", |daemon| {
        backend(&daemon.show(), 6)["check"]["last"] == "ok"
    });
    daemon.stop();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn commands_and_files_by_what_comes_of_them() {
    unshare_network().expect("a network namespace: run as root");
    let directory = directory("exec");
    let path = |name: &str| directory.join(name).display().to_string();
    script(
        &directory.join("told"),
        r#"[ "$1" = 127.1.0.1 ] && [ "$TRUNNION_ADDRESS" = 127.1.0.1 ] && [ "$2" = 80:80 ] && [ "$TRUNNION_PORT" = 80 ] || exit 1"#,
    );
    script(
        &directory.join("nobody"),
        "[ \"$(id -un)\" = nobody ] || exit 1",
    );
    fs::write(directory.join("weight.127.1.0.7"), "5\n").unwrap();
    fs::write(directory.join("words"), "up\n").unwrap();
    let _ = run(&format!("chmod 755 {}", directory.display()));
    let shell = |text: &str| format!(r#"command = ["/bin/sh", "-c", "{text}"]"#);
    let file = |name: &str| format!(r#"type = "file", {TIMES}, path = "{}""#, path(name));
    let table = [
        (
            format!(
                r#"command = ["{}", "{{address}}", "{{port}}:{{port}}"]"#,
                path("told")
            ),
            "ok",
        ),
        (
            format!(r#"command = ["{}"], user = "nobody""#, path("nobody")),
            "ok",
        ),
        (shell("exit 3"), "command failed"),
        (format!("{}, weigh = true", shell("exit 3")), "ok"),
        (shell("kill -SEGV $$"), "command killed"),
        (shell("sleep 1000"), "timed out"),
        (file("weight.{address}"), "ok"),
        (file("missing"), "file is not there"),
        (file("words"), "file has no weight in it"),
        // This node's trouble says nothing of the backend.
        (r#"command = ["/nowhere/at/all"]"#.to_owned(), ""),
        (
            shell("echo; echo out of coffee; echo more; exit 3"),
            "command failed",
        ),
    ];
    let checks: Vec<_> = table.iter().map(|(check, _)| check.as_str()).collect();
    let found: Vec<_> = table.iter().map(|(_, found)| *found).collect();
    let base = format!("type = \"exec\", command = [\"/bin/true\"], {TIMES}");
    let mut daemon = Daemon::start(&service(&base, &checks));
    until_found(&mut daemon, &found);
    daemon.says("command cannot be run; no target's health was changed");
    // What it prints is said when it begins to fail and when that counts, no more.
    daemon.says("its command says: out of coffee\n");
    std::thread::sleep(Duration::from_millis(1_500));
    let said = daemon.log().matches("its command says").count();
    assert!((1..=2).contains(&said), "{}", daemon.log());
    // What is in a file is read again.
    fs::remove_file(directory.join("weight.127.1.0.7")).unwrap();
    fs::write(directory.join("words"), "7").unwrap();
    daemon.until("the files again", |daemon| {
        let state = daemon.show();
        let last = |n| backend(&state, n)["check"]["last"].clone();
        last(6) == "file is not there" && last(8) == "ok"
    });
    daemon.says("target 127.1.0.7 port 80 is down");
    // The runner dies: another one goes on, and nobody is blamed.
    let runner = helper(&daemon);
    let downs = daemon.log().matches("is down").count();
    run(&format!("kill -KILL {runner}"));
    daemon.says("the runner of lb ended (signal: 9 (SIGKILL))");
    daemon.until("another runner", |daemon| {
        daemon.show()["counters"]
            .to_string()
            .contains("runner_deaths")
            && {
                let checks = backend(&daemon.show(), 0)["check"].clone();
                checks["last"] == "ok"
            }
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_ne!(helper(&daemon), runner);
    assert_eq!(
        daemon.log().matches("is down").count(),
        downs,
        "{}",
        daemon.log()
    );
    // Without work there is no runner.
    daemon.rewrite(&service(
        &format!("type = \"icmp\", {TIMES}"),
        &["rise = 2"],
    ));
    daemon.says("reloaded");
    daemon.until("no runner", |daemon| helpers(daemon).is_empty());
    daemon.stop();
    let _ = fs::remove_dir_all(directory);
}

fn helper(daemon: &Daemon) -> u32 {
    let helpers = helpers(daemon);
    assert_eq!(helpers.len(), 1);
    helpers[0]
}

/// The runners of a daemon: its children of that name.
fn helpers(daemon: &Daemon) -> Vec<u32> {
    let pid = daemon.pid();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(children).unwrap();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    let named = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(b"runner")
    };
    children.filter(named).collect()
}
