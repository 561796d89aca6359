//! From what the loops know to the state the control plane shows.

mod moves;
mod voice;

use super::snapshot::{DestinationView, HaSnapshot, LbSnapshot, RouterView, ServiceView, SyncPair};
use crate::config::Config;
use crate::control::count;
use crate::control::operate::{Changed, Order, Refusal, Speaker};
use crate::control::state::{
    AddressState, BackendState, CheckState, Counter, NameState, RouterState, ServiceState,
    SettingState, ThreadState,
};
use crate::control::{Failover, NotDone, Source, State, Unavailable};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use trunnion_core::director::ha::{NoFailover, Presence, RouteCounters};
use trunnion_core::time::Instant;

/// What both loops know, taken for one question.
#[derive(Debug)]
pub struct Taken {
    /// When the daemon started.
    pub started: Instant,
    /// The file of the config in force.
    pub file: String,
    /// The config in force.
    pub config: Arc<Config>,
    /// What the config sets in the kernel's IPVS beside the table.
    pub settings: Vec<SettingState>,
    /// Names that checks' targets are, and what was counted of them.
    pub names: (Vec<NameState>, Vec<Counter>),
    /// Guardians that died.
    pub guardian_deaths: u64,
    /// How many runners of commands and files have died.
    pub runner_deaths: u64,
    /// The HA loop's part.
    pub ha: Box<HaSnapshot>,
    /// The LB loop's part.
    pub lb: Box<LbSnapshot>,
}

/// A question for the control thread, and where the answer goes.
#[derive(Debug)]
pub enum Question {
    /// What is known?
    State(oneshot::Sender<Arc<Taken>>),
    /// Will you do this?
    Operate(Order, Speaker, oneshot::Sender<Result<Changed, Refusal>>),
    /// Will you let peers take over?
    FailOver(Failover, oneshot::Sender<Result<u16, NoFailover>>),
}

/// Asks the control thread of this process.
#[derive(Clone, Debug)]
pub struct Asker(pub mpsc::Sender<Question>);

impl Source for Asker {
    async fn snapshot(&self) -> Result<State, Unavailable> {
        let taken = self.ask(Question::State).await?;
        Ok(state(&taken))
    }

    async fn operate(
        &self,
        order: Order,
        by: Speaker,
    ) -> Result<Result<Changed, Refusal>, Unavailable> {
        self.ask(|answer| Question::Operate(order, by, answer))
            .await
    }

    async fn fail_over(&self, order: Failover) -> Result<u16, NotDone> {
        let answer = self.ask(|answer| Question::FailOver(order, answer)).await;
        answer
            .map_err(NotDone::Unavailable)?
            .map_err(|why| match why {
                NoFailover::NoSuch => NotDone::NoSuch(why.words()),
                NoFailover::NotActive | NoFailover::NotHeld | NoFailover::Leaving => {
                    NotDone::Refused(why.words())
                }
            })
    }
}

impl Asker {
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let stopping = || Unavailable("the node is stopping".to_owned());
        let question = question(answer);
        self.0.send(question).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())
    }
}

fn state(taken: &Taken) -> State {
    let Taken {
        started,
        file,
        config,
        settings,
        names: (names, of_names),
        guardian_deaths,
        runner_deaths,
        ha,
        lb,
    } = taken;
    let mut counters = count::kernel(&lb.kernel);
    counters.extend(route(&ha.route));
    counters.extend(count::routers(&ha.counters));
    counters.extend(count::checks(&lb.checks));
    counters.extend(count::load(&lb.load));
    counters.extend(count::policies(&lb.policies));
    counters.extend(of_names.iter().cloned());
    counters.push(Counter::new("check_certificates_expiring", expiring(lb)));
    counters.push(Counter::new("tls_allocations", lb.tls_allocations));
    counters.push(Counter::new("guardian_deaths", *guardian_deaths));
    counters.push(Counter::new("runner_deaths", *runner_deaths));
    let thread = |name: &str, allocations, records_dropped| ThreadState {
        name: name.to_owned(),
        allocations_after_seal: allocations,
        records_dropped,
    };
    State {
        name: config.node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: file.clone(),
        uptime: ha.at.since(*started),
        routers: routers(ha),
        groups: moves::groups(ha),
        tracks: moves::tracks(config, ha),
        services: services(config, lb),
        names: names.clone(),
        settings: settings.iter().cloned().chain(sync(lb)).collect(),
        strangers: lb.strangers,
        threads: vec![
            thread("ha", Some(ha.allocations), ha.records_dropped),
            thread("lb", Some(lb.allocations), lb.records_dropped),
            thread("control", None, 0),
        ],
        counters,
    }
}

