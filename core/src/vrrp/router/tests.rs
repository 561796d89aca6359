use super::*;
use crate::bytes::Writer;
use crate::model::Family;
use crate::vrrp::advert::{self, Outgoing};
use crate::vrrp::{Addresses, Announce, AnnounceConfig, GROUP_V4, Received, active_down_interval};
use core::net::Ipv4Addr;
use core::time::Duration;

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 128));
const LESSER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 127));
const GREATER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 129));
const CONFIG: RouterConfig = RouterConfig::new(51, Family::V4);
const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn hear(router: &mut Router, now: Instant, priority: u8, source: IpAddr) -> Actions {
    hear_every(router, now, priority, source, Centis::SECOND)
}

fn hear_every(
    router: &mut Router,
    now: Instant,
    priority: u8,
    source: IpAddr,
    interval: Centis,
) -> Actions {
    let outgoing = Outgoing {
        vrid: 51,
        priority,
        interval,
        source,
        destination: GROUP_V4.into(),
        form: AdvertForm::Rfc9568,
    };
    let mut message = [0; 12];
    let mut w = Writer::new(&mut message);
    advert::encode(&mut w, &outgoing, [IpAddr::from([192, 0, 2, 10])]).unwrap();
    let advert = Advert::parse(Received {
        source,
        destination: outgoing.destination,
        ttl: 255,
        payload: w.finish().unwrap(),
    })
    .unwrap();
    router.handle_advert(now, &advert, source, OURS)
}

/// A Backup since `ms(0)`.
fn backup(config: RouterConfig) -> Router {
    let mut router = Router::new(config);
    let started = router.handle_startup(ms(0), None);
    assert_eq!(started.addresses, Addresses::Remove);
    router
}

/// An Active since the time returned, its first advert and burst gone out.
fn active(config: RouterConfig) -> (Router, Instant) {
    let mut router = backup(config);
    let at = router.poll_timeout().unwrap();
    let actions = router.handle_timeout(at);
    assert_eq!(actions.addresses, Addresses::Add);
    router.handle_sent(at);
    router.handle_announced(at);
    (router, at)
}

fn advert_at(router: &Router) -> Instant {
    let State::Active { advert_at, .. } = router.state() else {
        panic!("{:?}", router.state());
    };
    advert_at
}

fn why(actions: Actions) -> Reason {
    actions.transition.expect("a change of state").why
}

#[test]
fn adverts_do_not_drift_however_late_each_is_sent() {
    let (mut router, start) = active(CONFIG);
    for turn in 1..=100_u32 {
        let due = start + SECOND * turn;
        assert_eq!(advert_at(&router), due);
        assert_eq!(router.poll_transmit(due - Duration::from_nanos(1)), None);
        router.handle_sent(due + Duration::from_millis(u64::from(turn) * 9));
    }
    assert_eq!(router.counters().sent, 101);
    assert_eq!(router.counters().sent_late, 0);
}

#[test]
fn a_whole_interval_late_the_schedule_begins_anew() {
    let (mut router, start) = active(CONFIG);
    let late = start + SECOND * 7 + Duration::from_millis(300);
    router.handle_sent(late);
    assert_eq!(router.counters().sent_late, 1);
    // One advert, not seven; the next an interval from now.
    assert_eq!(router.poll_transmit(late), None);
    assert_eq!(advert_at(&router), late + SECOND);
}

#[test]
fn an_advert_the_kernel_refused_stays_due() {
    let (router, start) = active(CONFIG);
    let due = start + SECOND;
    for again in 0..5 {
        let now = due + Duration::from_millis(again);
        assert!(router.poll_transmit(now).is_some());
        assert!(router.poll_timeout().unwrap() <= now);
    }
}

#[test]
fn the_interval_of_the_active_is_learned_and_waited_by() {
    let mut router = backup(CONFIG);
    let _ = hear_every(&mut router, ms(10), 200, LESSER, Centis::MIN);
    assert_eq!(router.active_interval(), Centis::MIN);
    assert_eq!(router.counters().interval_differs, 1);
    // 3 x 10 ms + 156/256 x 10 ms after it.
    let at = router.poll_timeout().unwrap();
    assert_eq!(at, ms(10) + Duration::from_nanos(36_093_750));
    assert_eq!(
        router.handle_timeout(at - Duration::from_nanos(1)),
        Actions::NOOP
    );
    assert_eq!(why(router.handle_timeout(at)), Reason::ActiveSilent);
    // As Active it is our own interval again.
    assert_eq!(router.active_interval(), Centis::SECOND);
}

