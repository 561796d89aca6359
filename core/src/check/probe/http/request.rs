//! The request: one line, headers, a body (RFC 9112 3).

use crate::bytes::{Overflow, Writer};
use core::fmt::{self, Write as _};
use core::net::SocketAddr;

/// A request.
///
/// It always goes to the target of the check. A URL in `target` gives the Host
/// and the path, never an address to dial: a check of one backend must not probe
/// what a name resolves to.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// A token, as `GET`.
    pub method: &'a str,
    /// A path with its query, `*`, or an absolute `http` or `https` URL.
    pub target: &'a str,
    /// What Host says; without it the URL's authority, and without that
    /// `address`.
    pub host: Option<&'a str>,
    /// What is probed, address and port.
    pub address: SocketAddr,
    /// Further header lines, each with its CR LF.
    pub headers: &'a str,
    /// Content.
    pub body: &'a [u8],
    /// Ask to keep the connection, for a next check.
    pub keep_alive: bool,
    /// Speak HTTP/1.0, for servers that know no other; the answer may be either.
    pub http10: bool,
    /// The target is a proxy: it gets the URL as it is (absolute-form, RFC 9112
    /// 3.2.2).
    pub proxied: bool,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The method is no token.
    Method,
    /// The target is neither a path, `*` nor a URL, or has a blank, a fragment
    /// or a byte that is not visible ASCII.
    Target,
    /// The URL has no host, or a user in it.
    Authority,
    /// A proxy needs a URL.
    Proxied,
    /// The host has a byte that cannot be in one.
    Host,
    /// A header line is not `Name: value` with CR LF.
    Headers,
    /// Content-Length, Transfer-Encoding and Connection are made here.
    Made,
}

impl RequestError {
    /// In words: what to write.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Method => "the method is no word: write one as GET",
            Self::Target => "write a path that starts with /, or an http URL, without blanks",
            Self::Authority => "the URL needs a host and no user",
            Self::Proxied => "through a proxy: write a whole URL",
            Self::Host => "not a host: a name or address, and a port if need be",
            Self::Headers => "each header is Name: value on a line of its own",
            Self::Made => "content-length, transfer-encoding and connection are set by the check",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

impl core::error::Error for RequestError {}

impl<'a> Request<'a> {
    /// `GET target`, with the address as its Host, and the connection closed
    /// after it.
    #[must_use]
    pub const fn get(address: SocketAddr, target: &'a str) -> Self {
        Self {
            method: "GET",
            target,
            host: None,
            address,
            headers: "",
            body: &[],
            keep_alive: false,
            http10: false,
            proxied: false,
        }
    }

    /// Whether it can be sent. For the config: a request that was not checked is
    /// sent as it is.
    ///
    /// # Errors
    /// [`RequestError`]: what cannot.
    pub fn check(&self) -> Result<(), RequestError> {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let url = url(self.target);
        if !token(self.method) {
            return Err(RequestError::Method);
        }
        let path = self.target.starts_with('/') || self.target == "*" || url.is_some();
        if !path || !visible(self.target) || self.target.contains('#') {
            return Err(RequestError::Target);
        }
        if let Some((authority, _)) = url
            && (authority.is_empty() || authority.contains('@'))
        {
            return Err(RequestError::Authority);
        }
        if self.proxied && url.is_none() {
            return Err(RequestError::Proxied);
        }
        if let Some(host) = self.host
            && (!visible(host) || host.contains(['/', '@', '?', '#', ',']))
        {
            return Err(RequestError::Host);
        }
        for line in self.headers.split_inclusive("\r\n") {
            let (name, value) = line
                .strip_suffix("\r\n")
                .and_then(|line| line.split_once(':'))
                .ok_or(RequestError::Headers)?;
            let plain = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            if !token(name) || !value.bytes().all(plain) {
                return Err(RequestError::Headers);
            }
            let made = ["content-length", "transfer-encoding", "connection"];
            if made.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(RequestError::Made);
            }
        }
        Ok(())
    }

    /// Writes it; how many bytes it has.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Overflow> {
        let mut text = Text(Writer::new(out));
        let w = &mut text.0;
        let url = url(self.target);
        w.bytes(self.method.as_bytes());
        w.bytes(b" ");
        match url {
            Some((_, path)) if !self.proxied => {
                if !path.starts_with('/') {
                    w.bytes(b"/");
                }
                w.bytes(path.as_bytes());
            }
            Some(_) | None => w.bytes(self.target.as_bytes()),
        }
        w.bytes(if self.http10 {
            b" HTTP/1.0\r\n"
        } else {
            b" HTTP/1.1\r\n"
        });
        if !self.has("host") {
            w.bytes(b"Host: ");
            match (self.host, url) {
                (Some(host), _) | (None, Some((host, _))) => w.bytes(host.as_bytes()),
                (None, None) => {
                    // Without the zone of a link-local address, which is ours.
                    let address = SocketAddr::new(self.address.ip(), self.address.port());
                    let _ = write!(text, "{address}");
                }
            }
            text.0.bytes(b"\r\n");
        }
        let w = &mut text.0;
        if !self.has("user-agent") {
            w.bytes(b"User-Agent: trunnion\r\n");
        }
        w.bytes(self.headers.as_bytes());
        let meant = matches!(self.method, "POST" | "PUT" | "PATCH");
        if meant || !self.body.is_empty() {
            let _ = write!(text, "Content-Length: {}\r\n", self.body.len());
        }
        let w = &mut text.0;
        w.bytes(if self.keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
        w.bytes(self.body);
        text.0.finish().map(|bytes| bytes.len())
    }

