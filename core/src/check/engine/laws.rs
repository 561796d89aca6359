//! The laws of the engine, for tests and fuzzing: what holds after every call,
//! and a life made of any bytes that must not break it.

mod kinds;
mod splits;

pub use splits::any_split;

use super::list::NIL;
use super::schedule::nanos;
use super::storage::{Phase, State, Use};
use super::{
    Action, Aside, CheckId, Desk, Engine, MannerSlot, Pace, Settings, Slot, Socket, SocketId,
    Storage,
};
use crate::bytes::{Reader, Short};
use crate::check::probe::{Scripts, TlsId};
use crate::check::{Certificate, CheckConfig, HealthState, Kind, Lane, Reason, Verdict};
use crate::netlink::Errno;
use crate::time::{self, Duration, Instant};
use kinds::{KINDS, config, kinds};

/// What holds after every call: each check is in one place, each socket belongs
/// to one check or none, nothing is lost, everything is counted.
///
/// # Errors
/// The law that is broken.
pub fn audit(engine: &Engine<'_>) -> Result<(), &'static str> {
    let law = |holds: bool, law: &'static str| if holds { Ok(()) } else { Err(law) };
    let (mut idle, mut waiting, mut probing, mut news) = (0_u32, 0_u32, 0_u32, 0_u32);
    let mut held_back = 0_u32;
    for (index, slot) in (0..engine.ids()).zip(engine.slots.iter()) {
        let running = !matches!(slot.state, State::Free);
        if running {
            let entry = engine.order(engine.side, slot.plan);
            law(
                slot.plan < engine.planned,
                "a check has no entry in the plan",
            )?;
            law(entry == Some(index), "the plan's entry names another check")?;
            let untold = !slot.is_told();
            law(slot.news.is_linked() == untold, "a change is told, or lost")?;
            news = news.saturating_add(u32::from(untold));
        }
        match slot.state {
            State::Free => law(!slot.news.is_linked(), "news of no check")?,
            State::Held => {
                held_back = held_back.saturating_add(1);
                law(!slot.link.is_linked(), "a held check is in a queue")?;
            }
            State::Idle { due, timer } => {
                idle = idle.saturating_add(1);
                law(
                    engine.wheel.deadline(timer) == Some(due),
                    "an idle check sleeps for ever",
                )?;
                law(!slot.link.is_linked(), "an idle check is in a queue")?;
            }
            State::Paced { at, timer, .. } => {
                idle = idle.saturating_add(1);
                let armed = engine.wheel.deadline(timer) == Some(at);
                law(armed, "a check that was put off sleeps for ever")?;
                law(!slot.link.is_linked(), "a check put off is in a queue")?;
            }
            State::Waiting { .. } => {
                waiting = waiting.saturating_add(1);
                law(slot.link.is_linked(), "a waiting check is in no queue")?;
            }
            State::Probing {
                socket,
                deadline,
                timer,
                ..
            } => {
                probing = probing.saturating_add(1);
                let armed = engine.wheel.deadline(timer) == Some(deadline);
                law(armed, "a probe has no timeout")?;
                let held = engine.sockets.get(socket.index()).map(|s| s.use_);
                law(
                    held == Some(Use::Probe(CheckId(index))),
                    "a probe has no socket",
                )?;
                let config = slot.config(&engine.manners);
                let again = matches!(config.kind, Kind::Datagram(_));
                let lane = engine.lane_of(socket);
                let fits = lane == config.lane() || again && lane == Lane::Stream(config.family());
                law(fits, "a probe has a socket of another lane")?;
            }
        }
    }
    let (mut held, mut talking, mut reading, mut desks) = (0_u32, 0_u32, 0_u32, 0_u32);
    let (mut kept, mut stale) = (0_u32, 0_u32);
    for (index, socket) in (0_u32..).zip(engine.sockets.iter()) {
        if engine.idle.iter().any(|idle| idle.is_fresh(index)) {
            law(socket.use_ == Use::Free, "one never taken is in use")?;
            continue;
        }
        desks = desks.saturating_add(u32::from(socket.desk != NIL));
        reading = reading.saturating_add(u32::from(socket.inbox.is_linked()));
        match socket.use_ {
            Use::Free | Use::Closing => {
                law(socket.link.is_linked(), "a socket is lost")?;
                law(socket.probe.is_none(), "a probe outlives its check")?;
                law(!socket.inbox.is_linked(), "nobody reads, and there is mail")?;
            }
            Use::Kept(id) => {
                kept = kept.saturating_add(1);
                let own = engine.running(id).map(|slot| slot.kept);
                law(own == Some(index), "a connection stays for nobody")?;
                law(socket.link.is_linked(), "a connection that stays is lost")?;
                law(socket.probe.is_none(), "a probe outlives its check")?;
            }
            Use::Probe(id) => {
                let queued = socket.phase.lacks().is_some();
                stale = stale.saturating_add(u32::from(socket.phase == Phase::Stale));
                let linked = socket.link.is_linked();
                talking = talking.saturating_add(u32::from(linked && !queued));
                law(linked || !queued, "a socket waits in no queue")?;
                let (sends, reads) = match socket.phase {
                    // To be told to connect, by datagrams or rather not.
                    Phase::Connecting => (engine.again(SocketId(index)).is_some(), false),
                    Phase::Stale
                    | Phase::Unsecured { .. }
                    | Phase::Deskless { .. }
                    | Phase::Portless { .. } => (true, false),
                    Phase::Securing => (false, true),
                    Phase::Due | Phase::Sending { .. } => (true, false),
                    Phase::Waiting | Phase::Answering => (false, true),
                };
                law(
                    sends || !socket.link.is_linked(),
                    "there is nothing to send",
                )?;
                law(
                    reads || !socket.inbox.is_linked(),
                    "it reads before its time",
                )?;
                held = held.saturating_add(1);
                let slot = engine.running(id).ok_or("a socket is leaked")?;
                let State::Probing { socket, .. } = slot.state else {
                    return Err("a socket is held by a check that does not probe");
                };
                law(socket == SocketId(index), "a check has two sockets")?;
            }
        }
    }
    let sum = |lists: &[super::List]| lists.iter().map(|list| list.len()).sum::<u32>();
    let stay = engine.slots.iter().filter(|slot| slot.kept != NIL).count();
    let both = stay == kept as usize && sum(&engine.kept) == kept;
    law(both, "connections that stay do not add up")?;
    let free = engine.idle.iter().map(|list| list.len());
    let free: u32 = free.chain([engine.closing.len(), kept]).sum();
    let free = free.saturating_sub(stale);
    let sockets = u32::try_from(engine.sockets.len()).unwrap_or(NIL);
    let tls = |s: &&Socket| s.use_ != Use::Free && s.secured;
    let tls = engine.sockets.iter().filter(tls).count();
    law(engine.secured as usize == tls, "tls does not add up")?;
    law(engine.secured <= engine.settings.tls, "too much tls")?;
    law(engine.outbox.len() == talking, "the outbox does not add up")?;
    law(engine.inbox.len() == reading, "the inbox does not add up")?;
    let all = u32::try_from(engine.desks.len()).unwrap_or(NIL);
    let empty = engine.free_desks.len();
    law(empty.saturating_add(desks) == all, "desks do not add up")?;
    law(
        free.saturating_add(held) == sockets,
        "sockets do not add up",
    )?;
    law(
        held == probing && probing == engine.in_flight,
        "probes do not add up",
    )?;
    let queued: u32 = engine.waiting.iter().map(|list| list.len()).sum();
    law(queued == waiting, "waiting checks do not add up")?;
    law(engine.news.len() == news, "changes do not add up")?;
    let running: u32 = [idle, waiting, probing, held_back].iter().sum();
    law(running == engine.planned, "checks do not add up")?;
    law(
        engine.wheel.len() == idle.saturating_add(probing),
        "timers do not add up",
    )?;
    let slots = running.saturating_add(engine.free.len());
    law(slots == engine.capacity(), "slots do not add up")?;
    let uses = engine.manners.uses();
    law(uses == running.into(), "manners do not add up")?;
    let ended = engine.counters.ended().saturating_add(probing.into());
    law(engine.counters.started == ended, "counters do not add up")
}

const CHECKS: usize = 8;
const SOCKETS: usize = 8;
const SOCKETS_V4: u32 = 3;
const SEATS: u32 = 2;
const ERRANDS: u32 = 1;
const TIMEOUT_MAX: Duration = Duration::from_secs(3);
const LATE_MARGIN: Duration = Duration::from_millis(100);

/// A life of an engine whose plans, events and times are what `data` says.
///
/// # Panics
/// When a law is broken.
pub fn any_life(data: &[u8]) {
    let mut checks = [Slot::EMPTY; CHECKS];
    let mut asides = [Aside::EMPTY; CHECKS];
    let mut timers = [time::Slot::EMPTY; CHECKS];
    let mut manners = [MannerSlot::EMPTY; CHECKS];
    let mut sockets = [Socket::EMPTY; SOCKETS];
    let (mut scripts, mut request, mut desks) = ([0; 768], [0; 256], [Desk::EMPTY; 1]);
    let mut paces = [Pace::FREE; 2];
    let storage = Storage {
        checks: &mut checks,
        asides: &mut asides,
        timers: &mut timers,
        manners: &mut manners,
        sockets: &mut sockets,
        scripts: &mut scripts,
        request: &mut request,
        desks: &mut desks,
        paces: &mut paces,
    };
    let settings = Settings {
        tick_ns: 1 << 20,
        sockets_v4: SOCKETS_V4,
        seats: SEATS,
        tls: 1,
        errands: ERRANDS,
        late_margin: LATE_MARGIN,
        checks_per_second: u32::from(data.first().copied().unwrap_or(0)),
        seed: 0,
        secret: [1, 2],
    };
    let mut memory = [0; 768];
    let Ok((scripts, kinds)) = kinds(&mut memory) else {
        return;
    };
    let mut life = Life {
        engine: Engine::new(storage, settings),
        scripts,
        kinds,
        now: Instant::ZERO,
        connected: [false; SOCKETS],
        asked: None,
    };
    let mut script = Reader::new(data);
    while life.step(&mut script).is_ok() {
        assert_eq!(audit(&life.engine), Ok(()));
    }
}

struct Life<'s> {
    engine: Engine<'s>,
    scripts: Scripts<'s>,
    kinds: [Kind; KINDS],
    now: Instant,
    /// What the owner did to its sockets.
    connected: [bool; SOCKETS],
    /// What was asked last by datagram.
    asked: Option<(SocketId, heapless::Vec<u8, 64>)>,
}

