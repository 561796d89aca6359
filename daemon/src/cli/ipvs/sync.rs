//! `trunnion ipvs daemon`: the kernel's daemons that synchronize connections
//! between two balancers.

use super::words::Host;
use super::{Trouble, ended, select};
use crate::cli::{Usage, print};
use lexopt::{Arg, Parser};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::process::ExitCode;
use trunnion_core::model::{InterfaceName, SyncDaemon, SyncState};
use trunnion_core::netlink::Errno;
use trunnion_sys::ipvs::{Error, Ipvs};

/// Help on the options.
pub(super) const OPTIONS: &str = concat!(
    "  Without a verb it prints the daemons that run.\n\n",
    "  STATE is master, which sends, or backup, which hears\n\n", // tidy: allow(master): ipvsadm(8)
    "  start STATE                   start it
    --mcast-interface NAME      the interface to multicast on; needed
    --syncid N                  id in each message, 0 to 255; 0 by default
    --sync-maxlen BYTES         longest message; by the interface's MTU by default
    --mcast-group ADDRESS       multicast group; 224.0.0.81 by default
    --mcast-port PORT           UDP port; 8848 by default
    --mcast-ttl TTL             TTL or hop limit; 1 by default
  stop STATE                    stop it
  --json                        print the daemons that run as a JSON object
"
);

/// The longest message: 65535 without IPv4 and UDP headers.
const MAXLEN_MAX: u16 = 65535 - 20 - 8;

pub(super) fn run(args: &mut Parser) -> Result<ExitCode, Usage> {
    let mut as_json = false;
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("json") => as_json = true,
            Arg::Value(word) if word == "start" => {
                let daemon = read(args)?;
                return Ok(ended(start(&daemon)));
            }
            Arg::Value(word) if word == "stop" => {
                let state = state(args)?;
                if let Some(arg) = args.next()? {
                    return Err(arg.unexpected().into());
                }
                return Ok(ended(stop(state)));
            }
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    Ok(ended(show(as_json)))
}

/// Prints the daemons that run.
pub(super) fn show(as_json: bool) -> Result<(), Trouble> {
    let mut daemons = Vec::new();
    Ipvs::open()?.daemons(|daemon| daemons.push(daemon))?;
    if as_json {
        let all: Vec<_> = daemons.iter().map(object).collect();
        print(format_args!("{:#}\n", json!({ "daemons": all })));
    } else {
        for daemon in &daemons {
            print(format_args!("{}\n", line(daemon)));
        }
    }
    Ok(())
}

fn read(args: &mut Parser) -> Result<SyncDaemon, Usage> {
    let mut daemon = SyncDaemon::new(state(args)?, InterfaceName::new(), 0);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("mcast-interface") => {
                let value = args.value()?;
                let name = value.to_string_lossy();
                daemon.interface = InterfaceName::try_from(&*name).map_err(|_| {
                    Usage(format!(
                        "`{name}` is no interface: names have 1 to 15 bytes"
                    ))
                })?;
            }
            Arg::Long("syncid") => daemon.sync_id = number(args, "--syncid", 0, 255)?,
            Arg::Long("sync-maxlen") => {
                daemon.maxlen = number(args, "--sync-maxlen", 1, MAXLEN_MAX)?;
            }
            Arg::Long("mcast-group") => {
                let value = args.value()?;
                let group = value.to_string_lossy();
                let found = group.parse().ok().filter(IpAddr::is_multicast);
                daemon.group = Some(found.ok_or_else(|| {
                    Usage(format!(
                        "`{group}` is no multicast group: write one like 224.0.0.81 or ff02::81"
                    ))
                })?);
            }
            Arg::Long("mcast-port") => daemon.port = number(args, "--mcast-port", 1, u16::MAX)?,
            Arg::Long("mcast-ttl") => daemon.ttl = number(args, "--mcast-ttl", 1, u8::MAX)?,
            Arg::Value(_) | Arg::Short(_) | Arg::Long(_) => return Err(arg.unexpected().into()),
        }
    }
    if daemon.interface.is_empty() {
        let state = daemon.state;
        return Err(Usage(format!("start {state} needs --mcast-interface NAME")));
    }
    Ok(daemon)
}

