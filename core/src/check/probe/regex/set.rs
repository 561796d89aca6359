//! Sets of bytes.

use super::{at, left};

/// A set of bytes, a bit for each.
#[derive(Clone, Copy)]
pub struct Set([u64; 4]);

/// What stands in a pattern for bytes: one, or a class of them.
pub enum Element {
    Byte(u8),
    Class(Set),
}

impl Element {
    pub fn set(&self) -> Set {
        match self {
            Self::Class(set) => *set,
            Self::Byte(byte) => Set::of(|other| other == *byte),
        }
    }
}

impl Set {
    pub const EMPTY: Self = Self([0; 4]);

    pub fn of(is_in: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::EMPTY;
        (0..=u8::MAX)
            .filter(|byte| is_in(*byte))
            .for_each(|byte| set.add(byte));
        set
    }

    /// The class that an escape names by its letter.
    pub fn class(name: u8) -> Self {
        let class = Self::of(|byte| match name.to_ascii_lowercase() {
            b'd' => byte.is_ascii_digit(),
            b'w' => byte.is_ascii_alphanumeric() || byte == b'_',
            _ => matches!(byte, b'\t'..=b'\r' | b' '),
        });
        if name.is_ascii_uppercase() {
            class.others()
        } else {
            class
        }
    }

    pub fn has(&self, byte: u8) -> bool {
        at(&self.0, usize::from(byte >> 6)) & left(1, u32::from(byte & 63)) != 0
    }

    pub fn add(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= left(1, u32::from(byte & 63));
        }
    }

    pub fn unite(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    pub fn others(&self) -> Self {
        Self(self.0.map(|word| !word))
    }

    /// With each ASCII letter, its other case.
    pub fn both_cases(&self) -> Self {
        Self::of(|byte| {
            self.has(byte)
                || self.has(byte.to_ascii_lowercase())
                || self.has(byte.to_ascii_uppercase())
        })
    }
}
