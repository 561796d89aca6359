//! What many verdicts at once cost, which rates they keep, and what a restart
//! makes of the weights it finds.

use super::*;
use trunnion_core::check::HealthState;
use trunnion_core::check::probe::outside::Errand;
use trunnion_core::check::probe::{ScriptId, Scripts, Spec};
use trunnion_core::director::ha::TrackState;
use trunnion_core::director::plan::OperatorState;

/// The fourth backend of every service: a rack of its own.
fn rack() -> Vec<IpAddr> {
    (0..SERVICES).map(|at| address_of(EACH * at + 3)).collect()
}

fn drained(stage: &Stage) -> usize {
    let rows = stage.kernel.rows.iter().flat_map(|row| &row.destinations);
    rows.filter(|d| d.weight == 0).count()
}

/// 500 backends, each of another service, fail in one instant: as many datagrams
/// as 500 requests fill.
#[test]
fn a_rack_that_dies_at_once_is_one_batch() {
    let mut stage = Stage::new();
    let mut plan = Plan::new(true);
    for check in &mut plan.checks {
        check.timeout = check.interval * 2;
    }
    stage.take(&plan);
    stage.run(Duration::from_secs(10));
    assert_eq!(drained(&stage), 0);
    // All are asked, and none has answered yet.
    stage.silent = rack();
    stage.flying.clear();
    let asked = |stage: &Stage| stage.flying.len() == SERVICES;
    while !asked(&stage) {
        stage.run(Duration::from_millis(10));
        assert_eq!(drained(&stage), 0, "{} asked", stage.flying.len());
    }
    let before = stage.counters();
    for socket in std::mem::take(&mut stage.flying) {
        stage.lb.handle_failed(stage.now, socket, Errno(104));
    }
    stage.silent.clear();
    stage.dead = rack();
    stage.run(Duration::from_millis(60));
    let after = stage.counters();
    assert_eq!(drained(&stage), SERVICES);
    assert_eq!(after.set_dest - before.set_dest, SERVICES as u64);
    assert_eq!(after.datagrams - before.datagrams, batches(SERVICES));
}

/// A rack dies, and each of its backends is found in its own time within an
/// interval of five seconds: a datagram for each wait, not for each verdict. One
/// backend alone waits for nobody.
#[test]
fn a_rack_that_is_found_dead_in_an_interval_takes_a_datagram_for_each_wait() {
    let mut stage = Stage::new();
    stage.take(&Plan::new(true));
    stage.run(Duration::from_secs(10));
    let before = stage.counters();
    stage.dead = rack();
    stage.run(Duration::from_secs(6));
    let after = stage.counters();
    assert_eq!(drained(&stage), SERVICES);
    let datagrams = after.datagrams - before.datagrams;
    // 5 s in waits of 50 ms.
    assert!(datagrams <= 101, "{datagrams}");

    let alone = address_of(EACH * 7 + 5);
    stage.dead.push(alone);
    let seen = |stage: &Stage| drained(stage) == SERVICES + 1;
    let mut failed_at = None;
    while !seen(&stage) {
        let failures = stage.lb.engine().counters().went_down;
        stage.run(Duration::from_millis(1));
        if stage.lb.engine().counters().went_down > failures {
            failed_at = Some(stage.now);
        }
    }
    assert_eq!(failed_at, Some(stage.now), "it waited");
}

/// A service's own rate, and that of an address with ten ports; others are asked
/// as often as ever.
#[test]
fn rates_are_of_services_and_of_addresses() {
    let mut plan = Plan::new(true);
    plan.policies[7].checks_per_second = 1;
    plan.backend_checks_per_second = 4;
    for (port, at) in (80..).zip(EACH * 9..EACH * 10) {
        let address = address_of(EACH * 9);
        plan.destinations[at].key = DestinationKey { address, port };
        plan.checks[at].target = SocketAddr::new(address, port);
        plan.checks[at].interval = Duration::from_secs(1);
    }
    let mut stage = Stage::new();
    stage.take(&plan);
    stage.run(Duration::from_secs(20));
    stage.asked.clear();
    for _ in 0..20 {
        stage.run(Duration::from_secs(1));
        // A reload that changes nothing lets nobody start sooner.
        stage.take(&plan);
    }
    let of = |service: usize| -> u64 {
        let each = (0..EACH).map(|n| address_of(service * EACH + n));
        each.filter_map(|address| stage.asked.get(&address)).sum()
    };
    assert!((19..=21).contains(&of(7)), "{} at 1 a second", of(7));
    assert!((78..=81).contains(&of(9)), "{} at 4 a second", of(9));
    assert!((39..=41).contains(&of(8)), "{} without need", of(8));
    let counters = stage.lb.engine().counters();
    assert!(counters.paced > 100);
    assert_eq!(counters.went_down, 0);
}

