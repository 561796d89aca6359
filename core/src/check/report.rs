//! What the engine has to tell: changes of health, troubles of this node,
//! counters, and the log records of them.

use super::engine::CheckId;
use super::said::Half;
use super::{Advised, Certificate, HealthState, Local, Reason, Share, Verdict};
use crate::record::{Ring, records};
use crate::time::{Duration, Instant};
use core::net::{IpAddr, SocketAddr};

records! {
    /// A target went down.
    0x0401 Warn TargetDown {
        address: IpAddr, port: u16, reason: &'static str, latency_us: u32, first: bool
    } "target {address} port {port} is down: {reason} after {latency_us} us (first verdict: {first})";
    /// A target came up.
    0x0402 Info TargetUp {
        address: IpAddr, port: u16, latency_us: u32, first: bool
    } "target {address} port {port} is up: answered after {latency_us} us (first verdict: {first})";
    /// A plan was merged with what runs.
    0x0403 Info PlanTaken { kept: u32, edited: u32, added: u32, removed: u32 }
        "checks: {kept} kept, {edited} edited, {added} added, {removed} removed";
    /// This node could not check; nobody's health changed for it.
    0x0404 Warn ChecksIndeterminate { checks: u64, reason: &'static str }
        "{checks} checks found out nothing: {reason}; no target's health was changed";
    /// A target falls too often.
    0x0405 Warn TargetFlaps { address: IpAddr, port: u16 }
        "target {address} port {port} flaps: it is held down until it has been quiet for a while";
    /// A target asks for another share of its weight.
    0x0406 Info TargetAdvised { address: IpAddr, port: u16, away: bool, share: &'static str, number: u32 }
        "target {address} port {port} advises: {share} {number} (drain or maint: {away})";
    /// A target's certificate expires soon, or has expired where nobody verifies it.
    0x0407 Warn TargetExpires { address: IpAddr, port: u16, days: u16 }
        "target {address} port {port}: its certificate expires in {days} days: renew it";
    /// A target has another certificate.
    0x0408 Info TargetRenewed { address: IpAddr, port: u16, days: u16 }
        "target {address} port {port}: its certificate is good for {days} days again";
    /// What a command printed that has failed.
    0x0409 Warn CommandSaid { address: IpAddr, port: u16, said: Half, more: Half }
        "target {address} port {port}: its command says: {said}{more}";
}

/// A target's health is not what the owner heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The check.
    pub id: CheckId,
    /// What it probes.
    pub target: SocketAddr,
    /// Health now.
    pub state: HealthState,
    /// Health the owner heard of before; `Unknown` at the first verdict.
    pub previous: HealthState,
    /// Why it is down; `None` when it is up.
    pub reason: Option<Reason>,
    /// How long the last probe took.
    pub latency: Duration,
    /// It fell so often that it is held down.
    pub held: bool,
    /// What it says of its weight, if that is news.
    pub advised: Option<Advised>,
    /// Its certificate, if it is news that it expires soon, or that it no longer
    /// does.
    pub certificate: Option<Certificate>,
}

impl Report {
    /// Whether it tells anything.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.state != self.previous || self.advised.is_some() || self.certificate.is_some()
    }

    /// Writes its record.
    pub fn log(&self, now: Instant, ring: &mut Ring<'_>) {
        let (address, port) = (self.target.ip(), self.target.port());
        let latency_us = u32::try_from(self.latency.as_micros()).unwrap_or(u32::MAX);
        let first = self.previous == HealthState::Unknown;
        if let Some(Advised { away, share }) = self.advised {
            let (share, number) = match share {
                Share::Whole | Share::Presumed => ("percent", 100),
                Share::Percent(percent) => ("percent", percent.into()),
                Share::Weight(weight) => ("weight", weight),
            };
            ring.log(
                now,
                TargetAdvised {
                    address,
                    port,
                    away,
                    share,
                    number,
                },
            );
        }
        if let Some(Certificate {
            days_left, soon, ..
        }) = self.certificate
        {
            let days = days_left;
            if soon {
                ring.log(
                    now,
                    TargetExpires {
                        address,
                        port,
                        days,
                    },
                );
            } else {
                ring.log(
                    now,
                    TargetRenewed {
                        address,
                        port,
                        days,
                    },
                );
            }
        }
        if self.state == self.previous {
            return;
        }
        match self.state {
            HealthState::Up => ring.log(
                now,
                TargetUp {
                    address,
                    port,
                    latency_us,
                    first,
                },
            ),
            HealthState::Down | HealthState::Unknown => ring.log(
                now,
                TargetDown {
                    address,
                    port,
                    reason: self.reason.map_or("nothing known", Reason::words),
                    latency_us,
                    first,
                },
            ),
        }
        if self.held {
            ring.log(now, TargetFlaps { address, port });
        }
    }
}

