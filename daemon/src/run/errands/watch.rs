//! One script or file that is tracked, and what its answers add up to.

use super::{LOOK, after};
use crate::config::TrackSource;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use trunnion_core::check::probe::outside::{Exit, Outcome};
use trunnion_core::director::ha::TrackState;
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;

/// See the module's words.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) name: String,
    pub(super) cell: u16,
    /// Trouble was named, and nothing found out since.
    pub(super) troubled: bool,
    kind: Kind,
    /// The words of the command, each ended by a NUL, or the file's path.
    what: Vec<u8>,
    next_at: Instant,
    /// What was asked, and until when its answer is waited for.
    asked: Option<(u64, Instant)>,
}

#[derive(Debug)]
enum Kind {
    Script {
        interval: Duration,
        timeout: Duration,
        rise: u32,
        fall: u32,
        up: Option<bool>,
        /// Answers in a row that say otherwise.
        others: u32,
    },
    File,
}

impl Watch {
    /// A watch that is due now.
    pub(super) fn new(cell: u16, source: &TrackSource, now: Instant) -> Self {
        let (kind, what) = match source {
            TrackSource::Script(script) => {
                let words = script.command.iter();
                let what = words.flat_map(|word| word.bytes().chain([0])).collect();
                let kind = Kind::Script {
                    interval: script.interval,
                    timeout: script.timeout,
                    rise: script.rise,
                    fall: script.fall,
                    up: None,
                    others: 0,
                };
                (kind, what)
            }
            TrackSource::File(path) => (Kind::File, path.as_os_str().as_bytes().to_vec()),
            TrackSource::Interface(_)
            | TrackSource::Route { .. }
            | TrackSource::Process { .. }
            | TrackSource::Service { .. } => (Kind::File, Vec::new()),
        };
        Self {
            name: String::new(),
            cell,
            troubled: false,
            kind,
            what,
            next_at: now,
            asked: None,
        }
    }

