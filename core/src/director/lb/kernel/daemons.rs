//! The connection synchronization daemons: which run, which should, and the
//! steps from the one to the other. They have no part in the table: a daemon
//! that is refused holds up no row, and is tried again later by itself.

use super::{Ask, Kernel, Progress, State};
use crate::director::exchange::Backoff;
use crate::director::records::{self, DaemonRefused, DaemonStarted, DaemonStopped};
use crate::ipvs::{Command, Refused, decode, request};
use crate::model::{SyncDaemon, SyncState};
use crate::netlink::genl::FamilyId;
use crate::netlink::{Batch, Errno, Malformed, Reply};
use crate::record::Ring;
use crate::time::Instant;

/// The daemon of each state, in the order of [`STATES`].
pub(in crate::director) type Pair = [Option<SyncDaemon>; 2];

const STATES: [SyncState; 2] = [SyncState::MASTER, SyncState::BACKUP];

/// What is known of the daemons.
#[derive(Debug, Default)]
pub(super) struct Daemons {
    /// Those that should run; nothing while they are left alone.
    wanted: Option<Pair>,
    /// Those that run, if `known`.
    running: Pair,
    known: bool,
    /// What the requests on their way lead to.
    target: Pair,
    /// A request on its way was refused.
    refused: bool,
    backoff: Backoff,
    /// After a refusal.
    retry_at: Option<Instant>,
    /// A pass was broken off since they had a turn.
    waits: bool,
}

/// One request.
enum Step<'d> {
    Stop(SyncState),
    Start(&'d SyncDaemon),
}

impl Daemons {
    /// Which should run from now on; nothing: leave them alone. Whether that is
    /// news.
    fn want(&mut self, wanted: Option<Pair>) {
        if self.wanted != wanted {
            self.wanted = wanted;
            // Another wish may succeed where the last one did not.
            self.backoff.reset();
            self.retry_at = None;
        }
    }

    /// Nothing said before holds any more.
    pub(super) const fn forget(&mut self) {
        self.known = false;
    }

    /// Whether it is their turn before the next pass.
    pub(super) const fn wait(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// When there is something to do that is not to be done now.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// What is to be asked next.
    fn due(&mut self, now: Instant) -> Option<Ask> {
        let wanted = self.wanted.as_ref()?;
        if self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        self.retry_at = None;
        if !self.known {
            return Some(Ask::Daemons);
        }
        // Nothing where they run as they should.
        step(wanted, &self.running, 0)?;
        self.target.clone_from(wanted);
        self.refused = false;
        Some(Ask::SetDaemons)
    }

    /// Whether something is to be done that was not refused.
    fn owes(&self) -> bool {
        let differs = |wanted: &Pair| !self.known || step(wanted, &self.running, 0).is_some();
        self.retry_at.is_none() && self.wanted.as_ref().is_some_and(differs)
    }
}

/// The step with this number from what runs to what should: wrong ones are
/// stopped first, since one that is to change cannot run twice.
fn step<'d>(target: &'d Pair, running: &Pair, number: usize) -> Option<Step<'d>> {
    let met = |at: usize| match (target.get(at), running.get(at)) {
        (Some(Some(wanted)), Some(Some(running))) => wanted.is_met_by(running),
        _ => false,
    };
    let runs = |at: usize| matches!(running.get(at), Some(Some(_)));
    let places = || STATES.iter().enumerate();
    let stops = places()
        .filter(|(at, _)| runs(*at) && !met(*at))
        .map(|(_, state)| Step::Stop(*state));
    let starts = target
        .iter()
        .enumerate()
        .filter(|(at, _)| !met(*at))
        .filter_map(|(_, wanted)| wanted.as_ref().map(Step::Start));
    stops.chain(starts).nth(number)
}