/// How a plan met what ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Checks that run on, untouched.
    pub kept: u32,
    /// Checks of the same question with other times: health and id kept.
    pub edited: u32,
    /// New checks.
    pub added: u32,
    /// Checks that ended.
    pub removed: u32,
}

impl Merged {
    /// Writes its record.
    pub fn log(&self, now: Instant, ring: &mut Ring<'_>) {
        let Self {
            kept,
            edited,
            added,
            removed,
        } = *self;
        ring.log(
            now,
            PlanTaken {
                kept,
                edited,
                added,
                removed,
            },
        );
    }
}

/// Trouble of this node that kept checks from finding anything out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What it is.
    pub local: Local,
    /// Checks since the last such report.
    pub checks: u64,
}

impl Trouble {
    /// Writes its record.
    pub fn log(&self, now: Instant, ring: &mut Ring<'_>) {
        ring.log(
            now,
            ChecksIndeterminate {
                checks: self.checks,
                reason: self.local.words(),
            },
        );
    }
}

/// What happened since the start.
///
/// `started` is always the sum of the verdicts, `cancelled`, and the probes in
/// flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Probes the owner was told to make.
    pub started: u64,
    /// Probes that succeeded.
    pub succeeded: u64,
    /// Probes that failed, by [`Reason::index`].
    pub failed: [u64; Reason::COUNT],
    /// Probes that found out nothing, by [`Local::index`].
    pub indeterminate: [u64; Local::COUNT],
    /// Probes that a new plan ended.
    pub cancelled: u64,
    /// Checks that found no free socket when their time came.
    pub queued: u64,
    /// Checks put off because there were too many in a second.
    pub paced: u64,
    /// Checks so late, after a stall, that they were spread anew instead of
    /// starting all at once.
    pub respread: u64,
    /// Events that no check was waiting for: answers to SYNs and datagrams that came
    /// too late, and edges of a socket from before its disconnect.
    pub stray: u64,
    /// Probes by a connection that stayed from the one before.
    pub reused: u64,
    /// Of those, probes whose connection was gone: they made another.
    pub reconnected: u64,
    /// Targets that fell so often that they were held down.
    pub flaps_held: u64,
    /// Targets that went up.
    pub went_up: u64,
    /// Targets that went down.
    pub went_down: u64,
    /// Longest time from a check's due time to its start.
    pub lag_max: Duration,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: 0,
            succeeded: 0,
            failed: [0; Reason::COUNT],
            indeterminate: [0; Local::COUNT],
            cancelled: 0,
            queued: 0,
            paced: 0,
            respread: 0,
            stray: 0,
            reused: 0,
            reconnected: 0,
            flaps_held: 0,
            went_up: 0,
            went_down: 0,
            lag_max: Duration::ZERO,
        }
    }
}

impl Counters {
    /// Counts a verdict.
    pub(super) fn verdict(&mut self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Success => Some(&mut self.succeeded),
            Verdict::Failure(reason) => self.failed.get_mut(reason.index()),
            Verdict::Indeterminate(local) => self.indeterminate.get_mut(local.index()),
        };
        if let Some(counter) = counter {
            *counter = counter.saturating_add(1);
        }
    }

    /// Probes that came to an end.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let each = self.failed.iter().chain(&self.indeterminate);
        each.fold(self.succeeded.saturating_add(self.cancelled), |sum, n| {
            sum.saturating_add(*n)
        })
    }
}
