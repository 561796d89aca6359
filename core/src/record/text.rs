//! The reader's side: a frame and a catalogue make words. Runs outside the hot
//! loops; it does not allocate either, since `fmt` writes where it is told.

use super::{Entry, Frame, Value};
use crate::bytes::Reader;
use core::fmt;

/// The entry of a record's id in the rooms' catalogues.
#[must_use]
pub fn find<'c>(catalogues: &[&'c [Entry]], id: u16) -> Option<&'c Entry> {
    catalogues
        .iter()
        .flat_map(|room| room.iter())
        .find(|entry| entry.id == id)
}

/// A frame about to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    frame: &'a Frame,
    entry: Option<&'a Entry>,
}

impl Frame {
    /// The words of this frame by the catalogues of all rooms.
    #[must_use]
    pub fn text<'a>(&'a self, catalogues: &[&'a [Entry]]) -> Text<'a> {
        Text {
            frame: self,
            entry: find(catalogues, self.id),
        }
    }

    /// Calls `each` with the name and value of every field, in order.
    pub fn fields<'a>(&'a self, entry: &'a Entry, mut each: impl FnMut(&'a str, Value<'a>)) {
        let mut r = Reader::new(self.payload());
        for (name, kind) in entry.fields {
            match kind.decode(&mut r) {
                Ok(value) => each(name, value),
                Err(_) => return,
            }
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(entry) = self.entry else {
            return write!(f, "unknown record {:#06x}", self.frame.id);
        };
        let mut rest = entry.format;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            f.write_str(before)?;
            if let Some(tail) = from.strip_prefix("{{") {
                f.write_str("{")?;
                rest = tail;
            } else if let Some(tail) = from.strip_prefix("}}") {
                f.write_str("}")?;
                rest = tail;
            } else if let Some((name, tail)) = from
                .strip_prefix('{')
                .and_then(|inner| inner.split_once('}'))
            {
                self.field(entry, name, f)?;
                rest = tail;
            } else {
                f.write_str(from)?;
                rest = "";
            }
        }
        f.write_str(rest)
    }
}

impl Text<'_> {
    fn field(&self, entry: &Entry, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut found = None;
        self.frame.fields(entry, |field, value| {
            if field == name {
                found = Some(value);
            }
        });
        match found {
            Some(value) => fmt::Display::fmt(&value, f),
            None => write!(f, "{{{name}}}"),
        }
    }
}