#[test]
fn an_advert_read_late_still_comes_before_the_timer() {
    let mut router = backup(CONFIG);
    let _ = hear(&mut router, ms(0), 200, LESSER);
    let stalled = router.poll_timeout().unwrap() + SECOND * 9;
    let _ = hear(&mut router, stalled, 200, LESSER);
    assert_eq!(router.handle_timeout(stalled), Actions::NOOP);
}

#[test]
fn priority_zero_leaves_only_the_skew() {
    let mut router = backup(CONFIG);
    let _ = hear(&mut router, ms(0), 200, LESSER);
    let _ = hear(&mut router, ms(500), 0, LESSER);
    let at = router.poll_timeout().unwrap();
    assert_eq!(at, ms(500) + Duration::from_nanos(609_375_000));
    assert_eq!(why(router.handle_timeout(at)), Reason::ActiveResigned);
    assert_eq!(router.counters().received_resign, 1);
}

#[test]
fn a_backup_that_preempts_lets_a_lower_active_talk() {
    let mut router = backup(CONFIG);
    let at = router.poll_timeout().unwrap();
    for turn in 0..3 {
        let _ = hear(&mut router, ms(turn * 1000), 99, GREATER);
    }
    assert_eq!(router.poll_timeout(), Some(at));
    assert_eq!(router.counters().discarded, 3);
    assert_eq!(why(router.handle_timeout(at)), Reason::Preempted);
}

#[test]
fn an_active_of_equal_priority_is_left_alone_whatever_its_address() {
    for source in [LESSER, GREATER] {
        let mut router = backup(CONFIG);
        let _ = hear(&mut router, ms(1000), 100, source);
        let at = ms(1000) + active_down_interval(100, Centis::SECOND);
        assert_eq!(router.poll_timeout(), Some(at));
    }
}

#[test]
fn nopreempt_leaves_a_lower_active_alone_and_an_owner_does_not() {
    let nopreempt = RouterConfig {
        preempt: false,
        ..CONFIG
    };
    let mut router = backup(nopreempt);
    for turn in 0..100 {
        let _ = hear(&mut router, ms(turn * 1000), 1, GREATER);
        assert_eq!(router.handle_timeout(ms(turn * 1000)), Actions::NOOP);
    }
    let owner = RouterConfig {
        priority: 255,
        ..nopreempt
    };
    assert_eq!(why(router.handle_config(ms(99_500), owner)), Reason::Owner);
}

#[test]
fn a_preempt_delay_counts_from_the_first_lower_advert() {
    let mut router = backup(RouterConfig {
        preempt_delay: SECOND * 10,
        ..CONFIG
    });
    let mut heard = ms(0);
    for turn in 1..=10 {
        heard = ms(turn * 1000);
        let _ = hear(&mut router, heard, 99, LESSER);
    }
    // Ten seconds after the first at 1 s: from here they are discarded.
    let at = router.poll_timeout().unwrap();
    assert_eq!(at, heard + active_down_interval(100, Centis::SECOND));
    let _ = hear(&mut router, ms(11_000), 99, LESSER);
    assert_eq!(router.poll_timeout(), Some(at));
    assert_eq!(why(router.handle_timeout(at)), Reason::Preempted);
}

#[test]
fn one_that_is_told_to_preempt_nobody_lets_a_preemption_at_hand_be() {
    let mut router = backup(CONFIG);
    let _ = hear(&mut router, ms(3_000), 99, LESSER);
    let held = RouterConfig {
        preempt: false,
        ..CONFIG
    };
    let _ = router.handle_config(ms(3_500), held);
    let then = ms(3_500) + active_down_interval(100, Centis::SECOND);
    assert_eq!(router.poll_timeout(), Some(then));
    for turn in 4..20 {
        let _ = hear(&mut router, ms(turn * 1000), 99, LESSER);
        assert_eq!(router.handle_timeout(ms(turn * 1000)), Actions::NOOP);
    }
    let silent = router.poll_timeout().unwrap();
    assert_eq!(why(router.handle_timeout(silent)), Reason::ActiveSilent);
}

