//! Scripts played on connections, call by call.

use super::super::laws::audit;
use super::super::*;
use super::world::{engine, ms};
use crate::check::probe::http::{Http, Request};
use crate::check::probe::{Agent, Dns, Expect, Grpc, Pattern, ScriptId, Scripts, Spec, TlsId, dns};
use crate::check::{CheckConfig, Kind};
use crate::netlink::Errno;
use core::net::SocketAddr;
use std::vec;
use std::vec::Vec;

pub const RESET: Errno = Errno(104);
pub const PING: Expect<'_> = Expect::new(b"PING\r\n", Pattern::Prefix(b"+PONG"));

pub fn target() -> SocketAddr {
    "127.0.0.1:7".parse().unwrap()
}

pub fn check(kind: Kind) -> CheckConfig {
    CheckConfig {
        interval: ms(1000),
        fast_interval: ms(1000),
        down_interval: ms(1000),
        timeout: ms(300),
        rise: 1,
        fall: 1,
        ..CheckConfig::new(kind, target())
    }
}

/// The words of a script, and the kind of a check by it.
fn script(spec: &Spec<'_>) -> (Vec<u64>, Kind) {
    script_over(spec, None)
}

pub fn script_over(spec: &Spec<'_>, tls: Option<TlsId>) -> (Vec<u64>, Kind) {
    let mut words = vec![0; 1024];
    let len = spec.write(tls, &mut words).unwrap();
    words.truncate(len);
    let kind = Kind::Stream(ScriptId::of(&words));
    (words, kind)
}

pub fn scripts(words: &[u64]) -> Vec<u64> {
    let mut all = vec![0; Scripts::words_for(1, words.len())];
    Scripts::write(&[(ScriptId::of(words), words)], &mut all).unwrap();
    all
}

/// An engine with one check by a script.
pub struct Talk {
    pub engine: Engine<'static>,
    pub now: Instant,
    plan: Vec<CheckConfig>,
    scripts: Vec<u64>,
}

impl Talk {
    pub fn new(spec: &Spec<'_>) -> Self {
        Self::over(spec, None)
    }

    pub fn over(spec: &Spec<'_>, tls: Option<TlsId>) -> Self {
        let (words, kind) = script_over(spec, tls);
        let mut talk = Self {
            engine: engine(2, 2, 2),
            now: Instant::ZERO + ms(10_000),
            plan: vec![check(kind)],
            scripts: scripts(&words),
        };
        talk.reload();
        talk
    }

    fn reload(&mut self) -> crate::check::Merged {
        let scripts = Scripts::from_words(&self.scripts);
        self.engine
            .handle_plan(self.now, &self.plan, scripts)
            .unwrap()
    }

    /// Lets time go by until there is something to do.
    pub fn action(&mut self) -> Action {
        loop {
            if let Some(action) = self.engine.poll_action(self.now) {
                return action;
            }
            self.now = self.engine.poll_timeout().unwrap().max(self.now);
            self.engine.handle_timeout(self.now);
        }
    }

    /// Up to a socket that is connected and may send.
    pub fn connected(&mut self) -> SocketId {
        let Action::Connect {
            socket, half_open, ..
        } = self.action()
        else {
            panic!("no connection");
        };
        assert!(!half_open, "what is said needs a whole handshake");
        assert!(self.engine.awaits(socket) && !self.engine.talks(socket));
        self.engine.handle_connected(self.now, socket);
        socket
    }

    /// Up to a socket whose request is sent whole.
    pub fn asked(&mut self) -> SocketId {
        let socket = self.connected();
        assert_eq!(self.action(), Action::Send { socket });
        self.says(socket);
        socket
    }

    pub fn says(&mut self, socket: SocketId) {
        let len = self.engine.transmit(self.now, socket).unwrap().len();
        self.engine.handle_sent(self.now, socket, len);
    }

    /// Up to a socket that takes no more of the request for now.
    pub fn says_half(&mut self) -> SocketId {
        let socket = self.connected();
        assert_eq!(self.action(), Action::Send { socket });
        let len = self.engine.transmit(self.now, socket).unwrap().len();
        self.engine.handle_sent(self.now, socket, len / 2);
        socket
    }

    pub fn hear(&mut self, socket: SocketId, bytes: &[u8]) {
        self.engine.handle_ready(socket, true, false);
        assert_eq!(self.engine.poll_read(), Some(socket));
        self.engine.handle_bytes(self.now, socket, bytes);
    }

