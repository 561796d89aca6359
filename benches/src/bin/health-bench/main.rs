//! What `cargo xtask bench health` runs, as root, in a namespace of its own:
//! TCP checks of many backends on the loopback, by ours and its peers, each
//! alone with the same targets. Prints samples; what they amount to is said by
//! xtask.
//!
//! `health-bench TRUNNION PEERS full|quick`, with PEERS the directory of the
//! compiled ones. A sample is a line `CASE SUBJECT METRIC VALUE`. A check is
//! what the kernel counts as a connection begun (`ActiveOpens`), whatever a
//! subject says of itself.

mod subject;
mod targets;
mod watch;

use std::path::PathBuf;
use std::time::Duration;
use subject::{Load, Subject};
use trunnion_tests::lab::LabError;

type Result<T = ()> = trunnion_tests::lab::Result<T>;

/// The programs, and how much of everything.
pub struct Setting {
    /// The binary under test.
    pub trunnion: PathBuf,
    /// Where the compiled peers are.
    pub peers: PathBuf,
    /// How long is measured.
    pub window: Duration,
}

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [trunnion, peers, much] = words.as_slice() else {
        eprintln!("usage: health-bench TRUNNION PEERS full|quick");
        return 2.into();
    };
    let quick = much == "quick";
    let setting = Setting {
        trunnion: trunnion.into(),
        peers: peers.into(),
        window: Duration::from_secs(if quick { 2 } else { 10 }),
    };
    let rounds = if quick { 1 } else { 3 };
    match (0..rounds).try_for_each(|_| round(&setting, quick)) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("health-bench: {error}");
            1.into()
        }
    }
}

fn round(setting: &Setting, quick: bool) -> Result {
    // As fast as they go: more is asked for than anybody can.
    for subject in [Subject::Floor, Subject::Ours] {
        watch::measure(setting, subject, "flat-out", Load::new(20_000, 50))?;
    }
    let steady = Load::new(if quick { 1_000 } else { 10_000 }, 1_000);
    for subject in Subject::CHECKERS {
        watch::measure(setting, subject, "steady", steady)?;
        watch::detect(setting, subject, "steady", steady)?;
    }
    // How memory grows.
    let sizes: &[u32] = if quick {
        &[1_000]
    } else {
        &[1_000, 10_000, 100_000]
    };
    for &backends in sizes {
        for subject in Subject::CHECKERS {
            let case = format!("{backends}");
            watch::measure(setting, subject, &case, Load::new(backends, 5_000))?;
        }
    }
    Ok(())
}

/// Prints one sample.
fn sample(case: &str, subject: Subject, metric: &str, value: f64) {
    println!("{case} {} {metric} {value:.3}", subject.name());
}

fn failed(text: impl Into<String>) -> LabError {
    LabError::new(text)
}
