//! The lab's own program: the demo as a whole, and its parts by hand.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trunnion_tests::demo;
use trunnion_tests::lab::{backend, client, download, pinger};

const HELP: &str = "\
trunnion-lab: the network the demo and the live tests are played in

usage: trunnion-lab demo [--json] [--keep] [--with keepalived]
       trunnion-lab backend NAME [--port PORT]
       trunnion-lab client ADDRESS:PORT [--requests N | --every MS [--for SECS]]
       trunnion-lab download ADDRESS:PORT [--bytes N] [--rate BYTES_PER_SECOND]

demo      builds the lab and plays the scenario; needs root and ip_vs, which
          `cargo xtask demo` provides
  --json              one JSON document at the end instead of the timeline
  --keep              then a shell in the lab
  --with keepalived   the same with keepalived on both nodes, for comparison
backend   answers every request with NAME, on IPv4 and IPv6;
          /slow?bytes=N&rate=R is a long download
client    N requests (200), counted by backend; or one every MS milliseconds
          for SECS seconds (5), and the longest gap between two answers
download  a slow download with every byte checked
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["demo", options @ ..] => demo_options(options).map(|options| demo::run(&options)),
        ["backend", name, options @ ..] => run_backend(name, options),
        ["client", address, options @ ..] => run_client(address, options),
        ["download", address, options @ ..] => run_download(address, options),
        ["--help" | "-h" | "help"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("what to do?".to_owned()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("trunnion-lab: {error}; `trunnion-lab --help` lists the usage");
        ExitCode::from(2)
    })
}

fn demo_options(mut words: &[&str]) -> Result<demo::Options, String> {
    let mut options = demo::Options::default();
    loop {
        words = match words {
            [] => return Ok(options),
            ["--json", rest @ ..] => {
                options.json = true;
                rest
            }
            ["--keep", rest @ ..] => {
                options.keep = true;
                rest
            }
            ["--with", "keepalived", rest @ ..] => {
                options.keepalived = true;
                rest
            }
            [other, ..] => return Err(format!("unknown option {other}")),
        };
    }
}

/// The value of `name` among `--name value` pairs, or the default.
fn option<T: std::str::FromStr>(words: &[&str], name: &str, default: T) -> Result<T, String> {
    let mut found = default;
    for pair in words.chunks(2) {
        match pair {
            [key, value] if *key == name => {
                found = value.parse().map_err(|_| format!("{name} {value}?"))?;
            }
            [_, _] => {}
            _ => return Err(format!("{pair:?} lacks a value")),
        }
    }
    Ok(found)
}

fn known(words: &[&str], names: &[&str]) -> Result<(), String> {
    match words.iter().step_by(2).find(|word| !names.contains(word)) {
        Some(word) => Err(format!("unknown option {word}")),
        None => Ok(()),
    }
}

fn address(word: &str) -> Result<SocketAddr, String> {
    word.parse()
        .map_err(|_| format!("{word} is no ADDRESS:PORT, such as 10.77.0.10:80 or [fd77::10]:80"))
}

fn run_backend(name: &str, options: &[&str]) -> Result<ExitCode, String> {
    known(options, &["--port"])?;
    let port = option(options, "--port", 80)?;
    backend::serve(name, port).map_err(|error| format!("port {port}: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn run_client(word: &str, options: &[&str]) -> Result<ExitCode, String> {
    known(options, &["--requests", "--every", "--for"])?;
    let address = address(word)?;
    let every = option(options, "--every", 0u64)?;
    let tally = if every == 0 {
        let count = option(options, "--requests", 200)?;
        client::requests(address, count, Duration::from_secs(1))
    } else {
        let length = Duration::from_secs(option(options, "--for", 5)?);
        let start = Instant::now();
        let period = Duration::from_millis(every);
        let pinger = pinger::Pinger::start_here(address, period, Duration::from_millis(400));
        std::thread::sleep(length);
        let gap = pinger.gap(start, Instant::now());
        println!(
            "longest gap {} ms, own lateness at most {} ms",
            gap.longest.as_millis(),
            gap.own_lateness.as_millis()
        );
        gap.tally
    };
    println!("{tally}");
    Ok(ExitCode::from(u8::from(tally.failed() > 0)))
}

fn run_download(word: &str, options: &[&str]) -> Result<ExitCode, String> {
    known(options, &["--bytes", "--rate"])?;
    let bytes = option(options, "--bytes", 1_000_000)?;
    let rate = option(options, "--rate", 200_000)?;
    let outcome = download::download(address(word)?, bytes, rate, &download::Progress::default());
    println!("{outcome}");
    Ok(ExitCode::from(u8::from(!outcome.complete())))
}
