//! Connections that stay from one probe to the next, call by call.

use super::super::laws::audit;
use super::super::*;
use super::talk::{RESET, Talk, check, script_over, target};
use super::world::{SETTINGS, ms, storage};
use crate::check::probe::http::{Http, Request};
use crate::check::probe::{Dns, ScriptId, Scripts, Spec, dns};
use crate::check::{CheckConfig, Kind};
use core::net::SocketAddr;
use std::vec::Vec;
use std::{boxed::Box, vec};

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn talk() -> Talk {
    let anywhere = ([0, 0, 0, 0], 0).into();
    let http = Http::new(Request {
        keep_alive: true,
        ..Request::get(anywhere, "/")
    });
    Talk::over(&Spec::Http(&http), None)
}

/// Up to a connection that stayed.
fn kept(talk: &mut Talk) -> SocketId {
    let socket = talk.asked();
    talk.hear(socket, WHOLE);
    assert_eq!(audit(&talk.engine), Ok(()));
    assert!(talk.engine.keeps(socket) && !talk.engine.talks(socket));
    assert_eq!(
        talk.engine.poll_action(talk.now),
        None,
        "it stays connected"
    );
    assert_eq!(last(talk), Some(Verdict::Success));
    socket
}

fn last(talk: &Talk) -> Option<Verdict> {
    talk.engine.status(CheckId(0)).unwrap().last
}

#[test]
fn the_next_probe_goes_by_the_connection_that_stayed() {
    let mut talk = talk();
    let socket = kept(&mut talk);
    for n in 1..4 {
        assert_eq!(talk.action(), Action::Send { socket });
        assert!(!talk.engine.keeps(socket) && talk.engine.talks(socket));
        talk.says(socket);
        talk.hear(socket, WHOLE);
        assert!(talk.engine.keeps(socket));
        assert_eq!(talk.engine.counters().reused, n);
        assert_eq!(audit(&talk.engine), Ok(()));
    }
    // A failure of the service's is one, and no reason to end the connection.
    assert_eq!(talk.action(), Action::Send { socket });
    talk.says(socket);
    talk.hear(socket, b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(last(&talk), Some(Verdict::Failure(Reason::HttpStatus)));
    assert!(talk.engine.keeps(socket));
}

#[test]
fn what_may_not_be_used_again_is_not_kept() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        // Too long to be read on, without a length, and more than it should be.
        b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 408 Late\r\n",
    ] {
        let mut talk = talk();
        let socket = talk.asked();
        talk.hear(socket, answer);
        talk.ends(socket, Verdict::Success);
    }
}

#[test]
fn a_connection_that_ended_meanwhile_is_made_anew_in_the_same_probe() {
    // By an end of the stream, by a reset of what is said, and of what is heard.
    for how in 0..3 {
        let mut talk = talk();
        let old = kept(&mut talk);
        assert_eq!(talk.action(), Action::Send { socket: old });
        let begun = talk.engine.counters().started;
        match how {
            0 => {
                talk.says(old);
                talk.engine.handle_ready(old, true, false);
                assert_eq!(talk.engine.poll_read(), Some(old));
                talk.engine.handle_end(talk.now, old);
            }
            1 => talk.engine.handle_failed(talk.now, old, RESET),
            _ => {
                talk.says(old);
                talk.engine.handle_failed(talk.now, old, RESET);
            }
        }
        assert_eq!(audit(&talk.engine), Ok(()));
        assert_eq!(last(&talk), Some(Verdict::Success), "nothing is found yet");
        let now = talk.now;
        assert_eq!(talk.action(), Action::Disconnect { socket: old });
        let socket = talk.connected();
        assert_eq!(
            (socket, talk.now),
            (old, now),
            "at once, and it needs no other"
        );
        assert_eq!(talk.action(), Action::Send { socket });
        talk.says(socket);
        // What becomes of this one is its own doing.
        talk.engine.handle_failed(talk.now, socket, RESET);
        talk.fails(socket, Reason::ResetWaiting);
        let counters = talk.engine.counters();
        assert_eq!((counters.reconnected, counters.started), (1, begun));
    }
}

