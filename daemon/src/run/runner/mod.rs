//! Runs commands and reads files for a loop, which may do neither: a loop asks by
//! a datagram and goes on; a process of our own, the runner, does it and answers.
//!
//! ```text
//! loop: Runner --- Request ---> helper --- fork, exec, read, kill, reap
//!          ^--------- Done ---------'
//! control: Keeper --- starts the helper, and another one when it dies
//! ```
//!
//! A request says all there is to know, so the helper remembers nothing but what
//! runs: a reload, or a new helper, needs to tell it nothing. Requests wait in
//! the socket pair, whose room is the bound; one that waits longer than its
//! deadline is not run and answered [`Outcome::Late`]. Whoever asks sets a timer
//! of his own a little later than the deadline: a helper that was killed or
//! stopped never answers, which is this node's trouble and nobody's verdict.
//!
//! A command gets no input, the environment that was asked for and nothing else,
//! `/` as its directory, at most 1024 descriptors, and a process group of its
//! own. When its time is over or it has ended the whole group is killed, so that
//! nothing it leaves behind adds up, but for what has left the group (setsid(2)):
//! that is reaped when it ends. If the helper dies, the kernel kills the commands,
//! and not what they have started.

mod helper;
mod keeper;
mod message;

pub use helper::run as help;
pub use keeper::Keeper;
pub use message::{Done, Environment, OUTPUT_BYTES_MAX, User, WORDS_BYTES_MAX};

use message::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Request};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use trunnion_core::bytes::Writer;
#[cfg(doc)]
use trunnion_core::check::probe::outside::Outcome;
use trunnion_core::check::probe::outside::{Command, Errand, expand};
use trunnion_core::netlink::Errno;
use trunnion_core::time::Instant;

/// Where the shell of a command looks for programs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A loop's end. Allocates nothing once it is made.
#[derive(Debug)]
pub struct Runner {
    socket: UnixDatagram,
    request: Box<[u8; REQUEST_BYTES_MAX]>,
    reply: [u8; REPLY_BYTES_MAX],
}

/// A loop's end and the helper's, of which the control thread keeps a copy for
/// the next helper.
///
/// # Errors
/// Those of socketpair(2).
pub fn pair() -> io::Result<(Runner, OwnedFd)> {
    let (socket, helpers) = UnixDatagram::pair()?;
    socket.set_nonblocking(true)?;
    helpers.set_nonblocking(true)?;
    let runner = Runner {
        socket,
        request: Box::new([0; REQUEST_BYTES_MAX]),
        reply: [0; REPLY_BYTES_MAX],
    };
    Ok((runner, helpers.into()))
}

impl Runner {
    /// Asks for a command to be run: `words` are the path of a program and its
    /// arguments, each ended by a NUL, [`WORDS_BYTES_MAX`] bytes at most; `tell`
    /// sets its environment. It is killed at `deadline`.
    ///
    /// # Errors
    /// `EAGAIN` when too many requests wait already; `EMSGSIZE` when it is too
    /// long.
    pub fn run(
        &mut self,
        (id, deadline): (u64, Instant),
        user: Option<User>,
        words: &[u8],
        tell: impl FnOnce(&mut Environment<'_, '_>),
    ) -> Result<(), Errno> {
        let mut to = Writer::new(&mut self.request[..]);
        Request::run(&mut to, (id, deadline), user, |to| to.bytes(words), tell);
        send(&self.socket, to)
    }

    /// Asks for an errand about a target. A command is told of it by its words and
    /// by `TRUNNION_ADDRESS` and `TRUNNION_PORT`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn send(
        &mut self,
        at: (u64, Instant),
        errand: Errand<'_>,
        target: SocketAddr,
    ) -> Result<(), Errno> {
        let mut to = Writer::new(&mut self.request[..]);
        match errand {
            Errand::Exec(Command { words, user, .. }) => {
                let user = user.map(|(uid, gid)| User { uid, gid });
                let say = |to: &mut Writer<'_>| {
                    expand(words, target, &mut |part| to.bytes(part));
                };
                Request::run(&mut to, at, user, say, |environment| {
                    environment.set("PATH", SEARCH_PATH);
                    environment.set("TRUNNION_ADDRESS", target.ip());
                    environment.set("TRUNNION_PORT", target.port());
                });
            }
            Errand::File(path) => {
                Request::read(&mut to, at, |to| {
                    expand(path, target, &mut |part| to.bytes(part));
                });
            }
        }
        send(&self.socket, to)
    }

    /// Asks for a file to be read, not after `deadline`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn read(&mut self, (id, deadline): (u64, Instant), path: &[u8]) -> Result<(), Errno> {
        let mut to = Writer::new(&mut self.request[..]);
        Request::read(&mut to, (id, deadline), |to| to.bytes(path));
        send(&self.socket, to)
    }

    /// The next answer. Call until `None` whenever the descriptor is readable.
    pub fn poll_done(&mut self) -> Option<Done<'_>> {
        loop {
            let received = self.socket.recv(&mut self.reply).ok()?;
            // One that nobody understands hides none behind it.
            if Done::parse(self.reply.get(..received)?).is_ok() {
                return Done::parse(self.reply.get(..received)?).ok();
            }
        }
    }
}

impl AsFd for Runner {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Runner {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn send(socket: &UnixDatagram, request: Writer<'_>) -> Result<(), Errno> {
    let bytes = request.finish().map_err(|_| Errno::EMSGSIZE)?;
    match socket.send(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(Errno(error.raw_os_error().unwrap_or(Errno::EIO.0))),
    }
}
