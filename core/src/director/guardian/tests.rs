use super::*;
use crate::bytes::NativeEndian;
use crate::director::plan::Peers;
use crate::route::Command;
use crate::time::Duration;
use crate::vrrp::advert::{Outgoing, encode};
use crate::vrrp::{AdvertForm, Centis, RouterConfig};
use crate::wire::ethernet::Ethernet;
use std::vec::Vec;

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
const HOLD: OnCrash = OnCrash::Hold {
    time: Duration::from_secs(3),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn index(n: u32) -> InterfaceIndex {
    InterfaceIndex::new(n).unwrap()
}

fn address(last: u8) -> WardAddress {
    WardAddress {
        address: IpAddr::from([192, 0, 2, last]),
        prefix: 32,
        listed: true,
    }
}

/// A ward of two addresses, 100 ms between adverts.
fn ward(vrid: u8, first: u32) -> Ward {
    Ward {
        key: u64::from(vrid),
        interface: index(7),
        source: Some(IpAddr::from([192, 0, 2, 1])),
        router: RouterConfig {
            interval: Centis::new(10).unwrap(),
            ..RouterConfig::new(vrid, Family::V4)
        },
        form: AdvertForm::Rfc9568,
        ttl_min: 255,
        peers: Peers::new(),
        macvlan: None,
        framed: false,
        group: None,
        addresses_first: first,
        addresses_count: 2,
    }
}

fn pulse(speaks: bool, silent: Duration) -> Pulse {
    Pulse {
        speaks,
        last_sent: NOW - silent,
        interval: Centis::new(10).unwrap(),
    }
}

/// What the guardian did: in words, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Did {
    Remembered(usize, bool),
    /// VRID, priority, destination.
    Said(u8, u8, IpAddr),
    TookOff(u32),
    /// A macvlan, by its index; 0 is all of them.
    Deleted(u32),
}

struct World {
    guardian: Guardian<'static>,
    now: Instant,
    /// How many of the next sends the kernel refuses.
    refusals: u32,
}

impl World {
    fn new(policy: OnCrash, wards: &[(Ward, Pulse)]) -> Self {
        let storage = GuardianStorage {
            charges: std::vec![Charge::blank(); 8].leak(),
            addresses: std::vec![None; 300].leak(),
        };
        let mut guardian = Guardian::new(storage, policy);
        for (cell, (ward, pulse)) in wards.iter().enumerate() {
            assert!(guardian.handle_ward(NOW, cell, ward.clone(), *pulse));
        }
        for n in 0..=255 {
            assert!(guardian.handle_address(Some(address(n))));
        }
        Self {
            guardian,
            now: NOW,
            refusals: 0,
        }
    }

    /// Everything that is due now.
    fn turn(&mut self) -> Vec<Did> {
        let (mut did, mut buf) = (Vec::new(), [0xa5; 9000]);
        let (guardian, now) = (&mut self.guardian, self.now);
        guardian.handle_timeout(now);
        while let Some((cell, memory)) = guardian.poll_memory() {
            did.push(Did::Remembered(cell, memory.active));
        }
        while let Some(out) = guardian.poll_advert(now, &mut buf) {
            let refused = self.refusals > 0;
            self.refusals = self.refusals.saturating_sub(1);
            let result = if refused {
                Err(Errno::ENODEV)
            } else {
                let mut packet = &buf[..out.len];
                if out.framed {
                    let (header, inside) = Ethernet::parse(packet).unwrap();
                    let vrid = header.source.0[5];
                    assert_eq!(header.source, vrrp::virtual_mac(Family::V4, vrid));
                    packet = inside;
                }
                let received = Received::from_ipv4(packet).unwrap();
                let advert = Advert::parse(received).unwrap();
                did.push(Did::Said(
                    advert.vrid(),
                    advert.priority(),
                    received.destination,
                ));
                Ok(())
            };
            guardian.handle_sent(now, out.ward, result);
            while let Some((cell, memory)) = guardian.poll_memory() {
                did.push(Did::Remembered(cell, memory.active));
            }
        }
        while let Some(len) = guardian.poll_route(&mut buf) {
            let messages = crate::netlink::Messages::new(&buf[..len]);
            let mut addresses = 0;
            for message in messages {
                let message = message.unwrap();
                if message.header.kind != Command::DELLINK.message_type() {
                    addresses += 1;
                    continue;
                }
                let mut body = message.body;
                body.u32::<NativeEndian>("family and type").unwrap();
                let index = body.u32::<NativeEndian>("index").unwrap();
                did.push(Did::Deleted(index));
            }
            if addresses > 0 {
                did.push(Did::TookOff(addresses));
            }
        }
        did
    }

