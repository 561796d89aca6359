//! `trunnion run`: the daemon. Starts the two loops, then is the control
//! thread: signals, reloads, the log's text, and whoever asks for state.
//!
//! | thread | runs | allocates |
//! |---|---|---|
//! | `ha` | `ha.rs` | not after the seal |
//! | `lb` | `lb.rs` | not after the seal |
//! | `control`, the main one | `control.rs` on tokio | yes |
//! | `links` | `links.rs`: what would keep `ha` waiting for the kernel | yes |

mod answer;
mod board;
mod control;
mod datagrams;
mod errands;
mod guardian;
mod ha;
mod keeper;
mod lb;
mod link;
mod links;
mod names;
mod operator;
mod outside;
mod plan;
pub mod records;
mod respawn;
pub mod runner;
mod settings;
mod snapshot;

pub use guardian::run as guardian;
pub use snapshot::{DestinationView, HaSnapshot, LbSnapshot, RouterView, ServiceView};

use crate::complain;
use crate::config::{self, Config, Limits, Reader, Refused};
use crate::control::Listener;
use board::{BoardIn, Cells};
use control::{Control, Loops};
use datagrams::Datagrams;
use ha::{HaLoop, Others};
use keeper::Keeper;
use lb::LbLoop;
use link::{Bell, Ends, LogEnd, SlotOut};
use mio::{Poll, Waker};
use names::Names;
use operator::Operators;
use outside::Outside;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use trunnion_core::director::ha::{Ha, Memory, WARD_ADDRESS_WORDS, WARD_WORDS};
use trunnion_core::director::lb::Lb;
use trunnion_sys::alloc;
use trunnion_sys::clock::boottime;
use trunnion_sys::random;
use trunnion_sys::signal::{Signal, Signals};
use trunnion_sys::slate::{self, Found, Slate};
use trunnion_sys::tcp::Pool;
use trunnion_sys::thread as sys_thread;
use trunnion_sys::will::{Shape, Will};

