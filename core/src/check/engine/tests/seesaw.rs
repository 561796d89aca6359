//! Defects of Seesaw's schedule (healthcheck/core.go), each a test that shows
//! that it is not ours.

use super::*;

/// One ticker of 50 ms starts all checks, 20 in a second: ten thousand take 500 s.
#[test]
fn seesaw_starts_twenty_checks_a_second() {
    let mut world = World::new(engine(2_000, 300, 100), vec![UP; 2_000]);
    let slow = |n| CheckConfig {
        interval: ms(10_000),
        ..config(n)
    };
    let mut plan: Vec<_> = (0..2_000).map(slow).collect();
    plan.sort_unstable();
    world
        .engine
        .handle_plan(world.now, &plan, Scripts::EMPTY)
        .unwrap();
    run_unaudited(&mut world, ms(2_000));
    assert_eq!(world.told.len(), 2_000);

    // The same gate is passed again by checks whose interval changes.
    for check in &mut plan {
        check.interval = ms(20_000);
    }
    plan.sort_unstable();
    let before = world.connects;
    let merged = world
        .engine
        .handle_plan(world.now, &plan, Scripts::EMPTY)
        .unwrap();
    assert_eq!(merged.edited, 2_000);
    run_unaudited(&mut world, ms(2_000));
    assert!(world.connects - before >= 2_000);
    // And what was known is not forgotten meanwhile.
    assert_eq!(world.told.len(), 2_000, "nothing is told twice");
}

fn run_unaudited(world: &mut World, span: Duration) {
    let end = world.now + span;
    while let Some(wake) = world.wake().filter(|wake| *wake <= end) {
        world.now = world.now.max(wake);
        world.turn_unaudited();
    }
    world.now = end;
    assert_eq!(audit(&world.engine), Ok(()));
}

/// time.NewTicker(0) panics and takes all of healthcheck with it; and a timeout
/// of 0 is always up before the answer.
#[test]
fn seesaw_panics_at_interval_0_and_fails_at_timeout_0() {
    for (interval, timeout) in [(0, 300), (1000, 0), (0, 0)] {
        let at_once = Behaviour::Answers(Duration::ZERO);
        let mut world = World::new(engine(1, 1, 1), vec![at_once]);
        world.plan(&[CheckConfig {
            interval: ms(interval),
            fast_interval: ms(interval),
            down_interval: ms(interval),
            timeout: ms(timeout),
            ..config(0)
        }]);
        world.run_for(ms(3_000));
        assert_eq!(world.health_of(0), HealthState::Up, "{interval} {timeout}");
        assert!(world.connects <= 3_002, "{}", world.connects);
    }
}

/// Retries come at the usual interval: a death costs retries + 1 of them.
#[test]
fn seesaw_retries_no_faster_than_it_checks() {
    let mut world = World::new(engine(1, 1, 1), vec![UP]);
    let check = CheckConfig {
        interval: ms(10_000),
        ..config(0)
    };
    world.plan(&[check]);
    world.run_for(ms(15_000));
    world.targets[0] = Behaviour::Refuses(ms(1));
    // One interval at most to the first failure, two fast ones to the third.
    world.run_for(ms(10_000 + 2 * 200 + 10));
    assert_eq!(world.health_of(0), HealthState::Down);
}

/// A check waits for its own answer, and ticks that it misses are dropped: here
/// a slow target is asked in every interval all the same, at its phase.
#[test]
fn seesaw_skips_ticks_while_an_answer_is_late() {
    let mut world = World::new(engine(1, 1, 1), vec![Behaviour::Answers(ms(290))]);
    world.plan(&[config(0)]);
    world.run_for(ms(5_000));
    let before = world.connects;
    world.run_for(ms(60_000));
    assert_eq!(world.connects - before, 60);
}
