//! Log records become lines: on the control thread, so that a slow reader of
//! the log costs records, which are counted, and never a loop's time. Its own
//! time it does not cost either: [`super::Scribe`].

use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trunnion_core::record::{Entry, Frame, Level, Record, Value, find, records};
use trunnion_core::time::Instant;
use trunnion_core::{check, director, vrrp};

records! {
    /// A loop wrote more records than were taken from it in time.
    0x0780 Warn RecordsDropped { thread: &'static str, records: u64 }
        "{thread}: {records} log records lost, the reader of the log is too slow";
    /// Whoever reads the lines did not for long.
    0x0782 Warn LinesLost { lines: u64 }
        "{lines} lines of the log are lost, its reader is too slow";
    /// The control socket failed; the loops run on.
    0x0781 Error ControlSocketLost {}
        "the control socket is no longer served, the loops run on: restart when convenient";
}

/// The records of every room that logs here.
pub const CATALOGUES: &[&[Entry]] = &[
    check::RECORDS,
    director::records::RECORDS,
    vrrp::records::RECORDS,
    crate::run::records::RECORDS,
    RECORDS,
];

/// Where the records of one thread wait: the reading end of its ring.
pub trait Records: Send {
    /// The thread that writes them.
    fn thread(&self) -> &'static str;
    /// Takes the oldest record.
    fn poll_record(&mut self) -> Option<Frame>;
    /// Records lost since the start because the ring was full.
    fn dropped(&self) -> u64;
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `2026-11-21T00:30:12.345Z info BecameActive: words`.
    Text,
    /// `<6>info BecameActive: words`, as the journal reads levels
    /// (sd-daemon(3)); it knows the time.
    Journal,
    /// One JSON object a line: `time`, `level`, `thread`, `record`, `text`, and
    /// the fields by name.
    Json,
}

impl Form {
    /// The form for standard error: [`Form::Journal`] where systemd says that
    /// it is the journal's (`JOURNAL_STREAM`, systemd.exec(5)).
    #[must_use]
    pub fn of_stderr() -> Self {
        match std::env::var_os("JOURNAL_STREAM") {
            Some(_) => Self::Journal,
            None => Self::Text,
        }
    }
}

/// The most talkative level that is written, shared with who may change it.
#[derive(Clone, Debug)]
pub struct LevelCell(Arc<AtomicU8>);

impl LevelCell {
    /// From now on writes records up to `level`.
    pub fn set(&self, level: Level) {
        self.0.store(level as u8, Ordering::Relaxed);
    }

    fn lets(&self, level: Level) -> bool {
        level as u8 <= self.0.load(Ordering::Relaxed)
    }
}

/// So much room for lines stays once they are written.
const LINES_KEPT_BYTES: usize = 32 << 10;

/// Writes lines.
#[derive(Debug)]
pub struct Writer<W> {
    level: LevelCell,
    form: Form,
    catalogues: &'static [&'static [Entry]],
    out: W,
    lines: String,
    /// Lines that `out` had no room for, since it was said last.
    lost: u64,
    /// The wall clock's time at the node's clock's zero.
    zero: Duration,
}