    /// Goes on to the next deadline.
    fn step(&mut self) -> Vec<Did> {
        let at = self
            .guardian
            .poll_timeout()
            .expect("it waits for something");
        assert!(at > self.now, "it spins");
        self.now = at;
        self.turn()
    }

    fn hear(&mut self, vrid: u8, priority: u8, source: [u8; 4]) {
        let advert = Outgoing {
            vrid,
            priority,
            interval: Centis::new(10).unwrap(),
            source: IpAddr::from(source),
            destination: vrrp::group(Family::V4),
            form: AdvertForm::Rfc9568,
        };
        let mut buf = [0; 64];
        let mut w = crate::bytes::Writer::new(&mut buf);
        encode(&mut w, &advert, [IpAddr::from([192, 0, 2, 10])]).unwrap();
        let packet = Received {
            source: advert.source,
            destination: advert.destination,
            ttl: 255,
            payload: w.finish().unwrap(),
        };
        self.guardian.handle_packet(self.now, index(7), Ok(packet));
    }
}

const GROUP: IpAddr = IpAddr::V4(vrrp::GROUP_V4);

#[test]
fn goodbyes_of_all_go_out_before_the_first_address_goes() {
    let recent = pulse(true, ms(20));
    let wards = [(ward(1, 0), recent), (ward(2, 2), recent)];
    let mut world = World::new(OnCrash::Resign, &wards);
    assert!(!world.guardian.is_finished());
    assert_eq!(
        world.turn(),
        [
            Did::Remembered(0, false),
            Did::Remembered(1, false),
            Did::Said(1, 0, GROUP),
            Did::Said(2, 0, GROUP),
            Did::TookOff(4),
        ]
    );
    assert!(world.guardian.is_finished());
    assert_eq!(world.turn(), []);
    assert_eq!(world.guardian.poll_timeout(), None);
    let done = *world.guardian.done();
    assert_eq!((done.resigned, done.removed, done.held), (2, 4, 0));
}

/// A ward with a MAC address of its own, on the macvlan of that index.
fn above(vrid: u8, first: u32, macvlan: u32) -> Ward {
    Ward {
        macvlan: InterfaceIndex::new(macvlan),
        framed: true,
        ..ward(vrid, first)
    }
}

#[test]
fn macvlans_go_all_at_once_after_all_goodbyes_and_addresses() {
    let recent = pulse(true, ms(20));
    let backup = pulse(false, ms(20));
    let wards = [
        (above(1, 0, 21), recent),
        (ward(2, 2), recent),
        (above(3, 4, 23), backup),
    ];
    let mut world = World::new(OnCrash::Resign, &wards);
    assert_eq!(
        world.turn(),
        [
            Did::Remembered(0, false),
            Did::Remembered(1, false),
            Did::Said(1, 0, GROUP),
            Did::Said(2, 0, GROUP),
            Did::TookOff(2),
            Did::Deleted(0),
        ]
    );
    assert!(world.guardian.is_finished());
    assert_eq!(world.guardian.done().removed, 6);
}

#[test]
fn while_a_role_is_held_only_the_macvlan_of_one_that_was_lost_goes() {
    let recent = pulse(true, ms(20));
    let backup = pulse(false, ms(20));
    let wards = [
        (above(1, 0, 21), recent),
        (above(2, 2, 22), recent),
        (above(3, 4, 23), backup),
    ];
    let mut world = World::new(HOLD, &wards);
    assert_eq!(
        world.turn(),
        [
            Did::Said(1, 100, GROUP),
            Did::Remembered(0, true),
            Did::Said(2, 100, GROUP),
            Did::Remembered(1, true),
        ]
    );
    world.hear(2, 200, [192, 0, 2, 9]);
    let did = world.turn();
    assert_eq!(did.last(), Some(&Did::Deleted(22)), "{did:?}");
    assert!(!did.contains(&Did::Deleted(0)) && !did.contains(&Did::Deleted(23)));
    world.guardian.handle_terminate(world.now);
    let did = world.turn();
    assert_eq!(did.last(), Some(&Did::Deleted(0)), "{did:?}");
    assert!(world.guardian.is_finished());
}

