//! What a turn costs, by the number of instances and addresses.

use super::*;
use crate::director::plan::{HaPlan, Instance, VirtualAddress};
use crate::model::Family;
use crate::netlink::Errno;
use crate::route::InterfaceIndex;
use crate::vrrp::{AdvertForm, Centis, Received, RouterConfig, State};
use core::net::Ipv4Addr;
use std::vec;
use std::vec::Vec;

/// Memory of a half.
pub(super) struct Room {
    instances: [Vec<InstanceSlot>; 2],
    addresses: [Vec<AddressSlot>; 2],
    address_index: Vec<u32>,
    agenda: (Vec<Entry>, Vec<time::Slot>),
    adverts: Vec<Prepared>,
    interfaces: Vec<Interface>,
    tracks: Vec<TrackSlot>,
    cells: Vec<TrackState>,
    groups: Vec<GroupSlot>,
    records: Vec<Frame>,
}

impl Room {
    pub fn new(instances: usize, addresses: usize) -> Self {
        Self {
            instances: [(); 2].map(|()| vec![InstanceSlot::blank(); instances]),
            addresses: [(); 2].map(|()| vec![AddressSlot::BLANK; addresses]),
            address_index: vec![0; addresses],
            agenda: (
                vec![Entry::EMPTY; instances],
                vec![time::Slot::EMPTY; instances],
            ),
            adverts: vec![Prepared::EMPTY; instances],
            interfaces: vec![Interface::blank(); 2],
            tracks: vec![TrackSlot::BLANK; 2],
            cells: vec![TrackState::Unknown; 2],
            groups: vec![GroupSlot::BLANK; 2],
            records: vec![Frame::EMPTY; 4],
        }
    }

    pub fn ha(&mut self) -> Ha<'_> {
        let [a, b] = &mut self.instances;
        let [c, d] = &mut self.addresses;
        Ha::new(HaStorage {
            instances: [a, b],
            addresses: [c, d],
            address_index: &mut self.address_index,
            agenda: (&mut self.agenda.0, &mut self.agenda.1),
            adverts: &mut self.adverts,
            interfaces: &mut self.interfaces,
            tracks: &mut self.tracks,
            cells: &mut self.cells,
            groups: &mut self.groups,
            records: &mut self.records,
        })
    }
}

pub(super) fn instance(vrid: u8) -> Instance {
    Instance {
        name: "n".try_into().unwrap(),
        interface: "eth0".try_into().unwrap(),
        router: RouterConfig {
            interval: Centis::MIN,
            ..RouterConfig::new(vrid, Family::V4)
        },
        form: Some(AdvertForm::Rfc9568),
        ttl_min: vrrp::TTL,
        scope: crate::route::Scope::UNIVERSE,
        label: crate::director::plan::InterfaceName::new(),
        macvlan: None,
        peers: heapless::Vec::new(),
        addresses_first: 0,
        addresses_count: 0,
        followed: false,
        tracks: heapless::Vec::new(),
        group: None,
    }
}

mod chores;
mod kernel;
mod leftover;
mod lost;
mod macvlans;
mod moves;
mod notices;
mod refused;
mod settled;
mod stop;

const MAC: crate::wire::MacAddress = crate::wire::MacAddress([2, 0, 0, 0, 0, 1]);
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// So many routers with one address each, all on one interface that is ready,
/// and started.
fn started(room: &mut Room, count: u8, priority: u8) -> Ha<'_> {
    let mut instances: Vec<_> = (1..=count).map(instance).collect();
    let mut addresses = Vec::new();
    for planned in &mut instances {
        planned.router.priority = priority;
        planned.addresses_first = u32::from(planned.router.vrid) - 1;
        planned.addresses_count = 1;
        addresses.push(VirtualAddress {
            address: IpAddr::from([198, 51, 100, planned.router.vrid]),
            prefix: 32,
        });
    }
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &instances,
        addresses: &addresses,
        ..HaPlan::default()
    };
    ha.handle_plan(Instant::ZERO, &plan, &[]).unwrap();
    for slot in 0..usize::from(count) {
        ha.addresses
            .edit(slot, ha.instances, |slot| slot.presence = Presence::Present);
    }
    ha.interfaces[0].noting(false, |found| {
        found.handle_link(InterfaceIndex::new(2).unwrap(), Some(MAC), true);
    });
    ha.interfaces[0].handle_own_address(OWN.into(), true, false);
    for at in 0..usize::from(count) {
        let actions = ha.instances[at].start(Instant::ZERO, &mut ha.log);
        ha.apply(Instant::ZERO, at, actions);
    }
    ha
}

