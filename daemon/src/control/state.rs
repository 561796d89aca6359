//! What the node is, does and believes at one moment, as plain data. Not how
//! it is asked for (`server`), carried (`proto`) or shown (`text`, `json`).

mod moves;
mod names;
mod voice;

pub use moves::{GroupState, HeardState, Moves, TrackedState};
pub use names::NameState;
pub use voice::Voice;

use super::operate::{Changed, Order, Refusal, Speaker};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use trunnion_core::check::{Advised, Health, Share, Status, Verdict};
use trunnion_core::director::plan::OperatorState;
use trunnion_core::model::{DestinationKey, Family, Forward, ServiceKey};
use trunnion_core::time::Instant;
use trunnion_core::vrrp::{Role, Router};

/// Who knows the state: the owner of the loops.
pub trait Source: Send + Sync + 'static {
    /// The state at this moment. Must not block the thread it is polled on:
    /// the loops answer in their own time, and who asks gives up after a
    /// while ([`PATIENCE`](super::PATIENCE)).
    ///
    /// # Errors
    /// [`Unavailable`] when a loop has ended.
    fn snapshot(&self) -> impl Future<Output = Result<State, Unavailable>> + Send;

    /// Lets peers take over, or ends that. As above it must not block.
    ///
    /// # Errors
    /// [`NotDone`] says why nothing was done.
    fn fail_over(&self, order: Failover) -> impl Future<Output = Result<u16, NotDone>> + Send;

    /// Takes an order, and returns once the loops know of it. As above in all
    /// else.
    ///
    /// # Errors
    /// [`Unavailable`] when a loop has ended; within, what speaks against it.
    fn operate(
        &self,
        order: Order,
        by: Speaker,
    ) -> impl Future<Output = Result<Result<Changed, Refusal>, Unavailable>> + Send;
}

/// An operator's order about who is Active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// A virtual router or a group; empty for all.
    pub name: String,
    /// How long none of them preempts; nothing to end an earlier order.
    pub hold: Option<Duration>,
}

/// Why an order was not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// Nothing has the name.
    NoSuch(&'static str),
    /// It cannot be followed as things are.
    Refused(&'static str),
    /// The loop does not answer.
    Unavailable(Unavailable),
}

/// Why there is no state to be had, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(
    /// The words.
    pub String,
);

/// The whole node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What the node calls itself.
    pub name: String,
    /// Version of the daemon.
    pub version: String,
    /// The config file it runs by.
    pub config: String,
    /// How long it has run.
    pub uptime: Duration,
    /// Virtual routers.
    pub routers: Vec<RouterState>,
    /// Groups of them.
    pub groups: Vec<GroupState>,
    /// What they track.
    pub tracks: Vec<TrackedState>,
    /// Services, sorted by key.
    pub services: Vec<ServiceState>,
    /// Names that checks' targets are.
    pub names: Vec<NameState>,
    /// Services in the kernel that the config does not name, and that are left
    /// alone.
    pub strangers: u32,
    /// What the config sets in the kernel's IPVS beside the table.
    pub settings: Vec<SettingState>,
    /// The threads.
    pub threads: Vec<ThreadState>,
    /// What was counted for the node as a whole.
    pub counters: Vec<Counter>,
}

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterState {
    /// Its name in the config.
    pub name: String,
    /// The interface it speaks on.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Its family.
    pub family: Family,
    /// Its state.
    pub role: Role,
    /// For how long; `None` where it never changed.
    pub since: Option<Duration>,
    /// Why, in words; empty where it never changed.
    pub reason: String,
    /// Its priority.
    pub priority: u8,
    /// Its advertisement interval.
    pub interval: Duration,
    /// Its virtual addresses.
    pub addresses: Vec<AddressState>,
    /// What it counted.
    pub counters: Vec<Counter>,
    /// What moves it besides its network.
    pub moves: Moves,
    /// How it speaks.
    pub voice: Voice,
}

impl RouterState {
    /// A router as it is at `now`.
    #[must_use]
    pub fn of(
        now: Instant,
        (name, interface): (&str, &str),
        router: &Router,
        addresses: Vec<AddressState>,
    ) -> Self {
        let config = router.config();
        let last = router.last_transition();
        Self {
            name: name.to_owned(),
            interface: interface.to_owned(),
            vrid: config.vrid,
            family: config.family,
            role: router.state().role(),
            since: last.map(|(at, _)| now.since(at)),
            reason: last.map_or_else(String::new, |(_, change)| change.why.text().to_owned()),
            priority: config.priority,
            interval: config.interval.duration(),
            addresses,
            counters: super::count::router(router.counters()),
            moves: Moves {
                base_priority: config.priority,
                ..Moves::default()
            },
            voice: Voice::default(),
        }
    }
}

/// A virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// Whether it is on the interface; `None` where that is not known.
    pub present: Option<bool>,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Its name in the config.
    pub name: String,
    /// What names it in the kernel.
    pub key: ServiceKey,
    /// Its scheduler.
    pub scheduler: String,
    /// Whether the kernel has it; `None` where that is not known.
    pub in_kernel: Option<bool>,
    /// Too few backends are healthy, so all of them get traffic.
    pub fail_open: bool,
    /// The floor below which that happens.
    pub min_healthy: u16,
    /// Weight of those that serve, together, that it asks for; 0 for none.
    pub quorum: u32,
    /// Whether it has it; `None` where it asks for none or the first verdicts
    /// are still out.
    pub has_quorum: Option<bool>,
    /// The sorry server gets the clients.
    pub sorry: bool,
    /// Its backends, sorted by key.
    pub backends: Vec<BackendState>,
}

