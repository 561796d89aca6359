//! What must hold whatever comes: one function for each law, over any bytes.
//! Fuzz targets and property tests call these; they assert, allocate nothing
//! and need no clock.

mod cluster;

pub use cluster::cluster;

use super::advert::{self, Outgoing};
use super::{
    Actions, Addresses, Advert, AdvertForm, AnnounceConfig, Centis, GROUP_V4, GROUP_V6, Malformed,
    Reason, Received, Rejects, Resume, Role, Router, RouterConfig, State, Terms,
    active_down_interval,
};
use crate::bytes::{Reader, Writer};
use crate::model::Family;
use crate::time::Instant;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

/// Decodes any bytes: as an IPv4 packet, and as a message that came with a TTL
/// and in a family told by the first byte. Whatever is accepted is encoded
/// again into the same bytes, but for reserved bits; whatever is not has one
/// counter. A message is tried a second time with its checksum made right, so
/// that a fuzzer reaches behind it; all of that by the RFC's terms, by those of a
/// unicast peer behind routers, and by those of `seesaw_ha`.
pub fn decode(bytes: &[u8]) {
    for terms in [
        Terms::RFC,
        Terms {
            ttl_min: 64,
            ..Terms::RFC
        },
        Terms {
            seesaw: true,
            ..Terms::RFC
        },
    ] {
        decode_by(terms, bytes);
    }
}

fn decode_by(terms: Terms, bytes: &[u8]) {
    if let Ok(packet) = Received::from_ipv4(bytes) {
        let _ = parse(terms, packet);
    }
    let mut r = Reader::new(bytes);
    let Ok(how) = r.u8("how") else { return };
    let ttl = if how & 2 == 0 { 255 } else { how };
    let (source, destination) = if how & 1 == 0 {
        (SOURCE_V4, IpAddr::V4(GROUP_V4))
    } else {
        (SOURCE_V6, IpAddr::V6(GROUP_V6))
    };
    let packet = Received {
        source,
        destination,
        ttl,
        payload: r.peek(),
    };
    let _ = parse(terms, packet);

    let mut copy = [0; advert::MESSAGE_BYTES_MAX];
    let form = if terms.seesaw {
        AdvertForm::Seesaw
    } else if how & 4 == 0 {
        AdvertForm::Rfc9568
    } else {
        AdvertForm::Rfc5798
    };
    if let Some(payload) = with_checksum(&mut copy, packet, form) {
        let again = parse(terms, Received { payload, ..packet });
        assert!(
            !matches!(again, Err(Malformed::Checksum { .. })),
            "a right checksum is not wrong"
        );
    }
}

const SOURCE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 251));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc8));

fn with_checksum<'b>(
    copy: &'b mut [u8; advert::MESSAGE_BYTES_MAX],
    packet: Received<'_>,
    form: AdvertForm,
) -> Option<&'b [u8]> {
    let copy = copy.get_mut(..packet.payload.len())?;
    copy.copy_from_slice(packet.payload);
    copy.get_mut(6..8)?.fill(0);
    let sum = form.scope(packet.source, packet.destination)?.of(copy);
    copy.get_mut(6..8)?.copy_from_slice(&sum.to_be_bytes());
    Some(copy)
}

fn parse(terms: Terms, packet: Received<'_>) -> Result<(), Malformed> {
    let advert = match Advert::parse_by(terms, packet) {
        Ok(advert) => advert,
        Err(why) => {
            let mut rejects = Rejects::ZERO;
            rejects.count(&why);
            assert!(rejects != Rejects::ZERO, "a reason without a counter");
            return Err(why);
        }
    };
    let listed = advert.addresses();
    assert!((listed.len() == 0) == terms.seesaw);
    assert!((advert.form() == AdvertForm::Seesaw) == terms.seesaw);
    assert!(listed.clone().count() == listed.len());
    assert!(
        advert.lists(listed.clone()),
        "an advert lists what it lists"
    );
    assert!(packet.ttl >= terms.ttl_min && advert.interval() >= Centis::MIN);

    let mut again = [0xa5; advert::MESSAGE_BYTES_MAX];
    let mut w = Writer::new(&mut again);
    let outgoing = Outgoing {
        vrid: advert.vrid(),
        priority: advert.priority(),
        interval: advert.interval(),
        source: packet.source,
        destination: packet.destination,
        form: advert.form(),
    };
    let written = advert::encode(&mut w, &outgoing, listed);
    assert!(written.is_ok(), "what was accepted can be sent");
    let again = w.finish().unwrap_or(&mut []);
    // The reserved bits were sent to us; we send none, and sum without them.
    if packet.payload.get(4).is_some_and(|byte| byte & 0xf0 == 0) {
        let same =
            |range: core::ops::Range<usize>| again.get(range.clone()) == packet.payload.get(range);
        // seesaw_ha's own count is 0; another's is not looked at.
        let count = if terms.seesaw { 3 } else { 6 };
        assert!(same(0..count) && same(4..6) && same(8..packet.payload.len()));
        // One's complement has two zeros, and a peer may send either.
        let sums = [again.get(6..8), packet.payload.get(6..8)];
        let zero = |sum: Option<&[u8]>| matches!(sum, Some([0, 0] | [0xff, 0xff]));
        let counted = packet.payload.get(3) == again.get(3);
        assert!(!counted || sums[0] == sums[1] || sums.iter().all(|sum| zero(*sum)));
    }
    Ok(())
}