#[test]
fn a_connection_made_anew_has_its_whole_time() {
    let mut talk = talk();
    let socket = kept(&mut talk);
    assert_eq!(talk.action(), Action::Send { socket });
    talk.says(socket);
    talk.now += ms(290);
    talk.engine.handle_failed(talk.now, socket, RESET);
    let anew = talk.now;
    assert_eq!(talk.action(), Action::Disconnect { socket });
    assert_eq!(talk.asked(), socket);
    talk.times_out();
    assert_eq!(talk.now, anew + ms(301));
    talk.fails(socket, Reason::NoAnswer);
}

/// As many servers write it: first the head, then the content.
#[test]
fn an_answer_in_parts_is_read_to_its_end_and_decided_before() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    let mut talk = talk();
    let socket = talk.asked();
    talk.hear(socket, HEAD);
    assert_eq!(last(&talk), None);
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_bytes(talk.now, socket, b"ok");
    assert!(talk.engine.keeps(socket));
    assert_eq!(last(&talk), Some(Verdict::Success));
    // The head was enough, whatever becomes of the rest.
    for how in 0..3 {
        let mut talk = self::talk();
        let socket = talk.asked();
        talk.hear(socket, HEAD);
        assert_eq!(talk.engine.poll_read(), Some(socket));
        talk.engine.handle_drained(talk.now, socket);
        match how {
            0 => talk.times_out(),
            1 => talk.engine.handle_failed(talk.now, socket, RESET),
            _ => talk.engine.handle_end(talk.now, socket),
        }
        talk.ends(socket, Verdict::Success);
    }
}

/// An owner with so many sockets, and checks that keep their connections of as many
/// targets as there are answers.
fn owner(sockets: u32, targets: u16, dns: bool) -> Engine<'static> {
    let checks = usize::from(targets) + usize::from(dns);
    let storage = Storage {
        desks: Box::leak(vec![Desk::EMPTY; 1].into()),
        paces: &mut [],
        ..storage(checks, sockets as usize + 1)
    };
    let settings = Settings {
        sockets_v4: sockets,
        seats: 1,
        ..SETTINGS
    };
    let http = Http::new(Request {
        keep_alive: true,
        ..Request::get(target(), "/")
    });
    let (words, kind) = script_over(&Spec::Http(&http), None);
    let question = Dns::new("www.example", dns::RecordType::A);
    let mut asked = vec![0; 512];
    let len = Spec::Dns(&question).write(None, &mut asked).unwrap();
    let asked = &asked[..len];
    let mut pairs = [
        (ScriptId::of(&words), &words[..]),
        (ScriptId::of(asked), asked),
    ];
    pairs.sort_by_key(|(id, _)| *id);
    let mut all = vec![0; 2048];
    let scripts = Scripts::write(&pairs, &mut all).unwrap();
    let at = |port, kind| CheckConfig {
        target: SocketAddr::new(target().ip(), port),
        ..check(kind)
    };
    let mut plan: Vec<_> = (0..targets).map(|n| at(1_000 + n, kind)).collect();
    if dns {
        plan.push(at(53, Kind::Datagram(ScriptId::of(asked))));
    }
    plan.sort_unstable();
    let mut engine = Engine::new(storage, settings);
    engine.handle_plan(Instant::ZERO, &plan, scripts).unwrap();
    engine
}

/// Answers whatever is asked by connections, for a while; the first datagram, and
/// when it was asked for.
fn serve(engine: &mut Engine<'_>, now: &mut Instant, span: Duration) -> Option<SocketId> {
    let end = *now + span;
    while let Some(wake) = engine.poll_timeout().filter(|wake| *wake <= end) {
        *now = wake.max(*now);
        engine.handle_timeout(*now);
        while let Some(action) = engine.poll_action(*now) {
            match action {
                Action::Connect { socket, .. } => engine.handle_connected(*now, socket),
                Action::Send { socket } => {
                    let len = engine.transmit(*now, socket).unwrap().len();
                    engine.handle_sent(*now, socket, len);
                    engine.handle_ready(socket, true, false);
                    assert_eq!(engine.poll_read(), Some(socket));
                    engine.handle_bytes(*now, socket, WHOLE);
                }
                Action::Datagram { socket, .. } => return Some(socket),
                Action::Disconnect { .. } => {}
                Action::Secure { .. } | Action::Errand { .. } => panic!("{action:?}"),
            }
            assert_eq!(audit(engine), Ok(()));
        }
    }
    *now = end;
    None
}

