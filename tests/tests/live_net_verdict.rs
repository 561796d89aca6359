//! What verdicts lead to, by a real daemon and real backends in a namespace made
//! here: trouble of this node takes nobody down, a death is found whatever else
//! goes on, and what an operator says holds. Its loops abort when they allocate.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

/// The port of those that live on, and of those that will die.
const LIVES: u16 = 7000;
const DIES: u16 = 7001;

/// Listeners, and whoever accepts and ends what they have: a backlog that is full
/// would be the target's own silence.
struct Backends {
    _lives: Listening,
    dies: Option<Listening>,
}

struct Listening {
    ends: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Listening {
    fn at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let accepting = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                while listener.accept().is_ok() {}
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            ends,
            accepting: Some(accepting),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

impl Backends {
    fn new() -> Self {
        unshare_network().expect("a network namespace: run as root");
        run("ip link set lo up");
        Self {
            _lives: Listening::at(LIVES),
            dies: Some(Listening::at(DIES)),
        }
    }

    fn die(&mut self) {
        self.dies = None;
    }
}

/// A service of so many backends that live on and so many that will die.
fn config(lives: u32, dies: u32, check: &str) -> String {
    let mut text = format!(
        "[[service]]\nname = \"web\"\naddress = \"192.0.2.10:80\"\nforward = \"masq\"\n\
         check = {{ type = \"tcp\", {check} }}\nbackends = [\n"
    );
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    for n in 0..lives + dies {
        let port = if n < lives { LIVES } else { DIES };
        let address = SocketAddr::from((Ipv4Addr::from(first + n), port));
        text.push_str(&format!("  \"{address}\",\n"));
    }
    text + "]\n"
}

/// How many backends the daemon takes for up, and for down.
fn counts(state: &Value) -> (usize, usize) {
    let backends = state["services"][0]["backends"].as_array().unwrap();
    let of = |healths: &[&str]| {
        let each = backends.iter();
        let is = |b: &&Value| healths.contains(&b["check"]["health"].as_str().unwrap());
        each.filter(is).count()
    };
    (of(&["up", "going_down"]), of(&["down", "going_up"]))
}

fn counter(state: &Value, name: &str, of: &str) -> u64 {
    let all = state["counters"].as_array().unwrap();
    let found = all.iter().find(|c| c["name"] == name && c["of"] == of);
    found.unwrap_or_else(|| panic!("no {name} {of}"))["value"]
        .as_u64()
        .unwrap()
}

fn started(state: &Value) -> u64 {
    counter(state, "check_started", "")
}

/// Waits until so many more checks have begun.
fn let_checks_run(daemon: &mut Daemon, checks: u64) {
    let begin = started(&daemon.show());
    daemon.until("more checks", |daemon| {
        started(&daemon.show()) >= begin + checks
    });
}

/// A daemon whose backends are all up, with a check ten times a second.
fn started_with(lives: u32, dies: u32) -> Daemon {
    started_by(lives, dies, true)
}

/// The same by SYNs, or by whole connections.
fn started_by(lives: u32, dies: u32, half_open: bool) -> Daemon {
    let check = "interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 2";
    let check = format!("{check}, half_open = {half_open}");
    let mut daemon = Daemon::start(&config(lives, dies, &check));
    daemon.says("started with");
    let all = (lives + dies) as usize;
    daemon.until("all up", |daemon| counts(&daemon.show()) == (all, 0));
    daemon
}

/// Nobody went down meanwhile, and those that really die are found all the same.
fn nobody_fell_and_deaths_are_found(mut daemon: Daemon, mut backends: Backends) {
    let state = daemon.show();
    assert_eq!(counts(&state).1, 0, "{}", daemon.log());
    assert_eq!(
        counter(&state, "check_went_down", ""),
        0,
        "{}",
        daemon.log()
    );
    backends.die();
    daemon.until("the dead ones", |daemon| counts(&daemon.show()).1 == 2);
    daemon.says_times("is down: refused", 2);
    daemon.stop();
}

fn limit_files(daemon: &Daemon, limit: &str) {
    run(&format!("prlimit --pid {} --nofile={limit}", daemon.pid()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn out_of_file_descriptors_nobody_goes_down() {
    let backends = Backends::new();
    let mut daemon = started_with(18, 2);
    let soft = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = soft.lines().find(|l| l.starts_with("Max open files"));
    let before: Vec<_> = line.unwrap().split_whitespace().collect();
    let (soft, hard) = (before[3].to_owned(), before[4].to_owned());
    let begin = started(&daemon.show());
    // Not one more file can be opened: not even to answer us.
    limit_files(&daemon, &format!("3:{hard}"));
    std::thread::sleep(Duration::from_secs(2));
    limit_files(&daemon, &format!("{soft}:{hard}"));
    let_checks_run(&mut daemon, 40);
    let checked = started(&daemon.show()) - begin;
    assert!(
        checked > 100,
        "{checked}: its sockets were opened beforehand"
    );
    nobody_fell_and_deaths_are_found(daemon, backends);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn out_of_local_ports_nobody_goes_down() {
    let backends = Backends::new();
    let mut daemon = started_by(18, 2, false);
    let range = "/proc/sys/net/ipv4/ip_local_port_range";
    let usual = fs::read_to_string(range).unwrap();
    // Two ports there are, and others have them.
    let taken = [40_000, 40_001].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
    fs::write(range, "40000 40001").unwrap();
    let ports = "out of local ports or addresses";
    daemon.until("checks without a port", |daemon| {
        counter(&daemon.show(), "check_indeterminate", ports) > 200
    });
    daemon.says("no target's health was changed");
    assert_eq!(counts(&daemon.show()), (20, 0));
    fs::write(range, usual).unwrap();
    drop(taken);
    let_checks_run(&mut daemon, 100);
    nobody_fell_and_deaths_are_found(daemon, backends);
}

/// No queue of this kernel makes connect(2) fail for want of buffers, and only a dark
/// network sendmmsg(2), so strace says it in the kernel's place, to every call: also to those that end a
/// connection, whose sockets must serve again all the same.
fn without_buffers_nobody_goes_down(call: &str, half_open: bool, errnos: &[(&str, &str)]) {
    let backends = Backends::new();
    let mut daemon = started_by(18, 2, half_open);
    let pid = daemon.pid().to_string();
    let trace = format!("trace={call}");
    for (errno, name) in errnos {
        let before = counter(&daemon.show(), "check_indeterminate", name);
        let inject = format!("inject={call}:error={errno}");
        let mut strace = Tracer::attach(&["-f", "-p", &pid, "-e", &trace, "-e", &inject]);
        daemon.until("checks that were refused", |daemon| {
            counter(&daemon.show(), "check_indeterminate", name) > before + 100
        });
        strace.end();
        assert_eq!(counts(&daemon.show()), (20, 0), "{}", daemon.log());
        let_checks_run(&mut daemon, 100);
    }
    nobody_fell_and_deaths_are_found(daemon, backends);
}

const MEMORY: &str = "out of memory";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn out_of_buffers_nobody_goes_down() {
    let ports = "out of local ports or addresses";
    let errnos = [("ENOBUFS", MEMORY), ("EAGAIN", ports), ("ENOMEM", MEMORY)];
    without_buffers_nobody_goes_down("connect", false, &errnos);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn out_of_buffers_for_syns_nobody_goes_down() {
    // What waits in the socket's own buffer is no want of ports.
    let errnos = [("ENOBUFS", MEMORY), ("EAGAIN", MEMORY), ("ENOMEM", MEMORY)];
    without_buffers_nobody_goes_down("sendmmsg", true, &errnos);
}

/// A strace that was started here.
struct Tracer(Child);

impl Tracer {
    fn attach(arguments: &[&str]) -> Self {
        let child = Command::new("strace")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("strace: cargo xtask setup"))
    }

    /// Asks it to let go, which it does in peace.
    fn end(&mut self) {
        run(&format!("kill -INT {}", self.0.id()));
        self.0.wait().unwrap();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn stopped_for_three_seconds_nobody_goes_down() {
    let backends = Backends::new();
    let mut daemon = started_with(18, 2);
    for _ in 0..3 {
        daemon.signal("STOP");
        std::thread::sleep(Duration::from_secs(3));
        daemon.signal("CONT");
        let_checks_run(&mut daemon, 60);
        assert_eq!(counts(&daemon.show()), (20, 0), "{}", daemon.log());
    }
    let respread = counter(&daemon.show(), "check_respread", "");
    assert!(respread > 0, "they did not all start at once");
    nobody_fell_and_deaths_are_found(daemon, backends);
}

/// With a reload every second 100 of 1,000 die. Each needs `fall` failures, the
/// first within an interval: so many rounds of checks may begin, and one more
/// for the show that counts them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn deaths_are_found_in_time_with_a_reload_every_second() {
    const FALL: u64 = 3;
    let mut backends = Backends::new();
    let check = "interval = \"1s\", timeout = \"500ms\", rise = 1, fall = 3";
    let text = config(900, 100, check);
    let mut daemon = Daemon::start(&text);
    daemon.says("started with");
    daemon.until("all up", |daemon| counts(&daemon.show()) == (1_000, 0));
    let (mut reloads, mut last) = (0_u32, Instant::now());
    let mut reload = |daemon: &Daemon| {
        if last.elapsed() >= Duration::from_secs(1) {
            last = Instant::now();
            reloads += 1;
            // Something differs each time: a weight.
            let weighted = format!(
                "{{ address = \"127.1.0.1:7000\", weight = {} }}",
                reloads + 1
            );
            daemon.rewrite(&text.replacen("\"127.1.0.1:7000\"", &weighted, 1));
        }
    };
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        reload(&daemon);
        std::thread::sleep(Duration::from_millis(20));
    }
    backends.die();
    let before = started(&daemon.show());
    let mut found = (0, 0);
    daemon.until("all dead ones", |daemon| {
        reload(daemon);
        let state = daemon.show();
        found = (started(&state), counts(&state).1);
        found.1 == 100
    });
    let rounds = (found.0 - before).div_ceil(1_000);
    assert!(rounds <= FALL + 2, "{rounds} rounds of checks");
    assert_eq!(counts(&daemon.show()), (900, 100));
    let state = daemon.show();
    assert_eq!(counter(&state, "check_went_down", ""), 100);
    assert!(daemon.log().matches("reloaded:").count() >= 4);
    assert!(reloads >= 4);
    daemon.stop();
}

/// The operator states of all backends, in order.
fn operators(state: &Value) -> Vec<String> {
    let backends = state["services"][0]["backends"].as_array().unwrap();
    let each = backends.iter().map(|b| b["operator"].as_str().unwrap());
    each.map(str::to_owned).collect()
}

/// Runs a verb against the daemon's socket: exit status, output, errors.
fn verb(daemon: &Daemon, words: &str) -> (i32, String, String) {
    let binary = std::env::var_os("TRUNNION_BIN").unwrap();
    let mut words = words.split(' ');
    let output = Command::new(binary)
        .arg(words.next().unwrap())
        .arg("--socket")
        .arg(daemon.directory.join("run/control.sock"))
        .args(words)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_an_operator_says_holds_through_reload_and_restart() {
    let mut backends = Backends::new();
    let mut daemon = started_with(2, 2);
    let checks = "interval = \"100ms\", timeout = \"100ms\", rise = 2, fall = 2";
    let (status, out, err) = verb(&daemon, "drain web 127.1.0.1");
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(out, "web 127.1.0.1:7000: ready -> drain\n");
    let (_, out, _) = verb(&daemon, "maint --backend 127.1.0.3:7001");
    assert_eq!(out, "web 127.1.0.3:7001: ready -> maint\n");
    let (_, out, _) = verb(&daemon, "force-up tcp/192.0.2.10:80 127.1.0.4:7001");
    assert_eq!(out, "web 127.1.0.4:7001: ready -> force-up\n");
    let said = ["drain", "ready", "maint", "force-up"];
    assert_eq!(operators(&daemon.show()), said);
    daemon.says("service web backend 127.1.0.1:7000: drain, said uid 0 in process");
    let (status, _, err) = verb(&daemon, "drain wep");
    assert_eq!(status, 1);
    assert!(err.contains("no service wep: did you mean web?"), "{err}");
    assert_eq!(verb(&daemon, "drain").0, 2);

    // Who is in maintenance is not checked: its death is nobody's news. Of the
    // one that is forced up it is, but it serves on.
    backends.die();
    daemon.says("target 127.1.0.4 port 7001 is down");
    let_checks_run(&mut daemon, 60);
    assert!(!daemon.log().contains("target 127.1.0.3 port 7001 is down"));
    assert_eq!(daemon.show()["services"][0]["healthy"], 2);

    // A reload, and one that takes a backend away and brings it back.
    daemon.rewrite(&config(2, 2, &checks.replace("fall = 2", "fall = 3")));
    daemon.says("reloaded:");
    assert_eq!(operators(&daemon.show()), said);
    // A restart, and a crash.
    daemon.signal("TERM");
    assert!(daemon.ended().success());
    daemon.start_again();
    daemon.says("3 backends are not ready because an operator said so");
    daemon.says_times("started with", 2);
    assert_eq!(operators(&daemon.show()), said);
    daemon.kill();
    daemon.start_again();
    daemon.says_times("started with", 3);
    assert_eq!(operators(&daemon.show()), said);

    // Ready again: the first check decides.
    let (_, out, err) = verb(&daemon, "ready web");
    assert_eq!((out.lines().count(), err.as_str()), (4, ""));
    daemon.says("target 127.1.0.3 port 7001 is down");
    assert!(!daemon.directory.join("run/operator.states").exists());
    let (_, _, err) = verb(&daemon, "maint web");
    assert_eq!(
        err,
        "warning: service web: nobody is left who may get clients\n"
    );
    // With everyone in maintenance not one check begins.
    let before = started(&daemon.show());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(started(&daemon.show()), before);
    daemon.rewrite(&config(1, 0, checks));
    daemon.says("reloaded:");
    daemon.until("one backend", |daemon| {
        operators(&daemon.show()) == ["maint"]
    });
    daemon.rewrite(&config(2, 2, checks));
    daemon.until("four backends, three of them new", |daemon| {
        operators(&daemon.show()) == ["maint", "ready", "ready", "ready"]
    });
    daemon.stop();
}
