//! What an earlier run left on an interface.

use super::kernel::{Kernel, ours, planned, run_with, turn_with};
use super::*;
use crate::director::plan::{GroupName, Track, TrackName, TrackSource, TrackUse};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));

fn ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// Two routers, the first of which tracks something that is down, or both in a
/// group of which it is the first; both were Active until `last_sent`.
fn barred<'r>(room: &'r mut Room, kernel: &mut Kernel, grouped: bool, now: Instant) -> Ha<'r> {
    kernel.holds = vec![ours(VIP), ours(OTHER)];
    let mut instances = [instance(1), instance(2)];
    let addresses = [VIP, OTHER].map(|address| VirtualAddress {
        address,
        prefix: 32,
    });
    let (mut memory, used) = (
        Vec::new(),
        TrackUse {
            track: 0,
            weight: 0,
            reverse: false,
        },
    );
    for (first, planned) in (0..).zip(&mut instances) {
        planned.router.priority = 100;
        planned.addresses_first = first;
        planned.addresses_count = 1;
        planned.group = grouped.then_some(0);
        memory.push(Memory {
            key: state::memory_key(planned),
            active: true,
            last_sent: ms(1_000),
            interval: 1,
        });
    }
    instances[0].tracks.push(used).unwrap();
    if !grouped {
        instances[1].tracks.push(used).unwrap();
    }
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &instances,
        addresses: &addresses,
        tracks: &[Track {
            name: TrackName::try_from("t").unwrap(),
            source: TrackSource::Cell(0),
        }],
        groups: &[GroupName::try_from("g").unwrap()],
        ..HaPlan::default()
    };
    ha.handle_plan(now, &plan, &memory).unwrap();
    ha.handle_track(now, 0, TrackState::Down);
    turn_with(&mut ha, kernel, now);
    ha
}

#[test]
fn a_router_that_does_not_begin_gives_up_what_an_earlier_run_left() {
    for grouped in [false, true] {
        let (mut kernel, mut room) = (Kernel::new(), Room::new(2, 2));
        let mut ha = barred(&mut room, &mut kernel, grouped, ms(2_000));
        assert!(!ha.instances()[0].started && !ha.instances()[1].started);
        turn_with(&mut ha, &mut kernel, ms(2_000));
        let left = [kernel.holds(VIP), kernel.holds(OTHER)];
        assert_eq!(left, [false; 2], "grouped: {grouped}");
    }
}

#[test]
fn and_not_before_it_can_no_longer_go_on_from_there() {
    for grouped in [false, true] {
        let (mut kernel, mut room) = (Kernel::new(), Room::new(2, 2));
        let mut ha = barred(&mut room, &mut kernel, grouped, ms(1_010));
        turn_with(&mut ha, &mut kernel, ms(1_010));
        assert!(kernel.holds(VIP) && kernel.holds(OTHER));
        // Three intervals of 10 ms and the shortest skew after its last advert.
        run_with(&mut ha, &mut kernel, ms(1_010), ms(1_030));
        assert!(kernel.holds(VIP) && kernel.holds(OTHER));
        run_with(&mut ha, &mut kernel, ms(1_030), ms(1_031));
        let left = [kernel.holds(VIP), kernel.holds(OTHER)];
        assert_eq!(left, [false; 2], "grouped: {grouped}");
        let memory: Vec<_> = ha.instances().iter().map(InstanceSlot::memory).collect();
        assert!(memory.iter().all(|memory| !memory.active));
    }
}

#[test]
fn one_that_goes_on_in_time_never_lets_go() {
    let (mut kernel, mut room) = (Kernel::new(), Room::new(2, 2));
    let mut ha = barred(&mut room, &mut kernel, false, ms(1_010));
    ha.handle_track(ms(1_015), 0, TrackState::Up);
    run_with(&mut ha, &mut kernel, ms(1_015), ms(1_500));
    assert!(kernel.holds(VIP) && kernel.holds(OTHER));
    assert!(kernel.asked.is_empty(), "{:?}", kernel.asked);
    let active = |slot: &InstanceSlot| slot.router.state().role() == vrrp::Role::Active;
    assert!(ha.instances().iter().all(active));
}

#[test]
fn what_no_plan_names_goes_however_much_it_is() {
    let (mut kernel, mut room) = (Kernel::new(), Room::new(1, 1));
    let strays = (1..=100).map(|last| ours(IpAddr::from([203, 0, 113, last])));
    kernel.holds = strays.collect();
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[VIP]]);
    run_with(&mut ha, &mut kernel, ms(0), ms(20));
    assert_eq!(kernel.holds.len(), 0);
    // One that stays is no reason to ask for ever.
    let stuck: Vec<IpAddr> = (1..=20).map(|last| [203, 0, 113, last].into()).collect();
    kernel.holds = stuck.iter().map(|stray| ours(*stray)).collect();
    kernel.refuses = stuck;
    let before = kernel.dumps;
    ha.handle_route_lost(ms(20), "in a test");
    run_with(&mut ha, &mut kernel, ms(2_000), ms(2_030));
    assert!(kernel.dumps <= before + 2, "{}", kernel.dumps);
}
