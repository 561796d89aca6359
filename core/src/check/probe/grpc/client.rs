//! The answer to a call, frame by frame (RFC 9113 4 to 6).

use super::hpack::Fields;
use super::{HEADERS_BYTES_MAX, MESSAGE_BYTES_MAX, flag, frame, kind};
use crate::bytes::{Reader, Short, Writer};
use crate::check::probe::keep::Kept;
use crate::check::probe::{Reason, Room, Step, failure, success};

/// Our stream.
const STREAM: u32 = 1;
const FRAME_HEADER_BYTES: usize = 9;
/// The most a frame may have while we do not allow more (RFC 9113 4.2).
const FRAME_BYTES_MAX: usize = 16_384;
/// Bytes of the connection that are read at most, whatever frames they are.
const BYTES_MAX: u32 = 64 << 10;
/// Frames that want an acknowledgement: those of a call are a few.
const CONTROLS_MAX: u8 = 6;
const PING_BYTES: usize = 8;
const SERVING: u64 = 1;

/// What is kept: the frame being read, the header block, the message.
pub(super) const KEEP_BYTES: usize = HEADERS_BYTES_MAX * 2 + MESSAGE_BYTES_MAX;

// All acknowledgements fit what a call after the first is lent.
const _: () = assert!(CONTROLS_MAX as usize * (FRAME_HEADER_BYTES + PING_BYTES) <= Room::OUT_BYTES);

/// A connection with one call on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    header: [u8; FRAME_HEADER_BYTES],
    /// Bytes of the frame that came, its header included.
    came: u32,
    payload: Kept,
    block: Kept,
    message: Kept,
    /// A header block is to be continued; whether the stream ends with it.
    continued: Option<bool>,
    fields: Fields,
    /// The server's first settings came.
    open: bool,
    controls: u8,
    read: u32,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug)]
struct Header {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

fn short(_: Short) -> Reason {
    Reason::Http2Malformed
}

impl Client {
    pub const fn new() -> Self {
        Self {
            header: [0; FRAME_HEADER_BYTES],
            came: 0,
            payload: Kept::NONE,
            block: Kept::NONE,
            message: Kept::NONE,
            continued: None,
            fields: Fields {
                status: None,
                grpc_status: None,
            },
            open: false,
            controls: 0,
            read: 0,
        }
    }

    pub fn feed(&mut self, bytes: &[u8], room: &mut Room<'_>) -> Step {
        let mut w = Writer::new(room.out);
        match self.frames(bytes, room.keep, &mut w) {
            Ok(Some(step)) => step,
            Ok(None) if w.is_empty() => Step::More,
            // The acknowledgements of a whole connection fit.
            Ok(None) => w.finish().map_or(Step::More, |sent| Step::Send(sent.len())),
            Err(reason) => failure(reason),
        }
    }

    fn frames(
        &mut self,
        mut bytes: &[u8],
        keep: &mut [u8],
        w: &mut Writer<'_>,
    ) -> Result<Option<Step>, Reason> {
        let (frame_keep, rest) = keep
            .split_at_mut_checked(HEADERS_BYTES_MAX)
            .unwrap_or_default();
        let (block, message) = rest
            .split_at_mut_checked(HEADERS_BYTES_MAX)
            .unwrap_or_default();
        while let Some((byte, after)) = bytes.split_first() {
            let came = self.came as usize;
            if let Some(place) = self.header.get_mut(came) {
                *place = *byte;
                bytes = after;
                self.came = self.came.saturating_add(1);
                self.take(1)?;
                if self.came as usize == FRAME_HEADER_BYTES {
                    self.admit(self.frame())?;
                }
            }
            let header = self.frame();
            if (self.came as usize) < FRAME_HEADER_BYTES {
                continue;
            }
            let whole = FRAME_HEADER_BYTES.saturating_add(header.length);
            let missing = whole.saturating_sub(self.came as usize);
            let (mut part, after) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            bytes = after;
            let taken = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.came = self.came.saturating_add(taken);
            self.take(taken)?;
            if header.matters() {
                self.payload.fill(frame_keep, header.length, &mut part);
            }
            if self.came as usize == whole {
                let payload = self.payload.bytes(frame_keep);
                self.came = 0;
                self.payload = Kept::NONE;
                if let Some(step) = self.handle(header, payload, block, message, w)? {
                    return Ok(Some(step));
                }
            }
        }
        Ok(None)
    }

    const fn take(&mut self, bytes: u32) -> Result<(), Reason> {
        self.read = self.read.saturating_add(bytes);
        if self.read > BYTES_MAX {
            return Err(Reason::Http2TooLong);
        }
        Ok(())
    }

    fn frame(&self) -> Header {
        let [a, b, c, kind, flags, d, e, f, g] = self.header;
        Header {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
        }
    }

    /// Whether a frame may come now.
    fn admit(&mut self, header: Header) -> Result<(), Reason> {
        let Header {
            length,
            kind,
            flags,
            stream,
        } = header;
        let ours = match kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION | kind::RST_STREAM => stream == STREAM,
            kind::SETTINGS | kind::PING | kind::GOAWAY => stream == 0,
            kind::PUSH_PROMISE => false,
            _ => true,
        };
        let sized = match kind {
            kind::SETTINGS if flags & flag::ACK != 0 => length == 0,
            kind::SETTINGS => length.checked_rem(6) == Some(0),
            kind::PING => length == PING_BYTES,
            kind::RST_STREAM => length == 4,
            kind::GOAWAY => length >= 8,
            _ => true,
        };
        let first = self.open || (kind == kind::SETTINGS && flags & flag::ACK == 0);
        let follows = self.continued.is_some() == (kind == kind::CONTINUATION);
        if !ours || !sized || !first || !follows || length > FRAME_BYTES_MAX {
            return Err(Reason::Http2Malformed);
        }
        if header.matters() && length > HEADERS_BYTES_MAX {
            return Err(Reason::Http2TooLong);
        }
        self.open = true;
        Ok(())
    }

