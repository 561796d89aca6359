//! Links and addresses of a real kernel, in namespaces made here, held against
//! what ip(8) says of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use trunnion_core::netlink::{Errno, Messages, Reply};
use trunnion_core::route::{
    AddressFlags, AddressProtocol, Command as Order, Effect, Event, InterfaceAddress,
    InterfaceIndex, Link, OperationalState, RECEIVE_BYTES, Scope, decode,
};
use trunnion_sys::netlink::{self, Socket};
use trunnion_sys::netns::unshare_network;
use trunnion_sys::route::{Error, Route, events};

/// Runs a command and returns its output; its failure is ours.
fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The rows of a command that prints JSON.
fn json(command: &str) -> Vec<Value> {
    serde_json::from_str(&run(command)).unwrap()
}

/// A new namespace with a veth `va` - `vb`, both up.
fn namespace() -> Route {
    unshare_network().expect("a network namespace: run as root");
    run("ip link add va address 02:00:00:00:00:0a type veth peer name vb");
    run("ip link set va up");
    run("ip link set vb up");
    Route::open().unwrap()
}

fn link(route: &mut Route, name: &str) -> Option<Link> {
    route.link(&name.parse().unwrap()).unwrap()
}

fn index(route: &mut Route, name: &str) -> InterfaceIndex {
    link(route, name).unwrap().index
}

fn address(interface: InterfaceIndex, address: &str, prefix: u8) -> InterfaceAddress {
    InterfaceAddress {
        interface,
        address: address.parse().unwrap(),
        prefix,
        flags: AddressFlags::NODAD | AddressFlags::NOPREFIXROUTE,
        scope: Scope::UNIVERSE,
        protocol: AddressProtocol::TRUNNION,
    }
}

/// Calls `done` until it is true; 20 s are far beyond any machine's bad day.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain: {what}");
}

/// `3 192.0.2.10/24 global` for each address, as ip(8) has it.
fn addresses_of_ip() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for link in json("ip -j addr") {
        for address in link["addr_info"].as_array().unwrap() {
            let [index, prefix] = [&link["ifindex"], &address["prefixlen"]];
            let [local, scope] = ["local", "scope"].map(|key| address[key].as_str().unwrap());
            found.insert(format!("{index} {local}/{prefix} {scope}"));
        }
    }
    found
}

