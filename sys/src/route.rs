//! A blocking rtnetlink client for links and addresses: a socket,
//! `trunnion_core::route`, and a deadline on every wait. For the start of the
//! daemon, for tools and tests; a loop drives the same core from its own poll,
//! over [`events`] and a socket for requests.
//!
//! ```no_run
//! use trunnion_core::route::{AddressFlags, AddressProtocol, InterfaceAddress, Scope};
//! use trunnion_sys::route::Route;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut route = Route::open()?;
//! let link = route.link(&"eth0".parse()?)?.ok_or("no eth0")?;
//! route.add_address(&InterfaceAddress {
//!     interface: link.index,
//!     address: "192.0.2.10".parse()?,
//!     prefix: 32,
//!     flags: AddressFlags::empty(),
//!     scope: Scope::UNIVERSE,
//!     protocol: AddressProtocol::TRUNNION,
//! })?;
//! # Ok(()) }
//! ```

use crate::netlink::{self, Protocol, Socket};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use trunnion_core::netlink::{Batch, Errno, Flags, Malformed, Messages, Reply};
use trunnion_core::route::{
    Command, Effect, Event, GROUPS, InterfaceAddress, InterfaceIndex, Link, LinkName,
    RECEIVE_BYTES, REQUEST_BYTES_MAX, Refused, added, decode, deleted, link, meaning, request,
};

/// How long an answer may take before the state is unknown.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a dump that changed while it was read is begun anew.
const DUMPS_MAX: usize = 16;

/// Bytes of one request and its barrier.
const SEND_BYTES: usize = REQUEST_BYTES_MAX + trunnion_core::netlink::HEADER_BYTES;

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The request breaks a rule; it was not sent.
    Refused(Refused),
    /// The kernel refused it. `Display` says what the number means for this
    /// command.
    Kernel {
        /// The command.
        command: Command,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The answer is missing or part of it was lost: the kernel may have carried
    /// the request out or not. Ask for what is there to know.
    Unknown,
    /// What was dumped changed each time while it was read.
    Restless,
    /// The kernel's answer breaks the format.
    Malformed(Malformed),
    /// A system call on the socket failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => fmt::Display::fmt(refused, f),
            Self::Kernel { command, errno } => {
                write!(
                    f,
                    "{} ({errno:?} to {command:?})",
                    meaning(*command, *errno)
                )
            }
            Self::Unknown => f.write_str(
                "the kernel's answer is missing, so its state is unknown: ask for what is there",
            ),
            Self::Restless => write!(
                f,
                "links or addresses changed during each of {DUMPS_MAX} dumps: try again"
            ),
            Self::Malformed(malformed) => write!(f, "malformed answer: {malformed}"),
            Self::Io(error) => write!(f, "netlink: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Malformed(malformed) => Some(malformed),
            Self::Refused(refused) => Some(refused),
            Self::Kernel { .. } | Self::Unknown | Self::Restless => None,
        }
    }
}

/// A socket that hears of links and addresses as they change, without asking
/// ([`trunnion_core::route::decode`] reads it). Open it before the first dump,
/// so that nothing falls between the two; after [`netlink::Error::Overrun`],
/// dump again.
///
/// # Errors
/// Those of [`Socket::open`].
pub fn events() -> io::Result<Socket> {
    Socket::open(Protocol::Route, &GROUPS)
}

/// A connection to the links and addresses of one network namespace: that of
/// the thread that opened it, at that time. Changes need `CAP_NET_ADMIN` there.
#[derive(Debug)]
pub struct Route {
    socket: Socket,
    seq: u32,
    /// Answers to an earlier question may still come.
    behind: bool,
    patience: Duration,
    receive: Box<[u8]>,
}

