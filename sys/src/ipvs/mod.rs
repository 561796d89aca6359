//! The blocking IPVS client: a socket, `trunnion_core::ipvs`, and a deadline on
//! every wait. For tools and tests; the daemon's loop drives the same core from
//! its own poll.
//!
//! ```no_run
//! use trunnion_core::model::{Protocol, Service, ServiceKey};
//! use trunnion_sys::ipvs::Ipvs;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ipvs = Ipvs::open()?;
//! let key = ServiceKey::Address { protocol: Protocol::TCP, address: "192.0.2.1".parse()?, port: 80 };
//! ipvs.add_service(&Service::new(key, "wrr".parse().unwrap()))?;
//! ipvs.services(|entry| println!("{} {}", entry.service.key, entry.stats.connections))?;
//! # Ok(()) }
//! ```

mod ear;
mod error;
mod exchange;
mod table;

pub use error::{Error, Outcome};
pub use table::{Reading, Reconciled};

use crate::netlink::Socket;
use exchange::{Answer, Exchange};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use trunnion_core::bytes::Reader;
use trunnion_core::ipvs::{
    BATCH_REQUESTS_MAX, Command, DestinationEntry, Encoder, Info, Refused, ServiceEntry, Timeouts,
    decode, request,
};
use trunnion_core::model::{
    Destination, DestinationKey, Service, ServiceKey, SyncDaemon, SyncState,
};
use trunnion_core::netlink::genl::FamilyId;
use trunnion_core::netlink::{Batch, Errno, Malformed};
use trunnion_core::reconcile::Change;

/// A connection to the IPVS of one network namespace: that of the thread that
/// opened it, at that time. Needs `CAP_NET_ADMIN` in the initial user namespace.
///
/// After it was opened nothing but [`Ipvs::read`], [`Ipvs::reconcile`] and
/// [`Ipvs::settle`] takes memory. When `ip_vs` is loaded again its family has
/// another number; that is found out and the call made once more.
#[derive(Debug)]
pub struct Ipvs {
    exchange: Exchange,
    family: FamilyId,
}

/// The socket, to poll it or to set its options.
impl AsFd for Ipvs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exchange.socket()
    }
}

impl Ipvs {
    /// Opens a socket and finds the family; the kernel loads `ip_vs` for it when
    /// it can.
    ///
    /// # Errors
    /// [`Error::NoIpvs`] when the kernel has none, [`Error::Io`] when the socket
    /// cannot be had.
    pub fn open() -> Result<Self, Error> {
        Self::begin(Exchange::open().map_err(Error::Io)?)
    }

    /// Talks over a generic netlink socket that is open already: one of another
    /// network namespace, or from a parent with more rights. It keeps the buffers
    /// and options it has.
    ///
    /// # Errors
    /// Those of [`Ipvs::open`].
    pub fn on(socket: OwnedFd) -> Result<Self, Error> {
        Self::begin(Exchange::on(Socket::from(socket)))
    }

    fn begin(mut exchange: Exchange) -> Result<Self, Error> {
        let family = exchange.family()?;
        Ok(Self { exchange, family })
    }

    /// The family's number, as it was found last. The kernel gives another one
    /// each time `ip_vs` is loaded.
    #[must_use]
    pub const fn family(&self) -> FamilyId {
        self.family
    }

