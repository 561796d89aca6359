//! A network namespace: threads step into it, and what they start or open
//! there stays there. No `ip netns exec`, so no extra exec (tens of
//! milliseconds each in user-mode-linux).

use super::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command};

/// A named network namespace of this lab.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
    role: String,
}

impl Netns {
    /// The namespace `name` in which the part `role` lives; `ip netns add`
    /// must have made it, or is about to.
    #[must_use]
    pub fn new(name: &str, role: &str) -> Self {
        Self {
            name: name.to_owned(),
            role: role.to_owned(),
        }
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who lives in it: `lb1`, `b2`, `client`, `switch`.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Moves the calling thread into the namespace for the rest of its life:
    /// its sockets, its `/proc/sys/net` and its children are of there.
    ///
    /// # Errors
    /// The namespace is gone, or we are not root.
    pub fn enter(&self) -> Result<()> {
        let path = PathBuf::from("/run/netns").join(&self.name);
        let file = File::open(&path).context(|| format!("open {}", path.display()))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .context(|| format!("enter the namespace {}", self.name))
    }

    /// Runs `work` on a thread inside the namespace and waits for it.
    ///
    /// # Errors
    /// As [`Netns::enter`].
    ///
    /// # Panics
    /// When `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| self.enter().map(|()| work()))
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a command inside the namespace.
    ///
    /// # Errors
    /// As [`Netns::enter`], and when the program cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.run(|| command.spawn())?
            .context(|| format!("start {program} in {}", self.role))
    }

    /// Runs a command inside the namespace and returns what it printed.
    ///
    /// # Errors
    /// It cannot be started, or it ends with a status other than 0: then the
    /// error carries its stderr.
    pub fn output(&self, command: &mut Command) -> Result<String> {
        self.run(|| super::process::output(command))?
            .context(|| format!("in {}", self.role))
    }

    /// Sets sysctls by their names below `/proc/sys/net`. One that this kernel
    /// does not have is an error: the lab depends on each.
    ///
    /// # Errors
    /// Names the first that could not be written.
    pub fn sysctls(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            settings.iter().try_for_each(|(name, value)| {
                std::fs::write(format!("/proc/sys/net/{name}"), value)
                    .context(|| format!("set net/{name} = {value} in {}", self.role))
            })
        })?
    }

    /// Whether an address is one of the namespace's own, as its kernel sees it:
    /// a socket can be bound to it.
    ///
    /// # Errors
    /// As [`Netns::enter`].
    pub fn holds(&self, address: std::net::IpAddr) -> Result<bool> {
        self.run(|| std::net::UdpSocket::bind((address, 0)).is_ok())
    }
}
