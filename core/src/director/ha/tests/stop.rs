//! The end of a run.

use super::kernel::{Kernel, ours, planned, turn_with};
use super::*;
use crate::time::Duration;

const VIPS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)),
];

/// An Active that has lost what it knew, again and again.
fn blind<'r>(room: &'r mut Room, kernel: &mut Kernel, now: Instant) -> Ha<'r> {
    let mut ha = planned(room, kernel, 255, &[&VIPS]);
    turn_with(&mut ha, kernel, Instant::ZERO);
    assert!(VIPS.iter().all(|vip| kernel.holds(*vip)));
    let mut buffer = vec![0; 32 * 1024];
    for _ in 0..3 {
        ha.handle_route_lost(now, "in a test");
        let _ = ha.poll_route(now, &mut buffer);
    }
    assert_eq!(ha.poll_route(now, &mut buffer), None, "it waits");
    ha
}

#[test]
fn a_stop_waits_for_no_backoff() {
    let (mut room, mut kernel) = (Room::new(1, 2), Kernel::new());
    let now = Instant::ZERO + Duration::from_millis(5);
    let mut ha = blind(&mut room, &mut kernel, now);
    ha.handle_shutdown(now);
    turn_with(&mut ha, &mut kernel, now);
    assert!(!VIPS.iter().any(|vip| kernel.holds(*vip)));
    assert!(ha.is_finished(now));
    assert_eq!(ha.addresses_left(), 0);
}

#[test]
fn a_stop_that_could_not_take_all_off_says_so() {
    let (mut room, mut kernel) = (Room::new(1, 2), Kernel::new());
    let now = Instant::ZERO + Duration::from_millis(5);
    let mut ha = blind(&mut room, &mut kernel, now);
    ha.handle_shutdown(now);
    // The kernel does not answer any more.
    turn(&mut ha, now);
    assert!(!ha.is_finished(now));
    let late = now + SHUTDOWN_PATIENCE;
    turn(&mut ha, late);
    assert!(ha.is_finished(late));
    assert_eq!(ha.addresses_left(), 2);
}

/// Told to go before it has seen what an earlier run left, it looks first.
#[test]
fn a_stop_before_anything_is_known_leaves_nothing_behind() {
    let (mut room, mut kernel) = (Room::new(1, 2), Kernel::new());
    kernel.holds = VIPS.map(ours).to_vec();
    let mut instance = instance(1);
    instance.addresses_count = 2;
    let addresses = VIPS.map(|address| VirtualAddress {
        address,
        prefix: 32,
    });
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &[instance],
        addresses: &addresses,
        ..HaPlan::default()
    };
    ha.handle_plan(Instant::ZERO, &plan, &[]).unwrap();
    ha.handle_shutdown(Instant::ZERO);
    // The kernel has not answered yet.
    turn(&mut ha, Instant::ZERO);
    assert!(!ha.is_finished(Instant::ZERO));
    ha.handle_route_lost(Instant::ZERO, "in a test");
    turn_with(&mut ha, &mut kernel, Instant::ZERO);
    assert!(!VIPS.iter().any(|vip| kernel.holds(*vip)));
    assert!(ha.is_finished(Instant::ZERO));
}