    /// Until when its answer is waited for, if it is.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        self.asked.map(|(_, until)| until)
    }

    /// When it is to be asked, if it was not.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.asked.is_none().then_some(self.next_at)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.asked.is_none() && self.next_at <= now
    }

    pub(super) fn is_asked(&self, id: u64) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == id)
    }

    /// Which answer was waited for in vain; it is not any more.
    pub(super) fn gave_up(&mut self, now: Instant) -> Option<u64> {
        let given_up = self.asked.take_if(|(_, until)| *until <= now);
        given_up.map(|(id, _)| id)
    }

    pub(super) const fn timeout(&self) -> Duration {
        match self.kind {
            Kind::Script { timeout, .. } => timeout,
            Kind::File => LOOK,
        }
    }

    /// The words of a command.
    ///
    /// # Errors
    /// The path of a file.
    pub(super) fn command(&self) -> Result<&[u8], &[u8]> {
        match self.kind {
            Kind::Script { .. } => Ok(&self.what),
            Kind::File => Err(&self.what),
        }
    }

    /// It was asked, if it was; the next time is an interval after this one was
    /// due.
    pub(super) fn asked(&mut self, now: Instant, asked: Option<(u64, Instant)>) {
        let interval = match self.kind {
            Kind::Script { interval, .. } => interval,
            Kind::File => LOOK,
        };
        self.asked = asked;
        self.next_at = after(self.next_at, interval, now);
    }

    /// What an answer means; nothing while it means nothing new.
    ///
    /// # Errors
    /// Why it means nothing at all.
    pub(super) fn answered(&mut self, outcome: &Outcome<'_>) -> Result<Option<TrackState>, String> {
        self.asked = None;
        let said = match outcome {
            Outcome::Ended(Exit::Status(status)) => Ok(*status == 0),
            Outcome::Ended(Exit::Signal(_)) | Outcome::TimedOut => Ok(false),
            Outcome::Content(content) => return self.number(content).map(Some),
            Outcome::NotRead(Errno::ENOENT) => {
                self.troubled = false;
                return Ok(Some(TrackState::Value(0)));
            }
            Outcome::NotRun(errno) => Err(format!("cannot be run, errno {}", errno.0)),
            Outcome::NotRead(errno) => Err(format!("cannot be read, errno {}", errno.0)),
            Outcome::Late => Err("this node is too busy".to_owned()),
        }?;
        self.troubled = false;
        Ok(self.count(said))
    }

    /// A number, and nothing else but blanks; an empty file is 0.
    fn number(&mut self, content: &[u8]) -> Result<TrackState, String> {
        let text = str::from_utf8(content).unwrap_or("?").trim();
        let number = match text {
            "" => 0,
            _ => text.parse().map_err(|_| "has no number in it".to_owned())?,
        };
        self.troubled = false;
        Ok(TrackState::Value(number))
    }

    fn count(&mut self, said: bool) -> Option<TrackState> {
        let Kind::Script {
            rise,
            fall,
            up,
            others,
            ..
        } = &mut self.kind
        else {
            return None;
        };
        if *up == Some(said) {
            *others = 0;
            return None;
        }
        *others += 1;
        // The first answer is believed: without it nobody takes part.
        let enough = up.is_none() || *others >= if said { *rise } else { *fall };
        if !enough {
            return None;
        }
        *up = Some(said);
        *others = 0;
        Some(match said {
            true => TrackState::Up,
            false => TrackState::Down,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Script;

    const OK: Outcome<'static> = Outcome::Ended(Exit::Status(0));
    const FAILED: Outcome<'static> = Outcome::Ended(Exit::Status(1));

    fn script(rise: u32, fall: u32) -> Watch {
        let source = TrackSource::Script(Script {
            command: vec!["/bin/test".to_owned(), "-e".to_owned()],
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise,
            fall,
        });
        Watch::new(0, &source, Instant::ZERO)
    }

    #[test]
    fn so_many_in_a_row_change_a_mind_and_trouble_does_not() {
        let mut watch = script(2, 3);
        assert_eq!(watch.command(), Ok(&b"/bin/test\0-e\0"[..]));
        assert_eq!(watch.answered(&OK), Ok(Some(TrackState::Up)));
        assert_eq!(watch.answered(&FAILED), Ok(None));
        assert_eq!(watch.answered(&Outcome::TimedOut), Ok(None));
        assert!(watch.answered(&Outcome::NotRun(Errno(24))).is_err());
        assert!(watch.answered(&Outcome::Late).is_err());
        let killed = Outcome::Ended(Exit::Signal(9));
        assert_eq!(watch.answered(&killed), Ok(Some(TrackState::Down)));
        assert_eq!(watch.answered(&OK), Ok(None));
        assert_eq!(watch.answered(&FAILED), Ok(None));
        assert_eq!(watch.answered(&OK), Ok(None));
        assert_eq!(watch.answered(&OK), Ok(Some(TrackState::Up)));
    }

    #[test]
    fn a_run_comes_each_interval_and_never_twice_at_once() {
        let second = |n| Instant::ZERO + Duration::from_secs(n);
        let mut watch = script(1, 1);
        assert!(watch.is_due(second(0)));
        watch.asked(second(0), Some((7, second(3))));
        assert!(!watch.is_due(second(2)), "it runs still");
        assert!(watch.is_asked(7) && watch.gave_up(second(2)).is_none());
        assert_eq!(watch.gave_up(second(3)), Some(7));
        assert!(watch.is_due(second(3)));
        watch.asked(second(3), None);
        assert_eq!(watch.due_at(), Some(second(4)));
    }

    #[test]
    fn a_file_is_a_number_and_one_that_is_missing_is_0() {
        let mut watch = Watch::new(0, &TrackSource::File("/x".into()), Instant::ZERO);
        assert_eq!(watch.command(), Err(&b"/x"[..]));
        for (content, value) in [("12\n", 12), (" -7 ", -7), ("", 0), ("\n", 0)] {
            let content = Outcome::Content(content.as_bytes());
            let found = watch.answered(&content);
            assert_eq!(found, Ok(Some(TrackState::Value(value))));
        }
        for odd in ["x", "1 2", "99999", "\u{0}"] {
            assert!(watch.answered(&Outcome::Content(odd.as_bytes())).is_err());
        }
        let missing = Outcome::NotRead(Errno::ENOENT);
        assert_eq!(watch.answered(&missing), Ok(Some(TrackState::Value(0))));
        assert!(watch.answered(&Outcome::NotRead(Errno(13))).is_err());
    }
}
