//! A response, byte by byte (RFC 9112 4 to 7).

use super::Http;
use super::field::{Coding, Fields, Length};
use super::request::is_token;
use crate::check::probe::{Found, Scan};
use crate::check::{Reason, Verdict};

/// A response as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response {
    at: At,
    /// The minor version, 0 or 1, and the status code.
    minor: u8,
    status: u16,
    fields: Fields,
    body: Scan,
    head_bytes: u32,
    body_bytes: u32,
    verdict: Option<Verdict>,
    /// Something came after the message, or it says two things at once.
    spoilt: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A byte of `HTTP/1.`, so many are there.
    Protocol(u8),
    Minor,
    BeforeCode,
    /// A digit of the code, so many are there.
    Code(u8),
    AfterCode,
    Phrase,
    StatusLineFeed,
    /// A field's name, or the end of the head.
    FieldOrEnd,
    Name,
    Value,
    ValueLineFeed,
    HeadLineFeed,
    /// So many bytes of content.
    Content(u64),
    ToTheEnd,
    ChunkSize {
        size: u64,
        digits: u8,
    },
    ChunkExtension(u64),
    ChunkSizeLineFeed(u64),
    Chunk(u64),
    ChunkReturn,
    ChunkLineFeed,
    TrailerOrEnd,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    /// The message is over.
    Done,
    /// It is no message.
    Broken,
}

impl At {
    /// How many bytes of content come next; `None` when something else does.
    fn content(self) -> Option<u64> {
        if let Self::Content(left) | Self::Chunk(left) = self {
            return Some(left);
        }
        (self == Self::ToTheEnd).then_some(u64::MAX)
    }
}

const PROTOCOL: &[u8] = b"HTTP/1.";

impl Response {
    pub(super) fn new(http: &Http<'_>) -> Self {
        Self {
            at: At::Protocol(0),
            minor: 0,
            status: 0,
            fields: Fields::new(),
            body: Scan::new(http.body),
            head_bytes: 0,
            body_bytes: 0,
            verdict: None,
            spoilt: false,
        }
    }

    /// The status code, once the status line is there.
    pub const fn status(&self) -> Option<u16> {
        match self.status {
            0 => None,
            code => Some(code),
        }
    }

    /// Whether the connection can carry another request: the message is over,
    /// nothing came after it, and both sides want it so.
    pub fn reusable(&self, http: &Http<'_>) -> bool {
        let kept = match self.minor {
            0 => self.fields.keep_alive,
            _ => true,
        };
        let plain = !self.spoilt && self.status >= 200;
        http.request.keep_alive && kept && !self.fields.close && plain && self.at == At::Done
    }

    /// What is decided already, while the rest of the message is waited for so that
    /// the connection can carry another request. Whatever comes of that, it holds.
    pub const fn decided(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Whether it is worth while to read on: both sides want another request on this
    /// connection, and what is left of the message is known to be short.
    fn is_to_end(&self, http: &Http<'_>) -> bool {
        let kept = match self.minor {
            0 => self.fields.keep_alive,
            _ => true,
        };
        let short = match self.at {
            At::Content(left) | At::Chunk(left) => left <= REST_BYTES_MAX,
            At::ChunkSize { .. }
            | At::ChunkExtension(_)
            | At::ChunkSizeLineFeed(_)
            | At::ChunkReturn
            | At::ChunkLineFeed
            | At::TrailerOrEnd
            | At::Trailer
            | At::TrailerLineFeed
            | At::LastLineFeed => u64::from(self.body_bytes) <= REST_BYTES_MAX,
            At::Protocol(_)
            | At::Minor
            | At::BeforeCode
            | At::Code(_)
            | At::AfterCode
            | At::Phrase
            | At::StatusLineFeed
            | At::FieldOrEnd
            | At::Name
            | At::Value
            | At::ValueLineFeed
            | At::HeadLineFeed => true,
            At::ToTheEnd | At::Done | At::Broken => false,
        };
        http.request.keep_alive && kept && !self.fields.close && !self.spoilt && short
    }

    /// Takes the next bytes; the verdict, once there is one and no more is to be
    /// read. What comes after it is still read, for [`reusable`](Self::reusable).
    pub fn feed(&mut self, http: &Http<'_>, bytes: &[u8]) -> Option<Verdict> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if matches!(self.at, At::Done | At::Broken) {
                self.spoilt = true;
                break;
            }
            let Some(content) = self.at.content() else {
                self.head(http, *byte);
                rest = after;
                continue;
            };
            let len = usize::try_from(content).unwrap_or(usize::MAX);
            let (content, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            self.content(http, content);
            rest = after;
        }
        self.verdict.filter(|_| !self.is_to_end(http))
    }

