//! What a namespace really asks the kernel's IPVS for: an `nlmon` device sees
//! every netlink message, tcpdump copies them, and the requests are counted
//! here by command. It is the witness beside the daemon's own counters.
//!
//! Source: linux/ip_vs.h (commands), pcap-savefile(5), LINKTYPE_NETLINK.

use super::netns::Netns;
use super::rtnl::{self, CONTROLLER, FAMILY_ID, FAMILY_NAME, MARK, NEW_FAMILY, REQUEST};
use super::{Context, LabError, Result, process, wait_for};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufReader, Read};
use std::ops::Sub;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Names of the commands, `IPVS_CMD_*`, by number from 1.
pub const COMMANDS: [&str; 17] = [
    "new_service",
    "set_service",
    "del_service",
    "get_service",
    "new_dest",
    "set_dest",
    "del_dest",
    "get_dest",
    "new_daemon",
    "del_daemon",
    "get_daemon",
    "set_config",
    "get_config",
    "set_info",
    "get_info",
    "zero",
    "flush",
];

/// Requests by command: what was sent, not what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests([u64; COMMANDS.len()]);

impl Requests {
    /// How many of this command.
    ///
    /// # Panics
    /// No command has the name.
    #[must_use]
    pub fn of(&self, command: &str) -> u64 {
        self.0[index(command)]
    }

    /// With so many of this command.
    ///
    /// # Panics
    /// No command has the name.
    #[must_use]
    pub fn with(mut self, command: &str, count: u64) -> Self {
        self.0[index(command)] = count;
        self
    }

    /// Without the commands that only read.
    #[must_use]
    pub fn writes(mut self) -> Self {
        for (count, name) in self.0.iter_mut().zip(COMMANDS) {
            if name.starts_with("get_") {
                *count = 0;
            }
        }
        self
    }

    /// Requests that can end a connection: deletions and flushes.
    #[must_use]
    pub fn destructive(&self) -> u64 {
        self.of("del_service") + self.of("del_dest") + self.of("flush")
    }
}

fn index(command: &str) -> usize {
    COMMANDS
        .iter()
        .position(|name| *name == command)
        .unwrap_or_else(|| panic!("no IPVS command is called {command}"))
}

impl Sub for Requests {
    type Output = Self;

    fn sub(mut self, before: Self) -> Self {
        for (count, before) in self.0.iter_mut().zip(before.0) {
            *count -= before;
        }
        self
    }
}

/// `2 new_dest, 1 set_dest`, or `none`.
impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some: Vec<String> = COMMANDS
            .iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        match some.as_slice() {
            [] => f.write_str("none"),
            some => f.write_str(&some.join(", ")),
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    family: Option<u16>,
    requests: Requests,
    /// What had been counted when a mark went by.
    marks: BTreeMap<u32, Requests>,
    fault: Option<String>,
}

/// A running capture in one namespace.
#[derive(Debug)]
pub struct Capture {
    netns: Netns,
    tcpdump: Child,
    seen: Arc<Mutex<Seen>>,
    next_mark: u32,
}

