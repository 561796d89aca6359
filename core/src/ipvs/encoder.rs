//! Changes to bytes, fast: what consecutive changes have in common is copied.
//! Byte for byte what [`request::change`] writes.
//!
//! A table is programmed service by service, so all but a few fields of a
//! request are those of the request before: the headers and the key of the
//! service, its *head*. The *tail* has a length that is known beforehand. No head
//! is built here: it is what [`request::change`] wrote for the first of them.
//!
//! ```text
//! 0        16       20                56      60                       108
//! | nlmsg  | genl   | SERVICE { key } | DEST { | ADDR PORT FWD WEIGHT UT LT } |
//! |<---------------- head ------------------->|<----------- tail ----------->|
//! ```

use super::{Command, Refused, destination as d, request};
use crate::model::{Destination, DestinationKey, Family, ServiceKey, Tunnel};
use crate::netlink::Batch;
use crate::netlink::genl::FamilyId;
use crate::reconcile::Change;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{Immutable, IntoBytes, Unaligned};

/// Encodes the changes of a table, one batch or many, for as long as the family
/// has its number. About 120 bytes, and never more memory.
#[derive(Clone, Debug)]
pub struct Encoder {
    family: FamilyId,
    /// Of which requests `head` is, if of any.
    shape: Option<Shape>,
    /// The same as one number, where [`common`] has one.
    common: Option<u64>,
    head: [u8; HEAD_BYTES_MAX],
    /// How much of it is one.
    head_bytes: usize,
}

/// What decides a head, and the length of the tail with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    command: Command,
    /// Whether the tail ends with a tunnel.
    tunnelled: bool,
    key: ServiceKey,
}

/// Bytes of the longest head: headers, an IPv6 key, and the destination's nest
/// opened.
const HEAD_BYTES_MAX: usize = 72;
/// Bytes of the head where [`common`] has a number.
const COMMON_HEAD_BYTES: usize = 60;

impl Encoder {
    /// An encoder of requests to the family.
    #[must_use]
    pub const fn new(family: FamilyId) -> Self {
        Self {
            family,
            shape: None,
            common: None,
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
        }
    }

    /// Appends the request that carries out `change` and returns its sequence
    /// number. It asks for no ack: end the batch with a barrier.
    ///
    /// # Errors
    /// Those of [`request::change`].
    #[inline]
    pub fn change(&mut self, batch: &mut Batch<'_>, change: &Change<'_>) -> Result<u32, Refused> {
        match self.common(batch, change) {
            Some(seq) => Ok(seq),
            None => self.any(batch, change),
        }
    }

    /// What most requests are, small enough to become part of the caller's loop:
    /// a destination of an IPv4 service is made or changed, and in no tunnel but
    /// a plain one.
    #[inline]
    fn common(&self, batch: &mut Batch<'_>, change: &Change<'_>) -> Option<u32> {
        let (command, key, it) = match *change {
            Change::AddDestination(key, it) => (Command::NEW_DEST, key, it),
            Change::SetDestination(key, it) => (Command::SET_DEST, key, it),
            Change::AddService(_)
            | Change::SetService(_)
            | Change::DeleteService(_)
            | Change::DeleteDestination(..) => return None,
        };
        let IpAddr::V4(to) = it.key.address else {
            return None;
        };
        let at_hand = self.common? == common(command, key)? && it.tunnel == Tunnel::IPIP;
        if !at_hand || request::breaks_a_rule(Family::V4, it) {
            return None;
        }
        let tail = Plain {
            key: key4(to, it.key.port),
            settings: settings(it),
        };
        let head = self.head.first_chunk::<COMMON_HEAD_BYTES>()?;
        batch.ready(head, COMMON_HEAD_BYTES, &tail)
    }

    /// Any request, copied if its head is at hand.
    #[inline(never)]
    fn any(&mut self, batch: &mut Batch<'_>, change: &Change<'_>) -> Result<u32, Refused> {
        let copied = match change {
            Change::AddDestination(key, it) => self.whole(batch, Command::NEW_DEST, key, it),
            Change::SetDestination(key, it) => self.whole(batch, Command::SET_DEST, key, it),
            Change::DeleteDestination(key, it) => self.key(batch, key, it),
            Change::AddService(_) | Change::SetService(_) | Change::DeleteService(_) => None,
        };
        match copied {
            Some(seq) => Ok(seq),
            None => self.first(batch, change),
        }
    }

