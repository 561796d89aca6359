//! What `ipvsadm -Ln` says, read row by row, and compared with what a config
//! says: the witness that is not ours.

use super::{LabError, Netns, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A destination's forwarding method and weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// `Route`, `Masq`, `Tunnel`, `Local`.
    pub forward: String,
    /// Weight.
    pub weight: u32,
}

/// A service's scheduler and destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Scheduler.
    pub scheduler: String,
    /// By `address:port`, as ipvsadm writes it.
    pub destinations: BTreeMap<String, Destination>,
}

/// The table, by `TCP address:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(pub BTreeMap<String, Service>);

impl Table {
    /// Runs `ipvsadm -Ln` in a namespace and reads what it says.
    ///
    /// # Errors
    /// ipvsadm fails, or says what this module does not understand.
    pub fn of(netns: &Netns) -> Result<Self> {
        Self::read(&netns.output(Command::new("ipvsadm").arg("-Ln"))?)
    }

    /// Reads the text of `ipvsadm -Ln`.
    ///
    /// # Errors
    /// A row that is not understood, quoted.
    pub fn read(text: &str) -> Result<Self> {
        let mut table = Self::default();
        let mut current: Option<String> = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let strange = || LabError::new(format!("ipvsadm says {line:?}"));
            match words.as_slice() {
                ["IP", "Virtual", ..] | ["Prot", ..] | ["->", "RemoteAddress:Port", ..] | [] => {}
                [
                    protocol @ ("TCP" | "UDP" | "SCTP" | "FWM"),
                    key,
                    scheduler,
                    ..,
                ] => {
                    let key = format!("{protocol} {key}");
                    let service = Service {
                        scheduler: (*scheduler).to_owned(),
                        ..Service::default()
                    };
                    table.0.insert(key.clone(), service);
                    current = Some(key);
                }
                ["->", key, forward, weight, _active, _inactive] => {
                    let service = current.as_ref().and_then(|key| table.0.get_mut(key));
                    let destination = Destination {
                        forward: (*forward).to_owned(),
                        weight: weight.parse().map_err(|_| strange())?,
                    };
                    let service = service.ok_or_else(strange)?;
                    service.destinations.insert((*key).to_owned(), destination);
                }
                _ => return Err(strange()),
            }
        }
        Ok(table)
    }

    /// Services and destinations.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.values().map(|s| 1 + s.destinations.len()).sum()
    }

    /// The weight of a destination in whatever service has it; `None` when it
    /// is absent.
    #[must_use]
    pub fn weight(&self, destination: &str) -> Option<u32> {
        let mut services = self.0.values();
        services.find_map(|service| service.destinations.get(destination).map(|d| d.weight))
    }

    /// Where this table (what is) differs from `wanted`, one line for a row.
    #[must_use]
    pub fn differences(&self, wanted: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let nothing = Service::default();
        let keys: BTreeSet<&String> = self.0.keys().chain(wanted.0.keys()).collect();
        for key in keys {
            let (is, should) = (self.0.get(key), wanted.0.get(key));
            match (is, should) {
                (None, Some(_)) => found.push(format!("{key}: missing")),
                (Some(_), None) => found.push(format!("{key}: should not be")),
                (Some(is), Some(should)) if is.scheduler != should.scheduler => {
                    let (is, should) = (&is.scheduler, &should.scheduler);
                    found.push(format!("{key}: scheduler {is}, should be {should}"));
                }
                _ => {}
            }
            let is = &is.unwrap_or(&nothing).destinations;
            let should = &should.unwrap_or(&nothing).destinations;
            let rows: BTreeSet<&String> = is.keys().chain(should.keys()).collect();
            for row in rows {
                let show = |d: Option<&Destination>| {
                    d.map_or("absent".to_owned(), |d| {
                        format!("{} weight {}", d.forward, d.weight)
                    })
                };
                if is.get(row) != should.get(row) {
                    let (is, should) = (show(is.get(row)), show(should.get(row)));
                    found.push(format!("{key} -> {row}: {is}, should be {should}"));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.77.0.10:80 wrr persistent 300
  -> 10.77.0.21:80                Route   3      0          12        
  -> 10.77.0.22:80                Route   0      1          0         
TCP  [fd77::10]:80 wrr
FWM  5 rr
  -> [fd77::21]:80                Tunnel  1      0          0         
";

    #[test]
    fn rows_are_read() {
        let table = Table::read(TEXT).unwrap();
        assert_eq!(table.0.len(), 3);
        assert_eq!(table.rows(), 6);
        assert_eq!(table.weight("10.77.0.21:80"), Some(3));
        assert_eq!(table.weight("10.77.0.22:80"), Some(0));
        assert_eq!(table.weight("10.77.0.23:80"), None);
        assert_eq!(
            table.0["FWM 5"].destinations["[fd77::21]:80"].forward,
            "Tunnel"
        );
        assert!(Table::read("  -> 10.77.0.21:80 Route 3 0 0\n").is_err());
        assert!(Table::read("ipvsadm: something else\n").is_err());
    }

    #[test]
    fn every_difference_is_named() {
        let wanted = Table::read(TEXT).unwrap();
        assert!(wanted.differences(&wanted).is_empty());
        let is = TEXT
            .replace("Route   3", "Route   2")
            .replace("TCP  [fd77::10]:80 wrr\n", "")
            .replace("FWM  5 rr", "FWM  5 sh")
            .replace("10.77.0.22", "10.77.0.23");
        let found = Table::read(&is).unwrap().differences(&wanted);
        assert_eq!(
            found,
            [
                "FWM 5: scheduler sh, should be rr",
                "TCP 10.77.0.10:80 -> 10.77.0.21:80: Route weight 2, should be Route weight 3",
                "TCP 10.77.0.10:80 -> 10.77.0.22:80: absent, should be Route weight 0",
                "TCP 10.77.0.10:80 -> 10.77.0.23:80: Route weight 0, should be absent",
                "TCP [fd77::10]:80: missing",
            ]
        );
    }
}
