//! Bytes in, bytes out: VRRP adverts and IPVS requests.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use trunnion_benches::Rows;
use trunnion_core::bytes::Writer;
use trunnion_core::ipvs::{BATCH_BYTES, BATCH_REQUESTS_MAX, Encoder, request};
use trunnion_core::netlink::Batch;
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::reconcile::Change;
use trunnion_core::vrrp::advert::{self, Outgoing};
use trunnion_core::vrrp::{Advert, AdvertForm, Centis, GROUP_V4, Received};

fn vrrp(c: &mut Criterion) {
    let advert = Outgoing {
        vrid: 51,
        priority: 100,
        interval: Centis::try_from(std::time::Duration::from_millis(100)).expect("centiseconds"),
        source: Ipv4Addr::new(192, 0, 2, 251).into(),
        destination: IpAddr::V4(GROUP_V4),
        form: AdvertForm::Rfc9568,
    };
    let addresses: Vec<IpAddr> = (1..=4)
        .map(|n| Ipv4Addr::new(192, 0, 2, n).into())
        .collect();
    let mut packet = [0; 128];
    let len = {
        let mut w = Writer::new(&mut packet);
        advert::encode_ipv4(&mut w, &advert, addresses.iter().copied()).expect("sendable");
        w.finish().expect("room").len()
    };

    let mut group = c.benchmark_group("vrrp advert");
    group.bench_function("encode", |b| {
        let mut buf = [0; 128];
        b.iter(|| {
            let mut w = Writer::new(&mut buf);
            let of = addresses.iter().copied();
            advert::encode_ipv4(&mut w, black_box(&advert), of).expect("sendable");
            w.finish().expect("room").len()
        });
    });
    group.bench_function("parse", |b| {
        b.iter(|| {
            let received = Received::from_ipv4(black_box(&packet[..len])).expect("an advert");
            let advert = Advert::parse(received).expect("an advert");
            assert!(advert.lists(addresses.iter().copied()));
        });
    });
    group.finish();
}

fn ipvs(c: &mut Criterion) {
    let rows = Rows::new(1, BATCH_REQUESTS_MAX);
    let key = rows.services[0].service.key;
    let mut buf = vec![0; BATCH_BYTES];

    let mut group = c.benchmark_group("ipvs");
    group.throughput(Throughput::Elements(BATCH_REQUESTS_MAX.into()));
    // 108 bytes each, one after the other and each by itself.
    group.bench_function("encode a batch of 128 destinations", |b| {
        b.iter(|| {
            let mut batch = Batch::new(&mut buf, 1);
            let mut encoder = Encoder::new(FamilyId(30));
            for destination in black_box(&rows.destinations) {
                let change = Change::AddDestination(&key, destination);
                encoder.change(&mut batch, &change).expect("it fits");
            }
            batch.barrier().expect("it fits");
            batch.finish().len()
        });
    });
    group.bench_function("encode 128 destinations singly", |b| {
        b.iter(|| {
            let mut batch = Batch::new(&mut buf, 1);
            for destination in black_box(&rows.destinations) {
                let change = Change::AddDestination(&key, destination);
                request::change(&mut batch, FamilyId(30), &change).expect("it fits");
            }
            batch.finish().len()
        });
    });
    group.finish();
}

criterion_group!(benches, vrrp, ipvs);
criterion_main!(benches);
