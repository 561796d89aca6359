//! HTTP/1.1 (RFC 9110, RFC 9112): a request, and a response read byte by byte.
//! Not a client: redirects are reported and not followed, nothing is decoded or
//! kept.

mod field;
mod request;
mod response;
mod status;

pub use request::{Request, RequestError};
pub use status::{RANGES_MAX, StatusError, StatusSet};

pub(super) use response::Response;

use super::{NO_ROOM, Pattern, Step};
use core::net::SocketAddr;

/// Headers a check may expect.
pub const HEADERS_MAX: usize = 2;

/// A request, and the response that is expected.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    /// What is sent.
    pub request: Request<'a>,
    /// Status codes that are expected. A redirect has one, too.
    pub status: StatusSet,
    /// Headers that must be there. Of several of one name, one must match.
    pub headers: [Option<HeaderMatch<'a>>; HEADERS_MAX],
    /// What the content has to look like. With [`Pattern::Any`] the head decides.
    pub body: Pattern<'a>,
    /// Bytes of all that is not content that are read at most: interim
    /// responses, head, sizes of chunks, trailers.
    pub head_bytes_max: u32,
    /// Bytes of content that are looked at.
    pub body_bytes_max: u32,
}

/// A header that must be there.
#[derive(Clone, Copy, Debug)]
pub struct HeaderMatch<'a> {
    /// Its name, in any case.
    pub name: &'a str,
    /// Its value, without the blanks around it.
    pub value: Pattern<'a>,
}

impl<'a> Http<'a> {
    /// Expects a status from 200 to 299; at most 16 KiB of head, 64 KiB of
    /// content.
    #[must_use]
    pub const fn new(request: Request<'a>) -> Self {
        Self {
            request,
            status: StatusSet::SUCCESSFUL,
            headers: [None; HEADERS_MAX],
            body: Pattern::Any,
            head_bytes_max: 16 << 10,
            body_bytes_max: 64 << 10,
        }
    }

    /// Seesaw's rules: one code (0 is 200), and the content starts with
    /// `response`.
    #[must_use]
    pub const fn seesaw(
        address: SocketAddr,
        method: &'a str,
        target: &'a str,
        code: u16,
        response: &'a [u8],
    ) -> Self {
        let request = Request {
            method: if method.is_empty() { "GET" } else { method },
            ..Request::get(address, if target.is_empty() { "/" } else { target })
        };
        Self {
            status: StatusSet::only(if code == 0 { 200 } else { code }),
            body: Pattern::Prefix(response),
            ..Self::new(request)
        }
    }

    pub(super) fn begin(&self, out: &mut [u8]) -> (Response, Step) {
        let step = self.request.write(out).map_or(NO_ROOM, Step::Send);
        (Response::new(self), step)
    }
}

#[cfg(test)]
mod tests;
