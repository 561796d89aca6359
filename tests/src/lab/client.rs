//! The client's simple side: one request at a time, each on a fresh
//! connection, tallied by the name of the backend that answered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The head of a response, as much of it as the lab needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// `Server`: the backend's name.
    pub server: String,
    /// `Content-Length`.
    pub length: u64,
    /// Where the body begins.
    pub body_at: usize,
}

impl Head {
    /// Reads the head of a response; `None` while it is not complete, or when
    /// it is none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = text.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
        let fields: BTreeMap<_, _> = lines.filter_map(|line| line.split_once(": ")).collect();
        Some(Self {
            status: status.parse().ok()?,
            server: (*fields.get("Server")?).to_owned(),
            length: fields.get("Content-Length")?.parse().ok()?,
            body_at: end + 4,
        })
    }
}

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection was reset.
    Reset,
    /// No answer in time.
    Timeout,
    /// An end before the whole answer, or an answer that is none.
    Broken,
    /// The network says no.
    Unreachable,
}

impl Failure {
    /// The failure an I/O error means.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest of all I/O errors is one kind"
    )]
    pub fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Timeout,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Unreachable,
            _ => Self::Broken,
        }
    }
}

/// `refused`, `reset`, `no answer in time`, ...
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "no answer in time",
            Self::Broken => "broken off",
            Self::Unreachable => "unreachable",
        })
    }
}

/// The request the lab sends.
#[must_use]
pub fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n")
}

/// Asks for `/` on a fresh connection; the name of the backend that answered.
/// `timeout` is for each of connect, send and receive.
///
/// # Errors
/// How it failed.
pub fn get(address: SocketAddr, timeout: Duration) -> Result<String, Failure> {
    let whole = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(request("/").as_bytes())?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok(reply)
    };
    let reply = whole().map_err(|error| Failure::of(&error))?;
    answered(&reply).ok_or(Failure::Broken)
}

/// The backend's name, when these bytes are a whole answer whose body agrees.
#[must_use]
pub fn answered(reply: &[u8]) -> Option<String> {
    let head = Head::read(reply)?;
    let body = &reply[head.body_at..];
    let whole = head.status == 200 && u64::try_from(body.len()) == Ok(head.length);
    (whole && body == format!("{}\n", head.server).as_bytes()).then_some(head.server)
}

/// Who answered how often, and what failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers by backend.
    pub by_backend: BTreeMap<String, u32>,
    /// Failures by kind.
    pub failures: BTreeMap<Failure, u32>,
}

impl Tally {
    /// Counts one result.
    pub fn add(&mut self, result: Result<String, Failure>) {
        match result {
            Ok(name) => *self.by_backend.entry(name).or_default() += 1,
            Err(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }

    /// Answers of one backend.
    #[must_use]
    pub fn of(&self, backend: &str) -> u32 {
        self.by_backend.get(backend).copied().unwrap_or(0)
    }

    /// Failed tries.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.failures.values().sum()
    }

    /// All tries.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.by_backend.values().sum::<u32>() + self.failed()
    }

    /// The largest relative distance of a backend's share from the one its
    /// weight gives it, where every try counts (a failed one is missing from
    /// somebody's share): 0.1 is 10 %.
    #[must_use]
    pub fn deviation(&self, weights: &[(&str, u32)]) -> f64 {
        let sum: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let known = |name: &String| weights.iter().any(|(n, _)| n == name);
        if sum == 0 || self.total() == 0 || !self.by_backend.keys().all(known) {
            return f64::INFINITY;
        }
        weights
            .iter()
            .map(|(name, weight)| {
                let share = f64::from(self.total()) * f64::from(*weight) / f64::from(sum);
                let off = (f64::from(self.of(name)) - share).abs();
                if share > 0.0 {
                    off / share
                } else if off > 0.0 {
                    f64::INFINITY
                } else {
                    0.0
                }
            })
            .fold(0.0, f64::max)
    }
}

/// `b1 100, b2 67, b3 33`, and failures where there are any.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.by_backend.iter().map(|(n, c)| format!("{n} {c}"));
        let failures = self.failures.iter().map(|(n, c)| format!("{c} {n}"));
        let all: Vec<String> = answers.chain(failures).collect();
        f.write_str(&all.join(", "))
    }
}

/// `count` requests, one after the other; fewer when [`FAILURES_MAX`] have
/// failed, for then the rest would tell nothing new.
#[must_use]
pub fn requests(address: SocketAddr, count: u32, timeout: Duration) -> Tally {
    let mut tally = Tally::default();
    while tally.total() < count && tally.failed() < FAILURES_MAX {
        tally.add(get(address, timeout));
    }
    tally
}

/// Failures after which [`requests`] stops.
pub const FAILURES_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::backend::tests::on_loopback;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_backend_answers_with_its_name() {
        let tally = requests(on_loopback("b7"), 5, SECOND);
        assert_eq!(tally.to_string(), "b7 5");
    }

    #[test]
    fn a_refusal_is_counted_as_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let tally = requests(address, 2, SECOND);
        assert_eq!(tally.to_string(), "2 refused");
        assert_eq!((tally.failed(), tally.total()), (2, 2));
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\nServer: b1\r\nContent-Length: 3\r\n\r\nb1\n";
        assert_eq!(answered(whole).as_deref(), Some("b1"));
        for cut in 0..whole.len() {
            assert_eq!(answered(&whole[..cut]), None, "cut at {cut}");
        }
        let liar = b"HTTP/1.1 200 OK\r\nServer: b1\r\nContent-Length: 3\r\n\r\nb2\n";
        assert_eq!(answered(liar), None);
    }

    #[test]
    fn shares_are_measured_against_weights() {
        let mut tally = Tally::default();
        for (name, count) in [("b1", 100), ("b2", 67), ("b3", 33)] {
            tally.by_backend.insert(name.to_owned(), count);
        }
        let weights = [("b1", 3), ("b2", 2), ("b3", 1)];
        assert!(
            tally.deviation(&weights) < 0.011,
            "{}",
            tally.deviation(&weights)
        );
        tally.by_backend.insert("b3".to_owned(), 20);
        assert!(tally.deviation(&weights) > 0.3);
        tally.by_backend.insert("b4".to_owned(), 1);
        assert!(tally.deviation(&weights).is_infinite(), "b4 is a stranger");
        assert!(Tally::default().deviation(&weights).is_infinite());
    }
}
