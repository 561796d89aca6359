//! A mistake in a config file: where it stands, what is wrong, and what to
//! write instead. Owns its text, so that it outlives the file it came from.

use super::place::{Line, Places};
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;

/// How much a mistake weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken; someone should look.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A second place that belongs to a mistake: the first of two duplicates, the
/// other end of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is there.
    pub message: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// The file's name as the operator gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Where in the file, bytes.
    pub bytes: Range<usize>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to write instead, in one line; empty where the message says all.
    pub help: String,
    /// A second place.
    pub also: Option<Also>,
    line_shown: Line,
}

/// A mistake before its place is worked out.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub severity: Severity,
    pub span: Range<usize>,
    pub message: String,
    pub help: String,
    pub also: Option<(Range<usize>, String)>,
}

impl Note {
    /// The same at another place.
    pub fn moved(self, to: impl Fn(usize) -> usize) -> Self {
        let moved = |span: Range<usize>| to(span.start)..to(span.end);
        Self {
            span: moved(self.span),
            also: self.also.map(|(span, message)| (moved(span), message)),
            ..self
        }
    }
}

impl Mistake {
    pub(super) fn new(file: &str, places: &Places<'_>, note: Note) -> Self {
        let (line, column) = places.of(note.span.start);
        Self {
            severity: note.severity,
            file: file.to_owned(),
            line,
            column,
            line_shown: places.show(&note.span),
            bytes: note.span,
            message: plain(&note.message),
            help: plain(&note.help),
            also: note.also.map(|(span, message)| {
                let (line, column) = places.of(span.start);
                Also {
                    line,
                    column,
                    message,
                }
            }),
        }
    }

    /// The mistake as a JSON object, with the fields of this struct.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.to_string(),
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "help": self.help,
            "also": self.also.as_ref().map(|also| json!({
                "line": also.line,
                "column": also.column,
                "message": also.message,
            })),
        })
    }
}

/// ```text
/// lb.toml:12:1: error: unknown key `shceduler` in [[service]]
///    |
/// 12 | shceduler = "wrr"
///    | ^^^^^^^^^ write `scheduler`
/// ```
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            file,
            line,
            column,
            bytes: _,
            message,
            help,
            also,
            line_shown:
                Line {
                    text,
                    indent,
                    width,
                },
        } = self;
        let gutter = line.to_string();
        let blank = " ".repeat(gutter.len());
        writeln!(f, "{file}:{line}:{column}: {severity}: {message}")?;
        writeln!(f, "{blank} |")?;
        writeln!(f, "{gutter} | {text}")?;
        let carets = "^".repeat(*width);
        writeln!(
            f,
            "{}",
            format!("{blank} | {indent}{carets} {help}").trim_end()
        )?;
        if let Some(Also {
            line,
            column,
            message,
        }) = also
        {
            writeln!(f, "{blank} = {message}: {file}:{line}:{column}")?;
        }
        Ok(())
    }
}

/// Why a file is refused: every mistake in it, in the order of its lines,
/// warnings among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The file's name as the operator gave it.
    pub file: String,
    /// At least one is a [`Severity::Error`].
    pub mistakes: Vec<Mistake>,
}

impl Errors {
    /// How many errors, how many warnings.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let errors = self
            .mistakes
            .iter()
            .filter(|mistake| mistake.severity == Severity::Error)
            .count();
        (errors, self.mistakes.len() - errors)
    }
}

/// All mistakes, a blank line after each, and a closing count.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.mistakes {
            writeln!(f, "{mistake}")?;
        }
        let (errors, warnings) = self.count();
        write!(f, "{}: {}", self.file, plural(errors, "error"))?;
        if warnings > 0 {
            write!(f, ", {}", plural(warnings, "warning"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// A file's text must not command the operator's terminal.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// `1 error`, `2 errors`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
