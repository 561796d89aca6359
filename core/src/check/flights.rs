//! Whose answer a datagram is: probes of many targets go through few sockets, and
//! what comes back has an address and whatever its protocol repeats. Not a judge
//! of answers: a probe knows its own.
//!
//! Two probes are told apart by the port they left from, the target, and their
//! [`Sign`]. The probes of one check leave from the ports in turn, so that an answer
//! that comes after its probe was given up does not pass for one to the next, nor to
//! those after it until every port had its turn.

use super::config::Fnv;
use super::engine::SocketId;
use super::probe::{Spec, Syn, Token};
use crate::wire::tcp::{Answer, Quoted};
use core::hash::{Hash, Hasher};
use core::net::SocketAddr;

/// What every answer to a probe repeats, and every error that quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nothing that could be known beforehand.
    Nothing,
    /// The id of a DNS message, its first two bytes.
    Dns(u16),
    /// The identifier of a RADIUS packet, its second byte.
    Radius(u8),
    /// The sequence number of a SYN. Its answer acknowledges one more.
    Syn(u32),
}

impl Sign {
    /// The sign of a probe.
    #[must_use]
    pub const fn of(spec: &Spec<'_>, token: Token) -> Self {
        let [high, low] = token.id.to_be_bytes();
        match spec {
            Spec::Dns(_) => Self::Dns(u16::from_be_bytes([high, low])),
            Spec::Radius(_) => Self::Radius(low),
            Spec::Syn(_) => Self::Syn(Syn::sequence(token)),
            Spec::Stream(_)
            | Spec::Datagram(_)
            | Spec::Http(_)
            | Spec::Ping(_)
            | Spec::Agent(_)
            | Spec::Grpc(_)
            | Spec::Errand(_) => Self::Nothing,
        }
    }

    /// Whether an answer has it.
    fn is_in(self, answer: &[u8]) -> bool {
        match self {
            Self::Syn(sequence) => Answer::parse(answer)
                .is_ok_and(|answer| answer.acknowledgment == sequence.wrapping_add(1)),
            Self::Nothing | Self::Dns(_) | Self::Radius(_) => {
                self.is_quoted_in(answer) == Some(true)
            }
        }
    }

    /// Whether what was sent, or the beginning of it, has it; `None` if that is too
    /// little to tell.
    fn is_quoted_in(self, sent: &[u8]) -> Option<bool> {
        match (self, sent) {
            (Self::Nothing, _) => Some(true),
            (Self::Dns(id), [a, b, ..]) => Some(u16::from_be_bytes([*a, *b]) == id),
            (Self::Radius(id), [_, own, ..]) => Some(*own == id),
            (Self::Dns(_) | Self::Radius(_), _) => None,
            (Self::Syn(own), _) => {
                let quoted = Quoted::parse(sent).ok()?;
                Some(quoted.sequence == own)
            }
        }
    }

    /// Whether an answer to one of them may be one to the other. Of two SYNs from
    /// one port the second is to the target one more of the first's connection.
    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) | (Self::Syn(_), Self::Syn(_)) => true,
            (own, other) => own == other,
        }
    }
}

/// Room for one probe that is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    target: SocketAddr,
    token: [u8; 8],
    sign: Sign,
    port: u8,
    /// It is in a list, and the next one there.
    listed: bool,
    next: u32,
}

impl Flight {
    /// None, to fill storage with.
    pub const EMPTY: Self = Self {
        target: SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0),
        token: [0; 8],
        sign: Sign::Nothing,
        port: 0,
        listed: false,
        next: END,
    };
}

impl Default for Flight {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The end of a list, and a list without anything in it.
const END: u32 = u32::MAX;

/// The probes of one family that are on their way, in the owner's memory. See the
/// module.
#[derive(Debug)]
pub struct Flights<'s> {
    /// By seat, from the first one on.
    flights: &'s mut [Flight],
    first: u32,
    /// Lists, by a hash of port and target.
    lists: &'s mut [u32],
    ports: u8,
}

