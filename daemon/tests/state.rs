//! A state on its way through the proto, and what is printed of it.

use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use trunnion::control::State;
use trunnion::control::proto::v1::GetStateResponse;
use trunnion::control::state::{
    AddressState, BackendState, CertificateState, CheckState, Counter, GroupState, HeardState,
    Moves, NameState, RouterState, ServiceState, SettingState, ThreadState, TrackedState, Voice,
};
use trunnion_core::check::Health;
use trunnion_core::director::plan::OperatorState;
use trunnion_core::model::{DestinationKey, Family, Forward, Protocol, ServiceKey};
use trunnion_core::vrrp::Role;

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

fn ms() -> impl Strategy<Value = Duration> {
    (0..u64::from(u32::MAX)).prop_map(Duration::from_millis)
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(vec![Family::V4, Family::V6])
}

fn counters() -> impl Strategy<Value = Vec<Counter>> {
    let counter = (".{0,8}", ".{0,8}", any::<u64>());
    prop::collection::vec(
        counter.prop_map(|(name, of, value)| Counter::which(&name, &of, value)),
        0..3,
    )
}

fn router() -> impl Strategy<Value = RouterState> {
    let held =
        (address(), any::<u8>(), any::<Option<bool>>()).prop_map(|(address, prefix, present)| {
            AddressState {
                address,
                prefix,
                present,
            }
        });
    let role = prop::sample::select(vec![Role::Initialize, Role::Backup, Role::Active]);
    (
        (".{0,8}", ".{0,8}", any::<u8>(), family(), role),
        (prop::option::of(ms()), ".{0,8}", any::<u8>(), ms()),
        prop::collection::vec(held, 0..3),
        counters(),
        (moves(), voice()),
    )
        .prop_map(
            |(
                (name, interface, vrid, family, role),
                (since, reason, priority, interval),
                addresses,
                counters,
                (moves, voice),
            )| {
                RouterState {
                    name,
                    interface,
                    vrid,
                    family,
                    role,
                    since,
                    reason,
                    priority,
                    interval,
                    addresses,
                    counters,
                    moves,
                    voice,
                }
            },
        )
}

fn voice() -> impl Strategy<Value = Voice> {
    (
        (".{0,8}", ".{0,8}", ".{0,8}"),
        any::<Option<bool>>(),
        any::<bool>(),
        prop::option::of(ms()),
    )
        .prop_map(
            |((virtual_mac, macvlan, checksum), macvlan_up, learned, refused)| Voice {
                virtual_mac,
                macvlan,
                macvlan_up,
                checksum,
                learned,
                refused,
            },
        )
}

fn moves() -> impl Strategy<Value = Moves> {
    let heard = (address(), any::<u8>(), ms()).prop_map(|(source, priority, ago)| HeardState {
        source,
        priority,
        ago,
    });
    (
        any::<u8>(),
        (".{0,8}", ".{0,8}"),
        prop::option::of(ms()),
        prop::option::of(heard),
        any::<bool>(),
    )
        .prop_map(
            |(base_priority, (group, barred), held, heard, split_brain)| Moves {
                base_priority,
                group,
                barred,
                held,
                heard,
                split_brain,
            },
        )
}

fn backend() -> impl Strategy<Value = BackendState> {
    let health = prop_oneof![
        Just(Health::Unknown),
        Just(Health::Up),
        Just(Health::Down),
        any::<u8>().prop_map(|failures| Health::GoingDown { failures }),
        any::<u8>().prop_map(|successes| Health::GoingUp { successes }),
    ];
    let check = (
        (any::<bool>(), ".{0,8}"),
        address(),
        any::<u16>(),
        health,
        ".{0,8}",
        prop::option::of(ms()),
        any::<Option<u16>>(),
        prop::option::of(ms()),
    )
        .prop_map(
            |((held, advised), address, port, health, last, latency, http_status, since)| {
                CheckState {
                    held,
                    advised,
                    target: SocketAddr::new(address, port),
                    health,
                    last,
                    latency,
                    http_status,
                    since,
                    certificate: since.map(|left| CertificateState {
                        left: Duration::from_secs(left.as_secs()),
                        soon: held,
                    }),
                }
            },
        );
    let key =
        (address(), any::<u16>()).prop_map(|(address, port)| DestinationKey { address, port });
    (
        key,
        any::<u8>(),
        any::<u32>(),
        any::<Option<u32>>(),
        prop::option::of(check),
        (
            prop::sample::select(OperatorState::ALL.to_vec()),
            any::<bool>(),
            any::<bool>(),
        ),
    )
        .prop_map(
            |(key, forward, weight, kernel_weight, check, (operator, sorry, rising))| {
                BackendState {
                    operator,
                    sorry,
                    rising,
                    key,
                    forward: Forward(forward),
                    weight,
                    kernel_weight,
                    check,
                }
            },
        )
}

