//! The client on a sealed thread: whatever it is asked, and however that ends,
//! it takes no memory after it was opened. Runs as root where ip_vs is: `cargo
//! xtask test` runs it in the VM.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::process::Command as Process;
use trunnion_core::ipvs::Timeouts;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Forward, Protocol, Service, ServiceKey, SyncDaemon,
    SyncState, TunnelType,
};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::Change;
use trunnion_sys::alloc::{self, SealedAlloc, SealedThread};
use trunnion_sys::ipvs::{Error, Ipvs, Outcome};
use trunnion_sys::netns;

#[global_allocator]
static ALLOC: SealedAlloc = SealedAlloc;

/// Asks, and says what it was when it took memory.
fn free<T>(thread: SealedThread, what: &str, ask: impl FnOnce() -> T) -> T {
    let before = (thread.allocations(), thread.frees());
    let answer = ask();
    let after = (thread.allocations(), thread.frees());
    if before != after {
        alloc::exempt(|| panic!("{what}: allocations and frees {before:?}, then {after:?}"));
    }
    answer
}

fn sh(script: &str) {
    let status = Process::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}: {status}");
}

fn key(last: u8) -> ServiceKey {
    ServiceKey::Address {
        protocol: Protocol::TCP,
        address: [192, 0, 2, last].into(),
        port: 80,
    }
}

/// Destinations of every shape of request.
fn destinations() -> Vec<Destination> {
    (1..=300_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let at = DestinationKey {
                address: [10, 9, high, low].into(),
                port: 8080,
            };
            let mut it = Destination::new(at, Forward::TUNNEL, 1);
            if number % 3 == 0 {
                it.tunnel.kind = TunnelType::GUE;
                it.tunnel.port = 6080;
            }
            it
        })
        .collect()
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn no_operation_takes_memory() {
    netns::unshare_network().expect("these tests run as root, in the VM: cargo xtask test");
    sh("ip link add sync0 type veth peer name sync1
        ip link set sync1 up
        ip link set sync0 up
        ip address add 203.0.113.1/24 dev sync0");
    let mut ipvs = Ipvs::open().expect("these tests need a kernel with ip_vs: cargo xtask test");
    let services: Vec<_> = (1..=100)
        .map(|last| Service::new(key(last), "wrr".parse().unwrap()))
        .collect();
    let fwmark = ServiceKey::Fwmark {
        mark: 7,
        family: Family::V6,
    };
    let six = Service::new(fwmark, "lc".parse().unwrap());
    let all = destinations();
    let into = key(1);
    let mut changes: Vec<_> = services[1..].iter().map(Change::AddService).collect();
    changes.extend(all.iter().map(|it| Change::AddDestination(&into, it)));
    // Twice: the second time each is refused by the kernel.
    changes.extend(all.iter().map(|it| Change::AddDestination(&into, it)));
    let mut outcomes = vec![Outcome::NotSent; changes.len()];
    let heavy = Destination {
        weight: u32::MAX,
        ..all[0]
    };
    let sender = SyncDaemon::new(SyncState::MASTER, "sync0".parse().unwrap(), 5);

    let thread = alloc::seal();
    free(thread, "info", || ipvs.info()).unwrap();
    let timeouts = Timeouts {
        tcp_s: 800,
        ..Timeouts::default()
    };
    free(thread, "set_timeouts", || ipvs.set_timeouts(&timeouts)).unwrap();
    let read = free(thread, "timeouts", || ipvs.timeouts()).unwrap();
    assert_eq!(read.tcp_s, 800);

    free(thread, "add_service", || ipvs.add_service(&services[0])).unwrap();
    free(thread, "add_service", || ipvs.add_service(&six)).unwrap();
    free(thread, "set_service", || ipvs.set_service(&services[0])).unwrap();
    free(thread, "apply", || ipvs.apply(&changes, &mut outcomes)).unwrap();
    let (done, refused) = outcomes.split_at(99 + all.len());
    assert!(done.iter().all(|it| *it == Outcome::Done));
    assert!(
        refused
            .iter()
            .all(|it| *it == Outcome::Failed(Errno::EEXIST))
    );
    free(thread, "set_destination", || {
        ipvs.set_destination(&into, &all[0])
    })
    .unwrap();

    let mut rows = 0;
    free(thread, "services", || ipvs.services(|_| rows += 1)).unwrap();
    assert_eq!(rows, 101);
    free(thread, "destinations", || {
        ipvs.destinations(&into, |_| rows += 1)
    })
    .unwrap();
    assert_eq!(rows, 101 + all.len());
    let found = free(thread, "get_service", || ipvs.get_service(&fwmark)).unwrap();
    assert_eq!(found.unwrap().service, six);
    free(thread, "zero", || ipvs.zero(Some(&into))).unwrap();
    free(thread, "zero", || ipvs.zero(None)).unwrap();
    free(thread, "delete_destination", || {
        ipvs.delete_destination(&into, &all[0].key)
    })
    .unwrap();

    free(thread, "start_daemon", || ipvs.start_daemon(&sender)).unwrap();
    let mut daemons = 0;
    free(thread, "daemons", || ipvs.daemons(|_| daemons += 1)).unwrap();
    assert_eq!(daemons, 1);
    free(thread, "stop_daemon", || {
        ipvs.stop_daemon(SyncState::MASTER)
    })
    .unwrap();

    // What goes wrong.
    let gone = key(200);
    let refused = free(thread, "refused", || ipvs.set_destination(&into, &heavy));
    assert!(matches!(refused, Err(Error::Refused(_))));
    assert_eq!(
        free(thread, "gone", || ipvs.get_service(&gone)).ok(),
        Some(None)
    );
    let failed = free(thread, "failed", || ipvs.delete_service(&gone));
    assert!(matches!(failed, Err(Error::Kernel { .. })));
    let failed = free(thread, "failed dump", || ipvs.destinations(&gone, |_| {}));
    assert!(matches!(failed, Err(Error::Kernel { .. })));

    free(thread, "delete_service", || ipvs.delete_service(&fwmark)).unwrap();
    free(thread, "flush", || ipvs.flush()).unwrap();

    // And the family with another number, because the module was loaded again.
    alloc::exempt(|| {
        sh("for _ in $(seq 100); do
                rmmod $(awk '/^ip_vs_/ { print $1 }' /proc/modules) 2>/dev/null || true
                rmmod ip_vs && exec modprobe ip_vs
                sleep 0.1
            done
            exit 1");
    });
    free(thread, "after a reload", || ipvs.add_service(&services[0])).unwrap();
    free(thread, "flush", || ipvs.flush()).unwrap();
    assert_eq!((thread.allocations(), thread.frees()), (0, 0));
    alloc::unseal();
}
