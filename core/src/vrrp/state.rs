//! The three states of RFC 9568 6.3 and every way between them.
//!
//! What stands in quotes is the RFC's, at the line that obeys it.
//!
//! Transitions are pure: a state and an event make a state and [`Actions`].
//! Deadlines live in the state that needs them, so none can be stale.

use super::announce::Announce;
use super::timing::{active_down_interval, skew_time};
use super::{Actions, Addresses, Centis, Reason, Remarks, Resume, Role, RouterConfig, Transition};
use crate::time::Instant;
use core::cmp::Ordering;
use core::net::IpAddr;
use core::time::Duration;

/// Where a virtual router is, with what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not taking part: not started, at fault, or shut down.
    Initialize {
        /// Since when an advert of priority 0 is owed, after a shutdown while
        /// Active.
        resign_at: Option<Instant>,
    },
    /// Another router is Active, or we wait to learn that none is.
    Backup {
        /// The `Active_Down_Timer`: when we take over.
        active_down_at: Instant,
        /// `Active_Adver_Interval` as the Active told it; ours stands in until
        /// one did.
        learned: Option<Centis>,
        /// When the timer was last set.
        heard_at: Instant,
        /// Why we will take over when it fires.
        then: Reason,
        /// Since when the Active is known to be of a lower priority than ours:
        /// from here the preempt delay counts.
        lower_since: Option<Instant>,
    },
    /// The addresses are ours.
    Active {
        /// The `Adver_Timer`: when the next advert is due.
        advert_at: Instant,
        /// When the addresses are next announced.
        announce: Announce,
    },
}

impl State {
    /// The state a router is made in.
    pub const NEW: Self = Self::Initialize { resign_at: None };

    /// The state without its deadlines.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Initialize { .. } => Role::Initialize,
            Self::Backup { .. } => Role::Backup,
            Self::Active { .. } => Role::Active,
        }
    }
}

/// What happens to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Startup(Option<Resume>),
    Advert(Heard),
    /// An advert heard while the kernel has taken none of ours for as long as
    /// peers wait.
    Silenced(Heard),
    Timeout,
    Sent,
    Announced,
    AddressesAdded,
    Fault,
    /// Leave with a goodbye, for this reason.
    Shutdown(Reason),
    /// Be Backup, for this reason.
    StepDown(Reason),
    /// The config given to `step` is the one before.
    Config(RouterConfig),
}

/// What the election looks at in an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub priority: u8,
    pub interval: Centis,
    /// Its source against our primary address, unsigned in network order.
    pub address: Ordering,
}

impl Heard {
    /// Compares `source` with `primary` as the RFC does: unsigned, in network
    /// order, which is how `IpAddr` compares within a family.
    pub fn new(priority: u8, interval: Centis, source: IpAddr, primary: IpAddr) -> Self {
        Self {
            priority,
            interval,
            address: source.cmp(&primary),
        }
    }
}

/// The machine: RFC 9568 6.4, and the extensions of [`RouterConfig`].
pub(super) fn step(
    config: &RouterConfig,
    now: Instant,
    state: State,
    event: Event,
) -> (State, Actions) {
    match state {
        State::Initialize { resign_at } => initialize(config, now, resign_at, event),
        State::Backup {
            active_down_at,
            learned,
            heard_at,
            then,
            lower_since,
        } => {
            let waiting = Waiting {
                active_down_at,
                learned,
                heard_at,
                then,
                lower_since,
            };
            waiting.step(config, now, event)
        }
        State::Active {
            advert_at,
            announce,
        } => active(config, now, advert_at, announce, event),
    }
}

