//! Another program that writes into the IPVS table of its namespace: it adds and
//! deletes services of its own, some at a time, until its standard input ends.
//! For tests of what a dump shows meanwhile.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use std::io::Read as _;
use std::time::Duration;
use trunnion_core::model::Service;
use trunnion_core::reconcile::Change;
use trunnion_sys::ipvs::{Ipvs, Outcome};
use trunnion_tests::sim::Random;
use trunnion_tests::tables;

/// Services deleted or added at once.
const BLOCK: usize = 12;

fn main() {
    let mut words = std::env::args().skip(1);
    let count: u16 = words.next().unwrap().parse().unwrap();
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut ipvs = Ipvs::open().unwrap();
    let all: Vec<Service> = (0..count).map(tables::stranger).collect();
    let mut there = vec![false; all.len()];
    let mut random = Random::new(1);
    loop {
        let first = random.index(all.len());
        let mut changes = Vec::new();
        let add = !there[first];
        for (service, there) in all.iter().zip(&mut there).skip(first).take(BLOCK) {
            if *there != add {
                *there = add;
                changes.push(change(add, service));
            }
        }
        let mut outcomes = vec![Outcome::NotSent; changes.len()];
        ipvs.apply(&changes, &mut outcomes).unwrap();
        std::thread::sleep(Duration::from_micros(random.between(50, 500)));
    }
}

fn change(add: bool, service: &Service) -> Change<'_> {
    if add {
        Change::AddService(service)
    } else {
        Change::DeleteService(&service.key)
    }
}
