//! What was lost of the conversation with the kernel.

use super::kernel::{Kernel, planned, turn_with};
use super::*;
use crate::time::Duration;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

fn seconds(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

#[test]
fn a_loss_now_and_then_is_each_time_the_first() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    // One that is Backup adds no addresses.
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[VIP]]);
    for round in 1..20 {
        let now = seconds(2 * round);
        ha.handle_packet(now, 0, Received::from_ipv4(&advert(1)));
        ha.handle_route_lost(now, "in a test");
        turn_with(&mut ha, &mut kernel, now);
        assert!(ha.is_known(), "in round {round}");
    }
}

/// Nothing else may wake a node whose routers all rest.
#[test]
fn a_request_that_could_not_be_sent_says_when_it_is_due() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[VIP]]);
    let now = seconds(1);
    ha.handle_route_lost(now, "the kernel did not take a request");
    assert!(ha.poll_timeout().is_some_and(|at| at <= now));
    turn_with(&mut ha, &mut kernel, now);
    assert!(ha.is_known());
    assert!(ha.poll_timeout().is_none_or(|at| at > now));
}

#[test]
fn losses_while_nothing_is_known_put_nothing_off() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[VIP]]);
    let mut buffer = vec![0; 32 * 1024];
    let now = Instant::ZERO;
    for _ in 0..2 {
        ha.handle_route_lost(now, "in a test");
        let _ = ha.poll_route(now, &mut buffer);
    }
    // A second of waiting, whatever the link does meanwhile.
    for tenth in 1..10 {
        ha.handle_route_lost(now + Duration::from_millis(100 * tenth), "in a test");
    }
    turn_with(&mut ha, &mut kernel, seconds(1));
    assert!(ha.is_known());
    assert_eq!(ha.route_counters().resyncs, 2);
}

#[test]
fn attempts_in_vain_are_made_less_and_less_often() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[VIP]]);
    let mut buffer = vec![0; 32 * 1024];
    let (mut asked, mut now) = (0, Instant::ZERO);
    ha.handle_route_lost(now, "in a test");
    while now < seconds(120) {
        ha.handle_timeout(now);
        while ha.poll_memory().is_some() {}
        if ha.poll_route(now, &mut buffer).is_some() {
            asked += 1;
            ha.handle_route_lost(now, "the kernel did not take a request");
        }
        now += Duration::from_millis(50);
    }
    // At 0, 1, 3, 7, 15, 31, 61 and 91 s, and once more at first.
    assert!((7..=9).contains(&asked), "{asked}");
}
