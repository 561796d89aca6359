//! A table of the document, read key by key: every getter gives the value or
//! notes what to write instead, and none stops the reading.

use super::mistake::{Note, Severity};
use super::suggest::nearest;
use super::value::{choice, duration, integer, list, one_of, quote, string, text, wrong_type};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where in the file, bytes.
pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Span,
}

impl<T> At<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At {
            value: f(self.value),
            span: self.span,
        }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub list: Vec<Note>,
}

impl Notes {
    pub fn error(&mut self, span: &Span, message: impl Display, help: impl Display) {
        self.add(Severity::Error, span, message, help, None);
    }

    pub fn warn(&mut self, span: &Span, message: impl Display, help: impl Display) {
        self.add(Severity::Warning, span, message, help, None);
    }

    /// An error with a second place.
    pub fn error_also(
        &mut self,
        span: &Span,
        message: impl Display,
        help: impl Display,
        also: (&Span, &str),
    ) {
        let also = Some((also.0.clone(), also.1.to_owned()));
        self.add(Severity::Error, span, message, help, also);
    }

    fn add(
        &mut self,
        severity: Severity,
        span: &Span,
        message: impl Display,
        help: impl Display,
        also: Option<(Span, String)>,
    ) {
        self.list.push(Note {
            severity,
            span: span.clone(),
            message: message.to_string(),
            help: help.to_string(),
            also,
        });
    }
}

/// A value of the document that has not been read yet, and the name of its key.
pub(super) type Raw<'d> = (&'d str, &'d Spanned<DeValue<'d>>);

/// A table whose keys are known.
#[derive(Debug)]
pub(super) struct Section<'d> {
    /// How messages name it: `[node]`, `[[service]]`, `check`.
    pub name: &'d str,
    /// Its header or, inline, its braces.
    pub span: Span,
    table: &'d DeTable<'d>,
}

impl<'d> Section<'d> {
    /// A table, with every key that is not in `known` noted.
    pub fn new(
        name: &'d str,
        table: &'d DeTable<'d>,
        span: Span,
        known: &[&str],
        notes: &mut Notes,
    ) -> Self {
        for key in table.keys() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let elsewhere: Vec<&str> = super::SECTIONS
                .iter()
                .filter(|(_, keys)| keys.contains(&word))
                .map(|(section, _)| *section)
                .collect();
            let help = match (nearest(word, known.iter().copied()), elsewhere.as_slice()) {
                (Some(meant), _) => format!("write `{meant}`"),
                (None, []) => format!("the keys of {name} are {}", list(known)),
                (None, _) => format!("it belongs into {}", elsewhere.join(" or ")),
            };
            let word = quote(word);
            notes.error(&key.span(), format!("unknown key {word} in {name}"), help);
        }
        Self { name, span, table }
    }

    /// A value that must be a table.
    pub fn of(
        name: &'d str,
        (key, value): Raw<'d>,
        known: &[&str],
        notes: &mut Notes,
    ) -> Option<Self> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(Self::new(name, table, value.span(), known, notes));
        }
        let help = if value.get_ref().is_array() && name.starts_with('[') {
            format!("write {name} once, in single brackets")
        } else {
            let first = known.first().unwrap_or(&"key");
            let value = value.get_ref().as_str();
            let value = value.map_or_else(|| "…".to_owned(), |text| format!("\"{text}\""));
            format!("write {key} = {{ {first} = {value} }}")
        };
        wrong_type(key, value, "a table", help, notes);
        None
    }

    /// Whether a key is there, right or wrong.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A value as it stands.
    pub fn raw(&self, key: &'d str) -> Option<Raw<'d>> {
        self.table.get(key).map(|value| (key, value))
    }

    /// Where a key's value stands, or else the section.
    pub fn span_of(&self, key: &str) -> Span {
        self.table
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Notes that a key must be there.
    pub fn missing(&self, key: &str, example: &str, notes: &mut Notes) {
        let message = format!("{} has no `{key}`", self.name);
        notes.error(&self.span, message, format!("add {example}"));
    }

    pub fn string(&self, key: &'d str, notes: &mut Notes) -> Option<At<&'d str>> {
        string(self.raw(key)?, notes)
    }

    pub fn boolean(&self, key: &'d str, notes: &mut Notes) -> Option<At<bool>> {
        let (key, value) = self.raw(key)?;
        if let Some(truth) = value.get_ref().as_bool() {
            return Some(At {
                value: truth,
                span: value.span(),
            });
        }
        let help = match value.get_ref().as_str() {
            Some("true" | "yes" | "on") => "write true, without quotes",
            Some("false" | "no" | "off") => "write false, without quotes",
            _ => "write true or false",
        };
        wrong_type(key, value, "true or false", help, notes);
        None
    }

    pub fn integer<N>(
        &self,
        key: &'d str,
        range: RangeInclusive<u32>,
        notes: &mut Notes,
    ) -> Option<At<N>>
    where
        N: TryFrom<u32>,
    {
        integer(self.raw(key)?, range, notes)
    }

    pub fn duration(
        &self,
        key: &'d str,
        range: RangeInclusive<Duration>,
        notes: &mut Notes,
    ) -> Option<At<Duration>> {
        duration(self.raw(key)?, range, notes)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &self,
        key: &'d str,
        words: &[(&str, T)],
        notes: &mut Notes,
    ) -> Option<At<T>> {
        let (key, value) = self.raw(key)?;
        if !value.get_ref().is_str() {
            let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
            let help = format!("write {}", one_of(&known));
            wrong_type(key, value, "a text", help, notes);
            return None;
        }
        choice(key, &string((key, value), notes)?, words, notes)
    }

    /// A text read by `read`.
    pub fn text<T>(
        &self,
        key: &'d str,
        read: impl Fn(&str) -> Result<T, String>,
        notes: &mut Notes,
    ) -> Option<At<T>> {
        text(self.raw(key)?, read, notes)
    }

    /// A list of texts, each read by `read`; empty where the key is missing.
    pub fn texts<T>(
        &self,
        key: &'d str,
        read: impl Fn(&str) -> Result<T, String>,
        notes: &mut Notes,
    ) -> Vec<At<T>> {
        let Some((key, value)) = self.raw(key) else {
            return Vec::new();
        };
        if let Some(items) = value.get_ref().as_array() {
            let each = items.iter();
            return each
                .filter_map(|item| text((key, item), &read, notes))
                .collect();
        }
        let help = match value.get_ref().as_str() {
            Some(text) => format!("write {key} = [\"{text}\"]"),
            None => format!("write {key} = [\"…\", \"…\"]"),
        };
        wrong_type(key, value, "a list", help, notes);
        Vec::new()
    }

    /// The items of `key = […]` or `[[key]]`, unread; empty where the key is
    /// missing. `header` is how the double brackets are written.
    pub fn items(&self, key: &'d str, header: &str, notes: &mut Notes) -> Vec<Raw<'d>> {
        let Some((key, value)) = self.raw(key) else {
            return Vec::new();
        };
        if let Some(items) = value.get_ref().as_array() {
            return items.iter().map(|item| (key, item)).collect();
        }
        let help = match value.get_ref().as_str() {
            Some(text) => format!("write {key} = [\"{text}\"]"),
            None => format!("write {header}, in double brackets, once for each"),
        };
        wrong_type(key, value, "a list", help, notes);
        Vec::new()
    }
}
