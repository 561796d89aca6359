//! One instance of the HA half: a router, and what the owner must know to
//! speak for it.

use super::Standing;
use super::addresses::{AddressSlot, Presence};
use super::macvlan::Macvlan;
use super::rival::{Heard, Rivalry};
use super::track::Bar;
use crate::bytes::Writer;
use crate::director::plan::{Instance, InstanceName, InterfaceName, Peers, TrackUses};
use crate::director::records;
use crate::model::Family;
use crate::record::Ring;
use crate::route::Scope;
use crate::time::{Instant, earliest};
use crate::vrrp::advert::{Outgoing, encode, encode_frame, encode_ipv4};
use crate::vrrp::{
    self, Actions, AdvertForm, Centis, Rejects, Resume, Role, Router, RouterConfig, State, TTL,
    Transmit,
};
use crate::wire::MacAddress;
use core::net::IpAddr;
use core::ops::Range;

/// Addresses an advert lists at most: what its count can say, and over IPv6
/// what fits 1,500 bytes. The rest are held and announced all the same.
pub(super) const LISTED_MAX_V4: usize = 255;
pub(super) const LISTED_MAX_V6: usize = 90;

/// What was counted over all instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HaCounters {
    /// Packets that were no valid adverts, or for nobody here, by reason.
    pub rejects: Rejects,
    /// Adverts the kernel took.
    pub adverts_sent: u64,
    /// Adverts the kernel refused.
    pub send_errors: u64,
    /// Announcement frames yielded.
    pub announcements: u64,
    /// Instances looked at, in whatever was done: a few for each advert,
    /// however many there are.
    pub looks: u64,
    /// Times two routers seemed to be Active for longer than a moment.
    pub split_brains: u64,
    rejected: u64,
}

impl HaCounters {
    pub(super) fn reject(&mut self, why: &vrrp::Malformed) {
        self.rejects.count(why);
        self.rejected = self.rejected.saturating_add(1);
    }

    /// An advert of a VRID or a peer we do not have.
    pub(super) const fn strange(&mut self, known_vrid: bool) {
        let counter = if known_vrid {
            &mut self.rejects.unknown_peer
        } else {
            &mut self.rejects.unknown_vrid
        };
        *counter = counter.saturating_add(1);
    }

    /// A line for the first few and then for every 1,024th: a broken neighbour
    /// must not fill the log.
    pub(super) const fn is_worth_a_line(&self) -> bool {
        self.rejected <= 8 || self.rejected.is_multiple_of(1024)
    }
}

/// What the next run of this daemon should know of an instance, as it is kept
/// in a page of memory that outlives a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Which instance: a hash of interface, family and VRID.
    pub key: u64,
    /// Whether it was Active, and did not resign.
    pub active: bool,
    /// When its last advert was sent.
    pub last_sent: Instant,
    /// The interval that advert carried, centiseconds.
    pub interval: u16,
}

impl Memory {
    /// As words of the page.
    #[must_use]
    pub const fn words(&self) -> [u64; 4] {
        let Self {
            key,
            active,
            last_sent,
            interval,
        } = *self;
        [key, active as u64, last_sent.as_nanos(), interval as u64]
    }

    /// From words of the page.
    #[must_use]
    pub fn from_words([key, active, last_sent, interval]: [u64; 4]) -> Self {
        Self {
            key,
            active: active == 1,
            last_sent: Instant::from_nanos(last_sent),
            interval: u16::try_from(interval).unwrap_or(0),
        }
    }

    /// Whether a router may go on from here as Active at once.
    #[must_use]
    pub fn may_resume(&self, now: Instant) -> bool {
        self.resume().is_some_and(|resume| resume.holds(now))
    }

    /// What a router may go on from.
    pub(super) fn resume(&self) -> Option<Resume> {
        let interval = Centis::new(self.interval)?;
        let last_sent = self.last_sent;
        self.active.then_some(Resume {
            last_sent,
            interval,
        })
    }
}

