//! Scripts: what checks say and expect, as it lies in the plan's memory. Not a
//! format for files: it never leaves the process that wrote it.
//!
//! A check names its script by a [`ScriptId`], a hash of what is in it, so that
//! checks that say the same share it and a reload that changes nothing finds the
//! same name. Where a check goes is no part of a script. A [`Spec`] is put
//! together from it for each call, and borrows its texts and patterns.
//!
//! ```text
//! Scripts, words of 8 bytes:  count | id, place and length  of each, sorted | scripts
//! a script:                   kind, regexes, flags | TLS profile | regexes | texts
//! ```

mod read;
mod write;

pub use read::Script;

use super::Spec;
use crate::bytes::Overflow;
use core::fmt;

/// Words of the longest script: a request, and as many regexes as a check has.
pub const SCRIPT_WORDS_MAX: usize = 4096;

/// A script, by what is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptId([u8; 8]);

impl ScriptId {
    /// The name of a script that [`Spec::write`] wrote.
    #[must_use]
    pub fn of(script: &[u64]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for word in script {
            // Each word stirs all bits before the next comes.
            hash = mix(hash ^ mix(*word)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(mix(hash).to_be_bytes())
    }
}

impl fmt::Debug for ScriptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The finalizer of splitmix64.
const fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A way of speaking TLS that the owner knows: whom to trust, which name to
/// expect, what to show. A hash, as a [`ScriptId`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsId(pub u64);

impl Spec<'_> {
    /// Writes it as a script; how many words it has. The addresses in it are
    /// left out: the target's take their place. So does the authority of a gRPC
    /// call if it is empty.
    ///
    /// # Errors
    /// [`Overflow`] when it does not fit; [`SCRIPT_WORDS_MAX`] is enough for
    /// every request that fits a buffer of
    /// [`REQUEST_BYTES_MAX`](crate::check::REQUEST_BYTES_MAX).
    pub fn write(&self, tls: Option<TlsId>, out: &mut [u64]) -> Result<usize, Overflow> {
        write::write(self, tls, out)
    }
}

/// The scripts of a plan, each once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scripts<'a>(&'a [u64]);

/// Words of the entry of each script.
const ENTRY_WORDS: usize = 2;

impl<'a> Scripts<'a> {
    /// No scripts.
    pub const EMPTY: Self = Self(&[]);

    /// Words that so many scripts need, with so many words between them.
    #[must_use]
    pub const fn words_for(scripts: usize, words: usize) -> usize {
        scripts
            .saturating_mul(ENTRY_WORDS)
            .saturating_add(words)
            .saturating_add(1)
    }

    /// Writes scripts, sorted by their ids and none twice, into `out`.
    ///
    /// # Errors
    /// [`Overflow`] when `out` is shorter than [`words_for`](Self::words_for)
    /// says.
    pub fn write(scripts: &[(ScriptId, &[u64])], out: &'a mut [u64]) -> Result<Self, Overflow> {
        let over = Overflow {
            capacity: size_of_val(out),
        };
        let head = Self::words_for(scripts.len(), 0);
        let mut at = head;
        for (n, (ScriptId(id), words)) in scripts.iter().enumerate() {
            let entry = Self::words_for(n, 0);
            let place = (at as u64) << 32 | words.len() as u64;
            let end = at.saturating_add(words.len());
            if end > u32::MAX as usize {
                return Err(over);
            }
            let pair = out.get_mut(entry..).and_then(|rest| rest.first_chunk_mut());
            *pair.ok_or(over)? = [u64::from_be_bytes(*id), place];
            out.get_mut(at..end).ok_or(over)?.copy_from_slice(words);
            at = end;
        }
        *out.first_mut().ok_or(over)? = scripts.len() as u64;
        out.get(..at).map(Self).ok_or(over)
    }

    /// All of it, to be kept.
    #[must_use]
    pub const fn words(&self) -> &'a [u64] {
        self.0
    }

    /// What [`words`](Self::words) gave.
    #[must_use]
    pub const fn from_words(words: &'a [u64]) -> Self {
        Self(words)
    }

    /// The words of a script.
    #[must_use]
    pub fn get(&self, ScriptId(id): ScriptId) -> Option<&'a [u64]> {
        let (count, rest) = self.0.split_first()?;
        let count = usize::try_from(*count).ok()?;
        let (entries, _) = rest.as_chunks::<ENTRY_WORDS>();
        let entries = entries.get(..count)?;
        let id = u64::from_be_bytes(id);
        let found = entries.binary_search_by_key(&id, |[id, _]| *id).ok()?;
        let [_, place] = *entries.get(found)?;
        let (at, words) = (place >> 32, place & u64::from(u32::MAX));
        let at = usize::try_from(at).ok()?;
        let end = at.checked_add(usize::try_from(words).ok()?)?;
        self.0.get(at..end)
    }
}

#[cfg(test)]
mod tests;