#[test]
fn a_preempt_delay_does_not_hold_back_from_the_dead_and_begins_anew_after_a_higher() {
    let delayed = RouterConfig {
        preempt_delay: SECOND * 10,
        ..CONFIG
    };
    let mut router = backup(delayed);
    let _ = hear(&mut router, ms(1000), 99, LESSER);
    let at = router.poll_timeout().unwrap();
    assert_eq!(at, ms(1000) + active_down_interval(100, Centis::SECOND));
    assert_eq!(why(router.handle_timeout(at)), Reason::ActiveSilent);

    let mut router = backup(delayed);
    let _ = hear(&mut router, ms(0), 99, LESSER);
    let _ = hear(&mut router, ms(9000), 101, GREATER);
    let _ = hear(&mut router, ms(10_500), 99, LESSER);
    // The 9 s do not count: this advert is heeded.
    assert_eq!(router.counters().discarded, 0);
}

#[test]
fn the_greater_address_wins_unsigned_and_in_network_order() {
    // As signed numbers 128.0.0.1 would be the lesser, as little-endian ones
    // 10.0.0.2 the greater.
    for (ours, theirs) in [
        ([127, 0, 0, 1], [128, 0, 0, 1]),
        ([10, 0, 0, 2], [10, 0, 1, 1]),
    ] {
        let (ours, theirs) = (IpAddr::from(ours), IpAddr::from(theirs));
        assert!(theirs > ours);
    }
    let (mut router, at) = active(CONFIG);
    let actions = hear(&mut router, at, 100, LESSER);
    assert_eq!(
        actions.remarks,
        Remarks::REASSERTED | Remarks::EQUAL_PRIORITY
    );
    assert_eq!(actions.transition, None);
    let actions = hear(&mut router, at, 100, GREATER);
    assert_eq!(why(actions), Reason::GreaterAddress);
    assert_eq!(actions.addresses, Addresses::Remove);
    assert_eq!(router.counters().equal_priority, 2);
}

#[test]
fn a_losing_advert_is_answered_at_once_and_the_addresses_announced() {
    let (mut router, start) = active(CONFIG);
    let now = start + Duration::from_millis(400);
    let actions = hear(&mut router, now, 99, GREATER);
    assert_eq!(actions.remarks, Remarks::REASSERTED);
    assert!(router.poll_transmit(now).is_some() && router.poll_announce(now));
    router.handle_sent(now);
    assert_eq!(router.poll_transmit(now), None);
    assert_eq!(router.counters().reasserted, 1);
}

#[test]
fn our_own_echo_is_not_answered() {
    let (mut router, start) = active(CONFIG);
    for priority in [0, 99, 100, 101] {
        let before = router.state();
        let actions = hear(&mut router, start, priority, OURS);
        assert_eq!(actions.remarks, Remarks::OWN_ADDRESS);
        assert_eq!(router.state(), before);
    }
    assert_eq!(router.counters().own_address, 4);
    assert_eq!(router.counters().reasserted, 0);
}

#[test]
fn shutdown_owes_one_advert_of_priority_zero() {
    let (mut router, now) = active(CONFIG);
    let actions = router.handle_shutdown(now);
    assert_eq!(actions.addresses, Addresses::Remove);
    let owed = Some(Transmit {
        priority: 0,
        interval: Centis::SECOND,
    });
    assert_eq!(router.poll_transmit(now), owed);
    assert_eq!(router.poll_timeout(), Some(now));
    // Asked twice it is owed once.
    assert_eq!(router.handle_shutdown(now), Actions::NOOP);
    router.handle_sent(now);
    assert_eq!(
        (router.poll_transmit(now), router.poll_timeout()),
        (None, None)
    );
    assert_eq!(router.counters().sent_resign, 1);

    let mut waiting = backup(CONFIG);
    let _ = waiting.handle_shutdown(ms(5));
    assert_eq!(waiting.poll_transmit(ms(5)), None);
}

