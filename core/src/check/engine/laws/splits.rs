//! Whichever way the bytes of a connection are cut, the engine finds the same.

use super::super::{
    Action, Aside, Desk, Engine, MannerSlot, Pace, Settings, Slot, Socket, SocketId, Storage,
};
use super::audit;
use super::kinds::{DNS_BY_TCP, KINDS, config_of, kinds};
use crate::check::probe::Scripts;
use crate::check::{Advised, Kind, Verdict};
use crate::time::{self, Instant};

/// Bytes of a request here.
const REQUEST_BYTES: usize = 512;

/// What a connection came to, and what was said on it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    last: Option<Verdict>,
    http_status: Option<u16>,
    advised: Advised,
    said: heapless::Vec<u8, REQUEST_BYTES>,
}

impl Found {
    /// Whether both found the same. What was said may end earlier in one: whoever
    /// hears that all is wrong answers nothing that came before.
    fn agrees(&self, other: &Self) -> bool {
        let said = self.said.starts_with(&other.said) || other.said.starts_with(&self.said);
        let same = self.last == other.last && self.http_status == other.http_status;
        said && same && self.advised == other.advised
    }
}

/// An answer, after a byte that chooses the check and some that say where it and
/// the request are cut. Once cut, once whole.
///
/// # Panics
/// When a law is broken.
pub fn any_split(data: &[u8]) {
    let Some(([choice, ends], data)) = data.split_first_chunk() else {
        return;
    };
    let Some((cuts, answer)) = data.split_at_checked(6) else {
        return;
    };
    let mut memory = [0; 768];
    let Ok((scripts, kinds)) = kinds(&mut memory) else {
        return;
    };
    let Some((at, kind)) = kinds.iter().enumerate().nth(usize::from(*choice) % KINDS) else {
        return;
    };
    if !matches!(kind, Kind::Stream(_)) {
        return;
    }
    let mut told = heapless::Vec::<u8, 1024>::new();
    let most = answer.len().min(told.capacity());
    told.extend_from_slice(answer.get(..most).unwrap_or_default())
        .ok();
    let ends = ends & 1 == 0;
    let find = |told: &[u8], cuts: &[u8]| find((*kind, scripts), told, cuts, ends);
    let mut whole = find(&told, &[]);
    if at == DNS_BY_TCP {
        // Who asks chose the id.
        let id = whole
            .said
            .get(2..4)
            .and_then(|id| <[u8; 2]>::try_from(id).ok());
        if let (Some(id), Some(place)) = (id, told.get_mut(2..4)) {
            place.copy_from_slice(&id);
            whole = find(&told, &[]);
        }
    }
    for cuts in [cuts, &[1]] {
        let cut = find(&told, cuts);
        assert!(cut.agrees(&whole), "cut differently: {cut:?}, {whole:?}");
    }
}

