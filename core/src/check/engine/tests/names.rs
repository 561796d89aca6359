//! Targets that are names: they have no address yet, and they move.

use super::world::{Behaviour, UP, World, config, engine, ms};
use crate::check::engine::{CheckId, Health, HealthState};
use crate::check::probe::Scripts;
use crate::check::report::Merged;
use crate::check::{CheckConfig, Local, NameId};
use std::vec;
use std::vec::Vec;

const NOWHERE: [u8; 4] = [0, 0, 0, 0];
const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [127, 0, 0, 2];

/// A check of each of these ports of a name, beside one of an address.
fn plan(at: [u8; 4], ports: &[u16]) -> Vec<CheckConfig> {
    let mut plan: Vec<_> = ports.iter().map(|n| config(*n)).collect();
    for check in &mut plan {
        check.name = NameId(1);
        check.target.set_ip(at.into());
    }
    plan.push(config(0));
    plan.sort_unstable();
    plan
}

fn world(at: [u8; 4]) -> (World, CheckId) {
    let mut world = World::new(engine(4, 4, 4), vec![UP; 4]);
    world.plan(&plan(at, &[1]));
    let id = world.engine.check_id(1).unwrap();
    (world, id)
}

impl World {
    fn moves(&mut self, plan: &[CheckConfig]) -> Merged {
        let merged = self.engine.handle_plan(self.now, plan, Scripts::EMPTY);
        self.turn();
        merged.unwrap()
    }
}

#[test]
fn a_name_without_an_address_is_not_probed_and_no_verdict() {
    let (mut world, id) = world(NOWHERE);
    world.run_for(ms(6_000));
    assert_eq!(world.asked[1], 0);
    assert_eq!(world.engine.health(id), HealthState::Unknown);
    assert!(world.told.iter().all(|report| report.id != id));
    let counted = world.engine.counters().indeterminate[Local::Name.index()];
    assert!(
        (20..=30).contains(&counted),
        "as often as it would be: {counted}"
    );
    let trouble = world.engine.poll_trouble(world.now).unwrap();
    assert_eq!((trouble.local, trouble.checks), (Local::Name, counted));

    let merged = world.moves(&plan(HERE, &[1]));
    assert_eq!((merged.kept, merged.edited), (1, 1));
    world.run_for(ms(1_100));
    assert_eq!(world.engine.health(id), HealthState::Up);
}

#[test]
fn a_name_that_moves_keeps_what_is_believed_and_drops_what_is_on_its_way() {
    let (mut world, id) = world(HERE);
    world.run_for(ms(2_000));
    world.told.clear();
    world.targets[1] = Behaviour::Silent;
    // Two of the three failures that it takes, and a third on its way.
    while world.engine.status(id).unwrap().health != (Health::GoingDown { failures: 2 })
        || world.engine.in_flight() == 0
    {
        world.run_for(ms(10));
    }
    let before = *world.engine.counters();
    world.moves(&plan(THERE, &[1]));
    let after = *world.engine.counters();
    assert_eq!(after.cancelled, before.cancelled + 1);
    assert_eq!(after.failed, before.failed, "it is not a verdict");
    assert_eq!(world.engine.check_id(1), Some(id));
    let status = world.engine.status(id).unwrap();
    let going = Health::GoingDown { failures: 2 };
    assert_eq!((status.health, status.presumed), (going, true));
    assert_eq!(status.config.target.ip(), core::net::IpAddr::from(THERE));
    assert_eq!(world.told, []);

    // It is asked there at once, and counted on.
    assert_eq!(world.engine.in_flight(), 1);
    world.run_for(ms(310));
    assert_eq!(world.engine.health(id), HealthState::Down);
    assert_eq!(world.told.len(), 1);
}

/// Moving each second, more often than it is checked three times.
#[test]
fn a_name_that_never_stays_goes_down_and_comes_up() {
    let (mut world, id) = world(HERE);
    world.run_for(ms(2_000));
    assert_eq!(world.engine.health(id), HealthState::Up);
    for (target, health) in [
        (Behaviour::Silent, HealthState::Down),
        (UP, HealthState::Up),
    ] {
        world.targets[1] = target;
        for n in 0..8 {
            world.moves(&plan(if n % 2 == 0 { THERE } else { HERE }, &[1]));
            world.run_for(ms(400));
        }
        assert_eq!(world.engine.health(id), health);
    }
}

#[test]
fn a_dead_name_that_moves_is_asked_fast() {
    let (mut world, id) = world(HERE);
    world.targets[1] = Behaviour::Refuses(ms(1));
    world.run_for(ms(5_000));
    assert_eq!(world.engine.health(id), HealthState::Down);
    world.targets[1] = UP;
    world.moves(&plan(THERE, &[1]));
    assert_eq!(world.engine.health(id), HealthState::Down);
    // The phase within an interval, and a fast one for the second success.
    world.run_for(ms(1_000 + 200 + 10));
    assert_eq!(world.engine.health(id), HealthState::Up);
}

/// Wherever a check is in its round, and whatever comes and goes beside it.
#[test]
fn a_name_may_move_at_any_time() {
    for step in 0..400 {
        let mut world = World::new(engine(4, 1, 1), vec![UP; 4]);
        world.targets[2] = Behaviour::Silent;
        world.plan(&plan(HERE, &[1, 2]));
        world.run_for(ms(5 * step));
        let healths = [0, 1, 2].map(|p| world.engine.health(world.engine.check_id(p).unwrap()));
        // The turn audits what is left of it.
        let merged = world.moves(&plan(THERE, &[1, 2]));
        assert_eq!((merged.kept, merged.edited), (1, 2));
        let now = [0, 1, 2].map(|p| world.engine.health(world.engine.check_id(p).unwrap()));
        assert_eq!(healths, now);
        let merged = world.moves(&plan(NOWHERE, &[2]));
        assert_eq!((merged.kept, merged.edited, merged.removed), (1, 1, 1));
        world.run_for(ms(300));
        world.moves(&plan(HERE, &[1, 2]));
        world.run_for(ms(100));
    }
}
