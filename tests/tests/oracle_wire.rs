//! The frames we send, as two independent tools read and build them: scapy
//! builds the same frame byte for byte, tshark reads it and checks its sums.
//!
//! Needs python3-scapy and tshark; fails without them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use trunnion_core::bytes::Writer;
use trunnion_core::model::Family;
use trunnion_core::vrrp::advert::{Outgoing, encode_frame};
use trunnion_core::vrrp::{self, AdvertForm, Centis};
use trunnion_core::wire::arp::{self, Gratuitous};
use trunnion_core::wire::{EtherType, IpProtocol, Ipv4, Ipv6, MacAddress, ethernet, icmpv6};

/// One frame of ours, scapy's expression for it, and what tshark shall show.
struct Case {
    frame: Vec<u8>,
    scapy: String,
    tshark: Vec<(&'static str, String)>,
}

fn macs() -> [MacAddress; 3] {
    [
        MacAddress([0x00, 0x00, 0x5e, 0x00, 0x01, 0x33]),
        MacAddress([0x02, 0xff, 0xff, 0xff, 0xff, 0xff]),
        MacAddress([0xfe, 0x12, 0x00, 0x00, 0x00, 0x01]),
    ]
}

fn gratuitous(form: Gratuitous, mac: MacAddress, address: Ipv4Addr) -> Case {
    let op = match form {
        Gratuitous::Request => 1,
        Gratuitous::Reply => 2,
    };
    Case {
        frame: arp::gratuitous(form, mac, address).to_vec(),
        scapy: format!(
            "Ether(dst='ff:ff:ff:ff:ff:ff',src='{mac}')/ARP(op={op},hwsrc='{mac}',psrc='{address}',\
             hwdst='{mac}',pdst='{address}')"
        ),
        tshark: vec![
            ("eth.dst", "ff:ff:ff:ff:ff:ff".into()),
            ("eth.src", mac.to_string()),
            ("arp.isgratuitous", "1".into()),
            ("arp.opcode", op.to_string()),
            ("arp.src.hw_mac", mac.to_string()),
            ("arp.dst.hw_mac", mac.to_string()),
            ("arp.src.proto_ipv4", address.to_string()),
            ("arp.dst.proto_ipv4", address.to_string()),
        ],
    }
}

fn advertisement(mac: MacAddress, address: Ipv6Addr) -> Case {
    Case {
        frame: icmpv6::unsolicited(mac, address).to_vec(),
        scapy: format!(
            "Ether(dst='33:33:00:00:00:01',src='{mac}')/IPv6(hlim=255,src='{address}',dst='ff02::1')\
             /ICMPv6ND_NA(R=1,S=0,O=1,tgt='{address}')/ICMPv6NDOptDstLLAddr(lladdr='{mac}')"
        ),
        tshark: vec![
            ("eth.dst", "33:33:00:00:00:01".into()),
            ("eth.src", mac.to_string()),
            ("ipv6.src", address.to_string()),
            ("ipv6.dst", "ff02::1".into()),
            ("ipv6.hlim", "255".into()),
            ("icmpv6.type", "136".into()),
            ("icmpv6.checksum.status", "1".into()),
            ("icmpv6.nd.na.flag.r", "1".into()),
            ("icmpv6.nd.na.flag.s", "0".into()),
            ("icmpv6.nd.na.flag.o", "1".into()),
            ("icmpv6.nd.na.target_address", address.to_string()),
            ("icmpv6.opt.linkaddr", mac.to_string()),
        ],
    }
}

fn ipv4(mac: MacAddress, identification: u16, dont_fragment: bool, payload: &[u8]) -> Case {
    let source = Ipv4Addr::new(192, 0, 2, 251);
    let destination = Ipv4Addr::new(224, 0, 0, 18);
    let group = MacAddress::multicast_v4(destination);
    let ip = Ipv4 {
        tos: 0xc0,
        identification,
        dont_fragment,
        ttl: 255,
        // For experiments (RFC 3692): nobody reads further.
        protocol: IpProtocol(253),
        source,
        destination,
    };
    let mut frame = ethernet(mac, group, EtherType::IPV4);
    frame.extend(ip.bytes(payload.len()).unwrap());
    frame.extend(payload);
    let flags = if dont_fragment { "DF" } else { "" };
    Case {
        scapy: format!(
            "Ether(dst='{group}',src='{mac}')/IP(tos=0xc0,id={identification},flags='{flags}',\
             ttl=255,proto=253,src='{source}',dst='{destination}')/Raw(bytes.fromhex('{}'))",
            hex(payload)
        ),
        tshark: vec![
            ("eth.dst", "01:00:5e:00:00:12".into()),
            ("ip.version", "4".into()),
            ("ip.hdr_len", "20".into()),
            ("ip.len", (20 + payload.len()).to_string()),
            ("ip.checksum.status", "1".into()),
            ("ip.ttl", "255".into()),
            ("ip.flags.df", u8::from(dont_fragment).to_string()),
            ("ip.src", source.to_string()),
            ("ip.dst", destination.to_string()),
        ],
        frame,
    }
}

fn ipv6(mac: MacAddress, flow_label: u32, payload: &[u8]) -> Case {
    let source: Ipv6Addr = "fe80::c8".parse().unwrap();
    let destination: Ipv6Addr = "ff02::12".parse().unwrap();
    let group = MacAddress::multicast_v6(destination);
    let ip = Ipv6 {
        traffic_class: 0xc0,
        flow_label,
        next_header: IpProtocol(253),
        hop_limit: 255,
        source,
        destination,
    };
    let mut frame = ethernet(mac, group, EtherType::IPV6);
    frame.extend(ip.bytes(payload.len()).unwrap());
    frame.extend(payload);
    Case {
        scapy: format!(
            "Ether(dst='{group}',src='{mac}')/IPv6(tc=0xc0,fl={flow_label},nh=253,hlim=255,\
             src='{source}',dst='{destination}')/Raw(bytes.fromhex('{}'))",
            hex(payload)
        ),
        tshark: vec![
            ("eth.dst", "33:33:00:00:00:12".into()),
            ("ipv6.version", "6".into()),
            ("ipv6.plen", payload.len().to_string()),
            ("ipv6.nxt", "253".into()),
            ("ipv6.src", source.to_string()),
            ("ipv6.dst", destination.to_string()),
        ],
        frame,
    }
}

/// An advert from the virtual router's MAC address; over IPv4 in the form that
/// scapy knows.
fn advert(vrid: u8, priority: u8, source: IpAddr, addresses: &[&str]) -> Case {
    let family = Family::of(&source);
    let (group, mac) = (vrrp::group(family), vrrp::virtual_mac(family, vrid));
    let outgoing = Outgoing {
        vrid,
        priority,
        interval: Centis::SECOND,
        source,
        destination: group,
        form: AdvertForm::Rfc5798,
    };
    let mut buffer = [0xa5; 1_514];
    let mut w = Writer::new(&mut buffer);
    let listed = addresses.iter().map(|address| address.parse().unwrap());
    encode_frame(&mut w, &outgoing, mac, listed).unwrap();
    let (to, ip, mut shown) = match family {
        Family::V4 => (
            "01:00:5e:00:00:12",
            "IP(tos=0xc0,id=0,ttl=255,proto=112",
            vec![
                ("ip.checksum.status", "1".to_owned()),
                ("ip.ttl", "255".into()),
            ],
        ),
        Family::V6 => (
            "33:33:00:00:00:12",
            "IPv6(tc=0xc0,hlim=255,nh=112",
            vec![("ipv6.hlim", "255".to_owned())],
        ),
    };
    shown.extend([
        ("eth.src", mac.to_string()),
        ("eth.dst", to.to_owned()),
        ("vrrp.virt_rtr_id", vrid.to_string()),
        ("vrrp.prio", priority.to_string()),
    ]);
    Case {
        frame: w.finish().unwrap().to_vec(),
        scapy: format!(
            "Ether(dst='{to}',src='{mac}')/{ip},src='{source}',dst='{group}')\
             /VRRPv3(version=3,type=1,vrid={vrid},priority={priority},adv=100,\
             ipcount={},addrlist={addresses:?})",
            addresses.len()
        ),
        tshark: shown,
    }
}

fn ethernet(source: MacAddress, destination: MacAddress, ethertype: EtherType) -> Vec<u8> {
    ethernet::Ethernet {
        destination,
        source,
        ethertype,
    }
    .bytes()
    .to_vec()
}

fn cases() -> Vec<Case> {
    let v4: IpAddr = "192.0.2.251".parse().unwrap();
    let v6: IpAddr = "fe80::c8".parse().unwrap();
    let mut cases = vec![
        advert(51, 100, v4, &["192.0.2.10"]),
        advert(255, 0, v4, &["192.0.2.10", "198.51.100.1"]),
        advert(1, 254, v6, &["fe80::1", "2001:db8::1"]),
    ];
    for mac in macs() {
        for address in ["192.0.2.10", "10.0.0.1", "203.0.113.255"] {
            let address = address.parse().unwrap();
            cases.push(gratuitous(Gratuitous::Request, mac, address));
            cases.push(gratuitous(Gratuitous::Reply, mac, address));
        }
        for address in [
            "2001:db8::10",
            "fe80::1",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            cases.push(advertisement(mac, address.parse().unwrap()));
        }
        for (id, payload) in [
            (0, &b""[..]),
            (1, b"\x31\x0a"),
            (0xffff, b"odd"),
            (7, &[0xa5; 1480]),
        ] {
            cases.push(ipv4(mac, id, id == 7, payload));
            // tshark takes an empty IPv6 payload for an offloaded segment.
            if !payload.is_empty() {
                cases.push(ipv6(mac, u32::from(id) << 4, payload));
            }
        }
    }
    cases
}

#[test]
fn scapy_builds_the_same_bytes() {
    let cases = cases();
    let mut script =
        String::from("from scapy.all import *\nfrom scapy.layers.vrrp import VRRPv3\n");
    for case in &cases {
        script.push_str(&format!("print(bytes({}).hex())\n", case.scapy));
    }
    let output = run(Command::new("/usr/bin/python3").arg("-"), script.as_bytes());
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), cases.len(), "{output}");
    for (case, line) in cases.iter().zip(lines) {
        assert_eq!(hex(&case.frame), line, "{}", case.scapy);
    }
}

