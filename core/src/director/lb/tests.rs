//! The half as a whole.

use super::*;
use crate::check::probe::Scripts;
use crate::director::plan::{LbPlan, OperatorState};
use crate::model::{
    BLANK_DESTINATION, Destination, DestinationKey, Forward, Protocol, Service, ServiceRow,
};
use core::net::{IpAddr, Ipv4Addr};
use core::slice::from_mut;
use std::vec;
use std::vec::Vec;

/// Memory of a half with one service and one destination.
struct Room {
    rows: [ServiceRow; 3],
    cells: [Destination; 3],
    services: [ServiceState; 2],
    members: [MemberState; 2],
    timers: [time::Slot; 2],
    links: [Link; 1],
    records: Vec<Frame>,
    checks: check::Slot,
    manners: check::MannerSlot,
    sockets: [check::Socket; 3],
    asides: [check::Aside; 1],
}

impl Room {
    fn new() -> Self {
        Self {
            rows: [(); 3].map(|()| ServiceRow::blank()),
            cells: [BLANK_DESTINATION; 3],
            services: Default::default(),
            members: [MemberState::NONE; 2],
            timers: [time::Slot::EMPTY; 2],
            links: [Link::NONE],
            records: vec![Frame::EMPTY; 4],
            checks: check::Slot::EMPTY,
            manners: check::MannerSlot::EMPTY,
            sockets: [check::Socket::EMPTY; 3],
            asides: [check::Aside::EMPTY; 1],
        }
    }

    fn lb(&mut self) -> Lb<'_> {
        let ([a, b, c], [x, y, z]) = (&mut self.rows, &mut self.cells);
        let [services, spare] = &mut self.services;
        let [members, spare_members] = &mut self.members;
        let [ramps, timers] = &mut self.timers;
        Lb::new(LbStorage {
            desired: TableBuf::new(from_mut(a), from_mut(x)),
            target: TableBuf::new(from_mut(b), from_mut(y)),
            actual: TableBuf::new(from_mut(c), from_mut(z)),
            services: [from_mut(services), from_mut(spare)],
            members: [from_mut(members), from_mut(spare_members)],
            timers: from_mut(ramps),
            links: &mut self.links,
            checks: check::Storage {
                checks: from_mut(&mut self.checks),
                asides: &mut self.asides,
                timers: from_mut(timers),
                manners: from_mut(&mut self.manners),
                sockets: &mut self.sockets,
                scripts: &mut [],
                request: &mut [],
                desks: &mut [],
                paces: &mut [],
            },
            settings: Settings {
                tick_ns: 1_000_000,
                sockets_v4: 1,
                seats: 1,
                tls: 0,
                errands: 0,
                late_margin: Duration::from_millis(100),
                checks_per_second: 0,
                seed: 1,
                secret: [1, 2],
            },
            records: &mut self.records,
        })
    }
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Once its checks stand still nobody knows which weights are right.
#[test]
fn whatever_comes_after_a_stop_weighs_nothing_anew() {
    let service = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: ADDRESS,
        port: 80,
    };
    let backend = DestinationKey {
        address: ADDRESS,
        port: 80,
    };
    let mut rows = [ServiceRow::blank()];
    let mut cells = [BLANK_DESTINATION];
    let mut table = TableBuf::new(&mut rows, &mut cells);
    table
        .push_service(&Service::new(service, "wrr".try_into().unwrap()))
        .unwrap();
    table
        .push_destination(0, &Destination::new(backend, Forward::MASQ, 1))
        .unwrap();
    let plan = LbPlan {
        table: table.table(),
        policies: &[],
        links: &[],
        members: &[],
        checks: &[],
        scripts: Scripts::EMPTY,
        backend_checks_per_second: 0,
        declared_only: true,
        audit: Duration::from_secs(60),
        sync: None,
    };
    let mut room = Room::new();
    let mut lb = room.lb();
    let now = Instant::ZERO;
    lb.handle_plan(now, &plan).unwrap();
    assert!(lb.due > Due::Nothing);
    lb.handle_shutdown(now, false);
    assert!(lb.is_finished(now));
    assert!(lb.handle_operator(now, &service, &backend, OperatorState::Drain));
    assert!(lb.is_finished(now), "by an order");
    lb.handle_plan(now, &plan).unwrap();
    assert!(lb.is_finished(now), "by a plan");
}