    /// Whether the further headers have one of this name.
    fn has(&self, name: &str) -> bool {
        let mut lines = self.headers.split("\r\n");
        lines.any(|line| {
            line.split_once(':')
                .is_some_and(|(other, _)| other.eq_ignore_ascii_case(name))
        })
    }
}

/// The authority of an absolute URL, and what follows it.
fn url(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let known = ["http", "https"];
    if !known.iter().any(|own| scheme.eq_ignore_ascii_case(own)) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest.split_at_checked(end)
}

fn token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// RFC 9110 5.6.2.
pub(super) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

struct Text<'a>(Writer<'a>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.bytes(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn text(request: &Request<'_>) -> String {
        request.check().unwrap();
        let mut out = [0; 512];
        let len = request.write(&mut out).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    fn get(target: &str) -> Request<'_> {
        Request::get("[2001:db8::1]:8080".parse().unwrap(), target)
    }

    #[test]
    fn a_plain_get() {
        assert_eq!(
            text(&get("/health?full=1")),
            "GET /health?full=1 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\
             User-Agent: trunnion\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn a_post_with_everything() {
        let request = Request {
            method: "POST",
            host: Some("api.example"),
            headers: "User-Agent: me\r\nX-Probe: 1\r\n",
            body: b"{}",
            keep_alive: true,
            ..get("/")
        };
        assert_eq!(
            text(&request),
            "POST / HTTP/1.1\r\nHost: api.example\r\nUser-Agent: me\r\nX-Probe: 1\r\n\
             Content-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"
        );
    }

    /// Seesaw dials the URL's host and never the backend.
    #[test]
    fn seesaw_defect_an_absolute_url_gives_host_and_path_only() {
        for (url, line, host) in [
            ("http://www.example/a?b", "GET /a?b HTTP/1.1", "www.example"),
            (
                "https://www.example:8443",
                "GET / HTTP/1.1",
                "www.example:8443",
            ),
            ("HTTP://h?q", "GET /?q HTTP/1.1", "h"),
        ] {
            let text = text(&get(url));
            assert!(
                text.starts_with(&std::format!("{line}\r\nHost: {host}\r\n")),
                "{text}"
            );
        }
        let proxied = Request {
            proxied: true,
            ..get("http://www.example/a")
        };
        let text = text(&proxied);
        assert!(text.starts_with("GET http://www.example/a HTTP/1.1\r\nHost: www.example\r\n"));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        use RequestError::*;
        let base = get("/");
        #[rustfmt::skip]
        let table = [
            (Request { method: "", ..base }, Method),
            (Request { method: "GE T", ..base }, Method),
            (Request { target: "", ..base }, Target),
            (Request { target: "health", ..base }, Target),
            (Request { target: "/a b", ..base }, Target),
            (Request { target: "/a\r\nX: y", ..base }, Target),
            (Request { target: "/a#b", ..base }, Target),
            (Request { target: "ftp://h/", ..base }, Target),
            (Request { target: "http:///x", ..base }, Authority),
            (Request { target: "http://u@h/x", ..base }, Authority),
            (Request { proxied: true, ..base }, Proxied),
            (Request { host: Some("a/b"), ..base }, Host),
            (Request { host: Some("a\r\n"), ..base }, Host),
            (Request { headers: "A: b", ..base }, Headers),
            (Request { headers: "A b\r\n", ..base }, Headers),
            (Request { headers: "A: b\nB: c\r\n", ..base }, Headers),
            (Request { headers: ": b\r\n", ..base }, Headers),
            (Request { headers: "Connection: close\r\n", ..base }, Made),
            (Request { headers: "A: b\r\ncontent-LENGTH: 1\r\n", ..base }, Made),
        ];
        for (request, error) in table {
            assert_eq!(request.check(), Err(error), "{request:?}");
        }
    }

    #[test]
    fn it_fits_or_says_so() {
        let whole = text(&get("/")).len();
        for room in 0..whole {
            assert!(get("/").write(&mut [0; 512][..room]).is_err(), "{room}");
        }
        assert_eq!(get("/").write(&mut [0; 512][..whole]), Ok(whole));
    }
}