    /// What came of it: the verdict, and the socket is disconnected.
    pub fn ends(&mut self, socket: SocketId, expect: Verdict) {
        assert_eq!(audit(&self.engine), Ok(()));
        assert!(!self.engine.talks(socket));
        assert_eq!(self.engine.poll_read(), None, "nobody reads on");
        let action = self.engine.poll_action(self.now);
        assert_eq!(action, Some(Action::Disconnect { socket }));
        let status = self.engine.status(CheckId(0)).unwrap();
        assert_eq!(status.last, Some(expect));
    }

    pub fn fails(&mut self, socket: SocketId, reason: Reason) {
        self.ends(socket, Verdict::Failure(reason));
    }

    /// Lets the probe's time go by.
    pub fn times_out(&mut self) {
        self.now += ms(301);
        self.engine.handle_timeout(self.now);
    }
}

#[test]
fn a_script_is_played_to_its_verdict() {
    let mut talk = Talk::new(&Spec::Stream(PING));
    let socket = talk.connected();
    assert_eq!(talk.action(), Action::Send { socket });
    assert_eq!(
        talk.engine.transmit(talk.now, socket),
        Some(&b"PING\r\n"[..])
    );
    talk.engine.handle_sent(talk.now, socket, 6);
    assert_eq!(talk.engine.transmit(talk.now, socket), None);
    talk.now += ms(5);
    talk.hear(socket, b"+PO");
    // More may be there, so it has another turn.
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine
        .handle_bytes(talk.now, socket, b"NG\r\n and more");
    talk.ends(socket, Verdict::Success);
    assert_eq!(talk.engine.status(CheckId(0)).unwrap().latency, ms(5));
}

#[test]
fn a_request_that_is_taken_in_parts_goes_on_where_it_stopped() {
    let mut talk = Talk::new(&Spec::Stream(PING));
    let socket = talk.connected();
    let mut sent = Vec::new();
    for len in [0, 1, 2, 0, 3] {
        talk.engine.handle_ready(socket, false, true);
        assert_eq!(talk.action(), Action::Send { socket });
        let bytes = talk.engine.transmit(talk.now, socket).unwrap();
        sent.extend_from_slice(&bytes[..len]);
        // What is written for others meanwhile is another thing.
        talk.engine.composed = None;
        talk.engine.request.fill(0xa5);
        talk.engine.handle_sent(talk.now, socket, len);
        assert_eq!(audit(&talk.engine), Ok(()));
    }
    assert_eq!(sent, b"PING\r\n");
    talk.hear(socket, b"+PONG");
    talk.ends(socket, Verdict::Success);
}

#[test]
fn a_reset_in_each_phase_has_its_own_reason() {
    let spec = Spec::Stream(PING);
    let mut talk = Talk::new(&spec);
    let Action::Connect { socket, .. } = talk.action() else {
        panic!("no connection");
    };
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::Reset);

    let mut talk = Talk::new(&spec);
    let socket = talk.connected();
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::ResetSending);

    let mut talk = Talk::new(&spec);
    let socket = talk.connected();
    assert_eq!(talk.action(), Action::Send { socket });
    let _ = talk.engine.transmit(talk.now, socket);
    talk.engine.handle_sent(talk.now, socket, 2);
    talk.engine.handle_failed(talk.now, socket, Errno(32));
    talk.fails(socket, Reason::ResetSending);

    let mut talk = Talk::new(&spec);
    let socket = talk.asked();
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::ResetWaiting);

    let mut talk = Talk::new(&spec);
    let socket = talk.asked();
    talk.hear(socket, b"+");
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::ResetAnswering);

    let mut talk = Talk::new(&spec);
    let socket = talk.asked();
    talk.engine.handle_end(talk.now, socket);
    talk.fails(socket, Reason::Closed);
}

#[test]
fn a_timeout_in_each_phase_has_its_own_reason() {
    let spec = Spec::Stream(PING);
    let mut talk = Talk::new(&spec);
    let Action::Connect { socket, .. } = talk.action() else {
        panic!("no connection");
    };
    talk.times_out();
    talk.fails(socket, Reason::TimedOut);

    let mut talk = Talk::new(&spec);
    let socket = talk.says_half();
    talk.times_out();
    talk.fails(socket, Reason::Unsent);

    let mut talk = Talk::new(&spec);
    let socket = talk.asked();
    talk.times_out();
    talk.fails(socket, Reason::NoAnswer);

    let mut talk = Talk::new(&spec);
    let socket = talk.asked();
    talk.hear(socket, b"+");
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_drained(talk.now, socket);
    talk.times_out();
    talk.fails(socket, Reason::Unfinished);
}

