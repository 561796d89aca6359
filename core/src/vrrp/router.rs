//! One virtual router of one family: the machine with its config, counters and
//! polls. Why we became Active is answered in [`super::State`]'s transitions.

use super::state::{Event, Heard, State, is_late, step};
use super::{
    Actions, Advert, AdvertForm, Centis, Counters, PRIORITY_RESIGN, Reason, Remarks, Resume, Role,
    RouterConfig, Transition,
};
use crate::time::{Instant, earliest};
use core::net::IpAddr;

/// An advert to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Our priority, or 0 to resign.
    pub priority: u8,
    /// Our `Advertisement_Interval`.
    pub interval: Centis,
}

/// One virtual router of one family (RFC 9568 6).
///
/// Call a `handle_*` when its event happens; after each, and when
/// [`poll_timeout`](Self::poll_timeout) has come, call
/// [`handle_timeout`](Self::handle_timeout), then
/// [`poll_transmit`](Self::poll_transmit) and
/// [`poll_announce`](Self::poll_announce). Any call too many is a no-op.
///
/// ```
/// use trunnion_core::model::Family;
/// use trunnion_core::time::Instant;
/// use trunnion_core::vrrp::{Addresses, Router, RouterConfig};
///
/// let mut router = Router::new(RouterConfig::new(51, Family::V4));
/// let _ = router.handle_startup(Instant::ZERO, None);
/// // Nobody advertises: after 3 s and a skew of 156/256 s the addresses are ours.
/// let at = router.poll_timeout().unwrap();
/// assert_eq!(at, Instant::from_nanos(3_609_375_000));
/// let actions = router.handle_timeout(at);
/// assert_eq!(actions.addresses, Addresses::Add);
/// assert_eq!(router.poll_transmit(at).unwrap().priority, 100);
/// router.handle_sent(at);
/// assert_eq!(router.poll_transmit(at), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Router {
    config: RouterConfig,
    state: State,
    counters: Counters,
    last_transition: Option<(Instant, Transition)>,
}

impl Router {
    /// A router in [`State::Initialize`].
    #[must_use]
    pub const fn new(config: RouterConfig) -> Self {
        Self {
            config,
            state: State::NEW,
            counters: Counters::ZERO,
            last_transition: None,
        }
    }

    /// The interface is up and has an address to send from: take part. Priority
    /// 255 becomes Active, as does a router whose `resume` holds; any other
    /// becomes Backup.
    pub fn handle_startup(&mut self, now: Instant, resume: Option<Resume>) -> Actions {
        self.apply(now, Event::Startup(resume))
    }

    /// A valid advert of our VRID and family came from `source`; `primary` is
    /// the address we send from on that interface.
    ///
    /// After a stall hand in what waits in the socket before calling
    /// [`handle_timeout`](Self::handle_timeout): an Active that spoke while we
    /// slept has not fallen silent.
    pub fn handle_advert(
        &mut self,
        now: Instant,
        advert: &Advert<'_>,
        source: IpAddr,
        primary: IpAddr,
    ) -> Actions {
        let heard = Heard::new(advert.priority(), advert.interval(), source, primary);
        let before = self.state.role();
        let actions = self.apply(now, Event::Advert(heard));
        self.count_advert(before, advert, actions.remarks);
        actions
    }

    /// As [`handle_advert`](Self::handle_advert), when the kernel has taken none
    /// of our adverts for as long as peers wait: whoever speaks has our role by
    /// right, and an Active yields to it whatever the priorities. One that hears
    /// nobody stays, since nobody else would serve.
    pub fn handle_advert_silenced(
        &mut self,
        now: Instant,
        advert: &Advert<'_>,
        source: IpAddr,
        primary: IpAddr,
    ) -> Actions {
        let heard = Heard::new(advert.priority(), advert.interval(), source, primary);
        let before = self.state.role();
        let event = match before {
            Role::Active => Event::Silenced(heard),
            Role::Initialize | Role::Backup => Event::Advert(heard),
        };
        let actions = self.apply(now, event);
        self.count_advert(before, advert, actions.remarks);
        actions
    }

    /// Time went on. Expires the `Active_Down_Timer`; what is due to be sent is
    /// told by the polls.
    pub fn handle_timeout(&mut self, now: Instant) -> Actions {
        self.apply(now, Event::Timeout)
    }

    /// The interface went down, or has no address to send from.
    pub fn handle_fault(&mut self, now: Instant) -> Actions {
        self.apply(now, Event::Fault)
    }

    /// The operator wants us gone. While Active an advert of priority 0 is owed
    /// now: go on polling until it was sent.
    pub fn handle_shutdown(&mut self, now: Instant) -> Actions {
        self.handle_resign(now, Reason::Shutdown)
    }

    /// It can speak and must not take part, as [`Reason::Tracked`] and
    /// [`Reason::GroupFault`] say: as [`handle_shutdown`](Self::handle_shutdown).
    pub fn handle_resign(&mut self, now: Instant, why: Reason) -> Actions {
        self.apply(now, Event::Shutdown(why))
    }

    /// An Active becomes Backup without having heard a better one. Who should
    /// take over soon is to be told by the owner, with an advert of priority 0:
    /// a Backup has none to send.
    pub fn handle_step_down(&mut self, now: Instant, why: Reason) -> Actions {
        self.apply(now, Event::StepDown(why))
    }

    /// A reload, or a tracked thing that weighs on the priority. An unchanged
    /// config touches nothing; a changed one moves only the deadlines that
    /// depend on what changed. The identity stays: a router of another VRID or
    /// family is another router, and those two fields of `config` are not
    /// looked at.
    pub fn handle_config(&mut self, now: Instant, config: RouterConfig) -> Actions {
        let config = RouterConfig {
            vrid: self.config.vrid,
            family: self.config.family,
            ..config
        };
        if config == self.config {
            return Actions::NOOP;
        }
        let actions = self.apply(now, Event::Config(config));
        self.config = config;
        actions
    }

