//! `trunnion show`: asks a running node for its state and prints it.

use super::{Usage, print};
use crate::complain;
use crate::config::{Config, SOCKET_NAME};
use crate::control;
use lexopt::{Arg, Parser};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let (mut socket, mut config, mut as_json) = (None, None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => as_json = true,
            Arg::Long("socket") => socket = Some(PathBuf::from(args.value()?)),
            Arg::Long("config") => config = Some(PathBuf::from(args.value()?)),
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let Some(socket) = socket_of(socket, config)? else {
        return Ok(ExitCode::FAILURE);
    };
    match control::fetch(&socket) {
        Ok(state) if as_json => print(format_args!("{:#}\n", state.to_json())),
        Ok(state) => print(state),
        Err(silence) => {
            complain(format_args!("trunnion: {silence}"));
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the node's control socket is; `None` where the config that should say
/// so has mistakes, which are printed.
pub(super) fn socket_of(
    socket: Option<PathBuf>,
    config: Option<PathBuf>,
) -> Result<Option<PathBuf>, Usage> {
    match (socket, config) {
        (Some(_), Some(_)) => Err(Usage("write --socket or --config, not both".to_owned())),
        (Some(socket), None) => Ok(Some(socket)),
        (None, Some(config)) => match Config::load(&config) {
            Ok(config) => Ok(Some(config.node.socket())),
            Err(refused) => {
                complain(refused);
                Ok(None)
            }
        },
        (None, None) => Ok(Some(Path::new("/run/trunnion").join(SOCKET_NAME))),
    }
}
