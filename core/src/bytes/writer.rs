//! A writer fills the caller's slice. Overflow is sticky: writes after it are
//! no-ops, and it surfaces once, in [`Writer::finish`].

use byteorder::ByteOrder;
use core::fmt;

/// The bytes did not fit the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Bytes the buffer holds.
    pub capacity: usize,
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "message does not fit its buffer of {} bytes",
            self.capacity
        )
    }
}

/// A place written before, to be filled in when its value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// Writes into a slice from the front.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    at: usize,
    overflow: bool,
}

impl<'a> Writer<'a> {
    /// Writes into `buf` from its start.
    #[must_use]
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self {
            buf,
            at: 0,
            overflow: false,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Whether some write did not fit.
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflow
    }

    /// The place where the next write goes.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark(self.at)
    }

    /// Bytes written since `mark`.
    #[must_use]
    pub const fn since(&self, mark: Mark) -> usize {
        self.at.saturating_sub(mark.0)
    }

    /// Takes back everything written since `mark`, an overflow included.
    pub const fn truncate(&mut self, mark: Mark) {
        if mark.0 <= self.at {
            self.at = mark.0;
            self.overflow = false;
        }
    }

    /// The room that is left. What is put there counts as written after
    /// [`Writer::advance`].
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.buf.get_mut(self.at..).unwrap_or(&mut [])
    }

    /// Counts the first `len` bytes of [`Writer::spare`] as written.
    #[inline]
    pub(crate) fn advance(&mut self, len: usize) {
        self.at = self.at.saturating_add(len).min(self.buf.len());
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Appends `len` zero bytes.
    pub fn zeros(&mut self, len: usize) {
        if let Some(room) = self.room(len) {
            room.fill(0);
        }
    }

    /// Appends zeros up to the next multiple of `align` (a power of two)
    /// counted from `start`.
    pub fn pad(&mut self, start: Mark, align: usize) {
        let over = self.since(start) & align.saturating_sub(1);
        if over != 0 {
            self.zeros(align.saturating_sub(over));
        }
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Appends a `u16` in byte order `O`.
    pub fn u16<O: ByteOrder>(&mut self, value: u16) {
        let mut raw = [0; 2];
        O::write_u16(&mut raw, value);
        self.bytes(&raw);
    }

    /// Appends a `u32` in byte order `O`.
    pub fn u32<O: ByteOrder>(&mut self, value: u32) {
        let mut raw = [0; 4];
        O::write_u32(&mut raw, value);
        self.bytes(&raw);
    }

    /// Appends a `u64` in byte order `O`.
    pub fn u64<O: ByteOrder>(&mut self, value: u64) {
        let mut raw = [0; 8];
        O::write_u64(&mut raw, value);
        self.bytes(&raw);
    }

    /// Overwrites bytes at `mark`, which must have been written.
    pub fn patch(&mut self, mark: Mark, bytes: &[u8]) {
        let end = mark.0.saturating_add(bytes.len());
        if end <= self.at
            && let Some(place) = self.buf.get_mut(mark.0..end)
        {
            place.copy_from_slice(bytes);
        }
    }

    /// What was written since `mark`: a checksum is computed over it.
    #[must_use]
    pub fn written(&self, mark: Mark) -> &[u8] {
        self.buf.get(mark.0..self.at).unwrap_or(&[])
    }

    /// The bytes written.
    ///
    /// # Errors
    /// [`Overflow`] when any write since the start did not fit.
    pub fn finish(self) -> Result<&'a mut [u8], Overflow> {
        let capacity = self.buf.len();
        if self.overflow {
            return Err(Overflow { capacity });
        }
        self.buf.get_mut(..self.at).ok_or(Overflow { capacity })
    }

    #[inline]
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.overflow {
            return None;
        }
        let start = self.at;
        let end = start.checked_add(len);
        match end.and_then(|end| self.buf.get_mut(start..end)) {
            Some(room) => {
                self.at = start.saturating_add(len);
                Some(room)
            }
            None => {
                self.overflow = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use byteorder::BigEndian;

    #[test]
    fn overflow_is_sticky_and_surfaces_once() {
        let mut buf = [0xa5; 4];
        let mut w = Writer::new(&mut buf);
        w.u16::<BigEndian>(0x0102);
        w.u32::<BigEndian>(7);
        w.u8(9);
        assert_eq!(w.finish(), Err(Overflow { capacity: 4 }));
        assert_eq!(buf, [1, 2, 0xa5, 0xa5]);
    }

    #[test]
    fn patches_pads_and_takes_back() {
        let mut buf = [0xa5; 16];
        let mut w = Writer::new(&mut buf);
        let start = w.mark();
        w.u16::<BigEndian>(0);
        w.u8(3);
        w.pad(start, 4);
        let length = u8::try_from(w.since(start)).unwrap();
        w.patch(start, &[0, length]);
        let here = w.mark();
        w.zeros(99);
        assert!(w.overflowed());
        w.truncate(here);
        assert_eq!(w.finish().unwrap(), [0, 4, 3, 0]);
    }
}