fn state(args: &mut Parser) -> Result<SyncState, Usage> {
    const WRITE: &str = "write master or backup"; // tidy: allow(master): ipvsadm(8)
    let word = args.value().map_err(|_| Usage(WRITE.to_owned()))?;
    match &*word.to_string_lossy() {
        "master" => Ok(SyncState::MASTER),
        "backup" => Ok(SyncState::BACKUP),
        other => Err(Usage(format!("`{other}` is no daemon: {WRITE}"))),
    }
}

fn number<N>(args: &mut Parser, name: &str, least: N, most: N) -> Result<N, Usage>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let value = args.value()?;
    let text = value.to_string_lossy();
    select::number(&text)
        .filter(|number| (&least..=&most).contains(&number))
        .ok_or_else(|| {
            Usage(format!(
                "`{text}` is no value of {name}: write a number from {least} to {most}"
            ))
        })
}

fn start(daemon: &SyncDaemon) -> Result<(), Trouble> {
    Ok(Ipvs::open()?.start_daemon(daemon)?)
}

fn stop(state: SyncState) -> Result<(), Trouble> {
    match Ipvs::open()?.stop_daemon(state) {
        Err(Error::Kernel {
            errno: Errno::ESRCH,
            ..
        }) => Err(Trouble::Said(format!("no {state} sync daemon runs"))),
        other => Ok(other?),
    }
}

/// As `ipvsadm -L --daemon` prints it: what an old kernel does not know of is
/// left out.
fn line(daemon: &SyncDaemon) -> String {
    let SyncDaemon {
        state,
        interface,
        sync_id,
        maxlen,
        group,
        port,
        ttl,
    } = daemon;
    let mut line = format!("{state} sync daemon (mcast={interface}, syncid={sync_id}");
    if *maxlen != 0 {
        line.push_str(&format!(", maxlen={maxlen}"));
    }
    if let Some(group) = group {
        line.push_str(&format!(", group={}", Host(*group)));
    }
    if *port != 0 {
        line.push_str(&format!(", port={port}"));
    }
    if *ttl != 0 {
        line.push_str(&format!(", ttl={ttl}"));
    }
    line.push(')');
    line
}

fn object(daemon: &SyncDaemon) -> Value {
    let SyncDaemon {
        state,
        interface,
        sync_id,
        maxlen,
        group,
        port,
        ttl,
    } = daemon;
    json!({
        "state": state.to_string(),
        "interface": interface.as_str(),
        "sync_id": sync_id,
        "maxlen": maxlen,
        "group": group.map(|group| Host(group).to_string()),
        "port": port,
        "ttl": ttl,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_a_line() {
        let interface = InterfaceName::try_from("sync0").unwrap();
        let mut daemon = SyncDaemon::new(SyncState::MASTER, interface, 7);
        let plain = "sync daemon (mcast=sync0, syncid=7)";
        assert_eq!(line(&daemon), format!("{} {plain}", SyncState::MASTER));
        daemon.state = SyncState::BACKUP;
        daemon.maxlen = 1400;
        daemon.group = Some("ff02::8848".parse().unwrap());
        daemon.port = 8849;
        daemon.ttl = 3;
        assert_eq!(
            line(&daemon),
            "backup sync daemon (mcast=sync0, syncid=7, maxlen=1400, group=ff02::8848, \
             port=8849, ttl=3)"
        );
    }

    #[test]
    fn the_words_after_start_make_one() {
        let words = |text: &str| {
            let mut args = Parser::from_args(text.split(' '));
            read(&mut args)
        };
        let daemon = words(
            "backup --mcast-interface eth1 --syncid 255 --sync-maxlen 65507 \
             --mcast-group 239.1.2.3 --mcast-port 1 --mcast-ttl 255",
        )
        .unwrap();
        assert_eq!(
            line(&daemon),
            "backup sync daemon (mcast=eth1, syncid=255, maxlen=65507, group=239.1.2.3, port=1, \
             ttl=255)"
        );
        for wrong in [
            "",
            "both",
            "master",
            "backup",
            "backup --mcast-interface 1234567890123456",
            "backup --mcast-interface eth0 --syncid 256",
            "backup --mcast-interface eth0 --sync-maxlen 65508",
            "backup --mcast-interface eth0 --mcast-group 192.0.2.1",
            "backup --mcast-interface eth0 --mcast-port 0",
            "backup --mcast-interface eth0 --mcast-ttl 256",
            "backup --mcast-interface eth0 now",
        ] {
            assert!(words(wrong).is_err(), "{wrong}");
        }
    }
}
