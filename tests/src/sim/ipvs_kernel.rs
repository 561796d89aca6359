//! One node's IPVS table, and the generic netlink socket to it: requests are
//! carried out inside the send in their order, errors are always told and
//! successes only when asked, dumps are not atomic and do not say so. Not a
//! scheduler: no packet passes.
//!
//! Source: net/netfilter/ipvs/ip_vs_ctl.c, with the errors seen on 6.1 to 7.2.

use super::ipvs_request::{Op, daemon_message, decode, destination_message, service_message};
use super::netlink::{self, Inbox, Message, Received, Request, errno};
use super::random::Random;
use std::net::IpAddr;
use trunnion_core::model::{
    Destination, DestinationKey, Family, Protocol, SchedulerName, Service, ServiceKey, SyncDaemon,
};

/// `GENL_ID_CTRL`.
const CONTROL: u16 = 16;

/// A service and its destinations, newest first.
#[derive(Clone, Debug)]
pub struct Row {
    pub service: Service,
    pub destinations: Vec<Destination>,
}

/// How often things go wrong, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpvsFaults {
    /// A datagram to us does not fit our socket.
    pub lost: u32,
    /// A send fails.
    pub send: u32,
    /// A change is refused for want of memory.
    pub refused: u32,
    /// An answer other than a refusal never comes, and nothing says so.
    pub silent: u32,
    /// Answers to a question nobody asked come in between.
    pub strange: u32,
    /// An answer is cut short.
    pub malformed: u32,
    /// A dump is refused because one is said to be running.
    pub busy: u32,
}

/// A change that was tried, and how it ended.
#[derive(Clone, Debug)]
pub struct Tried {
    pub op: Op,
    /// 0, or the errno.
    pub answer: i32,
    /// The service's row before, if there was one.
    pub before: Option<Row>,
}

#[derive(Clone, Debug)]
enum Table {
    Services,
    Destinations(ServiceKey),
    Daemons,
}

#[derive(Clone, Debug)]
struct Dump {
    seq: u32,
    of: Table,
    at: usize,
}

/// See the module's words.
#[derive(Debug)]
pub struct IpvsKernel {
    /// In the order of the hash table, which means nothing.
    pub rows: Vec<Row>,
    /// Synchronization daemons, who sends and who hears.
    pub daemons: [Option<SyncDaemon>; 2],
    pub faults: IpvsFaults,
    /// The module of this scheduler is not there, now or ever.
    pub missing: Option<SchedulerName>,
    /// Someone has made a service of a protocol that is none, which is shown first.
    pub odd: bool,
    /// What was tried since the last look.
    pub tried: Vec<Tried>,
    family: u16,
    /// How often the family is asked for in vain before it is loaded.
    absent: u64,
    rows_per_datagram: usize,
    inbox: Inbox,
    dump: Option<Dump>,
    random: Random,
    pub faults_hit: u64,
}

impl IpvsKernel {
    pub fn new(mut random: Random) -> Self {
        Self {
            rows: Vec::new(),
            daemons: [None, None],
            faults: IpvsFaults::default(),
            missing: None,
            odd: false,
            tried: Vec::new(),
            family: 28,
            absent: 0,
            rows_per_datagram: random.index(4) + 1,
            inbox: Inbox::default(),
            dump: None,
            random,
            faults_hit: 0,
        }
    }

    /// A new process opens its socket.
    pub fn open(&mut self) {
        self.inbox = Inbox::default();
        self.dump = None;
    }

    /// `rmmod ip_vs`, and it is loaded again when someone asks, at once or when
    /// an operator has seen to it: another number, and an empty table.
    pub fn reload_module(&mut self, absent: u64) {
        self.forget();
        self.family += 1;
        self.absent = absent;
    }

    /// Nothing is left of what was told.
    pub fn forget(&mut self) {
        self.rows.clear();
        self.daemons = [None, None];
    }

    /// All faults end.
    pub fn calm(&mut self) {
        self.faults = IpvsFaults::default();
        self.absent = 0;
    }

    pub fn row(&self, key: &ServiceKey) -> Option<&Row> {
        self.rows.iter().find(|row| row.service.key == *key)
    }

