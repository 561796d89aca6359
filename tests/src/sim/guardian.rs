//! What is left of a node whose daemon died: its guardian, driven as
//! daemon/src/run/guardian.rs drives it.

use super::link::Packet;
use super::netlink::errno;
use super::node::Node;
use super::site::{INTERFACES, Key};
use super::turns::BUFFER;
use super::turns_ha::unframed;
use super::world::{Event, World};
use trunnion_core::director::guardian::{Charge, Guardian, GuardianStorage, WordOut};
use trunnion_core::director::ha::{
    Ha, Memory, Pulse, WARD_ADDRESS_WORDS, WARD_WORDS, Ward, WardAddress,
};
use trunnion_core::model::Family;
use trunnion_core::netlink::Errno;
use trunnion_core::time::{Duration, Instant};

/// The memory of one guardian.
#[derive(Debug)]
pub struct Charges {
    charges: Vec<Charge>,
    addresses: Vec<Option<WardAddress>>,
}

impl Charges {
    pub fn new() -> Self {
        use super::site::limits;
        Self {
            charges: vec![Charge::blank(); 2 * limits::ROUTERS],
            addresses: vec![None; 2 * limits::ADDRESSES],
        }
    }
}

/// The page of memory that the guardian reads, as the daemon last wrote it.
#[derive(Clone, Debug, Default)]
pub struct Will {
    version: u64,
    wards: Vec<([u64; WARD_WORDS], u64)>,
    addresses: Vec<[u64; WARD_ADDRESS_WORDS]>,
    pub resumed_at: Option<Instant>,
}

impl Will {
    pub fn keep(&mut self, ha: &Ha<'_>) {
        if self.version == ha.will_version() {
            return;
        }
        self.version = ha.will_version();
        let word = |at| ha.pulse(at).map_or(0, |pulse| pulse.word());
        let words = |ward: Option<Ward>| ward.map_or([0; WARD_WORDS], |ward| ward.words());
        let wards = ha.wards().enumerate();
        self.wards = wards.map(|(at, ward)| (words(ward), word(at))).collect();
        self.addresses = ha.ward_addresses().map(|address| address.words()).collect();
    }

    pub fn set_pulse(&mut self, at: usize, pulse: Option<Pulse>) {
        if let (Some((_, word)), Some(pulse)) = (self.wards.get_mut(at), pulse) {
            *word = pulse.word();
        }
    }
}

/// A guardian at work.
#[derive(Debug)]
pub struct Executor<'m> {
    /// Which one: wake-ups of an earlier one mean nothing.
    pub number: u64,
    guardian: Guardian<'m>,
    /// What a stop left is to be given back, all of it, unless something is lost
    /// on the way: losses of the kernel's socket when it began.
    owes: Option<u64>,
    /// Before it has noticed the death, there is nothing it does.
    began: bool,
}

impl Executor<'_> {
    /// Virtual routers whose roles are held.
    pub fn held(&self, node: &Node<'_>) -> impl Iterator<Item = Key> {
        self.guardian.held().filter_map(|ward| {
            let name = interface_of(node, ward.interface.get())?;
            Some((name, ward.router.family, ward.router.vrid))
        })
    }
}

/// The interface of that index.
fn interface_of(node: &Node<'_>, index: u32) -> Option<usize> {
    let is = |name: &&str| node.route.interface(name).is_some_and(|i| i.index == index);
    INTERFACES.iter().position(is)
}

