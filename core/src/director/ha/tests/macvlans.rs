//! A virtual router with a MAC address of its own: what its macvlan needs, and
//! what goes where.

use super::*;
use crate::director::ha::macvlan::{MODE, Macvlan, Need};
use crate::netlink::{Batch, Flags, MessageType};
use crate::route::{Link, LinkFlags, LinkGroup, LinkKind, LinkName, OperationalState};
use crate::vrrp::virtual_mac;
use crate::wire::MacAddress;
use crate::wire::ethernet::Ethernet;

const LOWER: InterfaceIndex = InterfaceIndex::new(2).unwrap();
const OTHER: InterfaceIndex = InterfaceIndex::new(3).unwrap();
const ABOVE: InterfaceIndex = InterfaceIndex::new(9).unwrap();

fn with_macvlan(vrid: u8) -> Instance {
    Instance {
        macvlan: Some("vrrp.1".try_into().unwrap()),
        ..instance(vrid)
    }
}

pub(super) fn link(change: impl FnOnce(&mut Link)) -> Link {
    let mut link = Link {
        index: ABOVE,
        name: LinkName::new(b"vrrp.1").unwrap(),
        mac: Some(virtual_mac(Family::V4, 1)),
        flags: LinkFlags::empty(),
        state: OperationalState::DOWN,
        mtu: 1500,
        upper: None,
        lower: Some(LOWER),
        group: LinkGroup::TRUNNION,
        kind: LinkKind::new(b"macvlan").ok(),
        mode: Some(MODE),
    };
    change(&mut link);
    link
}

fn slot(found: Option<Link>, wanted: Option<bool>) -> InstanceSlot {
    let mut slot = InstanceSlot::new(with_macvlan(1));
    slot.macvlan.noting(false, found);
    slot.wanted = wanted;
    slot
}

#[test]
fn what_a_macvlan_needs_follows_from_what_it_is_and_what_the_router_wants() {
    let up = |link: &mut Link| link.flags = LinkFlags::UP;
    let same = |_: &mut Link| {};
    let on = Some(true);
    let off = Some(false);
    for (found, wanted, expect) in [
        (None, on, Need::Make),
        (None, None, Need::Make),
        (Some(link(same)), None, Need::Nothing),
        (Some(link(same)), off, Need::Nothing),
        (Some(link(same)), on, Need::Raise(ABOVE)),
        (Some(link(up)), on, Need::Nothing),
        (Some(link(up)), off, Need::Lower(ABOVE)),
        // Nothing was decided: what an earlier run left goes on.
        (Some(link(up)), None, Need::Nothing),
        // Made, and whoever made it died.
        (
            Some(link(|link| link.group = LinkGroup::DEFAULT)),
            on,
            Need::Make,
        ),
        // On another interface, of another router, in another mode.
        (
            Some(link(|link| link.lower = Some(OTHER))),
            on,
            Need::Delete(ABOVE),
        ),
        (
            Some(link(|link| link.mac = Some(virtual_mac(Family::V4, 7)))),
            on,
            Need::Delete(ABOVE),
        ),
        (
            Some(link(|link| {
                link.group = LinkGroup::DEFAULT;
                link.mode = Some(crate::route::MacvlanMode::PRIVATE);
            })),
            on,
            Need::Delete(ABOVE),
        ),
        // Somebody else's: no macvlan, or one with an address of its own.
        (Some(link(|link| link.mode = None)), on, Need::Nothing),
        (
            Some(link(|link| {
                link.group = LinkGroup::DEFAULT;
                link.mac = Some(MacAddress([2, 0, 0, 0, 0, 1]));
            })),
            on,
            Need::Nothing,
        ),
    ] {
        let slot = slot(found, wanted);
        assert_eq!(slot.need(Some(LOWER)), expect, "{found:?}, {wanted:?}");
    }
    // Without an interface beneath there is nothing to make.
    assert_eq!(slot(None, on).need(None), Need::Nothing);
    let mut retired = slot(Some(link(up)), off);
    retired.retire = true;
    assert_eq!(retired.need(Some(LOWER)), Need::Delete(ABOVE));
    let mut plain = slot(Some(link(up)), on);
    plain.config.macvlan = None;
    assert_eq!(plain.need(Some(LOWER)), Need::Delete(ABOVE));
    assert_eq!(plain.virtual_mac(), None);
}

