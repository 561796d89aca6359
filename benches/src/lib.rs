//! Shared parts of the benchmarks: tables of a size, captures, what processes
//! spend.
//!
//! `cargo bench -p trunnion-benches` measures; `cargo test -p trunnion-benches
//! --benches` runs every benchmark once, small, so that none rots.

pub mod capture;
pub mod processes;

use std::net::Ipv4Addr;
use trunnion_core::model::{
    Destination, DestinationKey, Forward, Protocol, SchedulerName, Service, ServiceKey, ServiceRow,
    Table,
};

/// A table that owns its rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Services, sorted.
    pub services: Vec<ServiceRow>,
    /// Destinations of all of them, each service's sorted.
    pub destinations: Vec<Destination>,
}

impl Rows {
    /// `services` services on TCP port 80, each with `each` destinations of
    /// weight 1.
    ///
    /// # Panics
    /// For a table too large for IPv4.
    #[must_use]
    pub fn new(services: u32, each: u32) -> Self {
        let scheduler = SchedulerName::try_from("wrr").expect("a short name");
        let service = |n: u32| {
            let address = Ipv4Addr::from(0x0a01_0000 + n).into();
            let key = ServiceKey::Address {
                protocol: Protocol::TCP,
                address,
                port: 80,
            };
            ServiceRow {
                service: Service::new(key, scheduler.clone()),
                first: n * each,
                count: each,
            }
        };
        let destination = |n: u32| {
            let key = DestinationKey {
                address: Ipv4Addr::from(0x0a80_0000 + n).into(),
                port: 8080,
            };
            Destination::new(key, Forward::ROUTE, 1)
        };
        Self {
            services: (0..services).map(service).collect(),
            destinations: (0..services * each).map(destination).collect(),
        }
    }

    /// The same with another weight in one row of `period`.
    #[must_use]
    pub fn with_weights(mut self, period: usize) -> Self {
        for destination in self.destinations.iter_mut().step_by(period) {
            destination.weight = 7;
        }
        self
    }

    /// As it is compared.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        Table {
            services: &self.services,
            destinations: &self.destinations,
        }
    }
}
