//! What the control side finds out for the HA loop: things tracked that only a
//! program, a file or a look at the processes tells. It runs by itself, may be
//! late, and writes what it found on the board.
//!
//! Trouble of this node (a program that could not be started, a helper that
//! died) changes nothing that is known, and is named once.

mod notify;
mod process;
mod route;
mod watch;

use super::board::{BoardIn, NO_CELL};
use super::records::{self, OwnLog, text};
use super::runner::{Keeper, Runner, pair};
use crate::config::{Config, TrackSource};
use notify::Notifier;
use process::Processes;
use route::Routes;
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant as Time, sleep_until};
use trunnion_core::director::ha::Notice;
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;
use trunnion_sys::clock::boottime;
use watch::Watch;

/// Commands the helper runs at once. No more are asked of it: what it has no
/// room for it does not run.
const JOBS: u32 = 64;
/// Of those, so many are for what is tracked alone: programs that are told may
/// take long.
const KEPT: u32 = 16;
/// From one attempt to the next when the socket to the helper is full, or it.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(5);
/// How long a helper that does not answer is waited for after the deadline.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// Something to do.
#[derive(Debug)]
pub enum Errand {
    /// This config is in force; the cell of each of its tracks.
    Take(Arc<Config>, Vec<u16>),
    /// A virtual router or a group moved.
    Notice(Notice),
    /// Say when all that were to be told are.
    Finish(oneshot::Sender<()>),
}

/// Where errands are handed in.
pub type ErrandsIn = UnboundedSender<Errand>;

/// See the module's words.
pub struct Errands {
    errands: UnboundedReceiver<Errand>,
    runner: Runner,
    /// Readable when the helper has answered.
    answers: UnixDatagram,
    board: BoardIn,
    log: OwnLog,
    processes: Processes,
    routes: Routes,
    notifier: Notifier,
    /// Who waits until all are told.
    finish: Option<oneshot::Sender<()>>,
    watches: Vec<Watch>,
    next_id: u64,
    /// Which watch, by its cell, waits for an answer.
    asked: HashMap<u64, u16>,
    /// The socket was full: nothing is asked before this.
    again_at: Option<Instant>,
}

/// Errands to be run on this thread's runtime, where they are handed in, and
/// who keeps their helper.
///
/// # Errors
/// Those of socketpair(2) and epoll_ctl(2).
pub fn errands(board: BoardIn, log: OwnLog) -> io::Result<(Errands, ErrandsIn, Keeper)> {
    let (runner, helpers) = pair()?;
    let (hand_in, errands) = unbounded_channel();
    let errands = Errands {
        errands,
        answers: UnixDatagram::from_std(runner.as_fd().try_clone_to_owned()?.into())?,
        runner,
        processes: Processes::new(board.clone()),
        routes: Routes::new(board.clone()),
        board,
        log,
        notifier: Notifier::default(),
        finish: None,
        watches: Vec::new(),
        next_id: 0,
        asked: HashMap::new(),
        again_at: None,
    };
    Ok((errands, hand_in, Keeper::new("control", helpers, JOBS)))
}

/// Whether a config has work for the helper.
#[must_use]
pub fn needs_helper(config: &Config) -> bool {
    let mut tracks = config.tracks.iter();
    let asks =
        |source: &TrackSource| matches!(source, TrackSource::Script(_) | TrackSource::File(_));
    let tells = config.vrrp.iter().any(|it| it.notify.is_some())
        || config.groups.iter().any(|it| it.notify.is_some());
    tells || tracks.any(|track| asks(&track.source))
}

impl Errands {
    /// Runs until nobody can hand in errands any more.
    pub async fn run(mut self) {
        loop {
            let wait = self.next().map(|at| Time::now() + at.since(boottime()));
            let idle = Time::now() + GRACE;
            tokio::select! {
                errand = self.errands.recv() => match errand {
                    Some(Errand::Take(config, cells)) => self.take(&config, &cells),
                    Some(Errand::Notice(notice)) => self.notifier.notice(&notice, &self.log),
                    Some(Errand::Finish(done)) => self.finish = Some(done),
                    None => return,
                },
                _ = self.answers.readable() => {
                    // What comes from here on makes it ready anew.
                    let none = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = self.answers.try_io(Interest::READABLE, none);
                    self.take_answers();
                }
                () = sleep_until(wait.unwrap_or(idle)) => {}
            }
            let now = boottime();
            let room = self.room().saturating_sub(KEPT as usize);
            let (runner, id) = (&mut self.runner, &mut self.next_id);
            self.notifier.serve((now, room), runner, id, &self.log);
            self.ask(now);
            if self.notifier.is_idle()
                && let Some(done) = self.finish.take()
            {
                let _ = done.send(());
            }
        }
    }

