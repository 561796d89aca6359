mod errand;
mod kept;
mod late;
mod laws;
mod names;
mod ports;
mod seesaw;
mod talk;
mod tls;
pub(super) mod world;

use super::laws::audit;
use super::*;
use crate::check::CheckConfig;
use crate::check::probe::Scripts;
use crate::netlink::Errno;
use std::vec;
use std::vec::Vec;
use world::{Behaviour, UP, World, config, engine, ms, plan, target};

#[test]
fn first_checks_come_quickly_and_spread() {
    let mut world = World::new(engine(400, 400, 400), vec![UP; 400]);
    world.plan(&plan(400));
    let mut starts = Vec::new();
    let end = world.now + ms(1000);
    while world.told.len() < 400 {
        let before = world.connects;
        world.now = world.wake().unwrap();
        world.turn();
        starts.push(world.connects - before);
        assert!(world.now <= end + ms(3), "within one interval");
    }
    // 400 over a second: about one each 2.5 ms.
    assert!(starts.iter().max().unwrap() < &8, "{starts:?}");
    assert!(world.told.iter().all(|r| r.state == HealthState::Up
        && r.previous == HealthState::Unknown
        && r.reason.is_none()
        && r.latency == ms(3)));
}

#[test]
fn a_population_keeps_its_phases() {
    let mut world = World::new(engine(50, 50, 50), vec![UP; 50]);
    world.plan(&plan(50));
    world.run_for(ms(5_000));
    let before = world.connects;
    world.run_for(ms(10_000));
    assert_eq!(world.connects - before, 500);
}

#[test]
fn a_death_and_a_return_are_told_once_with_reason() {
    let mut world = World::new(engine(4, 4, 4), vec![UP; 4]);
    world.plan(&plan(4));
    world.run_for(ms(3_000));
    world.told.clear();
    world.targets[1] = Behaviour::Silent;
    world.targets[3] = Behaviour::Refuses(ms(1));
    world.run_for(ms(3_000));
    let mut reasons: Vec<_> = world
        .told
        .iter()
        .map(|r| (r.target, r.state, r.reason))
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            (target(1), HealthState::Down, Some(Reason::TimedOut)),
            (target(3), HealthState::Down, Some(Reason::Refused)),
        ]
    );
    world.told.clear();
    world.targets = vec![UP; 4];
    world.run_for(ms(2_000));
    assert_eq!(world.told.len(), 2);
    assert!(world.told.iter().all(|r| r.state == HealthState::Up));
    assert_eq!(world.engine.counters().went_down, 2);
}

/// In transition checks come faster: at most one interval to the first failure,
/// then two more in fast intervals.
#[test]
fn a_doubt_is_settled_fast() {
    let mut world = World::new(engine(9, 9, 9), vec![UP; 9]);
    world.plan(&plan(9));
    world.run_for(ms(3_000));
    world.targets = vec![Behaviour::Refuses(ms(1)); 9];
    world.run_for(ms(1_000 + 2 * 200 + 1));
    assert!((0..9).all(|n| world.health_of(n) == HealthState::Down));
    // And back: one down_interval, then one fast one.
    world.targets = vec![UP; 9];
    world.run_for(ms(500 + 200 + 3));
    assert!((0..9).all(|n| world.health_of(n) == HealthState::Up));
}

#[test]
fn an_interval_or_a_timeout_of_zero_is_the_least() {
    let mut world = World::new(engine(1, 1, 1), vec![Behaviour::Answers(Duration::ZERO)]);
    let zero = CheckConfig {
        interval: Duration::ZERO,
        fast_interval: Duration::ZERO,
        down_interval: Duration::ZERO,
        timeout: Duration::ZERO,
        rise: 0,
        fall: 0,
        ..config(0)
    };
    world.plan(&[zero]);
    world.run_for(ms(100));
    assert_eq!(world.health_of(0), HealthState::Up);
    assert!((98..=101).contains(&world.connects), "{}", world.connects);
}

#[test]
fn trouble_of_this_node_is_reported_once_and_changes_nothing() {
    for (errno, local) in [(24, Local::Files), (105, Local::Memory), (99, Local::Ports)] {
        let mut world = World::new(engine(8, 8, 8), vec![UP; 8]);
        world.plan(&plan(8));
        world.run_for(ms(3_000));
        world.told.clear();
        world.targets = vec![Behaviour::Fails(errno); 8];
        world.run_for(ms(9_000));
        assert_eq!(world.told, []);
        assert!(world.engine.counters().indeterminate[local.index()] >= 8 * 8);
        let first = world.engine.poll_trouble(world.now).unwrap();
        assert_eq!(first.local, local);
        assert_eq!(
            first.checks,
            world.engine.counters().indeterminate[local.index()]
        );
        world.run_for(ms(9_000));
        assert_eq!(world.engine.poll_trouble(world.now), None);
        world.run_for(ms(2_000));
        assert!(world.engine.poll_trouble(world.now).is_some());
    }
}

/// Targets answer, but this node does not run for ten seconds, in the middle of
/// probes: nobody goes down, and what follows is not a burst.
#[test]
fn a_stall_takes_nobody_down() {
    let mut world = World::new(
        engine(200, 200, 200),
        vec![Behaviour::Answers(ms(290)); 200],
    );
    world.plan(&plan(200));
    world.run_for(ms(5_000));
    assert!(world.engine.in_flight() > 20);
    world.told.clear();
    world.now += ms(10_000);
    // The worst case: not one answer was read before the timers.
    world.engine.handle_timeout(world.now);
    let late = world.engine.counters().indeterminate[Local::Late.index()];
    assert!(late > 20);
    world.turn();
    assert!(world.engine.in_flight() < 100, "{:?}", world.engine);
    assert!(world.engine.counters().respread > 50);
    world.run_for(ms(5_000));
    assert_eq!(world.told, []);
}

