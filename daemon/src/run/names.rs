//! Names that are targets of checks: which address each has. They are looked up
//! over and over, each lookup by a thread of its own, for nothing tells how long a
//! resolver takes; what comes of it wakes the control thread, who gives the LB loop
//! a plan with the new addresses.
//!
//! A lookup that fails takes nothing away: the last address stays. A name that
//! never had one is not probed, which is no verdict.

use super::link::Bell;
use super::plan::OwnedLbPlan;
use super::records::{self, OwnLog, text};
use crate::config::{Backend, Config, ServiceConfig, TargetName};
use crate::control::state::{Counter, NameState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use trunnion_core::check::{CheckConfig, NameId};
use trunnion_core::time::Instant;
use trunnion_sys::names::{self, Unresolved};

/// Lookups at once.
const LOOKUPS_MAX: usize = 8;
/// How long until the second look at a name that was not found the first time;
/// twice as long each time after that, up to the interval.
const AGAIN: Duration = Duration::from_secs(1);
/// Moves are told together, so often at most: each time is a whole plan for the LB
/// loop, and names that are looked up together move together.
const GATHER: Duration = Duration::from_secs(1);
/// A lookup that takes longer is named.
const LONG: Duration = Duration::from_secs(15);
/// Stack of a lookup: glibc's resolver keeps its answers there.
const STACK_BYTES: usize = 256 * 1024;

type Answer = Result<Vec<IpAddr>, Unresolved>;
/// What a lookup found, of which name.
type Found = (Arc<TargetName>, Answer);

/// What is known of a name.
#[derive(Debug)]
struct Known {
    id: NameId,
    /// The address that is probed: one of the last answer that had any.
    address: Option<IpAddr>,
    /// That answer, and since when the address is what it is.
    answer: Vec<IpAddr>,
    since: Instant,
    /// When it is looked up next, or since when a lookup is under way.
    look: Look,
    /// Lookups in a row that failed, and what was said of it in the log.
    failed: u32,
    trouble: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    At(Instant),
    Since(Instant),
}

/// See the module's words.
pub struct Names {
    known: BTreeMap<Arc<TargetName>, Known>,
    interval: Duration,
    answers: (Sender<Found>, Receiver<Found>),
    bell: Arc<Bell>,
    looking: usize,
    /// An address is another one than the LB loop was told, and before when it is not
    /// told again.
    news: bool,
    quiet: Instant,
    moves: u64,
    found: u64,
    not_found: BTreeMap<&'static str, u64>,
}

impl Names {
    /// No names; `bell` rings when a lookup is done.
    #[must_use]
    pub fn new(bell: Arc<Bell>) -> Self {
        Self {
            known: BTreeMap::new(),
            interval: Duration::ZERO,
            answers: channel(),
            bell,
            looking: 0,
            news: false,
            quiet: Instant::ZERO,
            moves: 0,
            found: 0,
            not_found: BTreeMap::new(),
        }
    }

    /// Numbers the names of a config. What is known already keeps its number.
    pub fn assign(&mut self, config: &Config, now: Instant) {
        self.interval = config.node.resolve_interval;
        let taken: BTreeSet<u16> = self.known.values().map(|known| known.id.0).collect();
        // The last is that of a name without a number.
        let mut free = (1..u16::MAX).filter(|id| !taken.contains(id)).map(NameId);
        for name in declared(config) {
            if self.known.contains_key(name) {
                continue;
            }
            // There are as many as there are backends, at most: when numbers run
            // out, the name stays unknown, and its checks find out nothing.
            let Some(id) = free.next() else {
                continue;
            };
            let known = Known {
                id,
                address: None,
                answer: Vec::new(),
                since: now,
                look: Look::At(now),
                failed: 0,
                trouble: None,
            };
            self.known.insert(Arc::clone(name), known);
        }
    }

    /// Forgets the names that a config has not.
    pub fn keep(&mut self, config: &Config) {
        self.interval = config.node.resolve_interval;
        let declared: BTreeSet<_> = declared(config).collect();
        self.known.retain(|name, _| declared.contains(name));
    }

    /// The number of a name, and where it is.
    fn place(&self, name: &TargetName) -> (NameId, IpAddr) {
        match self.known.get(name) {
            Some(known) => (known.id, known.address.unwrap_or(name.nowhere())),
            // As if it were one that nobody finds.
            None => (NameId(u16::MAX), name.nowhere()),
        }
    }

    /// The check of a service's backend, where its target's name is.
    #[must_use]
    pub fn check(&self, service: &ServiceConfig, backend: &Backend) -> Option<CheckConfig> {
        let mut check = backend.check()?;
        if let Some(name) = service.name_of(&backend.destination.key) {
            let (id, address) = self.place(name);
            check.name = id;
            check.target.set_ip(address);
        }
        Some(check)
    }

    /// Puts into a plan where its names are now.
    pub fn tell(&mut self, plan: &mut OwnedLbPlan) {
        let known = self.known.values();
        let places: BTreeMap<NameId, IpAddr> = known
            .filter_map(|known| Some((known.id, known.address?)))
            .collect();
        plan.place(|id| places.get(&id).copied());
    }

    /// Whether an address is not the one that the LB loop has, and it is time to tell;
    /// asked once.
    #[must_use]
    pub fn take_news(&mut self, now: Instant) -> bool {
        let tell = self.news && self.quiet <= now;
        if tell {
            self.news = false;
            self.quiet = now + GATHER;
        }
        tell
    }

    /// It cannot be told for now.
    pub fn put_off(&mut self, now: Instant) {
        self.quiet = self.quiet.max(now + GATHER);
    }

    /// The loop was too far behind to be told.
    pub const fn keep_news(&mut self) {
        self.news = true;
    }

    /// How long until a name is to be looked up, or moves are to be told.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let tell = self.news.then(|| self.quiet.since(now));
        let places = self.looking < LOOKUPS_MAX;
        let each = self.known.values().filter(|_| places);
        let each = each.filter_map(|known| match known.look {
            Look::At(at) => Some(at.since(now)),
            Look::Since(_) => None,
        });
        each.chain(tell).min()
    }

    /// Begins the lookups whose time has come, the earliest first: with more to do
    /// than there are places those of one zone would have them all else.
    pub fn look(&mut self, now: Instant, log: &OwnLog) {
        let interval = self.interval;
        let each = self.known.iter_mut();
        let mut due: Vec<_> = each
            .filter_map(|(name, known)| match known.look {
                Look::At(at) if at <= now => Some((at, name, known)),
                Look::At(_) | Look::Since(_) => None,
            })
            .collect();
        due.sort_by_key(|(at, ..)| *at);
        let places = LOOKUPS_MAX.saturating_sub(self.looking);
        for (_, name, known) in due.into_iter().take(places) {
            let (done, bell, of) = (
                self.answers.0.clone(),
                Arc::clone(&self.bell),
                Arc::clone(name),
            );
            let lookup = thread::Builder::new().name("lookup".to_owned());
            let begun = lookup.stack_size(STACK_BYTES).spawn(move || {
                let answer = names::addresses(&of.host, of.family);
                // The other end lives as long as the process.
                let _ = done.send((of, answer));
                bell.ring();
            });
            match begun {
                Ok(_) => {
                    known.look = Look::Since(now);
                    self.looking += 1;
                }
                Err(_) => {
                    known.look = Look::At(now + interval);
                    trouble(log, name, known, "no thread for a lookup");
                }
            }
        }
    }

    /// Takes what lookups have found.
    pub fn take_answers(&mut self, now: Instant, log: &OwnLog) {
        while let Ok((name, answer)) = self.answers.1.try_recv() {
            self.looking = self.looking.saturating_sub(1);
            let answer = answer.and_then(usable);
            // One that a reload took away, and maybe brought back meanwhile.
            if let Some(known) = self.known.get_mut(&name) {
                let moved = take(&name, known, answer.clone(), (now, self.interval), log);
                self.news |= moved.is_some();
                self.moves += u64::from(moved == Some(true));
            }
            match answer {
                Ok(_) => self.found += 1,
                Err(why) => *self.not_found.entry(why.words()).or_default() += 1,
            }
        }
    }

    /// As it is shown.
    #[must_use]
    pub fn state(&self, now: Instant) -> Vec<NameState> {
        let each = self.known.iter().map(|(name, known)| NameState {
            name: name.host.clone(),
            family: name.family,
            address: known.address,
            others: known
                .answer
                .iter()
                .copied()
                .filter(|a| Some(*a) != known.address)
                .collect(),
            since: known.address.map(|_| now.since(known.since)),
            trouble: match known.look {
                Look::Since(since) if now.since(since) > LONG => "the lookup does not come back",
                Look::Since(_) | Look::At(_) => known.trouble.unwrap_or_default(),
            }
            .to_owned(),
        });
        each.collect()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Vec<Counter> {
        let failed = self.not_found.iter();
        let failed = failed.map(|(why, n)| Counter::which("name_lookups_failed", why, *n));
        let own = [
            Counter::new("name_lookups", self.found),
            Counter::new("name_moves", self.moves),
        ];
        own.into_iter().chain(failed).collect()
    }
}

/// All names of a config, some more than once.
fn declared(config: &Config) -> impl Iterator<Item = &Arc<TargetName>> {
    let names = config.services.iter().flat_map(|service| &service.names);
    names.map(|(_, name)| name)
}

/// Takes an answer. `None` where it changes nothing for the checks, otherwise
/// whether the name had another address before.
fn take(
    name: &TargetName,
    known: &mut Known,
    answer: Answer,
    (now, interval): (Instant, Duration),
    log: &OwnLog,
) -> Option<bool> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            let again = AGAIN
                .saturating_mul(1 << known.failed.min(16))
                .min(interval);
            let found = known.address.is_some();
            known.look = Look::At(now + if found { interval } else { again });
            known.failed = known.failed.saturating_add(1);
            trouble(log, name, known, why.words());
            return None;
        }
    };
    let Some(is) = choose(known.address, &answer) else {
        // An answer has addresses.
        return None;
    };
    known.look = Look::At(now + interval);
    known.failed = 0;
    known.answer = answer;
    let again = known.trouble.take().is_some();
    let was = known.address.replace(is);
    let name = text(&name.host);
    match was {
        Some(was) if was == is => {
            if again {
                log.log(&records::NameResolved { name, address: is });
            }
            return None;
        }
        Some(was) => log.log(&records::NameMoved { name, was, is }),
        None => log.log(&records::NameResolved { name, address: is }),
    }
    known.since = now;
    Some(was.is_some())
}

/// Of several addresses the one that is probed already, or else the least: servers
/// give them in another order each time.
fn choose(current: Option<IpAddr>, answer: &[IpAddr]) -> Option<IpAddr> {
    let stays = current.filter(|current| answer.contains(current));
    stays.or_else(|| answer.iter().min().copied())
}

/// What of an answer can be probed: an address of a link cannot without the link.
fn usable(mut answer: Vec<IpAddr>) -> Answer {
    answer.retain(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(own) => !own.is_unicast_link_local(),
    });
    if answer.is_empty() {
        return Err(Unresolved::NoSuch);
    }
    Ok(answer)
}

/// Says why a name has no address, or no new one, once for each reason.
fn trouble(log: &OwnLog, name: &TargetName, known: &mut Known, why: &'static str) {
    if known.trouble.replace(why) == Some(why) {
        return;
    }
    let name = text(&name.host);
    match known.address {
        Some(address) => log.log(&records::NameLost { name, why, address }),
        None => log.log(&records::NameUnknown { name, why }),
    }
}

#[cfg(test)]
mod tests;
