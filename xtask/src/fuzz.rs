//! `cargo xtask fuzz`: runs the targets of `fuzz/`. What a target checks is a
//! law in core; here is only how it is run.

use crate::failure::{Failure, Result};
use crate::process;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub const HELP: &str = "\
usage: cargo xtask fuzz [TARGET] [--seconds N]

Runs one fuzz target, or all of them one after the other, for N seconds each
(60). Needs a nightly toolchain (rustup toolchain install nightly --profile
minimal); cargo-fuzz is built into target/tools if it is not there. What is
found lies in fuzz/artifacts/TARGET; repeat it with
`cargo +nightly fuzz run TARGET FILE`. A run begins with fuzz/corpus/TARGET,
which is kept, and target/fuzz-corpus/TARGET, where it puts what is new; `cargo
+nightly fuzz cmin TARGET DIRECTORY` makes of both what is worth keeping.
";

/// `cargo xtask fuzz`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut target, mut seconds) = (None, 60);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("seconds") => seconds = parser.value()?.parse()?,
            Value(name) if target.is_none() => target = Some(name.string()?),
            other @ (Short(_) | Long(_) | Value(_)) => return Err(other.unexpected().into()),
        }
    }
    if !nightly() {
        return Err(Failure::new(NO_NIGHTLY));
    }
    let all = targets()?;
    match target {
        Some(name) if all.contains(&name) => run(&name, seconds)?,
        Some(name) => {
            return Err(Failure::new(format!(
                "fuzz: no target {name:?}; there are {}",
                all.join(", ")
            )));
        }
        None => {
            for name in &all {
                run(name, seconds)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Targets that start from golden files: these under `tests/golden`.
const SEEDS: [(&str, &str); 3] = [
    ("ipvs_decode", "ipvs"),
    ("ipvs_oracle", "ipvs"),
    ("vrrp_decode", "vrrp"),
];

/// Why nothing was fuzzed, and what to do.
pub const NO_NIGHTLY: &str = "there is no nightly toolchain, so nothing was fuzzed; \
     rustup toolchain install nightly --profile minimal";

/// Whether rustup has a nightly toolchain. Asks, installs nothing.
pub fn nightly() -> bool {
    process::stdout(Command::new("rustup").args(["toolchain", "list"]))
        .is_ok_and(|list| list.lines().any(|line| line.starts_with("nightly")))
}

/// The targets, from the manifest.
pub fn targets() -> Result<Vec<String>> {
    let path = process::root().join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(&path).map_err(Failure::io("cannot read", &path))?;
    let targets = parse_targets(&manifest);
    if targets.is_empty() {
        return Err(Failure::new("fuzz: fuzz/Cargo.toml names no [[bin]]"));
    }
    Ok(targets)
}

fn parse_targets(manifest: &str) -> Vec<String> {
    manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|section| {
            let line = section.lines().find(|line| line.starts_with("name"))?;
            line.split('"').nth(1).map(str::to_owned)
        })
        .collect()
}

/// Runs a target for so long, from its seeds and what was found earlier.
fn run(target: &str, seconds: u32) -> Result {
    process::run(&mut command(target, seconds)?)
}

/// The same, and says in one line how often it ran; all of it on failure.
pub fn smoke(target: &str, seconds: u32) -> Result {
    let mut fuzz = command(target, seconds)?;
    let output = fuzz
        .output()
        .map_err(|error| Failure::new(format!("cannot start rustup: {error}")))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let runs = runs(&text).unwrap_or(0);
    if !output.status.success() || runs == 0 {
        return Err(Failure::new(format!(
            "{text}\nfailed ({}), {runs} runs: {}",
            output.status,
            process::line_of(&fuzz)
        )));
    }
    println!("fuzz {target}: {runs} runs in {seconds} s");
    Ok(())
}

/// How often libFuzzer called the target, by its last words.
fn runs(stderr: &str) -> Option<u64> {
    let (_, rest) = stderr.rsplit_once("stat::number_of_executed_units:")?;
    rest.lines().next()?.trim().parse().ok()
}

fn command(target: &str, seconds: u32) -> Result<Command> {
    let root = process::root();
    let tools = cargo_fuzz()?;
    // What is found goes there; what is kept is read only.
    let corpus = process::target_dir().join("fuzz-corpus").join(target);
    let kept = root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).map_err(Failure::io("cannot make", &corpus))?;
    for (_, golden) in SEEDS.iter().filter(|(name, _)| *name == target) {
        sow(&root.join("tests/golden").join(golden), &corpus)?;
    }
    let mut path = OsString::from(tools);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut fuzz = Command::new("rustup");
    fuzz.args(["run", "nightly", "cargo", "fuzz", "run", target])
        .arg(&corpus);
    if kept.exists() {
        fuzz.arg(&kept);
    }
    fuzz.args(["--", &format!("-max_total_time={seconds}"), "-verbosity=0"])
        .arg("-print_final_stats=1")
        .current_dir(&root)
        .env("PATH", path)
        .env_remove("CARGO_TARGET_DIR");
    Ok(fuzz)
}

/// Puts the bytes of each golden file of a directory into a corpus.
fn sow(golden: &Path, corpus: &Path) -> Result {
    for entry in fs::read_dir(golden).map_err(Failure::io("cannot list", golden))? {
        let path = entry.map_err(Failure::io("cannot list", golden))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Some(stem) = name.strip_suffix(".hex") {
            let text = fs::read_to_string(&path).map_err(Failure::io("cannot read", &path))?;
            let bytes = parse_hex(&text)
                .ok_or_else(|| Failure::new(format!("{} is not hex", path.display())))?;
            let seed = corpus.join(format!("golden-{stem}"));
            let bytes = if golden.ends_with("ipvs") {
                framed(bytes)
            } else {
                bytes
            };
            fs::write(&seed, bytes).map_err(Failure::io("cannot write", &seed))?;
        }
    }
    Ok(())
}

/// The bytes of hex digits with blanks and comments between them.
fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: String = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A golden request has no netlink header, because the number in it is the
/// kernel's: one is put before it. A golden dump has its own.
fn framed(body: Vec<u8>) -> Vec<u8> {
    const HEADER_BYTES: usize = 16;
    let length = body
        .first_chunk()
        .map_or(0, |word| u32::from_le_bytes(*word));
    if (HEADER_BYTES..=body.len()).contains(&(length as usize)) {
        return body;
    }
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_le_bytes().to_vec();
    message.extend([0x1e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

/// The directory that has cargo-fuzz, which is built there if need be.
fn cargo_fuzz() -> Result<PathBuf> {
    if let Some(found) = process::which("cargo-fuzz") {
        return Ok(found.parent().map(PathBuf::from).unwrap_or_default());
    }
    let tools = process::target_dir().join("tools");
    let bin = tools.join("bin");
    if !bin.join("cargo-fuzz").exists() {
        println!("fuzz: building cargo-fuzz into {}", tools.display());
        let mut install = process::cargo();
        install
            .args(["install", "cargo-fuzz", "--locked", "--root"])
            .arg(&tools);
        process::run(&mut install)?;
    }
    Ok(bin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_binaries() {
        let text = "[package]\nname = \"f\"\n[[bin]]\nname = \"a\"\npath = \"x\"\n\n[[bin]]\nname = \"b\"\n";
        assert_eq!(parse_targets(text), ["a", "b"]);
    }

    #[test]
    fn a_golden_file_becomes_a_message() {
        let request = parse_hex("# a -t b\n0101 0000\n  0800 09\n00 ffffffff\n").unwrap();
        assert_eq!(request, [1, 1, 0, 0, 8, 0, 9, 0, 255, 255, 255, 255]);
        let message = framed(request.clone());
        assert_eq!((message[0], message.len()), (28, 28));
        assert_eq!(message[16..], request);
        assert_eq!(framed(message.clone()), message, "a header is put once");
        assert_eq!(parse_hex("0g"), None);
    }

    #[test]
    fn runs_are_read_from_the_last_words() {
        let text =
            "INFO: x\nstat::number_of_executed_units: 612684\nstat::average_exec_per_sec: 1\n";
        assert_eq!(runs(text), Some(612_684));
        assert_eq!(runs("error: could not compile"), None);
    }

    #[test]
    fn every_target_has_its_file() {
        for target in targets().unwrap() {
            let file = format!("fuzz/fuzz_targets/{target}.rs");
            assert!(process::root().join(&file).exists(), "{file}");
        }
    }
}
