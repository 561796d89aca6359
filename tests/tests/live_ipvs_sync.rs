//! The connection synchronization daemons of a real kernel, with ipvsadm as the
//! witness. Runs as root where ip_vs is: `cargo xtask test` runs it in the VM.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::process::Command as Process;
use std::time::{Duration, Instant};
use trunnion_core::ipvs::{Command, Refused, request};
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Protocol, Service, ServiceKey, SyncDaemon, SyncState,
};
use trunnion_core::netlink::genl::{self, FamilyId};
use trunnion_core::netlink::{Batch, Errno, Messages, Reply};
use trunnion_sys::ipvs::{Error, Ipvs};
use trunnion_sys::netlink::{self, Socket};
use trunnion_sys::netns;
use trunnion_tests::ipvsadm;

/// A client in a namespace with an interface `sync0` that is up and has an
/// address.
fn fresh() -> Ipvs {
    netns::unshare_network().expect("these tests run as root, in the VM: cargo xtask test");
    for words in [
        "link add sync0 type veth peer name sync1",
        "link set sync1 up",
        "link set sync0 up",
        "address add 203.0.113.1/24 dev sync0",
    ] {
        run("ip", &words.split(' ').collect::<Vec<_>>());
    }
    Ipvs::open().expect("these tests need a kernel with ip_vs: cargo xtask test")
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Process::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn daemons(ipvs: &mut Ipvs) -> Vec<SyncDaemon> {
    let mut found = Vec::new();
    ipvs.daemons(|daemon| found.push(daemon)).unwrap();
    found
}

/// What we read, which must be what ipvsadm prints.
fn listed(ipvs: &mut Ipvs) -> Vec<String> {
    let read = daemons(ipvs);
    let ours: Vec<_> = read.iter().map(ipvsadm::daemon_line).collect();
    let printed = run("ipvsadm", &["-L", "--daemon"]);
    assert_eq!(ours, printed.lines().collect::<Vec<_>>());
    ours
}

fn plain(state: SyncState) -> SyncDaemon {
    SyncDaemon::new(state, "sync0".parse().unwrap(), 5)
}

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> (Command, Errno) {
    match result {
        Err(Error::Kernel { command, errno, .. }) => (command, errno),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn both_daemons_run_as_ipvsadm_tells() {
    let mut ipvs = fresh();
    assert_eq!(listed(&mut ipvs), [""; 0]);
    let mut sender = plain(SyncState::MASTER);
    ipvs.start_daemon(&sender).unwrap();
    let defaults = "sync daemon (mcast=sync0, syncid=5, maxlen=1472, group=224.0.0.81, \
                    port=8848, ttl=1)";
    let lines = listed(&mut ipvs);
    assert!(
        lines.len() == 1 && lines[0].ends_with(defaults),
        "{lines:?}"
    );
    assert!(sender.is_met_by(&daemons(&mut ipvs)[0]));

    // Every field of its own, beside a backup with every field of its own.
    ipvs.stop_daemon(SyncState::MASTER).unwrap();
    sender.sync_id = 255;
    sender.maxlen = 1400;
    sender.group = Some("239.255.7.7".parse().unwrap());
    sender.port = 9000;
    sender.ttl = 7;
    let backup = SyncDaemon {
        sync_id: 0,
        maxlen: 2048,
        group: Some("ff02::8848".parse().unwrap()),
        port: 9001,
        ttl: 3,
        ..plain(SyncState::BACKUP)
    };
    ipvs.start_daemon(&sender).unwrap();
    ipvs.start_daemon(&backup).unwrap();
    assert_eq!(daemons(&mut ipvs), [sender.clone(), backup]);
    assert_eq!(listed(&mut ipvs).len(), 2);

    // There is no changing one that runs.
    assert_eq!(
        errno(ipvs.start_daemon(&plain(SyncState::MASTER))),
        (Command::NEW_DAEMON, Errno::EEXIST)
    );
    ipvs.stop_daemon(SyncState::BACKUP).unwrap();
    assert_eq!(daemons(&mut ipvs), [sender]);
    ipvs.stop_daemon(SyncState::MASTER).unwrap();
    assert_eq!(listed(&mut ipvs), [""; 0]);
    for state in [SyncState::MASTER, SyncState::BACKUP] {
        assert_eq!(
            errno(ipvs.stop_daemon(state)),
            (Command::DEL_DAEMON, Errno::ESRCH)
        );
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn an_ipv6_group_and_the_lengths_the_kernel_would_change() {
    let mut ipvs = fresh();
    let six = SyncDaemon {
        group: Some("ff05::8848".parse().unwrap()),
        ..plain(SyncState::BACKUP)
    };
    ipvs.start_daemon(&six).unwrap();
    let found = &daemons(&mut ipvs)[0];
    assert_eq!(found.maxlen, 1452);
    assert!(six.is_met_by(found));
    ipvs.stop_daemon(SyncState::BACKUP).unwrap();

    // The shortest and the longest that we send come back as they were sent.
    for (state, maxlen) in [
        (SyncState::MASTER, 1),
        (SyncState::MASTER, 65_507),
        (SyncState::BACKUP, 1024),
        (SyncState::BACKUP, 65_507),
    ] {
        let it = SyncDaemon {
            maxlen,
            ..plain(state)
        };
        ipvs.start_daemon(&it).unwrap();
        assert_eq!(daemons(&mut ipvs)[0].maxlen, maxlen, "{it:?}");
        ipvs.stop_daemon(state).unwrap();
    }
    // One less is made more in silence, which is why we refuse it.
    let words = "--start-daemon backup --mcast-interface sync0 --sync-maxlen 1023";
    run("ipvsadm", &words.split(' ').collect::<Vec<_>>());
    let found = &daemons(&mut ipvs)[0];
    assert_eq!(found.maxlen, 1024);
    let refused = ipvs.start_daemon(&SyncDaemon {
        maxlen: 1023,
        ..found.clone()
    });
    assert!(
        matches!(refused, Err(Error::Refused(Refused::SyncMaxlen { .. }))),
        "{refused:?}"
    );
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn what_cannot_run_says_why() {
    let mut ipvs = fresh();
    let mut start = |edit: &dyn Fn(&mut SyncDaemon)| {
        let mut it = plain(SyncState::MASTER);
        edit(&mut it);
        errno(ipvs.start_daemon(&it)).1
    };
    assert_eq!(
        start(&|it| it.interface = "nosuch0".parse().unwrap()),
        Errno::ENODEV
    );
    // One that is down, and one that has no address of the group's family.
    let six = |it: &mut SyncDaemon| it.group = Some("ff02::8848".parse().unwrap());
    let down = |it: &mut SyncDaemon| {
        six(it);
        it.interface = "lo".parse().unwrap();
    };
    assert_eq!(start(&down), Errno::ENETUNREACH);
    run("ip", &["-6", "address", "flush", "dev", "sync0"]);
    assert_eq!(start(&six), Errno::EADDRNOTAVAIL);

    // Destinations of the other family and daemons exclude each other.
    let key = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.1".parse().unwrap(),
        port: 80,
    };
    let at = DestinationKey {
        address: "2001:db8::1".parse().unwrap(),
        port: 80,
    };
    let mixed = Destination::new(at, Forward::TUNNEL, 1);
    ipvs.add_service(&Service::new(key, "rr".parse().unwrap()))
        .unwrap();
    ipvs.add_destination(&key, &mixed).unwrap();
    let sender = plain(SyncState::MASTER);
    assert_eq!(
        errno(ipvs.start_daemon(&sender)),
        (Command::NEW_DAEMON, Errno::EINVAL)
    );
    ipvs.delete_destination(&key, &at).unwrap();
    ipvs.start_daemon(&sender).unwrap();
    assert_eq!(
        errno(ipvs.add_destination(&key, &mixed)),
        (Command::NEW_DEST, Errno::EINVAL)
    );
    ipvs.stop_daemon(SyncState::MASTER).unwrap();
}

/// Number of the family, and a socket of our own to see what the kernel answers.
fn bare() -> (Socket, FamilyId) {
    let socket = Socket::open(netlink::Protocol::Generic, &[]).unwrap();
    let mut buf = [0; 64];
    let mut batch = Batch::new(&mut buf, 1);
    genl::get_family(&mut batch, "IPVS").unwrap();
    socket.send(batch.finish()).unwrap();
    let mut family = None;
    answers(&socket, &mut |reply| {
        if let Reply::Data { body, offset, .. } = reply {
            family = Some(genl::Family::parse(*body, *offset).unwrap().id);
        }
        family.is_some()
    });
    (socket, family.unwrap())
}

/// Gives `each` the replies until it says that it has seen enough.
fn answers(socket: &Socket, each: &mut dyn FnMut(&Reply<'_>) -> bool) {
    let mut buf = vec![0; 32 * 1024];
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        assert!(socket.wait(deadline).unwrap(), "no answer");
        while let Some(datagram) = socket.receive(&mut buf).unwrap() {
            for message in Messages::new(datagram) {
                if each(&Reply::parse(&message.unwrap()).unwrap()) {
                    return;
                }
            }
        }
    }
}

/// Kernels 6.1 and 6.12 stop a daemon whose thread did not run yet and send no
/// ack, not even one that was asked for: whoever waits for it hangs. We wait for
/// the barrier behind it.
#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_daemon_stopped_in_the_datagram_that_starts_it_leaves_nobody_waiting() {
    let mut ipvs = fresh();
    let (socket, family) = bare();
    for state in [SyncState::MASTER, SyncState::BACKUP] {
        for round in 0..20_u32 {
            let mut buf = [0; 256];
            let first = 100 + round * 10;
            let mut batch = Batch::new(&mut buf, first);
            request::start_daemon(&mut batch, family, &plain(state)).unwrap();
            request::stop_daemon(&mut batch, family, state).unwrap();
            let barrier = batch.barrier().unwrap();
            socket.send(batch.finish()).unwrap();
            answers(&socket, &mut |reply| match reply {
                Reply::Ack { seq, result, .. } => {
                    assert_eq!((*seq, *result), (barrier, Ok(())));
                    true
                }
                Reply::Done { .. } | Reply::Noop | Reply::Overrun | Reply::Data { .. } => {
                    panic!("{reply:?}")
                }
            });
            assert_eq!(daemons(&mut ipvs), []);
            // And by the client, one after the other.
            ipvs.start_daemon(&plain(state)).unwrap();
            ipvs.stop_daemon(state).unwrap();
            assert_eq!(daemons(&mut ipvs), []);
        }
    }
}