/// Runs one router through the events the bytes say, time going only forward,
/// and looks at it after each: see `Watched::check` for what must hold.
pub fn machine(bytes: &[u8]) {
    let mut r = Reader::new(bytes);
    let Some(config) = config(&mut r, Family::V4, Limits::Any) else {
        return;
    };
    let mut watched = Watched {
        now: Instant::from_nanos(1_000_000_000),
        router: Router::new(config),
    };
    while let Ok(code) = r.u8("event") {
        let Ok(pause) = r.u8("pause") else { return };
        watched.pass(pause);
        if watched.event(code, &mut r).is_none() {
            return;
        }
    }
}

struct Watched {
    now: Instant,
    router: Router,
}

impl Watched {
    /// Lets time go on: not at all, to the next deadline, to just before it, or
    /// by some power of two of a microsecond.
    fn pass(&mut self, pause: u8) {
        let deadline = self.router.poll_timeout().unwrap_or(self.now);
        let to = match pause & 0x3f {
            0 => self.now,
            1 => deadline,
            2 => deadline - Duration::from_nanos(1),
            3 => deadline + Duration::from_nanos(1),
            shift => self.now + Duration::from_micros(1 << (shift >> 1)),
        };
        self.now = self.now.max(to);
    }

    fn event(&mut self, code: u8, r: &mut Reader<'_>) -> Option<()> {
        let now = self.now;
        let before = self.router;
        let actions = match code & 7 {
            0 => self.router.handle_startup(now, resume(now, r)?),
            1 | 2 => self.advert(r)?,
            3 => self.router.handle_timeout(now),
            4 => {
                self.router.handle_sent(now);
                Actions::NOOP
            }
            5 => {
                self.router.handle_announced(now);
                Actions::NOOP
            }
            6 => self
                .router
                .handle_config(now, config(r, Family::V4, Limits::Any)?),
            _ if code & 8 == 0 => self.router.handle_fault(now),
            _ if code & 16 == 0 => self.router.handle_step_down(now, Reason::Failover),
            _ => self.router.handle_shutdown(now),
        };
        self.check(&before, &actions);
        Some(())
    }

