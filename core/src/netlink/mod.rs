//! Netlink and generic netlink framing: messages, attributes, acks, batches.
//! Not a protocol: what a family's commands and attributes mean is for the
//! rooms above ([`crate::ipvs`], [`crate::route`]).
//!
//! ```text
//! received datagram -> Messages -> Reply -> Attributes -> Attribute::u32(..)
//! Batch::message(kind, flags, |body| body.nest(..)) -> one datagram to send
//! ```
//!
//! Everything is in host byte order unless a name says `be`. Source: netlink(7)
//! and linux/netlink.h.

/// Declares an open newtype of a wire number: named consts, and a `Debug` that
/// prints the name, or the number in hex where it has none.
macro_rules! numbers {
    (
        $(#[$doc:meta])*
        $name:ident($type:ty) {
            $($(#[$item:meta])* $number:ident = $value:expr;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $type);

        impl $name {
            $($(#[$item])* pub const $number: Self = Self($value);)*

            /// The name of the number, where it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$number => Some(stringify!($number)),)*
                    Self(_) => None,
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{}({:#x})", stringify!($name), self.0),
                }
            }
        }
    };
}
pub(crate) use numbers;

mod attribute;
mod batch;
mod errno;
pub mod genl;
mod malformed;
mod message;
mod reply;

pub use attribute::{Attribute, AttributeKind, Attributes};
pub use batch::{Batch, Body, Full};
pub use errno::Errno;
pub use malformed::{Fault, Malformed};
pub use message::{Flags, HEADER_BYTES, Header, Message, MessageType, Messages};
pub use reply::{Extended, Reply, Words};
