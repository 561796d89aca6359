//! A state to show.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use trunnion::control::State;
use trunnion::control::state::{
    AddressState, BackendState, CertificateState, CheckState, Counter, GroupState, Moves,
    NameState, RouterState, ServiceState, SettingState, ThreadState, TrackedState, Voice,
};
use trunnion_core::check::Health;
use trunnion_core::director::plan::OperatorState;
use trunnion_core::model::{DestinationKey, Family, Forward, Protocol, ServiceKey};
use trunnion_core::vrrp::Role;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A node with something of everything.
pub fn sample() -> State {
    let backend = |address: &str, weight, kernel_weight, check| BackendState {
        key: DestinationKey {
            address: ip(address),
            port: 80,
        },
        forward: Forward::ROUTE,
        weight,
        kernel_weight,
        check,
        operator: OperatorState::Ready,
        sorry: false,
        rising: false,
    };
    let check = |address: &str, health, last: &str, latency| CheckState {
        target: SocketAddr::new(ip(address), 80),
        health,
        last: last.to_owned(),
        latency,
        http_status: last.starts_with("http").then_some(503),
        since: Some(Duration::from_secs(93)),
        held: false,
        advised: String::new(),
        certificate: None,
    };
    let router = |family, role, addresses| RouterState {
        name: format!("public{}", if family == Family::V6 { "6" } else { "" }),
        interface: "eth0".to_owned(),
        vrid: 51,
        family,
        role,
        since: Some(Duration::from_millis(250)),
        reason: "the active router fell silent".to_owned(),
        priority: 150,
        interval: Duration::from_millis(100),
        addresses,
        counters: vec![Counter::new("sent", 12), Counter::new("received", 0)],
        moves: Moves {
            base_priority: 170,
            group: "pair".to_owned(),
            held: Some(Duration::from_secs(58)),
            ..Moves::default()
        },
        voice: match family {
            Family::V4 => Voice {
                checksum: "rfc5798".to_owned(),
                learned: true,
                refused: Some(Duration::from_millis(3_100)),
                ..Voice::default()
            },
            Family::V6 => Voice {
                virtual_mac: "00:00:5e:00:02:33".to_owned(),
                macvlan: "vrrp6.51".to_owned(),
                macvlan_up: Some(true),
                ..Voice::default()
            },
        },
    };
    let held = |address, prefix, present| AddressState {
        address: ip(address),
        prefix,
        present,
    };
    let latency = Some(Duration::from_micros(212));
    let up = check("192.0.2.101", Health::Up, "ok", latency);
    State {
        name: "lb1".to_owned(),
        version: "0.1.0".to_owned(),
        config: "/etc/trunnion.toml".to_owned(),
        uptime: Duration::from_secs(3 * 86_400 + 7_200),
        groups: vec![GroupState {
            name: "pair".to_owned(),
            state: "active".to_owned(),
            members: vec!["public".to_owned(), "public6".to_owned()],
        }],
        tracks: vec![TrackedState {
            name: "uplink".to_owned(),
            what: "interface eth1".to_owned(),
            state: "down".to_owned(),
        }],
        routers: vec![
            router(
                Family::V4,
                Role::Active,
                vec![held("192.0.2.10", 24, Some(true))],
            ),
            router(
                Family::V6,
                Role::Active,
                vec![
                    held("fe80::5e00:233", 64, Some(false)),
                    held("2001:db8::10", 64, None),
                ],
            ),
        ],
        services: vec![
            ServiceState {
                name: "web".to_owned(),
                key: ServiceKey::Address {
                    protocol: Protocol::TCP,
                    address: ip("192.0.2.10"),
                    port: 80,
                },
                scheduler: "wrr".to_owned(),
                in_kernel: Some(true),
                fail_open: false,
                min_healthy: 1,
                quorum: 3,
                has_quorum: Some(true),
                sorry: false,
                backends: vec![
                    backend(
                        "192.0.2.101",
                        3,
                        Some(3),
                        Some(check("192.0.2.101", Health::Up, "ok", latency)),
                    ),
                    backend(
                        "192.0.2.102",
                        2,
                        Some(0),
                        Some(check(
                            "192.0.2.102",
                            Health::GoingUp { successes: 1 },
                            "ok",
                            latency,
                        )),
                    ),
                    backend(
                        "192.0.2.103",
                        1,
                        None,
                        Some(check("192.0.2.103", Health::Down, "refused", None)),
                    ),
                    backend("192.0.2.104", 1, Some(1), None),
                    backend(
                        "192.0.2.105",
                        1,
                        Some(1),
                        Some(CheckState {
                            certificate: Some(CertificateState {
                                left: Duration::from_secs(86_400 * 13 + 7_200),
                                soon: true,
                            }),
                            ..check("192.0.2.105", Health::Up, "ok", latency)
                        }),
                    ),
                ],
            },
            ServiceState {
                name: "shop".to_owned(),
                key: ServiceKey::Fwmark {
                    mark: 5,
                    family: Family::V6,
                },
                scheduler: "rr".to_owned(),
                in_kernel: Some(false),
                fail_open: true,
                min_healthy: 2,
                quorum: 0,
                has_quorum: None,
                sorry: false,
                backends: Vec::new(),
            },
            ServiceState {
                name: "api".to_owned(),
                key: ServiceKey::Address {
                    protocol: Protocol::TCP,
                    address: ip("192.0.2.10"),
                    port: 8080,
                },
                scheduler: "wlc".to_owned(),
                in_kernel: Some(true),
                fail_open: false,
                min_healthy: 1,
                quorum: 4,
                has_quorum: Some(false),
                sorry: true,
                backends: vec![
                    BackendState {
                        operator: OperatorState::Drain,
                        ..backend("192.0.2.101", 3, Some(0), Some(up.clone()))
                    },
                    BackendState {
                        operator: OperatorState::Maint,
                        ..backend("192.0.2.102", 3, Some(0), Some(up.clone()))
                    },
                    BackendState {
                        rising: true,
                        ..backend("192.0.2.103", 3, Some(0), Some(up.clone()))
                    },
                    backend(
                        "192.0.2.104",
                        3,
                        Some(0),
                        Some(CheckState {
                            held: true,
                            advised: "50%".to_owned(),
                            ..check(
                                "192.0.2.104",
                                Health::GoingUp { successes: 2 },
                                "ok",
                                latency,
                            )
                        }),
                    ),
                    BackendState {
                        sorry: true,
                        ..backend("192.0.2.105", 1, Some(1), None)
                    },
                ],
            },
        ],
        names: vec![
            NameState {
                name: "db.example.org".to_owned(),
                family: Family::V4,
                address: Some(ip("192.0.2.7")),
                others: vec![ip("192.0.2.8"), ip("192.0.2.9")],
                since: Some(Duration::from_secs(93)),
                trouble: "no answer from a name server".to_owned(),
            },
            NameState {
                name: "new.example.org".to_owned(),
                family: Family::V6,
                address: None,
                others: Vec::new(),
                since: None,
                trouble: String::new(),
            },
        ],
        strangers: 2,
        settings: vec![
            SettingState {
                name: "tcp_timeout".to_owned(),
                declared: "900s".to_owned(),
                present: Some("900s".to_owned()),
                trouble: String::new(),
            },
            SettingState {
                name: "net.ipv4.vs.conn_max".to_owned(),
                declared: "1000000".to_owned(),
                present: None,
                trouble: "needs Linux 7.2 or later".to_owned(),
            },
        ],
        threads: vec![
            ThreadState {
                name: "ha".to_owned(),
                allocations_after_seal: Some(0),
                records_dropped: 0,
            },
            ThreadState {
                name: "control".to_owned(),
                allocations_after_seal: None,
                records_dropped: 0,
            },
        ],
        counters: vec![
            Counter::which("ipvs_requests", "new_dest", 4),
            Counter::which("ipvs_requests", "del_dest", 0),
            Counter::new("ipvs_resyncs", 1),
        ],
    }
}