    /// The stream ended.
    pub fn end(&mut self, http: &Http<'_>) -> Verdict {
        if self.at == At::ToTheEnd {
            self.message_ends(http);
        }
        self.spoilt = true;
        self.fail(Reason::Closed)
    }

    /// A byte that is not content.
    fn head(&mut self, http: &Http<'_>, byte: u8) {
        self.head_bytes = self.head_bytes.saturating_add(1);
        if self.head_bytes > http.head_bytes_max {
            self.broken(Reason::HttpHeadTooLong);
            return;
        }
        let next = match self.at {
            At::Protocol(read) => {
                let read = usize::from(read);
                match PROTOCOL.get(read) {
                    Some(own) if *own != byte => None,
                    Some(_) if read.saturating_add(1) == PROTOCOL.len() => Some(At::Minor),
                    Some(_) | None => u8::try_from(read.saturating_add(1)).ok().map(At::Protocol),
                }
            }
            At::Minor => {
                self.minor = byte.wrapping_sub(b'0');
                matches!(byte, b'0' | b'1').then_some(At::BeforeCode)
            }
            At::BeforeCode => {
                self.status = 0;
                (byte == b' ').then_some(At::Code(0))
            }
            At::Code(digits) => {
                let digit = u16::from(byte.wrapping_sub(b'0'));
                self.status = self.status.saturating_mul(10).saturating_add(digit);
                let next = match digits {
                    2.. => At::AfterCode,
                    digits => At::Code(digits.saturating_add(1)),
                };
                byte.is_ascii_digit().then_some(next)
            }
            At::AfterCode => match byte {
                b' ' => Some(At::Phrase),
                b'\r' => Some(At::StatusLineFeed),
                b'\n' => Some(self.status_line_ends(http)),
                _ => None,
            },
            At::Phrase => match byte {
                b'\r' => Some(At::StatusLineFeed),
                b'\n' => Some(self.status_line_ends(http)),
                byte => is_text(byte).then_some(At::Phrase),
            },
            At::StatusLineFeed => (byte == b'\n').then(|| self.status_line_ends(http)),
            At::FieldOrEnd => match byte {
                b'\r' => Some(At::HeadLineFeed),
                b'\n' => Some(self.head_ends(http)),
                byte => {
                    self.fields.line(&http.headers);
                    self.fields.name(&http.headers, byte);
                    is_token(byte).then_some(At::Name)
                }
            },
            At::Name => match byte {
                b':' => {
                    self.fields.colon(&http.headers);
                    Some(At::Value)
                }
                byte => {
                    self.fields.name(&http.headers, byte);
                    is_token(byte).then_some(At::Name)
                }
            },
            At::Value => match byte {
                b'\r' => Some(At::ValueLineFeed),
                b'\n' => Some(self.field_ends(http)),
                byte => {
                    self.fields.value(&http.headers, byte);
                    is_text(byte).then_some(At::Value)
                }
            },
            At::ValueLineFeed => (byte == b'\n').then(|| self.field_ends(http)),
            At::HeadLineFeed => (byte == b'\n').then(|| self.head_ends(http)),
            At::ChunkSize { size, digits } => match (byte, digits) {
                (b';' | b' ' | b'\t', 1..) => Some(At::ChunkExtension(size)),
                (b'\r', 1..) => Some(At::ChunkSizeLineFeed(size)),
                (b'\n', 1..) => Some(chunk(size)),
                // 16 digits fill the number.
                (byte, 0..16) => char::from(byte).to_digit(16).map(|digit| At::ChunkSize {
                    size: size.wrapping_shl(4) | u64::from(digit),
                    digits: digits.saturating_add(1),
                }),
                (_, _) => None,
            },
            At::ChunkExtension(size) => match byte {
                b'\r' => Some(At::ChunkSizeLineFeed(size)),
                b'\n' => Some(chunk(size)),
                byte => is_text(byte).then_some(At::ChunkExtension(size)),
            },
            At::ChunkSizeLineFeed(size) => (byte == b'\n').then_some(chunk(size)),
            At::ChunkReturn => match byte {
                b'\r' => Some(At::ChunkLineFeed),
                b'\n' => Some(NEXT_CHUNK),
                _ => None,
            },
            At::ChunkLineFeed => (byte == b'\n').then_some(NEXT_CHUNK),
            At::TrailerOrEnd => match byte {
                b'\r' => Some(At::LastLineFeed),
                b'\n' => Some(self.message_ends(http)),
                byte => is_token(byte).then_some(At::Trailer),
            },
            At::Trailer => match byte {
                b'\r' => Some(At::TrailerLineFeed),
                b'\n' => Some(At::TrailerOrEnd),
                byte => is_text(byte).then_some(At::Trailer),
            },
            At::TrailerLineFeed => (byte == b'\n').then_some(At::TrailerOrEnd),
            At::LastLineFeed => (byte == b'\n').then(|| self.message_ends(http)),
            At::Content(_) | At::ToTheEnd | At::Chunk(_) | At::Done | At::Broken => Some(self.at),
        };
        match next {
            Some(next) => self.at = next,
            None => self.broken(Reason::HttpMalformed),
        }
    }

