//! Readers that consume, writers that cannot run over, and the internet
//! checksum. Not a format: what the bytes mean is for the floors above.

mod checksum;
mod reader;
mod writer;

pub use checksum::{Checksum, ChecksumScope};
pub use reader::{Reader, Short};
pub use writer::{Mark, Overflow, Writer};

/// Network byte order, the order of every header that leaves the box.
pub use byteorder::NetworkEndian;

/// The order netlink headers and most netlink attributes use.
pub use byteorder::NativeEndian;
