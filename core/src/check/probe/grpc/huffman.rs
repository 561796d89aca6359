//! The Huffman code of HPACK (RFC 7541 5.2 and appendix B). The code is
//! canonical: codes of one length count up with their symbols, so the lengths
//! are all there is to know.

/// The end of a string, which is never in one.
const END: u16 = 256;
const SYMBOLS: usize = 257;
const BITS_MAX: usize = 30;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// How many codes have each length.
const COUNTS: [u16; BITS_MAX + 1] = counts();
/// The symbols by length, then by number.
const SORTED: [u16; SYMBOLS] = sorted();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // At compile time.
const fn counts() -> [u16; BITS_MAX + 1] {
    let mut counts = [0; BITS_MAX + 1];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        counts[LENGTHS[symbol] as usize] += 1;
        symbol += 1;
    }
    counts
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // At compile time.
const fn sorted() -> [u16; SYMBOLS] {
    let mut sorted = [0; SYMBOLS];
    let (mut place, mut bits) = (0, 1);
    while bits <= BITS_MAX {
        let mut symbol = 0_u16;
        while (symbol as usize) < SYMBOLS {
            if LENGTHS[symbol as usize] as usize == bits {
                sorted[place] = symbol;
                place += 1;
            }
            symbol += 1;
        }
        bits += 1;
    }
    sorted
}

/// Where a string is no code: it has the end in it, or does not end with at most
/// seven ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoCode;

/// Gives the bytes of an encoded string to `take`, one by one.
pub(super) fn decode(encoded: &[u8], mut take: impl FnMut(u8)) -> Result<(), NoCode> {
    let mut walk = Walk::NEW;
    for byte in encoded {
        for shift in (0..u8::BITS).rev() {
            let bit = byte.checked_shr(shift).unwrap_or(0) & 1;
            if let Some(symbol) = walk.step(bit)? {
                // The end is refused, so a symbol is a byte.
                take(u8::try_from(symbol).map_err(|_| NoCode)?);
            }
        }
    }
    if walk.ones && walk.bits < 8 {
        Ok(())
    } else {
        Err(NoCode)
    }
}

/// The way from the root of the code to a symbol.
struct Walk {
    bits: usize,
    code: u32,
    /// The first code of this many bits, and how many symbols have fewer.
    first: u32,
    before: u32,
    /// All bits of this code are ones so far.
    ones: bool,
}

impl Walk {
    const NEW: Self = Self {
        bits: 0,
        code: 0,
        first: 0,
        before: 0,
        ones: true,
    };

    fn step(&mut self, bit: u8) -> Result<Option<u16>, NoCode> {
        self.bits = self.bits.saturating_add(1);
        self.code = self.code.wrapping_shl(1) | u32::from(bit);
        self.first = self.first.wrapping_shl(1);
        self.ones &= bit == 1;
        let count = COUNTS
            .get(self.bits)
            .copied()
            .map(u32::from)
            .ok_or(NoCode)?;
        let among = self.code.saturating_sub(self.first);
        if among < count {
            let place = self.before.saturating_add(among);
            let symbol = SORTED.get(place as usize).copied();
            *self = Self::NEW;
            return match symbol {
                Some(END) | None => Err(NoCode),
                symbol => Ok(symbol),
            };
        }
        self.before = self.before.saturating_add(count);
        self.first = self.first.saturating_add(count);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn text(encoded: &[u8]) -> Result<Vec<u8>, NoCode> {
        let mut text = Vec::new();
        decode(encoded, |byte| text.push(byte)).map(|()| text)
    }

    /// RFC 7541 C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc() {
        #[rustfmt::skip]
        let table: [(&[u8], &str); 4] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
            (&[0x9d, 0x29, 0xad, 0x17, 0x18, 0x63, 0xc7, 0x8f, 0x0b, 0x97, 0xc8, 0xe9, 0xae, 0x82, 0xae, 0x43, 0xd3],
             "https://www.example.com"),
        ];
        for (encoded, expect) in table {
            assert_eq!(text(encoded).unwrap(), expect.as_bytes());
        }
        assert_eq!(text(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_ends_wrongly_is_refused() {
        assert_eq!(text(&[0xff]), Err(NoCode), "eight ones are too many");
        assert_eq!(text(&[0xff; 4]), Err(NoCode), "the end itself");
        assert_eq!(text(&[0x18]), Err(NoCode), "an a, and zeros");
        assert_eq!(text(&[0x1f]), Ok(Vec::from(*b"a")));
    }

    proptest! {
        /// By another implementation's decoder, for all bytes.
        #[test]
        fn any_string_as_another_decodes_it(encoded in prop::collection::vec(any::<u8>(), 0..24)) {
            // A literal without indexing, with a name that is no code.
            let mut block = Vec::from([0, 1, b'x', 0x80 | u8::try_from(encoded.len()).unwrap()]);
            block.extend(&encoded);
            let theirs = hpack::Decoder::new().decode(&block);
            match (text(&encoded), theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(&ours, &theirs[0].1),
                (Err(NoCode), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
            }
        }
    }
}
