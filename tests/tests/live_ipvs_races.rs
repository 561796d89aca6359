//! Reading the kernel's table while another process adds and deletes services
//! all the time: a dump by itself then hides live ones, and what we do of it must
//! not. In the VM, whose kernel is a real one.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use trunnion_core::model::{Destination, Service, Table};
use trunnion_core::reconcile::Ownership;
use trunnion_sys::ipvs::Ipvs;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::daemon::{Daemon, run};
use trunnion_tests::tables::{self, Store};

/// Services of ours and of the other program: dumps of many parts.
const EACH: u16 = 400;

/// The other program. It runs whenever it wants to, so in the midst of dumps.
struct Churn(Child);

impl Churn {
    fn start() -> Self {
        let child = Command::new("chrt")
            .args([
                "--fifo",
                "10",
                env!("CARGO_BIN_EXE_churn"),
                &EACH.to_string(),
            ])
            .stdin(Stdio::piped())
            .spawn();
        Self(child.expect("chrt, of util-linux"))
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rows() -> Vec<(Service, Vec<Destination>)> {
    let row = |number| {
        let destinations = vec![tables::destination(number, 1)];
        (tables::ours(number), destinations)
    };
    (0..EACH).map(row).collect()
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_live_service_is_never_read_as_absent() {
    unshare_network().unwrap();
    let mut ipvs = Ipvs::open().unwrap();
    let each = usize::from(EACH);
    let (mut known, mut found) = (Store::new(each, each), Store::new(4 * each, 4 * each));
    let known = known.filled(&rows());
    let (known, mut found) = (known.table(), found.table());
    ipvs.reconcile(known, Ownership::All, &mut found, |_, _| {})
        .unwrap();
    let _churn = Churn::start();
    let ours: BTreeSet<_> = known.services.iter().map(|row| row.service.key).collect();
    let begin = Instant::now();
    let (mut reads, mut hidden, mut asked, mut agreed, mut unasked) = (0_u32, 0, 0, 0, 0);
    // Until a plain dump has hidden enough, or for as long as a test may take.
    while reads < 40 || (hidden < 10 && begin.elapsed() < Duration::from_secs(60)) {
        let mut shown = BTreeSet::new();
        ipvs.services(|entry| {
            shown.insert(entry.service.key);
        })
        .unwrap();
        hidden += u32::from(!ours.is_subset(&shown));

        let reading = ipvs.read(known, &mut found).unwrap();
        asked += reading.missed;
        agreed += u32::from(reading.agreed);
        let now = found.table();
        for row in known.services {
            let key = row.service.key;
            let at = now.services.binary_search_by_key(&key, |r| r.service.key);
            let at = at.unwrap_or_else(|_| panic!("{key} is read as absent: {reading:?}"));
            assert_eq!(
                now.destinations_of(&now.services[at]),
                known.destinations_of(row),
                "{key}"
            );
        }
        // Without a word of what is looked for: nearly as good.
        ipvs.read(Table::EMPTY, &mut found).unwrap();
        let shown: BTreeSet<_> = found
            .table()
            .services
            .iter()
            .map(|r| r.service.key)
            .collect();
        unasked += u32::from(!ours.is_subset(&shown));
        reads += 1;
    }
    println!(
        "{reads} readings, {agreed} of them agreed at last: {hidden} plain dumps and {unasked} \
         readings of nothing in particular hid a live service, {asked} were asked for by name"
    );
    assert!(hidden > 0, "no dump hid anything, so nothing was tested");
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_table_is_made_right_beside_a_busy_neighbour() {
    unshare_network().unwrap();
    let mut ipvs = Ipvs::open().unwrap();
    let each = usize::from(EACH);
    let _churn = Churn::start();
    for weight in 1..20 {
        let mut rows = rows();
        rows.truncate(each / 2 + weight * 7);
        for (_, destinations) in &mut rows {
            destinations[0].weight = u32::try_from(weight).unwrap();
        }
        let (mut desired, mut actual) = (Store::new(each, each), Store::new(each, each));
        let desired = desired.filled(&rows);
        let mut actual = actual.table();
        let report = ipvs
            .reconcile(
                desired.table(),
                Ownership::Declared,
                &mut actual,
                |change, it| panic!("{change:?}: {it:?}"),
            )
            .unwrap();
        assert!(report.converged && report.passes <= 3, "{report:?}");
        assert_eq!(tables::rows(&actual), rows);
    }
}

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn a_daemon_beside_a_busy_neighbour_touches_and_accuses_nobody() {
    unshare_network().unwrap();
    let mut config = String::from("[ipvs]\nown = \"declared\"\naudit = \"1s\"\n");
    for (service, destinations) in rows() {
        write!(
            config,
            "[[service]]\naddress = \"{}\"\nscheduler = \"rr\"\nforward = \"masq\"\n\
             backends = [{{ address = \"{}\" }}]\n",
            service.key.to_string().trim_start_matches("TCP "),
            destinations[0].key,
        )
        .unwrap();
    }
    let mut daemon = Daemon::start(&config);
    daemon.says("800 requests made it 400 services and 400 destinations");
    let churn = Churn::start();
    daemon.says_times("the kernel holds 400 services and 400 destinations", 12);
    drop(churn);
    let state = daemon.show();
    let counters = state["counters"].as_array().unwrap();
    let count = |name: &str| -> u64 {
        let all = counters.iter().filter(|c| c["name"] == name);
        all.map(|c| c["value"].as_u64().unwrap()).sum()
    };
    assert_eq!(count("ipvs_requests"), 800, "{}", daemon.log());
    for never in ["ipvs_refused", "ipvs_resyncs", "ipvs_drifted"] {
        assert_eq!(count(never), 0, "{never}: {}", daemon.log());
    }
    let saved = run("ipvsadm -S -n");
    assert_eq!(saved.matches("-A -t 10.100.").count(), 400);
    assert_eq!(saved.matches("-a -t 10.100.").count(), 400);
    daemon.stop();
}
