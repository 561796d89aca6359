//! The guardian: a small process that outlives the daemon by just long enough to
//! say goodbye for it, or to hold its roles until it is back. It decides
//! nothing: it moves bytes and time between the kernel and
//! [`Guardian`].
//!
//! It knows the will that the daemon left ([`Will`]), and holds the lock of the
//! slate with it: a daemon that starts anew waits until the guardian is done, or
//! tells it by a datagram to stop holding.

use super::{NOTE_ON_CRASH, NOTE_RESUMED_AT, REALTIME_PRIORITY, SLATE_LAYOUT, WILL_LAYOUT};
use crate::complain;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net::IpAddr::{V4, V6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trunnion_core::director::guardian::{
    Charge, Done, Guardian, GuardianStorage, OnCrash, WordOut,
};
use trunnion_core::director::ha::{Pulse, WARD_ADDRESS_WORDS, WARD_WORDS, Ward, WardAddress};
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::route::InterfaceIndex;
use trunnion_core::time::Instant;
use trunnion_sys::alloc;
use trunnion_sys::clock::{TimerFd, boottime};
use trunnion_sys::netlink::{self, Protocol};
use trunnion_sys::pidfd::PidFd;
use trunnion_sys::signal::{Signal, Signals};
use trunnion_sys::slate::{Slate, WORDS};
use trunnion_sys::thread as sys_thread;
use trunnion_sys::vrrp::{self, BUFFER_BYTES, Speaker};
use trunnion_sys::will::{Waited, Will};

/// File name, in the run directory, of the socket that tells it to stop holding.
pub(super) const SOCKET_NAME: &str = "guardian.sock";
/// How often the daemon's process is looked at, should the futex tell nothing:
/// its list is in the daemon's memory, which a crash may have spoilt.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a datagram of requests.
const DATAGRAM_BYTES: usize = 16 * 1024;
/// Packets read from one socket in one turn.
const PACKETS_PER_TURN: u32 = 64;

const TIMER: Token = Token(0);
const SIGNALS: Token = Token(1);
const NEXT: Token = Token(2);
/// Sockets to listen on are this and on.
const PORTS: usize = 3;

/// `trunnion guardian`: for the daemon to start, with its will as standard
/// input and its slate as standard output.
///
/// # Errors
/// What it needs could not be opened, or waiting for the daemon failed.
pub fn run(run_dir: &Path) -> io::Result<()> {
    if std::env::var_os("TRUNNION_DENY_ALLOCATIONS").is_some() {
        alloc::deny();
    }
    let Some(daemon) = PidFd::of_parent()? else {
        return Ok(());
    };
    let mut executor = Executor::open(run_dir)?;
    let shape = executor.will.shape();
    let mut charges = vec![Charge::blank(); shape.wards];
    let mut addresses = vec![None; shape.addresses];
    executor.rehearse(storage(&mut charges, &mut addresses));
    let _ = sys_thread::set_name("guardian");
    // The daemon says what it may not, and so may we not.
    let _ = sys_thread::lock_touched_memory();
    let _ = sys_thread::realtime(REALTIME_PRIORITY);
    let _ = sys_thread::no_timer_slack();
    alloc::seal();
    while executor.will.wait(LOOK)? == Waited::Alive && !daemon.has_ended()? {}
    if executor.will.is_dismissed() {
        return Ok(());
    }
    let done = executor.act(storage(&mut charges, &mut addresses))?;
    alloc::unseal();
    let Done {
        resigned,
        held,
        removed,
        unsent,
        yielded,
    } = done;
    if yielded {
        complain(format_args!(
            "warn guardian: the daemon died: held its roles until the next one, {held} adverts"
        ));
    } else {
        complain(format_args!(
            "warn guardian: the daemon died: resigned {resigned} virtual routers, took {removed} addresses off; {held} adverts to hold, {unsent} not sent"
        ));
    }
    Ok(())
}

const fn storage<'s>(
    charges: &'s mut [Charge],
    addresses: &'s mut [Option<WardAddress>],
) -> GuardianStorage<'s> {
    GuardianStorage { charges, addresses }
}

/// A socket to listen on while roles are held.
struct Port {
    interface: InterfaceIndex,
    socket: vrrp::Socket,
    ready: bool,
}

