//! Bytes and patterns, as the file writes them.

use super::{At, Notes, Section};
use crate::config::section::Raw;
use crate::config::value::{quote, wrong_type};
use trunnion_core::check::probe::{NEEDLE_BYTES_MAX, Pattern, Regex};

/// The ways to say how bytes have to look.
pub(in crate::config) const KEYS: &[&str] = &["contains", "starts_with", "equals", "regex"];
/// The same for a header.
pub(in crate::config) const HEADER_KEYS: &[&str] =
    &["name", "contains", "starts_with", "equals", "regex"];

/// What bytes have to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum PatternRead {
    /// Anything.
    Any,
    Contains(Vec<u8>),
    Starts(Vec<u8>),
    Equals(Vec<u8>),
    Regex(Box<Regex>),
}

impl PatternRead {
    /// A text that must be in it, or a table that says more.
    pub fn read(raw: Raw<'_>, notes: &mut Notes) -> Option<At<Self>> {
        let (key, value) = raw;
        let span = value.span();
        if value.get_ref().is_str() {
            let text = crate::config::value::text(raw, needle, notes)?;
            return Some(text.map(Self::Contains));
        }
        if !value.get_ref().is_table() {
            let help = format!("write {key} = \"…\", or {key} = {{ starts_with = \"…\" }}");
            wrong_type(key, value, "a text or a table", help, notes);
            return None;
        }
        let table = Section::of("expect", raw, KEYS, notes)?;
        let value = Self::of_table(&table, notes)?;
        Some(At { value, span })
    }

    /// The one way that a table has.
    pub fn of_table(table: &Section<'_>, notes: &mut Notes) -> Option<Self> {
        let ways: Vec<&'static str> = KEYS.iter().copied().filter(|key| table.has(key)).collect();
        if let [_, second, ..] = ways.as_slice() {
            notes.error(
                &table.span_of(second),
                format!("`{second}` beside another: a text is matched in one way"),
                "remove one, or write a regex that says both",
            );
            return None;
        }
        if ways.is_empty() && table.name == "expect" {
            table.missing(
                "contains",
                "contains = \"…\", starts_with, equals or regex",
                notes,
            );
            return None;
        }
        let text = |key, notes: &mut Notes| table.text(key, needle, notes).map(|at| at.value);
        match ways.first().copied() {
            None => Some(Self::Any),
            Some("contains") => text("contains", notes).map(Self::Contains),
            Some("starts_with") => text("starts_with", notes).map(Self::Starts),
            Some("equals") => text("equals", notes).map(Self::Equals),
            Some(_) => {
                let read = |text: &str| Regex::new(text).map_err(|error| error.to_string());
                let regex = table.text("regex", read, notes)?;
                Some(Self::Regex(Box::new(regex.value)))
            }
        }
    }

    /// As a check takes it.
    pub fn pattern(&self) -> Pattern<'_> {
        match self {
            Self::Any => Pattern::Any,
            Self::Contains(text) => Pattern::Contains(text),
            Self::Starts(text) => Pattern::Prefix(text),
            Self::Equals(text) => Pattern::Exact(text),
            Self::Regex(regex) => Pattern::Regex(regex),
        }
    }
}

fn needle(text: &str) -> Result<Vec<u8>, String> {
    let bytes = bytes(text)?;
    if bytes.len() > NEEDLE_BYTES_MAX {
        return Err(format!("too long: write at most {NEEDLE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// A text in which `\xHH`, `\r`, `\n`, `\t`, `\0` and `\\` stand for bytes: TOML's
/// own escapes know no bytes, and in single quotes there are none.
///
/// # Errors
/// What to write instead.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let (byte, len) = match escape.as_bytes() {
            [b'x', high, low, ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let byte = digit(high).zip(digit(low)).map(|(h, l)| h << 4 | l);
                match byte.and_then(|byte| u8::try_from(byte).ok()) {
                    Some(byte) => (byte, 3),
                    None => return Err("write two digits after \\x, such as \\xff".to_owned()),
                }
            }
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'0', ..] => (0, 1),
            [b'\\', ..] => (b'\\', 1),
            _ => {
                let meant = escape.chars().next().map_or(String::new(), String::from);
                return Err(format!(
                    "after a \\ comes one of r n t 0 \\ and xHH, not {}: in single quotes write '\\\\' for a \\",
                    quote(&meant)
                ));
            }
        };
        bytes.push(byte);
        rest = &escape[len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes() {
        let table: [(&str, &[u8]); 6] = [
            ("", b""),
            ("PING\r\n", b"PING\r\n"),
            (r"PING\r\n", b"PING\r\n"),
            (r"\x00\xfF\0\t", b"\x00\xff\0\t"),
            (r"C:\\ä", "C:\\ä".as_bytes()),
            (r"\\x41", br"\x41"),
        ];
        for (text, expect) in table {
            assert_eq!(bytes(text).unwrap(), expect, "{text}");
        }
        for text in [r"\", r"\x", r"\x4", r"\xg0", r"\q", r"\ä", r"a\\\"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
