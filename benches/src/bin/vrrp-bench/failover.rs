//! How long nobody speaks when the Active goes: killed, told to end, or cut off.

use crate::capture::{self, Advert, Capture};
use crate::subject::{self, Node, Router, Running, Subject};
use crate::wires::{ROUTERS, Wires};
use crate::{Result, Setting, sample};
use rustix::process::Signal;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use trunnion_benches::processes;
use trunnion_tests::lab::{Context as _, LabError, Netns, wait_for};

const ROUTER: [Router; 1] = [Router {
    vrid: 51,
    interval_ms: 10,
}];
/// Three intervals and the skew of the one that stands by (RFC 9568, 6.1).
const BOUND_US: f64 = 30_000.0 + 10_000.0 * (256.0 - 100.0) / 256.0;
const PORT: u16 = 7777;

/// How the Active goes.
#[derive(Clone, Copy)]
enum End {
    /// Whoever speaks is killed; who looks after it may act.
    Kill,
    /// Every process of it at once: as if the machine were gone.
    KillAll,
    Term,
    LinkDown,
}

impl End {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Kill, "sigkill"),
        (Self::KillAll, "sigkill-all"),
        (Self::Term, "sigterm"),
        (Self::LinkDown, "link-down"),
    ];
}

pub fn run(setting: &Setting) -> Result {
    let times = if setting.quick { 1 } else { 20 };
    for (end, case) in End::ALL {
        sample(case, "protocol", "bound", BOUND_US);
        for subject in [Subject::Ours, Subject::KeepalivedRealtime] {
            let wires = Wires::new()?;
            let _echoes = [echo(&wires.routers[0], 0)?, echo(&wires.routers[1], 1)?];
            let backup = Node::plain(1, &ROUTER);
            let mut active = start_active(setting, &wires, subject)?;
            let _backup = subject::start(setting, &wires, subject, &backup)?;
            for _ in 0..times {
                // Settled, and at no fixed phase of the interval.
                std::thread::sleep(Duration::from_millis(1003));
                active = once(setting, &wires, subject, end, case, active)?;
            }
        }
    }
    Ok(())
}

fn start_active(setting: &Setting, wires: &Wires, subject: Subject) -> Result<Running> {
    let node = Node::plain(0, &ROUTER);
    let mut running = subject::start(setting, wires, subject, &node)?;
    subject::until_active(wires, &node, &mut running)?;
    Ok(running)
}

/// One fail-over and the way back.
fn once(
    setting: &Setting,
    wires: &Wires,
    subject: Subject,
    end: End,
    case: &str,
    mut active: Running,
) -> Result<Running> {
    let capture = Capture::start(wires)?;
    let client = Client::start(&wires.client)?;
    // The client has been answered by the Active at least once.
    wait_for(PATIENCE, || client.heard(0)).ok_or_else(|| LabError::new("no answer at first"))?;
    let family = active.family();
    let began = capture::now();
    match end {
        End::Kill => processes::signal(active.speaker()?, Signal::KILL),
        End::KillAll => family
            .iter()
            .for_each(|pid| processes::signal(*pid, Signal::KILL)),
        End::Term => active.main()?.signal(Signal::TERM)?,
        End::LinkDown => wires.plug(false)?,
    }
    let survivor = wait_for(PATIENCE, || client.heard(1));
    let survivor = survivor.ok_or_else(|| LabError::new(format!("{case}: nobody took over")))?;
    let adverts = capture.finish()?;
    client.stop();
    let (last, first) = change(&adverts, began)
        .ok_or_else(|| LabError::new(format!("{case}: no advert of the survivor")))?;
    let us = |later: Duration, earlier| later.saturating_sub(earlier).as_secs_f64() * 1e6;
    sample(
        case,
        subject.name(),
        "wire-from-last-advert",
        us(first, last),
    );
    sample(case, subject.name(), "wire-from-event", us(first, began));
    sample(
        case,
        subject.name(),
        "client-from-event",
        us(survivor, began),
    );
    match end {
        End::Kill | End::KillAll | End::Term => {
            drop(active);
            start_active(setting, wires, subject)
        }
        End::LinkDown => {
            wires.plug(true)?;
            // Until it speaks again: a moment with both addresses is no answer.
            let node = Node::plain(0, &ROUTER);
            subject::until_active(wires, &node, &mut active)?;
            Ok(active)
        }
    }
}

/// How long anything may take; nothing is timed by it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The last advert of the old Active that promised more, and the first of the
/// new one after `began`.
fn change(adverts: &[Advert], began: Duration) -> Option<(Duration, Duration)> {
    let sources = ROUTERS.map(|text| text.parse::<Ipv4Addr>().ok());
    let of = |place: usize| {
        adverts
            .iter()
            .filter(move |it| Some(it.source) == sources[place])
    };
    let first = of(1).find(|it| it.at > began && it.priority > 0)?.at;
    let last = of(0).rfind(|it| it.at < first && it.priority > 0)?.at;
    Some((last, first))
}

/// Answers each datagram with the place of its node, until the namespace goes.
fn echo(netns: &Netns, place: u8) -> Result<Echo> {
    let socket = netns
        .run(|| UdpSocket::bind(("0.0.0.0", PORT)))?
        .context(|| "bind the echo".to_owned())?;
    let timeout = socket.set_read_timeout(Some(Duration::from_millis(100)));
    timeout.context(|| "set a timeout".to_owned())?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let mut byte = [0];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((_, from)) = socket.recv_from(&mut byte) {
                let _ = socket.send_to(&[place], from);
            }
        }
    });
    Ok(Echo {
        stop,
        thread: Some(thread),
    })
}

struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Asks the virtual address every millisecond; knows who answered last, since
/// when.
struct Client {
    answers: Arc<[std::sync::Mutex<Option<Duration>>; 2]>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Client {
    fn start(netns: &Netns) -> Result<Self> {
        let socket = netns
            .run(|| UdpSocket::bind(("0.0.0.0", 0)))?
            .context(|| "bind the client".to_owned())?;
        let timeout = socket.set_read_timeout(Some(Duration::from_millis(100)));
        timeout.context(|| "set a timeout".to_owned())?;
        let asks = socket.try_clone().context(|| "clone a socket".to_owned())?;
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new([const { std::sync::Mutex::new(None) }; 2]);
        let (stop_asking, stop_hearing) = (Arc::clone(&stop), Arc::clone(&stop));
        let to = (ROUTER[0].address(), PORT);
        let asking = std::thread::spawn(move || {
            while !stop_asking.load(Ordering::Relaxed) {
                // Refused and unreachable are answers too, and of no interest.
                let _ = asks.send_to(&[0], to);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let heard = Arc::clone(&answers);
        let hearing = std::thread::spawn(move || {
            let mut place = [0];
            while !stop_hearing.load(Ordering::Relaxed) {
                if socket.recv_from(&mut place).is_ok() {
                    let at = capture::now();
                    let slot = heard.get(usize::from(place[0]));
                    if let Some(Ok(mut first)) = slot.map(std::sync::Mutex::lock) {
                        first.get_or_insert(at);
                    }
                }
            }
        });
        Ok(Self {
            answers,
            stop,
            threads: vec![asking, hearing],
        })
    }

    /// When a node answered first.
    fn heard(&self, place: usize) -> Option<Duration> {
        let slot = self.answers.get(place)?;
        slot.lock().ok().and_then(|first| *first)
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
