//! Domain names: as text, and as labels of a message (RFC 1035 3.1 and 4.1.4).

use crate::bytes::{Reader, Writer};
use core::fmt;

/// Bytes of a label, and of a name in a message (RFC 1035 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 255;
/// Pointers followed in one name. Each must lead backwards, so there is an end;
/// this is so that it is near.
const JUMPS_MAX: u8 = 32;

/// What is wrong with the text of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A label is empty or longer than 63 bytes.
    Label,
    /// It is longer than 255 bytes in a message.
    TooLong,
    /// A blank, a `\` or a control character.
    Byte,
}

impl NameError {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Label => "each part between dots has 1 to 63 characters",
            Self::TooLong => "the name is too long: 253 characters at most",
            Self::Byte => "a name has no blanks, backslashes or control characters",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

impl core::error::Error for NameError {}

/// Whether a text is a name. The last dot may be left out; `.` is the root.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    let mut bytes = 1_usize;
    for label in labels(name) {
        if label.is_empty() || label.len() > LABEL_BYTES_MAX {
            return Err(NameError::Label);
        }
        if label
            .bytes()
            .any(|byte| byte <= b' ' || byte == b'\\' || byte == 0x7f)
        {
            return Err(NameError::Byte);
        }
        bytes = bytes.saturating_add(label.len()).saturating_add(1);
    }
    if bytes > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    Ok(())
}

/// Writes a name that was checked.
pub(super) fn write(name: &str, w: &mut Writer<'_>) {
    for label in labels(name) {
        w.u8(u8::try_from(label.len()).unwrap_or(u8::MAX));
        w.bytes(label.as_bytes());
    }
    w.u8(0);
}

fn labels(name: &str) -> impl Iterator<Item = &str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').filter(move |_| !name.is_empty())
}

/// A name in a message, from a place on; its labels are read as they are asked
/// for.
#[derive(Clone, Copy)]
pub(super) struct Name<'m> {
    message: &'m [u8],
    at: usize,
}

/// A name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad;

impl<'m> Name<'m> {
    /// The name at a place, and how many bytes it has there. The name is whole:
    /// reading its labels never fails later.
    pub fn at(message: &'m [u8], at: usize) -> Result<(Self, usize), Bad> {
        let name = Self { message, at };
        let mut walk = name.labels();
        let mut total = 1_usize;
        while let Some(label) = walk.step()? {
            total = total.saturating_add(label.len()).saturating_add(1);
            if total > NAME_BYTES_MAX {
                return Err(Bad);
            }
        }
        Ok((name, walk.here))
    }

    /// Whether both are the same name; ASCII letters in any case (RFC 4343).
    pub fn is(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.labels(), other.labels());
        loop {
            match (ours.step(), theirs.step()) {
                (Ok(Some(own)), Ok(Some(label))) if own.eq_ignore_ascii_case(label) => {}
                (Ok(None), Ok(None)) => return true,
                (Ok(_) | Err(Bad), _) => return false,
            }
        }
    }

    /// Whether it is the name of a text that was checked.
    pub fn is_text(&self, text: &str) -> bool {
        let (mut ours, mut theirs) = (self.labels(), labels(text));
        loop {
            match (ours.step(), theirs.next()) {
                (Ok(Some(own)), Some(label)) if own.eq_ignore_ascii_case(label.as_bytes()) => {}
                (Ok(None), None) => return true,
                (Ok(_) | Err(Bad), _) => return false,
            }
        }
    }

    const fn labels(&self) -> Labels<'m> {
        Labels {
            message: self.message,
            at: self.at,
            here: 0,
            jumps: 0,
        }
    }
}

struct Labels<'m> {
    message: &'m [u8],
    at: usize,
    /// Bytes of the name where it stands.
    here: usize,
    jumps: u8,
}

impl<'m> Labels<'m> {
    /// The next label; `None` at the root.
    fn step(&mut self) -> Result<Option<&'m [u8]>, Bad> {
        loop {
            let mut r = Reader::new(self.message.get(self.at..).ok_or(Bad)?);
            let length = r.u8("label length").map_err(|_| Bad)?;
            let label = match length {
                0 => None,
                1..=0x3f => {
                    let label = r.bytes("label", usize::from(length));
                    Some(label.map_err(|_| Bad)?)
                }
                0xc0.. => {
                    let low = r.u8("pointer").map_err(|_| Bad)?;
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if to >= self.at || self.jumps == JUMPS_MAX {
                        return Err(Bad);
                    }
                    if self.jumps == 0 {
                        self.here = self.here.saturating_add(2);
                    }
                    self.jumps = self.jumps.saturating_add(1);
                    self.at = to;
                    continue;
                }
                0x40..0xc0 => return Err(Bad),
            };
            let len = label.map_or(0, <[u8]>::len).saturating_add(1);
            if self.jumps == 0 {
                self.here = self.here.saturating_add(len);
            }
            if label.is_some() {
                self.at = self.at.saturating_add(len);
            }
            return Ok(label);
        }
    }
}
