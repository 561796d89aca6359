//! Checks that others make: a command's exit status, a number in a file. Only
//! what these mean; who runs the command and reads the file is no part of core.

use crate::check::{Local, Reason, Verdict};
use crate::netlink::Errno;
use core::fmt::Write as _;
use core::net::SocketAddr;

/// Bytes of a file that are read at most; more is no weight.
pub const FILE_BYTES_MAX: usize = 64;
/// The greatest weight IPVS takes.
const WEIGHT_MAX: u32 = 65_535;

/// What a runner is to do.
#[derive(Clone, Copy, Debug)]
pub enum Errand<'a> {
    /// Run a command.
    Exec(Command<'a>),
    /// Read a file of this path; [`expand`] it first.
    File(&'a [u8]),
}

/// A command, and what its end means.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The path of a program and its arguments, each ended by a NUL; [`expand`]
    /// them first.
    pub words: &'a [u8],
    /// Whose rights it has: a user and one group. Those of this process if
    /// `None`.
    pub user: Option<(u32, u32)>,
    /// Statuses from 2 on are weights ([`exec`]).
    pub weighs: bool,
}

impl Errand<'_> {
    /// Statuses from 2 on are weights.
    #[must_use]
    pub const fn weighs(&self) -> bool {
        match self {
            Self::Exec(command) => command.weighs,
            Self::File(_) => false,
        }
    }
}

/// Writes words or a path in which `{address}` and `{port}` stand for a target's.
pub fn expand(text: &[u8], target: SocketAddr, to: &mut impl FnMut(&[u8])) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'{') {
        let (before, place) = rest.split_at(at);
        to(before);
        let mut number = heapless::String::<48, u8>::new();
        let (written, len) = if place.starts_with(b"{address}") {
            (write!(number, "{}", target.ip()), b"{address}".len())
        } else if place.starts_with(b"{port}") {
            (write!(number, "{}", target.port()), b"{port}".len())
        } else {
            to(b"{");
            rest = place.get(1..).unwrap_or_default();
            continue;
        };
        // An address has 39 characters at most, so it fits.
        let _ = written;
        to(number.as_bytes());
        rest = place.get(len..).unwrap_or_default();
    }
    to(rest);
}

/// How a command ended (wait(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// It called exit(3) with this status.
    Status(u8),
    /// This signal ended it.
    Signal(u8),
}

/// What came of asking: of a command that was to be run, or of a file that was
/// to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The command ended by itself.
    Ended(Exit),
    /// It was killed when its time was over.
    TimedOut,
    /// Its time was over before anybody looked, or nobody had time to run it.
    Late,
    /// It could not be started.
    NotRun(Errno),
    /// What is in the file: [`FILE_BYTES_MAX`] bytes and one at most.
    Content(&'a [u8]),
    /// The file could not be read.
    NotRead(Errno),
}

impl Outcome<'_> {
    /// What it says of the target. A command that is not there, or a file that
    /// this node may not read, says nothing of it.
    #[must_use]
    pub const fn weigh(&self, weighs: bool) -> Weighed {
        let verdict = match *self {
            Self::Ended(exit) => return exec(exit, weighs),
            Self::Content(content) => return file(Some(content)),
            Self::NotRead(Errno(ENOENT | ENOTDIR)) => return file(None),
            Self::NotRead(Errno(EISDIR)) => return file(Some(&[])),
            Self::TimedOut => Verdict::Failure(Reason::TimedOut),
            Self::Late => Verdict::Indeterminate(Local::Late),
            Self::NotRun(Errno(ENOENT | ENOTDIR | EACCES | ENOEXEC)) => {
                Verdict::Indeterminate(Local::Command)
            }
            Self::NotRead(errno) | Self::NotRun(errno) => Verdict::Indeterminate(match errno {
                Errno(EMFILE | ENFILE) => Local::Files,
                Errno(EAGAIN | ENOMEM) => Local::Memory,
                Errno(EPERM | EACCES) => Local::Denied,
                _ => Local::Other,
            }),
        };
        Weighed {
            verdict,
            weight: None,
        }
    }
}

// errno(3), asm-generic numbers.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;
const EISDIR: i32 = 21;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// signal(7), the same everywhere.
const SIGKILL: u8 = 9;

/// A verdict, and the weight that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// The verdict.
    pub verdict: Verdict,
    /// The weight the target should have; `None` leaves it as configured.
    pub weight: Option<u32>,
}

impl Weighed {
    const fn failed(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Failure(reason),
            weight: None,
        }
    }

    const fn up(weight: Option<u32>) -> Self {
        Self {
            verdict: Verdict::Success,
            weight,
        }
    }
}

/// What the end of a command means: success is status 0. If `weighs`, as
/// keepalived's `misc_dynamic` (keepalived.conf(5), MISC_CHECK), only 1 is a
/// failure, and from 2 on the weight is 2 less than the status. Whoever is killed
/// was killed by this node: by the kernel for want of memory, or by an operator.
#[must_use]
pub const fn exec(exit: Exit, weighs: bool) -> Weighed {
    match exit {
        Exit::Signal(SIGKILL) => Weighed {
            verdict: Verdict::Indeterminate(Local::Memory),
            weight: None,
        },
        Exit::Signal(_) => Weighed::failed(Reason::ExecSignal),
        Exit::Status(0) => Weighed::up(None),
        Exit::Status(status @ 2..) if weighs => {
            Weighed::up(Some((status as u32).saturating_sub(2)))
        }
        Exit::Status(_) => Weighed::failed(Reason::ExecStatus),
    }
}