fn service() -> impl Strategy<Value = ServiceState> {
    let endpoint = (any::<u8>(), address(), any::<u16>()).prop_map(|(protocol, address, port)| {
        ServiceKey::Address {
            protocol: Protocol(protocol),
            address,
            port,
        }
    });
    let fwmark =
        (any::<u32>(), family()).prop_map(|(mark, family)| ServiceKey::Fwmark { mark, family });
    let key = prop_oneof![endpoint, fwmark];
    (
        (
            ".{0,8}",
            key,
            ".{0,8}",
            any::<Option<bool>>(),
            any::<bool>(),
            any::<u16>(),
        ),
        (any::<u32>(), any::<Option<bool>>(), any::<bool>()),
        prop::collection::vec(backend(), 0..4),
    )
        .prop_map(
            |(
                (name, key, scheduler, in_kernel, fail_open, min_healthy),
                (quorum, has_quorum, sorry),
                backends,
            )| ServiceState {
                quorum,
                has_quorum,
                sorry,
                name,
                key,
                scheduler,
                in_kernel,
                fail_open,
                min_healthy,
                backends,
            },
        )
}

fn state() -> impl Strategy<Value = State> {
    let thread = (".{0,8}", any::<Option<u64>>(), any::<u64>()).prop_map(
        |(name, allocations_after_seal, records_dropped)| ThreadState {
            name,
            allocations_after_seal,
            records_dropped,
        },
    );
    let group = (".{0,8}", ".{0,8}", prop::collection::vec(".{0,8}", 0..3)).prop_map(
        |(name, state, members)| GroupState {
            name,
            state,
            members,
        },
    );
    let track = (".{0,8}", ".{0,8}", ".{0,8}").prop_map(|(name, what, state)| TrackedState {
        name,
        what,
        state,
    });
    let name = (
        ".{0,8}",
        family(),
        prop::option::of(address()),
        prop::collection::vec(address(), 0..3),
        prop::option::of(ms()),
        ".{0,8}",
    );
    let name = name.prop_map(
        |(name, family, address, others, since, trouble)| NameState {
            name,
            family,
            address,
            others,
            since,
            trouble,
        },
    );
    let setting = (".{0,8}", ".{0,8}", prop::option::of(".{0,8}"), ".{0,8}").prop_map(
        |(name, declared, present, trouble)| SettingState {
            name,
            declared,
            present,
            trouble,
        },
    );
    (
        (".{0,8}", ".{0,8}", ".{0,8}", ms(), any::<u32>()),
        prop::collection::vec(router(), 0..3),
        prop::collection::vec(service(), 0..3),
        prop::collection::vec(setting, 0..3),
        prop::collection::vec(thread, 0..3),
        (
            prop::collection::vec(group, 0..3),
            prop::collection::vec(track, 0..3),
            prop::collection::vec(name, 0..3),
        ),
        counters(),
    )
        .prop_map(
            |(
                (name, version, config, uptime, strangers),
                routers,
                services,
                settings,
                threads,
                (groups, tracks, names),
                counters,
            )| {
                State {
                    name,
                    version,
                    config,
                    uptime,
                    routers,
                    groups,
                    tracks,
                    services,
                    names,
                    strangers,
                    settings,
                    threads,
                    counters,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_state_survives_its_journey(state in state()) {
        let message = GetStateResponse::from(state.clone());
        // No state, however odd, breaks a table or JSON.
        let _ = (state.to_string(), state.to_json().to_string());
        prop_assert_eq!(State::try_from(message), Ok(state));
    }
}
