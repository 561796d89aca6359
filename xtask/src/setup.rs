//! `cargo xtask setup`: what the other commands call from outside, found or
//! installed.

use crate::failure::{Failure, Result};
use crate::{process, vm};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub const HELP: &str = "\
usage: cargo xtask setup [demo | test | bench]

Looks for what the demo, (by default) the tests or the benchmarks call, and
installs what is missing with apt-get where that is possible: as root on Debian
or Ubuntu. Elsewhere it prints the line to type, and fails.
";

/// For whom a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// `cargo xtask vm` and `demo`.
    Demo,
    /// `cargo xtask test`: these, and what the demo needs.
    Test,
    /// `cargo xtask bench` against peers: these, and what the tests need.
    Bench,
}

/// How a tool is found.
enum Probe {
    /// A program.
    Program(&'static str),
    /// A module of python3.
    Python(&'static str),
    /// A library in C, by its name in pkg-config.
    Library(&'static str),
}

struct Tool {
    probe: Probe,
    package: &'static str,
    group: Group,
    purpose: &'static str,
}

const fn tool(
    group: Group,
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
) -> Tool {
    Tool {
        probe: Probe::Program(program),
        package,
        group,
        purpose,
    }
}

const TOOLS: &[Tool] = &[
    tool(
        Group::Demo,
        KERNEL,
        "user-mode-linux",
        "a kernel with ip_vs",
    ),
    tool(Group::Demo, "modprobe", "kmod", "loads ip_vs"),
    tool(Group::Demo, "ip", "iproute2", "makes namespaces and links"),
    tool(Group::Demo, "unshare", "util-linux", "enters namespaces"),
    tool(
        Group::Demo,
        "ipvsadm",
        "ipvsadm",
        "shows the kernel's table",
    ),
    tool(
        Group::Demo,
        "tcpdump",
        "tcpdump",
        "captures what is asked of the kernel",
    ),
    tool(Group::Test, "cc", "gcc", "links the no-allocator proof"),
    tool(Group::Test, "nm", "binutils", "lists what the proof links"),
    tool(Group::Test, "c++", "g++", "builds libFuzzer"),
    tool(Group::Test, "keepalived", "keepalived", "is the VRRP peer"),
    tool(
        Group::Test,
        "/usr/lib/frr/vrrpd",
        "frr",
        "is another VRRP peer",
    ),
    tool(Group::Test, "tshark", "tshark", "reads what we send"),
    tool(Group::Test, "strace", "strace", "counts system calls"),
    tool(Group::Test, "sysctl", "procps", "types what doctor says"),
    tool(
        Group::Test,
        "setcap",
        "libcap2-bin",
        "types what doctor says",
    ),
    tool(Group::Test, "setpriv", "util-linux", "takes rights away"),
    tool(Group::Test, "nft", "nftables", "denies this node a packet"),
    tool(
        Group::Test,
        "unbound",
        "unbound",
        "is a DNS server to check",
    ),
    tool(
        Group::Test,
        "freeradius",
        "freeradius",
        "is a RADIUS server to check",
    ),
    tool(Group::Test, "socat", "socat", "answers datagrams"),
    tool(
        Group::Test,
        "openssl",
        "openssl",
        "makes certificates, and is a TLS server to check",
    ),
    tool(
        Group::Test,
        "nginx",
        "nginx-light",
        "is an HTTP server to check",
    ),
    Tool {
        probe: Probe::Python("scapy"),
        package: "python3-scapy",
        group: Group::Test,
        purpose: "reads what we send",
    },
    tool(
        Group::Test,
        "pkg-config",
        "pkg-config",
        "finds libraries in C",
    ),
    tool(
        Group::Bench,
        "qemu-system-x86_64",
        "qemu-system-x86",
        "emulates a machine for a second kernel",
    ),
    tool(Group::Test, "valgrind", "valgrind", "counts instructions"),
    tool(
        Group::Test,
        "haproxy",
        "haproxy",
        "is a server to check, and another checker of backends",
    ),
    tool(Group::Bench, "go", "golang-go", "builds the peer in Go"),
    tool(
        Group::Bench,
        "dpkg",
        "dpkg",
        "unpacks that kernel, which is not installed",
    ),
    Tool {
        probe: Probe::Library("libnl-genl-3.0"),
        package: "libnl-genl-3-dev",
        group: Group::Test,
        purpose: "is what others talk to IPVS with",
    },
];

/// Not needed where the host has ip_vs.
const KERNEL: &str = "linux.uml";

impl Tool {
    fn name(&self) -> &'static str {
        match self.probe {
            Probe::Program(name) | Probe::Python(name) | Probe::Library(name) => name,
        }
    }

    fn present(&self) -> bool {
        match self.probe {
            Probe::Program(name) => process::which(name).is_some(),
            // Debian's own: a python3 earlier in PATH does not see its modules.
            Probe::Python(module) => ["/usr/bin/python3", "python3"].iter().any(|python| {
                process::succeeds(Command::new(python).args(["-c", &format!("import {module}")]))
            }),
            Probe::Library(name) => {
                process::succeeds(Command::new("pkg-config").args(["--exists", name]))
            }
        }
    }
}

/// `cargo xtask setup`.
pub fn main(mut parser: lexopt::Parser) -> Result<ExitCode> {
    let group = match parser.next()? {
        None => Group::Test,
        Some(lexopt::Arg::Value(word)) => match word.to_str() {
            Some("demo") => Group::Demo,
            Some("test") => Group::Test,
            Some("bench") => Group::Bench,
            _ => return Err(Failure::new("setup: say demo, test or bench")),
        },
        Some(other) => return Err(other.unexpected().into()),
    };
    ensure(group)?;
    println!("setup: everything is here");
    for (present, words) in [
        (
            process::which("cargo-nextest").is_some(),
            "cargo-nextest is not here, cargo test serves: cargo install cargo-nextest --locked",
        ),
        (
            crate::fuzz::nightly(),
            "no nightly toolchain, so nothing is fuzzed: rustup toolchain install nightly --profile minimal",
        ),
    ] {
        if group >= Group::Test && !present {
            println!("setup: optional: {words}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Finds the tools of a group, or installs them.
///
/// # Errors
/// Some are missing and cannot be installed from here: the line to type.
pub fn ensure(group: Group) -> Result {
    let missing = missing(group);
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        println!("setup: {} is missing: it {}", tool.name(), tool.purpose);
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let packages = packages.join(" ");
    if process::which("apt-get").is_none() {
        return Err(Failure::new(format!(
            "setup: install with your package manager what Debian calls: {packages}"
        )));
    }
    if !process::is_root() {
        return Err(Failure::new(format!(
            "setup: type this, then try again:\n\n    \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}\n"
        )));
    }
    install(&packages)?;
    let missing: Vec<&str> = self::missing(group).iter().map(Tool::name_of).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "setup: apt-get installed {packages}, but there is still no {}",
        missing.join(" ")
    )))
}

impl Tool {
    fn name_of(tool: &&'static Self) -> &'static str {
        tool.name()
    }
}

fn missing(group: Group) -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| tool.group <= group && !tool.present())
        .filter(|tool| tool.name() != KERNEL || group >= Group::Test || !vm::ip_vs_on_host())
        .collect()
}

/// The package that a package without files stands for today.
///
/// # Errors
/// apt knows it not.
pub fn package_behind(name: &str) -> Result<String> {
    let ask = || {
        let text = process::stdout(Command::new("apt-cache").args(["depends", name])).ok()?;
        let line = text.lines().find_map(|line| line.split_once("Depends: "))?;
        Some(line.1.trim().to_owned())
    };
    if let Some(found) = ask() {
        return Ok(found);
    }
    // Its lists may be missing.
    let _ = process::run(Command::new("apt-get").args(["-q", "update"]));
    ask().ok_or_else(|| {
        Failure::new(format!(
            "setup: apt knows no {name}; type: sudo apt-get update"
        ))
    })
}

/// Downloads a package into `dir`, without installing it, and returns its file.
///
/// # Errors
/// apt-get does not find it.
pub fn download(package: &str, dir: &Path) -> Result<PathBuf> {
    let mut apt = Command::new("apt-get");
    // Its own user may not write here, of which it would warn.
    apt.args(["-q", "-o", "APT::Sandbox::User=root", "download", package]);
    // What a command in a VM prints is not to be mixed with this.
    process::run(apt.current_dir(dir).stdout(std::io::stderr()))?;
    let entries = std::fs::read_dir(dir).map_err(Failure::io("cannot list", dir))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files
        .find(|file| file.extension().is_some_and(|end| end == "deb"))
        .ok_or_else(|| Failure::new(format!("setup: apt-get left no file of {package}")))
}

/// apt-get without a question; its package lists are fetched if there are none,
/// or if they are too old to install from.
fn install(packages: &str) -> Result {
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-o", "Dpkg::Use-Pty=0"])
            .args(words);
        println!("setup: {}", process::line_of(&apt));
        process::run(&mut apt)
    };
    let mut words = vec!["install", "-y", "--no-install-recommends"];
    words.extend(packages.split(' '));
    let listed = std::fs::read_dir("/var/lib/apt/lists").is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
        })
    });
    if listed && apt(&words).is_ok() {
        return Ok(());
    }
    apt(&["update"])?;
    apt(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_need_what_the_demo_needs() {
        assert!(Group::Demo < Group::Test && Group::Test < Group::Bench);
        let names: Vec<_> = TOOLS.iter().map(Tool::name).collect();
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "a tool is listed once");
    }

    #[test]
    fn a_probe_tells_present_from_missing() {
        let probe = |probe| {
            Tool {
                probe,
                package: "",
                group: Group::Demo,
                purpose: "",
            }
            .present()
        };
        assert!(probe(Probe::Program("sh")));
        assert!(!probe(Probe::Program("no-such-program-anywhere")));
        assert!(!probe(Probe::Python("no_such_module_anywhere")));
        assert!(!probe(Probe::Library("no-such-library-anywhere")));
    }
}
