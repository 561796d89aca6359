//! What moves virtual routers besides their network: groups, things tracked,
//! failovers. A part of the [state](super).

use std::net::IpAddr;
use std::time::Duration;

/// What moves one virtual router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Its priority before anything weighs on it.
    pub base_priority: u8,
    /// Its group; empty for none.
    pub group: String,
    /// What keeps it from taking part, in words; empty for nothing.
    pub barred: String,
    /// How long it still preempts nobody, after a failover.
    pub held: Option<Duration>,
    /// The last other router it heard as Active.
    pub heard: Option<HeardState>,
    /// Two routers seem to be Active.
    pub split_brain: bool,
}

/// Another router that spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardState {
    /// From this address.
    pub source: IpAddr,
    /// With this priority; 0 when it resigned.
    pub priority: u8,
    /// So long ago.
    pub ago: Duration,
}

/// Something tracked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackedState {
    /// Its name.
    pub name: String,
    /// What it is, in words.
    pub what: String,
    /// `up`, `down`, `unknown`, or a number.
    pub state: String,
}

/// Virtual routers that move together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    /// `active`, `backup`, `fault`, `stop`; empty while it moves.
    pub state: String,
    /// Names of its members.
    pub members: Vec<String>,
}