    /// A request with all of a destination, if its head is at hand and it breaks
    /// no rule.
    #[inline]
    fn whole(
        &self,
        batch: &mut Batch<'_>,
        command: Command,
        of: &ServiceKey,
        it: &Destination,
    ) -> Option<u32> {
        let tunnelled = it.tunnel != Tunnel::IPIP;
        if !self.is_of(command, tunnelled, of) || request::breaks_a_rule(of.family(), it) {
            return None;
        }
        let settings = settings(it);
        match (it.key.address, of.family()) {
            (IpAddr::V4(to), Family::V4) => {
                let key = key4(to, it.key.port);
                if tunnelled {
                    let tunnel = tunnel(&it.tunnel);
                    self.ready(
                        batch,
                        &Tunnelled {
                            key,
                            settings,
                            tunnel,
                        },
                    )
                } else {
                    self.ready(batch, &Plain { key, settings })
                }
            }
            (IpAddr::V6(to), Family::V6) => {
                let key = key6(to, it.key.port);
                if tunnelled {
                    let tunnel = tunnel(&it.tunnel);
                    self.ready(
                        batch,
                        &Tunnelled {
                            key,
                            settings,
                            tunnel,
                        },
                    )
                } else {
                    self.ready(batch, &Plain { key, settings })
                }
            }
            (IpAddr::V4(_), Family::V6) | (IpAddr::V6(_), Family::V4) => None,
        }
    }

    /// A request with the key of a destination, if its head is at hand.
    #[inline]
    fn key(&self, batch: &mut Batch<'_>, of: &ServiceKey, it: &DestinationKey) -> Option<u32> {
        if !self.is_of(Command::DEL_DEST, false, of) {
            return None;
        }
        match (it.address, of.family()) {
            (IpAddr::V4(to), Family::V4) => self.ready(batch, &key4(to, it.port)),
            (IpAddr::V6(to), Family::V6) => self.ready(batch, &key6(to, it.port)),
            (IpAddr::V4(_), Family::V6) | (IpAddr::V6(_), Family::V4) => None,
        }
    }

    /// Whether `head` is that of such requests.
    #[inline]
    fn is_of(&self, command: Command, tunnelled: bool, key: &ServiceKey) -> bool {
        self.shape.as_ref().is_some_and(|shape| {
            shape.command == command && shape.tunnelled == tunnelled && shape.key == *key
        })
    }

    #[inline]
    fn ready<T: IntoBytes + Immutable>(&self, batch: &mut Batch<'_>, tail: &T) -> Option<u32> {
        batch.ready(&self.head, self.head_bytes, tail)
    }

    /// Any request, whose head is kept if the next one may have the same.
    fn first(&mut self, batch: &mut Batch<'_>, change: &Change<'_>) -> Result<u32, Refused> {
        let start = batch.mark();
        let seq = request::change(batch, self.family, change)?;
        if let Some((shape, tail_bytes)) = shape(change) {
            let written = batch.written(start);
            let head = written.get(..written.len().saturating_sub(tail_bytes));
            if let Some(head) = head
                && let Some(room) = self.head.get_mut(..head.len())
            {
                room.copy_from_slice(head);
                self.head_bytes = head.len();
                self.common = if shape.tunnelled {
                    None
                } else {
                    common(shape.command, &shape.key)
                };
                self.shape = Some(shape);
            }
        }
        Ok(seq)
    }
}

/// The command and the key of an IPv4 service as one number.
#[inline]
fn common(command: Command, key: &ServiceKey) -> Option<u64> {
    match key {
        ServiceKey::Address {
            protocol,
            address: IpAddr::V4(address),
            port,
        } => {
            let [a, b, c, d] = address.octets();
            let [p0, p1] = port.to_ne_bytes();
            Some(u64::from_ne_bytes([
                a, b, c, d, p0, p1, protocol.0, command.0,
            ]))
        }
        ServiceKey::Address { .. } | ServiceKey::Fwmark { .. } => None,
    }
}

