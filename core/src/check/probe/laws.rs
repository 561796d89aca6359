//! What must hold of probes for any bytes: the laws the fuzz targets and the
//! property tests run.

use super::dns::{self, Dns, Rcode, RecordType};
use super::http::{HeaderMatch, Http, Request, StatusSet};
use super::radius::{self, Radius};
use super::{Agent, Expect, Grpc, Pattern, Probe, Regex, Room, Spec, Step, Token, Transport};
use crate::bytes::{NetworkEndian, Writer};
use crate::check::Verdict;
use core::net::Ipv4Addr;

/// Bytes lent to a probe in these laws: every request fits, and what is kept.
const LENT_BYTES: usize = 16_384;

/// The token of every probe here.
pub const TOKEN: Token = Token {
    id: 0x1234,
    secret: *b"sixteen bytes...",
};

/// What a target that says `answer` and then ends the stream gets for it,
/// whichever way the bytes are cut.
///
/// # Panics
/// When a law is broken.
pub fn verdict(spec: &Spec<'_>, answer: &[u8]) -> Option<Verdict> {
    same_for_any_split(spec, answer, &[7, 1, 30])
}

/// The same for a split of the fuzzer's choice.
///
/// # Panics
/// When a law is broken.
pub fn same_for_any_split(spec: &Spec<'_>, answer: &[u8], cuts: &[u8]) -> Option<Verdict> {
    let whole = run(spec, answer, &[], true);
    match spec.transport() {
        Transport::Stream => {
            assert!(whole.is_some(), "the end of a stream is a verdict");
            let open = run(spec, answer, &[], false);
            for cuts in [&[1][..], cuts] {
                assert!(run(spec, answer, cuts, true) == whole, "cut differently");
                assert!(run(spec, answer, cuts, false) == open, "cut, and open");
            }
        }
        Transport::Datagram | Transport::Errand => {}
    }
    whole
}

