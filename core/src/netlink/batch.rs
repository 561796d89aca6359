//! Datagrams of requests, built in the caller's buffer.

use super::attribute::ATTRIBUTE_HEADER_BYTES;
use super::message::HEADER_BYTES;
use super::{AttributeKind, Flags, MessageType};
use crate::bytes::{Mark, Writer};
use core::fmt;
use zerocopy::{Immutable, IntoBytes};

/// The message did not fit its batch, which is as it was before. Send the
/// batch and put the message into the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("message does not fit the rest of its batch's buffer")
    }
}

impl core::error::Error for Full {}

/// A datagram of requests under construction. The kernel walks all messages of
/// one send; each has the sequence number after the one before, so an error
/// that comes back names its request: index = seq - [`Batch::first_seq`].
///
/// Ask for no ack on each: end the batch with a [`Batch::barrier`]. Errors come
/// back always, successes need no words, and no request can swallow the
/// barrier's ack.
#[derive(Debug)]
pub struct Batch<'b> {
    w: Writer<'b>,
    capacity: usize,
    first: u32,
    next: u32,
    barrier: Option<u32>,
}

impl<'b> Batch<'b> {
    /// An empty batch over `buf`, whose first message will have `first_seq`.
    #[must_use]
    pub const fn new(buf: &'b mut [u8], first_seq: u32) -> Self {
        Self {
            capacity: buf.len(),
            w: Writer::new(buf),
            first: first_seq,
            next: first_seq,
            barrier: None,
        }
    }

    /// Appends a message whose body `fill` writes, and returns its sequence
    /// number. Room for a barrier is kept behind it.
    ///
    /// # Errors
    /// [`Full`] when it does not fit; the batch is then as it was.
    pub fn message(
        &mut self,
        kind: MessageType,
        flags: Flags,
        fill: impl FnOnce(&mut Body<'_, 'b>),
    ) -> Result<u32, Full> {
        let start = self.w.mark();
        let seq = self.next;
        self.w.bytes(&header(kind, flags, seq));
        fill(&mut Body { w: &mut self.w });
        let len = u32::try_from(self.w.since(start));
        self.w.pad(start, 4);
        match len {
            Ok(len) if !self.w.overflowed() && self.room() >= HEADER_BYTES => {
                self.w.patch(start, &len.to_ne_bytes());
                self.next = seq.wrapping_add(1);
                Ok(seq)
            }
            _ => {
                self.w.truncate(start);
                Err(Full)
            }
        }
    }

    /// Appends a message that is ready but for its sequence number: `len` bytes
    /// of `head`, whose `nlmsg_len` is that of both, then all of `tail`. Both are
    /// multiples of 4 bytes.
    ///
    /// Copying all of `head`, a constant, is a few moves, so this wants more room
    /// than it fills. `None`: there is not as much; [`Batch::message`] knows
    /// whether there is enough.
    #[inline]
    pub(crate) fn ready<const HEAD: usize, T: IntoBytes + Immutable>(
        &mut self,
        head: &[u8; HEAD],
        len: usize,
        tail: &T,
    ) -> Option<u32> {
        const { assert!(HEAD >= HEADER_BYTES && size_of::<T>().is_multiple_of(4)) };
        let seq = self.next;
        let room = self.w.spare();
        if room.len()
            < HEAD
                .saturating_add(size_of::<T>())
                .saturating_add(HEADER_BYTES)
        {
            return None;
        }
        *room.first_chunk_mut()? = *head;
        *room.get_mut(SEQ_AT..)?.first_chunk_mut()? = seq.to_ne_bytes();
        let end = len.saturating_add(size_of::<T>());
        room.get_mut(len..end)?.copy_from_slice(tail.as_bytes());
        self.w.advance(end);
        self.next = seq.wrapping_add(1);
        Some(seq)
    }

    /// Where the next message will start.
    pub(crate) const fn mark(&self) -> Mark {
        self.w.mark()
    }

    /// What was written since `mark`.
    pub(crate) fn written(&self, mark: Mark) -> &[u8] {
        self.w.written(mark)
    }

    /// Appends a barrier, an `NLMSG_NOOP` that asks for an ack, and returns its
    /// sequence number. When that ack arrives, every message before it has been
    /// executed and all their errors have arrived.
    ///
    /// # Errors
    /// [`Full`], which cannot be for the first barrier of a batch whose buffer
    /// holds at least 16 bytes.
    pub fn barrier(&mut self) -> Result<u32, Full> {
        if self.room() < HEADER_BYTES {
            return Err(Full);
        }
        let seq = self.next;
        let mut raw = header(MessageType::NOOP, Flags::REQUEST | Flags::ACK, seq);
        if let Some(len) = raw.first_chunk_mut() {
            *len = HEADER_BYTES_U32.to_ne_bytes();
        }
        self.w.bytes(&raw);
        self.next = seq.wrapping_add(1);
        self.barrier = Some(seq);
        Ok(seq)
    }