    /// Changes the table, whoever asked: the errno, 0 for none.
    pub fn apply(&mut self, op: &Op) -> i32 {
        let found = self
            .rows
            .iter()
            .position(|r| r.service.key == *op.service());
        match op {
            Op::NewService(service) => {
                if found.is_some() {
                    return errno::EEXIST;
                }
                let at = self.random.index(self.rows.len() + 1);
                let row = Row {
                    service: service.clone(),
                    destinations: Vec::new(),
                };
                self.rows.insert(at, row);
            }
            Op::SetService(service) => {
                let Some(at) = found else { return errno::ESRCH };
                self.rows[at].service = service.clone();
            }
            Op::DeleteService(_) => {
                let Some(at) = found else { return errno::ESRCH };
                self.rows.remove(at);
            }
            Op::NewDestination(_, new) => {
                let Some(at) = found else { return errno::ESRCH };
                let all = &mut self.rows[at].destinations;
                if all.iter().any(|d| d.key == new.key) {
                    return errno::EEXIST;
                }
                all.insert(0, *new);
            }
            Op::SetDestination(_, new) => {
                let Some(at) = found else { return errno::ESRCH };
                let all = &mut self.rows[at].destinations;
                let Some(old) = all.iter_mut().find(|d| d.key == new.key) else {
                    return errno::ENOENT;
                };
                *old = *new;
            }
            Op::DeleteDestination(_, key) => {
                let Some(at) = found else { return errno::ESRCH };
                let all = &mut self.rows[at].destinations;
                let Some(place) = all.iter().position(|d| d.key == *key) else {
                    return errno::ENOENT;
                };
                all.remove(place);
            }
        }
        0
    }

    /// Carries out a datagram of requests.
    ///
    /// # Errors
    /// The errno of sendmsg(2).
    pub fn send(&mut self, datagram: &[u8]) -> Result<(), i32> {
        if self.random.chance(self.faults.send) {
            self.faults_hit += 1;
            return Err(errno::ENOBUFS);
        }
        for request in netlink::requests(datagram) {
            let answer = self.execute(&request);
            if answer != 0 {
                self.deliver(netlink::ack(&request, answer));
            } else if request.flags & netlink::ACK != 0 {
                self.answer(netlink::ack(&request, answer));
            }
        }
        Ok(())
    }

    /// Receives once; the kernel writes the next part of a dump after that.
    pub fn receive(&mut self) -> Option<Received> {
        let received = self.inbox.pop()?;
        self.go_on_dumping();
        Some(received)
    }

    /// Whether a dump is half done.
    pub fn is_dumping(&self) -> bool {
        self.dump.is_some()
    }

    pub fn is_quiet(&self) -> bool {
        self.inbox.is_empty()
    }

    fn execute(&mut self, request: &Request<'_>) -> i32 {
        if request.flags & netlink::REQUEST == 0 || request.kind == netlink::NOOP {
            return 0;
        }
        if request.kind == CONTROL && self.absent > 0 {
            self.absent -= 1;
            return errno::ENOENT;
        }
        if request.kind == CONTROL {
            let message = Message::new(CONTROL, 0, request.seq)
                .raw(&[1, 2, 0, 0])
                .attribute(2, b"IPVS\0")
                .attribute(1, &self.family.to_ne_bytes())
                .attribute(3, &1_u32.to_ne_bytes())
                .attribute(4, &0_u32.to_ne_bytes())
                .attribute(5, &6_u32.to_ne_bytes());
            self.answer(message.bytes());
            return 0;
        }
        if request.kind != self.family || self.absent > 0 {
            return errno::ENOENT;
        }
        let command = request.body[0];
        match command {
            // GET_SERVICE, GET_DEST and GET_DAEMON.
            4 | 8 | 11 if request.flags & netlink::DUMP == netlink::DUMP => {
                if self.dump.is_some() {
                    return errno::EBUSY;
                }
                if self.random.chance(self.faults.busy) {
                    self.faults_hit += 1;
                    return errno::EBUSY;
                }
                let of = match command {
                    4 => Table::Services,
                    8 => Table::Destinations(super::ipvs_request::key(request.body)),
                    _ => Table::Daemons,
                };
                self.dump = Some(Dump {
                    seq: request.seq,
                    of,
                    at: 0,
                });
                self.go_on_dumping();
                0
            }
            4 => {
                let key = super::ipvs_request::key(request.body);
                let Some(row) = self.row(&key) else {
                    return errno::ESRCH;
                };
                let message = service_message(self.family, request.seq, &row.service);
                self.answer(message.bytes());
                0
            }
            1..=3 | 5..=7 => {
                let op = decode(request.body);
                let before = self.row(op.service()).cloned();
                let answer = if self.random.chance(self.faults.refused) {
                    self.faults_hit += 1;
                    errno::ENOMEM
                } else if self.wants_missing(&op) {
                    errno::ENOENT
                } else {
                    self.apply(&op)
                };
                self.tried.push(Tried { op, answer, before });
                answer
            }
            9 | 10 => {
                if self.random.chance(self.faults.refused) {
                    self.faults_hit += 1;
                    return errno::ENOMEM;
                }
                self.change_daemon(command == 9, request.body)
            }
            _ => errno::EOPNOTSUPP,
        }
    }

