//! Programs a service with three destinations in one batch, drains one of them
//! and takes everything away again, in a network namespace of its own.
//!
//! `cargo run --example program` (root, and ip_vs in the kernel).

use std::error::Error;
use std::net::IpAddr;
use trunnion_core::model::{Destination, DestinationKey, Forward, Protocol, Service, ServiceKey};
use trunnion_core::reconcile::Change;
use trunnion_sys::ipvs::{Ipvs, Outcome};

fn main() -> Result<(), Box<dyn Error>> {
    trunnion_sys::netns::unshare_network()?;
    let mut ipvs = Ipvs::open()?;

    let key = ServiceKey::Address {
        protocol: Protocol::TCP,
        address: "192.0.2.1".parse()?,
        port: 80,
    };
    let scheduler = "wrr".parse().map_err(|_| "name too long")?;
    let service = Service::new(key, scheduler);
    let destination = |last| {
        let address = IpAddr::from([198, 51, 100, last]);
        Destination::new(DestinationKey { address, port: 80 }, Forward::ROUTE, 1)
    };
    let destinations = [1, 2, 3].map(destination);

    let mut changes = vec![Change::AddService(&service)];
    changes.extend(
        destinations
            .iter()
            .map(|it| Change::AddDestination(&key, it)),
    );
    let mut outcomes = vec![Outcome::NotSent; changes.len()];
    ipvs.apply(&changes, &mut outcomes)?;
    println!("one datagram: {outcomes:?}");

    // Weight 0 drains: what is connected stays, what is new goes elsewhere.
    let drained = Destination {
        weight: 0,
        ..destinations[0]
    };
    ipvs.set_destination(&key, &drained)?;
    ipvs.destinations(&key, |entry| {
        println!(
            "{} weight {}",
            entry.destination.key, entry.destination.weight
        );
    })?;

    // What goes wrong is said in words.
    if let Err(error) = ipvs.add_service(&service) {
        println!("again: {error}");
    }
    ipvs.delete_service(&key)?;
    Ok(())
}