    /// Sequence number of the last barrier, when there is one.
    #[must_use]
    pub const fn barrier_seq(&self) -> Option<u32> {
        self.barrier
    }

    /// Sequence number of the first message.
    #[must_use]
    pub const fn first_seq(&self) -> u32 {
        self.first
    }

    /// Sequence number the next message will have; the first of the next batch.
    #[must_use]
    pub const fn next_seq(&self) -> u32 {
        self.next
    }

    /// Messages in it, barriers included.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.next.wrapping_sub(self.first)
    }

    /// Whether it has no message.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next == self.first
    }

    /// The datagram to send.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        // No overflow gets past `message`, so there is none to report.
        self.w.finish().map_or(&[], |bytes| bytes)
    }

    const fn room(&self) -> usize {
        self.capacity.saturating_sub(self.w.len())
    }
}

/// Where `nlmsg_seq` is in a header.
const SEQ_AT: usize = 8;

/// A header without its length, which is patched in last.
fn header(kind: MessageType, flags: Flags, seq: u32) -> [u8; HEADER_BYTES] {
    let [k0, k1] = kind.0.to_ne_bytes();
    let [f0, f1] = flags.bits().to_ne_bytes();
    let [s0, s1, s2, s3] = seq.to_ne_bytes();
    // Port 0: the kernel puts in the sender's.
    [0, 0, 0, 0, k0, k1, f0, f1, s0, s1, s2, s3, 0, 0, 0, 0]
}

/// `HEADER_BYTES` as the header has it.
const HEADER_BYTES_U32: u32 = 16;
const _: () = assert!(HEADER_BYTES_U32 as usize == HEADER_BYTES);

/// The body of a message, or the inside of a nest, being written: a family's
/// fixed header first ([`Body::raw`]), then attributes. What does not fit is
/// noticed once, by [`Batch::message`].
#[derive(Debug)]
pub struct Body<'w, 'b> {
    w: &'w mut Writer<'b>,
}

impl Body<'_, '_> {
    /// Appends bytes as they are: the fixed header of a family. Keep it a
    /// multiple of 4 bytes.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.w.bytes(bytes);
    }

    /// Appends an attribute of one byte.
    #[inline]
    pub fn u8(&mut self, kind: AttributeKind, value: u8) {
        let [k0, k1] = kind.to_ne_bytes();
        let [l0, l1] = 5_u16.to_ne_bytes();
        self.w.bytes(&[l0, l1, k0, k1, value, 0, 0, 0]);
    }

    /// Appends an attribute of two bytes, host order.
    #[inline]
    pub fn u16(&mut self, kind: AttributeKind, value: u16) {
        self.two(kind, value.to_ne_bytes());
    }

    /// Appends an attribute of two bytes, network order.
    #[inline]
    pub fn u16_be(&mut self, kind: AttributeKind, value: u16) {
        self.two(kind, value.to_be_bytes());
    }

    /// Appends an attribute of four bytes, host order.
    #[inline]
    pub fn u32(&mut self, kind: AttributeKind, value: u32) {
        self.four(kind, value.to_ne_bytes());
    }

    /// Appends an attribute of four bytes as they are.
    #[inline]
    pub fn four(&mut self, kind: AttributeKind, value: [u8; 4]) {
        let [k0, k1] = kind.to_ne_bytes();
        let [l0, l1] = 8_u16.to_ne_bytes();
        let [a, b, c, d] = value;
        self.w.bytes(&[l0, l1, k0, k1, a, b, c, d]);
    }

    /// Appends an attribute of any bytes, padded.
    pub fn bytes(&mut self, kind: AttributeKind, value: &[u8]) {
        let start = self.open(kind);
        self.w.bytes(value);
        self.close(start);
    }

    /// Appends an attribute of text with its closing NUL, padded.
    pub fn text(&mut self, kind: AttributeKind, value: &str) {
        let start = self.open(kind);
        self.w.bytes(value.as_bytes());
        self.w.u8(0);
        self.close(start);
    }

    /// Appends an attribute whose attributes `fill` writes.
    #[inline]
    pub fn nest(&mut self, kind: AttributeKind, fill: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        fill(self);
        self.close(start);
    }

    #[inline]
    fn two(&mut self, kind: AttributeKind, value: [u8; 2]) {
        let [k0, k1] = kind.to_ne_bytes();
        let [l0, l1] = 6_u16.to_ne_bytes();
        let [a, b] = value;
        self.w.bytes(&[l0, l1, k0, k1, a, b, 0, 0]);
    }

    #[inline]
    fn open(&mut self, kind: AttributeKind) -> Mark {
        let start = self.w.mark();
        let [k0, k1] = kind.to_ne_bytes();
        self.w.bytes(&[0, 0, k0, k1]);
        start
    }

    #[inline]
    fn close(&mut self, start: Mark) {
        match u16::try_from(self.w.since(start)) {
            Ok(len) => self.w.patch(start, &len.to_ne_bytes()),
            // Too long for its length field: as if it did not fit.
            Err(_) => self.w.zeros(usize::MAX),
        }
        self.w.pad(start, ATTRIBUTE_HEADER_BYTES);
    }
}

