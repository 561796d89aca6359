//! The types a record's field may have.

use super::frame::Fields;
use crate::bytes::{Reader, Short};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How a field is encoded.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// Four bytes, signed: an errno.
    I32,
    /// One byte, 0 or 1.
    Bool,
    /// A family byte, then 4 or 16 bytes.
    Address,
    /// A length byte, then UTF-8 bytes.
    Text,
    /// Four bytes that stand for words the reader's side looks up: a reason,
    /// or what an error number means.
    Code(fn(u32) -> &'static str),
}

/// A decoded field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Any unsigned number.
    Unsigned(u64),
    /// A signed number.
    Signed(i32),
    /// True or false.
    Bool(bool),
    /// An address.
    Address(IpAddr),
    /// A short text.
    Text(&'a str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(v) => v.fmt(f),
            Self::Signed(v) => v.fmt(f),
            Self::Bool(v) => v.fmt(f),
            Self::Address(v) => v.fmt(f),
            Self::Text(v) => v.fmt(f),
        }
    }
}

impl Kind {
    /// Reads a field of this kind.
    ///
    /// # Errors
    /// [`Short`] when the payload ends before it, as after a field that did not
    /// fit.
    pub fn decode<'a>(self, r: &mut Reader<'a>) -> Result<Value<'a>, Short> {
        use crate::bytes::NativeEndian;
        Ok(match self {
            Self::U8 => Value::Unsigned(r.u8("field")?.into()),
            Self::U16 => Value::Unsigned(r.u16::<NativeEndian>("field")?.into()),
            Self::U32 => Value::Unsigned(r.u32::<NativeEndian>("field")?.into()),
            Self::U64 => Value::Unsigned(r.u64::<NativeEndian>("field")?),
            Self::I32 => Value::Signed(i32::from_ne_bytes(r.take("field")?)),
            Self::Bool => Value::Bool(r.u8("field")? != 0),
            Self::Address => match r.u8("field")? {
                4 => Value::Address(Ipv4Addr::from(r.take::<4>("field")?).into()),
                _ => Value::Address(Ipv6Addr::from(r.take::<16>("field")?).into()),
            },
            Self::Text => {
                let len = usize::from(r.u8("field")?);
                let bytes = r.bytes("field", len)?;
                Value::Text(str::from_utf8(bytes).unwrap_or("?"))
            }
            Self::Code(words) => Value::Text(words(r.u32::<NativeEndian>("field")?)),
        })
    }
}

/// A type that may be a record's field.
pub trait Field {
    /// Its encoding.
    const KIND: Kind;
    /// Writes it.
    fn encode(&self, fields: &mut Fields);
}

macro_rules! plain {
    ($($type:ty => $kind:ident),*) => {$(
        impl Field for $type {
            const KIND: Kind = Kind::$kind;
            fn encode(&self, fields: &mut Fields) {
                fields.bytes(&self.to_ne_bytes());
            }
        }
    )*};
}
plain!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i32 => I32);

impl Field for bool {
    const KIND: Kind = Kind::Bool;
    fn encode(&self, fields: &mut Fields) {
        fields.bytes(&[u8::from(*self)]);
    }
}

impl Field for IpAddr {
    const KIND: Kind = Kind::Address;
    fn encode(&self, fields: &mut Fields) {
        let mut raw = [0; 17];
        let [kind, rest @ ..] = &mut raw;
        match self {
            Self::V4(a) => {
                *kind = 4;
                if let Some(place) = rest.first_chunk_mut() {
                    *place = a.octets();
                }
                fields.bytes(raw.get(..5).unwrap_or(&raw));
            }
            Self::V6(a) => {
                *kind = 6;
                *rest = a.octets();
                fields.bytes(&raw);
            }
        }
    }
}

/// A name such as an interface's or a reason's; cut at 56 bytes.
impl Field for &'static str {
    const KIND: Kind = Kind::Text;
    fn encode(&self, fields: &mut Fields) {
        text(self, fields);
    }
}

impl<const N: usize> Field for heapless::String<N, u8> {
    const KIND: Kind = Kind::Text;
    fn encode(&self, fields: &mut Fields) {
        text(self, fields);
    }
}

const TEXT_BYTES_MAX: usize = 56;

fn text(text: &str, fields: &mut Fields) {
    let cut = text
        .get(..text.floor_char_boundary(TEXT_BYTES_MAX))
        .unwrap_or("");
    let mut raw = [0; TEXT_BYTES_MAX + 1];
    if let Some((len, rest)) = raw.split_first_mut()
        && let Some(place) = rest.get_mut(..cut.len())
    {
        *len = u8::try_from(cut.len()).unwrap_or(0);
        place.copy_from_slice(cut.as_bytes());
    }
    fields.bytes(raw.get(..cut.len().saturating_add(1)).unwrap_or(&[]));
}
