//! The LB half: health checks, the weights they lead to, and the kernel's IPVS
//! table.
//!
//! The owner's loop, after each wake-up, in this order: `handle_*` for what
//! came in (sockets before deadlines: a late loop must not turn answers that
//! wait in a socket into timeouts), then [`Lb::handle_timeout`], then each
//! `poll_*` until it yields nothing. [`Lb::poll_timeout`] says when to wake at
//! the latest.

mod counters;
mod due;
mod kernel;
mod links;
mod operate;
mod plan;
mod probes;
mod quorum;
mod rise;
mod settle;
mod sync;
mod view;
mod weights;

pub use counters::{KernelCounters, PolicyCounters};
pub use kernel::BATCH_MAX;
pub use links::Link;
pub use plan::LbTooLarge;

use super::plan::{Member, OperatorState, ServicePolicy};
use super::records;
use crate::check::probe::Scripts;
use crate::check::{self, Engine, Settings};
use crate::model::{ServiceKey, ServiceRow, Table, TableBuf};
use crate::record::{Frame, Ring};
use crate::time::{self, Duration, Instant, Timer, Wheel, earliest};
use due::Due;
use kernel::{Kernel, Pass, Progress};
use links::Links;
use rise::Rise;
use settle::{Call, Stand};
use sync::Syncing;
use weights::{Scales, held};

/// How long a shutdown waits for the kernel's table to be cleared.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How long changes wait after a pass, so that those of a rack that dies go
/// together: a datagram for each wait, and not for each verdict.
const GATHER: Duration = Duration::from_millis(50);

/// What is kept of a service beside its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    policy: ServicePolicy,
    stand: Stand,
    /// A check of one of its destinations has changed its mind.
    changed: bool,
    /// The kernel was told nothing of it yet: what it holds is others', or an earlier
    /// run's. Later the weights are our own, and a 0 may mean that there is no
    /// verdict.
    fresh: bool,
    /// When its weights will be others.
    timer: Option<Timer>,
}

/// What is kept of a destination beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    member: Member,
    rise: Rise,
    /// What was said of it when it was last weighed.
    call: Call,
}

impl MemberState {
    /// Of nothing, to fill the owner's slice with.
    pub const NONE: Self = Self {
        member: Member {
            operator: OperatorState::Ready,
            sorry: false,
        },
        rise: Rise::First,
        call: Call::Away,
    };
}

/// The memory of the half. `services` and `destinations` slices are as long as
/// the config's limits; what is being applied and what the kernel holds may be
/// twice that, for a pass that is broken off between adds and deletes leaves what
/// was and what is to be. What is in it means nothing, and what grows with
/// services and destinations is not touched before it is needed.
#[derive(Debug)]
pub struct LbStorage<'s> {
    /// What the plan says.
    pub desired: TableBuf<'s>,
    /// What is being applied; as large as the next one.
    pub target: TableBuf<'s>,
    /// What the kernel holds.
    pub actual: TableBuf<'s>,
    /// As many as there may be services, twice.
    pub services: [&'s mut [ServiceState]; 2],
    /// As many as there may be destinations, twice.
    pub members: [&'s mut [MemberState]; 2],
    /// As many as there may be services.
    pub timers: &'s mut [time::Slot],
    /// As many as there may be destinations, or checks if those are more.
    pub links: &'s mut [Link],
    /// The checks' memory.
    pub checks: check::Storage<'s>,
    /// How the checks are run.
    pub settings: Settings,
    /// Log records waiting for the owner.
    pub records: &'s mut [Frame],
}

/// See the module's words.
#[derive(Debug)]
pub struct Lb<'s> {
    desired: TableBuf<'s>,
    services: &'s mut [ServiceState],
    spare: &'s mut [ServiceState],
    members: &'s mut [MemberState],
    spare_members: &'s mut [MemberState],
    /// Services whose weights rise; a timer's payload is the service's place.
    wheel: Wheel<'s>,
    counters: PolicyCounters,
    links: Links<'s>,
    engine: Engine<'s>,
    kernel: Kernel<'s>,
    due: Due,
    /// Until when changes wait for others.
    gather_until: Instant,
    /// Every destination before this one has a verdict, or a presumption, or no
    /// check.
    known: usize,
    declared_only: bool,
    /// A plan was taken; the kernel is left in peace before.
    planned: bool,
    log: Ring<'s>,
    give_up: Option<Instant>,
    /// A shutdown leaves the kernel's table as it is: without its checks nobody
    /// knows which weights are right.
    left: bool,
    sync: Syncing,
    health_version: u64,
}

