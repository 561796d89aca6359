//! `cargo xtask bench`: runs a benchmark by its name.

use crate::failure::{Failure, Result};
use crate::process;
use std::fs;
use std::process::ExitCode;

pub const HELP: &str = "\
usage: cargo xtask bench [NAME] [-- ARGUMENTS]

Runs one benchmark of benches/benches, or all; ARGUMENTS go to criterion
(`-- --save-baseline before`). Times are of this machine; compare only runs on
the same one.
";

/// `cargo xtask bench`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    let names = names()?;
    let mut bench = process::cargo();
    bench.args(["bench", "-p", "trunnion-benches"]);
    match parser.next()? {
        None => {
            bench.arg("--benches");
        }
        Some(lexopt::Arg::Value(name)) => {
            let name = name.to_string_lossy().into_owned();
            if !names.contains(&name) {
                return Err(Failure::new(format!(
                    "bench: no benchmark {name:?}; there are: {}",
                    names.join(", ")
                )));
            }
            bench.args(["--bench", &name]);
        }
        Some(other) => return Err(other.unexpected().into()),
    }
    let rest: Vec<_> = parser.raw_args()?.skip_while(|word| word == "--").collect();
    process::run(bench.arg("--").args(rest))?;
    Ok(ExitCode::SUCCESS)
}

/// The names of the benchmarks: the files of benches/benches.
fn names() -> Result<Vec<String>> {
    let dir = process::root().join("benches/benches");
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Failure::io("cannot list", &dir))? {
        let entry = entry.map_err(Failure::io("cannot list", &dir))?;
        if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(".rs") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