    fn advert(&mut self, r: &mut Reader<'_>) -> Option<Actions> {
        let [priority, interval, host] = r.take::<3>("advert").ok()?;
        let primary = Ipv4Addr::new(192, 0, 2, 128);
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, host));
        let outgoing = Outgoing {
            vrid: 1,
            priority,
            interval: interval_of(interval, Limits::Any),
            source,
            destination: IpAddr::V4(GROUP_V4),
            form: AdvertForm::Rfc9568,
        };
        let mut message = [0; 12];
        let mut w = Writer::new(&mut message);
        let vip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
        advert::encode(&mut w, &outgoing, [vip]).ok()?;
        let advert = Advert::parse(Received {
            source,
            destination: outgoing.destination,
            ttl: 255,
            payload: w.finish().ok()?,
        })
        .ok()?;
        Some(
            self.router
                .handle_advert(self.now, &advert, source, primary.into()),
        )
    }

    fn check(&self, before: &Router, actions: &Actions) {
        let Self { now, router } = self;
        let now = *now;
        let (from, to) = (before.state().role(), router.state().role());

        // A state changes for a reason, and says so; the addresses follow.
        match actions.transition {
            None => {
                assert!(from == to, "changed without a transition");
                assert!(actions.addresses == Addresses::Keep);
            }
            Some(said) => {
                assert!(from != to && said.from == from && said.to == to);
                assert!(router.last_transition() == Some((now, said)));
                let expected = match (from, to) {
                    (_, Role::Active) => Addresses::Add,
                    (Role::Backup, Role::Initialize) => Addresses::Keep,
                    (_, Role::Backup | Role::Initialize) => Addresses::Remove,
                };
                assert!(actions.addresses == expected);
            }
        }

        // Deadlines are bounded by what the state waits for.
        let interval = router.active_interval();
        match router.state() {
            State::Initialize { resign_at } => {
                assert!(resign_at.is_none_or(|at| at <= now));
            }
            State::Backup {
                active_down_at,
                heard_at,
                ..
            } => {
                let longest = active_down_interval(router.config().priority, interval);
                assert!(heard_at <= now && active_down_at <= now.max(heard_at + longest));
            }
            State::Active { advert_at, .. } => {
                let longest = interval.max(before.config().interval).duration();
                assert!(advert_at <= now + longest);
            }
        }

        // The polls and the timeout say the same.
        let due = router.poll_transmit(now).is_some() || router.poll_announce(now);
        let expires =
            matches!(router.state(), State::Backup { active_down_at, .. } if active_down_at <= now);
        let woken = router.poll_timeout().is_some_and(|at| at <= now);
        assert!(woken == (due || expires), "poll_timeout mirrors the polls");

        self.spurious();
    }

    /// One call too many changes nothing; done is done.
    fn spurious(&self) {
        let now = self.now;
        let mut done = self.router;
        let _ = done.handle_timeout(now);
        for _ in 0..2 {
            done.handle_sent(now);
            done.handle_announced(now);
        }
        // An announce interval of zero leaves a burst due at once.
        let burst = done.config().announce.interval == Duration::ZERO && done.poll_announce(now);
        assert!(burst || done.poll_timeout().is_none_or(|at| at > now));
        let mut again = done;
        assert!(again.handle_timeout(now) == Actions::NOOP);
        again.handle_sent(now);
        assert!(again.handle_config(now, *done.config()) == Actions::NOOP);
        if !burst {
            again.handle_announced(now);
        }
        assert!(again == done);
    }
}

fn resume(now: Instant, r: &mut Reader<'_>) -> Option<Option<Resume>> {
    let [ago, interval] = r.take::<2>("resume").ok()?;
    let ago = Duration::from_millis(u64::from(ago) << 5);
    Some((interval & 1 == 0).then_some(Resume {
        last_sent: now - ago,
        interval: interval_of(interval, Limits::Any),
    }))
}

/// How long a drawn config may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limits {
    /// As long as any.
    Any,
    /// Tens of milliseconds.
    Short,
}

/// One of four intervals, so that they meet; the shortest is always among them.
fn interval_of(code: u8, limits: Limits) -> Centis {
    let any = [Some(Centis::SECOND), Centis::new(10), Some(Centis::MAX)];
    let short = [Centis::new(2), Centis::new(3), Centis::new(10)];
    let drawn = match limits {
        Limits::Any => any,
        Limits::Short => short,
    };
    let drawn = drawn.get(usize::from(code & 3));
    drawn.copied().flatten().unwrap_or(Centis::MIN)
}

/// A config from bytes.
fn config(r: &mut Reader<'_>, family: Family, limits: Limits) -> Option<RouterConfig> {
    let [priority, interval, flags, delay, announce] = r.take::<5>("config").ok()?;
    let delay = if limits == Limits::Short {
        delay & 31
    } else {
        delay
    };
    Some(RouterConfig {
        vrid: 1,
        family,
        priority: priority.max(1),
        interval: interval_of(interval, limits),
        preempt: flags & 1 != 0,
        preempt_delay: Duration::from_millis(u64::from(delay) << 5),
        owner_rules: true,
        announce: AnnounceConfig {
            repeat: announce & 7,
            interval: Duration::from_millis(u64::from(announce >> 3 & 3) << 5),
            again_after: Duration::from_millis(u64::from(announce >> 5 & 1) << 10),
            refresh: Duration::from_millis(u64::from(announce >> 6) << 9),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            super::decode(&bytes);
        }

        #[test]
        fn almost_an_advert_decodes(
            how in 0u8..8,
            head in prop_oneof![Just([0x31, 1]), any::<[u8; 2]>()],
            count in 0usize..4,
            rest in any::<[u8; 4]>(),
            tail in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = std::vec![how];
            bytes.extend(head);
            bytes.extend([rest[0], u8::try_from(count).unwrap(), rest[1], rest[2], 0, 0]);
            let width = if how & 1 == 0 { 4 } else { 16 };
            if how & 1 == 1 {
                bytes.extend([0xfe, 0x80]);
            }
            bytes.extend(tail);
            if rest[3] & 3 != 0 {
                bytes.resize(9 + count * width, 0x20);
            }
            super::decode(&bytes);
        }

        #[test]
        fn any_events_keep_the_laws(bytes in prop::collection::vec(any::<u8>(), 5..600)) {
            super::machine(&bytes);
        }
    }
}
