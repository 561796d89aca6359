use super::*;
use crate::check::probe::laws::{TOKEN, verdict};
use crate::check::probe::{Probe, Room, Spec};
use crate::check::{Reason, Verdict};
use std::vec::Vec;

const GRPC: Grpc<'_> = Grpc {
    authority: "127.0.0.1:50051",
    service: "",
    tls: false,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn check(answer: &[u8], expect: Result<(), Reason>) {
    let expect = match expect {
        Ok(()) => Verdict::Success,
        Err(reason) => Verdict::Failure(reason),
    };
    assert_eq!(
        verdict(&Spec::Grpc(GRPC), answer),
        Some(expect),
        "{answer:02x?}"
    );
}

/// A frame made by hand.
fn made(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = Vec::from(&length[1..]);
    frame.extend([kind, flags, 0, 0, 0, stream]);
    frame.extend(payload);
    frame
}

/// What a grpcio 1.85 server says before it answers the call of
/// [`the_bytes_of_a_call`]: settings, window, acknowledgement, window, ping.
const HELLO: &str = "
    000018 04 00 00000000  0004 00400000  0005 00400000  0006 00004000  fe03 00000001
    000004 08 00 00000000  003f0001
    000000 04 01 00000000
    000004 08 00 00000000  00000005
    000008 06 00 00000000  2317a0adb9f29a8a";
/// Its header block: a new size of the table, 200, content-type and
/// grpc-accept-encoding with indexing.
const HEADERS: &str = "
    00004f 01 04 00000001
    2088400c636f6e74656e742d74797065106170706c69636174696f6e2f67727063
    4014677270632d6163636570742d656e636f64696e67176964656e746974792c206465666c6174652c20677a6970";
const SERVING_MESSAGE: &str = "000007 00 00 00000001  00 00000002 0801";
const NOT_SERVING_MESSAGE: &str = "000007 00 00 00000001  00 00000002 0802";
const NO_MESSAGE: &str = "000005 00 00 00000001  00 00000000";
/// grpc-status 0 and an empty grpc-message.
const TRAILERS: &str = "
    00001e 01 05 00000001
    400b677270632d7374617475730130 000c677270632d6d65737361676500";
const TRAILERS_NOT_FOUND: &str = "
    00001e 01 05 00000001
    400b677270632d7374617475730135 000c677270632d6d65737361676500";
/// Of a server without a health service: 200 and grpc-status 12 at once.
const UNIMPLEMENTED: &str = "
    000051 01 05 00000001
    2088400c636f6e74656e742d74797065106170706c69636174696f6e2f67727063
    400b677270632d737461747573023132
    000c677270632d6d657373616765114d6574686f64206e6f7420666f756e6421";

fn answer(parts: &[&str]) -> Vec<u8> {
    hex(&parts.concat())
}

/// These bytes a grpcio server took and answered as below.
#[test]
fn the_bytes_of_a_call() {
    let mut out = [0xa5; 512];
    let expect = hex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a
         00000c 04 00 00000000  0001 00000000  0002 00000000
         00005c 01 04 00000001  83 86
         04 1c 2f677270632e6865616c74682e76312e4865616c74682f436865636b
         01 0f 3132372e302e302e313a3530303531
         0f10 10 6170706c69636174696f6e2f67727063
         00 02 7465 08 747261696c657273
         0f2b 08 7472756e6e696f6e
         000005 00 01 00000001  00 00000000");
    assert_eq!(GRPC.begin(&mut out).1, Step::Send(expect.len()));
    assert_eq!(out[..expect.len()], expect);
    let named = Grpc {
        service: "svc",
        ..GRPC
    };
    let end = hex("00000a 00 01 00000001  00 00000005 0a03 737663");
    assert_eq!(named.begin(&mut out).1, Step::Send(expect.len() + 5));
    assert_eq!(out[expect.len() - 14..][..end.len()], end);
    for room in 0..expect.len() {
        assert_eq!(GRPC.begin(&mut out[..room]).1, NO_ROOM);
    }
}

