//! Scripts played over TLS: the handshake is the owner's.

use super::super::laws::audit;
use super::super::*;
use super::talk::{PING, RESET, Talk, target};
use crate::check::probe::{Spec, TlsId};

#[test]
fn over_tls_a_probe_begins_when_the_handshake_is_done() {
    let over = || Talk::over(&Spec::Stream(PING), Some(TlsId(7)));
    let mut talk = over();
    let socket = talk.connected();
    let secure = Action::Secure {
        socket,
        target: target(),
        tls: TlsId(7),
    };
    assert_eq!(talk.action(), secure);
    talk.engine.handle_ready(socket, true, true);
    assert_eq!(talk.engine.poll_read(), Some(socket), "of the handshake");
    talk.engine.handle_secured(socket);
    assert_eq!(talk.action(), Action::Send { socket });
    let len = talk.engine.transmit(talk.now, socket).unwrap().len();
    talk.engine.handle_sent(talk.now, socket, len);
    assert_eq!(talk.engine.poll_read(), Some(socket), "there may be more");
    talk.engine.handle_bytes(talk.now, socket, b"+PONG");
    talk.ends(socket, Verdict::Success);
    assert_eq!(talk.engine.secured, 0);

    let mut talk = over();
    let socket = talk.connected();
    let _ = talk.action();
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::TlsReset);

    let mut talk = over();
    let socket = talk.connected();
    let _ = talk.action();
    talk.engine.handle_end(talk.now, socket);
    talk.fails(socket, Reason::TlsClosed);

    let mut talk = over();
    let socket = talk.connected();
    let _ = talk.action();
    talk.times_out();
    talk.fails(socket, Reason::TlsTimedOut);

    let mut talk = over();
    let socket = talk.connected();
    let _ = talk.action();
    let expired = Verdict::Failure(Reason::TlsExpired);
    talk.engine.handle_verdict(talk.now, socket, expired);
    talk.ends(socket, expired);
}

/// More at once than there may be wait, and that is no verdict.
#[test]
fn who_waits_for_tls_in_vain_found_nothing_out() {
    let mut talk = Talk::over(&Spec::Stream(PING), Some(TlsId(7)));
    talk.engine.secured = 1;
    let socket = talk.connected();
    assert_eq!(talk.engine.poll_action(talk.now), None);
    talk.times_out();
    talk.engine.secured = 0;
    assert_eq!(audit(&talk.engine), Ok(()));
    assert!(!talk.engine.talks(socket));
    assert_eq!(talk.engine.status(CheckId(0)).unwrap().last, None);
    assert_eq!(talk.engine.counters().indeterminate[Local::Tls.index()], 1);
}
