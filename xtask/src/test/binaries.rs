//! Test binaries as cargo builds them, and where the live ones run.

use crate::failure::{Failure, Result};
use crate::{process, vm};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Beginnings of the names of binaries whose ignored tests have a step.
const LIVE: [&str; 2] = ["live_net", "live_ipvs"];

/// How long one binary may take.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Where live tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here: we are root and may make namespaces.
    Host,
    /// In user-mode Linux.
    Vm,
}

impl Place {
    /// Where tests run that need namespaces but no ip_vs: here if possible,
    /// because here is faster.
    pub fn net() -> Result<Self> {
        let here = process::is_root()
            && process::succeeds(Command::new("unshare").args(["--net", "--mount", "true"]));
        Ok(if here { Self::Host } else { Self::Vm })
    }
}

/// An executable with a test harness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    pub name: String,
    /// Its package's directory, in which it runs.
    dir: PathBuf,
    path: PathBuf,
}

/// Builds and lists them all.
pub fn all() -> Result<Vec<Binary>> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--workspace", "--lib", "--bins", "--tests"]);
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "failed ({}): {}",
            output.status,
            process::line_of(&cargo)
        )));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let binaries: Vec<_> = messages.lines().filter_map(parse).collect();
    if binaries.is_empty() {
        return Err(Failure::new("cargo named no test binary"));
    }
    Ok(binaries)
}

/// A binary from a message of cargo's, which is one line of JSON.
fn parse(line: &str) -> Option<Binary> {
    let artifact = line.starts_with("{\"reason\":\"compiler-artifact\"");
    let (_, target) = line.split_once("\"target\":{")?;
    // The target says too whether it may be tested; the profile, whether it was
    // built for that.
    let (_, profile) = line.split_once("\"profile\":{")?;
    if !artifact || !profile.contains("\"test\":true") {
        return None;
    }
    let manifest = string(line, "\"manifest_path\":")?;
    Some(Binary {
        name: string(target, "\"name\":")?,
        dir: Path::new(&manifest).parent()?.to_owned(),
        path: string(line, "\"executable\":")?.into(),
    })
}

/// The string after a key; `None` if there is none or it is null.
fn string(json: &str, key: &str) -> Option<String> {
    let (_, rest) = json.split_once(key)?;
    let mut text = String::new();
    let mut chars = rest.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\' | '/') => text.push(escaped),
                _ => return None, // No path of ours has a control character.
            },
            plain => text.push(plain),
        }
    }
}

impl Binary {
    /// The tests in it that run only when asked for.
    fn ignored(&self) -> Result<Vec<String>> {
        let mut list = Command::new(&self.path);
        list.args(["--list", "--ignored", "--format=terse"])
            .current_dir(&self.dir);
        let text = process::stdout(&mut list)?;
        let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(tests.map(str::to_owned).collect())
    }

    fn run_ignored(&self, place: Place, daemon: &Path) -> Result {
        const WORDS: [&str; 2] = ["--ignored", "--test-threads=1"];
        match place {
            Place::Host => {
                let mut command = Command::new("timeout");
                command
                    .args(["--kill-after=5", &TIMEOUT.as_secs().to_string()])
                    .arg(&self.path)
                    .args(WORDS)
                    .current_dir(&self.dir)
                    .env("TRUNNION_BIN", daemon);
                process::run(&mut command)
            }
            Place::Vm => {
                let vm = vm::Vm {
                    timeout: Some(TIMEOUT),
                    dir: Some(self.dir.clone()),
                    env: vec![("TRUNNION_BIN".to_owned(), daemon.display().to_string())],
                    ..vm::Vm::default()
                };
                let path = self.path.as_os_str();
                let status = vm::run(&vm, &[path, WORDS[0].as_ref(), WORDS[1].as_ref()])?;
                if status.success() {
                    Ok(())
                } else {
                    Err(Failure::new(format!("{} in the VM: {status}", self.name)))
                }
            }
        }
    }
}

/// Runs the ignored tests of every binary whose name begins so. Each finds the
/// daemon's binary in `TRUNNION_BIN`.
///
/// # Errors
/// A test failed, or there was none: a step that tests nothing does not pass.
pub fn run_live(prefix: &str, place: Place) -> Result {
    process::run(process::cargo().args(["build", "-p", "trunnion"]))?;
    let daemon = process::target_dir().join("debug/trunnion");
    let (mut ran, mut failures) = (0, Vec::new());
    for binary in all()? {
        if !binary.name.starts_with(prefix) {
            continue;
        }
        let tests = binary.ignored()?.len();
        if tests == 0 {
            failures.push(format!("{} has no #[ignore]d test", binary.name));
        } else {
            println!("{}: {tests} tests, {place:?}", binary.name);
            let result = binary.run_ignored(place, &daemon);
            failures.extend(result.err().map(|failure| failure.to_string()));
        }
        ran += 1;
    }
    if ran == 0 {
        failures.push(format!("no test binary is named {prefix}*"));
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(failures.join("\n"))),
    }
}

/// An ignored test that no step runs would be skipped in silence.
pub fn every_ignored_test_has_a_step() -> Result {
    let mut lost = Vec::new();
    for binary in all()? {
        if LIVE.iter().any(|live| binary.name.starts_with(live)) {
            continue;
        }
        for test in binary.ignored()? {
            lost.push(format!("{}::{test}", binary.name));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "ignored tests that no step runs (only those of binaries {} are run): {}",
        LIVE.map(|live| format!("{live}*")).join(" and "),
        lost.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_is_read_from_cargos_words() {
        let line = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"p","manifest_path":"/a \"b\"/tests/Cargo.toml","target":{{"kind":["test"],"crate_types":["bin"],"name":"live_net_vrrp","src_path":"/a/x.rs","test":true}},"profile":{{"opt_level":"0","test":{test},"z":1}},"filenames":[],"executable":{executable},"fresh":true}}"#
            )
        };
        let expect = Binary {
            name: "live_net_vrrp".to_owned(),
            dir: "/a \"b\"/tests".into(),
            path: "/t/live_net_vrrp-1".into(),
        };
        let read = |test, executable| parse(&line(test, executable));
        assert_eq!(read(true, "\"/t/live_net_vrrp-1\""), Some(expect));
        assert_eq!(read(true, "null"), None);
        assert_eq!(read(false, "\"/t/trunnion\""), None);
        assert_eq!(
            parse("{\"reason\":\"build-finished\",\"success\":true}"),
            None
        );
    }
}
