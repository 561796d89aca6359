//! Groups, failovers and rivals, turn by turn.

use super::*;
use crate::director::ha::{NoFailover, Whom};
use crate::director::plan::GroupName;
use crate::time::Duration;

const INTERVAL: Duration = Centis::MIN.duration();

/// Routers 1 and 2 as one group, of this priority, started.
fn pair(room: &mut Room, priority: u8) -> Ha<'_> {
    let mut ha = started(room, 2, priority);
    let names = [GroupName::try_from("pair").unwrap()];
    ha.merge_groups(&names);
    for slot in &mut ha.instances[..2] {
        slot.config.group = Some(0);
        slot.settled = true;
    }
    ha.index_groups();
    for at in 0..2 {
        ha.touch(Instant::ZERO, at);
    }
    ha
}

fn roles(ha: &Ha<'_>) -> Vec<vrrp::Role> {
    let slots = ha.instances().iter();
    slots.map(|slot| slot.router.state().role()).collect()
}

/// Goes on until then; every advert sent, as VRID and priority.
fn run(ha: &mut Ha<'_>, until: Instant) -> Vec<(u8, u8)> {
    let mut said = Vec::new();
    let mut now = Instant::ZERO;
    loop {
        ha.handle_timeout(now);
        while ha.poll_memory().is_some() {}
        while let Some(out) = ha.poll_advert(now) {
            let message = &ha.advert(out.instance)[20..];
            said.push((message[1], message[2]));
            ha.handle_advert_sent(now, out.instance, Ok(()));
        }
        while ha.poll_announcement(now, &mut [0; 96]).is_some() {}
        while ha.poll_memory().is_some() {}
        ha.prepare();
        match ha.poll_timeout() {
            Some(next) if next < until => now = now.max(next),
            Some(_) | None => return said,
        }
    }
}

fn hear(ha: &mut Ha<'_>, now: Instant, vrid: u8) {
    let packet = advert(vrid);
    ha.handle_packet(now, 0, Received::from_ipv4(&packet));
}

fn at(intervals: u32) -> Instant {
    Instant::ZERO + INTERVAL * intervals
}

#[test]
fn a_group_becomes_active_when_the_last_of_its_members_would() {
    use vrrp::Role::{Active, Backup};
    let mut room = Room::new(2, 2);
    let mut ha = pair(&mut room, 100);
    // The second follows somebody for five intervals more.
    for round in 1..=5 {
        run(&mut ha, at(round));
        hear(&mut ha, at(round), 2);
    }
    assert_eq!(run(&mut ha, at(8)), []);
    assert_eq!(roles(&ha), [Backup, Backup]);
    let said = run(&mut ha, at(9));
    assert_eq!(roles(&ha), [Active, Active]);
    assert_eq!(said, [(1, 100), (2, 100)]);
}

#[test]
fn a_group_steps_down_with_a_member_and_says_so() {
    use vrrp::Role::{Active, Backup};
    let mut room = Room::new(2, 2);
    let mut ha = pair(&mut room, 100);
    run(&mut ha, at(6));
    assert_eq!(roles(&ha), [Active, Active]);
    hear(&mut ha, at(6), 2);
    ha.handle_timeout(at(6));
    assert_eq!(roles(&ha), [Backup, Backup]);
    let why = |at: usize| ha.instances()[at].router.last_transition().unwrap().1.why;
    assert_eq!(why(0), vrrp::Reason::GroupBackup);
    assert_eq!(why(1), vrrp::Reason::HigherPriority);
    // To a better one, which announces again, and to whoever takes over.
    let said = run(&mut ha, at(6));
    let of = |vrid: u8| -> Vec<u8> {
        let said = said.iter().filter(|(of, _)| *of == vrid);
        said.map(|(_, priority)| *priority).collect()
    };
    assert_eq!((of(1), of(2)), (std::vec![100, 0], std::vec![100]));
}

#[test]
fn a_failover_resigns_and_preempts_nobody_for_a_while() {
    use vrrp::Role::{Active, Backup};
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 255);
    run(&mut ha, at(2));
    let whom = Whom::Named("n".try_into().unwrap());
    let nobody = Whom::Named("x".try_into().unwrap());
    let refused = ha.handle_failover(at(2), &nobody, at(90));
    assert_eq!(refused, Err(NoFailover::NoSuch));
    assert_eq!(ha.handle_failover(at(2), &whom, at(50)), Ok(1));
    let again = ha.handle_failover(at(2), &Whom::All, at(90));
    assert_eq!(again, Err(NoFailover::NotActive));
    assert_eq!(run(&mut ha, at(2)), [(1, 0)]);
    // A living one keeps it, whatever our priority, as long as the hold lasts.
    for round in 3..50 {
        hear(&mut ha, at(round), 1);
        assert_eq!(run(&mut ha, at(round)), []);
        assert_eq!(roles(&ha), [Backup]);
    }
    run(&mut ha, at(51));
    assert_eq!(roles(&ha), [Active], "the owner waits for nobody else");
    assert_eq!(ha.instances()[0].held_until(), None);
    assert_eq!(
        ha.handle_failover_over(at(51), &Whom::All),
        Err(NoFailover::NotHeld)
    );
}

#[test]
fn a_goodbye_that_the_kernel_does_not_take_is_said_again() {
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 150);
    run(&mut ha, at(5));
    ha.handle_failover(at(5), &Whom::All, at(1_000)).unwrap();
    let mut said = Vec::new();
    let mut now = at(5);
    while now < at(6) {
        ha.handle_timeout(now);
        while ha.poll_memory().is_some() {}
        while let Some(out) = ha.poll_advert(now) {
            said.push(ha.advert(out.instance)[22]);
            let result = if said.len() < 3 {
                Err(Errno::EPERM)
            } else {
                Ok(())
            };
            ha.handle_advert_sent(now, out.instance, result);
        }
        match ha.poll_timeout() {
            Some(next) => now = now.max(next),
            None => break,
        }
    }
    assert_eq!(said, [0, 0, 0]);
}

#[test]
fn where_nobody_takes_over_a_failover_is_over() {
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 150);
    run(&mut ha, at(5));
    let long = at(1_000_000);
    assert_eq!(ha.handle_failover(at(5), &Whom::All, long), Ok(1));
    run(&mut ha, at(10));
    assert_eq!(roles(&ha), [vrrp::Role::Active]);
    assert_eq!(ha.instances()[0].held_until(), None);
}

#[test]
fn a_rival_is_one_when_it_speaks_on_and_over_when_it_falls_silent() {
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 220);
    run(&mut ha, at(5));
    // Once or twice is a preemption.
    for round in 5..7 {
        hear(&mut ha, at(round), 1);
        run(&mut ha, at(round));
    }
    assert_eq!(ha.counters().split_brains, 0);
    for round in 7..30 {
        hear(&mut ha, at(round), 1);
        run(&mut ha, at(round));
    }
    assert_eq!(ha.counters().split_brains, 1, "it is told once");
    assert!(ha.instances()[0].is_split());
    let heard = ha.instances()[0].heard().unwrap();
    assert_eq!((heard.source, heard.priority), (PEER.into(), 200));
    run(&mut ha, at(32));
    assert!(ha.instances()[0].is_split());
    run(&mut ha, at(40));
    assert!(!ha.instances()[0].is_split());
}
