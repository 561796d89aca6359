//! Names that checks' targets are, as plain data.

use std::net::IpAddr;
use std::time::Duration;
use trunnion_core::model::Family;

/// A name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameState {
    /// The name.
    pub name: String,
    /// Which of its addresses are asked for.
    pub family: Family,
    /// The one that is probed; `None` while it was never found.
    pub address: Option<IpAddr>,
    /// Others it had when it was found last.
    pub others: Vec<IpAddr>,
    /// For how long that has been its address; `None` without one.
    pub since: Option<Duration>,
    /// Why it was not found the last time, in words; empty if it was.
    pub trouble: String,
}