#[test]
fn tshark_reads_what_we_meant() {
    let cases = cases();
    // pcap: magic, 2.4, zone, figures, snap length, Ethernet.
    let mut pcap = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        pcap.extend(word.to_ne_bytes());
    }
    for case in &cases {
        let bytes = u32::try_from(case.frame.len()).unwrap();
        for word in [0, 0, bytes, bytes] {
            pcap.extend(word.to_ne_bytes());
        }
        pcap.extend(&case.frame);
    }
    let mut fields: Vec<&str> = cases
        .iter()
        .flat_map(|case| case.tshark.iter().map(|(field, _)| *field))
        .collect();
    fields.sort_unstable();
    fields.dedup();
    fields.push("_ws.malformed");
    fields.push("_ws.expert.message");

    let mut tshark = Command::new("tshark");
    tshark.args(["-r", "-", "-n", "-T", "fields", "-E", "separator=|"]);
    tshark.args(["-o", "ip.check_checksum:TRUE"]);
    for field in &fields {
        tshark.args(["-e", field]);
    }
    let output = run(&mut tshark, &pcap);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), cases.len(), "{output}");
    for (case, line) in cases.iter().zip(lines) {
        let values: Vec<&str> = line.split('|').collect();
        let read = |field: &str| values[fields.iter().position(|f| *f == field).unwrap()];
        for (field, expected) in &case.tshark {
            assert_eq!(read(field), expected, "{field} of {}", case.scapy);
        }
        assert_eq!(read("_ws.malformed"), "", "{}", case.scapy);
        let remark = read("_ws.expert.message");
        // tshark has a word about any two senders of one address.
        let usual = remark.is_empty() || remark.starts_with("Duplicate IP address");
        assert!(usual, "{remark}: {}", case.scapy);
    }
}

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
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