#[test]
fn who_speaks_first_is_heard_once_the_probe_has_begun() {
    let mut talk = Talk::new(&Spec::Agent(Agent { send: b"" }));
    let socket = talk.connected();
    // The line comes with the connection.
    talk.engine.handle_ready(socket, true, true);
    assert_eq!(talk.engine.poll_read(), None);
    assert_eq!(talk.action(), Action::Send { socket });
    assert_eq!(talk.engine.transmit(talk.now, socket), None);
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_bytes(talk.now, socket, b"up 75%\n");
    talk.ends(socket, Verdict::Success);
    let advised = talk.engine.status(CheckId(0)).unwrap().advised;
    assert_eq!(advised.weight(100), 75);
    let told = talk.engine.poll_change().unwrap();
    assert_eq!(told.advised, Some(advised), "the owner hears of it");
}

#[test]
fn a_line_that_breaks_off_advises_nothing() {
    let heard = |bytes: &[u8]| {
        let mut talk = Talk::new(&Spec::Agent(Agent { send: b"" }));
        let socket = talk.connected();
        assert_eq!(talk.action(), Action::Send { socket });
        assert_eq!(talk.engine.transmit(talk.now, socket), None);
        talk.hear(socket, bytes);
        (talk, socket)
    };
    let weight = |talk: &Talk| talk.engine.status(CheckId(0)).unwrap().advised.weight(100);
    let (mut talk, socket) = heard(b"drain 5% 7");
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::ResetAnswering);
    assert_eq!(weight(&talk), 100);
    let (mut talk, socket) = heard(b"drain 5% 7");
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_drained(talk.now, socket);
    talk.times_out();
    talk.fails(socket, Reason::Unfinished);
    assert_eq!(weight(&talk), 100);
    let (mut talk, socket) = heard(b"down 7%\n");
    talk.fails(socket, Reason::AgentDown);
    assert_eq!(weight(&talk), 7, "it was read to its end");
}

#[test]
fn a_script_that_asks_for_nothing_ends_with_the_connection() {
    let mut talk = Talk::new(&Spec::Stream(Expect::new(b"", Pattern::Any)));
    let socket = talk.connected();
    assert_eq!(talk.action(), Action::Send { socket });
    assert_eq!(talk.engine.transmit(talk.now, socket), None);
    talk.ends(socket, Verdict::Success);
}

