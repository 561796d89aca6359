//! `trunnion ipvs list --connection`: the kernel's connections, as ipvsadm
//! makes its list of them of /proc/net/ip_vs_conn.

use super::words::{At, Host};
use super::{Output, Trouble};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FILE: &str = "/proc/net/ip_vs_conn";

/// Prints them as they are read.
pub(super) fn show(engines: bool, as_json: bool) -> Result<(), Trouble> {
    let trouble = |error| Trouble::Said(format!("{FILE}: {error}"));
    let file = BufReader::new(File::open(FILE).map_err(trouble)?);
    let mut out = Output::new();
    out.put(
        match (as_json, engines) {
            (true, _) => "{\n\"connections\": [".to_owned(),
            (false, engines) => title(engines),
        }
        .as_str(),
    )?;
    let mut separator = "\n";
    // The first line is the file's own title.
    for line in file.split(b'\n').skip(1) {
        // A persistence engine's data is a client's: any bytes.
        let line = line.map_err(trouble)?;
        let line = String::from_utf8_lossy(&line);
        let connection = Connection::read(&line)
            .ok_or_else(|| Trouble::Said(format!("{FILE}: what is this: {line}")))?;
        if as_json {
            out.put(separator)?;
            out.put(&connection.object().to_string())?;
            separator = ",\n";
        } else {
            out.put(&connection.row(engines))?;
        }
    }
    if as_json {
        out.put("\n]\n}\n")?;
    }
    out.finish()
}

fn title(engines: bool) -> String {
    let (state, source, service, to) = ("state", "source", "virtual", "destination");
    if engines {
        format!(
            "IPVS connection entries\n\
             pro expire {state:<11} {source:<18} {service:<18} {to:<18} {:<16} pe_data\n",
            "pe name"
        )
    } else {
        format!(
            "IPVS connection entries\n\
             pro expire {state:<11} {source:<18} {service:<18} {to}\n"
        )
    }
}

/// A line of the file.
#[derive(Debug)]
struct Connection<'l> {
    protocol: &'l str,
    client: At,
    service: At,
    destination: At,
    state: &'l str,
    expires_s: u32,
    /// Persistence engine and its data.
    engine: Option<(&'l str, &'l str)>,
}

impl<'l> Connection<'l> {
    /// Reads `TCP C0000201 9922 C0000201 0050 0A000001 0050 ESTABLISHED 898`,
    /// with two more words where an engine found it.
    fn read(line: &'l str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let protocol = words.next()?;
        let client = at(words.next()?, words.next()?)?;
        let service = at(words.next()?, words.next()?)?;
        let destination = at(words.next()?, words.next()?)?;
        Some(Self {
            protocol,
            client,
            service,
            destination,
            state: words.next()?,
            expires_s: words.next()?.parse().ok()?,
            engine: words.next().zip(words.next()),
        })
    }

    fn row(&self, engines: bool) -> String {
        let Self {
            protocol,
            client,
            service,
            destination,
            state,
            expires_s,
            engine,
        } = self;
        let expires = format!("{:02}:{:02}", expires_s / 60, expires_s % 60);
        let [client, service, destination] =
            [client, service, destination].map(ToString::to_string);
        let row = format!("{protocol:<3} {expires:<6} {state:<11} {client:<18} {service:<18}");
        match engine {
            Some((name, data)) if engines => {
                format!("{row} {destination:<16} {name:<18} {data}\n")
            }
            Some(_) | None => format!("{row} {destination}\n"),
        }
    }

    fn object(&self) -> Value {
        let end =
            |At(address, port): At| json!({ "address": Host(address).to_string(), "port": port });
        json!({
            "protocol": self.protocol.to_lowercase(),
            "state": self.state,
            "expires_s": self.expires_s,
            "client": end(self.client),
            "service": end(self.service),
            "destination": end(self.destination),
            "engine": self.engine.map(|(name, _)| name),
            "engine_data": self.engine.map(|(_, data)| data),
        })
    }
}

/// An IPv4 address is eight hex digits, an IPv6 one is written in full; a port
/// is four hex digits.
fn at(address: &str, port: &str) -> Option<At> {
    let address = if address.contains(':') {
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(address, 16).ok()?))
    };
    Some(At(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_rows_of_ipvsadm() {
        let row = |line: &str, engines| Connection::read(line).unwrap().row(engines);
        let v4 = "UDP C0000201 9922 C0000201 0009 7F000001 0009 UDP             298";
        let expect = "UDP 04:58  UDP         192.0.2.1:39202    192.0.2.1:9        127.0.0.1:9\n";
        assert_eq!(row(v4, false), expect);
        assert_eq!(row(v4, true), expect);
        let v6 = "TCP 2001:0db8:0000:0000:0000:0000:0000:0001 1F90 \
                  2001:0db8:0000:0000:0000:0000:0000:0002 0050 \
                  2001:0db8:0000:0000:0000:0000:0000:0003 0050 ESTABLISHED   360000";
        assert_eq!(
            row(v6, false),
            "TCP 6000:00 ESTABLISHED [2001:db8::1]:8080 [2001:db8::2]:80   [2001:db8::3]:80\n"
        );
        let engine = "UDP C0000201 0000 C0000201 13C4 0A000001 13C4 NONE             60 sip abc@x";
        assert_eq!(
            row(engine, true),
            "UDP 01:00  NONE        192.0.2.1:0        192.0.2.1:5060     10.0.0.1:5060    \
             sip                abc@x\n"
        );
        for wrong in ["", "UDP C0000201 9922", "UDP g 1 2 3 4 5 NONE 6"] {
            assert!(Connection::read(wrong).is_none(), "{wrong}");
        }
    }
}
