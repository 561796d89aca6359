//! `trunnion failover`: tells a running node to let its peers take over, and
//! says who did.

use super::show::socket_of;
use super::{Usage, print};
use crate::complain;
use crate::config::duration;
use crate::control::state::{HeardState, RouterState};
use crate::control::{self, Failover};
use lexopt::{Arg, Parser, ValueExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};
use trunnion_core::vrrp::Role;

/// How long a peer is left alone unless the operator says otherwise.
const HOLD: Duration = Duration::from_secs(60);
/// How long it is watched who takes over, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let (mut name, mut all, mut hold, mut cancel) = (None, false, None, false);
    let (mut path, mut config) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("all") => all = true,
            Arg::Long("cancel") => cancel = true,
            Arg::Long("for") => {
                let text = args.value()?.string()?;
                let time =
                    duration(&text).map_err(|help| Usage(format!("--for {text}: {help}")))?;
                hold = Some(time);
            }
            Arg::Long("socket") => path = Some(PathBuf::from(args.value()?)),
            Arg::Long("config") => config = Some(PathBuf::from(args.value()?)),
            Arg::Value(word) if name.is_none() => name = Some(word.string()?),
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let name = match (name, all) {
        (Some(name), false) => name,
        (None, true) => String::new(),
        (None, false) | (Some(_), true) => {
            let help = "write the NAME of a virtual router or a group, or --all";
            return Err(Usage(help.to_owned()));
        }
    };
    if cancel && hold.is_some() {
        return Err(Usage("write --for or --cancel, not both".to_owned()));
    }
    let Some(path) = socket_of(path, config)? else {
        return Ok(ExitCode::FAILURE);
    };
    let hold = (!cancel).then(|| hold.unwrap_or(HOLD));
    let began = Instant::now();
    match control::fail_over(&path, &Failover { name, hold }) {
        Ok(count) if cancel => {
            print(format_args!("{} may preempt again\n", routers(count)));
            Ok(ExitCode::SUCCESS)
        }
        Ok(count) => Ok(watch(&path, count, began)),
        Err(silence) => {
            complain(format_args!("trunnion: {silence}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn routers(count: u32) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} virtual router{s}")
}

/// Watches until each router that failed over has a peer, or none.
fn watch(path: &Path, count: u32, began: Instant) -> ExitCode {
    print(format_args!("{} resigned\n", routers(count)));
    let mut left = None;
    while began.elapsed() < PATIENCE {
        let state = match control::fetch(path) {
            Ok(state) => state,
            Err(silence) => {
                complain(format_args!("trunnion: {silence}"));
                return ExitCode::FAILURE;
            }
        };
        let held = |router: &&RouterState| router.moves.held.is_some();
        let of: Vec<RouterState> = state.routers.iter().filter(held).cloned().collect();
        let open = of
            .iter()
            .filter(|router| peer(router, began).is_none())
            .count();
        if open == 0 && !of.is_empty() {
            for router in &of {
                let peer = peer(router, began).map_or_else(String::new, |p| p.source.to_string());
                print(format_args!("{}: {peer} has taken over\n", router.name));
            }
            return ExitCode::SUCCESS;
        }
        // Who is Active again is not held any more.
        if of.is_empty() {
            break;
        }
        left = Some(of);
        sleep(LOOK);
    }
    for router in left.iter().flatten().filter(|r| peer(r, began).is_none()) {
        complain(format_args!(
            "trunnion: {}: nobody has taken over: it is active here again, or will be",
            router.name
        ));
    }
    ExitCode::FAILURE
}

/// Who has spoken as Active since.
fn peer(router: &RouterState, began: Instant) -> Option<HeardState> {
    let heard = router.moves.heard?;
    let since = heard.priority > 0 && heard.ago < began.elapsed();
    (since && router.role == Role::Backup).then_some(heard)
}
