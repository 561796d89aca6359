//! `trunnion ipvs list`: the kernel's table, row by row as it is read.

use super::listing::{Form, Listing, header, version};
use super::select::Selection;
use super::simple::{no_service, show_timeouts};
use super::{Output, Trouble, connections, ended, json, order, sync};
use crate::cli::Usage;
use lexopt::{Arg, Parser};
use std::process::ExitCode;
use trunnion_core::ipvs::{DestinationEntry, ServiceEntry};
use trunnion_core::model::ServiceKey;
use trunnion_core::netlink::Errno;
use trunnion_sys::ipvs::{Error, Ipvs};

/// Help on the options.
pub(super) const OPTIONS: &str = "  -t, -u, --sctp-service ADDRESS:PORT, -f MARK [-6]
                      one service instead of all
      --stats         counters since they were zeroed
      --rate          the same per second
      --thresholds    connection thresholds
      --persistent-conn
                      persistence templates
      --tun-info      tunnels of destinations
  -X, --exact         counters in full, not scaled to K, M, G, T
      --nosort        in the kernel's order; --sort, the default, in ipvsadm's
  -n, --numeric       no other is known: addresses and ports are never names
  -c, --connection    connections instead of the table; with --persistent-conn
                      also what a persistence engine knows of them
      --timeout       the timeouts of connections instead of the table
      --daemon        the synchronization daemons instead of the table
      --json          a JSON object with everything
";

/// What to print.
#[derive(Debug, Default)]
struct Wish {
    listing: Listing,
    form: Option<&'static str>,
    service: Option<ServiceKey>,
    unsorted: bool,
    instead: Option<Instead>,
    as_json: bool,
}

/// What is printed instead of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    Connections,
    Timeouts,
    Daemons,
}

impl Instead {
    const fn name(self) -> &'static str {
        match self {
            Self::Connections => "--connection",
            Self::Timeouts => "--timeout",
            Self::Daemons => "--daemon",
        }
    }
}

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let wish = read(args)?;
    Ok(ended(match wish.instead {
        Some(Instead::Connections) => {
            connections::show(wish.listing.form == Form::Persistent, wish.as_json)
        }
        Some(Instead::Timeouts) => show_timeouts(wish.as_json),
        Some(Instead::Daemons) => sync::show(wish.as_json),
        None => table(&wish),
    }))
}

fn read(args: &mut Parser) -> Result<Wish, Usage> {
    let mut wish = Wish::default();
    let mut selection = Selection::default();
    while let Some(arg) = args.next()? {
        if let Some(kind) = selection.take(&arg) {
            selection.value(kind, args)?;
            continue;
        }
        let (form, name) = match arg {
            Arg::Long("stats") => (Form::Stats, "--stats"),
            Arg::Long("rate") => (Form::Rate, "--rate"),
            Arg::Long("thresholds") => (Form::Thresholds, "--thresholds"),
            Arg::Long("persistent-conn") => (Form::Persistent, "--persistent-conn"),
            Arg::Long("tun-info") => (Form::Tunnel, "--tun-info"),
            Arg::Short('X') | Arg::Long("exact") => {
                wish.listing.exact = true;
                continue;
            }
            Arg::Long("nosort") => {
                wish.unsorted = true;
                continue;
            }
            Arg::Long("json") => {
                wish.as_json = true;
                continue;
            }
            Arg::Short('c') | Arg::Long("connection") => {
                instead(&mut wish, Instead::Connections)?;
                continue;
            }
            Arg::Long("timeout") => {
                instead(&mut wish, Instead::Timeouts)?;
                continue;
            }
            Arg::Long("daemon") => {
                instead(&mut wish, Instead::Daemons)?;
                continue;
            }
            Arg::Short('n') | Arg::Long("numeric" | "sort") => continue,
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
        };
        one(wish.form, name)?;
        wish.form = Some(name);
        wish.listing.form = form;
    }
    wish.service = selection.finish()?;
    if let Some(instead) = wish.instead {
        let of_connections =
            instead == Instead::Connections && wish.listing.form == Form::Persistent;
        one(wish.form.filter(|_| !of_connections), instead.name())?;
        one(wish.service.map(|_| "a service"), instead.name())?;
    }
    Ok(wish)
}

fn instead(wish: &mut Wish, what: Instead) -> Result<(), Usage> {
    one(wish.instead.map(Instead::name), what.name())?;
    wish.instead = Some(what);
    Ok(())
}

/// Of things that exclude each other one is asked for.
fn one(before: Option<&'static str>, name: &'static str) -> Result<(), Usage> {
    match before {
        Some(before) if before != name => Err(Usage(format!("write {before} or {name}, not both"))),
        Some(_) | None => Ok(()),
    }
}

fn table(wish: &Wish) -> Result<(), Trouble> {
    let mut ipvs = Ipvs::open()?;
    let mut out = Output::new();
    let services = match &wish.service {
        Some(key) => vec![ipvs.get_service(key)?.ok_or_else(|| no_service(key))?],
        None => {
            let mut rows = Vec::new();
            ipvs.services(|entry| rows.push(entry))?;
            if wish.unsorted {
                rows
            } else {
                order::services(rows)
            }
        }
    };
    if wish.as_json {
        objects(&mut ipvs, &mut out, wish, &services)?;
    } else {
        if wish.service.is_none() {
            out.put(&header(ipvs.info()?))?;
        }
        rows(&mut ipvs, &mut out, wish, &services)?;
    }
    out.finish()
}

fn rows(
    ipvs: &mut Ipvs,
    out: &mut Output,
    wish: &Wish,
    services: &[ServiceEntry],
) -> Result<(), Trouble> {
    out.put(&wish.listing.title())?;
    let mut text = String::new();
    for entry in services {
        let Some(destinations) = destinations(ipvs, &entry.service.key, wish.unsorted)? else {
            continue;
        };
        text.clear();
        wish.listing.service(&mut text, entry);
        for entry in &destinations {
            wish.listing.destination(&mut text, entry);
        }
        out.put(&text)?;
    }
    Ok(())
}

/// One object, its services one on a line, so that a table of any size goes
/// through.
fn objects(
    ipvs: &mut Ipvs,
    out: &mut Output,
    wish: &Wish,
    services: &[ServiceEntry],
) -> Result<(), Trouble> {
    let info = ipvs.info()?;
    out.put(&format!(
        "{{\n\"version\": \"{}\",\n\"connection_table_size\": {},\n\"services\": [",
        version(info.version),
        info.table_size
    ))?;
    let mut separator = "\n";
    for entry in services {
        let Some(destinations) = destinations(ipvs, &entry.service.key, wish.unsorted)? else {
            continue;
        };
        let destinations = destinations.iter().map(json::destination).collect();
        out.put(separator)?;
        out.put(&json::service(entry, destinations).to_string())?;
        separator = ",\n";
    }
    out.put("\n]\n}\n")
}

/// The destinations of a service; `None` when it went away meanwhile.
pub(super) fn destinations(
    ipvs: &mut Ipvs,
    key: &ServiceKey,
    unsorted: bool,
) -> Result<Option<Vec<DestinationEntry>>, Trouble> {
    let mut rows = Vec::new();
    match ipvs.destinations(key, |entry| rows.push(entry)) {
        Ok(()) if unsorted => Ok(Some(rows)),
        Ok(()) => Ok(Some(order::destinations(rows))),
        Err(Error::Kernel {
            errno: Errno::ESRCH,
            ..
        }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
