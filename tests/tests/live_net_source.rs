//! A virtual address is never the source of what the node itself begins: its
//! health checks would come from an address that a backend with direct routing
//! has too, and the backend would answer itself.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::process::Command;
use trunnion_core::route::{
    AddressFlags, AddressProtocol, Effect, InterfaceAddress, InterfaceIndex, Scope,
};
use trunnion_sys::netns::unshare_network;
use trunnion_sys::route::Route;

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split_whitespace()).status();
    assert!(
        status.expect("iproute2 is installed").success(),
        "ip {args}"
    );
}

/// The source the kernel chooses towards a backend.
fn source() -> IpAddr {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a port");
    socket.connect("[fd77::21]:80").expect("a route to it");
    socket.local_addr().expect("a bound socket").ip()
}

#[test]
#[ignore = "makes a network namespace: cargo xtask test"]
fn a_deprecated_virtual_address_is_no_source() {
    unshare_network().expect("root");
    ip("link add va type veth peer name vb");
    ip("link set vb up");
    ip("link set va up");
    ip("address add fd77::11/64 dev va nodad");
    let own: IpAddr = "fd77::11".parse().expect("an address");
    assert_eq!(source(), own);

    let mut route = Route::open().expect("a netlink socket");
    let va = route.link(&"va".parse().expect("a name")).expect("links");
    let mut virtual_address = InterfaceAddress {
        interface: va.map_or(InterfaceIndex::MIN, |link| link.index),
        address: "fd77::10".parse().expect("an address"),
        prefix: 64,
        flags: AddressFlags::NODAD,
        scope: Scope::UNIVERSE,
        protocol: AddressProtocol::TRUNNION,
    };
    let add = route.add_address(&virtual_address).expect("an answer");
    assert_eq!(add, Effect::Changed);
    assert_ne!(
        source(),
        own,
        "the kernel's rules have changed: is the flag still needed?"
    );
    let interface = virtual_address.interface;
    let gone = route.delete_address(interface, virtual_address.address, 64);
    assert_eq!(gone.expect("an answer"), Effect::Changed);

    virtual_address.flags |= AddressFlags::DEPRECATED;
    let add = route.add_address(&virtual_address).expect("an answer");
    assert_eq!(add, Effect::Changed);
    assert_eq!(source(), own);
    let held = route.addresses().expect("an answer");
    let held = held
        .iter()
        .find(|held| held.address == virtual_address.address);
    let flags = held.expect("it is there").flags;
    assert!(
        flags.contains(AddressFlags::DEPRECATED | AddressFlags::PERMANENT),
        "{flags:?}"
    );
}