impl World<'_> {
    /// A daemon has died, or `stopped` and left something, and its guardian will
    /// notice.
    pub fn leave_to_guardian(&mut self, node: usize, stopped: bool) {
        let Some(policy) = self.options.guardian else {
            return;
        };
        let Some(Charges { charges, addresses }) = self.guardians.pop() else {
            return;
        };
        self.lives += 1;
        let here = &mut self.nodes[node];
        let policy = policy.after(here.local(self.now), here.will.resumed_at);
        here.executor = Some(Executor {
            number: self.lives,
            guardian: Guardian::new(GuardianStorage { charges, addresses }, policy),
            owes: stopped.then_some(here.route.losses),
            began: false,
        });
        let delay = self.random.time(Duration::ZERO, self.options.wake);
        self.after(delay, Event::Guard(node, self.lives));
    }

    /// One turn of a guardian.
    pub fn guard(&mut self, node: usize, number: u64) {
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let Some(executor) = here.executor.as_mut().filter(|e| e.number == number) else {
            return;
        };
        if !executor.began {
            executor.began = true;
            for (cell, (words, pulse)) in here.will.wards.iter().enumerate() {
                if let (Some(ward), Some(pulse)) =
                    (Ward::from_words(words), Pulse::from_word(*pulse))
                {
                    assert!(executor.guardian.handle_ward(local, cell, ward, pulse));
                }
            }
            for words in &here.will.addresses {
                let address = WardAddress::from_words(words);
                assert!(executor.guardian.handle_address(address));
            }
            self.note(|| format!("node {node}: its guardian begins"));
        }
        let executor = self.nodes[node].executor.as_mut().expect("found above");
        executor.guardian.handle_timeout(local);
        self.guardian_remembers(node);
        self.guardian_speaks(node);
        self.guardian_remembers(node);
        let here = &mut self.nodes[node];
        let executor = here.executor.as_mut().expect("found above");
        let mut buffer = [0; BUFFER];
        while let Some(len) = executor
            .guardian
            .poll_route(&mut buffer[..here.request_bytes])
        {
            let _ = here.route.send(&buffer[..len]);
        }
        if executor.guardian.is_finished() {
            let done = *executor.guardian.done();
            let owed = executor.owes == Some(here.route.losses);
            here.executor = None;
            if owed {
                self.watch.given_back(self.now, &self.nodes[node]);
            }
            self.summary.guarded += u64::from(done.resigned + done.held);
            self.note(|| format!("node {node}: its guardian is through: {done:?}"));
            self.watch.disturbed(self.now);
            return;
        }
        let at = executor.guardian.poll_timeout();
        let delay = at.map_or(Duration::ZERO, |at| at.since(local));
        let delay = self.late(delay);
        self.after(delay, Event::Guard(node, number));
    }

    /// Whether a daemon that would start must wait for a guardian, which is told.
    pub fn must_wait(&mut self, node: usize) -> bool {
        let Some(executor) = &mut self.nodes[node].executor else {
            return false;
        };
        let number = executor.number;
        if executor.began {
            executor.guardian.handle_yield();
        }
        self.after(Duration::ZERO, Event::Guard(node, number));
        true
    }

    /// A packet reaches an interface whose daemon is dead.
    pub fn arrive_at_guardian(&mut self, node: usize, packet: &Packet) {
        let here = &mut self.nodes[node];
        let local = here.local(self.now);
        let found = here.route.interface(INTERFACES[packet.interface]);
        let index = found.filter(|i| i.is_running()).map(|i| i.index);
        let (Some(index), Some(executor)) =
            (index.and_then(std::num::NonZero::new), &mut here.executor)
        else {
            return;
        };
        let received = packet.received();
        executor.guardian.handle_packet(local, index, received);
        let number = executor.number;
        let delay = self.random.time(Duration::ZERO, self.options.wake);
        self.after(delay, Event::Guard(node, number));
    }

    fn guardian_remembers(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let executor = here.executor.as_mut().expect("at work");
        while let Some((cell, memory)) = executor.guardian.poll_memory() {
            if here.cells.len() <= cell {
                here.cells.resize(cell + 1, Memory::default());
            }
            here.cells[cell] = memory;
        }
    }

    fn guardian_speaks(&mut self, node: usize) {
        let mut buffer = [0; 4096];
        loop {
            let here = &mut self.nodes[node];
            let local = here.local(self.now);
            let executor = here.executor.as_mut().expect("at work");
            let Some(out) = executor.guardian.poll_advert(local, &mut buffer) else {
                return;
            };
            let result = self.guardian_says(node, &out, &buffer[..out.len]);
            let executor = self.nodes[node].executor.as_mut().expect("at work");
            executor.guardian.handle_sent(local, out.ward, result);
        }
    }

    fn guardian_says(&mut self, node: usize, out: &WordOut, bytes: &[u8]) -> Result<(), Errno> {
        let here = &self.nodes[node];
        let interface = interface_of(here, out.interface.get()).ok_or(Errno::ENODEV)?;
        let found = here.route.interface(INTERFACES[interface]);
        if !found.is_some_and(|i| i.is_running()) {
            return Err(Errno(errno::ENETDOWN));
        }
        if self.refuses(node) {
            return Err(Errno(errno::ENOBUFS));
        }
        self.whisper(|| format!("node {node}: its guardian says {bytes:02x?}"));
        let bytes = match out.framed {
            true => {
                // Whose it is, the frame says best.
                let vrid = bytes.get(11).copied().unwrap_or(0);
                let family = Family::of(&out.source);
                unframed(family, vrid, bytes).ok_or(Errno::EIO)?
            }
            false => bytes,
        };
        self.fly(node, interface, (out.source, out.destination), bytes);
        Ok(())
    }
}