impl Kernel<'_> {
    /// Which daemons should run; nothing leaves those alone that do.
    pub(in crate::director) fn want_daemons(&mut self, wanted: Option<Pair>) {
        self.daemons.want(wanted);
    }

    /// Those that should run and those that do, as far as is known.
    pub(in crate::director) fn daemons(&self) -> (Option<&Pair>, Option<&Pair>) {
        let Daemons {
            wanted,
            running,
            known,
            ..
        } = &self.daemons;
        (wanted.as_ref(), known.then_some(running))
    }

    /// Whether the daemons are not yet as they should be and may soon be.
    pub(in crate::director) fn owes_daemons(&self) -> bool {
        self.daemons.owes() && !matches!(self.state, State::Backoff { .. })
    }

    /// Whether the daemons have a turn before the next pass: a pass that fails ends
    /// in a dump, and that in a pass, so that the table may never rest.
    pub(super) fn puts_daemons_first(&mut self, now: Instant) -> bool {
        if self.daemons.waits {
            self.turn_to_daemons(now);
            self.daemons.waits = !self.is_settled();
        }
        self.daemons.waits
    }

    /// While the table is settled, the daemons have their turn.
    pub(super) fn turn_to_daemons(&mut self, now: Instant) {
        if self.is_settled()
            && let Some(ask) = self.daemons.due(now)
        {
            self.state = State::Due(ask);
        }
    }

    /// Asks which run.
    pub(super) fn write_daemons(&mut self, family: FamilyId, batch: &mut Batch<'_>) {
        self.daemons.running = Pair::default();
        let _ = request::dump_daemons(batch, family);
    }

    /// Starts and stops them. A stop may have no answer of its own; the barrier
    /// has.
    pub(super) fn write_daemon_steps(&mut self, family: FamilyId, batch: &mut Batch<'_>) {
        let daemons = &mut self.daemons;
        daemons.known = false;
        for number in 0.. {
            let written = match step(&daemons.target, &daemons.running, number) {
                None => break,
                Some(Step::Stop(state)) => {
                    self.counters.del_daemon = self.counters.del_daemon.saturating_add(1);
                    request::stop_daemon(batch, family, state)
                }
                Some(Step::Start(daemon)) => {
                    self.counters.new_daemon = self.counters.new_daemon.saturating_add(1);
                    request::start_daemon(batch, family, daemon)
                }
            };
            match written {
                Ok(_) => {}
                // What runs then is asked for, and the rest is sent after that.
                Err(Refused::Full) => {
                    daemons.refused = true;
                    break;
                }
                // The config refuses these with words of its own.
                Err(_) => daemons.refused = true,
            }
        }
        let _ = batch.barrier();
    }

    /// A daemon that runs, or the end of the list.
    pub(super) fn handle_daemon(
        &mut self,
        now: Instant,
        reply: &Reply<'_>,
        log: &mut Ring<'_>,
    ) -> Result<Progress, Malformed> {
        match *reply {
            Reply::Data { body, offset, .. } => {
                let daemon = decode::daemon(body, offset)?;
                let place = STATES.iter().position(|state| *state == daemon.state);
                if let Some(place) = place.and_then(|at| self.daemons.running.get_mut(at)) {
                    *place = Some(daemon);
                }
            }
            Reply::Done { result: Ok(()), .. } => {
                self.daemons.known = true;
                if self.daemons.due(now).is_none() {
                    self.daemons.backoff.reset();
                }
                self.settle();
            }
            Reply::Done { result: Err(_), .. } | Reply::Ack { result: Err(_), .. } => {
                self.handle_lost(now, "dump refused", log);
            }
            Reply::Ack { .. } | Reply::Noop | Reply::Overrun => {}
        }
        Ok(Progress::None)
    }

    /// The kernel refused a step.
    pub(super) fn handle_daemon_step(
        &mut self,
        now: Instant,
        index: usize,
        reply: &Reply<'_>,
        log: &mut Ring<'_>,
    ) {
        let Reply::Ack {
            result: Err(errno), ..
        } = *reply
        else {
            return;
        };
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.daemons.refused = true;
        let Daemons {
            target, running, ..
        } = &self.daemons;
        let (command, state) = match step(target, running, index) {
            Some(Step::Stop(state)) => (Command::DEL_DAEMON, state),
            Some(Step::Start(daemon)) => (Command::NEW_DAEMON, daemon.state),
            None => return,
        };
        if errno == Errno::ENOENT {
            // No answer of these commands: the family has gone.
            return self.handle_lost(now, "the IPVS family has gone", log);
        }
        let meaning = records::Meaning { command, errno };
        let (state, errno) = (word(state), errno.0);
        log.log(
            now,
            DaemonRefused {
                state,
                errno,
                meaning,
            },
        );
    }

    /// Every step has been answered.
    pub(super) fn handle_daemon_barrier(&mut self, now: Instant, log: &mut Ring<'_>) {
        let daemons = &mut self.daemons;
        if daemons.refused {
            let wait = daemons.backoff.fail();
            daemons.retry_at = Some(now + wait);
        } else {
            for number in 0.. {
                match step(&daemons.target, &daemons.running, number) {
                    None => break,
                    Some(Step::Stop(state)) => {
                        let state = word(state);
                        log.log(now, DaemonStopped { state });
                    }
                    Some(Step::Start(daemon)) => {
                        let (state, sync_id) = (word(daemon.state), daemon.sync_id);
                        let interface = records::name(&daemon.interface);
                        log.log(
                            now,
                            DaemonStarted {
                                state,
                                interface,
                                sync_id,
                            },
                        );
                    }
                }
            }
            daemons.running.clone_from(&daemons.target);
            daemons.known = true;
            daemons.backoff.reset();
        }
        self.settle();
    }
}

