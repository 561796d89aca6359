//! Rows that are hidden, left over, or somebody else's.

use super::*;

/// Of a table that fills what `[limits]` allow someone takes a row out: what is
/// left is read twice, and is no more rows for that.
#[test]
fn a_full_table_with_a_row_less_is_read_and_mended() {
    let mut pair = Pair::new();
    let all: Vec<u8> = (1..=8).collect();
    // What an old plan had is there still, by a pass that was broken off.
    pair.serve(1, &[(11, 5), (12, 5), (13, 5), (14, 5), (15, 5), (16, 5)]);
    pair.take(&plan(&[(1, &all)], false));
    let whole: Vec<_> = all.iter().map(|last| (*last, 5)).collect();
    assert_eq!(pair.held(1), whole);
    for last in 21..=28 {
        pair.meddle(&Op::NewDestination(key(1), destination(last, 1)));
    }
    pair.meddle(&Op::DeleteDestination(key(1), destination(3, 5).key));
    pair.run(AUDIT + Duration::from_secs(1));
    assert_eq!(pair.held(1), whole, "{:?}", pair.said);
    assert_eq!(pair.told("no room"), 0, "{:?}", pair.said);
}

/// A send that fails wakes nobody: what is to be tried again says so itself.
#[test]
fn a_request_that_the_kernel_did_not_take_is_sent_again() {
    let mut pair = Pair::new();
    pair.kernel.faults.send = 1000;
    pair.take(&plan(&[(1, &[1])], false));
    pair.kernel.faults.send = 0;
    pair.run(Duration::from_millis(1));
    assert_eq!(pair.held(1), [(1, 5)]);
}

#[test]
fn a_row_of_no_known_protocol_is_left_alone() {
    for declared_only in [true, false] {
        let mut pair = Pair::new();
        pair.kernel.odd = true;
        let mut plan = plan(&[(1, &[1])], false);
        plan.declared_only = declared_only;
        pair.take(&plan);
        assert_eq!(pair.held(1), [(1, 5)], "{:?}", pair.said);
        assert_eq!(pair.lb.strangers(), 1);
        assert!(pair.lb.is_settled());
    }
}
