//! What the TOML parser refuses, in an operator's words.

use super::section::{Notes, Span};
use toml::de::{DeTable, DeValue, Error};

/// Notes the parser's errors. Each one's place is inside `text`.
pub(super) fn note(text: &str, root: &DeTable<'_>, errors: &[Error], notes: &mut Notes) {
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let span = span.start.min(text.len())..span.end.min(text.len());
        let word = text.get(span.clone()).unwrap_or("");
        let message = error.message();
        if message == "duplicate key" {
            duplicate(text, root, &span, notes);
        } else if message.starts_with("string values must be quoted") {
            let (what, help) = match word {
                "" => (
                    "a value is missing".to_owned(),
                    "write a value after `=`".to_owned(),
                ),
                _ => (
                    "a text needs quotes".to_owned(),
                    format!("write \"{word}\""),
                ),
            };
            notes.error(&span, what, help);
        } else {
            let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
            let help = match expected {
                "" => String::new(),
                expected => format!("expected {expected}"),
            };
            let what = match what {
                "invalid basic string" | "invalid literal string" => "a text is not closed",
                what => what,
            };
            notes.error(&span, what, help);
        }
    }
}

fn duplicate(text: &str, root: &DeTable<'_>, span: &Span, notes: &mut Notes) {
    let word = text.get(span.clone()).unwrap_or("");
    let line = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let header = text[line..span.start].trim_start().starts_with('[');
    let (message, help) = if header {
        (
            format!("the table `{word}` twice"),
            "put the keys under one header; a list of tables has double brackets",
        )
    } else {
        (format!("the key `{word}` twice"), "remove one")
    };
    // The tree keeps the first of two keys, but the second of two headers.
    let first = (!header).then(|| kept(root, word, span.start)).flatten();
    match first {
        Some(first) => notes.error_also(span, message, help, (&first, "the first")),
        None => notes.error(span, message, help),
    }
}

/// The nearest key of that name before `at`: the twin stands in the same
/// table, and a table's keys stand together.
fn kept(table: &DeTable<'_>, word: &str, at: usize) -> Option<Span> {
    let mut best: Option<Span> = None;
    let mut better = |span: Option<Span>| {
        if let Some(span) = span.filter(|span| span.start < at)
            && best.as_ref().is_none_or(|best| best.start < span.start)
        {
            best = Some(span);
        }
    };
    for (key, value) in table {
        if key.get_ref() == word {
            better(Some(key.span()));
        }
        match value.get_ref() {
            DeValue::Table(inner) => better(kept(inner, word, at)),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        better(kept(inner, word, at));
                    }
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
    best
}

/// Whether a syntax error stands in or at the end of `span`: then what was read
/// there is a guess, and nothing more is said about it.
pub(super) fn spoils(errors: &[Error], span: &Span) -> bool {
    errors.iter().any(|error| {
        error
            .span()
            .is_some_and(|at| at.start >= span.start && at.start <= span.end)
            && error.message() != "duplicate key"
    })
}
