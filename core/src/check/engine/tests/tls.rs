//! Scripts played over TLS: the handshake is the owner's.

use super::super::laws::audit;
use super::super::*;
use super::talk::{PING, RESET, Talk, check, script_over, scripts, target};
use super::world::{engine, ms};
use crate::check::probe::{Scripts, Spec, TlsId};
use crate::check::{Certificate, CheckConfig};
use core::net::SocketAddr;
use std::vec::Vec;

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

#[test]
fn who_goes_away_while_it_waits_for_tls_is_heard() {
    let mut talk = Talk::over(&Spec::Stream(PING), Some(TlsId(7)));
    talk.engine.secured = 1;
    let socket = talk.connected();
    talk.engine.handle_ready(socket, true, true);
    assert_eq!(talk.engine.poll_action(talk.now), None);
    assert_eq!(talk.engine.poll_read(), None, "nothing was said to it");
    talk.engine.secured = 0;
    assert!(matches!(talk.action(), Action::Secure { .. }));
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_end(talk.now, socket);
    talk.fails(socket, Reason::TlsClosed);
}

/// What it waited is not the target's time: all that it has is for the handshake
/// and the answer.
#[test]
fn who_waited_for_tls_has_its_time_for_the_handshake() {
    for answers in [true, false] {
        let mut talk = Talk::over(&Spec::Stream(PING), Some(TlsId(7)));
        talk.engine.secured = 1;
        let socket = talk.connected();
        talk.now += ms(250);
        assert_eq!(talk.engine.poll_action(talk.now), None);
        talk.engine.secured = 0;
        assert!(matches!(talk.action(), Action::Secure { .. }));
        assert_eq!(audit(&talk.engine), Ok(()));
        talk.now += ms(290);
        talk.engine.handle_timeout(talk.now);
        assert!(talk.engine.talks(socket), "its time is not over");
        if answers {
            talk.engine.handle_secured(socket);
            assert_eq!(talk.action(), Action::Send { socket });
            let len = talk.engine.transmit(talk.now, socket).unwrap().len();
            talk.engine.handle_sent(talk.now, socket, len);
            talk.engine.handle_bytes(talk.now, socket, b"+PONG");
            talk.ends(socket, Verdict::Success);
            let latency = talk.engine.status(CheckId(0)).unwrap().latency;
            assert_eq!(latency, ms(290), "nor is it what the target took");
        } else {
            talk.now += ms(11);
            talk.engine.handle_timeout(talk.now);
            talk.fails(socket, Reason::TlsTimedOut);
        }
    }
}

/// One connection for all, and half of the targets hang in the handshake for as
/// long as they may: the others are found out about seldom, and never wrongly.
#[test]
fn who_hangs_in_the_handshake_makes_no_other_fail() {
    const TARGETS: u16 = 8;
    const SHAKES: Duration = Duration::from_millis(120);
    let (words, kind) = script_over(&Spec::Stream(PING), Some(TlsId(7)));
    let words = scripts(&words);
    let targets = (0..TARGETS).map(|n| CheckConfig {
        target: SocketAddr::new(target().ip(), 1000 + n),
        ..check(kind)
    });
    let plan: Vec<_> = targets.collect();
    let mut engine = engine(8, 8, 0);
    let mut now = Instant::ZERO + ms(10_000);
    let end = now + Duration::from_secs(120);
    engine
        .handle_plan(now, &plan, Scripts::from_words(&words))
        .unwrap();
    let mut shaking: Vec<(Instant, SocketId)> = Vec::new();
    let mut successes = [0; TARGETS as usize];
    while now < end {
        while let Some(at) = shaking.iter().position(|(done, _)| *done <= now) {
            let (_, socket) = shaking.swap_remove(at);
            engine.handle_secured(socket);
        }
        engine.handle_timeout(now);
        while let Some(action) = engine.poll_action(now) {
            match action {
                Action::Connect { socket, .. } => engine.handle_connected(now, socket),
                Action::Secure { socket, target, .. } if target.port().is_multiple_of(2) => {
                    shaking.push((now + SHAKES, socket));
                }
                Action::Secure { .. } => {}
                Action::Send { socket } => {
                    let len = engine.transmit(now, socket).unwrap().len();
                    engine.handle_sent(now, socket, len);
                    let (id, _) = engine.talker(socket).unwrap();
                    successes[id.index()] += 1;
                    engine.handle_bytes(now, socket, b"+PONG");
                }
                Action::Disconnect { socket } => shaking.retain(|(_, s)| *s != socket),
                other @ (Action::Datagram { .. } | Action::Errand { .. }) => {
                    panic!("{other:?}")
                }
            }
        }
        assert_eq!(audit(&engine), Ok(()));
        let next = shaking.iter().map(|(done, _)| *done).min();
        now = crate::time::earliest(next, engine.poll_timeout()).unwrap();
    }
    for (n, plan) in (0..TARGETS).zip(0..) {
        let id = engine.check_id(plan).unwrap();
        let (expect, least) = match n % 2 {
            0 => (Verdict::Success, 1),
            _ => (Verdict::Failure(Reason::TlsTimedOut), 0),
        };
        assert_eq!(engine.status(id).unwrap().last, Some(expect), "{n}");
        let often = successes[id.index()];
        assert!(often >= least, "{n}: {often}");
    }
    assert_eq!(engine.counters().went_down, u64::from(TARGETS / 2));
}

/// It is said once that a certificate expires soon, and once that it is renewed,
/// whatever comes of the checks.
#[test]
fn a_certificate_that_expires_soon_is_news_once() {
    const DAY: u64 = 86_400;
    let mut talk = Talk::over(&Spec::Stream(PING), Some(TlsId(7)));
    let socket = talk.connected();
    let _ = talk.action();
    let mut news = |left: u64| {
        let shown = Certificate::shown(left, 0, 14 * DAY);
        talk.engine.handle_certificate(socket, shown);
        assert_eq!(audit(&talk.engine), Ok(()));
        let report = talk.engine.poll_change();
        assert!(report.is_none_or(|report| report.is_news()));
        report.map(|report| report.certificate)
    };
    assert_eq!(news(20 * DAY), None);
    let soon = Certificate::shown(13 * DAY, 0, 14 * DAY);
    assert_eq!(news(13 * DAY), Some(Some(soon)));
    assert_eq!(news(12 * DAY), None);
    let renewed = Certificate::shown(90 * DAY, 0, 14 * DAY);
    assert_eq!(news(90 * DAY), Some(Some(renewed)));
    let status = talk.engine.status(CheckId(0)).unwrap();
    assert_eq!(status.certificate, Some(renewed));
    // It is of a check that ended.
    talk.times_out();
    let stray = talk.engine.counters().stray;
    talk.engine.handle_certificate(socket, renewed);
    assert_eq!(talk.engine.counters().stray, stray + 1);
}
