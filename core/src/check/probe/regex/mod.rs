//! A small regular expression, matched byte by byte with one word of state. Not
//! a search for where a match lies: only whether there is one.
//!
//! The dialect. Each pattern of it means the same to Rust's `regex` crate with
//! Unicode off (a property test holds that).
//!
//! | written | matches |
//! |---|---|
//! | `a` | itself: any ASCII byte but `\ ^ $ . \| ? * + ( ) [ ] { }`, which a `\` before them makes plain |
//! | `.` | any byte but a newline |
//! | `[a-z_]` `[^"]` | a set of bytes, or all others; `[` and `]` inside need a `\` |
//! | `\d \w \s`, `\D \W \S` | a digit, a word's byte, a blank (ASCII); all others |
//! | `\t \n \r \f \v \xHH` | that byte |
//! | `(x)` `(?:x)` `x\|y` | groups and alternatives |
//! | `x* x+ x? x{n} x{n,} x{n,m}` | repetitions; a `?` after them changes nothing |
//! | `^` `$` | the start and the end of the text, at the ends of an alternative outside groups |
//! | `(?i)` | at the start: letters match both cases |
//!
//! It becomes Glushkov's automaton (V. M. Glushkov, 1961; bit-parallel as in
//! Navarro and Raffinot, 2001): one bit for each byte of the pattern that takes
//! a byte of the text, [`POSITIONS_MAX`] of them, repetitions written out. So a
//! byte of the text costs at most that many steps, whatever the pattern.

mod compile;
mod set;

use super::pattern::Found;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Positions a pattern may have after its repetitions are written out.
pub const POSITIONS_MAX: usize = 64;
/// Groups that may lie in one another.
pub const DEPTH_MAX: u8 = 16;

/// A compiled pattern: some 2.5 KiB that never grow, all words, so that it can
/// lie among others in a plan's memory and be read where it lies.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Regex {
    /// For each byte, the positions that take it.
    takes: [u64; 256],
    /// For each position, those that may come next.
    follow: [u64; POSITIONS_MAX],
    /// Where a match may begin: anywhere, and at the start of the text.
    first: u64,
    first_at_start: u64,
    /// Where a match may end: anywhere, and at the end of the text.
    last: u64,
    last_at_end: u64,
    /// Not 0: it matches nothing at all, and so is in every text.
    always: u64,
    /// Not 0: it matches a text that is empty.
    empty: u64,
}

/// Why a pattern is not one, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegexError {
    /// Its place in the pattern, in bytes from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: RegexFault,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegexFault {
    /// A `\` before what needs none, or at the end.
    Escape,
    /// A byte that has a meaning elsewhere and none here.
    Unescaped,
    /// A byte outside ASCII.
    NotAscii,
    /// A `(` without its `)`.
    OpenGroup,
    /// A `)` without its `(`.
    CloseGroup,
    /// A group with an extension that is not known.
    Extension,
    /// A `[` without its `]`, or with nothing in it.
    Set,
    /// A range whose end lies before its start, or is no byte.
    Range,
    /// A repetition of nothing, or of a repetition.
    Repetition,
    /// A count that is not `{n}`, `{n,}` or `{n,m}` with n not more than m.
    Count,
    /// `^` not at the start or `$` not at the end of an alternative, or in a
    /// group.
    Anchor,
    /// More than [`POSITIONS_MAX`] positions.
    TooLong,
    /// More than [`DEPTH_MAX`] groups in one another.
    TooDeep,
}

impl RegexFault {
    /// In words: what to write.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Escape => "no such escape: \\d \\w \\s \\t \\n \\r \\f \\v \\xHH, or a sign",
            Self::Unescaped => "write a \\ before it",
            Self::NotAscii => "not ASCII: write each byte as \\xHH",
            Self::OpenGroup => "the group is not closed: write )",
            Self::CloseGroup => "no group is open: write \\)",
            Self::Extension => "no such group: ( or (?:, and (?i) at the start",
            Self::Set => "the set is empty or not closed: write ]",
            Self::Range => "the range does not go up",
            Self::Repetition => "nothing to repeat here",
            Self::Count => "not a count: {n}, {n,} or {n,m}",
            Self::Anchor => "^ goes to the start, $ to the end, outside groups",
            Self::TooLong => "too long: 64 places with repetitions written out",
            Self::TooDeep => "too many groups in one another: at most 16",
        }
    }
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.fault.words())
    }
}

impl core::error::Error for RegexError {}

impl Regex {
    /// Words it has.
    pub const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`RegexError`]: what of it is not in the dialect, or too much.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        compile::compile(pattern.as_bytes())
    }

    /// Whether a whole text has a match.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        let (mut bits, mut begun, mut found) = (0, false, self.begin());
        for byte in text {
            if found != Found::Open {
                break;
            }
            (bits, found) = self.step(bits, begun, *byte);
            begun = true;
        }
        match found {
            Found::Yes => true,
            Found::No => false,
            Found::Open => self.end(bits, begun),
        }
    }

    /// What is known before the first byte.
    pub(super) const fn begin(&self) -> Found {
        if self.always != 0 {
            Found::Yes
        } else {
            Found::Open
        }
    }

    /// Takes one byte of the text. `begun` tells that it is not the first.
    pub(super) fn step(&self, bits: u64, begun: bool, byte: u8) -> (u64, Found) {
        let mut next = self.first;
        if !begun {
            next |= self.first_at_start;
        }
        for position in ones(bits) {
            next |= at(&self.follow, position);
        }
        let bits = next & at(&self.takes, usize::from(byte));
        if bits & self.last != 0 {
            (bits, Found::Yes)
        } else if bits == 0 && self.first == 0 {
            (bits, Found::No)
        } else {
            (bits, Found::Open)
        }
    }

    /// Whether the end of the text makes it a match.
    pub(super) const fn end(&self, bits: u64, begun: bool) -> bool {
        bits & self.last_at_end != 0 || (self.empty != 0 && !begun)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positions = self.takes.iter().fold(0, |all, bits| all | bits);
        f.debug_struct("Regex")
            .field("positions", &positions.count_ones())
            .finish_non_exhaustive()
    }
}

/// The numbers of the bits that are set.
fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let lowest = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest as usize)
    })
}

/// Bits so many places higher; what is beyond the word is lost.
fn left(bits: u64, by: u32) -> u64 {
    bits.checked_shl(by).unwrap_or(0)
}

/// Entries that are there by construction: a byte has 256 values, a word 64
/// bits.
fn at<const N: usize>(table: &[u64; N], index: usize) -> u64 {
    table.get(index).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
