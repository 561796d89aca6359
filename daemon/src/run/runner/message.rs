//! What a loop and its runner say to each other: one datagram each, of one
//! machine and one program, so in native byte order and without a version.

use std::fmt::{self, Write};
use trunnion_core::bytes::{NativeEndian, Reader, Short, Writer};
use trunnion_core::check::probe::outside::{Exit, FILE_BYTES_MAX, Outcome};
use trunnion_core::netlink::Errno;
use trunnion_core::time::{Duration, Instant};
use trunnion_sys::clock::boottime;

/// Bytes of a request at most, and so of a command with its environment.
pub const REQUEST_BYTES_MAX: usize = 4096;
/// Bytes of a command's words, or of a path, at most: that leaves room for the
/// environment.
pub const WORDS_BYTES_MAX: usize = 3072;
/// Bytes kept of what a command printed.
pub const OUTPUT_BYTES_MAX: usize = 200;
/// Bytes of a reply at most.
pub const REPLY_BYTES_MAX: usize = 256;
const _: () = assert!(REPLY_BYTES_MAX >= 32 + OUTPUT_BYTES_MAX + FILE_BYTES_MAX / 8);

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of the one group it has then.
    pub gid: u32,
}

/// What the runner is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job<'a> {
    /// To run a command.
    Run {
        /// As this user; as ours if `None`.
        user: Option<User>,
        /// The path of a program and its arguments, each ended by a NUL.
        words: &'a [u8],
        /// Its whole environment, `NAME=VALUE` each ended by a NUL.
        environment: &'a [u8],
    },
    /// To read a file of this path.
    Read(&'a [u8]),
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Comes back with the answer.
    pub id: u64,
    /// When it was asked for, on the same clock.
    pub asked: Instant,
    /// When the command's time is over, on the clock of
    /// [`trunnion_sys::clock::boottime`].
    pub deadline: Instant,
    /// What to do.
    pub job: Job<'a>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done<'a> {
    /// Of the request.
    pub id: u64,
    /// How long it took, on the runner's clock.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome<'a>,
    /// The beginning of what a command printed.
    pub output: &'a [u8],
}

const RUN: u8 = 1;
const READ: u8 = 2;

impl Request<'_> {
    /// Writes a request to run a command, whose words are written by `say` and
    /// whose environment is made by `tell`.
    pub fn run(
        to: &mut Writer<'_>,
        (id, deadline): (u64, Instant),
        user: Option<User>,
        say: impl FnOnce(&mut Writer<'_>),
        tell: impl FnOnce(&mut Environment<'_, '_>),
    ) {
        head(to, RUN, id, deadline);
        to.u8(user.is_some().into());
        let User { uid, gid } = user.unwrap_or(User { uid: 0, gid: 0 });
        to.u32::<NativeEndian>(uid);
        to.u32::<NativeEndian>(gid);
        let length = to.mark();
        to.u16::<NativeEndian>(0);
        let start = to.mark();
        say(to);
        // It has no more than the buffer.
        let words = u16::try_from(to.since(start)).unwrap_or(u16::MAX);
        to.patch(length, &words.to_ne_bytes());
        tell(&mut Environment(to));
    }

    /// Writes a request to read a file, whose path is written by `say`.
    pub fn read(
        to: &mut Writer<'_>,
        (id, deadline): (u64, Instant),
        say: impl FnOnce(&mut Writer<'_>),
    ) {
        head(to, READ, id, deadline);
        say(to);
    }
}

impl<'a> Request<'a> {
    /// Reads a request.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Short> {
        let mut r = Reader::new(bytes);
        let kind = r.u8("kind")?;
        let id = r.u64::<NativeEndian>("id")?;
        let asked = Instant::from_nanos(r.u64::<NativeEndian>("asked")?);
        let deadline = Instant::from_nanos(r.u64::<NativeEndian>("deadline")?);
        let job = if kind == RUN {
            let other = r.u8("user")? != 0;
            let uid = r.u32::<NativeEndian>("uid")?;
            let gid = r.u32::<NativeEndian>("gid")?;
            let len = r.u16::<NativeEndian>("words length")?;
            Job::Run {
                user: other.then_some(User { uid, gid }),
                words: r.bytes("words", len.into())?,
                environment: r.peek(),
            }
        } else {
            Job::Read(r.peek())
        };
        Ok(Self {
            id,
            asked,
            deadline,
            job,
        })
    }
}

fn head(to: &mut Writer<'_>, kind: u8, id: u64, deadline: Instant) {
    to.u8(kind);
    to.u64::<NativeEndian>(id);
    to.u64::<NativeEndian>(boottime().as_nanos());
    to.u64::<NativeEndian>(deadline.as_nanos());
}

/// An environment that is being written.
pub struct Environment<'w, 'b>(&'w mut Writer<'b>);

impl Environment<'_, '_> {
    /// Adds a variable.
    pub fn set(&mut self, name: &str, value: impl fmt::Display) {
        // The writer keeps an overflow to itself until it is finished.
        let _ = write!(self, "{name}={value}\0");
    }
}

impl fmt::Write for Environment<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.bytes(text.as_bytes());
        Ok(())
    }
}