/// A half with one router whose plan names a macvlan, its interface ready.
pub(super) fn half(room: &mut Room) -> Ha<'_> {
    let mut planned = with_macvlan(1);
    planned.addresses_count = 1;
    let addresses = [VirtualAddress {
        address: IpAddr::from([198, 51, 100, 1]),
        prefix: 24,
    }];
    let mut ha = room.ha();
    let plan = HaPlan {
        instances: &[planned],
        addresses: &addresses,
        ..HaPlan::default()
    };
    ha.handle_plan(Instant::ZERO, &plan, &[]).unwrap();
    let done = dump_done(&mut ha, Instant::ZERO);
    assert!(done, "both dumps are over");
    ha.interfaces[0].noting(false, |found| {
        found.handle_link(LOWER, Some(MAC), true);
    });
    ha.interfaces[0].handle_own_address(OWN.into(), true, false);
    ha
}

/// Answers both dumps with nothing.
fn dump_done(ha: &mut Ha<'_>, now: Instant) -> bool {
    dump_shows(ha, now, &[])
}

/// Answers both dumps, the first one with these links.
pub(super) fn dump_shows(ha: &mut Ha<'_>, now: Instant, links: &[Link]) -> bool {
    let mut buf = [0; 512];
    for dump in 0..4 {
        let Some(len) = ha.poll_route(now, &mut buf) else {
            break;
        };
        let seq = u32::from_ne_bytes(buf[8..12].try_into().unwrap());
        for link in links.iter().filter(|_| dump == 0) {
            ha.handle_route(now, &told(link, Some(seq)));
        }
        let mut done = std::vec![0; 20];
        done[..4].copy_from_slice(&20_u32.to_ne_bytes());
        done[4..6].copy_from_slice(&3_u16.to_ne_bytes());
        done[6..8].copy_from_slice(&2_u16.to_ne_bytes());
        done[8..12].copy_from_slice(&buf[8..12]);
        assert!(len >= 16);
        ha.handle_route(now, &done);
    }
    ha.is_known()
}

/// What the kernel says of a macvlan: a row of the dump of that number, or an
/// event.
pub(super) fn told(link: &Link, dump: Option<u32>) -> Vec<u8> {
    let mut buffer = vec![0; 512];
    let mut batch = Batch::new(&mut buffer, dump.unwrap_or(0));
    let many = dump.map_or(Flags::empty(), |_| Flags::MULTI);
    let written = batch.message(MessageType(16), many, |body| {
        body.raw(&[0, 0, 1, 0]);
        body.raw(&link.index.get().to_ne_bytes());
        body.raw(&link.flags.bits().to_ne_bytes());
        body.raw(&[0xff; 4]);
        body.bytes(3, &[link.name.as_bytes(), &[0]].concat());
        link.mac.iter().for_each(|mac| body.bytes(1, &mac.0));
        let lower = link.lower.iter();
        lower.for_each(|lower| body.u32(5, lower.get()));
        body.u32(27, link.group.0);
        body.nest(18, |info| {
            info.text(1, "macvlan");
            info.nest(2, |data| data.u32(1, MODE.0));
        });
    });
    written.unwrap();
    batch.finish().to_vec()
}

#[test]
fn a_macvlan_is_asked_for_once_a_second_and_the_router_waits() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
    ha.settle(at(0));
    let barred = |ha: &Ha<'_>| ha.instances()[0].barred();
    assert_eq!(barred(&ha), Some(Bar::Macvlan(NoMacvlan::NotYet)));
    ha.chores.mark_dirty();
    let Some(Chore::Make(wanted)) = ha.poll_chore(at(0)) else {
        panic!("it is to be made");
    };
    assert_eq!(
        (wanted.link.lower, wanted.link.mac, wanted.link.mode),
        (LOWER, virtual_mac(Family::V4, 1), MODE)
    );
    assert_eq!(ha.poll_chore(at(1)), None);
    ha.chores.mark_dirty();
    assert_eq!(ha.poll_chore(at(999)), None, "once is enough");
    // In vain, and again in vain: now it is said.
    for (second, why) in [(1, NoMacvlan::NotYet), (2, NoMacvlan::Failed)] {
        ha.handle_timeout(at(1_000 * second));
        assert_eq!(barred(&ha), Some(Bar::Macvlan(why)));
        assert!(matches!(
            ha.poll_chore(at(1_000 * second)),
            Some(Chore::Make(_))
        ));
    }
    // There it is.
    ha.instances[0].macvlan.noting(false, Some(link(|_| {})));
    ha.settle(at(3_100));
    assert_eq!(barred(&ha), None);
    assert!(ha.instances()[0].started);
    assert_eq!(ha.poll_chore(at(3_100)), None);
}

