//! Which status codes are expected.

use core::fmt;

/// Ranges a [`StatusSet`] may have.
pub const RANGES_MAX: usize = 8;

/// A few ranges of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSet {
    /// First and last; unused ones are empty (first beyond last).
    ranges: [(u16, u16); RANGES_MAX],
}

/// What is wrong with the text of a set, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusError {
    /// Its place in the text, in bytes from 1.
    pub column: usize,
    /// What to write.
    pub words: &'static str,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.words)
    }
}

impl core::error::Error for StatusError {}

const UNUSED: (u16, u16) = (1, 0);

impl StatusSet {
    /// 200 to 299.
    pub const SUCCESSFUL: Self = Self::range(200, 299);

    /// One code and no other: Seesaw's rule.
    #[must_use]
    pub const fn only(code: u16) -> Self {
        Self::range(code, code)
    }

    /// Those from `first` to `last`.
    #[must_use]
    pub const fn range(first: u16, last: u16) -> Self {
        let mut ranges = [UNUSED; RANGES_MAX];
        let [range, ..] = &mut ranges;
        *range = (first, last);
        Self { ranges }
    }

    /// Reads `200-299,301`: codes and ranges of them with commas between.
    ///
    /// # Errors
    /// [`StatusError`]: not such a text, a code that has not three digits or is
    /// below 200 (an interim response is never the answer, 101 aside), a range
    /// that does not go up, more than [`RANGES_MAX`].
    pub fn parse(text: &str) -> Result<Self, StatusError> {
        let mut ranges = [UNUSED; RANGES_MAX];
        let mut free = ranges.iter_mut();
        let mut column = 1_usize;
        for item in text.split(',') {
            let err = |words| StatusError { column, words };
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = code(first)
                .zip(code(last))
                .ok_or(err("a code is 101 or 200 to 599; write 200-299,301"))?;
            if first > last {
                return Err(err("the range does not go up"));
            }
            *free.next().ok_or(err("too many: at most 8 ranges"))? = (first, last);
            column = column.saturating_add(item.len()).saturating_add(1);
        }
        Ok(Self { ranges })
    }

    /// The ranges, unused ones as well.
    pub(in crate::check::probe) const fn ranges(&self) -> &[(u16, u16); RANGES_MAX] {
        &self.ranges
    }

    /// What [`ranges`](Self::ranges) gave.
    pub(in crate::check::probe) const fn of_ranges(ranges: [(u16, u16); RANGES_MAX]) -> Self {
        Self { ranges }
    }

    /// Whether a code is in it.
    #[must_use]
    pub fn contains(&self, code: u16) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&code))
    }
}

fn code(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let code = digits.then(|| text.parse().ok()).flatten()?;
    (code == 101 || (200..600).contains(&code)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let set = StatusSet::parse("200-299,301,101").unwrap();
        for (code, expect) in [
            (199, false),
            (200, true),
            (299, true),
            (300, false),
            (301, true),
            (101, true),
            (0, false),
        ] {
            assert_eq!(set.contains(code), expect, "{code}");
        }
        assert_eq!(StatusSet::parse("204"), Ok(StatusSet::only(204)));
    }

    #[test]
    fn faults_have_a_column() {
        for (text, column) in [
            ("", 1),
            ("200,", 5),
            ("2xx", 1),
            ("200,100", 5),
            ("200, 301", 5),
            ("299-200", 1),
            ("+200", 1),
            ("600", 1),
            ("200,201,202,203,204,205,206,207,208", 33),
        ] {
            let error = StatusSet::parse(text).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
        }
    }
}