/// What the content of a file means, `None` if there is no file: a number from 0
/// to 65535, blanks around it, is the weight. 0 drains.
#[must_use]
pub const fn file(content: Option<&[u8]>) -> Weighed {
    let Some(content) = content else {
        return Weighed::failed(Reason::FileMissing);
    };
    match weight(content) {
        Some(weight) => Weighed::up(Some(weight)),
        None => Weighed::failed(Reason::FileMalformed),
    }
}

const fn weight(content: &[u8]) -> Option<u32> {
    let mut digits = content.trim_ascii();
    if content.len() > FILE_BYTES_MAX || digits.is_empty() {
        return None;
    }
    let mut weight = 0_u32;
    while let Some((digit @ b'0'..=b'9', rest)) = digits.split_first() {
        digits = rest;
        let value = digit.saturating_sub(b'0') as u32;
        weight = weight.saturating_mul(10).saturating_add(value);
        if weight > WEIGHT_MAX {
            return None;
        }
    }
    if digits.is_empty() {
        Some(weight)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_means_what_keepalived_says() {
        let failed = Weighed::failed(Reason::ExecStatus);
        #[rustfmt::skip]
        let table = [
            (Exit::Status(0), Weighed::up(None), Weighed::up(None)),
            (Exit::Status(1), failed, failed),
            (Exit::Status(2), failed, Weighed::up(Some(0))),
            (Exit::Status(255), failed, Weighed::up(Some(253))),
            (Exit::Signal(11), Weighed::failed(Reason::ExecSignal), Weighed::failed(Reason::ExecSignal)),
        ];
        for (exit, plain, weighed) in table {
            assert_eq!(exec(exit, false), plain, "{exit:?}");
            assert_eq!(exec(exit, true), weighed, "{exit:?}");
        }
    }

    #[test]
    fn what_is_this_nodes_trouble_is_no_verdict() {
        let local = |local| Verdict::Indeterminate(local);
        let failed = |reason| Verdict::Failure(reason);
        #[rustfmt::skip]
        let table = [
            (Outcome::TimedOut, failed(Reason::TimedOut)),
            (Outcome::Ended(Exit::Signal(SIGKILL)), local(Local::Memory)),
            (Outcome::Late, local(Local::Late)),
            (Outcome::NotRun(Errno(ENOENT)), local(Local::Command)),
            (Outcome::NotRun(Errno(EACCES)), local(Local::Command)),
            (Outcome::NotRun(Errno(ENOEXEC)), local(Local::Command)),
            (Outcome::NotRun(Errno(EAGAIN)), local(Local::Memory)),
            (Outcome::NotRun(Errno(EMFILE)), local(Local::Files)),
            (Outcome::NotRun(Errno(EPERM)), local(Local::Denied)),
            (Outcome::NotRun(Errno(5)), local(Local::Other)),
            (Outcome::NotRead(Errno(ENOENT)), failed(Reason::FileMissing)),
            (Outcome::NotRead(Errno(ENOTDIR)), failed(Reason::FileMissing)),
            (Outcome::NotRead(Errno(EISDIR)), failed(Reason::FileMalformed)),
            (Outcome::NotRead(Errno(EACCES)), local(Local::Denied)),
            (Outcome::NotRead(Errno(5)), local(Local::Other)),
        ];
        for (outcome, verdict) in table {
            for weighs in [false, true] {
                let weight = None;
                let expected = Weighed { verdict, weight };
                assert_eq!(outcome.weigh(weighs), expected, "{outcome:?}");
            }
        }
        let weighed = Outcome::Content(b"7\n").weigh(false);
        assert_eq!(weighed, Weighed::up(Some(7)));
        let status = Outcome::Ended(Exit::Status(9));
        assert_eq!(status.weigh(true), Weighed::up(Some(7)));
        assert_eq!(status.weigh(false), Weighed::failed(Reason::ExecStatus));
    }

    #[test]
    fn a_target_takes_its_place_in_words() {
        for (text, target, expanded) in [
            ("", "192.0.2.7:80", ""),
            (
                "-H\x00{address}\x00-p{port}\0",
                "192.0.2.7:80",
                "-H\x00192.0.2.7\x00-p80\0",
            ),
            ("{address}{{port}{", "[2001:db8::7]:53", "2001:db8::7{53{"),
            ("{Address} {}", "192.0.2.7:80", "{Address} {}"),
        ] {
            let mut out = std::vec::Vec::new();
            let target = target.parse().unwrap();
            expand(text.as_bytes(), target, &mut |part| out.extend(part));
            assert_eq!(std::string::String::from_utf8(out).unwrap(), expanded);
        }
    }

    #[test]
    fn a_file_has_a_weight_or_none() {
        assert_eq!(file(None), Weighed::failed(Reason::FileMissing));
        for (content, weight) in [
            (&b"0"[..], 0),
            (b"100\n", 100),
            (b" \t65535 \r\n", 65_535),
            (b"007", 7),
        ] {
            assert_eq!(
                file(Some(content)),
                Weighed::up(Some(weight)),
                "{content:?}"
            );
        }
        let long = [b'0'; FILE_BYTES_MAX + 1];
        for content in [
            &b""[..],
            b"\n",
            b"65536",
            b"99999999999",
            b"-1",
            b"+1",
            b"1 2",
            b"1%",
            b"up",
            b"\xff",
            &long,
        ] {
            let malformed = Weighed::failed(Reason::FileMalformed);
            assert_eq!(file(Some(content)), malformed, "{content:?}");
        }
    }
}