#[test]
fn an_interface_that_is_made_again_waits_for_no_chore_of_the_one_before() {
    for between in [false, true] {
        let mut room = Room::new(4, 4);
        let mut ha = half(&mut room);
        let now = Instant::ZERO;
        let lower = |chore: Option<Chore>| match chore {
            Some(Chore::Make(wanted)) => Some(wanted.link.lower),
            _ => None,
        };
        assert_eq!(lower(ha.poll_chore(now)), Some(LOWER));
        assert_eq!(ha.poll_chore(now), None);
        let there = super::kernel::link("eth0", MAC, true, 0, false);
        let (mut gone, mut made) = (there.clone(), there);
        gone[4..6].copy_from_slice(&17_u16.to_ne_bytes());
        made[20..24].copy_from_slice(&OTHER.get().to_ne_bytes());
        ha.handle_route(now, &gone);
        if between {
            assert_eq!(ha.poll_chore(now), None, "there is nothing to make it on");
        }
        ha.handle_route(now, &made);
        assert_eq!(lower(ha.poll_chore(now)), Some(OTHER));
        assert_eq!(ha.poll_chore(now), None);
    }
}

#[test]
fn what_an_earlier_run_left_up_goes_down_while_the_router_is_held_back() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let up = link(|link| link.flags = LinkFlags::UP);
    ha.handle_route(Instant::ZERO, &told(&up, None));
    assert_eq!(ha.poll_chore(Instant::ZERO), None, "nothing was decided");
    ha.not_before = Instant::from_nanos(60_000_000_000);
    ha.settle(Instant::ZERO);
    assert_eq!(ha.instances()[0].barred(), Some(Bar::Delay));
    assert_eq!(ha.poll_chore(Instant::ZERO), Some(Chore::Lower(ABOVE)));
}

#[test]
fn one_that_a_reload_wants_no_more_is_deleted_even_half_made() {
    for group in [LinkGroup::DEFAULT, LinkGroup::TRUNNION] {
        let mut room = Room::new(4, 4);
        let mut ha = half(&mut room);
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let left = link(|link| link.group = group);
        ha.handle_route(at(0), &told(&left, None));
        let plan = HaPlan {
            instances: &[instance(1)],
            ..HaPlan::default()
        };
        ha.handle_plan(at(0), &plan, &[]).unwrap();
        let mut beneath = link(|link| link.name = LinkName::new(b"eth0").unwrap());
        (beneath.index, beneath.lower) = (LOWER, None);
        beneath.group = LinkGroup::DEFAULT;
        assert!(dump_shows(&mut ha, at(0), &[beneath, left]));
        assert_eq!(ha.poll_chore(at(0)), Some(Chore::Delete(ABOVE)));
        assert_eq!(ha.poll_chore(at(0)), None);
        // In vain.
        ha.handle_timeout(at(1_000));
        assert_eq!(ha.poll_chore(at(1_000)), Some(Chore::Delete(ABOVE)));
        let mut gone = told(&left, None);
        gone[4..6].copy_from_slice(&17_u16.to_ne_bytes());
        ha.handle_route(at(1_001), &gone);
        ha.handle_timeout(at(2_000));
        assert_eq!(ha.poll_chore(at(2_000)), None);
    }
}

#[test]
fn a_shutdown_deletes_all_at_once_after_the_goodbye() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let up = link(|link| link.flags = LinkFlags::UP);
    ha.instances[0].macvlan.noting(false, Some(up));
    ha.settle(Instant::ZERO);
    let actions = ha.instances[0].router.handle_config(
        Instant::ZERO,
        RouterConfig {
            priority: 255,
            ..RouterConfig::new(1, Family::V4)
        },
    );
    ha.apply(Instant::ZERO, 0, actions);
    ha.handle_shutdown(Instant::ZERO);
    assert_eq!(ha.poll_chore(Instant::ZERO), None, "a goodbye is owed");
    let out = ha.poll_advert(Instant::ZERO).unwrap();
    assert!(out.framed);
    ha.handle_advert_sent(Instant::ZERO, out.instance, Ok(()));
    assert_eq!(ha.poll_chore(Instant::ZERO), Some(Chore::Clear));
    assert_eq!(ha.poll_chore(Instant::ZERO), None);
    assert!(!ha.is_finished(Instant::ZERO), "it is there still");
    ha.instances[0].macvlan.noting(false, None);
    ha.addresses
        .edit(0, ha.instances, |slot| slot.presence = Presence::Absent);
    while ha.poll_notice().is_some() {}
    assert!(ha.is_finished(Instant::ZERO));
}

