//! What is to be done about macvlans, of many routers and of none.

use super::macvlans::{dump_shows, half, link, told};
use super::*;
use crate::route::LinkName;

fn ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// Macvlans of ours that no plan names.
fn left(count: u32) -> Vec<crate::route::Link> {
    let named = |n: u32| {
        let name = std::format!("left{n}");
        link(|link| {
            link.index = InterfaceIndex::new(100 + n).unwrap();
            link.name = LinkName::new(name.as_bytes()).unwrap();
        })
    };
    (0..count).map(named).collect()
}

/// The macvlans that are to be deleted now.
fn deletes(ha: &mut Ha<'_>, now: Instant) -> Vec<InterfaceIndex> {
    let chores = core::iter::from_fn(|| ha.poll_chore(now));
    let deletes = chores.filter_map(|chore| match chore {
        Chore::Delete(index) => Some(index),
        Chore::Make(_) | Chore::Lower(_) | Chore::Clear => None,
    });
    deletes.collect()
}

fn gone(ha: &mut Ha<'_>, now: Instant, index: InterfaceIndex) {
    let mut gone = told(&link(|link| link.index = index), None);
    gone[4..6].copy_from_slice(&17_u16.to_ne_bytes());
    ha.handle_route(now, &gone);
}

#[test]
fn a_chore_of_one_costs_the_same_among_many() {
    let looks = |count: u8| {
        let mut room = Room::new(255, 255);
        let mut ha = started(&mut room, count, 100);
        for slot in 0..usize::from(count) {
            let name = std::format!("vrrp.{slot}");
            ha.instances[slot].config.macvlan = Some(name.as_str().try_into().unwrap());
        }
        assert!(dump_shows(&mut ha, Instant::ZERO, &[]));
        ha.interfaces[0].noting(false, |found| {
            found.handle_link(InterfaceIndex::new(2).unwrap(), Some(MAC), true);
        });
        let before = ha.counters.looks;
        let given = core::iter::from_fn(|| ha.poll_chore(Instant::ZERO));
        assert_eq!(given.count(), usize::from(count));
        ha.counters.looks - before
    };
    assert_eq!(looks(250), 250 * looks(1));
}

#[test]
fn macvlans_of_no_plan_are_all_found_in_the_end() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let mut there = left(40);
    // As after a reload.
    ha.netdev.mark_unknown();
    let mut dumps = 0;
    for now in (0..10).map(ms) {
        if dump_shows(&mut ha, now, &there) {
            dumps += 1;
        }
        let deleted = deletes(&mut ha, now);
        assert!(deletes(&mut ha, now).is_empty(), "once is enough");
        there.retain(|link| !deleted.contains(&link.index));
        deleted.iter().for_each(|index| gone(&mut ha, now, *index));
        if there.is_empty() {
            break;
        }
    }
    assert_eq!((there.len(), dumps), (0, 3), "16, 16, and 8");
}

#[test]
fn one_that_is_not_deleted_is_asked_for_once_a_second_until_it_is_gone() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let there = left(1);
    let only = [there[0].index];
    ha.handle_route(ms(0), &told(&there[0], None));
    assert_eq!(deletes(&mut ha, ms(0)), only);
    ha.handle_timeout(ms(999));
    assert!(deletes(&mut ha, ms(999)).is_empty());
    ha.handle_timeout(ms(1_000));
    assert_eq!(deletes(&mut ha, ms(1_000)), only);
    // It goes, and the event is lost: a dump tells as well.
    ha.netdev.mark_unknown();
    assert!(dump_shows(&mut ha, ms(1_500), &[]));
    ha.handle_timeout(ms(2_000));
    assert!(deletes(&mut ha, ms(2_000)).is_empty());
}
