//! Reading header blocks (RFC 7541), for two fields. We tell the server to keep
//! no table of ours (`SETTINGS_HEADER_TABLE_SIZE` 0), so there is none here: a
//! reference to it is an error.

use super::huffman;
use crate::bytes::Reader;

/// Entries of the static table; the last ones we look at are `:status` 200 to
/// 500 (RFC 7541 appendix A).
const STATIC_ENTRIES: u32 = 61;
const STATUS_FIRST: u32 = 8;
const STATUSES: [&[u8]; 7] = [b"200", b"204", b"206", b"304", b"400", b"404", b"500"];

/// A block that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad;

/// What the fields say that decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// `:status`, as a number.
    pub status: Option<u16>,
    /// `grpc-status`, as a number.
    pub grpc_status: Option<u16>,
}

impl Fields {
    /// Reads a whole block and notes what is in it.
    pub fn read(&mut self, block: &[u8]) -> Result<(), Bad> {
        let mut r = Reader::new(block);
        while let Ok(first) = r.u8("field") {
            match first {
                0x80.. => {
                    let index = integer(&mut r, first, 7)?;
                    if index == 0 || index > STATIC_ENTRIES {
                        return Err(Bad);
                    }
                    let place = index.checked_sub(STATUS_FIRST);
                    let value = place.and_then(|place| STATUSES.get(place as usize));
                    if let Some(value) = value {
                        self.status = number(&Text::of(value));
                    }
                }
                // With indexing; there is nowhere to index it.
                0x40..0x80 => self.literal(&mut r, first, 6)?,
                // The size of a table that has none, whatever it says.
                0x20..0x40 => {
                    integer(&mut r, first, 5)?;
                }
                // Without indexing, now or ever.
                0..0x20 => self.literal(&mut r, first, 4)?,
            }
        }
        Ok(())
    }

    fn literal(&mut self, r: &mut Reader<'_>, first: u8, bits: u32) -> Result<(), Bad> {
        let index = integer(r, first, bits)?;
        let name = match index {
            0 => string(r)?,
            1..=STATIC_ENTRIES => Text::EMPTY,
            _ => return Err(Bad),
        };
        let value = string(r)?;
        let last = STATUS_FIRST.saturating_add(7);
        if (STATUS_FIRST..last).contains(&index) || name.is(b":status") {
            self.status = number(&value);
        } else if name.is(b"grpc-status") {
            self.grpc_status = number(&value);
        }
        Ok(())
    }
}

/// An integer whose first byte has `bits` bits of it (RFC 7541 5.1); none here
/// is greater than what 28 bits hold.
fn integer(r: &mut Reader<'_>, first: u8, bits: u32) -> Result<u32, Bad> {
    let most = u8::MAX
        .checked_shr(u8::BITS.saturating_sub(bits))
        .unwrap_or(0);
    let mut value = u32::from(first & most);
    if value < u32::from(most) {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = r.u8("integer").map_err(|_| Bad)?;
        let part = u32::from(byte & 0x7f).checked_shl(shift).ok_or(Bad)?;
        value = value.checked_add(part).ok_or(Bad)?;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Bad)
}

/// The beginning of a string: as much as tells the few we know apart.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 16],
    len: usize,
}

impl Text {
    const EMPTY: Self = Self {
        bytes: [0; 16],
        len: 0,
    };

    fn of(bytes: &[u8]) -> Self {
        let mut text = Self::EMPTY;
        bytes.iter().for_each(|byte| text.push(*byte));
        text
    }

    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    fn is(&self, text: &[u8]) -> bool {
        self.bytes.get(..self.len) == Some(text)
    }
}

fn string(r: &mut Reader<'_>) -> Result<Text, Bad> {
    let first = r.u8("string length").map_err(|_| Bad)?;
    let len = integer(r, first, 7)?;
    let bytes = r.bytes("string", len as usize).map_err(|_| Bad)?;
    if first & 0x80 == 0 {
        return Ok(Text::of(bytes));
    }
    let mut text = Text::EMPTY;
    huffman::decode(bytes, |byte| text.push(byte)).map_err(|_| Bad)?;
    Ok(text)
}