#[test]
fn a_shutdown_deletes_what_is_being_made() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
    assert!(matches!(ha.poll_chore(at(0)), Some(Chore::Make(_))));
    ha.handle_shutdown(at(1));
    assert_eq!(ha.poll_chore(at(1)), Some(Chore::Clear));
    assert_eq!(ha.poll_chore(at(1)), None);
    // It comes, and goes.
    assert!(!ha.is_finished(at(2)));
    let made = link(|link| link.group = LinkGroup::TRUNNION);
    ha.handle_route(at(3), &told(&made, None));
    assert!(!ha.is_finished(at(3)));
    let mut gone = told(&made, None);
    gone[4..6].copy_from_slice(&17_u16.to_ne_bytes());
    ha.handle_route(at(4), &gone);
    while ha.poll_notice().is_some() {}
    assert!(ha.is_finished(at(1_000)));
}

#[test]
fn a_shutdown_deletes_all_though_nothing_is_known_any_more() {
    // One of a name of its own is not known to be there.
    for found in [Some(link(|_| {})), None] {
        let mut room = Room::new(4, 4);
        let mut ha = half(&mut room);
        ha.instances[0].macvlan.noting(false, found);
        ha.netdev.mark_unknown();
        ha.handle_route_lost(Instant::ZERO, "a test");
        ha.handle_shutdown(Instant::ZERO);
        assert!(!ha.is_known());
        assert_eq!(ha.poll_chore(Instant::ZERO), Some(Chore::Clear));
        assert_eq!(ha.poll_chore(Instant::ZERO), None);
    }
}

#[test]
fn a_shutdown_deletes_by_itself_what_was_left_half_made() {
    let mut room = Room::new(4, 4);
    let mut ha = half(&mut room);
    let raw = link(|link| link.group = LinkGroup::DEFAULT);
    ha.instances[0].macvlan.noting(false, Some(raw));
    ha.handle_shutdown(Instant::ZERO);
    assert_eq!(ha.poll_chore(Instant::ZERO), Some(Chore::Clear));
    assert_eq!(
        ha.poll_chore(Instant::ZERO),
        Some(Chore::Delete(ABOVE)),
        "it is none of the group"
    );
    assert_eq!(ha.poll_chore(Instant::ZERO), None);
}

#[test]
fn one_that_is_not_taken_up_is_asked_for_when_it_is_time() {
    let mut macvlan = Macvlan::default();
    macvlan.noting(false, Some(link(|_| {})));
    assert!(macvlan.may_rise());
    macvlan.raising = true;
    assert!(!macvlan.may_rise(), "it was asked");
    assert!(macvlan.not_raised(), "for the first time");
    assert!(!macvlan.may_rise() && !macvlan.carries());
    macvlan.pardon();
    assert!(macvlan.may_rise());
    assert!(!macvlan.not_raised(), "once more");
    // As a dump tells that nothing changed, nothing does.
    macvlan.noting(false, Some(link(|_| {})));
    assert!(!macvlan.may_rise());
    // Another one may be taken up.
    macvlan.noting(false, Some(link(|link| link.index = OTHER)));
    assert!(macvlan.may_rise());
    assert!(macvlan.not_raised());
    macvlan.raised();
    assert!(macvlan.not_raised(), "it was up since");
}

/// Adverts to the group are frames from the virtual router; what a raw socket
/// would have been given is in them.
#[test]
fn an_advert_is_a_frame_from_the_virtual_router() {
    for family in [Family::V4, Family::V6] {
        let (source, address): (IpAddr, IpAddr) = match family {
            Family::V4 => (OWN.into(), "198.51.100.1".parse().unwrap()),
            Family::V6 => ("fe80::1".parse().unwrap(), "fe80::10".parse().unwrap()),
        };
        let advert = vrrp::advert::Outgoing {
            vrid: 51,
            priority: 100,
            interval: Centis::SECOND,
            source,
            destination: vrrp::group(family),
            form: AdvertForm::Rfc9568,
        };
        let mac = virtual_mac(family, 51);
        let (mut framed, mut plain) = ([0; 128], [0; 128]);
        let listed = || core::iter::once(address);
        let len = encode_advert(&advert, Some(mac), listed(), &mut framed).unwrap();
        let plain_len = encode_advert(&advert, None, listed(), &mut plain).unwrap();
        let (ethernet, payload) = Ethernet::parse(&framed[..len]).unwrap();
        assert_eq!(ethernet.source, mac);
        assert!(ethernet.destination.is_multicast());
        assert!(payload.ends_with(&plain[..plain_len]));
        // To a peer nobody knows the way.
        let peer = vrrp::advert::Outgoing {
            destination: source,
            ..advert
        };
        assert_eq!(encode_advert(&peer, Some(mac), listed(), &mut framed), None);
    }
}