/// Plays one target: `answer` comes in reads of `cuts` bytes, over and over, or
/// all at once when there are none; then the stream ends, if it does.
///
/// # Panics
/// When a probe writes more than it was lent or changes its mind.
pub fn run(spec: &Spec<'_>, answer: &[u8], cuts: &[u8], ends: bool) -> Option<Verdict> {
    let (out, keep) = (&mut [0; LENT_BYTES], &mut [0; LENT_BYTES]);
    let keep = keep.get_mut(..spec.keep_bytes()).unwrap_or_default();
    let (mut probe, step) = Probe::begin(spec, TOKEN, &mut Room { out, keep });
    let mut end = sent(&mut probe, spec, step, LENT_BYTES);
    let out = out.get_mut(..Room::OUT_BYTES).unwrap_or_default();
    let mut rest = answer;
    let mut cuts = cuts.iter().cycle();
    loop {
        let len = cuts
            .next()
            .map_or(rest.len(), |cut| usize::from(*cut).max(1));
        let (bytes, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        rest = after;
        let step = probe.handle_bytes(spec, bytes, &mut Room { out, keep });
        end = settled(end, step);
        end = end.or(sent(&mut probe, spec, step, Room::OUT_BYTES));
        if rest.is_empty() || spec.transport() == Transport::Datagram {
            break;
        }
    }
    if ends && spec.transport() == Transport::Stream {
        let step = probe.handle_end(spec);
        end = settled(end, step);
        end = end.or(sent(&mut probe, spec, step, 0));
    }
    end
}

/// A verdict that was given stays.
fn settled(end: Option<Verdict>, step: Step) -> Option<Verdict> {
    let same = end.is_none_or(|verdict| step == Step::Verdict(verdict));
    assert!(same, "changed its mind");
    end
}

/// Writes what a step says, as the owner does; the verdict, if it is one.
fn sent(probe: &mut Probe, spec: &Spec<'_>, step: Step, most: usize) -> Option<Verdict> {
    let step = match step {
        Step::Send(bytes) => {
            assert!(bytes <= most, "more is sent than was lent");
            probe.handle_sent(spec)
        }
        Step::More | Step::OverTcp | Step::Verdict(_) => step,
    };
    match step {
        Step::Verdict(verdict) => Some(verdict),
        Step::More | Step::OverTcp | Step::Send(_) => None,
    }
}

/// Takes a fuzzer's bytes apart: a choice, cuts, the answer.
fn parts(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (choice, rest) = bytes.split_first()?;
    let (cuts, answer) = rest.split_at_checked(4)?;
    Some((*choice, cuts, answer))
}

/// Send and expect against any answer.
///
/// # Panics
/// When a law is broken.
pub fn expect(bytes: &[u8]) {
    let Some((choice, cuts, answer)) = parts(bytes) else {
        return;
    };
    let regex = Regex::new("^(a|bc)*d|x{2,}$");
    let pattern = match (choice & 7, &regex) {
        (0, _) => Pattern::Any,
        (1, _) => Pattern::Exact(b"abab"),
        (2, _) => Pattern::Prefix(b"aab"),
        (3 | 4, _) => Pattern::Contains(b"aabaab"),
        (_, Ok(regex)) => Pattern::Regex(regex),
        (_, Err(_)) => return,
    };
    let expect = Expect {
        limit_bytes: 64,
        ..Expect::new(b"hello", pattern)
    };
    same_for_any_split(&Spec::Stream(expect), answer, cuts);
    same_for_any_split(&Spec::Datagram(expect), answer, cuts);
}

/// Any text as a pattern, over any bytes.
///
/// # Panics
/// When a law is broken.
pub fn regex(bytes: &[u8]) {
    let (pattern, text) = bytes
        .iter()
        .position(|byte| *byte == 0)
        .and_then(|at| bytes.split_at_checked(at))
        .unwrap_or((bytes, &[]));
    let Ok(pattern) = core::str::from_utf8(pattern) else {
        return;
    };
    match Regex::new(pattern) {
        Ok(regex) => {
            let whole = regex.is_match(text);
            let pattern = Pattern::Regex(&regex);
            let mut scan = super::Scan::new(pattern);
            for byte in text {
                scan.feed(pattern, core::slice::from_ref(byte));
            }
            assert!(scan.end(pattern) == whole, "cut differently");
        }
        Err(error) => {
            let end = pattern.len().saturating_add(1);
            assert!((1..=end).contains(&error.column), "the fault lies inside");
        }
    }
}

/// An HTTP check against any response.
///
/// # Panics
/// When a law is broken.
pub fn http(bytes: &[u8]) {
    let Some((choice, cuts, answer)) = parts(bytes) else {
        return;
    };
    let address = (Ipv4Addr::LOCALHOST, 80).into();
    let request = Request {
        method: if choice & 1 == 0 { "GET" } else { "HEAD" },
        keep_alive: true,
        ..Request::get(address, "/")
    };
    let header = HeaderMatch {
        name: "Server",
        value: Pattern::Contains(b"x y"),
    };
    let http = Http {
        status: StatusSet::range(200, if choice & 2 == 0 { 299 } else { 499 }),
        headers: [(choice & 4 != 0).then_some(header), None],
        body: match choice & 24 {
            0 => Pattern::Any,
            8 => Pattern::Prefix(b"ok"),
            16 => Pattern::Exact(b"ok"),
            _ => Pattern::Contains(b"ok"),
        },
        head_bytes_max: 200,
        body_bytes_max: 20,
        ..Http::new(request)
    };
    same_for_any_split(&Spec::Http(&http), answer, cuts);
}

/// A DNS check against any answer, which begins as one to this question if the
/// fuzzer wants it so.
///
/// # Panics
/// When a law is broken.
pub fn dns(bytes: &[u8]) {
    let Some((choice, cuts, rest)) = parts(bytes) else {
        return;
    };
    let records = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::MX,
        RecordType::TXT,
        RecordType::CNAME,
    ];
    let record = *records
        .get(usize::from(choice & 7))
        .unwrap_or(&RecordType::A);
    let expected = match record {
        RecordType::A => dns::Expected::Address(Ipv4Addr::LOCALHOST.into()),
        RecordType::TXT => dns::Expected::Text(Pattern::Contains(b"ok")),
        RecordType::MX | RecordType::CNAME => dns::Expected::Name("b.c"),
        RecordType(_) => dns::Expected::Record,
    };
    let mut dns = Dns {
        expected,
        rcode: Rcode(choice >> 7),
        ..Dns::new("a.b", record)
    };
    let mut message = [0; 512];
    let head = [
        0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, 1, b'a', 1, b'b', 0,
    ];
    let mut w = Writer::new(&mut message);
    if choice & 8 != 0 {
        w.bytes(&head);
        w.u16::<NetworkEndian>(record.0);
        w.u16::<NetworkEndian>(1);
    }
    w.bytes(rest.get(..400).unwrap_or(rest));
    let Ok(message) = w.finish() else {
        return;
    };
    same_for_any_split(&Spec::Dns(&dns), message, cuts);
    dns.transport = Transport::Stream;
    let mut stream = [0; 600];
    let mut w = Writer::new(&mut stream);
    w.u16::<NetworkEndian>(u16::try_from(message.len()).unwrap_or(0));
    w.bytes(message);
    if let Ok(stream) = w.finish() {
        same_for_any_split(&Spec::Dns(&dns), stream, cuts);
    }
    same_for_any_split(&Spec::Dns(&dns), rest, cuts);
}

/// An agent that says anything.
///
/// # Panics
/// When a law is broken.
pub fn agent(bytes: &[u8]) {
    if let Some((choice, cuts, line)) = parts(bytes) {
        let send: &[u8] = if choice & 1 == 0 { b"" } else { b"x" };
        same_for_any_split(&Spec::Agent(Agent { send }), line, cuts);
    }
}