fn initialize(
    config: &RouterConfig,
    now: Instant,
    resign_at: Option<Instant>,
    event: Event,
) -> (State, Actions) {
    let stay = State::Initialize { resign_at };
    match event {
        Event::Startup(resume) => {
            if config.is_owner() {
                become_active(config, now, Role::Initialize, Reason::Owner)
            } else if resume.is_some_and(|resume| resume.holds(now)) {
                become_active(config, now, Role::Initialize, Reason::Resumed)
            } else {
                let to = Waiting::begin(config, now);
                (to, moved(Role::Initialize, &to, Reason::Started))
            }
        }
        Event::Sent if resign_at.is_some_and(|at| at <= now) => (State::NEW, Actions::NOOP),
        // Nothing can be sent any more.
        Event::Fault => (State::NEW, Actions::NOOP),
        Event::Sent
        | Event::Advert(_)
        | Event::Silenced(_)
        | Event::Timeout
        | Event::Announced
        | Event::AddressesAdded
        | Event::Shutdown(_)
        | Event::StepDown(_)
        | Event::Config(_) => (stay, Actions::NOOP),
    }
}

/// The fields of [`State::Backup`].
#[derive(Clone, Copy)]
struct Waiting {
    active_down_at: Instant,
    learned: Option<Centis>,
    heard_at: Instant,
    then: Reason,
    lower_since: Option<Instant>,
}

impl Waiting {
    /// A Backup that has heard nobody yet.
    fn begin(config: &RouterConfig, now: Instant) -> State {
        let waiting = Self {
            active_down_at: now,
            learned: None,
            heard_at: now,
            then: Reason::NobodyActive,
            lower_since: None,
        };
        waiting.reset(config, now, Reason::NobodyActive)
    }

    fn step(self, config: &RouterConfig, now: Instant, event: Event) -> (State, Actions) {
        match event {
            Event::Advert(heard) => (self.advert(config, now, heard), remarks(config, heard)),
            // 6.4.2, "If the Active_Down_Timer fires, then: Send an ADVERTISEMENT
            // [..] Transition to the {Active} state".
            Event::Timeout if self.active_down_at <= now => {
                become_active(config, now, Role::Backup, self.then)
            }
            Event::Fault => (State::NEW, moved(Role::Backup, &State::NEW, Reason::Fault)),
            // 6.4.2, "If a Shutdown event is received, then: Cancel the
            // Active_Down_Timer; Transition to the {Initialize} state".
            Event::Shutdown(why) => (State::NEW, moved(Role::Backup, &State::NEW, why)),
            Event::Config(new) if new.is_owner() && !config.is_owner() => {
                become_active(&new, now, Role::Backup, Reason::Owner)
            }
            Event::Config(new) => (self.configure(&new, now), Actions::NOOP),
            Event::Timeout
            | Event::Silenced(_)
            | Event::Startup(_)
            | Event::Sent
            | Event::Announced
            | Event::AddressesAdded
            | Event::StepDown(_) => (self.state(), Actions::NOOP),
        }
    }

    /// 6.4.2, "If an ADVERTISEMENT is received".
    fn advert(self, config: &RouterConfig, now: Instant, heard: Heard) -> State {
        // "If the Priority in the ADVERTISEMENT is 0, then: Set the
        // Active_Down_Timer to Skew_Time".
        if heard.priority == 0 {
            return self.reset(config, now, Reason::ActiveResigned);
        }
        let lower_since =
            (heard.priority < config.priority).then(|| self.lower_since.unwrap_or(now));
        let heeded = Self {
            lower_since,
            ..self
        };
        match lower_since {
            // "preempt was true and priority was less than the local priority:
            // Discard the ADVERTISEMENT". The delay before that is ours.
            Some(since) if config.preempts() && now >= since + preempt_delay(config) => Self {
                // The timer runs on; only why it will fire is known now.
                then: Reason::Preempted,
                ..heeded
            }
            .state(),
            // "If Preempt_Mode is False, or if the Priority in the ADVERTISEMENT is
            // greater than or equal to the local Priority, then: Set the
            // Active_Adver_Interval to the Max Advertise Interval contained in the
            // ADVERTISEMENT; Recompute the Skew_Time; Recompute the
            // Active_Down_Interval; Set the Active_Down_Timer to
            // Active_Down_Interval".
            Some(_) | None => Self {
                learned: Some(heard.interval),
                ..heeded
            }
            .reset(config, now, Reason::ActiveSilent),
        }
    }

