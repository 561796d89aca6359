//! The other side of a link: a network namespace of its own, joined to that of
//! the calling thread, and an ear for the adverts that come over.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use crate::daemon::run;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trunnion_core::route::InterfaceIndex;
use trunnion_core::vrrp::Advert;
use trunnion_sys::netns::unshare_network;
use trunnion_sys::vrrp::{BUFFER_BYTES, Socket};

/// See the module's words. Gone when nothing in it is left.
#[derive(Debug)]
pub struct Side {
    namespace: File,
}

impl Side {
    /// A namespace with the end `there` of a veth pair, whose end `here` is in
    /// the calling thread's.
    #[must_use]
    pub fn joined(here: &str, there: &str) -> Self {
        let own = || File::open("/proc/thread-self/ns/net").unwrap();
        let thread = std::thread::spawn(move || {
            unshare_network().expect("a network namespace: run as root");
            own()
        });
        let namespace = thread.join().unwrap();
        let side = Self { namespace };
        side.join(here, there);
        side
    }

    /// One more veth pair between the two.
    pub fn join(&self, here: &str, there: &str) {
        let link = File::open("/proc/thread-self/ns/net").unwrap();
        // By path: the number of a process would be that of its first thread.
        let fd = std::os::fd::AsRawFd::as_raw_fd(&link);
        let path = format!("/proc/{}/fd/{fd}", std::process::id());
        self.run(|| {
            run(&format!(
                "ip link add {there} type veth peer name {here} netns {path}"
            ))
        });
    }

    /// Runs `work` on a thread inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let net = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(self.namespace.as_fd(), net).unwrap();
                work()
            });
            let ended = inside.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// An ear on an interface that is up and has an address.
    #[must_use]
    pub fn ear(&self, interface: &str) -> Ear {
        let index = self.run(|| {
            let text = run(&format!("ip -o link show {interface}"));
            text.split(':').next().unwrap().trim().parse().unwrap()
        });
        let index = InterfaceIndex::new(index).unwrap();
        let sockets = self.run(|| {
            [
                Socket::open_v4(index).unwrap(),
                Socket::open_v6(index).unwrap(),
            ]
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (into, until) = (Arc::clone(&heard), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut buffer = Box::new([0; BUFFER_BYTES]);
            while !until.load(Ordering::Relaxed) {
                for socket in &sockets {
                    while let Some(packet) = socket.receive(&mut buffer).unwrap_or(None) {
                        let advert = Advert::parse(packet.unwrap()).unwrap();
                        into.lock().unwrap().push(Heard {
                            at: Instant::now(),
                            vrid: advert.vrid(),
                            priority: advert.priority(),
                        });
                    }
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Ear { heard, over }
    }
}

/// An advert that came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When, give or take a millisecond.
    pub at: Instant,
    /// Its VRID.
    pub vrid: u8,
    /// Its priority.
    pub priority: u8,
}

/// Hears the adverts of the other side; a bad one is a panic.
#[derive(Debug)]
pub struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
    over: Arc<AtomicBool>,
}

impl Ear {
    /// All of a VRID so far, in order.
    #[must_use]
    pub fn heard(&self, vrid: u8) -> Vec<Heard> {
        let all = self.heard.lock().unwrap();
        all.iter().filter(|h| h.vrid == vrid).copied().collect()
    }

    /// Priorities of a VRID's adverts since `since`, repeated ones once.
    #[must_use]
    pub fn said(&self, vrid: u8, since: Instant) -> Vec<u8> {
        let heard = self.heard(vrid).into_iter().filter(|h| h.at >= since);
        let mut said: Vec<_> = heard.map(|h| h.priority).collect();
        said.dedup();
        said
    }

    /// The longest silence of a VRID between its adverts since `since`.
    #[must_use]
    pub fn longest_gap(&self, vrid: u8, since: Instant) -> Duration {
        let heard = self.heard(vrid);
        let heard: Vec<_> = heard.into_iter().filter(|h| h.at >= since).collect();
        let gaps = heard.windows(2).map(|pair| pair[1].at - pair[0].at);
        gaps.max().unwrap_or_default()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
