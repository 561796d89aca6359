//! `trunnion guardian --run-dir DIR`, which the daemon starts and no person
//! does: the help does not show it.

use super::Usage;
use crate::complain;
use lexopt::{Arg, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut run_dir = None;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("run-dir") => run_dir = Some(PathBuf::from(args.value()?)),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let run_dir = run_dir.ok_or_else(|| Usage("guardian is for the daemon to start".to_owned()))?;
    match crate::run::guardian(&run_dir) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            complain(format_args!("error guardian: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
