//! Rows that the kernel refuses, for good.

use super::*;
use trunnion_core::director::plan::{SyncPlan, SyncRoles};
use trunnion_core::model::{SchedulerName, SyncDaemon, SyncState};

/// The kernel knows no scheduler of the second service.
fn missing(pair: &mut Pair, plan: &mut Plan) {
    let scheduler: SchedulerName = "mh".try_into().unwrap();
    plan.services[1].service.scheduler = scheduler.clone();
    pair.kernel.missing = Some(scheduler);
}

#[test]
fn a_refused_row_keeps_no_daemon_from_its_turn() {
    let mut pair = Pair::new();
    let mut plan = plan(&[(1, &[1, 2]), (2, &[3, 4])], false);
    missing(&mut pair, &mut plan);
    let daemon = SyncDaemon::new(SyncState::MASTER, "eth1".try_into().unwrap(), 1);
    for (sends, hears) in [(true, false), (false, true)] {
        plan.sync = Some(SyncPlan {
            daemon: daemon.clone(),
            roles: SyncRoles::Fixed { sends, hears },
        });
        pair.take(&plan);
        pair.run(Duration::from_secs(5));
        let runs = pair.kernel.daemons.each_ref().map(Option::is_some);
        assert_eq!(runs, [sends, hears], "{:?}", pair.said);
        assert_eq!(pair.held(1), [(1, 5), (2, 5)]);
        assert_eq!(pair.held(2), []);
    }
}

/// The table rests without it, a verdict costs what it does else, and the log is
/// not filled.
#[test]
fn a_refused_service_costs_the_others_nothing() {
    let mut pair = Pair::new();
    let mut plan = plan(&[(1, &[1, 2]), (2, &[3, 4]), (3, &[5, 6])], true);
    missing(&mut pair, &mut plan);
    pair.take(&plan);
    pair.run(Duration::from_secs(20));
    assert_eq!(pair.held(1), [(1, 5), (2, 5)]);
    assert!(pair.lb.is_ready() && !pair.lb.is_settled());
    assert_eq!(pair.told("NEW_DEST"), 0, "{:?}", pair.said);
    let named = pair.told("NEW_SERVICE");
    assert!(named < 8, "{:?}", pair.said);
    let before = *pair.lb.kernel_counters();
    for round in 0..8 {
        pair.dead = if round % 2 == 0 {
            vec![address(6)]
        } else {
            vec![]
        };
        pair.run(Duration::from_secs(6));
        let weight = if round % 2 == 0 { 0 } else { 5 };
        assert_eq!(pair.held(3), [(5, 5), (6, weight)]);
    }
    let after = *pair.lb.kernel_counters();
    assert_eq!(after.set_dest - before.set_dest, 8);
    // It is tried again every half minute at most.
    assert!(after.dumps - before.dumps <= 4, "{before:?} {after:?}");
    assert!(after.new_service - before.new_service <= 4, "{after:?}");
    assert!(pair.told("NEW_SERVICE") <= named + 4);
    // Once there is what it wants it comes by itself.
    pair.kernel.missing = None;
    pair.run(Duration::from_secs(31));
    assert_eq!(pair.held(2), [(3, 5), (4, 5)]);
    assert!(pair.lb.is_settled());
}
