//! `trunnion check FILE`: reads a config and says everything that is wrong
//! with it.

use super::{Usage, print};
use crate::complain;
use crate::config::{Config, Errors, Mistake, Refused};
use lexopt::{Arg, Parser};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut file: Option<PathBuf> = None;
    let mut as_json = false;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => as_json = true,
            Arg::Value(path) if file.is_none() => file = Some(path.into()),
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let file = file.ok_or_else(|| Usage("write the file: trunnion check FILE".to_owned()))?;
    let name = file.display().to_string();
    let result = if name == "-" {
        standard_input()
    } else {
        Config::load(&file)
    };
    if as_json {
        print(format_args!("{:#}\n", to_json(&name, &result)));
    } else {
        say(&name, &result);
    }
    Ok(match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn standard_input() -> Result<Config, Refused> {
    const NAME: &str = "standard input";
    let mut bytes = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => Config::parse_bytes(&bytes, NAME).map_err(Refused::Wrong),
        Err(error) => Err(Refused::Unread {
            file: NAME.to_owned(),
            error,
        }),
    }
}

fn say(name: &str, result: &Result<Config, Refused>) {
    match result {
        Ok(config) => {
            for warning in &config.warnings {
                complain(warning);
            }
            print(config);
            print(format_args!("{name}: right\n"));
        }
        Err(refused) => complain(refused),
    }
}

/// `{"file", "valid", "errors", "warnings", "mistakes": [..]}`; `"unread"` with
/// the reason where the file cannot be read.
fn to_json(name: &str, result: &Result<Config, Refused>) -> Value {
    let mistakes: &[Mistake] = match result {
        Ok(config) => &config.warnings,
        Err(Refused::Wrong(errors)) => &errors.mistakes,
        Err(Refused::Unread { .. }) => &[],
    };
    let unread = match result {
        Err(Refused::Unread { error, .. }) => Some(error.to_string()),
        Ok(_) | Err(Refused::Wrong(_)) => None,
    };
    let (errors, warnings) = match result {
        Err(Refused::Wrong(errors)) => Errors::count(errors),
        Ok(_) | Err(Refused::Unread { .. }) => (0, mistakes.len()),
    };
    json!({
        "file": name,
        "valid": result.is_ok(),
        "unread": unread,
        "errors": errors,
        "warnings": warnings,
        "mistakes": mistakes.iter().map(Mistake::to_json).collect::<Vec<_>>(),
    })
}
