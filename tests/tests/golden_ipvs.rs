//! Our requests beside those of ipvsadm, attribute by attribute, and our reading
//! of a kernel's dumps beside ipvsadm's. The bytes were recorded by
//! `cargo xtask capture`.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::collections::{BTreeMap, BTreeSet};
use trunnion_core::bytes::Reader;
use trunnion_core::ipvs::{Command, DestinationEntry, ServiceEntry, Stats, decode, laws, request};
use trunnion_core::model::{Destination, Family, ServiceKey};
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::netlink::{Batch, Messages, Reply};
use trunnion_tests::golden;
use trunnion_tests::ipvsadm::{self, Run, recorded_requests};

/// (nest, kind) -> value; nest 0 is the top.
type Attributes = BTreeMap<(u16, u16), Vec<u8>>;

const SERVICE: u16 = 1;
const DESTINATION: u16 = 2;
const DAEMON: u16 = 3;

fn walk(payload: &[u8]) -> (Command, Attributes) {
    fn each(mut raw: &[u8], mut visit: impl FnMut(u16, &[u8])) {
        while !raw.is_empty() {
            let len = usize::from(u16::from_ne_bytes([raw[0], raw[1]]));
            visit(u16::from_ne_bytes([raw[2], raw[3]]) & 0x3fff, &raw[4..len]);
            raw = &raw[len.next_multiple_of(4).min(raw.len())..];
        }
    }
    let command = Command(payload[0]);
    let mut found = Attributes::new();
    each(&payload[4..], |kind, value| {
        if let SERVICE | DESTINATION | DAEMON = kind {
            each(value, |inner, value| {
                assert_eq!(found.insert((kind, inner), value.to_vec()), None);
            });
        } else {
            assert_eq!(found.insert((0, kind), value.to_vec()), None);
        }
    });
    (command, found)
}

/// The same meaning in one form. A destination without a family has its
/// service's, and one that is made or changed without a tunnel gets plain ipip
/// (`ip_vs_genl_parse_dest` begins with zeros). The kernel reads as many bytes
/// of an address as its family has (ipvsadm sends 16, and leaves rubbish behind
/// the 4 of an IPv4 destination of an IPv6 service).
fn normalise(command: Command, attributes: &mut Attributes) {
    if attributes.contains_key(&(DESTINATION, 1)) {
        let family = attributes[&(SERVICE, 1)].clone();
        attributes.entry((DESTINATION, 11)).or_insert(family);
        if let Command::NEW_DEST | Command::SET_DEST = command {
            for (kind, zeros) in [(13, 1), (14, 2), (15, 2)] {
                let zeros = vec![0; zeros];
                attributes.entry((DESTINATION, kind)).or_insert(zeros);
            }
        }
    }
    let bytes_of = |family: Option<&Vec<u8>>| match family.map(|raw| raw[0]) {
        Some(2) => 4,
        Some(10) => 16,
        other => panic!("family {other:?}"),
    };
    if let Some(address) = attributes.get(&(SERVICE, 3)) {
        let mut address = address.clone();
        address.truncate(bytes_of(attributes.get(&(SERVICE, 1))));
        attributes.insert((SERVICE, 3), address);
    }
    if let Some(address) = attributes.get(&(DESTINATION, 1)) {
        let mut address = address.clone();
        address.truncate(bytes_of(attributes.get(&(DESTINATION, 11))));
        attributes.insert((DESTINATION, 1), address);
    }
}

/// Whether the kernel reads the attribute of this command at all
/// (ip_vs_genl_parse_service and _dest: `full_entry` only when something is made
/// or changed). ipvsadm sends what it does not read as well.
fn is_read(command: Command, at: (u16, u16)) -> bool {
    let is_key = matches!(at, (SERVICE, 1..=5) | (DESTINATION, 1 | 2 | 11));
    match command {
        Command::NEW_SERVICE | Command::SET_SERVICE => true,
        Command::NEW_DEST | Command::SET_DEST => at.0 == DESTINATION || is_key,
        Command::NEW_DAEMON => true,
        Command::DEL_DAEMON => at == (DAEMON, 1),
        _ => is_key || at.0 == 0,
    }
}

