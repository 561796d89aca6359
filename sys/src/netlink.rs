//! The netlink socket: batches, barriers, deadlines.
