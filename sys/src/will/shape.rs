//! Where in the memory of a will each part has its place, in words.

use super::header;

/// How large a will can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Wards in it at most.
    pub wards: usize,
    /// Words of each ward, the pulse not counted.
    pub ward_words: usize,
    /// Addresses of all wards at most.
    pub addresses: usize,
    /// Words of each address.
    pub address_words: usize,
}

/// Two words in front of a book: how many wards, how many addresses.
const BOOK_HEADER: usize = 2;

impl Shape {
    const LEN_MAX: usize = 1 << 24;

    pub(super) const fn of([wards, ward_words, addresses, address_words]: [usize; 4]) -> Self {
        Self {
            wards,
            ward_words,
            addresses,
            address_words,
        }
    }

    pub(super) const fn parts(self) -> [usize; 4] {
        [
            self.wards,
            self.ward_words,
            self.addresses,
            self.address_words,
        ]
    }

    /// Words of the whole memory.
    pub(super) fn len(self) -> Option<usize> {
        let [wards, ward_words, addresses, address_words] = self.parts();
        let wards = ward_words.checked_add(1)?.checked_mul(wards)?;
        let book = address_words.checked_mul(addresses)?.checked_add(wards)?;
        let books = book.checked_add(BOOK_HEADER)?.checked_mul(2)?;
        let len = books.checked_add(header::WORDS)?;
        (len <= Self::LEN_MAX).then_some(len)
    }

    pub(super) const fn book(self, book: usize) -> usize {
        let wards = self.wards * (self.ward_words + 1);
        let words = BOOK_HEADER + wards + self.addresses * self.address_words;
        header::WORDS + book * words
    }

    pub(super) const fn pulse(self, book: usize, at: usize) -> usize {
        self.book(book) + BOOK_HEADER + at
    }

    pub(super) const fn ward(self, book: usize, at: usize) -> usize {
        self.pulse(book, self.wards) + at * self.ward_words
    }

    pub(super) const fn address(self, book: usize, at: usize) -> usize {
        self.ward(book, self.wards) + at * self.address_words
    }
}