/// A RADIUS check against any answer: none is ours without the secret.
///
/// # Panics
/// When a law is broken.
pub fn radius(bytes: &[u8]) {
    let Some((choice, _, rest)) = parts(bytes) else {
        return;
    };
    let mut answer = [0; 512];
    let mut w = Writer::new(&mut answer);
    w.bytes(&[choice >> 4, 0x34]);
    w.u16::<NetworkEndian>(u16::try_from(rest.len().saturating_add(4)).unwrap_or(0));
    w.bytes(rest);
    let radius = Radius {
        expected: radius::Expected::Any,
        ..Radius::access(b"secret", "user", b"password")
    };
    let spec = Spec::Radius(&radius);
    for answer in [w.finish().unwrap_or_default(), bytes] {
        assert!(
            run(&spec, answer, &[], false).is_none(),
            "decided by a forgery"
        );
    }
}

/// A gRPC health check against any answer; half of them begin with settings, so
/// that something comes after.
///
/// # Panics
/// When a law is broken.
pub fn grpc(bytes: &[u8]) {
    let Some((choice, cuts, rest)) = parts(bytes) else {
        return;
    };
    let grpc = Grpc {
        authority: "a",
        service: "",
        tls: false,
    };
    let mut answer = [0; 1024];
    let mut w = Writer::new(&mut answer);
    if choice & 1 == 0 {
        w.bytes(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    }
    w.bytes(rest.get(..1000).unwrap_or(rest));
    if let Ok(answer) = w.finish() {
        same_for_any_split(&Spec::Grpc(grpc), answer, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn any_answer_to_expect(bytes in prop::collection::vec(
            prop_oneof![4 => b'a'..=b'd', 1 => Just(b'x'), 1 => any::<u8>()], 0..80)) {
            expect(&bytes);
        }

        /// Pieces of responses in any order.
        #[test]
        fn any_answer_to_http(
            choice: u8, cuts: [u8; 4],
            pieces in prop::collection::vec(prop::sample::select(Vec::from([
                "HTTP/1.1 200 OK\r\n", "HTTP/1.0 204\n", "HTTP/1.1 100 C\r\n\r\n", "HTTP/1.1 404 x\r\n",
                "Content-Length: 2\r\n", "content-length: 2, 2\n", "Content-Length: 3\r\n",
                "Transfer-Encoding: gzip, Chunked\r\n", "Transfer-Encoding: x\r\n", "Server:  x y \r\n",
                "Connection: keep-alive, close\r\n", "\r\n", "\n", "ok", "2\r\nok\r\n", "1;a=b\r\no\r\n",
                "0\r\n", "0\r\nA: b\r\n\r\n", "\0", "kkkkkkkkkkkkkkkkkkkkkkk", ": ", "\r",
            ])), 0..12),
            flip in prop::option::weighted(0.2, (0..100_usize, any::<u8>())),
        ) {
            let mut bytes = Vec::from([choice]);
            bytes.extend(cuts);
            bytes.extend(pieces.concat().bytes());
            if let Some((at, with)) = flip {
                let at = at % bytes.len();
                bytes[at] ^= with;
            }
            http(&bytes);
        }

        #[test]
        fn any_answer_to_dns(bytes in prop::collection::vec(
            prop_oneof![prop::sample::select(Vec::from([0_u8, 1, 5, 12, 13, 14, 0xc0, b'a', b'b'])), any::<u8>()], 0..90)) {
            dns(&bytes);
        }

        #[test]
        fn any_agent(
            head: [u8; 5],
            words in prop::collection::vec(prop::sample::select(Vec::from([
                "up", "down", "#", " ", ",", "75%", "\r", "\n", "maint", "\t", "x", "\0",
            ])), 0..12),
        ) {
            let mut bytes = Vec::from(head);
            bytes.extend(words.concat().bytes());
            agent(&bytes);
        }

        #[test]
        fn any_answer_to_radius(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            radius(&bytes);
        }

        #[test]
        fn any_answer_to_grpc(
            head: [u8; 5],
            frames in prop::collection::vec(
                (prop::sample::select(Vec::from([0_u8, 1, 3, 4, 6, 7, 9, 8])), 0..64_u8, 0..2_u8,
                 prop::collection::vec(prop_oneof![Just(0_u8), Just(8), Just(0x88), any::<u8>()], 0..12)), 0..6),
        ) {
            let mut bytes = Vec::from(head);
            for (kind, flags, stream, payload) in frames {
                let len = u8::try_from(payload.len()).unwrap();
                bytes.extend([0, 0, len, kind, flags, 0, 0, 0, stream]);
                bytes.extend(payload);
            }
            grpc(&bytes);
        }

        #[test]
        fn any_pattern(bytes in "[ab(){}|*+?0-9,.\\[\\]^$\\\\\\x00]{0,20}") {
            regex(bytes.as_bytes());
        }
    }
}
