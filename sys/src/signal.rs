//! Signals as a file descriptor.