/// Checks whose target's certificate expires soon, each once.
fn expiring(lb: &LbSnapshot) -> u64 {
    let each = lb.destinations.iter().filter_map(|view| view.check);
    let soon = each.filter(|check| check.certificate.is_some_and(|shown| shown.soon));
    let plans: BTreeSet<u32> = soon.map(|check| check.plan).collect();
    plans.len() as u64
}

/// The synchronization daemons, in the shape of a setting.
fn sync(lb: &LbSnapshot) -> Option<SettingState> {
    let (wanted, running) = &lb.sync;
    let wanted = wanted.as_ref()?;
    let shown = |pair: &SyncPair| {
        let each = pair.iter().flatten();
        let each: Vec<String> = each
            .map(|it| format!("{} on {} id {}", it.state, it.interface, it.sync_id))
            .collect();
        match each.is_empty() {
            true => "none".to_owned(),
            false => each.join(", "),
        }
    };
    let met = |running: &SyncPair| {
        wanted.iter().zip(running).all(|pair| match pair {
            (Some(wanted), Some(running)) => wanted.is_met_by(running),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
    };
    let trouble = match running {
        Some(running) if met(running) => "",
        Some(_) => "the kernel runs others: see the log",
        None => "the kernel has not said that they run: see the log",
    };
    Some(SettingState {
        name: "sync daemons".to_owned(),
        declared: shown(wanted),
        present: running.as_ref().map(shown),
        trouble: trouble.to_owned(),
    })
}

fn routers(ha: &HaSnapshot) -> Vec<RouterState> {
    let mut rest = ha.addresses.as_slice();
    let mut routers = Vec::with_capacity(ha.routers.len());
    for view in &ha.routers {
        let RouterView {
            name,
            interface,
            router,
            addresses,
            ..
        } = view;
        let (own, others) = rest.split_at(*addresses);
        rest = others;
        let addresses = own.iter().map(|(address, presence)| AddressState {
            address: address.address,
            prefix: address.prefix,
            present: match presence {
                Presence::Unknown => None,
                Presence::Absent | Presence::Adding => Some(false),
                Presence::Present | Presence::Removing => Some(true),
            },
        });
        let named = (name.as_str(), interface.as_str());
        let of = RouterState::of(ha.at, named, router, addresses.collect());
        let moves = moves::of(ha, view);
        let voice = voice::of(ha, view);
        routers.push(RouterState { moves, voice, ..of });
    }
    routers
}

fn services(config: &Config, lb: &LbSnapshot) -> Vec<ServiceState> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = wall.unwrap_or_default();
    let mut rest = lb.destinations.as_slice();
    let mut services = Vec::with_capacity(lb.services.len());
    for view in &lb.services {
        let ServiceView {
            service,
            in_kernel,
            open,
            has_quorum,
            sorry,
            destinations,
        } = view;
        let (own, others) = rest.split_at(*destinations);
        rest = others;
        let found = config
            .services
            .binary_search_by_key(&service.key, |s| s.service.key)
            .ok()
            .map(|found| &config.services[found]);
        services.push(ServiceState {
            name: found.map_or_else(|| service.key.to_string(), |s| s.name.clone()),
            key: service.key,
            scheduler: service.scheduler.to_string(),
            in_kernel: *in_kernel,
            fail_open: *open,
            min_healthy: found.map_or(0, |s| s.policy.min_healthy),
            quorum: found.map_or(0, |s| s.policy.quorum),
            has_quorum: *has_quorum,
            sorry: *sorry,
            backends: own
                .iter()
                .map(|view| backend((lb.at, wall), view))
                .collect(),
        });
    }
    services
}

fn backend(now: (Instant, Duration), view: &DestinationView) -> BackendState {
    BackendState {
        key: view.destination.key,
        forward: view.destination.forward,
        weight: view.destination.weight,
        kernel_weight: view.kernel_weight,
        check: view.check.map(|status| CheckState::of(now, &status)),
        operator: view.member.operator,
        sorry: view.member.sorry,
        rising: view.rising,
    }
}

fn route(counters: &RouteCounters) -> Vec<Counter> {
    let RouteCounters {
        adds,
        deletes,
        compared,
        refused,
        resyncs,
        lost,
        malformed,
    } = *counters;
    [
        ("adds", adds),
        ("deletes", deletes),
        ("compared", compared),
        ("refused", refused),
        ("resyncs", resyncs),
        ("lost", lost),
        ("malformed", malformed),
    ]
    .map(|(of, value)| Counter::which("address", of, value))
    .to_vec()
}
