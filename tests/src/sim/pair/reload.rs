//! What a reload does to the clients of a service, before its checks have said
//! anything.

use super::*;
use trunnion_core::check::HealthState;

/// How many clients a service loses at once: weights after each change of the
/// table, summed.
fn weights(pair: &mut Pair, span: Duration) -> Vec<u32> {
    let end = pair.now + span;
    let mut sums = Vec::new();
    while pair.now < end {
        pair.run(Duration::from_millis(10));
        sums.push(pair.held(1).iter().map(|(_, weight)| weight).sum());
    }
    sums
}

#[test]
fn the_first_verdict_of_many_takes_no_clients_from_the_others() {
    let mut pair = Pair::new();
    pair.take(&plan(&[(1, &[1, 2, 3, 4])], true));
    pair.run(Duration::from_secs(6));
    for backends in [
        // All are others, and then all but one.
        [5, 6, 7, 8],
        [5, 1, 2, 3],
    ] {
        pair.take(&plan(&[(1, &backends)], true));
        let sums = weights(&mut pair, Duration::from_secs(6));
        assert!(sums.iter().all(|sum| *sum == 20), "{backends:?}: {sums:?}");
    }
}

/// Nobody goes, so that whoever is new can wait for its verdict.
#[test]
fn who_joins_others_waits_for_its_verdict() {
    let mut pair = Pair::new();
    pair.take(&plan(&[(1, &[1, 2])], true));
    pair.run(Duration::from_secs(6));
    pair.dead = vec![address(3), address(4)];
    pair.take(&plan(&[(1, &[1, 2, 3])], true));
    let sums = weights(&mut pair, Duration::from_secs(6));
    assert!(sums.iter().all(|sum| *sum == 10), "{sums:?}");
    // One that was trusted for want of a verdict loses its clients by its own.
    pair.take(&plan(&[(1, &[4, 5])], true));
    pair.run(Duration::from_secs(6));
    assert_eq!(pair.held(1), [(4, 0), (5, 5)]);
}

/// A service of another program is declared: who had no clients gets none before
/// the first verdict, and the others keep theirs.
#[test]
fn a_service_that_is_taken_over_keeps_its_weights() {
    for declared_only in [true, false] {
        let mut pair = Pair::new();
        let mut ours = plan(&[(1, &[1])], true);
        ours.declared_only = declared_only;
        pair.take(&ours);
        pair.run(Duration::from_secs(6));
        pair.serve(2, &[(2, 5), (3, 0), (4, 2)]);
        if declared_only {
            // It was seen, and left alone.
            pair.run(AUDIT + Duration::from_secs(1));
        }
        let mut both = plan(&[(1, &[1]), (2, &[2, 3, 4])], true);
        both.declared_only = declared_only;
        pair.dead = vec![address(3)];
        pair.take(&both);
        let kept = [(2, 5), (3, 0), (4, 5)];
        if declared_only {
            assert_eq!(pair.held(2), kept, "{:?}", pair.said);
            let states = [1, 2, 3].map(|at| pair.lb.status(at).unwrap().health.state());
            let [up, down] = [HealthState::Up, HealthState::Down];
            assert_eq!(states, [up, down, up], "{:?}", pair.said);
            assert_eq!(pair.told("errno"), 0, "{:?}", pair.said);
        }
        pair.run(Duration::from_secs(6));
        assert_eq!(pair.held(2), kept, "{:?}", pair.said);
        // What was made by us is no verdict of others.
        let mut all = plan(&[(1, &[1]), (2, &[2, 3, 4]), (3, &[5, 6])], true);
        all.declared_only = declared_only;
        pair.take(&all);
        pair.lb.handle_ipvs_lost(pair.now, "lost");
        pair.run(Duration::ZERO);
        assert_eq!(pair.held(3), [(5, 0), (6, 0)]);
        assert_eq!(pair.told("10.2.0.5"), 0, "{:?}", pair.said);
    }
}

#[test]
fn a_table_that_becomes_ours_is_ours_at_once() {
    let mut pair = Pair::new();
    pair.serve(2, &[(2, 5)]);
    let mut plan = plan(&[(1, &[1])], false);
    plan.declared_only = true;
    pair.take(&plan);
    assert_eq!(pair.held(2), [(2, 5)]);
    plan.declared_only = false;
    pair.take(&plan);
    assert!(pair.kernel.row(&key(2)).is_none(), "{:?}", pair.said);
    assert_eq!(pair.held(1), [(1, 5)]);
}
