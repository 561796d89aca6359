//! The rows of a dump of the connection synchronization daemons.

use super::super::{Command, daemon as d, top};
use super::{name_of, need, nest};
use crate::bytes::Reader;
use crate::model::{SyncDaemon, SyncState};
use crate::netlink::Malformed;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Reads a row of a dump of synchronization daemons. What a kernel does not say
/// (all but state, interface and id before Linux 4.3) is 0 or `None`.
///
/// # Errors
/// [`Malformed`] when it breaks the format or lacks one of those three.
pub fn daemon(body: Reader<'_>, offset: usize) -> Result<SyncDaemon, Malformed> {
    let nest = nest(
        body,
        offset,
        Command::NEW_DAEMON,
        top::DAEMON,
        "synchronization daemon",
    )?;
    let at = nest.offset();
    let (mut state, mut interface, mut sync_id) = (None, None, None);
    let (mut maxlen, mut group, mut port, mut ttl) = (0, None, 0, 0);
    for attribute in nest {
        let attribute = attribute?;
        match attribute.kind {
            d::STATE => state = Some(SyncState(attribute.u32("synchronization state")?)),
            d::INTERFACE => interface = Some(name_of(&attribute, "synchronization interface")?),
            d::SYNC_ID => sync_id = Some(attribute.u32("synchronization id")?),
            d::MAXLEN => maxlen = attribute.u16("synchronization message length")?,
            d::GROUP => {
                let raw = attribute.fixed::<4>("synchronization group")?;
                group = Some(Ipv4Addr::from(raw).into());
            }
            d::GROUP6 => {
                let raw = attribute.fixed::<16>("synchronization group")?;
                group = Some(Ipv6Addr::from(raw).into());
            }
            d::PORT => port = attribute.u16("synchronization port")?,
            d::TTL => ttl = attribute.u8("synchronization ttl")?,
            _ => {}
        }
    }
    Ok(SyncDaemon {
        state: need(state, "synchronization state", at)?,
        interface: need(interface, "synchronization interface", at)?,
        sync_id: need(sync_id, "synchronization id", at)?,
        maxlen,
        group,
        port,
        ttl,
    })
}