    /// Sets how long each answer may take; 5 s at first.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.exchange.patience = patience;
    }

    /// Version of IPVS and size of its connection table (`IPVS_CMD_GET_INFO`).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn info(&mut self) -> Result<Info, Error> {
        self.one(Command::GET_INFO, request::get_info, decode::info)
    }

    /// Timeouts of connections (`IPVS_CMD_GET_CONFIG`).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.one(Command::GET_CONFIG, request::get_timeouts, decode::timeouts)
    }

    /// Sets the timeouts of connections (`IPVS_CMD_SET_CONFIG`); 0 leaves one as
    /// it is.
    ///
    /// # Errors
    /// [`Error::Refused`] when one is above 2,147,483 s; see [`Error`].
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Error> {
        self.order(Command::SET_CONFIG, |batch, family| {
            request::set_timeouts(batch, family, timeouts)
        })
    }

    /// Starts a connection synchronization daemon (`IPVS_CMD_NEW_DAEMON`).
    ///
    /// # Errors
    /// See [`Error`]; `EEXIST` when one of this state runs (there is no changing
    /// it, stop it first), `ENODEV` without its interface, `EINVAL` while a
    /// service has destinations of the other family.
    pub fn start_daemon(&mut self, it: &SyncDaemon) -> Result<(), Error> {
        self.order(Command::NEW_DAEMON, |batch, family| {
            request::start_daemon(batch, family, it)
        })
    }

    /// Stops the connection synchronization daemon of a state
    /// (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    /// See [`Error`]; `ESRCH` when none runs.
    pub fn stop_daemon(&mut self, state: SyncState) -> Result<(), Error> {
        self.order(Command::DEL_DAEMON, |batch, family| {
            request::stop_daemon(batch, family, state)
        })
    }

    /// Calls `each` with every connection synchronization daemon that runs: none,
    /// one, or one of each state.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn daemons(&mut self, mut each: impl FnMut(SyncDaemon)) -> Result<(), Error> {
        self.dump(
            Command::GET_DAEMON,
            request::dump_daemons,
            |body, offset| decode::daemon(body, offset).map(&mut each),
        )
        .map(drop)
    }

    /// Deletes every service (`IPVS_CMD_FLUSH`).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.order(Command::FLUSH, request::flush)
    }

    /// Zeroes the counters of one service, or of all (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    /// See [`Error`]; `ESRCH` when the service is not there.
    pub fn zero(&mut self, key: Option<&ServiceKey>) -> Result<(), Error> {
        self.order(Command::ZERO, |batch, family| {
            request::zero(batch, family, key)
        })
    }

    /// Adds a service (`IPVS_CMD_NEW_SERVICE`). The kernel loads the modules of
    /// its scheduler and its persistence engine.
    ///
    /// # Errors
    /// See [`Error`]; `EEXIST` when it is there, `ENOENT` when there is no such
    /// scheduler or engine.
    pub fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        self.change(Change::AddService(service))
    }

    /// Changes a service in place (`IPVS_CMD_SET_SERVICE`): all but its key,
    /// whatever it was before.
    ///
    /// # Errors
    /// See [`Error`]; `ESRCH` when it is not there, `ENOENT` when there is no such
    /// scheduler or engine.
    pub fn set_service(&mut self, service: &Service) -> Result<(), Error> {
        self.change(Change::SetService(service))
    }

    /// Deletes a service with its destinations (`IPVS_CMD_DEL_SERVICE`).
    ///
    /// # Errors
    /// See [`Error`]; `ESRCH` when it is not there.
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.change(Change::DeleteService(key))
    }

    /// Adds a destination to a service (`IPVS_CMD_NEW_DEST`).
    ///
    /// # Errors
    /// See [`Error`]; `EEXIST` when it is there, `ESRCH` when the service is not,
    /// `EINVAL` when its address is no host's, or of the other family while a
    /// synchronization daemon runs.
    pub fn add_destination(&mut self, key: &ServiceKey, it: &Destination) -> Result<(), Error> {
        self.change(Change::AddDestination(key, it))
    }

    /// Changes a destination in place (`IPVS_CMD_SET_DEST`): all but its key,
    /// whatever it was before. Its connections stay, at weight 0 too.
    ///
    /// # Errors
    /// See [`Error`]; `ENOENT` when it is not there, `ESRCH` when the service is
    /// not.
    pub fn set_destination(&mut self, key: &ServiceKey, it: &Destination) -> Result<(), Error> {
        self.change(Change::SetDestination(key, it))
    }

    /// Deletes a destination from a service (`IPVS_CMD_DEL_DEST`). The kernel
    /// keeps what is left of it for two minutes, and every later add looks
    /// through these.
    ///
    /// # Errors
    /// See [`Error`]; `ENOENT` when it is not there, `ESRCH` when the service is
    /// not.
    pub fn delete_destination(
        &mut self,
        key: &ServiceKey,
        it: &DestinationKey,
    ) -> Result<(), Error> {
        self.change(Change::DeleteDestination(key, it))
    }

    /// One service, or `None` when it is not there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get_service(&mut self, key: &ServiceKey) -> Result<Option<ServiceEntry>, Error> {
        let asked = self.one(
            Command::GET_SERVICE,
            |batch, family| request::get_service(batch, family, key),
            decode::service,
        );
        match asked {
            Ok(entry) => Ok(Some(entry)),
            Err(Error::Kernel {
                errno: Errno::ESRCH,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Calls `each` with every service, in the kernel's order.
    ///
    /// A dump is not atomic: what others change meanwhile may be seen twice or
    /// hide what is there. Before acting on an absence ask
    /// [`Ipvs::get_service`], or read with [`Ipvs::read`].
    ///
    /// # Errors
    /// See [`Error`]. A row that cannot be read does not hide the others: all
    /// are visited, then the first error is returned.
    pub fn services(&mut self, each: impl FnMut(ServiceEntry)) -> Result<(), Error> {
        self.dump_services(each).map(drop)
    }

    /// The same; in how many datagrams the rows came.
    fn dump_services(&mut self, mut each: impl FnMut(ServiceEntry)) -> Result<u32, Error> {
        self.dump(
            Command::GET_SERVICE,
            request::dump_services,
            |body, offset| decode::service(body, offset).map(&mut each),
        )
    }

    /// Calls `each` with every destination of a service, newest first. As with
    /// [`Ipvs::services`], this is not atomic.
    ///
    /// # Errors
    /// See [`Error`]; `ESRCH` when the service is not there, which the kernel's
    /// own dump does not tell from a service without destinations.
    pub fn destinations(
        &mut self,
        key: &ServiceKey,
        each: impl FnMut(DestinationEntry),
    ) -> Result<(), Error> {
        self.dump_destinations(key, each).map(drop)
    }

    /// The same; in how many datagrams the rows came.
    fn dump_destinations(
        &mut self,
        key: &ServiceKey,
        mut each: impl FnMut(DestinationEntry),
    ) -> Result<u32, Error> {
        let ask = |batch: &mut Batch<'_>, family| {
            // Answered before the dump, in the same datagram.
            request::get_service(batch, family, key)?;
            request::dump_destinations(batch, family, key)
        };
        self.dump(Command::GET_DEST, ask, |body, offset| {
            decode::destination(body, offset, key.family()).map(&mut each)
        })
    }

    /// Carries out changes in their order, up to 128 in one datagram, and says
    /// in `outcomes` what became of each. A refused or failed change does not
    /// stop those after it.
    ///
    /// # Errors
    /// [`Error::Unknown`] when answers are missing: those changes are
    /// [`Outcome::Unknown`], later ones [`Outcome::NotSent`]. See [`Error`] for
    /// the rest. `Ok` says that every outcome is known, not that each is good.
    ///
    /// # Panics
    /// When `outcomes` is not as long as `changes`.
    pub fn apply(&mut self, changes: &[Change<'_>], outcomes: &mut [Outcome]) -> Result<(), Error> {
        assert_eq!(changes.len(), outcomes.len(), "one outcome for each change");
        outcomes.fill(Outcome::NotSent);
        let mut at = 0;
        while at < changes.len() {
            at += self.apply_batch(&changes[at..], &mut outcomes[at..])?;
        }
        let gone = Outcome::Failed(Errno::ENOENT);
        if outcomes.contains(&gone) && self.family_moved()? {
            let failed = changes.iter().zip(outcomes);
            for (change, outcome) in failed.filter(|(_, outcome)| **outcome == gone) {
                *outcome = Outcome::NotSent;
                self.apply_batch(&[*change], std::slice::from_mut(outcome))?;
            }
        }
        Ok(())
    }

    /// Sends one datagram with the first of `changes`; returns how many of them
    /// are dealt with.
    fn apply_batch(
        &mut self,
        changes: &[Change<'_>],
        outcomes: &mut [Outcome],
    ) -> Result<usize, Error> {
        // Which change each request of the batch is; refused ones are in none.
        let mut requests = [0; BATCH_REQUESTS_MAX as usize];
        let mut sent = 0;
        let mut dealt = 0;
        let mut encoder = Encoder::new(self.family);
        let fill = |batch: &mut Batch<'_>| {
            for (change, outcome) in changes.iter().zip(outcomes.iter_mut()) {
                let Some(request) = requests.get_mut(sent) else {
                    break;
                };
                match encoder.change(batch, change) {
                    Ok(_) => {
                        *request = dealt;
                        *outcome = Outcome::Unknown;
                        sent += 1;
                    }
                    Err(Refused::Full) => break,
                    Err(refused) => *outcome = Outcome::Refused(refused),
                }
                dealt += 1;
            }
            Ok(())
        };
        let built = self.exchange.build(fill)?;
        self.exchange.send(built, |answer| {
            if let Answer::Ack(request, Err(errno), _) = answer {
                outcomes[requests[request]] = Outcome::Failed(errno);
            }
        })?;
        // Errors come back always, and the barrier after them: the rest
        // succeeded.
        for at in &requests[..sent] {
            if outcomes[*at] == Outcome::Unknown {
                outcomes[*at] = Outcome::Done;
            }
        }
        Ok(dealt)
    }

    fn change(&mut self, change: Change<'_>) -> Result<(), Error> {
        let command = match change {
            Change::AddService(_) => Command::NEW_SERVICE,
            Change::AddDestination(..) => Command::NEW_DEST,
            Change::SetService(_) => Command::SET_SERVICE,
            Change::SetDestination(..) => Command::SET_DEST,
            Change::DeleteDestination(..) => Command::DEL_DEST,
            Change::DeleteService(_) => Command::DEL_SERVICE,
        };
        self.order(command, |batch, family| {
            request::change(batch, family, &change)
        })
    }

    /// One request that is answered by success or an error alone.
    fn order(
        &mut self,
        command: Command,
        ask: impl Fn(&mut Batch<'_>, FamilyId) -> Result<u32, Refused>,
    ) -> Result<(), Error> {
        self.again(|exchange, family| {
            exchange.ask(command, |batch| ask(batch, family), |_, _| Ok(()))
        })
    }

    /// One request that is answered by one message.
    fn one<T>(
        &mut self,
        command: Command,
        ask: impl Fn(&mut Batch<'_>, FamilyId) -> Result<u32, Refused>,
        read: impl Fn(Reader<'_>, usize) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let mut found = None;
        self.again(|exchange, family| {
            exchange.ask(
                command,
                |batch| ask(batch, family),
                |body, offset| {
                    found = Some(read(body, offset)?);
                    Ok(())
                },
            )
        })?;
        found.ok_or(Error::Unknown)
    }

    /// One dump; `ask` returns the seq of the request that DONE ends.
    fn dump(
        &mut self,
        command: Command,
        ask: impl Fn(&mut Batch<'_>, FamilyId) -> Result<u32, Refused>,
        mut each: impl FnMut(Reader<'_>, usize) -> Result<(), Malformed>,
    ) -> Result<u32, Error> {
        self.again(|exchange, family| exchange.dump(command, |batch| ask(batch, family), &mut each))
    }

    /// Makes an exchange, and once more when the family had moved.
    fn again<T>(
        &mut self,
        mut exchange: impl FnMut(&mut Exchange, FamilyId) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match exchange(&mut self.exchange, self.family) {
            Err(Error::Kernel {
                errno: Errno::ENOENT,
                ..
            }) if self.family_moved()? => exchange(&mut self.exchange, self.family),
            other => other,
        }
    }

    /// Asks for the family again and says whether its number is another one: a
    /// module that was loaded anew gets a new number, and the old one says
    /// `ENOENT` to everything.
    fn family_moved(&mut self) -> Result<bool, Error> {
        let before = self.family;
        self.family = self.exchange.family()?;
        Ok(self.family != before)
    }
}
