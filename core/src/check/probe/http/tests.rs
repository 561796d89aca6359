use super::*;
use crate::check::probe::laws::{TOKEN, verdict};
use crate::check::probe::{Found, Probe, Room, Scan, Spec};
use crate::check::{Reason, Verdict};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

fn address() -> SocketAddr {
    "192.0.2.1:80".parse().unwrap()
}

fn get() -> Http<'static> {
    Http::new(Request::get(address(), "/"))
}

fn body(pattern: Pattern<'static>) -> Http<'static> {
    Http {
        body: pattern,
        ..get()
    }
}

fn check(http: Http<'_>, answer: &str, expect: Result<(), Reason>) {
    let expect = match expect {
        Ok(()) => Verdict::Success,
        Err(reason) => Verdict::Failure(reason),
    };
    let got = verdict(&Spec::Http(&http), answer.as_bytes());
    assert_eq!(got, Some(expect), "{answer:?}");
}

#[test]
fn a_status_is_expected_or_not() {
    check(
        get(),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Ok(()),
    );
    check(get(), "HTTP/1.1 299\r\n\r\n", Ok(()));
    check(get(), "HTTP/1.0 200 OK\n\n", Ok(()));
    check(
        get(),
        "HTTP/1.1 503 Service Unavailable\r\n",
        Err(Reason::HttpStatus),
    );
    let http = Http {
        status: StatusSet::parse("200,401").unwrap(),
        ..get()
    };
    check(http, "HTTP/1.1 401 Unauthorized\r\n\r\n", Ok(()));
    check(
        http,
        "HTTP/1.1 204 No Content\r\n\r\n",
        Err(Reason::HttpStatus),
    );
}

#[test]
fn a_redirect_is_reported_and_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n";
    check(get(), answer, Err(Reason::HttpRedirect));
    let http = Http {
        status: StatusSet::only(302),
        headers: [
            Some(HeaderMatch {
                name: "location",
                value: Pattern::Prefix(b"http://elsewhere."),
            }),
            None,
        ],
        ..get()
    };
    check(http, answer, Ok(()));
}

#[test]
fn interim_responses_are_passed_over() {
    let http = body(Pattern::Exact(b"ok"));
    check(
        http,
        "HTTP/1.1 100 Continue\r\nServer: a\r\n\r\nHTTP/1.1 103 Early\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        Ok(()),
    );
    check(
        get(),
        "HTTP/1.1 101 Upgrade\r\n\r\n",
        Err(Reason::HttpStatus),
    );
}

#[test]
fn headers_are_matched_by_name_and_value() {
    let http = |name, value| Http {
        headers: [
            Some(HeaderMatch { name, value }),
            Some(HeaderMatch {
                name: "Server",
                value: Pattern::Any,
            }),
        ],
        ..get()
    };
    let answer = "HTTP/1.1 200 OK\r\nX-State: a\r\nserver:\r\nX-STATE: \t ready  now \t\r\n\r\n";
    check(
        http("x-state", Pattern::Exact(b"ready  now")),
        answer,
        Ok(()),
    );
    check(http("x-state", Pattern::Exact(b"a")), answer, Ok(()));
    for (name, value) in [
        ("x-state", Pattern::Exact(b"b")),
        ("x-stat", Pattern::Any),
        ("x-states", Pattern::Any),
        ("x-state", Pattern::Contains(b"a ready")),
    ] {
        check(http(name, value), answer, Err(Reason::HttpHeader));
    }
    let without = "HTTP/1.1 200 OK\r\nX-State: a\r\n\r\n";
    check(
        http("x-state", Pattern::Any),
        without,
        Err(Reason::HttpHeader),
    );
}

