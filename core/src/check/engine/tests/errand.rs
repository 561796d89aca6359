//! Errands of others, datagrams, and questions that are asked again.

use super::super::laws::audit;
use super::super::*;
use super::world::{SETTINGS, ms, storage};
use crate::check::flights::Sign;
use crate::check::probe::outside::{Command, Errand, Exit, Outcome};
use crate::check::probe::{Dns, Ping, ScriptId, Scripts, Spec, Syn, dns};
use crate::check::{CheckConfig, Kind, Share};
use crate::model::Family;
use std::vec::Vec;
use std::{boxed::Box, vec};

const SEAT: SocketId = SocketId(1);
const ERRAND: SocketId = SocketId(2);

/// One TCP socket, one seat of each kind, and a check of a target.
fn engine(
    spec: &Spec<'_>,
    kind: impl Fn(ScriptId) -> Kind,
    target: &str,
) -> (Engine<'static>, CheckId) {
    let storage = Storage {
        desks: Box::leak(vec![Desk::EMPTY; 1].into()),
        ..storage(1, 3)
    };
    let settings = Settings {
        sockets_v4: 1,
        seats: 1,
        errands: 1,
        ..SETTINGS
    };
    let mut words = vec![0; 512];
    let len = spec.write(None, &mut words).unwrap();
    let id = ScriptId::of(&words[..len]);
    let mut all = vec![0; 1024];
    let scripts = Scripts::write(&[(id, &words[..len])], &mut all).unwrap();
    let config = CheckConfig {
        interval: ms(1000),
        timeout: ms(300),
        rise: 1,
        fall: 1,
        ..CheckConfig::new(kind(id), target.parse().unwrap())
    };
    let mut engine = Engine::new(storage, settings);
    engine
        .handle_plan(Instant::ZERO, &[config], scripts)
        .unwrap();
    let check = engine.check_id(0).unwrap();
    (engine, check)
}

/// Runs to the check's next action, and returns when that is.
fn next(engine: &mut Engine<'_>) -> (Instant, Action) {
    loop {
        let now = engine.poll_timeout().unwrap();
        engine.handle_timeout(now);
        if let Some(action) = engine.poll_action(now) {
            assert_eq!(audit(engine), Ok(()));
            return (now, action);
        }
    }
}

fn last(engine: &Engine<'_>, id: CheckId) -> Option<Verdict> {
    assert_eq!(audit(engine), Ok(()));
    engine.status(id).unwrap().last
}

#[test]
fn an_errand_is_done_by_another() {
    let command = Command {
        words: b"/bin/check\0",
        user: Some((1, 2)),
        weighs: true,
    };
    let spec = Spec::Errand(Errand::Exec(command));
    let (mut engine, id) = engine(&spec, Kind::Errand, "192.0.2.7:80");
    let (now, action) = next(&mut engine);
    let target = "192.0.2.7:80".parse().unwrap();
    assert_eq!(
        action,
        Action::Errand {
            socket: ERRAND,
            target
        }
    );
    let (name, deadline, errand) = engine.errand(now, ERRAND).unwrap();
    assert_eq!(deadline, now + ms(300));
    let Errand::Exec(Command { words, user, .. }) = errand else {
        panic!("{errand:?}");
    };
    assert_eq!((words, user), (&b"/bin/check\0"[..], Some((1, 2))));
    assert_eq!(engine.seat_of(name), Some(ERRAND));
    let outcome = Outcome::Ended(Exit::Status(9));
    // In its grace.
    engine.handle_outcome(now + ms(400), ERRAND, &outcome);
    assert_eq!(engine.status(id).unwrap().advised.share, Share::Weight(7));
    assert_eq!(last(&engine, id), Some(Verdict::Success));
    assert_eq!(engine.seat_of(name), None);
    // Another answer to the same is nobody's.
    engine.handle_outcome(now, ERRAND, &outcome);
    assert_eq!(engine.counters().stray, 1);
    // One that takes all its time is a failure, told by who kept the time.
    let (now, _) = next(&mut engine);
    engine.errand(now, ERRAND).unwrap();
    engine.handle_outcome(now + ms(300), ERRAND, &Outcome::TimedOut);
    let timed_out = Some(Verdict::Failure(Reason::TimedOut));
    assert_eq!(last(&engine, id), timed_out);
    // One of which nothing is heard is no verdict.
    let (now, _) = next(&mut engine);
    engine.errand(now, ERRAND).unwrap();
    let (again, _) = next(&mut engine);
    assert!(again.since(now) >= ms(300) + ERRAND_GRACE);
    assert_eq!(last(&engine, id), timed_out);
    assert_eq!(engine.counters().indeterminate[Local::Runner.index()], 1);
}

