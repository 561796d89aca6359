//! What the guardian must know should this process die: facts in words that
//! another process reads from shared memory. Not what it does with them: that
//! is [`crate::director::guardian`].

use super::state::{InstanceSlot, memory_key};
use super::{AddressSlot, Interface};
use crate::director::plan::Peers;
use crate::model::Family;
use crate::route::InterfaceIndex;
use crate::time::{Duration, Instant};
use crate::vrrp::{AdvertForm, Centis, Resume, Role, RouterConfig, State, TTL, Terms};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Words of a [`Ward`].
pub const WARD_WORDS: usize = 23;
/// Words of a [`WardAddress`].
pub const WARD_ADDRESS_WORDS: usize = 3;

/// One virtual router, as whoever speaks for it after a crash must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ward {
    /// As in [`super::Memory::key`].
    pub key: u64,
    /// Index of its interface.
    pub interface: InterfaceIndex,
    /// The address its adverts come from; none, and nothing can be said.
    pub source: Option<IpAddr>,
    /// Family, VRID, priority and what 255 means, interval. The rest is not
    /// handed on.
    pub router: RouterConfig,
    /// How its adverts are written.
    pub form: AdvertForm,
    /// The least TTL of a peer's.
    pub ttl_min: u8,
    /// Unicast peers; empty means the group.
    pub peers: Peers,
    /// Index of the macvlan its addresses are on, where it has a virtual MAC
    /// address and that is there.
    pub macvlan: Option<InterfaceIndex>,
    /// Its adverts are whole frames, from the virtual MAC address.
    pub framed: bool,
    /// Its group, by a number that its other members have too.
    pub group: Option<u16>,
    /// Index of its first address among those of the will.
    pub addresses_first: u32,
    /// How many addresses it has.
    pub addresses_count: u32,
}

/// An address of a [`Ward`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WardAddress {
    /// The address.
    pub address: IpAddr,
    /// The prefix it is on the interface with, bits.
    pub prefix: u8,
    /// Whether adverts list it; an address that a reload dropped is only to be
    /// taken off.
    pub listed: bool,
}

/// The part of a ward that changes with each advert: one word, which no crash
/// can tear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// It is Active, or owes its goodbye: peers believe that it speaks.
    pub speaks: bool,
    /// When its last advert was sent, cut to whole microseconds.
    pub last_sent: Instant,
    /// The interval that advert carried.
    pub interval: Centis,
}

const INTERVAL_BITS: u32 = 12;
const NANOS_PER_MICRO: u64 = 1_000;

impl Pulse {
    /// As a word: microseconds (51 bits, 71 years of uptime), interval (12),
    /// `speaks` (1).
    #[must_use]
    pub fn word(&self) -> u64 {
        let micros = self.last_sent.as_nanos().checked_div(NANOS_PER_MICRO);
        let micros = micros.unwrap_or(0) << (INTERVAL_BITS + 1);
        micros | u64::from(self.interval.get()) << 1 | u64::from(self.speaks)
    }

    /// From a word; `None` for one that none of ours is.
    #[must_use]
    pub fn from_word(word: u64) -> Option<Self> {
        let interval = u16::try_from(word >> 1 & ((1 << INTERVAL_BITS) - 1)).ok()?;
        let micros = Duration::from_micros(word >> (INTERVAL_BITS + 1));
        Some(Self {
            speaks: word & 1 == 1,
            last_sent: Instant::ZERO + micros,
            interval: Centis::new(interval)?,
        })
    }

    /// What a router goes on from, if it spoke.
    #[must_use]
    pub fn resume(&self) -> Option<Resume> {
        let Self {
            speaks,
            last_sent,
            interval,
        } = *self;
        speaks.then_some(Resume {
            last_sent,
            interval,
        })
    }

    pub(super) fn of(slot: &InstanceSlot) -> Self {
        let memory = slot.memory();
        let owes = matches!(
            slot.router.state(),
            State::Initialize { resign_at: Some(_) }
        ) || slot.router.state().role() == Role::Active;
        Self {
            speaks: memory.active || owes,
            last_sent: memory.last_sent,
            interval: Centis::new(memory.interval).unwrap_or(slot.last_interval),
        }
    }
}

