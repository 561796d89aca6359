//! The boot clock and timerfd.
