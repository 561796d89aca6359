//! HAProxy's agent check: a line of words in which a target speaks of itself.
//! Not what becomes of its weight; that is the director's.
//!
//! Source: `agent-check` in HAProxy's configuration manual, and
//! `tcpcheck_agent_expect_reply` in its `src/tcpcheck.c`. Words are parted by
//! spaces, tabs and commas, in any order and any case; of one kind the last
//! counts; the line ends at the first CR or LF. `maxconn:N` is passed over, for
//! IPVS has its own thresholds, and so is a word that is not known, as long as
//! one is.

use super::{NO_ROOM, Step, failure, success};
use crate::bytes::Writer;
use crate::check::Reason;

/// Bytes of a line that are read, its description included.
pub const LINE_BYTES_MAX: u16 = 1024;
/// The highest weight HAProxy takes.
const PERCENT_MAX: u16 = 25_600;
/// Longer than any word that counts.
const WORD_BYTES_MAX: usize = 16;

/// An agent to listen to.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'a> {
    /// Bytes to send first (`agent-send`); most agents need none.
    pub send: &'a [u8],
}

/// What an agent says. What it does not speak of stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// `up`, or `down`, `stopped`, `fail`. A check whose agent says neither is
    /// successful: it answers.
    pub up: Option<bool>,
    /// `ready`, `drain`, `maint`.
    pub admin: Option<Admin>,
    /// `75%`: of the configured weight, up to 25600.
    pub weight_percent: Option<u16>,
}

/// What an agent wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admin {
    /// End drain and maintenance.
    Ready,
    /// No new connections.
    Drain,
    /// No traffic at all.
    Maint,
}

/// A line as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    word: [u8; WORD_BYTES_MAX],
    /// Bytes of the word, also those that found no room.
    word_bytes: u16,
    read: u16,
    description: bool,
    advice: Advice,
}

impl Agent<'_> {
    pub(super) fn begin(&self, out: &mut [u8]) -> (Line, Step) {
        let line = Line {
            word: [0; WORD_BYTES_MAX],
            word_bytes: 0,
            read: 0,
            description: false,
            advice: Advice::default(),
        };
        let mut w = Writer::new(out);
        w.bytes(self.send);
        let step = match w.finish() {
            Ok([]) => Step::More,
            Ok(sent) => Step::Send(sent.len()),
            Err(_) => NO_ROOM,
        };
        (line, step)
    }
}

impl Line {
    pub const fn advice(&self) -> Advice {
        self.advice
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Step {
        for byte in bytes {
            if self.read == LINE_BYTES_MAX {
                return failure(Reason::AgentMalformed);
            }
            self.read = self.read.saturating_add(1);
            match byte {
                b'\r' | b'\n' => {
                    self.word_ends();
                    return self.verdict();
                }
                b' ' | b'\t' | b',' => self.word_ends(),
                b'#' if self.word_bytes == 0 => self.description = true,
                byte => {
                    if let Some(room) = self.word.get_mut(usize::from(self.word_bytes)) {
                        *room = byte.to_ascii_lowercase();
                    }
                    self.word_bytes = self.word_bytes.saturating_add(1);
                }
            }
        }
        Step::More
    }

    fn word_ends(&mut self) {
        let word = self.word.get(..usize::from(self.word_bytes));
        self.word_bytes = 0;
        let Some(word) = word.filter(|_| !self.description) else {
            return;
        };
        let advice = &mut self.advice;
        match word {
            b"up" => advice.up = Some(true),
            b"down" | b"stopped" | b"fail" => advice.up = Some(false),
            b"ready" => advice.admin = Some(Admin::Ready),
            b"drain" => advice.admin = Some(Admin::Drain),
            b"maint" => advice.admin = Some(Admin::Maint),
            word => {
                if let Some(percent) = percent(word) {
                    advice.weight_percent = Some(percent);
                }
            }
        }
    }

    fn verdict(&self) -> Step {
        match self.advice.up {
            Some(false) => failure(Reason::AgentDown),
            Some(true) => success(),
            None if self.advice == Advice::default() => failure(Reason::AgentMalformed),
            None => success(),
        }
    }
}

fn percent(word: &[u8]) -> Option<u16> {
    let digits = word
        .strip_suffix(b"%")
        .filter(|digits| !digits.is_empty())?;
    let mut percent = 0_u16;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| digit.wrapping_sub(b'0'))?;
        percent = percent.saturating_mul(10).saturating_add(digit.into());
    }
    Some(percent.min(PERCENT_MAX))
}

