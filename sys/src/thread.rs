//! Priority and memory locking of a thread.