#[test]
fn a_long_answer_is_asked_for_again_by_tcp() {
    let dns = Dns::new("www.example", dns::RecordType::A);
    let spec = Spec::Dns(&dns);
    let (mut engine, id) = engine(&spec, Kind::Datagram, "192.0.2.7:53");
    let (now, action) = next(&mut engine);
    let target = "192.0.2.7:53".parse().unwrap();
    let (socket, carrier) = (SEAT, Carrier::Udp);
    assert_eq!(
        action,
        Action::Datagram {
            socket,
            target,
            carrier
        }
    );
    let mut answer = engine.transmit(now, SEAT).unwrap().to_vec();
    let (sign, _, name) = engine.departure(SEAT).unwrap();
    assert_eq!(sign, Sign::Dns(u16::from_be_bytes([answer[0], answer[1]])));
    engine.handle_sent(now, SEAT, usize::MAX);
    let question = answer.clone();
    // QR and TC (RFC 1035 4.1.1).
    answer[2] |= 0x82;
    engine.handle_bytes(now, SEAT, &answer);
    assert_eq!(audit(&engine), Ok(()));
    assert_eq!(engine.seat_of(name), None, "the seat is free");
    let (socket, half_open) = (SocketId(0), false);
    let connect = Action::Connect {
        socket,
        target,
        half_open,
    };
    assert_eq!(engine.poll_action(now), Some(connect));
    assert_eq!(engine.poll_action(now), None);
    engine.handle_connected(now, socket);
    assert_eq!(audit(&engine), Ok(()));
    assert_eq!(engine.poll_action(now), Some(Action::Send { socket }));
    let asked = engine.transmit(now, socket).unwrap().to_vec();
    let (length, asked) = asked.split_at(2);
    assert_eq!(length, u16::try_from(asked.len()).unwrap().to_be_bytes());
    assert_eq!(asked[2..], question[2..], "the same question");
    engine.handle_sent(now, socket, asked.len() + 2);
    let mut answer = asked.to_vec();
    // One answer: the name asked for, A, IN, a TTL, an address.
    answer[2] |= 0x80;
    answer[7] = 1;
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
    let mut stream = u16::try_from(answer.len()).unwrap().to_be_bytes().to_vec();
    stream.extend(answer);
    engine.handle_bytes(now, socket, &stream);
    assert_eq!(last(&engine, id), Some(Verdict::Success));
    assert_eq!(engine.poll_action(now), Some(Action::Disconnect { socket }));
    assert_eq!(audit(&engine), Ok(()));
    // Whoever truncates and then does not answer by TCP has failed in its time.
    let (now, _) = next(&mut engine);
    let mut answer = engine.transmit(now, SEAT).unwrap().to_vec();
    engine.handle_sent(now, SEAT, usize::MAX);
    answer[2] |= 0x82;
    engine.handle_bytes(now + ms(100), SEAT, &answer);
    assert_eq!(engine.poll_action(now), Some(connect));
    engine.handle_timeout(now + ms(301));
    assert_eq!(last(&engine, id), Some(Verdict::Failure(Reason::TimedOut)));
    assert_eq!(engine.poll_action(now), Some(Action::Disconnect { socket }));
}

#[test]
fn without_a_socket_a_long_answer_is_no_verdict() {
    let dns = Dns::new("www.example", dns::RecordType::A);
    let (mut engine, id) = engine(&Spec::Dns(&dns), Kind::Datagram, "[2001:db8::7]:53");
    let (now, _) = next(&mut engine);
    let mut answer = engine.transmit(now, SEAT).unwrap().to_vec();
    engine.handle_sent(now, SEAT, usize::MAX);
    answer[2] |= 0x82;
    // There is none of its family.
    engine.handle_bytes(now, SEAT, &answer);
    assert_eq!(last(&engine, id), None);
    assert_eq!(engine.counters().indeterminate[Local::Sockets.index()], 1);
}

#[test]
fn what_this_node_lost_is_no_silence() {
    let dns = Dns::new("www.example", dns::RecordType::A);
    let (mut engine, id) = engine(&Spec::Dns(&dns), Kind::Datagram, "192.0.2.7:53");
    let (now, _) = next(&mut engine);
    engine.transmit(now, SEAT).unwrap();
    engine.handle_sent(now, SEAT, usize::MAX);
    engine.handle_lost(SEAT);
    engine.handle_timeout(now + ms(301));
    assert_eq!(last(&engine, id), None);
    assert_eq!(engine.counters().indeterminate[Local::Memory.index()], 1);
    // What leaves later is not excused.
    let (now, _) = next(&mut engine);
    engine.transmit(now, SEAT).unwrap();
    engine.handle_sent(now, SEAT, usize::MAX);
    engine.handle_timeout(now + ms(301));
    assert_eq!(last(&engine, id), Some(Verdict::Failure(Reason::NoAnswer)));
}

