//! How often all routers are looked at.

use super::kernel::{Kernel, link, planned, run_with, turn_with};
use super::*;
use crate::director::plan::{Track, TrackName, TrackSource, TrackUse};

const NOW: Instant = Instant::ZERO;

#[test]
fn links_that_no_plan_names_concern_nobody() {
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut ha = planned(&mut room, &mut kernel, 100, &[&[]]);
    turn_with(&mut ha, &mut kernel, NOW);
    let before = (ha.will_version(), ha.interfaces_version());
    for running in [true, false, true] {
        ha.handle_route(NOW, &link("veth7", MAC, running, 0, false));
        assert_eq!(ha.unsettled_since, None);
    }
    // The same once more is no news either.
    ha.handle_route(NOW, &link("eth0", MAC, true, 0, false));
    assert_eq!(ha.unsettled_since, None);
    assert_eq!((ha.will_version(), ha.interfaces_version()), before);
    ha.handle_route(NOW, &link("eth0", MAC, false, 0, false));
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

#[test]
fn an_interface_with_another_hardware_address_announces_anew() {
    let vip = IpAddr::from([198, 51, 100, 1]);
    let (mut room, mut kernel) = (Room::new(1, 1), Kernel::new());
    let mut ha = planned(&mut room, &mut kernel, 255, &[&[vip]]);
    let long = Instant::ZERO + crate::time::Duration::from_secs(60);
    run_with(&mut ha, &mut kernel, NOW, long);
    let before = ha.counters().announcements;
    kernel.mac = crate::wire::MacAddress([2, 0, 0, 0, 0, 9]);
    kernel.set_running(&mut ha, long, true);
    let mut frame = [0; 96];
    ha.handle_timeout(long);
    let said = ha.poll_announcement(long, &mut frame).map(|out| out.len);
    assert!(said.is_some() && ha.counters().announcements > before);
    assert_eq!(frame[6..12], kernel.mac.0);
}