/// `NLA_F_NESTED`. Kernels with strict validation want it on every nest.
const NESTED: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Attributes, Messages};
    use std::vec;
    use std::vec::Vec;

    const ADD: MessageType = MessageType(30);

    #[test]
    fn messages_are_numbered_padded_and_closed() {
        let mut buf = [0xa5; 128];
        let mut batch = Batch::new(&mut buf, u32::MAX);
        let seq = batch.message(ADD, Flags::REQUEST, |body| {
            body.raw(&[1, 1, 0, 0]);
            body.nest(1, |nest| {
                nest.text(6, "wrr");
                nest.u8(13, 9);
                nest.bytes(3, &[1, 2, 3, 4, 5]);
            });
        });
        assert_eq!(seq, Ok(u32::MAX));
        assert_eq!(batch.barrier(), Ok(0));
        assert_eq!((batch.len(), batch.barrier_seq()), (2, Some(0)));
        let (n2, n4) = (u16::to_ne_bytes, u32::to_ne_bytes);
        let expect: Vec<u8> = [
            &n4(52)[..],
            &n2(30),
            &n2(1),
            &n4(u32::MAX),
            &n4(0),        // header
            &[1, 1, 0, 0], // generic header
            &n2(32),
            &n2(0x8001), // nest
            &n2(8),
            &n2(6),
            b"wrr\0", // text
            &n2(5),
            &n2(13),
            &[9, 0, 0, 0], // byte
            &n2(9),
            &n2(3),
            &[1, 2, 3, 4, 5, 0, 0, 0], // bytes
            &n4(16),
            &n2(1),
            &n2(5),
            &n4(0),
            &n4(0), // barrier
        ]
        .concat();
        assert_eq!(batch.finish(), expect);
    }

    #[test]
    fn a_message_that_does_not_fit_is_taken_back_whole() {
        let mut buf = [0xa5; 64];
        let mut batch = Batch::new(&mut buf, 1);
        let fits = |body: &mut Body<'_, '_>| body.u32(1, 2);
        assert_eq!(batch.message(ADD, Flags::REQUEST, fits), Ok(1));
        // 24 + 24 + 16 for the barrier is 64; one byte more is too much.
        assert_eq!(
            batch.message(ADD, Flags::REQUEST, |body| body.bytes(1, &[7; 5])),
            Err(Full)
        );
        assert_eq!(
            batch.message(ADD, Flags::REQUEST, |body| {
                body.nest(1, |nest| nest.bytes(2, &[7; 100]));
                body.u32(1, 2);
            }),
            Err(Full)
        );
        assert_eq!(batch.message(ADD, Flags::REQUEST, fits), Ok(2));
        assert_eq!(batch.message(ADD, Flags::REQUEST, |_| {}), Err(Full));
        assert_eq!(batch.barrier(), Ok(3));
        assert_eq!(batch.barrier(), Err(Full));
        let sent = batch.finish();
        assert_eq!(sent.len(), 64);
        let seqs: Vec<_> = Messages::new(sent).map(|m| m.unwrap().header.seq).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }

    #[test]
    fn an_attribute_too_long_for_its_length_field_does_not_fit() {
        let mut buf = vec![0; 1 << 17];
        let mut batch = Batch::new(&mut buf, 1);
        let long = vec![1; 65_532];
        assert_eq!(
            batch.message(ADD, Flags::REQUEST, |body| body.bytes(1, &long)),
            Err(Full)
        );
        assert_eq!(
            batch.message(ADD, Flags::REQUEST, |body| body.bytes(1, &long[1..])),
            Ok(1)
        );
        let message = Messages::new(batch.finish()).next().unwrap().unwrap();
        let attribute = Attributes::new(message.body, 0).next().unwrap().unwrap();
        assert_eq!(attribute.value.len(), 65_531);
    }

    #[test]
    fn a_buffer_too_small_for_anything_holds_nothing() {
        let mut buf = [0; 15];
        let mut batch = Batch::new(&mut buf, 1);
        assert_eq!(batch.barrier(), Err(Full));
        assert_eq!(batch.message(ADD, Flags::REQUEST, |_| {}), Err(Full));
        assert!(batch.is_empty());
        assert_eq!(batch.finish(), []);
    }
}