#[test]
fn content_ends_as_its_head_says() {
    let http = body(Pattern::Exact(b"hello"));
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, not mine",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\ncontent-length:5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=\"y\"\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip , CHUNKED\r\n\r\n05\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\n\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
    ] {
        check(http, answer, Ok(()));
    }
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n\r\no",
        "HTTP/1.1 204 No Content\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\n\r\nhello!",
    ] {
        check(http, answer, Err(Reason::HttpBody));
    }
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "",
    ] {
        check(http, answer, Err(Reason::Closed));
    }
}

#[test]
fn an_answer_to_head_has_no_content() {
    let http = Http {
        request: Request {
            method: "HEAD",
            keep_alive: true,
            ..get().request
        },
        ..get()
    };
    check(
        http,
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        Ok(()),
    );
}

/// It may tell the length of what it spares.
#[test]
fn not_modified_has_no_content() {
    let http = Http {
        status: StatusSet::only(304),
        ..kept("GET")
    };
    let answer = "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n";
    check(http, answer, Ok(()));
    assert!(reusable(http, &[answer]));
}

#[test]
fn what_is_no_response_is_malformed() {
    for answer in [
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 O\0K\r\n\r\n",
        "HTTP/1.1 200 OK\rX\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: x\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00000000000000001\r\na\r\n",
    ] {
        check(
            body(Pattern::Contains(b"zz")),
            answer,
            Err(Reason::HttpMalformed),
        );
    }
}

#[test]
fn limits_hold() {
    let http = Http {
        head_bytes_max: 40,
        body_bytes_max: 8,
        ..body(Pattern::Contains(b"ok"))
    };
    let fits = "HTTP/1.1 200 OK\r\n\r\n......ok and more";
    check(http, fits, Ok(()));
    check(
        http,
        "HTTP/1.1 200 OK\r\n\r\n.......ok",
        Err(Reason::HttpBodyTooLong),
    );
    let endless = String::from("HTTP/1.1 100 C\r\n\r\n").repeat(9);
    check(http, &endless, Err(Reason::HttpHeadTooLong));
    let extension = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    let http = Http {
        head_bytes_max: 100,
        ..http
    };
    let endless = std::format!("{extension}{}", "a".repeat(99));
    check(http, &endless, Err(Reason::HttpHeadTooLong));
}

#[test]
fn seesaw_compares_the_code_and_the_start_of_the_content() {
    let http = Http::seesaw(address(), "", "", 0, b"OK");
    assert_eq!((http.request.method, http.request.target), ("GET", "/"));
    check(
        http,
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nOK now",
        Ok(()),
    );
    check(
        http,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nO",
        Err(Reason::HttpBody),
    );
    check(http, "HTTP/1.1 201 C\r\n\r\nOK", Err(Reason::HttpStatus));
    let http = Http::seesaw(address(), "HEAD", "/x", 302, b"");
    check(http, "HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n", Ok(()));
}

/// What is known of reuse when `answer` came in these reads.
fn reusable(http: Http<'_>, reads: &[&str]) -> bool {
    let spec = Spec::Http(&http);
    let (out, keep) = (&mut [0; 256], &mut []);
    let (mut probe, _) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
    for read in reads {
        let _ = probe.handle_bytes(&spec, read.as_bytes(), &mut Room { out, keep });
    }
    probe.is_reusable(&spec)
}

fn kept(method: &'static str) -> Http<'static> {
    Http {
        request: Request {
            method,
            keep_alive: true,
            ..get().request
        },
        ..get()
    }
}

/// Seesaw keeps a connection for each response without content, for ever. Here
/// the owner is told that it can be used again; if not, it is closed.
#[test]
fn seesaw_defect_a_connection_after_head_is_used_again_or_closed() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert!(reusable(kept("HEAD"), &[answer]));
    assert!(!reusable(kept("GET"), &[answer]), "content is yet to come");
    assert!(reusable(kept("GET"), &["HTTP/1.1 204 No Content\r\n\r\n"]));
    let mut once = kept("HEAD");
    once.request.keep_alive = false;
    assert!(!reusable(once, &[answer]), "nobody asked for it");
}