    /// The timer was set by figures that may have changed: sets it from the same
    /// start by the new ones.
    fn configure(self, config: &RouterConfig, now: Instant) -> State {
        // The Active that was about to be preempted is to be left alone, and
        // spoke not long ago.
        if self.then == Reason::Preempted && !config.preempts() {
            return self.reset(config, now, Reason::ActiveSilent);
        }
        Self {
            active_down_at: (self.heard_at + self.wait(config, self.then)).max(now),
            ..self
        }
        .state()
    }

    /// Sets the timer now, to fire for the reason `then`.
    fn reset(self, config: &RouterConfig, now: Instant, then: Reason) -> State {
        Self {
            active_down_at: now + self.wait(config, then),
            heard_at: now,
            then,
            ..self
        }
        .state()
    }

    fn wait(self, config: &RouterConfig, then: Reason) -> Duration {
        let active_interval = self.learned.unwrap_or(config.interval);
        if then == Reason::ActiveResigned {
            skew_time(config.priority, active_interval)
        } else {
            active_down_interval(config.priority, active_interval)
        }
    }

    const fn state(self) -> State {
        let Self {
            active_down_at,
            learned,
            heard_at,
            then,
            lower_since,
        } = self;
        State::Backup {
            active_down_at,
            learned,
            heard_at,
            then,
            lower_since,
        }
    }
}

fn active(
    config: &RouterConfig,
    now: Instant,
    advert_at: Instant,
    announce: Announce,
    event: Event,
) -> (State, Actions) {
    let stay = State::Active {
        advert_at,
        announce,
    };
    match event {
        Event::Advert(heard) => active_advert(config, now, advert_at, announce, heard),
        Event::Silenced(heard) if heard.priority > 0 && heard.address != Ordering::Equal => {
            yield_to(config, now, heard, Reason::CannotSpeak)
        }
        Event::Silenced(heard) => active_advert(config, now, advert_at, announce, heard),
        // 6.4.3, "If the Adver_Timer fires, then: Send an ADVERTISEMENT; Reset the
        // Adver_Timer to Advertisement_Interval".
        Event::Sent if advert_at <= now => (
            State::Active {
                advert_at: next_advert(config, now, advert_at),
                announce,
            },
            Actions::NOOP,
        ),
        Event::Announced => (
            State::Active {
                advert_at,
                announce: announce.announced(&config.announce, now),
            },
            Actions::NOOP,
        ),
        Event::AddressesAdded => (
            State::Active {
                advert_at,
                announce: announce.reassert(&config.announce, now),
            },
            Actions::NOOP,
        ),
        Event::Fault => (State::NEW, moved(Role::Active, &State::NEW, Reason::Fault)),
        // 6.4.3, "If a Shutdown event is received, then: Cancel the Adver_Timer; Send
        // an ADVERTISEMENT with Priority = 0; Transition to the {Initialize} state".
        Event::Shutdown(why) => {
            let to = State::Initialize {
                resign_at: Some(now),
            };
            (to, moved(Role::Active, &to, why))
        }
        Event::StepDown(why) => {
            let to = Waiting::begin(config, now);
            (to, moved(Role::Active, &to, why))
        }
        // Peers count by the interval they last heard: a longer one must reach
        // them before we fall silent for it, so the next advert stays where it
        // is; a shorter one may as well begin now.
        Event::Config(new) => (
            State::Active {
                advert_at: advert_at.min(now + new.interval.duration()),
                announce,
            },
            Actions::NOOP,
        ),
        Event::Sent | Event::Timeout | Event::Startup(_) => (stay, Actions::NOOP),
    }
}

