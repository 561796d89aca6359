//! `trunnion runner --jobs N`, which the daemon starts and no person does: the
//! help does not show it.

use super::Usage;
use crate::complain;
use lexopt::{Arg, Parser, ValueExt};
use std::process::ExitCode;

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut jobs = None;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("jobs") => jobs = Some(args.value()?.parse()?),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let jobs = jobs.ok_or_else(|| Usage("runner is for the daemon to start".to_owned()))?;
    match crate::run::runner::help(jobs) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            complain(format_args!("error runner: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