#[test]
fn an_echo_finds_its_probe() {
    let target = "2001:db8::7";
    let ping = Ping {
        target: target.parse().unwrap(),
        identifier: 7,
    };
    let at = "[2001:db8::7]:0";
    let (mut engine, id) = engine(&Spec::Ping(ping), Kind::Datagram, at);
    let (now, action) = next(&mut engine);
    let Action::Datagram { carrier, .. } = action else {
        panic!("{action:?}");
    };
    assert_eq!(carrier, Carrier::Icmp);
    let mut reply: Vec<u8> = engine.transmit(now, SEAT).unwrap().to_vec();
    engine.handle_sent(now, SEAT, usize::MAX);
    assert_eq!(engine.departure(SEAT).unwrap().0, Sign::Nothing);
    reply[0] = 129;
    let other = "2001:db8::8".parse().unwrap();
    engine.handle_echo(now, Family::V6, other, &reply);
    assert_eq!((last(&engine, id), engine.counters().stray), (None, 1));
    let mut forged = reply.clone();
    forged[15] ^= 1;
    engine.handle_echo(now, Family::V6, target.parse().unwrap(), &forged);
    assert_eq!((last(&engine, id), engine.counters().stray), (None, 2));
    engine.handle_echo(now, Family::V6, target.parse().unwrap(), &reply);
    assert_eq!(last(&engine, id), Some(Verdict::Success));
}

/// The segment that answers a SYN, with these flags.
fn answer(syn: &[u8], flags: u8) -> Vec<u8> {
    let mut segment = syn[..20].to_vec();
    let sequence = u32::from_be_bytes(syn[4..8].try_into().unwrap());
    segment[8..12].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    segment[13] = flags;
    segment
}

#[test]
fn a_syn_is_answered_refused_or_neither() {
    let at = "192.0.2.7:80";
    let (mut engine, id) = engine(&Spec::Syn(Syn { port: 80 }), |_| Kind::Syn, at);
    let ask = |engine: &mut Engine<'_>| {
        let (now, action) = next(engine);
        let (socket, target, carrier) = (SEAT, at.parse().unwrap(), Carrier::Syn);
        let datagram = Action::Datagram {
            socket,
            target,
            carrier,
        };
        assert_eq!(action, datagram);
        let syn = engine.transmit(now, SEAT).unwrap().to_vec();
        let (sign, turn, token) = engine.departure(SEAT).unwrap();
        let sequence = u32::from_be_bytes(syn[4..8].try_into().unwrap());
        assert_eq!(sign, Sign::Syn(sequence));
        assert_eq!(engine.seat_of(token), Some(SEAT));
        engine.handle_sent(now, SEAT, usize::MAX);
        (now, syn, turn)
    };
    let (now, syn, first) = ask(&mut engine);
    engine.handle_bytes(now, SEAT, &answer(&syn, 0x12));
    assert_eq!(last(&engine, id), Some(Verdict::Success));
    assert_eq!(
        engine.poll_action(now),
        None,
        "nothing is to be disconnected"
    );
    let (now, syn, second) = ask(&mut engine);
    assert_eq!(second, first + 1, "it leaves from another port");
    engine.handle_bytes(now, SEAT, &answer(&syn, 0x14));
    let refused = Verdict::Failure(Reason::Refused);
    assert_eq!(last(&engine, id), Some(refused));
    // An answer to an earlier one, and none to this.
    let (now, _, _) = ask(&mut engine);
    engine.handle_bytes(now, SEAT, &answer(&syn, 0x12));
    engine.handle_timeout(now + ms(301));
    let timed_out = Verdict::Failure(Reason::TimedOut);
    assert_eq!(last(&engine, id), Some(timed_out));
    assert_eq!(audit(&engine), Ok(()));
}

/// A reload that makes it half-open another way: what is known of the target stays.
#[test]
fn a_check_is_half_open_another_way() {
    let at = "192.0.2.7:80";
    let config = |kind| CheckConfig {
        interval: ms(1000),
        timeout: ms(300),
        rise: 1,
        fall: 1,
        ..CheckConfig::new(kind, at.parse().unwrap())
    };
    let (mut engine, id) = engine(&Spec::Syn(Syn { port: 80 }), |_| Kind::Syn, at);
    let (now, _) = next(&mut engine);
    let syn = engine.transmit(now, SEAT).unwrap().to_vec();
    engine.handle_sent(now, SEAT, usize::MAX);
    engine.handle_bytes(now, SEAT, &answer(&syn, 0x12));
    let connects = Kind::Tcp { half_open: false };
    // Idle, and with a SYN on its way.
    for flies in [false, true] {
        let now = if flies { next(&mut engine).0 } else { now };
        for kind in [connects, Kind::Syn] {
            let merged = engine.handle_plan(now, &[config(kind)], Scripts::EMPTY);
            assert_eq!(merged.unwrap().edited, 1);
            assert_eq!(engine.check_id(0), Some(id));
            assert_eq!(engine.health(id), HealthState::Up);
            assert_eq!(audit(&engine), Ok(()));
        }
    }
    engine
        .handle_plan(now, &[config(connects)], Scripts::EMPTY)
        .unwrap();
    let (_, action) = next(&mut engine);
    assert!(matches!(action, Action::Connect { .. }), "{action:?}");
}
