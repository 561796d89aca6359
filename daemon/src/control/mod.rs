//! The control plane: one thread that may allocate and wait, so that the loops
//! need not. It answers on the control socket and words the log, which another
//! thread writes. It decides nothing.
//!
//! ```text
//! trunnion show -> client -> RUN_DIR/control.sock -> server -> Source -> the loops
//! loops -> rings of frames -> log::Pump -> Scribe -> standard error
//! ```

mod client;
pub mod count;
mod json;
pub mod log;
pub mod operate;
pub mod proto;
mod scribe;
mod server;
pub mod state;
mod text;

pub use client::{Silence, fail_over, fetch};
pub use log::{CATALOGUES, Form, LevelCell, Records, Writer};
pub use scribe::Scribe;
pub use server::Listener;
pub use state::{Failover, NotDone, Source, State, Unavailable};

use log::Pump;
use std::io::{self, Write};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use trunnion_sys::clock;

/// How long who asks waits for the loops.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How often the log's rings are looked at. The loops wake nobody for a log
/// record, which costs them nothing and a reader at most this much time.
const LOG_PERIOD: Duration = Duration::from_millis(50);
/// How long a client that keeps its connection may hold up the end.
const GOODBYE: Duration = Duration::from_millis(500);

/// The control plane, ready to start.
pub struct Control<S, W> {
    /// Where it answers.
    pub listener: Listener,
    /// Who knows the state.
    pub source: S,
    /// Where log records come from.
    pub records: Vec<Box<dyn Records>>,
    /// Where they go.
    pub writer: Writer<W>,
}

impl<S: Source, W: Write + Send + 'static> Control<S, W> {
    /// Starts the thread `control`.
    ///
    /// # Errors
    /// Errors of clone(2) and epoll_create(2).
    pub fn spawn(self) -> io::Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.block_on(self.run(async {
                    let _ = stopped.await;
                }));
            })?;
        Ok(Running { stop, thread })
    }

    /// Serves on the calling thread's runtime until `stopped` comes, then
    /// writes what is left of the log.
    pub async fn run(self, stopped: impl Future<Output = ()>) {
        let mut stopped = std::pin::pin!(stopped);
        let Self {
            listener,
            source,
            records,
            writer,
        } = self;
        let (finish, finished) = oneshot::channel::<()>();
        let mut server = tokio::spawn(async move {
            let until = async {
                let _ = finished.await;
            };
            server::serve(&listener, source, until).await
        });
        let mut pump = Pump::new(records, writer);
        let mut tick = tokio::time::interval(LOG_PERIOD);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut served = true;
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                _ = tick.tick() => pump.run(clock::boottime(), SystemTime::now()),
                _ = &mut server, if served => {
                    served = false;
                    pump.say(clock::boottime(), &log::ControlSocketLost {});
                }
            }
        }
        drop(finish);
        if served && tokio::time::timeout(GOODBYE, &mut server).await.is_err() {
            server.abort();
            let _ = server.await;
        }
        pump.run(clock::boottime(), SystemTime::now());
    }
}

/// The control plane at work.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Writes what is left of the log, removes the socket and ends the thread.
    /// Call it after the loops have ended, so that their last words are heard.
    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}
