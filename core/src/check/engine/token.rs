//! Tokens that nobody can guess: SipHash-2-4 (J.-P. Aumasson and D. J.
//! Bernstein, 2012) of a counter, under a key that the owner draws.

use super::SocketId;
use crate::check::probe::Token;

/// Makes a token for each probe.
#[derive(Clone, Copy)]
pub(super) struct Tokens {
    key: [u64; 2],
    made: u64,
}

impl Tokens {
    pub const fn new(secret: [u64; 2]) -> Self {
        Self {
            key: secret,
            made: 0,
        }
    }

    /// The next one. Its first four bytes are the socket's number, so that an
    /// answer that carries them leads to its probe; the others are new.
    pub fn next(&mut self, socket: SocketId) -> Token {
        let mut word = || {
            self.made = self.made.wrapping_add(1);
            sip_hash(self.key, self.made)
        };
        let [low, high, id] = [word(), word(), word()];
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let mut secret = bytes;
        if let Some(place) = secret.first_chunk_mut() {
            *place = socket.0.to_be_bytes();
        }
        let [a, b, ..] = id.to_be_bytes();
        Token {
            id: u16::from_be_bytes([a, b]),
            secret,
        }
    }

    /// The socket that a token says it is of.
    pub const fn socket(token: [u8; 8]) -> SocketId {
        let [a, b, c, d, ..] = token;
        SocketId(u32::from_be_bytes([a, b, c, d]))
    }
}

/// SipHash-2-4 of the eight bytes of a word.
fn sip_hash([k0, k1]: [u64; 2], word: u64) -> u64 {
    const LENGTH: u64 = 8 << 56;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for block in [word, LENGTH] {
        v[3] ^= block;
        round(&mut v);
        round(&mut v);
        v[0] ^= block;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

const fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The vector for eight bytes in the authors' `vectors.h`, and the standard
    /// library's.
    #[test]
    #[allow(deprecated, reason = "an oracle")]
    fn it_is_siphash() {
        use core::hash::{Hasher, SipHasher};
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(sip_hash(key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
        for word in [0, 1, u64::MAX, 0x1234_5678] {
            let mut other = SipHasher::new_with_keys(key[0], key[1]);
            other.write(&word.to_le_bytes());
            assert_eq!(sip_hash(key, word), other.finish());
        }
    }

    #[test]
    fn tokens_differ_and_lead_to_their_socket() {
        let mut tokens = Tokens::new([1, 2]);
        let mut seen = BTreeSet::new();
        for n in 0..10_000 {
            let token = tokens.next(SocketId(n));
            let (first, _) = token.secret.split_first_chunk().unwrap();
            assert_eq!(Tokens::socket(*first), SocketId(n));
            assert!(seen.insert(token.secret[4..].to_vec()));
        }
        // Ids are all over 16 bits.
        let ids: BTreeSet<_> = (0..10_000).map(|n| tokens.next(SocketId(n)).id).collect();
        assert!(ids.len() > 9_000, "{}", ids.len());
        let mut other = Tokens::new([1, 3]);
        assert_ne!(
            other.next(SocketId(0)),
            Tokens::new([1, 2]).next(SocketId(0))
        );
    }
}