#[test]
fn long_names_have_long_lengths() {
    let long = "s".repeat(TEXT_BYTES_MAX);
    let grpc = Grpc {
        authority: &long,
        service: &long,
        tls: true,
    };
    assert_eq!(grpc.check(), Ok(()));
    let mut out = [0; 1024];
    let Step::Send(len) = grpc.begin(&mut out).1 else {
        panic!("nothing to send");
    };
    // After the preface and the settings: the header block.
    let block = usize::from(u16::from_be_bytes([out[46], out[47]]));
    let headers = ::hpack::Decoder::new()
        .decode(&out[54..54 + block])
        .unwrap();
    let has = |name: &[u8], value: &[u8]| headers.iter().any(|(n, v)| n == name && v == value);
    assert!(has(b":authority", long.as_bytes()));
    assert!(has(b":scheme", b"https") && has(b":method", b"POST"));
    assert!(has(b"te", b"trailers") && has(b"user-agent", b"trunnion"));
    assert!(has(b"content-type", b"application/grpc"));
    let data = &out[54 + block..len];
    assert_eq!(data[9..17], [0, 0, 0, 1, 0, 0x0a, 0xfd, 0x01]);
    assert_eq!(&data[17..], long.as_bytes());
    let longer = "s".repeat(TEXT_BYTES_MAX + 1);
    for (authority, service) in [("", ""), ("a b", ""), (&longer, ""), ("a", &longer)] {
        let grpc = Grpc {
            authority,
            service,
            tls: false,
        };
        assert_eq!(grpc.check(), Err(GrpcError));
    }
}

#[test]
fn answers_of_a_real_server() {
    let table: [(&[&str], Result<(), Reason>); 5] = [
        (&[HELLO, HEADERS, SERVING_MESSAGE, TRAILERS], Ok(())),
        (
            &[HELLO, HEADERS, NOT_SERVING_MESSAGE, TRAILERS],
            Err(Reason::GrpcNotServing),
        ),
        (
            &[HELLO, HEADERS, NO_MESSAGE, TRAILERS_NOT_FOUND],
            Err(Reason::GrpcStatus),
        ),
        (&[HELLO, UNIMPLEMENTED], Err(Reason::GrpcStatus)),
        (&[HELLO, HEADERS, SERVING_MESSAGE], Err(Reason::Closed)),
    ];
    for (parts, expect) in table {
        check(&answer(parts), expect);
    }
    let whole = answer(&[HELLO, HEADERS, SERVING_MESSAGE, TRAILERS]);
    for cut in 0..whole.len() {
        check(&whole[..cut], Err(Reason::Closed));
    }
}

#[test]
fn settings_and_pings_are_acknowledged() {
    let spec = Spec::Grpc(GRPC);
    let (out, keep) = (&mut [0xa5; 512], &mut [0; Grpc::KEEP_BYTES]);
    let (mut probe, _) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
    let hello = hex(HELLO);
    let step = probe.handle_bytes(&spec, &hello, &mut Room { out, keep });
    let expect = hex("000000 04 01 00000000  000008 06 01 00000000 2317a0adb9f29a8a");
    assert_eq!(step, Step::Send(expect.len()));
    assert_eq!(out[..expect.len()], expect);
    // A server that pings for ever is not waited for.
    let ping = made(kind::PING, 0, 0, &[7; 8]);
    for _ in 0..4 {
        let step = probe.handle_bytes(&spec, &ping, &mut Room { out, keep });
        assert_eq!(step, Step::Send(17));
    }
    let step = probe.handle_bytes(&spec, &ping, &mut Room { out, keep });
    let verdict = Verdict::Failure(Reason::Http2TooLong);
    assert_eq!(step, Step::Verdict(verdict));
}

/// The answer in all the shapes HTTP/2 lets it have.
#[test]
fn padding_priority_and_continuation() {
    let mut bytes = hex(HELLO);
    let block = b"\x88\x10\x0bgrpc-status\x010";
    let mut first = Vec::from([3, 0, 0, 0, 0, 9]);
    first.extend(&block[..4]);
    first.extend([0; 3]);
    bytes.extend(made(
        kind::HEADERS,
        flag::PADDED | flag::PRIORITY,
        1,
        &first,
    ));
    bytes.extend(made(kind::CONTINUATION, 0, 1, &block[4..9]));
    bytes.extend(made(kind::CONTINUATION, flag::END_HEADERS, 1, &block[9..]));
    bytes.extend(made(kind::DATA, flag::PADDED, 1, &[1, 0, 0, 0, 0, 0]));
    bytes.extend(made(42, 0xff, 99, b"an extension is passed over"));
    // Fields that are not known, before and after the status; the length of the
    // message is cut in two by the frames.
    let last = [10, 0x12, 1, b'x', 8, 1, 0x1d, 0, 0, 0, 0];
    bytes.extend(made(kind::DATA, flag::END_STREAM, 1, &last));
    check(&bytes, Ok(()));
}

