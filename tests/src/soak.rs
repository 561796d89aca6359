//! The blocking client and a real kernel, for as many operations as one likes,
//! against a model that says how each must end. Answers are made to get lost,
//! another client changes rows behind our back, and the module goes away and
//! comes back. At every check point the kernel's table is the model's, and the
//! process has grown neither in memory nor in descriptors.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use crate::sim::ipvs_request::Op;
use crate::sim::random::Random;
use crate::tables::{self, Store};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::collections::BTreeMap;
use std::process::Command;
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Service, ServiceFlags, ServiceKey, Table,
};
use trunnion_core::netlink::Errno;
use trunnion_core::reconcile::{Change, Ownership};
use trunnion_sys::ipvs::{Error, Ipvs, Outcome};

/// Keys there are: few, so that operations meet each other, and because deleted
/// destinations slow every add down until they are added again.
const SERVICES: u16 = 24;
const DESTINATIONS: u16 = 40;
/// Resident KiB that a run may grow by after its first check point.
const GROWTH_KIB_MAX: u64 = 1024;

/// How long and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Changes asked for, good and bad.
    pub operations: u64,
    /// From one check point to the next.
    pub check_every: u64,
    /// Check points from one reload of the module to the next.
    pub reload_every: u64,
    /// What all else is drawn from.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Changes asked for.
    pub operations: u64,
    /// Those that the kernel refused, as the model said.
    pub refused: u64,
    /// Batches with answers lost.
    pub unknown: u64,
    /// Times another client had changed rows.
    pub drifts: u64,
    /// Times the module was loaded anew.
    pub reloads: u64,
    /// Check points, at each of which the table was the model's.
    pub checks: u64,
    /// Resident memory at the first and the last of them, KiB.
    pub resident_kib: [u64; 2],
    /// Open descriptors at both.
    pub descriptors: [usize; 2],
}

type Model = BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>;

/// Runs it in the namespace of the calling thread, whose table must be empty.
/// `told` hears of every check point.
pub fn run(options: Options, mut told: impl FnMut(&Report)) -> Report {
    let mut random = Random::new(options.seed);
    let mut ipvs = Ipvs::open().unwrap();
    let mut rival = Ipvs::open().unwrap();
    let mut model = Model::new();
    let mut store = Store::new(SERVICES.into(), usize::from(SERVICES * DESTINATIONS));
    let mut found = Store::new(SERVICES.into(), usize::from(SERVICES * DESTINATIONS));
    let mut report = Report::default();
    let mut next_check = options.check_every;
    while report.operations < options.operations {
        let count = random.index(300) + 1;
        let ops: Vec<Op> = (0..count).map(|_| draw(&mut random)).collect();
        report.operations += ops.len() as u64;
        let expect: Vec<Outcome> = ops.iter().map(|op| foresee(&mut model, op)).collect();
        let changes: Vec<Change<'_>> = ops.iter().map(change).collect();
        let mut outcomes = vec![Outcome::NotSent; changes.len()];
        let deaf = random.chance(30);
        if deaf {
            set_socket_recv_buffer_size(&ipvs, 1).unwrap();
        }
        match ipvs.apply(&changes, &mut outcomes) {
            Ok(()) => {
                assert_eq!(outcomes, expect, "{ops:?}");
                let failed = |it: &&Outcome| matches!(it, Outcome::Failed(_));
                report.refused += outcomes.iter().filter(failed).count() as u64;
            }
            Err(Error::Unknown) if deaf => report.unknown += 1,
            Err(error) => panic!("{error}"),
        }
        let lost = outcomes.contains(&Outcome::Unknown) || outcomes.contains(&Outcome::NotSent);
        if deaf {
            set_socket_recv_buffer_size(&ipvs, 1 << 20).unwrap();
        }
        let check = report.operations >= next_check;
        let drifted = random.chance(40) && drift(&mut rival, &mut random);
        report.drifts += u64::from(drifted);
        let reload = check && (report.checks + 1).is_multiple_of(options.reload_every);
        if reload {
            // Services keep the modules of their schedulers.
            rival.flush().unwrap();
            reload_module();
            report.reloads += 1;
        }
        if lost || drifted || reload {
            let rows = rows(&model);
            let desired = store.filled(&rows);
            let mut actual = found.table();
            let made = ipvs
                .reconcile(
                    desired.table(),
                    Ownership::All,
                    &mut actual,
                    |change, it| panic!("{change:?}: {it:?}"),
                )
                .unwrap();
            assert!(made.converged, "{made:?}");
            assert_eq!(tables::rows(&actual), rows);
        }
        if check {
            next_check += options.check_every;
            let mut actual = found.table();
            ipvs.read(Table::EMPTY, &mut actual).unwrap();
            assert_eq!(tables::rows(&actual), rows(&model));
            witness(&model);
            report.checks += 1;
            let now = (resident_kib(), descriptors());
            if report.checks == 1 {
                (report.resident_kib[0], report.descriptors[0]) = now;
            }
            (report.resident_kib[1], report.descriptors[1]) = now;
            told(&report);
        }
    }
    assert!(report.checks >= 2, "too short to compare anything");
    let [first, last] = report.resident_kib;
    assert!(last <= first + GROWTH_KIB_MAX, "grows: {report:?}");
    assert_eq!(report.descriptors[0], report.descriptors[1], "{report:?}");
    ipvs.flush().unwrap();
    report
}

