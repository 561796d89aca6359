//! What the service manager wants to hear: sd_notify(3), without libsystemd.

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use trunnion_core::time::Instant;

/// Bytes of a message; a longer status is cut off.
const MESSAGE_BYTES: usize = 256;

/// The service manager's notification socket. Sends never block and allocate
/// nothing; a manager that is away is an error the caller may drop.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notify {
    /// The socket named by `NOTIFY_SOCKET`; `None` when nobody asked to be
    /// notified. `@` begins an abstract name.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is neither a path nor abstract (a
    /// `vsock:` address, of a manager outside a virtual machine, is not
    /// spoken); errors of socket(2).
    pub fn from_env() -> io::Result<Option<Self>> {
        match env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::to(name.as_bytes()).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// The socket at `name`, as `NOTIFY_SOCKET` writes it.
    ///
    /// # Errors
    /// As [`Notify::from_env`].
    pub fn to(name: &[u8]) -> io::Result<Self> {
        let manager = match name {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "NOTIFY_SOCKET is neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }

    /// The node is ready: it has its config and its loops run. Also the end of
    /// a reload.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn ready(&self) -> io::Result<()> {
        self.send(format_args!("READY=1"))
    }

    /// A reload begins; [`Notify::ready`] ends it. `now` is the monotonic clock
    /// that [`monotonic`] reads.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn reloading(&self, now: Instant) -> io::Result<()> {
        let micros = now.as_nanos() / 1_000;
        self.send(format_args!("RELOADING=1\nMONOTONIC_USEC={micros}"))
    }

    /// The node is on its way out.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn stopping(&self) -> io::Result<()> {
        self.send(format_args!("STOPPING=1"))
    }

    /// The node makes progress. To be said at least every
    /// [`watchdog`] interval, better twice as often.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn watchdog(&self) -> io::Result<()> {
        self.send(format_args!("WATCHDOG=1"))
    }

    /// One line for `systemctl status`. Line breaks in it would be further
    /// assignments: do not pass text from outside.
    ///
    /// # Errors
    /// Those of sendto(2).
    pub fn status(&self, line: fmt::Arguments<'_>) -> io::Result<()> {
        self.send(format_args!("STATUS={line}"))
    }

    fn send(&self, message: fmt::Arguments<'_>) -> io::Result<()> {
        let mut buf = [0; MESSAGE_BYTES];
        let mut rest = &mut buf[..];
        // Full: what fitted is sent.
        let _ = rest.write_fmt(message);
        let len = MESSAGE_BYTES - rest.len();
        self.socket.send_to_addr(&buf[..len], &self.manager)?;
        Ok(())
    }
}

/// How often the manager expects [`Notify::watchdog`] from this process; `None`
/// when it does not watch it (sd_watchdog_enabled(3)).
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let usec = env::var("WATCHDOG_USEC").ok();
    let pid = env::var("WATCHDOG_PID").ok();
    interval(usec.as_deref(), pid.as_deref(), std::process::id())
}

fn interval(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    // Without a pid, whoever inherited the variable is meant.
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

/// Now, by `CLOCK_MONOTONIC`, the clock the service manager compares
/// [`Notify::reloading`] with. Nothing else here uses it.
#[must_use]
pub fn monotonic() -> Instant {
    crate::clock::read(libc::CLOCK_MONOTONIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(manager: &UnixDatagram) -> String {
        let mut buf = [0; 512];
        let len = manager.recv(&mut buf).unwrap();
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    #[test]
    fn says_what_the_manager_reads() {
        let name = format!("trunnion-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notify = Notify::to(format!("@{name}").as_bytes()).unwrap();
        notify.ready().unwrap();
        assert_eq!(said(&manager), "READY=1");
        notify.reloading(Instant::from_nanos(1_234_567)).unwrap();
        assert_eq!(said(&manager), "RELOADING=1\nMONOTONIC_USEC=1234");
        notify.watchdog().unwrap();
        assert_eq!(said(&manager), "WATCHDOG=1");
        notify.status(format_args!("{} of 3", 2)).unwrap();
        assert_eq!(said(&manager), "STATUS=2 of 3");
        notify.status(format_args!("{:300}", "")).unwrap();
        assert_eq!(said(&manager).len(), MESSAGE_BYTES);
        notify.stopping().unwrap();
        assert_eq!(said(&manager), "STOPPING=1");
        drop(manager);
        let away = notify.watchdog().unwrap_err();
        assert_eq!(away.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_path_is_a_path() {
        let path = env::temp_dir().join(format!("trunnion-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::to(path.as_os_str().as_bytes()).unwrap();
        notify.ready().unwrap();
        assert_eq!(said(&manager), "READY=1");
        std::fs::remove_file(&path).unwrap();
        assert!(Notify::to(b"vsock:2:1234").is_err());
    }

    #[test]
    fn the_watchdog_is_for_whom_it_names() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(interval(Some("1000000"), None, 7), second);
        assert_eq!(interval(Some("1000000"), Some("7"), 7), second);
        assert_eq!(interval(Some("1000000"), Some("8"), 7), None);
        assert_eq!(interval(Some("1000000"), Some("x"), 7), None);
        assert_eq!(interval(Some("0"), None, 7), None);
        assert_eq!(interval(Some("soon"), None, 7), None);
        assert_eq!(interval(None, Some("7"), 7), None);
    }

    #[test]
    fn the_managers_clock_runs() {
        assert!(monotonic() > Instant::ZERO);
        assert!(monotonic() <= crate::clock::boottime());
    }
}
