//! What the checks of a made-up life say.

use crate::bytes::Overflow;
use crate::check::Kind;
use crate::check::probe::outside::Errand;
use crate::check::probe::{
    Agent, Dns, Expect, Grpc, Pattern, ScriptId, Scripts, Spec, TlsId, Transport, dns,
};

/// How many kinds of them there are.
pub(super) const KINDS: usize = 7;

/// A few scripts, and checks by them.
pub(super) fn kinds(memory: &mut [u64]) -> Result<(Scripts<'_>, [Kind; KINDS]), Overflow> {
    let dns = Dns::new("a.example", dns::RecordType::A);
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
    ];
    let tls = [None, None, None, None, None, None, Some(TlsId(7))];
    let mut written = [[0; 32]; KINDS];
    let mut named: heapless::Vec<(ScriptId, &[u64]), KINDS> = heapless::Vec::new();
    let mut kinds = [Kind::Tcp { half_open: true }; KINDS];
    let each = specs.iter().zip(tls).zip(&mut written).zip(&mut kinds);
    for (((spec, tls), out), kind) in each {
        let words = spec.write(tls, out)?;
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