/// The shape of a change's request and the bytes of its tail, if it has one:
/// it is about a destination, of the service's own family.
fn shape(change: &Change<'_>) -> Option<(Shape, usize)> {
    let (command, key, at, tunnelled) = match *change {
        Change::AddDestination(key, it) => {
            (Command::NEW_DEST, key, &it.key, it.tunnel != Tunnel::IPIP)
        }
        Change::SetDestination(key, it) => {
            (Command::SET_DEST, key, &it.key, it.tunnel != Tunnel::IPIP)
        }
        Change::DeleteDestination(key, at) => (Command::DEL_DEST, key, at, false),
        Change::AddService(_) | Change::SetService(_) | Change::DeleteService(_) => return None,
    };
    let tail_bytes = match (Family::of(&at.address), command, tunnelled) {
        (Family::V4, Command::DEL_DEST, _) => size_of::<Key4>(),
        (Family::V6, Command::DEL_DEST, _) => size_of::<Key6>(),
        (Family::V4, _, false) => size_of::<Plain<Key4>>(),
        (Family::V6, _, false) => size_of::<Plain<Key6>>(),
        (Family::V4, _, true) => size_of::<Tunnelled<Key4>>(),
        (Family::V6, _, true) => size_of::<Tunnelled<Key6>>(),
    };
    let shape = Shape {
        command,
        tunnelled,
        key: *key,
    };
    (Family::of(&at.address) == key.family()).then_some((shape, tail_bytes))
}

/// An attribute of up to four bytes, padded.
type Attribute = [u8; 8];

/// The destination's key in an IPv4 service.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Key4 {
    address: Attribute,
    port: Attribute,
}

/// The destination's key in an IPv6 service.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Key6 {
    header: [u8; 4],
    address: [u8; 16],
    port: Attribute,
}

/// A destination in a plain tunnel, or in none.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Plain<K: Unaligned> {
    key: K,
    settings: [Attribute; 4],
}

/// A destination in another tunnel.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct Tunnelled<K: Unaligned> {
    key: K,
    settings: [Attribute; 4],
    tunnel: [Attribute; 3],
}

#[inline]
fn key4(address: Ipv4Addr, port: u16) -> Key4 {
    Key4 {
        address: four(d::ADDRESS, address.to_bits().to_be_bytes()),
        port: two(d::PORT, port.to_be_bytes()),
    }
}

#[inline]
fn key6(address: Ipv6Addr, port: u16) -> Key6 {
    Key6 {
        header: header(20, d::ADDRESS),
        address: address.octets(),
        port: two(d::PORT, port.to_be_bytes()),
    }
}

#[inline]
fn settings(it: &Destination) -> [Attribute; 4] {
    [
        four(d::FORWARD, u32::from(it.forward.0).to_ne_bytes()),
        four(d::WEIGHT, it.weight.to_ne_bytes()),
        four(d::UPPER_THRESHOLD, it.upper_threshold.to_ne_bytes()),
        four(d::LOWER_THRESHOLD, it.lower_threshold.to_ne_bytes()),
    ]
}

#[inline]
fn tunnel(it: &Tunnel) -> [Attribute; 3] {
    let [l0, l1, k0, k1] = header(5, d::TUNNEL_TYPE);
    [
        [l0, l1, k0, k1, it.kind.0, 0, 0, 0],
        two(d::TUNNEL_PORT, it.port.to_be_bytes()),
        two(d::TUNNEL_FLAGS, it.flags.bits().to_ne_bytes()),
    ]
}

#[inline]
fn four(kind: u16, [a, b, c, d]: [u8; 4]) -> Attribute {
    let [l0, l1, k0, k1] = header(8, kind);
    [l0, l1, k0, k1, a, b, c, d]
}

#[inline]
fn two(kind: u16, [a, b]: [u8; 2]) -> Attribute {
    let [l0, l1, k0, k1] = header(6, kind);
    [l0, l1, k0, k1, a, b, 0, 0]
}

/// `struct nlattr`.
#[inline]
fn header(bytes: u16, kind: u16) -> [u8; 4] {
    let ([l0, l1], [k0, k1]) = (bytes.to_ne_bytes(), kind.to_ne_bytes());
    [l0, l1, k0, k1]
}
