//! What a benchmark's program prints: the kernel's release, then
//! `WORD WORD WORD VALUE` a line; and the least, the middle and the most of the
//! values that have the same three words.

use crate::failure::{Failure, Result};
use crate::vm::{self, Vm};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Runs such a program in a VM: the kernel's release, and the samples.
///
/// # Errors
/// The VM or the program failed, or it printed something else.
pub fn measure(vm: &Vm, command: &[OsString]) -> Result<(String, Samples)> {
    let output = vm::output(vm, command)?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "bench: the program failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (release, text) = text.split_once('\n').unwrap_or_default();
    Ok((release.to_owned(), Samples::parse(text)?))
}

/// Values by shape, strategy and phase, sorted.
pub struct Samples(BTreeMap<[String; 3], Vec<f64>>);

impl Samples {
    /// Reads all lines.
    ///
    /// # Errors
    /// A line is no sample.
    pub fn parse(text: &str) -> Result<Self> {
        let mut found: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let value = words.get(3).and_then(|word| word.parse().ok());
            let ([shape, strategy, phase, _], Some(value)) = (words.as_slice(), value) else {
                return Err(Failure::new(format!("bench: {line:?} is no sample")));
            };
            let key = [shape, strategy, phase].map(|word| (*word).to_owned());
            found.entry(key).or_default().push(value);
        }
        for values in found.values_mut() {
            values.sort_by(f64::total_cmp);
        }
        Ok(Self(found))
    }

    /// The least: what it takes when nobody disturbs.
    pub fn min(&self, shape: &str, strategy: &str, phase: &str) -> Option<f64> {
        self.values(shape, strategy, phase)?.first().copied()
    }

    /// The middle: what it usually takes.
    pub fn median(&self, shape: &str, strategy: &str, phase: &str) -> Option<f64> {
        let values = self.values(shape, strategy, phase)?;
        values.get(values.len() / 2).copied()
    }

    /// The most: what it takes at worst.
    pub fn max(&self, shape: &str, strategy: &str, phase: &str) -> Option<f64> {
        self.values(shape, strategy, phase)?.last().copied()
    }

    /// The first words that there are, in order.
    pub fn shapes(&self) -> Vec<String> {
        let mut shapes: Vec<_> = self.0.keys().map(|[shape, ..]| shape.clone()).collect();
        shapes.dedup();
        shapes
    }

    fn values(&self, shape: &str, strategy: &str, phase: &str) -> Option<&[f64]> {
        let key = [shape, strategy, phase].map(str::to_owned);
        self.0.get(&key).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_the_middle_and_the_most_of_equal_words() {
        let samples = Samples::parse("a b c 3\na b c 10.5\na b c 1\na b d 7\n").unwrap();
        assert_eq!(samples.min("a", "b", "c"), Some(1.0));
        assert_eq!(samples.median("a", "b", "c"), Some(3.0));
        assert_eq!(samples.median("a", "b", "d"), Some(7.0));
        assert_eq!(samples.max("a", "b", "c"), Some(10.5));
        assert_eq!(samples.min("a", "x", "c"), None);
        assert_eq!(samples.shapes(), ["a"]);
    }

    #[test]
    fn a_line_that_is_no_sample_is_an_error() {
        for line in ["a b c", "a b c x", "a b c 1 2"] {
            assert!(Samples::parse(line).is_err(), "{line}");
        }
    }
}
