//! Shared parts of the tests: golden bytes, readers of what other programs
//! print, the [`lab`] (a small network in namespaces with real traffic) and the
//! [`demo`] that is played in it, and the simulator of whole clusters ([`sim`]),
//! which needs none. Test code: it may panic and allocate; it may
//! not touch a network it did not make.

pub mod asked;
pub mod cli;
pub mod daemon;
pub mod demo;
pub mod drawn;
pub mod fake;
pub mod golden;
pub mod hostile;
pub mod ipvsadm;
pub mod keepalived;
pub mod lab;
pub mod pki;
pub mod raw_ipvs;
pub mod side;
pub mod sim;
pub mod soak;
pub mod tables;
pub mod virtual_mac;
pub mod web;
