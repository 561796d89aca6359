//! Tables for tests that need many rows: ours, and those of another program.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

use std::net::IpAddr;
use trunnion_core::model::{
    BLANK_DESTINATION, Destination, DestinationKey, Forward, Protocol, Service, ServiceKey,
    ServiceRow, TableBuf,
};

/// A service of another program: 10.200.0.0/16.
#[must_use]
pub fn stranger(number: u16) -> Service {
    numbered(200, number)
}

/// One of our services: 10.100.0.0/16.
#[must_use]
pub fn ours(number: u16) -> Service {
    numbered(100, number)
}

fn numbered(net: u8, number: u16) -> Service {
    let [high, low] = number.to_be_bytes();
    let key = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: IpAddr::from([10, net, high, low]),
        port: 80,
    };
    Service::new(key, "rr".parse().unwrap())
}

/// A destination: 10.9.0.0/16, port 8080.
#[must_use]
pub fn destination(number: u16, weight: u32) -> Destination {
    let [high, low] = number.to_be_bytes();
    let key = DestinationKey {
        address: IpAddr::from([10, 9, high, low]),
        port: 8080,
    };
    Destination::new(key, Forward::MASQ, weight)
}

/// The memory of a table.
#[derive(Debug)]
pub struct Store {
    services: Vec<ServiceRow>,
    destinations: Vec<Destination>,
}

impl Store {
    /// Room for so many rows.
    #[must_use]
    pub fn new(services: usize, destinations: usize) -> Self {
        Self {
            services: vec![ServiceRow::blank(); services],
            destinations: vec![BLANK_DESTINATION; destinations],
        }
    }

    /// An empty table.
    pub fn table(&mut self) -> TableBuf<'_> {
        TableBuf::new(&mut self.services, &mut self.destinations)
    }

    /// A table of these rows, which are sorted.
    pub fn filled(&mut self, rows: &[(Service, Vec<Destination>)]) -> TableBuf<'_> {
        let mut table = self.table();
        for (at, (service, destinations)) in rows.iter().enumerate() {
            table.push_service(service).unwrap();
            for row in destinations {
                table.push_destination(at, row).unwrap();
            }
        }
        table
    }
}

/// The rows of a table.
#[must_use]
pub fn rows(table: &TableBuf<'_>) -> Vec<(Service, Vec<Destination>)> {
    let table = table.table();
    let rows = table.services.iter();
    rows.map(|row| (row.service.clone(), table.destinations_of(row).to_vec()))
        .collect()
}
