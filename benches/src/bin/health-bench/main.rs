//! What `cargo xtask bench health` runs, as root, in a namespace of its own:
//! TCP and HTTP checks of many backends on the loopback, by ours and its peers, each
//! alone with the same targets. Prints samples; what they amount to is said by
//! xtask.
//!
//! `health-bench TRUNNION PEERS ROUNDS|quick`, with PEERS the directory of the
//! compiled ones, `health-bench TRUNNION soak SECONDS SEED`, or for our memory
//! alone `health-bench TRUNNION memory BACKENDS…`. A sample is a line `CASE
//! SUBJECT METRIC VALUE`. A check is what the kernel counts as a connection begun
//! (`ActiveOpens`), whatever a subject says of itself.

mod soak;
mod subject;
mod targets;
mod watch;

use std::path::PathBuf;
use std::time::Duration;
use subject::{Load, Subject};
use trunnion_tests::lab::LabError;

type Result<T = ()> = trunnion_tests::lab::Result<T>;

/// How long a subject may take to start with a hundred thousand backends.
const PATIENCE: Duration = Duration::from_secs(120);

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
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let setting = |trunnion: &str, peers: &str, window_s| Setting {
        trunnion: trunnion.into(),
        peers: peers.into(),
        window: Duration::from_secs(window_s),
    };
    let result = match words.as_slice() {
        [trunnion, "soak", seconds, seed] => match (seconds.parse(), seed.parse()) {
            (Ok(seconds), Ok(seed)) => {
                let length = Duration::from_secs(seconds);
                soak::run(&setting(trunnion, "", 0), length, seed)
            }
            _ => Err(failed("soak takes whole numbers: SECONDS SEED")),
        },
        [trunnion, "memory", sizes @ ..] => sizes.iter().try_for_each(|size| match size.parse() {
            Ok(size) => watch::memory(&setting(trunnion, "", 0), Load::new(size, 5_000)),
            Err(_) => Err(failed("memory takes whole numbers: BACKENDS…")),
        }),
        [trunnion, peers, "quick"] => round(&setting(trunnion, peers, 2), true),
        [trunnion, peers, rounds] => match rounds.parse() {
            Ok(rounds) => {
                let setting = setting(trunnion, peers, 10);
                (0_u32..rounds).try_for_each(|_| round(&setting, false))
            }
            Err(_) => Err(failed("ROUNDS is a whole number")),
        },
        _ => {
            eprintln!(
                "usage: health-bench TRUNNION (PEERS ROUNDS|quick | soak SECONDS SEED | memory BACKENDS…)"
            );
            return 2.into();
        }
    };
    match result {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("health-bench: {error}");
            1.into()
        }
    }
}

fn round(setting: &Setting, quick: bool) -> Result {
    // As fast as they go: more is asked for than anybody can.
    for subject in Subject::FLAT_OUT {
        watch::measure(setting, subject, "flat-out", Load::new(20_000, 50))?;
    }
    let steady = Load::new(if quick { 1_000 } else { 10_000 }, 1_000);
    for subject in Subject::CHECKERS {
        or_said(subject, "steady", || {
            watch::measure(setting, subject, "steady", steady)?;
            watch::detect(setting, subject, "steady", steady)
        })?;
    }
    for subject in Subject::CHECKERS {
        if subject == Subject::OursFull {
            continue;
        }
        or_said(subject, "http", || {
            watch::measure(setting, subject, "http", steady.http())
        })?;
    }
    // How memory grows.
    let sizes: &[u32] = if quick {
        &[1_000]
    } else {
        &[1_000, 10_000, 100_000]
    };
    for &backends in sizes {
        for subject in Subject::CHECKERS {
            if subject == Subject::OursFull {
                continue;
            }
            let case = format!("{backends}");
            let load = Load::new(backends, 5_000);
            or_said(subject, &case, || {
                watch::measure(setting, subject, &case, load)
            })?;
        }
    }
    Ok(())
}

/// Measures. A peer that cannot do it, at that size or here, is said to be so, and
/// what the others do is not lost for it.
fn or_said(subject: Subject, case: &str, measure: impl FnOnce() -> Result) -> Result {
    match measure() {
        Err(error) if !subject.is_ours() => {
            eprintln!("health-bench: {case}: {error}");
            sample(case, subject, UNMEASURED, 1.0);
            Ok(())
        }
        measured => measured,
    }
}

/// The metric of who was not measured.
const UNMEASURED: &str = "unmeasured";

/// Prints one sample.
fn sample(case: &str, subject: Subject, metric: &str, value: f64) {
    println!("{case} {} {metric} {value:.3}", subject.name());
}

fn failed(text: impl Into<String>) -> LabError {
    LabError::new(text)
}
