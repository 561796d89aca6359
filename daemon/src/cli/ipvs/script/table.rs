//! The table that the commands make, beginning with an empty one.

use super::command::{Command, Verb};
use crate::cli::ipvs::words::{At, option};
use crate::config::{Mistake, Notes};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;
use trunnion_core::model::{
    Destination, DestinationKey, Service, ServiceFlags, ServiceKey, ServiceRow, Table,
};

/// A file without an error.
#[derive(Debug)]
pub(crate) struct Script {
    services: Vec<ServiceRow>,
    destinations: Vec<Destination>,
    /// Masks of services that are no prefix.
    pub odd_masks: BTreeMap<ServiceKey, Ipv4Addr>,
    /// The line that made each row.
    lines: BTreeMap<(ServiceKey, Option<DestinationKey>), usize>,
    /// Whether `-C` is among the commands: the empty table is meant.
    pub clears: bool,
    /// What someone should look at.
    pub warnings: Vec<Mistake>,
}

impl Script {
    /// The table it makes.
    pub fn table(&self) -> Table<'_> {
        Table {
            services: &self.services,
            destinations: &self.destinations,
        }
    }

    /// The line that says what a row is, from 1.
    pub fn line(&self, key: &ServiceKey, of: Option<&DestinationKey>) -> Option<usize> {
        self.lines.get(&(*key, of.copied())).copied()
    }
}

/// The table so far.
#[derive(Debug, Default)]
pub(super) struct Declared {
    services: BTreeMap<ServiceKey, Row>,
    clears: bool,
}

#[derive(Debug)]
struct Row {
    service: Service,
    odd: Option<Ipv4Addr>,
    span: Range<usize>,
    line: usize,
    destinations: BTreeMap<DestinationKey, Server>,
}

#[derive(Debug)]
struct Server {
    destination: Destination,
    span: Range<usize>,
    line: usize,
}

impl Declared {
    /// Carries out the command of a line.
    pub fn carry_out(&mut self, command: Command, line: usize, notes: &mut Notes) {
        let Command { span, verb } = command;
        match verb {
            Verb::Clear => {
                self.clears = true;
                self.services.clear();
            }
            Verb::Add(service, odd) => {
                let key = service.key;
                if let Some(row) = self.services.get(&key) {
                    twice(&span, &option(&key), &row.span, "-E", notes);
                    return;
                }
                let row = Row {
                    service,
                    odd,
                    span,
                    line,
                    destinations: BTreeMap::new(),
                };
                self.services.insert(key, row);
            }
            Verb::Edit(service, odd) => {
                if let Some(row) = self.service(&service.key, &span, notes) {
                    (row.service, row.odd, row.line) = (service, odd, line);
                }
            }
            Verb::Delete(key) => {
                if self.service(&key, &span, notes).is_some() {
                    self.services.remove(&key);
                }
            }
            Verb::AddServer(key, destination) => {
                let Some(row) = self.service(&key, &span, notes) else {
                    return;
                };
                let at = destination.key;
                if let Some(server) = row.destinations.get(&at) {
                    let name = format!("{} -r {}", option(&key), At(at.address, at.port));
                    twice(&span, &name, &server.span, "-e", notes);
                    return;
                }
                let server = Server {
                    destination,
                    span,
                    line,
                };
                row.destinations.insert(at, server);
            }
            Verb::EditServer(key, destination) => {
                let row = self.service(&key, &span, notes);
                if let Some(server) = server(row, &destination.key, &span, notes) {
                    (server.destination, server.line) = (destination, line);
                }
            }
            Verb::DeleteServer(key, at) => {
                let row = self.service(&key, &span, notes);
                if server(row, &at, &span, notes).is_some()
                    && let Some(row) = self.services.get_mut(&key)
                {
                    row.destinations.remove(&at);
                }
            }
        }
    }

    fn service(
        &mut self,
        key: &ServiceKey,
        span: &Range<usize>,
        notes: &mut Notes,
    ) -> Option<&mut Row> {
        let row = self.services.get_mut(key);
        if row.is_none() {
            notes.error(
                span,
                format!("no line above adds the service {}", option(key)),
                format!("write -A {} above", option(key)),
            );
        }
        row
    }

    /// The rows in the order in which tables are compared.
    pub fn finish(self, warnings: Vec<Mistake>) -> Script {
        let mut script = Script {
            services: Vec::new(),
            destinations: Vec::new(),
            odd_masks: BTreeMap::new(),
            lines: BTreeMap::new(),
            clears: self.clears,
            warnings,
        };
        for (key, row) in self.services {
            let mut service = row.service;
            if let Some(mask) = row.odd {
                script.odd_masks.insert(key, mask);
            }
            plain(&mut service);
            if !service.flags.contains(ServiceFlags::PERSISTENT) {
                script.odd_masks.remove(&key);
            }
            script.lines.insert((key, None), row.line);
            let first = script.destinations.len();
            for (at, server) in row.destinations {
                script.lines.insert((key, Some(at)), server.line);
                script.destinations.push(server.destination);
            }
            let count = script.destinations.len() - first;
            script.services.push(ServiceRow {
                service,
                first: narrow(first),
                count: narrow(count),
            });
        }
        script
    }
}

/// Takes out of a service what means nothing without persistence, and what no
/// saved line tells: so a table and what was saved of it are equal.
pub(crate) fn plain(service: &mut Service) {
    if !service.flags.contains(ServiceFlags::PERSISTENT) {
        service.timeout_s = 0;
        service.prefix = service.key.family().bits();
    }
}

/// An index of a table.
///
/// # Panics
/// Past 2^32, which no kernel and no file here holds.
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("a table has fewer than 2^32 rows")
}

fn server<'r>(
    row: Option<&'r mut Row>,
    at: &DestinationKey,
    span: &Range<usize>,
    notes: &mut Notes,
) -> Option<&'r mut Server> {
    // Where the service is missing, that is noted.
    let server = row?.destinations.get_mut(at);
    if server.is_none() {
        let name = At(at.address, at.port);
        notes.error(
            span,
            format!("no line above adds the destination {name} to the service"),
            format!("write -a with -r {name} above"),
        );
    }
    server
}

fn twice(span: &Range<usize>, name: &str, first: &Range<usize>, edit: &str, notes: &mut Notes) {
    notes.error_also(
        span,
        format!("{name} is there already"),
        format!("remove the line, or write {edit}"),
        (first, "the first"),
    );
}
