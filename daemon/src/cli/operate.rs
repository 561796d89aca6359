//! `trunnion drain | maint | ready | force-up | force-down`: says what becomes
//! of backends.

use super::show::socket_of;
use super::{Usage, print};
use crate::complain;
use crate::control::operate::{Order, order};
use lexopt::{Arg, Parser};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use trunnion_core::director::plan::OperatorState;

pub(super) const ARGUMENTS: &str = "SERVICE [BACKEND] | --backend ADDRESS";
pub(super) const OPTIONS: &str =
    "  SERVICE             its name or key, as `trunnion show` prints it
  BACKEND             its address, with or without the port; all of the service
                      by default
  --backend ADDRESS   the backends of this address in all services
  --socket PATH       the node's control socket, /run/trunnion/control.sock by default
  --config FILE       take the socket's path from the node's config

It holds until said otherwise, also after a reload or a restart of the daemon.
";

pub(super) fn drain(args: &mut Parser) -> Result<ExitCode, Usage> {
    run(args, OperatorState::Drain)
}

pub(super) fn maint(args: &mut Parser) -> Result<ExitCode, Usage> {
    run(args, OperatorState::Maint)
}

pub(super) fn ready(args: &mut Parser) -> Result<ExitCode, Usage> {
    run(args, OperatorState::Ready)
}

pub(super) fn force_up(args: &mut Parser) -> Result<ExitCode, Usage> {
    run(args, OperatorState::ForcedUp)
}

pub(super) fn force_down(args: &mut Parser) -> Result<ExitCode, Usage> {
    run(args, OperatorState::ForcedDown)
}

fn run(args: &mut Parser, state: OperatorState) -> Result<ExitCode, Usage> {
    let (mut socket, mut config) = (None, None);
    let (mut names, mut everywhere) = (Vec::new(), None);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("socket") => socket = Some(PathBuf::from(args.value()?)),
            Arg::Long("config") => config = Some(PathBuf::from(args.value()?)),
            Arg::Long("backend") => {
                everywhere = Some(args.value()?.to_string_lossy().into_owned());
            }
            Arg::Value(name) if names.len() < 2 => {
                names.push(name.to_string_lossy().into_owned());
            }
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let mut names = names.into_iter();
    let (service, backend) = match (names.next(), names.next(), everywhere) {
        (None, None, Some(backend)) => (String::new(), backend),
        (Some(service), backend, None) => (service, backend.unwrap_or_default()),
        _ => {
            let words = format!("write trunnion {} {ARGUMENTS}", state.words());
            return Err(Usage(words));
        }
    };
    let Some(socket) = socket_of(socket, config)? else {
        return Ok(ExitCode::FAILURE);
    };
    let asked = Order {
        state,
        service,
        backend,
    };
    let changed = match order(&socket, &asked) {
        Ok(changed) => changed,
        Err(silence) => {
            complain(format_args!("trunnion: {silence}"));
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut text = String::new();
    for (service, backend, was) in &changed.backends {
        let (was, is) = (was.words(), state.words());
        let _ = writeln!(text, "{service} {backend}: {was} -> {is}");
    }
    print(text);
    for warning in &changed.warnings {
        complain(format_args!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
