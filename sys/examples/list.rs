//! Prints the kernel's IPVS table with its counters, and the synchronization
//! daemons.
//!
//! `cargo run --example list` (root, and ip_vs in the kernel).

use trunnion_sys::ipvs::{Error, Ipvs};

fn main() -> Result<(), Error> {
    let mut ipvs = Ipvs::open()?;
    let info = ipvs.info()?;
    let [_, major, minor, patch] = info.version.to_be_bytes();
    println!("ipvs {major}.{minor}.{patch}, {} buckets", info.table_size);

    let mut services = Vec::new();
    ipvs.services(|entry| services.push(entry))?;
    for entry in services {
        let service = entry.service;
        println!(
            "{} {} {:?}: {} connections, {} bytes in",
            service.key,
            service.scheduler,
            service.flags,
            entry.stats.connections,
            entry.stats.bytes_in
        );
        ipvs.destinations(&service.key, |entry| {
            let it = entry.destination;
            println!(
                "  -> {} {} weight {}: {} active, {} inactive",
                it.key, it.forward, it.weight, entry.active, entry.inactive
            );
        })?;
    }
    ipvs.daemons(|it| println!("{} daemon on {}, id {}", it.state, it.interface, it.sync_id))
}
