//! `cargo xtask tidy`: the rules of the house that no compiler knows, as a
//! test. Every breach is found and reported in one run, with file and line.
//!
//! Each file in `tidy/` holds one rule and the table it reads; a rule takes
//! text and yields findings, so its tests are small texts.

mod floors;
mod lengths;
mod manifests;
mod modules;
mod records;
mod safety;
mod source;
mod words;

use crate::failure::{Failure, Result};
use crate::process;
use source::Source;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

pub const HELP: &str = "\
usage: cargo xtask tidy

Checks the rules of the house: floors between the rooms of core; no std, alloc
or unsafe there; unsafe only in sys, each with its SAFETY; file lengths; files
no module reaches; paths of one machine; words that have a better one; ids of
log records; lints of every member. Prints every breach as FILE:LINE: TEXT.
";

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Relative to the repository's root.
    pub file: String,
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub text: String,
}

impl Finding {
    fn new(source: &Source, line: usize, text: impl Into<String>) -> Self {
        Self {
            file: source.path.clone(),
            line,
            text: text.into(),
        }
    }
}

/// `cargo xtask tidy`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    if let Some(arg) = parser.next()? {
        return Err(arg.unexpected().into());
    }
    run()?;
    println!("tidy: no breach");
    Ok(ExitCode::SUCCESS)
}

/// Checks the whole tree; prints what it finds.
///
/// # Errors
/// There was a breach, or a file could not be read.
pub fn run() -> Result {
    let root = process::root();
    let mut sources = Vec::new();
    read_tree(&root, "", &mut sources)?;
    let findings = check(&mut sources);
    for Finding { file, line, text } in &findings {
        println!("{file}:{line}: {text}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new("tidy: 1 breach")),
        n => Err(Failure::new(format!("tidy: {n} breaches"))),
    }
}

/// Every rule over every file.
fn check(sources: &mut [Source]) -> Vec<Finding> {
    let mut findings = modules::check(sources);
    findings.extend(floors::check(sources));
    findings.extend(safety::check(sources));
    findings.extend(records::check(sources));
    findings.extend(lengths::check(sources));
    findings.extend(words::check(sources));
    findings.extend(manifests::check(sources));
    findings.sort();
    findings.dedup();
    findings
}

/// Reads every text file that is ours: what git would not ignore.
fn read_tree(root: &Path, under: &str, sources: &mut Vec<Source>) -> Result {
    const OURS: [&str; 3] = [".ci", ".cargo", ".github"];
    const NOT_OURS: [&str; 4] = ["target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage"];
    let dir = root.join(under);
    let entries = fs::read_dir(&dir).map_err(Failure::io("cannot list", &dir))?;
    for entry in entries {
        let entry = entry.map_err(Failure::io("cannot list", &dir))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = if under.is_empty() {
            name.clone()
        } else {
            format!("{under}/{name}")
        };
        let hidden = name.starts_with('.') && !OURS.contains(&name.as_str());
        if hidden || NOT_OURS.contains(&path.as_str()) || name == "target" || name == "Cargo.lock" {
            continue;
        }
        let kind = entry
            .file_type()
            .map_err(Failure::io("cannot look at", &dir))?;
        if kind.is_dir() {
            read_tree(root, &path, sources)?;
        } else if kind.is_file() {
            let full = root.join(&path);
            let bytes = fs::read(&full).map_err(Failure::io("cannot read", &full))?;
            // A capture or an image is not text.
            if let Ok(text) = String::from_utf8(bytes) {
                sources.push(Source::new(path, text));
            }
        }
    }
    Ok(())
}
