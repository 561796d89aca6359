//! Programs and scripts of many virtual routers at once, and at the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};

/// More than the runner runs at once.
const MANY: usize = 100;

fn world() {
    unshare_network().expect("a network namespace: run as root");
    run("ip link set lo up");
    run("ip link add d0 type veth peer name d1");
    run("ip link set d1 up");
    run("ip addr add 10.69.0.1/24 dev d0");
    run("ip link set d0 up");
}

/// The processes a process has started, by name.
fn children(pid: u32, name: &str) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = tasks.map(|task| task.unwrap().path().join("children"));
    let lists = lists.filter_map(|path| fs::read_to_string(path).ok());
    let all: Vec<String> = lists.collect();
    let pids = all.iter().flat_map(|list| list.split_whitespace());
    let pids = pids.map(|pid| pid.parse().unwrap());
    let is = |pid: &u32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == name)
    };
    pids.filter(is).collect()
}

fn lines(file: &Path, word: &str) -> usize {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| line.ends_with(word)).count()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn all_programs_of_a_failover_run_and_those_of_a_stop_too() {
    world();
    let directory = std::env::temp_dir().join(format!("trunnion-many-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let told = directory.join("told");
    let program = directory.join("program");
    let script = format!(
        "#!/bin/sh\nsleep 0.1\necho \"$TRUNNION_NAME $TRUNNION_STATE\" >> {}\n",
        told.display()
    );
    fs::write(&program, script).unwrap();
    run(&format!("chmod 755 {}", program.display()));
    let mut config = format!("[limits]\nrouters = {MANY}\n");
    for n in 1..=MANY {
        config += &format!(
            "[[vrrp]]\nname = \"r{n}\"\ninterface = \"d0\"\nvrid = {n}\npriority = 254\ninterval = \"100ms\"\naddresses = [\"10.69.1.{n}/32\"]\nnotify = {{ active = [{program:?}], stop = [{program:?}] }}\n"
        );
    }
    let mut daemon = Daemon::start(&config);
    daemon.until("all are told", |_| lines(&told, " MASTER") == MANY);
    assert!(!daemon.log().contains("not run"), "{}", daemon.log());
    // As a supervisor does it, to all that is in the group.
    let runners = children(daemon.pid(), "runner");
    assert!(!runners.is_empty());
    for runner in runners {
        run(&format!("kill -TERM {runner}"));
    }
    daemon.stop();
    assert_eq!(lines(&told, " STOP"), MANY);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
#[ignore = "needs root and network namespaces"]
fn all_scripts_have_their_turn() {
    world();
    let mut config = format!("[limits]\ntracks = {MANY}\n");
    for n in 1..=MANY {
        config += &format!(
            "[[track]]\nname = \"t{n}\"\nscript = [\"/bin/sleep\", \"0.2\"]\ninterval = \"1s\"\ntimeout = \"900ms\"\n"
        );
    }
    config += "[[vrrp]]\nname = \"r\"\ninterface = \"d0\"\nvrid = 1\ninterval = \"100ms\"\naddresses = [\"10.69.1.1/32\"]\ntrack = [\"t1\", \"t100\"]\n";
    let mut daemon = Daemon::start(&config);
    daemon.says("vrrp r: Backup -> Active");
    daemon.until("all are found out about", |daemon| {
        (1..=MANY).all(|n| daemon.log().contains(&format!("track t{n}: up")))
    });
    assert!(!daemon.log().contains("nothing found out"));
    daemon.stop();
}
