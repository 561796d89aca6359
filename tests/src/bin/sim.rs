//! The simulator as a program: `cargo xtask sim` runs it.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use trunnion_tests::sim::{Options, run};

const USAGE: &str = "usage: sim [--seed N] [--runs N] [--minutes N] [--trace]";

fn main() -> ExitCode {
    let mut seed = None;
    let mut runs: Option<u64> = None;
    let mut minutes = None;
    let mut trace = false;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse::<u64>().ok());
        let known = match word.as_str() {
            "--seed" => number().map(|n| seed = Some(n)),
            "--runs" => number().map(|n| runs = Some(n)),
            "--minutes" => number().map(|n| minutes = Some(n)),
            "--trace" => {
                trace = true;
                Some(())
            }
            _ => None,
        };
        if known.is_none() {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let first = seed.unwrap_or(random >> 32);
    // One seed is one run; without a limit of any kind a hundred are enough.
    let runs = runs.unwrap_or(match (seed, minutes) {
        (Some(_), None) => 1,
        (_, Some(_)) => u64::MAX,
        (None, None) => 100,
    });
    let begun = Instant::now();
    let enough = minutes.map(|n| Duration::from_secs(60 * n));
    let mut failures = 0_u32;
    for seed in (first..).take(usize::try_from(runs).unwrap_or(usize::MAX)) {
        if enough.is_some_and(|enough| begun.elapsed() >= enough) {
            break;
        }
        let options = Options::draw(seed);
        if runs == 1 {
            print!("{options}");
        }
        match run(&options, trace) {
            Ok(summary) => println!("seed {seed}: {summary}"),
            Err(failure) => {
                println!("{failure}\n");
                failures += 1;
            }
        }
    }
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{failures} runs failed");
        ExitCode::FAILURE
    }
}
