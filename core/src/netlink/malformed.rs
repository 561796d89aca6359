//! Bytes that are not what they claim to be.

use core::fmt;

/// Received bytes that break the format: what, where and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was being read, in the words of the format's specification.
    pub what: &'static str,
    /// Byte offset in the datagram of the message, attribute or nest at fault.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with malformed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end before it does.
    Short {
        /// Bytes wanted.
        wanted: usize,
        /// Bytes there were.
        had: usize,
    },
    /// It has a fixed length, and this is another one.
    Length {
        /// Bytes it must have.
        wanted: usize,
        /// Bytes it has.
        had: usize,
    },
    /// A value that cannot be.
    Value(u32),
    /// Text that is not UTF-8 or too long for its kind.
    Text,
    /// It must be there and is not.
    Missing,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            offset,
            fault,
        } = self;
        write!(f, "{what} at byte {offset}: ")?;
        match fault {
            Fault::Short { wanted, had } => write!(f, "wanted {wanted} bytes, had {had}"),
            Fault::Length { wanted, had } => write!(f, "must be {wanted} bytes long, is {had}"),
            Fault::Value(value) => write!(f, "{value:#x} is not a value it can have"),
            Fault::Text => f.write_str("not UTF-8 text of a length it can have"),
            Fault::Missing => f.write_str("missing"),
        }
    }
}

impl core::error::Error for Malformed {}