/// The slate's meaning: [`Memory::words`], version 1.
const SLATE_LAYOUT: u64 = 1;
/// The will's meaning: wards and their addresses as core has them as words, and
/// the notes below.
const WILL_LAYOUT: u64 = 2;
/// Note of a will: what is to be done ([`trunnion_core::director::guardian::OnCrash`]).
const NOTE_ON_CRASH: usize = 0;
/// Note of a will: when this run went on where another died; 0 if it did not.
const NOTE_RESUMED_AT: usize = 1;
/// File name of the slate in the run directory.
const SLATE_NAME: &str = "slate";
/// How long another run may hold the slate before it is one that lives.
const SLATE_PATIENCE: Duration = Duration::from_secs(2);
/// Priority of the `ha` thread where it may have one (`SCHED_FIFO`, sched(7)).
const REALTIME_PRIORITY: u8 = 50;
/// Stack of a loop: they recurse nowhere.
const STACK_BYTES: usize = 256 * 1024;
/// So much of it the `ha` loop has in memory from its start.
const STACK_TOUCHED_BYTES: usize = 64 * 1024;
/// Descriptors beside the checks' sockets.
const DESCRIPTORS: u64 = 1024;

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// There is no config to run.
    Config(Refused),
    /// The kernel refused something.
    System {
        /// What was done, in words.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(refused) => refused.fmt(f),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

trait Doing<T> {
    /// Says what was being done when it failed.
    fn doing(self, what: impl Into<String>) -> Result<T, StartError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, StartError> {
        self.map_err(|error| StartError::System {
            what: what.into(),
            error,
        })
    }
}

/// Runs the daemon on the config file at `path` until SIGTERM.
///
/// # Errors
/// [`StartError`] when it could not start; afterwards it tells its log.
pub fn run(path: &Path) -> Result<ExitCode, StartError> {
    // For tests: a loop that allocates ends the process and says where.
    if std::env::var_os("TRUNNION_DENY_ALLOCATIONS").is_some() {
        alloc::deny();
    }
    alloc::keep_freed();
    let mut reader = Reader::default();
    let config = reader.load(path).map_err(StartError::Config)?;
    for warning in &config.warnings {
        complain(warning);
    }
    // Before any thread: the loops inherit the block, the control thread lifts
    // it once it listens.
    let _blocked =
        Signals::new(&[Signal::TERM, Signal::INT, Signal::HUP]).doing("block signals")?;
    std::fs::create_dir_all(&config.node.run_dir).doing(format!(
        "make the run directory {}",
        config.node.run_dir.display()
    ))?;
    let socket = config.node.socket();
    let listener = Listener::bind(&socket).doing(format!("listen on {}", socket.display()))?;
    let (bell, heard) = Bell::new().doing("make a socket pair")?;
    let (operators, complaints) = Operators::load(&config.node.run_dir);
    for complaint in complaints {
        complain(format_args!("warn control: {complaint}"));
    }
    let loops = start(&config, &operators, &bell)?;
    let file = (config, reader);
    let control = Control::new(file, PathBuf::from(path), (loops, operators), bell, heard);
    control.run(listener).doing("run the control thread")
}

/// Starts both loops, HA first: after a crash it has no time to lose.
fn start(config: &Config, operators: &Operators, bell: &Arc<Bell>) -> Result<Loops, StartError> {
    let lb_poll = Poll::new().doing("make a poller")?;
    let lb_waker = Waker::new(lb_poll.registry(), lb::WAKER).doing("make a waker")?;
    let lb_waker = Arc::new(lb_waker);
    let (role, roles) = link::slot(Arc::clone(&lb_waker));
    let ha_poll = Poll::new().doing("make a poller")?;
    let ha_waker = Waker::new(ha_poll.registry(), ha::WAKER).doing("make a waker")?;
    let ha_waker = Arc::new(ha_waker);
    let room = 2 * config.limits.tracks as usize;
    let (board, board_out) = board::board(room, Arc::clone(&ha_waker));
    let mut cells = Cells::new(room);
    let assigned = cells.assign(config, &board);
    let (notices, notices_out) = link::notices(bell);
    let (chores, chores_out) = link::chores().doing("make a socket pair")?;
    let started = boottime();
    let plan = Box::new(plan::OwnedHaPlan::of(config, &assigned, started));
    let others = Others {
        role,
        board: board_out,
        notices,
        chores,
    };
    let (ha, ha_held, ha_log, ha_thread, keeper) =
        start_ha((config, plan), bell, (ha_poll, ha_waker), others)?;
    let datagrams = open_datagrams(&config.limits);
    let half_opens = datagrams.half_opens();
    let mut names = Names::new(Arc::clone(bell));
    names.assign(config, started);
    let plan = plan::OwnedLbPlan::of(config, &assigned, &names, half_opens);
    let mut plan = Box::new(plan);
    operators.tell(&mut plan);
    let (runner, runners) = runner::pair().doing("make a socket pair")?;
    let (lb, lb_log, lb_thread) = start_lb(
        (config, plan),
        bell,
        (lb_poll, lb_waker),
        (roles, board.clone()),
        (datagrams, Outside::new(runner)),
    )?;
    Ok(Loops {
        started,
        board,
        cells,
        names,
        notices: notices_out,
        chores: Some(chores_out),
        keeper,
        runner: runner::Keeper::new("lb", runners, config.limits.commands),
        ha_held,
        logs: vec![Box::new(ha_log), Box::new(lb_log)],
        ha,
        ha_thread: Some(ha_thread),
        ha_finished: false,
        lb,
        half_opens,
        lb_thread: Some(lb_thread),
        lb_finished: false,
    })
}

type HaControl = link::ControlEnd<ha::HaCommand, ha::HaReply>;
type LbControl = link::ControlEnd<lb::LbCommand, lb::LbReply>;
type LoopThread = thread::JoinHandle<io::Result<()>>;

type HeldPlan = Option<Box<plan::OwnedHaPlan>>;

/// Starts the `ha` loop. Its plan is held back until LB is ready, unless this
/// node was Active a moment ago: then its kernel serves still, and every
/// millisecond counts.
fn start_ha(
    (config, plan): (&Config, Box<plan::OwnedHaPlan>),
    bell: &Arc<Bell>,
    (poll, waker): (Poll, Arc<Waker>),
    others: Others,
) -> Result<(HaControl, HeldPlan, LogEnd, LoopThread, Keeper), StartError> {
    let (slate, memory) = open_slate(config)?;
    let (will, keeper) = make_will(config, &slate)?;
    let Ends {
        mut control,
        looped: end,
        log,
    } = link::link("ha", waker, bell);
    let storage = plan::ha_storage(&config.limits);
    let interfaces = storage.interfaces.len();
    let mut held = Some(plan);
    let now = boottime();
    if memory.iter().any(|memory| memory.may_resume(now))
        && let Some(plan) = held.take()
    {
        will.set_note(NOTE_RESUMED_AT, now.as_nanos());
        let _ = control.send(ha::HaCommand::Plan(plan));
    }
    let looped = HaLoop::open(
        Ha::new(storage),
        (end, others),
        poll,
        interfaces,
        slate,
        will,
        memory,
    )
    .doing("open the sockets of the ha loop")?;
    // As the other loop.
    let looped = Box::new(looped);
    let thread = thread::Builder::new()
        .name("ha".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Better late adverts than none.
            if let Err(refused) = sys_thread::realtime(REALTIME_PRIORITY) {
                complain(format_args!("warn ha: {refused}"));
            }
            let _ = sys_thread::no_timer_slack();
            sys_thread::touch_stack::<STACK_TOUCHED_BYTES>();
            looped.run()
        })
        .doing("start the ha thread")?;
    Ok((control, held, log, thread, keeper))
}

