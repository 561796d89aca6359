//! What a check found, and how it is told.

use serde_json::{Value, json};
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It runs, and worse than it could.
    Warning,
    /// Something the config asks for cannot work.
    Problem,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// See the module's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub level: Level,
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// What was found, in one line.
    pub text: String,
    /// Lines to type here, as root; empty where no line mends it.
    pub mend: Vec<String>,
    /// Lines to type on each backend.
    pub on_backends: Vec<String>,
}

impl Finding {
    pub fn ok(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, about, text)
    }

    pub fn warning(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Warning, about, text)
    }

    pub fn problem(about: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Problem, about, text)
    }

    fn new(level: Level, about: &'static str, text: impl Into<String>) -> Self {
        Self {
            level,
            about,
            text: text.into(),
            mend: Vec::new(),
            on_backends: Vec::new(),
        }
    }

    pub fn mend(mut self, line: impl Into<String>) -> Self {
        self.mend.push(line.into());
        self
    }

    pub fn on_backends(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.on_backends.extend(lines);
        self
    }
}

/// ```text
/// problem  forwarding: net.ipv4.ip_forward is 0: masqueraded answers go nowhere
///          type: sysctl -w net.ipv4.ip_forward=1
/// ```
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            level,
            about,
            text,
            mend,
            on_backends,
        } = self;
        writeln!(f, "{:<8} {about}: {text}", level.word())?;
        for line in mend {
            writeln!(f, "         type: {line}")?;
        }
        for line in on_backends {
            writeln!(f, "         on each backend: {line}")?;
        }
        Ok(())
    }
}

/// All of them, and how many are bad.
pub(super) struct Report<'f>(pub &'f [Finding]);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.0 {
            finding.fmt(f)?;
        }
        let (problems, warnings) = counts(self.0);
        writeln!(f, "problems: {problems}, warnings: {warnings}")
    }
}

/// `{"problems", "warnings", "findings": [{"level", "about", "text", "mend",
/// "on_backends"}]}`.
pub(super) fn to_json(findings: &[Finding]) -> Value {
    let (problems, warnings) = counts(findings);
    let each = findings.iter().map(|finding| {
        let Finding {
            level,
            about,
            text,
            mend,
            on_backends,
        } = finding;
        json!({
            "level": level.word(),
            "about": about,
            "text": text,
            "mend": mend,
            "on_backends": on_backends,
        })
    });
    json!({
        "problems": problems,
        "warnings": warnings,
        "findings": each.collect::<Vec<_>>(),
    })
}

fn counts(findings: &[Finding]) -> (usize, usize) {
    let of = |level| findings.iter().filter(|f| f.level == level).count();
    (of(Level::Problem), of(Level::Warning))
}
