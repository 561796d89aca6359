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
mod weights;

pub use counters::KernelCounters;
pub use kernel::BATCH_MAX;

use super::plan::{LbPlan, ServicePolicy};
use super::records;
use crate::check::{
    self, Action, CheckId, Engine, HealthState, PlanError, Settings, SocketId, Status,
};
use crate::model::{Full, ServiceKey, ServiceRow, Table, TableBuf};
use crate::netlink::Errno;
use crate::record::{Frame, Ring};
use crate::time::{Duration, Instant, earliest};
use core::cmp::Ordering;
use core::fmt;
use kernel::{Kernel, Pass, Progress};
use weights::{serves, weigh};

/// How long a shutdown waits for the kernel's table to be cleared.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of a service beside its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    policy: ServicePolicy,
    /// Too few healthy backends: all get traffic.
    open: bool,
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
    /// As many as there may be destinations.
    pub links: &'s mut [Option<u32>],
    /// The checks' memory.
    pub checks: check::Storage<'s>,
    /// How the checks are run.
    pub settings: Settings,
    /// Log records waiting for the owner.
    pub records: &'s mut [Frame],
}

/// What of a plan has no room in the memory taken at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LbTooLarge {
    /// `limits.services`.
    Services,
    /// `limits.backends`.
    Backends,
    /// The checks.
    Checks(PlanError),
}

impl fmt::Display for LbTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services => {
                f.write_str("more services than limits.services: raise it and restart")
            }
            Self::Backends => {
                f.write_str("more backends than limits.backends: raise it and restart")
            }
            Self::Checks(why) => why.fmt(f),
        }
    }
}

