//! What went over the switch, with the kernel's own times: tcpdump writes it,
//! and this reads its file. It knows IPv4 adverts and gratuitous ARP, and
//! passes over everything else.

use crate::Result;
use crate::wires::{SWITCH, Wires};
use rustix::process::Signal;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};
use trunnion_tests::lab::process::Process;
use trunnion_tests::lab::{Context as _, LabError, wait_for};

/// One advert as it passed.
#[derive(Clone, Copy, Debug)]
pub struct Advert {
    /// When, since 1970, by the kernel.
    pub at: Duration,
    /// Who sent it.
    pub source: Ipv4Addr,
    pub vrid: u8,
    /// 0 is a farewell.
    pub priority: u8,
}

/// A capture that runs.
pub struct Capture {
    process: Process,
    file: PathBuf,
}

/// How long tcpdump may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Capture {
    /// Begins; from its return nothing is missed.
    pub fn start(wires: &Wires) -> Result<Self> {
        let file = wires.directory.join("adverts.pcap");
        let log = wires.directory.join("tcpdump.log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", SWITCH, "--time-stamp-precision=nano", "-s", "64"])
            .args(["-B", "16384", "--immediate-mode", "-U", "-Z", "root", "-w"])
            .arg(&file)
            .arg("ip proto 112");
        let process = Process::start(&wires.switch, &mut command, &log)?;
        let listens = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains("listening on").then_some(())
        };
        wait_for(PATIENCE, listens)
            .ok_or_else(|| LabError::new(format!("tcpdump:\n{}", process.log_tail(5))))?;
        Ok(Self { process, file })
    }

    /// What passed so far.
    pub fn so_far(&self) -> Result<Vec<Advert>> {
        let bytes =
            std::fs::read(&self.file).context(|| format!("read {}", self.file.display()))?;
        Ok(adverts(&bytes))
    }

    /// Ends, and says what passed.
    ///
    /// # Errors
    /// tcpdump does not end, or the kernel dropped packets: gaps would be its.
    pub fn finish(mut self) -> Result<Vec<Advert>> {
        // What has passed is on its way through a thread with no priority.
        std::thread::sleep(Duration::from_millis(100));
        self.process.signal(Signal::INT)?;
        self.process
            .wait(PATIENCE)
            .ok_or_else(|| LabError::new("tcpdump does not end"))?;
        let words = self.process.log_tail(5);
        if !words.contains("0 packets dropped by kernel") {
            return Err(LabError::new(format!("tcpdump missed packets:\n{words}")));
        }
        self.so_far()
    }
}

/// Now, by the clock of the packets.
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

const FILE_HEADER_BYTES: usize = 24;
const ETHERNET_BYTES: usize = 14;

/// Adverts of a pcap file with nanoseconds (pcap-savefile(5)); a last packet
/// that is not whole yet is left out.
fn adverts(mut bytes: &[u8]) -> Vec<Advert> {
    let mut found = Vec::new();
    bytes = bytes.get(FILE_HEADER_BYTES..).unwrap_or_default();
    while let Some((header, rest)) = bytes.split_first_chunk::<16>() {
        let word = |at: usize| {
            let four = header[at..at + 4].try_into().unwrap_or_default();
            u32::from_ne_bytes(four)
        };
        let Some((packet, rest)) = rest.split_at_checked(word(8) as usize) else {
            break;
        };
        bytes = rest;
        let at = Duration::new(word(0).into(), word(4));
        found.extend(packet.get(ETHERNET_BYTES..).and_then(|ip| advert(at, ip)));
    }
    found
}

fn advert(at: Duration, ip: &[u8]) -> Option<Advert> {
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let source: [u8; 4] = ip.get(12..16)?.try_into().ok()?;
    let vrrp = ip.get(header..)?;
    Some(Advert {
        at,
        source: source.into(),
        vrid: *vrrp.get(1)?,
        priority: *vrrp.get(2)?,
    })
}
