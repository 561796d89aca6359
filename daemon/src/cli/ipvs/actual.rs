//! The kernel's table, whole, in the form in which tables are compared.

use super::script::{narrow, plain};
use super::{Trouble, list};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use trunnion_core::model::{
    Destination, Forward, ServiceKey, ServiceRow, Table, Tunnel, TunnelFlags, TunnelType,
};
use trunnion_sys::ipvs::Ipvs;

/// See the module's words. What no saved line tells is left out.
#[derive(Debug)]
pub(super) struct Actual {
    services: Vec<ServiceRow>,
    destinations: Vec<Destination>,
    /// Masks of services that are no prefix.
    pub odd_masks: BTreeMap<ServiceKey, Ipv4Addr>,
}

impl Actual {
    /// Dumps it. Others may change it meanwhile.
    pub fn read(ipvs: &mut Ipvs) -> Result<Self, Trouble> {
        let mut actual = Self {
            services: Vec::new(),
            destinations: Vec::new(),
            odd_masks: BTreeMap::new(),
        };
        let mut entries = Vec::new();
        ipvs.services(|entry| entries.push(entry))?;
        // A dump that others disturb may say a row twice.
        entries.sort_by_key(|entry| entry.service.key);
        entries.dedup_by_key(|entry| entry.service.key);
        for entry in entries {
            let mut service = entry.service;
            let Some(rows) = list::destinations(ipvs, &service.key, true)? else {
                continue;
            };
            let mut rows: Vec<_> = rows.iter().map(|row| told(row.destination)).collect();
            rows.sort_by_key(|row| row.key);
            rows.dedup_by_key(|row| row.key);
            plain(&mut service);
            if let Some(mask) = entry.odd_mask.filter(|_| service.prefix != 32) {
                actual.odd_masks.insert(service.key, mask);
            }
            actual.services.push(ServiceRow {
                service,
                first: narrow(actual.destinations.len()),
                count: narrow(rows.len()),
            });
            actual.destinations.extend(rows);
        }
        Ok(actual)
    }

    pub fn table(&self) -> Table<'_> {
        Table {
            services: &self.services,
            destinations: &self.destinations,
        }
    }
}

/// The destination without what means nothing for its method and tunnel type,
/// which the kernel keeps all the same.
fn told(mut destination: Destination) -> Destination {
    let Tunnel { kind, port, flags } = destination.tunnel;
    destination.tunnel = match (destination.forward, kind) {
        (Forward::TUNNEL, TunnelType::IPIP) => Tunnel::IPIP,
        (Forward::TUNNEL, TunnelType::GRE) => Tunnel {
            kind,
            port: 0,
            flags,
        },
        (Forward::TUNNEL, _) => Tunnel { kind, port, flags },
        _ => Tunnel {
            kind: TunnelType::IPIP,
            port: 0,
            flags: TunnelFlags::empty(),
        },
    };
    destination
}
