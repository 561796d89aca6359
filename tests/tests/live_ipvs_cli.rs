//! `trunnion ipvs` against ipvsadm on a real kernel: the same tables, the same
//! bytes. `TRUNNION_TABLES` draws another number of tables, `TRUNNION_SEED`
//! others.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use trunnion_tests::cli::{ipvsadm, network, our, run};
use trunnion_tests::drawn::{Drawn, Limits, SERVED};

/// Tables drawn where the environment does not say how many.
const TABLES: u64 = 100;

/// One listing by both, while the table holds still: ipvsadm's lies between two
/// equal ones of ours.
fn same_listing(options: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut before = our(&format!("list {options}"), "");
    loop {
        let theirs = ipvsadm(&format!("-L -n {options}"), "");
        let after = our(&format!("list {options}"), "");
        if before == after {
            assert_eq!(after, theirs, "{options}");
            return after;
        }
        assert!(Instant::now() < deadline, "{options} never holds still");
        before = after;
    }
}

fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort();
    lines
}

fn split(text: &str) -> Vec<String> {
    sorted(text.split_inclusive('\n').map(str::to_owned))
}

/// A saved table without thresholds, which ipvsadm does not save.
fn without_thresholds(saved: &str) -> String {
    saved
        .split_inclusive('\n')
        .map(|line| match line.find(" -x ") {
            Some(at) => format!("{}\n", &line[..at]),
            None => line.to_owned(),
        })
        .collect()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The listings that are compared, one of each table in turn.
const LISTINGS: &[&str] = &[
    "",
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--tun-info",
    "--nosort",
    "--stats --exact",
    "--rate -X --nosort",
    "SERVICE",
    "SERVICE --thresholds",
];

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn random_tables_are_the_same_to_the_byte_whoever_made_them() {
    network();
    let tables = number("TRUNNION_TABLES", TABLES);
    let first = number("TRUNNION_SEED", 1);
    let begin = Instant::now();
    let (mut services, mut destinations) = (0, 0);
    for seed in first..first + tables {
        let by_us = seed % 2 == 0;
        let limits = Limits {
            services: 6,
            destinations: 5,
            odd_masks: !by_us,
        };
        let drawn = Drawn::of(seed, limits);
        println!("seed {seed}:\n{}", drawn.script());
        if by_us {
            // From whatever the last table was. A table of nothing is said.
            our("restore", &format!("-C\n{}", drawn.script()));
        } else {
            ipvsadm("-R", &format!("-C\n{}", drawn.script()));
        }
        // What was drawn is what is there: by ipvsadm's word, and by ours.
        let theirs = ipvsadm("-S -n", "");
        let mine = our("save", "");
        assert_eq!(split(&theirs), sorted(drawn.lines(false)));
        assert_eq!(split(&mine), sorted(drawn.lines(true)));
        assert_eq!(without_thresholds(&mine), theirs);

        let turn = usize::try_from(seed).unwrap();
        let name = drawn.services.first().map_or("", |service| &service.name);
        let options = LISTINGS[turn % LISTINGS.len()].replace("SERVICE", name);
        let listed = our(&format!("list {options}"), "");
        assert_eq!(
            listed,
            ipvsadm(&format!("-L -n {options}"), ""),
            "{options}"
        );
        if turn.is_multiple_of(3) {
            let said = our("restore", &mine);
            assert_eq!(said, "standard input: the table is so already\n");
        }
        services += drawn.services.len();
        destinations += theirs.matches("-a ").count();
    }
    println!(
        "{tables} tables, {services} services, {destinations} destinations in {:.1?}",
        begin.elapsed()
    );
    assert!(services as u64 >= tables, "tables with something in them");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn counters_and_connections_are_the_same_under_traffic() {
    network();
    run(&["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"], "");
    let v6 = ["ip", "addr", "add", "fd00::1/128", "dev", "lo", "nodad"];
    run(&v6, "");
    our("restore", SERVED);
    let sinks =
        ["127.0.0.1:5301", "127.0.0.1:5302", "[::1]:5301"].map(|at| UdpSocket::bind(at).unwrap());
    let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
    // More than 100 million bytes, which are told as thousands.
    let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
    for _ in 0..1700 {
        sender.send_to(&[0; 60_000], "192.0.2.1:5000").unwrap();
    }
    for number in 0..20 {
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        sender
            .send_to(&vec![0; number * 10], "192.0.2.1:53")
            .unwrap();
        let sender = UdpSocket::bind("[::]:0").unwrap();
        sender.send_to(&[0; 99], "[fd00::1]:53").unwrap();
    }
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = TcpStream::connect("192.0.2.1:80").unwrap();
            client.write_all(b"hello").unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let mut heard = [0; 5];
            server.read_exact(&mut heard).unwrap();
            server.write_all(&[7; 1000]).unwrap();
            (client, server)
        })
        .collect();

    // The kernel adds its counters up every two seconds.
    let deadline = Instant::now() + Duration::from_secs(30);
    let stats = loop {
        let stats = same_listing("--stats");
        if stats.contains('K') {
            break stats;
        }
        assert!(Instant::now() < deadline, "{stats}");
        std::thread::sleep(Duration::from_millis(500));
    };
    let exact = same_listing("--stats --exact");
    assert!(!exact.contains('K') && exact != stats, "{exact}");
    let plain = same_listing("");
    assert!(plain.contains("Masq    1      5          0"), "{plain}");
    let persistent = same_listing("--persistent-conn");
    let templates = "  -> 127.0.0.1:5301               3         1           ";
    assert!(persistent.contains(templates), "{persistent}");
    same_listing("--thresholds");
    same_listing("-u 192.0.2.1:5000 --stats");
    let connections = same_listing("-c");
    assert!(connections.contains("ESTABLISHED"), "{connections}");
    same_listing("-c --persistent-conn");
    // The kernel's averages fall from turn to turn, and are compared between
    // two turns.
    let rate = same_listing("--rate");
    assert_ne!(rate, same_listing("--stats"));

    // Counters as numbers say the same.
    let text = our("list --json", "");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let services = value["services"].as_array().unwrap();
    assert_eq!(services.len(), 4);
    let big = services.iter().find(|it| it["port"] == 5000).unwrap();
    assert_eq!(big["stats"]["packets_in"], 1700);
    assert_eq!(big["stats"]["bytes_in"], 1700 * (60_000 + 28));
    assert_eq!(big["persistence"]["mask"], "255.255.255.0");
    let to = &big["destinations"][0];
    assert_eq!(
        (&to["persistent"], &to["upper_threshold"]),
        (&1.into(), &100.into())
    );

    our("zero -u 192.0.2.1:5000", "");
    let zeroed = same_listing("--stats --exact");
    assert_ne!(zeroed, exact);
    let gone = format!("{:<33}{}", "UDP  192.0.2.1:5000", "        0".repeat(5));
    assert!(zeroed.contains(&gone), "{zeroed}");
    our("zero", "");
    let zeroed = same_listing("--stats --exact");
    assert!(
        zeroed
            .lines()
            .skip(3)
            .all(|line| line.ends_with(&"        0".repeat(5))),
        "{zeroed}"
    );
    drop((clients, sinks));
}
