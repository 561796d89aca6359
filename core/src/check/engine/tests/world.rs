//! A network of targets and the loop of an owner, in virtual time.

use super::super::laws::audit;
use super::super::*;
use crate::check::probe::Scripts;
use crate::check::{CheckConfig, Kind, Report};
use crate::netlink::Errno;
use crate::time;
use core::net::SocketAddr;
use std::vec::Vec;
use std::{boxed::Box, vec};

pub const MARGIN: Duration = Duration::from_millis(100);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn target(n: u16) -> SocketAddr {
    let v6 = n % 4 == 3;
    let address = if v6 {
        [0, 0, 0, 0, 0, 0, 0, 1].into()
    } else {
        [127, 0, 0, 1].into()
    };
    SocketAddr::new(address, 1000 + n)
}

pub fn config(n: u16) -> CheckConfig {
    CheckConfig {
        interval: ms(1000),
        fast_interval: ms(200),
        down_interval: ms(500),
        timeout: ms(300),
        rise: 2,
        fall: 3,
        ..CheckConfig::new(Kind::Tcp { half_open: false }, target(n))
    }
}

pub fn plan(n: u16) -> Vec<CheckConfig> {
    let mut plan: Vec<_> = (0..n).map(config).collect();
    plan.sort_unstable();
    plan
}

/// Room for so many, of everything.
pub fn storage(checks: usize, sockets: usize) -> Storage<'static> {
    Storage {
        checks: Box::leak(vec![Slot::EMPTY; checks].into()),
        asides: Box::leak(vec![Aside::EMPTY; checks].into()),
        timers: Box::leak(vec![time::Slot::EMPTY; checks].into()),
        manners: Box::leak(vec![MannerSlot::EMPTY; checks].into()),
        sockets: Box::leak(vec![Socket::EMPTY; sockets].into()),
        scripts: Box::leak(vec![0; 2048].into()),
        request: Box::leak(vec![0; REQUEST_BYTES_MAX].into()),
        desks: Box::leak(vec![Desk::EMPTY; 2].into()),
        paces: Box::leak(vec![Pace::FREE; 2].into()),
    }
}

/// Without sockets.
pub const SETTINGS: Settings = Settings {
    tick_ns: 1 << 20,
    sockets_v4: 0,
    seats: 0,
    tls: 0,
    errands: 0,
    late_margin: MARGIN,
    checks_per_second: 0,
    seed: 1,
    secret: [3, 4],
};

pub fn engine(checks: usize, v4: u32, v6: u32) -> Engine<'static> {
    let settings = Settings {
        sockets_v4: v4,
        tls: 1,
        ..SETTINGS
    };
    Engine::new(storage(checks, (v4 + v6) as usize), settings)
}

/// The same, with so many starts in a second.
pub fn limited(engine: Engine<'static>, per_second: u32) -> Engine<'static> {
    Engine {
        pace: Pace::new(per_second),
        ..engine
    }
}

/// What a target does with a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Answers(Duration),
    Refuses(Duration),
    Silent,
    /// connect(2) fails at once with this errno.
    Fails(i32),
}

/// When a connecting socket becomes ready, and with what.
pub type Connection = (Option<Instant>, Result<(), i32>);

/// A network of targets, and an owner that does as the engine's module says.
pub struct World {
    pub engine: Engine<'static>,
    pub now: Instant,
    pub targets: Vec<Behaviour>,
    pub sockets: Vec<Option<Connection>>,
    /// Changes told, in order.
    pub told: Vec<Report>,
    pub connects: u64,
    /// Of those, each target's.
    pub asked: Vec<u64>,
}

impl World {
    pub fn new(engine: Engine<'static>, targets: Vec<Behaviour>) -> Self {
        Self {
            sockets: vec![None; engine.sockets.len()],
            engine,
            now: Instant::ZERO + ms(12_345),
            asked: vec![0; targets.len()],
            targets,
            told: Vec::new(),
            connects: 0,
        }
    }

    pub fn plan(&mut self, plan: &[CheckConfig]) {
        self.engine
            .handle_plan(self.now, plan, Scripts::EMPTY)
            .unwrap();
        self.turn();
    }

    /// One turn of the owner's loop, in the order the module asks for.
    pub fn turn(&mut self) {
        self.turn_unaudited();
        assert_eq!(audit(&self.engine), Ok(()));
    }

    /// The same where an audit of each would take too long.
    pub fn turn_unaudited(&mut self) {
        let now = self.now;
        for (n, socket) in self.sockets.iter().enumerate() {
            let id = SocketId(u32::try_from(n).unwrap());
            if let Some((Some(at), outcome)) = *socket
                && at <= now
            {
                match outcome {
                    Ok(()) => self.engine.handle_connected(now, id),
                    Err(errno) => self.engine.handle_failed(now, id, Errno(errno)),
                }
            }
        }
        self.engine.handle_timeout(now);
        while let Some(action) = self.engine.poll_action(now) {
            match action {
                Action::Disconnect { socket } => {
                    assert!(self.sockets[socket.index()].take().is_some());
                }
                Action::Send { .. }
                | Action::Secure { .. }
                | Action::Datagram { .. }
                | Action::Errand { .. } => {
                    panic!("nothing is said here")
                }
                Action::Connect { socket, target, .. } => {
                    self.connects += 1;
                    let place = &mut self.sockets[socket.index()];
                    assert_eq!(*place, None);
                    let n = usize::from(target.port() - 1000);
                    self.asked[n] += 1;
                    *place = Some(match self.targets[n] {
                        Behaviour::Answers(after) => (Some(now + after), Ok(())),
                        Behaviour::Refuses(after) => (Some(now + after), Err(111)),
                        Behaviour::Silent => (None, Ok(())),
                        Behaviour::Fails(errno) => (None, Err(errno)),
                    });
                    if let (None, Err(errno)) = place.unwrap() {
                        self.engine.handle_failed(now, socket, Errno(errno));
                    }
                }
            }
        }
        while let Some(report) = self.engine.poll_change() {
            self.told.push(report);
        }
    }

    /// When the owner wakes up next.
    pub fn wake(&self) -> Option<Instant> {
        let ready = self.sockets.iter().flatten().filter_map(|s| s.0).min();
        time::earliest(ready, self.engine.poll_timeout())
    }

    /// Runs until `end`, waking up `late` after it wanted to.
    pub fn run(&mut self, end: Instant, mut late: impl FnMut() -> Duration) {
        let mut turns = 0;
        while let Some(wake) = self.wake() {
            let now = self.now.max(wake) + late();
            if now > end {
                break;
            }
            self.now = now;
            self.turn();
            turns += 1;
            assert!(turns < 1_000_000, "the owner spins");
        }
        self.now = end.max(self.now);
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.run(self.now + duration, || Duration::ZERO);
    }

    pub fn health_of(&self, n: u16) -> HealthState {
        let entry = (0..self.engine.planned())
            .map(|p| self.engine.check_id(p).unwrap())
            .find(|id| self.engine.status(*id).unwrap().config.target == target(n));
        self.engine.health(entry.expect("planned"))
    }
}

pub const UP: Behaviour = Behaviour::Answers(Duration::from_millis(3));
