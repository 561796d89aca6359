//! A frame: one record as fixed bytes.

use super::Record;
use crate::time::Instant;

/// Bytes of fields a frame holds: two names, two IPv6 addresses and change.
pub const PAYLOAD_BYTES: usize = 117;

/// One record: when, which, and its fields. 128 bytes, two cache lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was written.
    pub at: Instant,
    /// The record's id.
    pub id: u16,
    /// Bytes of `payload` in use.
    len: u8,
    payload: [u8; PAYLOAD_BYTES],
}

const _: () = assert!(size_of::<Frame>() == 128);

impl Frame {
    /// A frame of no record, to fill a ring with.
    pub const EMPTY: Self = Self {
        at: Instant::ZERO,
        id: 0,
        len: 0,
        payload: [0; PAYLOAD_BYTES],
    };

    /// Encodes a record.
    #[must_use]
    pub fn of<R: Record>(at: Instant, record: &R) -> Self {
        let mut fields = Fields {
            len: 0,
            payload: [0; PAYLOAD_BYTES],
        };
        record.encode(&mut fields);
        let Fields { len, payload } = fields;
        Self {
            at,
            id: R::ENTRY.id,
            len,
            payload,
        }
    }

    /// The encoded fields.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.payload.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// Where a record's fields are written. A field that does not fit is cut off;
/// the reader sees it as missing.
#[derive(Debug)]
pub struct Fields {
    len: u8,
    payload: [u8; PAYLOAD_BYTES],
}

impl Fields {
    /// Appends bytes if they fit as a whole.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        let end = start.saturating_add(bytes.len());
        if let Some(room) = self.payload.get_mut(start..end)
            && let Ok(len) = u8::try_from(end)
        {
            room.copy_from_slice(bytes);
            self.len = len;
        }
    }
}
