//! One ward: the router that the guardian speaks for, and what is left to do.

use super::{Done, WordOut};
use crate::director::ha::{Memory, Pulse, Ward, encode_advert};
use crate::model::Family;
use crate::route::InterfaceIndex;
use crate::time::{Duration, Instant};
use crate::vrrp::{self, Advert, Role, Router, RouterConfig, State, Transmit};
use core::net::IpAddr;
use core::ops::Range;

/// How long after a refused send the next attempt is made, and how many.
const RESEND_AFTER: Duration = Duration::from_millis(1);
const RESENDS_MAX: u8 = 3;

/// What the operator wants when the daemon dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCrash {
    /// Say goodbye at once.
    #[default]
    Resign,
    /// Keep the roles for a daemon that is started again, at most for so long.
    Hold {
        /// From the death on.
        time: Duration,
    },
}

/// So many holds long must a daemon that went on where another died have lived,
/// or its own death is not held for: one that dies again and again would keep a
/// role for ever, and never check a backend.
const HOLD_AGAIN: u32 = 10;

impl OnCrash {
    /// As a word.
    #[must_use]
    pub fn word(self) -> u64 {
        match self {
            Self::Resign => 0,
            Self::Hold { time } => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// From a word.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        match word {
            0 => Self::Resign,
            nanos => Self::Hold {
                time: Duration::from_nanos(nanos),
            },
        }
    }

    /// What is done for a daemon that died now and had gone on, at `resumed_at`,
    /// where an earlier one died; `None` when it had not.
    #[must_use]
    pub fn after(self, now: Instant, resumed_at: Option<Instant>) -> Self {
        match (self, resumed_at) {
            (Self::Hold { time }, Some(at)) if now.since(at) < time.saturating_mul(HOLD_AGAIN) => {
                Self::Resign
            }
            (policy, _) => policy,
        }
    }
}

/// A ward, and what is left to do for it.
#[derive(Clone, Debug)]
pub struct Charge {
    pub(super) ward: Option<Ward>,
    cell: usize,
    router: Router,
    /// As the dead left it, and as adverts sent here went on.
    pulse: Pulse,
    memory_dirty: bool,
    /// Which unicast peer is sent to next.
    peer: u8,
    resends: u8,
    retry_at: Option<Instant>,
    /// The kernel took the advert at hand for one peer at least.
    reached: bool,
    /// It stepped down to a better one, which must hear of it.
    parting: bool,
    /// It was Active when the daemon died.
    spoke: bool,
    /// Addresses asked off so far.
    removed: u32,
}