impl<'s> Flights<'s> {
    /// One flight for each seat from `first` on; as many lists are enough. The
    /// owner has so many ports, at least one.
    #[must_use]
    pub fn new(
        (flights, first): (&'s mut [Flight], SocketId),
        lists: &'s mut [u32],
        ports: u8,
    ) -> Self {
        // Those that were never listed are looked at and not touched.
        for flight in flights.iter_mut().filter(|flight| flight.listed) {
            *flight = Flight::EMPTY;
        }
        lists.fill(END);
        Self {
            flights,
            first: first.0,
            lists,
            ports: ports.max(1),
        }
    }

    /// The port that a probe leaves from: the one whose `turn` it is, or the next
    /// from which nothing is on its way whose answer could be taken for its own.
    /// `None` when there is none. A seat has one probe; `flies` says whether a seat
    /// still has the one with a token.
    pub fn depart(
        &mut self,
        (seat, token): (SocketId, [u8; 8]),
        target: SocketAddr,
        (sign, turn): (Sign, u8),
        flies: impl Fn(SocketId, [u8; 8]) -> bool,
    ) -> Option<u8> {
        self.forget(seat);
        for n in 0..self.ports {
            let port = turn.wrapping_add(n).checked_rem(self.ports)?;
            if !self.is_free(port, target, sign, &flies) {
                continue;
            }
            let list = self.list(port, target)?;
            let next = core::mem::replace(self.lists.get_mut(list)?, seat.0);
            *self.flight_mut(seat.0)? = Flight {
                target,
                token,
                sign,
                port,
                listed: true,
                next,
            };
            return Some(port);
        }
        None
    }

    /// The probes that are on their way from a port.
    pub fn from(&self, port: u8) -> impl Iterator<Item = (SocketId, [u8; 8])> {
        let seats = (self.first..).map(SocketId).zip(self.flights.iter());
        let listed = seats.filter(move |(_, flight)| flight.listed && flight.port == port);
        listed.map(|(seat, flight)| (seat, flight.token))
    }

    /// The probe that a datagram which came to a port answers. If it is nobody's,
    /// any that waits for an answer from there: it knows better.
    #[must_use]
    pub fn arrive(
        &self,
        port: u8,
        from: SocketAddr,
        bytes: &[u8],
        flies: impl Fn(SocketId, [u8; 8]) -> bool,
    ) -> Option<SocketId> {
        let mut any = None;
        for (seat, flight) in self.of(port, from) {
            if flies(seat, flight.token) {
                if flight.sign.is_in(bytes) {
                    return Some(seat);
                }
                any = any.or(Some(seat));
            }
        }
        any
    }

    /// The probe that an error is about which quotes the beginning of what was
    /// sent from a port. If it quotes too little, only if there is one it can be.
    #[must_use]
    pub fn refused(
        &self,
        port: u8,
        to: SocketAddr,
        bytes: &[u8],
        flies: impl Fn(SocketId, [u8; 8]) -> bool,
    ) -> Option<SocketId> {
        let mut unclear = None;
        let mut how_many = 0_u32;
        for (seat, flight) in self.of(port, to) {
            if !flies(seat, flight.token) {
                continue;
            }
            match flight.sign.is_quoted_in(bytes) {
                Some(true) => return Some(seat),
                Some(false) => {}
                None => {
                    unclear = Some(seat);
                    how_many = how_many.saturating_add(1);
                }
            }
        }
        unclear.filter(|_| how_many == 1)
    }

    /// Whether nothing from this port is like it; forgets what does not fly any
    /// more.
    fn is_free(
        &mut self,
        port: u8,
        target: SocketAddr,
        sign: Sign,
        flies: &impl Fn(SocketId, [u8; 8]) -> bool,
    ) -> bool {
        let list = self.list(port, target);
        let mut at = list.and_then(|list| self.lists.get(list)).copied();
        while let Some((seat, flight)) = at.and_then(|at| Some((SocketId(at), *self.flight(at)?))) {
            at = Some(flight.next);
            if flight.port != port || flight.target != target {
                continue;
            }
            if !flies(seat, flight.token) {
                self.forget(seat);
            } else if flight.sign.is_like(sign) {
                return false;
            }
        }
        true
    }

    /// All that left from a port to a target.
    fn of(&self, port: u8, target: SocketAddr) -> impl Iterator<Item = (SocketId, &Flight)> {
        let list = self.list(port, target);
        let mut at = list.and_then(|list| self.lists.get(list)).copied();
        let all = core::iter::from_fn(move || {
            let seat = SocketId(at?);
            let flight = self.flight(seat.0)?;
            at = Some(flight.next);
            Some((seat, flight))
        });
        all.filter(move |(_, flight)| flight.port == port && flight.target == target)
    }

    /// Takes a seat's flight out of its list.
    fn forget(&mut self, seat: SocketId) {
        let Some(Flight {
            target,
            port,
            listed: true,
            next,
            ..
        }) = self.flight(seat.0).copied()
        else {
            return;
        };
        let Some(list) = self.list(port, target) else {
            return;
        };
        let first = self.lists.get(list).copied();
        if first == Some(seat.0)
            && let Some(first) = self.lists.get_mut(list)
        {
            *first = next;
        } else {
            let mut at = first;
            while let Some(before) = at.and_then(|at| self.flight_mut(at)) {
                if before.next == seat.0 {
                    before.next = next;
                    break;
                }
                at = Some(before.next);
            }
        }
        if let Some(flight) = self.flight_mut(seat.0) {
            *flight = Flight::EMPTY;
        }
    }

    fn flight(&self, seat: u32) -> Option<&Flight> {
        self.flights.get(seat.checked_sub(self.first)? as usize)
    }

    fn flight_mut(&mut self, seat: u32) -> Option<&mut Flight> {
        self.flights.get_mut(seat.checked_sub(self.first)? as usize)
    }

    fn list(&self, port: u8, target: SocketAddr) -> Option<usize> {
        let mut hasher = Fnv::new(port.into());
        target.hash(&mut hasher);
        let lists = u64::try_from(self.lists.len()).ok()?;
        usize::try_from(hasher.finish().checked_rem(lists)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec;

    const SEATS: u32 = 12;
    const PORTS: u8 = 3;
    const FIRST: SocketId = SocketId(100);

    fn target(n: u8) -> SocketAddr {
        ([192, 0, 2, n], 53).into()
    }

    fn token(n: u64) -> [u8; 8] {
        n.to_be_bytes()
    }

    fn sign() -> impl Strategy<Value = Sign> {
        prop_oneof![
            Just(Sign::Nothing),
            (0..3_u16).prop_map(Sign::Dns),
            (0..3_u8).prop_map(Sign::Radius),
            (0..3_u32).prop_map(Sign::Syn),
        ]
    }

    #[test]
    fn the_probes_of_a_check_leave_from_the_ports_in_turn() {
        let (mut flights, mut lists) = ([Flight::EMPTY; 2], [0; 2]);
        let mut flights = Flights::new((&mut flights, FIRST), &mut lists, PORTS);
        for n in 0..6_u8 {
            let seat = (SocketId(100), token(n.into()));
            let port = flights.depart(seat, target(1), (Sign::Nothing, n), |_, _| true);
            assert_eq!(port, Some(n % PORTS));
            assert_eq!(flights.from(n % PORTS).collect::<vec::Vec<_>>(), [seat]);
            // Answers to those that were given up are nobody's.
            for late in (0..PORTS).filter(|port| *port != n % PORTS) {
                assert_eq!(flights.arrive(late, target(1), b"", |_, _| true), None);
            }
        }
    }

    #[test]
    fn a_stranger_is_shown_to_who_waits_and_a_short_quote_to_the_only_one() {
        let (mut flights, mut lists) = ([Flight::EMPTY; 4], [0; 4]);
        let mut flights = Flights::new((&mut flights, FIRST), &mut lists, 1);
        let all = |_, _| true;
        let one = flights.depart((SocketId(100), token(0)), target(1), (Sign::Dns(7), 0), all);
        assert_eq!(one, Some(0));
        assert_eq!(
            flights.arrive(0, target(1), &[0, 9], all),
            Some(SocketId(100))
        );
        assert_eq!(flights.arrive(0, target(2), &[0, 7], all), None);
        assert_eq!(flights.refused(0, target(1), &[], all), Some(SocketId(100)));
        assert_eq!(flights.refused(0, target(1), &[0, 9], all), None);
        let two = flights.depart((SocketId(101), token(1)), target(1), (Sign::Dns(8), 0), all);
        assert_eq!(two, Some(0));
        assert_eq!(flights.refused(0, target(1), &[], all), None);
        assert_eq!(
            flights.refused(0, target(1), &[0, 8], all),
            Some(SocketId(101))
        );
    }

    /// What answers a SYN, and what an error quotes of it.
    fn syn(sequence: u32) -> (vec::Vec<u8>, vec::Vec<u8>) {
        let mut segment = [0; 20];
        segment[8..12].copy_from_slice(&(sequence + 1).to_be_bytes());
        let mut quote = [0; 8];
        quote[4..].copy_from_slice(&sequence.to_be_bytes());
        (segment.to_vec(), quote.to_vec())
    }

    proptest! {
        /// As a plain map would have it: an answer leads to its own probe, and no
        /// two that are on their way could be taken for each other.
        #[test]
        fn an_answer_leads_to_its_probe(
            steps in prop::collection::vec((100..100 + SEATS, 0..4_u8, sign(), any::<bool>()), 0..200),
            lists in 1..20_usize,
        ) {
            let mut storage = [Flight::EMPTY; SEATS as usize];
            let mut lists = vec![0; lists];
            let mut flights = Flights::new((&mut storage, FIRST), &mut lists, PORTS);
            let mut model: BTreeMap<u32, (u64, u8, SocketAddr, Sign)> = BTreeMap::new();
            for (n, (seat, to, sign, gone)) in (0_u64..).zip(steps) {
                if gone {
                    model.remove(&seat);
                    continue;
                }
                model.remove(&seat);
                let to = target(to);
                let flies = |seat: SocketId, own: [u8; 8]| {
                    model.get(&seat.0).is_some_and(|(n, ..)| token(*n) == own)
                };
                let port = flights.depart((SocketId(seat), token(n)), to, (sign, u8::try_from(n % 7).unwrap()), flies);
                let free = |port: u8| !model.values().any(|(_, p, t, s)| {
                    *p == port && *t == to && s.is_like(sign)
                });
                match port {
                    None => prop_assert!((0..PORTS).all(|port| !free(port))),
                    Some(port) => {
                        prop_assert!(port < PORTS && free(port));
                        model.insert(seat, (n, port, to, sign));
                    }
                }
                let flies = |seat: SocketId, own: [u8; 8]| {
                    model.get(&seat.0).is_some_and(|(n, ..)| token(*n) == own)
                };
                for (seat, (_, port, to, sign)) in &model {
                    let (answer, quote) = match sign {
                        Sign::Nothing => (vec![], vec![]),
                        Sign::Dns(id) => (id.to_be_bytes().to_vec(), id.to_be_bytes().to_vec()),
                        Sign::Radius(id) => (vec![99, *id], vec![99, *id]),
                        Sign::Syn(sequence) => syn(*sequence),
                    };
                    let seat = Some(SocketId(*seat));
                    // A DNS id and a RADIUS identifier may be in the same bytes.
                    let alone = model.values().filter(|(_, p, t, _)| p == port && t == to).count() == 1;
                    if alone {
                        prop_assert_eq!(flights.arrive(*port, *to, &answer, flies), seat);
                        prop_assert_eq!(flights.refused(*port, *to, &quote, flies), seat);
                    }
                }
                for port in 0..PORTS {
                    for to in (0..4).map(target) {
                        let some = model.values().any(|(_, p, t, _)| *p == port && *t == to);
                        prop_assert_eq!(flights.arrive(port, to, &[], flies).is_some(), some);
                    }
                }
            }
        }
    }
}
