//! Question and answer over one socket: what was asked, what came back, and
//! when the answer is missing.

use super::Error;
use super::ear::Ear;
use crate::netlink::{Protocol, Socket};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};
use trunnion_core::bytes::Reader;
use trunnion_core::ipvs::{BATCH_BYTES, Command, FAMILY_NAME, Refused};
use trunnion_core::netlink::genl::{self, FamilyId};
use trunnion_core::netlink::{Batch, Errno, Extended, Malformed, Message, Messages, Reply};

/// How long an answer may take before the state is unknown.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket with its buffers and the next sequence number.
#[derive(Debug)]
pub(super) struct Exchange {
    /// How long each answer may take.
    pub(super) patience: Duration,
    socket: Socket,
    seq: u32,
    /// Answers to an earlier question may still come.
    behind: bool,
    send: Box<[u8]>,
    ear: Ear,
}

/// One answer to a request.
pub(super) enum Answer<'a> {
    /// How many requests of the datagram came before its request; outcome; what
    /// else the kernel says.
    Ack(usize, Result<(), Errno>, Extended<'a>),
    /// Body, offset of the body.
    Data(Reader<'a>, usize),
}

/// A datagram in the send buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Built {
    /// Its length, bytes; 0 when it has no request.
    len: usize,
    /// Sequence number of its first request.
    first: u32,
    /// Sequence number of its barrier.
    barrier: u32,
}

impl Exchange {
    /// Opens the socket.
    pub(super) fn open() -> io::Result<Self> {
        Socket::open(Protocol::Generic, &[]).map(Self::on)
    }

