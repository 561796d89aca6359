//! `cargo xtask bench`: runs a benchmark by its name.

mod encode;
mod health;
mod ipvs;
mod plot;
mod report;
mod samples;
mod start;
mod vrrp;

use crate::failure::{Failure, Result};
use crate::process;
use std::fs;
use std::process::ExitCode;

pub const HELP: &str = "\
usage: cargo xtask bench [NAME] [--quick | --rounds N] [-- ARGUMENTS]

Without a NAME it lists the benchmarks. `criterion` runs all of
benches/benches, a file's name one of them; ARGUMENTS go to criterion
(`-- --save-baseline before`). The others compare us with peers, print a table
with a goal on each row, and write target/bench/NAME.json.

  --quick      of those, so little that only a benchmark that fails is seen
  --rounds N   of those, N rounds instead of each one's own number

Times are of this machine; compare only runs on the same one.
";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// So little that only a benchmark that fails is seen.
    Quick,
    /// All of it, in as many rounds, or in the benchmark's own number of them.
    Full(Option<u32>),
}

impl Effort {
    fn is_quick(self) -> bool {
        self == Self::Quick
    }

    /// How many rounds, where the benchmark's own number is `own`.
    fn rounds(self, own: u32) -> u32 {
        match self {
            Self::Quick => 1,
            Self::Full(rounds) => rounds.unwrap_or(own).max(1),
        }
    }

    /// As a word for a program that takes rounds.
    fn word(self, own: u32) -> String {
        match self {
            Self::Quick => "quick".to_owned(),
            Self::Full(_) => self.rounds(own).to_string(),
        }
    }
}

/// A benchmark against peers: its name, what it says of itself, what it does.
type Named = (&'static str, &'static str, fn(Effort) -> Result);

const NAMED: &[Named] = &[
    ("encode", encode::ABOUT, encode::main),
    ("ipvs", ipvs::ABOUT, ipvs::main),
    ("start", start::ABOUT, start::main),
    ("health", health::ABOUT, health::main),
    ("vrrp", vrrp::ABOUT, vrrp::main),
];

/// All of criterion's.
const CRITERION: &str = "criterion";

/// `cargo xtask bench`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let name = match parser.next()? {
        None => {
            print!("{}", list()?);
            return Ok(ExitCode::SUCCESS);
        }
        Some(Value(name)) => name.to_string_lossy().into_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    if let Some((_, _, run)) = NAMED.iter().find(|(named, ..)| *named == name) {
        let mut effort = Effort::Full(None);
        while let Some(arg) = parser.next()? {
            match arg {
                Long("quick") => effort = Effort::Quick,
                Long("rounds") => effort = Effort::Full(Some(parser.value()?.parse()?)),
                other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
            }
        }
        run(effort)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut bench = process::cargo();
    bench.args(["bench", "-p", "trunnion-benches"]);
    if name == CRITERION {
        bench.arg("--benches");
    } else if names()?.contains(&name) {
        bench.args(["--bench", &name]);
    } else {
        return Err(Failure::new(format!(
            "bench: no benchmark {name:?}; `cargo xtask bench` alone lists them"
        )));
    }
    let rest: Vec<_> = parser.raw_args()?.skip_while(|word| word == "--").collect();
    process::run(bench.arg("--").args(rest))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs those of the kernel's IPVS, quickly: none is to rot unseen.
///
/// # Errors
/// One of them fails.
pub fn smoke() -> Result {
    encode::main(Effort::Quick)?;
    ipvs::main(Effort::Quick)?;
    start::main(Effort::Quick)
}

fn list() -> Result<String> {
    let mut text = String::new();
    for (name, about, _) in NAMED {
        text += &format!("{name:<11}{about}\n");
    }
    text += &format!("{CRITERION:<11}all of these: {}\n", names()?.join(", "));
    Ok(text)
}

/// The names of criterion's benchmarks: the files of benches/benches.
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
