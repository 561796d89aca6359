//! `cargo xtask vm -- CMD…`: runs a command on a real kernel that has ip_vs.
//!
//! The kernel is Debian's user-mode Linux: an ordinary process, no privilege,
//! on the host's own file system (hostfs, read and write, with the rights of
//! whoever started it). /tmp and /run inside are fresh, so shared directories
//! that lie there are bound back; the rest of the tree is as outside. Nothing
//! here knows what the command tests.

mod cpio;
mod job;
mod qemu;
mod script;

use crate::failure::{Failure, Result};
use crate::process;
use job::{Job, Tail};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Output};
use std::time::{Duration, Instant};

pub const HELP: &str = "\
usage: cargo xtask vm [OPTIONS] -- COMMAND [ARGUMENTS]

Runs COMMAND as root on a real ip_vs kernel (user-mode Linux on the host's file
system), prints what it prints and exits as it exits. Needs no privilege.
/tmp and /run inside are fresh, apart from what is shared: the checkout, the
target directory, the working directory and every --share.

  --timeout SECS   give up after this long, the boot included (120; none with
                   --interactive)
  --mem MIB        memory of the VM (512)
  --env K=V        set a variable inside; --env K passes ours on
  --dir DIR        working directory inside (ours)
  --share DIR      keep DIR visible although it lies under /tmp or /run
  --interactive    with our terminal as the command's; without a COMMAND, a shell
  --host           the host's kernel in fresh namespaces, if it has ip_vs and we
                   are root
  --qemu           an emulated machine with a kernel for clouds; it sees none of
                   the host's files but the command, its libraries and
                   every --carry
  --carry FILE     with --qemu: a program or file that is there as well
";

/// Where the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// User-mode Linux, always the same, no privilege.
    Uml,
    /// The host's own, in fresh namespaces.
    Host,
    /// Debian's for clouds, on an emulated machine without the host's files.
    Qemu,
}

/// A VM to run one command in.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Which kernel.
    pub kernel: Kernel,
    /// Memory in MiB.
    pub mem_mib: u32,
    /// How long the boot and the command may take together.
    pub timeout: Option<Duration>,
    /// Variables set inside, beside those that are always kept.
    pub env: Vec<(String, String)>,
    /// The working directory inside; ours if `None`.
    pub dir: Option<PathBuf>,
    /// Directories under /tmp or /run that stay visible.
    pub shares: Vec<PathBuf>,
    /// Files an emulated machine has, at their own paths, beside the command.
    pub carry: Vec<PathBuf>,
    /// The command gets our terminal, and its output is not captured.
    pub interactive: bool,
}

impl Default for Vm {
    fn default() -> Self {
        Self {
            kernel: Kernel::Uml,
            mem_mib: 512,
            timeout: Some(Duration::from_secs(120)),
            env: Vec::new(),
            dir: None,
            shares: Vec::new(),
            carry: Vec::new(),
            interactive: false,
        }
    }
}

/// Runs a command, its output streamed to ours; its exit status is the answer.
///
/// # Errors
/// The VM did not start, died, or the time is over; with the kernel's last
/// words. A command that fails is no error, and one killed by signal N exits
/// with 128 + N as in a shell.
pub fn run<S: AsRef<OsStr>>(vm: &Vm, command: &[S]) -> Result<ExitStatus> {
    let mut stdout = std::io::stdout();
    let mut stderr = std::io::stderr();
    execute(vm, command, &mut |stream, bytes| {
        // A reader that went away must not end the VM's run.
        let _ = match stream {
            Stream::Stdout => stdout.write_all(bytes).and_then(|()| stdout.flush()),
            Stream::Stderr => stderr.write_all(bytes),
        };
    })
}

/// Runs a command and keeps its output.
///
/// # Errors
/// As [`run`].
pub fn output<S: AsRef<OsStr>>(vm: &Vm, command: &[S]) -> Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = execute(vm, command, &mut |stream, bytes| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    })?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

