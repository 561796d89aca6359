//! What this node should do next: composes the machines, owns no time and no
//! file descriptor.
//!
//! It comes in two halves, one for each loop of the daemon, because VRRP must
//! never wait for a health check:
//!
//! | half | composes | wakes for |
//! |---|---|---|
//! | [`ha::Ha`] | virtual routers, their addresses and announcements, links | adverts, route events, its deadlines |
//! | [`lb::Lb`] | health checks, weights, the kernel's IPVS table | probe events, netlink replies, its deadlines |
//!
//! Both take a plan (what the config says, [`plan`]) at start and again at each
//! reload, and derive what to do from what is wanted and what is known. After a
//! lost reply they know less, ask the kernel, and derive again.

mod exchange;
pub mod guardian;
pub mod ha;
pub mod lb;
pub mod plan;
pub mod records;
