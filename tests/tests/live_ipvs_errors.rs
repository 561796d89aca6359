//! Every error number that the kernel's IPVS answers with, provoked, and what an
//! operator reads: `golden/ipvs-errors.txt`. The requests are raw bytes, because
//! our encoder refuses many of them before the kernel can. In the VM, on Linux
//! 6.1; at the end of the file stands what that kernel cannot show.
//!
//! `cargo xtask vm` with `--env UPDATE_EXPECT=1` rewrites the file.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use trunnion_core::ipvs::{Command, daemon, destination, service, top};
use trunnion_core::model::Table;
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::netlink::{Errno, Flags, Words};
use trunnion_core::reconcile::Change;
use trunnion_sys::ipvs::{Error, Ipvs, Outcome};
use trunnion_sys::netlink::{Protocol, Socket};
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::run;

use trunnion_tests::raw_ipvs::{
    Attributes, Refusal, Top, ask, backend, dest, family, key, mixed, nobody, of, sync,
    sync_daemon, v6, whole,
};
use trunnion_tests::tables::{self, Store};

fn golden() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/golden/ipvs-errors.txt"
    ))
}

/// What no kernel of ours can be made to say.
const ELSEWHERE: &str = "
# Not provoked on Linux 6.1, and read in the source instead:
#
# NEW_DEST, SET_DEST  EINVAL  an upper threshold above 2147483647; only from
#     Linux 7.1 on, and 6.1 takes it. Our encoder refuses it everywhere.
# any                 ENOMEM  the kernel is out of memory.
# any                 ENOPROTOOPT  a protocol that the kernel was built without.
# DEL_DAEMON          no answer at all: -EINTR of kthread_stop is swallowed by
#     netlink_rcv_skb when the thread has not run yet (before Linux 7.2). The
#     daemon is stopped, and the barrier's ack ends our wait.
";

struct Matrix {
    family: FamilyId,
    text: String,
}

impl Matrix {
    /// A request that must be refused, and goes into the table.
    fn row(&mut self, command: Command, how: &str, tops: &[Top]) {
        self.flagged(command, Flags::empty(), how, tops);
    }

    fn flagged(&mut self, command: Command, flags: Flags, how: &str, tops: &[Top]) {
        let errno = ask(self.family, command, flags, tops, 1);
        assert_ne!(errno.0, Errno(0), "{command:?}, {how}: it was carried out");
        self.put(command, errno, how);
    }

    fn put(&mut self, command: Command, (errno, words): Refusal, how: &str) {
        let error = Error::Kernel {
            command,
            errno,
            words,
        };
        let words = error.to_string();
        let (command, errno) = (format!("{command:?}"), errno.to_string());
        writeln!(self.text, "{command:<12} {errno:<13} {how}\n    {words}").unwrap();
    }

    /// What must be carried out for the next rows.
    fn first(&self, command: Command, tops: &[Top]) {
        let errno = ask(self.family, command, Flags::empty(), tops, 1);
        assert_eq!(errno.0, Errno(0), "{command:?}");
    }

    fn services(&mut self) {
        use Command as C;
        self.row(C::NEW_SERVICE, "a service that is there", &of(whole(key())));
        self.row(
            C::SET_SERVICE,
            "a service that is not there",
            &of(whole(nobody())),
        );
        for command in [C::DEL_SERVICE, C::GET_SERVICE, C::ZERO] {
            self.row(command, "a service that is not there", &of(nobody()));
        }
        for command in [C::NEW_SERVICE, C::SET_SERVICE] {
            let base = if command == C::NEW_SERVICE {
                whole(nobody())
            } else {
                whole(key())
            };
            self.row(
                command,
                "a scheduler nobody has",
                &of(base.clone().with(service::SCHEDULER, *b"nosuch\0")),
            );
            self.row(
                command,
                "a persistence engine nobody has",
                &of(base.clone().with(service::ENGINE, *b"nosuch\0")),
            );
            self.row(
                command,
                "no scheduler",
                &of(base.clone().without(service::SCHEDULER)),
            );
            self.row(
                command,
                "a netmask of 3 bytes",
                &of(base.with(service::NETMASK, [0; 3])),
            );
        }
        self.row(C::NEW_SERVICE, "an ipv6 prefix of 0 bits", &of(v6(0)));
        self.row(C::NEW_SERVICE, "an ipv6 prefix of 129 bits", &of(v6(129)));
        self.row(
            C::NEW_SERVICE,
            "an ipv6 prefix in network order",
            &of(v6(128_u32.swap_bytes())),
        );
        let odd = nobody().with(service::FAMILY, 3_u16.to_ne_bytes());
        self.row(C::NEW_SERVICE, "address family 3", &of(whole(odd)));
        self.row(C::DEL_SERVICE, "no service", &[]);
        self.row(
            C::DEL_SERVICE,
            "a key without a port",
            &of(key().without(service::PORT)),
        );
    }

