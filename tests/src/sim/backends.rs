//! The servers behind the balancers, as a check meets them that only connects, and
//! one that asks for a page.

use super::netlink::errno;
use super::random::Random;
use super::site::{BACKENDS, backend};
use super::web::{self, Came, Page};
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
    /// Takes it at once, and its page is not as it should be.
    Answers(Page),
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By a connection.
    Connects,
    /// For its page.
    Page,
}

impl Asked {
    /// How this check asks.
    pub fn by(check: &CheckConfig) -> Self {
        match check.kind {
            Kind::Tcp { .. } | Kind::Syn => Self::Connects,
            Kind::Stream(_) | Kind::Datagram(_) | Kind::Errand(_) => Self::Page,
        }
    }
}

/// How long a page takes at most beside the connection: a few pieces, and as many
/// turns of a loop.
const PAGE: Duration = Duration::from_millis(25);

/// A server, and how it has been.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub behaviour: Behaviour,
    /// Since when.
    pub since: Instant,
    /// When it last was other than quick to accept, and with its page.
    pub bad_at: [Option<Instant>; 2],
}

impl Target {
    /// Whether a probe with this timeout succeeds; nothing when it is a close
    /// call.
    pub fn serves(&self, timeout: Duration, asked: Asked) -> Option<bool> {
        let more = match asked {
            Asked::Connects => Duration::ZERO,
            Asked::Page => PAGE,
        };
        match self.behaviour {
            Behaviour::Accepts(after) if (after + more) * 3 / 2 <= timeout => Some(true),
            Behaviour::Accepts(after) if after >= timeout * 5 / 4 => Some(false),
            Behaviour::Accepts(_) => None,
            Behaviour::Answers(page) => Some(asked == Asked::Connects || page == Page::Ready),
            Behaviour::Refuses | Behaviour::Hangs | Behaviour::Resets | Behaviour::Unreachable => {
                Some(false)
            }
        }
    }

    fn is_quick(&self, asked: Asked) -> bool {
        let ms = Duration::from_millis;
        match (self.behaviour, asked) {
            (Behaviour::Accepts(after), Asked::Connects) => after < ms(60),
            (Behaviour::Accepts(after), Asked::Page) => after < ms(40),
            (Behaviour::Answers(_), Asked::Connects) => true,
            (Behaviour::Answers(page), Asked::Page) => page == Page::Ready,
            (
                Behaviour::Refuses | Behaviour::Hangs | Behaviour::Resets | Behaviour::Unreachable,
                _,
            ) => false,
        }
    }

    /// Notes that it is other than quick, in which way it is.
    fn note_bad(&mut self, now: Instant) {
        for (at, asked) in [Asked::Connects, Asked::Page].into_iter().enumerate() {
            if !self.is_quick(asked) {
                self.bad_at[at] = Some(now);
            }
        }
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
                    bad_at: [None; 2],
                };
                if random.chance(250) {
                    target.behaviour = draw(&mut random);
                    target.note_bad(Instant::ZERO);
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
        target.note_bad(now);
        target.behaviour = behaviour;
        target.since = now;
        target.note_bad(now);
        (address, behaviour)
    }

    /// When it last was other than quick; `now` if it is that still.
    pub fn bad_at(&self, address: IpAddr, asked: Asked, now: Instant) -> Option<Instant> {
        let target = self.get(address);
        if target.is_quick(asked) {
            target.bad_at[asked as usize]
        } else {
            Some(now)
        }
    }

    /// What comes of a connection, and when; nothing ever from one that hangs.
    pub fn connects(&mut self, address: IpAddr) -> Option<(Duration, Came)> {
        let flight = self
            .random
            .time(Duration::from_micros(100), Duration::from_millis(2));
        match self.get(address).behaviour {
            Behaviour::Accepts(after) => Some((flight + after, Came::Connected)),
            Behaviour::Answers(_) => Some((flight, Came::Connected)),
            Behaviour::Refuses => Some((flight, Came::Failed(errno::ECONNREFUSED))),
            Behaviour::Hangs => None,
            Behaviour::Resets => Some((flight, Came::Failed(errno::ECONNRESET))),
            Behaviour::Unreachable => Some((flight * 20, Came::Failed(errno::EHOSTUNREACH))),
        }
    }

    /// What comes of a request on a connection that stands, each so long after what
    /// came before. One that has changed its ways since behaves as it does now.
    pub fn answers(&mut self, address: IpAddr) -> Vec<(Duration, Came)> {
        let page = match self.get(address).behaviour {
            Behaviour::Accepts(_) => Page::Ready,
            Behaviour::Answers(page) => page,
            Behaviour::Refuses | Behaviour::Resets => Page::Resets,
            Behaviour::Hangs | Behaviour::Unreachable => Page::Nothing,
        };
        web::answer(page, &mut self.random)
    }
}

fn draw(r: &mut Random) -> Behaviour {
    let ms = Duration::from_millis;
    match r.below(14) {
        0..=4 => Behaviour::Accepts(r.time(ms(1), ms(50))),
        5 => Behaviour::Accepts(ms(450)),
        6 => Behaviour::Refuses,
        7 => Behaviour::Hangs,
        8 => Behaviour::Resets,
        9 => Behaviour::Unreachable,
        _ => Behaviour::Answers(r.pick(&Page::BAD)),
    }
}

/// How a destination is checked.
pub fn check(key: DestinationKey, r: &mut Random) -> CheckConfig {
    let target = SocketAddr::new(key.address, key.port);
    let kind = match r.chance(500) {
        true => web::kind(),
        false => Kind::Tcp { half_open: false },
    };
    let mut check = CheckConfig::new(kind, target);
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
        expiry_warning_s: 0,
    };
    check
}