#[test]
fn the_status_of_a_response_is_told() {
    let http = Http::new(Request::get(target(), "/"));
    let mut talk = Talk::new(&Spec::Http(&http));
    let socket = talk.asked();
    talk.hear(socket, b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
    talk.fails(socket, Reason::HttpStatus);
    let status = talk.engine.status(CheckId(0)).unwrap();
    assert_eq!(status.http_status, Some(503));
    // The next one has none.
    let socket = talk.asked();
    talk.engine.handle_end(talk.now, socket);
    talk.fails(socket, Reason::Closed);
    let status = talk.engine.status(CheckId(0)).unwrap();
    assert_eq!(status.http_status, None);
}

/// Settings are acknowledged at once, from the desk, while the request's buffer
/// is someone else's.
#[test]
fn a_later_send_comes_from_the_desk() {
    let grpc = Grpc {
        authority: "",
        service: "",
        tls: false,
    };
    let mut talk = Talk::new(&Spec::Grpc(grpc));
    let socket = talk.asked();
    assert_eq!(talk.engine.free_desks.len(), 1);
    talk.hear(socket, &[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(talk.action(), Action::Send { socket });
    talk.engine.request.fill(0xa5);
    let ack = [0, 0, 0, 4, 1, 0, 0, 0, 0];
    let bytes = talk.engine.transmit(talk.now, socket);
    assert_eq!(bytes, Some(&ack[..]));
    talk.engine.handle_sent(talk.now, socket, 4);
    talk.engine.handle_ready(socket, true, true);
    assert_eq!(talk.engine.poll_read(), None, "first what is to be sent");
    assert_eq!(talk.action(), Action::Send { socket });
    assert_eq!(talk.engine.transmit(talk.now, socket), Some(&ack[4..]));
    talk.engine.handle_sent(talk.now, socket, 5);
    assert_eq!(talk.engine.poll_read(), Some(socket));
    talk.engine.handle_failed(talk.now, socket, RESET);
    talk.fails(socket, Reason::ResetAnswering);
    assert_eq!(talk.engine.free_desks.len(), 2);
}

/// There are two, and none is free: as long as that lasts nothing is found out, and
/// what is waited is not the target's time.
#[test]
fn without_a_desk_a_probe_waits_for_one() {
    let dns = Dns {
        transport: crate::check::probe::Transport::Stream,
        ..Dns::new("a", dns::RecordType::A)
    };
    for comes in [false, true] {
        let mut talk = Talk::new(&Spec::Dns(&dns));
        let engine = &mut talk.engine;
        let free = &mut engine.free_desks;
        let mut take = || free.pop(engine.desks, Desk::link, Desk::begin);
        let taken = [take(), take()].map(Option::unwrap);
        let socket = talk.connected();
        assert_eq!(talk.action(), Action::Send { socket });
        assert_eq!(talk.engine.transmit(talk.now, socket), None);
        talk.engine.handle_ready(socket, true, true);
        assert_eq!(talk.engine.poll_read(), None, "nothing was asked");
        talk.now += ms(250);
        assert_eq!(talk.engine.poll_action(talk.now), None);
        let give_back = |engine: &mut Engine<'_>| {
            for desk in &taken {
                engine.free_desks.push(engine.desks, *desk, Desk::link);
            }
            assert_eq!(audit(engine), Ok(()));
        };
        if comes {
            give_back(&mut talk.engine);
            assert_eq!(talk.action(), Action::Send { socket });
            talk.says(socket);
            assert_eq!(talk.engine.poll_read(), Some(socket), "there may be more");
            talk.engine.handle_drained(talk.now, socket);
            talk.now += ms(290);
            talk.engine.handle_timeout(talk.now);
            assert!(talk.engine.talks(socket), "its time is not over");
            talk.now += ms(11);
            talk.engine.handle_timeout(talk.now);
            talk.fails(socket, Reason::NoAnswer);
        } else {
            talk.now += ms(51);
            talk.engine.handle_timeout(talk.now);
            assert_eq!(talk.engine.status(CheckId(0)).unwrap().last, None);
            let without = talk.engine.counters().indeterminate[Local::Desks.index()];
            assert_eq!(without, 1);
            give_back(&mut talk.engine);
        }
    }
}

#[test]
fn a_reload_that_says_the_same_disturbs_no_probe() {
    let mut talk = Talk::new(&Spec::Stream(PING));
    let socket = talk.connected();
    assert_eq!(talk.action(), Action::Send { socket });
    let _ = talk.engine.transmit(talk.now, socket);
    talk.engine.handle_sent(talk.now, socket, 3);
    // Another script lies before it now, so it lies elsewhere.
    let (other, kind) = script(&Spec::Agent(Agent { send: b"x" }));
    let (words, own) = script(&Spec::Stream(PING));
    let mut both = vec![
        (ScriptId::of(&other), other.as_slice()),
        (ScriptId::of(&words), words.as_slice()),
    ];
    both.sort_unstable();
    talk.scripts = vec![0; Scripts::words_for(2, other.len() + words.len())];
    Scripts::write(&both, &mut talk.scripts).unwrap();
    talk.plan = vec![check(kind), check(own)];
    talk.plan.sort_unstable();
    let merged = talk.reload();
    assert_eq!((merged.kept, merged.added, merged.removed), (1, 1, 0));
    talk.engine.handle_ready(socket, false, true);
    assert_eq!(
        talk.engine.poll_action(talk.now),
        Some(Action::Send { socket })
    );
    assert_eq!(talk.engine.transmit(talk.now, socket), Some(&b"G\r\n"[..]));
    talk.engine.handle_sent(talk.now, socket, 3);
    talk.hear(socket, b"+PONG");
    talk.ends(socket, Verdict::Success);
}

#[test]
fn a_probe_whose_script_goes_away_ends_without_a_verdict() {
    let mut talk = Talk::new(&Spec::Stream(PING));
    let socket = talk.asked();
    talk.hear(socket, b"+");
    let (words, kind) = script(&Spec::Stream(Expect::new(b"QUIT", Pattern::Any)));
    talk.scripts = scripts(&words);
    talk.plan = vec![check(kind)];
    let merged = talk.reload();
    assert_eq!((merged.added, merged.removed), (1, 1));
    assert_eq!(audit(&talk.engine), Ok(()));
    assert_eq!(talk.engine.counters().cancelled, 1);
    let action = talk.engine.poll_action(talk.now);
    assert_eq!(action, Some(Action::Disconnect { socket }));
    let before = talk.engine.counters().stray;
    talk.engine.handle_bytes(talk.now, socket, b"+PONG");
    assert_eq!(talk.engine.counters().stray, before + 1);
    assert_eq!(talk.engine.health(CheckId(0)), HealthState::Unknown);
}
