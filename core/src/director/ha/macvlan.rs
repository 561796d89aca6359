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
//! whoever asks waiting for all processors (10 ms and more), and is a [`Chore`]
//! for somebody who has the time; what comes of it the kernel's events tell.

use super::addresses::Refusal;
use super::state::InstanceSlot;
use super::{Ha, Interface};
use crate::director::plan::InterfaceName;
use crate::model::Family;
use crate::route::{InterfaceIndex, Link, LinkGroup, LinkName, MacvlanMode, link};
use crate::time::{Duration, Instant, earliest};
use crate::vrrp::virtual_mac;
use crate::wire::MacAddress;

/// How a macvlan of ours treats others. Not [`MacvlanMode::PRIVATE`]: there the
/// interface beneath does not hear what comes from the macvlan's own address, and
/// of two routers that are Active neither would hear the other's adverts.
pub const MODE: MacvlanMode = MacvlanMode::VEPA;
/// When a chore is given again, if nothing came of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long in vain, and the router takes no part.
const LACK_MAX: Duration = Duration::from_secs(2);
/// Macvlans of no plan that are remembered to be deleted; more wait for the next
/// dump.
const LEFTOVERS_MAX: usize = 16;

/// Something to do about macvlans that takes a while. Whoever does it answers
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Make it, unless it is there; give it its parameters; then put it into
    /// [`LinkGroup::TRUNNION`], which says that it is as it should be.
    Make(Wanted),
    /// Take it down.
    Lower(InterfaceIndex),
    /// Delete it.
    Delete(InterfaceIndex),
    /// Delete all of [`LinkGroup::TRUNNION`].
    Clear,
}

/// A macvlan as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What to make.
    pub link: link::Macvlan,
    /// Name of the interface beneath.
    pub lower: InterfaceName,
    /// Family of the addresses it will carry.
    pub family: Family,
}

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
    asked: Option<(Asked, Instant)>,
    /// Since when it is to be made.
    lacks_since: Option<Instant>,
}

/// What was asked, and of which link: of another one it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
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

/// What is to be done about macvlans, beside what each instance needs.
#[derive(Debug, Default)]
pub(super) struct Chores {
    /// Some instance may need something.
    dirty: bool,
    /// When one that was given is given again.
    again_at: Option<Instant>,
    /// Macvlans of ours that no plan names.
    leftovers: heapless::Vec<InterfaceIndex, LEFTOVERS_MAX, u8>,
    /// All were to be deleted at once; when that is asked again.
    clear_at: Option<Instant>,
}

impl Chores {
    pub(super) const fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    /// Another plan comes, which may name them.
    pub(super) fn handle_plan(&mut self) {
        self.leftovers.clear();
        self.dirty = true;
    }

    /// One that no plan names was found.
    pub(super) fn leave_over(&mut self, index: InterfaceIndex) {
        if !self.leftovers.contains(&index) {
            // What finds no room waits for the next dump.
            let _ = self.leftovers.push(index);
        }
        self.dirty = true;
    }

    /// Whether something that was asked is to be asked again.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.again_at.is_some_and(|at| at <= now);
        if due {
            self.again_at = None;
            self.dirty = true;
        }
        due
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.again_at
    }
}

impl Ha<'_> {
    /// The next thing to do about macvlans. Once yielded it counts as done; if
    /// nothing comes of it, it is yielded again in a second. Poll until it yields
    /// nothing, after adverts and requests.
    pub fn poll_chore(&mut self, now: Instant) -> Option<Chore> {
        // Before the first plan nobody knows which are wanted.
        if !self.chores.dirty || !self.netdev.is_known() || self.will_version == 0 {
            return None;
        }
        if self.give_up.is_some() {
            return self.poll_clearing(now);
        }
        if let Some(index) = self.chores.leftovers.pop() {
            return Some(Chore::Delete(index));
        }
        for at in 0..self.instances_len {
            if let Some(chore) = self.chore_of(now, at) {
                return Some(chore);
            }
        }
        self.chores.dirty = false;
        None
    }

    /// The node leaves: all go at once, when peers know.
    fn poll_clearing(&mut self, now: Instant) -> Option<Chore> {
        if self.owes_goodbye(now) {
            return None;
        }
        let any = self.holds_macvlans() || !self.chores.leftovers.is_empty();
        let waits = self.chores.clear_at.is_some_and(|at| now < at);
        if any && !waits {
            let again_at = Some(now + PATIENCE);
            (self.chores.clear_at, self.chores.again_at) = (again_at, again_at);
            return Some(Chore::Clear);
        }
        // One that was left half made is none of the group, and goes by itself.
        for at in 0..self.instances_len {
            let macvlan = self.instances.get(at).and_then(|slot| slot.macvlan.found);
            if macvlan.is_some_and(|link| link.group != LinkGroup::TRUNNION)
                && let Some(chore) = self.chore_of(now, at)
            {
                return Some(chore);
            }
        }
        self.chores.dirty = false;
        None
    }

    fn chore_of(&mut self, now: Instant, at: usize) -> Option<Chore> {
        let slot = self.instances.get(at)?;
        let interface = self.interfaces.get(usize::from(slot.interface))?;
        let (asked, chore) = match slot.need(interface.found.index) {
            Need::Nothing | Need::Raise(_) => {
                let macvlan = &mut self.instances.get_mut(at)?.macvlan;
                (macvlan.asked, macvlan.lacks_since) = (None, None);
                return None;
            }
            Need::Lower(index) => (Asked::Lower(index), Chore::Lower(index)),
            Need::Delete(index) => (Asked::Delete(index), Chore::Delete(index)),
            Need::Make => {
                let wanted = wanted(slot, interface)?;
                (Asked::Make(wanted.link.lower), Chore::Make(wanted))
            }
        };
        let macvlan = &mut self.instances.get_mut(at)?.macvlan;
        let before = macvlan.asked.filter(|(what, _)| *what == asked);
        if let Some((_, again_at)) = before.filter(|(_, again_at)| now < *again_at) {
            self.chores.again_at = earliest(self.chores.again_at, Some(again_at));
            return None;
        }
        let again_at = now + PATIENCE;
        macvlan.asked = Some((asked, again_at));
        if matches!(asked, Asked::Make(_)) {
            macvlan.lacks_since = macvlan.lacks_since.or(Some(now));
        }
        self.chores.again_at = earliest(self.chores.again_at, Some(again_at));
        Some(chore)
    }

    /// Whether the kernel still has a macvlan that a shutdown takes away.
    pub(super) fn holds_macvlans(&self) -> bool {
        self.instances().iter().any(InstanceSlot::keeps_macvlan)
    }
}

/// The macvlan of an instance, as it should be.
fn wanted(slot: &InstanceSlot, interface: &Interface) -> Option<Wanted> {
    let name = slot.config.macvlan.as_ref()?;
    Some(Wanted {
        link: link::Macvlan {
            name: LinkName::new(name.as_bytes()).ok()?,
            lower: interface.found.index?,
            mac: slot.virtual_mac()?,
            mode: MODE,
        },
        lower: interface.name.clone(),
        family: slot.config.router.family,
    })
}