impl Ward {
    /// What an advert must be to be heard.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            ttl_min: self.ttl_min,
            seesaw: self.form == AdvertForm::Seesaw,
        }
    }

    /// None while its interface is not there: nothing can be said or taken off
    /// then.
    pub(super) fn of(slot: &InstanceSlot, interface: &Interface) -> Option<Self> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Self {
            key: memory_key(&slot.config),
            interface: interface.found.index?,
            source: interface.primary(slot.config.router.family),
            router: *slot.router.config(),
            form: slot.form(),
            ttl_min: slot.config.terms().ttl_min,
            peers: slot.config.peers.clone(),
            macvlan: slot.ready_macvlan(interface.found.index),
            framed: slot.config.is_framed(),
            group: slot.config.group,
            addresses_first: count(slot.addresses.start),
            addresses_count: count(slot.addresses.len()),
        })
    }

    /// One ward of each family with one address, the second with a macvlan, for a
    /// rehearsal: TEST-NET-1 and the documentation's prefix (RFC 5737, RFC 3849),
    /// on loopback.
    #[must_use]
    pub fn examples(now: Instant) -> [(Self, WardAddress, Pulse); 2] {
        let v6 = |last| IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last));
        let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let each = [(Family::V4, v4(1), v4(10)), (Family::V6, v6(1), v6(10))];
        let mut first = 0_u32;
        each.map(|(family, source, address)| {
            let ward = Self {
                key: 0,
                interface: InterfaceIndex::MIN,
                source: Some(source),
                router: RouterConfig::new(1, family),
                form: AdvertForm::Rfc9568,
                ttl_min: TTL,
                peers: Peers::new(),
                macvlan: (family == Family::V6).then_some(InterfaceIndex::MIN),
                framed: family == Family::V6,
                group: None,
                addresses_first: first,
                addresses_count: 1,
            };
            first = first.saturating_add(1);
            let address = WardAddress {
                address,
                prefix: family.bits(),
                listed: true,
            };
            let pulse = Pulse {
                speaks: true,
                last_sent: now,
                interval: Centis::SECOND,
            };
            (ward, address, pulse)
        })
    }

    /// As words.
    #[must_use]
    pub fn words(&self) -> [u64; WARD_WORDS] {
        let Self {
            key,
            interface,
            source,
            router,
            form,
            ttl_min,
            peers,
            macvlan,
            framed,
            group,
            addresses_first,
            addresses_count,
        } = self;
        let group = group.map_or(0, |group| u64::from(group).saturating_add(1));
        let form = match form {
            AdvertForm::Rfc9568 => 0,
            AdvertForm::Rfc5798 => 1,
            AdvertForm::Seesaw => 2,
        };
        let small = [
            router.family.number(),
            router.vrid,
            router.priority,
            form,
            u8::from(source.is_some()),
            u8::try_from(peers.len()).unwrap_or(u8::MAX),
        ];
        let [a, b, c, d, e, f] = small;
        let [i, j] = router.interval.get().to_be_bytes();
        let head = [
            *key,
            u64::from_be_bytes([a, b, c, d, e, f, i, j]),
            u64::from(*ttl_min) << 32 | u64::from(interface.get()),
            u64::from(*addresses_first) << 32 | u64::from(*addresses_count),
            group << 40 | u64::from(*framed) << 32 | macvlan.map_or(0, |index| index.get().into()),
        ];
        let none = [0; 2];
        let source = source.as_ref().map_or(none, address_words);
        let peers = peers.iter().map(address_words);
        let tail = core::iter::once(source).chain(peers).flatten();
        let mut words = [0; WARD_WORDS];
        for (place, word) in words.iter_mut().zip(head.into_iter().chain(tail)) {
            *place = word;
        }
        words
    }

    /// From words; `None` for what none of ours are, the blank ones among them.
    #[must_use]
    pub fn from_words(words: &[u64; WARD_WORDS]) -> Option<Self> {
        let [key, small, interface, range, macvlan, addresses @ ..] = words;
        let [family, vrid, priority, form, sourced, peers_len, i, j] = small.to_be_bytes();
        let family = family_of(family)?;
        let mut addresses = addresses
            .chunks_exact(2)
            .filter_map(|pair| Some(address_of(family, *pair.first()?, *pair.last()?)));
        let source = addresses.next().filter(|_| sourced == 1);
        let peers = addresses.take(usize::from(peers_len)).collect();
        let low = u64::from(u32::MAX);
        let [first, count] = [range >> 32, range & low];
        let [ttl_min, interface] = [interface >> 32, interface & low];
        let [group, framed, macvlan] = [macvlan >> 40, macvlan >> 32 & 1, macvlan & low];
        Some(Self {
            key: *key,
            interface: InterfaceIndex::new(u32::try_from(interface).ok()?)?,
            source,
            router: RouterConfig {
                priority: Some(priority).filter(|priority| *priority > 0)?,
                interval: Centis::new(u16::from_be_bytes([i, j]))?,
                owner_rules: form != 2,
                ..RouterConfig::new(Some(vrid).filter(|vrid| *vrid > 0)?, family)
            },
            form: match form {
                0 => AdvertForm::Rfc9568,
                1 => AdvertForm::Rfc5798,
                2 => AdvertForm::Seesaw,
                _ => return None,
            },
            ttl_min: u8::try_from(ttl_min).ok()?,
            peers,
            macvlan: InterfaceIndex::new(u32::try_from(macvlan).ok()?),
            framed: framed == 1,
            group: group.checked_sub(1).and_then(|group| group.try_into().ok()),
            addresses_first: u32::try_from(first).ok()?,
            addresses_count: u32::try_from(count).ok()?,
        })
    }
}

impl WardAddress {
    pub(super) fn of(slot: &AddressSlot) -> Self {
        Self {
            address: slot.virtual_address.address,
            prefix: slot.held_prefix,
            listed: !slot.retire,
        }
    }