#[test]
fn what_is_no_answer_is_named() {
    let hello = hex("000000 04 00 00000000");
    let after = |frames: &[Vec<u8>]| {
        let mut bytes = hello.clone();
        bytes.extend(frames.concat());
        bytes
    };
    check(
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        Err(Reason::Http2Malformed),
    );
    for frame in [
        made(kind::SETTINGS, flag::ACK, 0, &[]),
        made(kind::PING, 0, 0, &[0; 8]),
    ] {
        check(&frame, Err(Reason::Http2Malformed));
    }
    let trailers = |block: &[u8]| {
        made(
            kind::HEADERS,
            flag::END_HEADERS | flag::END_STREAM,
            1,
            block,
        )
    };
    for frame in [
        made(kind::SETTINGS, 0, 0, &[0; 5]),
        made(kind::SETTINGS, 0, 1, &[]),
        made(kind::SETTINGS, flag::ACK, 0, &[0; 6]),
        made(kind::PING, 0, 0, &[0; 7]),
        made(kind::GOAWAY, 0, 0, &[0; 7]),
        made(kind::PUSH_PROMISE, 0, 1, &[0; 4]),
        made(kind::DATA, 0, 3, &[]),
        made(kind::HEADERS, 0, 2, &[]),
        made(kind::CONTINUATION, 0, 1, &[]),
        made(kind::DATA, flag::PADDED, 1, &[1]),
        made(kind::DATA, flag::PADDED, 1, &[]),
        trailers(&[0xbe]),
        made(99, 0, 0, &[0; 16_385]),
        [
            made(kind::HEADERS, 0, 1, &[0x88]),
            made(kind::DATA, 0, 1, &[]),
        ]
        .concat(),
    ] {
        check(&after(&[frame]), Err(Reason::Http2Malformed));
    }
    let refused = [
        made(kind::RST_STREAM, 0, 1, &[0, 0, 0, 7]),
        made(kind::GOAWAY, 0, 0, &[0; 8]),
    ];
    for frame in refused {
        check(&after(&[frame]), Err(Reason::Http2Refused));
    }
    let goodbye = made(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    let ok = hex(&[HEADERS, SERVING_MESSAGE, TRAILERS].concat());
    check(&after(&[goodbye, ok]), Ok(()));
    let long = made(kind::HEADERS, 0, 1, &[0; HEADERS_BYTES_MAX]);
    let more = made(kind::CONTINUATION, 0, 1, &[0]);
    check(&after(&[long, more]), Err(Reason::Http2TooLong));
    let endless = made(99, 0, 0, &[0; 16_384]).repeat(5);
    check(&after(&[endless]), Err(Reason::Http2TooLong));
    for block in [&b"\x88"[..], b"\x10\x0bgrpc-status\x010"] {
        check(&after(&[trailers(block)]), Err(Reason::GrpcMalformed));
    }
    check(
        &after(&[trailers(b"\x8d\x10\x0bgrpc-status\x010")]),
        Err(Reason::HttpStatus),
    );
    let message = |message: &[u8]| {
        let headers = made(kind::HEADERS, flag::END_HEADERS, 1, &[0x88]);
        let data = made(kind::DATA, 0, 1, message);
        after(&[headers, data, trailers(b"\x10\x0bgrpc-status\x010")])
    };
    for bad in [
        &[][..],
        &[0, 0, 0, 0, 3, 8, 1],
        &[1, 0, 0, 0, 2, 8, 1],
        &[0, 0, 0, 0, 1, 8],
        &[0, 0, 0, 0, 2, 11, 1],
        &[0; MESSAGE_BYTES_MAX + 1],
    ] {
        check(&message(bad), Err(Reason::GrpcMalformed));
    }
    check(&message(&[0, 0, 0, 0, 0]), Err(Reason::GrpcNotServing));
    check(&message(&[0, 0, 0, 0, 4, 8, 2, 8, 1]), Ok(()));
}
