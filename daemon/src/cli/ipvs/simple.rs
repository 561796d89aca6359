//! `trunnion ipvs zero | flush | timeout`: one request each.

use super::select::Selection;
use super::{Trouble, ended, json, words};
use crate::cli::{Usage, print};
use lexopt::{Arg, Parser};
use std::process::ExitCode;
use trunnion_core::ipvs::Timeouts;
use trunnion_core::model::ServiceKey;
use trunnion_core::netlink::Errno;
use trunnion_sys::ipvs::{Error, Ipvs};

/// `trunnion ipvs zero [SERVICE]`.
pub(super) fn zero(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut selection = Selection::default();
    while let Some(arg) = args.next()? {
        let Some(kind) = selection.take(&arg) else {
            return Err(arg.unexpected().into());
        };
        selection.value(kind, args)?;
    }
    let key = selection.finish()?;
    Ok(ended(zero_counters(key.as_ref())))
}

fn zero_counters(key: Option<&ServiceKey>) -> Result<(), Trouble> {
    match (Ipvs::open()?.zero(key), key) {
        (
            Err(Error::Kernel {
                errno: Errno::ESRCH,
                ..
            }),
            Some(key),
        ) => Err(no_service(key)),
        (result, _) => Ok(result?),
    }
}

/// The service that was named is not there.
pub(super) fn no_service(key: &ServiceKey) -> Trouble {
    let name = words::option(key);
    Trouble::Said(format!("no such service: {name}"))
}

/// `trunnion ipvs flush`.
pub(super) fn flush(args: &mut Parser) -> Result<ExitCode, Usage> {
    if let Some(arg) = args.next()? {
        return Err(arg.unexpected().into());
    }
    let flush = || Ok(Ipvs::open()?.flush()?);
    Ok(ended(flush()))
}

/// `trunnion ipvs timeout [--set TCP TCPFIN UDP]`.
pub(super) fn timeout(args: &mut Parser) -> Result<ExitCode, Usage> {
    let (mut set, mut as_json) = (None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => as_json = true,
            Arg::Long("set") => {
                set = Some(Timeouts {
                    tcp_s: seconds(args)?,
                    tcp_fin_s: seconds(args)?,
                    udp_s: seconds(args)?,
                });
            }
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    Ok(ended(match set {
        Some(timeouts) => set_timeouts(&timeouts),
        None => show_timeouts(as_json),
    }))
}

fn seconds(args: &mut Parser) -> Result<u32, Usage> {
    let value = args
        .value()
        .map_err(|_| Usage("--set takes three timeouts, tcp tcpfin udp, in seconds".to_owned()))?;
    let value = value.to_string_lossy();
    super::select::number(&value)
        .ok_or_else(|| Usage(format!("`{value}` is no timeout: write whole seconds")))
}

fn set_timeouts(timeouts: &Timeouts) -> Result<(), Trouble> {
    Ok(Ipvs::open()?.set_timeouts(timeouts)?)
}

/// Prints the timeouts of connections.
pub(super) fn show_timeouts(as_json: bool) -> Result<(), Trouble> {
    let timeouts = Ipvs::open()?.timeouts()?;
    if as_json {
        print(format_args!("{:#}\n", json::timeouts(&timeouts)));
    } else {
        let Timeouts {
            tcp_s,
            tcp_fin_s,
            udp_s,
        } = timeouts;
        print(format_args!(
            "Timeout (tcp tcpfin udp): {tcp_s} {tcp_fin_s} {udp_s}\n"
        ));
    }
    Ok(())
}
