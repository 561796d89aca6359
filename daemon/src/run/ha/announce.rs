//! Announcements: as many in one system call as it takes, and no more in a turn
//! than the next advert leaves time for.

use super::HaLoop;
use trunnion_core::director::ha::FrameOut;
use trunnion_core::time::Instant;
use trunnion_sys::packet;

/// Batches of announcements sent in one turn.
const BATCHES_PER_TURN: u32 = 16;
/// Bytes of the longest announcement, a neighbour advertisement in its frame.
const FRAME_BYTES: usize = 96;

/// Room for one batch.
pub(super) type Frames = Box<[[u8; FRAME_BYTES]; packet::BATCH_MAX]>;

pub(super) fn frames() -> Frames {
    Box::new([[0; FRAME_BYTES]; packet::BATCH_MAX])
}

impl HaLoop {
    pub(super) fn send_announcements(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let now = self.clock.now();
            if self.is_pressed(now) {
                break;
            }
            if !self.send_announcement_batch(now) {
                return;
            }
        }
        self.more = true;
    }

    /// Sends as many announcements as one system call takes; `false` when there
    /// were fewer.
    fn send_announcement_batch(&mut self, now: Instant) -> bool {
        let mut out = [None; packet::BATCH_MAX];
        let mut polled = 0;
        for (out, buffer) in out.iter_mut().zip(&mut *self.frames) {
            *out = self.ha.poll_announcement(now, buffer);
            if out.is_none() {
                break;
            }
            polled += 1;
        }
        let frames = out[..polled].iter().flatten().zip(&*self.frames);
        let mut batch = [&[][..]; packet::BATCH_MAX];
        let mut filled = 0;
        let mut at = None;
        // Those of one interface go together, and follow each other.
        for (FrameOut { interface, len }, bytes) in frames {
            if at.is_some_and(|at| at != *interface) {
                self.send_frames(at, &batch[..filled]);
                filled = 0;
            }
            at = Some(*interface);
            batch[filled] = &bytes[..*len];
            filled += 1;
        }
        self.send_frames(at, &batch[..filled]);
        polled == packet::BATCH_MAX
    }

    /// A lost announcement is repeated by its schedule.
    fn send_frames(&self, interface: Option<usize>, mut frames: &[&[u8]]) {
        let socket = interface.and_then(|at| self.ports[at].frames.as_ref());
        let Some(socket) = socket else { return };
        while !frames.is_empty() {
            match socket.send_batch(frames) {
                Ok(sent) if sent > 0 => frames = &frames[sent..],
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Whether an advert or a transition is due, for which all else is put off.
    pub(super) fn is_pressed(&self, now: Instant) -> bool {
        self.ha.free_until().is_some_and(|until| until <= now)
    }
}
