//! `trunnion run --config FILE`.

use super::Usage;
use crate::complain;
use lexopt::{Arg, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut config = None;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Short('c') | Arg::Long("config") => config = Some(PathBuf::from(args.value()?)),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    let config = config.ok_or_else(|| Usage("run needs --config FILE".to_owned()))?;
    match crate::run::run(&config) {
        Ok(code) => Ok(code),
        Err(error) => {
            complain(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}