/// Reloads that put a backend in front, and take it away again, move every check and
/// no rate: nobody starts sooner, and nobody waits for another.
#[test]
fn a_reload_moves_no_rate_to_another() {
    let mut plan = Plan::new(true);
    plan.backend_checks_per_second = 4;
    for (port, at) in (80..).zip(EACH * 9..EACH * 10) {
        let address = address_of(EACH * 9);
        plan.destinations[at].key = DestinationKey { address, port };
        plan.checks[at].target = SocketAddr::new(address, port);
        plan.checks[at].interval = Duration::from_secs(1);
    }
    let mut other = Plan::new(true);
    other.backend_checks_per_second = 4;
    other.checks = plan.checks[1..].to_vec();
    other.destinations = plan.destinations[1..].to_vec();
    other.links.pop();
    other.services[0].count -= 1;
    for service in &mut other.services[1..] {
        service.first -= 1;
    }
    let mut stage = Stage::new();
    stage.take(&plan);
    stage.run(Duration::from_secs(20));
    stage.asked.clear();
    for n in 0..40 {
        stage.run(Duration::from_millis(500));
        stage.take(if n % 2 == 0 { &other } else { &plan });
    }
    let asked = |at: usize| stage.asked.get(&address_of(at)).copied().unwrap_or(0);
    let limited = asked(EACH * 9);
    assert!((78..=81).contains(&limited), "{limited} at 4 a second");
    for at in (1..EACH * 9).chain(EACH * 10..DESTINATIONS) {
        assert!((4..=5).contains(&asked(at)), "{at}: {}", asked(at));
    }
}

/// A service whose backends are drained and one that shares their checks: after a
/// restart the latter goes on, though checks begin with "down", and nothing is
/// written.
#[test]
fn a_restart_takes_no_word_of_an_operators_for_a_verdict() {
    let mut plan = Plan::new(true);
    plan.members = vec![Member::default(); DESTINATIONS];
    for check in &mut plan.checks {
        check.policy.initial = HealthState::Down;
    }
    for at in 0..EACH {
        plan.members[at].operator = OperatorState::Drain;
        plan.destinations[EACH + at].key = plan.destinations[at].key;
        plan.links[EACH + at] = plan.links[at];
    }
    let mut stage = Stage::new();
    stage.serve(&plan);
    for destination in &mut stage.kernel.rows[0].destinations {
        destination.weight = 0;
    }
    stage.take(&plan);
    assert!(stage.kernel.tried.is_empty(), "{:?}", stage.kernel.tried);
    assert!(stage.lb.is_ready());
    stage.run(Duration::from_secs(10));
    assert!(stage.kernel.tried.is_empty(), "{:?}", stage.kernel.tried);
}