    /// What stays goes on without a change; what is new is looked at at once.
    fn take(&mut self, config: &Config, cells: &[u16]) {
        let mut before = std::mem::take(&mut self.watches);
        let (mut processes, mut routes) = (Vec::new(), Vec::new());
        for (track, &cell) in config.tracks.iter().zip(cells) {
            if cell == NO_CELL {
                continue;
            }
            match &track.source {
                TrackSource::Script(_) | TrackSource::File(_) => {
                    let known = before.iter().position(|watch| watch.cell == cell);
                    let mut watch = match known {
                        Some(at) => before.swap_remove(at),
                        None => Watch::new(cell, &track.source, boottime()),
                    };
                    watch.name.clone_from(&track.name);
                    self.watches.push(watch);
                }
                TrackSource::Process {
                    program,
                    command_line,
                    count,
                } => processes.push(process::Sought {
                    program: program.clone(),
                    command_line: *command_line,
                    count: *count,
                    cell,
                }),
                &TrackSource::Route { prefix, table } => routes.push(route::Sought {
                    prefix,
                    table,
                    cell,
                }),
                TrackSource::Interface(_) | TrackSource::Service { .. } => {}
            }
        }
        self.processes.seek(processes, &self.log);
        self.routes.seek(routes, &self.log);
        self.notifier.take(config, &self.log);
    }

    /// How many more commands the helper has room for.
    fn room(&self) -> usize {
        let asked = self.asked.len() + self.notifier.running();
        (JOBS as usize).saturating_sub(asked)
    }

    /// When to look again, if nothing happens before.
    fn next(&self) -> Option<Instant> {
        let answers = self.watches.iter().filter_map(Watch::gives_up_at);
        // What is due waits for room, and room comes with an answer.
        let due = self.watches.iter().filter_map(Watch::due_at).min();
        let due = due.filter(|_| self.room() > 0);
        let due = due.map(|at| self.again_at.map_or(at, |again| at.max(again)));
        answers.chain(due).chain(self.notifier.next()).min()
    }

    /// Asks the helper for what is due, the longest due first: with more of them
    /// than it has time for, each has its turn.
    fn ask(&mut self, now: Instant) {
        for watch in &mut self.watches {
            if let Some(id) = watch.gave_up(now) {
                self.asked.remove(&id);
                trouble(&self.log, watch, "its helper does not answer");
            }
        }
        if self.again_at.take_if(|at| *at <= now).is_none() && self.again_at.is_some() {
            return;
        }
        let mut room = self.room();
        let due = self.watches.iter_mut().filter(|watch| watch.is_due(now));
        let mut due: Vec<&mut Watch> = due.collect();
        due.sort_by_key(|watch| watch.due_at());
        for watch in due {
            if room == 0 {
                return;
            }
            room -= 1;
            self.next_id += 1;
            let id = self.next_id;
            let deadline = now + watch.timeout();
            let runner = &mut self.runner;
            let asked = match watch.command() {
                Ok(words) => runner.run((id, deadline), None, words, |environment| {
                    environment.set("PATH", PATH);
                    environment.set("TRUNNION_TRACK", &watch.name);
                }),
                Err(path) => runner.read((id, deadline), path),
            };
            if asked == Err(BUSY) {
                self.again_at = Some(now + AGAIN);
                return;
            }
            watch.asked(now, asked.is_ok().then_some((id, deadline + GRACE)));
            match asked {
                Ok(()) => {
                    self.asked.insert(id, watch.cell);
                }
                Err(errno) => trouble(&self.log, watch, &format!("errno {}", errno.0)),
            }
        }
    }

    fn take_answers(&mut self) {
        while let Some(done) = self.runner.poll_done() {
            if self
                .notifier
                .answered((done.id, boottime()), &done.outcome, &self.log)
            {
                continue;
            }
            let Some(cell) = self.asked.remove(&done.id) else {
                continue;
            };
            let Some(watch) = self.watches.iter_mut().find(|watch| watch.cell == cell) else {
                continue;
            };
            if !watch.is_asked(done.id) {
                continue;
            }
            match watch.answered(&done.outcome) {
                Ok(Some(state)) => self.board.put(cell, state),
                Ok(None) => {}
                Err(why) => trouble(&self.log, watch, &why),
            }
        }
    }
}

/// `EAGAIN`: the socket, or the helper, has no room for another.
const BUSY: Errno = Errno(11);

/// What programs find their helpers by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Says that nothing was found out, once until something is.
fn trouble(log: &OwnLog, watch: &mut Watch, why: &str) {
    if !std::mem::replace(&mut watch.troubled, true) {
        log.log(&records::TrackTrouble {
            name: text(&watch.name),
            why: text(why),
        });
    }
}

/// The time between two looks at a file or at the processes.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// From a moment on, the next of a period that is not over.
fn after(at: Instant, period: std::time::Duration, now: Instant) -> Instant {
    (at + period).max(now)
}
