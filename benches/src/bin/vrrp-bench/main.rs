//! What `cargo xtask bench vrrp` runs, as root, in namespaces of its own:
//! adverts, fail-overs, reloads and many routers, ours and keepalived's, beside
//! a bare control program. Prints samples; what they amount to is said by
//! xtask.
//!
//! `vrrp-bench TRUNNION METRONOME PART ROUNDS|quick`. A sample is a line
//! `CASE SUBJECT METRIC VALUE`, microseconds unless the metric says other.
//! Times are those that the kernel gave the packets on the switch.

mod addresses;
mod adverts;
mod capture;
mod failover;
mod load;
mod many;
mod reload;
mod subject;
mod wires;

use std::path::PathBuf;

type Result<T = ()> = trunnion_tests::lab::Result<T>;

/// The programs, and how much of everything.
pub struct Setting {
    /// The binary under test.
    pub trunnion: PathBuf,
    /// The control.
    pub metronome: PathBuf,
    /// So little that only a benchmark that fails is seen.
    pub quick: bool,
    /// How often adverts are looked at.
    pub rounds: u32,
}

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [trunnion, metronome, part, much] = words.as_slice() else {
        eprintln!("usage: vrrp-bench TRUNNION METRONOME PART ROUNDS|quick");
        return 2.into();
    };
    let setting = Setting {
        trunnion: trunnion.into(),
        metronome: metronome.into(),
        quick: much == "quick",
        rounds: much.parse().unwrap_or(1),
    };
    let done = match part.as_str() {
        "adverts" => adverts::run(&setting),
        "failover" => failover::run(&setting),
        "reload" => reload::run(&setting),
        "many" => many::run(&setting),
        "addresses" => addresses::run(&setting),
        other => Err(trunnion_tests::lab::LabError::new(format!(
            "no part {other:?}"
        ))),
    };
    match done {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("vrrp-bench: {error}");
            1.into()
        }
    }
}

/// Prints one sample.
fn sample(case: &str, subject: &str, metric: &str, value: f64) {
    println!("{case} {subject} {metric} {value:.3}");
}
