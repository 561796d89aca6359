//! Whether there is a route to a prefix: a thread of its own hears of routes, as
//! long as any is sought. A host with a full table has many events, which the HA
//! loop's own socket must not be flooded with.

use super::super::board::BoardIn;
use super::super::records::{OwnLog, TrackTrouble, text};
use super::LOOK;
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Instant;
use trunnion_core::director::ha::TrackState;
use trunnion_core::model::Family;
use trunnion_core::netlink::{Batch, Flags, Messages, Reply};
use trunnion_core::route::fib::{self, Path, Way};
use trunnion_core::route::{self, RECEIVE_BYTES};
use trunnion_sys::netlink::{Error, Protocol, Socket};

use crate::config::Prefixed;

/// A route that is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sought {
    pub prefix: Prefixed,
    pub table: u32,
    pub cell: u16,
}

impl Sought {
    fn is(&self, path: &Path) -> bool {
        let Prefixed { address, prefix } = self.prefix;
        path.network == address && path.prefix == prefix && path.table == self.table
    }
}

/// See the module's words.
#[derive(Debug)]
pub(super) struct Routes {
    board: BoardIn,
    thread: Option<Sender<Vec<Sought>>>,
}

impl Routes {
    pub(super) const fn new(board: BoardIn) -> Self {
        Self {
            board,
            thread: None,
        }
    }

    /// Seeks these from now on.
    pub(super) fn seek(&mut self, sought: Vec<Sought>, log: &OwnLog) {
        if sought.is_empty() {
            self.thread = None;
            return;
        }
        let sought = match &self.thread {
            Some(thread) => match thread.send(sought) {
                Ok(()) => return,
                Err(unsent) => unsent.0,
            },
            None => sought,
        };
        if let Err(error) = self.start(sought, log) {
            trouble(log, &error);
        }
    }

    fn start(&mut self, sought: Vec<Sought>, log: &OwnLog) -> io::Result<()> {
        let socket = Socket::open(Protocol::Route, &fib::GROUPS)?;
        let (sender, receiver) = channel();
        let (board, log) = (self.board.clone(), log.clone());
        let thread = std::thread::Builder::new().name("routes".to_owned());
        thread.spawn(move || {
            let mut ear = Ear {
                socket,
                buffer: vec![0; RECEIVE_BYTES],
                next_seq: 1,
                board,
                doubt: false,
            };
            ear.listen(&receiver, &log);
        })?;
        let _ = sender.send(sought);
        self.thread = Some(sender);
        Ok(())
    }
}

fn trouble(log: &OwnLog, error: &io::Error) {
    log.log(&TrackTrouble {
        name: text("routes"),
        why: text(&error.to_string()),
    });
}

struct Ear {
    socket: Socket,
    buffer: Vec<u8>,
    next_seq: u32,
    board: BoardIn,
    /// Something happened that takes routes along without a word.
    doubt: bool,
}

