//! Between the control thread and a loop: bounded rings of one producer and
//! one consumer each, and a bell for replies. What a loop is given
//! it gives back, so that memory is freed where it was taken.

use crate::control::Records;
use heapless::spsc::{Consumer, Producer, Queue};
use mio::Waker;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use trunnion_core::director::ha::{Chore, Notice};
use trunnion_core::record::Frame;
use trunnion_core::vrrp::Role;

/// Commands that may wait for a loop, and replies for the control thread.
const COMMANDS: usize = 16;
/// Log records that may wait for the control thread.
const RECORDS: usize = 2048;
/// Notices that may wait for the control thread.
const NOTICES: usize = 256;
/// Chores that may wait for the `links` thread.
const CHORES: usize = 64;

/// The loop's side.
pub struct LoopEnd<C: 'static, R: 'static> {
    commands: Consumer<'static, C>,
    replies: Producer<'static, R>,
    records: Producer<'static, Frame>,
    dropped: Arc<AtomicU64>,
    bell: Arc<Bell>,
}

/// The control thread's side.
pub struct ControlEnd<C: 'static, R: 'static> {
    commands: Producer<'static, C>,
    replies: Consumer<'static, R>,
    waker: Arc<Waker>,
}

/// The reading end of a loop's log records.
pub struct LogEnd {
    thread: &'static str,
    records: Consumer<'static, Frame>,
    dropped: Arc<AtomicU64>,
}

impl Records for LogEnd {
    fn thread(&self) -> &'static str {
        self.thread
    }

    fn poll_record(&mut self) -> Option<Frame> {
        self.records.dequeue()
    }

    fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The three ends of a link.
pub struct Ends<C: 'static, R: 'static> {
    /// For the control thread.
    pub control: ControlEnd<C, R>,
    /// For the loop.
    pub looped: LoopEnd<C, R>,
    /// For the writer of the log.
    pub log: LogEnd,
}

/// Wakes the control thread: a byte through a socket pair, once until heard.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    stream: UnixStream,
}

