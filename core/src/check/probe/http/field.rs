//! Header fields, byte by byte: the three that say how long the message is and
//! whether the connection stays, and those the check expects.

use super::{HEADERS_MAX, HeaderMatch};
use crate::check::probe::{Found, Pattern, Scan};

/// Fields every response is read for.
const NAMES: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"connection"];
const LENGTH: u8 = 1;
const CODING: u8 = 2;
const CONNECTION: u8 = 4;
/// The bits of the fields a check expects.
const EXPECTED: [u8; HEADERS_MAX] = [8, 16];

/// Words in the values of lists.
const WORDS: [&[u8]; 3] = [b"chunked", b"close", b"keep-alive"];
const CHUNKED: u8 = 1;
const CLOSE: u8 = 2;
const KEEP_ALIVE: u8 = 4;

/// The headers a check may expect.
pub(super) type Expected<'a> = [Option<HeaderMatch<'a>>; HEADERS_MAX];

/// What the fields read so far say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Names the line's may be, and how many bytes of it were read.
    names: u8,
    at: u16,
    /// The value has begun; blanks that came since its last byte.
    begun: bool,
    blanks: u16,
    scans: [Scan; HEADERS_MAX],
    list: List,
    number: Option<u64>,

    /// Content-Length.
    pub length: Length,
    /// Transfer-Encoding.
    pub coding: Coding,
    /// Connection has `close`, `keep-alive`.
    pub close: bool,
    pub keep_alive: bool,
    /// Expected headers that are there, a bit for each.
    matched: u8,
}

/// What Content-Length says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    None,
    Is(u64),
    /// Not a number, or two of them.
    Bad,
}

/// What Transfer-Encoding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    None,
    /// Chunked last, so that the message has an end.
    Chunked,
    Other,
}

impl Fields {
    pub const fn new() -> Self {
        Self {
            names: 0,
            at: 0,
            begun: false,
            blanks: 0,
            scans: [Scan::new(Pattern::Any); HEADERS_MAX],
            list: List::NEW,
            number: None,
            length: Length::None,
            coding: Coding::None,
            close: false,
            keep_alive: false,
            matched: 0,
        }
    }

    /// A line begins.
    pub fn line(&mut self, expected: &Expected<'_>) {
        self.names = u8::MAX;
        self.at = 0;
        self.begun = false;
        self.blanks = 0;
        self.list = List::NEW;
        self.number = None;
        for (scan, header) in self.scans.iter_mut().zip(expected) {
            *scan = Scan::new(header.map_or(Pattern::Any, |header| header.value));
        }
    }

    /// A byte of the name.
    pub fn name(&mut self, expected: &Expected<'_>, byte: u8) {
        for (bit, name) in names(expected) {
            let same = name
                .get(usize::from(self.at))
                .is_some_and(|own| own.eq_ignore_ascii_case(&byte));
            if !same {
                self.names &= !bit;
            }
        }
        self.at = self.at.saturating_add(1);
    }

    /// The colon: the name is whole.
    pub fn colon(&mut self, expected: &Expected<'_>) {
        let mut whole = 0;
        for (bit, name) in names(expected) {
            if name.len() == usize::from(self.at) {
                whole |= bit;
            }
        }
        self.names &= whole;
    }

    /// A byte of the value, or a blank around it.
    pub fn value(&mut self, expected: &Expected<'_>, byte: u8) {
        if matches!(byte, b' ' | b'\t') {
            if self.begun {
                self.blanks = self.blanks.saturating_add(1);
            }
            return;
        }
        self.begun = true;
        for _ in 0..self.blanks {
            // A tab inside a value is read as the space it stands for.
            self.inner(expected, b' ');
        }
        self.blanks = 0;
        self.inner(expected, byte);
    }

