//! Processes the lab starts: their logs, their ends. Only ever by the id of a
//! child of ours.

use super::{Context, LabError, Result, wait_for};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Runs a command to its end and returns its stdout.
///
/// # Errors
/// It cannot be started, or its status is not 0: the error carries its stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .context(|| shown.clone())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(LabError::new(format!(
            "{shown}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

/// Runs a command to its end with `input` on its stdin.
///
/// # Errors
/// As [`output`].
pub fn feed(command: &mut Command, input: &str) -> Result<()> {
    use std::io::Write as _;
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| shown.clone())?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A child that fails early closes the pipe; its status says it better.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().context(|| shown.clone())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(LabError::new(format!(
            "{shown}: {}: {}\nits input was:\n{input}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )))
    }
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// A long-lived child with a log file. Killed, with its process group, when
/// dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command in a namespace, in a process group of its own, stdout
    /// and stderr appended to `log`.
    ///
    /// # Errors
    /// The program or the log cannot be opened.
    pub fn start(netns: &super::Netns, command: &mut Command, log: &Path) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let open = || {
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .context(|| format!("open {}", log.display()))
        };
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?);
        Ok(Self {
            child: netns.spawn(command)?,
            log: log.to_owned(),
        })
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id()).expect("a pid fits an i32");
        Pid::from_raw(id).expect("a child's pid is not 0")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// It has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).context(|| format!("signal {}", self.child.id()))
    }

    /// SIGKILL to it and to the children it made; reaps it.
    pub fn kill(&mut self) {
        // ESRCH when it is gone already, which is what we want.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_for(limit, || self.ended())
    }

    /// The last `lines` of its log, indented, for a failure's report.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `lines` of a file, indented.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    all[from..]
        .iter()
        .map(|line| format!("        | {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_what_and_why() {
        let error = output(Command::new("sh").args(["-c", "echo because >&2; exit 3"]))
            .expect_err("status 3")
            .to_string();
        assert!(error.contains("because") && error.contains('3'), "{error}");
        let error = output(&mut Command::new("/nonexistent/x")).expect_err("not there");
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }

    #[test]
    fn feed_reports_the_input_of_a_failure() {
        feed(Command::new("cat").arg("-"), "hello").expect("cat reads it");
        let error = feed(Command::new("sh").args(["-c", "exit 1"]), "line one")
            .expect_err("status 1")
            .to_string();
        assert!(error.contains("line one"), "{error}");
    }
}
