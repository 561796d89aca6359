//! Several routers on one link that loses nothing: after quiet exactly one is
//! Active, and while nobody stalls, never two.

use super::{Limits, config, interval_of};
use crate::bytes::{Reader, Writer};
use crate::model::Family;
use crate::time::{Instant, earliest};
use crate::vrrp::advert::{self, Outgoing};
use crate::vrrp::{
    Advert, AdvertForm, GROUP_V4, Received, Resume, Role, Router, RouterConfig, State, Transmit,
    active_down_interval,
};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use heapless::Deque;

const NODES: usize = 3;
/// No config here waits longer: five intervals of preemption and election.
const QUIET: Duration = Duration::from_secs(4);

/// Runs three routers through the events the bytes say, then lets them be.
pub fn cluster(bytes: &[u8]) {
    let mut r = Reader::new(bytes);
    let Some(mut cluster) = Cluster::new(&mut r) else {
        return;
    };
    while let Ok([code, pause]) = r.take::<2>("event") {
        cluster.run_until(cluster.now + Duration::from_millis(u64::from(pause)));
        if cluster.event(code, &mut r).is_none() {
            break;
        }
        cluster.settle();
    }
    cluster.quiet();
}

struct Node {
    router: Router,
    /// Neither hears nor acts before: a stalled machine.
    stalled_until: Instant,
    /// What it would find after a restart.
    resume: Option<Resume>,
}

struct Cluster {
    now: Instant,
    nodes: [Node; NODES],
    /// Adverts on the wire, by sender.
    wire: Deque<(usize, Transmit), 16>,
    /// Whether a node was ever stalled: then two may be Active until the next
    /// advert.
    stalled: bool,
}

impl Cluster {
    fn new(r: &mut Reader<'_>) -> Option<Self> {
        let mut node = || {
            Some(Node {
                router: Router::new(short(r)?),
                stalled_until: Instant::ZERO,
                resume: None,
            })
        };
        Some(Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: [node()?, node()?, node()?],
            wire: Deque::new(),
            stalled: false,
        })
    }

    fn event(&mut self, code: u8, r: &mut Reader<'_>) -> Option<()> {
        let now = self.now;
        let node = self.nodes.get_mut(usize::from(code & 3).min(2))?;
        let router = &mut node.router;
        match code >> 2 & 7 {
            0 | 1 => {
                let _ = router.handle_startup(now, None);
            }
            // The daemon was killed, and started again.
            2 => {
                *router = Router::new(*router.config());
                let _ = router.handle_startup(now, node.resume);
            }
            3 => {
                let _ = router.handle_fault(now);
            }
            4 => {
                let _ = router.handle_shutdown(now);
            }
            5 | 6 => {
                let _ = router.handle_config(now, short(r)?);
            }
            _ => {
                let stall = Duration::from_millis(u64::from(r.u8("stall").ok()?));
                node.stalled_until = now + stall;
                self.stalled = true;
            }
        }
        Some(())
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = self.now.max(end);
        self.settle();
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        self.nodes.iter().fold(None, |next, node| {
            let wake = node.router.poll_timeout();
            earliest(next, wake.map(|wake| wake.max(node.stalled_until)))
        })
    }

    /// Serves every node and delivers every advert, until nothing is due.
    fn settle(&mut self) {
        let mut rounds: u8 = 0;
        while self.serve() || self.deliver() {
            rounds = rounds.saturating_add(1);
            assert!(rounds < 100, "adverts answer each other for ever");
        }
        let active = self.count(Role::Active);
        assert!(active <= 1 || self.stalled, "two are active");
    }

    /// Whether a node had something to do.
    fn serve(&mut self) -> bool {
        let now = self.now;
        let mut busy = false;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.stalled_until > now {
                continue;
            }
            let _ = node.router.handle_timeout(now);
            while node.router.poll_announce(now) {
                node.router.handle_announced(now);
            }
            if let Some(transmit) = node.router.poll_transmit(now) {
                busy = true;
                assert!(self.wire.push_back((index, transmit)).is_ok());
                node.router.handle_sent(now);
                node.resume = (transmit.priority != 0).then_some(Resume {
                    last_sent: now,
                    interval: transmit.interval,
                });
            }
        }
        busy
    }

    /// Whether there was an advert to deliver.
    fn deliver(&mut self) -> bool {
        let Some((from, transmit)) = self.wire.pop_front() else {
            return false;
        };
        let now = self.now;
        let source = address(from);
        let mut message = [0; 12];
        let advert = encode(&mut message, source, transmit);
        for (to, node) in self.nodes.iter_mut().enumerate() {
            if to == from || node.stalled_until > now {
                continue;
            }
            if let Some(advert) = &advert {
                let _ = node.router.handle_advert(now, advert, source, address(to));
            }
        }
        true
    }

    fn count(&self, role: Role) -> usize {
        let roles = self.nodes.iter().map(|node| node.router.state().role());
        roles.filter(|found| *found == role).count()
    }

    /// Nothing happens for long enough: exactly one is Active, if any takes
    /// part, and it is the one the rules want.
    fn quiet(&mut self) {
        self.run_until(self.now + QUIET);
        let taking_part = NODES.saturating_sub(self.count(Role::Initialize));
        assert!(
            self.count(Role::Active) == taking_part.min(1),
            "one is active"
        );
        let mut active = self.nodes.iter().map(|node| &node.router);
        let active = active.find(|router| router.state().role() == Role::Active);
        let Some(active) = active else { return };
        for Node { router, .. } in &self.nodes {
            if let State::Backup { learned, .. } = router.state() {
                let (theirs, ours) = (active.config(), router.config());
                assert!(learned == Some(theirs.interval), "the interval is learned");
                assert!(
                    theirs.priority >= ours.priority || !ours.preempts(),
                    "a higher priority preempts"
                );
            }
        }
    }
}

/// A config whose waits are short enough to be waited out.
fn short(r: &mut Reader<'_>) -> Option<RouterConfig> {
    let config = config(r, Family::V4, Limits::Short)?;
    let longest = active_down_interval(config.priority, interval_of(2, Limits::Short));
    let waits = longest
        .saturating_mul(5)
        .saturating_add(config.preempt_delay);
    assert!(waits < QUIET, "the config outlasts the quiet");
    Some(config)
}

fn address(node: usize) -> IpAddr {
    let host = u8::try_from(node).unwrap_or(0).saturating_add(1);
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, host))
}

fn encode(message: &mut [u8; 12], source: IpAddr, transmit: Transmit) -> Option<Advert<'_>> {
    let outgoing = Outgoing {
        vrid: 1,
        priority: transmit.priority,
        interval: transmit.interval,
        source,
        destination: IpAddr::V4(GROUP_V4),
        form: AdvertForm::Rfc9568,
    };
    let mut w = Writer::new(message);
    let vip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
    advert::encode(&mut w, &outgoing, [vip]).ok()?;
    let received = Received {
        source,
        destination: outgoing.destination,
        ttl: 255,
        payload: w.finish().ok()?,
    };
    let advert = Advert::parse(received);
    assert!(advert.is_ok(), "what we send is what we accept");
    advert.ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_events_end_with_one_active(bytes in prop::collection::vec(any::<u8>(), 15..200)) {
            super::cluster(&bytes);
        }
    }
}