#[test]
fn checks_queue_for_sockets_in_order_and_lag_is_seen() {
    let silent = vec![Behaviour::Silent; 40];
    let mut world = World::new(engine(40, 2, 2), silent);
    world.plan(&plan(40));
    world.run_for(ms(60_000));
    assert!(world.engine.counters().queued > 0);
    assert!(world.engine.counters().lag_max > ms(1_000));
    assert!(world.engine.in_flight() <= 4);
    assert_eq!(world.told.len(), 40, "everybody had a turn");
}

#[test]
fn a_reload_touches_only_what_changed() {
    let mut world = World::new(engine(30, 30, 30), vec![Behaviour::Answers(ms(250)); 30]);
    let mut plan = plan(20);
    world.plan(&plan);
    world.run_for(ms(3_000));
    let of = |world: &World, n: u16| {
        let mut ids = (0..world.engine.planned()).map(|p| world.engine.check_id(p).unwrap());
        ids.find(|id| world.engine.status(*id).unwrap().config.target == target(n))
    };
    let before: Vec<_> = (0..20).map(|n| of(&world, n).unwrap()).collect();
    let flying: Vec<_> = before
        .iter()
        .map(|id| std::format!("{:?}", world.engine.slots[id.index()].state))
        .collect();
    let in_flight = world.engine.in_flight();

    plan.retain(|c| c.target != target(4));
    let edited = plan.iter_mut().find(|c| c.target == target(5)).unwrap();
    edited.interval = ms(700);
    plan.push(config(25));
    plan.sort_unstable();
    let merged = world
        .engine
        .handle_plan(world.now, &plan, Scripts::EMPTY)
        .unwrap();
    assert_eq!(
        merged,
        crate::check::Merged {
            kept: 18,
            edited: 1,
            added: 1,
            removed: 1
        }
    );
    assert_eq!(audit(&world.engine), Ok(()));
    assert!(world.engine.in_flight() + 1 >= in_flight);
    for n in (0..20).filter(|n| *n != 4) {
        let id = of(&world, n).unwrap();
        assert_eq!(id, before[usize::from(n)]);
        assert_eq!(world.engine.health(id), HealthState::Up);
        if n != 5 {
            let state = std::format!("{:?}", world.engine.slots[id.index()].state);
            assert_eq!(state, flying[usize::from(n)], "timer and socket kept");
        }
    }
    assert_eq!(of(&world, 4), None);
    assert_eq!(world.health_of(25), HealthState::Unknown);
    world.turn();
    world.run_for(ms(3_000));
    assert_eq!(world.health_of(25), HealthState::Up);
}

#[test]
fn a_bad_plan_changes_nothing() {
    let mut world = World::new(engine(3, 3, 3), vec![UP; 9]);
    world.plan(&plan(3));
    let mut twice = plan(2);
    twice.push(twice[1]);
    let errors = [
        (
            plan(4),
            PlanError::TooMany {
                checks: 4,
                capacity: 3,
            },
        ),
        (twice, PlanError::Unsorted { index: 2 }),
    ];
    for (bad, error) in errors {
        assert_eq!(
            world.engine.handle_plan(world.now, &bad, Scripts::EMPTY),
            Err(error)
        );
        assert_eq!(world.engine.planned(), 3);
        assert_eq!(audit(&world.engine), Ok(()));
    }
}

#[test]
fn an_adopted_health_holds_until_verdicts_say_otherwise() {
    let mut world = World::new(engine(4, 4, 4), vec![Behaviour::Refuses(ms(1)), UP, UP, UP]);
    world.plan(&plan(3));
    for p in 0..3 {
        let id = world.engine.check_id(p).unwrap();
        let n = world.engine.status(id).unwrap().config.target.port() - 1000;
        let state = if n == 1 {
            HealthState::Down
        } else {
            HealthState::Up
        };
        assert!(world.engine.adopt(world.now, id, state));
        assert!(world.engine.status(id).unwrap().presumed);
    }
    assert_eq!(world.engine.poll_change(), None, "the owner knows");
    let start = world.now;
    world.run_for(ms(5_000));
    let told: Vec<_> = world.told.iter().map(|r| (r.target, r.state)).collect();
    assert_eq!(
        told.iter().filter(|t| t.0 == target(0)).collect::<Vec<_>>(),
        [&(target(0), HealthState::Down)]
    );
    assert_eq!(
        told.iter().filter(|t| t.0 == target(1)).collect::<Vec<_>>(),
        [&(target(1), HealthState::Up)]
    );
    assert_eq!(told.len(), 2);
    for p in 0..3 {
        let id = world.engine.check_id(p).unwrap();
        assert!(!world.engine.status(id).unwrap().presumed);
    }
    let down = world.engine.check_id(0).unwrap();
    assert!(
        world.engine.status(down).unwrap().since.since(start) >= ms(400),
        "fall held"
    );
    assert!(!world.engine.adopt(world.now, down, HealthState::Up));
}

#[test]
fn an_edge_left_over_is_counted_and_ignored() {
    let mut world = World::new(engine(1, 2, 1), vec![Behaviour::Silent]);
    world.plan(&plan(1));
    world.run_for(ms(1_100));
    let before = (*world.engine.counters(), world.health_of(0));
    for n in 0..4 {
        world
            .engine
            .handle_failed(world.now, SocketId(n), Errno(111));
    }
    let now = world.engine.counters();
    let stray = now.stray - before.0.stray;
    let heard = now.failed[Reason::Refused.index()];
    assert_eq!(stray + heard, 4);
    assert!(heard <= 1, "one probe, one verdict");
}
