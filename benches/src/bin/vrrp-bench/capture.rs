//! The adverts in a capture of the switch. It knows IPv4, and passes over
//! everything else.

use crate::Result;
use crate::wires::{SWITCH, Wires};
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
        let filter = "ip proto 112";
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

const ETHERNET_BYTES: usize = 14;

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