    /// Takes a whole frame.
    fn handle(
        &mut self,
        header: Header,
        payload: &[u8],
        block: &mut [u8],
        message: &mut [u8],
        w: &mut Writer<'_>,
    ) -> Result<Option<Step>, Reason> {
        let mut r = Reader::new(payload);
        let has = |flag: u8| header.flags & flag != 0;
        match header.kind {
            kind::SETTINGS | kind::PING if !has(flag::ACK) => {
                self.controls = self.controls.saturating_add(1);
                if self.controls > CONTROLS_MAX {
                    return Err(Reason::Http2TooLong);
                }
                let echo = if header.kind == kind::PING {
                    payload
                } else {
                    &[]
                };
                frame(w, header.kind, flag::ACK, 0, |w| w.bytes(echo));
            }
            kind::RST_STREAM => return Err(Reason::Http2Refused),
            kind::GOAWAY => {
                let [a, b, c, d] = r.take("last stream").map_err(short)?;
                if u32::from_be_bytes([a & 0x7f, b, c, d]) < STREAM {
                    return Err(Reason::Http2Refused);
                }
            }
            kind::DATA => {
                let mut data = unpadded(&mut r, has(flag::PADDED))?;
                let have = self.message.bytes(message).len();
                let whole = have.saturating_add(data.len());
                if whole > MESSAGE_BYTES_MAX {
                    return Err(Reason::GrpcMalformed);
                }
                self.message.fill(message, whole, &mut data);
                if has(flag::END_STREAM) {
                    return self.end(message).map(Some);
                }
            }
            kind::HEADERS | kind::CONTINUATION => {
                let padded = header.kind == kind::HEADERS && has(flag::PADDED);
                let mut fragment = unpadded(&mut r, padded)?;
                if header.kind == kind::HEADERS && has(flag::PRIORITY) {
                    let (_, rest) = fragment.split_at_checked(5).ok_or(Reason::Http2Malformed)?;
                    fragment = rest;
                }
                let have = self.block.bytes(block).len();
                let whole = have.saturating_add(fragment.len());
                if whole > HEADERS_BYTES_MAX {
                    return Err(Reason::Http2TooLong);
                }
                self.block.fill(block, whole, &mut fragment);
                let ends = self.continued.unwrap_or(has(flag::END_STREAM));
                self.continued = Some(ends);
                if has(flag::END_HEADERS) {
                    self.continued = None;
                    let read = self.fields.read(self.block.bytes(block));
                    read.map_err(|_| Reason::Http2Malformed)?;
                    self.block = Kept::NONE;
                    if ends {
                        return self.end(message).map(Some);
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// The answer is whole.
    fn end(&self, message: &[u8]) -> Result<Step, Reason> {
        match (self.fields.status, self.fields.grpc_status) {
            (Some(200), Some(0)) => {}
            (Some(200), Some(_)) => return Err(Reason::GrpcStatus),
            (Some(200), None) | (None, _) => return Err(Reason::GrpcMalformed),
            (Some(_), _) => return Err(Reason::HttpStatus),
        }
        match health(self.message.bytes(message)) {
            Some(SERVING) => Ok(success()),
            Some(_) => Err(Reason::GrpcNotServing),
            None => Err(Reason::GrpcMalformed),
        }
    }
}

impl Header {
    /// Whether its payload is read.
    const fn matters(self) -> bool {
        matches!(
            self.kind,
            kind::DATA | kind::HEADERS | kind::CONTINUATION | kind::PING | kind::GOAWAY
        )
    }
}

/// A payload without its padding.
fn unpadded<'a>(r: &mut Reader<'a>, padded: bool) -> Result<&'a [u8], Reason> {
    let padding = if padded {
        r.u8("pad length").map_err(short)?
    } else {
        0
    };
    let len = r.len().checked_sub(usize::from(padding));
    let len = len.ok_or(Reason::Http2Malformed)?;
    r.bytes("payload", len).map_err(short)
}

/// The status in a `HealthCheckResponse` behind gRPC's five bytes; `None` if it
/// is none.
fn health(message: &[u8]) -> Option<u64> {
    let mut r = Reader::new(message);
    let [compressed, length @ ..] = r.take::<5>("prefix").ok()?;
    if compressed != 0 || u32::from_be_bytes(length) as usize != r.len() {
        return None;
    }
    // A status that is not there is 0, "unknown".
    let mut status = 0;
    while !r.is_empty() {
        let tag = varint(&mut r)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut r)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => drop(r.take::<8>("fixed64").ok()?),
            2 => {
                let len = usize::try_from(varint(&mut r)?).ok()?;
                r.bytes("bytes", len).ok()?;
            }
            5 => drop(r.take::<4>("fixed32").ok()?),
            _ => return None,
        }
    }
    Some(status)
}

fn varint(r: &mut Reader<'_>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = r.u8("varint").ok()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
