use super::*;
use crate::check::probe::http::{HeaderMatch, Http, Request, StatusSet};
use crate::check::probe::outside::{Command, Errand};
use crate::check::probe::{Agent, Dns, Expect, Grpc, Pattern, Ping, Radius, Regex, Transport, dns};
use core::net::SocketAddr;
use std::vec::Vec;
use std::{format, vec};

fn target() -> SocketAddr {
    "[2001:db8::7]:8080".parse().unwrap()
}

fn written(spec: &Spec<'_>, tls: Option<TlsId>) -> Vec<u64> {
    let mut out = vec![0xa5a5_a5a5_a5a5_a5a5; SCRIPT_WORDS_MAX];
    let words = spec.write(tls, &mut out).unwrap();
    out.truncate(words);
    out
}

/// What is read is what was written: it looks the same, and is written the same
/// again.
fn check(spec: &Spec<'_>) {
    for tls in [None, Some(TlsId(0)), Some(TlsId(u64::MAX))] {
        let words = written(spec, tls);
        let script = Script::read(&words, target()).unwrap();
        assert_eq!(script.tls, tls);
        let read = script.spec();
        assert_eq!(format!("{read:?}"), format!("{spec:?}"));
        assert_eq!(written(&read, tls), words);
        for cut in 0..words.len() {
            assert!(
                Script::read(&words[..cut], target()).is_none(),
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    let regex = Regex::new("^(a|b)+ready[0-9]{2}$").unwrap();
    let other = Regex::new("x|y").unwrap();
    let patterns = [
        Pattern::Any,
        Pattern::Exact(b"\0\xff"),
        Pattern::Prefix(b""),
        Pattern::Contains(b"needle"),
        Pattern::Regex(&regex),
    ];
    for pattern in patterns {
        check(&Spec::Stream(Expect::new(b"PING\r\n", pattern)));
        check(&Spec::Datagram(Expect::new(b"", pattern)));
        let http = Http {
            status: StatusSet::parse("200-299,301").unwrap(),
            headers: [
                Some(HeaderMatch {
                    name: "Server",
                    value: Pattern::Regex(&other),
                }),
                Some(HeaderMatch {
                    name: "X",
                    value: pattern,
                }),
            ],
            body: pattern,
            ..Http::new(Request {
                method: "POST",
                host: Some(""),
                headers: "A: b\r\n",
                body: b"{}",
                http10: true,
                ..Request::get(target(), "/health")
            })
        };
        check(&Spec::Http(&http));
        let text = Dns {
            transport: Transport::Stream,
            expected: dns::Expected::Text(pattern),
            ..Dns::new("example", dns::RecordType::TXT)
        };
        check(&Spec::Dns(&text));
    }
    for expected in [
        dns::Expected::Nothing,
        dns::Expected::Record,
        dns::Expected::Address([192, 0, 2, 1].into()),
        dns::Expected::Address(target().ip()),
        dns::Expected::Name("ns.example"),
    ] {
        let dns = Dns {
            expected,
            aliases: false,
            ..Dns::new(".", dns::RecordType::A)
        };
        check(&Spec::Dns(&dns));
    }
    check(&Spec::Agent(Agent { send: b"state?\n" }));
    check(&Spec::Ping(Ping {
        target: target().ip(),
        identifier: 0x1234,
    }));
    check(&Spec::Syn(crate::check::probe::Syn {
        port: target().port(),
    }));
    check(&Spec::Radius(&Radius::access(
        b"secret",
        "user",
        b"password",
    )));
    check(&Spec::Radius(&Radius {
        request: crate::check::probe::radius::Request::Status,
        ..Radius::access(b"secret", "", b"")
    }));
    check(&Spec::Errand(Errand::File(b"/run/{address}")));
    for (user, weighs) in [(None, true), (Some((1, u32::MAX)), false)] {
        check(&Spec::Errand(Errand::Exec(Command {
            words: b"/bin/check\0-H\0{address}\0",
            user,
            weighs,
        })));
    }
    check(&Spec::Grpc(Grpc {
        authority: "a.example",
        service: "s",
        tls: true,
    }));
}

/// A hundred backends with one service's check have one script.
#[test]
fn the_target_is_no_part_of_it() {
    let get = |address: &str| {
        let http = Http::new(Request::get(address.parse().unwrap(), "/"));
        written(&Spec::Http(&http), None)
    };
    assert_eq!(get("192.0.2.1:80"), get("[2001:db8::1]:8080"));
    let words = get("192.0.2.1:80");
    let script = Script::read(&words, target()).unwrap();
    let Spec::Http(http) = script.spec() else {
        panic!("{script:?}");
    };
    assert_eq!(http.request.address, target());
    let grpc = Spec::Grpc(Grpc {
        authority: "",
        service: "",
        tls: false,
    });
    let words = written(&grpc, None);
    let script = Script::read(&words, target()).unwrap();
    let Spec::Grpc(grpc) = script.spec() else {
        panic!("{script:?}");
    };
    assert_eq!(grpc.authority, "[2001:db8::7]:8080");
}

#[test]
fn scripts_are_found_by_what_is_in_them() {
    let scripts: Vec<_> = (0_u8..100)
        .map(|n| {
            let send = [n; 3];
            let words = written(&Spec::Agent(Agent { send: &send }), None);
            (ScriptId::of(&words), words)
        })
        .collect();
    let mut sorted: Vec<_> = scripts.iter().map(|(id, w)| (*id, w.as_slice())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 100, "names differ");
    let words = sorted.iter().map(|(_, words)| words.len()).sum();
    let room = Scripts::words_for(100, words);
    let mut out = vec![0; room];
    for short in 0..room {
        assert!(
            Scripts::write(&sorted, &mut out[..short]).is_err(),
            "{short}"
        );
    }
    let book = Scripts::write(&sorted, &mut out).unwrap();
    assert_eq!(book.words().len(), room);
    let kept = book.words().to_vec();
    let book = Scripts::from_words(&kept);
    for (id, words) in &scripts {
        assert_eq!(book.get(*id), Some(words.as_slice()));
    }
    assert_eq!(book.get(ScriptId::of(&[])), None);
    assert_eq!(Scripts::EMPTY.get(ScriptId::of(&[])), None);
}