    /// The line ends.
    pub fn end(&mut self, expected: &Expected<'_>) {
        self.item();
        for ((scan, header), bit) in self.scans.iter().zip(expected).zip(EXPECTED) {
            if let Some(header) = header
                && self.names & bit != 0
                && scan.end(header.value)
            {
                self.matched |= bit;
            }
        }
    }

    /// Whether every expected header was there.
    pub fn all_matched(&self, expected: &Expected<'_>) -> bool {
        let mut headers = expected.iter().zip(EXPECTED);
        headers.all(|(header, bit)| header.is_none() || self.matched & bit != 0)
    }

    fn inner(&mut self, expected: &Expected<'_>, byte: u8) {
        for ((scan, header), bit) in self.scans.iter_mut().zip(expected).zip(EXPECTED) {
            if let Some(header) = header
                && self.names & bit != 0
                && scan.found() == Found::Open
            {
                scan.feed(header.value, &[byte]);
            }
        }
        if self.names & (LENGTH | CODING | CONNECTION) == 0 {
            return;
        }
        if byte == b',' {
            self.item();
            self.list = List::NEW;
            self.number = None;
            return;
        }
        self.list.step(byte);
        if self.names & LENGTH != 0 && byte != b' ' {
            let digit = char::from(byte).to_digit(10).map(u64::from);
            let before = if self.list.at > 1 {
                self.number
            } else {
                Some(0)
            };
            self.number = before
                .zip(digit)
                .and_then(|(n, digit)| n.checked_mul(10)?.checked_add(digit));
            if self.number.is_none() || self.list.broken {
                self.length = Length::Bad;
            }
        }
    }

    /// An item of a list ends.
    fn item(&mut self) {
        let word = self.list.word();
        if self.names & LENGTH != 0 {
            self.length = match (self.length, self.number) {
                (Length::None, Some(number)) => Length::Is(number),
                (Length::Is(before), Some(number)) if before == number => Length::Is(before),
                (Length::None | Length::Is(_) | Length::Bad, _) => Length::Bad,
            };
        }
        if self.names & CODING != 0 && self.list.at > 0 {
            self.coding = if word == CHUNKED {
                Coding::Chunked
            } else {
                Coding::Other
            };
        }
        if self.names & CONNECTION != 0 {
            self.close |= word == CLOSE;
            self.keep_alive |= word == KEEP_ALIVE;
        }
    }
}

/// One item of a list: which of [`WORDS`] it can still be.
#[derive(Clone, Copy, Debug)]
struct List {
    words: u8,
    at: u8,
    blank: bool,
    /// It has a blank inside.
    broken: bool,
}

impl List {
    const NEW: Self = Self {
        words: u8::MAX,
        at: 0,
        blank: false,
        broken: false,
    };

    fn step(&mut self, byte: u8) {
        if byte == b' ' {
            self.blank = self.at > 0;
            return;
        }
        self.broken |= self.blank;
        for (bit, word) in [CHUNKED, CLOSE, KEEP_ALIVE].into_iter().zip(WORDS) {
            let same = word
                .get(usize::from(self.at))
                .is_some_and(|own| own.eq_ignore_ascii_case(&byte));
            if !same || self.broken {
                self.words &= !bit;
            }
        }
        self.at = self.at.saturating_add(1);
    }

    /// The word it is; 0 for another.
    fn word(&self) -> u8 {
        let mut found = 0;
        for (bit, word) in [CHUNKED, CLOSE, KEEP_ALIVE].into_iter().zip(WORDS) {
            if self.words & bit != 0 && word.len() == usize::from(self.at) {
                found = bit;
            }
        }
        found
    }
}

fn names<'a>(expected: &'a Expected<'a>) -> impl Iterator<Item = (u8, &'a [u8])> {
    let own = [LENGTH, CODING, CONNECTION].into_iter().zip(NAMES);
    let theirs = expected.iter().zip(EXPECTED).map(|(header, bit)| {
        let name = header.map_or("", |header| header.name);
        (bit, name.as_bytes())
    });
    own.chain(theirs)
}
