//! What a reload does to the clients of a service, before its checks have said
//! anything.

use super::*;

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