fn ours(run: &Run, buf: &mut [u8]) -> (Command, Attributes) {
    let family = FamilyId(28);
    let mut batch = Batch::new(buf, 1);
    match (run.change(), run) {
        (Some(change), _) => request::change(&mut batch, family, &change),
        (None, Run::Zero(key)) => request::zero(&mut batch, family, key.as_ref()),
        (None, Run::Timeouts(timeouts)) => request::set_timeouts(&mut batch, family, timeouts),
        (None, Run::StartDaemon(it)) => request::start_daemon(&mut batch, family, it),
        (None, Run::StopDaemon(state)) => request::stop_daemon(&mut batch, family, *state),
        (None, other) => panic!("{other:?}"),
    }
    .unwrap();
    let message = Messages::new(batch.finish()).next().unwrap().unwrap();
    walk(message.body.peek())
}

#[test]
fn our_requests_mean_what_ipvsadm_s_do() {
    let all = recorded_requests();
    assert!(all.len() >= 54, "{} requests were recorded", all.len());
    let mut commands = BTreeSet::new();
    for (name, arguments, recorded) in all {
        let run = ipvsadm::parse(&arguments);
        let (command, mut theirs) = walk(&recorded);
        let mut buf = [0xa5; 256];
        let (our_command, mut ours) = ours(&run, &mut buf);
        assert_eq!(our_command, command, "{name}");
        normalise(command, &mut theirs);
        normalise(command, &mut ours);
        theirs.retain(|at, _| is_read(command, *at));
        assert_eq!(ours, theirs, "{name}: ipvsadm {arguments}");
        commands.insert(command);
    }
    let expect = [1, 2, 3, 5, 6, 7, 9, 10, 12, 16].map(Command);
    assert_eq!(commands, BTreeSet::from(expect));
}

#[test]
fn what_ipvsadm_sends_to_make_something_reads_back_as_what_it_was_told() {
    let mut rows = 0;
    for (name, arguments, recorded) in recorded_requests() {
        match ipvsadm::parse(&arguments) {
            Run::AddService(service) => {
                let entry = decode::service(Reader::new(&recorded), 16);
                assert_eq!(entry.unwrap().service, service, "{name}");
                rows += 1;
            }
            Run::AddDestination(key, destination) => {
                let body = Reader::new(&recorded);
                let entry = decode::destination(body, 16, key.family());
                assert_eq!(entry.unwrap().destination, destination, "{name}");
                rows += 1;
            }
            Run::StartDaemon(daemon) => {
                let read = decode::daemon(Reader::new(&recorded), 16);
                assert_eq!(read, Ok(daemon), "{name}");
                rows += 1;
            }
            Run::SetService(_)
            | Run::DeleteService(_)
            | Run::SetDestination(..)
            | Run::DeleteDestination(..)
            | Run::Zero(_)
            | Run::Timeouts(_)
            | Run::StopDaemon(_) => {}
        }
    }
    assert!(rows >= 30, "{rows}");
}

fn rows<T>(raw: &[u8], read: impl Fn(Reader<'_>, usize) -> T) -> Vec<T> {
    let mut rows = Vec::new();
    let mut done = false;
    for message in Messages::new(raw) {
        match Reply::parse(&message.unwrap()).unwrap() {
            Reply::Data { body, offset, .. } => rows.push(read(body, offset)),
            Reply::Done { result, .. } => {
                result.unwrap();
                done = true;
            }
            other @ (Reply::Ack { .. } | Reply::Noop | Reply::Overrun) => panic!("{other:?}"),
        }
    }
    assert!(done, "the dump was recorded to its end");
    rows
}

/// The recorded table: services, and each one's destinations.
fn table() -> Vec<(ServiceEntry, Vec<DestinationEntry>)> {
    let directory = golden::directory("ipvs");
    let services = rows(
        &golden::bytes(&golden::text(&directory.join("dump-services.hex"))),
        |body, offset| decode::service(body, offset).unwrap(),
    );
    let text = golden::text(&directory.join("dump-destinations.hex"));
    let mut table = Vec::new();
    for dump in text.split("# of ").skip(1) {
        let (line, hex) = dump.split_once('\n').unwrap();
        let Run::AddService(service) = ipvsadm::parse(line) else {
            panic!("{line}");
        };
        let entry = services
            .iter()
            .find(|entry| entry.service.key == service.key)
            .unwrap_or_else(|| panic!("{line} was not dumped"));
        let family = service.key.family();
        let destinations = rows(&golden::bytes(hex), |body, offset| {
            decode::destination(body, offset, family).unwrap()
        });
        table.push((entry.clone(), destinations));
    }
    assert_eq!(table.len(), services.len());
    table
}

fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort();
    lines
}

