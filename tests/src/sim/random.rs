//! Numbers drawn from one seed, the same on every machine and toolchain for
//! ever. Not for secrets.

use trunnion_core::time::Duration;

/// A stream of drawn numbers (splitmix64, Steele and others 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for one part of the world, so that more draws in one
    /// part do not move those of another.
    #[must_use]
    pub fn stream(seed: u64, part: &str) -> Self {
        let mut mixed = Self(seed);
        for byte in part.bytes() {
            mixed.0 = mixed.next() ^ u64::from(byte);
        }
        mixed
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where there is none.
    pub const fn below(&mut self, end: u64) -> u64 {
        match self.next().checked_rem(end) {
            Some(number) => number,
            None => 0,
        }
    }

    /// An index of a list that is so long.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// The same of a small number.
    pub fn small(&mut self, least: u8, most: u8) -> u8 {
        u8::try_from(self.between(least.into(), most.into())).unwrap_or(most)
    }

    /// True so many times in a thousand.
    pub const fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille as u64
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A time from `least` to `most`.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.between(nanos(least), nanos(most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // The first outputs of splitmix64 from 0, as its authors list them.
        let mut random = Random::new(0);
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
        assert_ne!(Random::stream(1, "a").next(), Random::stream(1, "b").next());
    }

    #[test]
    fn ranges_include_both_ends() {
        let mut random = Random::new(7);
        let drawn: Vec<_> = (0..200).map(|_| random.between(3, 5)).collect();
        for n in 3..=5 {
            assert!(drawn.contains(&n));
        }
        assert!(drawn.iter().all(|n| (3..=5).contains(n)));
        assert!((0..100).all(|_| !random.chance(0) && random.chance(1000)));
    }
}
