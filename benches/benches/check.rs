//! The check engine without a network: what a check costs besides its system
//! calls, and a reload.

#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use trunnion_core::check::probe::Scripts;
use trunnion_core::check::{
    Action, Aside, CheckConfig, Engine, Kind, MannerSlot, Settings, Slot, Socket, Storage,
};
use trunnion_core::time::{self, Instant};

const CHECKS: u32 = 10_000;
const SOCKETS: usize = 1_000;

fn plan() -> Vec<CheckConfig> {
    let check = |n: u32| {
        let target = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 80));
        CheckConfig::new(Kind::Tcp { half_open: true }, target)
    };
    (0..CHECKS).map(check).collect()
}

/// Memory of an engine; the engine itself borrows it.
struct Memory {
    checks: Vec<Slot>,
    asides: Vec<Aside>,
    timers: Vec<time::Slot>,
    manners: Vec<MannerSlot>,
    sockets: Vec<Socket>,
}

impl Memory {
    fn new() -> Self {
        Self {
            checks: vec![Slot::EMPTY; CHECKS as usize],
            asides: vec![Aside::EMPTY; CHECKS as usize],
            timers: vec![time::Slot::EMPTY; CHECKS as usize],
            manners: vec![MannerSlot::EMPTY; CHECKS as usize],
            sockets: vec![Socket::EMPTY; SOCKETS],
        }
    }

    fn engine(&mut self) -> Engine<'_> {
        let storage = Storage {
            checks: &mut self.checks,
            asides: &mut self.asides,
            timers: &mut self.timers,
            manners: &mut self.manners,
            sockets: &mut self.sockets,
            scripts: &mut [],
            request: &mut [],
            desks: &mut [],
            paces: &mut [],
        };
        let settings = Settings {
            tick_ns: 1 << 20,
            sockets_v4: 1_000,
            seats: 0,
            tls: 0,
            errands: 0,
            late_margin: Duration::from_millis(250),
            checks_per_second: 0,
            seed: 0,
            secret: [1, 2],
        };
        Engine::new(storage, settings)
    }
}

fn check(c: &mut Criterion) {
    let plan = plan();
    let mut group = c.benchmark_group("check 10k");

    let mut memory = Memory::new();
    let mut engine = memory.engine();
    let mut now = Instant::ZERO;
    engine
        .handle_plan(now, &plan, Scripts::EMPTY)
        .expect("sorted");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one check from due to verdict", |b| {
        b.iter(|| {
            loop {
                match engine.poll_action(now) {
                    Some(Action::Connect { socket, .. }) => {
                        engine.handle_connected(now, socket);
                        break;
                    }
                    Some(
                        Action::Disconnect { .. }
                        | Action::Send { .. }
                        | Action::Secure { .. }
                        | Action::Datagram { .. }
                        | Action::Errand { .. },
                    ) => {}
                    None => {
                        now = engine.poll_timeout().expect("checks").max(now);
                        engine.handle_timeout(now);
                    }
                }
            }
            black_box(engine.poll_change())
        });
    });

    group.throughput(Throughput::Elements(CHECKS.into()));
    group.bench_function("reload that changes nothing", |b| {
        b.iter(|| {
            engine
                .handle_plan(now, black_box(&plan), Scripts::EMPTY)
                .expect("sorted")
        });
    });
    group.bench_function("first plan", |b| {
        b.iter_batched_ref(
            Memory::new,
            |memory| {
                memory
                    .engine()
                    .handle_plan(now, &plan, Scripts::EMPTY)
                    .expect("sorted")
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