#[test]
fn who_loses_one_role_of_a_group_gives_the_others_back() {
    let recent = pulse(true, ms(20));
    let grouped = |vrid, group| Ward {
        group,
        ..ward(vrid, 2 * u32::from(vrid))
    };
    let wards = [
        (grouped(1, Some(0)), recent),
        (grouped(2, Some(0)), recent),
        (grouped(3, Some(1)), recent),
        (grouped(4, None), recent),
    ];
    let mut world = World::new(HOLD, &wards);
    world.turn();
    world.hear(1, 200, [192, 0, 2, 9]);
    let did = world.turn();
    let said = |vrid, priority| did.contains(&Did::Said(vrid, priority, GROUP));
    assert!(said(2, 0), "{did:?}");
    assert!(!said(3, 0) && !said(4, 0), "{did:?}");
    assert_eq!(world.guardian.held().count(), 2);
}

#[test]
fn who_was_not_active_or_silent_for_too_long_loses_its_addresses_without_a_word() {
    for policy in [OnCrash::Resign, HOLD] {
        for pulse in [pulse(false, ms(20)), pulse(true, ms(5000))] {
            let mut world = World::new(policy, &[(ward(1, 0), pulse)]);
            let did = world.turn();
            assert_eq!(did.last(), Some(&Did::TookOff(2)), "{did:?}");
            assert!(!did.iter().any(|d| matches!(d, Did::Said(..))), "{did:?}");
            assert!(world.guardian.is_finished());
        }
    }
}

#[test]
fn an_owner_that_was_not_active_does_not_become_it_here() {
    let mut owner = ward(1, 0);
    owner.router.priority = 255;
    let mut world = World::new(HOLD, &[(owner, pulse(false, ms(20)))]);
    assert_eq!(world.turn(), [Did::TookOff(2)]);
}

#[test]
fn each_unicast_peer_hears_the_goodbye() {
    let mut unicast = ward(1, 0);
    let peers = [[192, 0, 2, 8], [192, 0, 2, 9]].map(IpAddr::from);
    unicast.peers = peers.into_iter().collect();
    let mut world = World::new(OnCrash::Resign, &[(unicast, pulse(true, ms(20)))]);
    let [first, second] = peers;
    assert_eq!(
        world.turn(),
        [
            Did::Remembered(0, false),
            Did::Said(1, 0, first),
            Did::Said(1, 0, second),
            Did::TookOff(2),
        ]
    );
    assert_eq!(world.guardian.done().resigned, 1);
}

#[test]
fn a_refused_goodbye_is_tried_again_and_then_the_addresses_go_all_the_same() {
    let wards = [(ward(1, 0), pulse(true, ms(20)))];
    let mut world = World::new(OnCrash::Resign, &wards);
    world.refusals = 2;
    assert_eq!(world.turn(), [Did::Remembered(0, false)]);
    assert_eq!(world.step(), []);
    assert_eq!(world.step(), [Did::Said(1, 0, GROUP), Did::TookOff(2)]);
    assert!(world.guardian.is_finished());

    let mut world = World::new(OnCrash::Resign, &wards);
    world.refusals = u32::MAX;
    let mut did = world.turn();
    while !world.guardian.is_finished() {
        did.extend(world.step());
    }
    assert_eq!(did, [Did::Remembered(0, false), Did::TookOff(2)]);
    assert_eq!(world.guardian.done().unsent, 1);
}

#[test]
fn a_held_role_keeps_its_interval_and_is_given_back_at_the_end() {
    let wards = [
        (ward(1, 0), pulse(true, ms(20))),
        (ward(2, 2), pulse(false, ms(9))),
    ];
    let mut world = World::new(HOLD, &wards);
    let mut did = world.turn();
    // At once: the dead may have owed one. The other ward gives back.
    assert!(did.contains(&Did::Said(1, 100, GROUP)), "{did:?}");
    assert!(did.contains(&Did::TookOff(2)), "{did:?}");
    let mut said_at = world.now;
    while world.now < NOW + ms(2999) {
        did = world.step();
        if did.contains(&Did::Said(1, 100, GROUP)) {
            assert_eq!(world.now.since(said_at), ms(100));
            assert_eq!(did.last(), Some(&Did::Remembered(0, true)));
            said_at = world.now;
        }
    }
    assert_eq!(world.now, NOW + ms(3000));
    assert_eq!(
        did,
        [
            Did::Remembered(0, false),
            Did::Said(1, 0, GROUP),
            Did::TookOff(2)
        ]
    );
    assert!(world.guardian.is_finished());
}