impl<'s> Lb<'s> {
    /// A half without services.
    #[must_use]
    pub fn new(storage: LbStorage<'s>) -> Self {
        let LbStorage {
            desired,
            target,
            actual,
            services: [services, spare],
            members: [members, spare_members],
            timers,
            links,
            checks,
            settings,
            records,
        } = storage;
        Self {
            desired,
            services,
            spare,
            members,
            spare_members,
            wheel: Wheel::new(timers, settings.tick_ns),
            counters: PolicyCounters::default(),
            links: Links::new(links),
            engine: Engine::new(checks, settings),
            kernel: Kernel::new(target, actual),
            due: Due::Nothing,
            gather_until: Instant::ZERO,
            known: 0,
            declared_only: false,
            planned: false,
            log: Ring::new(records),
            give_up: None,
            left: false,
            sync: Syncing::default(),
            health_version: 0,
        }
    }

    /// What the plan says, with the weights of healthy destinations.
    #[must_use]
    pub fn desired(&self) -> Table<'_> {
        self.desired.table()
    }

    /// What the kernel is known to hold: all of it once [`Self::is_table_read`].
    #[must_use]
    pub fn actual(&self) -> Table<'_> {
        self.kernel.actual()
    }

    /// Whether the kernel's table was read as a whole. It is not while it is read
    /// anew, and after it was read in part.
    #[must_use]
    pub const fn is_table_read(&self) -> bool {
        self.kernel.is_read()
    }

    /// Whether the kernel holds what is desired, as far as is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.rests() && !self.kernel.is_short()
    }

    /// Whether the kernel holds all of that that it takes.
    fn rests(&self) -> bool {
        self.kernel.is_settled() && self.due == Due::Nothing
    }

    /// Whether this node can serve what it is sent, as far as it will ever know
    /// by waiting: every check has a verdict or a presumption and the kernel
    /// holds the weights that follow, or there is no IPVS to be ready.
    #[must_use]
    pub fn is_ready(&mut self) -> bool {
        if self.kernel.is_hopeless() {
            return true;
        }
        // What is known stays known until the next plan.
        let checks = self.desired.table().destinations.len();
        let unknown = |at: &usize| {
            let check = self.links.check(*at);
            check.is_some_and(|check| self.engine.is_awaited(check))
        };
        self.known = (self.known..checks).find(unknown).unwrap_or(checks);
        self.known == checks && self.rests()
    }

    /// The checks.
    #[must_use]
    pub const fn engine(&self) -> &Engine<'s> {
        &self.engine
    }

    /// What was counted about the kernel's table.
    #[must_use]
    pub const fn kernel_counters(&self) -> &KernelCounters {
        self.kernel.counters()
    }

    /// Services in the kernel that the config does not name, left alone.
    #[must_use]
    pub const fn strangers(&self) -> u32 {
        self.kernel.strangers()
    }

    /// Log records dropped because nobody took them.
    #[must_use]
    pub const fn records_dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// The next log record.
    pub fn poll_record(&mut self) -> Option<Frame> {
        self.log.pop()
    }

    /// A datagram came from the kernel's IPVS family.
    pub fn handle_ipvs(&mut self, now: Instant, datagram: &[u8]) {
        let desired = self.desired.table();
        let declared_only = self.declared_only;
        let wanted = |key: &ServiceKey, before: Table<'_>| {
            !declared_only || declares(desired, key) || declares(before, key)
        };
        let progress = self
            .kernel
            .handle_datagram(now, datagram, wanted, &mut self.log);
        match progress {
            Progress::None => self.release_sync(),
            Progress::Dumped => {
                let (services, destinations) = sizes(self.kernel.actual());
                self.log.log(
                    now,
                    records::TableRead {
                        services,
                        destinations,
                    },
                );
                self.adopt(now);
                self.owe(Due::All);
            }
            Progress::Applied { requests } => {
                let (services, destinations) = sizes(self.kernel.actual());
                self.log.log(
                    now,
                    records::TableApplied {
                        services,
                        destinations,
                        requests,
                    },
                );
            }
        }
    }

    /// Replies were lost, or a send failed: what the kernel holds is unknown.
    pub fn handle_ipvs_lost(&mut self, now: Instant, why: &'static str) {
        self.kernel.handle_lost(now, why, &mut self.log);
    }

    /// Serves the deadlines that have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
        self.take_changes(now);
        self.expire_weights(now);
        self.kernel.handle_timeout(now, &mut self.log);
    }

    /// Writes the next datagram for the kernel into `buf`; how many bytes to
    /// send. Once yielded it counts as sent: when sending fails, say
    /// [`Self::handle_ipvs_lost`].
    pub fn poll_ipvs(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        if !self.planned {
            return None;
        }
        let due = self.due > Due::Nothing && self.kernel.is_settled() && !self.gathers(now);
        if due && !self.kernel.has_first(now) {
            self.begin_pass(now);
        }
        if self.due > Due::Nothing {
            self.kernel.hurry();
        }
        self.kernel.poll_request(now, buf)
    }

    /// Ends the half's work. With `clear` the services the config declares are
    /// deleted first, or all of them if the table is ours.
    pub fn handle_shutdown(&mut self, now: Instant, clear: bool) {
        if self.give_up.is_some() {
            return;
        }
        self.give_up = Some(now + SHUTDOWN_PATIENCE);
        let _ = self.engine.handle_plan(now, &[], Scripts::EMPTY);
        self.leave_sync(clear);
        if clear {
            self.desired.clear();
            self.due = Due::All;
        } else {
            self.due = Due::Nothing;
            self.left = true;
        }
    }

    /// Whether a shutdown has nothing more to wait for.
    #[must_use]
    pub fn is_finished(&self, now: Instant) -> bool {
        let busy =
            || self.due != Due::Nothing || self.kernel.is_applying() || self.kernel.owes_daemons();
        self.give_up
            .is_some_and(|give_up| give_up <= now || !busy())
    }

    /// When to call [`Self::handle_timeout`] and the polls at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let kernel = self.kernel.poll_timeout().filter(|_| self.planned);
        let work = earliest(self.engine.poll_timeout(), kernel);
        let work = earliest(work, self.wheel.poll_timeout());
        let gathers = self.due == Due::Changed && self.kernel.is_settled();
        let work = earliest(work, gathers.then_some(self.gather_until));
        earliest(work, self.give_up)
    }

    /// Whether changes wait for others that may follow. The first one after a
    /// while does not.
    fn gathers(&self, now: Instant) -> bool {
        self.due == Due::Changed && now < self.gather_until
    }

    /// Works out the weights of what is due and hands them to the kernel's side.
    fn begin_pass(&mut self, now: Instant) {
        let Self {
            desired,
            services,
            members,
            wheel,
            counters,
            gather_until,
            links,
            engine,
            kernel,
            log,
            ..
        } = self;
        let desired = desired.table();
        *gather_until = now + GATHER;
        let whole = core::mem::replace(&mut self.due, Due::Nothing) == Due::All;
        let pass = kernel.begin_pass(whole, |target, actual| {
            if whole {
                target.copy_from(desired)?;
            } else {
                let changed = |at| services.get(at).is_some_and(|s: &ServiceState| s.changed);
                target.copy_some(desired, changed)?;
            }
            let mut scales = Scales {
                now,
                links,
                engine,
                counters,
            };
            for (at, (row, state)) in (0..).zip(desired.services.iter().zip(services.iter_mut())) {
                if !core::mem::take(&mut state.changed) && !whole {
                    continue;
                }
                state.fresh = false;
                let members = members.get_mut(row.range()).unwrap_or_default();
                let held = held(actual, &row.service.key);
                let rows = target.destinations_mut(row.range());
                let next = scales.weigh(row, state, held, members, rows, log);
                if let Some(timer) = state.timer.take() {
                    wheel.cancel(timer);
                }
                // There is a timer for each service.
                state.timer = next.and_then(|next| wheel.insert(next, at).ok());
            }
            Ok(())
        });
        match pass {
            Pass::Begun | Pass::Nothing => {}
            Pass::Full => self.owe(Due::All),
        }
    }
}

fn find<'a>(table: Table<'a>, key: &ServiceKey) -> Option<&'a ServiceRow> {
    let at = table
        .services
        .binary_search_by_key(key, |row| row.service.key)
        .ok()?;
    table.services.get(at)
}

fn declares(table: Table<'_>, key: &ServiceKey) -> bool {
    find(table, key).is_some()
}

fn sizes(table: Table<'_>) -> (u32, u32) {
    let size = |len| u32::try_from(len).unwrap_or(u32::MAX);
    let counts = table.services.iter().map(|row| row.count);
    (
        size(table.services.len()),
        counts.fold(0, u32::saturating_add),
    )
}

#[cfg(test)]
mod tests;
