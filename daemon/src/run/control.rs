//! The control thread: signals, reloads, the log's text, and snapshots for
//! whoever asks. It may allocate and may be late; neither loop waits for it.

mod end;
mod memory;
mod operate;
mod reload;
mod resolve;
mod snapshots;

use super::answer::{Asker, Question, Taken};
use super::board::{BoardIn, Cells};
use super::datagrams::HalfOpens;
use super::errands::{self, Errand, ErrandsIn, errands};
use super::ha::{HaCommand, HaReply};
use super::keeper::Keeper;
use super::lb::{LbCommand, LbReply};
use super::link::{Bell, ChoresOut, NoticesOut};
use super::names::Names;
use super::operator::Operators;
use super::plan::OwnedHaPlan;
use super::records::{self, OwnLog, OwnLogEnd};
use super::runner;
use super::settings::Settings;
use super::{HaControl, LbControl, LoopThread, links};
use crate::config::{Config, Reader};
use crate::control;
use crate::control::{CATALOGUES, Form, LevelCell, Listener, Records, Scribe, Writer};
use memory::Memory;
use operate::Doing;
use reload::Offer;
use snapshots::Snapshots;
use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use trunnion_core::director::ha::NoFailover;
use trunnion_core::time::Instant;
use trunnion_sys::clock::boottime;
use trunnion_sys::notify::{self, Notify};
use trunnion_sys::signal::unblock_all;

/// How long HA waits for LB at start. Without it clients would be turned away;
/// for ever, and a broken check would keep the address down.
const HELD: Duration = Duration::from_secs(5);
/// How long the last notices may take, within the patience of the end.
const LAST_WORDS: Duration = Duration::from_secs(4);
/// How long whoever reads the log may take for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often the loops' lives are looked after.
const LOOK: Duration = Duration::from_secs(1);
/// Questions that may wait.
const QUESTIONS: usize = 16;

/// Both loops, as the control thread holds them.
pub(super) struct Loops {
    pub(super) logs: Vec<Box<dyn Records>>,
    /// HA's first plan, held until LB is ready: a node that takes an address
    /// before it can serve it turns clients away.
    pub(super) ha_held: Option<Box<OwnedHaPlan>>,
    pub(super) ha: HaControl,
    pub(super) ha_thread: Option<LoopThread>,
    /// It has said its last word: its thread is about to end.
    pub(super) ha_finished: bool,
    pub(super) lb: LbControl,
    /// How LB makes half-open checks.
    pub(super) half_opens: HalfOpens,
    pub(super) lb_thread: Option<LoopThread>,
    /// As above.
    pub(super) lb_finished: bool,
    pub(super) keeper: Keeper,
    /// When the daemon was started.
    pub(super) started: Instant,
    /// Where is written what is found out about things tracked, and where each.
    pub(super) board: BoardIn,
    pub(super) cells: Cells,
    /// The names that checks' targets are.
    pub(super) names: Names,
    /// What the HA loop tells whoever is to be notified.
    pub(super) notices: NoticesOut,
    /// What the HA loop has the `links` thread do, once that is started.
    pub(super) chores: Option<ChoresOut>,
    pub(super) runner: runner::Keeper,
}

/// What came of asking a loop whether it goes round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    /// It does.
    Answered,
    /// It was asked.
    Sent,
    /// It could not be asked.
    Due,
}

/// See the module's words.
pub(super) struct Control {
    config: Arc<Config>,
    reader: Reader,
    path: PathBuf,
    started: Instant,
    loops: Loops,
    bell: Arc<Bell>,
    heard: StdUnixStream,
    log: OwnLog,
    log_end: Option<OwnLogEnd>,
    level: Option<LevelCell>,
    /// Where words go that are no records.
    words: Option<Scribe>,
    settings: Settings,
    notify: Option<Notify>,
    /// Who finds out about things tracked, and who keeps their helper; nobody
    /// before there is a runtime.
    errands: Option<(ErrandsIn, runner::Keeper)>,
    /// A config the loops have not both answered for yet.
    offered: Option<Offer>,
    /// Whether another reload was asked for meanwhile.
    reload_again: bool,
    snapshots: Snapshots,
    operators: Operators,
    /// Orders that the LB loop has not done yet.
    doing: VecDeque<Doing>,
    /// Orders the HA loop has not answered for yet.
    orders: VecDeque<oneshot::Sender<Result<u16, NoFailover>>>,
    /// What keeps the watchdog from being fed: pings of the HA loop and the LB
    /// loop.
    pings: [Ping; 2],
    memory: Memory,
    stopping_since: Option<StdInstant>,
    /// Whether the HA loop, and the LB loop, were told.
    told_to_end: [bool; 2],
}

