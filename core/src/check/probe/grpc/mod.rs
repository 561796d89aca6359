//! gRPC health checking: `grpc.health.v1.Health/Check` over as much of HTTP/2
//! (RFC 9113) as one call needs. Not an HTTP/2 client: one stream, no pushes, no
//! table of headers, nothing sent after the call but acknowledgements.
//!
//! Over plain TCP the server must expect HTTP/2 at once ("prior knowledge");
//! over TLS the owner negotiates `h2`. Sources: the gRPC documents "Health
//! checking" and "gRPC over HTTP/2".

mod client;
mod hpack;
mod huffman;

pub(super) use client::Client;

use super::{NO_ROOM, Step};
use crate::bytes::{NetworkEndian, Writer};
use core::fmt;

/// Bytes of a header block, and of one frame of it, that are read at most.
pub const HEADERS_BYTES_MAX: usize = 4096;
/// Bytes of the answer's message; the one that is defined has two.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// The longest text of a spec, so that no length needs more than one byte and
/// the next.
const TEXT_BYTES_MAX: usize = 253;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 6).
mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames; the first means END_STREAM or ACK.
mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// A health call.
#[derive(Clone, Copy, Debug)]
pub struct Grpc<'a> {
    /// `:authority`: the host asked, and its port if need be.
    pub authority: &'a str,
    /// The service asked for; the server as a whole if empty.
    pub service: &'a str,
    /// Whether TLS is below: the scheme is `https` then.
    pub tls: bool,
}

/// What is wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcError;

impl fmt::Display for GrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("an authority has 1 to 253 visible characters, a service 253 bytes at most")
    }
}

impl core::error::Error for GrpcError {}

impl Grpc<'_> {
    /// Bytes it keeps from call to call.
    pub const KEEP_BYTES: usize = client::KEEP_BYTES;

    /// Whether it can be sent, for the config.
    ///
    /// # Errors
    /// [`GrpcError`] if not.
    pub fn check(&self) -> Result<(), GrpcError> {
        let authority = self.authority;
        let visible = authority.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = |text: &str| text.len() <= TEXT_BYTES_MAX;
        if authority.is_empty() || !visible || !fits(authority) || !fits(self.service) {
            return Err(GrpcError);
        }
        Ok(())
    }

    pub(super) fn begin(&self, out: &mut [u8]) -> (Client, Step) {
        let mut w = Writer::new(out);
        w.bytes(PREFACE);
        frame(&mut w, kind::SETTINGS, 0, 0, |w| {
            // No table of headers, no pushes.
            for setting in [1_u16, 2] {
                w.u16::<NetworkEndian>(setting);
                w.u32::<NetworkEndian>(0);
            }
        });
        frame(&mut w, kind::HEADERS, flag::END_HEADERS, 1, |w| {
            // `:method POST` and `:scheme` as the static table has them.
            w.u8(0x83);
            w.u8(if self.tls { 0x87 } else { 0x86 });
            indexed(w, 4, b"/grpc.health.v1.Health/Check");
            indexed(w, 1, self.authority.as_bytes());
            indexed(w, 31, b"application/grpc");
            w.u8(0);
            string(w, b"te");
            string(w, b"trailers");
            indexed(w, 58, b"trunnion");
        });
        frame(&mut w, kind::DATA, flag::END_STREAM, 1, |w| {
            w.u8(0); // Not compressed.
            let length = w.mark();
            w.u32::<NetworkEndian>(0);
            let message = w.mark();
            if !self.service.is_empty() {
                w.u8(0x0a); // Field 1, a string.
                varint(w, self.service.len());
                w.bytes(self.service.as_bytes());
            }
            let bytes = u32::try_from(w.since(message)).unwrap_or(u32::MAX);
            w.patch(length, &bytes.to_be_bytes());
        });
        let step = w.finish().map_or(NO_ROOM, |sent| Step::Send(sent.len()));
        (Client::new(), step)
    }
}

/// Writes a frame whose payload `fill` writes.
fn frame(w: &mut Writer<'_>, kind: u8, flags: u8, stream: u32, fill: impl FnOnce(&mut Writer<'_>)) {
    let length = w.mark();
    w.zeros(3);
    w.bytes(&[kind, flags]);
    w.u32::<NetworkEndian>(stream);
    let payload = w.mark();
    fill(w);
    let bytes = u32::try_from(w.since(payload)).unwrap_or(u32::MAX);
    let [_, length_bytes @ ..] = bytes.to_be_bytes();
    w.patch(length, &length_bytes);
}

/// A literal that is not indexed, its name from the static table.
fn indexed(w: &mut Writer<'_>, name: u8, value: &[u8]) {
    match name.checked_sub(15) {
        // Four bits of the first byte (RFC 7541 5.1).
        None => w.u8(name),
        Some(more) => w.bytes(&[15, more]),
    }
    string(w, value);
}

/// A string as it is (RFC 7541 5.2): 7 bits of its length in the first byte.
fn string(w: &mut Writer<'_>, text: &[u8]) {
    match text.len().checked_sub(127) {
        None => w.u8(u8::try_from(text.len()).unwrap_or(0)),
        Some(more) => {
            w.u8(127);
            varint(w, more);
        }
    }
    w.bytes(text);
}

/// A number in groups of 7 bits, the low ones first: protobuf's way, and
/// HPACK's.
fn varint(w: &mut Writer<'_>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            w.u8(low);
            return;
        }
        w.u8(low | 0x80);
    }
}

#[cfg(test)]
mod tests;