    /// Talks over this socket.
    pub(super) fn on(socket: Socket) -> Self {
        Self {
            patience: PATIENCE,
            socket,
            seq: 1,
            behind: false,
            send: vec![0; BATCH_BYTES].into_boxed_slice(),
            ear: Ear::new(),
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks for the family's number.
    pub(super) fn family(&mut self) -> Result<FamilyId, Error> {
        let mut found = Err(Error::NoIpvs);
        let fill = |batch: &mut Batch<'_>| Ok(genl::get_family(batch, FAMILY_NAME)?);
        // Received with the whole buffer: the kernel remembers the largest
        // receive of a socket and makes the parts of dumps that long.
        let built = self.build(fill)?;
        self.send(built, |answer| {
            if let Answer::Data(body, offset) = answer {
                found = genl::Family::parse(body, offset).map_err(Error::Malformed);
            }
        })?;
        found.map(|family| family.id)
    }

    /// Makes one request and reads its answer, if it has one, by `each`.
    pub(super) fn ask(
        &mut self,
        command: Command,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<u32, Refused>,
        mut each: impl FnMut(Reader<'_>, usize) -> Result<(), Malformed>,
    ) -> Result<(), Error> {
        let mut result = Ok(());
        let built = self.build(fill)?;
        self.send(built, |answer| {
            let answer = match answer {
                Answer::Data(body, offset) => each(body, offset).map_err(Error::Malformed),
                Answer::Ack(_, result, extended) => outcome(command, result, &extended),
            };
            if result.is_ok() {
                result = answer;
            }
        })?;
        result
    }

    /// Writes requests and a barrier into the send buffer.
    pub(super) fn build<T>(
        &mut self,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<T, Refused>,
    ) -> Result<Built, Error> {
        let first = self.seq;
        let mut batch = Batch::new(&mut self.send, first);
        fill(&mut batch).map_err(Error::Refused)?;
        if batch.is_empty() {
            return Ok(Built {
                len: 0,
                first,
                barrier: first,
            });
        }
        let barrier = batch
            .barrier()
            .map_err(|full| Error::Refused(full.into()))?;
        self.seq = batch.next_seq();
        let len = batch.finish().len();
        Ok(Built {
            len,
            first,
            barrier,
        })
    }

    /// Sends what was built and gives `each` the answers that come before the
    /// barrier's ack. An answer to anything else, however it came here, is passed
    /// over.
    pub(super) fn send(
        &mut self,
        built: Built,
        mut each: impl FnMut(Answer<'_>),
    ) -> Result<(), Error> {
        let Built {
            len,
            first,
            barrier,
        } = built;
        if len == 0 {
            return Ok(());
        }
        self.catch_up()?;
        self.socket.send(&self.send[..len]).map_err(Error::Io)?;
        self.behind = true;
        let mut until = None;
        loop {
            let datagram = self.ear.hear(&self.socket, self.patience, &mut until)?;
            for message in Messages::new(datagram) {
                match read(message)? {
                    Reply::Ack { seq, .. } if seq == barrier => {
                        self.behind = false;
                        return Ok(());
                    }
                    Reply::Ack {
                        seq,
                        result,
                        extended,
                    } => {
                        if let Some(at) = place(seq, first, barrier) {
                            each(Answer::Ack(at, result, extended));
                        }
                    }
                    Reply::Data {
                        seq, body, offset, ..
                    } => {
                        if place(seq, first, barrier).is_some() {
                            each(Answer::Data(body, offset));
                        }
                    }
                    Reply::Done { .. } | Reply::Noop => {}
                    Reply::Overrun => return Err(Error::Unknown),
                }
            }
        }
    }

    /// Makes the requests of `fill`, the last of which is a dump with the seq it
    /// returns, and reads its rows by `each`. An error of any of them is one of
    /// the dump. There is no barrier: its ack would overtake the rows. Returns
    /// in how many datagrams the rows came: each was filled at one go.
    pub(super) fn dump(
        &mut self,
        command: Command,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<u32, Refused>,
        mut each: impl FnMut(Reader<'_>, usize) -> Result<(), Malformed>,
    ) -> Result<u32, Error> {
        self.catch_up()?;
        let first = self.seq;
        let mut batch = Batch::new(&mut self.send, first);
        let dump = fill(&mut batch).map_err(Error::Refused)?;
        self.seq = batch.next_seq();
        self.socket.send(batch.finish()).map_err(Error::Io)?;
        self.behind = true;
        let mut result = Ok(());
        let (mut parts, mut part) = (0_u32, false);
        let mut until = None;
        loop {
            // A dump has no limit, so its deadline is one for each part; what is
            // not of it buys no time.
            if std::mem::take(&mut part) {
                parts = parts.saturating_add(1);
                until = None;
            }
            let datagram = self.ear.hear(&self.socket, self.patience, &mut until)?;
            for message in Messages::new(datagram) {
                let (end, answer) = match read(message)? {
                    Reply::Data {
                        seq, body, offset, ..
                    } if seq == dump => {
                        part = true;
                        (false, each(body, offset).map_err(Error::Malformed))
                    }
                    Reply::Done { seq, result, .. } if seq == dump => {
                        (true, outcome(command, result, &Extended::default()))
                    }
                    Reply::Ack {
                        seq,
                        result,
                        extended,
                    } if seq == dump || place(seq, first, dump).is_some() => {
                        (seq == dump, outcome(command, result, &extended))
                    }
                    Reply::Data { .. } | Reply::Done { .. } | Reply::Ack { .. } | Reply::Noop => {
                        continue;
                    }
                    Reply::Overrun => return Err(Error::Unknown),
                };
                if result.is_ok() {
                    result = answer;
                }
                // Not before: a dump left half read makes the next one EBUSY.
                if end {
                    self.behind = false;
                    return result.map(|()| parts.saturating_add(part.into()));
                }
            }
        }
    }

    /// Throws away answers to a question that was given up, so that what comes
    /// after this is of the next one. A half-read dump is read to its end.
    fn catch_up(&mut self) -> Result<(), Error> {
        if !self.behind {
            return Ok(());
        }
        let deadline = Instant::now() + self.patience;
        while self.ear.forget(&self.socket).map_err(Error::Io)? {
            if Instant::now() >= deadline {
                return Err(Error::Unknown);
            }
        }
        self.behind = false;
        Ok(())
    }
}

/// Which of the requests from `first` up to `end` has `seq`, if one has.
fn place(seq: u32, first: u32, end: u32) -> Option<usize> {
    let at = seq.wrapping_sub(first);
    (at < end.wrapping_sub(first)).then_some(at as usize)
}

/// What became of a request.
fn outcome(
    command: Command,
    result: Result<(), Errno>,
    extended: &Extended<'_>,
) -> Result<(), Error> {
    result.map_err(|errno| Error::Kernel {
        command,
        errno,
        words: extended.words(),
    })
}

fn read(message: Result<Message<'_>, Malformed>) -> Result<Reply<'_>, Error> {
    message
        .and_then(|message| Reply::parse(&message))
        .map_err(Error::Malformed)
}

#[cfg(test)]
mod tests;
