//! The adverts in a capture of the switch. It knows IPv4, and passes over
//! everything else.

use crate::Result;
use crate::wires::{SWITCH, Wires};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use trunnion_benches::capture;

pub use capture::now;

/// One advert as it passed.
#[derive(Clone, Copy, Debug)]
pub struct Advert {
    /// When, since 1970, by the kernel.
    pub at: Duration,
    /// Who sent it.
    pub source: Ipv4Addr,
    pub vrid: u8,
    /// 0 is a farewell.
    pub priority: u8,
}

/// A capture that runs.
pub struct Capture(capture::Capture);

impl Capture {
    /// Begins; from its return nothing is missed.
    pub fn start(wires: &Wires) -> Result<Self> {
        Self::of(wires, "ip proto 112")
    }

    /// The same, of gratuitous ARP too.
    pub fn with_announcements(wires: &Wires) -> Result<Self> {
        Self::of(wires, "ip proto 112 or arp")
    }

    fn of(wires: &Wires, filter: &str) -> Result<Self> {
        capture::Capture::start(&wires.switch, SWITCH, filter, &wires.directory).map(Self)
    }

    /// Ends, and says what passed.
    pub fn finish(self) -> Result<Vec<Advert>> {
        let mut adverts = Vec::new();
        self.0.finish(|at, frame| {
            adverts.extend(frame.get(ETHERNET_BYTES..).and_then(|ip| advert(at, ip)));
        })?;
        Ok(adverts)
    }
}

/// What [`Capture::with_announcements`] saw.
#[derive(Default)]
pub struct Seen {
    pub adverts: Vec<Advert>,
    /// When an address was first announced.
    pub announced: BTreeMap<Ipv4Addr, Duration>,
}

impl Capture {
    /// Ends, and says what passed.
    pub fn finish_with_announcements(self) -> Result<Seen> {
        let mut seen = Seen::default();
        self.0.finish(|at, frame| {
            let (Some(kind), Some(rest)) = (frame.get(12..14), frame.get(ETHERNET_BYTES..)) else {
                return;
            };
            if kind == ARP {
                if let Some(address) = gratuitous(rest) {
                    seen.announced.entry(address).or_insert(at);
                }
            } else {
                seen.adverts.extend(advert(at, rest));
            }
        })?;
        Ok(seen)
    }
}

const ETHERNET_BYTES: usize = 14;
/// `ETHERTYPE_ARP`.
const ARP: [u8; 2] = [8, 6];

/// The address of an ARP packet whose sender asks for itself, or answers so.
fn gratuitous(arp: &[u8]) -> Option<Ipv4Addr> {
    let sender: [u8; 4] = arp.get(14..18)?.try_into().ok()?;
    let target: [u8; 4] = arp.get(24..28)?.try_into().ok()?;
    (sender == target).then_some(sender.into())
}

fn advert(at: Duration, ip: &[u8]) -> Option<Advert> {
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let source: [u8; 4] = ip.get(12..16)?.try_into().ok()?;
    let vrrp = ip.get(header..)?;
    Some(Advert {
        at,
        source: source.into(),
        vrid: *vrrp.get(1)?,
        priority: *vrrp.get(2)?,
    })
}