/// 6.4.3, "If an ADVERTISEMENT is received".
fn active_advert(
    config: &RouterConfig,
    now: Instant,
    advert_at: Instant,
    announce: Announce,
    heard: Heard,
) -> (State, Actions) {
    let at_once = |announce| State::Active {
        advert_at: advert_at.min(now),
        announce,
    };
    if heard.address == Ordering::Equal {
        // Our own advert come back, or a host that has our address. To answer
        // an echo would be to answer ourselves for ever.
        let stay = State::Active {
            advert_at,
            announce,
        };
        let mut actions = remarks(config, heard);
        actions.remarks |= Remarks::OWN_ADDRESS;
        return (stay, actions);
    }
    // "If the Priority in the ADVERTISEMENT is 0, then: Send an ADVERTISEMENT".
    if heard.priority == 0 {
        return (at_once(announce), remarks(config, heard));
    }
    let mut actions = remarks(config, heard);
    let order = heard.priority.cmp(&config.priority);
    if order == Ordering::Equal {
        actions.remarks |= Remarks::EQUAL_PRIORITY;
    }
    // "greater than the local Priority or [..] equal to the local Priority and the
    // primary IPvX address of the sender is greater than the local primary IPvX
    // address (based on an unsigned integer comparison of the IPvX addresses in
    // network byte order)".
    let why = match (order, heard.address) {
        (Ordering::Greater, _) => Some(Reason::HigherPriority),
        (Ordering::Equal, Ordering::Greater) => Some(Reason::GreaterAddress),
        (Ordering::Equal, Ordering::Less | Ordering::Equal) | (Ordering::Less, _) => None,
    };
    if let Some(why) = why {
        let (to, moved) = yield_to(config, now, heard, why);
        actions.addresses = moved.addresses;
        actions.transition = moved.transition;
        return (to, actions);
    }
    // "Discard the ADVERTISEMENT; Send an ADVERTISEMENT immediately to assert the
    // {Active} state to the sending VRRP Router and to update any learning bridges".
    actions.remarks |= Remarks::REASSERTED;
    (at_once(announce.reassert(&config.announce, now)), actions)
}

/// How long a router that could not speak leaves a living Active of lower
/// priority alone: as Backup it does not know whether it could by now.
const SILENCE_HOLD: Duration = Duration::from_secs(30);

/// Another router is Active from now on.
fn yield_to(config: &RouterConfig, now: Instant, heard: Heard, why: Reason) -> (State, Actions) {
    let waiting = Waiting {
        active_down_at: now,
        learned: Some(heard.interval),
        heard_at: now,
        then: Reason::ActiveSilent,
        lower_since: (why == Reason::CannotSpeak).then(|| now + SILENCE_HOLD),
    };
    let to = waiting.reset(config, now, Reason::ActiveSilent);
    (to, moved(Role::Active, &to, why))
}

/// The deadline after the advert due at `advert_at` was sent: one interval
/// later, whenever it was really sent, so that lateness does not add up. After
/// a whole interval lost, the schedule begins anew instead of catching up in a
/// burst.
fn next_advert(config: &RouterConfig, now: Instant, advert_at: Instant) -> Instant {
    let interval = config.interval.duration();
    if is_late(config, now, advert_at) {
        now + interval
    } else {
        advert_at + interval
    }
}

/// Whether an advert sent now was due a whole interval ago.
pub(super) fn is_late(config: &RouterConfig, now: Instant, advert_at: Instant) -> bool {
    now.since(advert_at) >= config.interval.duration()
}

fn become_active(config: &RouterConfig, now: Instant, from: Role, why: Reason) -> (State, Actions) {
    let to = State::Active {
        advert_at: now,
        announce: Announce::begin(&config.announce, now),
    };
    (to, moved(from, &to, why))
}

fn moved(from: Role, to: &State, why: Reason) -> Actions {
    let to = to.role();
    let addresses = match (from, to) {
        (_, Role::Active) => Addresses::Add,
        (Role::Backup, Role::Initialize) => Addresses::Keep,
        (_, Role::Backup | Role::Initialize) => Addresses::Remove,
    };
    Actions {
        addresses,
        transition: Some(Transition { from, to, why }),
        remarks: Remarks::empty(),
    }
}

fn remarks(config: &RouterConfig, heard: Heard) -> Actions {
    let mut actions = Actions::NOOP;
    actions
        .remarks
        .set(Remarks::INTERVAL_DIFFERS, heard.interval != config.interval);
    actions
}

const fn preempt_delay(config: &RouterConfig) -> Duration {
    if config.is_owner() {
        Duration::ZERO
    } else {
        config.preempt_delay
    }
}
