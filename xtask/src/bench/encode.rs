//! `cargo xtask bench encode`: what it takes to turn a change into the bytes of
//! a request, ours beside the same in C. Instructions under valgrind are the
//! same in every run on every machine of a kind, whoever else is at work; the
//! times beside them are not.

use super::Effort;
use super::report::{Goal, Report};
use crate::failure::{Failure, Result};
use crate::process;
use crate::setup::{self, Group};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One line for the list of benchmarks.
pub const ABOUT: &str = "encoding requests: instructions of ours and of the same in C";

/// Requests of a round of either program.
const ROUND_REQUESTS: f64 = 64.0 * 128.0;

/// A way to encode, as it is called in a table and by its program.
struct Way<'a> {
    words: &'static str,
    program: &'a Path,
    name: &'static str,
}

/// What a way takes for each request.
struct Cost {
    instructions: f64,
    ns: f64,
}

/// Measures, prints the table and writes the JSON.
///
/// # Errors
/// Something could not be built or run, two of them did not make the same bytes,
/// or ours takes more instructions than C: a count does not flicker, so it is no
/// goal but a rule.
pub fn main(effort: Effort) -> Result {
    let quick = effort.is_quick();
    setup::ensure(Group::Test)?;
    let peer = peer()?;
    let driver = driver()?;
    let way = |words, program, name| Way {
        words,
        program,
        name,
    };
    let ours = way("ours", &driver, "encoder");
    let singly = way("ours, each by itself", &driver, "singly");
    let plain = way("c", &peer, "plain");
    let template = way("c template", &peer, "template");

    let datagram = ours.run(1)?.1;
    for other in [&singly, &plain, &template] {
        if other.run(1)?.1 != datagram {
            return Err(Failure::new(format!(
                "bench: {} does not encode what we do",
                other.words
            )));
        }
    }

    let rounds = if quick { 20 } else { 4000 };
    let cost = ours.cost(rounds)?;
    let mut report = Report::new(if quick { "encode-quick" } else { "encode" });
    report.about("request", "NEW_DEST of an IPv4 service, 108 bytes");
    report.about(
        "method",
        "batches of 128; instructions by callgrind, times are minima; both at -O2 or release; \
         the c peers check no value, the template not even its buffer",
    );
    // Our rules, our bounds and our lookup of the head are in the count.
    let goals = [
        (&plain, Goal::Within(1.0)),
        (&template, Goal::None),
        (&singly, Goal::None),
    ];
    for (peer, goal) in goals {
        let its = peer.cost(rounds)?;
        if goal == Goal::Within(1.0) && cost.instructions > its.instructions {
            return Err(Failure::new(format!(
                "bench: {:.0} instructions for a request, and {:.0} in C",
                cost.instructions, its.instructions
            )));
        }
        report.row(
            "instructions for each request",
            cost.instructions,
            peer.words,
            its.instructions,
            goal,
        );
        report.row(
            "ns for each request",
            cost.ns,
            peer.words,
            its.ns,
            Goal::None,
        );
    }
    let goal = if quick {
        Goal::None
    } else {
        Goal::AtMost(12.0)
    };
    report.alone("ns for each request", cost.ns, goal);
    report.finish()
}

impl Way<'_> {
    /// Nanoseconds for each request, and the datagram.
    fn run(&self, rounds: u32) -> Result<(f64, String)> {
        let mut command = Command::new(self.program);
        let text = process::stdout(command.args([self.name, &rounds.to_string()]))?;
        let parsed = text.split_once('\n').and_then(|(first, datagram)| {
            let ns = first.strip_prefix("ns ")?.parse().ok()?;
            Some((ns, datagram.to_owned()))
        });
        parsed.ok_or_else(|| Failure::new(format!("bench: {} printed {text:?}", self.words)))
    }

    fn cost(&self, rounds: u32) -> Result<Cost> {
        // Start and end of the program are in both and cancel.
        let (few, many) = (self.instructions(10)?, self.instructions(30)?);
        Ok(Cost {
            instructions: (many - few) / (20.0 * ROUND_REQUESTS),
            ns: self.run(rounds)?.0,
        })
    }

    /// Instructions of the whole program.
    fn instructions(&self, rounds: u32) -> Result<f64> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind
            .arg(self.program)
            .args([self.name, &rounds.to_string()]);
        let output = valgrind
            .output()
            .map_err(|error| Failure::new(format!("cannot start valgrind: {error}")))?;
        let text = String::from_utf8_lossy(&output.stderr);
        collected(&text)
            .filter(|_| output.status.success())
            .ok_or_else(|| Failure::new(format!("bench: valgrind counted nothing: {text}")))
    }
}

/// The count in callgrind's last words.
fn collected(text: &str) -> Option<f64> {
    let (_, rest) = text.split_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Builds the peers in C.
fn peer() -> Result<PathBuf> {
    let dir = process::target_dir().join("bench");
    fs::create_dir_all(&dir).map_err(Failure::io("cannot make", &dir))?;
    let program = dir.join("encode-peer");
    let mut cc = Command::new("cc");
    cc.current_dir(process::root());
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program);
    process::run(cc.arg("benches/peers/encode.c"))?;
    Ok(program)
}

/// Builds ours.
fn driver() -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "trunnion-benches"]);
    process::run(cargo.args(["--bin", "encode-bench"]))?;
    Ok(process::target_dir().join("release/encode-bench"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_from_callgrind_s_words() {
        let text = "==1== Events    : Ir\n==1== Collected : 17290513\n==1== \n";
        assert_eq!(collected(text), Some(17_290_513.0));
        assert_eq!(collected("==1== Events    : Ir\n"), None);
    }
}
