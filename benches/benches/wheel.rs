//! The timer wheel with 100,000 timers set.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use trunnion_core::time::{Instant, Slot, Timer, Wheel};

const TIMERS: u32 = 100_000;
const TICK_NS: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

/// Deadlines spread over 5 s, in no order.
fn deadline(n: u32) -> u64 {
    u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (5 * SECOND)
}

fn wheel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel of 100k");
    group.throughput(Throughput::Elements(1));

    let mut slots = vec![Slot::EMPTY; TIMERS as usize + 1];
    let mut wheel = Wheel::new(&mut slots, TICK_NS);
    for n in 0..TIMERS {
        wheel
            .insert(Instant::from_nanos(deadline(n)), n)
            .expect("room");
    }
    let mut n = 0_u32;
    group.bench_function("insert and cancel", |b| {
        b.iter(|| {
            n = n.wrapping_add(1);
            let at = Instant::from_nanos(black_box(deadline(n)));
            let timer = wheel.insert(at, n).expect("room");
            assert_eq!(wheel.cancel(timer), Some(n));
        });
    });
    group.bench_function("poll timeout", |b| {
        b.iter(|| black_box(&wheel).poll_timeout())
    });

    // A steady state: each timer that fires is set again 5 s later, so each
    // iteration is one insert, its cascades, and one expiry.
    let mut now = 0;
    group.bench_function("insert, cascade and expire", |b| {
        b.iter(|| {
            let (Timer { .. }, payload) = loop {
                match wheel.expire(Instant::from_nanos(now)) {
                    Some(fired) => break fired,
                    None => now = wheel.poll_timeout().expect("timers").as_nanos().max(now),
                }
            };
            let again = Instant::from_nanos(now + 5 * SECOND);
            wheel.insert(again, payload).expect("room");
        });
    });
    group.finish();
}

criterion_group!(benches, wheel);
criterion_main!(benches);