impl ServiceState {
    /// How many backends are believed to serve, those without a check among
    /// them.
    #[must_use]
    pub fn healthy(&self) -> usize {
        let backends = self.backends.iter();
        backends
            .filter(|backend| backend.serves() && !backend.sorry)
            .count()
    }

    /// How many backends there are, but for the sorry server.
    #[must_use]
    pub fn own(&self) -> usize {
        self.backends.iter().filter(|b| !b.sorry).count()
    }
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendState {
    /// What names it within its service.
    pub key: DestinationKey,
    /// Forwarding method.
    pub forward: Forward,
    /// The weight the config gives it.
    pub weight: u32,
    /// The weight the kernel has; `None` where it has no such destination or
    /// that is not known.
    pub kernel_weight: Option<u32>,
    /// What its check knows; `None` without one.
    pub check: Option<CheckState>,
    /// What an operator said of it.
    pub operator: OperatorState,
    /// It gets clients when no other can.
    pub sorry: bool,
    /// Its weight is on its way up.
    pub rising: bool,
}

impl BackendState {
    /// Whether it is believed to serve, or said to.
    #[must_use]
    pub fn serves(&self) -> bool {
        match self.operator {
            OperatorState::ForcedUp => return true,
            OperatorState::ForcedDown | OperatorState::Drain | OperatorState::Maint => {
                return false;
            }
            OperatorState::Ready => {}
        }
        self.check.as_ref().is_none_or(|check| match check.health {
            Health::Up | Health::GoingDown { .. } => true,
            Health::Unknown | Health::Down | Health::GoingUp { .. } => false,
        })
    }
}

/// What the check of a backend knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckState {
    /// What is probed.
    pub target: SocketAddr,
    /// What is believed of it.
    pub health: Health,
    /// What the last check found, in words; empty before the first one.
    pub last: String,
    /// How long the last check took, until it had its answer or gave up.
    pub latency: Option<Duration>,
    /// The status of its HTTP response.
    pub http_status: Option<u16>,
    /// How long it has been up or down; `None` where nothing is known.
    pub since: Option<Duration>,
    /// It falls so often that it is held down for a while.
    pub held: bool,
    /// What the target says of its own weight, in words; empty where it says
    /// nothing.
    pub advised: String,
    /// The certificate that it showed last.
    pub certificate: Option<CertificateState>,
}

/// The certificate of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateState {
    /// In what time it expires.
    pub left: Duration,
    /// That is sooner than the check's config leaves uncommented.
    pub soon: bool,
}

impl CheckState {
    /// A check as it is at `now`, which is so long after 1970.
    #[must_use]
    pub fn of((now, wall): (Instant, Duration), status: &Status) -> Self {
        let last = match status.last {
            None if status.presumed && status.config.policy.initial == Default::default() => {
                "adopted from the kernel"
            }
            None if status.presumed => "assumed, as configured",
            None => "",
            Some(Verdict::Success) => "ok",
            Some(Verdict::Failure(reason)) => reason.words(),
            Some(Verdict::Indeterminate(local)) => local.words(),
        };
        Self {
            target: status.config.target,
            health: status.health,
            last: last.to_owned(),
            latency: status.last.map(|_| status.latency),
            http_status: status.http_status,
            since: (status.health != Health::Unknown).then(|| now.since(status.since)),
            held: status.held,
            advised: advised(status.advised),
            certificate: status.certificate.map(|shown| CertificateState {
                left: Duration::from_secs(shown.expires_s.into()).saturating_sub(wall),
                soon: shown.soon,
            }),
        }
    }
}

fn advised(advised: Advised) -> String {
    let share = match advised.share {
        Share::Whole | Share::Presumed => String::new(),
        Share::Percent(percent) => format!("{percent}%"),
        Share::Weight(weight) => format!("weight {weight}"),
    };
    match (advised.away, share.as_str()) {
        (false, _) => share,
        (true, "") => "drain".to_owned(),
        (true, share) => format!("drain, {share}"),
    }
}

/// A timeout of the kernel's IPVS or a kernel parameter that the config sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingState {
    /// `tcp_timeout`, `net.ipv4.vs.conntrack`.
    pub name: String,
    /// What the config says.
    pub declared: String,
    /// What the kernel has now; `None` where it has none such or was not asked.
    pub present: Option<String>,
    /// Why the two differ, in words; empty where they do not.
    pub trouble: String,
}

/// A thread of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadState {
    /// `ha`, `lb`, `control`.
    pub name: String,
    /// Allocations since its memory was sealed; `None` for a thread that may.
    pub allocations_after_seal: Option<u64>,
    /// Log records lost because nobody took them in time.
    pub records_dropped: u64,
}

/// Something counted since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What: `check_failed`.
    pub name: String,
    /// Which of them: `refused`; empty where there is one.
    pub of: String,
    /// How many.
    pub value: u64,
}

impl Counter {
    /// A counter that there is one of.
    #[must_use]
    pub fn new(name: &str, value: u64) -> Self {
        Self::which(name, "", value)
    }

    /// One of several.
    #[must_use]
    pub fn which(name: &str, of: &str, value: u64) -> Self {
        Self {
            name: name.to_owned(),
            of: of.to_owned(),
            value,
        }
    }
}
