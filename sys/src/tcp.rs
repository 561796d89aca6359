//! Pooled non-blocking TCP sockets for health checks.
