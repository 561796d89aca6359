//! The `trunnion` daemon and command line.

fn main() {}