impl Route {
    /// Opens a socket.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            socket: Socket::open(Protocol::Route, &[]).map_err(Error::Io)?,
            seq: 1,
            behind: false,
            patience: PATIENCE,
            receive: vec![0; RECEIVE_BYTES].into_boxed_slice(),
        })
    }

    /// Sets how long each answer may take; 5 s at first.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// All links.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        self.dump(Command::GETLINK, request::dump_links, |event| match event {
            Event::Link(link) => Some(link),
            Event::Address(_) | Event::AddressGone(_) | Event::LinkGone(_) => None,
        })
    }

    /// All addresses, IPv4 and IPv6.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, Error> {
        let fill = |batch: &mut Batch<'_>| request::dump_addresses(batch, None);
        self.dump(Command::GETADDR, fill, |event| match event {
            Event::Address(address) => Some(address),
            Event::Link(_) | Event::AddressGone(_) | Event::LinkGone(_) => None,
        })
    }

    /// The link of that name, if there is one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn link(&mut self, name: &LinkName) -> Result<Option<Link>, Error> {
        let mut found = None;
        let answer = self.ask(
            |batch| request::get_link(batch, name),
            |event| {
                if let Event::Link(link) = event {
                    found = Some(link);
                }
            },
        )?;
        match answer {
            Ok(()) => found.map(Some).ok_or(Error::Unknown),
            Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(kernel(Command::GETLINK, errno)),
        }
    }

    /// Adds an address to its interface. One that is there already stays as it
    /// is, whatever its flags.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn add_address(&mut self, address: &InterfaceAddress) -> Result<Effect, Error> {
        let answer = self.ask(|batch| request::add_address(batch, address, ""), |_| {})?;
        added(answer).map_err(|errno| kernel(Command::NEWADDR, errno))
    }

    /// Deletes an address from its interface. One that is not there with that
    /// prefix is no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_address(
        &mut self,
        interface: InterfaceIndex,
        address: IpAddr,
        prefix: u8,
    ) -> Result<Effect, Error> {
        let answer = self.ask(
            |batch| request::delete_address(batch, interface, address, prefix),
            |_| {},
        )?;
        deleted(answer).map_err(|errno| kernel(Command::DELADDR, errno))
    }

    /// Makes a macvlan, which is down then. A name that is taken is refused with
    /// `EEXIST`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn add_macvlan(&mut self, it: &link::Macvlan) -> Result<(), Error> {
        self.change(Command::NEWLINK, |batch| link::add_macvlan(batch, it))
    }

    /// Makes one request, of those of [`link`], that changes or deletes links.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn change(
        &mut self,
        command: Command,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<u32, Refused>,
    ) -> Result<(), Error> {
        let answer = self.ask(fill, |_| {})?;
        answer.map_err(|errno| kernel(command, errno))
    }

    /// Makes one request, gives `each` what comes back, and returns the error
    /// number the kernel answered it with, if any.
    fn ask(
        &mut self,
        fill: impl FnOnce(&mut Batch<'_>) -> Result<u32, Refused>,
        mut each: impl FnMut(Event),
    ) -> Result<Result<(), Errno>, Error> {
        self.catch_up()?;
        let mut buf = [0; SEND_BYTES];
        let mut batch = Batch::new(&mut buf, self.seq);
        let request = fill(&mut batch).map_err(Error::Refused)?;
        let barrier = batch
            .barrier()
            .map_err(|full| Error::Refused(full.into()))?;
        self.seq = batch.next_seq();
        self.socket.send(batch.finish()).map_err(Error::Io)?;
        self.behind = true;
        let deadline = Instant::now() + self.patience;
        let mut answer = Ok(());
        loop {
            let datagram = hear(&self.socket, &mut self.receive, deadline)?;
            for message in Messages::new(datagram) {
                let message = message.map_err(Error::Malformed)?;
                match Reply::parse(&message).map_err(Error::Malformed)? {
                    Reply::Ack { seq, .. } if seq == barrier => {
                        self.behind = false;
                        return Ok(answer);
                    }
                    Reply::Ack { seq, result, .. } if seq == request => answer = result,
                    Reply::Data {
                        seq,
                        kind,
                        body,
                        offset,
                        ..
                    } if seq == request => {
                        let event = decode(kind, body, offset).map_err(Error::Malformed)?;
                        event.into_iter().for_each(&mut each);
                    }
                    Reply::Ack { .. } | Reply::Data { .. } | Reply::Done { .. } | Reply::Noop => {}
                    Reply::Overrun => return Err(Error::Unknown),
                }
            }
        }
    }

    /// Dumps until nothing changed meanwhile.
    fn dump<T>(
        &mut self,
        command: Command,
        fill: impl Fn(&mut Batch<'_>) -> Result<u32, Refused>,
        wanted: impl Fn(Event) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        for _ in 0..DUMPS_MAX {
            rows.clear();
            if self.dump_once(command, &fill, |event| rows.extend(wanted(event)))? {
                return Ok(rows);
            }
        }
        Err(Error::Restless)
    }

    /// Dumps, and returns whether the rows are of one moment.
    fn dump_once(
        &mut self,
        command: Command,
        fill: impl Fn(&mut Batch<'_>) -> Result<u32, Refused>,
        mut each: impl FnMut(Event),
    ) -> Result<bool, Error> {
        self.catch_up()?;
        let mut buf = [0; SEND_BYTES];
        let mut batch = Batch::new(&mut buf, self.seq);
        let dump = fill(&mut batch).map_err(Error::Refused)?;
        self.seq = batch.next_seq();
        self.socket.send(batch.finish()).map_err(Error::Io)?;
        self.behind = true;
        let mut consistent = true;
        loop {
            // A dump has no limit, so its deadline is one for each part.
            let deadline = Instant::now() + self.patience;
            let datagram = hear(&self.socket, &mut self.receive, deadline)?;
            for message in Messages::new(datagram) {
                let message = message.map_err(Error::Malformed)?;
                if message.header.seq != dump {
                    continue;
                }
                consistent &= !message.header.flags.contains(Flags::DUMP_INTR);
                match Reply::parse(&message).map_err(Error::Malformed)? {
                    Reply::Data {
                        kind, body, offset, ..
                    } => {
                        let event = decode(kind, body, offset).map_err(Error::Malformed)?;
                        event.into_iter().for_each(&mut each);
                    }
                    Reply::Done { result, .. } | Reply::Ack { result, .. } => {
                        self.behind = false;
                        result.map_err(|errno| kernel(command, errno))?;
                        return Ok(consistent);
                    }
                    Reply::Noop => {}
                    Reply::Overrun => return Err(Error::Unknown),
                }
            }
        }
    }

    /// Throws away answers to a question that was given up, a half-read dump to
    /// its end.
    fn catch_up(&mut self) -> Result<(), Error> {
        while self.behind {
            match self.socket.receive(&mut self.receive) {
                Ok(Some(_)) | Err(netlink::Error::Overrun | netlink::Error::Truncated { .. }) => {}
                Ok(None) => self.behind = false,
                Err(netlink::Error::Io(error)) => return Err(Error::Io(error)),
            }
        }
        Ok(())
    }
}

const fn kernel(command: Command, errno: Errno) -> Error {
    Error::Kernel { command, errno }
}

/// The next datagram, before `deadline`; empty when there was nothing to read
/// after all.
fn hear<'b>(socket: &Socket, buf: &'b mut [u8], deadline: Instant) -> Result<&'b [u8], Error> {
    if !socket.wait(deadline).map_err(Error::Io)? {
        return Err(Error::Unknown);
    }
    match socket.receive(buf) {
        Ok(datagram) => Ok(datagram.unwrap_or(&[])),
        Err(netlink::Error::Overrun | netlink::Error::Truncated { .. }) => Err(Error::Unknown),
        Err(netlink::Error::Io(error)) => Err(Error::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Looking needs no privilege; changes are tests/tests/live_net_route.rs.

    #[test]
    fn loopback_is_there_and_other_names_are_not() {
        let mut route = Route::open().unwrap();
        let lo = route.link(&"lo".parse().unwrap()).unwrap().unwrap();
        assert_eq!(lo.index.get(), 1);
        assert!(route.links().unwrap().contains(&lo));
        assert_eq!(route.link(&"no-such-link".parse().unwrap()).unwrap(), None);
        assert_eq!(
            route.link(&"lo".parse().unwrap()).unwrap(),
            Some(lo),
            "after an error and a dump, the next answer is the next question's"
        );
    }

    #[test]
    fn what_cannot_be_is_not_sent() {
        let mut route = Route::open().unwrap();
        let index = InterfaceIndex::new(1).unwrap();
        let before = route.seq;
        let error = route.delete_address(index, "192.0.2.1".parse().unwrap(), 33);
        assert!(matches!(
            error,
            Err(Error::Refused(Refused::Prefix {
                prefix: 33,
                most: 32
            }))
        ));
        assert_eq!(route.seq, before);
    }

    #[test]
    fn what_was_given_up_does_not_disturb_the_next_question() {
        let mut route = Route::open().unwrap();
        // As after a timeout: a dump and an ack that nobody read.
        let mut buf = [0; 2 * SEND_BYTES];
        let mut batch = Batch::new(&mut buf, route.seq);
        request::dump_links(&mut batch).unwrap();
        batch.barrier().unwrap();
        route.socket.send(batch.finish()).unwrap();
        route.behind = true;
        // The numbers are used again, which a lost count would do.
        let lo = route.link(&"lo".parse().unwrap()).unwrap().unwrap();
        assert_eq!(lo.name.to_string(), "lo");
        assert!(!route.behind);
        assert!(!route.links().unwrap().is_empty());
    }

    #[test]
    fn a_missing_answer_is_unknown() {
        let mut route = Route::open().unwrap();
        let deadline = Instant::now();
        let error = hear(&route.socket, &mut route.receive, deadline).unwrap_err();
        assert!(matches!(error, Error::Unknown));
        assert!(error.to_string().contains("unknown"));
    }
}