/// What it acts with; all is opened beforehand but the ports.
struct Executor {
    will: Will,
    slate: Slate,
    speaker: Speaker,
    route: netlink::Socket,
    poll: Poll,
    events: Events,
    timer: TimerFd,
    signals: Signals,
    next: UnixDatagram,
    next_path: PathBuf,
    ports: Vec<Port>,
    /// Set once [`Self::listen`] was tried.
    listens: bool,
    packet: Box<[u8; BUFFER_BYTES]>,
    datagram: Box<[u8]>,
}

impl Executor {
    fn open(run_dir: &Path) -> io::Result<Self> {
        // A terminal's ^C, or a stop of the service, is for the daemon to obey.
        let signals = Signals::new(&[
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::USR1,
            Signal::USR2,
        ])?;
        let will = Will::inherit(own(io::stdin())?, WILL_LAYOUT)?;
        let slate = Slate::inherit(own(io::stdout())?.into(), SLATE_LAYOUT)?;
        let next_path = run_dir.join(SOCKET_NAME);
        // Whoever holds the slate's lock owns the name.
        let _ = std::fs::remove_file(&next_path);
        let next = UnixDatagram::bind(&next_path)?;
        next.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let timer = TimerFd::new()?;
        let registry = poll.registry();
        for (fd, token) in [
            (timer.as_raw_fd(), TIMER),
            (signals.as_raw_fd(), SIGNALS),
            (next.as_raw_fd(), NEXT),
        ] {
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        }
        let ports = Vec::with_capacity(2 * will.shape().wards);
        Ok(Self {
            will,
            slate,
            speaker: Speaker::open()?,
            route: netlink::Socket::open(Protocol::Route, &[])?,
            poll,
            events: Events::with_capacity(64),
            timer,
            signals,
            next,
            next_path,
            ports,
            listens: false,
            packet: Box::new([0; BUFFER_BYTES]),
            datagram: vec![0; DATAGRAM_BYTES].into_boxed_slice(),
        })
    }

    /// Goes through what it will do, and sends nothing: what that touches is in
    /// memory then, and locked there.
    fn rehearse(&mut self, storage: GuardianStorage<'_>) {
        let now = boottime();
        let mut guardian = Guardian::new(storage, OnCrash::Resign);
        for (cell, (ward, address, pulse)) in Ward::examples(now).into_iter().enumerate() {
            guardian.handle_ward(now, cell, ward, pulse);
            guardian.handle_address(Some(address));
        }
        while guardian.poll_memory().is_some() {}
        while let Some(out) = guardian.poll_advert(now, &mut *self.packet) {
            guardian.handle_sent(now, out.ward, Ok(()));
        }
        while guardian.poll_route(&mut self.datagram).is_some() {}
    }

    /// Does what is left to do for the dead.
    fn act(&mut self, storage: GuardianStorage<'_>) -> io::Result<Done> {
        let now = boottime();
        let resumed_at = Some(self.will.note(NOTE_RESUMED_AT))
            .filter(|at| *at > 0)
            .map(Instant::from_nanos);
        let policy = OnCrash::from_word(self.will.note(NOTE_ON_CRASH));
        let mut guardian = Guardian::new(storage, policy.after(now, resumed_at));
        self.read_will(&mut guardian, now);
        loop {
            guardian.handle_timeout(boottime());
            // Before: who says goodbye must not be remembered as Active.
            self.keep_memory(&mut guardian);
            self.send_adverts(&mut guardian);
            self.keep_memory(&mut guardian);
            self.send_route(&mut guardian);
            if guardian.is_finished() {
                // Its lock goes with us; nobody else has bound the name yet.
                let _ = std::fs::remove_file(&self.next_path);
                return Ok(*guardian.done());
            }
            self.wait(&mut guardian)?;
        }
    }

    fn read_will(&self, guardian: &mut Guardian<'_>, now: Instant) {
        let (wards, addresses) = self.will.counts();
        let mut words = [0; WARD_WORDS];
        for at in 0..wards {
            let pulse = self.will.read_ward(at, &mut words);
            let pulse = pulse.and_then(Pulse::from_word);
            if let (Some(ward), Some(pulse)) = (Ward::from_words(&words), pulse) {
                guardian.handle_ward(now, at, ward, pulse);
            }
        }
        let mut words = [0; WARD_ADDRESS_WORDS];
        for at in 0..addresses {
            self.will.read_address(at, &mut words);
            guardian.handle_address(WardAddress::from_words(&words));
        }
    }

