//! Netlink as a kernel sees it: requests taken apart, replies put together.
//! Written from linux/netlink.h alone and apart from the core's own encoder, so
//! that a mistake there is not repeated here.

use std::collections::VecDeque;

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x01;
/// `NLM_F_MULTI`.
pub const MULTI: u16 = 0x02;
/// `NLM_F_ACK`.
pub const ACK: u16 = 0x04;
/// `NLM_F_DUMP_INTR`.
pub const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;
/// `NLMSG_NOOP`.
pub const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NLMSG_OVERRUN`.
pub const OVERRUN: u16 = 4;
/// The port id of our socket, which replies carry.
const PORT: u32 = 4711;

/// Error numbers a kernel model answers with (asm-generic/errno.h).
pub mod errno {
    pub const ENOENT: i32 = 2;
    pub const ESRCH: i32 = 3;
    pub const EINTR: i32 = 4;
    pub const ENOMEM: i32 = 12;
    pub const EBUSY: i32 = 16;
    pub const EEXIST: i32 = 17;
    pub const EINVAL: i32 = 22;
    pub const ENODEV: i32 = 19;
    pub const EMFILE: i32 = 24;
    pub const EOPNOTSUPP: i32 = 95;
    pub const EADDRNOTAVAIL: i32 = 99;
    pub const ENETDOWN: i32 = 100;
    pub const ENOBUFS: i32 = 105;
    pub const ECONNRESET: i32 = 104;
    pub const ECONNREFUSED: i32 = 111;
    pub const EHOSTUNREACH: i32 = 113;
}

/// A request of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    pub body: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

/// The four bytes at `at` as a number of this host.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The requests of a datagram, as `netlink_rcv_skb` walks them: what does not
/// add up drops the rest in silence, which for us is a bug worth a panic.
pub fn requests(mut datagram: &[u8]) -> Vec<Request<'_>> {
    let mut found = Vec::new();
    while !datagram.is_empty() {
        assert!(datagram.len() >= 16, "a request without a whole header");
        let len = u32_at(datagram, 0) as usize;
        assert!(
            (16..=datagram.len()).contains(&len),
            "a request of {len} bytes in {} bytes",
            datagram.len()
        );
        found.push(Request {
            kind: u16_at(datagram, 4),
            flags: u16_at(datagram, 6),
            seq: u32_at(datagram, 8),
            body: &datagram[16..len],
        });
        datagram = &datagram[len.next_multiple_of(4).min(datagram.len())..];
    }
    found
}

/// Attributes: kind without the flag bits, value.
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let len = usize::from(u16_at(bytes, 0));
        assert!((4..=bytes.len()).contains(&len), "an attribute too long");
        found.push((u16_at(bytes, 2) & 0x3fff, &bytes[4..len]));
        bytes = &bytes[len.next_multiple_of(4).min(bytes.len())..];
    }
    assert!(bytes.is_empty(), "bytes after the attributes");
    found
}

/// The value of one attribute.
pub fn attribute<'a>(of: &[(u16, &'a [u8])], kind: u16) -> Option<&'a [u8]> {
    of.iter()
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| *value)
}

/// A message that is being written.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn new(kind: u16, flags: u16, seq: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(seq.to_ne_bytes());
        bytes.extend(PORT.to_ne_bytes());
        Self(bytes)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let len = u16::try_from(4 + value.len()).expect("an attribute is short");
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub fn nest(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let inner = fill(Self(Vec::new()));
        self.attribute(kind, &inner.0)
    }

    /// The bytes, padded, with the length in its place.
    pub fn bytes(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).expect("a message is short");
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.0
    }
}

/// `NLMSG_ERROR`, capped: 0 is success.
pub fn ack(request: &Request<'_>, errno: i32) -> Vec<u8> {
    let len = u32::try_from(16 + request.body.len()).expect("a request is short");
    Message::new(ERROR, 0x100, request.seq)
        .raw(&(-errno).to_ne_bytes())
        .raw(&len.to_ne_bytes())
        .raw(&request.kind.to_ne_bytes())
        .raw(&request.flags.to_ne_bytes())
        .raw(&request.seq.to_ne_bytes())
        .raw(&[0; 4])
        .bytes()
}

/// `NLMSG_DONE`.
pub fn done(seq: u32, flags: u16) -> Vec<u8> {
    Message::new(DONE, MULTI | flags, seq).raw(&[0; 4]).bytes()
}

/// What a receive yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Datagram(Vec<u8>),
    /// `ENOBUFS`: something did not fit and is gone.
    Lost,
}

/// The receiving side of a socket. A full one drops what comes and says so
/// first, before what it still holds.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    queue: VecDeque<Vec<u8>>,
    overrun: bool,
}

impl Inbox {
    pub fn push(&mut self, datagram: Vec<u8>) {
        self.queue.push_back(datagram);
    }

    /// A datagram did not fit.
    pub fn drop_one(&mut self) {
        self.overrun = true;
    }

    pub fn pop(&mut self) -> Option<Received> {
        if std::mem::take(&mut self.overrun) {
            return Some(Received::Lost);
        }
        self.queue.pop_front().map(Received::Datagram)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && !self.overrun
    }
}
