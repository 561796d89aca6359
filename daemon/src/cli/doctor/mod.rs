//! `trunnion doctor`: what this host lacks of what the config needs, and the
//! line to type for each. It changes nothing, but that asking for IPVS makes
//! the kernel load it.
//!
//! Each check is a function of a [`Host`] and a config; all of them are in
//! [`CHECKS`], in the order they are told.

mod capabilities;
mod finding;
mod host;
mod kernel;
mod network;
mod system;
mod table;
#[cfg(test)]
mod tests;

use super::{Usage, print};
use crate::complain;
use crate::config::Config;
use finding::{Finding, Level, to_json};
use host::Host;
use lexopt::{Arg, Parser};
use std::path::PathBuf;
use std::process::ExitCode;

/// What looks for one kind of lack.
type Check = fn(&Host, &Config) -> Vec<Finding>;

const CHECKS: &[Check] = &[
    kernel::ipvs,
    kernel::modules,
    kernel::parameters,
    capabilities::all,
    system::realtime,
    system::open_files,
    system::run_dir,
    network::interfaces,
    network::forwarding,
    network::reverse_path,
    network::arp,
    network::port_reuse,
    network::neighbours,
    network::buffers,
    table::strangers,
    table::others,
    network::backends,
];

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let (mut file, mut as_json) = (None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => as_json = true,
            Arg::Short('c') | Arg::Long("config") => file = Some(PathBuf::from(args.value()?)),
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    let config = match &file {
        Some(file) => Config::load(file),
        // What holds for any balancer.
        None => Config::parse("", "").map_err(crate::config::Refused::Wrong),
    };
    let config = match config {
        Ok(config) => config,
        Err(refused) => {
            complain(refused);
            return Ok(ExitCode::FAILURE);
        }
    };
    let findings = examine(&Host::this(), &config);
    if as_json {
        print(format_args!("{:#}\n", to_json(&findings)));
    } else {
        print(finding::Report(&findings));
    }
    let healthy = findings.iter().all(|f| f.level != Level::Problem);
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn examine(host: &Host, config: &Config) -> Vec<Finding> {
    CHECKS
        .iter()
        .flat_map(|check| check(host, config))
        .collect()
}