#[test]
fn a_connection_is_used_again_only_when_all_agree() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert!(reusable(kept("GET"), &[ok]));
    // The verdict is there after the head; the rest may come later.
    let (head, rest) = ok.split_at(ok.len() - 1);
    assert!(!reusable(kept("GET"), &[head]));
    assert!(reusable(kept("GET"), &[head, rest]));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    assert!(reusable(kept("GET"), &[chunked]));
    let old = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n";
    assert!(reusable(kept("GET"), &[old]));
    for answer in [
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Upgrade\r\n\r\n",
    ] {
        assert!(!reusable(kept("GET"), &[answer]), "{answer:?}");
    }
}

#[test]
fn the_status_is_told() {
    let http = get();
    let spec = Spec::Http(&http);
    let (out, keep) = (&mut [0; 256], &mut []);
    let (mut probe, _) = Probe::begin(&spec, TOKEN, &mut Room { out, keep });
    assert_eq!(probe.http_status(), None);
    let bytes = b"HTTP/1.1 503 no\r\n";
    let _ = probe.handle_bytes(&spec, bytes, &mut Room { out, keep });
    assert_eq!(probe.http_status(), Some(503));
}

/// What nginx 1.22 and HAProxy 2.6 answered to these requests of ours.
#[test]
fn answers_of_real_servers() {
    let nginx = "Server: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 04:09:09 GMT\r\n";
    let plain = std::format!(
        "HTTP/1.1 200 OK\r\n{nginx}Content-Type: text/plain\r\nContent-Length: 12\r\n\
         Connection: keep-alive\r\n\r\nall OK here\n"
    );
    let head = std::format!(
        "HTTP/1.1 200 OK\r\n{nginx}Content-Type: text/html\r\nContent-Length: 6\r\n\
         Last-Modified: Sat, 21 Nov 2026 04:09:08 GMT\r\nConnection: keep-alive\r\n\
         ETag: \"6b011964-6\"\r\nAccept-Ranges: bytes\r\n\r\n"
    );
    let none = std::format!("HTTP/1.1 204 No Content\r\n{nginx}Connection: keep-alive\r\n\r\n");
    let chunked = std::format!(
        "HTTP/1.1 200 OK\r\n{nginx}Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n\
         6\r\nall OK\r\na\r\n in chunks\r\n0\r\n\r\n"
    );
    let moved = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: /x\r\ncache-control: no-cache\r\n\r\n";
    let monitor = "HTTP/1.1 200 OK\r\ncontent-length: 58\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\r\n\
         <html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n";
    let with = |method, body| Http {
        body,
        ..kept(method)
    };
    #[rustfmt::skip]
    let table = [
        (with("GET", Pattern::Contains(b"OK")), plain.as_str(), Ok(())),
        (with("GET", Pattern::Contains(b"KO")), plain.as_str(), Err(Reason::HttpBody)),
        (with("HEAD", Pattern::Any), head.as_str(), Ok(())),
        (with("GET", Pattern::Any), none.as_str(), Ok(())),
        (with("GET", Pattern::Exact(b"all OK in chunks")), chunked.as_str(), Ok(())),
        (with("GET", Pattern::Any), moved, Err(Reason::HttpRedirect)),
        (with("GET", Pattern::Contains(b"Service ready.")), monitor, Ok(())),
    ];
    for (http, answer, expect) in table {
        check(http, answer, expect);
        assert!(reusable(http, &[answer]), "{answer:?}");
    }
}

