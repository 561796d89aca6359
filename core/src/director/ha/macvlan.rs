//! The macvlan of a virtual router that has its own MAC address: it carries the
//! virtual addresses, on top of the interface that adverts go out by. Not the
//! adverts: those are frames sent by the interface itself, so that they wait for
//! no macvlan.
//!
//! It is there for as long as a plan names it, and up while the router is Active
//! and not a moment longer: a Backup's must not answer for the addresses, nor
//! teach a switch where their MAC address is.
//!
//! Taking it up is a request among those for the addresses. All else keeps
//! whoever asks waiting for all processors (10 ms and more), and is a
//! [`Chore`](super::Chore) for somebody who has the time; what comes of it the
//! kernel's events tell.

use super::addresses::Refusal;
use super::state::InstanceSlot;
use crate::route::{InterfaceIndex, Link, LinkGroup, MacvlanMode};
use crate::time::{Duration, Instant};
use crate::vrrp::virtual_mac;
use crate::wire::MacAddress;

/// How a macvlan of ours treats others. Not [`MacvlanMode::PRIVATE`]: there the
/// interface beneath does not hear what comes from the macvlan's own address, and
/// of two routers that are Active neither would hear the other's adverts.
pub const MODE: MacvlanMode = MacvlanMode::VEPA;
/// So long in vain, and the router takes no part.
const LACK_MAX: Duration = Duration::from_secs(2);
/// What is known of an instance's macvlan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Macvlan {
    found: Option<Link>,
    /// What the dump at hand has found.
    dump: Option<Link>,
    /// The kernel was asked to take it up.
    pub(super) raising: bool,
    /// What became of that when it was asked last.
    refusal: Refusal,
    /// What was given as a chore, and when it is given again.
    pub(super) asked: Option<(Asked, Instant)>,
    /// Since when it is to be made.
    pub(super) lacks_since: Option<Instant>,
}

/// What was asked, and of which link: of another one it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// On that interface.
    Make(InterfaceIndex),
    Lower(InterfaceIndex),
    Delete(InterfaceIndex),
}

/// What keeps a router without a macvlan from taking part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMacvlan {
    /// It is being made.
    NotYet,
    /// It was to be made, and is not there.
    Failed,
    /// Another interface has its name.
    Taken,
}

impl NoMacvlan {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotYet => "its macvlan is being made",
            Self::Failed => "its macvlan could not be made",
            Self::Taken => "an interface that is no virtual router's has the name of its macvlan",
        }
    }
}

/// What a macvlan needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Make,
    Raise(InterfaceIndex),
    Lower(InterfaceIndex),
    Delete(InterfaceIndex),
}

/// What a link of a macvlan's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// As it should be.
    Ready,
    /// It lacks its parameters.
    Raw,
    /// A virtual router's, but not like this: an earlier run's, or keepalived's.
    Stale,
    /// Somebody else's.
    Foreign,
}

impl Macvlan {
    /// Its index, while there is one of that name.
    #[must_use]
    pub fn index(&self) -> Option<InterfaceIndex> {
        self.found.map(|link| link.index)
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.found.is_some_and(|link| link.is_up())
    }

    /// Whether addresses can be put on it by the next request.
    pub(super) fn carries(&self) -> bool {
        self.raising || self.is_up()
    }

    pub(super) const fn found(&self) -> Option<Link> {
        self.found
    }

    /// Whether it makes sense to ask for it to be taken up.
    pub(super) fn may_rise(&self) -> bool {
        !self.raising && self.refusal != Refusal::Stands
    }

    /// The kernel did not take it up. Returns whether it refuses that anew.
    pub(super) fn not_raised(&mut self) -> bool {
        self.raising = false;
        core::mem::replace(&mut self.refusal, Refusal::Stands) == Refusal::None
    }

    /// What was refused may be asked for again.
    pub(super) fn pardon(&mut self) {
        if self.refusal == Refusal::Stands {
            self.refusal = Refusal::Pardoned;
        }
    }

    pub(super) const fn begin_dump(&mut self) {
        self.dump = None;
    }

    pub(super) fn end_dump(&mut self) {
        self.raising = false;
        self.note(self.dump);
    }

    /// A row of a dump, or an event, tells of it, or that it is gone.
    pub(super) fn noting(&mut self, row: bool, link: Option<Link>) {
        self.dump = link;
        if !row {
            self.note(link);
        }
    }