/// See the module's words.
#[derive(Debug)]
pub struct Lb<'s> {
    desired: TableBuf<'s>,
    services: &'s mut [ServiceState],
    spare: &'s mut [ServiceState],
    links: &'s mut [Option<u32>],
    engine: Engine<'s>,
    kernel: Kernel<'s>,
    /// The weights may have changed since the last pass.
    dirty: bool,
    declared_only: bool,
    /// A plan was taken; the kernel is left in peace before.
    planned: bool,
    /// What an earlier run left was looked at: later the weights are our own,
    /// and a 0 may mean that there is no verdict yet.
    adopted: bool,
    log: Ring<'s>,
    give_up: Option<Instant>,
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
            links,
            engine: Engine::new(checks, settings),
            kernel: Kernel::new(target, actual),
            dirty: false,
            declared_only: false,
            planned: false,
            adopted: false,
            log: Ring::new(records),
            give_up: None,
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
    pub const fn is_settled(&self) -> bool {
        self.kernel.is_settled() && !self.dirty
    }

    /// Whether this node can serve what it is sent, as far as it will ever know
    /// by waiting: every check has a verdict or a presumption and the kernel
    /// holds the weights that follow, or there is no IPVS to be ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let checks = self.desired.table().destinations.len();
        let known = |at: usize| {
            let check = check_of(&self.engine, self.links, at);
            check.is_none_or(|check| self.engine.health(check) != HealthState::Unknown)
        };
        self.kernel.is_hopeless() || (self.is_settled() && (0..checks).all(known))
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
        self.engine
            .status(check_of(&self.engine, self.links, destination)?)
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

    /// Log records dropped because nobody took them.
    #[must_use]
    pub const fn records_dropped(&self) -> u64 {
        self.log.dropped()
    }

    /// The next log record.
    pub fn poll_record(&mut self) -> Option<Frame> {
        self.log.pop()
    }

    /// Takes the first plan, or a reload's. Checks that are in both keep their
    /// state, their timer and their socket; the kernel is told what differs.
    ///
    /// # Errors
    /// [`LbTooLarge`]; then nothing has changed.
    pub fn handle_plan(&mut self, now: Instant, plan: &LbPlan<'_>) -> Result<(), LbTooLarge> {
        let services = plan.table.services.len();
        let destinations = plan.table.destinations.len();
        if services > self.services.len().min(self.spare.len()) {
            return Err(LbTooLarge::Services);
        }
        if destinations > self.links.len() {
            return Err(LbTooLarge::Backends);
        }
        // Checks first: a plan they cannot take must change nothing.
        match self.engine.handle_plan(now, plan.checks) {
            Ok(merged) => merged.log(now, &mut self.log),
            Err(why) => return Err(LbTooLarge::Checks(why)),
        }
        self.merge_services(plan);
        match self.desired.copy_from(plan.table) {
            Ok(()) => {}
            Err(Full::Services(_)) => return Err(LbTooLarge::Services),
            Err(Full::Destinations(_)) => return Err(LbTooLarge::Backends),
        }
        core::mem::swap(&mut self.services, &mut self.spare);
        for (place, link) in self.links.iter_mut().zip(plan.links) {
            *place = *link;
        }
        self.declared_only = plan.declared_only;
        self.kernel.set_audit(plan.audit);
        self.planned = true;
        self.dirty = true;
        Ok(())
    }

    /// A check's socket is connected.
    pub fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        self.engine.handle_connected(now, socket);
        self.take_changes(now);
    }

    /// A check's socket failed.
    pub fn handle_failed(&mut self, now: Instant, socket: SocketId, errno: Errno) {
        self.engine.handle_failed(now, socket, errno);
        self.take_changes(now);
    }

    /// What a check wants done with its socket.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Action> {
        self.engine.poll_action(now)
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
            Progress::None => {}
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
                self.dirty = true;
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
        if self.dirty && self.kernel.is_settled() {
            self.dirty = false;
            let Self {
                desired,
                services,
                links,
                engine,
                kernel,
                log,
                ..
            } = self;
            let pass = kernel.begin_pass(|target, actual| {
                target.copy_from(desired.table())?;
                for (at, row) in desired.table().services.iter().enumerate() {
                    if let Some(state) = services.get_mut(at) {
                        let serving = serves(actual, &row.service.key);
                        weigh(now, row, state, serving, links, engine, target, log);
                    }
                }
                Ok(())
            });
            match pass {
                Pass::Begun | Pass::Nothing => {}
                Pass::Full => self.dirty = true,
            }
        }
        if self.dirty {
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
        let _ = self.engine.handle_plan(now, &[]);
        if clear {
            self.desired.clear();
            self.dirty = true;
        } else {
            self.dirty = false;
        }
    }

    /// Whether a shutdown has nothing more to wait for.
    #[must_use]
    pub fn is_finished(&self, now: Instant) -> bool {
        self.give_up
            .is_some_and(|give_up| give_up <= now || (!self.dirty && !self.kernel.is_applying()))
    }

    /// When to call [`Self::handle_timeout`] and the polls at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let work = earliest(self.engine.poll_timeout(), self.kernel.poll_timeout());
        earliest(work, self.give_up)
    }

    /// Health changes become weights with the next pass.
    fn take_changes(&mut self, now: Instant) {
        while let Some(report) = self.engine.poll_change() {
            self.dirty = true;
            report.log(now, &mut self.log);
        }
        while let Some(trouble) = self.engine.poll_trouble(now) {
            trouble.log(now, &mut self.log);
        }
    }

    /// A destination that an earlier run left in the kernel is presumed to be
    /// what its weight says, until its check has a verdict: a restart moves no traffic.
    fn adopt(&mut self, now: Instant) {
        let (desired, actual) = (self.desired.table(), self.kernel.actual());
        for row in desired.services {
            let Some(twin) = find(actual, &row.service.key) else {
                continue;
            };
            let held = actual.destinations_of(twin);
            for (at, wanted) in row.range().zip(desired.destinations_of(row)) {
                let check = check_of(&self.engine, self.links, at);
                let found = held.binary_search_by_key(&wanted.key, |d| d.key);
                if let (Some(check), Ok(found)) = (check, found)
                    && let Some(held) = held.get(found)
                    && wanted.weight > 0
                    && self.engine.health(check) == HealthState::Unknown
                {
                    let state = if held.weight > 0 {
                        HealthState::Up
                    } else {
                        HealthState::Down
                    };
                    self.engine.adopt(now, check, state);
                }
            }
        }
    }

    /// Carries over what is kept of services that are in both plans.
    fn merge_services(&mut self, plan: &LbPlan<'_>) {
        let old = self.desired.table().services;
        let mut at = 0_usize;
        let policies = plan
            .policies
            .iter()
            .chain(core::iter::repeat(&ServicePolicy { min_healthy: 1 }));
        for ((row, policy), place) in plan
            .table
            .services
            .iter()
            .zip(policies)
            .zip(self.spare.iter_mut())
        {
            while old
                .get(at)
                .is_some_and(|o| o.service.key.cmp(&row.service.key) == Ordering::Less)
            {
                at = at.saturating_add(1);
            }
            let same = old
                .get(at)
                .is_some_and(|o| o.service.key == row.service.key);
            let open = same && self.services.get(at).is_some_and(|s| s.open);
            *place = ServiceState {
                policy: *policy,
                open,
            };
        }
    }
}

/// The check of a destination, by its place in the plan.
fn check_of(engine: &Engine<'_>, links: &[Option<u32>], destination: usize) -> Option<CheckId> {
    let plan_index = links.get(destination).copied().flatten()?;
    engine.check_id(plan_index)
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
