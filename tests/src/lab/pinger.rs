//! The client that asks every few milliseconds and keeps time: each try is a
//! fresh connection, tries do not wait for each other, so one that hangs never
//! stops the clock. A gap is the time between two answers.

use super::client::{Failure, Tally, answered, request};
use super::{LabError, Netns, Result};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One finished try.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it began.
    pub started: Instant,
    /// When it was answered, or given up.
    pub ended: Instant,
    /// Who answered.
    pub result: std::result::Result<String, Failure>,
}

/// What was seen of the answers in a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Gap {
    /// The longest time between two answers.
    pub longest: Duration,
    /// When it began; `None` without two answers.
    pub began: Option<Instant>,
    /// All tries that ended in the stretch.
    pub tally: Tally,
    /// The longest that the client itself was late with a try: its own part
    /// in any gap.
    pub own_lateness: Duration,
}

#[derive(Debug, Default)]
struct Record {
    samples: Vec<Sample>,
    lateness: Vec<(Instant, Duration)>,
    fault: Option<String>,
}

/// A client that asks one address every so often, from a thread of its own.
#[derive(Debug)]
pub struct Pinger {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pinger {
    /// Starts to ask `address` from inside `netns` every `period`; a try
    /// without a whole answer after `timeout` is given up.
    #[must_use]
    pub fn start(netns: &Netns, address: SocketAddr, period: Duration, timeout: Duration) -> Self {
        let netns = netns.clone();
        Self::begin(move || netns.enter(), address, period, timeout)
    }

    /// The same from the namespace the caller is in.
    #[must_use]
    pub fn start_here(address: SocketAddr, period: Duration, timeout: Duration) -> Self {
        Self::begin(|| Ok(()), address, period, timeout)
    }

