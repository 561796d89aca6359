//! Send and expect: bytes to a target, and what must come back, over TCP or UDP.
//! Not a protocol: for those see the other probes.

use super::{Found, NO_ROOM, Pattern, Scan, Step, failure, success};
use crate::bytes::Writer;
use crate::check::Reason;

/// What to send and what to expect.
///
/// With [`Pattern::Prefix`] the rules are Seesaw's. TCP: with nothing to expect
/// the target is up once the bytes are sent, or at once when there are none to
/// send; else the first bytes must be equal. UDP: a datagram goes out even if it
/// is empty, and one must come back; with nothing to expect, any does.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Bytes to send; a target that speaks first needs none.
    pub send: &'a [u8],
    /// What must come back.
    pub receive: Pattern<'a>,
    /// Bytes of a stream that are looked at before it counts as a mismatch.
    pub limit_bytes: u32,
}

impl<'a> Expect<'a> {
    /// Reads at most 64 KiB.
    #[must_use]
    pub const fn new(send: &'a [u8], receive: Pattern<'a>) -> Self {
        Self {
            send,
            receive,
            limit_bytes: 64 << 10,
        }
    }

    pub(super) fn begin_stream(&self, out: &mut [u8]) -> (Progress, Step) {
        let progress = Progress {
            scan: Scan::new(self.receive),
            read: 0,
        };
        let step = if self.send.is_empty() {
            self.sent()
        } else {
            self.send(out)
        };
        (progress, step)
    }

    pub(super) fn begin_datagram(&self, out: &mut [u8]) -> Step {
        self.send(out)
    }

    pub(super) fn sent(&self) -> Step {
        match Scan::new(self.receive).found() {
            Found::Yes => success(),
            Found::Open | Found::No => Step::More,
        }
    }

    pub(super) fn stream(&self, progress: &mut Progress, bytes: &[u8]) -> Step {
        let left = self.limit_bytes.saturating_sub(progress.read);
        let (bytes, over) = match bytes.split_at_checked(left as usize) {
            Some((bytes, rest)) => (bytes, !rest.is_empty()),
            None => (bytes, false),
        };
        let read = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        progress.read = progress.read.saturating_add(read);
        match progress.scan.feed(self.receive, bytes) {
            Found::Yes => success(),
            Found::No => failure(Reason::Mismatch),
            Found::Open if over => failure(Reason::Mismatch),
            Found::Open => Step::More,
        }
    }

    pub(super) const fn end(&self, progress: &Progress) -> Step {
        if progress.scan.end(self.receive) {
            success()
        } else if progress.read == 0 {
            failure(Reason::Closed)
        } else {
            failure(Reason::Mismatch)
        }
    }

    pub(super) fn datagram(&self, bytes: &[u8]) -> Step {
        let mut scan = Scan::new(self.receive);
        scan.feed(self.receive, bytes);
        if scan.end(self.receive) {
            success()
        } else {
            failure(Reason::Mismatch)
        }
    }

    fn send(&self, out: &mut [u8]) -> Step {
        let mut w = Writer::new(out);
        w.bytes(self.send);
        w.finish().map_or(NO_ROOM, |sent| Step::Send(sent.len()))
    }
}

/// How far an answer on a stream is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    scan: Scan,
    read: u32,
}

#[cfg(test)]
mod tests {
    use super::super::laws::{run, verdict};
    use super::super::{Probe, Room, Spec, Token};
    use super::*;
    use crate::check::{Local, Verdict};

    const TOKEN: Token = Token {
        id: 7,
        secret: [7; 16],
    };

    fn begin(spec: &Spec<'_>, out: &mut [u8]) -> (Probe, Step) {
        let keep = &mut [];
        Probe::begin(spec, TOKEN, &mut Room { out, keep })
    }