impl Bell {
    /// A bell, and the stream that is readable when it was rung.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn new() -> io::Result<(Arc<Self>, UnixStream)> {
        let (stream, heard) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let rung = AtomicBool::new(false);
        Ok((Arc::new(Self { rung, stream }), heard))
    }

    /// Wakes the control thread.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full pair has been rung often enough.
            let _ = (&self.stream).write(&[1]);
        }
    }

    /// To be called by the control thread before it looks at its rings: what
    /// comes after rings anew.
    pub fn hear(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

/// Links the loop of this name, which `waker` wakes, with the control thread.
#[must_use]
pub fn link<C, R>(thread: &'static str, waker: Arc<Waker>, bell: &Arc<Bell>) -> Ends<C, R> {
    // The loops live as long as the process.
    let commands: &'static mut Queue<C, COMMANDS> = Box::leak(Box::default());
    let replies: &'static mut Queue<R, COMMANDS> = Box::leak(Box::default());
    let records: &'static mut Queue<Frame, RECORDS> = Box::leak(Box::default());
    let dropped = Arc::new(AtomicU64::new(0));
    let (commands_in, commands_out) = commands.split();
    let (replies_in, replies_out) = replies.split();
    let (records_in, records_out) = records.split();
    let control = ControlEnd {
        commands: commands_in,
        replies: replies_out,
        waker,
    };
    let looped = LoopEnd {
        commands: commands_out,
        replies: replies_in,
        records: records_in,
        dropped: Arc::clone(&dropped),
        bell: Arc::clone(bell),
    };
    let log = LogEnd {
        thread,
        records: records_out,
        dropped,
    };
    Ends {
        control,
        looped,
        log,
    }
}

/// A slot from HA to LB for the role of the virtual router that is followed: a
/// new one replaces what was there, and nothing is waited for.
pub struct SlotIn {
    slot: Arc<AtomicU8>,
    waker: Arc<Waker>,
    last: u8,
}

/// The reading end of a [`SlotIn`].
#[derive(Debug)]
pub struct SlotOut {
    slot: Arc<AtomicU8>,
    last: u8,
}

/// A slot without a role in it. `waker` is the reader's.
#[must_use]
pub fn slot(waker: Arc<Waker>) -> (SlotIn, SlotOut) {
    let slot = Arc::new(AtomicU8::new(0));
    let reader = Arc::clone(&slot);
    let put = SlotIn {
        slot,
        waker,
        last: 0,
    };
    let got = SlotOut {
        slot: reader,
        last: 0,
    };
    (put, got)
}

impl SlotIn {
    /// Puts a role in and wakes the reader, if it is another than before.
    pub fn put(&mut self, role: Option<Role>) {
        let value = role.map_or(0, code_of);
        if self.last != value {
            self.last = value;
            self.slot.store(value, Ordering::Release);
            // Fails only when the reader's poller is gone, and the reader with it.
            let _ = self.waker.wake();
        }
    }
}

impl SlotOut {
    /// The role, if there is one and it is another than before.
    pub fn take(&mut self) -> Option<Role> {
        let value = self.slot.load(Ordering::Acquire);
        let before = std::mem::replace(&mut self.last, value);
        role_of(value).filter(|_| value != before)
    }
}

const fn code_of(role: Role) -> u8 {
    match role {
        Role::Initialize => 1,
        Role::Backup => 2,
        Role::Active => 3,
    }
}

const fn role_of(code: u8) -> Option<Role> {
    match code {
        1 => Some(Role::Initialize),
        2 => Some(Role::Backup),
        3 => Some(Role::Active),
        _ => None,
    }
}

/// What the HA loop tells whoever is to be notified.
pub struct NoticesIn {
    ring: Producer<'static, Notice>,
    bell: Arc<Bell>,
}

/// Where the control thread takes it.
pub struct NoticesOut(Consumer<'static, Notice>);

/// A ring for notices.
#[must_use]
pub fn notices(bell: &Arc<Bell>) -> (NoticesIn, NoticesOut) {
    let ring: &'static mut Queue<Notice, NOTICES> = Box::leak(Box::default());
    let (ring, out) = ring.split();
    let bell = Arc::clone(bell);
    (NoticesIn { ring, bell }, NoticesOut(out))
}

impl NoticesIn {
    /// Passes notices on while there is room. What waits for room is told later,
    /// as it is by then.
    pub fn pass(&mut self, mut next: impl FnMut() -> Option<Notice>) {
        let mut passed = false;
        while self.ring.ready()
            && let Some(notice) = next()
        {
            let _ = self.ring.enqueue(notice);
            passed = true;
        }
        if passed {
            self.bell.ring();
        }
    }
}

impl NoticesOut {
    /// The next notice.
    pub fn take(&mut self) -> Option<Notice> {
        self.0.dequeue()
    }
}

/// What the HA loop has others do.
pub struct ChoresIn {
    ring: Producer<'static, Chore>,
    bell: Arc<Bell>,
}

/// Where the `links` thread takes it.
pub struct ChoresOut {
    ring: Consumer<'static, Chore>,
    bell: Arc<Bell>,
    heard: UnixStream,
}

/// A ring for chores.
///
/// # Errors
/// Those of socketpair(2).
pub fn chores() -> io::Result<(ChoresIn, ChoresOut)> {
    let ring: &'static mut Queue<Chore, CHORES> = Box::leak(Box::default());
    let (into, out) = ring.split();
    let (bell, heard) = Bell::new()?;
    // Whoever takes them has nothing else to wait for.
    heard.set_nonblocking(false)?;
    let chores = ChoresIn {
        ring: into,
        bell: Arc::clone(&bell),
    };
    let taken = ChoresOut {
        ring: out,
        bell,
        heard,
    };
    Ok((chores, taken))
}

impl ChoresIn {
    /// Passes chores on while there is room.
    pub fn pass(&mut self, mut next: impl FnMut() -> Option<Chore>) {
        let mut passed = false;
        while self.ring.ready()
            && let Some(chore) = next()
        {
            let _ = self.ring.enqueue(chore);
            passed = true;
        }
        if passed {
            self.bell.ring();
        }
    }
}

impl ChoresOut {
    /// The next chore, once there is one.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn wait(&mut self) -> io::Result<Chore> {
        loop {
            self.bell.hear();
            if let Some(chore) = self.ring.dequeue() {
                return Ok(chore);
            }
            let _ = (&self.heard).read(&mut [0; 16])?;
        }
    }
}

impl<C, R> LoopEnd<C, R> {
    /// The next command, while there is room to reply to it.
    pub fn command(&mut self) -> Option<C> {
        if self.replies.ready() {
            self.commands.dequeue()
        } else {
            None
        }
    }

    /// Replies to a command that [`Self::command`] gave.
    pub fn reply(&mut self, reply: R) {
        // There is room: `command` has looked.
        let _ = self.replies.enqueue(reply);
        self.bell.ring();
    }

    /// Says something nobody asked for. Returns whether there was room; if not,
    /// say it again later.
    #[must_use]
    pub fn say(&mut self, reply: R) -> bool {
        let said = self.replies.enqueue(reply).is_ok();
        self.bell.ring();
        said
    }

    /// Passes records on until `next` has no more or the ring is full; then the
    /// half's own ring fills and counts what it drops: `dropped` of them.
    pub fn pass_records(&mut self, dropped: u64, mut next: impl FnMut() -> Option<Frame>) {
        while self.records.ready()
            && let Some(frame) = next()
        {
            // There is room: that was just asked.
            let _ = self.records.enqueue(frame);
        }
        self.dropped.store(dropped, Ordering::Relaxed);
    }
}

impl<C, R> ControlEnd<C, R> {
    /// Sends a command and wakes the loop.
    ///
    /// # Errors
    /// The command, when the ring is full: the loop is far behind.
    pub fn send(&mut self, command: C) -> Result<(), C> {
        self.commands.enqueue(command)?;
        // Fails only when the loop's poller is gone, and the loop with it.
        let _ = self.waker.wake();
        Ok(())
    }

    /// Whether a command would be sent.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.commands.ready()
    }

    /// The next reply.
    pub fn reply(&mut self) -> Option<R> {
        self.replies.dequeue()
    }
}
