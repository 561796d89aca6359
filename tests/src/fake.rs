//! A kernel's IPVS at the other end of a socket, with a script of what goes
//! wrong: the blocking client talks to it through its own system calls. The
//! table and its answers are the simulator's. Not a netlink socket: `ENOBUFS`
//! from recvmsg(2) is `NLMSG_OVERRUN` here.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use crate::sim::ipvs_kernel::IpvsKernel;
use crate::sim::netlink::{self, Message, Received, errno};
use crate::sim::random::Random;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use trunnion_core::model::{Destination, Service};

/// What goes wrong with one datagram of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Carried out, and nobody is told.
    Silence,
    /// Not even carried out.
    Deaf,
    /// The last answer, which ends a batch or a dump, is lost.
    LastLost,
    /// The first answer did not fit, and that is said first.
    Overrun,
    /// The send is taken, and a dump in it refused with `EBUSY`.
    Busy,
    /// Every request is refused.
    Refused(i32),
    /// Answers to questions of others come before, between and after.
    Strangers,
    /// The answers are to other questions.
    OtherSeq,
    /// The answers come twice.
    Twice,
    /// The last answer is cut short.
    Cut,
    /// The answers are no messages.
    Noise,
    /// The module was loaded anew: another family, an empty table.
    Reloaded,
    /// The same, and the first so many lookups are in vain.
    Gone(u64),
    /// The socket is closed.
    Closed,
}

impl Trick {
    /// Those after which everything can be had by asking again.
    pub const PASSING: [Self; 15] = [
        Self::Silence,
        Self::Deaf,
        Self::LastLost,
        Self::Overrun,
        Self::Busy,
        Self::Refused(errno::ENOMEM),
        Self::Refused(errno::EBUSY),
        Self::Refused(errno::EINTR),
        Self::Refused(errno::ENOBUFS),
        Self::Strangers,
        Self::OtherSeq,
        Self::Twice,
        Self::Cut,
        Self::Noise,
        Self::Reloaded,
    ];
}

/// A service and its destinations, in the order of their keys.
pub type Rows = Vec<(Service, Vec<Destination>)>;

/// The far end. It ends when the near end is dropped.
#[derive(Debug)]
pub struct Fake {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    kernel: IpvsKernel,
    /// Datagrams taken.
    turns: usize,
    /// The turn at which something goes wrong, and what.
    script: Vec<(usize, Trick)>,
}

impl Fake {
    /// A kernel with an empty table, and the client's end of the socket.
    #[must_use]
    pub fn start() -> (Self, OwnedFd) {
        let (near, far) = UnixDatagram::pair().unwrap();
        let state = Arc::new(Mutex::new(State {
            kernel: IpvsKernel::new(Random::new(1)),
            turns: 0,
            script: Vec::new(),
        }));
        let fake = Self {
            state: Arc::clone(&state),
        };
        std::thread::spawn(move || serve(&far, &state));
        (fake, near.into())
    }

    /// From now on turns are counted anew, and these go wrong.
    pub fn script(&self, script: &[(usize, Trick)]) {
        let mut state = self.state.lock().unwrap();
        state.turns = 0;
        state.script = script.to_vec();
    }

    /// Datagrams taken since the script was given.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.state.lock().unwrap().turns
    }

    /// What the kernel holds.
    #[must_use]
    pub fn rows(&self) -> Rows {
        let state = self.state.lock().unwrap();
        let mut rows: Rows = state
            .kernel
            .rows
            .iter()
            .map(|row| {
                let mut destinations = row.destinations.clone();
                destinations.sort_by_key(|d| d.key);
                (row.service.clone(), destinations)
            })
            .collect();
        rows.sort_by_key(|(service, _)| service.key);
        rows
    }
}

/// Takes datagrams until the other end is closed, or ours is.
fn serve(socket: &UnixDatagram, state: &Mutex<State>) {
    let mut buf = vec![0; 1 << 16];
    while let Ok(len) = socket.recv(&mut buf) {
        let datagram = &buf[..len];
        let mut state = state.lock().unwrap();
        let turn = state.turns;
        state.turns += 1;
        let trick = state.script.iter().find(|(at, _)| *at == turn);
        let trick = trick.map(|(_, trick)| *trick);
        let Some(answers) = play(&mut state.kernel, datagram, trick) else {
            return;
        };
        drop(state);
        for answer in answers {
            if socket.send(&answer).is_err() {
                return;
            }
        }
    }
}

/// What comes back; nothing when the socket is closed.
fn play(kernel: &mut IpvsKernel, datagram: &[u8], trick: Option<Trick>) -> Option<Vec<Vec<u8>>> {
    let Some(trick) = trick else {
        return Some(answers(kernel, datagram));
    };
    Some(match trick {
        Trick::Silence => {
            answers(kernel, datagram);
            Vec::new()
        }
        Trick::Deaf => Vec::new(),
        Trick::LastLost => {
            let mut all = answers(kernel, datagram);
            all.pop();
            all
        }
        Trick::Overrun => {
            let mut all = answers(kernel, datagram);
            let overrun = Message::new(netlink::OVERRUN, 0, 0).bytes();
            if let Some(first) = all.first_mut() {
                *first = overrun;
            }
            all
        }
        Trick::Busy => {
            kernel.faults.busy = 1000;
            let all = answers(kernel, datagram);
            kernel.faults.busy = 0;
            all
        }
        Trick::Refused(errno) => netlink::requests(datagram)
            .iter()
            .map(|request| {
                let barrier = request.kind == netlink::NOOP;
                netlink::ack(request, if barrier { 0 } else { errno })
            })
            .collect(),
        Trick::Strangers => {
            let stranger = |seq: u32| [netlink::done(seq, 0), refusal(seq, datagram)].concat();
            let mut all = vec![stranger(0), stranger(u32::MAX)];
            for answer in answers(kernel, datagram) {
                all.extend([answer, stranger(1 << 31)]);
            }
            all
        }
        Trick::OtherSeq => {
            let mut all = answers(kernel, datagram);
            for answer in &mut all {
                // The sequence number of the first message of each.
                answer[11] ^= 0x40;
            }
            all
        }
        Trick::Twice => {
            let all = answers(kernel, datagram);
            [all.clone(), all].concat()
        }
        Trick::Cut => {
            let mut all = answers(kernel, datagram);
            if let Some(last) = all.last_mut() {
                last.truncate(last.len() - 3);
            }
            all
        }
        Trick::Noise => {
            let all = answers(kernel, datagram);
            vec![vec![0xa5; all.concat().len()]]
        }
        Trick::Reloaded => {
            kernel.reload_module(0);
            answers(kernel, datagram)
        }
        Trick::Gone(absent) => {
            kernel.reload_module(absent);
            answers(kernel, datagram)
        }
        Trick::Closed => return None,
    })
}

fn answers(kernel: &mut IpvsKernel, datagram: &[u8]) -> Vec<Vec<u8>> {
    kernel.send(datagram).unwrap();
    let mut all = Vec::new();
    while let Some(received) = kernel.receive() {
        match received {
            Received::Datagram(answer) => all.push(answer),
            Received::Lost => panic!("only the script loses anything"),
        }
    }
    all
}

/// A refusal of a request of nobody here.
fn refusal(seq: u32, datagram: &[u8]) -> Vec<u8> {
    let mut request = netlink::requests(datagram)[0];
    request.seq = seq;
    netlink::ack(&request, errno::ESRCH)
}