const fn word(state: SyncState) -> &'static str {
    match state {
        SyncState::MASTER => "master",
        _ => "backup",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn daemon(state: SyncState, interface: &str) -> SyncDaemon {
        SyncDaemon::new(state, interface.parse().unwrap(), 1)
    }

    fn steps(target: &Pair, running: &Pair) -> Vec<String> {
        let step = |number| step(target, running, number);
        (0..)
            .map_while(step)
            .map(|step| match step {
                Step::Stop(state) => std::format!("-{}", state.0),
                Step::Start(daemon) => std::format!("+{} {}", daemon.state.0, daemon.interface),
            })
            .collect()
    }

    #[test]
    fn what_runs_right_is_left_and_the_rest_is_stopped_before_it_is_started() {
        let sends = || Some(daemon(SyncState::MASTER, "eth1"));
        let hears = || Some(daemon(SyncState::BACKUP, "eth1"));
        let elsewhere = || Some(daemon(SyncState::MASTER, "eth2"));
        let none: [&str; 0] = [];
        for (target, running, expected) in [
            ([None, None], [None, None], &none[..]),
            ([sends(), None], [None, None], &["+1 eth1"]),
            ([sends(), None], [sends(), None], &none),
            ([sends(), None], [None, hears()], &["-2", "+1 eth1"]),
            ([None, hears()], [sends(), None], &["-1", "+2 eth1"]),
            ([sends(), None], [elsewhere(), None], &["-1", "+1 eth1"]),
            (
                [sends(), hears()],
                [elsewhere(), hears()],
                &["-1", "+1 eth1"],
            ),
            ([None, None], [sends(), hears()], &["-1", "-2"]),
        ] {
            assert_eq!(steps(&target, &running), expected, "{target:?} {running:?}");
        }
    }

    #[test]
    fn a_refusal_is_tried_again_at_once_and_then_later_and_a_new_wish_now() {
        let at = |s| Instant::ZERO + crate::time::Duration::from_secs(s);
        let mut daemons = Daemons::default();
        assert!(daemons.due(at(0)).is_none());
        daemons.want(Some([Some(daemon(SyncState::MASTER, "eth1")), None]));
        assert!(matches!(daemons.due(at(0)), Some(Ask::Daemons)));
        daemons.known = true;
        assert!(matches!(daemons.due(at(0)), Some(Ask::SetDaemons)));
        daemons.known = false;
        daemons.retry_at = Some(at(9));
        assert!(daemons.due(at(8)).is_none());
        assert_eq!(daemons.poll_timeout(), Some(at(9)));
        assert!(!daemons.owes());
        daemons.want(Some([None, Some(daemon(SyncState::BACKUP, "eth1"))]));
        assert!(daemons.owes());
        assert!(matches!(daemons.due(at(8)), Some(Ask::Daemons)));
    }
}
