//! The simulator, for as long as a test may take; `cargo xtask sim` runs more.

use std::time::Duration;
use trunnion_core::director::guardian::OnCrash;
use trunnion_tests::sim::{Fault, Options, Summary, run};

fn check(options: &Options) -> Summary {
    run(options, false).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_seed_is_a_run() {
    let options = Options::draw(4);
    assert_eq!(check(&options), check(&options));
    assert_ne!(check(&options).digest, check(&Options::draw(5)).digest);
}

#[test]
fn a_cluster_without_faults_elects_once_and_changes_a_table_once() {
    let mut asked = 0;
    for seed in 0..4 {
        let summary = check(&Options::only(seed, &[]));
        let Summary {
            adverts,
            takeovers,
            changes,
            probes,
            pages,
            ..
        } = summary;
        assert!(adverts > 100 && takeovers > 0, "{summary}");
        assert!(changes > 0 && probes > 50, "{summary}");
        asked += pages;
    }
    assert!(asked > 50, "{asked} pages");
}

/// One kind of fault at a time: what a violation is about is then plain.
fn each_alone(faults: &[Fault]) {
    for fault in faults {
        for seed in 0..2 {
            check(&Options::only(seed, &[*fault]));
        }
    }
}

#[test]
fn processes_come_and_go() {
    each_alone(&[Fault::Crash, Fault::Reboot, Fault::Shutdown, Fault::Pause]);
}

#[test]
fn guardians_resign_and_hold_for_daemons_that_die() {
    let time = Duration::from_secs(4);
    for policy in [OnCrash::Resign, OnCrash::Hold { time }] {
        let mut guarded = 0;
        // Nothing else goes wrong at first, then one thing more.
        let more = [
            None,
            Some(Fault::Pause),
            Some(Fault::Partition),
            Some(Fault::Flap),
        ];
        for (seed, also) in (0..12).zip(more.into_iter().cycle()) {
            let faults: Vec<_> = [Fault::Crash].into_iter().chain(also).collect();
            let mut options = Options::only(seed, &faults);
            options.guardian = Some(policy);
            guarded += check(&options).guarded;
        }
        assert!(guarded > 10, "{policy:?}: {guarded}");
    }
}

#[test]
fn networks_come_and_go() {
    each_alone(&[Fault::Partition, Fault::Flap, Fault::Recreate, Fault::Steal]);
}

/// A kernel that takes no adverts: who cannot speak yields to who can.
#[test]
fn kernels_refuse_what_an_active_says() {
    each_alone(&[Fault::Mute]);
    let more = [Fault::Pause, Fault::Partition, Fault::Reload, Fault::Crash];
    for (seed, also) in (0..8).zip(more.into_iter().cycle()) {
        check(&Options::only(seed, &[Fault::Mute, also]));
    }
}

#[test]
fn configs_backends_and_other_programs_change() {
    each_alone(&[Fault::Writer, Fault::Module, Fault::Reload, Fault::Backend]);
}

/// Two programs insist on one row for ten minutes. Every node looks each 1 to 4
/// s: at that rate each would put it right 150 times or more.
#[test]
fn a_table_that_someone_else_insists_on_is_not_fought_over() {
    for seed in 0..2 {
        let quiet = Options {
            safety: Duration::from_secs(600),
            nodes: 2,
            ..Options::only(seed, &[])
        };
        let rival = Options {
            faults: vec![(Fault::Rival, Duration::from_millis(500))],
            ..quiet.clone()
        };
        let (quiet, rival) = (check(&quiet), check(&rival));
        let more = rival.changes.saturating_sub(quiet.changes);
        // Twice 2 at the first looks, 4 while the waits double, then one for
        // each 16 audits of 1 s at least.
        let most = 2 * (2 + 4 + 600 / 16);
        assert!((8..=most).contains(&more), "{more}: {rival}");
    }
}

/// Operators speak while backends fail: orders are obeyed, weights that rise do
/// not fall, a quorum changes beyond its hysteresis alone, and whoever can serve
/// serves.
#[test]
fn operators_speak_and_policies_hold() {
    each_alone(&[Fault::Operator]);
    let more = [Fault::Backend, Fault::Reload, Fault::Crash, Fault::Pause];
    for (seed, also) in (0..12).zip(more.into_iter().cycle()) {
        check(&Options::only(
            seed,
            &[Fault::Operator, Fault::Backend, also],
        ));
    }
}

#[test]
fn swarm_a() {
    for seed in 0..12 {
        check(&Options::draw(seed));
    }
}

#[test]
fn swarm_b() {
    for seed in 1000..1012 {
        check(&Options::draw(seed));
    }
}
