//! What the checks of a made-up life say, and some of what comes of it.

use super::super::SocketId;
use super::Life;
use crate::bytes::Overflow;
use crate::check::probe::http::Request;
use crate::check::probe::outside::{Errand, Outcome};
use crate::check::probe::{
    Agent, Dns, Expect, Grpc, Http, Pattern, ScriptId, Scripts, Spec, TlsId, Transport, dns,
};
use crate::check::{CheckConfig, Kind, NameId, Verdict};
use crate::netlink::Errno;
use crate::time::Duration;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How many kinds of them there are.
pub(super) const KINDS: usize = 9;
/// Which of them asks a DNS server by TCP.
pub(super) const DNS_BY_TCP: usize = 8;

/// A few scripts, and checks by them.
pub(super) fn kinds(memory: &mut [u64]) -> Result<(Scripts<'_>, [Kind; KINDS]), Overflow> {
    let dns = Dns::new("a.example", dns::RecordType::A);
    let by_tcp = Dns {
        transport: Transport::Stream,
        ..dns
    };
    let anywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let http = Http {
        body: Pattern::Contains(b"ready"),
        ..Http::new(Request {
            keep_alive: true,
            ..Request::get(anywhere, "/")
        })
    };
    let specs = [
        Spec::Stream(Expect::new(b"PING", Pattern::Prefix(b"+OK"))),
        Spec::Agent(Agent { send: b"" }),
        Spec::Grpc(Grpc {
            authority: "",
            service: "",
            tls: false,
        }),
        Spec::Datagram(Expect::new(b"", Pattern::Contains(b"k"))),
        Spec::Dns(&dns),
        Spec::Errand(Errand::File(b"/weight")),
        Spec::Stream(Expect::new(b"over tls", Pattern::Prefix(b"+OK"))),
        Spec::Http(&http),
        Spec::Dns(&by_tcp),
    ];
    let tls = |at: usize| (at == 6).then_some(TlsId(7));
    let mut written = [[0; 64]; KINDS];
    let mut named: heapless::Vec<(ScriptId, &[u64]), KINDS> = heapless::Vec::new();
    let mut kinds = [Kind::Tcp { half_open: true }; KINDS];
    let each = specs.iter().zip(&mut written).zip(&mut kinds);
    for (at, ((spec, out), kind)) in each.enumerate() {
        let words = spec.write(tls(at), out)?;
        let script = out.get(..words).unwrap_or_default();
        let id = ScriptId::of(script);
        named.push((id, script)).ok();
        *kind = match spec.transport() {
            Transport::Stream => Kind::Stream(id),
            Transport::Datagram => Kind::Datagram(id),
            Transport::Errand => Kind::Errand(id),
        };
    }
    named.sort_unstable();
    Ok((Scripts::write(&named, memory)?, kinds))
}

/// A check of this kind.
pub(super) fn config_of(kind: Kind) -> CheckConfig {
    let target = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 7);
    CheckConfig {
        rise: 1,
        fall: 1,
        ..CheckConfig::new(kind, target)
    }
}

/// One of a few targets with one of a few times, zero and absurd ones included;
/// some are a name, which is at `named`.
pub(super) fn config(who: u8, times: u8, named: [u8; 4], kinds: &[Kind]) -> CheckConfig {
    let (name, address): (_, IpAddr) = if who.is_multiple_of(5) {
        (NameId(1), named.into())
    } else if who.is_multiple_of(3) {
        (NameId::NONE, Ipv6Addr::LOCALHOST.into())
    } else {
        (NameId::NONE, Ipv4Addr::LOCALHOST.into())
    };
    let half_open = who & 0x80 != 0;
    let kind = match usize::from(who >> 3) % 11 {
        9 => Kind::Syn,
        n => *kinds.get(n).unwrap_or(&Kind::Tcp { half_open }),
    };
    let target = SocketAddr::new(address, u16::from(who % 7));
    let interval = Duration::from_millis(match times % 4 {
        0 => 0,
        1 => 1000,
        2 => 5000,
        _ => 60_000,
    });
    CheckConfig {
        name,
        interval,
        timeout: Duration::from_secs(u64::from((times >> 2) % 4)),
        rise: times >> 6,
        fall: times >> 5,
        ..CheckConfig::new(kind, target)
    }
}

impl Life<'_> {
    /// The last question comes back, as an answer that is too long.
    pub(super) fn truncated(&mut self) {
        if let Some((seat, mut answer)) = self.asked.take() {
            if let Some(flags) = answer.get_mut(2) {
                *flags |= 0x82;
            }
            self.engine.handle_bytes(self.now, seat, &answer);
        }
    }

    /// An errand is done, or one that nobody sent anybody on.
    pub(super) fn outcome(&mut self, seat: SocketId, what: u8) {
        let before = self.healths();
        let outcome = match what & 7 {
            0 => Outcome::Content(b"7"),
            1 => Outcome::NotRead(Errno(2)),
            2 => Outcome::TimedOut,
            3 => Outcome::Late,
            _ => Outcome::NotRun(Errno(11)),
        };
        self.engine.handle_outcome(self.now, seat, &outcome);
        if let Verdict::Indeterminate(_) = outcome.weigh(false).verdict {
            assert_eq!(before, self.healths(), "local trouble is a verdict");
        }
    }
}
