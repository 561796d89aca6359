//! What is said on the connections of checks that speak HTTP: one script for all of
//! them, and the pages of the servers, which come in pieces.

use super::netlink::errno;
use super::random::Random;
use std::sync::OnceLock;
use trunnion_core::check::Kind;
use trunnion_core::check::probe::http::Request;
use trunnion_core::check::probe::{Http, Pattern, ScriptId, Scripts, Spec};
use trunnion_core::time::Duration;

/// What comes of a connection next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It stands.
    Connected,
    /// It is broken, with this errno.
    Failed(i32),
    /// The kernel takes more of what is sent.
    Writable,
    /// Bytes of the server's.
    Bytes(Vec<u8>),
    /// The server has ended its stream.
    End,
}

/// What a server that takes connections says when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What is expected.
    Ready,
    /// That it is not well.
    Unavailable,
    /// Another page.
    Wrong,
    /// Nothing that is HTTP.
    Garbage,
    /// Nothing, and it waits.
    Nothing,
    /// The right page, a byte now and then.
    Drips,
    /// A part of it, and the end of the stream.
    Part,
    /// It resets the connection.
    Resets,
    /// A part of it, and a reset.
    ResetsWithin,
}

impl Page {
    /// All that are not the right one.
    pub const BAD: [Self; 8] = [
        Self::Unavailable,
        Self::Wrong,
        Self::Garbage,
        Self::Nothing,
        Self::Drips,
        Self::Part,
        Self::Resets,
        Self::ResetsWithin,
    ];
}

/// The script of all checks that speak: a page with the word "ready".
pub fn kind() -> Kind {
    Kind::Stream(written().0)
}

/// All scripts.
pub fn scripts() -> Scripts<'static> {
    Scripts::from_words(&written().1)
}

fn written() -> &'static (ScriptId, Vec<u64>) {
    static WRITTEN: OnceLock<(ScriptId, Vec<u64>)> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let anywhere = ([0, 0, 0, 0], 0).into();
        let http = Http {
            body: Pattern::Contains(b"ready"),
            ..Http::new(Request::get(anywhere, "/health"))
        };
        let mut words = [0; 256];
        let len = Spec::Http(&http).write(None, &mut words);
        let words = &words[..len.expect("it is short")];
        let id = ScriptId::of(words);
        let mut all = vec![0; Scripts::words_for(1, words.len())];
        Scripts::write(&[(id, words)], &mut all).expect("it is as long");
        (id, all)
    })
}

/// Whether a request is whole; what is sent otherwise is ours to answer for.
///
/// # Panics
/// When it does not begin as it should.
pub fn is_whole(request: &[u8]) -> bool {
    let line = b"GET /health HTTP/1.1\r\n";
    let begun = request.len().min(line.len());
    assert_eq!(request[..begun], line[..begun], "this is no request");
    request.ends_with(b"\r\n\r\n")
}

/// What a server answers, each so long after the request or what came before.
pub fn answer(page: Page, r: &mut Random) -> Vec<(Duration, Came)> {
    const READY: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall ready",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n5\r\nready\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nall ready",
    ];
    let ready = r.pick(&READY);
    let half = &ready[..20];
    let (bytes, last): (&[u8], Option<Came>) = match page {
        Page::Ready => (ready, Some(Came::End)),
        Page::Unavailable => (b"HTTP/1.1 503 Down\r\nContent-Length: 5\r\n\r\nready", None),
        Page::Wrong => (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope", None),
        Page::Garbage => (b"\x16\x03\x01\x00ready\r\n\r\n", None),
        Page::Nothing => (b"", None),
        Page::Drips => {
            let drips = ready.iter().map(|byte| Came::Bytes(vec![*byte]));
            return drips
                .map(|drip| (Duration::from_millis(60), drip))
                .collect();
        }
        Page::Part => (half, Some(Came::End)),
        Page::Resets => (b"", Some(Came::Failed(errno::ECONNRESET))),
        Page::ResetsWithin => (half, Some(Came::Failed(errno::ECONNRESET))),
    };
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = u8::try_from(rest.len()).unwrap_or(u8::MAX);
        let len = if pieces.len() < 3 {
            r.small(1, most).into()
        } else {
            rest.len()
        };
        let (piece, others) = rest.split_at(len);
        pieces.push(Came::Bytes(piece.to_vec()));
        rest = others;
    }
    pieces.extend(last);
    let (least, most) = (Duration::from_micros(50), Duration::from_millis(1));
    pieces
        .into_iter()
        .map(|came| (r.time(least, most), came))
        .collect()
}
