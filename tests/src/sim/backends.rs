//! The servers behind the balancers, as a TCP connect meets them.

use super::netlink::errno;
use super::random::Random;
use super::site::{BACKENDS, backend};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use trunnion_core::check::{CheckConfig, CheckPolicy, HealthState, Kind};
use trunnion_core::model::{DestinationKey, Family};
use trunnion_core::time::{Duration, Instant};

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes it after a while.
    Accepts(Duration),
    /// Nobody listens.
    Refuses,
    /// Says nothing.
    Hangs,
    /// Resets it.
    Resets,
    /// The last router says that there is no such host.
    Unreachable,
}

/// A server, and how it has been.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub behaviour: Behaviour,
    /// Since when.
    pub since: Instant,
    /// When it last was other than quick to accept.
    pub bad_at: Option<Instant>,
}

impl Target {
    /// Whether a probe with this timeout succeeds; nothing when it is a close
    /// call.
    pub fn serves(&self, timeout: Duration) -> Option<bool> {
        match self.behaviour {
            Behaviour::Accepts(after) if after * 3 / 2 <= timeout => Some(true),
            Behaviour::Accepts(after) if after >= timeout * 5 / 4 => Some(false),
            Behaviour::Accepts(_) => None,
            Behaviour::Refuses | Behaviour::Hangs | Behaviour::Resets | Behaviour::Unreachable => {
                Some(false)
            }
        }
    }

    fn is_quick(&self) -> bool {
        matches!(self.behaviour, Behaviour::Accepts(after) if after < Duration::from_millis(60))
    }
}

/// All servers.
#[derive(Debug)]
pub struct Backends {
    targets: BTreeMap<IpAddr, Target>,
    random: Random,
}

impl Backends {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::stream(seed, "backends");
        let mut targets = BTreeMap::new();
        for family in [Family::V4, Family::V6] {
            for n in 1..=BACKENDS {
                let mut target = Target {
                    behaviour: Behaviour::Accepts(Duration::from_millis(1)),
                    since: Instant::ZERO,
                    bad_at: None,
                };
                if random.chance(250) {
                    target.behaviour = draw(&mut random);
                    target.bad_at = Some(Instant::ZERO);
                }
                targets.insert(backend(family, n), target);
            }
        }
        Self { targets, random }
    }

    pub fn get(&self, address: IpAddr) -> Target {
        self.targets[&address]
    }

    /// One of them begins to behave in another way; which, and how.
    pub fn change(&mut self, now: Instant) -> (IpAddr, Behaviour) {
        let family = self.random.pick(&[Family::V4, Family::V4, Family::V6]);
        let address = backend(family, self.random.small(1, BACKENDS));
        let behaviour = draw(&mut self.random);
        let target = self.targets.get_mut(&address).expect("all are there");
        if !target.is_quick() {
            target.bad_at = Some(now);
        }
        target.behaviour = behaviour;
        target.since = now;
        if !target.is_quick() {
            target.bad_at = Some(now);
        }
        (address, behaviour)
    }

    /// When it last was other than quick to accept; `now` if it is that still.
    pub fn bad_at(&self, address: IpAddr, now: Instant) -> Option<Instant> {
        let target = self.get(address);
        if target.is_quick() {
            target.bad_at
        } else {
            Some(now)
        }
    }

    /// What comes of a connection, and when; nothing ever from one that hangs.
    pub fn answer(&mut self, address: IpAddr) -> Option<(Duration, Result<(), i32>)> {
        let flight = self
            .random
            .time(Duration::from_micros(100), Duration::from_millis(2));
        match self.get(address).behaviour {
            Behaviour::Accepts(after) => Some((flight + after, Ok(()))),
            Behaviour::Refuses => Some((flight, Err(errno::ECONNREFUSED))),
            Behaviour::Hangs => None,
            Behaviour::Resets => Some((flight, Err(errno::ECONNRESET))),
            Behaviour::Unreachable => Some((flight * 20, Err(errno::EHOSTUNREACH))),
        }
    }
}

fn draw(r: &mut Random) -> Behaviour {
    let ms = Duration::from_millis;
    match r.below(10) {
        0..=4 => Behaviour::Accepts(r.time(ms(1), ms(50))),
        5 => Behaviour::Accepts(ms(450)),
        6 => Behaviour::Refuses,
        7 => Behaviour::Hangs,
        8 => Behaviour::Resets,
        _ => Behaviour::Unreachable,
    }
}

/// How a destination is checked.
pub fn check(key: DestinationKey, r: &mut Random) -> CheckConfig {
    let target = SocketAddr::new(key.address, key.port);
    let mut check = CheckConfig::new(Kind::Tcp { half_open: false }, target);
    check.interval = Duration::from_millis(r.pick(&[500, 1000, 2000]));
    check.fast_interval = Duration::from_millis(r.pick(&[200, 1000]));
    check.down_interval = Duration::from_millis(r.pick(&[500, 1000, 3000]));
    check.timeout = Duration::from_millis(r.pick(&[100, 300, 1000]));
    check.rise = r.small(1, 3);
    check.fall = r.small(1, 3);
    check.policy = CheckPolicy {
        initial: r.pick(&[
            HealthState::Unknown,
            HealthState::Unknown,
            HealthState::Up,
            HealthState::Down,
        ]),
        backoff_percent: r.pick(&[100, 100, 200]),
        backoff_max_ms: 4_000,
        jitter_percent: r.pick(&[0, 0, 20]),
        flap_falls: r.pick(&[0, 0, 3]),
        flap_half_life_ms: 3_000,
    };
    check
}
