//! Gathering bytes of a stream in the memory lent to a probe.

/// How many bytes of the lent memory are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept(u16);

impl Kept {
    pub const NONE: Self = Self(0);

    /// Takes bytes over until `want` are there, and leaves the others.
    pub fn fill(&mut self, keep: &mut [u8], want: usize, bytes: &mut &[u8]) {
        let have = usize::from(self.0);
        let missing = want.saturating_sub(have);
        let (taken, rest) = bytes.split_at_checked(missing).unwrap_or((*bytes, &[]));
        let end = have.saturating_add(taken.len());
        if let (Some(room), Ok(end)) = (keep.get_mut(have..end), u16::try_from(end)) {
            room.copy_from_slice(taken);
            self.0 = end;
            *bytes = rest;
        }
    }

    /// The bytes that are there.
    pub fn bytes<'k>(&self, keep: &'k [u8]) -> &'k [u8] {
        keep.get(..usize::from(self.0)).unwrap_or(&[])
    }
}