impl Control {
    pub(super) fn new(
        (config, reader): (Config, Reader),
        path: PathBuf,
        (loops, operators): (Loops, Operators),
        bell: Arc<Bell>,
        heard: StdUnixStream,
    ) -> Self {
        let config = Arc::new(config);
        let (log, log_end) = OwnLog::new();
        Self {
            // Both loops were given the first plan before they were started.
            offered: Some(Offer {
                config: Arc::clone(&config),
                ha: None,
                lb: None,
                waiting: 2,
                refused: None,
                first: true,
            }),
            config,
            reader,
            path,
            started: loops.started,
            loops,
            bell,
            heard,
            log,
            log_end: Some(log_end),
            reload_again: false,
            level: None,
            words: None,
            settings: Settings::default(),
            notify: None,
            errands: None,
            snapshots: Snapshots::default(),
            operators,
            doing: VecDeque::new(),
            orders: VecDeque::new(),
            pings: [Ping::Answered; 2],
            memory: Memory::default(),
            stopping_since: None,
            told_to_end: [false; 2],
        }
    }

    /// Runs until both loops have ended.
    pub(super) fn run(mut self, listener: Listener) -> io::Result<ExitCode> {
        self.notify = Notify::from_env().unwrap_or_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async move {
            let (ask, questions) = mpsc::channel(QUESTIONS);
            let (stop, stopped) = oneshot::channel::<()>();
            let level = self.config.node.log;
            let mut records = std::mem::take(&mut self.loops.logs);
            if let Some(own) = self.log_end.take() {
                records.push(Box::new(own));
            }
            let scribe = Scribe::start(io::stderr())?;
            self.words = Some(scribe.clone());
            let writer = Writer::new(scribe, level, Form::of_stderr(), CATALOGUES);
            self.level = Some(writer.level());
            let plane = control::Control {
                listener,
                source: Asker(ask),
                records,
                writer,
            };
            let plane = tokio::spawn(plane.run(async {
                let _ = stopped.await;
            }));
            let code = self.serve(questions).await;
            // The loops' last words are still to be written.
            let _ = stop.send(());
            let _ = plane.await;
            if let Some(words) = &self.words {
                words.finish(LAST_LINES);
            }
            code
        })
    }

    async fn serve(&mut self, mut questions: mpsc::Receiver<Question>) -> io::Result<ExitCode> {
        let heard = UnixStream::from_std(self.heard.try_clone()?)?;
        let mut hup = signal(SignalKind::hangup())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        // Blocked so far, so that the loops' threads never see one.
        unblock_all()?;
        links::start(self.loops.chores.take(), self.log.clone())?;
        self.say_remembered();
        self.settings.take(&self.config.ipvs, &self.log);
        let keeper = &mut self.loops.keeper;
        keeper.take(&self.config, &self.log);
        let (errands, hand_in, helper) = errands(self.loops.board.clone(), self.log.clone())?;
        self.errands = Some((hand_in, helper));
        tokio::spawn(errands.run());
        self.take_errands();
        self.loops.runner.take(self.config.has_errands(), &self.log);
        let mut child = signal(SignalKind::child())?;
        let mut again = pin!(tokio::time::sleep(LOOK));
        let mut held = pin!(tokio::time::sleep(HELD));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut feed = interval(notify::watchdog().map_or(LOOK * 3600, |period| period / 2));
        loop {
            let lookup = self.loops.names.wait(boottime()).unwrap_or(LOOK * 3600);
            tokio::select! {
                ready = heard.readable() => {
                    ready?;
                    let _ = heard.try_read(&mut [0; 16]);
                    self.bell.hear();
                    self.drain();
                }
                _ = hup.recv() => self.reload(),
                _ = term.recv() => self.stop(),
                _ = int.recv() => self.stop(),
                Some(question) = questions.recv() => self.take_question(question),
                () = tokio::time::sleep(lookup) => self.look_up(),
                () = &mut held, if self.loops.ha_held.is_some() && !held.is_elapsed() => {
                    self.send_held_plan();
                }
                _ = look.tick() => {
                    self.drain();
                    if self.stopping_since.is_some() {
                        self.send_shutdown();
                    } else if held.is_elapsed() {
                        self.send_held_plan();
                    }
                    self.settings.look_again(&self.log);
                    self.memory.look();
                }
                _ = feed.tick() => self.feed_watchdog(),
                _ = child.recv() => again.set(tokio::time::sleep(self.keep_helpers())),
                () = &mut again => again.set(tokio::time::sleep(self.keep_helpers())),
            }
            if let Some(code) = self.ended() {
                self.finish_errands().await;
                return Ok(code);
            }
        }
    }

    /// Takes what the loops have said.
    fn drain(&mut self) {
        while let Some(reply) = self.loops.ha.reply() {
            match reply {
                HaReply::Plan(plan, taken) => {
                    drop(plan);
                    self.take_answer(taken.err().map(|why| ("ha", why.words())));
                }
                HaReply::Fits(plan, fits) => {
                    if let Some(offer) = &mut self.offered {
                        offer.ha = Some(plan);
                    }
                    self.take_answer(fits.err().map(|why| ("ha", why.words())));
                }
                HaReply::Snapshot(snapshot) => self.snapshots.take_ha(snapshot),
                HaReply::Closed(port) => drop(port),
                HaReply::FailedOver(result) => {
                    // Whoever asked may have gone.
                    let _ = self.orders.pop_front().map(|asked| asked.send(result));
                }
                HaReply::Pong => self.pings[0] = Ping::Answered,
                HaReply::Finished { left } => {
                    self.loops.ha_finished = true;
                    if let Some(left) = u32::try_from(left).ok().filter(|left| *left > 0) {
                        self.log.log(&records::AddressesLeft { left });
                    }
                    self.send_shutdown();
                }
            }
        }
        while let Some(reply) = self.loops.lb.reply() {
            match reply {
                LbReply::Plan(plan, taken) => {
                    drop(plan);
                    self.take_answer(taken.err().map(|why| ("lb", why.words())));
                }
                LbReply::Renewed(plan) => drop(plan),
                LbReply::Fits(plan, fits) => {
                    if let Some(offer) = &mut self.offered {
                        offer.lb = Some(plan);
                    }
                    self.take_answer(fits.err().map(|why| ("lb", why.words())));
                }
                LbReply::Snapshot(snapshot) => self.snapshots.take_lb(snapshot),
                LbReply::Operated(orders) => {
                    drop(orders);
                    self.answer_order();
                }
                LbReply::Ready => self.send_held_plan(),
                LbReply::Pong => self.pings[1] = Ping::Answered,
                LbReply::Finished => self.loops.lb_finished = true,
            }
        }
        self.answer();
        self.renew_names();
        while let Some(notice) = self.loops.notices.take() {
            if let Some((errands, _)) = &self.errands {
                let _ = errands.send(Errand::Notice(notice));
            }
        }
    }

    /// Waits, but not for long, until all are told who are to be notified.
    async fn finish_errands(&mut self) {
        self.drain();
        let (done, all) = oneshot::channel();
        if let Some((errands, _)) = &self.errands {
            let _ = errands.send(Errand::Finish(done));
        }
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }

    /// Looks after the guardian and the runners; returns when to look again.
    fn keep_helpers(&mut self) -> Duration {
        let again = self.loops.keeper.look(&self.log).unwrap_or(LOOK);
        let helper = self.errands.as_mut();
        let helper = helper.and_then(|(_, helper)| helper.look(&self.log));
        let runner = self.loops.runner.look(&self.log);
        again
            .min(helper.unwrap_or(LOOK))
            .min(runner.unwrap_or(LOOK))
    }

    /// Has found out what the config in force tracks.
    fn take_errands(&mut self) {
        let Loops { cells, board, .. } = &mut self.loops;
        cells.keep(&self.config, board);
        let cells = cells.assign(&self.config, board);
        if let Some((errands, helper)) = &mut self.errands {
            helper.take(errands::needs_helper(&self.config), &self.log);
            // Its task lives as long as we do.
            let _ = errands.send(Errand::Take(Arc::clone(&self.config), cells));
        }
    }

    /// Lets HA begin, if it was held back.
    fn send_held_plan(&mut self) {
        if let Some(plan) = self.loops.ha_held.take()
            && let Err(HaCommand::Plan(plan)) = self.loops.ha.send(HaCommand::Plan(plan))
        {
            // A loop that stands still has its ring full of pings and questions:
            // there is another look.
            self.loops.ha_held = Some(plan);
        }
    }

    /// Answers the questions that both loops have answered for.
    fn answer(&mut self) {
        if let Some((ha, lb)) = self.snapshots.both() {
            let taken = Taken {
                started: self.started,
                file: self.path.display().to_string(),
                config: Arc::clone(&self.config),
                settings: self.settings.state(),
                names: (
                    self.loops.names.state(boottime()),
                    self.loops.names.counters(),
                ),
                guardian_deaths: self.loops.keeper.deaths(),
                runner_deaths: self.loops.runner.deaths(),
                ha,
                lb,
            };
            self.snapshots.answer(taken);
            self.memory.note_freed();
        }
        self.ask_loops();
    }

    /// Sends the snapshots round, if somebody waits for that and they are here.
    fn ask_loops(&mut self) {
        let Loops { ha, lb, .. } = &mut self.loops;
        if !ha.has_room() || !lb.has_room() {
            return self.snapshots.give_up();
        }
        if let Some((of_ha, of_lb)) = self.snapshots.begin(&self.config.limits) {
            let _ = ha.send(HaCommand::Snapshot(of_ha));
            let _ = lb.send(LbCommand::Snapshot(of_lb));
        }
    }

    fn take_question(&mut self, question: Question) {
        match question {
            Question::State(answer) => {
                self.snapshots.ask(answer);
                self.ask_loops();
            }
            Question::Operate(order, by, answer) => self.operate(&order, by, answer),
            Question::FailOver(order, answer) => self.fail_over(order, answer),
        }
    }
}
