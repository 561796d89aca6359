//! What this node learns too late is no verdict.

use super::super::laws::audit;
use super::super::*;
use super::talk::{PING, Talk};
use super::world::{MARGIN, ms};
use crate::check::probe::Spec;

/// An answer that lies in the socket when the time is over was there in time.
#[test]
fn what_lies_unread_is_read_before_it_is_too_late() {
    let mut talk = Talk::new(&Spec::Stream(PING));
    let socket = talk.asked();
    talk.engine.handle_ready(socket, true, false);
    talk.times_out();
    assert!(talk.engine.talks(socket), "there is something to read");
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_bytes(talk.now, socket, b"+PONG");
    talk.ends(socket, Verdict::Success);
    // It is not the answer.
    for drained in [false, true] {
        let mut talk = Talk::new(&Spec::Stream(PING));
        let socket = talk.asked();
        talk.engine.handle_ready(socket, true, false);
        talk.times_out();
        assert_eq!(talk.engine.poll_read(), Some(socket));
        if drained {
            talk.engine.handle_drained(talk.now, socket);
            talk.fails(socket, Reason::NoAnswer);
        } else {
            talk.engine.handle_bytes(talk.now, socket, b"+");
            talk.fails(socket, Reason::NoAnswer);
        }
    }
    // It is never read: that is us.
    let mut talk = Talk::new(&Spec::Stream(PING));
    let socket = talk.asked();
    talk.engine.handle_ready(socket, true, false);
    talk.times_out();
    talk.now += MARGIN + ms(2);
    talk.engine.handle_timeout(talk.now);
    assert_eq!(talk.engine.status(CheckId(0)).unwrap().last, None);
    let late = talk.engine.counters().indeterminate[Local::Late.index()];
    assert_eq!(late, 1);
    assert_eq!(audit(&talk.engine), Ok(()));
}

/// The owner learns late that it might have said something.
#[test]
fn what_could_not_be_said_for_want_of_a_turn_is_no_verdict() {
    let spec = Spec::Stream(PING);
    let mut talks = [Talk::new(&spec), Talk::new(&spec)];
    talks[0].connected();
    let half = talks[1].says_half();
    talks[1].engine.handle_ready(half, false, true);
    for mut talk in talks {
        talk.times_out();
        assert_eq!(talk.engine.status(CheckId(0)).unwrap().last, None);
        let late = talk.engine.counters().indeterminate[Local::Late.index()];
        assert_eq!(late, 1);
        assert_eq!(audit(&talk.engine), Ok(()));
    }
}
