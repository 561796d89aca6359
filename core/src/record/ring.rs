//! A fixed ring of frames over the owner's slice.

use super::{Frame, MAX_LEVEL, Record};
use crate::time::Instant;

/// First in, first out; a full ring drops the newest and counts it.
#[derive(Debug)]
pub struct Ring<'s> {
    frames: &'s mut [Frame],
    head: usize,
    len: usize,
    dropped: u64,
}

impl<'s> Ring<'s> {
    /// An empty ring that holds `frames.len()` records.
    #[must_use]
    pub const fn new(frames: &'s mut [Frame]) -> Self {
        Self {
            frames,
            head: 0,
            len: 0,
            dropped: 0,
        }
    }

    /// Writes a record, unless its level is compiled out or the ring is full.
    #[inline]
    pub fn log<R: Record>(&mut self, now: Instant, record: R) {
        if const { R::ENTRY.level as u8 <= MAX_LEVEL as u8 } {
            self.push(Frame::of(now, &record));
        }
    }

    /// Records dropped since the start because the ring was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Records waiting.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none is waiting.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the oldest record.
    pub fn pop(&mut self) -> Option<Frame> {
        if self.len == 0 {
            return None;
        }
        let frame = self.frames.get(self.head).copied();
        self.head = self.wrap(self.head.saturating_add(1));
        self.len = self.len.saturating_sub(1);
        frame
    }

    fn push(&mut self, frame: Frame) {
        let tail = self.wrap(self.head.saturating_add(self.len));
        if self.len < self.frames.len()
            && let Some(slot) = self.frames.get_mut(tail)
        {
            *slot = frame;
            self.len = self.len.saturating_add(1);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    const fn wrap(&self, at: usize) -> usize {
        if at >= self.frames.len() {
            at.saturating_sub(self.frames.len())
        } else {
            at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records;
    use core::net::IpAddr;
    use std::string::ToString;

    records! {
        /// A test record.
        0xff01 Info Seen { who: IpAddr, port: u16, ok: bool, why: &'static str, errno: i32 }
            "{who} port {port}: {why} (ok {ok}, errno {errno}), {{braces}} and {nothing}";
        /// A record too talkative to be compiled in.
        0xff02 Trace Silent { n: u64 } "{n}";
    }

    #[test]
    fn words_are_made_from_a_frame() {
        let mut frames = [Frame::EMPTY; 2];
        let mut ring = Ring::new(&mut frames);
        let who = "2001:db8::1".parse().unwrap();
        ring.log(
            Instant::ZERO,
            Seen {
                who,
                port: 80,
                ok: false,
                why: "refused",
                errno: -111,
            },
        );
        let frame = ring.pop().unwrap();
        assert_eq!(
            frame.text(&[RECORDS]).to_string(),
            "2001:db8::1 port 80: refused (ok false, errno -111), {braces} and {nothing}"
        );
        assert_eq!(
            Frame::EMPTY.text(&[RECORDS]).to_string(),
            "unknown record 0x0000"
        );
    }

    #[test]
    fn a_full_ring_drops_the_newest_and_counts() {
        let mut frames = [Frame::EMPTY; 2];
        let mut ring = Ring::new(&mut frames);
        for errno in 0..5 {
            let who = IpAddr::from([192, 0, 2, 1]);
            ring.log(
                Instant::ZERO,
                Seen {
                    who,
                    port: 1,
                    ok: true,
                    why: "",
                    errno,
                },
            );
        }
        assert_eq!((ring.len(), ring.dropped()), (2, 3));
        assert!(
            ring.pop()
                .unwrap()
                .text(&[RECORDS])
                .to_string()
                .contains("errno 0")
        );
        assert!(
            ring.pop()
                .unwrap()
                .text(&[RECORDS])
                .to_string()
                .contains("errno 1")
        );
        assert_eq!(ring.pop(), None);
    }

    #[test]
    fn a_level_compiled_out_writes_nothing() {
        let mut frames = [Frame::EMPTY; 2];
        let mut ring = Ring::new(&mut frames);
        ring.log(Instant::ZERO, Silent { n: 1 });
        assert!(ring.is_empty() || cfg!(feature = "log-trace"));
    }
}