/// ipvsadm counts the rows as well.
fn witness(model: &Model) {
    let output = Command::new("ipvsadm").args(["-S", "-n"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let destinations: usize = model.values().map(|(_, all)| all.len()).sum();
    assert_eq!(text.matches("-A ").count(), model.len());
    assert_eq!(text.matches("-a ").count(), destinations);
}

fn draw(random: &mut Random) -> Op {
    let mut service = tables::ours(small(random, SERVICES));
    let key = service.key;
    let mut it = tables::destination(small(random, DESTINATIONS), small(random, 5).into());
    match random.below(100) {
        0..=2 => Op::NewService(service),
        3 => Op::DeleteService(key),
        4..=9 => {
            service.scheduler = random.pick(&["rr", "wrr", "lc", "wlc"]).parse().unwrap();
            service
                .flags
                .set(ServiceFlags::PERSISTENT, random.chance(500));
            service.timeout_s = u32::from(small(random, 600));
            Op::SetService(service)
        }
        10..=39 => Op::NewDestination(key, it),
        40..=64 => Op::DeleteDestination(key, it.key),
        // Our own rules refuse these.
        65 => {
            it.weight = u32::MAX;
            Op::SetDestination(key, it)
        }
        _ => {
            it.forward = random.pick(&[Forward::MASQ, Forward::ROUTE, Forward::TUNNEL]);
            it.upper_threshold = u32::from(small(random, 100));
            Op::SetDestination(key, it)
        }
    }
}

fn small(random: &mut Random, end: u16) -> u16 {
    u16::try_from(random.below(end.into())).unwrap()
}

/// How the operation must end, and the model after it.
fn foresee(model: &mut Model, op: &Op) -> Outcome {
    if let Op::SetDestination(_, it) = op
        && let Some(refused) = refused(it)
    {
        return refused;
    }
    let (missing, absent) = (
        Outcome::Failed(Errno::ESRCH),
        Outcome::Failed(Errno::ENOENT),
    );
    let found = model.get_mut(op.service());
    match (op, found) {
        (Op::NewService(_), Some(_)) => return Outcome::Failed(Errno::EEXIST),
        (Op::NewService(it), None) => {
            model.insert(it.key, (it.clone(), BTreeMap::new()));
        }
        (_, None) => return missing,
        (Op::SetService(it), Some((service, _))) => *service = it.clone(),
        (Op::DeleteService(key), Some(_)) => {
            model.remove(key);
        }
        (Op::NewDestination(_, it), Some((_, all))) => {
            if all.contains_key(&it.key) {
                return Outcome::Failed(Errno::EEXIST);
            }
            all.insert(it.key, *it);
        }
        (Op::SetDestination(_, it), Some((_, all))) => match all.get_mut(&it.key) {
            Some(row) => *row = *it,
            None => return absent,
        },
        (Op::DeleteDestination(_, key), Some((_, all))) => {
            if all.remove(key).is_none() {
                return absent;
            }
        }
    }
    Outcome::Done
}

fn refused(it: &Destination) -> Option<Outcome> {
    let weight = it.weight;
    let refused = trunnion_core::ipvs::Refused::Weight { weight };
    (weight > i32::MAX.unsigned_abs()).then_some(Outcome::Refused(refused))
}

fn change(op: &Op) -> Change<'_> {
    match op {
        Op::NewService(it) => Change::AddService(it),
        Op::SetService(it) => Change::SetService(it),
        Op::DeleteService(key) => Change::DeleteService(key),
        Op::NewDestination(key, it) => Change::AddDestination(key, it),
        Op::SetDestination(key, it) => Change::SetDestination(key, it),
        Op::DeleteDestination(key, at) => Change::DeleteDestination(key, at),
    }
}

fn rows(model: &Model) -> Vec<(Service, Vec<Destination>)> {
    let rows = model.values();
    rows.map(|(service, all)| (service.clone(), all.values().copied().collect()))
        .collect()
}

/// Another client changes a few rows; whether it did.
fn drift(rival: &mut Ipvs, random: &mut Random) -> bool {
    let ops: Vec<Op> = (0..20).map(|_| draw(random)).collect();
    let changes: Vec<_> = ops.iter().map(change).collect();
    let mut outcomes = vec![Outcome::NotSent; changes.len()];
    rival.apply(&changes, &mut outcomes).unwrap();
    outcomes.contains(&Outcome::Done)
}

/// `rmmod` and `modprobe`: the family gets another number.
fn reload_module() {
    let script = "for _ in $(seq 100); do
            rmmod $(awk '/^ip_vs_/ { print $1 }' /proc/modules) 2>/dev/null
            rmmod ip_vs && exec modprobe ip_vs
            sleep 0.1
        done
        exit 1";
    let status = Command::new("sh").args(["-c", script]).status().unwrap();
    assert!(status.success(), "the module cannot be unloaded");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