    fn wants_missing(&self, op: &Op) -> bool {
        match op {
            Op::NewService(service) | Op::SetService(service) => {
                self.missing.as_ref() == Some(&service.scheduler)
            }
            Op::DeleteService(_)
            | Op::NewDestination(..)
            | Op::SetDestination(..)
            | Op::DeleteDestination(..) => false,
        }
    }

    fn change_daemon(&mut self, start: bool, body: &[u8]) -> i32 {
        let (state, daemon) = super::ipvs_request::daemon(body);
        let place = match state {
            1 | 2 => &mut self.daemons[state as usize - 1],
            _ => return errno::EINVAL,
        };
        match (start, &place) {
            (true, Some(_)) => return errno::EEXIST,
            (false, None) => return errno::ESRCH,
            (true, None) => *place = Some(daemon.expect("a start says where")),
            (false, Some(_)) => *place = None,
        }
        0
    }

    /// A success, a row, or the end of a dump.
    fn answer(&mut self, mut datagram: Vec<u8>) {
        if self.random.chance(self.faults.silent) {
            self.faults_hit += 1;
            return;
        }
        if self.random.chance(self.faults.strange) {
            self.faults_hit += 1;
            // Long past, or never asked.
            let seq = u32::try_from(self.random.below(1 << 32)).unwrap_or(0);
            self.deliver(netlink::done(seq, 0));
            let row = Service::new(
                ServiceKey::Fwmark {
                    mark: 4711,
                    family: Family::V4,
                },
                "rr".try_into().expect("short"),
            );
            self.deliver(service_message(self.family, seq, &row).bytes());
        }
        if self.random.chance(self.faults.malformed) {
            self.faults_hit += 1;
            let len = 1 + self.random.index(datagram.len() - 1);
            datagram.truncate(len);
        }
        self.deliver(datagram);
    }

    fn deliver(&mut self, datagram: Vec<u8>) {
        if self.random.chance(self.faults.lost) {
            self.faults_hit += 1;
            self.inbox.drop_one();
        } else {
            self.inbox.push(datagram);
        }
    }

    fn go_on_dumping(&mut self) {
        let Some(dump) = &self.dump else { return };
        let (seq, at) = (dump.seq, dump.at);
        let mut rows: Vec<Vec<u8>> = match &dump.of {
            Table::Services => self
                .rows
                .iter()
                .map(|row| service_message(self.family, seq, &row.service).bytes())
                .collect(),
            // Of a service that is not there the dump is empty, and no error.
            Table::Destinations(key) => self.row(key).map_or_else(Vec::new, |row| {
                let all = row.destinations.iter();
                all.map(|d| destination_message(self.family, seq, d).bytes())
                    .collect()
            }),
            Table::Daemons => {
                let each = self.daemons.iter().flatten();
                each.map(|d| daemon_message(self.family, seq, d).bytes())
                    .collect()
            }
        };
        if self.odd && matches!(dump.of, Table::Services) {
            rows.insert(0, odd_message(self.family, seq));
        }
        let part: Vec<u8> = rows
            .into_iter()
            .skip(at)
            .take(self.rows_per_datagram)
            .flatten()
            .collect();
        if part.is_empty() {
            self.dump = None;
            self.answer(netlink::done(seq, 0));
        } else {
            if let Some(dump) = &mut self.dump {
                dump.at += self.rows_per_datagram;
            }
            self.answer(part);
        }
    }
}

/// A service whose protocol is 0x106, which the kernel takes for a number.
fn odd_message(family: u16, seq: u32) -> Vec<u8> {
    let key = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::from([10, 1, 9, 9]),
        port: 80,
    };
    let service = Service::new(key, "rr".try_into().expect("short"));
    let mut bytes = service_message(family, seq, &service).bytes();
    let protocol = [6, 0, 2, 0, 6, 0];
    let at = bytes.windows(6).position(|six| six == protocol);
    bytes[at.expect("it has one") + 5] = 1;
    bytes
}

/// Whether a destination with this key is there.
pub fn has(row: &Row, key: &DestinationKey) -> bool {
    row.destinations.iter().any(|d| d.key == *key)
}