#[cfg(test)]
mod tests {
    use super::super::laws::{TOKEN, verdict};
    use super::super::{Probe, Room, Spec};
    use super::*;
    use crate::check::Verdict;
    use std::format;

    /// What a line means, and the advice in it.
    fn said(line: &str) -> (Option<Verdict>, Advice) {
        let spec = Spec::Agent(Agent { send: b"" });
        let (out, keep) = (&mut [], &mut []);
        let (mut probe, step) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
        assert_eq!(step, Step::More, "the agent speaks first");
        let _ = probe.handle_bytes(&spec, line.as_bytes(), &mut Room { out, keep });
        (
            verdict(&spec, line.as_bytes()),
            probe.advice().unwrap_or_default(),
        )
    }

    #[test]
    fn words_of_each_kind() {
        use Admin::*;
        let down = Some(Verdict::Failure(Reason::AgentDown));
        let ok = Some(Verdict::Success);
        #[rustfmt::skip]
        let table = [
            ("up\n", ok, Some(true), None, None),
            ("UP\r\n", ok, Some(true), None, None),
            ("down\n", down, Some(false), None, None),
            ("stopped # for a walk\n", down, Some(false), None, None),
            ("Fail,#up\n", down, Some(false), None, None),
            ("75%\n", ok, None, None, Some(75)),
            ("up 0%\n", ok, Some(true), None, Some(0)),
            ("ready\tup , 100%\n", ok, Some(true), Some(Ready), Some(100)),
            ("drain\n", ok, None, Some(Drain), None),
            ("maint down 5%\n", down, Some(false), Some(Maint), Some(5)),
            ("drain ready\n", ok, None, Some(Ready), None),
            ("down up\n", ok, Some(true), None, None),
            ("maxconn:30 up\n", ok, Some(true), None, None),
            ("99999999%\n", ok, None, None, Some(25_600)),
            ("up what 7x% % -1%\n", ok, Some(true), None, None),
            ("up#no description\nup\n", Some(Verdict::Failure(Reason::AgentMalformed)), None, None, None),
        ];
        for (line, expect, up, admin, weight_percent) in table {
            let advice = Advice {
                up,
                admin,
                weight_percent,
            };
            assert_eq!(said(line), (expect, advice), "{line:?}");
        }
    }

    #[test]
    fn a_line_without_a_word_is_no_answer() {
        let malformed = Some(Verdict::Failure(Reason::AgentMalformed));
        for line in [
            "\n",
            "# up\n",
            "yes\n",
            "HTTP/1.1 400 Bad\r\n",
            "upupupupupupupupupupup\n",
        ] {
            assert_eq!(said(line).0, malformed, "{line:?}");
        }
        // Without its end a line may be the start of another.
        assert_eq!(said("up").0, Some(Verdict::Failure(Reason::Closed)));
        let long = format!("up #{}\n", "x".repeat(1020));
        assert_eq!(said(&long).0, malformed);
        assert_eq!(
            said(&format!("up #{}\n", "x".repeat(1019))).0,
            Some(Verdict::Success)
        );
    }

    #[test]
    fn bytes_are_sent_first_if_asked_for() {
        let spec = Spec::Agent(Agent { send: b"state?\n" });
        let (out, keep) = (&mut [0; 16], &mut []);
        let (_, step) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
        assert_eq!(step, Step::Send(7));
        assert_eq!(&out[..7], b"state?\n");
    }
}
