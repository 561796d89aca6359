//! Sockets, clocks and signals for `trunnion-core`.