impl Life<'_> {
    fn step(&mut self, script: &mut Reader<'_>) -> Result<(), Short> {
        let [what, arg] = script.take("step")?;
        let socket = SocketId(u32::from(arg >> 4));
        match what % 22 {
            20 => self.outcome(socket, arg),
            21 if arg & 3 == 0 => self.engine.handle_lost(socket),
            21 if arg & 3 == 2 => self.engine.handle_no_port(self.now, socket),
            21 => {
                if self.engine.keeps(socket) {
                    self.engine.handle_let_go(socket);
                }
            }
            12 => {
                let id = CheckId(u32::from(arg >> 4));
                self.engine.hold(self.now, id, arg & 1 == 0);
            }
            13 => {
                let id = CheckId(u32::from(arg >> 4));
                let weight = (arg & 1 == 0).then_some(u32::from(arg & 7));
                self.engine
                    .handle_advice(id, |advised| advised.with_weight(weight));
            }
            14 => {
                let group = u32::from(arg & 1);
                self.engine.set_pace(group, u32::from(arg >> 2));
                let id = CheckId(u32::from(arg >> 4));
                self.engine.join(id, [Some(group), None]);
            }
            0 | 15 => self.plan(arg, script)?,
            1 | 16 => self.engine.handle_connected(self.now, socket),
            2 | 17 => {
                let errno = Errno(i32::from(script.u8("errno")?));
                let before = self.healths();
                self.engine.handle_failed(self.now, socket, errno);
                if let Verdict::Indeterminate(_) = Verdict::of_connect(errno) {
                    assert_eq!(before, self.healths(), "local trouble is a verdict");
                }
            }
            // Up to 8 s, so that some steps are stalls.
            3 | 4 | 19 => self.advance(Duration::from_millis(u64::from(arg) << (what % 32 / 6))),
            5 => {
                let state = match arg % 3 {
                    0 => HealthState::Unknown,
                    1 => HealthState::Up,
                    _ => HealthState::Down,
                };
                let id = CheckId(u32::from(arg >> 4));
                self.engine.adopt(self.now, id, state);
            }
            6 | 18 => self.act(usize::from(arg)),
            7 => {
                let (readable, writable) = (arg & 1 != 0, arg & 2 != 0);
                self.engine.handle_ready(socket, readable, writable);
            }
            8 => self.transmit(socket, usize::from(arg & 0xf)),
            9 | 10 => {
                if let Some(socket) = self.engine.poll_read() {
                    self.read(socket, arg);
                }
            }
            _ => {
                while let Some(report) = self.engine.poll_change() {
                    assert!(report.is_news());
                    assert_eq!(report.state, self.engine.health(report.id));
                    assert!(report.reason.is_none() || report.state == HealthState::Down);
                }
                while self.engine.poll_trouble(self.now).is_some() {}
            }
        }
        Ok(())
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        let before = self.healths();
        self.engine.handle_timeout(self.now);
        if nanos(by) > nanos(TIMEOUT_MAX.saturating_add(LATE_MARGIN)) {
            assert_eq!(before, self.healths(), "a late timer is a verdict");
        }
    }

    /// The owner gets its turn at a socket, and the kernel takes so many bytes.
    fn transmit(&mut self, socket: SocketId, most: usize) {
        let given = self.engine.transmit(self.now, socket);
        if let Some(bytes) = given.map(|bytes| bytes.len().min(most)) {
            self.engine.handle_sent(self.now, socket, bytes);
        }
    }

    /// What a read of a socket gives.
    fn read(&mut self, socket: SocketId, what: u8) {
        match what % 8 {
            7 => self.truncated(),
            0 => self.engine.handle_drained(self.now, socket),
            1 => self.engine.handle_end(self.now, socket),
            2 => self.engine.handle_failed(self.now, socket, Errno(104)),
            3 if what & 0x10 == 0 => {
                let verdict = Verdict::Failure(Reason::Closed);
                self.engine.handle_verdict(self.now, socket, verdict);
            }
            3 => {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready";
                self.engine.handle_bytes(self.now, socket, answer);
            }
            4 => self.engine.handle_bytes(self.now, socket, b"+OK"),
            5 => self.engine.handle_bytes(self.now, socket, b"up\n"),
            // Settings of HTTP/2, which are acknowledged.
            _ => {
                let frame = [0, 0, 0, 4, 0, 0, 0, 0, 0];
                let part = frame.get(..usize::from(what >> 4)).unwrap_or(&frame);
                self.engine.handle_bytes(self.now, socket, part);
            }
        }
    }

    fn act(&mut self, budget: usize) {
        for _ in 0..budget {
            let Some(action) = self.engine.poll_action(self.now) else {
                return;
            };
            match action {
                Action::Secure { socket, tls, .. } => {
                    assert!(self.is_connected(socket), "secured before it was connected");
                    assert_eq!(tls, TlsId(7));
                    if budget & 2 == 0 {
                        let left = u64::from(budget & 4 == 0);
                        let shown = Certificate::shown(left, 0, 1);
                        self.engine.handle_certificate(socket, shown);
                    }
                    if budget & 1 == 0 {
                        self.engine.handle_secured(socket);
                    }
                }
                Action::Send { socket } => {
                    assert!(self.is_connected(socket), "sent before it was connected");
                    self.transmit(socket, usize::MAX);
                }
                Action::Datagram { socket, .. } => {
                    assert_eq!(self.engine.lane_of(socket), Lane::Datagram);
                    let asked = self.engine.transmit(self.now, socket);
                    let asked = asked.and_then(|bytes| heapless::Vec::from_slice(bytes).ok());
                    self.asked = asked.map(|asked| (socket, asked));
                    self.transmit(socket, usize::MAX);
                    let awaits = self.engine.talks(socket);
                    let unmoved = awaits
                        .then(|| self.engine.sockets.get(socket.index()))
                        .flatten();
                    let phase = unmoved.map(|s| s.phase);
                    assert!(phase.is_none_or(|p| p == Phase::Waiting), "{phase:?}");
                }
                Action::Errand { socket, .. } => {
                    assert_eq!(self.engine.lane_of(socket), Lane::Errand);
                    let errand = self.engine.errand(self.now, socket);
                    let (name, deadline, _) = errand.expect("there is something to do");
                    assert!(deadline >= self.now);
                    assert_eq!(self.engine.seat_of(name), Some(socket));
                }
                Action::Connect { socket, target, .. } => {
                    assert!(!target.ip().is_unspecified(), "a name without an address");
                    let v4 = socket.0 < SOCKETS_V4;
                    assert_eq!(v4, target.is_ipv4());
                    assert!(!self.set_connected(socket, true), "connected twice");
                }
                Action::Disconnect { socket } => {
                    assert!(self.set_connected(socket, false), "disconnected twice");
                }
            }
        }
    }

    fn is_connected(&self, socket: SocketId) -> bool {
        self.connected.get(socket.index()).copied().unwrap_or(false)
    }

    fn set_connected(&mut self, socket: SocketId, to: bool) -> bool {
        let place = self.connected.get_mut(socket.index());
        core::mem::replace(place.expect("a socket of the pool"), to)
    }

    /// A plan of up to nine entries, now and then unsorted.
    fn plan(&mut self, len: u8, script: &mut Reader<'_>) -> Result<(), Short> {
        let mut plan: heapless::Vec<CheckConfig, 9> = heapless::Vec::new();
        for _ in 0..len % 10 {
            let [who, times] = script.take("check")?;
            // Where the name is, in all of the plan.
            let named = [0, 0, 0, len % 3];
            plan.push(config(who, times, named, &self.kinds)).ok();
        }
        if len < 250 {
            plan.sort_unstable();
            let mut unique: heapless::Vec<CheckConfig, 9> = heapless::Vec::new();
            for config in plan {
                if unique.last() != Some(&config) {
                    unique.push(config).ok();
                }
            }
            plan = unique;
        }
        let before = self.engine.planned();
        match self.engine.handle_plan(self.now, &plan, self.scripts) {
            Ok(merged) => {
                let stay = merged.kept.saturating_add(merged.edited);
                assert_eq!(stay.saturating_add(merged.removed), before);
                let planned = u32::try_from(plan.len()).unwrap_or(NIL);
                assert_eq!(stay.saturating_add(merged.added), planned);
                for (p, config) in (0..).zip(&plan) {
                    let id = self.engine.check_id(p).expect("an entry has a check");
                    let status = self.engine.status(id).expect("a check has a status");
                    assert_eq!((status.config, status.plan), (*config, p));
                }
            }
            Err(_) => assert_eq!(self.engine.planned(), before),
        }
        Ok(())
    }

    fn healths(&self) -> [HealthState; CHECKS] {
        core::array::from_fn(|n| {
            let id = CheckId(u32::try_from(n).unwrap_or(NIL));
            self.engine.health(id)
        })
    }
}
