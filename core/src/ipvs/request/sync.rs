//! Requests about the connection synchronization daemons.

use super::super::{Command, daemon, top};
use super::{NO_FLAGS, Refused, ask, plain, refused};
use crate::model::{SyncDaemon, SyncState};
use crate::netlink::genl::FamilyId;
use crate::netlink::{Batch, Flags};
use core::net::IpAddr;

/// Appends a request to start a synchronization daemon (`NEW_DAEMON`). What is
/// at the kernel's default is left out.
///
/// # Errors
/// [`Refused`] names the rule it breaks, or says that the batch is full.
pub fn start_daemon(
    batch: &mut Batch<'_>,
    family: FamilyId,
    it: &SyncDaemon,
) -> Result<u32, Refused> {
    refused::daemon(it)?;
    let SyncDaemon {
        state,
        interface,
        sync_id,
        maxlen,
        group,
        port,
        ttl,
    } = it;
    ask(batch, family, Command::NEW_DAEMON, NO_FLAGS, |body| {
        body.nest(top::DAEMON, |nest| {
            nest.u32(daemon::STATE, state.0);
            nest.text(daemon::INTERFACE, interface);
            nest.u32(daemon::SYNC_ID, *sync_id);
            if *maxlen != 0 {
                nest.u16(daemon::MAXLEN, *maxlen);
            }
            match group {
                Some(IpAddr::V4(v4)) => nest.four(daemon::GROUP, v4.octets()),
                Some(IpAddr::V6(v6)) => nest.bytes(daemon::GROUP6, &v6.octets()),
                None => {}
            }
            if *port != 0 {
                nest.u16(daemon::PORT, *port);
            }
            if *ttl != 0 {
                nest.u8(daemon::TTL, *ttl);
            }
        });
    })
}

/// Appends a request to stop a synchronization daemon (`DEL_DAEMON`), whatever
/// its interface.
///
/// Kernels 6.1 and 6.12 stop one that was started a moment ago and then answer
/// nothing at all, not even an ack that was asked for: `kthread_stop` says
/// `EINTR` of a thread that had not run yet, and netlink takes that for "do not
/// reply". A barrier after it is answered all the same.
///
/// # Errors
/// [`Refused`] when it is neither `master` nor `backup`, or the batch is full.
pub fn stop_daemon(
    batch: &mut Batch<'_>,
    family: FamilyId,
    state: SyncState,
) -> Result<u32, Refused> {
    refused::sync_state(state)?;
    ask(batch, family, Command::DEL_DAEMON, NO_FLAGS, |body| {
        body.nest(top::DAEMON, |nest| nest.u32(daemon::STATE, state.0));
    })
}

/// Appends a request to dump the synchronization daemons, none, one or two of
/// them; each row is a [`SyncDaemon`].
///
/// # Errors
/// [`Refused::Full`].
pub fn dump_daemons(batch: &mut Batch<'_>, family: FamilyId) -> Result<u32, Refused> {
    plain(batch, family, Command::GET_DAEMON, Flags::DUMP)
}
