//! Lines on their way out, on a thread of their own: whoever reads the log may
//! stall, and the control thread feeds a watchdog.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Bytes that may wait for a slow reader.
const ROOM: usize = 1 << 20;

enum Work {
    Lines(Vec<u8>),
    /// All before it was written.
    Done(SyncSender<()>),
}

/// Takes whole lines and never blocks; one for each thread that writes.
#[derive(Clone, Debug)]
pub struct Scribe {
    to: Sender<Work>,
    waiting: Arc<AtomicUsize>,
}

impl Scribe {
    /// Starts the thread that writes to `out`. It ends with its last `Scribe`.
    ///
    /// # Errors
    /// Errors of clone(2).
    pub fn start(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (to, work) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("scribe".to_owned());
        thread.stack_size(64 << 10).spawn(move || {
            for work in work {
                match work {
                    // A reader that has gone away is no reason to end.
                    Work::Lines(lines) => {
                        let _ = out.write_all(&lines).and_then(|()| out.flush());
                        theirs.fetch_sub(lines.len(), Ordering::Relaxed);
                    }
                    // Whoever asked may have waited long enough.
                    Work::Done(done) => drop(done.try_send(())),
                }
            }
        })?;
        Ok(Self { to, waiting })
    }

    /// Waits until all is written that was taken, but not for longer.
    pub fn finish(&self, patience: Duration) {
        let (done, all) = sync_channel(1);
        if self.to.send(Work::Done(done)).is_ok() {
            let _ = all.recv_timeout(patience);
        }
    }
}

impl Write for Scribe {
    /// Takes all of it, or nothing.
    ///
    /// # Errors
    /// `WouldBlock` when the reader is so slow that too much waits.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let waiting = self.waiting.fetch_add(lines.len(), Ordering::Relaxed);
        if waiting > 0 && waiting.saturating_add(lines.len()) > ROOM {
            self.waiting.fetch_sub(lines.len(), Ordering::Relaxed);
            return Err(ErrorKind::WouldBlock.into());
        }
        let sent = self.to.send(Work::Lines(lines.to_vec()));
        sent.map_err(|_| ErrorKind::BrokenPipe)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_reader_that_stalls_holds_nobody_up_and_gets_what_was_taken() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut scribe = Scribe::start(writer).unwrap();
        let line = [b'x'; 1_024];
        let mut taken = 0;
        // More than the pipe and the room hold together.
        let refused = (0..4_096).find_map(|_| match scribe.write(&line) {
            Ok(count) => {
                taken += count;
                None
            }
            Err(error) => Some(error.kind()),
        });
        assert_eq!(refused, Some(ErrorKind::WouldBlock));
        assert!(taken >= ROOM);
        scribe.finish(Duration::from_millis(1));
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all.len())
        });
        scribe.finish(Duration::from_secs(60));
        assert_eq!(scribe.write(b"and on\n").unwrap(), 7);
        drop(scribe);
        assert_eq!(read.join().unwrap().unwrap(), taken + 7);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        let mut scribe = Scribe::start(writer).unwrap();
        drop(reader);
        for _ in 0..3 {
            assert_eq!(scribe.write(b"words\n").unwrap(), 6);
            scribe.finish(Duration::from_secs(60));
        }
    }
}
