//! A reader consumes its bytes; it never indexes them.

use byteorder::ByteOrder;
use core::fmt;

/// A read wanted more bytes than there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// What was being read, in the words of the format's specification.
    pub what: &'static str,
    /// Bytes wanted.
    pub wanted: usize,
    /// Bytes there were.
    pub had: usize,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, had } = self;
        write!(f, "{what}: wanted {wanted} bytes, had {had}")
    }
}

/// Consumes a slice from the front. Every read says what it reads, so that a
/// short one can name what was missing; nothing is consumed by a failed read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from its start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes not yet consumed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether all bytes were consumed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not consumed, leaving the reader as it is.
    #[must_use]
    pub const fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub const fn bytes(&mut self, what: &'static str, len: usize) -> Result<&'a [u8], Short> {
        match self.rest.split_at_checked(len) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(Short {
                what,
                wanted: len,
                had: self.rest.len(),
            }),
        }
    }

    /// Takes the next `len` bytes as a reader of their own.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub const fn sub(&mut self, what: &'static str, len: usize) -> Result<Reader<'a>, Short> {
        match self.bytes(what, len) {
            Ok(bytes) => Ok(Reader::new(bytes)),
            Err(short) => Err(short),
        }
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Short`] when fewer are left.
    pub const fn take<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Short> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(Short {
                what,
                wanted: N,
                had: self.rest.len(),
            }),
        }
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Short`] when none is left.
    pub const fn u8(&mut self, what: &'static str) -> Result<u8, Short> {
        match self.take::<1>(what) {
            Ok([byte]) => Ok(byte),
            Err(short) => Err(short),
        }
    }

    /// Takes a `u16` of byte order `O`.
    ///
    /// # Errors
    /// [`Short`] when fewer than 2 bytes are left.
    pub fn u16<O: ByteOrder>(&mut self, what: &'static str) -> Result<u16, Short> {
        self.take::<2>(what).map(|raw| O::read_u16(&raw))
    }

    /// Takes a `u32` of byte order `O`.
    ///
    /// # Errors
    /// [`Short`] when fewer than 4 bytes are left.
    pub fn u32<O: ByteOrder>(&mut self, what: &'static str) -> Result<u32, Short> {
        self.take::<4>(what).map(|raw| O::read_u32(&raw))
    }

    /// Takes a `u64` of byte order `O`.
    ///
    /// # Errors
    /// [`Short`] when fewer than 8 bytes are left.
    pub fn u64<O: ByteOrder>(&mut self, what: &'static str) -> Result<u64, Short> {
        self.take::<8>(what).map(|raw| O::read_u64(&raw))
    }

    /// Passes over up to `len` bytes: padding that may be cut off at the end.
    pub const fn skip(&mut self, len: usize) {
        match self.rest.split_at_checked(len) {
            Some((_, rest)) => self.rest = rest,
            None => self.rest = &[],
        }
    }

    /// Ends the read and says how many bytes were left over.
    ///
    /// # Errors
    /// The bytes left over, when there are any.
    pub const fn finish(self) -> Result<(), &'a [u8]> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use byteorder::{BigEndian, LittleEndian};

    #[test]
    fn reads_in_the_order_asked() {
        let mut r = Reader::new(&[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(r.u8("a"), Ok(1));
        assert_eq!(r.u16::<BigEndian>("b"), Ok(0x0203));
        assert_eq!(r.u32::<LittleEndian>("c"), Ok(0x0706_0504));
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn a_short_read_names_what_was_missing_and_consumes_nothing() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(
            r.u32::<BigEndian>("port"),
            Err(Short {
                what: "port",
                wanted: 4,
                had: 3
            })
        );
        assert_eq!(r.len(), 3);
        assert_eq!(r.sub("body", 2).map(|s| s.len()), Ok(2));
        assert_eq!(r.u64::<BigEndian>("x").map_err(|s| s.had), Err(1));
        assert_eq!(r.finish(), Err(&[3][..]));
        r.skip(9);
        assert!(r.is_empty());
    }
}
