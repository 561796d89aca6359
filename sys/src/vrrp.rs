//! Raw sockets of protocol 112.
