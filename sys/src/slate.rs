//! A page of memory shared with the next run of this daemon.