/// FNV-1a, 64 bits: stable over runs, which a hasher of the library is not.
pub(super) fn memory_key(instance: &Instance) -> u64 {
    let tail = [0, instance.router.family.number(), instance.router.vrid];
    let bytes = instance.interface.bytes().chain(tail);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// An instance and its router.
#[derive(Clone, Debug)]
pub struct InstanceSlot {
    /// What the config says.
    pub config: Instance,
    /// The machine.
    pub router: Router,
    /// The interface's place.
    pub(super) interface: u16,
    /// Its addresses' places.
    pub(super) addresses: Range<usize>,
    /// Whether the interface was ready and the router takes part.
    pub(super) started: bool,
    /// What keeps it from taking part, and the last thing said about that.
    pub(super) barred: Option<Bar>,
    pub(super) complaint: Option<Bar>,
    /// It was looked at whether it may take part.
    pub(super) settled: bool,
    /// What it tracks adds so much to its priority.
    pub(super) weight: i32,
    /// It was told to fail over, and preempts nobody before this.
    pub(super) held_until: Option<Instant>,
    /// The next member of its group.
    pub(super) next_in_group: u16,
    /// What was told of it last.
    pub(super) told: Option<Standing>,
    /// The last Active it heard, and what two of them make.
    pub(super) last_heard: Option<Heard>,
    pub(super) rivalry: Rivalry,
    pub(super) odd_at: Instant,
    /// What an earlier run left; taken by the first start.
    pub(super) resume: Option<Resume>,
    /// Whether the addresses should be on the interface; unknown before the
    /// router decided for the first time.
    pub(super) wanted: Option<bool>,
    /// No plan names it any more; it is forgotten once it said goodbye.
    pub(super) retire: bool,
    /// Which unicast peer is sent to next.
    pub(super) peer: u8,
    pub(super) resends: u8,
    pub(super) retry_at: Option<Instant>,
    /// Since when no advert was accepted by the kernel, for any peer.
    pub(super) silent_since: Option<Instant>,
    /// Addresses announced so far in the announcement at hand.
    pub(super) announced: usize,
    pub(super) last_sent: Instant,
    /// The interval the last advert carried: what peers count by.
    pub(super) last_interval: Centis,
    pub(super) memory_dirty: bool,
    /// How the last advert heard was written.
    pub(super) heard: Option<AdvertForm>,
    /// It stepped down, and must say this priority once more: its own to a
    /// better one, which must hear of it, or 0 to whoever should take over.
    pub(super) parting: Option<u8>,
    /// And 0 after that: a better one, if there is one, has heard both, and
    /// others take over.
    pub(super) then_resign: bool,
    /// Addresses are on the interface that were not announced yet.
    pub(super) added: bool,
    /// How many of its addresses are neither on the interface nor refused.
    pub(super) unsettled: u32,
    /// What is known of its macvlan.
    pub(super) macvlan: Macvlan,
}

impl InstanceSlot {
    /// A slot of no instance, to fill the owner's slice with.
    #[must_use]
    pub fn blank() -> Self {
        let router = RouterConfig::new(1, Family::V4);
        Self::new(Instance {
            name: InstanceName::new(),
            interface: InterfaceName::new(),
            router,
            form: None,
            ttl_min: TTL,
            scope: Scope::UNIVERSE,
            label: InterfaceName::new(),
            macvlan: None,
            peers: Peers::new(),
            addresses_first: 0,
            addresses_count: 0,
            followed: false,
            tracks: TrackUses::new(),
            group: None,
        })
    }

    pub(super) fn new(config: Instance) -> Self {
        Self {
            router: Router::new(config.router),
            last_interval: config.router.interval,
            config,
            interface: 0,
            addresses: 0..0,
            started: false,
            barred: None,
            complaint: None,
            settled: false,
            weight: 0,
            held_until: None,
            next_in_group: super::group::NONE,
            told: None,
            last_heard: None,
            rivalry: Rivalry::default(),
            odd_at: Instant::ZERO,
            resume: None,
            wanted: None,
            retire: false,
            peer: 0,
            resends: 0,
            retry_at: None,
            silent_since: None,
            announced: 0,
            last_sent: Instant::ZERO,
            memory_dirty: true,
            heard: None,
            parting: None,
            then_resign: false,
            added: false,
            unsettled: 0,
            macvlan: Macvlan::default(),
        }
    }

    pub(super) fn memory(&self) -> Memory {
        let key = memory_key(&self.config);
        match self.resume {
            // Not used yet: should this run end before, the next one may.
            Some(Resume {
                last_sent,
                interval,
            }) => Memory {
                key,
                active: true,
                last_sent,
                interval: interval.get(),
            },
            None => Memory {
                key,
                active: self.router.state().role() == Role::Active,
                last_sent: self.last_sent,
                interval: self.last_interval.get(),
            },
        }
    }

    /// Whether it was retired, has said goodbye and has no address left.
    pub(super) fn is_gone(&self, addresses: &[AddressSlot]) -> bool {
        let owes = matches!(
            self.router.state(),
            State::Initialize { resign_at: Some(_) } | State::Active { .. }
        );
        let off = addresses.iter().all(|a| a.presence == Presence::Absent);
        self.retire && off && !owes && !self.keeps_macvlan()
    }

    /// The advert that should go out now.
    pub(super) fn poll_transmit(&self, now: Instant) -> Option<Transmit> {
        // As if it had crossed the better one's advert on the way: that one
        // announces the addresses again, to hosts that learned them from us
        // while it could not be heard.
        let parting = self.parting.map(|priority| Transmit {
            priority,
            interval: self.config.router.interval,
        });
        parting.or_else(|| self.router.poll_transmit(now))
    }

    pub(super) fn start(&mut self, now: Instant, log: &mut Ring<'_>) -> Actions {
        self.started = true;
        self.complaint = None;
        let resume = self.resume.take();
        let actions = self.router.handle_startup(now, resume);
        if let Some(resume) = resume
            && actions
                .transition
                .is_some_and(|t| t.why == vrrp::Reason::Resumed)
        {
            let silent = now.since(resume.last_sent).as_micros();
            let name = self.config.name.clone();
            let silent_us = u64::try_from(silent).unwrap_or(u64::MAX);
            log.log(now, records::RouterResumed { name, silent_us });
        }
        actions
    }

    /// Until when it might go on from an earlier run, though it has not begun.
    pub(super) fn resumes_until(&self) -> Option<Instant> {
        let resume = self.resume.filter(|_| !self.started);
        resume.map(|resume| resume.until())
    }

    /// Whether an advert of priority 0 is still to be sent.
    pub(super) fn owes_goodbye(&self) -> bool {
        matches!(
            self.router.state(),
            State::Initialize { resign_at: Some(_) }
        )
    }

    /// What keeps it from taking part by itself.
    #[must_use]
    pub const fn barred(&self) -> Option<Bar> {
        self.barred
    }

    /// Until when it preempts nobody, because it was told to fail over.
    #[must_use]
    pub const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Takes note of a router's actions. Returns whether what is wanted of the
    /// addresses may have changed.
    pub(super) fn apply(&mut self, actions: Actions, log: &mut Ring<'_>, now: Instant) -> bool {
        if let Some(vrrp::Transition { from, to, why }) = actions.transition {
            self.memory_dirty = true;
            self.announced = 0;
            self.peer = 0;
            self.silent_since = None;
            let stepped_down = from == Role::Active && to == Role::Backup;
            self.parting = stepped_down.then_some(self.router.config().priority);
            self.then_resign = false;
            log.log(
                now,
                records::RouterChanged {
                    name: self.config.name.clone(),
                    vrid: self.config.router.vrid,
                    ipv6: self.config.router.family == Family::V6,
                    from: role_name(from),
                    to: role_name(to),
                    why: why.text(),
                },
            );
        }
        match actions.addresses {
            vrrp::Addresses::Keep => return false,
            vrrp::Addresses::Add => self.wanted = Some(true),
            vrrp::Addresses::Remove => self.wanted = Some(false),
        }
        true
    }

    /// Whether an advert should be sent now.
    pub(super) fn owes_advert(&self, now: Instant) -> bool {
        let waits = self.retry_at.is_some_and(|retry_at| now < retry_at);
        !waits && self.poll_transmit(now).is_some()
    }

    /// Whether peers have waited for us in vain: the kernel took no advert for
    /// three intervals. Refused now and then is not silent.
    pub(super) fn is_silenced(&self, now: Instant) -> bool {
        let patience = self.config.router.interval.duration().saturating_mul(3);
        self.silent_since
            .is_some_and(|since| now.since(since) >= patience)
    }

    /// Whether all addresses should be announced now.
    pub(super) fn owes_announcement(&self, now: Instant) -> bool {
        self.may_announce() && self.router.poll_announce(now)
    }

    /// Whether an announcement would tell the truth: the addresses are on the
    /// interface, or nothing more will come of them.
    pub(super) fn may_announce(&self) -> bool {
        self.wanted == Some(true) && self.unsettled == 0
    }

    /// The next deadline of the router; announcements only when they may go.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let next = match self.router.state() {
            State::Active {
                advert_at,
                announce,
            } => earliest(
                Some(advert_at),
                announce.at().filter(|_| self.may_announce()),
            ),
            State::Initialize { .. } | State::Backup { .. } => self.router.poll_timeout(),
        };
        // A refused send moves the deadline, it does not add one.
        match (next, self.retry_at) {
            (Some(next), Some(retry_at)) => Some(next.max(retry_at)),
            (next, _) => next,
        }
    }

    /// The advert that says `transmit`, all but its addresses.
    pub(super) const fn outgoing(
        &self,
        transmit: Transmit,
        source: IpAddr,
        destination: IpAddr,
    ) -> Outgoing {
        Outgoing {
            vrid: self.config.router.vrid,
            priority: transmit.priority,
            interval: transmit.interval,
            source,
            destination,
            form: self.form(),
        }
    }

    /// Since when the kernel has taken none of its adverts.
    #[must_use]
    pub const fn silent_since(&self) -> Option<Instant> {
        self.silent_since
    }

    /// Whether its adverts are written as one that was heard was.
    #[must_use]
    pub const fn has_learned_form(&self) -> bool {
        self.config.form.is_none() && self.heard.is_some()
    }

    /// How its adverts are written.
    #[must_use]
    pub const fn form(&self) -> AdvertForm {
        match (self.config.form, self.heard) {
            (Some(form), _) | (None, Some(form)) => form,
            (None, None) => AdvertForm::Rfc5798,
        }
    }
}

/// Writes an advert into `buf`, a whole packet over IPv4 and the message alone
/// over IPv6; or a whole frame from that address. How many bytes. Lists as many
/// addresses as it can.
pub(in crate::director) fn encode_advert(
    advert: &Outgoing,
    from: Option<MacAddress>,
    addresses: impl Iterator<Item = IpAddr>,
    buf: &mut [u8],
) -> Option<usize> {
    let mut w = Writer::new(buf);
    match (Family::of(&advert.source), from) {
        (Family::V4, None) => encode_ipv4(&mut w, advert, addresses.take(LISTED_MAX_V4)),
        (Family::V4, Some(from)) => {
            encode_frame(&mut w, advert, from, addresses.take(LISTED_MAX_V4))
        }
        (Family::V6, None) => encode(&mut w, advert, addresses.take(LISTED_MAX_V6)),
        (Family::V6, Some(from)) => {
            encode_frame(&mut w, advert, from, addresses.take(LISTED_MAX_V6))
        }
    }
    .ok()?;
    w.finish().ok().map(|bytes| bytes.len())
}

/// The state's name as logs show it.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Initialize => "Initialize",
        Role::Backup => "Backup",
        Role::Active => "Active",
    }
}
