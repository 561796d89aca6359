//! Ours of `cargo xtask bench encode`: datagrams of 128 requests to add an IPv4
//! destination, 108 bytes each, as benches/peers/encode.c makes them.
//!
//! `encode-bench encoder|singly ROUNDS`: with the encoder that batches use, or
//! each request by itself. A round is 64 datagrams. Prints `ns` of one request,
//! the least of all rounds, and the last datagram in hex.

use std::hint::black_box;
use std::time::Instant;
use trunnion_benches::Rows;
use trunnion_core::ipvs::{BATCH_BYTES, BATCH_REQUESTS_MAX, Encoder, request};
use trunnion_core::model::{Destination, ServiceKey};
use trunnion_core::netlink::Batch;
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::reconcile::Change;

const FAMILY: FamilyId = FamilyId(30);
const DATAGRAMS: u32 = 64;

type Run = for<'b> fn(&'b mut [u8], &ServiceKey, &[Destination]) -> &'b [u8];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (run, rounds): (Run, _) = match words.as_slice() {
        [_, "encoder", rounds] => (encoder, rounds.parse()),
        [_, "singly", rounds] => (singly, rounds.parse()),
        _ => panic!("usage: encode-bench encoder|singly ROUNDS"),
    };
    let rounds: u32 = rounds.expect("ROUNDS is a number");
    let rows = Rows::new(1, BATCH_REQUESTS_MAX);
    let key = rows.services[0].service.key;
    let mut buf = vec![0; BATCH_BYTES];
    let mut least = f64::INFINITY;
    for _ in 0..rounds {
        let begin = Instant::now();
        for _ in 0..DATAGRAMS {
            black_box(run(&mut buf, &key, black_box(&rows.destinations)));
        }
        let requests = f64::from(DATAGRAMS * BATCH_REQUESTS_MAX);
        least = least.min(begin.elapsed().as_secs_f64() * 1e9 / requests);
    }
    let hex = run(&mut buf, &key, &rows.destinations)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    println!("ns {least:.3}\n{hex}");
}

#[inline(never)]
fn encoder<'b>(buf: &'b mut [u8], key: &ServiceKey, all: &[Destination]) -> &'b [u8] {
    let mut batch = Batch::new(buf, 1);
    let mut encoder = Encoder::new(FAMILY);
    for destination in all {
        let change = Change::AddDestination(key, destination);
        encoder.change(&mut batch, &change).expect("it fits");
    }
    batch.barrier().expect("it fits");
    batch.finish()
}

#[inline(never)]
fn singly<'b>(buf: &'b mut [u8], key: &ServiceKey, all: &[Destination]) -> &'b [u8] {
    let mut batch = Batch::new(buf, 1);
    for destination in all {
        let change = Change::AddDestination(key, destination);
        request::change(&mut batch, FAMILY, &change).expect("it fits");
    }
    batch.barrier().expect("it fits");
    batch.finish()
}