    /// The kernel took it up.
    pub(super) fn raised(&mut self) {
        self.raising = false;
        self.refusal = Refusal::None;
        if let Some(link) = &mut self.found {
            link.flags |= crate::route::LinkFlags::UP;
        }
    }

    /// Whether it is known, or was just found, under this index.
    pub(super) fn has_index(&self, index: InterfaceIndex, row: bool) -> bool {
        let is = |link: Option<Link>| link.is_some_and(|link| link.index == index);
        is(self.dump) || (!row && is(self.found))
    }

    fn note(&mut self, link: Option<Link>) {
        self.raising &= link.is_some_and(|link| !link.is_up());
        if self.found != link {
            self.refusal = Refusal::None;
        }
        self.found = link;
    }
}

impl InstanceSlot {
    /// What is known of its macvlan.
    #[must_use]
    pub const fn macvlan(&self) -> &Macvlan {
        &self.macvlan
    }

    /// The MAC address of the virtual router (RFC 9568 7.3), where it is used.
    #[must_use]
    pub fn virtual_mac(&self) -> Option<MacAddress> {
        let router = self.config.router;
        let uses = self.config.macvlan.is_some();
        uses.then(|| virtual_mac(router.family, router.vrid))
    }

    fn fit(&self, link: &Link, lower: Option<InterfaceIndex>) -> Fit {
        let Some(mode) = link.mode else {
            return Fit::Foreign;
        };
        let ours = link.group == LinkGroup::TRUNNION;
        let like = link.lower == lower && link.mac == self.virtual_mac() && mode == MODE;
        match (like, ours) {
            (true, true) => Fit::Ready,
            (true, false) => Fit::Raw,
            (false, true) => Fit::Stale,
            (false, false) if link.mac.is_some_and(is_virtual) => Fit::Stale,
            (false, false) => Fit::Foreign,
        }
    }

    /// What its macvlan needs, on an interface of that index.
    pub(super) fn need(&self, lower: Option<InterfaceIndex>) -> Need {
        let exists = self.config.macvlan.is_some() && !self.retire && lower.is_some();
        let Some(link) = &self.macvlan.found else {
            return if exists { Need::Make } else { Need::Nothing };
        };
        let (fit, up) = (self.fit(link, lower), link.is_up());
        match (fit, self.wanted) {
            (Fit::Foreign, _) => Need::Nothing,
            (Fit::Ready | Fit::Raw | Fit::Stale, _) if !exists => Need::Delete(link.index),
            (Fit::Stale, _) => Need::Delete(link.index),
            (Fit::Raw, _) => Need::Make,
            (Fit::Ready, Some(true)) if !up => Need::Raise(link.index),
            (Fit::Ready, Some(false)) if up => Need::Lower(link.index),
            (Fit::Ready, _) => Need::Nothing,
        }
    }

    /// Whether the kernel has a macvlan of it that is to go first.
    pub(super) fn keeps_macvlan(&self) -> bool {
        matches!(self.need(None), Need::Delete(_))
    }

    /// The index of its macvlan, once that is as it should be.
    pub(super) fn ready_macvlan(&self, lower: Option<InterfaceIndex>) -> Option<InterfaceIndex> {
        let link = self.macvlan.found.as_ref()?;
        (self.fit(link, lower) == Fit::Ready).then_some(link.index)
    }

    /// What is wrong with its macvlan, as long as that keeps it from taking part:
    /// one that does take part goes on for a while without.
    pub(super) fn lacks_macvlan(
        &self,
        now: Instant,
        lower: Option<InterfaceIndex>,
    ) -> Option<NoMacvlan> {
        self.config.macvlan.as_ref()?;
        let since = self.macvlan.lacks_since;
        let failed = since.is_some_and(|since| now.since(since) >= LACK_MAX);
        match self.macvlan.found.map(|link| self.fit(&link, lower)) {
            Some(Fit::Ready) => None,
            Some(Fit::Foreign) => Some(NoMacvlan::Taken),
            Some(Fit::Raw | Fit::Stale) | None if failed => Some(NoMacvlan::Failed),
            Some(Fit::Raw | Fit::Stale) | None => (!self.started).then_some(NoMacvlan::NotYet),
        }
    }
}

/// `00:00:5e:00:01:xx` or `00:00:5e:00:02:xx` (RFC 9568 7.3).
const fn is_virtual(mac: MacAddress) -> bool {
    matches!(mac.0, [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, _])
}
