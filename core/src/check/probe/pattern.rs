//! What an answer has to look like, and how far a stream of bytes got with it.

use super::regex::Regex;

/// The longest text of a [`Pattern`], in bytes.
pub const NEEDLE_BYTES_MAX: usize = 1024;

/// What bytes have to look like. All of them are decided byte by byte, so how
/// the bytes were cut into reads changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern<'a> {
    /// Anything, nothing as well.
    Any,
    /// These bytes and no more.
    Exact(&'a [u8]),
    /// These bytes first: Seesaw's rule.
    Prefix(&'a [u8]),
    /// These bytes somewhere.
    Contains(&'a [u8]),
    /// A match somewhere.
    Regex(&'a Regex),
}

/// Whether a pattern is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// It depends on what comes.
    Open,
    /// It is, whatever comes.
    Yes,
    /// It is not, whatever comes.
    No,
}

/// How far a pattern is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The regex's positions, or how many bytes of the text match.
    bits: u64,
    begun: bool,
    found: Found,
}

impl Scan {
    /// Before the first byte.
    #[must_use]
    pub const fn new(pattern: Pattern<'_>) -> Self {
        let found = match pattern {
            Pattern::Any => Found::Yes,
            Pattern::Prefix(text) | Pattern::Contains(text) if text.is_empty() => Found::Yes,
            Pattern::Exact(_) | Pattern::Prefix(_) | Pattern::Contains(_) => Found::Open,
            Pattern::Regex(regex) => regex.begin(),
        };
        Self {
            bits: 0,
            begun: false,
            found,
        }
    }

    /// What is known now.
    #[must_use]
    pub const fn found(&self) -> Found {
        self.found
    }

    /// Takes the next bytes, always of the pattern it began with.
    pub fn feed(&mut self, pattern: Pattern<'_>, bytes: &[u8]) -> Found {
        for byte in bytes {
            if self.found != Found::Open {
                break;
            }
            self.step(pattern, *byte);
        }
        self.found
    }

    /// Whether it matches if nothing more comes.
    #[must_use]
    pub const fn end(&self, pattern: Pattern<'_>) -> bool {
        match self.found {
            Found::Yes => true,
            Found::No => false,
            Found::Open => match pattern {
                Pattern::Any => true,
                Pattern::Exact(text) => self.bits == text.len() as u64,
                Pattern::Prefix(_) | Pattern::Contains(_) => false,
                Pattern::Regex(regex) => regex.end(self.bits, self.begun),
            },
        }
    }

    fn step(&mut self, pattern: Pattern<'_>, byte: u8) {
        let matched = usize::try_from(self.bits).unwrap_or(usize::MAX);
        match pattern {
            Pattern::Any => self.found = Found::Yes,
            Pattern::Exact(text) | Pattern::Prefix(text) => {
                if text.get(matched) == Some(&byte) {
                    self.bits = self.bits.saturating_add(1);
                    let whole = self.bits == text.len() as u64;
                    if whole && matches!(pattern, Pattern::Prefix(_)) {
                        self.found = Found::Yes;
                    }
                } else {
                    self.found = Found::No;
                }
            }
            Pattern::Contains(text) => {
                let matched = advance(text, matched, byte);
                self.bits = matched as u64;
                if matched == text.len() {
                    self.found = Found::Yes;
                }
            }
            Pattern::Regex(regex) => {
                (self.bits, self.found) = regex.step(self.bits, self.begun, byte);
            }
        }
        self.begun = true;
    }
}

/// How much of `text` is matched after `byte`, when `matched` bytes of it were:
/// the step of Knuth, Morris and Pratt, without a table. What was read is in the
/// text itself, so where to go on is found by comparing it with itself.
fn advance(text: &[u8], matched: usize, byte: u8) -> usize {
    let read = text.get(..matched).unwrap_or(&[]);
    let mut rest = read;
    loop {
        let kept = rest.len();
        if text.get(kept) == Some(&byte) && text.starts_with(rest) {
            return kept.saturating_add(1);
        }
        match rest.split_first() {
            Some((_, shorter)) => rest = shorter,
            None => return 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn scan(pattern: Pattern<'_>, parts: &[&[u8]]) -> bool {
        let mut scan = Scan::new(pattern);
        for part in parts {
            scan.feed(pattern, part);
        }
        scan.end(pattern)
    }

    #[test]
    fn each_kind_by_its_rule() {
        let table: [(Pattern<'_>, &[u8], bool); 13] = [
            (Pattern::Any, b"", true),
            (Pattern::Any, b"x", true),
            (Pattern::Exact(b""), b"", true),
            (Pattern::Exact(b""), b"x", false),
            (Pattern::Exact(b"ab"), b"ab", true),
            (Pattern::Exact(b"ab"), b"abc", false),
            (Pattern::Exact(b"ab"), b"a", false),
            (Pattern::Prefix(b"ab"), b"abc", true),
            (Pattern::Prefix(b"ab"), b"a", false),
            (Pattern::Prefix(b""), b"", true),
            (Pattern::Contains(b"aab"), b"xaaab", true),
            (Pattern::Contains(b"aab"), b"aa", false),
            (Pattern::Contains(b""), b"", true),
        ];
        for (pattern, text, expect) in table {
            assert_eq!(scan(pattern, &[text]), expect, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn a_decision_holds_whatever_comes() {
        let pattern = Pattern::Prefix(b"ok");
        let mut scan = Scan::new(pattern);
        assert_eq!(scan.feed(pattern, b"o"), Found::Open);
        assert_eq!(scan.feed(pattern, b"k and more"), Found::Yes);
        assert_eq!(scan.feed(pattern, b"\xff"), Found::Yes);
        let mut scan = Scan::new(pattern);
        assert_eq!(scan.feed(pattern, b"x"), Found::No);
        assert_eq!(scan.feed(pattern, b"ok"), Found::No);
    }

    proptest! {
        /// Two letters make texts that repeat themselves.
        #[test]
        fn substrings_are_found_across_splits(
            needle in prop::collection::vec(b'a'..=b'b', 0..9),
            hay in prop::collection::vec(b'a'..=b'b', 0..60),
            cut in 0..60_usize,
        ) {
            let (left, right) = hay.split_at(cut.min(hay.len()));
            let there = needle.is_empty() || hay.windows(needle.len()).any(|w| w == needle);
            prop_assert_eq!(scan(Pattern::Contains(&needle), &[left, right]), there);
            let bytes: Vec<&[u8]> = hay.chunks(1).collect();
            prop_assert_eq!(scan(Pattern::Prefix(&needle), &bytes), hay.starts_with(&needle));
            prop_assert_eq!(scan(Pattern::Exact(&needle), &bytes), hay == needle);
        }
    }
}