impl Capture {
    /// Starts to capture; when this returns, every later request is counted.
    ///
    /// # Errors
    /// The kernel has no nlmon or no ip_vs, or tcpdump is not installed or
    /// does not capture.
    pub fn start(netns: &Netns, log: &Path) -> Result<Self> {
        let ip = "link add nlmon0 up type nlmon";
        netns.run(|| process::feed(Command::new("ip").args(["-batch", "-"]), ip))??;
        let log_file = std::fs::File::create(log).context(|| format!("open {}", log.display()))?;
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", "nlmon0", "-w", "-", "-U", "-s", "0", "-Z", "root"])
            .args(["--immediate-mode", "-B", "8192"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file);
        let mut tcpdump = netns.spawn(&mut command)?;
        let stdout = tcpdump.stdout.take().expect("stdout is piped");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let theirs = Arc::clone(&seen);
        std::thread::spawn(move || {
            let end = read_pcap(BufReader::new(stdout), |packet| {
                let mut seen = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                seen.take_packet(packet);
            });
            if let Err(error) = end {
                let mut seen = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                seen.fault = Some(error.to_string());
            }
        });
        let mut capture = Self {
            netns: netns.clone(),
            tcpdump,
            seen,
            next_mark: 1,
        };
        // tcpdump takes a moment to listen: resolve until one answer is seen.
        let ready = wait_for(Duration::from_secs(10), || {
            let asked = rtnl::resolve_ipvs(netns);
            std::thread::sleep(Duration::from_millis(20));
            match (asked, capture.lock().family) {
                (Err(error), _) => Some(Err(error)),
                (Ok(()), Some(_)) => Some(Ok(())),
                (Ok(()), None) => None,
            }
        });
        ready.unwrap_or_else(|| {
            Err(LabError::new(format!(
                "tcpdump sees nothing on nlmon0; it says:\n{}",
                process::tail(log, 5)
            )))
        })?;
        capture.counted()?;
        Ok(capture)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything counted so far, exactly: a mark is sent and waited for, so
    /// nothing sent before this call is still on its way.
    ///
    /// # Errors
    /// The capture has died, or does not keep up within some seconds.
    pub fn counted(&mut self) -> Result<Requests> {
        let mark = self.next_mark;
        self.next_mark += 1;
        // In user-mode Linux tcpdump now and then sleeps on in spite of a packet:
        // the next one wakes it.
        for _ in 0..20 {
            rtnl::mark(&self.netns, mark)?;
            let seen = wait_for(Duration::from_millis(500), || {
                let seen = self.lock();
                let done = seen.marks.get(&mark).map(|counted| Ok(*counted));
                done.or_else(|| seen.fault.clone().map(|fault| Err(LabError::new(fault))))
            });
            if let Some(counted) = seen {
                return counted.context(|| format!("capture in {}", self.netns.role()));
            }
        }
        Err(LabError::new("mark not seen within 10 s"))
            .context(|| format!("capture in {}", self.netns.role()))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

impl Seen {
    /// One packet of LINKTYPE_NETLINK: a 16-byte pseudo-header whose last two
    /// bytes are the netlink protocol, then the datagram.
    fn take_packet(&mut self, packet: &[u8]) {
        const GENERIC: u16 = 16;
        let Some((header, datagram)) = packet.split_first_chunk::<16>() else {
            return;
        };
        if u16::from_be_bytes([header[14], header[15]]) != GENERIC {
            return;
        }
        for message in rtnl::messages(datagram) {
            self.take_message(&message);
        }
    }

    fn take_message(&mut self, message: &rtnl::Message<'_>) {
        if message.pid == MARK && message.flags & REQUEST != 0 {
            // Of one that was repeated the first counts.
            self.marks.entry(message.sequence).or_insert(self.requests);
            return;
        }
        let Some((genl, rest)) = message.body.split_first_chunk::<4>() else {
            return;
        };
        let command = genl[0];
        if message.kind == CONTROLLER && command == NEW_FAMILY {
            let find = |wanted| {
                rtnl::attributes(rest)
                    .find(|(kind, _)| *kind == wanted)
                    .map(|(_, payload)| payload)
            };
            if find(FAMILY_NAME) == Some(b"IPVS\0")
                && let Some(id) = find(FAMILY_ID).and_then(|id| id.first_chunk::<2>())
            {
                self.family = Some(u16::from_ne_bytes(*id));
            }
        } else if Some(message.kind) == self.family && message.flags & REQUEST != 0 {
            let slot = usize::from(command).checked_sub(1);
            if let Some(count) = slot.and_then(|slot| self.requests.0.get_mut(slot)) {
                *count += 1;
            }
        }
    }
}

/// Reads a classic pcap stream to its end and hands over each packet.
fn read_pcap(mut input: impl Read, mut packet: impl FnMut(&[u8])) -> std::io::Result<()> {
    const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
    let mut header = [0; 24];
    input.read_exact(&mut header)?;
    let magic = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
    if magic != MAGIC_MICROSECONDS {
        return Err(std::io::Error::other(format!(
            "tcpdump wrote the magic {magic:#x}, not a pcap of this machine"
        )));
    }
    let mut buffer = Vec::new();
    loop {
        let mut record = [0; 16];
        match input.read_exact(&mut record) {
            Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(std::io::Error::other("tcpdump has ended"));
            }
            other => other?,
        }
        let captured = u32::from_ne_bytes([record[8], record[9], record[10], record[11]]);
        let length = u32::from_ne_bytes([record[12], record[13], record[14], record[15]]);
        if captured != length {
            return Err(std::io::Error::other("tcpdump cut a packet short"));
        }
        buffer.resize(usize::try_from(captured).unwrap_or(usize::MAX), 0);
        input.read_exact(&mut buffer)?;
        packet(&buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pseudo-header and one message.
    fn packet(kind: u16, flags: u16, pid: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 4, 3, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16];
        bytes.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(5u32.to_ne_bytes());
        bytes.extend(pid.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = 0xa1b2_c3d4_u32.to_ne_bytes().to_vec();
        bytes.resize(24, 0);
        for packet in packets {
            let length = u32::try_from(packet.len()).unwrap().to_ne_bytes();
            bytes.extend([0; 8]);
            bytes.extend(length);
            bytes.extend(length);
            bytes.extend(packet);
        }
        bytes
    }

    #[test]
    fn requests_are_counted_and_replies_are_not() {
        // GETFAMILY's answer as Linux 6.1 gives it, first two attributes.
        let mut answer = vec![NEW_FAMILY, 2, 0, 0];
        answer.extend([9, 0, 2, 0]);
        answer.extend(b"IPVS\0\0\0\0");
        answer.extend([6, 0, 1, 0, 28, 0, 0, 0]);
        let set_dest = [6, 1, 0, 0];
        let stream = pcap(&[
            packet(28, REQUEST, 0, &set_dest), // before the family is known
            packet(CONTROLLER, 0, 0, &answer),
            packet(28, REQUEST, 0, &set_dest),
            packet(28, REQUEST, 0, &[5, 1, 0, 0]),
            packet(28, 2, 0, &[5, 1, 0, 0]), // a dump's reply
            packet(2, 0, 0, &set_dest),      // an error
            packet(1, REQUEST, MARK, &[]),
            packet(28, REQUEST, 0, &[17, 1, 0, 0]),
            packet(28, REQUEST, 0, &[99, 1, 0, 0]),
        ]);
        let mut seen = Seen::default();
        let end = read_pcap(&stream[..], |packet| seen.take_packet(packet));
        assert!(end.is_err(), "the stream ended");
        assert_eq!(seen.family, Some(28));
        let expected = Requests::default().with("set_dest", 1).with("new_dest", 1);
        assert_eq!(seen.marks.get(&5), Some(&expected));
        assert_eq!(seen.requests, expected.with("flush", 1));
        assert_eq!(seen.requests.destructive(), 1);
        assert_eq!((seen.requests - expected).to_string(), "1 flush");
        assert_eq!(expected.to_string(), "1 new_dest, 1 set_dest");
        assert_eq!(Requests::default().to_string(), "none");
    }

    #[test]
    fn a_foreign_pcap_is_refused() {
        let mut stream = pcap(&[]);
        stream[0] ^= 1;
        assert!(read_pcap(&stream[..], |_| ()).is_err());
    }
}
