//! The end: whether the loops live, what tells them to end, and what came of it.

use super::super::ha::HaCommand;
use super::super::lb::LbCommand;
use super::super::records;
use super::{Control, Loops, Ping};
use crate::config::OnExit;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the end may take before it is an end all the same.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// How long a table that is to be cleared waits for HA to leave.
const HA_LEAVES: Duration = Duration::from_secs(2);

impl Control {
    /// Has both loops end.
    pub(super) fn stop(&mut self) {
        if self.stopping_since.is_some() {
            return;
        }
        self.stopping_since = Some(Instant::now());
        self.loops.ha_held = None;
        self.loops.keeper.stop();
        if let Some((_, helper)) = &mut self.errands {
            helper.stop();
        }
        self.loops.runner.stop();
        self.log.log(&records::Stopping {});
        if let Some(notify) = &self.notify {
            let _ = notify.stopping();
        }
        self.send_shutdown();
        // Whatever hangs, the process ends: its supervisor would kill it less
        // politely.
        std::thread::spawn(|| {
            std::thread::sleep(STOP_PATIENCE);
            std::process::exit(1);
        });
    }

    /// Tells the loops to end, whoever was not told yet and may be now: a table is
    /// cleared when no address leads clients here any more, or HA takes too long
    /// for that.
    pub(super) fn send_shutdown(&mut self) {
        let Some(since) = self.stopping_since else {
            return;
        };
        let [ha, lb] = &mut self.told_to_end;
        *ha = *ha || self.loops.ha.send(HaCommand::Shutdown).is_ok();
        let clear = self.config.ipvs.on_exit == OnExit::Clear;
        let gone = self.loops.ha_finished || self.loops.ha_thread.is_none();
        if !clear || gone || since.elapsed() >= HA_LEAVES {
            *lb = *lb || self.loops.lb.send(LbCommand::Shutdown { clear }).is_ok();
        }
    }

    /// Feeds the watchdog while both loops answer. One that cannot even be asked
    /// has not answered.
    pub(super) fn feed_watchdog(&mut self) {
        let Some(notify) = &self.notify else { return };
        if self.pings == [Ping::Answered; 2] {
            let _ = notify.watchdog();
            self.pings = [Ping::Due; 2];
        }
        let [ha, lb] = &mut self.pings;
        if *ha == Ping::Due && self.loops.ha.send(HaCommand::Ping).is_ok() {
            *ha = Ping::Sent;
        }
        if *lb == Ping::Due && self.loops.lb.send(LbCommand::Ping).is_ok() {
            *lb = Ping::Sent;
        }
    }

    /// Whether there is nothing more to do: both loops ended as they were told,
    /// or one ended by itself, which ends us.
    pub(super) fn ended(&mut self) -> Option<ExitCode> {
        let Loops {
            ha_thread,
            ha_finished,
            lb_thread,
            lb_finished,
            ..
        } = &mut self.loops;
        let mut failed = false;
        let threads = [
            ("ha", ha_thread, *ha_finished),
            ("lb", lb_thread, *lb_finished),
        ];
        for (name, thread, finished) in threads {
            if let Some(ended) = thread.take_if(|thread| finished || thread.is_finished()) {
                let why = match ended.join() {
                    Ok(Ok(())) if self.stopping_since.is_some() => continue,
                    Ok(Ok(())) => "it ended unasked",
                    Ok(Err(_)) => "its poller or timer failed",
                    Err(_) => "it panicked",
                };
                self.log.log(&records::LoopGone { thread: name, why });
                failed = true;
            }
        }
        if failed {
            return Some(ExitCode::FAILURE);
        }
        let both = self.loops.ha_thread.is_none() && self.loops.lb_thread.is_none();
        if both {
            self.drain();
        }
        both.then_some(ExitCode::SUCCESS)
    }
}