/// What the loop does in a turn. Returns how many adverts it sent.
fn turn(ha: &mut Ha<'_>, now: Instant) -> u64 {
    ha.handle_timeout(now);
    while ha.poll_memory().is_some() {}
    let mut sent = 0;
    while let Some(out) = ha.poll_advert(now) {
        ha.handle_advert_sent(now, out.instance, Ok(()));
        sent += 1;
    }
    while ha.poll_announcement(now, &mut [0; 96]).is_some() {}
    while ha.poll_memory().is_some() {}
    while ha.poll_notice().is_some() {}
    ha.prepare();
    sent
}

/// Instances looked at for each advert sent, or heard, among `count`.
fn looks(count: u8, priority: u8, heard: bool) -> (u64, u64) {
    let mut room = Room::new(255, 255);
    let mut ha = started(&mut room, count, priority);
    let mut now = Instant::ZERO;
    let (mut adverts, mut before) = (0, 0);
    let interval = Centis::MIN.duration();
    // The first interval has what happens once.
    for round in 0..100 {
        if round == 10 {
            (adverts, before) = (0, ha.counters.looks);
        }
        if heard {
            for vrid in 1..=count {
                let packet = advert(vrid);
                let received = Received::from_ipv4(&packet);
                ha.handle_packet(now, 0, received);
                adverts += 1;
            }
        }
        let until = now + interval;
        while let Some(next) = ha.poll_timeout().filter(|next| *next < until) {
            now = now.max(next);
            adverts += turn(&mut ha, now);
        }
        now = until;
    }
    (ha.counters.looks - before, adverts)
}

fn advert(vrid: u8) -> Vec<u8> {
    let mut bytes = [0; 64];
    let advert = vrrp::advert::Outgoing {
        vrid,
        priority: 200,
        interval: Centis::MIN,
        source: PEER.into(),
        destination: vrrp::group(Family::V4),
        form: AdvertForm::Rfc9568,
    };
    let address = IpAddr::from([198, 51, 100, vrid]);
    let len = encode_advert(&advert, None, core::iter::once(address), &mut bytes).unwrap();
    bytes[..len].to_vec()
}

#[test]
fn an_advert_sent_costs_the_same_among_many() {
    let (alone, sent_alone) = looks(1, 255, false);
    let (among, sent_among) = looks(255, 255, false);
    assert_eq!((sent_alone, sent_among), (90, 90 * 255));
    // At its deadline, sent, taken off the queue; and remembered twice.
    assert!(alone.div_ceil(sent_alone) <= 12, "{alone} for {sent_alone}");
    assert!(
        among * sent_alone <= alone * sent_among,
        "{among} for {sent_among}, {alone} for {sent_alone}"
    );
}

#[test]
fn an_advert_heard_costs_the_same_among_many() {
    let (alone, heard_alone) = looks(1, 100, true);
    let (among, heard_among) = looks(255, 100, true);
    assert_eq!((heard_alone, heard_among), (90, 90 * 255));
    assert!(
        alone.div_ceil(heard_alone) <= 4,
        "{alone} for {heard_alone}"
    );
    assert!(
        among * heard_alone <= alone * heard_among,
        "{among} for {heard_among}, {alone} for {heard_alone}"
    );
}

/// What an Active does that cannot send from `now` on, while a rival of lower
/// priority speaks, or none: the intervals until it is Active no more.
fn silenced(rival: bool) -> Option<u32> {
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 220);
    let mut now = Instant::ZERO;
    for round in 0..40 {
        let until = now + Centis::MIN.duration();
        while let Some(next) = ha.poll_timeout().filter(|next| *next < until) {
            now = now.max(next);
            ha.handle_timeout(now);
            while ha.poll_memory().is_some() {}
            while let Some(out) = ha.poll_advert(now) {
                let result = if round < 10 {
                    Ok(())
                } else {
                    Err(Errno::EPERM)
                };
                ha.handle_advert_sent(now, out.instance, result);
            }
            while ha.poll_announcement(now, &mut [0; 96]).is_some() {}
            while ha.poll_memory().is_some() {}
        }
        now = until;
        // Not before the peer's patience is over, and again and again then.
        if rival && round >= 13 {
            ha.handle_packet(now, 0, Received::from_ipv4(&advert(1)));
        }
        let active = matches!(ha.instances()[0].router.state(), State::Active { .. });
        if round > 10 && !active {
            return Some(round - 10);
        }
    }
    None
}