fn addresses_of_ours(route: &mut Route) -> BTreeSet<String> {
    let rows = route.addresses().unwrap();
    rows.iter()
        .map(|row| {
            let scope = match row.scope {
                Scope::UNIVERSE => "global",
                Scope::LINK => "link",
                Scope::HOST => "host",
                other => panic!("{other:?}"),
            };
            format!("{} {row} {scope}", row.interface)
        })
        .collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn addresses_are_what_ip_says() {
    let mut route = namespace();
    run("ip link set lo up");
    for words in [
        "192.0.2.10/24 dev va",
        "192.0.2.11/24 dev va",
        "198.51.100.1 peer 198.51.100.2/32 dev va",
        "169.254.3.4/16 dev vb scope link",
        "2001:db8::10/64 dev va nodad",
        "2001:db8::20 peer 2001:db8::21/128 dev vb nodad",
    ] {
        run(&format!("ip addr add {words}"));
    }
    wait("the same addresses as ip", || {
        // Link-local addresses come by themselves, so the two may be apart once.
        addresses_of_ours(&mut route) == addresses_of_ip()
    });
    let secondary = route
        .addresses()
        .unwrap()
        .into_iter()
        .find(|row| row.address == "192.0.2.11".parse::<IpAddr>().unwrap());
    assert!(secondary.unwrap().flags.contains(AddressFlags::SECONDARY));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn links_are_what_ip_says() {
    let mut route = namespace();
    run("ip link add br0 type bridge");
    run("ip link set vb master br0"); // tidy: allow(master): the words of ip-link(8)
    run("ip link add link va name mv0 mtu 1400 type macvlan mode private");
    wait("a carrier", || link(&mut route, "va").unwrap().is_running());
    let links = route.links().unwrap();
    let name_of = |index| {
        let link = links.iter().find(|link| link.index == index);
        link.unwrap().name.to_string()
    };
    let text = |text: Option<String>| text.map_or(Value::Null, Value::String);
    let ours: Vec<_> = links
        .iter()
        .map(|link| {
            [
                Value::from(link.index.get()),
                Value::from(link.name.to_string()),
                text(link.mac.map(|mac| mac.to_string())),
                Value::from(link.mtu),
                text(link.kind.map(|kind| kind.to_string())),
                Value::from(format!("{:?}", link.state).replace('_', "")),
                Value::Bool(link.is_up()),
                Value::Bool(link.is_running()),
                text(link.upper.map(name_of)),
            ]
        })
        .collect();
    let theirs: Vec<_> = json("ip -j -d link")
        .iter()
        .map(|link| {
            let flags = link["flags"].as_array().unwrap();
            let has = |flag: &str| Value::Bool(flags.iter().any(|f| f == flag));
            // ip shows no RUNNING flag where the state says it.
            let running = link["operstate"] == "UP"
                || (link["operstate"] == "UNKNOWN" && flags.iter().any(|f| f == "UP"));
            [
                link["ifindex"].clone(),
                link["ifname"].clone(),
                link["address"].clone(),
                link["mtu"].clone(),
                link["linkinfo"]["info_kind"].clone(),
                link["operstate"].clone(),
                has("UP"),
                Value::Bool(running),
                link["master"].clone(), // tidy: allow(master): a key of ip-link(8)
            ]
        })
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(link(&mut route, "va").unwrap().state, OperationalState::UP);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_is_added_once_and_deleted_once() {
    let mut route = namespace();
    let va = index(&mut route, "va");
    for (text, prefix) in [("192.0.2.10", 32), ("2001:db8::10", 128)] {
        let vip = address(va, text, prefix);
        assert_eq!(route.add_address(&vip).unwrap(), Effect::Changed);
        assert_eq!(route.add_address(&vip).unwrap(), Effect::AlreadySo);
        let rows = route.addresses().unwrap();
        let row = rows.iter().find(|row| row.address == vip.address).unwrap();
        assert_eq!((row.interface, row.prefix), (va, prefix));
        assert_eq!(
            row.protocol,
            AddressProtocol::TRUNNION,
            "kernel 5.18 or later"
        );
        assert!(row.flags.contains(AddressFlags::NOPREFIXROUTE));
        assert!(
            !row.flags.contains(AddressFlags::TENTATIVE),
            "usable at once"
        );
        let family = if row.address.is_ipv4() { "-4" } else { "-6" };
        let routes = run(&format!("ip {family} route show {text}"));
        assert_eq!(routes, "", "noprefixroute");
        assert!(addresses_of_ip().contains(&format!("{va} {text}/{prefix} global")));

        let other_prefix = route.delete_address(va, vip.address, prefix - 8).unwrap();
        assert_eq!(other_prefix, Effect::AlreadySo, "none of that prefix");
        assert!(addresses_of_ip().contains(&format!("{va} {text}/{prefix} global")));
        let deleted = route.delete_address(va, vip.address, prefix).unwrap();
        assert_eq!(deleted, Effect::Changed);
        let again = route.delete_address(va, vip.address, prefix).unwrap();
        assert_eq!(again, Effect::AlreadySo);
        assert!(!addresses_of_ip().contains(&format!("{va} {text}/{prefix} global")));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_virtual_address_of_full_length_takes_no_other_with_it() {
    let mut route = namespace();
    let va = index(&mut route, "va");
    // First the virtual address, then the node's own in the same subnet.
    let vip = address(va, "192.0.2.10", 32);
    route.add_address(&vip).unwrap();
    run("ip addr add 192.0.2.1/24 dev va");
    route.delete_address(va, vip.address, 32).unwrap();
    assert!(addresses_of_ip().contains(&format!("{va} 192.0.2.1/24 global")));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_refusal_says_what_to_do() {
    let mut route = namespace();
    let gone = InterfaceIndex::new(4711).unwrap();
    let error = route
        .add_address(&address(gone, "192.0.2.10", 32))
        .unwrap_err();
    assert!(matches!(
        error,
        Error::Kernel {
            command: Order::NEWADDR,
            errno: Errno::ENODEV
        }
    ));
    assert!(
        error.to_string().starts_with("no such interface"),
        "{error}"
    );
    for text in ["192.0.2.10", "2001:db8::10"] {
        let prefix = if text.contains(':') { 128 } else { 32 };
        let deleted = route
            .delete_address(gone, text.parse().unwrap(), prefix)
            .unwrap();
        assert_eq!(
            deleted,
            Effect::AlreadySo,
            "an interface that is gone has none"
        );
    }
    std::fs::write("/proc/sys/net/ipv6/conf/va/disable_ipv6", "1").unwrap();
    let va = index(&mut route, "va");
    let error = route
        .add_address(&address(va, "2001:db8::10", 128))
        .unwrap_err();
    assert!(error.to_string().contains("disable_ipv6"), "{error}");
}

/// Reads events until `wanted` is among them.
fn hear(socket: &Socket, what: &str, mut wanted: impl FnMut(&Event) -> bool) {
    let mut buf = vec![0; RECEIVE_BYTES];
    let deadline = Instant::now() + Duration::from_secs(20);
    while socket.wait(deadline).unwrap() {
        let datagram = socket.receive(&mut buf).unwrap().unwrap_or(&[]);
        for message in Messages::new(datagram) {
            let reply = Reply::parse(&message.unwrap()).unwrap();
            let Reply::Data {
                kind, body, offset, ..
            } = reply
            else {
                panic!("{reply:?}");
            };
            if decode(kind, body, offset)
                .unwrap()
                .is_some_and(|event| wanted(&event))
            {
                return;
            }
        }
    }
    panic!("not heard: {what}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn changes_are_heard_without_asking() {
    let mut route = namespace();
    let va = index(&mut route, "va");
    let vb = index(&mut route, "vb");
    let socket = events().unwrap();
    for (text, prefix) in [("192.0.2.10", 32), ("2001:db8::10", 128)] {
        let vip = address(va, text, prefix);
        let same = |row: &InterfaceAddress| {
            (row.interface, row.address, row.prefix) == (va, vip.address, prefix)
        };
        route.add_address(&vip).unwrap();
        hear(
            &socket,
            "an address",
            |event| matches!(event, Event::Address(row) if same(row)),
        );
        run(&format!("ip addr del {vip} dev va"));
        hear(
            &socket,
            "its end",
            |event| matches!(event, Event::AddressGone(row) if same(row)),
        );
    }
    run("ip link set vb down");
    hear(
        &socket,
        "no carrier",
        |event| matches!(event, Event::Link(link) if link.index == va && link.is_up() && !link.is_running()),
    );
    run("ip link set vb up");
    hear(
        &socket,
        "a carrier",
        |event| matches!(event, Event::Link(link) if link.index == va && link.is_running()),
    );
    // A port that leaves its bridge is told as an RTM_DELLINK of AF_BRIDGE.
    run("ip link add br0 type bridge");
    run("ip link set vb master br0"); // tidy: allow(master): the words of ip-link(8)
    run("ip link set vb nomaster"); // tidy: allow(nomaster): the words of ip-link(8)
    let mut left = false;
    run("ip link set va name renamed");
    hear(&socket, "a new name", |event| {
        left |= matches!(event, Event::LinkGone(link) if link.index == vb);
        matches!(event, Event::Link(link) if link.index == va && link.name.as_str() == Some("renamed"))
    });
    assert!(!left, "leaving a bridge is not the end of a link");
    run("ip link del renamed");
    hear(
        &socket,
        "its end",
        |event| matches!(event, Event::LinkGone(link) if link.index == va),
    );
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_large_dump_is_whole_and_a_lost_event_is_told() {
    let mut route = namespace();
    let va = index(&mut route, "va");
    let socket = events().unwrap();
    let vips: Vec<_> = (0..2000_u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            address(va, &format!("10.0.{high}.{low}"), 32)
        })
        .collect();
    for vip in &vips {
        assert_eq!(route.add_address(vip).unwrap(), Effect::Changed);
    }
    let dumped: BTreeSet<_> = route
        .addresses()
        .unwrap()
        .iter()
        .map(|row| row.address)
        .collect();
    assert!(
        vips.iter().all(|vip| dumped.contains(&vip.address)),
        "a dump in many parts"
    );

    // Nobody reads the events: some day they do not fit any more.
    let mut buf = vec![0; RECEIVE_BYTES];
    let told = (0..100).any(|_| {
        for vip in &vips {
            route.delete_address(va, vip.address, 32).unwrap();
            route.add_address(vip).unwrap();
        }
        matches!(socket.receive(&mut buf), Err(netlink::Error::Overrun))
    });
    assert!(told, "the loss was told");
    assert!(
        socket.receive(&mut buf).unwrap().is_some(),
        "once, and those kept follow"
    );
}
