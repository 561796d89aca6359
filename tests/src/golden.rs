//! Golden files: words after `#`, bytes in hex, spaces for the reader.

use std::path::{Path, PathBuf};

/// A directory of golden files.
#[must_use]
pub fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// The text of a golden file.
///
/// # Panics
/// When it is not there: record it with `cargo xtask capture`.
#[must_use]
pub fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; record it with `cargo xtask capture`",
            path.display()
        )
    })
}

/// The bytes of the hex in `text`.
///
/// # Panics
/// When a word is no hex.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let words = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""))
        .flat_map(str::split_whitespace);
    let mut bytes = Vec::new();
    for word in words {
        assert!(word.len().is_multiple_of(2), "half a byte in {word}");
        for at in (0..word.len()).step_by(2) {
            let byte = u8::from_str_radix(&word[at..at + 2], 16);
            bytes.push(byte.unwrap_or_else(|_| panic!("{word} is no hex")));
        }
    }
    bytes
}
