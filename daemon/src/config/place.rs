//! From byte offsets to lines, columns and the line to show.

use std::ops::Range;

/// The lines of a text.
#[derive(Debug)]
pub(super) struct Places<'t> {
    text: &'t str,
    /// Byte offset of the start of each line.
    starts: Vec<usize>,
}

/// A source line as it is shown under a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The line, or the part of a long one around the mistake; no control
    /// character but tab.
    pub text: String,
    /// What to print before the carets: blanks and the line's own tabs.
    pub indent: String,
    /// How many carets; at least one.
    pub width: usize,
}

/// Characters of a line shown at most, and of them before the mistake.
const SHOWN_CHARS_MAX: usize = 120;
const SHOWN_BEFORE_MAX: usize = 60;

impl<'t> Places<'t> {
    pub fn new(text: &'t str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// Line and column of an offset, both from 1, the column in characters. An
    /// offset past the end is the end.
    pub fn of(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = &self.text[self.starts[line - 1]..offset];
        (line, before.chars().count() + 1)
    }

    /// The line a span starts on.
    pub fn show(&self, span: &Range<usize>) -> Line {
        let (line, column) = self.of(span.start);
        let start = self.starts[line - 1];
        let end = self
            .starts
            .get(line)
            .map_or(self.text.len(), |next| next - 1);
        let whole = self.text[start..end].trim_end_matches('\r');
        let skipped = (column - 1).saturating_sub(SHOWN_BEFORE_MAX);
        let mut text: String = whole
            .chars()
            .skip(skipped)
            .take(SHOWN_CHARS_MAX)
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        let before = column - 1 - skipped;
        let room = text.chars().count().saturating_sub(before).max(1);
        let spanned = self.text[self.text.floor_char_boundary(span.start)
            ..self.text.floor_char_boundary(span.end.max(span.start))]
            .chars()
            .take_while(|c| *c != '\n' && *c != '\r')
            .take(room)
            .count();
        let mut indent: String = text
            .chars()
            .take(before)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        if skipped > 0 {
            text.insert(0, '…');
            indent.insert(0, ' ');
        }
        Line {
            text,
            indent,
            width: spanned.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns() {
        let places = Places::new("ab\ncé!\r\n\nz");
        for (offset, place) in [
            (0, (1, 1)),
            (2, (1, 3)),
            (3, (2, 1)),
            (4, (2, 2)),
            (5, (2, 2)), // inside é
            (6, (2, 3)),
            (9, (3, 1)),
            (10, (4, 1)),
            (11, (4, 2)),
            (99, (4, 2)),
        ] {
            assert_eq!(places.of(offset), place, "{offset}");
        }
        assert_eq!(Places::new("").of(0), (1, 1));
    }

    #[test]
    fn carets_stand_under_the_span() {
        let show = |text: &str, span| {
            let Line {
                text,
                indent,
                width,
            } = Places::new(text).show(&span);
            format!("{text}|{indent}{}", "^".repeat(width))
        };
        assert_eq!(show("a = 12\nb", 4..6), "a = 12|    ^^");
        assert_eq!(show("\ta = 12", 5..7), "\ta = 12|\t    ^^");
        assert_eq!(show("é = 12", 5..7), "é = 12|    ^^");
        assert_eq!(show("a = [\n1]", 4..8), "a = [|    ^");
        assert_eq!(show("a", 1..1), "a| ^");
        assert_eq!(show("", 0..0), "|^");
        assert_eq!(show("a\u{1b}[2J", 0..1), "a\u{fffd}[2J|^");
        let long = format!("{}x = 1{}", " ".repeat(500), " ".repeat(500));
        let shown = Places::new(&long).show(&(500..501));
        assert_eq!(shown.text.chars().count(), SHOWN_CHARS_MAX + 1);
        let under = shown.indent.chars().count();
        assert_eq!(shown.text.chars().nth(under), Some('x'));
    }
}