/// The words of a request, without their NULs.
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == 0)
        .map(|word| match word {
            [word @ .., 0] | word => word,
        })
}

const STATUS: u8 = 0;
const SIGNAL: u8 = 1;
const TIMED_OUT: u8 = 2;
const LATE: u8 = 3;
const NOT_RUN: u8 = 4;
const CONTENT: u8 = 5;
const NOT_READ: u8 = 6;

impl<'a> Done<'a> {
    /// Writes an answer.
    pub fn write(&self, to: &mut Writer<'_>) {
        let Self {
            id,
            took,
            outcome,
            output,
        } = *self;
        to.u64::<NativeEndian>(id);
        to.u64::<NativeEndian>(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        let (kind, number, bytes) = match outcome {
            Outcome::Ended(Exit::Status(status)) => (STATUS, status.into(), output),
            Outcome::Ended(Exit::Signal(signal)) => (SIGNAL, signal.into(), output),
            Outcome::TimedOut => (TIMED_OUT, 0, output),
            Outcome::Late => (LATE, 0, output),
            Outcome::NotRun(Errno(errno)) => (NOT_RUN, errno, output),
            Outcome::Content(content) => (CONTENT, 0, content),
            Outcome::NotRead(Errno(errno)) => (NOT_READ, errno, output),
        };
        to.u8(kind);
        to.bytes(&number.to_ne_bytes());
        to.bytes(bytes);
    }

    /// Reads an answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Short> {
        let mut r = Reader::new(bytes);
        let id = r.u64::<NativeEndian>("id")?;
        let took = Duration::from_nanos(r.u64::<NativeEndian>("time")?);
        let kind = r.u8("kind")?;
        let number = i32::from_ne_bytes(r.take("number")?);
        let byte = u8::try_from(number).unwrap_or(u8::MAX);
        let rest = r.peek();
        let (outcome, output) = match kind {
            STATUS => (Outcome::Ended(Exit::Status(byte)), rest),
            SIGNAL => (Outcome::Ended(Exit::Signal(byte)), rest),
            TIMED_OUT => (Outcome::TimedOut, rest),
            NOT_RUN => (Outcome::NotRun(Errno(number)), rest),
            CONTENT => (Outcome::Content(rest), &[][..]),
            NOT_READ => (Outcome::NotRead(Errno(number)), rest),
            _ => (Outcome::Late, rest),
        };
        Ok(Self {
            id,
            took,
            outcome,
            output,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut buffer = [0xa5; REQUEST_BYTES_MAX];
        let mut to = Writer::new(&mut buffer);
        write(&mut to);
        to.finish().unwrap().to_vec()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let (at, before) = ((7, Instant::from_nanos(99)), boottime());
        let user = Some(User { uid: 1, gid: 2 });
        let bytes = encoded(|to| {
            let say = |to: &mut Writer<'_>| to.bytes(b"/bin/a\0-b\0\0");
            Request::run(to, at, user, say, |environment| {
                environment.set("NAME", 5);
                environment.set("EMPTY", "");
            });
        });
        let environment = b"NAME=5\0EMPTY=\0";
        let words = b"/bin/a\0-b\0\0";
        let job = Job::Run {
            user,
            words,
            environment,
        };
        let is = |bytes: &[u8], job| {
            let request = Request::parse(bytes).unwrap();
            assert_eq!((request.id, request.deadline, request.job), (7, at.1, job));
            assert!((before..=boottime()).contains(&request.asked));
        };
        is(&bytes, job);
        let bytes = encoded(|to| Request::read(to, at, |to| to.bytes(b"/etc/weight")));
        is(&bytes, Job::Read(b"/etc/weight"));
        for cut in 0..25 {
            assert!(Request::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn words_end_with_a_nul_each() {
        let words: Vec<_> = words(b"/bin/a\0\0-b\0").collect();
        assert_eq!(words, [&b"/bin/a"[..], b"", b"-b"]);
        assert_eq!(super::words(b"").count(), 0);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for outcome in [
            Outcome::Ended(Exit::Status(255)),
            Outcome::Ended(Exit::Signal(9)),
            Outcome::TimedOut,
            Outcome::Late,
            Outcome::NotRun(Errno(2)),
            Outcome::NotRead(Errno(13)),
            Outcome::Content(b"100\n"),
        ] {
            let content = matches!(outcome, Outcome::Content(_));
            let done = Done {
                id: u64::MAX,
                took: Duration::from_millis(3),
                outcome,
                output: if content { b"" } else { b"said" },
            };
            let bytes = encoded(|to| done.write(to));
            assert_eq!(Done::parse(&bytes), Ok(done));
        }
    }
}