impl Ear {
    fn listen(&mut self, lists: &Receiver<Vec<Sought>>, log: &OwnLog) {
        let mut sought: Vec<Sought> = Vec::new();
        // What there is must be asked for: at first, and after a loss.
        let mut ask = false;
        let mut troubled = false;
        // Links may come and go all the time, and a table be large: a doubt is
        // looked into no sooner than a while after the last look.
        let mut looked: Option<Instant> = None;
        loop {
            match lists.try_recv() {
                Ok(list) => (sought, ask) = (list, true),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            let rested = looked.is_none_or(|at| at.elapsed() >= LOOK);
            if ask || (self.doubt && rested) {
                self.doubt = false;
                looked = Some(Instant::now());
                match self.dump(&sought) {
                    Ok(whole) => (ask, troubled) = (!whole, false),
                    Err(error) if !std::mem::replace(&mut troubled, true) => trouble(log, &error),
                    Err(_) => {}
                }
            }
            let from = looked.filter(|_| self.doubt);
            match self.socket.wait(from.unwrap_or_else(Instant::now) + LOOK) {
                Ok(true) => ask |= self.hear(&sought),
                Ok(false) => {}
                Err(error) => return trouble(log, &error),
            }
        }
    }

    /// Takes what waits; whether to ask.
    fn hear(&mut self, sought: &[Sought]) -> bool {
        let mut ask = false;
        loop {
            match self.socket.receive(&mut self.buffer) {
                Ok(Some(datagram)) => {
                    self.doubt |= is_doubtful(datagram);
                    for path in paths(datagram) {
                        for of in sought.iter().filter(|of| of.is(&path)) {
                            match path.way {
                                Way::Leads => self.board.put(of.cell, TrackState::Up),
                                // Another one may be left.
                                Way::Gone | Way::Nowhere => ask = true,
                            }
                        }
                    }
                }
                Ok(None) => return ask,
                Err(Error::Overrun | Error::Truncated { .. } | Error::Io(_)) => return true,
            }
        }
    }

    /// Asks for all routes; whether that was all, and nothing changed meanwhile.
    fn dump(&mut self, sought: &[Sought]) -> io::Result<bool> {
        let mut found = vec![false; sought.len()];
        let mut whole = true;
        for family in [Family::V4, Family::V6] {
            if !sought
                .iter()
                .any(|of| Family::of(&of.prefix.address) == family)
            {
                continue;
            }
            let mut request = [0; 64];
            let mut batch = Batch::new(&mut request, self.next_seq);
            let seq = fib::dump(&mut batch, family).map_err(|_| io::ErrorKind::InvalidInput)?;
            self.next_seq = batch.next_seq();
            self.socket.send(batch.finish())?;
            whole &= self.rows(seq, sought, &mut found)?;
        }
        // What is not known for certain stays as it is.
        for (of, found) in sought.iter().zip(found) {
            match (found, whole) {
                (true, _) => self.board.put(of.cell, TrackState::Up),
                (false, true) => self.board.put(of.cell, TrackState::Down),
                (false, false) => {}
            }
        }
        Ok(whole)
    }

    fn rows(&mut self, seq: u32, sought: &[Sought], found: &mut [bool]) -> io::Result<bool> {
        let deadline = Instant::now() + 5 * LOOK;
        let mut whole = true;
        loop {
            let datagram = match self.socket.receive(&mut self.buffer) {
                Ok(Some(datagram)) => datagram,
                Ok(None) if self.socket.wait(deadline)? => continue,
                Ok(None) => return Err(io::ErrorKind::TimedOut.into()),
                Err(Error::Overrun | Error::Truncated { .. }) => {
                    whole = false;
                    continue;
                }
                Err(Error::Io(error)) => return Err(error),
            };
            self.doubt |= is_doubtful(datagram);
            for path in paths(datagram) {
                for (of, found) in sought.iter().zip(&mut *found) {
                    if of.is(&path) {
                        *found |= path.way == Way::Leads;
                        whole &= path.way != Way::Gone;
                    }
                }
            }
            for reply in replies(datagram) {
                match reply {
                    Reply::Done {
                        seq: of,
                        interrupted,
                        result,
                    } if of == seq => return Ok(whole && !interrupted && result.is_ok()),
                    Reply::Ack {
                        seq: of,
                        result: Err(errno),
                        ..
                    } if of == seq => return Err(io::Error::from_raw_os_error(errno.0)),
                    Reply::Overrun => whole = false,
                    Reply::Data { flags, .. } => whole &= !flags.contains(Flags::DUMP_INTR),
                    Reply::Done { .. } | Reply::Ack { .. } | Reply::Noop => {}
                }
            }
        }
    }
}

/// Whether something in it may have taken routes along.
fn is_doubtful(datagram: &[u8]) -> bool {
    replies(datagram).any(|reply| match reply {
        Reply::Data {
            kind, body, offset, ..
        } => match route::decode(kind, body, offset) {
            Ok(event) => event.is_some_and(|event| fib::takes_routes(&event)),
            Err(_) => false,
        },
        Reply::Ack { .. } | Reply::Done { .. } | Reply::Noop | Reply::Overrun => false,
    })
}

fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let messages = Messages::new(datagram).map_while(Result::ok);
    messages.filter_map(|message| Reply::parse(&message).ok())
}

fn paths(datagram: &[u8]) -> impl Iterator<Item = Path> {
    replies(datagram).filter_map(|reply| match reply {
        Reply::Data {
            kind, body, offset, ..
        } => fib::decode(kind, body, offset).ok().flatten(),
        Reply::Ack { .. } | Reply::Done { .. } | Reply::Noop | Reply::Overrun => None,
    })
}