/// The checks of the first service read files, of which nothing is known before
/// they are read: until then each backend keeps what an earlier run gave it. Then it
/// has what the file says, or goes on from there in its slow start.
#[test]
fn a_restart_keeps_the_weights_that_targets_advised() {
    let ms = Duration::from_millis;
    let mut words = [0; 16];
    let file = Spec::Errand(Errand::File(b"/weight"));
    let len = file.write(None, &mut words).unwrap();
    let script = ScriptId::of(&words[..len]);
    let mut plan = Plan::new(true);
    plan.scripts = vec![0; Scripts::words_for(1, len)];
    Scripts::write(&[(script, &words[..len])], &mut plan.scripts).unwrap();
    for check in &mut plan.checks[..EACH] {
        check.kind = Kind::Errand(script);
    }
    for (held, says, slow_start, expect) in [
        (2, &b"2"[..], ms(0), &[][..]),
        (9, b"9", ms(0), &[]),
        (5, b"5", ms(0), &[]),
        (2, b"3", ms(0), &[3]),
        (4, b"0", ms(0), &[0]),
        (2, b"4", ms(16_000), &[3, 4]),
    ] {
        plan.policies[0].slow_start = slow_start;
        let mut stage = Stage::new();
        stage.content = says;
        stage.serve(&plan);
        for destination in &mut stage.kernel.rows[0].destinations {
            destination.weight = held;
        }
        stage.take(&plan);
        assert!(stage.kernel.tried.is_empty(), "{held}: before it was read");
        stage.run(ms(20_000));
        let mut given: Vec<u32> = Vec::new();
        for tried in &stage.kernel.tried {
            let Op::SetDestination(_, row) = tried.op else {
                panic!("{:?}", tried.op);
            };
            if given.last() != Some(&row.weight) {
                given.push(row.weight);
            }
        }
        given.dedup();
        assert_eq!(given, expect, "{held} was held, {says:?} is in the file");
    }
}

/// Of what an earlier run has left everything is presumed to be up, no check has
/// anything to add, and a router that tracks the service must hear of it.
#[test]
fn whoever_tracks_a_service_hears_of_what_a_restart_found() {
    let plan = Plan::new(true);
    let mut stage = Stage::new();
    stage.serve(&plan);
    stage.lb.handle_plan(stage.now, &plan.plan()).unwrap();
    let before = stage.lb.health_version();
    assert_eq!(stage.lb.quorum(7, 1), TrackState::Unknown);
    stage.settle();
    assert_eq!(stage.lb.quorum(7, 1), TrackState::Up);
    assert_ne!(stage.lb.health_version(), before);
    let found = stage.lb.health_version();
    stage.run(Duration::from_secs(10));
    assert_eq!(stage.lb.health_version(), found, "nothing else tells it");
}

#[test]
fn whoever_tracks_a_service_hears_of_an_operators_word() {
    let plan = Plan::new(true);
    let mut stage = Stage::new();
    stage.take(&plan);
    stage.run(Duration::from_secs(6));
    let each = u32::try_from(EACH).unwrap();
    let mut quorum = each;
    for (state, loses) in [
        (OperatorState::ForcedDown, 1),
        (OperatorState::Ready, 0),
        (OperatorState::Drain, 1),
        (OperatorState::Maint, 1),
        (OperatorState::ForcedUp, 0),
    ] {
        assert_eq!(stage.lb.quorum(7, quorum), TrackState::Up);
        let before = stage.lb.health_version();
        let key = plan.destinations[7 * EACH].key;
        let service = service_of(7).key;
        let done = stage.lb.handle_operator(stage.now, &service, &key, state);
        assert!(done);
        assert_ne!(stage.lb.health_version(), before, "{state:?}");
        quorum = each - loses;
        assert_eq!(stage.lb.quorum(7, quorum), TrackState::Up, "{state:?}");
        assert_eq!(
            stage.lb.quorum(7, quorum + 1),
            TrackState::Down,
            "{state:?}"
        );
    }
}

#[test]
fn a_node_is_ready_when_there_is_nothing_to_wait_for() {
    // What begins with "down" has not been asked.
    let mut plan = Plan::new(true);
    for check in &mut plan.checks {
        check.policy.initial = HealthState::Down;
    }
    let mut stage = Stage::new();
    stage.take(&plan);
    assert!(!stage.lb.is_ready());
    stage.run(Duration::from_secs(6));
    assert!(stage.lb.is_ready());
    // In maintenance nobody is asked, and nobody is waited for.
    let maint = Member {
        operator: OperatorState::Maint,
        sorry: false,
    };
    plan.members = vec![maint; DESTINATIONS];
    let mut stage = Stage::new();
    stage.take(&plan);
    assert!(stage.lb.is_ready());
    stage.run(Duration::from_secs(6));
    assert_eq!(stage.lb.engine().counters().started, 0);
}