    /// As words.
    #[must_use]
    pub fn words(&self) -> [u64; WARD_ADDRESS_WORDS] {
        let Self {
            address,
            prefix,
            listed,
        } = self;
        let [high, low] = address_words(address);
        let family = Family::of(address).number();
        let small = u64::from_be_bytes([0, 0, 0, 0, 0, family, *prefix, u8::from(*listed)]);
        [high, low, small]
    }

    /// From words; `None` for what none of ours are.
    #[must_use]
    pub fn from_words(words: &[u64; WARD_ADDRESS_WORDS]) -> Option<Self> {
        let [high, low, small] = *words;
        let [.., family, prefix, listed] = small.to_be_bytes();
        Some(Self {
            address: address_of(family_of(family)?, high, low),
            prefix,
            listed: listed == 1,
        })
    }
}

fn family_of(number: u8) -> Option<Family> {
    let mut both = [Family::V4, Family::V6].into_iter();
    both.find(|family| family.number() == number)
}

/// Network order, an IPv4 address in the low 32 bits.
fn address_words(address: &IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let [a, b, c, d, e, f, g, h, low @ ..] = bits.to_be_bytes();
    [
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes(low),
    ]
}

fn address_of(family: Family, high: u64, low: u64) -> IpAddr {
    match family {
        Family::V4 => {
            let [.., a, b, c, d] = low.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Family::V6 => {
            let bits = u128::from(high) << 64 | u128::from(low);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ward(family: Family, source: Option<&str>, peers: &[&str]) -> Ward {
        let address = |text: &&str| text.parse().unwrap();
        Ward {
            key: 0x1234_5678_9abc_def0,
            interface: InterfaceIndex::new(7).unwrap(),
            source: source.as_ref().map(address),
            router: RouterConfig {
                priority: 254,
                interval: Centis::MAX,
                ..RouterConfig::new(255, family)
            },
            form: AdvertForm::Rfc5798,
            ttl_min: 64,
            peers: peers.iter().map(address).collect(),
            macvlan: source.and_then(|_| InterfaceIndex::new(u32::MAX >> 1)),
            framed: source.is_some(),
            group: source.map(|_| u16::MAX),
            addresses_first: 70_000,
            addresses_count: 3,
        }
    }

    #[test]
    fn a_ward_comes_back_from_its_words() {
        let eight = ["192.0.2.9"; 8];
        for ward in [
            ward(Family::V4, Some("192.0.2.1"), &eight),
            ward(Family::V4, Some("192.0.2.1"), &[]),
            ward(Family::V4, None, &["192.0.2.9", "192.0.2.8"]),
            ward(Family::V6, Some("fe80::1"), &["2001:db8::1"]),
        ] {
            assert_eq!(Ward::from_words(&ward.words()), Some(ward));
        }
    }

    #[test]
    fn words_that_are_no_ward_are_none() {
        assert_eq!(Ward::from_words(&[0; WARD_WORDS]), None);
        let good = ward(Family::V4, Some("192.0.2.1"), &[]).words();
        // Each byte of the second word at its worst; the interface gone.
        for shift in [56, 48, 40, 32] {
            let mut words = good;
            words[1] = words[1] & !(0xff << shift) | if shift == 32 { 9 << 32 } else { 0 };
            assert_eq!(Ward::from_words(&words), None, "shift {shift}");
        }
        let mut words = good;
        words[2] = 0;
        assert_eq!(Ward::from_words(&words), None);
        words = good;
        words[1] &= !0xffff;
        assert_eq!(Ward::from_words(&words), None, "interval 0");
    }

    #[test]
    fn an_address_comes_back_from_its_words() {
        for (text, prefix) in [("192.0.2.10", 24), ("2001:db8::10", 128)] {
            for listed in [false, true] {
                let address = WardAddress {
                    address: text.parse().unwrap(),
                    prefix,
                    listed,
                };
                assert_eq!(WardAddress::from_words(&address.words()), Some(address));
            }
        }
        assert_eq!(WardAddress::from_words(&[0; WARD_ADDRESS_WORDS]), None);
    }

    #[test]
    fn a_pulse_is_one_word_and_never_later_than_it_was() {
        for nanos in [
            0,
            999,
            1_000,
            123_456_789_012_345,
            71 * 31_536_000_000_000_000,
        ] {
            for (speaks, interval) in [(true, Centis::MIN), (false, Centis::MAX)] {
                let pulse = Pulse {
                    speaks,
                    last_sent: Instant::from_nanos(nanos),
                    interval,
                };
                let read = Pulse::from_word(pulse.word()).unwrap();
                assert_eq!((read.speaks, read.interval), (speaks, interval));
                let behind = pulse.last_sent.since(read.last_sent);
                assert!(read.last_sent <= pulse.last_sent && behind < Duration::from_micros(1));
            }
        }
        assert_eq!(Pulse::from_word(0), None, "never written");
    }
}