    fn destinations(&mut self) {
        use Command as C;
        let all = [C::NEW_DEST, C::SET_DEST, C::DEL_DEST];
        for command in all {
            self.row(
                command,
                "a service that is not there",
                &dest(nobody(), backend(1)),
            );
        }
        self.row(
            C::NEW_DEST,
            "a destination that is there",
            &dest(key(), backend(1)),
        );
        for command in [C::SET_DEST, C::DEL_DEST] {
            self.row(
                command,
                "a destination that is not there",
                &dest(key(), backend(2)),
            );
        }
        for (command, last) in [(C::NEW_DEST, 2), (C::SET_DEST, 1)] {
            let base = backend(last);
            let mut row = |how, it: Attributes| self.row(command, how, &dest(key(), it));
            row("no weight", base.clone().without(destination::WEIGHT));
            row(
                "a weight of -1",
                base.clone().u32(destination::WEIGHT, u32::MAX),
            );
            row(
                "a lower threshold above the upper one",
                base.clone().u32(destination::LOWER_THRESHOLD, 1),
            );
            row(
                "address family 3",
                base.clone().with(destination::FAMILY, 3_u16.to_ne_bytes()),
            );
            row(
                "gue without a port",
                base.with(destination::TUNNEL_TYPE, [1]),
            );
        }
        for (how, address) in [
            ("the address 0.0.0.0", [0, 0, 0, 0]),
            ("a multicast address", [224, 0, 0, 1]),
            ("a broadcast address", [255, 255, 255, 255]),
        ] {
            let it = backend(2).with(destination::ADDRESS, address);
            self.row(C::NEW_DEST, how, &dest(key(), it));
        }
        let far = mixed(2).with(
            destination::ADDRESS,
            [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        );
        self.row(
            C::NEW_DEST,
            "a link-local address that is not of this host",
            &dest(key(), far),
        );
        self.row(
            C::NEW_DEST,
            "the other family, without a tunnel",
            &dest(key(), mixed(0)),
        );
        self.row(C::DEL_DEST, "no destination", &of(key()));
    }

    fn daemons(&mut self) {
        use Command as C;
        self.row(
            C::DEL_DAEMON,
            "a daemon that does not run",
            &sync_daemon(sync()),
        );
        let new = |it| sync_daemon(it);
        self.row(
            C::NEW_DAEMON,
            "an interface that is not there",
            &new(sync().with(daemon::INTERFACE, *b"nosuch\0")),
        );
        self.row(C::NEW_DAEMON, "state 3", &new(sync().u32(daemon::STATE, 3)));
        self.row(
            C::NEW_DAEMON,
            "no id",
            &new(sync().without(daemon::SYNC_ID)),
        );
        self.row(
            C::NEW_DAEMON,
            "a group that is not multicast",
            &new(sync().with(daemon::GROUP, [10, 0, 0, 1])),
        );
        self.first(C::NEW_DAEMON, &new(sync()));
        self.row(C::NEW_DAEMON, "a daemon that runs", &new(sync()));
        self.row(
            C::NEW_DEST,
            "the other family, while a daemon runs",
            &dest(key(), mixed(2)),
        );
        // It must have run once, or stopping it is answered by nothing.
        std::thread::sleep(Duration::from_millis(300));
        self.first(C::DEL_DAEMON, &new(sync()));
        self.first(C::NEW_DEST, &dest(key(), mixed(2)));
        self.row(
            C::NEW_DAEMON,
            "beside a destination of the other family",
            &new(sync()),
        );
    }

    fn others(&mut self) {
        use Command as C;
        let timeout = |value: u32| vec![Top::Raw(top::TIMEOUT_TCP, value.to_ne_bytes().into())];
        self.row(
            C::SET_CONFIG,
            "a timeout of 2147483647 s",
            &timeout(0x7fff_ffff),
        );
        let short = vec![Top::Raw(top::TIMEOUT_TCP, vec![0, 0])];
        self.row(C::SET_CONFIG, "a timeout of two bytes", &short);
        self.row(Command(99), "command 99", &[]);
        self.row(C::GET_DEST, "not as a dump", &of(key()));
        self.row(C::GET_DAEMON, "not as a dump", &[]);
        self.flagged(C::NEW_DEST, Flags::DUMP, "as a dump", &[]);
        self.flagged(C::GET_INFO, Flags::DUMP, "as a dump", &[]);
        let errno = ask(self.family, C::GET_SERVICE, Flags::DUMP, &[], 2);
        self.put(C::GET_SERVICE, errno, "a second dump while one runs");

        let gone = FamilyId(self.family.0 + 900);
        let errno = ask(gone, C::GET_INFO, Flags::empty(), &[], 1);
        self.put(C::GET_INFO, errno, "a family that is gone");

        let family = self.family;
        let errno = std::thread::spawn(move || {
            let nothing = CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, nothing).unwrap();
            ask(family, C::GET_INFO, Flags::empty(), &[], 1)
        });
        self.put(C::GET_INFO, errno.join().unwrap(), "without CAP_NET_ADMIN");

        let socket = Socket::open(Protocol::Generic, &[]).unwrap();
        let error = socket.send(&vec![0; 4 << 20]).unwrap_err();
        let errno = Errno(error.raw_os_error().unwrap());
        self.put(C::NEW_DEST, (errno, Words::new()), "sendmsg of 4 MiB");
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn every_refusal_is_provoked_and_has_words_for_an_operator() {
    unshare_network().unwrap();
    run("ip link set lo up");
    run("ip link add va type veth peer name vb");
    run("ip addr add 10.66.0.1/24 dev va");
    run("ip addr add fd66::1/64 dev va nodad");
    run("ip link set va up");
    run("ip link set vb up");
    let mut matrix = Matrix {
        family: family(),
        text: String::new(),
    };
    matrix.first(Command::NEW_SERVICE, &of(whole(key())));
    matrix.first(Command::NEW_DEST, &dest(key(), backend(1)));
    matrix.services();
    matrix.destinations();
    matrix.daemons();
    matrix.others();
    // A dump of what is not there is empty and no error: `Ipvs::destinations`
    // asks for the service beside it.
    let missing = ask(
        matrix.family,
        Command::GET_DEST,
        Flags::DUMP,
        &of(nobody()),
        1,
    );
    assert_eq!(missing.0, Errno(0));
    let text = matrix.text + ELSEWHERE;
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(golden(), &text).unwrap();
    }
    let expect = std::fs::read_to_string(golden()).unwrap_or_default();
    assert_eq!(text, expect, "UPDATE_EXPECT=1 rewrites it");
}

/// So that a change of words is seen without the VM.
#[test]
fn the_recorded_words_are_what_an_operator_reads() {
    let text = std::fs::read_to_string(golden()).unwrap();
    let mut rows = 0;
    let mut lines = text.lines().take_while(|line| !line.starts_with('#'));
    while let Some(row) = lines.next().filter(|line| !line.is_empty()) {
        let words = lines.next().unwrap().trim_start();
        let mut columns = row.split_whitespace();
        let command = columns.next().unwrap();
        let command = (0..=u8::MAX)
            .map(Command)
            .find(|it| format!("{it:?}") == command)
            .unwrap();
        let errno = columns.next().unwrap();
        let errno = (1..=133)
            .map(Errno)
            .find(|it| it.to_string() == errno)
            .unwrap();
        let error = Error::Kernel {
            command,
            errno,
            words: Words::new(),
        };
        let ours = words.split("; the kernel says: ").next();
        assert_eq!(Some(error.to_string().as_str()), ours);
        assert!(!words.contains("a reason it does not use"), "{row}");
        rows += 1;
    }
    assert!(rows >= 60, "{rows}");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn answers_that_do_not_fit_leave_a_state_that_can_be_known() {
    unshare_network().unwrap();
    let mut ipvs = Ipvs::open().unwrap();
    let mine = tables::ours(1);
    let rows: Vec<_> = (1..=200).map(|n| tables::destination(n, 1)).collect();
    ipvs.add_service(&mine).unwrap();
    for row in rows.iter().step_by(2) {
        ipvs.add_destination(&mine.key, row).unwrap();
    }
    // Every second one is refused, and the refusals do not fit.
    let changes: Vec<_> = rows
        .iter()
        .map(|it| Change::AddDestination(&mine.key, it))
        .collect();
    set_socket_recv_buffer_size(&ipvs, 1).unwrap();
    let mut outcomes = vec![Outcome::NotSent; changes.len()];
    let error = ipvs.apply(&changes, &mut outcomes).unwrap_err();
    assert!(matches!(error, Error::Unknown), "{error}");
    assert!(outcomes[..128].contains(&Outcome::Unknown));
    assert!(outcomes[128..].iter().all(|it| *it == Outcome::NotSent));
    set_socket_recv_buffer_size(&ipvs, 1 << 20).unwrap();
    ipvs.settle(&changes, &mut outcomes).unwrap();
    let known = |it: &Outcome| matches!(it, Outcome::Done | Outcome::Failed(Errno::EEXIST));
    assert!(outcomes[..128].iter().all(known), "{outcomes:?}");
    // And the whole, by a table.
    let wanted = vec![(mine, rows)];
    let (mut desired, mut actual) = (Store::new(4, 400), Store::new(4, 400));
    let desired = desired.filled(&wanted);
    let mut actual = actual.table();
    let report = ipvs
        .reconcile(
            desired.table(),
            trunnion_core::reconcile::Ownership::All,
            &mut actual,
            |change, it| panic!("{change:?}: {it:?}"),
        )
        .unwrap();
    assert!(report.converged, "{report:?}");
    ipvs.read(Table::EMPTY, &mut actual).unwrap();
    assert_eq!(tables::rows(&actual), wanted);
}