/// One check on one connection, whose reads and writes take so many bytes each, over
/// and over, or all when `cuts` is empty.
fn find((kind, scripts): (Kind, Scripts<'_>), answer: &[u8], cuts: &[u8], ends: bool) -> Found {
    let mut checks = [Slot::EMPTY; 1];
    let mut asides = [Aside::EMPTY; 1];
    let mut timers = [time::Slot::EMPTY; 1];
    let mut manners = [MannerSlot::EMPTY; 1];
    let mut sockets = [Socket::EMPTY; 1];
    let mut words = [0; 768];
    let mut request = [0; REQUEST_BYTES];
    let mut desks = [Desk::EMPTY; 1];
    let storage = Storage {
        checks: &mut checks,
        asides: &mut asides,
        timers: &mut timers,
        manners: &mut manners,
        sockets: &mut sockets,
        scripts: &mut words,
        request: &mut request,
        desks: &mut desks,
        paces: &mut [] as &mut [Pace],
    };
    let mut talk = Talk {
        engine: Engine::new(storage, SETTINGS),
        now: Instant::ZERO,
        socket: SocketId(0),
        said: heapless::Vec::new(),
        cuts,
        next: 0,
    };
    let taken = talk
        .engine
        .handle_plan(talk.now, &[config_of(kind)], scripts);
    assert!(taken.is_ok(), "{taken:?}");
    talk.now = talk.engine.poll_timeout().expect("it is due");
    talk.engine.handle_timeout(talk.now);
    talk.act();
    let mut rest = answer;
    while !rest.is_empty() && talk.engine.talks(talk.socket) {
        let len = talk.cut(rest.len());
        let (bytes, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        rest = after;
        talk.hear(Some(bytes));
    }
    if ends && talk.engine.talks(talk.socket) {
        talk.hear(None);
    }
    let id = talk.engine.check_id(0).expect("it is planned");
    let status = talk.engine.status(id).expect("it runs");
    Found {
        last: status.last,
        http_status: status.http_status,
        advised: status.advised,
        said: talk.said,
    }
}

const SETTINGS: Settings = Settings {
    tick_ns: 1 << 20,
    sockets_v4: 1,
    seats: 0,
    errands: 0,
    tls: 1,
    late_margin: super::LATE_MARGIN,
    checks_per_second: 0,
    seed: 0,
    secret: [1, 2],
};

struct Talk<'s, 'c> {
    engine: Engine<'s>,
    now: Instant,
    socket: SocketId,
    said: heapless::Vec<u8, REQUEST_BYTES>,
    cuts: &'c [u8],
    next: usize,
}

impl Talk<'_, '_> {
    fn cut(&mut self, all: usize) -> usize {
        let cut = self.cuts.get(self.next).copied();
        self.next = self.next.saturating_add(1);
        if self.next >= self.cuts.len() {
            self.next = 0;
        }
        cut.map_or(all, |cut| usize::from(cut).clamp(1, all.max(1)))
    }

    /// Does what the engine says, until it says no more.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action(self.now) {
            match action {
                Action::Connect { socket, .. } => self.engine.handle_connected(self.now, socket),
                Action::Secure { socket, .. } => self.engine.handle_secured(socket),
                Action::Send { .. } => self.say(),
                Action::Disconnect { .. } | Action::Datagram { .. } | Action::Errand { .. } => {}
            }
            assert_eq!(audit(&self.engine), Ok(()));
        }
    }

    fn say(&mut self) {
        let Some(bytes) = self.engine.transmit(self.now, self.socket) else {
            return;
        };
        let all = bytes.len();
        let cut = self.cuts.get(self.next).copied();
        let len = cut.map_or(all, |cut| usize::from(cut).clamp(1, all.max(1)));
        self.said
            .extend_from_slice(bytes.get(..len).unwrap_or(bytes))
            .ok();
        let _ = self.cut(all);
        self.engine.handle_sent(self.now, self.socket, len.min(all));
        if len < all {
            self.engine.handle_ready(self.socket, false, true);
        }
    }

    /// The target says something, or ends the stream.
    fn hear(&mut self, bytes: Option<&[u8]>) {
        self.engine.handle_ready(self.socket, true, false);
        let mut heard = false;
        while let Some(socket) = self.engine.poll_read() {
            match bytes {
                _ if heard => self.engine.handle_drained(self.now, socket),
                Some(bytes) => self.engine.handle_bytes(self.now, socket, bytes),
                None => self.engine.handle_end(self.now, socket),
            }
            heard = true;
            assert_eq!(audit(&self.engine), Ok(()));
        }
        self.act();
        if !heard && self.engine.talks(self.socket) {
            // It was still sending; now it has the time.
            if let Some(socket) = self.engine.poll_read() {
                match bytes {
                    Some(bytes) => self.engine.handle_bytes(self.now, socket, bytes),
                    None => self.engine.handle_end(self.now, socket),
                }
                self.act();
            }
        }
    }
}