/// The memory that the guardian reads when we have died, and whoever starts it.
fn make_will(config: &Config, slate: &Slate) -> Result<(Will, Keeper), StartError> {
    let shape = Shape {
        wards: 2 * config.limits.routers as usize,
        ward_words: WARD_WORDS,
        addresses: 2 * config.limits.addresses as usize,
        address_words: WARD_ADDRESS_WORDS,
    };
    let made = Will::create(shape, WILL_LAYOUT).and_then(|will| {
        let shared = will.as_fd().try_clone_to_owned()?;
        let keeper = Keeper::new(config.node.run_dir.clone(), shared, slate.share()?);
        Ok((will, keeper))
    });
    made.doing("make the guardian's memory")
}

fn open_slate(config: &Config) -> Result<(Slate, Vec<Memory>), StartError> {
    let path = config.node.run_dir.join(SLATE_NAME);
    let cells = 2 * config.limits.routers.max(1) as usize;
    let boot = slate::boot_id().doing("read the boot id")?;
    let what = format!("open {}", path.display());
    // A run that was just killed holds its lock until the kernel has taken it
    // apart, and so does its guardian until it is done; one that holds our roles
    // is told that we are here.
    let guardian = config.node.run_dir.join(guardian::SOCKET_NAME);
    let here = UnixDatagram::unbound().doing("make a socket")?;
    here.set_nonblocking(true).doing("make a socket")?;
    let deadline = boottime() + SLATE_PATIENCE;
    let opened = loop {
        match Slate::open(&path, SLATE_LAYOUT, boot, cells) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && boottime() < deadline => {
                let _ = here.send_to(&[0], &guardian);
                thread::sleep(Duration::from_millis(1));
            }
            opened => break opened,
        }
    };
    match opened {
        Ok((slate, found)) => {
            let cell = |at| slate.read(at);
            let memory = match found {
                Found::Earlier => (0..cells)
                    .filter_map(cell)
                    .map(|[a, b, c, d, ..]| Memory::from_words([a, b, c, d]))
                    .collect(),
                Found::Nothing | Found::OtherBoot | Found::OtherLayout => Vec::new(),
            };
            Ok((slate, memory))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(StartError::System {
            what: format!("{what}: another trunnion runs with this run_dir"),
            error,
        }),
        Err(error) => Err(error).doing(what),
    }
}

fn start_lb(
    (config, plan): (&Config, Box<plan::OwnedLbPlan>),
    bell: &Arc<Bell>,
    (poll, waker): (Poll, Arc<Waker>),
    (roles, board): (SlotOut, BoardIn),
    (datagrams, outside): (Datagrams, Outside),
) -> Result<(LbControl, LogEnd, LoopThread), StartError> {
    let limits: Limits = config.limits;
    let sockets = limits.checks_in_flight;
    let wanted = descriptors(&limits);
    sys_thread::raise_open_files(wanted)
        .doing(format!("raise the limit of open files to {wanted}"))?;
    let pool =
        Pool::open(sockets, sockets).doing(format!("open {} sockets for checks", 2 * sockets))?;
    let Ends {
        mut control,
        looped: end,
        log,
    } = link::link("lb", waker, bell);
    let seed = node_seed(&config.node.name);
    let secret = random::words().doing("draw random bytes")?;
    let storage = plan::lb_storage(&limits, seed, secret);
    let _ = control.send(lb::LbCommand::Plan(plan));
    let watched = limits.tracks as usize;
    let sockets = (pool, datagrams, outside);
    let looped = LbLoop::open(
        Lb::new(storage),
        (end, roles),
        (board, watched),
        poll,
        sockets,
    )
    .doing("open the sockets of the lb loop")?;
    // Not by value: it is far larger than a stack should carry, several times over
    // in a build that does not optimize.
    let looped = Box::new(looped);
    let thread = thread::Builder::new()
        .name("lb".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || looped.run())
        .doing("start the lb thread")?;
    Ok((control, log, thread))
}

/// The sockets that checks share, with a seat for each check in flight.
fn open_datagrams(limits: &Limits) -> Datagrams {
    let sockets = limits.checks_in_flight;
    let targets = limits.backends as usize;
    Datagrams::open(2 * sockets..3 * sockets, targets, config::echo_identifier())
}

/// Open files the daemon may need: the checks' sockets, one of each family for
/// each in flight, and its own.
#[must_use]
pub fn descriptors(limits: &Limits) -> u64 {
    2 * u64::from(limits.checks_in_flight) + DESCRIPTORS
}

/// Sets the phases of this node's checks apart from its peer's.
fn node_seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
