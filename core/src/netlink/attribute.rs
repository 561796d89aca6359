//! The attributes of a message.

use super::message::padding;
use super::{Fault, Malformed};
use crate::bytes::{NativeEndian, Reader, Short};

/// `nla_type` without its two flag bits. Each nest has its own numbers, which
/// the rooms above name.
pub type AttributeKind = u16;

/// `NLA_TYPE_MASK`: without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND_MASK: u16 = 0x3fff;
/// Bytes of `struct nlattr`.
pub(super) const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// One attribute: `struct nlattr` and its value (linux/netlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its number, masked with 0x3fff: kernels differ on the nested flag.
    pub kind: AttributeKind,
    /// The value.
    pub value: Reader<'a>,
    /// Where the attribute starts in the datagram.
    pub offset: usize,
}

impl<'a> Attribute<'a> {
    /// The value as one byte.
    ///
    /// # Errors
    /// [`Malformed`] when it is not exactly 1 byte long.
    pub fn u8(&self, what: &'static str) -> Result<u8, Malformed> {
        self.fixed::<1>(what).map(u8::from_ne_bytes)
    }

    /// The value as a `u16` in host order.
    ///
    /// # Errors
    /// [`Malformed`] when it is not exactly 2 bytes long.
    pub fn u16(&self, what: &'static str) -> Result<u16, Malformed> {
        self.fixed::<2>(what).map(u16::from_ne_bytes)
    }

    /// The value as a `u16` in network order.
    ///
    /// # Errors
    /// [`Malformed`] when it is not exactly 2 bytes long.
    pub fn u16_be(&self, what: &'static str) -> Result<u16, Malformed> {
        self.fixed::<2>(what).map(u16::from_be_bytes)
    }

    /// The value as a `u32` in host order.
    ///
    /// # Errors
    /// [`Malformed`] when it is not exactly 4 bytes long.
    pub fn u32(&self, what: &'static str) -> Result<u32, Malformed> {
        self.fixed::<4>(what).map(u32::from_ne_bytes)
    }

    /// The value as a `u64` in host order, aligned or not.
    ///
    /// # Errors
    /// [`Malformed`] when it is not exactly 8 bytes long.
    pub fn u64(&self, what: &'static str) -> Result<u64, Malformed> {
        self.fixed::<8>(what).map(u64::from_ne_bytes)
    }

    /// The value as exactly `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`] when it has another length.
    pub fn fixed<const N: usize>(&self, what: &'static str) -> Result<[u8; N], Malformed> {
        self.value.peek().try_into().map_err(|_| {
            self.fault(
                what,
                Fault::Length {
                    wanted: N,
                    had: self.value.len(),
                },
            )
        })
    }

    /// The value as text up to its first NUL, or to its end without one.
    ///
    /// # Errors
    /// [`Malformed`] when that is not UTF-8.
    pub fn text(&self, what: &'static str) -> Result<&'a str, Malformed> {
        until_nul(self.value.peek()).ok_or_else(|| self.fault(what, Fault::Text))
    }

    /// The value as attributes of its own.
    #[must_use]
    pub const fn nest(&self) -> Attributes<'a> {
        Attributes::new(
            self.value,
            self.offset.saturating_add(ATTRIBUTE_HEADER_BYTES),
        )
    }

    /// An error about this attribute.
    #[must_use]
    pub const fn fault(&self, what: &'static str, fault: Fault) -> Malformed {
        Malformed {
            what,
            offset: self.offset,
            fault,
        }
    }
}

/// Text up to the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> Option<&str> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or(&[]);
    str::from_utf8(text).ok()
}

/// Iterates over attributes. Ends after the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    rest: Reader<'a>,
    /// Offset in the datagram of the end of the attributes.
    end: usize,
}

impl<'a> Attributes<'a> {
    /// The attributes in `body`, which starts at `offset` in its datagram.
    #[must_use]
    pub const fn new(body: Reader<'a>, offset: usize) -> Self {
        Self {
            rest: body,
            end: offset.saturating_add(body.len()),
        }
    }

    /// Where the next attribute starts in the datagram.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    fn attribute(&mut self) -> Result<Attribute<'a>, Malformed> {
        let offset = self.offset();
        let at = |short: Short| Malformed {
            what: short.what,
            offset,
            fault: Fault::Short {
                wanted: short.wanted,
                had: short.had,
            },
        };
        let mut header = self
            .rest
            .sub("attribute header", ATTRIBUTE_HEADER_BYTES)
            .map_err(at)?;
        let total = header.u16::<NativeEndian>("nla_len").map_err(at)?;
        let kind = header.u16::<NativeEndian>("nla_type").map_err(at)?;
        let len = usize::from(total)
            .checked_sub(ATTRIBUTE_HEADER_BYTES)
            .ok_or(Malformed {
                what: "attribute",
                offset,
                fault: Fault::Length {
                    wanted: ATTRIBUTE_HEADER_BYTES,
                    had: usize::from(total),
                },
            })?;
        let value = self.rest.sub("attribute value", len).map_err(at)?;
        self.rest.skip(padding(len));
        Ok(Attribute {
            kind: kind & KIND_MASK,
            value,
            offset,
        })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.attribute();
        if attribute.is_err() {
            self.end = self.offset();
            self.rest = Reader::new(&[]);
        }
        Some(attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn attribute(len: u16, kind: u16, value: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        raw.extend(len.to_ne_bytes());
        raw.extend(kind.to_ne_bytes());
        raw.extend(value);
        raw
    }

    #[test]
    fn nests_and_values_are_read_with_the_flag_bits_masked() {
        let mut inner = attribute(6, 4, &80_u16.to_be_bytes());
        inner.extend([0, 0]);
        inner.extend(attribute(8, 5, b"wrr\0"));
        let raw = attribute(20, 0x8001, &inner);
        let nest = Attributes::new(Reader::new(&raw), 36)
            .next()
            .unwrap()
            .unwrap();
        assert_eq!((nest.kind, nest.offset), (1, 36));
        let all: Vec<_> = nest.nest().map(Result::unwrap).collect();
        assert_eq!(all[0].u16_be("port"), Ok(80));
        assert_eq!((all[1].text("name"), all[1].offset), (Ok("wrr"), 48));
        assert_eq!(
            all[1].u16("port").unwrap_err().to_string(),
            "port at byte 48: must be 2 bytes long, is 4"
        );
        assert_eq!(
            Attributes::new(Reader::new(&attribute(5, 1, &[0xff])), 0)
                .next()
                .unwrap()
                .unwrap()
                .text("name")
                .unwrap_err()
                .fault,
            Fault::Text
        );
    }

    #[test]
    fn a_bad_length_ends_the_walk_and_names_the_place() {
        for (raw, expect) in [
            (
                attribute(3, 1, &[]),
                "attribute at byte 20: must be 4 bytes long, is 3",
            ),
            (
                attribute(9, 1, &[1, 2, 3, 4]),
                "attribute value at byte 20: wanted 5 bytes, had 4",
            ),
            (
                std::vec![1, 2, 3],
                "attribute header at byte 20: wanted 4 bytes, had 3",
            ),
        ] {
            let mut walk = Attributes::new(Reader::new(&raw), 20);
            assert_eq!(walk.next().unwrap().unwrap_err().to_string(), expect);
            assert_eq!(walk.next(), None);
        }
    }
}