    fn begin(
        enter: impl FnOnce() -> Result<()> + Send + 'static,
        address: SocketAddr,
        period: Duration,
        timeout: Duration,
    ) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, stopped) = (Arc::clone(&record), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let run = || -> Result<()> {
                enter()?;
                let engine = Engine::new(address, period, timeout, &theirs);
                engine
                    .and_then(|mut engine| engine.run(&stopped))
                    .map_err(|error| LabError::new(format!("the client's poll: {error}")))
            };
            if let Err(error) = run() {
                lock(&theirs).fault = Some(error.to_string());
            }
        });
        Self {
            record,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits for an answer to a try that began at or after `since`; how long
    /// after `since` it came.
    ///
    /// # Errors
    /// None came within `limit`; the error says what came instead.
    pub fn answered(&self, since: Instant, limit: Duration) -> Result<Duration> {
        self.answer_where(since, limit, |_| true)
    }

    /// Like [`Pinger::answered`], of one backend.
    ///
    /// # Errors
    /// As [`Pinger::answered`].
    pub fn answered_by(&self, backend: &str, since: Instant, limit: Duration) -> Result<Duration> {
        self.answer_where(since, limit, |name| name == backend)
    }

    fn answer_where(
        &self,
        since: Instant,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Duration> {
        let found = super::wait_for(limit, || {
            let record = lock(&self.record);
            let fault = record.fault.clone();
            let first = record
                .samples
                .iter()
                .rev()
                .take_while(|sample| sample.ended >= since)
                .filter(|s| s.started >= since && s.result.as_deref().is_ok_and(&wanted))
                .last()
                .map(|sample| sample.ended - since);
            first.map(Ok).or(fault.map(|f| Err(LabError::new(f))))
        });
        found.unwrap_or_else(|| {
            Err(LabError::new(format!(
                "not answered within {} ms; since then: {}",
                limit.as_millis(),
                self.gap(since, Instant::now()).tally
            )))
        })
    }

    /// When the last failed try that began at or after `since` ended.
    #[must_use]
    pub fn last_failure(&self, since: Instant) -> Option<Instant> {
        lock(&self.record)
            .samples
            .iter()
            .filter(|sample| sample.started >= since && sample.result.is_err())
            .map(|sample| sample.started)
            .max()
    }

    /// The longest time without an answer between the last answer before
    /// `from` and the first after `to`.
    #[must_use]
    pub fn gap(&self, from: Instant, to: Instant) -> Gap {
        let record = lock(&self.record);
        let lateness = record.lateness.iter();
        gap(
            &record.samples,
            from,
            to,
            lateness
                .filter(|(at, _)| *at >= from && *at <= to)
                .map(|(_, late)| *late)
                .max()
                .unwrap_or_default(),
        )
    }

    /// The fault that ended it, if one did.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        lock(&self.record).fault.clone()
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gap(samples: &[Sample], from: Instant, to: Instant, own_lateness: Duration) -> Gap {
    let mut found = Gap {
        own_lateness,
        ..Gap::default()
    };
    let mut previous: Option<Instant> = None;
    for sample in samples {
        if sample.ended >= from && sample.ended <= to {
            found.tally.add(sample.result.clone());
        }
        if sample.result.is_err() {
            continue;
        }
        if let Some(before) = previous
            && sample.ended >= from
            && sample.ended - before > found.longest
        {
            found.longest = sample.ended - before;
            found.began = Some(before);
        }
        if sample.ended > to {
            break;
        }
        previous = Some(sample.ended);
    }
    found
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A try in flight.
struct Try {
    stream: TcpStream,
    started: Instant,
    asked: bool,
    reply: Vec<u8>,
}

struct Engine<'a> {
    address: SocketAddr,
    period: Duration,
    timeout: Duration,
    poll: Poll,
    tries: Vec<Option<Try>>,
    record: &'a Mutex<Record>,
}

impl<'a> Engine<'a> {
    fn new(
        address: SocketAddr,
        period: Duration,
        timeout: Duration,
        record: &'a Mutex<Record>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            address,
            period,
            timeout,
            poll: Poll::new()?,
            tries: Vec::new(),
            record,
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> std::io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let wait = next.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            // Answers first: one that has come must not be given up because we
            // were late to look.
            for event in &events {
                self.advance(event);
            }
            let now = Instant::now();
            self.give_up(now);
            if now >= next {
                lock(self.record).lateness.push((now, now - next));
                self.begin(now)?;
                // Late: go on from here. A burst would measure something else.
                next = now.max(next + self.period);
            }
        }
        Ok(())
    }

    fn begin(&mut self, now: Instant) -> std::io::Result<()> {
        let mut stream = match TcpStream::connect(self.address) {
            Ok(stream) => stream,
            Err(error) => {
                self.note(now, Err(Failure::of(&error)));
                return Ok(());
            }
        };
        let slot = self.tries.iter().position(Option::is_none);
        let slot = slot.unwrap_or_else(|| {
            self.tries.push(None);
            self.tries.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(slot), interest)?;
        self.tries[slot] = Some(Try {
            stream,
            started: now,
            asked: false,
            reply: Vec::new(),
        });
        Ok(())
    }

    fn advance(&mut self, event: &Event) {
        let Token(slot) = event.token();
        // A slot freed in this round may still have an event: nothing to do.
        let Some(attempt) = self.tries.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if let Some(result) = attempt.advance(event) {
            let started = attempt.started;
            self.tries[slot] = None;
            self.note(started, result);
        }
    }

    fn give_up(&mut self, now: Instant) {
        for slot in 0..self.tries.len() {
            if let Some(attempt) = &self.tries[slot]
                && now - attempt.started >= self.timeout
            {
                let started = attempt.started;
                self.tries[slot] = None;
                self.note(started, Err(Failure::Timeout));
            }
        }
    }

    fn note(&self, started: Instant, result: std::result::Result<String, Failure>) {
        let ended = Instant::now();
        lock(self.record).samples.push(Sample {
            started,
            ended,
            result,
        });
    }
}

impl Try {
    /// Does what can be done now; the result, when there is one. No system call
    /// more than needed: in user-mode Linux hundreds of tries a second are most
    /// of what the machine can do.
    fn advance(&mut self, event: &Event) -> Option<std::result::Result<String, Failure>> {
        let failed = |error: &std::io::Error| {
            let later = [ErrorKind::WouldBlock, ErrorKind::Interrupted];
            (!later.contains(&error.kind())).then(|| Err(Failure::of(error)))
        };
        if !self.asked {
            // A connect that failed fails the write with its own error. A
            // request of one small segment on a new connection is taken whole.
            if let Err(error) = self.stream.write(request("/").as_bytes()) {
                return failed(&error);
            }
            self.asked = true;
        }
        if !event.is_readable() {
            return None;
        }
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(answered(&self.reply).ok_or(Failure::Broken)),
                Ok(length) => self.reply.extend(&buffer[..length]),
                Err(error) => return failed(&error),
            }
            if let Some(name) = answered(&self.reply) {
                return Some(Ok(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::backend::tests::on_loopback;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_gap_is_from_answer_to_answer() {
        let start = Instant::now();
        let sample = |began, ended, ok: bool| Sample {
            started: at(start, began),
            ended: at(start, ended),
            result: if ok {
                Ok("b1".to_owned())
            } else {
                Err(Failure::Timeout)
            },
        };
        // Answers at 10, 15, then hanging tries, then answers from 371.
        let samples = [
            sample(9, 10, true),
            sample(14, 15, true),
            sample(370, 371, true),
            sample(20, 420, false),
            sample(375, 376, true),
            sample(900, 901, true),
        ];
        let seen = gap(&samples, at(start, 12), at(start, 500), Duration::ZERO);
        assert_eq!(seen.longest, Duration::from_millis(525));
        assert_eq!(seen.tally.to_string(), "b1 3, 1 no answer in time");
        let seen = gap(&samples[..5], at(start, 12), at(start, 500), Duration::ZERO);
        assert_eq!(seen.longest, Duration::from_millis(356));
        assert_eq!(seen.began, Some(at(start, 15)));
        // Without an answer after it, silence is no gap: it has no end yet.
        let seen = gap(&samples[..2], at(start, 0), at(start, 500), Duration::ZERO);
        assert_eq!(seen.longest, Duration::from_millis(5));
    }

    #[test]
    fn a_server_that_never_answers_does_not_stop_the_clock() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let (period, timeout) = (Duration::from_millis(2), Duration::from_millis(100));
        let start = Instant::now();
        let pinger = Pinger::start_here(address, period, timeout);
        let many = super::super::wait_for(Duration::from_secs(20), || {
            let tally = pinger.gap(start, Instant::now()).tally;
            (tally.failed() >= 10).then_some(tally)
        })
        .expect("tries end though none is answered");
        assert_eq!(
            many.failures.keys().collect::<Vec<_>>(),
            [&Failure::Timeout]
        );
        assert!(pinger.answered(start, Duration::ZERO).is_err());
        // One after the other, ten of them would have taken ten timeouts.
        assert!(pinger.last_failure(start).unwrap() - start < timeout * 10);
    }

    #[test]
    fn answers_are_heard_from_a_backend() {
        let address = on_loopback("b3");
        let start = Instant::now();
        let period = Duration::from_millis(2);
        let pinger = Pinger::start_here(address, period, Duration::from_secs(2));
        let limit = Duration::from_secs(20);
        pinger.answered_by("b3", start, limit).expect("answers");
        let error = pinger.answered_by("b4", start, Duration::from_millis(50));
        assert!(error.unwrap_err().to_string().contains("b3 "));
        assert_eq!(pinger.fault(), None);
    }
}