impl<W: Write> Writer<W> {
    /// A writer of records up to `level`, whose words are in `catalogues`.
    pub fn new(out: W, level: Level, form: Form, catalogues: &'static [&'static [Entry]]) -> Self {
        Self {
            level: LevelCell(Arc::new(AtomicU8::new(level as u8))),
            form,
            catalogues,
            out,
            lines: String::new(),
            lost: 0,
            zero: Duration::ZERO,
        }
    }

    /// The level, to be changed by a reload while the writer is at work.
    #[must_use]
    pub fn level(&self) -> LevelCell {
        self.level.clone()
    }

    /// Says which moment of the wall clock a moment of the node's clock is.
    pub fn anchor(&mut self, boot: Instant, wall: SystemTime) {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.zero = wall.saturating_sub(boot.since(Instant::ZERO));
    }

    /// Adds the line of one record of a thread, unless it is too talkative.
    pub fn record(&mut self, thread: &str, frame: &Frame) {
        let entry = find(self.catalogues, frame.id);
        // What nobody has words for is a bug of ours: say so.
        let level = entry.map_or(Level::Warn, |entry| entry.level);
        if !self.level.lets(level) {
            return;
        }
        let name = entry.map_or("Unknown", |entry| entry.name);
        let text = frame.text(self.catalogues);
        let word = word(level);
        let time = Utc(self.zero + frame.at.since(Instant::ZERO));
        let lines = &mut self.lines;
        // Writing into a String does not fail.
        let _ = match self.form {
            Form::Text => writeln!(lines, "{time} {word} {name}: {text}"),
            Form::Journal => writeln!(lines, "<{}>{word} {name}: {text}", priority(level)),
            Form::Json => {
                let mut fields = Map::new();
                if let Some(entry) = entry {
                    frame.fields(entry, |name, value| {
                        fields.insert(name.to_owned(), to_json(&value));
                    });
                }
                let line = json!({
                    "time": time.to_string(),
                    "level": word,
                    "thread": thread,
                    "record": name,
                    "text": text.to_string(),
                    "fields": fields,
                });
                writeln!(lines, "{line}")
            }
        };
    }

    /// Hands the lines on, in one piece. A reader that has gone away is no
    /// reason to end; one that has no room for them is told how many it lost.
    pub fn flush(&mut self, now: Instant) {
        if self.lines.is_empty() {
            return;
        }
        let lines = self.lines.lines().count() as u64;
        if self.lost > 0 {
            let lines = self.lost;
            self.record("control", &Frame::of(now, &LinesLost { lines }));
        }
        let taken = self.out.write_all(self.lines.as_bytes());
        let _ = self.out.flush();
        self.lines.clear();
        // After a burst, such as every start is.
        self.lines.shrink_to(LINES_KEPT_BYTES);
        self.lost = match taken {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.lost + lines,
            Ok(()) | Err(_) => 0,
        };
    }
}

/// The rings of all threads, and the writer.
pub(super) struct Pump<W> {
    rings: Vec<(Box<dyn Records>, u64)>,
    writer: Writer<W>,
}

impl<W: Write> Pump<W> {
    pub fn new(rings: Vec<Box<dyn Records>>, writer: Writer<W>) -> Self {
        Self {
            rings: rings.into_iter().map(|ring| (ring, 0)).collect(),
            writer,
        }
    }

    /// Writes a record of the control thread's own.
    pub fn say(&mut self, now: Instant, record: &impl Record) {
        self.writer.record("control", &Frame::of(now, record));
        self.writer.flush(now);
    }