    fn keep_memory(&mut self, guardian: &mut Guardian<'_>) {
        while let Some((cell, memory)) = guardian.poll_memory() {
            let mut words = [0; WORDS];
            words[..4].copy_from_slice(&memory.words());
            self.slate.write(cell, words);
        }
    }

    fn send_adverts(&mut self, guardian: &mut Guardian<'_>) {
        while let Some(out) = guardian.poll_advert(boottime(), &mut *self.packet) {
            let result = self.send_advert(&out);
            guardian.handle_sent(boottime(), out.ward, result);
        }
    }

    fn send_advert(&self, out: &WordOut) -> Result<(), Errno> {
        let bytes = &self.packet[..out.len];
        let (by, speaker) = (out.interface, &self.speaker);
        if out.framed {
            return speaker.send_frame(by, bytes).map_err(|error| errno(&error));
        }
        let sent = match (out.source, out.destination) {
            (V4(_), V4(to)) => speaker.send_v4(by, bytes, to),
            (V6(from), V6(to)) => speaker.send_v6(by, bytes, from, to),
            (V4(_), V6(_)) | (V6(_), V4(_)) => return Err(Errno::EIO),
        };
        sent.map_err(|error| errno(&error))
    }

    fn send_route(&mut self, guardian: &mut Guardian<'_>) {
        while let Some(len) = guardian.poll_route(&mut self.datagram) {
            // The kernel executes it inside the send. What it refuses is off.
            let _ = self.route.send(&self.datagram[..len]);
        }
    }

    fn wait(&mut self, guardian: &mut Guardian<'_>) -> io::Result<()> {
        if !self.listens {
            self.listens = true;
            self.listen(guardian);
        }
        self.timer.arm(guardian.poll_timeout())?;
        let more = self.ports.iter().any(|port| port.ready);
        match self
            .poll
            .poll(&mut self.events, more.then_some(Duration::ZERO))
        {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                TIMER => drop(self.timer.ack()?),
                SIGNALS => {
                    while let Some(signal) = self.signals.read()? {
                        if signal == Signal::TERM || signal == Signal::INT {
                            guardian.handle_terminate(boottime());
                        }
                    }
                }
                NEXT => {
                    while self.next.recv(&mut [0; 8]).is_ok() {
                        guardian.handle_yield();
                    }
                }
                Token(token) => self.ports[token - PORTS].ready = true,
            }
        }
        self.read_packets(guardian);
        Ok(())
    }

    /// Opens a socket for each interface and family of a held role. What cannot
    /// be opened hears no better router, and the hold ends in time anyway.
    fn listen(&mut self, guardian: &Guardian<'_>) {
        for ward in guardian.held() {
            let (interface, family) = (ward.interface, ward.router.family);
            let mut ports = self.ports.iter();
            if ports.any(|p| p.interface == interface && p.socket.family() == family)
                || self.ports.len() == self.ports.capacity()
            {
                continue;
            }
            let opened = match family {
                Family::V4 => vrrp::Socket::open_v4(interface),
                Family::V6 => vrrp::Socket::open_v6(interface),
            };
            let Ok(socket) = opened else { continue };
            let (fd, token) = (socket.as_raw_fd(), Token(PORTS + self.ports.len()));
            let registry = self.poll.registry();
            if registry
                .register(&mut SourceFd(&fd), token, Interest::READABLE)
                .is_ok()
            {
                // What waited before the registration makes no edge.
                self.ports.push(Port {
                    interface,
                    socket,
                    ready: true,
                });
            }
        }
    }

    fn read_packets(&mut self, guardian: &mut Guardian<'_>) {
        for port in &mut self.ports {
            let mut left = PACKETS_PER_TURN;
            while port.ready && left > 0 {
                left -= 1;
                match port.socket.receive(&mut self.packet) {
                    Ok(Some(packet)) => {
                        guardian.handle_packet(boottime(), port.interface, packet);
                    }
                    Ok(None) => port.ready = false,
                    // Such as ENETDOWN, once.
                    Err(_) => break,
                }
            }
        }
    }
}

/// The error number of a failed system call.
fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(Errno::EIO.0))
}

/// A descriptor of our own for a standard stream's file.
fn own(stream: impl AsFd) -> io::Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}