/// A head, and maybe a byte of it changed.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(Vec::from([
        "A",
        "Server",
        "content-length",
        "x_y!",
        "Connection",
    ]));
    let value = "[ \t]{0,2}[a-zA-Z0-9=;\\x80-\\xff ]{0,8}[ \t]{0,2}";
    let end = || prop::sample::select(Vec::from(["\r\n", "\r\n", "\r\n", "\n"]));
    let line =
        (name, value, end()).prop_map(|(name, value, end)| std::format!("{name}:{value}{end}"));
    let status = (0..1000_u16, "( [a-zA-Z ]{0,6})?", end())
        .prop_map(|(code, phrase, end)| std::format!("HTTP/1.1 {code:03}{phrase}{end}"));
    let change = prop::option::weighted(0.5, (0..60_usize, any::<u8>()));
    (status, prop::collection::vec(line, 0..4), end(), change).prop_map(
        |(status, lines, end, change)| {
            let mut head = Vec::from(std::format!("{status}{}{end}", lines.concat()));
            if let Some((at, byte)) = change {
                let at = at % head.len();
                head[at] = byte;
            }
            head
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Heads are what httparse says they are: whole, part of one, or none.
    #[test]
    fn heads_as_httparse_reads_them(head in heads(), cut in 0..200_usize) {
        let head = &head[..cut.min(head.len())];
        let mut fields = [httparse::EMPTY_HEADER; 8];
        let mut theirs = httparse::Response::new(&mut fields);
        let parsed = theirs.parse(head);
        // Empty lines before a response it passes over; no server sends them.
        prop_assume!(!matches!(head.first(), Some(b'\r' | b'\n')));
        // An interim head is theirs to return and ours to pass over.
        prop_assume!(!matches!(theirs.code, Some(100..=199)));
        // HTTP/0.9 aside, versions it knows and we do not speak end here.
        let server = HeaderMatch { name: "server", value: Pattern::Contains(b"a") };
        let spec = Http { status: StatusSet::range(0, 999), headers: [Some(server), None], ..get() };
        let mut response = Response::new(&spec);
        let got = response.feed(&spec, head);
        let length_lies = theirs.headers.iter().any(|field| {
            field.name.eq_ignore_ascii_case("content-length") || field.name.eq_ignore_ascii_case("transfer-encoding")
        });
        match parsed {
            Ok(httparse::Status::Complete(_)) if got == Some(Verdict::Failure(Reason::HttpMalformed)) => {
                prop_assert!(length_lies, "we refuse {:?}", head.escape_ascii().collect::<Vec<_>>());
            }
            Ok(httparse::Status::Complete(_)) => {
                prop_assert_eq!(response.status().unwrap_or(0), theirs.code.unwrap());
                let there = theirs.headers.iter().any(|field| {
                    field.name.eq_ignore_ascii_case("server") && field.value.contains(&b'a')
                });
                let expect = if there { Verdict::Success } else { Verdict::Failure(Reason::HttpHeader) };
                prop_assert_eq!(got, Some(expect));
            }
            Ok(httparse::Status::Partial) => prop_assert_eq!(got, None),
            Err(_) => prop_assert_eq!(got, Some(Verdict::Failure(Reason::HttpMalformed))),
        }
    }

    /// Content comes out of its framing as it went in.
    #[test]
    fn content_survives_its_framing(
        content in prop::collection::vec(any::<u8>(), 0..100),
        chunks in prop::collection::vec(1..20_usize, 1..6),
        chunked: bool,
        other in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut answer = Vec::from(&b"HTTP/1.1 200 OK\r\n"[..]);
        if chunked {
            answer.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let (mut rest, mut sizes) = (&content[..], chunks.iter().cycle());
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                answer.extend(std::format!("{:x}\r\n", chunk.len()).bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
                rest = after;
            }
            answer.extend(b"0\r\n\r\n");
        } else {
            answer.extend(std::format!("Content-Length: {}\r\n\r\n", content.len()).bytes());
            answer.extend(&content);
        }
        for expected in [&content, &other] {
            let pattern = Pattern::Exact(expected);
            let mut scan = Scan::new(pattern);
            prop_assert!(scan.feed(pattern, &content) != Found::Yes);
            let got = verdict(&Spec::Http(&Http { body: pattern, ..get() }), &answer);
            prop_assert_eq!(got == Some(Verdict::Success), *expected == content);
        }
    }
}
