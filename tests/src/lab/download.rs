//! A long download through the VIP, checked byte by byte: what an operator
//! means by "no connection was lost".

use super::backend::byte_at;
use super::client::{Failure, Head, request};
use super::{LabError, Netns, Result};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest silence a download survives.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a download went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The backend that served it; empty when nothing came.
    pub backend: String,
    /// Bytes that came, each as it should be.
    pub bytes: u64,
    /// Bytes that were promised.
    pub length: u64,
    /// From the connect to the last byte.
    pub elapsed: Duration,
    /// The longest time without a byte.
    pub stall: Duration,
    /// Why it ended early.
    pub failure: Option<String>,
}

impl Outcome {
    /// All of it came.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.failure.is_none() && self.length > 0 && self.bytes == self.length
    }
}

/// `b1, 655360 of 655360 bytes in 2.50 s, longest stall 21 ms`.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kB of {} kB from {} in {:.1} s, longest stall {} ms",
            self.bytes / 1000,
            self.length / 1000,
            if self.backend.is_empty() {
                "nobody"
            } else {
                &self.backend
            },
            self.elapsed.as_secs_f64(),
            self.stall.as_millis()
        )?;
        match &self.failure {
            None => Ok(()),
            Some(why) => write!(f, ", then {why}"),
        }
    }
}

/// What others may see of a download in progress.
#[derive(Debug, Default)]
pub struct Progress {
    received: AtomicU64,
    port: AtomicU16,
}

/// A download in progress on a thread of its own.
#[derive(Debug)]
pub struct Download {
    progress: Arc<Progress>,
    thread: JoinHandle<Result<Outcome>>,
}

impl Download {
    /// Starts to download `bytes` at `rate` a second, from inside `netns`.
    #[must_use]
    pub fn start(netns: &Netns, address: SocketAddr, bytes: u64, rate: u64) -> Self {
        let progress = Arc::new(Progress::default());
        let theirs = Arc::clone(&progress);
        let netns = netns.clone();
        let thread = std::thread::spawn(move || {
            netns.enter()?;
            Ok(download(address, bytes, rate, &theirs))
        });
        Self { progress, thread }
    }

    /// Bytes so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.progress.received.load(Ordering::Relaxed)
    }

    /// The client's port; 0 before it is connected.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.progress.port.load(Ordering::Relaxed)
    }

    /// Whether it has ended, well or badly.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until some bytes have come: from here on it is an established
    /// connection.
    ///
    /// # Errors
    /// It ended, or nothing came within some seconds.
    pub fn established(&self) -> Result<()> {
        let some = || (self.received() > 0).then_some(());
        super::wait_for(PATIENCE, || some().or(self.ended().then_some(())))
            .and_then(|()| some())
            .ok_or_else(|| LabError::new("the download did not begin"))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The namespace could not be entered.
    pub fn finish(self) -> Result<Outcome> {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Downloads on the calling thread; `progress` follows.
pub fn download(address: SocketAddr, bytes: u64, rate: u64, progress: &Progress) -> Outcome {
    let start = Instant::now();
    let mut outcome = Outcome {
        backend: String::new(),
        bytes: 0,
        length: bytes,
        elapsed: Duration::ZERO,
        stall: Duration::ZERO,
        failure: None,
    };
    let path = format!("/slow?bytes={bytes}&rate={rate}");
    outcome.failure = receive(address, &path, &mut outcome, progress).err();
    outcome.elapsed = start.elapsed();
    outcome
}

fn receive(
    address: SocketAddr,
    path: &str,
    outcome: &mut Outcome,
    progress: &Progress,
) -> std::result::Result<(), String> {
    let io = |error: std::io::Error| Failure::of(&error).to_string();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(io)?;
    let own = stream.local_addr().map_err(io)?;
    progress.port.store(own.port(), Ordering::Relaxed);
    stream.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    stream.write_all(request(path).as_bytes()).map_err(io)?;
    let mut buffer = vec![0; 65_536];
    let mut start = Vec::new();
    let mut last = Instant::now();
    let head = loop {
        let length = stream.read(&mut buffer).map_err(io)?;
        start.extend(&buffer[..length]);
        if let Some(head) = Head::read(&start) {
            break head;
        }
        if length == 0 {
            return Err("an end within the head".to_owned());
        }
    };
    outcome.backend.clone_from(&head.server);
    if head.status != 200 || head.length != outcome.length {
        return Err(format!("status {}, length {}", head.status, head.length));
    }
    let mut piece = start.split_off(head.body_at);
    loop {
        for byte in &piece {
            if *byte != byte_at(outcome.bytes) {
                return Err(format!("a wrong byte at {}", outcome.bytes));
            }
            outcome.bytes += 1;
        }
        progress.received.store(outcome.bytes, Ordering::Relaxed);
        if outcome.bytes >= outcome.length {
            return Ok(());
        }
        let length = stream.read(&mut buffer).map_err(io)?;
        outcome.stall = outcome.stall.max(last.elapsed());
        last = Instant::now();
        if length == 0 {
            return Err("an early end".to_owned());
        }
        piece.clear();
        piece.extend(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::backend::tests::on_loopback;

    #[test]
    fn every_byte_of_a_slow_download_arrives() {
        let progress = Progress::default();
        let outcome = download(on_loopback("b5"), 100_000, 1_000_000, &progress);
        assert!(outcome.complete(), "{outcome}");
        assert_eq!(outcome.backend, "b5");
        assert_eq!(progress.received.load(Ordering::Relaxed), 100_000);
    }

    #[test]
    fn a_refused_download_is_not_complete() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let outcome = download(address, 10, 10, &Progress::default());
        assert!(!outcome.complete());
        assert_eq!(outcome.failure.as_deref(), Some("refused"));
    }

    #[test]
    fn a_wrong_byte_and_an_early_end_are_found() {
        for (body, why) in [
            (&[0u8, 1, 3][..], "a wrong byte at 2"),
            (&[0, 1], "an early end"),
        ] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let head = "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 9\r\n\r\n";
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(body).unwrap();
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut [0; 16]);
            });
            let outcome = download(address, 9, 10, &Progress::default());
            assert_eq!(outcome.failure.as_deref(), Some(why));
            assert!(!outcome.complete());
        }
    }
}