    fn status_line_ends(&mut self, http: &Http<'_>) -> At {
        self.fields = Fields::new();
        if !self.is_interim() && !http.status.contains(self.status) {
            let redirect = (300..400).contains(&self.status) && self.status != 304;
            self.fail(if redirect {
                Reason::HttpRedirect
            } else {
                Reason::HttpStatus
            });
        }
        At::FieldOrEnd
    }

    fn field_ends(&mut self, http: &Http<'_>) -> At {
        self.fields.end(&http.headers);
        At::FieldOrEnd
    }

    /// The head is whole: what comes now (RFC 9112 6.3).
    fn head_ends(&mut self, http: &Http<'_>) -> At {
        if self.is_interim() {
            self.status = 0;
            return At::Protocol(0);
        }
        let bad = self.fields.length == Length::Bad && self.fields.coding == Coding::None;
        if bad {
            self.fail(Reason::HttpMalformed);
            return At::Broken;
        }
        if !self.fields.all_matched(&http.headers) {
            self.fail(Reason::HttpHeader);
        }
        if self.body.found() == Found::Yes {
            self.succeed();
        }
        let without = matches!(self.status, 101 | 204 | 304);
        if without || http.request.method == "HEAD" {
            return self.message_ends(http);
        }
        match (self.fields.coding, self.fields.length) {
            (Coding::Chunked, length) => {
                // Who sends both, or this in HTTP/1.0, may have been tricked
                // into it (RFC 9112 6.1).
                self.spoilt |= length != Length::None || self.minor == 0;
                NEXT_CHUNK
            }
            (Coding::Other, _) | (Coding::None, Length::None | Length::Bad) => At::ToTheEnd,
            (Coding::None, Length::Is(0)) => self.message_ends(http),
            (Coding::None, Length::Is(length)) => At::Content(length),
        }
    }

    /// Content, no more than is left of it.
    fn content(&mut self, http: &Http<'_>, bytes: &[u8]) {
        let left = http.body_bytes_max.saturating_sub(self.body_bytes);
        let (seen, over) = bytes
            .split_at_checked(left as usize)
            .unwrap_or((bytes, &[]));
        let count = u32::try_from(seen.len()).unwrap_or(u32::MAX);
        self.body_bytes = self.body_bytes.saturating_add(count);
        match self.body.feed(http.body, seen) {
            Found::Yes => self.succeed(),
            Found::No => {
                self.fail(Reason::HttpBody);
            }
            Found::Open if !over.is_empty() => {
                self.fail(Reason::HttpBodyTooLong);
            }
            Found::Open => {}
        }
        let taken = bytes.len() as u64;
        if let At::Content(left) | At::Chunk(left) = &mut self.at {
            *left = left.saturating_sub(taken);
        }
        if self.at == At::Content(0) {
            self.at = self.message_ends(http);
        } else if self.at == At::Chunk(0) {
            self.at = At::ChunkReturn;
        }
    }

    fn message_ends(&mut self, http: &Http<'_>) -> At {
        if self.body.end(http.body) {
            self.succeed();
        } else {
            self.fail(Reason::HttpBody);
        }
        At::Done
    }

    /// 101 is an answer: the protocol is another one from there on.
    fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    fn broken(&mut self, reason: Reason) {
        self.at = At::Broken;
        self.fail(reason);
    }

    const fn succeed(&mut self) {
        if self.verdict.is_none() {
            self.verdict = Some(Verdict::Success);
        }
    }

    /// Fails if nothing was decided; what is decided now.
    fn fail(&mut self, reason: Reason) -> Verdict {
        *self.verdict.get_or_insert(Verdict::Failure(reason))
    }
}

/// Content that is read for nothing but the connection, at most. A longer one costs
/// more than a connection.
const REST_BYTES_MAX: u64 = 64 << 10;

const NEXT_CHUNK: At = At::ChunkSize { size: 0, digits: 0 };

const fn chunk(size: u64) -> At {
    match size {
        0 => At::TrailerOrEnd,
        size => At::Chunk(size),
    }
}

/// What may stand in a value or a phrase: RFC 9110 5.5, with obs-text.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
