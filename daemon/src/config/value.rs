//! One value of the document: the value of the wanted type, or a note of what
//! to write instead.

use super::scalar;
use super::section::{At, Notes, Raw};
use super::suggest::nearest;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

pub(super) fn string<'d>((key, value): Raw<'d>, notes: &mut Notes) -> Option<At<&'d str>> {
    if let Some(text) = value.get_ref().as_str() {
        return Some(At {
            value: text,
            span: value.span(),
        });
    }
    let help = match number(value.get_ref()) {
        Some(number) => format!("write \"{number}\", in quotes"),
        None => format!("write {key} = \"…\""),
    };
    wrong_type(key, value, "a text", help, notes);
    None
}

pub(super) fn text<T>(
    (key, value): Raw<'_>,
    read: impl Fn(&str) -> Result<T, String>,
    notes: &mut Notes,
) -> Option<At<T>> {
    let At { value, span } = string((key, value), notes)?;
    match read(value) {
        Ok(value) => Some(At { value, span }),
        Err(help) => {
            let message = format!("`{key}` cannot be {}", quote(value));
            notes.error(&span, message, help);
            None
        }
    }
}

pub(super) fn integer<N: TryFrom<u32>>(
    raw: Raw<'_>,
    range: RangeInclusive<u32>,
    notes: &mut Notes,
) -> Option<At<N>> {
    let found = whole(
        raw,
        i64::from(*range.start())..=i64::from(*range.end()),
        notes,
    )?;
    let value = u32::try_from(found.value).ok();
    let value = value.and_then(|value| N::try_from(value).ok())?;
    Some(found.map(|_| value))
}

/// A whole number, which may be below zero.
pub(super) fn whole(
    (key, value): Raw<'_>,
    range: RangeInclusive<i64>,
    notes: &mut Notes,
) -> Option<At<i64>> {
    let span = value.span();
    let (low, high) = (range.start(), range.end());
    let Some(written) = value.get_ref().as_integer() else {
        let text = value.get_ref().as_str();
        let help = match text.and_then(|text| text.trim().parse::<i64>().ok()) {
            Some(number) => format!("write {number}, without quotes"),
            None => format!("write a number from {low} to {high}, such as {key} = {low}"),
        };
        wrong_type(key, value, "a whole number", help, notes);
        return None;
    };
    let inside = i64::from_str_radix(written.as_str(), written.radix())
        .ok()
        .filter(|number| range.contains(number));
    if inside.is_none() {
        let message = format!("`{key}` cannot be {}", clip(&written.to_string()));
        let help = format!("write a number from {low} to {high}");
        notes.error(&span, message, help);
    }
    inside.map(|value| At { value, span })
}

pub(super) fn duration(
    (key, value): Raw<'_>,
    range: RangeInclusive<Duration>,
    notes: &mut Notes,
) -> Option<At<Duration>> {
    let span = value.span();
    if !value.get_ref().is_str() {
        let help = match number(value.get_ref()) {
            Some(number) => format!("a unit is missing: write \"{number}s\" or \"{number}ms\""),
            None => format!("write {key} = \"1s\""),
        };
        wrong_type(key, value, "a duration", help, notes);
        return None;
    }
    let found = text((key, value), scalar::duration, notes)?;
    if range.contains(&found.value) {
        return Some(found);
    }
    notes.error(
        &span,
        format!("`{key}` cannot be {}", scalar::Shown(found.value)),
        format!(
            "write a duration from \"{}\" to \"{}\"",
            scalar::Shown(*range.start()),
            scalar::Shown(*range.end())
        ),
    );
    None
}

pub(super) fn choice<T: Copy>(
    key: &str,
    found: &At<&str>,
    words: &[(&str, T)],
    notes: &mut Notes,
) -> Option<At<T>> {
    let word = found.value;
    if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
        return Some(At {
            value: *value,
            span: found.span.clone(),
        });
    }
    let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
    let help = match nearest(word, known.iter().copied()) {
        Some(meant) => format!("write \"{meant}\""),
        None => format!("write {}", one_of(&known)),
    };
    notes.error(
        &found.span,
        format!("`{key}` cannot be {}", quote(word)),
        help,
    );
    None
}

/// A number as the file writes it.
fn number(value: &DeValue<'_>) -> Option<String> {
    let integer = value.as_integer().map(|n| clip(&n.to_string()));
    integer.or_else(|| value.as_float().map(|n| clip(n.as_str())))
}

pub(super) fn wrong_type(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    want: &str,
    help: impl Display,
    notes: &mut Notes,
) {
    let have = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    notes.error(
        &value.span(),
        format!("`{key}` is {have}, not {want}"),
        help,
    );
}

/// A text from the file as a message shows it: in quotes, escaped, not long.
pub(super) fn quote(text: &str) -> String {
    format!("`{}`", clip(&text.escape_debug().to_string()))
}

fn clip(text: &str) -> String {
    const CHARS_MAX: usize = 48;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// `a, b and c`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("\"{one}\""),
        [most @ .., last] => format!("\"{}\" or \"{last}\"", most.join("\", \"")),
    }
}
