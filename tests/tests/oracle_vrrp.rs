//! Two independent tools are asked about our adverts: scapy builds each golden
//! vector anew, tshark reads each and judges its checksum in both readings.
//!
//! Needs python3-scapy and tshark; fails without them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod vectors;

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use trunnion_core::bytes::{ChecksumScope, Writer};
use trunnion_core::vrrp::AdvertForm;
use trunnion_core::vrrp::advert::{self, MESSAGE_BYTES_MAX, Outgoing};
use trunnion_core::wire::{IpProtocol, Ipv6};
use vectors::{Accept, TEXT, vectors};

/// Runs a tool with `input` and returns its output; its failure is ours.
fn run(command: &mut Command, input: &[u8]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{command:?}: {error}; install it: apt-get install python3-scapy tshark")
        });
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Written beside the reading, so that neither side waits for the other.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn scapy_still_builds_the_golden_vectors() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/oracle/vrrp-vectors");
    let output = run(Command::new("/usr/bin/python3").arg(script), b"");
    assert!(
        output == TEXT,
        "{script} prints something else than golden/vrrp/vectors.txt"
    );
}

/// The IP packet of a vector as we would send it.
fn packet(vector: &Accept) -> Vec<u8> {
    let Outgoing {
        source,
        destination,
        ..
    } = vector.outgoing;
    let mut buffer = [0xa5; MESSAGE_BYTES_MAX];
    let mut w = Writer::new(&mut buffer);
    let addresses = vector.addresses.iter().copied();
    match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            advert::encode_ipv4(&mut w, &vector.outgoing, addresses).unwrap();
            w.finish().unwrap().to_vec()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            advert::encode(&mut w, &vector.outgoing, addresses).unwrap();
            let message = w.finish().unwrap();
            let header = Ipv6 {
                traffic_class: 0xc0,
                flow_label: 0,
                next_header: IpProtocol::VRRP,
                hop_limit: 255,
                source,
                destination,
            };
            let mut packet = header.bytes(message.len()).unwrap().to_vec();
            packet.extend_from_slice(message);
            packet
        }
        mixed => panic!("{mixed:?}"),
    }
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    // pcap: magic, 2.4, zone, figures, snap length, LINKTYPE_RAW.
    let mut pcap = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 101] {
        pcap.extend(word.to_ne_bytes());
    }
    for packet in packets {
        let bytes = u32::try_from(packet.len()).unwrap();
        for word in [0, 0, bytes, bytes] {
            pcap.extend(word.to_ne_bytes());
        }
        pcap.extend(packet);
    }
    pcap
}

const FIELDS: [&str; 9] = [
    "vrrp.version",
    "vrrp.type",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.short_adver_int",
    "vrrp.checksum.status",
    "vrrp.ip_addr",
    "vrrp.ipv6_addr",
];

/// What tshark reads of each packet, in the order of `FIELDS`.
fn tshark(pcap: &[u8], checksum_as_in_v2: &str) -> Vec<Vec<String>> {
    let mut tshark = Command::new("tshark");
    tshark.args(["-r", "-", "-n", "-T", "fields", "-E", "separator=|", "-o"]);
    tshark.arg(format!("vrrp.v3_checksum_as_in_v2:{checksum_as_in_v2}"));
    for field in FIELDS.iter().chain(&["_ws.malformed"]) {
        tshark.args(["-e", field]);
    }
    let output = run(&mut tshark, pcap);
    let split = |line: &str| line.split('|').map(str::to_owned).collect::<Vec<_>>();
    output.lines().map(split).collect()
}

#[test]
fn tshark_reads_every_field_we_write() {
    let (accept, _) = vectors();
    let packets: Vec<_> = accept.iter().map(packet).collect();
    let read = tshark(&pcap(&packets), "TRUE");
    assert_eq!(read.len(), accept.len());
    for (vector, read) in accept.iter().zip(read) {
        let Outgoing {
            vrid,
            priority,
            interval,
            ..
        } = vector.outgoing;
        let [version, kind, id, prio, count, short, _, v4, v6, malformed] = &*read else {
            panic!("{read:?}");
        };
        let name = &vector.name;
        assert_eq!(
            (&**version, &**kind, &**malformed),
            ("3", "1", ""),
            "{name}"
        );
        assert_eq!(*id, vrid.to_string(), "{name}");
        assert_eq!(*prio, priority.to_string(), "{name}");
        assert_eq!(*count, vector.addresses.len().to_string(), "{name}");
        assert_eq!(*short, interval.get().to_string(), "{name}");
        let listed: Vec<String> = vector.addresses.iter().map(IpAddr::to_string).collect();
        assert_eq!(format!("{v4}{v6}"), listed.join(","), "{name}");
    }
}

#[test]
fn tshark_accepts_each_checksum_in_its_reading_only() {
    let (accept, _) = vectors();
    let packets: Vec<_> = accept.iter().map(packet).collect();
    let pcap = pcap(&packets);
    for (as_in_v2, reading) in [
        ("TRUE", AdvertForm::Rfc9568),
        ("FALSE", AdvertForm::Rfc5798),
    ] {
        let read = tshark(&pcap, as_in_v2);
        assert_eq!(read.len(), accept.len());
        for (vector, read) in accept.iter().zip(read) {
            let Outgoing {
                source,
                destination,
                form,
                ..
            } = vector.outgoing;
            // Over IPv6 there is but one reading.
            let fits = form == reading || source.is_ipv6();
            let status = if fits { "1" } else { "0" };
            assert_eq!(read[6], status, "{} read as {reading:?}", vector.name);
            // And so say we.
            let scope: ChecksumScope = reading.scope(source, destination).unwrap();
            assert_eq!(scope.of(&vector.message) == 0, fits, "{}", vector.name);
        }
    }
}
