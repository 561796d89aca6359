//! The LB half: health checks, the weights they lead to, and the kernel's IPVS
//! table.
//!
//! The owner's loop, after each wake-up, in this order: `handle_*` for what
//! came in (sockets before deadlines: a late loop must not turn answers that
//! wait in a socket into timeouts), then [`Lb::handle_timeout`], then each
//! `poll_*` until it yields nothing. [`Lb::poll_timeout`] says when to wake at
//! the latest.

mod counters;
mod kernel;
mod links;
mod plan;
mod probes;
mod sync;
mod weights;

pub use counters::KernelCounters;
pub use kernel::BATCH_MAX;
pub use links::Link;
pub use plan::LbTooLarge;

use super::plan::ServicePolicy;
use super::records;
use crate::check::probe::Scripts;
use crate::check::{self, Engine, HealthState, Settings, Status};
use crate::model::{ServiceKey, ServiceRow, Table, TableBuf};
use crate::record::{Frame, Ring};
use crate::time::{Duration, Instant, earliest};
use kernel::{Kernel, Pass, Progress};
use links::Links;
use sync::Syncing;
use weights::{serves, weigh};

/// How long a shutdown waits for the kernel's table to be cleared.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of a service beside its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    policy: ServicePolicy,
    /// Too few healthy backends: all get traffic.
    open: bool,
    /// A check of one of its destinations has changed its mind.
    changed: bool,
}

/// What the next pass looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// There is none.
    Nothing,
    /// Services whose checks have changed. Every other row is in the kernel as
    /// it is desired.
    Changed,
    /// Everything: there is a new plan, or the table was read.
    All,
}

/// The memory of the half. `services` and `destinations` slices are as long as
/// the config's limits; the three tables are equally large.
#[derive(Debug)]
pub struct LbStorage<'s> {
    /// What the plan says.
    pub desired: TableBuf<'s>,
    /// What is being applied.
    pub target: TableBuf<'s>,
    /// What the kernel holds.
    pub actual: TableBuf<'s>,
    /// As many as there may be services, twice.
    pub services: [&'s mut [ServiceState]; 2],
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
    links: Links<'s>,
    engine: Engine<'s>,
    kernel: Kernel<'s>,
    due: Due,
    /// Every destination before this one has a verdict, or a presumption, or no
    /// check.
    known: usize,
    declared_only: bool,
    /// A plan was taken; the kernel is left in peace before.
    planned: bool,
    /// What an earlier run left was looked at: later the weights are our own,
    /// and a 0 may mean that there is no verdict yet.
    adopted: bool,
    log: Ring<'s>,
    give_up: Option<Instant>,
    sync: Syncing,
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
            links,
            checks,
            settings,
            records,
        } = storage;
        Self {
            desired,
            services,
            spare,
            links: Links::new(links),
            engine: Engine::new(checks, settings),
            kernel: Kernel::new(target, actual),
            due: Due::Nothing,
            known: 0,
            declared_only: false,
            planned: false,
            adopted: false,
            log: Ring::new(records),
            give_up: None,
            sync: Syncing::default(),
        }
    }

    /// What the plan says, with the weights of healthy destinations.
    #[must_use]
    pub fn desired(&self) -> Table<'_> {
        self.desired.table()
    }

    /// What the kernel is known to hold.
    #[must_use]
    pub fn actual(&self) -> Table<'_> {
        self.kernel.actual()
    }

    /// Whether the kernel holds what is desired, as far as is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
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
            check.is_some_and(|check| self.engine.health(check) == HealthState::Unknown)
        };
        self.known = (self.known..checks).find(unknown).unwrap_or(checks);
        self.known == checks && self.is_settled()
    }

    /// The checks.
    #[must_use]
    pub const fn engine(&self) -> &Engine<'s> {
        &self.engine
    }

    /// What the check of the destination at this place of [`Self::desired`]
    /// found; nothing for one without a check.
    #[must_use]
    pub fn status(&self, destination: usize) -> Option<Status> {
        self.engine.status(self.links.check(destination)?)
    }

    /// Whether the service at this place of [`Self::desired`] has too few
    /// healthy destinations, so that all of them get traffic.
    #[must_use]
    pub fn is_open(&self, service: usize) -> bool {
        self.services.get(service).is_some_and(|s| s.open)
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
                if !core::mem::replace(&mut self.adopted, true) {
                    self.adopt(now);
                }
                self.due = Due::All;
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
        self.kernel.handle_timeout(now, &mut self.log);
    }

    /// Writes the next datagram for the kernel into `buf`; how many bytes to
    /// send. Once yielded it counts as sent: when sending fails, say
    /// [`Self::handle_ipvs_lost`].
    pub fn poll_ipvs(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        if !self.planned {
            return None;
        }
        if self.due > Due::Nothing && self.kernel.is_settled() {
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
        let work = earliest(self.engine.poll_timeout(), self.kernel.poll_timeout());
        earliest(work, self.give_up)
    }

    /// Works out the weights of what is due and hands them to the kernel's side.
    fn begin_pass(&mut self, now: Instant) {
        let Self {
            desired,
            services,
            links,
            engine,
            kernel,
            log,
            ..
        } = self;
        let desired = desired.table();
        let whole = core::mem::replace(&mut self.due, Due::Nothing) == Due::All;
        let pass = kernel.begin_pass(whole, |target, actual| {
            if whole {
                target.copy_from(desired)?;
            } else {
                let changed = |at| services.get(at).is_some_and(|s: &ServiceState| s.changed);
                target.copy_some(desired, changed)?;
            }
            for (row, state) in desired.services.iter().zip(services.iter_mut()) {
                if core::mem::take(&mut state.changed) || whole {
                    let serving = serves(actual, &row.service.key);
                    weigh(now, row, state, serving, links, engine, target, log);
                }
            }
            Ok(())
        });
        match pass {
            Pass::Begun | Pass::Nothing => {}
            Pass::Full => self.due = Due::All,
        }
    }

    /// Health changes become weights with the next pass.
    fn take_changes(&mut self, now: Instant) {
        while let Some(report) = self.engine.poll_change() {
            for service in self.links.services(report.id) {
                if let Some(state) = self.services.get_mut(service) {
                    state.changed = true;
                    self.due = self.due.max(Due::Changed);
                }
            }
            report.log(now, &mut self.log);
        }
        while let Some(trouble) = self.engine.poll_trouble(now) {
            trouble.log(now, &mut self.log);
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
    (size(table.services.len()), size(table.destinations.len()))
}
