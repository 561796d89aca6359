//! The log, without text: a record is an id and typed fields, written into a
//! fixed ring; words are made from it outside core, on a thread that may.
//!
//! A room declares its records with [`records!`] and writes them with
//! [`Ring::log`]. A full ring drops the newest record and counts it. A level
//! compiled out still type-checks: [`MAX_LEVEL`] is compared as a constant.
//!
//! ```
//! use trunnion_core::record::{Frame, Level, Ring, records};
//! use trunnion_core::time::Instant;
//!
//! records! {
//!     /// A cup was filled.
//!     0x0001 Info CupFilled { cup: u8, millilitres: u32 } "cup {cup}: filled with {millilitres} ml";
//! }
//!
//! let mut frames = [Frame::EMPTY; 4];
//! let mut ring = Ring::new(&mut frames);
//! ring.log(Instant::ZERO, CupFilled { cup: 3, millilitres: 250 });
//! let frame = ring.pop().unwrap();
//! assert_eq!(frame.text(&[RECORDS]).to_string(), "cup 3: filled with 250 ml");
//! ```

mod field;
mod frame;
mod ring;
mod text;

pub use field::{Field, Kind, Value};
pub use frame::{Fields, Frame, PAYLOAD_BYTES};
pub use ring::Ring;
pub use text::{Text, find};

pub use crate::records;

/// How much an operator cares. Ordered: an error is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Someone must act.
    Error,
    /// Someone should look.
    Warn,
    /// A change of state worth knowing a week later.
    Info,
    /// For the one who is looking for something.
    Debug,
    /// Everything.
    Trace,
}

/// The most talkative level compiled in.
pub const MAX_LEVEL: Level = if cfg!(feature = "log-trace") {
    Level::Trace
} else {
    Level::Debug
};

/// A record: an id, a level, and fields that go into a [`Frame`]. Implemented
/// by [`records!`].
pub trait Record {
    /// What the record is, for the reader's side.
    const ENTRY: Entry;
    /// Writes the fields in the order of the entry.
    fn encode(&self, fields: &mut Fields);
}

/// What the reader's side knows of a record: how to make words of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Unique in the whole system; the high byte is the room's.
    pub id: u16,
    /// Level.
    pub level: Level,
    /// Name, for machines: `CupFilled`.
    pub name: &'static str,
    /// Words with `{field}` in them.
    pub format: &'static str,
    /// Names and kinds of the fields, in order.
    pub fields: &'static [(&'static str, Kind)],
}

/// Declares records and the room's catalogue `RECORDS`: a doc comment, an id,
/// a level, a name, typed fields ([`Field`]), and the words.
#[macro_export]
macro_rules! records {
    ($(
        $(#[$doc:meta])*
        $id:literal $level:ident $name:ident { $($field:ident : $kind:ty),* $(,)? } $format:literal;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name {
                $(#[allow(missing_docs, reason = "the record's words name it")] pub $field: $kind,)*
            }

            impl $crate::record::Record for $name {
                const ENTRY: $crate::record::Entry = $crate::record::Entry {
                    id: $id,
                    level: $crate::record::Level::$level,
                    name: stringify!($name),
                    format: $format,
                    fields: &[$((stringify!($field), <$kind as $crate::record::Field>::KIND)),*],
                };
                #[allow(unused_variables, reason = "a record may have no field")]
                fn encode(&self, fields: &mut $crate::record::Fields) {
                    $($crate::record::Field::encode(&self.$field, fields);)*
                }
            }
        )*

        /// The records of this room, for the side that makes words of them.
        pub const RECORDS: &[$crate::record::Entry] = &[
            $(<$name as $crate::record::Record>::ENTRY),*
        ];
    };
}
