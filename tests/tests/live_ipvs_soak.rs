//! The soak, for as long as a test may take; `cargo xtask soak ipvs` runs more.
//! In the VM.

#![allow(clippy::unwrap_used, reason = "a test's panic is its verdict")]

use trunnion_sys::netns::unshare_network;
use trunnion_tests::soak::{Options, run};

#[test]
#[ignore = "runs in the VM: cargo xtask test"]
fn twenty_thousand_operations_end_as_the_model_says() {
    unshare_network().unwrap();
    let options = Options {
        operations: 20_000,
        check_every: 2_000,
        reload_every: 4,
        seed: 1,
    };
    let report = run(options, |_| {});
    println!("{report:?}");
    assert!(report.checks >= 9 && report.reloads >= 2, "{report:?}");
    assert!(report.unknown > 0 && report.drifts > 0, "{report:?}");
    assert!(report.refused > 1000, "{report:?}");
}