#[test]
fn a_fault_says_nothing_and_owes_nothing() {
    let (mut router, now) = active(CONFIG);
    let actions = router.handle_fault(now);
    assert_eq!(
        (why(actions), actions.addresses),
        (Reason::Fault, Addresses::Remove)
    );
    assert_eq!(
        (router.poll_transmit(now), router.poll_timeout()),
        (None, None)
    );
    // The interface goes while a last advert is owed.
    let (mut router, now) = active(CONFIG);
    let _ = router.handle_shutdown(now);
    assert_eq!(router.handle_fault(now), Actions::NOOP);
    assert_eq!(router.poll_transmit(now), None);
}

#[test]
fn a_resume_goes_on_at_once() {
    let (mut old, sent) = active(CONFIG);
    let resume = Resume {
        last_sent: sent,
        interval: Centis::SECOND,
    };
    let _ = old.handle_fault(sent);
    let mut router = Router::new(CONFIG);
    let now = sent + SECOND * 2;
    assert_eq!(
        why(router.handle_startup(now, Some(resume))),
        Reason::Resumed
    );
    assert!(router.poll_transmit(now).is_some() && router.poll_announce(now));
    // Peers counted by the old interval, whatever the new config says.
    let fast = Resume {
        interval: Centis::MIN,
        ..resume
    };
    let mut router = Router::new(CONFIG);
    assert_eq!(why(router.handle_startup(now, Some(fast))), Reason::Started);
}

#[test]
fn a_reload_moves_only_what_changed() {
    let mut router = backup(CONFIG);
    let _ = hear(&mut router, ms(1000), 200, LESSER);
    let at = router.poll_timeout().unwrap();
    assert_eq!(router.handle_config(ms(1500), CONFIG), Actions::NOOP);
    let announce = AnnounceConfig {
        repeat: 1,
        ..CONFIG.announce
    };
    let _ = router.handle_config(ms(1500), RouterConfig { announce, ..CONFIG });
    assert_eq!(router.poll_timeout(), Some(at));
    // A higher priority has a shorter skew, from the same advert on.
    let higher = RouterConfig {
        priority: 200,
        ..CONFIG
    };
    let _ = router.handle_config(ms(1500), higher);
    assert_eq!(
        router.poll_timeout(),
        Some(ms(1000) + active_down_interval(200, Centis::SECOND))
    );
    // Another identity is another router.
    let other = RouterConfig {
        vrid: 52,
        family: Family::V6,
        ..higher
    };
    assert_eq!(router.handle_config(ms(1500), other), Actions::NOOP);
    assert_eq!(router.config().vrid, 51);
}

#[test]
fn an_active_tells_a_longer_interval_before_it_keeps_it() {
    let (mut router, start) = active(CONFIG);
    let every = |interval| RouterConfig { interval, ..CONFIG };
    let now = start + Duration::from_millis(200);
    let _ = router.handle_config(now, every(Centis::MAX));
    let due = start + SECOND;
    let said = router.poll_transmit(due).unwrap();
    assert_eq!(said.interval, Centis::MAX);
    router.handle_sent(due);
    assert_eq!(advert_at(&router), due + Centis::MAX.duration());
    // A shorter one begins at once.
    let _ = router.handle_config(due, every(Centis::MIN));
    assert!(router.poll_transmit(due + Centis::MIN.duration()).is_some());
}

#[test]
fn a_lower_priority_does_not_depose_us_by_itself() {
    let (mut router, at) = active(CONFIG);
    let lower = RouterConfig {
        priority: 1,
        ..CONFIG
    };
    assert_eq!(router.handle_config(at, lower), Actions::NOOP);
    assert_eq!(router.poll_transmit(at + SECOND).unwrap().priority, 1);
}

#[test]
fn announcements_follow_the_transition() {
    let (mut router, start) = active(CONFIG);
    let mut seen = std::vec::Vec::new();
    let mut now = start;
    while seen.len() < 9 {
        now = router.poll_timeout().unwrap();
        router.handle_sent(now);
        if router.poll_announce(now) {
            seen.push(now.since(start).as_millis());
            router.handle_announced(now);
        }
    }
    assert_eq!(seen, [100, 200, 300, 400, 5000, 5100, 5200, 5300, 5400]);
    let State::Active { announce, .. } = router.state() else {
        panic!("{:?}", router.state());
    };
    let refresh = CONFIG.announce.refresh;
    assert_eq!(Announce::at(announce), Some(now + refresh));
}
