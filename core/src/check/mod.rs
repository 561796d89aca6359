//! Health checks: schedule, probes, verdicts. Not sockets: the owner connects
//! and tells what came of it, and what a backend's health means for its weight
//! is for [`crate::director`].
//!
//! ```text
//! CheckConfig (sorted, unique), Scripts -> Engine::handle_plan
//! Engine::poll_action -> Connect / Send / Disconnect -> the owner's pool of sockets
//! connected, bytes, errno, time -> probe -> Verdict -> Health (rise and fall) -> Engine::poll_change
//! ```
//!
//! What is said and heard once connected is [`probe`]'s.
//!
//! The first rule is that trouble of this node is no verdict about another:
//! [`Verdict::Indeterminate`].

mod advice;
mod certificate;
mod config;
pub mod engine;
mod flights;
mod health;
mod policy;
pub mod probe;
mod report;
pub mod said;
mod verdict;

pub use crate::netlink::Errno;
pub use advice::{Advised, Share};
pub use certificate::Certificate;
pub use config::{CheckConfig, Kind, Lane, Manner, NameId};
#[doc(hidden)]
pub use engine::laws;
pub use engine::{
    Action, Aside, Carrier, CheckId, Desk, Engine, Load, MannerSlot, Pace, PlanError,
    REQUEST_BYTES_MAX, Settings, Slot, Socket, SocketId, Status, Storage,
};
pub use flights::{Flight, Flights, Sign};
pub use health::{Change, Health, HealthState, Limits};
pub use policy::CheckPolicy;
pub use report::{
    ChecksIndeterminate, CommandSaid, Counters, Merged, PlanTaken, RECORDS, Report, TargetAdvised,
    TargetDown, TargetExpires, TargetFlaps, TargetRenewed, TargetUp, Trouble,
};
pub use verdict::{Blame, Local, Reason, Verdict};
