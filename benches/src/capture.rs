//! What went over an interface, with the kernel's own times: tcpdump writes it,
//! and this reads its file. It knows no protocol.

use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use trunnion_tests::lab::process::Process;
use trunnion_tests::lab::{Context as _, LabError, Netns, Result, wait_for};

/// A capture that runs; Ethernet frames, cut after 96 bytes.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

/// How long tcpdump may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Capture {
    /// Begins to write what passes `filter` (pcap-filter(7)) into `directory`;
    /// from its return nothing is missed.
    ///
    /// # Errors
    /// tcpdump does not begin; with its words.
    pub fn start(netns: &Netns, interface: &str, filter: &str, directory: &Path) -> Result<Self> {
        let file = directory.join("capture.pcap");
        let log = directory.join("tcpdump.log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", interface, "--time-stamp-precision=nano", "-s", "96"])
            .args(["-B", "65536", "--immediate-mode", "-U", "-Z", "root", "-w"])
            .arg(&file)
            .arg(filter);
        let process = Process::start(netns, &mut command, &log)?;
        let listens = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains("listening on").then_some(())
        };
        wait_for(PATIENCE, listens)
            .ok_or_else(|| LabError::new(format!("tcpdump:\n{}", process.log_tail(5))))?;
        Ok(Self { process, file })
    }

    /// Ends, and calls `each` with the time since 1970 and the frame of all that
    /// passed.
    ///
    /// # Errors
    /// tcpdump does not end, or the kernel dropped packets: gaps would be its.
    pub fn finish(mut self, each: impl FnMut(Duration, &[u8])) -> Result<()> {
        // What has passed is on its way through a thread with no priority.
        std::thread::sleep(Duration::from_millis(100));
        self.process.signal(Signal::INT)?;
        self.process
            .wait(PATIENCE)
            .ok_or_else(|| LabError::new("tcpdump does not end"))?;
        let words = self.process.log_tail(5);
        // The line may end with what an interface dropped too.
        if !words.contains(" 0 packets dropped by kernel") {
            return Err(LabError::new(format!("tcpdump missed packets:\n{words}")));
        }
        let bytes =
            std::fs::read(&self.file).context(|| format!("read {}", self.file.display()))?;
        packets(&bytes, each);
        Ok(())
    }
}

/// Now, by the clock of the packets.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

const FILE_HEADER_BYTES: usize = 24;

/// Walks a pcap file with nanoseconds (pcap-savefile(5)); a last packet that is
/// not whole is left out.
fn packets(bytes: &[u8], mut each: impl FnMut(Duration, &[u8])) {
    let mut bytes = bytes.get(FILE_HEADER_BYTES..).unwrap_or_default();
    while let Some((header, rest)) = bytes.split_first_chunk::<16>() {
        let word = |at: usize| {
            let four = header[at..at + 4].try_into().unwrap_or_default();
            u32::from_ne_bytes(four)
        };
        let Some((packet, rest)) = rest.split_at_checked(word(8) as usize) else {
            return;
        };
        bytes = rest;
        each(Duration::new(word(0).into(), word(4)), packet);
    }
}