#[test]
fn an_active_that_cannot_send_yields_to_who_can_and_to_nobody_else() {
    assert_eq!(silenced(true), Some(3));
    assert_eq!(silenced(false), None);
}

#[test]
fn who_yielded_because_it_could_not_send_does_not_preempt_at_once() {
    let mut router = vrrp::Router::new(RouterConfig {
        priority: 255,
        ..RouterConfig::new(1, Family::V4)
    });
    let _ = router.handle_startup(Instant::ZERO, None);
    let packet = advert(1);
    let received = Received::from_ipv4(&packet).unwrap();
    let advert = vrrp::Advert::parse(received).unwrap();
    let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
    let hear = |router: &mut vrrp::Router, ms| {
        router.handle_advert(at(ms), &advert, PEER.into(), OWN.into())
    };
    let actions = router.handle_advert_silenced(at(1), &advert, PEER.into(), OWN.into());
    let why = actions.transition.map(|t| t.why);
    assert_eq!(why, Some(vrrp::Reason::CannotSpeak));
    for ms in (10..30_000).step_by(10) {
        let _ = hear(&mut router, ms);
        assert_eq!(router.handle_timeout(at(ms)), vrrp::Actions::NOOP);
    }
    // The owner preempts again, by its timer.
    for ms in (30_000..30_100).step_by(10) {
        let _ = hear(&mut router, ms);
        let _ = router.handle_timeout(at(ms));
    }
    assert!(matches!(router.state(), State::Active { .. }));
}

#[test]
fn auto_answers_as_it_is_spoken_to_and_begins_as_most_do() {
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 100);
    ha.instances[0].config.form = None;
    let form = |ha: &Ha<'_>| ha.instances()[0].form();
    assert_eq!(form(&ha), AdvertForm::Rfc5798);
    ha.handle_packet(Instant::ZERO, 0, Received::from_ipv4(&advert(1)));
    assert_eq!(form(&ha), AdvertForm::Rfc9568);
    ha.instances[0].config.form = Some(AdvertForm::Rfc5798);
    assert_eq!(form(&ha), AdvertForm::Rfc5798);
}

#[test]
fn a_unicast_peer_may_be_as_far_as_agreed_and_a_multicast_one_not() {
    let mut room = Room::new(1, 1);
    let mut ha = started(&mut room, 1, 100);
    ha.instances[0].config.ttl_min = 254;
    let hear = |ha: &mut Ha<'_>, ttl| {
        let packet = advert(1);
        let received = Received::from_ipv4(&packet).unwrap();
        ha.handle_packet(Instant::ZERO, 0, Ok(Received { ttl, ..received }));
        ha.instances()[0].router.counters().received
    };
    assert_eq!((hear(&mut ha, 254), hear(&mut ha, 255)), (0, 1));
    ha.instances[0].config.peers.push(PEER.into()).unwrap();
    assert_eq!((hear(&mut ha, 253), hear(&mut ha, 254)), (1, 2));
    assert_eq!(ha.counters().rejects.ttl, 2);
}

#[test]
fn a_router_is_woken_for_its_own_deadline_and_none_is_forgotten() {
    let mut room = Room::new(255, 255);
    let mut ha = started(&mut room, 255, 100);
    let mut now = Instant::ZERO;
    for round in 0..200 {
        let active = |ha: &Ha<'_>| {
            let states = ha.instances().iter().map(|slot| slot.router.state());
            states
                .filter(|state| matches!(state, State::Active { .. }))
                .count()
        };
        // The even ones fall silent one after the other, the odd ones never.
        for vrid in 1..=255_u8 {
            if vrid % 2 == 1 || round < usize::from(vrid) / 2 {
                let packet = advert(vrid);
                ha.handle_packet(now, 0, Received::from_ipv4(&packet));
            }
        }
        let until = now + Centis::MIN.duration();
        while let Some(next) = ha.poll_timeout().filter(|next| *next < until) {
            now = now.max(next);
            turn(&mut ha, now);
            // The wheel sorts so many timers at once, and asks to be called again.
            if ha.poll_timeout().is_some_and(|next| next <= now) {
                continue;
            }
            for slot in ha.instances() {
                let overdue = slot.poll_timeout().is_some_and(|at| at <= now);
                assert!(!overdue, "{:?} at {now:?}", slot.router.state());
            }
        }
        now = until;
        let silent = round.saturating_sub(4).min(127);
        assert!(active(&ha) >= silent.saturating_sub(4), "round {round}");
    }
    assert!(ha.counters.adverts_sent > 0);
}

