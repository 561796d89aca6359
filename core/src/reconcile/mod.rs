//! The ordered difference of two tables: what to tell the kernel so that it
//! holds what is desired, and nothing else.
//!
//! It knows two tables and no kernel: it does not send, retry or wait. The
//! order is make before break, so that no client meets a service without the
//! destinations it should have, and deleted destinations slow down no add.

mod cursor;

pub use cursor::{Cursor, Ownership, Phase};

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

impl<'a> Change<'a> {
    /// The service it is about.
    #[must_use]
    pub const fn service(&self) -> &'a ServiceKey {
        match *self {
            Self::AddService(s) | Self::SetService(s) => &s.key,
            Self::AddDestination(key, _)
            | Self::SetDestination(key, _)
            | Self::DeleteDestination(key, _)
            | Self::DeleteService(key) => key,
        }
    }

    /// Whether it takes something away from the kernel's table.
    #[must_use]
    pub const fn is_destructive(&self) -> bool {
        match self {
            Self::DeleteDestination(..) | Self::DeleteService(_) => true,
            Self::AddService(_)
            | Self::AddDestination(..)
            | Self::SetService(_)
            | Self::SetDestination(..) => false,
        }
    }
}

#[cfg(test)]
mod tests;
