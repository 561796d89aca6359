//! What comes in by a socket, a datagram at a time, with as few system calls as
//! it takes; and what to do while nothing comes. It reads no datagram.

use super::Error;
use crate::netlink::{self, Inbox, Socket};
use std::io;
use std::time::{Duration, Instant};
use trunnion_core::ipvs::RECEIVE_BYTES;

/// Datagrams that were received, and how many of them have been heard.
#[derive(Debug)]
pub(super) struct Ear {
    inbox: Inbox,
    heard: usize,
}

impl Ear {
    pub(super) fn new() -> Self {
        Self {
            inbox: Inbox::new(RECEIVE_BYTES),
            heard: 0,
        }
    }

    /// The next datagram, or not `until` then: `patience` from the first time
    /// that there was none.
    ///
    /// The kernel executes requests inside of send(2), so the answer has come
    /// already: to wait for it first, and to ask for the time, would be two calls
    /// more for each.
    pub(super) fn hear(
        &mut self,
        socket: &Socket,
        patience: Duration,
        until: &mut Option<Instant>,
    ) -> Result<&[u8], Error> {
        while self.heard >= self.inbox.iter().count() {
            self.heard = 0;
            match socket.receive_all(&mut self.inbox) {
                Ok(()) if self.inbox.iter().next().is_some() => break,
                Ok(()) => {}
                Err(netlink::Error::Overrun | netlink::Error::Truncated { .. }) => {
                    return Err(Error::Unknown);
                }
                Err(netlink::Error::Io(error)) => return Err(Error::Io(error)),
            }
            let deadline = *until.get_or_insert_with(|| Instant::now() + patience);
            if !socket.wait(deadline).map_err(Error::Io)? {
                return Err(Error::Unknown);
            }
        }
        let at = self.heard;
        self.heard += 1;
        Ok(self.inbox.iter().nth(at).unwrap_or(&[]))
    }

    /// Throws away what has been received and some of what is waiting; says
    /// whether there may be more.
    pub(super) fn forget(&mut self, socket: &Socket) -> io::Result<bool> {
        let received = socket.receive_all(&mut self.inbox);
        self.heard = self.inbox.iter().count();
        match received {
            Ok(()) => Ok(self.heard > 0),
            Err(netlink::Error::Overrun | netlink::Error::Truncated { .. }) => Ok(true),
            Err(netlink::Error::Io(error)) => Err(error),
        }
    }
}