/// A number of at most three digits; any other text is greater than all.
fn number(text: &Text) -> Option<u16> {
    let digits = text.bytes.get(..text.len.min(text.bytes.len()))?;
    let plain = (1..=3).contains(&text.len) && digits.iter().all(u8::is_ascii_digit);
    let add = |n: u16, digit: &u8| {
        let digit = u16::from(digit.wrapping_sub(b'0'));
        n.saturating_mul(10).saturating_add(digit)
    };
    Some(if plain {
        digits.iter().fold(0, add)
    } else {
        u16::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn read(block: &[u8]) -> Result<Fields, Bad> {
        let mut fields = Fields::default();
        fields.read(block).map(|()| fields)
    }

    #[test]
    fn both_fields_in_every_form() {
        let status = |status| {
            Ok(Fields {
                status: Some(status),
                grpc_status: None,
            })
        };
        assert_eq!(read(&[0x88]), status(200));
        assert_eq!(read(&[0x8e]), status(500));
        assert_eq!(read(&[0x48, 3, b'3', b'0', b'2']), status(302));
        assert_eq!(read(&[0x08, 0x82, 0x64, 0x02]), status(302));
        assert_eq!(read(b"\x00\x07:status\x03abc"), status(u16::MAX));
        assert_eq!(
            read(b"\x20\x90\x10\x0bgrpc-status\x0212")
                .unwrap()
                .grpc_status,
            Some(12)
        );
        assert_eq!(
            read(b"\x40\x0bgrpc-status\x01\x30").unwrap().grpc_status,
            Some(0)
        );
        // RFC 7541 C.6.1, but for its reference to what we do not keep.
        let block = [
            0x48, 0x82, 0x64, 0x02, 0x58, 0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b,
        ];
        assert_eq!(read(&block), status(302));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for block in [
            &[0x80][..],
            &[0xbe],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x7f],
            &[0x00, 0x01],
            &[0x00, 0x7f, 0x00],
            &[0x00, 0x81, 0xff, 0x00],
            &[0x40],
        ] {
            assert_eq!(read(block), Err(Bad), "{block:02x?}");
        }
    }

    proptest! {
        /// Blocks of another implementation's encoder, which remembers nothing.
        #[test]
        fn blocks_as_another_encodes_them(
            status in 100..600_u16, grpc in prop::option::of(0..17_u16),
            others in prop::collection::vec(("[a-z-]{1,12}", "[ -~]{0,150}"), 0..4),
        ) {
            let mut headers = Vec::from([(Vec::from(&b":status"[..]), std::format!("{status}").into_bytes())]);
            headers.extend(others.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())));
            headers.extend(grpc.map(|grpc| (Vec::from(&b"grpc-status"[..]), std::format!("{grpc}").into_bytes())));
            prop_assume!(headers[1..].iter().filter(|(name, _)| name == b"grpc-status").count() == usize::from(grpc.is_some()));
            let mut block = Vec::new();
            for (name, value) in &headers {
                let one = hpack::Encoder::new().encode([(&name[..], &value[..])]);
                block.extend(one);
            }
            prop_assert_eq!(read(&block), Ok(Fields { status: Some(status), grpc_status: grpc }));
            for cut in 0..block.len() {
                let _ = read(&block[..cut]);
            }
        }

        /// What is read was a block to another implementation, too.
        #[test]
        fn any_block(block in prop::collection::vec(any::<u8>(), 0..40)) {
            // Theirs panics at some bytes that are no block, so ours goes first.
            let Ok(fields) = read(&block) else {
                return Ok(());
            };
            if let Ok(theirs) = hpack::Decoder::new().decode(&block) {
                let mut statuses = theirs.iter().filter(|(name, _)| name == b":status");
                if let Some((_, value)) = statuses.next_back() {
                    let text = std::string::String::from_utf8_lossy(value);
                    let plain = text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
                    let number = text.parse::<u16>().ok().filter(|_| plain);
                    prop_assert_eq!(fields.status, Some(number.unwrap_or(u16::MAX)));
                }
            }
        }
    }
}