#[test]
fn a_recorded_table_is_what_ipvsadm_saved() {
    let mut lines = Vec::new();
    for (entry, destinations) in table() {
        let service = &entry.service;
        lines.push(ipvsadm::service_line(service, entry.odd_mask));
        for entry in destinations {
            lines.push(ipvsadm::destination_line(&service.key, &entry.destination));
        }
    }
    let saved = golden::text(&golden::directory("ipvs").join("table.save"));
    let saved = sorted(saved.lines().map(|line| line.trim_end().to_owned()));
    assert!(saved.len() >= 30);
    assert_eq!(sorted(lines), saved);
}

#[test]
fn what_ipvsadm_does_not_print_is_read_as_well() {
    let find = |at: &str| -> Destination {
        let all = table();
        let mut rows = all.iter().flat_map(|(_, destinations)| destinations);
        let row = rows.find(|row| row.destination.key.to_string() == at);
        row.unwrap_or_else(|| panic!("{at}")).destination
    };
    let limited = find("198.51.100.8:80");
    assert_eq!(
        (limited.upper_threshold, limited.lower_threshold),
        (2000, 1500)
    );
    assert_eq!(find("198.51.100.9:80").weight, 70_000);
}

/// `ipvsadm -Ln --stats --exact`: name, then five counters.
#[test]
fn recorded_counters_are_what_ipvsadm_printed() {
    let line = |name: String, stats: &Stats| {
        let Stats {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            ..
        } = stats;
        format!("{name} {connections} {packets_in} {packets_out} {bytes_in} {bytes_out}")
    };
    let mut lines = Vec::new();
    let mut counted = 0;
    for (entry, destinations) in table() {
        lines.push(line(entry.service.key.to_string(), &entry.stats));
        counted += entry.stats.packets_in;
        for entry in destinations {
            lines.push(line(format!("-> {}", entry.destination.key), &entry.stats));
        }
    }
    assert!(counted > 0, "the recorded table has seen traffic");
    let printed = golden::text(&golden::directory("ipvs").join("table.stats"));
    let printed = printed
        .lines()
        .skip(3)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(sorted(lines), sorted(printed));
}

#[test]
fn recorded_daemons_are_what_ipvsadm_printed() {
    let directory = golden::directory("ipvs");
    let read = rows(
        &golden::bytes(&golden::text(&directory.join("dump-daemons.hex"))),
        |body, offset| ipvsadm::daemon_line(&decode::daemon(body, offset).unwrap()),
    );
    let printed = golden::text(&directory.join("table.daemons"));
    assert_eq!(read.len(), 2);
    assert_eq!(read, printed.lines().collect::<Vec<_>>());
}

#[test]
fn recorded_dumps_obey_the_laws_whole_and_cut() {
    for name in ["dump-services.hex", "dump-destinations.hex"] {
        let whole = golden::bytes(&golden::text(&golden::directory("ipvs").join(name)));
        let all = laws::decode_any(&whole);
        assert!(all.rows >= 15, "{name}: {all:?}");
        let mut last = laws::Found::default();
        // Coprime to every alignment, so all phases of all fields are cut.
        for len in (0..whole.len()).step_by(13) {
            let found = laws::decode_any(&whole[..len]);
            assert!(found.rows >= last.rows && found.messages < all.messages);
            last = found;
        }
    }
    for (_, destinations) in table() {
        for entry in destinations {
            for family in [Family::V4, Family::V6] {
                let key = ServiceKey::Fwmark { mark: 1, family };
                laws::round_trip_destination(&key, &entry.destination);
            }
        }
    }
}
