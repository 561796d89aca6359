//! keepalived as a node of the lab: a real peer, to live beside and to be
//! compared with. Debian 12 has 2.2.7.

use super::config::Config;
use super::process::Process;
use super::{Context, Netns, Result};
use std::path::Path;
use std::process::Command;

/// Writes keepalived's form of `config` and starts it in `netns`.
///
/// # Errors
/// It is not installed, or the files cannot be written.
pub fn start(netns: &Netns, config: &Config, directory: &Path, log: &Path) -> Result<Process> {
    write(config, directory)?;
    let name = &config.name;
    let file = |suffix: &str| directory.join(format!("{name}.{suffix}"));
    let mut command = Command::new("keepalived");
    command
        .args(["--dont-fork", "--log-console", "--log-detail"])
        .arg("--use-file")
        .arg(file("conf"))
        .arg("--pid")
        .arg(file("pid"))
        .arg("--vrrp_pid")
        .arg(file("vrrp.pid"))
        .arg("--checkers_pid")
        .arg(file("checkers.pid"));
    Process::start(netns, &mut command, log)
}

/// Writes keepalived's form of `config`, for a start or a reload.
///
/// # Errors
/// The file cannot be written.
pub fn write(config: &Config, directory: &Path) -> Result<()> {
    let path = directory.join(format!("{}.conf", config.name));
    std::fs::write(&path, config.keepalived()).context(|| format!("write {}", path.display()))
}