    /// The advert that is due or owed, until [`handle_sent`](Self::handle_sent).
    ///
    /// Poll after every `handle_*` and when [`poll_timeout`](Self::poll_timeout)
    /// has come. An owner that cannot send waits until its socket may be written
    /// to: the advert stays due.
    #[must_use]
    pub fn poll_transmit(&self, now: Instant) -> Option<Transmit> {
        let (at, priority) = match self.state {
            State::Initialize { resign_at } => (resign_at?, PRIORITY_RESIGN),
            State::Backup { .. } => return None,
            State::Active { advert_at, .. } => (advert_at, self.config.priority),
        };
        (at <= now).then_some(Transmit {
            priority,
            interval: self.config.interval,
        })
    }

    /// The kernel accepted the advert that was polled. Only now the state moves.
    pub fn handle_sent(&mut self, now: Instant) {
        let Some(Transmit { priority, .. }) = self.poll_transmit(now) else {
            return;
        };
        bump(&mut self.counters.sent);
        if priority == PRIORITY_RESIGN {
            bump(&mut self.counters.sent_resign);
        } else if let State::Active { advert_at, .. } = self.state
            && is_late(&self.config, now, advert_at)
        {
            bump(&mut self.counters.sent_late);
        }
        let _ = self.apply(now, Event::Sent);
    }

    /// Whether all addresses are due to be announced: a gratuitous ARP for each
    /// of IPv4, an unsolicited neighbour advertisement for each of IPv6. Poll
    /// when [`poll_transmit`](Self::poll_transmit) is polled, after it.
    #[must_use]
    pub fn poll_announce(&self, now: Instant) -> bool {
        match self.state {
            State::Initialize { .. } | State::Backup { .. } => false,
            State::Active { announce, .. } => announce.is_due(now),
        }
    }

    /// All addresses were announced.
    pub fn handle_announced(&mut self, now: Instant) {
        if self.poll_announce(now) {
            bump(&mut self.counters.announced);
            let _ = self.apply(now, Event::Announced);
        }
    }

    /// Addresses are on the interface that were not there when the addresses
    /// were last announced: a reload added them, or they were taken away and put
    /// back. While Active all are announced again.
    pub fn handle_addresses_added(&mut self, now: Instant) {
        let _ = self.apply(now, Event::AddressesAdded);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and the polls
    /// again, if nothing else happens. In the past when something due was not
    /// done yet; `None` when nothing is waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Initialize { resign_at } => resign_at,
            State::Backup { active_down_at, .. } => Some(active_down_at),
            State::Active {
                advert_at,
                announce,
            } => earliest(Some(advert_at), announce.at()),
        }
    }

    /// The owner compared the advert's list with its own addresses
    /// ([`Advert::lists`]) and they differ. Counted, never a reason to drop it.
    pub const fn note_addresses_differ(&mut self) {
        self.counters.addresses_differ = self.counters.addresses_differ.saturating_add(1);
    }

    /// The state, with its deadlines.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The config in force.
    #[must_use]
    pub const fn config(&self) -> &RouterConfig {
        &self.config
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// `Active_Adver_Interval`: what a Backup learned from the Active, and our
    /// own `Advertisement_Interval` in the other states.
    #[must_use]
    pub const fn active_interval(&self) -> Centis {
        match self.state {
            State::Backup {
                learned: Some(learned),
                ..
            } => learned,
            State::Backup { learned: None, .. }
            | State::Initialize { .. }
            | State::Active { .. } => self.config.interval,
        }
    }

    /// The last change of state and when it was.
    #[must_use]
    pub const fn last_transition(&self) -> Option<(Instant, Transition)> {
        self.last_transition
    }

    fn apply(&mut self, now: Instant, event: Event) -> Actions {
        let (state, actions) = step(&self.config, now, self.state, event);
        self.state = state;
        if let Some(transition) = actions.transition {
            self.last_transition = Some((now, transition));
            bump(match transition.to {
                Role::Initialize => &mut self.counters.became_initialize,
                Role::Backup => &mut self.counters.became_backup,
                Role::Active => &mut self.counters.became_active,
            });
        }
        actions
    }

    fn count_advert(&mut self, before: Role, advert: &Advert<'_>, remarks: Remarks) {
        let counters = &mut self.counters;
        bump(&mut counters.received);
        let discarded = match self.state {
            State::Backup { then, .. } => then == Reason::Preempted,
            State::Initialize { .. } | State::Active { .. } => false,
        };
        for (happened, counter) in [
            (
                advert.priority() == PRIORITY_RESIGN,
                &mut counters.received_resign,
            ),
            (before == Role::Initialize, &mut counters.received_idle),
            (
                advert.form() == AdvertForm::Rfc5798,
                &mut counters.received_rfc5798,
            ),
            (
                remarks.contains(Remarks::INTERVAL_DIFFERS),
                &mut counters.interval_differs,
            ),
            (
                remarks.contains(Remarks::OWN_ADDRESS),
                &mut counters.own_address,
            ),
            (
                remarks.contains(Remarks::EQUAL_PRIORITY),
                &mut counters.equal_priority,
            ),
            (
                remarks.contains(Remarks::REASSERTED),
                &mut counters.reasserted,
            ),
            (discarded, &mut counters.discarded),
        ] {
            if happened {
                bump(counter);
            }
        }
    }
}

fn bump(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests;