#[test]
fn the_next_run_takes_over_without_a_word() {
    let mut world = World::new(HOLD, &[(ward(1, 0), pulse(true, ms(20)))]);
    let _ = world.turn();
    let _ = world.step();
    world.guardian.handle_yield();
    assert!(world.guardian.is_finished());
    assert_eq!(world.guardian.poll_timeout(), None);
    world.now = NOW + ms(200);
    assert_eq!(world.turn(), []);
    // A signal that comes after it changes nothing any more.
    world.guardian.handle_terminate(world.now);
    assert_eq!(world.turn(), []);
}

#[test]
fn nobody_yields_what_is_being_given_back() {
    let mut world = World::new(OnCrash::Resign, &[(ward(1, 0), pulse(true, ms(20)))]);
    world.guardian.handle_yield();
    assert!(!world.guardian.is_finished());
    assert_eq!(world.turn().last(), Some(&Did::TookOff(2)));
}

#[test]
fn a_signal_ends_a_hold_with_a_goodbye() {
    let mut world = World::new(HOLD, &[(ward(1, 0), pulse(true, ms(20)))]);
    let _ = world.turn();
    world.guardian.handle_terminate(world.now);
    assert_eq!(
        world.turn(),
        [
            Did::Remembered(0, false),
            Did::Said(1, 0, GROUP),
            Did::TookOff(2)
        ]
    );
}

#[test]
fn a_better_router_ends_a_hold_and_hears_of_it() {
    let mut world = World::new(HOLD, &[(ward(1, 0), pulse(true, ms(20)))]);
    let _ = world.turn();
    // A losing one is answered at once, an echo and a stranger are not.
    world.hear(1, 100, [192, 0, 2, 1]);
    world.hear(2, 200, [192, 0, 2, 9]);
    assert_eq!(world.turn(), []);
    world.hear(1, 99, [192, 0, 2, 9]);
    assert_eq!(
        world.turn(),
        [Did::Said(1, 100, GROUP), Did::Remembered(0, true)]
    );
    world.hear(1, 200, [192, 0, 2, 9]);
    assert_eq!(
        world.turn(),
        [
            Did::Remembered(0, false),
            Did::Said(1, 100, GROUP),
            Did::TookOff(2)
        ]
    );
    assert!(world.guardian.is_finished());
}

#[test]
fn a_hold_that_nobody_hears_is_none() {
    let mut world = World::new(HOLD, &[(ward(1, 0), pulse(true, ms(20)))]);
    world.refusals = u32::MAX;
    let mut did = world.turn();
    while !world.guardian.is_finished() {
        did.extend(world.step());
    }
    assert!(world.now < NOW + ms(100), "within the interval");
    assert_eq!(did, [Did::Remembered(0, false), Did::TookOff(2)]);
}

#[test]
fn many_addresses_go_in_bounded_batches() {
    let mut large = ward(1, 0);
    large.addresses_count = 256;
    let mut world = World::new(OnCrash::Resign, &[(large, pulse(true, ms(20)))]);
    let did = world.turn();
    assert_eq!(did[2..], [Did::TookOff(128), Did::TookOff(128)]);
}

#[test]
fn what_cannot_be_said_or_read_is_passed_over() {
    let mut mute = ward(1, 0);
    mute.source = None;
    let mut world = World::new(OnCrash::Resign, &[(mute, pulse(true, ms(20)))]);
    world.guardian.addresses[1] = None;
    assert_eq!(world.turn(), [Did::Remembered(0, false), Did::TookOff(1)]);
    let mut wild = ward(2, u32::MAX);
    wild.addresses_count = u32::MAX;
    let (guardian, recent) = (&mut world.guardian, pulse(true, ms(20)));
    assert!(!guardian.handle_ward(NOW, 1, wild, recent));
}

#[test]
fn who_dies_again_soon_is_not_held_again() {
    assert_eq!(HOLD.after(NOW, None), HOLD);
    assert_eq!(HOLD.after(NOW, Some(NOW - ms(30_000))), HOLD);
    assert_eq!(HOLD.after(NOW, Some(NOW - ms(29_999))), OnCrash::Resign);
    for policy in [HOLD, OnCrash::Resign] {
        assert_eq!(OnCrash::from_word(policy.word()), policy);
    }
}
