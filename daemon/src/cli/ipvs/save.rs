//! `trunnion ipvs save`: the kernel's table as lines of ipvsadm's save format.

use super::{Output, Trouble, ended, list, order, rule};
use crate::cli::Usage;
use crate::complain;
use lexopt::{Arg, Parser};
use serde_json::json;
use std::process::ExitCode;
use trunnion_sys::ipvs::Ipvs;

/// Help on the options.
pub(super) const OPTIONS: &str =
    "  -n, --numeric   no other is known: addresses and ports are never names
      --json      a JSON object with the lines
";

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut as_json = false;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => as_json = true,
            Arg::Short('n') | Arg::Long("numeric") => {}
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        }
    }
    Ok(ended(save(as_json)))
}

fn save(as_json: bool) -> Result<(), Trouble> {
    let mut ipvs = Ipvs::open()?;
    let mut rows = Vec::new();
    ipvs.services(|entry| rows.push(entry))?;
    let mut lines = Lines::new(as_json)?;
    for entry in order::services(rows) {
        let key = &entry.service.key;
        let Some(destinations) = list::destinations(&mut ipvs, key, false)? else {
            continue;
        };
        lines.put(
            &format!("-A {}", rule::service(&entry.service, entry.odd_mask)),
            rule::service_loses(&entry.service),
        )?;
        for entry in destinations {
            let it = &entry.destination;
            lines.put(
                &format!("-a {}", rule::destination(key, it)),
                rule::destination_loses(it),
            )?;
        }
    }
    lines.finish()
}

/// The lines as they come, plain or as an array.
struct Lines {
    out: Output,
    as_json: bool,
    separator: &'static str,
}

impl Lines {
    fn new(as_json: bool) -> Result<Self, Trouble> {
        let mut out = Output::new();
        if as_json {
            out.put("{\n\"lines\": [")?;
        }
        Ok(Self {
            out,
            as_json,
            separator: "\n",
        })
    }

    /// `loses` is what the line says nothing of.
    fn put(&mut self, line: &str, loses: Option<&str>) -> Result<(), Trouble> {
        if let Some(what) = loses {
            complain(format_args!(
                "trunnion: warning: ipvsadm has no words for {what}: {line}"
            ));
        }
        if self.as_json {
            self.out.put(self.separator)?;
            self.out.put(&json!(line).to_string())?;
            self.separator = ",\n";
            Ok(())
        } else {
            self.out.put(line)?;
            self.out.put("\n")
        }
    }

    fn finish(mut self) -> Result<(), Trouble> {
        if self.as_json {
            self.out.put("\n]\n}\n")?;
        }
        self.out.finish()
    }
}
