//! Connections that stay from one probe to the next, call by call.

use super::super::laws::audit;
use super::super::*;
use super::talk::{RESET, Talk};
use crate::check::probe::Spec;
use crate::check::probe::http::{Http, Request};

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
        // Not whole yet, without a length, and more than it should be.
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
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
        assert_eq!(talk.now, now, "at once");
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