    fn stream(send: &'static [u8], receive: Pattern<'static>) -> Spec<'static> {
        Spec::Stream(Expect::new(send, receive))
    }

    fn datagram(send: &'static [u8], receive: Pattern<'static>) -> Spec<'static> {
        Spec::Datagram(Expect::new(send, receive))
    }

    #[test]
    fn a_connection_alone_is_enough_when_nothing_is_asked() {
        let (mut probe, step) = begin(&stream(b"", Pattern::Any), &mut []);
        assert_eq!(step, success());
        // What comes later changes nothing.
        let mut room = Room {
            out: &mut [],
            keep: &mut [],
        };
        let spec = stream(b"", Pattern::Any);
        assert_eq!(probe.handle_bytes(&spec, b"x", &mut room), success());
        assert_eq!(probe.handle_end(&spec), success());
    }

    #[test]
    fn seesaw_tcp_send_without_receive_succeeds_once_written() {
        let spec = stream(b"PING\r\n", Pattern::Prefix(b""));
        let mut out = [0xa5; 16];
        let (mut probe, step) = begin(&spec, &mut out);
        assert_eq!(step, Step::Send(6));
        assert_eq!(&out[..7], b"PING\r\n\xa5");
        assert_eq!(probe.handle_sent(&spec), success());
    }

    #[test]
    fn seesaw_tcp_compares_the_first_bytes() {
        let spec = stream(b"PING\r\n", Pattern::Prefix(b"+PONG"));
        let mismatch = Some(Verdict::Failure(Reason::Mismatch));
        assert_eq!(
            verdict(&spec, b"+PONG\r\n and more"),
            Some(Verdict::Success)
        );
        assert_eq!(verdict(&spec, b"-ERR"), mismatch);
        assert_eq!(
            verdict(&spec, b"+PON"),
            mismatch,
            "ended before it was all there"
        );
        assert_eq!(verdict(&spec, b""), Some(Verdict::Failure(Reason::Closed)));
        let (mut probe, _) = begin(&spec, &mut [0; 16]);
        assert_eq!(probe.handle_sent(&spec), Step::More, "the answer decides");
    }

    #[test]
    fn a_substring_is_looked_for_up_to_the_limit() {
        let spec = Spec::Stream(Expect {
            limit_bytes: 8,
            ..Expect::new(b"", Pattern::Contains(b"ready"))
        });
        assert_eq!(verdict(&spec, b"...ready"), Some(Verdict::Success));
        let mismatch = Some(Verdict::Failure(Reason::Mismatch));
        assert_eq!(verdict(&spec, b"....ready"), mismatch);
        assert_eq!(
            run(&spec, b"........", &[3], false),
            None,
            "it may end here"
        );
    }

    #[test]
    fn a_stream_beyond_the_limit_is_not_waited_for() {
        let spec = Spec::Stream(Expect {
            limit_bytes: 8,
            ..Expect::new(b"", Pattern::Contains(b"ready"))
        });
        let mismatch = Some(Verdict::Failure(Reason::Mismatch));
        assert_eq!(run(&spec, b".........", &[3], false), mismatch);
    }

    #[test]
    fn seesaw_udp_needs_a_datagram_back() {
        // An empty datagram goes out, and an empty one is an answer.
        let spec = datagram(b"", Pattern::Prefix(b""));
        let (mut probe, step) = begin(&spec, &mut []);
        assert_eq!(step, Step::Send(0));
        assert_eq!(probe.handle_sent(&spec), Step::More, "sent is not answered");
        assert_eq!(probe.handle_timeout(), Reason::TimedOut);
        assert_eq!(verdict(&spec, b""), Some(Verdict::Success));
        assert_eq!(verdict(&spec, b"anything"), Some(Verdict::Success));
    }

    #[test]
    fn seesaw_udp_compares_the_start_of_one_datagram() {
        let spec = datagram(b"q", Pattern::Prefix(b"ok"));
        assert_eq!(verdict(&spec, b"ok then"), Some(Verdict::Success));
        for wrong in [&b"o"[..], b"", b"no"] {
            let got = verdict(&spec, wrong);
            assert_eq!(got, Some(Verdict::Failure(Reason::Mismatch)), "{wrong:?}");
        }
    }

    #[test]
    fn a_request_without_room_says_nothing_about_the_target() {
        for spec in [
            stream(b"12345", Pattern::Any),
            datagram(b"12345", Pattern::Any),
        ] {
            let (_, step) = begin(&spec, &mut [0; 4]);
            assert_eq!(step, Step::Verdict(Verdict::Indeterminate(Local::Room)));
        }
    }
}
