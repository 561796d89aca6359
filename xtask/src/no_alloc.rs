//! The proof that core needs no allocator: `tests/no-alloc` is built, linked,
//! looked at and run; then it is built with an allocation in it, and must fail.

use crate::failure::{Failure, Result};
use crate::process;
use std::process::Command;

/// What the program may take from the C library: memory is moved and compared,
/// never obtained.
const ALLOWED: [&str; 8] = [
    "abort",
    "bcmp",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "strlen",
    "__libc_start_main",
];

/// Runs the proof, and the proof of the proof.
pub fn prove() -> Result {
    let target = process::target_dir().join("no-alloc");
    let build = || {
        let mut cargo = process::cargo();
        cargo.args(["build", "--release", "--manifest-path"]);
        cargo.arg("tests/no-alloc/Cargo.toml");
        cargo.arg("--target-dir").arg(&target);
        cargo
    };
    process::run(&mut build())?;
    let archive = target.join("release/libtrunnion_no_alloc.a");
    let program = target.join("release/proof");
    let mut link = Command::new("cc");
    link.args(["-Wl,--gc-sections", "-o"]).arg(&program);
    process::run(link.arg(&archive))?;
    let symbols = process::stdout(Command::new("nm").arg("-u").arg(&program))?;
    if let Some(odd) = taken(&symbols).find(|name| !ALLOWED.contains(name)) {
        return Err(Failure::new(format!(
            "no-alloc: the program takes {odd} from the C library; core may take only {}",
            ALLOWED.join(", ")
        )));
    }
    let status = Command::new(&program)
        .status()
        .map_err(Failure::io("cannot run", &program))?;
    if !status.success() {
        return Err(Failure::new(format!(
            "no-alloc: the program ended with {status}; N is the N-th of ROOMS in tests/no-alloc/src/lib.rs"
        )));
    }
    println!("no-alloc: core links and runs without an allocator");
    let mut negative = build();
    let output = negative
        .args(["--features", "prove-negative"])
        .output()
        .map_err(|error| Failure::new(format!("cannot start cargo: {error}")))?;
    refused(
        output.status.success(),
        &String::from_utf8_lossy(&output.stderr),
    )?;
    println!("no-alloc: with an allocation in it, it does not link, as it must");
    Ok(())
}

/// The names of undefined symbols in what `nm -u` prints; weak ones may be
/// missing, so they take nothing.
fn taken(symbols: &str) -> impl Iterator<Item = &str> {
    symbols.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("U ")?;
        name.split('@').next()
    })
}

/// The negative must fail, and for that one reason.
fn refused(built: bool, stderr: &str) -> Result {
    if built {
        return Err(Failure::new(
            "no-alloc: the build with an allocation in it succeeded: the proof proves nothing",
        ));
    }
    let reason = stderr.contains("error: no global memory allocator found");
    // An error with a number is the compiler's, of our program's text.
    if !reason || stderr.contains("error[E") {
        return Err(Failure::new(format!(
            "no-alloc: the build with an allocation in it failed for another reason:\n{stderr}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_symbols_are_the_undefined_ones() {
        let text = "                 w __gmon_start__\n                 U malloc@GLIBC_2.2.5\n                 U bcmp\n";
        assert_eq!(taken(text).collect::<Vec<_>>(), ["malloc", "bcmp"]);
    }

    #[test]
    fn only_the_linkers_refusal_counts() {
        let refusal = "error: no global memory allocator found but one is required; link to std";
        assert!(refused(false, refusal).is_ok());
        assert!(refused(true, "").is_err());
        assert!(refused(false, "error: could not find Cargo.toml").is_err());
        assert!(refused(false, &format!("{refusal}\nerror[E0599]: no method")).is_err());
    }
}
