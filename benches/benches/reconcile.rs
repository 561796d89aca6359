//! The difference of two tables of 10,000 destinations.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use trunnion_benches::Rows;
use trunnion_core::model::Table;
use trunnion_core::reconcile::{Cursor, Ownership};

fn changes(desired: Table<'_>, actual: Table<'_>) -> u32 {
    let mut cursor = Cursor::new(Ownership::All);
    let mut count = 0;
    while let Some(change) = cursor.next(desired, actual) {
        black_box(change);
        count += 1;
    }
    count
}

fn reconcile(c: &mut Criterion) {
    let mut group = c.benchmark_group("reconcile 10k rows");
    group.throughput(Throughput::Elements(10_000));
    let rows = Rows::new(100, 100);
    let cases = [
        ("equal", rows.clone(), 0),
        ("1% differ", rows.clone().with_weights(100), 100),
        ("all differ", rows.clone().with_weights(1), 10_000),
        ("all are new", Rows::new(0, 0), 10_100),
    ];
    for (name, actual, expected) in cases {
        group.bench_function(name, |b| {
            b.iter(|| {
                let count = changes(black_box(rows.table()), black_box(actual.table()));
                assert_eq!(count, expected);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reconcile);
criterion_main!(benches);