/// Whether the host's own kernel can serve: we are root, it has ip_vs or loads
/// it, and it lets us make a network namespace.
pub fn ip_vs_on_host() -> bool {
    let loaded = || Path::new("/proc/net/ip_vs").exists();
    process::is_root()
        && (loaded() || (process::succeeds(Command::new("modprobe").arg("ip_vs")) && loaded()))
        && process::succeeds(Command::new("unshare").args(["--net", "true"]))
}

/// `cargo xtask vm`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut vm = Vm::default();
    let mut timeout = None;
    let mut command: Vec<OsString> = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("timeout") => timeout = Some(Duration::from_secs(parser.value()?.parse()?)),
            Long("mem") => vm.mem_mib = parser.value()?.parse()?,
            Long("env") => vm.env.push(variable(&parser.value()?.string()?)?),
            Long("dir") => vm.dir = Some(parser.value()?.into()),
            Long("share") => vm.shares.push(parser.value()?.into()),
            Long("interactive") => vm.interactive = true,
            Long("host") => vm.kernel = Kernel::Host,
            Long("qemu") => vm.kernel = Kernel::Qemu,
            Long("carry") => vm.carry.push(vm_file(parser.value()?.into())?),
            Value(program) => {
                command.push(program);
                command.extend(parser.raw_args()?);
            }
            other @ (Short(_) | Long(_)) => return Err(other.unexpected().into()),
        }
    }
    if command.is_empty() && vm.interactive {
        command.push(std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into()));
    }
    if command.is_empty() {
        return Err(Failure::new(
            "vm: no command; say `cargo xtask vm -- ipvsadm -Ln`, or --interactive for a shell",
        ));
    }
    vm.timeout = timeout.or(if vm.interactive { None } else { vm.timeout });
    let status = run(&vm, &command)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A file by its whole path, as it is known inside.
fn vm_file(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(Failure::io("vm: cannot find", &path))
}

fn variable(word: &str) -> Result<(String, String)> {
    match word.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match std::env::var(word) {
            Ok(value) => Ok((word.to_owned(), value)),
            Err(_) => Err(Failure::new(format!(
                "vm: {word} is not set here; say --env {word}=VALUE"
            ))),
        },
    }
}

enum Stream {
    Stdout,
    Stderr,
}

/// How often the host looks at the VM's files.
const POLL: Duration = Duration::from_millis(10);

fn execute<S: AsRef<OsStr>>(
    vm: &Vm,
    command: &[S],
    sink: &mut dyn FnMut(Stream, &[u8]),
) -> Result<ExitStatus> {
    let begin = Instant::now();
    let job = Job::start(vm, command)?;
    let _raw = vm.interactive.then(|| job.attach_terminal(vm.kernel));
    let mut stdout = Tail::new(job.file("stdout"));
    let mut stderr = Tail::new(job.file("stderr"));
    let mut screen = None;
    loop {
        // The status first: what was written before it is then read below.
        let end = job.end()?;
        let started = job.started();
        if vm.interactive && vm.kernel == Kernel::Uml && started {
            screen
                .get_or_insert_with(|| Tail::at_end(job.file("console")))
                .drain(|bytes| sink(Stream::Stdout, bytes));
        }
        stdout.drain(|bytes| sink(Stream::Stdout, bytes));
        stderr.drain(|bytes| sink(Stream::Stderr, bytes));
        if let Some(code) = end {
            return Ok(ExitStatus::from_raw(code << 8));
        }
        if let Some(limit) = vm.timeout
            && begin.elapsed() >= limit
        {
            let limit = limit.as_secs();
            return Err(if started {
                Failure::new(format!(
                    "vm: the command was not done after {limit} s and was ended; --timeout allows more"
                ))
            } else {
                job.failure(&format!("the kernel was not up after {limit} s"))
            });
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_given_or_passed_on() {
        assert_eq!(
            variable("A=b=c").unwrap(),
            ("A".to_owned(), "b=c".to_owned())
        );
        assert!(variable("PATH").unwrap().1.contains('/'));
        assert!(variable("TRUNNION_NOT_SET_ANYWHERE").is_err());
    }
}
