//! Health checks: schedule, probes, verdicts. Not sockets: the owner connects
//! and tells what came of it, and what a backend's health means for its weight
//! is for [`crate::director`].
//!
//! ```text
//! CheckConfig (sorted, unique) -> Engine::handle_plan
//! Engine::poll_action -> Connect / Disconnect -> the owner's pool of sockets
//! connected, errno, time -> Verdict -> Health (rise and fall) -> Engine::poll_change
//! ```
//!
//! What is said and heard once connected is [`probe`]'s; the engine
//! does not ask it yet.
//!
//! The first rule is that trouble of this node is no verdict about another:
//! [`Verdict::Indeterminate`].

mod config;
pub mod engine;
mod health;
pub mod probe;
mod report;
mod verdict;

pub use crate::netlink::Errno;
pub use config::{CheckConfig, Kind};
#[doc(hidden)]
pub use engine::laws;
pub use engine::{
    Action, CheckId, Engine, PlanError, Settings, Slot, Socket, SocketId, Status, Storage,
};
pub use health::{Change, Health, HealthState, Limits};
pub use report::{
    ChecksIndeterminate, Counters, Merged, PlanTaken, RECORDS, Report, TargetDown, TargetUp,
    Trouble,
};
pub use verdict::{Blame, Local, Reason, Verdict};
