//! `trunnion ipvs` and ipvsadm as commands, in the namespace of the calling
//! thread.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use trunnion_sys::netns::unshare_network;

/// Moves the calling thread into a fresh namespace, its loopback up.
pub fn network() {
    unshare_network().expect("a network namespace: cargo xtask test runs this in the VM");
    run(&["ip", "link", "set", "lo", "up"], "");
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit status, if it had one.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Runs a command with this for its input.
#[must_use]
pub fn try_run(words: &[&str], input: &str) -> Ran {
    let (program, arguments) = words.split_first().unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    // A program that does not read its input is told apart by what it says.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same of a command that must end well; what it prints.
pub fn run(words: &[&str], input: &str) -> String {
    let ran = try_run(words, input);
    let Ran {
        code,
        stdout,
        stderr,
    } = ran;
    assert_eq!(code, Some(0), "{words:?}:\n{input}\n{stdout}{stderr}");
    stdout
}

/// The binary under test.
#[must_use]
pub fn binary() -> String {
    std::env::var("TRUNNION_BIN").expect("TRUNNION_BIN: cargo xtask test")
}

/// `trunnion ipvs WORDS`.
#[must_use]
pub fn ours(words: &str, input: &str) -> Ran {
    let binary = binary();
    let mut all = vec![binary.as_str(), "ipvs"];
    all.extend(words.split_whitespace());
    try_run(&all, input)
}

/// What `trunnion ipvs WORDS` prints; it must end well and say nothing else.
pub fn our(words: &str, input: &str) -> String {
    let Ran {
        code,
        stdout,
        stderr,
    } = ours(words, input);
    assert_eq!(
        (code, &*stderr),
        (Some(0), ""),
        "ipvs {words}:\n{input}\n{stdout}"
    );
    stdout
}

/// What `ipvsadm WORDS` prints; it must end well.
pub fn ipvsadm(words: &str, input: &str) -> String {
    let mut all = vec!["ipvsadm"];
    all.extend(words.split_whitespace());
    run(&all, input)
}