    /// Writes what has come, in the order of time, as far as one look at each
    /// ring can tell.
    pub fn run(&mut self, now: Instant, wall: SystemTime) {
        self.writer.anchor(now, wall);
        let mut taken: Vec<(Frame, &'static str)> = Vec::new();
        for (ring, told) in &mut self.rings {
            let thread = ring.thread();
            while let Some(frame) = ring.poll_record() {
                taken.push((frame, thread));
            }
            let dropped = ring.dropped();
            if dropped > *told {
                let records = dropped - *told;
                taken.push((Frame::of(now, &RecordsDropped { thread, records }), thread));
                *told = dropped;
            }
        }
        taken.sort_by_key(|(frame, _)| frame.at);
        for (frame, thread) in &taken {
            self.writer.record(thread, frame);
        }
        self.writer.flush(now);
    }
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// syslog(3).
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn to_json(value: &Value<'_>) -> Json {
    match *value {
        Value::Unsigned(number) => number.into(),
        Value::Signed(number) => number.into(),
        Value::Bool(truth) => truth.into(),
        Value::Address(address) => address.to_string().into(),
        Value::Text(text) => text.into(),
    }
}

/// A time since 1970 as RFC 3339 writes it, to a millisecond.
struct Utc(Duration);

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Civil date of a day count, by eras of 400 years that begin in March
        // (Howard Hinnant, "chrono-compatible low-level date algorithms").
        let z = days + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = (month_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60,
            self.0.subsec_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::net::IpAddr;

    records! {
        /// Someone came.
        0xff10 Info Came { who: IpAddr, port: u16 } "{who} came to port {port}";
        /// Someone whispered.
        0xff11 Debug Whispered { what: &'static str } "whispered {what}";
    }

    const WORDS: &[&[Entry]] = &[RECORDS, super::RECORDS];

    struct Fixed(VecDeque<Frame>, u64);

    impl Records for Fixed {
        fn thread(&self) -> &'static str {
            "ha"
        }
        fn poll_record(&mut self) -> Option<Frame> {
            self.0.pop_front()
        }
        fn dropped(&self) -> u64 {
            self.1
        }
    }

    fn came(at: u64) -> Frame {
        let who = IpAddr::from([192, 0, 2, 1]);
        Frame::of(Instant::from_nanos(at), &Came { who, port: 80 })
    }

    fn lines(level: Level, form: Form, frames: &[Frame], dropped: u64) -> String {
        let mut out = Vec::new();
        let writer = Writer::new(&mut out, level, form, WORDS);
        let ring = Fixed(frames.iter().copied().collect(), dropped);
        let mut pump = Pump::new(vec![Box::new(ring)], writer);
        let now = Instant::from_nanos(5_000_000_000);
        let wall = UNIX_EPOCH + Duration::from_millis(1_795_221_012_345 + 4_000);
        pump.run(now, wall);
        pump.run(now, wall);
        drop(pump);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_becomes_a_line() {
        let frame = came(1_000_000_000);
        assert_eq!(
            lines(Level::Info, Form::Text, &[frame], 0),
            "2026-11-21T00:30:12.345Z info Came: 192.0.2.1 came to port 80\n"
        );
        assert_eq!(
            lines(Level::Info, Form::Journal, &[frame], 0),
            "<6>info Came: 192.0.2.1 came to port 80\n"
        );
        let json: Json =
            serde_json::from_str(&lines(Level::Info, Form::Json, &[frame], 0)).unwrap();
        assert_eq!(
            json,
            json!({
                "time": "2026-11-21T00:30:12.345Z",
                "level": "info",
                "thread": "ha",
                "record": "Came",
                "text": "192.0.2.1 came to port 80",
                "fields": { "who": "192.0.2.1", "port": 80 },
            })
        );
    }

    #[test]
    fn levels_filter_and_losses_are_told_once() {
        let whisper = Frame::of(Instant::ZERO, &Whispered { what: "psst" });
        assert_eq!(lines(Level::Info, Form::Journal, &[whisper], 0), "");
        assert_eq!(
            lines(Level::Debug, Form::Journal, &[whisper], 0),
            "<7>debug Whispered: whispered psst\n"
        );
        assert_eq!(
            lines(Level::Warn, Form::Journal, &[came(0)], 7),
            "<4>warn RecordsDropped: ha: 7 log records lost, the reader of the log is too slow\n"
        );
    }

    /// Has room now and then.
    #[derive(Default)]
    struct Full(bool, Vec<u8>);

    impl Write for &mut Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if self.0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_stalled_reader_lost_are_counted_and_told() {
        let mut out = Full(true, Vec::new());
        let now = Instant::ZERO;
        let mut writer = Writer::new(&mut out, Level::Info, Form::Journal, WORDS);
        for _ in 0..2 {
            writer.record("ha", &came(0));
            writer.record("ha", &came(0));
            writer.flush(now);
        }
        writer.out.0 = false;
        writer.record("ha", &came(0));
        writer.flush(now);
        writer.record("ha", &came(0));
        writer.flush(now);
        let came = "<6>info Came: 192.0.2.1 came to port 80\n";
        let lost = "<4>warn LinesLost: 4 lines of the log are lost, its reader is too slow\n";
        let text = String::from_utf8(out.1).unwrap();
        assert_eq!(text, [came, lost, came].concat());
    }

    #[test]
    fn records_of_one_look_stand_in_the_order_of_time() {
        let text = lines(
            Level::Info,
            Form::Text,
            &[came(2_000_000_000), came(1_000_000_000)],
            0,
        );
        let times: Vec<_> = text.lines().map(|line| &line[17..23]).collect();
        assert_eq!(times, ["12.345", "13.345"]);
    }

    #[test]
    fn what_has_no_words_is_said_all_the_same() {
        assert_eq!(
            lines(Level::Info, Form::Journal, &[Frame::EMPTY], 0),
            "<4>warn Unknown: unknown record 0x0000\n"
        );
    }

    #[test]
    fn dates_are_civil() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Utc(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn no_two_records_of_the_catalogues_share_an_id() {
        let mut ids: Vec<u16> = CATALOGUES
            .iter()
            .flat_map(|room| room.iter())
            .map(|e| e.id)
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