impl Charge {
    /// A charge of no ward, to fill the owner's slice with.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            ward: None,
            cell: 0,
            router: Router::new(RouterConfig::new(1, Family::V4)),
            pulse: Pulse {
                speaks: false,
                last_sent: Instant::ZERO,
                interval: vrrp::Centis::SECOND,
            },
            memory_dirty: false,
            peer: 0,
            resends: 0,
            retry_at: None,
            reached: false,
            parting: false,
            spoke: false,
            removed: 0,
        }
    }

    pub(super) fn new(now: Instant, cell: usize, ward: Ward, pulse: Pulse) -> Self {
        let mut router = Router::new(ward.router);
        // An owner would begin by itself; one that was not Active has nothing
        // to give back.
        let resume = pulse.resume().filter(|resume| resume.holds(now));
        if resume.is_some() {
            let _ = router.handle_startup(now, resume);
        }
        Self {
            ward: Some(ward),
            cell,
            router,
            spoke: resume.is_some(),
            pulse,
            ..Self::blank()
        }
    }

    pub(super) fn role(&self) -> Role {
        self.router.state().role()
    }

    pub(super) const fn cell(&self) -> usize {
        self.cell
    }

    /// Whether the role is held.
    pub(super) fn speaks(&self) -> bool {
        self.role() == Role::Active
    }

    pub(super) fn owes_goodbye(&self) -> bool {
        self.parting
            || matches!(
                self.router.state(),
                State::Initialize { resign_at: Some(_) }
            )
    }

    /// The role is given back; a goodbye is owed if it was held.
    pub(super) fn resign(&mut self, now: Instant) {
        let _ = self.router.handle_shutdown(now);
        self.forget();
    }

    /// The next run must not go on as Active.
    const fn forget(&mut self) {
        self.memory_dirty |= self.pulse.speaks;
        self.pulse.speaks = false;
        self.peer = 0;
        self.resends = 0;
        self.retry_at = None;
    }

    pub(super) fn answers_for(&self, interface: InterfaceIndex, family: Family, vrid: u8) -> bool {
        let router = self.router.config();
        let here = self.ward.as_ref().is_some_and(|w| w.interface == interface);
        here && router.family == family && router.vrid == vrid
    }

    pub(super) fn handle_advert(&mut self, now: Instant, advert: &Advert<'_>, source: IpAddr) {
        let Some(ward) = self.ward.as_ref().filter(|_| self.speaks()) else {
            return;
        };
        let expected = ward.peers.is_empty() || ward.peers.contains(&source);
        let Some(primary) = ward.source.filter(|own| *own != source && expected) else {
            return;
        };
        let _ = self.router.handle_advert(now, advert, source, primary);
        if !self.speaks() {
            // As the daemon does: the better one announces the addresses again
            // when it hears from us once more.
            let _ = self.router.handle_shutdown(now);
            self.forget();
            self.parting = true;
        }
    }

    /// Its group, if it belongs to one.
    pub(super) fn group(&self) -> Option<u16> {
        self.ward.as_ref().and_then(|ward| ward.group)
    }

    /// What an advert must be to be heard.
    pub(super) fn terms(&self) -> vrrp::Terms {
        self.ward.as_ref().map_or(vrrp::Terms::RFC, Ward::terms)
    }

    pub(super) fn poll_memory(&mut self) -> Option<(usize, Memory)> {
        if !self.memory_dirty {
            return None;
        }
        self.memory_dirty = false;
        let Pulse {
            speaks,
            last_sent,
            interval,
        } = self.pulse;
        let memory = Memory {
            key: self.ward.as_ref()?.key,
            active: speaks,
            last_sent,
            interval: interval.get(),
        };
        Some((self.cell, memory))
    }

    fn transmit(&self, now: Instant) -> Option<Transmit> {
        let RouterConfig {
            priority, interval, ..
        } = *self.router.config();
        let parting = self.parting.then_some(Transmit { priority, interval });
        parting.or_else(|| self.router.poll_transmit(now))
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        let waits = self.retry_at.is_some_and(|retry_at| now < retry_at);
        !waits && self.transmit(now).is_some()
    }

    pub(super) fn encode(
        &self,
        now: Instant,
        addresses: impl Iterator<Item = IpAddr>,
        buf: &mut [u8],
    ) -> Option<WordOut> {
        let ward = self.ward.as_ref()?;
        let source = ward.source?;
        let group = vrrp::group(ward.router.family);
        let peer = ward.peers.get(usize::from(self.peer));
        let destination = peer.copied().unwrap_or(group);
        let advert = vrrp::advert::Outgoing {
            vrid: ward.router.vrid,
            priority: self.transmit(now)?.priority,
            interval: ward.router.interval,
            source,
            destination,
            form: ward.form,
        };
        let virtual_mac = vrrp::virtual_mac(ward.router.family, ward.router.vrid);
        let from = ward.framed.then_some(virtual_mac);
        Some(WordOut {
            ward: 0,
            framed: ward.framed,
            interface: ward.interface,
            source,
            destination,
            len: encode_advert(&advert, from, addresses, buf)?,
        })
    }

    pub(super) fn handle_sent(&mut self, now: Instant, ok: bool, done: &mut Done) {
        let Some(Transmit { priority, .. }) = self.transmit(now) else {
            return;
        };
        if !ok && self.resends < RESENDS_MAX {
            self.resends = self.resends.saturating_add(1);
            self.retry_at = Some(now + RESEND_AFTER);
            return;
        }
        let peers = self.ward.as_ref().map_or(0, |ward| ward.peers.len());
        self.peer = self.peer.saturating_add(1);
        self.resends = 0;
        self.retry_at = None;
        self.reached |= ok;
        let counter = match (ok, priority) {
            (false, _) => Some(&mut done.unsent),
            (true, _) if usize::from(self.peer) < peers => None,
            (true, vrrp::PRIORITY_RESIGN) => Some(&mut done.resigned),
            (true, _) => Some(&mut done.held),
        };
        if let Some(counter) = counter {
            *counter = counter.saturating_add(1);
        }
        if ok && self.pulse.speaks {
            self.pulse.last_sent = now;
            self.pulse.interval = self.router.config().interval;
            self.memory_dirty = true;
        }
        if usize::from(self.peer) >= peers {
            self.give_up(now);
        }
    }

    /// The advert was sent to whom it could be, or cannot be made.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.peer = 0;
        let reached = core::mem::replace(&mut self.reached, false);
        if self.parting {
            self.parting = false;
        } else if self.speaks() && !reached {
            // Nobody hears that the role is held: it is not.
            let _ = self.router.handle_fault(now);
            self.forget();
        } else {
            self.router.handle_sent(now);
        }
    }

    pub(super) fn addresses(&self) -> Range<usize> {
        let Some(ward) = &self.ward else {
            return 0..0;
        };
        let first = ward.addresses_first as usize;
        first..first.saturating_add(ward.addresses_count as usize)
    }

    /// The macvlan that is to go, with all its addresses. One that is down has
    /// time until nothing is held: `quickly`.
    pub(super) fn next_macvlan(&mut self, quickly: bool) -> Option<(InterfaceIndex, &mut Self)> {
        let goes = !self.speaks() && (self.spoke || !quickly);
        let index = self.ward.as_ref().filter(|_| goes)?.macvlan?;
        Some((index, self))
    }

    /// The kernel was asked for that. How many addresses it carried.
    pub(super) fn macvlan_done(&mut self) -> u32 {
        let Some(ward) = &mut self.ward else { return 0 };
        ward.macvlan = None;
        self.removed = ward.addresses_count;
        ward.addresses_count
    }

    /// The next address to be taken off by itself, by its place in the will.
    pub(super) fn next_address(&self) -> Option<(usize, InterfaceIndex)> {
        let ward = self.ward.as_ref().filter(|_| !self.speaks())?;
        if ward.macvlan.is_some() {
            return None;
        }
        let at = ward.addresses_first.checked_add(self.removed)?;
        (self.removed < ward.addresses_count).then_some((at as usize, ward.interface))
    }

    pub(super) const fn address_done(&mut self) {
        self.removed = self.removed.saturating_add(1);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        // Nothing is announced here: the addresses are where they were.
        let next = match self.router.state() {
            State::Active { advert_at, .. } => Some(advert_at),
            State::Initialize { resign_at } => resign_at,
            State::Backup { .. } => None,
        };
        match (next.or(self.retry_at), self.retry_at) {
            (Some(next), Some(retry_at)) => Some(next.max(retry_at)),
            (next, _) => next,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let said = !self.owes_goodbye() && !self.memory_dirty;
        let macvlan = self.ward.as_ref().and_then(|ward| ward.macvlan);
        said && !self.speaks() && macvlan.is_none() && self.next_address().is_none()
    }
}
