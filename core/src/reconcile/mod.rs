//! The ordered difference of two tables: what to tell the kernel so that it
//! holds what is desired, and nothing else.

use crate::model::{Destination, DestinationKey, Service, ServiceKey};

/// One request to the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// `IPVS_CMD_NEW_SERVICE`.
    AddService(&'a Service),
    /// `IPVS_CMD_NEW_DEST`.
    AddDestination(&'a ServiceKey, &'a Destination),
    /// `IPVS_CMD_SET_SERVICE`.
    SetService(&'a Service),
    /// `IPVS_CMD_SET_DEST`.
    SetDestination(&'a ServiceKey, &'a Destination),
    /// `IPVS_CMD_DEL_DEST`.
    DeleteDestination(&'a ServiceKey, &'a DestinationKey),
    /// `IPVS_CMD_DEL_SERVICE`.
    DeleteService(&'a ServiceKey),
}
