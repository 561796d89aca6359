//! More checks of one target than ports that their SYNs leave from.

use super::super::laws::audit;
use super::super::*;
use super::world::{SETTINGS, ms, storage};
use crate::check::probe::Scripts;
use crate::check::{CheckConfig, Flight, Flights, Kind};
use crate::netlink::Errno;
use crate::time;
use std::vec::Vec;
use std::{boxed::Box, vec};

const CHECKS: usize = 6;
const PORTS: u8 = 2;

/// An owner with two ports, in front of a target that may answer after 1 ms.
struct World {
    engine: Engine<'static>,
    flights: Flights<'static>,
    now: Instant,
    answers: bool,
    answered: Vec<(Instant, SocketId)>,
}

impl World {
    fn new() -> Self {
        let seats = u32::try_from(CHECKS).unwrap();
        let storage = Storage {
            paces: &mut [],
            ..storage(CHECKS, CHECKS)
        };
        let settings = Settings { seats, ..SETTINGS };
        let flights = Box::leak(vec![Flight::EMPTY; CHECKS].into());
        let lists = Box::leak(vec![0; CHECKS].into());
        Self {
            engine: Engine::new(storage, settings),
            flights: Flights::new((flights, SocketId(0)), lists, PORTS),
            now: Instant::ZERO,
            answers: true,
            answered: Vec::new(),
        }
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let answer = self.answered.first().map(|answer| answer.0);
            let wake = time::earliest(answer, self.engine.poll_timeout()).unwrap();
            if wake > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(wake);
            let due = self.answered.iter().take_while(|(at, _)| *at <= self.now);
            for (_, seat) in self.answered.drain(..due.count()).collect::<Vec<_>>() {
                self.engine.handle_failed(self.now, seat, Errno(111));
            }
            self.engine.handle_timeout(self.now);
            while let Some(action) = self.engine.poll_action(self.now) {
                assert_eq!(audit(&self.engine), Ok(()));
                let Action::Datagram { socket, target, .. } = action else {
                    panic!("{action:?}");
                };
                self.put(socket, target);
                assert_eq!(audit(&self.engine), Ok(()));
            }
        }
    }

    /// As an owner does.
    fn put(&mut self, seat: SocketId, target: core::net::SocketAddr) {
        assert!(self.engine.transmit(self.now, seat).is_some());
        let (sign, turn, token) = self.engine.departure(seat).unwrap();
        let flies = |seat, token| self.engine.seat_of(token) == Some(seat);
        let turn = self
            .flights
            .depart((seat, token), target, (sign, turn), flies);
        if turn.is_none() {
            return self.engine.handle_no_port(self.now, seat);
        }
        assert!(self.engine.transmit(self.now, seat).is_some());
        self.engine.handle_sent(self.now, seat, usize::MAX);
        if self.answers {
            self.answered.push((self.now + ms(1), seat));
        }
    }
}

fn plan() -> Vec<CheckConfig> {
    let target = "192.0.2.1:80".parse().unwrap();
    let each = (0..CHECKS).map(|n| CheckConfig {
        interval: ms(1_000),
        fast_interval: ms(1_000),
        timeout: ms(300),
        // All of them begin in the same moment.
        down_interval: ms(1_000) + Duration::from_nanos(u64::try_from(n).unwrap()),
        ..CheckConfig::new(Kind::Syn, target)
    });
    let mut plan: Vec<_> = each.collect();
    plan.sort_unstable();
    plan
}

#[test]
fn each_waits_for_a_port_and_has_its_whole_time() {
    let mut world = World::new();
    world
        .engine
        .handle_plan(world.now, &plan(), Scripts::EMPTY)
        .unwrap();
    for (answers, reason) in [(true, Reason::Refused), (false, Reason::TimedOut)] {
        world.answers = answers;
        world.run_for(ms(3_000));
        for p in 0..u32::try_from(CHECKS).unwrap() {
            let id = world.engine.check_id(p).unwrap();
            let status = world.engine.status(id).unwrap();
            assert_eq!(status.last, Some(Verdict::Failure(reason)), "{p}");
            // What it waited is none of it.
            let most = if answers { ms(2) } else { ms(302) };
            assert!(status.latency <= most, "{:?}", status.latency);
        }
    }
    let counters = world.engine.counters();
    assert_eq!(counters.indeterminate.iter().sum::<u64>(), 0);
}

#[test]
fn phases_of_checks_of_one_target_are_spread() {
    let [one, ..] = plan()[..] else { panic!() };
    let others = [
        CheckConfig { fall: 7, ..one },
        CheckConfig { rise: 7, ..one },
        CheckConfig {
            timeout: ms(301),
            ..one
        },
        CheckConfig {
            name: crate::check::NameId(1),
            ..one
        },
    ];
    let mut phases: Vec<_> = others.iter().map(|check| check.phase(1) % 1_000).collect();
    phases.push(one.phase(1) % 1_000);
    phases.sort_unstable();
    phases.dedup();
    assert_eq!(phases.len(), others.len() + 1);
}
