//! How often all routers are looked at.

use super::kernel::{Kernel, link, planned, turn_with};
use super::*;
use crate::director::plan::{Track, TrackName, TrackSource, TrackUse};

const NOW: Instant = Instant::ZERO;

#[test]
fn links_that_no_plan_names_concern_nobody() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[]]);
    turn_with(&mut ha, &mut kernel, NOW);
    let before = (ha.will_version(), ha.interfaces_version());
    for index in 10..100 {
        for running in [true, false] {
            ha.handle_route(NOW, &link("veth7", index, running, 0, false));
            assert_eq!(ha.unsettled_since, None);
        }
    }
    // The same once more is no news either.
    ha.handle_route(NOW, &link("eth0", 2, true, 0, false));
    assert_eq!(ha.unsettled_since, None);
    assert_eq!((ha.will_version(), ha.interfaces_version()), before);
    ha.handle_route(NOW, &link("eth0", 2, false, 0, false));
    assert!(ha.unsettled_since.is_some());
    assert!(ha.poll_timeout().is_some_and(|at| at <= NOW));
    turn(&mut ha, NOW);
    assert!(!ha.instances()[0].started);
}

#[test]
fn what_is_found_out_at_one_time_is_weighed_once() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut planned = instance(1);
    for track in 0..2 {
        let weight = 10;
        let used = TrackUse {
            track,
            weight,
            reverse: false,
        };
        planned.tracks.push(used).unwrap();
    }
    let tracks = [0, 1].map(|cell| Track {
        name: TrackName::try_from("t").unwrap(),
        source: TrackSource::Cell(cell),
    });
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &[planned],
        tracks: &tracks,
        ..HaPlan::default()
    };
    ha.handle_plan(NOW, &plan, &[]).unwrap();
    turn_with(&mut ha, &mut kernel, NOW);
    turn_with(&mut ha, &mut kernel, NOW);
    let before = ha.will_version();
    ha.handle_track(NOW, 0, TrackState::Up);
    ha.handle_track(NOW, 1, TrackState::Up);
    turn(&mut ha, NOW);
    assert_eq!(ha.instances()[0].router.config().priority, 120);
    assert_eq!(ha.will_version(), before + 1);
}
