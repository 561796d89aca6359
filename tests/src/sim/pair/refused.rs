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