#[test]
fn nobody_takes_over_while_packets_wait_to_be_heard() {
    let mut room = Room::new(2, 2);
    let mut ha = started(&mut room, 2, 100);
    turn(&mut ha, Instant::ZERO);
    let now = Instant::ZERO + Centis::MIN.duration() * 5;
    let active = |ha: &Ha<'_>| {
        let states = ha.instances().iter().map(|slot| slot.router.state());
        states
            .map(|state| matches!(state, State::Active { .. }))
            .collect::<Vec<_>>()
    };
    ha.handle_timeout_unheard(now);
    assert_eq!(active(&ha), [false, false]);
    let next = ha.poll_timeout().unwrap();
    assert!(now < next && next <= now + PUT_OFF, "{next:?}");
    assert!(ha.free_until().is_some_and(|until| now < until));
    let packet = advert(1);
    ha.handle_packet(now, 0, Received::from_ipv4(&packet));
    ha.handle_timeout(next);
    assert_eq!(active(&ha), [false, true]);
}

/// The kernel's word that a datagram's last request is done: of a dump, or of a
/// batch.
fn done(request: &[u8], dump: bool) -> Vec<u8> {
    let seq = if dump {
        &request[8..12]
    } else {
        &request[request.len() - 8..request.len() - 4]
    };
    let (kind, body) = if dump { (3_u16, 4_u16) } else { (2, 20) };
    let mut reply = Vec::new();
    reply.extend((16 + u32::from(body)).to_ne_bytes());
    reply.extend(kind.to_ne_bytes());
    reply.extend((if dump { 2_u16 } else { 0 }).to_ne_bytes());
    reply.extend(seq);
    reply.resize(16 + usize::from(body), 0);
    reply
}

/// How many addresses are compared until so many are on the interface, and
/// announced.
fn compared(count: u32) -> u64 {
    let now = Instant::ZERO;
    let mut planned = instance(1);
    planned.router.priority = 255;
    planned.addresses_count = count;
    let addresses: Vec<_> = (0..count)
        .map(|n| VirtualAddress {
            address: Ipv4Addr::from(0x0a00_0000 + n).into(),
            prefix: 32,
        })
        .collect();
    let mut room = Room::new(1, addresses.len());
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &[planned],
        addresses: &addresses,
        ..HaPlan::default()
    };
    ha.handle_plan(now, &plan, &[]).unwrap();
    let mut buffer = vec![0; 32 * 1024];
    for _ in 0..2 {
        let len = ha.poll_route(now, &mut buffer).unwrap();
        ha.handle_route(now, &done(&buffer[..len], true));
    }
    ha.interfaces[0].noting(false, |found| {
        found.handle_link(InterfaceIndex::new(2).unwrap(), Some(MAC), true);
    });
    ha.interfaces[0].handle_own_address(OWN.into(), true, false);
    let actions = ha.instances[0].start(now, &mut ha.log);
    ha.apply(now, 0, actions);
    assert_eq!(turn(&mut ha, now), 1);
    assert_eq!(ha.counters().announcements, 0, "none is there yet");
    while let Some(len) = ha.poll_route(now, &mut buffer) {
        ha.handle_route(now, &done(&buffer[..len], false));
    }
    turn(&mut ha, now);
    assert_eq!(ha.route_counters().adds, u64::from(count));
    assert_eq!(ha.counters().announcements, u64::from(count));
    ha.route_counters().compared
}

#[test]
fn many_addresses_cost_their_number_and_not_its_square() {
    let (few, many) = (compared(500), compared(5_000));
    assert!(few <= 3 * 500, "{few}");
    assert!(many <= 3 * 5_000, "{many}");
}