#[test]
fn more_checks_than_sockets_use_most_connections_again() {
    let mut engine = owner(4, 6, false);
    let mut now = Instant::ZERO;
    serve(&mut engine, &mut now, ms(11_000));
    let counters = engine.counters();
    assert!(counters.succeeded >= 60, "{counters:?}");
    // Three stay, and the others take turns with the fourth.
    let reused = counters.reused;
    assert!(reused >= 25, "{reused}");
}

#[test]
fn a_question_that_is_asked_again_by_tcp_takes_a_connection_that_stays() {
    let mut engine = owner(1, 1, true);
    let mut now = Instant::ZERO;
    while engine.load().kept == 0 {
        let seat = serve(&mut engine, &mut now, ms(100));
        if let Some(seat) = seat {
            engine.handle_verdict(now, seat, Verdict::Indeterminate(Local::Other));
        }
    }
    let seat = loop {
        if let Some(seat) = serve(&mut engine, &mut now, ms(100)) {
            break seat;
        }
    };
    assert_eq!(engine.load().kept, 1);
    let mut answer = engine.transmit(now, seat).unwrap().to_vec();
    engine.handle_sent(now, seat, usize::MAX);
    // Truncated.
    answer[2] |= 0x82;
    engine.handle_bytes(now, seat, &answer);
    assert_eq!(audit(&engine), Ok(()));
    let none = engine.counters().indeterminate[Local::Sockets.index()];
    assert_eq!((engine.load().kept, none), (0, 0));
    let socket = SocketId(0);
    let disconnect = Some(Action::Disconnect { socket });
    assert_eq!(engine.poll_action(now), disconnect);
    assert_eq!(audit(&engine), Ok(()));
    let connect = Action::Connect {
        socket,
        target: SocketAddr::new(target().ip(), 53),
        half_open: false,
    };
    assert_eq!(engine.poll_action(now), Some(connect));
    assert_eq!(audit(&engine), Ok(()));
    // One that ends while it waits to be disconnected takes its socket with it.
    assert!(engine.hold(now, engine.check_id(0).unwrap(), true));
    assert_eq!(audit(&engine), Ok(()));
}

#[test]
fn a_connection_that_says_nothing_is_no_verdict_once() {
    let mut talk = talk();
    let old = kept(&mut talk);
    assert_eq!(talk.action(), Action::Send { socket: old });
    talk.says(old);
    talk.times_out();
    assert_eq!(last(&talk), Some(Verdict::Success));
    let counters = talk.engine.counters();
    assert_eq!(counters.indeterminate[Local::Kept.index()], 1);
    assert_eq!(talk.action(), Action::Disconnect { socket: old });
    let socket = talk.asked();
    talk.times_out();
    talk.fails(socket, Reason::NoAnswer);
}

#[test]
fn what_comes_unasked_ends_it() {
    let mut talk = talk();
    let socket = kept(&mut talk);
    talk.engine.handle_let_go(socket);
    assert_eq!(audit(&talk.engine), Ok(()));
    assert_eq!(talk.action(), Action::Disconnect { socket });
    let _ = talk.asked();
    assert_eq!(talk.engine.counters().reconnected, 0);
    // It was told of another time.
    let stray = talk.engine.counters().stray;
    talk.engine.handle_let_go(socket);
    assert_eq!(talk.engine.counters().stray, stray + 1);
}

#[test]
fn a_plan_without_the_check_ends_it_and_so_does_maintenance() {
    let mut talk = talk();
    let socket = kept(&mut talk);
    assert!(talk.engine.hold(talk.now, CheckId(0), true));
    assert_eq!(audit(&talk.engine), Ok(()));
    assert_eq!(
        talk.engine.poll_action(talk.now),
        Some(Action::Disconnect { socket })
    );
    assert!(talk.engine.hold(talk.now, CheckId(0), false));
    let socket = kept(&mut talk);
    let none = crate::check::probe::Scripts::EMPTY;
    talk.engine.handle_plan(talk.now, &[], none).unwrap();
    assert_eq!(audit(&talk.engine), Ok(()));
    assert_eq!(
        talk.engine.poll_action(talk.now),
        Some(Action::Disconnect { socket })
    );
    assert_eq!(talk.engine.load().kept, 0);
}
