//! The soak as a program: `cargo xtask soak` runs it in the VM.

use std::process::ExitCode;
use std::time::Instant;
use trunnion_sys::netns::unshare_network;
use trunnion_tests::soak::{Options, run};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (Some(operations), Some(seed)) = (number(), number()) else {
        eprintln!("usage: soak OPERATIONS SEED");
        return ExitCode::FAILURE;
    };
    if let Err(error) = unshare_network() {
        eprintln!("a network namespace: {error}");
        return ExitCode::FAILURE;
    }
    let options = Options {
        operations,
        check_every: (operations / 20).clamp(1000, 50_000),
        reload_every: 5,
        seed,
    };
    println!("{options:?}");
    let begun = Instant::now();
    let report = run(options, |report| {
        println!("{:7.1} s  {report:?}", begun.elapsed().as_secs_f32());
    });
    println!(
        "{} operations in {:.1} s, the table the model's at {} check points",
        report.operations,
        begun.elapsed().as_secs_f32(),
        report.checks
    );
    ExitCode::SUCCESS
}
